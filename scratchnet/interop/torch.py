"""PyTorch: the same network there, and weights in and out.

What the two do differently, and what is done about it:

layout      PyTorch has channels first: images (n, c, h, w), convolution weights (f, c, kh, kw), and
            Linear weights (out, in). It flattens images in the order c, h, w, not h, w, c: the rows
            of the Dense after a Flatten change places, and a BatchNorm's values in between.
padding     where ours is uneven, or wider than PyTorch's pooling allows, a module of its own pads.
BatchNorm   PyTorch's momentum is 1 minus ours. Both normalize by the batch's biased variance; for
            the running variance PyTorch takes the unbiased one, m / (m - 1) times as large for m
            values a channel. It is copied as it is: evaluation is the same in both, and what either
            adds in further training differs by that factor.

regularizers are left out: to PyTorch they are the optimizer's weight decay, or part of the loss.

Module number i is layer number i, so names are those of an nn.Sequential of the same row. A
state_dict is read by order, not by name: any network with the same parameters in the same order.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    Softmax,
    Subsampling2D,
    UpSampling2D,
    ZeroPadding2D,
)
from ..layers.registry import kind_of
from ..model import Sequential
from . import need
from .shared import check_known, rows_of

if TYPE_CHECKING:
    import torch

Array = NDArray[np.floating]

#: PyTorch's name for each of our arrays
KEYS = {"W": "weight", "b": "bias", "gamma": "weight", "beta": "bias"}
#: of W: (kh, kw, c, f) -> (f, c, kh, kw), (kh, kw, k) -> (k, kh, kw), and (in, out) -> (out, in)
AXES = {4: (3, 2, 0, 1), 3: (2, 0, 1), 2: (1, 0), 1: (0,)}
#: of what belongs to whole images: (h, w, c) -> (c, h, w)
IMAGE_AXES = 2, 0, 1
#: where PyTorch's features are in ours; None where they are in the same places
Order = NDArray[np.intp] | None
COUNTER = "num_batches_tracked"  # PyTorch's BatchNorm has it; with a momentum it is not used


class Place(NamedTuple):
    """One array of a model, seen as PyTorch has it."""

    name: str
    array: Array
    key: str
    rows: NDArray[np.intp] | slice  # an index of our first axis: PyTorch's order

    def read(self) -> Array:
        return np.ascontiguousarray(self.array[self.rows].transpose(self.axes))

    def write(self, value: Array) -> None:
        self.array[self.rows] = value.transpose(np.argsort(self.axes))

    @property
    def axes(self) -> tuple[int, ...]:
        """Our axes in PyTorch's order."""
        rank = self.array.ndim
        if self.name.endswith(".W"):
            return AXES[rank]
        return IMAGE_AXES if rank == 3 else tuple(range(rank))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape[axis] for axis in self.axes)


def channels_first(shape: Sequence[int]) -> NDArray[np.intp]:
    """For each place of a flattened (c, h, w), where its value is in the flattened (h, w, c)."""
    return np.arange(math.prod(shape)).reshape(shape).transpose(2, 0, 1).ravel()


def build(model: Sequential) -> "torch.nn.Sequential":
    """The equal network, in the model's dtype, for images (n, c, h, w); in training mode.

    Its weights are copies. Raises InputError for a layer that PyTorch has no equal of.
    """
    torch = need("torch", "parity")
    check_known(model, "torch.build")
    net = _row(model.layers).to(getattr(torch, model.dtype.name))
    tensors = [tensor for name, tensor in net.state_dict().items() if not name.endswith(COUNTER)]
    for tensor, place in zip(tensors, _places(model), strict=True):
        tensor.copy_(torch.from_numpy(place.read()))
    return net


def state_dict(model: Sequential) -> "dict[str, torch.Tensor]":
    """All weights and running statistics as PyTorch has them: what `build(model)` holds."""
    return dict(build(model).state_dict())


