"""Convolution with stride 1, ReLU and 2x2 max pooling as one group: its output never exists.

Forward, the four convolution outputs of a pooling window are computed side by side; only the
largest and a code for which it was are written. Backward, at most one position in four of each
channel carries a gradient, and none where the unit is dead: the loops list the live ones and touch
nothing else.

Max pooling and ReLU commute, gradients included: the largest of the rectified values is the
rectified largest, and where it is not positive neither passes a gradient on.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from ..layers import Conv2D, Layer
from . import winograd
from .compiler import inner, parallel
from .conv import ConvGroup, Geometry, copy_inside, tile_for
from .group import Array, Gradients
from .memory import SHARDS, SLACK, VECTOR_BYTES
from .simd import (
    add_rows,
    append_where,
    dot_patch,
    fma,
    fma_patch,
    fma_rows,
    load,
    load_where,
    store,
    store_largest,
    zeros,
)
from .target import target

#: how many vectors the weights of a window may fill where all of them stay in registers
MOST_NUMBERS = 25
#: what the code says of a window whose largest value was not positive
DEAD = 4


class Part(NamedTuple):
    """How much of a patch is worked on at a time, where its rows are whole vectors.

    tile    all of that, in vectors
    rows    how many rows of the window
    across  how many vectors of each row
    """

    tile: tuple[int, ...]
    rows: tuple[int, ...]
    across: tuple[int, ...]


class Few(NamedTuple):
    """The same where the row of a window does not fill a vector: filters side by side instead.

    patch   rows * run * tile, in vectors: a weight of every filter for each value of the patch
    tile    filters, in vectors
    rows    how many rows of the window
    run     the values in a row
    """

    patch: tuple[int, ...]
    tile: tuple[int, ...]
    rows: tuple[int, ...]
    run: tuple[int, ...]


class Live(NamedTuple):
    """Lists of live positions, one for each shard; whole vectors are written to them.

    places, values   int32 where they are in one image, and their gradients; each (SHARDS, ...)
    ends             int64 (SHARDS, ...): how many for each filter, or where each position's begin
    """

    places: NDArray[np.int32]
    values: Array
    ends: NDArray[np.int64]


class ConvReluPool(ConvGroup):
    """Convolution with stride 1, ReLU and 2x2 max pooling; out_h, out_w count pooling windows."""

    kernel = "the convolution's output stays in registers, the backward pass is sparse"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.forward_tile = tile_for(self.f, self.dtype)
        # as many rows of a patch at a time as registers hold, each in whole vectors
        vectors = -(-self.run // self.lane)
        most = target().sums
        parts = -(-vectors // most)
        across = -(-vectors // parts)
        self.runp = parts * across * self.lane
        rows = self.kh if parts == 1 and self.kh * across <= most else 1
        self.part = Part((0,) * (rows * across), (0,) * rows, (0,) * across)
        self.few = self._few() if self.run < self.lane else None
        conv = layers[0]
        self.winograd_fits = isinstance(conv, Conv2D) and winograd.fits(conv)

    def _few(self) -> Few:
        """As many rows of the window, and vectors of filters, as registers hold."""
        rows, wide = next(
            (rows, wide)
            for rows in (self.kh, 1)
            for wide in (2, 1)
            if rows * self.run * wide <= MOST_NUMBERS and self.fp // self.lane % wide == 0
        )
        return Few((0,) * (rows * self.run * wide), (0,) * wide, (0,) * rows, (0,) * self.run)

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        n = len(x)
        self.x = self.flat("x", self.framed(x, self.pads))
        self.at = self.geometry(n)
        y = self.buffer("y", (n, self.out_h, self.out_w, self.fp))
        self.code = self.buffer("code", y.shape, np.uint8).reshape(-1)
        outputs = y.reshape(-1), self.code
        if self.winograd_fits and n * self.out_h * self.out_w >= winograd.FEW_TILES:
            self._forward_winograd(*outputs)
        elif self.few and len(self.few.rows) == self.kh:
            # (kh * run, f) -> (fp / step, kh * run, step), step filters side by side
            w, step = self.params["W"].reshape(-1, self.f), len(self.few.tile) * self.lane
            weights = self.tiled("few", w, self.fp, step).reshape(-1)
            self.call(
                conv_relu_pool_few, self.at, self.few, self.x, weights, self.bias(self.fp), *outputs
            )
        else:
            weights, bias = self.weights(), self.bias(self.fp)
            self.call(conv_relu_pool, self.at, self.forward_tile, self.x, weights, bias, *outputs)
        return self.narrow("narrow", y, self.f)

    def _forward_winograd(self, y: Array, code: NDArray[np.uint8]) -> None:
        tiling = winograd.Tiling(
            self.at.n, self.h, self.w, self.c, 0, 0,
            2 * self.out_h, 2 * self.out_w, self.f, self.out_h, self.out_w,
        )  # fmt: skip
        u, bias = winograd.filters_of(self, "u", self.params["W"]), self.bias(self.f)
        block = winograd.block_for(self.f, self.dtype)
        scratch = winograd.scratch_of(self, self.c, self.f)
        self.call(winograd.conv_relu_pool, tiling, block, self.x, u, bias, y, code, scratch)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        dy = self.columns("dy", dy.reshape(-1, self.f), self.fp).reshape(-1)
        slots = self.out_h * self.out_w * self.fp + self.lane  # lists are written in whole vectors
        places = self.buffer("places", (SHARDS, slots), np.int32)
        values = self.buffer("values", (SHARDS, slots))
        db = self.buffer("db", (SHARDS, self.fp))
        if self.few:
            dW = self._few_weights(self.few, dy, db)
        else:
            dW = self._weights(dy, places, values, db)
        self.grads["W"][:] = dW.reshape(self.grads["W"].shape)
        if "b" in self.grads:
            self.grads["b"][:] = self.total("db", db)[: self.f]
        return self._inputs(dy, places, values) if need_dx else None

    def _weights(self, dy: Array, places: NDArray, values: Array, db: Array) -> Array:
        """dW (kh, run, f), filter by filter, from the live positions alone."""
        dw = self.buffer("dw", (SHARDS, self.fp * self.kh * self.runp))
        live = Live(places, values, self.buffer("counts", (SHARDS, self.fp), np.int64))
        self.call(conv_relu_pool_weights, self.at, self.part, dy, self.code, self.x, live, dw, db)
        dW = self.total("dw", dw).reshape(self.fp, self.kh, self.runp)
        return dW[: self.f, :, : self.run].transpose(1, 2, 0)  # (f, kh, run) -> (kh, run, f)

    def _few_weights(self, few: Few, dy: Array, db: Array) -> Array:
        """dW (kh * run, f), all filters side by side."""
        step = len(few.tile) * self.lane
        shape = (self.fp // step, self.kh * self.run, step)
        dw = self.buffer("dw", (SHARDS, math.prod(shape)))
        self.call(conv_relu_pool_few_weights, self.at, few, dy, self.code, self.x, dw, db)
        dW = self.total("dw", dw).reshape(shape).transpose(1, 0, 2)
        return dW.reshape(shape[1], -1)[:, : self.f]

    def _inputs(self, dy: Array, places: NDArray, values: Array) -> Array:
        """dx, image by image."""
        starts = self.buffer("starts", (SHARDS, 4 * self.out_h * self.out_w + 1), np.int64)
        scratch = self.buffer("image_dx", (SHARDS, self.at.size + SLACK))
        dx = self.dx((self.at.n, *self.image), dy)
        wt, live, inside = self.filters_by_row(self.fp), Live(places, values, starts), self.inside()
        self.call(
            conv_relu_pool_inputs,
            self.at, self.part.across, dy, self.code, wt, live, scratch, dx.reshape(-1), inside,
        )  # fmt: skip
        return dx


# ---- forward -----------------------------------------------------------------------------------


@inner
def _row_of_windows(g: Geometry, window, end):
    """Where that pooling window starts in x, and how many follow it in its row and before end."""
    line, j = window // g.out_w, window % g.out_w
    at = line // g.out_h * g.size + 2 * (line % g.out_h) * g.row + 2 * j * g.right
    return at, min(g.out_w - j, end - window)


@inner
def _conv_relu_pool_windows(g, tile, x, w, bias, first, end, y, code):
    """The pooling windows first..end, row by row."""
    step = len(tile) * (VECTOR_BYTES // x.itemsize)
    c, row, kh, run, fp = g.right, g.row, g.kh, g.run, g.fp
    window = first
    while window < end:
        at, windows = _row_of_windows(g, window, end)
        for j in range(windows):
            corner = at + 2 * j * c
            for f in range(0, fp, step):
                # the window's four convolution outputs, row by row
                a0 = load(tile, bias, f)
                a1, a2, a3 = a0, a0, a0
                tap = f
                for u in range(kh):
                    p = corner + u * row
                    q = p + row
                    for k in range(run):
                        weights = load(tile, w, tap)
                        a0 = fma(a0, x[p + k], weights)
                        a1 = fma(a1, x[p + k + c], weights)
                        a2 = fma(a2, x[q + k], weights)
                        a3 = fma(a3, x[q + k + c], weights)
                        tap += fp
                store_largest(a0, a1, a2, a3, y, code, (window + j) * fp + f)
        window += windows


@parallel
def conv_relu_pool(g, tile, x, w, bias, y, code):
    """y, code (n, out_h, out_w, fp) <- x, framed images; w (kh * run, fp), bias (fp,).

    Every shard gets as many pooling windows, so that a single image has enough for all threads.
    """
    windows = g.n * g.out_h * g.out_w
    for shard in prange(SHARDS):
        first, end = shard * windows // SHARDS, (shard + 1) * windows // SHARDS
        _conv_relu_pool_windows(g, tile, x, w, bias, first, end, y, code)


@inner
def _conv_relu_pool_few_windows(g, few, x, weights, bias, first, end, y, code):
    """The pooling windows first..end, row by row."""
    patch, tile, rows, run = few
    step = len(tile) * (VECTOR_BYTES // x.itemsize)
    c, row, fp = g.right, g.row, g.fp
    window = first
    while window < end:
        at, windows = _row_of_windows(g, window, end)
        for f in range(0, fp, step):
            w = load(patch, weights, f * len(rows) * len(run))
            start = load(tile, bias, f)
            for j in range(windows):
                p = at + 2 * j * c
                a0 = dot_patch(start, rows, run, x, p, row, w)
                a1 = dot_patch(start, rows, run, x, p + c, row, w)
                a2 = dot_patch(start, rows, run, x, p + row, row, w)
                a3 = dot_patch(start, rows, run, x, p + row + c, row, w)
                store_largest(a0, a1, a2, a3, y, code, (window + j) * fp + f)
        window += windows


@parallel
def conv_relu_pool_few(g, few, x, weights, bias, y, code):
    """The same for windows of so few values that the weights of a tile stay in registers.

    weights (fp / step, kh, run, step), step the tile's width in filters.
    """
    windows = g.n * g.out_h * g.out_w
    patch, tile, rows, run = few
    for shard in prange(SHARDS):
        first, end = shard * windows // SHARDS, (shard + 1) * windows // SHARDS
        part = Few(patch, tile, rows, run)
        _conv_relu_pool_few_windows(g, part, x, weights, bias, first, end, y, code)


# ---- backward: the weights ---------------------------------------------------------------------


@inner
def _list_by_filter(g, dy, code, to, live, db):
    """For each filter the live positions of an image: where their patches start in it, and dy.

    to: where the image's windows are in dy and code
    """
    places, values, counts = live
    fp, windows = g.fp, g.out_h * g.out_w
    counts[:] = 0
    for i in range(g.out_h):
        for j in range(g.out_w):
            window = to + (i * g.out_w + j) * fp
            corner = 2 * i * g.row + 2 * j * g.right
            grad, which = dy[window : window + fp], code[window : window + fp]
            for f in range(fp):
                q = np.int64(which[f])
                # written always, counted only if alive: no branch to mispredict
                slot = f * windows + counts[f]
                places[slot] = corner + (q >> 1) * g.row + (q & 1) * g.right
                values[slot] = grad[f]
                counts[f] += q < DEAD
    for f in range(fp):
        for slot in range(f * windows, f * windows + counts[f]):
            db[f] += values[slot]


@inner
def _add_patches(g, part, x, start, live, dw):
    """dw[f] += sum over the list of f: value * patch; a patch is kh rows of runp elements.

    start: where the image is in x
    """
    places, values, counts = live
    tile, rows, across = part
    width, windows = len(across) * (VECTOR_BYTES // x.itemsize), g.out_h * g.out_w
    for f in range(g.fp):
        first, last = f * windows, f * windows + counts[f]
        for u in range(0, g.kh, len(rows)):
            for v in range(0, g.runp, width):
                to = (f * g.kh + u) * g.runp + v
                acc = load(tile, dw, to)
                for slot in range(first, last):
                    at = start + places[slot] + u * g.row + v
                    acc = fma_rows(acc, rows, values[slot], x, at, g.row)
                store(dw, to, acc)


@parallel
def conv_relu_pool_weights(g, part, dy, code, x, live, dw, db):
    """dw (SHARDS, fp * kh * runp), db (SHARDS, fp) <- dy, code, x: the weights' gradient.

    A patch's row is read as runp elements, whole vectors; what is read beyond the run ends up in
    columns of dw that are never read. live: scratch, its `ends` the counts (SHARDS, fp).
    """
    tile, rows, across = part
    windows = g.out_h * g.out_w
    for shard in prange(SHARDS):
        mine, sums = dw[shard], db[shard]
        mine[:] = 0
        sums[:] = 0
        lists = Live(live.places[shard], live.values[shard], live.ends[shard])
        for image in range(shard * g.n // SHARDS, (shard + 1) * g.n // SHARDS):
            _list_by_filter(g, dy, code, image * windows * g.fp, lists, sums)
            _add_patches(g, Part(tile, rows, across), x, image * g.size, lists, mine)


@inner
def _add_masked(g, few, dy, code, to, x, start, dw, db):
    """dw += what `_add_patches` adds, for windows of a few values: filters side by side.

    For each of a pooling window's four positions the gradients of the other three are masked out.
    Four times the arithmetic, but of whole vectors. dw (fp / step, kh, run, step).
    """
    patch, tile, rows, run = few
    step = len(tile) * (VECTOR_BYTES // x.itemsize)
    one, across, row, c = x.dtype.type(1), len(run), g.row, g.right
    for f in range(0, g.fp, step):
        for u in range(0, g.kh, len(rows)):
            at = (f * g.kh + u * step) * across
            acc = load(patch, dw, at)
            total = load(tile, db, f)
            for i in range(g.out_h):
                window = to + i * g.out_w * g.fp + f
                corner = start + (2 * i + u) * row
                for _ in range(g.out_w):
                    for q in range(4):
                        grad = load_where(tile, dy, code, window, q)
                        p = corner + (q >> 1) * row + (q & 1) * c
                        acc = fma_patch(acc, rows, run, x, p, row, grad)
                        total = fma(total, one, grad)
                    window += g.fp
                    corner += 2 * c
            store(dw, at, acc)
            if u == 0:
                store(db, f, total)


@parallel
def conv_relu_pool_few_weights(g, few, dy, code, x, dw, db):
    """The same for windows of few values: dw (SHARDS, fp / step * kh * run * step)."""
    patch, tile, rows, run = few
    for shard in prange(SHARDS):
        mine, sums = dw[shard], db[shard]
        mine[:] = 0
        sums[:] = 0
        for image in range(shard * g.n // SHARDS, (shard + 1) * g.n // SHARDS):
            to = image * g.out_h * g.out_w * g.fp
            part = Few(patch, tile, rows, run)
            _add_masked(g, part, dy, code, to, x, image * g.size, mine, sums)


# ---- backward: the inputs ----------------------------------------------------------------------


@inner
def _list_by_position(g, dy, code, to, live):
    """For each position of the convolution its live filters, one position's after the other's."""
    filters, values, starts = live
    lane = VECTOR_BYTES // dy.itemsize
    end = 0
    for window in range(g.out_h * g.out_w):
        first = to + window * g.fp
        for q in range(4):
            starts[4 * window + q] = end
            for f in range(0, g.fp, lane):
                end = append_where((0,), values, filters, end, dy, code, first + f, q, f)
    starts[4 * g.out_h * g.out_w] = end


@inner
def _spread(g, tile, live, wt, dx):
    """dx += each live gradient times its filter, laid over the patch that it came from."""
    filters, values, starts = live
    width, rows = len(tile) * (VECTOR_BYTES // dx.itemsize), (0,)
    for u in range(g.kh):  # one row of all filters at a time: that much stays in the first cache
        for v in range(0, g.runp, width):
            tap = u * g.runp + v
            for i in range(g.out_h):
                for j in range(g.out_w):
                    for q in range(4):
                        at = 4 * (i * g.out_w + j) + q
                        if starts[at] == starts[at + 1]:
                            continue
                        acc = zeros(tile, dx)
                        for slot in range(starts[at], starts[at + 1]):
                            weights = np.int64(filters[slot]) * g.kh * g.runp + tap
                            acc = fma_rows(acc, rows, values[slot], wt, weights, g.runp)
                        y, z = 2 * i + (q >> 1) + u, 2 * j + (q & 1)
                        add_rows(acc, rows, dx, y * g.row + z * g.right + v, g.row)


@parallel
def conv_relu_pool_inputs(g, tile, dy, code, wt, live, image_dx, dx, inside):
    """dx (n, h, w, c) <- dy, code and wt (fp, kh, runp), the weights filter by filter.

    live: scratch, its places the filters, its `ends` where each position's begin. image_dx:
    scratch (SHARDS, size + SLACK).
    """
    windows = g.out_h * g.out_w
    for shard in prange(SHARDS):
        mine = image_dx[shard]
        lists = Live(live.places[shard], live.values[shard], live.ends[shard])
        for image in range(shard * g.n // SHARDS, (shard + 1) * g.n // SHARDS):
            mine[:] = 0
            _list_by_position(g, dy, code, image * windows * g.fp, lists)
            _spread(g, tile, lists, wt, mine)
            copy_inside(g, mine, inside, dx, image * inside.h * inside.run)
