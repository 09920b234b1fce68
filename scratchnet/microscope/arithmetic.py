"""One number of a network, spelled out: the sum that makes one gradient entry, or one output value.

Every formula in layers/ is a sum of products. Here one such sum is written down term by term, with
plain loops over plain indices and nothing of the layers' own code, for one example and in float64.

A kind of layer has its own function in GRADIENTS and OUTPUTS, or a formula in the registry, which
says what each output is of the input at the same place. A subclass may compute something else, so
it is not taken for its parent.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, is_whole
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
    Softmax,
    Subsampling2D,
    UpSampling2D,
    ZeroPadding2D,
    kind_of,
)
from ..text import columns, index_text
from .sums import Index, Sum, Term

__all__ = [
    "GRADIENTS",
    "OUTPUTS",
    "Index",
    "Sum",
    "Term",
    "checked_index",
    "columns",  # lives in text.py; its old place
    "gradient_sum",
    "linear_output",
    "output_sum",
    "residual_output",
]

Array = NDArray[np.floating]


def checked_index(index: Any, shape: Index, what: str) -> Index:
    """index as a tuple of integers within the shape, or an error that names both."""
    found = tuple(index) if isinstance(index, (tuple, list)) else (index,)
    fits = len(found) == len(shape) and all(is_whole(i, 0) for i in found)
    if not fits or any(i >= size for i, size in zip(found, shape, strict=True)):
        raise InputError(f"{what}: expected an index within {shape}, found {index!r}")
    return tuple(int(i) for i in found)


def _window(layer: Any, i: int, j: int, size: tuple[int, int]) -> Iterator[tuple[Index, Any]]:
    """Of output (i, j): each (u, v) in the window with the pixel (row, column) of x that it sees.

    The pixel is None on padding.
    """
    (sh, sw), (top, _, left, _) = layer.strides, layer.pads
    dh, dw = getattr(layer, "dilation_rate", (1, 1))
    h, w, _ = layer.input_shape
    for u, v in np.ndindex(size):
        row, column = i * sh + u * dh - top, j * sw + v * dw - left
        inside = 0 <= row < h and 0 <= column < w
        yield (u, v), (row, column) if inside else None


def _coordinate(letter: str, stride: int, offset: int) -> str:
    """i, 2i, i+1, 2i-1: where in x the window's pixel lies."""
    return (letter if stride == 1 else f"{stride}{letter}") + (f"{offset:+d}" if offset else "")


# ---- gradients: (layer, key, index, x, dy, training) -> the sum that is the gradient's entry -----


def _conv2d_gradient(
    layer: Any, key: str, index: Index, x: Array, dy: Array, training: bool
) -> Sum:
    f = index[-1]
    places = list(np.ndindex(dy.shape[:2]))
    if key == "b":
        terms = [Term(p, None, 1.0, float(dy[(*p, f)])) for p in places]
        return Sum(f"dL/db[{f}] = sum over i, j of dy[i, j, {f}]", "dy", terms)
    u, v, c = index[:3]
    if isinstance(layer, DepthwiseConv2D):
        f += c * layer.depth_multiplier
    (sh, sw), (dh, dw), (top, _, left, _) = layer.strides, layer.dilation_rate, layer.pads
    down, right = u * dh - top, v * dw - left
    terms = []
    for i, j in places:
        row, column = i * sh + down, j * sw + right
        inside = 0 <= row < x.shape[0] and 0 <= column < x.shape[1]
        source = (row, column, c) if inside else None
        terms.append(Term((i, j), source, float(x[source]) if inside else 0.0, float(dy[i, j, f])))
    where = f"{_coordinate('i', sh, down)}, {_coordinate('j', sw, right)}, {c}"
    formula = f"dL/dW{index_text(index)} = sum over i, j of x[{where}] * dy[i, j, {f}]"
    return Sum(formula, "dy", terms)


