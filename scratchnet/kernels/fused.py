"""Kernels that run several layers at once, and keep their sums in registers.

Convolution, ReLU and 2x2 max pooling are one kernel forward and one backward. Forward, the four
convolution outputs of a pooling window are computed side by side; only the largest and a code for
which it was are written, and the convolution's own output never exists. Backward, at most one
position in four of each channel carries a gradient, and none where the unit is dead: the kernel
lists the live ones and touches nothing else.

Everything is flat arrays here. A vector is VECTOR_BYTES long (see simd.py); whole vectors are
read and written, so channels are padded with zeros to a multiple of `lanes`, and an array that is
read in rows has SLACK elements behind its end. Work is split into SHARDS parts whatever the number
of threads, each part writes memory of its own, and parts are added in order: the same bits always.
"""

from typing import Any

import numpy as np
from numba import prange
from numpy.typing import NDArray

from . import compiled
from .compiled import _jit
from .memory import SHARDS, lanes, padded
from .simd import (
    add_rows,
    append_where,
    dot_patch,
    fma,
    fma_patch,
    fma_rows,
    has_nan,
    load,
    load_where,
    store,
    store_largest,
    store_relu,
    zeros,
)

Array = NDArray[np.floating]

# the layers' own kernels, for groups to call with buffers of theirs
relu_backward, sum_rows = compiled._relu_backward, compiled._sum_rows
max_pool, max_pool_backward = compiled._max_pool, compiled._max_pool_backward
average_pool, average_pool_backward = compiled._average_pool, compiled._average_pool_backward

#: how many vectors a tile may have and still leave registers for the rest: 32 registers in all
MOST_VECTORS = 24
#: how many vectors the weights of a window may fill where all of them stay in registers
MOST_NUMBERS = 25
#: how many terms of a matrix product are added up at a time: b's part is then 32 KiB
TERMS = 128
#: with fewer columns to compute, to list what is not zero costs more than it saves
LIST_FROM = 256
#: what the code says of a window whose largest value was not positive
DEAD = 4


def tile_for(filters: int, dtype: Any) -> tuple[int, ...]:
    """The widest of 4, 3, 2 or 1 vectors that divides the padded filters; as a tuple."""
    vectors = padded(filters, dtype) // lanes(dtype)
    return (0,) * next(width for width in (4, 3, 2, 1) if vectors % width == 0)


# ---- convolution, ReLU, 2x2 max pooling: forward -----------------------------------------------


def _row_of_windows(window, end, size, row, c, out_h, out_w):
    """Where that pooling window starts in x, and how many follow it in its row and before end."""
    line, j = window // out_w, window % out_w
    at = line // out_h * size + 2 * (line % out_h) * row + 2 * j * c
    return at, min(out_w - j, end - window)


_row_of_windows = _jit(_row_of_windows, parallel=False)


def _conv_relu_pool_row(
    tile, step, x, at, row, c, kh, run, w, fp, bias, out_w, y, code, to
):  # fmt: skip
    for j in range(out_w):
        above = at + 2 * j * c
        for f in range(0, fp, step):
            # the window's four convolution outputs, row by row
            a0 = load(tile, bias, f)
            a1, a2, a3 = a0, a0, a0
            tap = f
            for u in range(kh):
                p = above + u * row
                q = p + row
                for k in range(run):
                    weights = load(tile, w, tap)
                    a0 = fma(a0, x[p + k], weights)
                    a1 = fma(a1, x[p + k + c], weights)
                    a2 = fma(a2, x[q + k], weights)
                    a3 = fma(a3, x[q + k + c], weights)
                    tap += fp
            store_largest(a0, a1, a2, a3, y, code, to + j * fp + f)


_conv_relu_pool_row = _jit(_conv_relu_pool_row, parallel=False)


def conv_relu_pool(
    tile, step, x, n, size, row, c, kh, run, w, fp, bias, out_h, out_w, y, code
):  # fmt: skip
    """y, code (n, out_h, out_w, fp) <- x (n images of `size` elements, `row` a row, c a pixel).

    w (kh * run, fp), bias (fp,); run = kw * c is what one row of the window covers; step is the
    tile's width in elements. out_h and out_w count pooling windows, of which every shard gets as
    many, so that a single image has enough for all threads.
    """
    windows = n * out_h * out_w
    for shard in prange(SHARDS):
        window, end = shard * windows // SHARDS, (shard + 1) * windows // SHARDS
        while window < end:
            at, here = _row_of_windows(window, end, size, row, c, out_h, out_w)
            _conv_relu_pool_row(
                tile, step, x, at, row, c, kh, run, w, fp, bias, here, y, code, window * fp
            )
            window += here


