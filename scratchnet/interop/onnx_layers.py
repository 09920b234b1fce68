"""What the nodes of an ONNX graph become: layers of ours, or nothing but another order of values.

**How the axes are kept apart.** Most tools lay images out as (n, c, h, w), we as (n, h, w, c).
A row carries `order`, an array of the shape that the value has in ONNX (without n), whose entries
say where the same value stands in ours, counted row by row. A Transpose transposes `order`, a
Reshape reshapes it, a layer of ours starts it anew. So whatever was done to the axes on the way to
a matrix product, `W[order] = W_of_the_file` puts its rows right.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..layers import (
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    GlobalMaxPool2D,
    Layer,
    LayerNorm,
    LogSoftmax,
    MaxPool2D,
    Reshape,
    SiLU,
    Softmax,
    UpSampling2D,
    ZeroPadding2D,
)
from ..layers.registry import KINDS, kind_of
from ..layers.window import pads_for, spread
from .onnx_graph import Graph, Node, Shape

#: values of one image between two layers; a file that asks for more is damaged or malicious
MOST_VALUES = 2**26
#: what every second use of a value means
BRANCHES = "which makes a network that branches; only rows of layers are read"


@dataclass
class Placed:
    """A layer, not built yet, and what goes into it when it is."""

    layer: Layer
    arrays: dict[str, NDArray]


class Row:
    """The layers so far, and how the last value lies beside ours.

    channels_last   how the input is laid out
    constants       arrays by name: the weights, and shapes that were computed on the way
    order           where the value's entries stand in ours: see the top of this file
    shape           the shape that it has in ours, without n
    reshaped        the last Reshape, while no layer of ours stands for it
    """

    order: NDArray[np.int32]
    reshaped: Node | None

    def __init__(self, graph: Graph, channels_last: bool) -> None:
        self.opset, self.constants = graph.opset, dict(graph.weights)
        self.dtype = graph.input_dtype()
        self.batch, given = graph.input_sizes()
        _check_size(given)
        self.shape = given if channels_last else (*given[1:], given[0])
        self._start_order(channels_first=not channels_last)
        self.layers: list[Placed] = []
        self.channels_last, self.reshaped = channels_last, None

    def add(self, node: Node) -> None:
        """Read a node that takes the last value."""
        READERS[node.op](self, node)

    def check_end(self, name: str) -> None:
        """Raise unless the last value, the output `name`, is what the layers give."""
        # axes of length 1, as a global pooling leaves them, are not another shape
        if [size for size in self.order.shape if size > 1] != [s for s in self.shape if s > 1]:
            self._reshape_to_ours(channels_first=not self.channels_last)
        if not self._is_channels_first() and not np.array_equal(
            self.order.ravel(), _in_order((self.order.size,))
        ):
            raise InputError(
                f"output {name!r}: expected classes or images, found image values in an order that "
                "Flatten does not give here, where channels come last"
            )

    # ---- tools -------------------------------------------------------------------------------

    def _weight(self, node: Node, number: int) -> NDArray:
        """Input `number` of a node, which must be known and of the network's dtype."""
        name = node.inputs[number] if node.has_input(number) else ""
        if name not in self.constants:
            node.fail(f"a constant as input {number}", repr(name))
        array = self.constants[name]
        if array.dtype != self.dtype:
            node.fail(f"{self.dtype} in {name!r}", array.dtype)
        return array

    def _numbers(self, node: Node, key: str, number: int) -> list[int] | None:
        """Integers that are an attribute in old opsets and an input in new ones."""
        if key in node.attributes:
            return node.take(key)
        if not node.has_input(number):
            return None
        if node.inputs[number] not in self.constants:
            node.fail(f"known numbers as {key}", repr(node.inputs[number]))
        return [int(value) for value in self.constants[node.inputs[number]].ravel()]

    def _place(self, node: Node, layer: Layer, **arrays: NDArray) -> None:
        """Append a layer and its weights."""
        if node.name:
            layer.name = node.name
        try:
            after = layer.shape_after(self.shape)
        except InputError as error:
            raise InputError(f"{node.label}: {error}") from None
        _check_size(after)
        shapes = layer.parameter_shapes(self.shape) | layer.buffer_shapes(self.shape)
        for key, shape in shapes.items():
            if arrays[key].shape != shape:
                node.fail(f"{key} of shape {shape}", arrays[key].shape)
        self.layers.append(Placed(layer, arrays))
        self.shape = after

    def _start_order(self, channels_first: bool) -> None:
        ours = _in_order(self.shape)
        self.order = np.moveaxis(ours, -1, 0) if channels_first else ours

    def _is_channels_first(self) -> bool:
        ours = _in_order(self.shape)
        return np.array_equal(self.order, np.moveaxis(ours, -1, 0))

    def _reshape_to_ours(self, channels_first: bool) -> None:
        """Make a Reshape of the file's own, if it leaves the values in the order of ours."""
        order = np.moveaxis(self.order, 0, -1) if channels_first else self.order
        if self.reshaped is None or not np.array_equal(order.ravel(), _in_order((order.size,))):
            return
        self._place(self.reshaped, Reshape(order.shape))
        self._start_order(channels_first)
        self.reshaped = None

    def _turn_columns(self) -> None:
        """Before a Reshape from a vector to (c, h, w): have it in the order (h, w, c).

        The Dense layer that makes the vector gets its columns in another order.
        """
        if self.reshaped is None or len(self.shape) != 1 or self.order.ndim != 3:
            return
        order, turned = np.moveaxis(self.order, 0, -1), []
        for placed in reversed(self.layers):
            turned.append(placed)
            if isinstance(placed.layer, Dense):
                for one in turned:
                    one.arrays = {key: a[..., order.ravel()] for key, a in one.arrays.items()}
                self.order = np.moveaxis(_in_order(order.shape), -1, 0)
                return
            if not isinstance(placed.layer, BatchNorm) and kind_of(placed.layer).formula is None:
                return

    def _check_images(self, node: Node) -> None:
        if len(self.shape) != 3 or not self._is_channels_first():
            self._turn_columns()
            self._reshape_to_ours(channels_first=True)
        if len(self.shape) != 3 or not self._is_channels_first():
            sizes = ", ".join(map(str, self.order.shape))
            node.fail("images (n, channels, height, width)", f"(n, {sizes})")

    def _check_vectors(self, node: Node) -> None:
        if self.order.ndim != 1:
            sizes = ", ".join(map(str, self.order.shape))
            node.fail("vectors (n, d)", f"(n, {sizes})")

    def _ours(self, array: NDArray) -> NDArray:
        """What belongs to entry k of a vector in ONNX, moved to where that entry is in ours."""
        moved = np.empty_like(array)
        moved[self.order] = array
        return moved

    def _windows(self, node: Node, window: tuple[int, int]) -> dict[str, Any]:
        """strides and padding as our constructors take them."""
        strides = node.int_pair("strides", [1, 1])
        node.only("dilations", [1, 1])  # a convolution has taken its own
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

    def _pads(self, node: Node) -> list[int]:
        pads = node.take("pads", [0, 0, 0, 0])
        if not isinstance(pads, list) or len(pads) != 4:
            node.fail("pads of two axes, at both ends", pads)
        return pads

    # ---- one operator each -------------------------------------------------------------------

    def conv(self, node: Node) -> None:
        self._check_images(node)
        W = self._weight(node, 1)
        if W.ndim != 4:
            node.fail("weights (f, c, kh, kw)", W.shape)
        group, channels = node.take("group", 1), self.shape[2]
        if group not in (1, channels) or len(W) % group:
            node.fail("group 1, or one for each channel", group)
        node.only("kernel_shape", list(W.shape[2:]))
        window = W.shape[2], W.shape[3]
        arrays = {"W": W.transpose(2, 3, 1, 0)}  # (f, c, kh, kw) -> (kh, kw, c, f)
        if node.has_input(2):
            arrays["b"] = self._weight(node, 2)
        how: dict[str, Any] = {"use_bias": "b" in arrays}
        dilation = node.int_pair("dilations", [1, 1])
        where = self._windows(node, spread(window, dilation)) | {"dilation_rate": dilation}
        layer: Layer = Conv2D(len(W), window, **where, **how)
        if group > 1:
            many = len(W) // group
            layer = DepthwiseConv2D(window, **where, **how, depth_multiplier=many)
            # (c*m, 1, kh, kw) -> (kh, kw, 1, c*m) -> (kh, kw, c, m)
            arrays["W"] = arrays["W"].reshape(*window, -1, many)
        self._place(node, layer, **arrays)
        self._start_order(channels_first=True)

    def conv_transpose(self, node: Node) -> None:
        self._check_images(node)
        W = self._weight(node, 1)
        if W.ndim != 4:
            node.fail("weights (c, f, kh, kw)", W.shape)
        node.only("group", 1)
        node.only("dilations", [1, 1])
        node.only("kernel_shape", list(W.shape[2:]))
        window, strides = (W.shape[2], W.shape[3]), node.int_pair("strides", [1, 1])
        arrays = {"W": W.transpose(2, 3, 1, 0)}  # (c, f, kh, kw) -> (kh, kw, f, c)
        if node.has_input(2):
            arrays["b"] = self._weight(node, 2)
        padding = self._cut_off(node, window, strides)
        layer = Conv2DTranspose(W.shape[1], window, strides, padding, use_bias="b" in arrays)
        self._place(node, layer, **arrays)
        self._start_order(channels_first=True)

    def _cut_off(self, node: Node, window: tuple[int, int], strides: tuple[int, int]) -> Any:
        """The padding of a transposed convolution as our constructor takes it."""
        automatic, beyond = node.take("auto_pad", "NOTSET"), node.int_pair("output_padding", [0, 0])
        given, pads = node.take("output_shape"), self._pads(node)
        sides: list[tuple[int, int]] = []
        for axis, (k, s) in enumerate(zip(window, strides, strict=True)):
            before, after = pads[axis], pads[axis + 2]
            if given is not None or automatic in ("SAME_UPPER", "SAME_LOWER"):
                out = self.shape[axis] * s if given is None else given[axis - 2]
                total = (self.shape[axis] - 1) * s + k + beyond[axis] - out
                small, large = max(total, 0) // 2, (max(total, 0) + 1) // 2
                before, after = (small, large) if automatic == "SAME_UPPER" else (large, small)
                after += min(total, 0)  # fewer than none are cut off: rows beyond
            elif automatic not in ("NOTSET", "VALID"):
                node.fail("auto_pad NOTSET, VALID, SAME_UPPER or SAME_LOWER", automatic)
            sides.append((before, after - beyond[axis]))  # rows beyond are fewer cut off
        if all(
            side == (0, -max(s - k, 0)) for side, k, s in zip(sides, window, strides, strict=True)
        ):
            return "valid"
        if min(min(side) for side in sides) < 0:
            node.fail("output_padding within the windows' reach", beyond)
        return tuple(sides)

    def max_pool(self, node: Node) -> None:
        node.take("storage_order")  # only of the indices, which are not read here
        self._pool(node, MaxPool2D)

    def average_pool(self, node: Node) -> None:
        if node.take("count_include_pad", 0):
            automatic = node.attributes.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER")
            if any(node.attributes.get("pads", [])) or automatic:
                node.fail("count_include_pad 0 where there is padding", 1)
            node.only("ceil_mode", 0)
        self._pool(node, AveragePool2D)

    def _pool(self, node: Node, kind: type[MaxPool2D] | type[AveragePool2D]) -> None:
        self._check_images(node)
        window = node.int_pair("kernel_shape")
        self._place(node, kind(window, **self._windows(node, window)))
        self._start_order(channels_first=True)

    def pad(self, node: Node) -> None:
        """Zeros around the image."""
        self._check_images(node)
        node.only("mode", "constant")
        value = node.take("value", 0.0)
        if node.has_input(2):
            value = float(self._weight(node, 2).ravel()[0])
        if value != 0:
            node.fail("zeros around the image", f"{value:g}")
        pads = self._numbers(node, "pads", 1)
        if node.has_input(3) or pads is None or len(pads) != 8 or any((*pads[:2], *pads[4:6])):
            node.fail("pads of height and width, at both ends", pads)
        self._place(node, ZeroPadding2D(((pads[2], pads[6]), (pads[3], pads[7]))))
        self._start_order(channels_first=True)

    def resize(self, node: Node) -> None:
        """Images that become whole numbers of times as large, as UpSampling2D makes them."""
        self._check_images(node)
        for key in ("cubic_coeff_a", "extrapolation_value", "exclude_outside"):
            node.take(key)  # of other modes
        node.only("antialias", 0)
        mode, near = node.take("mode", "nearest"), node.take("nearest_mode", "round_prefer_floor")
        place = node.take("coordinate_transformation_mode", "half_pixel")
        size = self._times_as_large(node)
        nearest = mode == "nearest" and (
            (place, near) == ("asymmetric", "floor")
            or (place == "half_pixel" and near in ("round_prefer_floor", "round_prefer_ceil"))
        )
        if not nearest and (mode, place) != ("linear", "half_pixel"):
            found = f"{mode}, {place}, {near}"
            node.fail("nearest pixels (asymmetric, floor) or linear (half_pixel)", found)
        self._place(node, UpSampling2D(size, "nearest" if nearest else "bilinear"))
        self._start_order(channels_first=True)

    def _times_as_large(self, node: Node) -> tuple[int, int]:
        (h, w, c), sizes = self.shape, self._numbers(node, "sizes", 3)
        scales: list[float] = []
        if sizes is not None and len(sizes) == 4:
            scales = [1, *(a / b for a, b in zip(sizes[1:], (c, h, w), strict=True))]
        elif node.has_input(2) and node.inputs[2] in self.constants:
            scales = [float(scale) for scale in self.constants[node.inputs[2]].ravel()]
        if len(scales) != 4 or scales[:2] != [1, 1] or any(s < 1 or s % 1 for s in scales):
            node.fail("whole numbers of times as high and wide", f"scales {scales}")
        return int(scales[2]), int(scales[3])

    def global_max_pool(self, node: Node) -> None:
        self._check_images(node)
        self._place(node, GlobalMaxPool2D())
        self.order = _in_order(self.shape[:1]).reshape(-1, 1, 1)  # ONNX keeps (n, c, 1, 1)

    def global_average_pool(self, node: Node) -> None:
        self._check_images(node)
        self._place(node, GlobalAveragePool2D())
        self.order = _in_order(self.shape[:1]).reshape(-1, 1, 1)  # ONNX keeps (n, c, 1, 1)

    def reduce_mean(self, node: Node) -> None:
        """The mean over height and width, which is global average pooling."""
        self._check_images(node)
        axes, keep = self._numbers(node, "axes", 1), node.take("keepdims", 1)
        node.only("noop_with_empty_axes", 0)
        if axes is None or sorted(axis % 4 for axis in axes) != [2, 3]:
            node.fail("axes 2 and 3", axes)
        self._place(node, GlobalAveragePool2D())
        self.order = _in_order(self.shape[:1]).reshape(-1, *([1, 1] if keep else []))

    def gemm(self, node: Node) -> None:
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

    def mat_mul(self, node: Node) -> None:
        self._check_vectors(node)
        self._matrix_product(node, self._weight(node, 1), None)

    def _matrix_product(self, node: Node, W: NDArray, b: NDArray | None) -> None:
        if W.ndim != 2 or len(W) != self.order.size:
            node.fail(f"a matrix of {self.order.size} rows", f"shape {W.shape}")
        arrays = {"W": self._ours(W)} if b is None else {"W": self._ours(W), "b": b}
        self._place(node, Dense(W.shape[1], use_bias=b is not None), **arrays)
        self._start_order(channels_first=False)

    def bias(self, node: Node) -> None:
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

    def equal(self, node: Node) -> None:
        """An operator that a kind of layer is registered as the equal of."""
        from onnx import defs, helper

        known, usual = EQUALS[node.op], defs.get_schema(node.op).attributes
        assert known.onnx is not None
        settings = {}
        for theirs, ours in known.onnx.arguments.items():
            default = helper.get_attribute_value(usual[theirs].default_value)
            value = node.take(theirs, default)
            value = value.decode() if isinstance(value, bytes) else value
            settings[ours] = _decimal(value) if isinstance(value, float) else value
        self._place(node, known.layer(**settings))

    def activation(self, node: Node, layer: Layer) -> None:
        """An activation that several nodes spell out; `node` is the last of them."""
        self._place(node, layer)

    def swish(self, node: Node) -> None:
        node.only("alpha", 1.0)
        self._place(node, SiLU())

    def softmax(self, node: Node) -> None:
        self._softmax(node, Softmax())

    def log_softmax(self, node: Node) -> None:
        self._softmax(node, LogSoftmax())

    def _softmax(self, node: Node, layer: Layer) -> None:
        """Ours and theirs must take the same values together: those that share a row of ours."""
        self._reshape_to_ours(channels_first=False)
        rank = self.order.ndim + 1
        axis = node.take("axis", -1 if self.opset >= 13 else 1) % rank
        # before opset 13, all axes from `axis` on were one
        together = self.order.shape[axis - 1] if self.opset >= 13 else 0
        if self.opset < 13 and axis == rank - 1:
            together = self.order.shape[-1]
        if axis > 0 and together == self.shape[-1]:
            rows = np.moveaxis(self.order, axis - 1, -1).reshape(-1, together) // together
            if (rows == rows[:, :1]).all():
                self._place(node, layer)
                return
        node.fail("the softmax over the classes or the channels", f"axis {axis}")

    def batch_normalization(self, node: Node) -> None:
        if self.order.ndim > 1:
            self._reshape_to_ours(channels_first=True)
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

    def layer_normalization(self, node: Node) -> None:
        node.only("stash_type", 1)
        if len(node.outputs) > 1:
            node.fail("one output", len(node.outputs))
        rank = self.order.ndim + 1
        axis, epsilon = node.take("axis", -1) % rank, _decimal(node.take("epsilon", 1e-5))
        over = rank - axis
        sizes = self.order.shape[-over:]
        arrays = {"gamma": self._weight(node, 1), "beta": np.zeros(1, self.dtype)}
        if node.has_input(2):
            arrays["beta"] = self._weight(node, 2)
        try:
            whole = {key: np.broadcast_to(array, sizes) for key, array in arrays.items()}
        except ValueError:
            node.fail(f"scale and bias of shape {sizes}", arrays["gamma"].shape)
        if axis == 1:  # all values: their order does not matter to mean and variance
            over = len(self.shape)
            whole = {key: self._ours_of_all(array) for key, array in whole.items()}
        elif axis == 0 or not np.array_equal(self.order.ravel(), np.arange(self.order.size)):
            node.fail("a normalization over channels that are last, or over all values", axis)
        self._place(node, LayerNorm(tuple(range(-over, 0)), epsilon), **whole)

    def _ours_of_all(self, array: NDArray) -> NDArray:
        """An array of all values of an image in ONNX, as they lie in ours."""
        moved = np.empty(self.order.size, self.dtype)
        moved[self.order.ravel()] = array.ravel()
        return moved.reshape(self.shape)

    def dropout(self, node: Node) -> None:
        node.take("seed")
        rate = node.take("ratio", 0.5)
        if node.has_input(1):
            rate = self.constants[node.inputs[1]].item()
        if node.has_input(2) and np.any(self.constants.get(node.inputs[2], True)):
            node.fail("training_mode false", repr(node.inputs[2]))
        self._place(node, Dropout(_decimal(rate)))

    def flatten(self, node: Node) -> None:
        axis = node.take("axis", 1)
        if axis not in (1, -self.order.ndim):
            node.fail("axis 1", axis)
        self.order = self.order.reshape(-1)
        self._place(node, Flatten())

    def reshape(self, node: Node) -> None:
        wanted = self._numbers(node, "shape", 1)
        # says what a 0 in the shape means: a length, or "as it was"; without one, nothing
        if node.take("allowzero", 0) and wanted and 0 in wanted:
            node.fail("a shape without 0 where allowzero is 1", wanted)
        if not wanted or wanted[0] not in (0, -1, self.batch) or (wanted[0] == -1 in wanted[1:]):
            node.fail("a shape that keeps the batch axis", wanted)
        shape = self.order.shape
        rest = [shape[k] if not d and k < len(shape) else d for k, d in enumerate(wanted[1:])]
        self._rearrange(node, rest)

    def squeeze(self, node: Node) -> None:
        shape, axes = self.order.shape, self._numbers(node, "axes", 1)
        rank = len(shape) + 1
        drop = {axis % rank for axis in axes} if axes is not None else None
        if drop is None or 0 in drop or any(shape[axis - 1] != 1 for axis in drop):
            node.fail("axes of size 1, the batch not among them", axes)
        self._rearrange(node, [d for k, d in enumerate(shape, 1) if k not in drop])

    def _rearrange(self, node: Node, shape: list[int]) -> None:
        try:
            self.order = self.order.reshape(shape)
        except ValueError:
            node.fail(f"a shape for {self.order.size} values", shape)
        self.reshaped = None if self.order.ndim == 1 else node
        if self.order.ndim == 1 and len(self.shape) > 1:
            self._place(node, Flatten())

    def transpose(self, node: Node) -> None:
        rank = self.order.ndim + 1
        perm = node.take("perm", list(range(rank))[::-1])
        if perm[:1] != [0] or sorted(perm) != list(range(rank)):
            node.fail(f"perm of {rank} axes with the batch first", perm)
        self.order = self.order.transpose([axis - 1 for axis in perm[1:]])

    def identity(self, node: Node) -> None:
        """The same values under another name."""


