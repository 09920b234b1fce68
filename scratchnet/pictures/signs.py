"""Signs between digits: commas, hyphens and pluses, told by their size, place and shape.

A hyphen is a stroke of its own at half height, a comma a small one at the foot of the line, with
no digit above or below it; so the hat of a 5 and the bar of a 7 are neither. A plus is two bars
that cross in the middle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# lengths are parts of the typical height of a digit
HYPHEN_HEIGHT, HYPHEN_WIDTH = 0.3, (0.22, 0.9)
HYPHEN_SHAPE = 1.6  # width by height, at least
COMMA_HEIGHT, COMMA_WIDTH = (0.12, 0.55), 0.4
COMMA_TOP, COMMA_FOOT = 0.7, 0.85  # of its neighbours' height: begins below, and reaches down to
PLUS_SIDE = (0.35, 0.85)
REACH = 2.5  # neighbours are no farther
TALL = 0.5  # and at least so high


@dataclass(frozen=True)
class Sign:
    """What is no digit: "," or "-" or "+", and its box: left, top, right, bottom."""

    text: str
    box: tuple[int, int, int, int]


def find_signs(labels: NDArray, boxes: NDArray, numbers: NDArray, height: float) -> dict[int, str]:
    """Which of the components with these numbers are signs, and which ones.

    boxes    (count, 4): top, left, bottom, right of every component
    height   the typical one of a digit
    """
    found = {}
    for number in numbers:
        top, left, bottom, right = boxes[number]
        tall, wide = (bottom - top) / height, (right - left) / height
        others = boxes[[n for n in numbers if n != number]]
        if _shares_columns(boxes[number], others, height):
            continue
        part = labels[top:bottom, left:right] == number
        if PLUS_SIDE[0] <= min(tall, wide) and max(tall, wide) <= PLUS_SIDE[1]:
            if _is_plus(part):
                found[int(number)] = "+"
            continue
        above, below = _line_of(boxes[number], others, height)
        if below <= above:
            continue
        at = ((top + bottom) / 2 - above) / (below - above)
        begin, foot = ((edge - above) / (below - above) for edge in (top, bottom))
        if (
            tall <= HYPHEN_HEIGHT
            and HYPHEN_WIDTH[0] <= wide <= HYPHEN_WIDTH[1]
            and wide >= HYPHEN_SHAPE * tall
            and 0.25 < at < 0.75
        ):
            found[int(number)] = "-"
        elif (
            COMMA_HEIGHT[0] <= tall <= COMMA_HEIGHT[1]
            and wide <= COMMA_WIDTH
            and begin > COMMA_TOP
            and foot > COMMA_FOOT
        ):
            found[int(number)] = ","
    return found


def _shares_columns(box: NDArray, others: NDArray, height: float) -> bool:
    """Whether something stands above or below it, near enough to be of the same digit."""
    columns = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    apart = np.maximum(box[0], others[:, 0]) - np.minimum(box[2], others[:, 2])
    return bool(((columns > 0.4 * (box[3] - box[1])) & (apart < 0.6 * height)).any())


def _line_of(box: NDArray, others: NDArray, height: float) -> tuple[float, float]:
    """Top and bottom of the line at this place, from the nearest tall marks on both sides."""
    tall = others[(others[:, 2] - others[:, 0]) >= TALL * height]
    gap = np.maximum(tall[:, 1] - box[3], box[1] - tall[:, 3])
    level = (tall[:, 0] < box[2] + 0.3 * height) & (tall[:, 2] > box[0] - 0.3 * height)
    near = tall[level & (gap < REACH * height)]
    if not len(near):
        return 0.0, 0.0
    order = np.argsort(np.abs((near[:, 1] + near[:, 3]) / 2 - (box[1] + box[3]) / 2))[:2]
    return float(near[order, 0].mean()), float(near[order, 2].mean())


def _is_plus(part: NDArray) -> bool:
    """Whether all of it lies in two bars that cross in the middle, one across and one down."""
    h, w = part.shape
    across = np.flatnonzero(part.mean(axis=1) > 0.75)
    down = np.flatnonzero(part.mean(axis=0) > 0.75)
    if not len(across) or not len(down) or max(len(across) / h, len(down) / w) > 0.45:
        return False
    middle = 0.3 < across.mean() / h < 0.7 and 0.3 < down.mean() / w < 0.7
    reach_y, reach_x = 0.12 * h + 1, 0.12 * w + 1
    y, x = np.arange(h)[:, None], np.arange(w)
    bars = (y >= across[0] - reach_y) & (y <= across[-1] + reach_y)
    bars = bars | (x >= down[0] - reach_x) & (x <= down[-1] + reach_x)
    return bool(middle and (part & ~bars).sum() < 0.06 * part.sum())