conv_relu_pool = _jit(conv_relu_pool)


def _conv_relu_pool_few_row(
    patch, tile, rows, run, step, x, at, row, c, weights, fp, bias, out_w, y, code, to
):  # fmt: skip
    for f in range(0, fp, step):
        w = load(patch, weights, f * len(rows) * len(run))
        start = load(tile, bias, f)
        for j in range(out_w):
            p = at + 2 * j * c
            a0 = dot_patch(start, rows, run, x, p, row, w)
            a1 = dot_patch(start, rows, run, x, p + c, row, w)
            a2 = dot_patch(start, rows, run, x, p + row, row, w)
            a3 = dot_patch(start, rows, run, x, p + row + c, row, w)
            store_largest(a0, a1, a2, a3, y, code, to + j * fp + f)


_conv_relu_pool_few_row = _jit(_conv_relu_pool_few_row, parallel=False)


def conv_relu_pool_few(
    patch, tile, rows, run, step, x, n, size, row, c, weights, fp, bias, out_h, out_w, y, code
):  # fmt: skip
    """The same for windows of so few values that the weights of a tile stay in registers.

    weights (fp / step, kh, run, step); patch, rows and run are tuples as long as the vectors of
    those of one tile, the window's rows, and the values in each.
    """
    windows = n * out_h * out_w
    for shard in prange(SHARDS):
        window, end = shard * windows // SHARDS, (shard + 1) * windows // SHARDS
        while window < end:
            at, here = _row_of_windows(window, end, size, row, c, out_h, out_w)
            _conv_relu_pool_few_row(
                patch, tile, rows, run, step, x, at, row, c, weights, fp, bias, here, y, code,
                window * fp,
            )  # fmt: skip
            window += here


conv_relu_pool_few = _jit(conv_relu_pool_few)


# ---- and backward ------------------------------------------------------------------------------


def _list_by_filter(dy, code, at, out_h, out_w, fp, row, c, start, places, values, counts, db):
    """For each filter the live positions of an image: where their patches start in x, and dy."""
    windows = out_h * out_w
    counts[:] = 0
    for i in range(out_h):
        for j in range(out_w):
            window = at + (i * out_w + j) * fp
            corner = start + 2 * i * row + 2 * j * c
            grad, which = dy[window : window + fp], code[window : window + fp]
            for f in range(fp):
                q = np.int64(which[f])
                # written always, counted only if alive: no branch to mispredict
                slot = f * windows + counts[f]
                places[slot] = corner + (q >> 1) * row + (q & 1) * c
                values[slot] = grad[f]
                counts[f] += q < DEAD
    for f in range(fp):
        for slot in range(f * windows, f * windows + counts[f]):
            db[f] += values[slot]


_list_by_filter = _jit(_list_by_filter, parallel=False)


def _add_patches(tile, rows, x, row, fp, kh, runp, width, windows, places, values, counts, dw):
    """dw[f] += sum over the list of f: value * patch; a patch is kh rows of runp elements."""
    for f in range(fp):
        first, last = f * windows, f * windows + counts[f]
        for u in range(0, kh, len(rows)):
            for v in range(0, runp, width):
                to = (f * kh + u) * runp + v
                acc = load(tile, dw, to)
                for slot in range(first, last):
                    at = np.int64(places[slot]) + u * row + v
                    acc = fma_rows(acc, rows, values[slot], x, at, row)
                store(dw, to, acc)


_add_patches = _jit(_add_patches, parallel=False)


def _add_masked(
    patch, tile, rows, run, step, dy, code, at, out_h, out_w, fp, x, start, row, c, kh, dw, db
):  # fmt: skip
    """dw += what `_add_patches` adds, for windows of a few values: filters side by side.

    For each of a pooling window's four positions the gradients of the other three are masked out.
    Four times the arithmetic, but of whole vectors. dw (fp / step, kh, run, step); rows and run are
    tuples of how many rows of the window are added at a time, and of their length.
    """
    one, across = x.dtype.type(1), len(run)
    for f in range(0, fp, step):
        for u in range(0, kh, len(rows)):
            to = (f * kh + u * step) * across
            acc = load(patch, dw, to)
            total = load(tile, db, f)
            for i in range(out_h):
                window = at + i * out_w * fp + f
                corner = start + (2 * i + u) * row
                for _ in range(out_w):
                    for q in range(4):
                        grad = load_where(tile, dy, code, window, q)
                        p = corner + (q >> 1) * row + (q & 1) * c
                        acc = fma_patch(acc, rows, run, x, p, row, grad)
                        total = fma(total, one, grad)
                    window += fp
                    corner += 2 * c
            store(dw, to, acc)
            if u == 0:
                store(db, f, total)