def _conv_transpose_gradient(
    layer: Any, key: str, index: Index, x: Array, dy: Array, training: bool
) -> Sum:
    if key == "b":
        return _conv2d_gradient(layer, key, index, x, dy, training)
    u, v, f, c = index
    (sh, sw), (top, _, left, _) = layer.strides, layer.pads
    terms = []
    for i, j in np.ndindex(x.shape[:2]):
        row, column = i * sh + u - top, j * sw + v - left
        inside = 0 <= row < dy.shape[0] and 0 <= column < dy.shape[1]  # not what was cut off
        factor = float(dy[row, column, f]) if inside else 0.0
        terms.append(Term((i, j), (i, j, c), float(x[i, j, c]), factor))
    where = f"{_coordinate('i', sh, u - top)}, {_coordinate('j', sw, v - left)}, {f}"
    formula = f"dL/dW{index_text(index)} = sum over i, j of x[i, j, {c}] * dy[{where}]"
    return Sum(formula, "dy", terms)


def _connected_gradient(
    layer: Any, key: str, index: Index, x: Array, dy: Array, training: bool
) -> Sum:
    if key == "b":
        return _conv2d_gradient(layer, key, index, x, dy, training)
    u, v, k = index
    c, f = int(layer.reads[k]), int(layer.makes[k])
    terms = [
        Term((i, j), (i + u, j + v, c), float(x[i + u, j + v, c]), float(dy[i, j, f]))
        for i, j in np.ndindex(dy.shape[:2])
    ]
    where = f"{_coordinate('i', 1, u)}, {_coordinate('j', 1, v)}, {c}"
    formula = f"dL/dW{index_text(index)} = sum over i, j of x[{where}] * dy[i, j, {f}]"
    return Sum(formula, "dy", terms)


def _subsampling_gradient(
    layer: Any, key: str, index: Index, x: Array, dy: Array, training: bool
) -> Sum:
    if key == "b":
        return _conv2d_gradient(layer, key, index, x, dy, training)
    (c,), (kh, kw) = index, layer.pool_size
    terms = []
    for i, j in np.ndindex(dy.shape[:2]):
        s = float(x[i * kh : (i + 1) * kh, j * kw : (j + 1) * kw, c].sum())
        terms.append(Term((i, j), None, s, float(dy[i, j, c])))
    formula = f"dL/dW[{c}] = sum over i, j of (sum of the window) * dy[i, j, {c}]"
    return Sum(formula, "dy", terms)


def _dense_gradient(layer: Any, key: str, index: Index, x: Array, dy: Array, training: bool) -> Sum:
    j = index[-1]
    if key == "b":
        return Sum(f"dL/db[{j}] = dy[{j}]", "dy", [Term((j,), None, 1.0, float(dy[j]))])
    i = index[0]
    terms = [Term((j,), (i,), float(x[i]), float(dy[j]))]
    return Sum(f"dL/dW[{i}, {j}] = x[{i}] * dy[{j}]", "dy", terms)


def _batch_norm_gradient(
    layer: Any, key: str, index: Index, x: Array, dy: Array, training: bool
) -> Sum:
    (c,) = index
    scale, shift = normalizing(layer, c, x, training)
    places = list(np.ndindex(dy.shape[:-1]))
    if key == "beta":
        terms = [Term(p or (0,), None, 1.0, float(dy[(*p, c)])) for p in places]
        return Sum(f"dL/dbeta[{c}] = sum over positions of dy[..., {c}]", "dy", terms)
    terms = [
        Term(p or (0,), (*p, c), float(x[(*p, c)]) * scale + shift, float(dy[(*p, c)]))
        for p in places
    ]
    formula = f"dL/dgamma[{c}] = sum over positions of x_hat[..., {c}] * dy[..., {c}]"
    return Sum(formula, "dy", terms)


def normalizing(layer: Any, c: int, x: Array, training: bool) -> tuple[float, float]:
    """scale and shift with x_hat = scale * x + shift, for channel c."""
    if training:
        mu, var = float(x[..., c].mean()), float(x[..., c].var())
    else:
        mu, var = (float(layer.buffers[key][c]) for key in ("running_mean", "running_var"))
    scale = 1 / math.sqrt(var + layer.epsilon)
    return scale, -mu * scale


