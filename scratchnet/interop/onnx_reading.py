"""Reading ONNX: a network made elsewhere, node by node, as layers of ours.

Accepted is a graph with one input and one output whose nodes follow one another. Each node either
becomes a layer (Conv, MaxPool, AveragePool, GlobalAveragePool, Gemm, MatMul, Add as a bias, Relu,
Softmax, BatchNormalization, Dropout, Flatten) or only moves values about (Reshape, Squeeze,
Transpose, Identity). Everything else is refused by name, as is an attribute or a value that our
layers do not offer: a network that loads computes what the file says. Nothing in a file is
executed; weights that it keeps in a second file are read from its own folder alone.

**How the axes are kept apart.** Most tools lay images out as (n, c, h, w), we as (n, h, w, c).
The reader carries `order`, an array of the shape that the value has in ONNX (without n), whose
entries say where the same value stands in ours, counted row by row. A Transpose transposes `order`,
a Reshape reshapes it, a layer of ours starts it anew. So whatever was done to the axes on the way
to a matrix product, `W[order] = W_of_the_file` puts its rows right.
"""

import math
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..layers import (
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Softmax,
)
from ..layers.window import pads_for
from ..model import Sequential
from . import need

if TYPE_CHECKING:
    import onnx

Shape = tuple[int, ...]

#: values of one image between two layers; a file that asks for more is damaged or malicious
MOST_VALUES = 2**26
#: numbers in a shape that is computed in the graph
MOST_FOLDED = 64
#: what every second use of a value means
BRANCHES = "which makes a network that branches; only rows of layers are read"
#: of 2017; the ones before it had other attributes
LEAST_OPSET = 6


def load(path: str | os.PathLike, data_format: str | None = None) -> Sequential:
    """The network in an ONNX file, as a Sequential that takes images (n, h, w, c).

    data_format   how the file's input is laid out: "channels_first", as PyTorch has it, or
                  "channels_last". Without it the file is asked: its denotation of the axes if there
                  is one, otherwise channels_first if the network can be read so.

    A classifier's outputs come in the file's order; images come out as (n, h, w, c).
    """
    onnx = need("onnx")
    from google.protobuf.message import DecodeError

    path = Path(path)
    try:
        if path.is_dir():
            raise InputError("expected an ONNX file, found a folder")
        model = onnx.ModelProto.FromString(path.read_bytes())
        return from_onnx(model, data_format, path.parent)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: expected an ONNX file: {error.strerror}") from None
    except DecodeError:
        raise InputError(f"{path}: expected an ONNX file, found something else") from None


def from_onnx(
    model: "onnx.ModelProto", data_format: str | None = None, folder: Path | None = None
) -> Sequential:
    """As `load`, from a graph in memory. folder: where weights outside the graph may lie."""
    if data_format not in (None, "channels_first", "channels_last"):
        raise InputError(
            f'data_format: expected "channels_first" or "channels_last", found {data_format!r}'
        )
    try:
        last = data_format == "channels_last" if data_format else None
        if last is None:
            last = _Reader(model, folder).says_channels_last()
        if last is not None:
            return _Reader(model, folder).read(last)
        try:
            return _Reader(model, folder).read(channels_last=False)
        except InputError as error:
            with suppress(InputError):
                return _Reader(model, folder).read(channels_last=True)
            raise error from None
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, MemoryError) as e:
        reason = " ".join(str(e).split())
        raise InputError(
            f"expected an ONNX network, found one that cannot be read ({reason})"
        ) from None


class _Node:
    """A node of the graph, its attributes by name; those nobody asks for are refused at the end."""

    def __init__(self, proto: "onnx.NodeProto", attribute_value: Callable[[Any], Any]) -> None:
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

    def whole_pair(self, key: str, default: Any = None) -> tuple[int, int]:
        values = self.take(key, default)
        if not isinstance(values, list) or len(values) != 2:
            self.fail(f"{key} of two axes, height and width", values)
        return values[0], values[1]

    def has_input(self, number: int) -> bool:
        return len(self.inputs) > number and self.inputs[number] != ""