_add_masked = _jit(_add_masked, parallel=False)


def _spread(
    tile, lane, dy, code, at, out_h, out_w, fp, row, c, kh, runp, width, wt,
    filters, values, starts, dx,
):  # fmt: skip
    """dx += each live gradient times its filter, laid over the patch that it came from."""
    # for each position of the convolution its live filters, one position's after the other's
    end = 0
    for window in range(out_h * out_w):
        first = at + window * fp
        for q in range(4):
            starts[4 * window + q] = end
            for f in range(0, fp, lane):
                end = append_where((0,), values, filters, end, dy, code, first + f, q, f)
    starts[4 * out_h * out_w] = end

    rows = (0,)
    for u in range(kh):  # one row of all filters at a time: that much stays in the first cache
        for v in range(0, runp, width):
            tap = u * runp + v
            for i in range(out_h):
                for j in range(out_w):
                    for q in range(4):
                        at = 4 * (i * out_w + j) + q
                        if starts[at] == starts[at + 1]:
                            continue
                        acc = zeros(tile, dx)
                        for slot in range(starts[at], starts[at + 1]):
                            to = np.int64(filters[slot]) * kh * runp + tap
                            acc = fma_rows(acc, rows, values[slot], wt, to, runp)
                        y, z = 2 * i + (q >> 1) + u, 2 * j + (q & 1)
                        add_rows(acc, rows, dx, y * row + z * c + v, row)


_spread = _jit(_spread, parallel=False)


def _copy_inside(image, row, start, h, run, out, to):
    """out[to:] <- h rows of the image, `run` elements each, from `start` on."""
    for i in range(h):
        source, inner = image[start + i * row :], out[to + i * run : to + (i + 1) * run]
        for k in range(run):
            inner[k] = source[k]


_copy_inside = _jit(_copy_inside, parallel=False)


def conv_relu_pool_weights(
    tile, rows, width, dy, code, n, out_h, out_w, fp, x, size, row, c, kh, runp,
    places, values, counts, dw, db,
):  # fmt: skip
    """dw (SHARDS, fp * kh * runp), db (SHARDS, fp) <- dy, code, x: the weights' gradient.

    A patch's row is read as runp elements, whole vectors; what is read beyond the run ends up in
    columns of dw that nobody looks at. Scratch: places, values, counts (SHARDS, ...).
    """
    windows = out_h * out_w
    for shard in prange(SHARDS):
        mine, sums = dw[shard], db[shard]
        mine[:] = 0
        sums[:] = 0
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            _list_by_filter(
                dy, code, image * windows * fp, out_h, out_w, fp, row, c, image * size,
                places[shard], values[shard], counts[shard], sums,
            )  # fmt: skip
            _add_patches(
                tile, rows, x, row, fp, kh, runp, width, windows,
                places[shard], values[shard], counts[shard], mine,
            )  # fmt: skip


conv_relu_pool_weights = _jit(conv_relu_pool_weights)


def conv_relu_pool_few_weights(
    patch, tile, rows, run, step, dy, code, n, out_h, out_w, fp, x, size, row, c, kh, dw, db
):  # fmt: skip
    """The same for windows of few values: dw (SHARDS, fp / step * kh * run * step)."""
    for shard in prange(SHARDS):
        mine, sums = dw[shard], db[shard]
        mine[:] = 0
        sums[:] = 0
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            at = image * out_h * out_w * fp
            _add_masked(
                patch, tile, rows, run, step, dy, code, at, out_h, out_w, fp, x, image * size,
                row, c, kh, mine, sums,
            )  # fmt: skip


conv_relu_pool_few_weights = _jit(conv_relu_pool_few_weights)


def conv_relu_pool_inputs(
    tile, lane, dy, code, n, out_h, out_w, fp, size, row, c, kh, runp, width, wt,
    filters, values, starts, image_dx, dx, start, h, run,
):  # fmt: skip
    """dx (n, h, run) <- dy, code and wt (fp * kh * runp), the weights filter by filter.

    `start` is where the image begins in its frame, of `size` elements and `row` a row. Scratch,
    each with SHARDS rows: filters, values, starts, image_dx (size + SLACK).
    """
    for shard in prange(SHARDS):
        image_of_mine = image_dx[shard]
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            image_of_mine[:] = 0
            _spread(
                tile, lane, dy, code, image * out_h * out_w * fp, out_h, out_w, fp, row, c, kh,
                runp, width, wt, filters[shard], values[shard], starts[shard], image_of_mine,
            )  # fmt: skip
            _copy_inside(image_of_mine, row, start, h, run, dx, image * h * run)