def _layer_norm_gradient(
    layer: Any, key: str, index: Index, x: Array, dy: Array, training: bool
) -> Sum:
    places = list(np.ndindex(x.shape[: x.ndim - len(index)]))
    at = ", ".join(["...", *map(str, index)])
    terms = []
    for p in places:
        scale, shift = normalizing_row(layer, x[p])
        x_hat, one = float(x[(*p, *index)]) * scale + shift, key == "beta"
        source = None if one else (*p, *index)
        terms.append(Term(p or (0,), source, 1.0 if one else x_hat, float(dy[(*p, *index)])))
    factor = "" if key == "beta" else f"x_hat[{at}] * "
    return Sum(f"dL/d{key}{index_text(index)} = sum of {factor}dy[{at}]", "dy", terms)


def normalizing_row(layer: Any, row: Array) -> tuple[float, float]:
    """scale and shift with x_hat = scale * x + shift, for values normalized together."""
    mu, var = float(row.mean()), float(row.var())
    scale = 1 / math.sqrt(var + layer.epsilon)
    return scale, -mu * scale


GRADIENTS: dict[type[Layer], Callable[..., Sum]] = {
    Conv2D: _conv2d_gradient,
    ConnectedConv2D: _connected_gradient,
    Subsampling2D: _subsampling_gradient,
    Conv2DTranspose: _conv_transpose_gradient,
    DepthwiseConv2D: _conv2d_gradient,
    Dense: _dense_gradient,
    BatchNorm: _batch_norm_gradient,
    LayerNorm: _layer_norm_gradient,
}


def gradient_sum(
    layer: Layer, key: str, index: Index, x: Array, dy: Array | None, training: bool
) -> Sum | None:
    """The sum that is the gradient's entry; None for a kind whose arithmetic is not written out."""
    if type(layer) not in GRADIENTS:
        return None
    return GRADIENTS[type(layer)](layer, key, index, x, dy, training)


# ---- outputs: (layer, index, x, y, training) -> the sum that is y[index] -------------------------


def _conv2d_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    i, j, f = index
    W = layer.params["W"]
    terms = []
    for (u, v), pixel in _window(layer, i, j, W.shape[:2]):
        for c in range(W.shape[2]):
            source = (*pixel, c) if pixel else None
            value = float(x[source]) if source else 0.0
            terms.append(Term((u, v, c), source, value, float(W[u, v, c, f])))
    (sh, sw), (dh, dw), (top, _, left, _) = layer.strides, layer.dilation_rate, layer.pads
    patch = f"x[{_coordinate('u', dh, i * sh - top)}, {_coordinate('v', dw, j * sw - left)}, c]"
    bias = float(layer.params["b"][f]) if layer.use_bias else 0.0
    constant = f"b[{f}] + " if layer.use_bias else ""
    formula = f"y{index_text(index)} = {constant}sum over u, v, c of {patch} * W[u, v, c, {f}]"
    return Sum(formula, "W", terms, bias)


def _depthwise_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    i, j, f = index
    W = layer.params["W"]
    c, d = divmod(f, layer.depth_multiplier)
    terms = []
    for (u, v), pixel in _window(layer, i, j, W.shape[:2]):
        source = (*pixel, c) if pixel else None
        value = float(x[source]) if source else 0.0
        terms.append(Term((u, v, 0), source, value, float(W[u, v, c, d])))
    (sh, sw), (dh, dw), (top, _, left, _) = layer.strides, layer.dilation_rate, layer.pads
    patch = f"x[{_coordinate('u', dh, i * sh - top)}, {_coordinate('v', dw, j * sw - left)}, {c}]"
    bias = float(layer.params["b"][f]) if layer.use_bias else 0.0
    constant = f"b[{f}] + " if layer.use_bias else ""
    formula = f"y{index_text(index)} = {constant}sum over u, v of {patch} * W[u, v, {c}, {d}]"
    return Sum(formula, "W", terms, bias)


