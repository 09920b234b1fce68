"""The functions of layers/functions.py as Numba loops: the same names, signatures and results.

Each function allocates its result and calls the loop of the same name with `_into`, which groups
call with buffers of their own. The loops run in parallel over images, or over a fixed number of
shards, and each iteration writes memory that it alone owns: the result has the same bits for any
number of threads.

What shapes the loops, found by measuring:
- `row = a[i, j]` before an inner loop and `row[k]` in it: Numba checks an index that might be
  negative for wrap-around, and that check keeps a loop from being vectorised.
- Images are seen as (n, h, w * c): with channels last, the pixels of one row of a window are one
  contiguous run of kw * c values.
- No fastmath flag that assumes the absence of NaN: a NaN travels through and is seen.
"""

import math

import numpy as np
from numpy.typing import NDArray

from ..layers.window import BatchShape, Pads, Pair, output_size, spread, winner_dtype
from .compiler import parallel
from .memory import LOTS, SHARDS
from .sums import first_of, tree_sum
from .turns import own_parts

Array = NDArray[np.floating]


def im2col(x: Array, window: Pair, strides: Pair, pads: Pads, dilation: Pair = (1, 1)) -> Array:
    """One row for each window position: (n, h, w, c) -> (n * out_h * out_w, kh * kw * c)."""
    n, h, w, c = x.shape
    out_h, out_w = output_size((h, w), spread(window, dilation), strides, pads)
    cols = np.empty((n, out_h, out_w, window[0], window[1] * c), x.dtype)
    rows = np.ascontiguousarray(x).reshape(n, h, w * c)
    im2col_into(rows, cols, c, strides, dilation, pads[0], pads[2])
    return cols.reshape(n * out_h * out_w, window[0] * window[1] * c)