conv_relu_pool_inputs = _jit(conv_relu_pool_inputs)


# ---- convolution without pooling ---------------------------------------------------------------


def _conv_row(
    tile, step, x, at, right, row, kh, run, w, fp, bias, out_w, y, to, relu
):  # fmt: skip
    j = 0
    while j < out_w:
        # four positions side by side; the last four may overlap those before
        four = out_w >= 4
        if four:
            j = min(j, out_w - 4)
        start = at + j * right
        out = to + j * fp
        for f in range(0, fp, step):
            a0 = load(tile, bias, f)
            a1, a2, a3 = a0, a0, a0
            tap = f
            for u in range(kh):
                p = start + u * row
                if four:
                    for k in range(run):
                        weights = load(tile, w, tap)
                        a0 = fma(a0, x[p + k], weights)
                        a1 = fma(a1, x[p + k + right], weights)
                        a2 = fma(a2, x[p + k + 2 * right], weights)
                        a3 = fma(a3, x[p + k + 3 * right], weights)
                        tap += fp
                else:
                    for k in range(run):
                        a0 = fma(a0, x[p + k], load(tile, w, tap))
                        tap += fp
            if relu:
                store_relu(y, out + f, a0)
                if four:
                    store_relu(y, out + fp + f, a1)
                    store_relu(y, out + 2 * fp + f, a2)
                    store_relu(y, out + 3 * fp + f, a3)
            else:
                store(y, out + f, a0)
                if four:
                    store(y, out + fp + f, a1)
                    store(y, out + 2 * fp + f, a2)
                    store(y, out + 3 * fp + f, a3)
        j += 4 if four else 1


_conv_row = _jit(_conv_row, parallel=False)