def _connected_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    i, j, f = index
    W = layer.params["W"]
    terms = []
    for k in map(int, np.flatnonzero(layer.makes == f)):
        c = int(layer.reads[k])
        for u, v in np.ndindex(W.shape[:2]):
            source = (i + u, j + v, c)
            terms.append(Term((u, v, c), source, float(x[source]), float(W[u, v, k])))
    bias = float(layer.params["b"][f]) if layer.use_bias else 0.0
    constant = f"b[{f}] + " if layer.use_bias else ""
    patch = f"x[{_coordinate('u', 1, i)}, {_coordinate('v', 1, j)}, c]"
    seen = index_text(layer.connections[f])
    formula = f"y{index_text(index)} = {constant}sum over u, v and c in {seen} of {patch} * W"
    return Sum(formula, "W", terms, bias)


def _subsampling_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    i, j, c = index
    weight, bias = float(layer.params["W"][c]), float(layer.params["b"][c])
    terms = [
        Term((*at, 0), (*pixel, c), float(x[(*pixel, c)]), weight)
        for at, pixel in _window(layer, i, j, layer.pool_size)
    ]
    formula = f"y{index_text(index)} = b[{c}] + sum over the window's x of x * W[{c}]"
    return Sum(formula, "W", terms, bias)


def _conv_transpose_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    p, q, f = index
    W, (h, w, _) = layer.params["W"], x.shape
    (sh, sw), (top, _, left, _) = layer.strides, layer.pads
    terms = []
    for u, v in np.ndindex(W.shape[:2]):
        # which pixel of x put this tap of its window here; between pixels, as if there were zeros
        (i, down), (j, right) = divmod(p + top - u, sh), divmod(q + left - v, sw)
        inside = down == right == 0 and 0 <= i < h and 0 <= j < w
        for c in range(W.shape[3]):
            source = (i, j, c) if inside else None
            value = float(x[source]) if source else 0.0
            terms.append(Term((u, v, c), source, value, float(W[u, v, f, c])))
    bias = float(layer.params["b"][f]) if layer.use_bias else 0.0
    constant = f"b[{f}] + " if layer.use_bias else ""
    rows = f"{_coordinate('i', sh, 0)} + u = {p + top}"
    columns = f"{_coordinate('j', sw, 0)} + v = {q + left}"
    formula = (
        f"y{index_text(index)} = {constant}sum of x[i, j, c] * W[u, v, {f}, c] "
        f"over {rows} and {columns}"
    )
    return Sum(formula, "W", terms, bias)


def _dense_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    (j,) = index
    weights = layer.params["W"][:, j]
    terms = [Term((i,), (i,), float(x[i]), float(weight)) for i, weight in enumerate(weights)]
    bias = float(layer.params["b"][j]) if layer.use_bias else 0.0
    constant = f"b[{j}] + " if layer.use_bias else ""
    return Sum(f"y[{j}] = {constant}sum over i of x[i] * W[i, {j}]", "W", terms, bias)


def _max_pool_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    i, j, c = index
    # padding never wins
    seen = [(at, (*pixel, c)) for at, pixel in _window(layer, i, j, layer.pool_size) if pixel]
    formula = f"y{index_text(index)} = the largest x of the window"
    return Sum(formula, "wins", _largest(seen, x, float(y[index])))


def _global_max_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    (c,) = index
    h, w, _ = x.shape
    terms = _largest([(p, (*p, c)) for p in np.ndindex(h, w)], x, float(y[index]))
    return Sum(f"y[{c}] = the largest of all {h * w} x[i, j, {c}]", "wins", terms)


def _largest(seen: list[tuple[Index, Index]], x: Array, largest: float) -> list[Term]:
    """Of each (position, source): whether it is the one that the maximum is a copy of."""
    terms, won = [], False
    for place, source in seen:
        value = float(x[source])
        wins = not won and (value == largest or math.isnan(value))  # the first of equals
        won = won or wins
        terms.append(Term(place, source, value, float(wins)))
    return terms


