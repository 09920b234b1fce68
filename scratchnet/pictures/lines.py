"""Ruled lines, squares, boxes and tables: found in a mask as long, thin, straight lines, taken out.

Where a stroke crosses a line, the stroke stays: there the mask is higher than the line is thick.
A single stroke is never taken for a line: lines are at least two in parallel, or one from border
to border of a sheet whose ink keeps clear of the border; and those of a box are two and two.

Left out on purpose: curved lines, dotted ones, and lines that are steeper than MAX_SLOPE.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .strokes import bounding_boxes, components

MAX_SLOPE = 0.2
MIN_SPAN = 0.6  # of the picture's side, where there are two or more
CORNER_SPAN = 0.12  # of a line that leaves a slanted page at its corner
BORDER = 0.03  # of the side: what comes so near reaches the border
MIN_COVERED = 0.5  # of the columns that a line spans; strokes interrupt it
MAX_THICK = 0.02  # of the longer side
PARALLEL = 0.03  # slopes that differ by less
NEAR = 2.5  # pixels from the line to what still belongs to it
BOX_SPAN = 0.85  # of a box's side, for a line of it
MIN_BOX = 24  # pixels; what is smaller is no box
NOT_MET = 0.03  # of the picture's width: by so much a box's lines may miss each other


class Runs(NamedTuple):
    """Runs of ink down the columns of a mask: rows start to stop of each, sorted by column."""

    column: NDArray
    start: NDArray
    stop: NDArray


class Line(NamedTuple):
    """y = offset + slope * x from column first to last, and how many pixels it is thick."""

    offset: float
    slope: float
    first: int
    last: int
    thick: float


def without_lines(mask: NDArray) -> tuple[NDArray, int]:
    """The mask without ruled lines, squares, boxes and tables, and how many lines that were."""
    # boxes first: the tops of several in a row would pass for ruled lines, and leave the sides
    mask, count = _without_boxes(mask)
    longer = max(mask.shape)
    across, down = (_of_a_page(m, MAX_THICK * longer) for m in (mask, mask.T))
    if across and not down:
        down = _sides(mask, across)
    if across or down:
        mask, count = _erased(mask, across, down), count + len(across) + len(down)
    return mask, count


def find_lines(mask: NDArray, span: float, thick: float) -> list[Line]:
    """Lines nearly along the rows, at least `span` of the width long and at most `thick` pixels.

    A Hough transform (R. Duda, P. Hart, CACM 15, 1972) over the middles of thin runs: each slope
    and each offset counts how many lie on its line. The best slope's lines are taken together.
    """
    w = mask.shape[1]
    column, start, stop = runs_of(mask)
    thin = stop - start <= max(4.0, thick)
    x, y, high = column[thin], (start[thin] + stop[thin] - 1) / 2, (stop - start)[thin]
    slopes = np.arange(-MAX_SLOPE, MAX_SLOPE, 2 / max(w, 40))
    lines: list[Line] = []
    for _ in range(4):
        if len(x) < 0.5 * span * w:
            break
        some = slice(None, None, max(1, len(x) // 4000))
        rising = (y[some] - slopes[:, None] * x[some]) / 2 + w * MAX_SLOPE / 2 + 1
        bins = int(rising.max()) + 2
        at = np.rint(rising).astype(int) + np.arange(len(slopes))[:, None] * (bins + 1)
        counts = np.bincount(at.ravel(), minlength=len(slopes) * (bins + 1))
        counts = counts.reshape(len(slopes), -1)
        both = counts[:, :-1] + counts[:, 1:]
        best = int(np.argmax((both.astype(float) ** 2).max(axis=1)))
        needed = 0.7 * MIN_COVERED * span * w * len(x[some]) / len(x)
        peaks = [k for k in np.argsort(-both[best]) if both[best, k] >= needed][:200]
        found = 0
        left = np.ones(len(x), bool)
        for k in peaks:
            offset = 2 * (k + 0.5 - w * MAX_SLOPE / 2 - 1)
            line = _fitted(x[left], y[left], high[left], offset, float(slopes[best]))
            if line and line.last - line.first >= span * w:
                lines.append(line)
                left &= np.abs(y - line.offset - line.slope * x) > NEAR
                found += 1
        if not found:
            break
        x, y, high = x[left], y[left], high[left]
    return lines


def runs_of(mask: NDArray) -> Runs:
    """All runs of ink down the columns."""
    change = np.diff(np.pad(mask.T.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    column, start = np.nonzero(change == 1)
    return Runs(column, start, np.nonzero(change == -1)[1])


def _fitted(x: NDArray, y: NDArray, high: NDArray, offset: float, slope: float) -> Line | None:
    """The line through the points near a first guess, if they cover enough of what they span."""
    near = np.zeros(0, int)
    for reach in (1.6 * NEAR, NEAR, NEAR):
        near = np.flatnonzero(np.abs(y - offset - slope * x) <= reach)
        if len(near) < 10:
            return None
        middle = x[near].mean()
        apart = x[near] - middle
        slope = float(apart @ (y[near] - y[near].mean()) / max(float(apart @ apart), 1e-9))
        offset = float(y[near].mean() - slope * middle)
    columns = np.unique(x[near])
    # a stray point far from the rest does not make a line longer
    first, last = (int(v) for v in np.percentile(columns, (0.5, 99.5)))
    if len(columns) < MIN_COVERED * (last - first + 1) or abs(slope) > MAX_SLOPE:
        return None
    return Line(offset, slope, first, last, float(np.median(high[near])))


def _of_a_page(mask: NDArray, thick: float) -> list[Line]:
    """Those that are ruled: two or more in parallel, or one across a page with a margin."""
    h, w = mask.shape
    lines = find_lines(mask, MIN_SPAN, thick)
    kept = [
        line
        for line in lines
        if sum(abs(line.slope - other.slope) < PARALLEL for other in lines) >= 2
    ]
    if kept:
        if abs(kept[0].slope) * w > BORDER * h:  # those that leave a slanted page at its corners
            kept += _at_corners(_erased(mask, kept, []), kept[0].slope, thick)
        return kept
    if len(lines) != 1:
        return []
    (line,) = lines
    if line.first > BORDER * w or line.last < (1 - BORDER) * w:
        return []
    rest = _erased(mask, [line], [])
    ink = [np.flatnonzero(rest.any(axis=axis)) for axis in (0, 1)]
    clear = all(
        len(at) and at[0] > BORDER * side and at[-1] < (1 - BORDER) * side
        for at, side in zip(ink, mask.shape[::-1], strict=True)
    )
    return [line] if clear else []


def _sides(mask: NDArray, across: list[Line]) -> list[Line]:
    """The lines down from one of two lines across to the other, at both of their ends.

    Of a box whose four lines were drawn one by one and do not meet: see `_without_boxes`. Nothing
    may stand outside of them, and the lines across may not go on: a 1 beside rules is none.
    """
    w, found = mask.shape[1], []
    in_order = sorted(across, key=lambda line: line.offset + line.slope * w / 2)
    for upper, lower in itertools.pairwise(in_order):
        first, last = min(upper.first, lower.first), max(upper.last, lower.last)
        rows = [round(line.offset + line.slope * x) for line in (upper, lower) for x in (0, w - 1)]
        high = round(lower.offset - upper.offset + (lower.slope - upper.slope) * w / 2)
        top = max(0, min(rows) - high // 4)
        part = mask[top : max(rows) + high // 4 + 1].T
        if high < MIN_BOX or high > w:
            continue
        thick = max(upper.thick, lower.thick) + 2
        down = find_lines(part, BOX_SPAN * high / part.shape[1], thick)
        down.sort(key=lambda line: line.offset + line.slope * part.shape[1] / 2)
        if len(down) < 2:
            continue
        ends = [round(line.offset + line.slope * part.shape[1] / 2) for line in down]
        reach = NOT_MET * w + thick
        if first < ends[0] - reach or last > ends[-1] + reach:
            continue
        found += [
            line._replace(
                offset=line.offset - line.slope * top, first=line.first + top, last=line.last + top
            )
            for line in (down[0], down[-1])
        ]
    return found


def _at_corners(mask: NDArray, slope: float, thick: float) -> list[Line]:
    """Shorter lines of that slope, both of whose ends are at the picture's border."""
    h, w = mask.shape
    found = []
    for line in find_lines(mask, CORNER_SPAN, thick):
        ends = [(x, line.offset + line.slope * x) for x in (line.first, line.last)]
        at_border = all(
            min(x, w - x) <= BORDER * w or min(y, h - y) <= BORDER * h + thick for x, y in ends
        )
        if at_border and abs(line.slope - slope) < PARALLEL:
            found.append(line)
    return found