def conv(tile, step, x, n, size, down, right, row, kh, run, w, fp, bias, out_h, out_w, y, relu):
    """y (n, out_h, out_w, fp) <- x (n images of `size` elements, `row` a row), and ReLU if asked.

    A step of the window goes `down` or `right` elements; w (kh * run, fp), bias (fp,).
    """
    for shard in prange(SHARDS):
        for unit in range(shard * n * out_h // SHARDS, (shard + 1) * n * out_h // SHARDS):
            image, i = unit // out_h, unit % out_h
            _conv_row(
                tile, step, x, image * size + i * down, right, row, kh, run, w, fp, bias,
                out_w, y, unit * out_w * fp, relu,
            )  # fmt: skip


conv = _jit(conv)


def _conv_weights_image(
    tile, step, x, at, down, right, row, kh, run, fp, out_h, out_w, dy, to, dw
):  # fmt: skip
    """dw (kh * run, fp) += the patches of one image, transposed, times its dy; four taps a time."""
    for u in range(kh):
        k = 0
        while k < run:
            four = k + 4 <= run
            for f in range(0, fp, step):
                tap = (u * run + k) * fp + f
                a0 = load(tile, dw, tap)
                if four:
                    a1 = load(tile, dw, tap + fp)
                    a2 = load(tile, dw, tap + 2 * fp)
                    a3 = load(tile, dw, tap + 3 * fp)
                    for i in range(out_h):
                        p = at + i * down + u * row + k
                        q = to + i * out_w * fp + f
                        for _ in range(out_w):
                            grad = load(tile, dy, q)
                            a0 = fma(a0, x[p], grad)
                            a1 = fma(a1, x[p + 1], grad)
                            a2 = fma(a2, x[p + 2], grad)
                            a3 = fma(a3, x[p + 3], grad)
                            p += right
                            q += fp
                    store(dw, tap + fp, a1)
                    store(dw, tap + 2 * fp, a2)
                    store(dw, tap + 3 * fp, a3)
                else:
                    for i in range(out_h):
                        p = at + i * down + u * row + k
                        q = to + i * out_w * fp + f
                        for _ in range(out_w):
                            a0 = fma(a0, x[p], load(tile, dy, q))
                            p += right
                            q += fp
                store(dw, tap, a0)
            k += 4 if four else 1


_conv_weights_image = _jit(_conv_weights_image, parallel=False)


def conv_weights(
    tile, step, x, n, size, down, right, row, kh, run, fp, out_h, out_w, dy, dw
):  # fmt: skip
    """dw (SHARDS, kh * run * fp) <- x, dy (n, out_h, out_w, fp): the gradient of conv's weights."""
    for shard in prange(SHARDS):
        mine = dw[shard]
        mine[:] = 0
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            _conv_weights_image(
                tile, step, x, image * size, down, right, row, kh, run, fp,
                out_h, out_w, dy, image * out_h * out_w * fp, mine,
            )  # fmt: skip


conv_weights = _jit(conv_weights)


def _spread_all(
    tile, step, dy, at, out_h, out_w, f, down, right, row, kh, runp, wt, dx
):  # fmt: skip
    """dx += each gradient times its filter, laid over the patch that it came from."""
    rows, positions = (0,), out_h * out_w
    for u in range(kh):
        for v in range(0, runp, step):
            # four positions side by side; what the last ones lack is computed for nothing
            for first in range(0, positions, 4):
                p0 = first
                p1, p2 = min(first + 1, positions - 1), min(first + 2, positions - 1)
                p3 = min(first + 3, positions - 1)
                a0 = zeros(tile, dx)
                a1, a2, a3 = a0, a0, a0
                tap = u * runp + v
                for k in range(f):
                    weights = load(tile, wt, tap)
                    a0 = fma(a0, dy[at + p0 * f + k], weights)
                    a1 = fma(a1, dy[at + p1 * f + k], weights)
                    a2 = fma(a2, dy[at + p2 * f + k], weights)
                    a3 = fma(a3, dy[at + p3 * f + k], weights)
                    tap += kh * runp
                to = u * row + v
                add_rows(a0, rows, dx, to + p0 // out_w * down + p0 % out_w * right, row)
                if first + 1 < positions:
                    add_rows(a1, rows, dx, to + p1 // out_w * down + p1 % out_w * right, row)
                if first + 2 < positions:
                    add_rows(a2, rows, dx, to + p2 // out_w * down + p2 % out_w * right, row)
                if first + 3 < positions:
                    add_rows(a3, rows, dx, to + p3 // out_w * down + p3 % out_w * right, row)


_spread_all = _jit(_spread_all, parallel=False)


def conv_inputs(
    tile, step, dy, n, out_h, out_w, f, size, down, right, row, kh, runp, wt, image_dx, dx,
    start, h, run,
):  # fmt: skip
    """dx (n, h, run) <- dy (n, out_h, out_w, f), wt (f, kh, runp): the gradient of conv's input.

    runp: the values of a window's row, in whole vectors; start, h and run as above. Scratch:
    image_dx (SHARDS, size + SLACK).
    """
    for shard in prange(SHARDS):
        image_of_mine = image_dx[shard]
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            image_of_mine[:] = 0
            _spread_all(
                tile, step, dy, image * out_h * out_w * f, out_h, out_w, f, down, right, row, kh,
                runp, wt, image_of_mine,
            )  # fmt: skip
            _copy_inside(image_of_mine, row, start, h, run, dx, image * h * run)


conv_inputs = _jit(conv_inputs)


def frame(x, n, h, run, top, left, out_h, out_run, out):
    """out (n, out_h, out_run) <- x (n, h, run) from row `top` and place `left` on, zero around."""
    for shard in prange(SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            for i in range(out_h):
                row = out[(image * out_h + i) * out_run : (image * out_h + i + 1) * out_run]
                row[:] = 0
                if top <= i < top + h:
                    at = (image * h + i - top) * run
                    source, inner = x[at : at + run], row[left : left + run]
                    for k in range(run):
                        inner[k] = source[k]


frame = _jit(frame)


def pixels(x, out):
    """out <- x / 255: bytes as numbers from 0 to 1."""
    most = out.dtype.type(255)
    for k in range(x.size):
        out[k] = x[k] / most


pixels = _jit(pixels, parallel=False, inner=False)  # memory's speed on one thread, soon compiled


def add(a, b, relu, y):
    """y = a + b, and ReLU if asked for."""
    zero = y.dtype.type(0)
    for shard in prange(SHARDS):
        first, last = shard * y.size // SHARDS, (shard + 1) * y.size // SHARDS
        one, other, out = a[first:last], b[first:last], y[first:last]
        for k in range(last - first):
            value = one[k] + other[k]
            out[k] = zero if relu and value <= zero else value


add = _jit(add)


def columns(a, m, k, out, width, step):
    """out (width / step, m, step) <- a (m, k), with zero columns added or columns left out."""
    for i in range(m):
        for j in range(0, width, step):
            row = out[(j * m + i * step) : (j * m + i * step) + step]
            count = max(0, min(step, k - j))
            source = a[i * k + j : i * k + j + count]
            for s in range(count):
                row[s] = source[s]
            row[count:] = 0


columns = _jit(columns, parallel=False, inner=False)  # little work, most often for weights


# ---- means, dropout ----------------------------------------------------------------------------


def means(x, m, c, y):
    """y (n, c) <- the means over the m rows of each of n images, x (n, m, c)."""
    n, count = y.size // c, y.dtype.type(m)
    for shard in prange(SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            out = y[image * c : (image + 1) * c]
            out[:] = 0
            for i in range(m):
                row = x[(image * m + i) * c : (image * m + i + 1) * c]
                for k in range(c):
                    out[k] += row[k]
            for k in range(c):
                out[k] /= count


means = _jit(means)


def means_backward(dy, m, c, dx):
    """dx (n, m, c) <- an equal share of dy (n, c) for each of the m rows."""
    n, count = dy.size // c, dy.dtype.type(m)
    for shard in prange(SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            grad = dy[image * c : (image + 1) * c]
            for i in range(m):
                row = dx[(image * m + i) * c : (image * m + i + 1) * c]
                for k in range(c):
                    row[k] = grad[k] / count


means_backward = _jit(means_backward)


def drop(x, draws, keep, mask, y):
    """mask <- 1 / keep where the number drawn from 0..1 is below keep, else 0; y = x * mask."""
    zero, scale = x.dtype.type(0), x.dtype.type(1 / keep)
    for shard in prange(SHARDS):
        first, last = shard * x.size // SHARDS, (shard + 1) * x.size // SHARDS
        source, drawn, gate, out = x[first:last], draws[first:last], mask[first:last], y[first:last]
        for k in range(last - first):
            gate[k] = scale if drawn[k] < np.float32(keep) else zero
            out[k] = source[k] * gate[k]


drop = _jit(drop)


def times(a, b, out):
    """out = a * b, element by element."""
    for shard in prange(SHARDS):
        first, last = shard * a.size // SHARDS, (shard + 1) * a.size // SHARDS
        one, other, product_ = a[first:last], b[first:last], out[first:last]
        for k in range(last - first):
            product_[k] = one[k] * other[k]


times = _jit(times)


# ---- softmax -----------------------------------------------------------------------------------


def _exponentials(row, out):
    """out <- exp(row - the largest of it); that largest one, and the sum."""
    largest = row[0]
    for j in range(1, row.size):
        largest = max(largest, row[j])
    total = row.dtype.type(0)
    for j in range(row.size):
        out[j] = np.exp(row[j] - largest)
        total += out[j]
    return largest, total


_exponentials = _jit(_exponentials, parallel=False)


def softmax(x, k, y):
    """y = exp(x) / sum exp(x) for every k values, the largest subtracted first as in Softmax."""
    for i in range(x.size // k):
        row, out = x[i * k : (i + 1) * k], y[i * k : (i + 1) * k]
        largest, total = _exponentials(row, out)
        for j in range(k):
            out[j] /= total


softmax = _jit(softmax, parallel=False, inner=False)


def cross_entropy(x, labels, k, smoothing, dy):
    """The losses' sum for logits x (n, k), labels (n,); dy (n, k) <- the gradient of their mean.

    The formulas are those of losses.py, the targets (1 - smoothing) * one_hot + smoothing / k. What
    is returned is less than zero, as no loss is, if a label is none of 0 .. k-1.
    """
    total_loss, n = np.float64(0), x.dtype.type(len(labels))
    share, rest = x.dtype.type(smoothing / k), x.dtype.type(1 - smoothing)
    for i in range(len(labels)):
        label = np.int64(labels[i])
        if label < 0 or label >= k:
            return -1.0
        row, out = x[i * k : (i + 1) * k], dy[i * k : (i + 1) * k]
        largest, total = _exponentials(row, out)
        log_sum = np.log(total)
        if share > 0:
            for j in range(k):
                target = share + rest if j == label else share
                total_loss += target * (log_sum - (row[j] - largest))
        else:  # not zero times what may be infinite
            total_loss += log_sum - (row[label] - largest)
        for j in range(k):
            out[j] = (out[j] / total - share) / n
        out[label] -= rest / n
    return total_loss


cross_entropy = _jit(cross_entropy, parallel=False, inner=False)


# ---- batch normalization and ReLU --------------------------------------------------------------


def channel_sums(x, y, use_y, mu, s, relu, sums):
    """Sums over the rows of x (m, c), in parts: sums (SHARDS, 2, c).

    Without use_y: of x - mu, and of (x - mu)^2. With it x is dy, y the layer's input: the sums of
    dy and of dy * x_hat, x_hat = (y - mu) * s; with relu only where the ReLU was alive, which
    `relu` (2, c), gamma and beta, tells: gamma * x_hat + beta > 0.
    """
    m, c = x.shape
    for shard in prange(SHARDS):
        first, second = sums[shard, 0], sums[shard, 1]
        first[:] = 0
        second[:] = 0
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            row = x[i]
            if use_y:
                inputs = y[i]
                for k in range(c):
                    x_hat = (inputs[k] - mu[k]) * s[k]
                    grad = row[k] if relu[0, k] * x_hat + relu[1, k] > 0 else row.dtype.type(0)
                    first[k] += grad
                    second[k] += grad * x_hat
            else:
                for k in range(c):
                    d = row[k] - mu[k]
                    first[k] += d
                    second[k] += d * d


channel_sums = _jit(channel_sums)


def normalize(x, mu, s, gamma, beta, relu, y):
    """y (m, c) = gamma * (x - mu) * s + beta, and ReLU if asked for."""
    m, c = x.shape
    for shard in prange(SHARDS):
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            row, out = x[i], y[i]
            if relu:
                for k in range(c):
                    value = gamma[k] * ((row[k] - mu[k]) * s[k]) + beta[k]
                    out[k] = row.dtype.type(0) if value <= 0 else value
            else:
                for k in range(c):
                    out[k] = gamma[k] * ((row[k] - mu[k]) * s[k]) + beta[k]


normalize = _jit(normalize)


def normalize_backward(dy, x, mu, s, relu, scale, mean, along, dx):
    """dx (m, c) = scale * (dy - mean - x_hat * along), dy only where the ReLU was alive."""
    m, c = x.shape
    for shard in prange(SHARDS):
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            grad, row, out = dy[i], x[i], dx[i]
            for k in range(c):
                x_hat = (row[k] - mu[k]) * s[k]
                g = grad[k] if relu[0, k] * x_hat + relu[1, k] > 0 else grad.dtype.type(0)
                out[k] = scale[k] * (g - mean[k] - x_hat * along[k])


normalize_backward = _jit(normalize_backward)


# ---- the dense layer ---------------------------------------------------------------------------


def list_terms(bits, row, col, m, k, places, counts):
    """For every four rows of a (m, k) and every TERMS of its columns: those that are not all zero.

    places (blocks, k): the columns; counts (blocks, parts): how many of them. bits is a as whole
    numbers: nothing but zero has none set (-0 counts as something).
    """
    blocks, parts = (m + 3) // 4, (k + TERMS - 1) // TERMS
    for shard in prange(SHARDS):
        for block in range(shard * blocks // SHARDS, (shard + 1) * blocks // SHARDS):
            p0 = 4 * block * row
            p1 = min(4 * block + 1, m - 1) * row
            p2 = min(4 * block + 2, m - 1) * row
            p3 = min(4 * block + 3, m - 1) * row
            for part in range(parts):
                slot = first = block * k + part * TERMS
                for p in range(part * TERMS, min((part + 1) * TERMS, k)):
                    at = p * col
                    # written always, counted only if not zero: no branch to mispredict
                    places[slot] = p
                    slot += (bits[p0 + at] | bits[p1 + at] | bits[p2 + at] | bits[p3 + at]) != 0
                counts[block * parts + part] = slot - first


list_terms = _jit(list_terms)


def _is_finite(tile, b, ldb, j, start, end):
    """Whether b's rows start..end hold no NaN and no infinity in the tile's columns from j on."""
    acc, zero = zeros(tile, b), b.dtype.type(0)
    for p in range(start, end):
        acc = fma(acc, zero, load(tile, b, p * ldb + j))  # 0 * inf is NaN, and NaN stays
    return not has_nan(acc)


_is_finite = _jit(_is_finite, parallel=False)


def _product_rows(
    tile, a, row, col, b, ldb, c, ldc, first, last, j, start, end, k, bias, relu,
    places, counts,
):  # fmt: skip
    """Rows first..last of c in the tile's columns from j on, four at once: terms start..end of k.

    The sums so far are in c, to begin with there are the biases.
    """
    parts, sparse = (k + TERMS - 1) // TERMS, False
    if places is not None:  # known when this is compiled: without them the lines are not there
        # zero times infinity is NaN and may not be left out
        sparse = _is_finite(tile, b, ldb, j, start, end)
    i = first
    while i < last:
        four = i + 4 <= last
        p = i * row + start * col
        to = i * ldc + j
        if start == 0:
            a0 = load(tile, bias, j)
            a1, a2, a3 = a0, a0, a0
        else:
            a0 = load(tile, c, to)
            a1, a2, a3 = a0, a0, a0
            if four:
                a1 = load(tile, c, to + ldc)
                a2 = load(tile, c, to + 2 * ldc)
                a3 = load(tile, c, to + 3 * ldc)
        q = start * ldb + j
        if places is not None and four and sparse:
            slot = i // 4 * k + start
            for listed in range(slot, slot + counts[i // 4 * parts + start // TERMS]):
                term = np.int64(places[listed])
                p = i * row + term * col
                values = load(tile, b, term * ldb + j)
                a0 = fma(a0, a[p], values)
                a1 = fma(a1, a[p + row], values)
                a2 = fma(a2, a[p + 2 * row], values)
                a3 = fma(a3, a[p + 3 * row], values)
        elif four:
            for _ in range(start, end):
                values = load(tile, b, q)
                a0 = fma(a0, a[p], values)
                a1 = fma(a1, a[p + row], values)
                a2 = fma(a2, a[p + 2 * row], values)
                a3 = fma(a3, a[p + 3 * row], values)
                p += col
                q += ldb
        else:
            for _ in range(start, end):
                a0 = fma(a0, a[p], load(tile, b, q))
                p += col
                q += ldb
        if relu and end == k:
            store_relu(c, to, a0)
            if four:
                store_relu(c, to + ldc, a1)
                store_relu(c, to + 2 * ldc, a2)
                store_relu(c, to + 3 * ldc, a3)
        else:
            store(c, to, a0)
            if four:
                store(c, to + ldc, a1)
                store(c, to + 2 * ldc, a2)
                store(c, to + 3 * ldc, a3)
        i += 4 if four else 1


_product_rows = _jit(_product_rows, parallel=False)


def product(
    wide, narrow, lane, a, row, col, b, ldb, c, ldc, m, nv, k, bias, relu, places, counts
):  # fmt: skip
    """c (m, nv) = a (m, k) @ b (k, nv) + bias (nv,), and ReLU if asked for.

    Element (i, p) of a is a[i * row + p * col], so a transpose is a matter of strides. b and c have
    rows of ldb and ldc elements; nv is a multiple of `lane`. wide and narrow: tiles of 4 and 1.

    The work is split by c's longer side, so that the matrix which is larger is read once and not
    by every shard; and along k, so that a tile's part of b stays in the first cache. places and
    counts are None, or what `list_terms` finds in a: the same sums, zeros left out.
    """
    blocks, tiles = (m + 3) // 4, (nv + 4 * lane - 1) // (4 * lane)
    for shard in prange(SHARDS):
        first, last, left, right = 0, m, 0, tiles
        if nv > m:
            left, right = shard * tiles // SHARDS, (shard + 1) * tiles // SHARDS
        else:
            first = min(shard * blocks // SHARDS * 4, m)
            last = min((shard + 1) * blocks // SHARDS * 4, m)
        for number in range(left, right):
            for start in range(0, max(k, 1), TERMS):
                end, j = min(start + TERMS, k), number * 4 * lane
                if j + 4 * lane <= nv:
                    _product_rows(
                        wide, a, row, col, b, ldb, c, ldc, first, last, j, start, end, k, bias,
                        relu, places, counts,
                    )  # fmt: skip
                    continue
                while j < nv:
                    _product_rows(
                        narrow, a, row, col, b, ldb, c, ldc, first, last, j, start, end, k, bias,
                        relu, places, counts,
                    )  # fmt: skip
                    j += lane


product = _jit(product)


def relu_gradient(dy, y, relu, n, units, wide, dz, db):
    """dz (n, wide) <- dy (n, units) where y (n, wide) > 0, or everywhere; db (wide,) <- its sums.

    Columns beyond the units become zero.
    """
    db[:] = 0
    for i in range(n):
        grad, row = dy[i * units : (i + 1) * units], y[i * wide : (i + 1) * wide]
        out = dz[i * wide : (i + 1) * wide]
        for k in range(units):
            out[k] = grad[k] if row[k] > 0 or not relu else grad.dtype.type(0)
        out[units:] = 0
        for k in range(units):
            db[k] += out[k]


relu_gradient = _jit(relu_gradient, parallel=False, inner=False)
