"""`widened` and `thinned` of datasets/photos/writing.py as Numba loops.

Both pass over rows that lie in memory one after the other, and skip the paper.
"""

import numpy as np
from numpy.typing import NDArray

from .compiler import serial


def widened(ink: NDArray, radius: float) -> NDArray:
    """The largest value within a disc around every pixel: as a pen wider by twice the radius."""
    reach = int(radius)
    if reach < 1 and radius < 0.5:
        return ink
    reach = max(1, reach)
    dy = np.arange(-reach, reach + 1)
    half = np.sqrt((radius * radius - dy * dy).clip(min=0)).astype(np.int64)
    wide = np.zeros([side + 2 * reach for side in ink.shape], ink.dtype)
    _spread(np.ascontiguousarray(ink), half, reach, wide)
    return wide


def thinned(mask: NDArray) -> NDArray:
    """The middle lines of strokes, one pixel wide: Zhang and Suen's, see writing.py."""
    line = np.pad(np.asarray(mask, np.uint8), 1)
    gone = np.empty((int(line.sum()), 2), np.int64)
    while _peel(line, 0, gone) + _peel(line, 1, gone):
        pass
    return line[1:-1, 1:-1].astype(bool)


@serial
def _spread(ink, half, reach, wide):
    """Each row of ink, widened by half[k] sideways, goes into the row k - reach below it."""
    h, w = ink.shape
    for i in range(h):
        first, last = 0, w
        while first < w and ink[i, first] == 0:
            first += 1
        while last > first and ink[i, last - 1] == 0:
            last -= 1
        if first == last:
            continue
        for k in range(half.size):
            row = wide[i + k]
            for dx in range(reach - half[k], reach + half[k] + 1):
                for j in range(first, last):
                    row[j + dx] = max(row[j + dx], ink[i, j])


@serial
def _peel(line, side, gone):
    """Take pixels off one side of every stroke, all at once; returns how many that were."""
    h, w = line.shape
    count = 0
    for i in range(1, h - 1):
        for j in range(1, w - 1):
            if not line[i, j]:
                continue
            n, ne, e, se = line[i - 1, j], line[i - 1, j + 1], line[i, j + 1], line[i + 1, j + 1]
            s, sw, west, nw = line[i + 1, j], line[i + 1, j - 1], line[i, j - 1], line[i - 1, j - 1]
            neighbours = n + ne + e + se + s + sw + west + nw
            if neighbours < 2 or neighbours > 6:
                continue
            rises = (n < ne) + (ne < e) + (e < se) + (se < s)
            rises += (s < sw) + (sw < west) + (west < nw) + (nw < n)
            if rises != 1:
                continue
            if side == 0:
                ends = not (n and e and s) and not (e and s and west)
            else:
                ends = not (n and e and west) and not (n and s and west)
            if ends:
                gone[count, 0], gone[count, 1] = i, j
                count += 1
    for k in range(count):
        line[gone[k, 0], gone[k, 1]] = 0
    return count
