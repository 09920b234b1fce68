"""Keras: the same network there, and weights in and out.

Both have channels last, the same layouts, and the same BatchNorm (momentum, biased running
variance), so weights are copied as they are. Keras pads "valid" and "same" only; any other padding
gets a layer of its own: zeros before a convolution, and a pooling that knows its padding.
TensorFlow computes a bilinear UpSampling2D in float32, in a float64 network as well.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..layers import (
    GELU,
    AveragePool2D,
    BatchNorm,
    ConnectedConv2D,
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
    Residual,
    ScaledTanh,
    Softmax,
    Subsampling2D,
    UpSampling2D,
    ZeroPadding2D,
)
from ..layers.registry import kind_of
from ..layers.window import pads_for
from ..model import Sequential
from . import need
from .shared import check_known, rows_of

if TYPE_CHECKING:
    import keras

Array = NDArray[np.floating]


def build(model: Sequential) -> "keras.Sequential":
    """The equal network, in the model's dtype, for images (n, h, w, c). Its weights are copies."""
    keras = need("keras", "parity")
    check_known(model, "keras.build")
    dtype = model.dtype.name
    start = keras.Input(model.input_shape, dtype=dtype)
    net = keras.Sequential([start, *_row(model.layers, dtype)])
    net.set_weights(weights(model))
    return net


def weights(model: Sequential) -> list[Array]:
    """Copies of all weights and running statistics in Keras's order: `net.set_weights(...)`."""
    check_known(model, "keras.weights")
    return [array.copy() for _, array in _places(model)]


def load_weights(model: Sequential, source: "keras.Model | Sequence[Array]") -> None:
    """Fill the model from a Keras model, or from the list that its `get_weights()` gives.

    By order, converted to the model's dtype. Nothing is written unless everything fits.
    """
    check_known(model, "keras.load_weights")
    if not hasattr(source, "get_weights") and not isinstance(source, (list, tuple)):
        raise InputError(
            f"weights: expected a Keras model or a list of arrays, found {type(source).__name__}"
        )
    found = [np.asarray(a) for a in getattr(source, "get_weights", lambda: source)()]
    known = list(_places(model))
    for number, ((name, array), value) in enumerate(zip(known, found, strict=False)):
        if value.dtype.kind not in "uif" or value.shape != array.shape:
            raise InputError(
                f"{name}: expected numbers {array.shape}, "
                f"found {value.dtype} {value.shape} as weights[{number}]"
            )
    if len(found) != len(known):
        odd = [f"{array.shape} too many" for array in found[len(known) :]]
        odd += [f"nothing for {name}" for name, _ in known[len(found) :]]
        raise InputError(f"weights: expected {len(known)} arrays, found {len(found)}: {odd[0]}")
    for (_, array), value in zip(known, found, strict=True):
        array[:] = value


def _places(model: Sequential) -> Iterator[tuple[str, Array]]:
    """The arrays of all layers by name, in Keras's order."""
    for prefix, layers in rows_of(model.layers):
        for layer in layers:
            for key, array in (layer.params | layer.buffers).items():
                yield f"{prefix}{layer.name}.{key}", array


def _row(layers: Sequence[Layer], dtype: str) -> "list[keras.Layer]":
    return [made for layer in layers for made in _layers(layer, dtype)]


