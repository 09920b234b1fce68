"""ONNX: a Sequential as a file that other runtimes read, and files of theirs as a Sequential.

    from scratchnet.interop import onnx
    onnx.save(model, "digits.onnx")
    model = onnx.load("digits.onnx")

The exported network takes what ours takes, float images (n, h, w, c) with any n, and gives what
ours gives. ONNX computes on (n, c, h, w), so the graph transposes the images where they come in
(and once more at the end, where the output is images). After Flatten nothing is transposed: the
rows of the next Dense stand in the order in which ONNX flattens. Weights are (f, c, kh, kw).

What `load` accepts is written in onnx_reading.py: rows of layers, so a Residual block goes out but
not in. Reference: ONNX operators of opset 17, and of opset 20 where there is a GELU.
"""

from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..checkpoint import write_atomically
from ..errors import InputError
from ..layers import (
    AveragePool2D,
    BatchNorm,
    ConnectedConv2D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAveragePool2D,
    GlobalMaxPool2D,
    Layer,
    LayerNorm,
    LogSoftmax,
    MaxPool2D,
    Reshape,
    Residual,
    ScaledTanh,
    SiLU,
    Softmax,
    Subsampling2D,
    UpSampling2D,
    ZeroPadding2D,
)
from ..layers.lenet import AMPLITUDE, SLOPE
from ..layers.registry import KINDS, kind_of
from ..model import Sequential
from . import need
from .onnx_reading import from_onnx, load

if TYPE_CHECKING:
    import onnx

__all__ = ["from_onnx", "load", "save", "to_onnx"]

#: of 2021 and 2022: old enough for every runtime in use, new enough for every layer here
OPSET, IR_VERSION = 17, 8
#: the same two numbers for operators that came later
LATER = {"Gelu": (20, 9)}


def to_onnx(model: Sequential, dtype: DTypeLike | None = None) -> "onnx.ModelProto":
    """The model as an ONNX graph, for inference: Dropout and GaussianNoise do nothing, BatchNorm
    uses its running statistics.

    dtype   of the input, the weights and the output; the model's own without it. ONNX Runtime has
            no float64 convolution on a processor: dtype="float32" makes a float64 model run there.
    """
    onnx = need("onnx")
    if not model.built:
        raise InputError("to_onnx: expected a model with an input shape; build it first")
    dtype = np.dtype(dtype or model.dtype)
    if dtype not in (np.float32, np.float64):
        raise InputError(f"to_onnx dtype: expected float32 or float64, found {dtype}")
    writer = _Writer(onnx, dtype)
    writer.row(model.layers)
    writer.channels_last(model.output_shape)
    writer.nodes[-1].output[0] = "output"

    kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
    ends = [
        onnx.helper.make_tensor_value_info(name, kind, ["n", *shape])
        for name, shape in (("input", model.input_shape), ("output", model.output_shape))
    ]
    # the standard's own way to say which axis is which; `load` reads it
    dims = ends[0].type.tensor_type.shape.dim
    for dim in dims:
        dim.denotation = "DATA_FEATURE"
    dims[0].denotation, dims[-1].denotation = "DATA_BATCH", "DATA_CHANNEL"
    graph = onnx.helper.make_graph(
        writer.nodes, "scratchnet", ends[:1], ends[1:], initializer=writer.weights
    )
    versions = [LATER[node.op_type] for node in writer.nodes if node.op_type in LATER]
    opset, ir_version = max([(OPSET, IR_VERSION), *versions])
    return onnx.helper.make_model(
        graph,
        producer_name="scratchnet",
        opset_imports=[onnx.helper.make_opsetid("", opset)],
        ir_version=ir_version,
    )


def save(model: Sequential, path: str | PathLike, dtype: DTypeLike | None = None) -> None:
    """Write `to_onnx(model, dtype)` to a file, atomically."""
    write_atomically(path, to_onnx(model, dtype).SerializeToString())


