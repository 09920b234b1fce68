"""Which inputs of a layer reach which of its outputs: found out by asking the layer.

One row of the input is changed at a time, then one column, then one channel, and what changes in
the output has seen it. So windows, strides, paddings, tables of connections and a user's own layer
are all known without a rule of their own here:

    found = reach(conv)                  # of a built Conv2D(8, 3, padding=1), x (28, 28, 1)
    found.rows[0], found.rows[5]         # (0, 1, 1), (4, 6, 1): the first and last row, and a step
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine import threads
from ..frozen import frozen
from ..layers import Flatten, Layer, Reshape, kind_of
from ..model import Sequential
from .inputs import copied

Array = NDArray[np.floating]

#: with more values in a layer's input than this, nothing is asked, and each output sees all of it
MOST_VALUES = 1 << 16
#: so many values at once are handed to a layer
AT_ONCE = 1 << 21
#: what changes is multiplied by this: more than all rounding, and it wins in every window
CHANGE = 7.0
#: a smaller change in the output, relative to its largest value, is rounding
SAME = 1e-9


class Span(NamedTuple):
    """Places along an axis: first, last, and the step between them; first > last where none is."""

    first: int
    last: int
    step: int


@dataclass(frozen=True)
class Reach:
    """What each output of a layer depends on, axis by axis.

    A vector (n,) counts as an image of one place with n channels, (1, 1, n). What depends on rows
    and columns in another way than as their product is told by the smallest such product that
    holds it.

    rows, columns   for each row (column) of the output the rows (columns) of the input it sees
    channels        for each channel of the output those of the input; "all", or "same" where each
                    sees its own
    in_order        the values are those of the input, counted anew in row-major order, and rows,
                    columns and channels say nothing: Flatten and Reshape
    """

    rows: Sequence[Span]
    columns: Sequence[Span]
    channels: str | Sequence[Sequence[int]]
    in_order: bool = False


def reaches(model: Sequential) -> dict[str, Reach]:
    """The reach of every layer by its name in a trace: "conv2d", "residual.main.conv2d"."""
    return dict(_by_name({layer.name: layer for layer in copied(model, np.float64).layers}))


def _by_name(layers: dict[str, Layer], outer: str = "") -> Iterator[tuple[str, Reach]]:
    for key, layer in layers.items():
        yield f"{outer}{key}", reach(layer)
        yield from _by_name(layer.inner(), f"{outer}{key}.")


def reach(layer: Layer) -> Reach:
    """Of a layer that is built in float64, as it is in evaluation."""
    before, after = (as_image(tuple(s)) for s in (layer.input_shape, layer.output_shape))
    if type(layer) in (Flatten, Reshape):
        return Reach([], [], "same", in_order=True)
    if before is None or after is None:
        return _everything(before or (1, 1, 1), after or (1, 1, 1))
    if kind_of(layer).formula is not None:  # y[i] depends on x[i] alone
        return each_its_own(after)
    if int(np.prod(before)) > MOST_VALUES:
        return _everything(before, after)
    rows, columns, channels = (_seen(layer, before, after, axis) for axis in range(3))
    return Reach(_spans(rows), _spans(columns), _channels(channels))


def as_image(shape: tuple[int, ...]) -> tuple[int, int, int] | None:
    """(h, w, c) of a shape; None for one that is neither an image nor a vector."""
    if len(shape) == 3:
        return shape
    return (1, 1, shape[0]) if len(shape) == 1 else None


def each_its_own(shape: tuple[int, int, int]) -> Reach:
    """Each output depends on the input at its own place."""
    rows, columns = ([Span(i, i, 1) for i in range(size)] for size in shape[:2])
    return Reach(rows, columns, "same")


def _everything(before: tuple[int, ...], after: tuple[int, ...]) -> Reach:
    rows, columns = ([Span(0, before[axis] - 1, 1)] * after[axis] for axis in range(2))
    return Reach(rows, columns, "all")


def _seen(layer: Layer, before: tuple[int, ...], after: tuple[int, ...], axis: int) -> NDArray:
    """(outputs, inputs) along that axis of the image: whether the one sees the other."""
    count, values = before[axis], int(np.prod(before))
    calm = np.linspace(0.5, 1.5, values).reshape(before)  # no two values alike
    found = np.zeros((after[axis], count), bool)
    others = tuple(other for other in range(3) if other != axis)
    share = max(1, AT_ONCE // values)
    plain = _output(layer, calm[None], after)
    for start in range(0, count, share):
        here = np.arange(start, min(start + share, count))
        x = np.repeat(calm[None], len(here), axis=0)
        # not by one number: what subtracts a mean would not see it
        np.moveaxis(x, axis + 1, 1)[np.arange(len(here)), here] *= CHANGE
        moved = np.abs(_output(layer, x, after) - plain) > SAME * np.abs(plain).max(initial=1)
        found[:, here] = moved.any(axis=tuple(1 + other for other in others)).T
    return found


def _output(layer: Layer, x: Array, after: tuple[int, ...]) -> Array:
    with frozen(layer), threads.one_blas_thread(), np.errstate(all="ignore"):
        y = layer.forward(x.reshape(len(x), *layer.input_shape))
    layer.cache = None  # it is of no use, and as large as the batch
    return y.reshape(len(x), *after)


def _spans(seen: NDArray) -> list[Span]:
    found = []
    for row in seen:
        (at,) = np.nonzero(row)
        steps = np.diff(at)
        step = int(steps[0]) if len(steps) and (steps == steps[0]).all() else 1
        found.append(Span(int(at[0]), int(at[-1]), step) if len(at) else Span(0, -1, 1))
    return found


def _channels(seen: NDArray) -> str | list[list[int]]:
    if seen.all():
        return "all"
    if seen.shape[0] == seen.shape[1] and (seen == np.eye(len(seen), dtype=bool)).all():
        return "same"
    return [[int(c) for c in np.nonzero(row)[0]] for row in seen]