def _in_order(shape: Shape) -> NDArray[np.int32]:
    """The places of an image's values, counted row by row; MOST_VALUES of them fit in 32 bits."""
    return np.arange(math.prod(shape), dtype=np.int32).reshape(shape)


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


#: the kinds that are an operator's equal, by its name
EQUALS = {kind.onnx.name: kind for kind in KINDS.values() if kind.onnx}

READERS: dict[str, Callable[[Row, Node], None]] = {
    "Conv": Row.conv,
    "ConvTranspose": Row.conv_transpose,
    "MaxPool": Row.max_pool,
    "AveragePool": Row.average_pool,
    "GlobalAveragePool": Row.global_average_pool,
    "GlobalMaxPool": Row.global_max_pool,
    "Pad": Row.pad,
    "Resize": Row.resize,
    "ReduceMean": Row.reduce_mean,
    "Gemm": Row.gemm,
    "MatMul": Row.mat_mul,
    "Add": Row.bias,
    "Softmax": Row.softmax,
    "LogSoftmax": Row.log_softmax,
    "Swish": Row.swish,
    "BatchNormalization": Row.batch_normalization,
    "LayerNormalization": Row.layer_normalization,
    "Dropout": Row.dropout,
    "Flatten": Row.flatten,
    "Reshape": Row.reshape,
    "Squeeze": Row.squeeze,
    "Transpose": Row.transpose,
    "Identity": Row.identity,
    **dict.fromkeys(EQUALS, Row.equal),
}
