"""An ONNX graph before it means layers: its nodes one by one, and the arrays that are known.

Weights come from the graph or from a second file beside it; shapes that the graph computes, and
weights that it turns round before they are used, are computed here (`Graph.known`). What the nodes
mean is in onnx_reading.py.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from . import need

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]

#: numbers in a shape that is computed in the graph
MOST_FOLDED = 64
#: of 2017; the ones before it had other attributes
LEAST_OPSET = 6


def check_text(names: Iterable[str | bytes], what: str) -> None:
    """Raise where a name is none: what is not UTF-8 comes out of a damaged file as bytes."""
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"{what}: expected text in UTF-8, found {name!r:.50}")


class Node:
    """A node of the graph, its attributes by name; those that are never taken are refused."""

    def __init__(self, proto: "onnx.NodeProto", attribute_value: Callable[[Any], Any]) -> None:
        check_text((proto.name, proto.op_type, proto.domain), "node")
        check_text((*proto.input, *proto.output), f"node {proto.name!r}")
        check_text((a.name for a in proto.attribute), f"node {proto.name!r}")
        self.op, self.name = proto.op_type, proto.name
        self.inputs, self.outputs = list(proto.input), list(proto.output)
        # a name is optional; the values that a node makes always have one
        self.label = f"node {self.name or self.outputs[0]!r} ({self.op})"
        self.attributes = {a.name: attribute_value(a) for a in proto.attribute}
        if proto.domain not in ("", "ai.onnx"):
            self.fail("an operator of ONNX itself", f"one of {proto.domain!r}")

    def fail(self, expected: str, found: Any) -> NoReturn:
        raise InputError(f"{self.label}: expected {expected}, found {found}")

    def take(self, key: str, default: Any = None) -> Any:
        value = self.attributes.pop(key, default)
        return value.decode() if isinstance(value, bytes) else value

    def only(self, key: str, allowed: Any, default: Any = None) -> None:
        """Refuse any value of an attribute but this one, which without a default is implied."""
        value = self.take(key, allowed if default is None else default)
        if value != allowed:
            self.fail(f"{key} {allowed}", value)

    def int_pair(self, key: str, default: Any = None) -> tuple[int, int]:
        values = self.take(key, default)
        if not isinstance(values, list) or len(values) != 2:
            self.fail(f"{key} of two axes, height and width", values)
        return values[0], values[1]

    def has_input(self, number: int) -> bool:
        return len(self.inputs) > number and self.inputs[number] != ""


class Graph:
    """A graph with one input and one output.

    folder    where weights outside the graph may lie
    weights   arrays by name
    """

    def __init__(self, model: "onnx.ModelProto", folder: Path | None) -> None:
        self.onnx, self.folder, self.proto = need("onnx"), folder, model.graph
        versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
        self.opset = versions[0] if versions else 1
        if self.opset < LEAST_OPSET:
            raise InputError(f"expected ONNX opset {LEAST_OPSET} or later, found {self.opset}")
        values = (*self.proto.input, *self.proto.output, *self.proto.initializer)
        check_text((value.name for value in values), "graph")
        self.weights = {t.name: self.array(t) for t in self.proto.initializer}
        if self.proto.sparse_initializer:
            raise InputError("expected dense weights, found a sparse initializer")
        inputs = [v for v in self.proto.input if v.name not in self.weights]
        if len(inputs) != 1 or len(self.proto.output) != 1:
            raise InputError(
                "expected a network with one input and one output, "
                f"found {len(inputs)} and {len(self.proto.output)}"
            )
        self.input, self.output = inputs[0], self.proto.output[0].name

    def says_channels_last(self) -> bool | None:
        """Which axis the file itself calls the channels; None where it does not say."""
        says = [dim.denotation for dim in self.input.type.tensor_type.shape.dim]
        if len(says) < 3:
            return False
        return says[-1] == "DATA_CHANNEL" if "DATA_CHANNEL" in says else None

    def input_dtype(self) -> np.dtype:
        kind = self.input.type.tensor_type.elem_type
        names = {1: "float32", 11: "float64"}  # onnx.TensorProto.FLOAT and DOUBLE
        if kind not in names:
            raise InputError(
                f"input {self.input.name!r}: expected float32 or float64, found ONNX type {kind}"
            )
        return np.dtype(names[kind])

    def input_sizes(self) -> tuple[int | str, Shape]:
        """The batch axis, which may be a name, and the shape of one image."""
        dims = self.input.type.tensor_type.shape.dim
        sizes: list[int | str] = [dim.dim_value or dim.dim_param or "?" for dim in dims]
        shape = tuple(d for d in sizes[1:] if isinstance(d, int) and d > 0)
        if not shape or len(shape) != len(sizes) - 1:
            raise InputError(
                f"input {self.input.name!r}: expected known sizes after the batch axis, "
                f"found ({', '.join(map(str, sizes))})"
            )
        return sizes[0], shape

    def nodes(self) -> Iterator[Node]:
        for proto in self.proto.node:
            yield Node(proto, self.onnx.helper.get_attribute_value)

    def uses(self) -> Counter[str]:
        """How often each value is taken: by a node, or as the output."""
        return Counter([self.output, *(name for node in self.proto.node for name in node.input)])

    def known(
        self, node: Node, constants: Mapping[str, NDArray], shapes: Mapping[str, Shape]
    ) -> NDArray | None:
        """What a node gives that computes no images but a shape or a weight; None for others.

        constants, shapes    what is known before it: arrays by name, and shapes (without n) of
                             the values on the way from the input
        """
        value: Any
        if node.op == "Constant":
            key, value = next(iter(node.attributes.items()), (None, None))
            node.attributes.clear()
            if key == "value":
                value = self.array(value)
            elif key not in ("value_int", "value_ints", "value_float", "value_floats"):
                node.fail("numbers", key)
        elif node.op == "Shape" and node.inputs[0] in shapes:
            # 0 for the batch: Reshape takes it for "as it was"
            value = (0, *shapes[node.inputs[0]])
        elif node.op in FOLDED and all(name in constants for name in node.inputs):
            given = [constants[name] for name in node.inputs]
            if node.op not in VIEWS and sum(a.size for a in given) > MOST_FOLDED:
                node.fail(f"shapes of at most {MOST_FOLDED} numbers", "more")
            value = FOLDED[node.op](node, *given)
        else:
            return None
        return np.asarray(value)

    def array(self, tensor: "onnx.TensorProto") -> NDArray:
        if tensor.data_location == self.onnx.TensorProto.EXTERNAL:
            return self._outside(tensor)
        return self.onnx.numpy_helper.to_array(tensor)

    def _outside(self, tensor: "onnx.TensorProto") -> NDArray:
        """Weights in a second file: it must lie beside the first, under a plain name."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        name = entries.get("location", "")
        if self.folder is None or name in ("", ".", "..") or set(name) & set("/\\:\0"):
            raise InputError(
                f"weight {tensor.name!r}: expected a file in the same folder, found {name!r}"
            )
        path = self.folder / name
        if path.is_symlink() or not path.is_file():
            raise InputError(f"weight {tensor.name!r}: expected a file {name!r}, found none")
        dtype = self.onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
        length = math.prod(tensor.dims) * dtype.itemsize
        start = int(entries.get("offset", 0))
        if min(start, *tensor.dims, 0) < 0 or start + length > path.stat().st_size:
            raise InputError(f"weight {tensor.name!r}: expected {length} bytes in {name!r}")
        with open(path, "rb") as file:
            file.seek(start)
            raw = file.read(length)
        return np.frombuffer(raw, dtype.newbyteorder("<")).reshape(tensor.dims).astype(dtype)


def _unsqueeze(node: Node, data: NDArray, axes: NDArray | None = None) -> NDArray:
    given = node.take("axes") if axes is None else axes.ravel()
    return np.expand_dims(data, tuple(int(axis) for axis in given))


#: what happens to weights before they are used, and to numbers on their way into a Reshape
FOLDED: dict[str, Callable[..., Any]] = {
    "Identity": lambda node, data: data,
    "Transpose": lambda node, data: np.transpose(data, node.take("perm")),
    "Gather": lambda node, data, at: np.take(data, at, axis=node.take("axis", 0)),
    "Unsqueeze": _unsqueeze,
    "Concat": lambda node, *parts: np.concatenate(parts, axis=node.take("axis")),
}

#: those of them that take no memory
VIEWS = {"Identity", "Transpose"}