def _layers(layer: Layer, dtype: str) -> "list[keras.Layer]":
    """The layer in Keras: one, or two where the padding takes one of its own."""
    import keras

    from . import keras_layers as ours

    kl = keras.layers
    if equal := kind_of(layer).keras:
        return [getattr(kl, equal.name)(**equal.settings(layer), dtype=dtype)]
    last = {"data_format": "channels_last", "dtype": dtype}
    match layer:
        case Conv2D() | DepthwiseConv2D():
            return _convolution(layer, kl, last)
        case Conv2DTranspose():
            return _conv_transpose(layer, kl, last)
        case MaxPool2D() | AveragePool2D():
            padding = _padding(layer, layer.pool_size)
            if padding is None:
                window = layer.pool_size, layer.strides, _edges(layer)
                return [ours.PaddedPooling2D(isinstance(layer, MaxPool2D), *window, dtype=dtype)]
            kind = kl.MaxPooling2D if isinstance(layer, MaxPool2D) else kl.AveragePooling2D
            return [kind(layer.pool_size, layer.strides, padding, **last)]
        case GlobalAveragePool2D():
            return [kl.GlobalAveragePooling2D(**last)]
        case ConnectedConv2D():
            table = layer.connections, layer.kernel_size, layer.use_bias
            return [ours.ConnectedConv2D(*table, dtype=dtype)]
        case Subsampling2D():
            return [ours.Subsampling2D(layer.pool_size, dtype=dtype)]
        case ScaledTanh():
            return [ours.ScaledTanh(dtype=dtype)]
        case GlobalMaxPool2D():
            return [kl.GlobalMaxPooling2D(**last)]
        case ZeroPadding2D():
            return [kl.ZeroPadding2D(_edges(layer), **last)]
        case UpSampling2D():
            return [kl.UpSampling2D(layer.size, interpolation=layer.interpolation, **last)]
        case Reshape():
            return [kl.Reshape(layer.target_shape, dtype=dtype)]
        case Dense():
            how = {"use_bias": layer.use_bias, "kernel_regularizer": _price(layer)}
            return [kl.Dense(layer.units, **how, dtype=dtype)]
        case BatchNorm():
            return [
                kl.BatchNormalization(momentum=layer.momentum, epsilon=layer.epsilon, dtype=dtype)
            ]
        case LayerNorm():
            return [kl.LayerNormalization(layer.axis, layer.epsilon, dtype=dtype)]
        case Flatten():
            return [kl.Flatten(**last)]
        case Softmax():
            return [kl.Softmax(dtype=dtype)]
        case LogSoftmax():
            return [kl.Activation("log_softmax", dtype=dtype)]
        case GELU():
            gelu = functools.partial(keras.activations.gelu, approximate=layer.is_approximate)
            return [kl.Activation(gelu, dtype=dtype)]
        case Dropout():
            return [kl.Dropout(layer.rate, dtype=dtype)]
        case Residual():
            x = keras.Input(layer.input_shape, dtype=dtype)
            main = keras.Sequential(_row(layer.main, dtype))
            shortcut = keras.Sequential(_row(layer.shortcut, dtype) or [kl.Identity(dtype=dtype)])
            return [keras.Model(x, kl.Add(dtype=dtype)([main(x), shortcut(x)]))]
    raise InputError(f"keras: no equal of {layer}")


def _price(layer: Layer) -> "keras.Regularizer | None":
    import keras

    ours = layer.kernel_regularizer
    return ours and keras.regularizers.L1L2(ours.l1, ours.l2)


def _convolution(layer: Conv2D | DepthwiseConv2D, kl: Any, last: dict[str, Any]) -> list[Any]:
    (sh, sw), padding = layer.strides, _padding(layer, layer.span)
    if max(sh, sw) > 1 and max(layer.dilation_rate) > 1:
        raise InputError(f"keras: no equal of {layer}: strides and dilation together")
    how = {"strides": layer.strides, "dilation_rate": layer.dilation_rate, **last}
    how |= {"use_bias": layer.use_bias, "padding": padding or "valid"}
    if isinstance(layer, Conv2D):
        how["kernel_regularizer"] = _price(layer)
        conv = kl.Conv2D(layer.filters, layer.kernel_size, **how)
    elif sh != sw:
        raise InputError(f"keras: no equal of {layer}: other strides down than to the right")
    else:
        conv = kl.DepthwiseConv2D(layer.kernel_size, depth_multiplier=layer.depth_multiplier, **how)
    return [conv] if padding else [kl.ZeroPadding2D(_edges(layer), **last), conv]


def _conv_transpose(layer: Conv2DTranspose, kl: Any, last: dict[str, Any]) -> list[Any]:
    word = layer.padding if layer.padding in ("valid", "same") else None
    how = {"use_bias": layer.use_bias, "padding": word or "valid", **last}
    made = kl.Conv2DTranspose(layer.filters, layer.kernel_size, layer.strides, **how)
    if word:
        return [made]
    # Keras's ends in rows that no window reaches where the stride is larger than it
    pairs = zip(layer.kernel_size, layer.strides, _edges(layer), strict=True)
    cut = tuple((first, end + max(s - k, 0)) for k, s, (first, end) in pairs)
    return [made, kl.Cropping2D(cut, **last)]


def _padding(
    layer: Conv2D | DepthwiseConv2D | MaxPool2D | AveragePool2D, window: tuple[int, int]
) -> str | None:
    """Keras's word for the layer's padding, if it has one."""
    h, w, _ = layer.input_shape
    for word in ("valid", "same"):
        if layer.pads == pads_for(word, (h, w), window, layer.strides):
            return word
    return None


def _edges(
    layer: Conv2D | Conv2DTranspose | DepthwiseConv2D | MaxPool2D | AveragePool2D | ZeroPadding2D,
) -> tuple[tuple[int, int], tuple[int, int]]:
    top, bottom, left, right = layer.pads
    return (top, bottom), (left, right)