@dataclass
class _Placed:
    layer: Layer
    arrays: dict[str, NDArray]


class _Reader:
    """One pass over a graph.

    value       the name of the last value, which the next node must take
    order       where its entries stand in ours: see the top of this file
    shape       the shape that it has in ours, without n
    constants   arrays by name: the weights, and shapes that were computed on the way
    """

    def __init__(self, model: "onnx.ModelProto", folder: Path | None) -> None:
        self.onnx, self.folder, self.graph = need("onnx"), folder, model.graph
        versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
        self.opset = versions[0] if versions else 1
        if self.opset < LEAST_OPSET:
            raise InputError(f"expected ONNX opset {LEAST_OPSET} or later, found {self.opset}")
        self.constants = {t.name: self._array(t) for t in self.graph.initializer}
        if self.graph.sparse_initializer:
            raise InputError("expected dense weights, found a sparse initializer")
        inputs = [v for v in self.graph.input if v.name not in self.constants]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise InputError(
                "expected a network with one input and one output, "
                f"found {len(inputs)} and {len(self.graph.output)}"
            )
        self.input = inputs[0]
        self.layers: list[_Placed] = []

    # ---- the whole ---------------------------------------------------------------------------

    def says_channels_last(self) -> bool | None:
        """Which axis the file itself calls the channels; None where it does not say."""
        says = [dim.denotation for dim in self.input.type.tensor_type.shape.dim]
        if len(says) < 3:
            return False
        return says[-1] == "DATA_CHANNEL" if "DATA_CHANNEL" in says else None

    def read(self, channels_last: bool) -> Sequential:
        self._read_input(channels_last)
        input_shape = self.shape
        for proto in self.graph.node:
            node = _Node(proto, self.onnx.helper.get_attribute_value)
            if not self._is_constant(node):
                self._read_node(node)
                self.value = node.outputs[0]
                self.known_shapes[self.value] = self.order.shape
            if node.attributes:
                key, value = next(iter(node.attributes.items()))
                node.fail("no such attribute", f"{key} {value}")
        self._check_output()

        model = Sequential([at.layer for at in self.layers], input_shape, dtype=self.dtype)
        for at in self.layers:
            for key, array in (at.layer.params | at.layer.buffers).items():
                array[:] = at.arrays[key]
        return model

    def _read_input(self, channels_last: bool) -> None:
        kind = self.input.type.tensor_type
        names = {1: "float32", 11: "float64"}  # onnx.TensorProto.FLOAT and DOUBLE
        if kind.elem_type not in names:
            raise InputError(
                f"input {self.input.name!r}: expected float32 or float64, "
                f"found ONNX type {kind.elem_type}"
            )
        self.dtype = np.dtype(names[kind.elem_type])
        sizes = [dim.dim_value or dim.dim_param or "?" for dim in kind.shape.dim]
        shape = tuple(sizes[1:])
        if not shape or not all(isinstance(d, int) and d > 0 for d in shape):
            raise InputError(
                f"input {self.input.name!r}: expected known sizes after the batch axis, "
                f"found ({', '.join(map(str, sizes))})"
            )
        self.batch = sizes[0]
        _check_size(shape)
        self.value, self.known_shapes = self.input.name, {self.input.name: shape}
        self.shape = shape if channels_last else (*shape[1:], shape[0])
        self._start_order(channels_first=not channels_last)

    def _check_output(self) -> None:
        name = self.graph.output[0].name
        if name != self.value:
            raise InputError(f"expected the output to be the last value, found {name!r}")
        if not self._is_channels_first() and not np.array_equal(
            self.order.ravel(), np.arange(self.order.size)
        ):
            raise InputError(
                f"output {name!r}: expected classes or images, found image values in an order that "
                "Flatten does not give here, where channels come last"
            )

    def _is_constant(self, node: _Node) -> bool:
        """Whether the node computes no images but a shape or a weight, which is then known."""
        if node.op == "Constant":
            key, value = next(iter(node.attributes.items()), (None, None))
            node.attributes.clear()
            if key == "value":
                value = self._array(value)
            elif key not in ("value_int", "value_ints", "value_float", "value_floats"):
                node.fail("numbers", key)
        elif node.op == "Shape" and node.inputs[0] in self.known_shapes:
            # 0 for the batch: Reshape takes it for "as it was"
            value = (0, *self.known_shapes[node.inputs[0]])
        elif node.op in FOLDED and all(name in self.constants for name in node.inputs):
            given = [self.constants[name] for name in node.inputs]
            if node.op not in VIEWS and sum(a.size for a in given) > MOST_FOLDED:
                node.fail(f"shapes of at most {MOST_FOLDED} numbers", "more")
            value = FOLDED[node.op](node, *given)
        else:
            return False
        self.constants[node.outputs[0]] = np.asarray(value)
        return True

    def _read_node(self, node: _Node) -> None:
        if node.op not in READERS:
            node.fail(f"one of {', '.join(READERS)}", f"operator {node.op}")
        if node.op == "Add" and node.inputs[1:] == [self.value]:
            node.inputs.reverse()
        if node.inputs[:1] != [self.value]:
            found = repr(node.inputs[0]) if node.inputs else "nothing"
            node.fail(f"the value before it, {self.value!r}", f"{found}, {BRANCHES}")
        READERS[node.op](self, node)

    # ---- tools of the operators --------------------------------------------------------------

    def _array(self, tensor: "onnx.TensorProto") -> NDArray:
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

    def _weight(self, node: _Node, number: int) -> NDArray:
        """Input `number` of a node, which must be known and of the network's dtype."""
        name = node.inputs[number] if node.has_input(number) else ""
        if name not in self.constants:
            node.fail(f"a constant as input {number}", repr(name))
        array = self.constants[name]
        if array.dtype != self.dtype:
            node.fail(f"{self.dtype} in {name!r}", array.dtype)
        return array

    def _numbers(self, node: _Node, key: str, number: int) -> list[int] | None:
        """Whole numbers that are an attribute in old opsets and an input in new ones."""
        if key in node.attributes:
            return node.take(key)
        if not node.has_input(number):
            return None
        if node.inputs[number] not in self.constants:
            node.fail(f"known numbers as {key}", repr(node.inputs[number]))
        return [int(value) for value in self.constants[node.inputs[number]].ravel()]

    def _place(self, node: _Node, layer: Layer, **arrays: NDArray) -> None:
        """Append a layer and its weights."""
        layer.name = node.name or None
        try:
            after = layer.shape_after(self.shape)
        except InputError as error:
            raise InputError(f"{node.label}: {error}") from None
        _check_size(after)
        shapes = layer.parameter_shapes(self.shape) | layer.buffer_shapes(self.shape)
        for key, shape in shapes.items():
            if arrays[key].shape != shape:
                node.fail(f"{key} of shape {shape}", arrays[key].shape)
        self.layers.append(_Placed(layer, arrays))
        self.shape = after

    def _start_order(self, channels_first: bool) -> None:
        ours = np.arange(math.prod(self.shape)).reshape(self.shape)
        self.order = np.moveaxis(ours, -1, 0) if channels_first else ours

    def _is_channels_first(self) -> bool:
        ours = np.arange(math.prod(self.shape)).reshape(self.shape)
        return np.array_equal(self.order, np.moveaxis(ours, -1, 0))

    def _check_images(self, node: _Node) -> None:
        if len(self.shape) != 3 or not self._is_channels_first():
            sizes = ", ".join(map(str, self.order.shape))
            node.fail("images (n, channels, height, width)", f"(n, {sizes})")

    def _check_vectors(self, node: _Node) -> None:
        if self.order.ndim != 1:
            sizes = ", ".join(map(str, self.order.shape))
            node.fail("vectors (n, d)", f"(n, {sizes})")

    def _ours(self, array: NDArray) -> NDArray:
        """What belongs to entry k of a vector in ONNX, moved to where that entry is in ours."""
        moved = np.empty_like(array)
        moved[self.order] = array
        return moved

    def _windows(self, node: _Node, window: tuple[int, int]) -> dict[str, Any]:
        """strides and padding as our constructors take them."""
        strides = node.whole_pair("strides", [1, 1])
        node.only("dilations", [1, 1])
        ceil, automatic = node.take("ceil_mode", 0), node.take("auto_pad", "NOTSET")
        top, left, bottom, right = self._pads(node)
        h, w, _ = self.shape
        if automatic == "SAME_UPPER":
            return {"strides": strides, "padding": "same"}
        if automatic == "SAME_LOWER":
            bottom, top, right, left = pads_for("same", (h, w), window, strides)
        elif automatic not in ("NOTSET", "VALID"):
            node.fail("auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER", automatic)
        elif ceil:
            bottom = _to_last_window(h, window[0], strides[0], top, bottom)
            right = _to_last_window(w, window[1], strides[1], left, right)
        pads = (top, bottom), (left, right)
        return {"strides": strides, "padding": pads if any(map(any, pads)) else "valid"}

    def _pads(self, node: _Node) -> list[int]:
        pads = node.take("pads", [0, 0, 0, 0])
        if not isinstance(pads, list) or len(pads) != 4:
            node.fail("pads of two axes, at both ends", pads)
        return pads

    # ---- one operator each -------------------------------------------------------------------

    def conv(self, node: _Node) -> None:
        self._check_images(node)
        W = self._weight(node, 1)
        if W.ndim != 4:
            node.fail("weights (f, c, kh, kw)", W.shape)
        node.only("group", 1)
        node.only("kernel_shape", list(W.shape[2:]))
        window = W.shape[2], W.shape[3]
        arrays = {"W": W.transpose(2, 3, 1, 0)}  # (f, c, kh, kw) -> (kh, kw, c, f)
        if node.has_input(2):
            arrays["b"] = self._weight(node, 2)
        layer = Conv2D(len(W), window, **self._windows(node, window), use_bias="b" in arrays)
        self._place(node, layer, **arrays)
        self._start_order(channels_first=True)

    def max_pool(self, node: _Node) -> None:
        node.take("storage_order")  # only of the indices, which nobody here can take
        self._pool(node, MaxPool2D)

    def average_pool(self, node: _Node) -> None:
        if node.take("count_include_pad", 0):
            automatic = node.attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")
            if any(node.attributes.get("pads", [])) or automatic:
                node.fail("count_include_pad 0 where there is padding", 1)
            node.only("ceil_mode", 0)
        self._pool(node, AveragePool2D)

    def _pool(self, node: _Node, kind: type[MaxPool2D] | type[AveragePool2D]) -> None:
        self._check_images(node)
        window = node.whole_pair("kernel_shape")
        self._place(node, kind(window, **self._windows(node, window)))
        self._start_order(channels_first=True)

    def global_average_pool(self, node: _Node) -> None:
        self._check_images(node)
        self._place(node, GlobalAveragePool2D())
        self.order = np.arange(self.shape[0]).reshape(-1, 1, 1)  # ONNX keeps (n, c, 1, 1)

    def gemm(self, node: _Node) -> None:
        self._check_vectors(node)
        node.only("transA", 0)
        W = self._weight(node, 1) * self.dtype.type(node.take("alpha", 1.0))
        W = W.T if node.take("transB", 0) else W
        beta, b = self.dtype.type(node.take("beta", 1.0)), None
        if node.has_input(2):
            b = self._weight(node, 2) * beta
            node.take("broadcast")  # opset 6 asks for it, later ones broadcast always
            if b.ndim > 1 and b.shape[0] != 1:
                node.fail("one bias for all rows", f"C of shape {b.shape}")
            b = np.broadcast_to(b.reshape(-1), W.shape[-1:])
        self._matrix_product(node, W, b)

    def mat_mul(self, node: _Node) -> None:
        self._check_vectors(node)
        self._matrix_product(node, self._weight(node, 1), None)

    def _matrix_product(self, node: _Node, W: NDArray, b: NDArray | None) -> None:
        if W.ndim != 2 or len(W) != self.order.size:
            node.fail(f"a matrix of {self.order.size} rows", f"shape {W.shape}")
        arrays = {"W": self._ours(W)} if b is None else {"W": self._ours(W), "b": b}
        self._place(node, Dense(W.shape[1], use_bias=b is not None), **arrays)
        self._start_order(channels_first=False)

    def bias(self, node: _Node) -> None:
        """Add of a constant to a product that has no bias yet."""
        if node.inputs[1] not in self.constants:
            node.fail("a constant to add, as a bias", f"{node.inputs[1]!r}, {BRANCHES}")
        added = self._weight(node, 1)
        node.take("broadcast")
        axis = node.take("axis")  # opset 6: where the added axes begin
        if axis is not None and 0 < axis <= self.order.ndim:
            missing = self.order.ndim + 1 - axis - added.ndim
            added = added.reshape(*added.shape, *[1] * max(missing, 0))
        before = self.layers[-1] if self.layers else None
        if before is None or "W" not in before.arrays or "b" in before.arrays:
            node.fail("a bias right after Conv or MatMul", "an addition elsewhere")
        if added.ndim == self.order.ndim + 1 and len(added) == 1:
            added = added[0]
        if added.ndim > self.order.ndim:
            node.fail("one value for each channel", f"shape {added.shape}")
        whole = np.empty(self.order.size, self.dtype)
        whole[self.order] = np.broadcast_to(added, self.order.shape)
        rows = whole.reshape(-1, self.shape[-1])
        if not np.array_equal(rows, np.broadcast_to(rows[0], rows.shape), equal_nan=True):
            node.fail("one value for each channel", "values that differ from place to place")
        name, settings = before.layer.name, before.layer.config()
        before.layer = type(before.layer)(**settings | {"use_bias": True})
        before.layer.name, before.arrays["b"] = name, rows[0]

    def relu(self, node: _Node) -> None:
        self._place(node, ReLU())

    def softmax(self, node: _Node) -> None:
        """Both softmaxes must take the same values together: those that share a row of ours."""
        rank = self.order.ndim + 1
        axis = node.take("axis", -1 if self.opset >= 13 else 1) % rank
        # before opset 13, all axes from `axis` on were one
        together = self.order.shape[axis - 1] if self.opset >= 13 else 0
        if self.opset < 13 and axis == rank - 1:
            together = self.order.shape[-1]
        if axis > 0 and together == self.shape[-1]:
            rows = np.moveaxis(self.order, axis - 1, -1).reshape(-1, together) // together
            if (rows == rows[:, :1]).all():
                self._place(node, Softmax())
                return
        node.fail("the softmax over the classes or the channels", f"axis {axis}")

    def batch_normalization(self, node: _Node) -> None:
        node.only("training_mode", 0)
        node.only("spatial", 1)
        node.only("is_test", 1, default=0 if self.opset < 7 else 1)
        if len(node.outputs) > 1:
            node.fail("one output", f"{len(node.outputs)}, which means training")
        given = [self._weight(node, number) for number in range(1, 5)]
        if self.order.ndim == 1 and len(self.order) == len(given[0]):
            given = [self._ours(array) for array in given]
        elif not self._is_channels_first():
            node.fail("channels as axis 1", f"(n, {', '.join(map(str, self.order.shape))})")
        arrays = dict(zip(("gamma", "beta", "running_mean", "running_var"), given, strict=True))
        momentum, epsilon = node.take("momentum", 0.9), node.take("epsilon", 1e-5)
        self._place(node, BatchNorm(_decimal(momentum), _decimal(epsilon)), **arrays)

    def dropout(self, node: _Node) -> None:
        node.take("seed")
        rate = node.take("ratio", 0.5)
        if node.has_input(1):
            rate = self.constants[node.inputs[1]].item()
        if node.has_input(2) and np.any(self.constants.get(node.inputs[2], True)):
            node.fail("training_mode false", repr(node.inputs[2]))
        self._place(node, Dropout(_decimal(rate)))

    def flatten(self, node: _Node) -> None:
        axis = node.take("axis", 1)
        if axis not in (1, -self.order.ndim):
            node.fail("axis 1", axis)
        self.order = self.order.reshape(-1)
        self._place(node, Flatten())

    def reshape(self, node: _Node) -> None:
        wanted = self._numbers(node, "shape", 1)
        node.only("allowzero", 0)
        if not wanted or wanted[0] not in (0, -1, self.batch) or (wanted[0] == -1 in wanted[1:]):
            node.fail("a shape that keeps the batch axis", wanted)
        shape = self.order.shape
        rest = [shape[k] if not d and k < len(shape) else d for k, d in enumerate(wanted[1:])]
        self._rearrange(node, rest)

    def squeeze(self, node: _Node) -> None:
        shape, axes = self.order.shape, self._numbers(node, "axes", 1)
        rank = len(shape) + 1
        drop = {axis % rank for axis in axes} if axes is not None else None
        if drop is None or 0 in drop or any(shape[axis - 1] != 1 for axis in drop):
            node.fail("axes of size 1, the batch not among them", axes)
        self._rearrange(node, [d for k, d in enumerate(shape, 1) if k not in drop])

    def _rearrange(self, node: _Node, shape: list[int]) -> None:
        try:
            self.order = self.order.reshape(shape)
        except ValueError:
            node.fail(f"a shape for {self.order.size} values", shape)
        if self.order.ndim == 1 and len(self.shape) > 1:
            self._place(node, Flatten())

    def transpose(self, node: _Node) -> None:
        rank = self.order.ndim + 1
        perm = node.take("perm", list(range(rank))[::-1])
        if perm[:1] != [0] or sorted(perm) != list(range(rank)):
            node.fail(f"perm of {rank} axes with the batch first", perm)
        self.order = self.order.transpose([axis - 1 for axis in perm[1:]])

    def identity(self, node: _Node) -> None:
        """The same values under another name."""


