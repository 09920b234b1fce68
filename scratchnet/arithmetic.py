"""One number of a network, spelled out: the sum that makes one gradient entry, or one output value.

Every formula in layers/ is a sum of products. Here one such sum is written down term by term, with
plain loops over plain indices and nothing of the layers' own code, for one example and in float64.

What is left out: kinds of layers that are not named in GRADIENTS or OUTPUTS. A subclass may compute
something else, so it is not taken for its parent.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, is_whole
from .layers import (
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

Array = NDArray[np.floating]
Index = tuple[int, ...]


@dataclass(frozen=True)
class Term:
    """x * factor.

    position   where it stands in the sum: for a gradient the output's position, for an output
               the place in the window or the number of the input
    source     the index of x in the layer's input; None for padding, and for what is no input
    """

    position: Index
    source: Index | None
    x: float
    factor: float

    @property
    def product(self) -> float:
        return self.x * self.factor


@dataclass(frozen=True)
class Sum:
    """constant + the sum of the terms' products, the largest first.

    formula   the same in letters
    factor    what the terms' factor is called in it: "dy", "W", ...
    """

    formula: str
    factor: str
    terms: list[Term]
    constant: float = 0.0

    def __post_init__(self) -> None:
        self.terms.sort(key=lambda term: -abs(term.product))

    @cached_property
    def total(self) -> float:
        return math.fsum([self.constant, *(term.product for term in self.terms)])

    def rest(self, shown: int) -> float:
        """The sum of all terms but the first `shown`."""
        return math.fsum(term.product for term in self.terms[shown:])

    def grid(self, what: str) -> Array:
        """Every term's "x", "factor" or "product" at its position, NaN where there is no term.

        For an output of a convolution "x" is the patch and "factor" the filter, (kh, kw, c); for a
        gradient "product" is a map of what each position contributes.
        """
        axes = zip(*(term.position for term in self.terms), strict=True)
        found = np.full([max(axis) + 1 for axis in axes], np.nan)
        for term in self.terms:
            found[term.position] = getattr(term, what)
        return found

    def text(self, most: int = 10) -> str:
        """The formula, the largest terms, the rest in one line, and the total."""
        head = ("position", "from", "x", self.factor, "product")
        lines = [
            (_index(t.position), "-" if t.source is None else _index(t.source))
            + tuple(f"{value:+.6g}" for value in (t.x, t.factor, t.product))
            for t in self.terms[:most]
        ]
        if len(self.terms) > most:
            lines.append(
                (f"{len(self.terms) - most:,} more", "", "", "", f"{self.rest(most):+.6g}")
            )
        if self.constant:
            lines.append(("constant", "", "", "", f"{self.constant:+.6g}"))
        lines.append(("sum", "", "", "", f"{self.total:+.10g}"))
        return "\n".join([self.formula, *columns([head, *lines], left=2)])

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        """All of it in values that JSON knows; `most` terms, or all."""
        shown = len(self.terms) if most is None else most
        return {
            "formula": self.formula,
            "factor": self.factor,
            "terms": [{**vars(term), "product": term.product} for term in self.terms[:shown]],
            "more": max(len(self.terms) - shown, 0),
            "rest": self.rest(shown),
            "constant": self.constant,
            "total": self.total,
        }


def columns(rows: list[tuple[str, ...]], left: int = 1) -> list[str]:
    """Rows of text as lines with aligned columns, the first `left` of them to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (
        [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    )
    return ["  ".join(row).rstrip() for row in aligned]


def checked_index(index: Any, shape: Index, what: str) -> Index:
    """index as a tuple of whole numbers within the shape, or an error that names both."""
    found = tuple(index) if isinstance(index, (tuple, list)) else (index,)
    fits = len(found) == len(shape) and all(is_whole(i, 0) for i in found)
    if not fits or any(i >= size for i, size in zip(found, shape, strict=True)):
        raise InputError(f"{what}: expected an index within {shape}, found {index!r}")
    return tuple(int(i) for i in found)


def _index(index: Index) -> str:
    return f"[{', '.join(map(str, index))}]"


def _window(layer: Any, place: tuple[int, int], size: tuple[int, int]) -> Iterator[tuple]:
    """(u, v), and the row and column of the input under it: None, None on padding."""
    (sh, sw), (top, _, left, _) = layer.strides, layer.pads
    for u, v in np.ndindex(size):
        row, column = place[0] * sh + u - top, place[1] * sw + v - left
        inside = 0 <= row < layer.input_shape[0] and 0 <= column < layer.input_shape[1]
        yield (u, v), (row, column) if inside else None


# ---- gradients: (layer, key, index, x, dy, training) -> the sum that is the gradient's entry -----


def _conv2d_gradient(layer: Any, key: str, index: Index, x: Array, dy: Array, _: bool) -> Sum:
    f = index[-1]
    places = list(np.ndindex(dy.shape[:2]))
    if key == "b":
        terms = [Term(p, None, 1.0, float(dy[(*p, f)])) for p in places]
        return Sum(f"dL/db[{f}] = sum over i, j of dy[i, j, {f}]", "dy", terms)
    u, v, c, _ = index
    (sh, sw), (top, _, left, _) = layer.strides, layer.pads
    terms = []
    for i, j in places:
        row, column = i * sh + u - top, j * sw + v - left
        inside = 0 <= row < x.shape[0] and 0 <= column < x.shape[1]
        source = (row, column, c) if inside else None
        terms.append(Term((i, j), source, float(x[source]) if inside else 0.0, float(dy[i, j, f])))
    where = f"{_place('i', sh, u - top)}, {_place('j', sw, v - left)}, {c}"
    formula = f"dL/dW{_index(index)} = sum over i, j of x[{where}] * dy[i, j, {f}]"
    return Sum(formula, "dy", terms)


def _place(letter: str, stride: int, offset: int) -> str:
    """i, 2i, i+1, 2i-1: where a window's pixel lies."""
    return (letter if stride == 1 else f"{stride}{letter}") + (f"{offset:+d}" if offset else "")


def _dense_gradient(layer: Any, key: str, index: Index, x: Array, dy: Array, _: bool) -> Sum:
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
    scale, shift = _normalizing(layer, c, x, training)
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


def _normalizing(layer: Any, c: int, x: Array, training: bool) -> tuple[float, float]:
    """scale and shift with x_hat = scale * x + shift, for channel c."""
    if training:
        mu, var = float(x[..., c].mean()), float(x[..., c].var())
    else:
        mu, var = (float(layer.buffers[key][c]) for key in ("running_mean", "running_var"))
    scale = 1 / math.sqrt(var + layer.epsilon)
    return scale, -mu * scale


GRADIENTS: dict[type[Layer], Callable[..., Sum]] = {
    Conv2D: _conv2d_gradient,
    Dense: _dense_gradient,
    BatchNorm: _batch_norm_gradient,
}


# ---- outputs: (layer, index, x, y, training) -> the sum that is y[index] -------------------------


def _conv2d_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    i, j, f = index
    W = layer.params["W"]
    terms = []
    for (u, v), inside in _window(layer, (i, j), W.shape[:2]):
        for c in range(W.shape[2]):
            source = (*inside, c) if inside else None
            pixel = float(x[source]) if source else 0.0
            terms.append(Term((u, v, c), source, pixel, float(W[u, v, c, f])))
    (sh, sw), (top, _, left, _) = layer.strides, layer.pads
    patch = f"x[{_place('u', 1, i * sh - top)}, {_place('v', 1, j * sw - left)}, c]"
    bias = float(layer.params["b"][f]) if layer.use_bias else 0.0
    constant = f"b[{f}] + " if layer.use_bias else ""
    formula = f"y{_index(index)} = {constant}sum over u, v, c of {patch} * W[u, v, c, {f}]"
    return Sum(formula, "W", terms, bias)


def _dense_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    (j,) = index
    weights = layer.params["W"][:, j]
    terms = [Term((i,), (i,), float(x[i]), float(w)) for i, w in enumerate(weights)]
    bias = float(layer.params["b"][j]) if layer.use_bias else 0.0
    constant = f"b[{j}] + " if layer.use_bias else ""
    return Sum(f"y[{j}] = {constant}sum over i of x[i] * W[i, {j}]", "W", terms, bias)


def _max_pool_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    i, j, c = index
    terms, won = [], False
    for place, inside in _window(layer, (i, j), layer.pool_size):
        if inside:  # padding never wins
            pixel = float(x[(*inside, c)])
            wins = not won and (pixel == y[index] or math.isnan(pixel))  # the first of equals
            won = won or wins
            terms.append(Term(place, (*inside, c), pixel, float(wins)))
    return Sum(f"y{_index(index)} = the largest x of the window", "wins", terms)


def _average_pool_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    i, j, c = index
    places = [(p, s) for p, s in _window(layer, (i, j), layer.pool_size) if s]
    share = 1 / len(places)
    terms = [Term(place, (*s, c), float(x[(*s, c)]), share) for place, s in places]
    return Sum(f"y{_index(index)} = the mean of the window's {len(places)} x", "share", terms)


def _global_average_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    (c,) = index
    h, w, _ = x.shape
    terms = [Term(p, (*p, c), float(x[(*p, c)]), 1 / (h * w)) for p in np.ndindex(h, w)]
    return Sum(f"y[{c}] = the mean of all {h * w} x[i, j, {c}]", "share", terms)


def _relu_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    pixel = float(x[index])
    return Sum(
        f"y{_index(index)} = max(x{_index(index)}, 0)",
        "passes",
        [Term((0,), index, pixel, float(pixel > 0))],
    )


def _flatten_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    source = tuple(int(i) for i in np.unravel_index(index[0], x.shape))
    terms = [Term((0,), source, float(x[source]), 1.0)]
    return Sum(f"y{_index(index)} = x{_index(source)}", "copied", terms)


def _dropout_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    kept = 1 / (1 - layer.rate) if training else 1.0
    factor = kept if y[index] != 0 else 0.0
    terms = [Term((0,), index, float(x[index]), factor)]
    return Sum(f"y{_index(index)} = x{_index(index)} * mask", "mask", terms)


def _batch_norm_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    c = index[-1]
    scale, shift = _normalizing(layer, c, x, training)
    gamma, beta = (float(layer.params[key][c]) for key in ("gamma", "beta"))
    at = _index(index)
    return Sum(
        f"y{at} = gamma[{c}] * (x{at} - mean) / sqrt(var + epsilon) + beta[{c}]",
        "gamma/sqrt",
        [Term((0,), index, float(x[index]), gamma * scale)],
        gamma * shift + beta,
    )


def _softmax_output(layer: Any, index: Index, x: Array, y: Array, training: bool) -> Sum:
    row = x[index[:-1]]
    e = np.exp(row - row.max())
    at = _index(index)
    terms = [Term((index[-1],), None, float(e[index[-1]]), float(1 / e.sum()))]
    return Sum(f"y{at} = exp(x{at} - max x) / sum of exp(x - max x)", "1/sum", terms)


def residual_output(index: Index, main: Array, shortcut: Array, is_input: bool) -> Sum:
    """One output of a Residual, from those of its two rows; is_input: the shortcut is x itself."""
    at = _index(index)
    terms = [
        Term((0,), None, float(main[index]), 1.0),
        Term((1,), index if is_input else None, float(shortcut[index]), 1.0),
    ]
    return Sum(f"y{at} = main{at} + {'x' if is_input else 'shortcut'}{at}", "weight", terms)


OUTPUTS: dict[type[Layer], Callable[..., Sum]] = {
    Conv2D: _conv2d_output,
    Dense: _dense_output,
    MaxPool2D: _max_pool_output,
    AveragePool2D: _average_pool_output,
    GlobalAveragePool2D: _global_average_output,
    ReLU: _relu_output,
    Flatten: _flatten_output,
    Dropout: _dropout_output,
    BatchNorm: _batch_norm_output,
    Softmax: _softmax_output,
}