def _erased(mask: NDArray, across: list[Line], down: list[Line]) -> NDArray:
    """The mask without these lines and the crumbs of them, strokes that cross them kept."""
    gone, band = np.zeros_like(mask), np.zeros_like(mask)
    for lines, turn in ((across, False), (down, True)):
        source = mask.T if turn else mask
        part = [np.zeros_like(source), np.zeros_like(source)]
        runs = runs_of(source)
        for line in lines:
            _mark(source.shape, runs, line, part)
        gone |= part[0].T if turn else part[0]
        band |= part[1].T if turn else part[1]
    rest = mask & ~gone
    labels, areas = components(rest)
    inside = np.bincount(labels[band], minlength=len(areas))
    crumbs = inside >= areas
    crumbs[0] = False
    return rest & ~crumbs[labels]


def _mark(shape: tuple[int, ...], runs: Runs, line: Line, part: list[NDArray]) -> None:
    """Mark in part[0] what belongs to the line alone, and in part[1] the band around it."""
    h, w = shape
    more = BORDER * w + 1.5 * line.thick
    y = line.offset + line.slope * runs.column
    half = line.thick / 2
    ours = (runs.start <= y + half + 1) & (runs.stop >= y - half)
    ours &= (runs.column >= line.first - more) & (runs.column <= line.last + more)
    ours &= runs.stop - runs.start <= 1.5 * line.thick + 2
    column, start, stop = (values[ours] for values in runs)
    change = np.zeros((h + 1, w), np.int32)
    np.add.at(change, (start, column), 1)
    np.add.at(change, (stop, column), -1)
    part[0] |= change.cumsum(axis=0)[:h] > 0
    x = np.arange(max(0, int(line.first - more)), min(w, int(line.last + more) + 1))
    centre = np.rint(line.offset + line.slope * x).astype(int)
    for dy in range(-int(half + NEAR), int(half + NEAR) + 1):
        inside = (centre + dy >= 0) & (centre + dy < h)
        part[1][(centre + dy)[inside], x[inside]] = True