def _check_size(shape: Shape) -> None:
    if math.prod(shape) > MOST_VALUES:
        raise InputError(f"expected at most {MOST_VALUES:,} values of an image, found {shape}")


def _to_last_window(extent: int, k: int, stride: int, before: int, after: int) -> int:
    """The padding after the image with which the last window, cut off by its end, fits as well.

    A window that would start in that padding does not count (ONNX, MaxPool, ceil_mode).
    """
    windows = -(-(extent + before + after - k) // stride) + 1
    if (windows - 1) * stride >= extent + before:
        windows -= 1
    return max(after, (windows - 1) * stride + k - extent - before)


def _decimal(value: float) -> float:
    """ONNX keeps such numbers in float32; this is the shortest decimal that gives the same one."""
    return float(str(np.float32(value)))


def _unsqueeze(node: _Node, data: NDArray, axes: NDArray | None = None) -> NDArray:
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

READERS: dict[str, Callable[[_Reader, _Node], None]] = {
    "Conv": _Reader.conv,
    "MaxPool": _Reader.max_pool,
    "AveragePool": _Reader.average_pool,
    "GlobalAveragePool": _Reader.global_average_pool,
    "Gemm": _Reader.gemm,
    "MatMul": _Reader.mat_mul,
    "Add": _Reader.bias,
    "Relu": _Reader.relu,
    "Softmax": _Reader.softmax,
    "BatchNormalization": _Reader.batch_normalization,
    "Dropout": _Reader.dropout,
    "Flatten": _Reader.flatten,
    "Reshape": _Reader.reshape,
    "Squeeze": _Reader.squeeze,
    "Transpose": _Reader.transpose,
    "Identity": _Reader.identity,
}