@parallel
def im2col_into(worker, x, cols, c, strides, dilation, top, left):
    n, h, wc = x.shape
    _, out_h, out_w, kh, run = cols.shape
    (sh, sw), (dh, dw) = strides, dilation
    # what is contiguous in memory: a row of the window, or one pixel where there are gaps
    piece = run if dw == 1 else c
    for image in own_parts(worker, n):
        for i in range(out_h):
            for u in range(kh):
                y = i * sh + u * dh - top
                for j in range(out_w):
                    for v in range(run // piece):
                        out = cols[image, i, j, u, v * piece : (v + 1) * piece]
                        start = (j * sw + v * dw - left) * c
                        if y < 0 or y >= h:
                            for k in range(piece):
                                out[k] = 0
                        elif start >= 0 and start + piece <= wc:
                            source = x[image, y, start : start + piece]
                            for k in range(piece):
                                out[k] = source[k]
                        else:  # the window overhangs the left or right edge
                            for k in range(piece):
                                at = start + k
                                out[k] = x[image, y, at] if 0 <= at < wc else 0


def col2im(
    dcols: Array,
    x_shape: BatchShape,
    window: Pair,
    strides: Pair,
    pads: Pads,
    dilation: Pair = (1, 1),
) -> Array:
    """The transpose of im2col: each pixel gets the sum over all windows that contain it."""
    n, h, w, c = x_shape
    out_h, out_w = output_size((h, w), spread(window, dilation), strides, pads)
    dx = np.empty((n, h, w * c), dcols.dtype)
    rows = np.ascontiguousarray(dcols).reshape(n, out_h, out_w, window[0], window[1] * c)
    col2im_into(rows, dx, c, strides, dilation, pads[0], pads[2])
    return dx.reshape(x_shape)


@parallel
def col2im_into(worker, dcols, dx, c, strides, dilation, top, left):
    n, h, wc = dx.shape
    _, out_h, out_w, kh, run = dcols.shape
    (sh, sw), (dh, dw) = strides, dilation
    piece = run if dw == 1 else c  # as in im2col_into
    for image in own_parts(worker, n):
        dx[image] = 0
        for i in range(out_h):
            for u in range(kh):
                y = i * sh + u * dh - top
                if y < 0 or y >= h:
                    continue
                for j in range(out_w):
                    for v in range(run // piece):
                        source = dcols[image, i, j, u, v * piece : (v + 1) * piece]
                        start = (j * sw + v * dw - left) * c
                        if start >= 0 and start + piece <= wc:
                            out = dx[image, y, start : start + piece]
                            for k in range(piece):
                                out[k] += source[k]
                        else:
                            for k in range(piece):
                                at = start + k
                                if 0 <= at < wc:
                                    dx[image, y, at] += source[k]


def max_pool(x: Array, window: Pair, strides: Pair, pads: Pads) -> tuple[Array, NDArray]:
    """The largest value of each window, and which it was: y, winner, both (n, out_h, out_w, c)."""
    n, h, w, c = x.shape
    out_h, out_w = output_size((h, w), window, strides, pads)
    y = np.empty((n, out_h, out_w, c), x.dtype)
    winner: NDArray = np.empty((n, out_h, out_w, c), winner_dtype(window))
    max_pool_into(np.ascontiguousarray(x), y, winner, window, strides, pads[0], pads[2])
    return y, winner


@parallel
def max_pool_into(worker, x, y, winner, window, strides, top, left):
    n, h, w, c = x.shape
    _, out_h, out_w, _ = y.shape
    kh, kw = window
    sh, sw = strides
    for image in own_parts(worker, n):
        for i in range(out_h):
            for j in range(out_w):
                best = y[image, i, j]
                which = winner[image, i, j]
                first = True
                for u in range(max(0, top - i * sh), min(kh, h + top - i * sh)):
                    for v in range(max(0, left - j * sw), min(kw, w + left - j * sw)):
                        pixel = x[image, i * sh + u - top, j * sw + v - left]
                        number = u * kw + v
                        if first:
                            first = False
                            for k in range(c):
                                best[k] = pixel[k]
                                which[k] = number
                        else:
                            for k in range(c):
                                a, b = pixel[k], best[k]
                                # the second half: the first NaN beats every number
                                if a > b or (a != a and b == b):
                                    best[k] = a
                                    which[k] = number


def max_pool_backward(
    dy: Array, winner: NDArray, x_shape: BatchShape, window: Pair, strides: Pair, pads: Pads
) -> Array:
    """Each window's gradient goes to its winner, whole; windows that share a winner add up."""
    dx = np.empty(x_shape, dy.dtype)
    max_pool_backward_into(
        np.ascontiguousarray(dy), winner, dx, window[1], strides, pads[0], pads[2]
    )
    return dx


@parallel
def max_pool_backward_into(worker, dy, winner, dx, kw, strides, top, left):
    n, out_h, out_w, c = dy.shape
    sh, sw = strides
    for image in own_parts(worker, n):
        dx[image] = 0
        for i in range(out_h):
            for j in range(out_w):
                grad = dy[image, i, j]
                which = winner[image, i, j]
                for k in range(c):
                    u, v = divmod(int(which[k]), kw)
                    dx[image, i * sh + u - top, j * sw + v - left, k] += grad[k]


def average_pool(x: Array, window: Pair, strides: Pair, pads: Pads) -> Array:
    """The mean over each window's real pixels, padding not counted: (n, out_h, out_w, c)."""
    n, h, w, c = x.shape
    out_h, out_w = output_size((h, w), window, strides, pads)
    y = np.empty((n, out_h, out_w, c), x.dtype)
    average_pool_into(np.ascontiguousarray(x), y, window, strides, pads[0], pads[2])
    return y


@parallel
def average_pool_into(worker, x, y, window, strides, top, left):
    n, h, w, c = x.shape
    _, out_h, out_w, _ = y.shape
    kh, kw = window
    sh, sw = strides
    for image in own_parts(worker, n):
        for i in range(out_h):
            u0, u1 = max(0, top - i * sh), min(kh, h + top - i * sh)
            for j in range(out_w):
                v0, v1 = max(0, left - j * sw), min(kw, w + left - j * sw)
                total = y[image, i, j]
                total[:] = 0
                for u in range(u0, u1):
                    for v in range(v0, v1):
                        pixel = x[image, i * sh + u - top, j * sw + v - left]
                        for k in range(c):
                            total[k] += pixel[k]
                count = (u1 - u0) * (v1 - v0)
                for k in range(c):
                    total[k] /= count


def average_pool_backward(
    dy: Array, x_shape: BatchShape, window: Pair, strides: Pair, pads: Pads
) -> Array:
    """Each window's gradient is shared equally among the pixels that it averaged."""
    dx = np.empty(x_shape, dy.dtype)
    average_pool_backward_into(np.ascontiguousarray(dy), dx, window, strides, pads[0], pads[2])
    return dx


@parallel
def average_pool_backward_into(worker, dy, dx, window, strides, top, left):
    n, h, w, c = dx.shape
    _, out_h, out_w, _ = dy.shape
    kh, kw = window
    sh, sw = strides
    for image in own_parts(worker, n):
        dx[image] = 0
        for i in range(out_h):
            u0, u1 = max(0, top - i * sh), min(kh, h + top - i * sh)
            for j in range(out_w):
                v0, v1 = max(0, left - j * sw), min(kw, w + left - j * sw)
                count = (u1 - u0) * (v1 - v0)
                grad = dy[image, i, j]
                for u in range(u0, u1):
                    for v in range(v0, v1):
                        pixel = dx[image, i * sh + u - top, j * sw + v - left]
                        for k in range(c):
                            pixel[k] += grad[k] / count


def relu(x: Array) -> Array:
    """max(x, 0) of any shape; NaN stays NaN."""
    y = np.empty(x.shape, x.dtype)
    relu_into(np.ascontiguousarray(x).reshape(-1), y.reshape(-1))
    return y


@parallel
def relu_into(worker, x, y):
    zero = x.dtype.type(0)
    for part in own_parts(worker, SHARDS):
        start, stop = part * x.size // SHARDS, (part + 1) * x.size // SHARDS
        source, out = x[start:stop], y[start:stop]
        for k in range(stop - start):
            out[k] = zero if source[k] <= zero else source[k]


def relu_backward(dy: Array, y: Array) -> Array:
    """dy where the unit was alive (y > 0), zero elsewhere."""
    dx = np.empty(dy.shape, dy.dtype)
    relu_backward_into(
        np.ascontiguousarray(dy).reshape(-1), np.ascontiguousarray(y).reshape(-1), dx.reshape(-1)
    )
    return dx


@parallel
def relu_backward_into(worker, dy, y, dx):
    zero = dy.dtype.type(0)
    for part in own_parts(worker, SHARDS):
        start, stop = part * dy.size // SHARDS, (part + 1) * dy.size // SHARDS
        grad, alive, out = dy[start:stop], y[start:stop], dx[start:stop]
        for k in range(stop - start):
            out[k] = grad[k] if alive[k] > zero else zero


def erfc(x: Array) -> Array:
    """1 - erf(x) of any shape, by the C library's function."""
    y = np.empty(x.shape, x.dtype)
    erfc_into(np.ascontiguousarray(x).reshape(-1), y.reshape(-1))
    return y


@parallel
def erfc_into(worker, x, y):
    for part in own_parts(worker, SHARDS):
        start, stop = part * x.size // SHARDS, (part + 1) * x.size // SHARDS
        source, out = x[start:stop], y[start:stop]
        for k in range(stop - start):
            out[k] = math.erfc(source[k])


def sum_rows(a: Array) -> Array:
    """(m, k) -> (k,): the sum over the rows, as a bias's gradient needs it."""
    parts = np.empty((LOTS, a.shape[1]), a.dtype)
    sum_rows_into(np.ascontiguousarray(a), len(a), parts)
    return tree_sum(parts, np.empty(a.shape[1], a.dtype))


@parallel
def sum_rows_into(worker, a, n, parts):
    """parts (shards, width) <- sums of a's rows, which are those of n images."""
    shards, width = parts.shape
    m = len(a) // max(n, 1)
    for part in own_parts(worker, shards):
        total = parts[part]
        total[:] = 0
        for i in range(m * first_of(n, shards, part), m * first_of(n, shards, part + 1)):
            row = a[i]
            for k in range(width):
                total[k] += row[k]