def _average_pool_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    i, j, c = index
    seen = [(place, (*pixel, c)) for place, pixel in _window(layer, i, j, layer.pool_size) if pixel]
    share = 1 / len(seen)
    terms = [Term(place, source, float(x[source]), share) for place, source in seen]
    return Sum(f"y{index_text(index)} = the mean of the window's {len(seen)} x", "share", terms)


def _global_average_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    (c,) = index
    h, w, _ = x.shape
    terms = [Term(p, (*p, c), float(x[(*p, c)]), 1 / (h * w)) for p in np.ndindex(h, w)]
    return Sum(f"y[{c}] = the mean of all {h * w} x[i, j, {c}]", "share", terms)


def _zero_padding_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    top, _, left, _ = layer.pads
    source = index[0] - top, index[1] - left, index[2]
    if not all(0 <= i < size for i, size in zip(source, x.shape, strict=True)):
        term = Term((0,), None, 0.0, 1.0)
        return Sum(f"y{index_text(index)} = 0, in the frame", "copied", [term])
    term = Term((0,), source, float(x[source]), 1.0)
    return Sum(f"y{index_text(index)} = x{index_text(source)}", "copied", [term])


def _up_sampling_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    (i, j, c), place = index, index_text(index)
    if layer.interpolation == "nearest":
        source = i // layer.size[0], j // layer.size[1], c
        term = Term((0,), source, float(x[source]), 1.0)
        return Sum(f"y{place} = x{index_text(source)}", "copied", [term])
    (sh, sw), (h, w, _) = layer.size, x.shape
    sides = beside(i, sh, h), beside(j, sw, w)
    terms = [
        Term((u, v), (row, column, c), float(x[row, column, c]), a * b)
        for u, (row, a) in enumerate(sides[0])
        for v, (column, b) in enumerate(sides[1])
    ]
    return Sum(f"y{place} = the x around it, the nearer the more", "share", terms)


def beside(at: int, factor: int, extent: int) -> list[tuple[int, float]]:
    """The old pixels on both sides of new pixel `at`, along one axis, each with its share."""
    middle = min(max((at + 0.5) / factor - 0.5, 0.0), extent - 1.0)
    low = int(middle)
    found = [(low, 1 - (middle - low)), (low + 1, middle - low)]
    return [(pixel, share) for pixel, share in found if share]


def _reshape_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    number = np.ravel_multi_index(index, y.shape)
    source = tuple(int(i) for i in np.unravel_index(number, x.shape))
    terms = [Term((0,), source, float(x[source]), 1.0)]
    return Sum(f"y{index_text(index)} = x{index_text(source)}", "copied", terms)


def _dropout_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    kept = 1 / (1 - layer.rate) if training else 1.0
    factor = kept if y[index] != 0 else 0.0
    terms = [Term((0,), index, float(x[index]), factor)]
    return Sum(f"y{index_text(index)} = x{index_text(index)} * mask", "mask", terms)


def _gaussian_noise_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    place, noise = index_text(index), float(y[index]) - float(x[index])
    added = " + noise" if training else ""
    terms = [Term((0,), index, float(x[index]), 1.0)]
    return Sum(f"y{place} = x{place}{added}", "weight", terms, noise)


def _batch_norm_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    c = index[-1]
    scale, shift = normalizing(layer, c, x, training)
    gamma, beta = (float(layer.params[key][c]) for key in ("gamma", "beta"))
    place = index_text(index)
    return Sum(
        f"y{place} = gamma[{c}] * (x{place} - mean) / sqrt(var + epsilon) + beta[{c}]",
        "gamma/sqrt",
        [Term((0,), index, float(x[index]), gamma * scale)],
        gamma * shift + beta,
    )


def _layer_norm_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    over = index[x.ndim - layer.params["gamma"].ndim :]
    scale, shift = normalizing_row(layer, x[index[: x.ndim - len(over)]])
    gamma, beta = (float(layer.params[key][over]) for key in ("gamma", "beta"))
    place, own = index_text(index), index_text(over)
    return Sum(
        f"y{place} = gamma{own} * (x{place} - mean) / sqrt(var + epsilon) + beta{own}",
        "gamma/sqrt",
        [Term((0,), index, float(x[index]), gamma * scale)],
        gamma * shift + beta,
    )