def load_state_dict(model: Sequential, state_dict: "Mapping[str, torch.Tensor]") -> None:
    """Fill the model from a state_dict with the same parameters in the same order.

    Values are converted to the model's dtype. Nothing is written unless everything fits.
    """
    torch = need("torch", "parity")
    check_known(model, "torch.load_state_dict")
    if not isinstance(state_dict, Mapping):
        kind = type(state_dict).__name__
        raise InputError(f"state_dict: expected tensors by name, found {kind}")
    found = [(str(name), t) for name, t in state_dict.items() if not str(name).endswith(COUNTER)]
    places = list(_places(model))
    for place, (name, tensor) in zip(places, found, strict=False):
        if not (isinstance(tensor, torch.Tensor) and tensor.is_floating_point()):
            kind = getattr(tensor, "dtype", type(tensor).__name__)
            raise InputError(f"{name}: expected a tensor of floats, found {kind}")
        if name.split(".")[-1] != place.key or tuple(tensor.shape) != place.shape:
            raise InputError(
                f"{place.name}: expected {place.key} {place.shape}, found {name} "
                f"{tuple(tensor.shape)}"
            )
    if len(found) != len(places):
        odd = [f"{name} too many" for name, _ in found[len(places) :]]
        odd += [f"nothing for {place.name}" for place in places[len(found) :]]
        raise InputError(
            f"state_dict: expected {len(places)} tensors, found {len(found)}: {odd[0]}"
        )
    for place, (_, tensor) in zip(places, found, strict=True):
        place.write(tensor.detach().cpu().to(torch.float64).numpy())


def _places(model: Sequential) -> Iterator[Place]:
    """The arrays of all layers, in the order of PyTorch's state_dict."""
    for prefix, layers in rows_of(model.layers):
        order: Order = None
        for layer in layers:
            for key, array in (layer.params | layer.buffers).items():
                if isinstance(layer, DepthwiseConv2D) and key == "W":
                    # (kh, kw, c, m) -> (kh, kw, 1, c*m): PyTorch has groups of one channel
                    array = array.reshape(*layer.kernel_size, 1, -1)
                moved = key == "W" or isinstance(layer, (BatchNorm, LayerNorm))
                rows = order if moved and order is not None else slice(None)
                yield Place(f"{prefix}{layer.name}.{key}", array, KEYS.get(key, key), rows)
            order = _order_after(layer, order)


def _order_after(layer: Layer, order: Order) -> Order:
    """The order of the features after a layer, `order` being the one before it."""
    if isinstance(layer, Flatten) and len(layer.input_shape) == 3:
        return channels_first(layer.input_shape)
    return None if isinstance(layer, (Dense, Reshape)) else order


def _row(layers: Sequence[Layer]) -> "torch.nn.Sequential":
    """A row of layers as modules, which ends in our order of features."""
    from torch import nn

    from .torch_modules import Reorder

    modules: list[nn.Module] = []
    order: Order = None
    for layer in layers:
        module = _module(layer)
        if isinstance(layer, (Residual, Reshape)) and order is not None:
            module, order = nn.Sequential(Reorder(np.argsort(order)), module), None
        modules.append(module)
        order = _order_after(layer, order)
    if order is not None:  # no Dense has undone PyTorch's
        modules.append(Reorder(np.argsort(order)))
    return nn.Sequential(*modules)


def _convolution(layer: Conv2D | DepthwiseConv2D) -> "torch.nn.Module":
    """Where the edges differ, a padding before it."""
    from torch import nn

    c, f, (top, bottom, left, right) = layer.input_shape[2], layer.output_shape[2], layer.pads
    how: dict[str, Any] = {"bias": layer.use_bias, "dilation": layer.dilation_rate}
    how["groups"] = c if isinstance(layer, DepthwiseConv2D) else 1
    even = (top, left) == (bottom, right)
    conv = nn.Conv2d(
        c, f, layer.kernel_size, layer.strides, padding=(top, left) if even else 0, **how
    )
    return conv if even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv)


