"""Augmentation's `warp` and `smooth` as Numba loops; datasets/augmentation.py says what they do.

A file of its own, because most trainings need neither and so never wait for their compilation.

What shapes the loops: each image is copied to the middle of zeros first, so that no pixel has to
ask whether its neighbours lie inside; the positions of a row are found before its pixels are
fetched, once for all channels. Smoothing adds whole rows to whole rows, which vectorises: downwards
the rows of the field, sideways the same row moved by a few pixels.
"""

import numpy as np
from numpy.typing import NDArray

from .compiler import inner, parallel
from .memory import SHARDS
from .turns import own_parts

Array = NDArray[np.floating]

#: what surrounds an image: one pixel of zeros before it, two behind, for positions -1 to h (or w)
BEFORE, AROUND = 1, 3


def warp(x: NDArray, maps: Array, field: Array | None = None) -> NDArray:
    """y[n, i, j] is x[n] at maps[n] @ (i, j, 1) + field[n, i, j]; zero outside the image."""
    n, h, w, c = x.shape
    y = np.empty(x.shape, x.dtype)
    exact = np.float64 if x.dtype == np.float64 else np.float32
    framed = np.zeros((SHARDS, c, (h + AROUND) * (w + AROUND)), exact)
    at = np.empty((SHARDS, w), np.uint32)
    weights = np.empty((SHARDS, 2, w), np.float32)
    if field is None:
        field = np.zeros((0, h, w, 2), np.float32)
    # writable: for an array that is not, Numba would compile everything once more
    flat = np.require(x, requirements=["C", "W"]).reshape(n, h, w * c)
    field = np.ascontiguousarray(field).reshape(len(field), h, 2 * w)
    rounding = exact(0.5 if x.dtype == np.uint8 else 0)  # what is stored in a byte is truncated
    y_flat = y.reshape(n, h, w * c)
    _warp(flat, np.ascontiguousarray(maps), field, y_flat, rounding, framed, at, weights)
    return y


@inner
def _frame(x, framed, w, c, k):
    """Channel k into the middle of its frame of zeros."""
    for i in range(x.shape[0]):
        start = (i + BEFORE) * (w + AROUND) + BEFORE
        source, out = x[i], framed[start : start + w]
        for j in range(w):
            out[j] = source[j * c + k]


@inner
def _positions(m, bend, i, h, at, down, right):
    """Where row i comes from: the upper left neighbours in the frame, and how far from them."""
    w = at.size
    line = np.float32(i)
    row, column = m[0, 0] * line + m[0, 2], m[1, 0] * line + m[1, 2]
    row_step, column_step = m[0, 1], m[1, 1]
    one, lowest, rightmost = np.float32(1), np.float32(h), np.float32(w)
    for j in range(w):
        step = np.float32(j)
        p, q = row + row_step * step, column + column_step * step
        if bend.size:
            p, q = p + bend[2 * j], q + bend[2 * j + 1]
        # counted from the frame's corner, where truncation is the floor
        p = min(max(p, -one), lowest) + one
        q = min(max(q, -one), rightmost) + one
        u, v = np.int32(p), np.int32(q)
        down[j], right[j] = p - np.float32(u), q - np.float32(v)
        at[j] = np.uint32(u * np.int32(w + AROUND) + v)


@inner
def _fetch(framed, at, down, right, y, c, k, rounding):
    """Channel k of one row of y: bilinear between the four neighbours."""
    w = at.size
    below = np.uint32(w + AROUND)
    one, stride, first = np.uint32(1), np.uint32(c), np.uint32(k)
    for j in range(w):
        a, b = at[j], at[j] + below
        upper = framed[a] + right[j] * (framed[a + one] - framed[a])
        lower = framed[b] + right[j] * (framed[b + one] - framed[b])
        y[np.uint32(j) * stride + first] = upper + down[j] * (lower - upper) + rounding


@parallel
def _warp(worker, x, maps, field, y, rounding, framed, at, weights):
    n, h, _ = x.shape
    _, c, _ = framed.shape
    _, w = at.shape
    for part in own_parts(worker, SHARDS):
        down, right = weights[part]
        for image in range(part * n // SHARDS, (part + 1) * n // SHARDS):
            for k in range(c):
                _frame(x[image], framed[part, k], w, c, k)
            for i in range(h):
                bend = field[image, i] if len(field) else field[:0].reshape(0)
                _positions(maps[image], bend, i, h, at[part], down, right)
                for k in range(c):
                    _fetch(framed[part, k], at[part], down, right, y[image, i], c, k, rounding)


def smooth(noise: NDArray[np.uint8], taps: Array) -> Array:
    """noise, 0 to 255 for -1 to 1, convolved with symmetric taps along h and w; zero outside."""
    n, h, w, _ = noise.shape
    radius = len(taps) // 2
    field = np.empty((n, h, 2 * w), np.float32)
    rows = np.zeros((SHARDS, (h + 2 * radius) * 2 * w), np.float32)
    row = np.zeros((SHARDS, (w + 2 * radius) * 2), np.float32)
    _smooth(
        np.ascontiguousarray(noise).reshape(n, h, 2 * w), taps[radius:].copy(), field, rows, row
    )
    return field.reshape(noise.shape)


@inner
def _add_neighbours(a, start, step, taps, out):
    """out[k] = the sum over v of taps[|v|] * a[start + k + v * step], two taps at once."""
    source, tap = a[start : start + out.size], taps[0]
    for k in range(out.size):
        out[k] = tap * source[k]
    for v in range(1, taps.size):
        tap = taps[v]
        before = a[start - v * step : start - v * step + out.size]
        behind = a[start + v * step : start + v * step + out.size]
        for k in range(out.size):
            out[k] += tap * (before[k] + behind[k])


@parallel
def _smooth(worker, noise, taps, field, rows, row):
    n, h, width = noise.shape
    radius = taps.size - 1
    middle_of_byte = np.float32(127.5)
    for part in own_parts(worker, SHARDS):
        middle = row[part, 2 * radius : 2 * radius + width]
        for image in range(part * n // SHARDS, (part + 1) * n // SHARDS):
            for i in range(h):
                out = rows[part, (i + radius) * width : (i + radius + 1) * width]
                for k in range(width):
                    out[k] = (np.float32(noise[image, i, k]) - middle_of_byte) / middle_of_byte
            for i in range(h):
                _add_neighbours(rows[part], (i + radius) * width, width, taps, middle)
                _add_neighbours(row[part], 2 * radius, 2, taps, field[image, i])