def _without_boxes(mask: NDArray) -> tuple[NDArray, int]:
    """Boxes and tables taken out: components with two lines across and two down, and ink inside."""
    mask, count = mask.copy(), 0
    labels, areas = components(mask)
    boxes = bounding_boxes(labels, len(areas))
    sides = boxes[:, 2:] - boxes[:, :2]
    large = np.flatnonzero((sides.min(axis=1) >= MIN_BOX) & (areas < 0.5 * sides.prod(axis=1)))
    for number in large:
        if number == 0:
            continue
        top, left, bottom, right = boxes[number]
        place = np.s_[top:bottom, left:right]
        part = labels[place] == number
        thick = max(6.0, 0.08 * min(part.shape))
        if not _has_sides(part):
            continue
        # where the sides stand, the columns hold no thin run: a line across spans what is between
        across, down = (
            find_lines(m, BOX_SPAN * max(0.5, 1 - 2 * thick / m.shape[1]), thick)
            for m in (part, part.T)
        )
        if min(len(across), len(down)) < 2:
            continue
        rest = _erased(part, across, down)
        others = mask[place] & ~part
        if (rest | others).sum() < 0.02 * part.size:
            continue  # nothing inside: whoever drew this meant the box itself
        mask[place] &= ~part | rest
        count += len(across) + len(down)
    return mask, count


def _has_sides(part: NDArray) -> bool:
    """Whether the outline keeps near all four sides of its box: a quick look before the search."""
    h, w = part.shape
    depth = [part.argmax(axis=0) / h, part[::-1].argmax(axis=0) / h]
    depth += [part.argmax(axis=1) / w, part[:, ::-1].argmax(axis=1) / w]
    return all(np.mean(d < 0.5 * MAX_SLOPE + 0.05) > 0.8 for d in depth)