def _module(layer: Layer) -> "torch.nn.Module":
    from torch import nn

    from . import torch_modules as ours

    if equal := kind_of(layer).torch:
        return getattr(nn, equal.name)(**equal.settings(layer))
    top, bottom, left, right = getattr(layer, "pads", (0, 0, 0, 0))
    edges, even = (left, right, top, bottom), (top, left) == (bottom, right)
    match layer:
        case Conv2D() | DepthwiseConv2D():
            return _convolution(layer)
        case Conv2DTranspose():
            return _conv_transpose(layer)
        case MaxPool2D() | AveragePool2D():
            (kh, kw), window = layer.pool_size, (layer.pool_size, layer.strides)
            own = even and 2 * top <= kh and 2 * left <= kw  # PyTorch pads by half a window at most
            if isinstance(layer, AveragePool2D):
                if not own:
                    return ours.PaddedAveragePool2d(*window, edges)
                return nn.AvgPool2d(*window, (top, left), count_include_pad=False)
            if not own:
                return nn.Sequential(nn.ConstantPad2d(edges, -math.inf), nn.MaxPool2d(*window))
            return nn.MaxPool2d(*window, (top, left))
        case GlobalAveragePool2D():
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case ConnectedConv2D():
            return ours.ConnectedConv2d(layer.connections, layer.kernel_size, layer.use_bias)
        case Subsampling2D():
            return ours.Subsampling2d(layer.input_shape[2], layer.pool_size)
        case ScaledTanh():
            return ours.ScaledTanh()
        case GlobalMaxPool2D():
            return nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
        case ZeroPadding2D():
            return nn.ZeroPad2d(edges)
        case UpSampling2D():
            return nn.Upsample(scale_factor=layer.size, mode=layer.interpolation)
        case Reshape():
            return ours.ReshapeLast(layer.output_shape)
        case Dense():
            return nn.Linear(layer.input_shape[0], layer.units, layer.use_bias)
        case BatchNorm() if len(layer.input_shape) in (1, 3):
            kind = nn.BatchNorm1d if len(layer.input_shape) == 1 else nn.BatchNorm2d
            return kind(layer.input_shape[-1], layer.epsilon, 1 - layer.momentum)
        case LayerNorm():
            shape = layer.params["gamma"].shape
            if len(layer.input_shape) != 3:
                return nn.LayerNorm(shape, layer.epsilon)
            if len(shape) == 3:
                return nn.LayerNorm([shape[axis] for axis in IMAGE_AXES], layer.epsilon)
            if len(shape) == 1:
                return ours.ChannelNorm(shape, layer.epsilon)
        case Flatten():
            return nn.Flatten()
        case Softmax():
            return nn.Softmax(1 if len(layer.input_shape) == 3 else -1)
        case LogSoftmax():
            return nn.LogSoftmax(1 if len(layer.input_shape) == 3 else -1)
        case Dropout():
            return nn.Dropout(layer.rate)
        case GaussianNoise():
            return ours.GaussianNoise(layer.stddev)
        case Residual():
            return ours.Residual(_row(layer.main), _row(layer.shortcut))
    raise InputError(f"torch: no equal of {layer} for inputs {layer.input_shape}")


def _conv_transpose(layer: Conv2DTranspose) -> "torch.nn.Module":
    """Where PyTorch cuts off less or unevenly, a module of its own does: padding below 0."""
    from torch import nn

    top, bottom, left, right = layer.pads
    sizes = layer.input_shape[2], layer.filters, layer.kernel_size, layer.strides
    (h, w, _), (out_h, out_w, _) = layer.input_shape, layer.output_shape
    (kh, kw), (sh, sw) = layer.kernel_size, layer.strides
    # rows and columns at the end that no window reaches
    more = out_h + top + bottom - (h - 1) * sh - kh, out_w + left + right - (w - 1) * sw - kw
    if (top, left) == (bottom, right):
        return nn.ConvTranspose2d(*sizes, (top, left), more, bias=layer.use_bias)
    whole = nn.ConvTranspose2d(*sizes, 0, more, bias=layer.use_bias)
    return nn.Sequential(whole, nn.ZeroPad2d((-left, -right, -top, -bottom)))