class _Writer:
    """The graph so far, and how its last value lies beside ours.

    value   its name
    first   whether it is images (n, c, h, w) where ours are (n, h, w, c)
    order   after a Flatten of such images: entry k is entry order[k] of our vector; else None
    inside  what stands before the names of the layers inside a block, such as "residual.main."
    """

    def __init__(self, onnx: Any, dtype: np.dtype) -> None:
        self.onnx, self.dtype = onnx, dtype
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.value, self.first = "input", False
        self.order: NDArray[np.intp] | None = None
        self.inside = ""

    def row(self, layers: Sequence[Layer]) -> None:
        for number, layer in enumerate(layers):
            if equal := kind_of(layer).onnx:
                self.add(equal.name, layer.name, **equal.settings(layer))
                continue
            if type(layer) not in WRITERS:
                equals = [kind for kind in KINDS if KINDS[kind].onnx]
                known = ", ".join(kind.__name__ for kind in (*WRITERS, *equals))
                raise InputError(
                    f"to_onnx: {layer.name}: expected one of {known}, found {type(layer).__name__}"
                )
            if isinstance(layer, Flatten) and not _read_by_dense(layers[number + 1 :]):
                self.channels_last(layer.input_shape)
            WRITERS[type(layer)](self, layer)

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> None:
        """Append a node that takes the last value, and `inputs` after it."""
        name = self.inside + name
        node = self.onnx.helper.make_node(
            op, [self.value, *inputs], [f"{name}.out"], name, **attributes
        )
        self.nodes.append(node)
        self.value = node.output[0]

    def weight(self, layer: Layer, key: str, array: NDArray) -> str:
        """Store an array of the layer's; returns its name."""
        name = f"{self.inside}{layer.name}.{key}"
        stored = np.array(array, self.dtype, order="C")
        self.weights.append(self.onnx.numpy_helper.from_array(stored, name))
        return name

    def integers(self, layer: Layer, key: str, values: Sequence[int]) -> str:
        """Store whole numbers that a node of the layer's takes as an input; returns their name."""
        name = f"{self.inside}{layer.name}.{key}"
        self.weights.append(self.onnx.numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def channels_first(self, shape: tuple[int, ...]) -> None:
        """Transpose to (n, c, ...) unless it is so already; `shape` is ours, without n."""
        if len(shape) > 1 and not self.first:
            axes = range(len(shape) + 1)
            self.add("Transpose", f"transpose.{len(self.nodes)}", perm=[0, axes[-1], *axes[1:-1]])
            self.first = True

    def channels_last(self, shape: tuple[int, ...]) -> None:
        """Transpose to (n, ..., c) unless it is so already."""
        if self.first:
            axes = range(len(shape) + 1)
            self.add("Transpose", f"transpose.{len(self.nodes)}", perm=[0, *axes[2:], 1])
            self.first = False


def _read_by_dense(following: Sequence[Layer]) -> bool:
    """Whether a Dense takes the vector before another layer looks at the order of its entries."""
    for layer in following:
        if not kind_of(layer).pointwise or isinstance(layer, (Softmax, LogSoftmax)):
            return isinstance(layer, Dense)
    return False


def _conv(writer: _Writer, layer: Conv2D) -> None:
    writer.channels_first(layer.input_shape)
    W = layer.params["W"].transpose(3, 2, 0, 1)  # (kh, kw, c, f) -> (f, c, kh, kw)
    inputs = [writer.weight(layer, "W", W)]
    if layer.use_bias:
        inputs.append(writer.weight(layer, "b", layer.params["b"]))
    where = {"kernel_shape": layer.kernel_size, **_places(layer)}
    if layer.dilation_rate != (1, 1):
        where["dilations"] = layer.dilation_rate
    writer.add("Conv", layer.name, *inputs, **where)


def _depthwise(writer: _Writer, layer: DepthwiseConv2D) -> None:
    writer.channels_first(layer.input_shape)
    # (kh, kw, c, m) -> (c, m, kh, kw) -> (c*m, 1, kh, kw): groups of one channel
    W = layer.params["W"].transpose(2, 3, 0, 1).reshape(-1, 1, *layer.kernel_size)
    inputs = [writer.weight(layer, "W", W)]
    if layer.use_bias:
        inputs.append(writer.weight(layer, "b", layer.params["b"]))
    where: dict[str, Any] = {"kernel_shape": layer.kernel_size, "dilations": layer.dilation_rate}
    where |= {"group": layer.input_shape[2], **_places(layer)}
    writer.add("Conv", layer.name, *inputs, **where)


def _connected(writer: _Writer, layer: ConnectedConv2D) -> None:
    """A convolution with zeros where the table has no entry."""
    writer.channels_first(layer.input_shape)
    full = np.zeros((layer.filters, layer.input_shape[2], *layer.kernel_size), writer.dtype)
    full[layer.makes, layer.reads] = layer.params["W"].transpose(2, 0, 1)  # (kh, kw, k) -> first k
    inputs = [writer.weight(layer, "W", full)]
    if layer.use_bias:
        inputs.append(writer.weight(layer, "b", layer.params["b"]))
    writer.add("Conv", layer.name, *inputs, kernel_shape=layer.kernel_size)


def _subsampling(writer: _Writer, layer: Subsampling2D) -> None:
    """A depthwise convolution whose windows hold one number each."""
    writer.channels_first(layer.input_shape)
    c, size = layer.input_shape[2], layer.pool_size
    W = np.broadcast_to(layer.params["W"][:, None, None, None], (c, 1, *size))
    inputs = writer.weight(layer, "W", W), writer.weight(layer, "b", layer.params["b"])
    writer.add("Conv", layer.name, *inputs, kernel_shape=size, strides=size, group=c)


def _scaled_tanh(writer: _Writer, layer: ScaledTanh) -> None:
    slope, amplitude = (
        writer.weight(layer, key, np.array(value))
        for key, value in (("slope", SLOPE), ("amplitude", AMPLITUDE))
    )
    writer.add("Mul", f"{layer.name}.inside", slope)
    writer.add("Tanh", f"{layer.name}.tanh")
    writer.add("Mul", layer.name, amplitude)


def _conv_transpose(writer: _Writer, layer: Conv2DTranspose) -> None:
    writer.channels_first(layer.input_shape)
    W = layer.params["W"].transpose(3, 2, 0, 1)  # (kh, kw, f, c) -> (c, f, kh, kw)
    inputs = [writer.weight(layer, "W", W)]
    if layer.use_bias:
        inputs.append(writer.weight(layer, "b", layer.params["b"]))
    where = {"kernel_shape": layer.kernel_size, **_places(layer)}
    beyond = [max(s - k, 0) for k, s in zip(layer.kernel_size, layer.strides, strict=True)]
    if any(beyond) and layer.padding in ("valid", "same"):
        where["output_padding"] = beyond  # rows that no window reaches
    writer.add("ConvTranspose", layer.name, *inputs, **where)


def _pool(op: str) -> Callable[[_Writer, Any], None]:
    def write(writer: _Writer, layer: MaxPool2D | AveragePool2D) -> None:
        writer.channels_first(layer.input_shape)
        writer.add(op, layer.name, kernel_shape=layer.pool_size, **_places(layer))

    return write


def _places(layer: Any) -> dict[str, Any]:
    top, bottom, left, right = layer.pads
    return {"strides": layer.strides, "pads": [top, left, bottom, right]}


def _global_pool(op: str) -> Callable[[_Writer, Any], None]:
    def write(writer: _Writer, layer: Layer) -> None:
        writer.channels_first(layer.input_shape)
        writer.add(op, layer.name)  # (n, c, h, w) -> (n, c, 1, 1)
        axes = writer.integers(layer, "axes", [2, 3])
        writer.add("Squeeze", f"{layer.name}.squeeze", axes)  # -> (n, c)
        writer.first = False

    return write


def _zero_padding(writer: _Writer, layer: ZeroPadding2D) -> None:
    writer.channels_first(layer.input_shape)
    top, bottom, left, right = layer.pads
    pads = writer.integers(layer, "pads", [0, 0, top, left, 0, 0, bottom, right])
    writer.add("Pad", layer.name, pads)


def _up_sampling(writer: _Writer, layer: UpSampling2D) -> None:
    writer.channels_first(layer.input_shape)
    name = f"{writer.inside}{layer.name}.scales"
    scales = np.array([1, 1, *layer.size], np.float32)
    writer.weights.append(writer.onnx.numpy_helper.from_array(scales, name))
    how = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
    if layer.interpolation == "nearest":
        how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric"}
        how["nearest_mode"] = "floor"
    writer.add("Resize", layer.name, "", name, **how)


def _reshape(writer: _Writer, layer: Reshape) -> None:
    writer.channels_last(layer.input_shape)
    shape = writer.integers(layer, "shape", [0, *layer.output_shape])  # 0: as many as there are
    writer.add("Reshape", layer.name, shape)


def _dense(writer: _Writer, layer: Dense) -> None:
    W = layer.params["W"]
    inputs = [writer.weight(layer, "W", W if writer.order is None else W[writer.order])]
    if layer.use_bias:
        inputs.append(writer.weight(layer, "b", layer.params["b"]))
    writer.add("Gemm", layer.name, *inputs)
    writer.order = None


def _flatten(writer: _Writer, layer: Flatten) -> None:
    if writer.first:
        ours = np.arange(layer.output_shape[0]).reshape(layer.input_shape)
        writer.order = np.moveaxis(ours, -1, 0).ravel()
        writer.first = False
    writer.add("Flatten", layer.name, axis=1)


def _batch_norm(writer: _Writer, layer: BatchNorm) -> None:
    writer.channels_first(layer.input_shape)
    arrays = layer.params | layer.buffers
    inputs = [
        writer.weight(
            layer, key, arrays[key] if writer.order is None else arrays[key][writer.order]
        )
        for key in ("gamma", "beta", "running_mean", "running_var")
    ]
    settings = {"epsilon": layer.epsilon, "momentum": layer.momentum}
    writer.add("BatchNormalization", layer.name, *inputs, **settings)


def _layer_norm(writer: _Writer, layer: LayerNorm) -> None:
    """Over all values in either layout; over some axes only where they are the last."""
    arrays = [layer.params[key] for key in ("gamma", "beta")]
    over = arrays[0].ndim
    if over < len(layer.input_shape):
        writer.channels_last(layer.input_shape)
    elif writer.order is not None:
        arrays = [array[writer.order] for array in arrays]
    elif writer.first:
        arrays = [np.moveaxis(array, -1, 0) for array in arrays]
    inputs = [writer.weight(layer, *of) for of in zip(("gamma", "beta"), arrays, strict=True)]
    writer.add("LayerNormalization", layer.name, *inputs, axis=-over, epsilon=layer.epsilon)


def _softmax(op: str) -> Callable[[_Writer, Any], None]:
    def write(writer: _Writer, layer: Softmax | LogSoftmax) -> None:
        writer.add(op, layer.name, axis=1 if writer.first else -1)

    return write


def _silu(writer: _Writer, layer: SiLU) -> None:
    """x * sigmoid(x), as all tools write it: the operator Swish is of 2025."""
    x = writer.value
    writer.add("Sigmoid", f"{layer.name}.sigmoid")
    writer.add("Mul", layer.name, x)


def _dropout(writer: _Writer, layer: Dropout) -> None:
    writer.add("Dropout", layer.name, writer.weight(layer, "rate", np.array(layer.rate)))


def _nothing(writer: _Writer, layer: Layer) -> None:
    """What does nothing in inference."""
    writer.add("Identity", layer.name)


def _residual(writer: _Writer, layer: Residual) -> None:
    """Both rows start at the same value, and end alike for the sum."""
    writer.channels_first(layer.input_shape)
    start, first, inside = writer.value, writer.first, writer.inside
    ends = []
    for name, row in (("shortcut", layer.shortcut), ("main", layer.main)):
        writer.value, writer.first = start, first
        writer.inside = f"{inside}{layer.name}.{name}."
        writer.row(row)
        writer.channels_first(layer.output_shape)
        ends.append(writer.value)
    writer.inside = inside
    writer.add("Add", layer.name, ends[0])


WRITERS: dict[type[Layer], Callable[[_Writer, Any], None]] = {
    Conv2D: _conv,
    ConnectedConv2D: _connected,
    Subsampling2D: _subsampling,
    ScaledTanh: _scaled_tanh,
    Conv2DTranspose: _conv_transpose,
    DepthwiseConv2D: _depthwise,
    MaxPool2D: _pool("MaxPool"),
    AveragePool2D: _pool("AveragePool"),
    GlobalAveragePool2D: _global_pool("GlobalAveragePool"),
    GlobalMaxPool2D: _global_pool("GlobalMaxPool"),
    ZeroPadding2D: _zero_padding,
    UpSampling2D: _up_sampling,
    Reshape: _reshape,
    Dense: _dense,
    Flatten: _flatten,
    Softmax: _softmax("Softmax"),
    LogSoftmax: _softmax("LogSoftmax"),
    SiLU: _silu,
    Dropout: _dropout,
    GaussianNoise: _nothing,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    Residual: _residual,
}
