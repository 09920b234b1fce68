"""One entry of dx, spelled out: the dy that reach it, each times its slope dy/dx.

    dL/dx[k] = sum over q of dL/dy[q] * dy[q]/dx[k]

Every kind of layer is this sum; what differs is which y[q] depend on x[k], and by how much. As in
arithmetic.py the slopes are written down with plain indices and nothing of the layers' own code.

A kind of layer has its own function in INPUTS, or, where y[k] depends on x[k] alone, its slope in
SLOPES. Of any other layer the slopes are measured: see `measured_sum`.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers import (
    ELU,
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
    GaussianNoise,
    GlobalAveragePool2D,
    GlobalMaxPool2D,
    Layer,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    MaxPool2D,
    ReLU,
    Reshape,
    ScaledTanh,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Subsampling2D,
    Tanh,
    UpSampling2D,
    ZeroPadding2D,
)
from ..text import index_text
from .arithmetic import beside, normalizing, normalizing_row
from .layer_trace import LayerTrace
from .sums import Index, Sum, Term

Array = NDArray[np.floating]
#: (the layer's trace, index of x, whether as in training) -> the sum that is dx there
Spelled = Callable[[LayerTrace, Index, bool], Sum]


def _sum(formula: str, factor: str, terms: list[Term]) -> Sum:
    return Sum(formula, factor, terms, first="dy")


def _term(t: LayerTrace, position: Index, source: Index | None, slope: float) -> Term:
    """dy[source] times its slope; without a source there is no dy."""
    return Term(position, source, 0.0 if source is None else float(dy_of(t)[source]), float(slope))


def dy_of(t: LayerTrace) -> Array:
    assert t.dy is not None, "a last Softmax that is folded into the loss is spelled out there"
    return t.dy


# ---- convolutions: the window of dy, and the filter turned round ---------------------------------


def _reaching(layer: Any, row: int, column: int, window: tuple[int, int]) -> Iterator[Any]:
    """Of pixel (row, column): each tap (u, v), its place in the window of dy, and the output there.

    y[i, j] sees the pixel through tap (u, v) where i * stride + u * dilation - pad is its row, and
    likewise its column. A smaller u belongs to a larger i, so in the order of dy the taps stand
    turned round. None for the output where there is none: beyond y's border, or between two steps
    of the stride.
    """
    (sh, sw), (top, _, left, _) = layer.strides, layer.pads
    dh, dw = getattr(layer, "dilation_rate", (1, 1))
    (out_h, out_w), (kh, kw) = layer.output_shape[:2], window
    for u, v in np.ndindex(kh, kw):
        (i, down), (j, right) = divmod(row + top - u * dh, sh), divmod(column + left - v * dw, sw)
        there = down == right == 0 and 0 <= i < out_h and 0 <= j < out_w
        yield (u, v), (kh - 1 - u, kw - 1 - v), (i, j) if there else None


def _where(layer: Any, row: int, column: int) -> str:
    """Over which i, j, u, v the sum goes: i + u = 5 and j + v = 7."""
    (sh, sw), (top, _, left, _) = layer.strides, layer.pads
    dh, dw = getattr(layer, "dilation_rate", (1, 1))

    def times(number: int, letter: str) -> str:
        return letter if number == 1 else f"{number}{letter}"

    rows = f"{times(sh, 'i')} + {times(dh, 'u')} = {row + top}"
    return f"{rows} and {times(sw, 'j')} + {times(dw, 'v')} = {column + left}"


def _conv2d(t: LayerTrace, index: Index, training: bool) -> Sum:
    row, column, c = index
    layer: Any = t.layer
    W = t.params["W"]
    terms = [
        _term(t, (*at, f), (*place, f) if place else None, W[*tap, c, f])
        for tap, at, place in _reaching(layer, row, column, W.shape[:2])
        for f in range(W.shape[3])
    ]
    formula = f"dL/dx{index_text(index)} = sum of dy[i, j, f] * W[u, v, {c}, f] over f and "
    return _sum(formula + _where(layer, row, column), "W", terms)


def _depthwise(t: LayerTrace, index: Index, training: bool) -> Sum:
    row, column, c = index
    layer: Any = t.layer
    W, m = t.params["W"], layer.depth_multiplier
    terms = [
        _term(t, (*at, d), (*place, c * m + d) if place else None, W[*tap, c, d])
        for tap, at, place in _reaching(layer, row, column, W.shape[:2])
        for d in range(m)
    ]
    channel = f"{c * m} + d" if m > 1 else f"{c}"
    formula = f"dL/dx{index_text(index)} = sum of dy[i, j, {channel}] * W[u, v, {c}, d] over "
    return _sum(formula + _where(layer, row, column), "W", terms)


def _connected(t: LayerTrace, index: Index, training: bool) -> Sum:
    row, column, c = index
    layer: Any = t.layer
    W = t.params["W"]
    terms = []
    for k in map(int, np.flatnonzero(layer.reads == c)):  # the windows that look at this channel
        f = int(layer.makes[k])
        for tap, at, place in _reaching(layer, row, column, W.shape[:2]):
            terms.append(_term(t, (*at, f), (*place, f) if place else None, W[*tap, k]))
    formula = f"dL/dx{index_text(index)} = sum of dy[i, j, f] * W over the f that see map {c} and "
    return _sum(formula + _where(layer, row, column), "W", terms)


def _conv_transpose(t: LayerTrace, index: Index, training: bool) -> Sum:
    i, j, c = index
    layer: Any = t.layer
    W, (out_h, out_w) = t.params["W"], t.output.shape[:2]
    (sh, sw), (top, _, left, _) = layer.strides, layer.pads
    terms = []
    for u, v, f in np.ndindex(W.shape[:3]):
        p, q = i * sh + u - top, j * sw + v - left
        inside = 0 <= p < out_h and 0 <= q < out_w  # not what was cut off
        terms.append(_term(t, (u, v, f), (p, q, f) if inside else None, W[u, v, f, c]))
    patch = f"dy[{i * sh - top:d} + u, {j * sw - left:d} + v, f]"
    formula = f"dL/dx{index_text(index)} = sum over u, v, f of {patch} * W[u, v, f, {c}]"
    return _sum(formula, "W", terms)


def _subsampling(t: LayerTrace, index: Index, training: bool) -> Sum:
    row, column, c = index
    layer: Any = t.layer
    i, j = row // layer.pool_size[0], column // layer.pool_size[1]
    inside = i < t.output.shape[0] and j < t.output.shape[1]  # or the pixel fills no window
    term = _term(t, (0,), (i, j, c) if inside else None, t.params["W"][c])
    what = f"dy{index_text((i, j, c))} * W[{c}]" if inside else "0: it is in no window"
    return _sum(f"dL/dx{index_text(index)} = {what}", "W", [term])


def _dense(t: LayerTrace, index: Index, training: bool) -> Sum:
    (i,) = index
    terms = [_term(t, (j,), (j,), w) for j, w in enumerate(t.params["W"][i])]
    return _sum(f"dL/dx[{i}] = sum over j of dy[j] * W[{i}, j]", "W", terms)


# ---- pooling: who won, or how many share ---------------------------------------------------------


def _windows_with(t: LayerTrace, index: Index) -> list[tuple[Index, Index]]:
    """Of a pooling layer: (place in the window of dy, output) for each window with that pixel."""
    row, column, c = index
    layer: Any = t.layer
    found = _reaching(layer, row, column, layer.pool_size)
    return [(at, (*place, c)) for _, at, place in found if place]


def _pixels(layer: Any, i: int, j: int) -> list[tuple[int, int]]:
    """The pixels of x in window (i, j) of a pooling layer, row by row."""
    (sh, sw), (top, _, left, _), (h, w, _) = layer.strides, layer.pads, layer.input_shape
    places = [(i * sh + u - top, j * sw + v - left) for u, v in np.ndindex(layer.pool_size)]
    return [(row, column) for row, column in places if 0 <= row < h and 0 <= column < w]


def _first_largest(x: Array, pixels: list[tuple[int, int]], c: int) -> tuple[int, int]:
    """The pixel that a maximum is a copy of: the first of equals, and a NaN before all numbers."""
    values = [float(x[row, column, c]) for row, column in pixels]
    odd = [k for k, value in enumerate(values) if math.isnan(value)]
    return pixels[odd[0] if odd else values.index(max(values))]


def _max_pool(t: LayerTrace, index: Index, training: bool) -> Sum:
    row, column, c = index
    terms = [
        _term(t, at, out, _first_largest(t.input, _pixels(t.layer, *out[:2]), c) == (row, column))
        for at, out in _windows_with(t, index)
    ]
    formula = f"dL/dx{index_text(index)} = sum of the dy of the windows in which it is the largest"
    return _sum(formula, "wins", terms or [Term((0, 0), None, 0.0, 0.0)])


def _average_pool(t: LayerTrace, index: Index, training: bool) -> Sum:
    terms = [
        _term(t, at, out, 1 / len(_pixels(t.layer, *out[:2])))
        for at, out in _windows_with(t, index)
    ]
    formula = f"dL/dx{index_text(index)} = its share of the dy of each window that it is in"
    return _sum(formula, "share", terms or [Term((0, 0), None, 0.0, 0.0)])


def _global_max(t: LayerTrace, index: Index, training: bool) -> Sum:
    c = index[2]
    wins = _first_largest(t.input, list(np.ndindex(t.input.shape[:2])), c) == index[:2]
    what = f"dy[{c}]: it is the largest" if wins else f"0: not it is the largest of map {c}"
    return _sum(f"dL/dx{index_text(index)} = {what}", "wins", [_term(t, (0,), (c,), wins)])


def _global_average(t: LayerTrace, index: Index, training: bool) -> Sum:
    c, count = index[2], t.input.shape[0] * t.input.shape[1]
    formula = f"dL/dx{index_text(index)} = dy[{c}] / {count}"
    return _sum(formula, "share", [_term(t, (0,), (c,), 1 / count)])


# ---- copies, shares and masks --------------------------------------------------------------------


def _zero_padding(t: LayerTrace, index: Index, training: bool) -> Sum:
    layer: Any = t.layer
    top, _, left, _ = layer.pads
    out = index[0] + top, index[1] + left, index[2]
    formula = f"dL/dx{index_text(index)} = dy{index_text(out)}"
    return _sum(formula, "copied", [_term(t, (0,), out, 1.0)])


def _up_sampling(t: LayerTrace, index: Index, training: bool) -> Sum:
    layer: Any = t.layer
    shares = []
    for at, factor, extent in zip(index[:2], layer.size, t.input.shape[:2], strict=True):
        if layer.interpolation == "nearest":
            shares.append({at * factor + k: 1.0 for k in range(factor)})
        else:
            near = range(max(0, (at - 1) * factor), min(extent, at + 2) * factor)
            mixed = {new: dict(beside(new, factor, extent)).get(at, 0.0) for new in near}
            shares.append({new: share for new, share in mixed.items() if share})
    rows, columns = shares
    terms = [
        _term(t, (i - min(rows), j - min(columns)), (i, j, index[2]), a * b)
        for i, a in rows.items()
        for j, b in columns.items()
    ]
    formula = f"dL/dx{index_text(index)} = sum of dy over the pixels that were made from it"
    return _sum(formula, "share", terms)


def _reshape(t: LayerTrace, index: Index, training: bool) -> Sum:
    number = np.ravel_multi_index(index, t.input.shape)
    out = tuple(int(i) for i in np.unravel_index(number, t.output.shape))
    formula = f"dL/dx{index_text(index)} = dy{index_text(out)}"
    return _sum(formula, "copied", [_term(t, (0,), out, 1.0)])


def _dropout(t: LayerTrace, index: Index, training: bool) -> Sum:
    layer: Any = t.layer
    kept = 1 / (1 - layer.rate) if training else 1.0
    # where x is 0, y does not tell whether it was kept: then what came of dy does
    passed = t.output[index] if t.input[index] else t.dx[index]
    formula = f"dL/dx{index_text(index)} = dy{index_text(index)} * mask"
    return _sum(formula, "mask", [_term(t, (0,), index, kept if passed else 0.0)])


def _noise(t: LayerTrace, index: Index, training: bool) -> Sum:
    formula = f"dL/dx{index_text(index)} = dy{index_text(index)}: the noise does not depend on x"
    return _sum(formula, "slope", [_term(t, (0,), index, 1.0)])


# ---- norms and softmax: every dy of a row reaches every x of it ----------------------------------


def _batch_norm(t: LayerTrace, index: Index, training: bool) -> Sum:
    c, place = index[-1], index_text(index)
    layer: Any = t.layer
    from_batch = training and layer.trainable
    scale, shift = normalizing(layer, c, t.input, from_batch)
    gamma = float(t.params["gamma"][c])
    if not from_batch:
        formula = f"dL/dx{place} = dy{place} * gamma[{c}] / sqrt(var + epsilon)"
        return _sum(formula, "gamma/sqrt", [_term(t, (0,), index, gamma * scale)])
    m = t.input.size // t.input.shape[-1]
    here = float(t.input[index]) * scale + shift
    terms = []
    for p in np.ndindex(t.input.shape[:-1]):
        x_hat = float(t.input[(*p, c)]) * scale + shift
        slope = gamma * scale * ((p == index[:-1]) - 1 / m - here * x_hat / m)
        terms.append(_term(t, p or (0,), (*p, c), slope))
    formula = (
        f"dL/dx{place} = sum over q of dy[q, {c}] * gamma[{c}] / sqrt(var + epsilon) "
        f"* (1 if q is here - 1/{m} - x_hat[here] x_hat[q] / {m})"
    )
    return _sum(formula, "dy/dx", terms)


def _layer_norm(t: LayerTrace, index: Index, training: bool) -> Sum:
    gamma = t.params["gamma"]
    before = index[: t.input.ndim - gamma.ndim]
    row, k = t.input[before], gamma.size
    scale, shift = normalizing_row(t.layer, row)
    over = index[len(before) :]
    here = float(row[over]) * scale + shift
    terms = []
    for q in np.ndindex(gamma.shape):
        x_hat = float(row[q]) * scale + shift
        slope = float(gamma[q]) * scale * ((q == over) - 1 / k - here * x_hat / k)
        terms.append(_term(t, q, (*before, *q), slope))
    formula = (
        f"dL/dx{index_text(index)} = sum over q of dy[q] * gamma[q] / sqrt(var + epsilon) "
        f"* (1 if q is here - 1/{k} - x_hat[here] x_hat[q] / {k})"
    )
    return _sum(formula, "dy/dx", terms)


def _softmax(t: LayerTrace, index: Index, training: bool) -> Sum:
    (*row, j), y = index, t.output[index[:-1]]
    terms = [
        _term(t, (i,), (*row, i), float(y[i]) * ((i == j) - float(y[j]))) for i in range(len(y))
    ]
    formula = f"dL/dx{index_text(index)} = sum over i of dy[i] * y[i] * ((1 if i = {j}) - y[{j}])"
    return _sum(formula, "dy/dx", terms)


def _log_softmax(t: LayerTrace, index: Index, training: bool) -> Sum:
    (*row, j), share = index, math.exp(float(t.output[index]))
    count = t.output.shape[-1]
    terms = [_term(t, (i,), (*row, i), (i == j) - share) for i in range(count)]
    formula = f"dL/dx{index_text(index)} = sum over i of dy[i] * ((1 if i = {j}) - exp(y[{j}]))"
    return _sum(formula, "dy/dx", terms)


INPUTS: dict[type[Layer], Spelled] = {
    Conv2D: _conv2d,
    ConnectedConv2D: _connected,
    Subsampling2D: _subsampling,
    Conv2DTranspose: _conv_transpose,
    DepthwiseConv2D: _depthwise,
    Dense: _dense,
    MaxPool2D: _max_pool,
    AveragePool2D: _average_pool,
    GlobalAveragePool2D: _global_average,
    GlobalMaxPool2D: _global_max,
    ZeroPadding2D: _zero_padding,
    UpSampling2D: _up_sampling,
    Flatten: _reshape,
    Reshape: _reshape,
    Dropout: _dropout,
    GaussianNoise: _noise,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    Softmax: _softmax,
    LogSoftmax: _log_softmax,
}


# ---- where y[k] depends on x[k] alone: its slope -------------------------------------------------


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def _gelu(layer: Any, x: float, y: float) -> float:
    if layer.is_approximate:
        inside = math.sqrt(2 / math.pi)
        share = _sigmoid(2 * inside * (x + 0.044715 * x**3))
        density = share * (1 - share) * 2 * inside * (1 + 3 * 0.044715 * x * x)
    else:
        share = math.erfc(-x / math.sqrt(2)) / 2
        density = math.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return share + x * density


def _silu(layer: Any, x: float, y: float) -> float:
    s = _sigmoid(x)
    return s + x * s * (1 - s)


def _scaled_tanh(layer: Any, x: float, y: float) -> float:
    return 2 / 3 / 1.7159 * (1.7159 - y) * (1.7159 + y)


#: kind: the slope dy/dx in letters, and from the layer, x and y
SLOPES: dict[type[Layer], tuple[str, Callable[[Any, float, float], float]]] = {
    ReLU: ("1 where x > 0, 0 elsewhere", lambda layer, x, y: x > 0),
    LeakyReLU: (
        "1 where x > 0, the negative side's elsewhere",
        lambda layer, x, y: 1 if x > 0 else layer.slope,
    ),
    ELU: (
        "1 where x > 0, y + alpha elsewhere",
        lambda layer, x, y: 1 if x > 0 else y + layer.alpha,
    ),
    Sigmoid: ("y (1 - y)", lambda layer, x, y: y * (1 - y)),
    Tanh: ("1 - y^2", lambda layer, x, y: 1 - y * y),
    ScaledTanh: ("(S / A) (A - y) (A + y), with A = 1.7159 and S = 2/3", _scaled_tanh),
    Softplus: ("sigmoid(x)", lambda layer, x, y: _sigmoid(x)),
    SiLU: ("s + x s (1 - s), with s = sigmoid(x)", _silu),
    GELU: ("Phi(x) + x Phi'(x)", _gelu),
}


def is_spelled_out(layer: Layer) -> bool:
    """Whether dx of this kind of layer is written down here."""
    return type(layer) in INPUTS or type(layer) in SLOPES


def input_sum(t: LayerTrace, index: Index, training: bool) -> Sum | None:
    """The sum that is dx[index]; None for a kind whose slopes are not written down."""
    kind = type(t.layer)
    if kind in INPUTS:
        return INPUTS[kind](t, index, training)
    if kind not in SLOPES:
        return None
    text, slope = SLOPES[kind]
    place = index_text(index)
    found = slope(t.layer, float(t.input[index]), float(t.output[index]))
    formula = f"dL/dx{place} = dy{place} * dy/dx, the slope: {text}"
    return _sum(formula, "slope", [_term(t, (0,), index, found)])


def residual_sum(t: LayerTrace, index: Index) -> Sum:
    """dx of a Residual: what comes back through its layers, and past them."""
    ends = {row: layers[0].dx for row, layers in t.rows().items()}
    place = index_text(index)
    past, source = ends.get("shortcut"), None
    if past is None:
        past, source = dy_of(t), index
    terms = [
        Term((0,), None, float(ends["main"][index]), 1.0),
        Term((1,), source, float(past[index]), 1.0),
    ]
    other = f"dy{place}" if source else f"dx{place} of the shortcut"
    formula = f"dL/dx{place} = dx{place} of the main row + {other}"
    return Sum(formula, "weight", terms, first="gradient")


def loss_sum(index: Index, probabilities: Array, target: Array, share: float) -> Sum:
    """dx of a last Softmax or Sigmoid that is one with its cross-entropy: probability - target.

    share   of the loss, where it is a mean over several outputs
    """
    (j,) = index
    terms = [
        Term((0,), None, float(probabilities[j]), share),
        Term((1,), None, float(target[j]), -share),
    ]
    formula = f"dL/dx[{j}] = probability[{j}] - target[{j}]"
    formula += "" if share == 1 else f", divided by {len(target)}"
    return Sum(formula, "weight", terms, first="value")


def measured_sum(t: LayerTrace, index: Index, slopes: Array) -> Sum:
    """dx of a layer whose slopes are not written down: those that were measured on its forward."""
    terms = [_term(t, q, q, float(slopes[q])) for q in np.ndindex(slopes.shape) if slopes[q]]
    formula = (
        f"dL/dx{index_text(index)} = sum of dy * dy/dx; the slopes of {t.kind} are not written "
        "out: they are measured, by its forward pass with this x a little lower and higher"
    )
    return _sum(formula, "dy/dx", terms or [Term((0,) * slopes.ndim, None, 0.0, 0.0)])