def _softmax_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    row = x[index[:-1]]
    e = np.exp(row - row.max())
    place = index_text(index)
    terms = [Term((index[-1],), None, float(e[index[-1]]), float(1 / e.sum()))]
    return Sum(f"y{place} = exp(x{place} - max x) / sum of exp(x - max x)", "1/sum", terms)


def _log_softmax_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    row, place = x[index[:-1]], index_text(index)
    most = float(row.max())
    terms = [Term((index[-1],), index, float(x[index]), 1.0)]
    log_sum = most + math.log(math.fsum(math.exp(value - most) for value in row))
    return Sum(f"y{place} = x{place} - log of the sum of exp(x)", "weight", terms, -log_sum)


OUTPUTS: dict[type[Layer], Callable[..., Sum]] = {
    Conv2D: _conv2d_output,
    ConnectedConv2D: _connected_output,
    Subsampling2D: _subsampling_output,
    Conv2DTranspose: _conv_transpose_output,
    DepthwiseConv2D: _depthwise_output,
    Dense: _dense_output,
    MaxPool2D: _max_pool_output,
    AveragePool2D: _average_pool_output,
    GlobalAveragePool2D: _global_average_output,
    GlobalMaxPool2D: _global_max_output,
    ZeroPadding2D: _zero_padding_output,
    UpSampling2D: _up_sampling_output,
    Flatten: _reshape_output,
    Reshape: _reshape_output,
    Dropout: _dropout_output,
    GaussianNoise: _gaussian_noise_output,
    BatchNorm: _batch_norm_output,
    LayerNorm: _layer_norm_output,
    Softmax: _softmax_output,
    LogSoftmax: _log_softmax_output,
}


def output_sum(layer: Layer, index: Index, x: Array, y: Array, training: bool) -> Sum | None:
    """The sum that is y[index]; None for a kind of layer whose arithmetic is not written out."""
    if type(layer) in OUTPUTS:
        return OUTPUTS[type(layer)](layer, index, x, y, training)
    formula = kind_of(layer).formula
    return None if formula is None else _elementwise_output(formula, index, x, y)


def _elementwise_output(formula: str, index: Index, x: Array, y: Array) -> Sum:
    """y[index] by a formula of x[index] alone, as one term: x * (y / x)."""
    before, after, place = float(x[index]), float(y[index]), index_text(index)
    factor, constant = after / before if before else math.inf, 0.0
    if after == before:  # infinite ones, too
        factor = float(after != 0)
    if math.isinf(factor):  # no multiple of x
        factor, constant = 0.0, after
    text = f"y{place} = {formula.replace('{x}', f'x{place}')}"
    term = Term((0,), index, before, factor + 0.0)  # -0 would be shown as such
    return Sum(text, "y / x", [term], constant)


def linear_output(kind: str, index: Index, x: Array, value: float, slopes: Array) -> Sum:
    """y[index] of a layer whose arithmetic is not written out, from its slopes dy[index]/dx.

    It is the tangent at x: what is not x times its slope is in the constant.
    """
    terms = [
        Term(source, source, float(x[source]), float(slopes[source]))
        for source in np.ndindex(x.shape)
        if slopes[source] != 0
    ]
    constant = value - math.fsum(term.product for term in terms)
    formula = (
        f"y{index_text(index)} = constant + sum of x * dy/dx; {kind}'s own arithmetic is not "
        "written out, the slopes dy/dx are its backward pass's"
    )
    return Sum(formula, "dy/dx", terms, constant)


def residual_output(index: Index, main: Array, shortcut: Array, is_input: bool) -> Sum:
    """One output of a Residual, from those of its two rows; is_input: the shortcut is x itself."""
    place = index_text(index)
    terms = [
        Term((0,), None, float(main[index]), 1.0),
        Term((1,), index if is_input else None, float(shortcut[index]), 1.0),
    ]
    other = "x" if is_input else "shortcut"
    return Sum(f"y{place} = main{place} + {other}{place}", "weight", terms)
