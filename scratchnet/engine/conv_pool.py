"""Convolution with stride 1, ReLU and 2x2 max pooling as one group: its output never exists.

Forward, the four convolution outputs of a pooling window are computed side by side; only the
largest and a code for which it was are written. Backward is in conv_pool_backward.py: at most one
position in four of each channel carries a gradient, and none where the unit is dead.

Max pooling and ReLU commute, gradients included: the largest of the rectified values is the
rectified largest, and where it is not positive neither passes a gradient on.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..layers import Conv2D, Layer
from . import winograd
from .compiler import by_turns, inner
from .conv import ConvGroup
from .conv_pool_backward import (
    DEAD,
    Held,
    Live,
    Part,
    Patches,
    add_windows,
    conv_relu_pool_few_weights,
    conv_relu_pool_held_weights,
    conv_relu_pool_inputs,
    conv_relu_pool_weights,
)
from .group import Array, Gradients, transpose
from .memory import SLACK, VECTOR_BYTES, padded
from .simd import dot_patch, fma_taps, load, store_largest
from .target import target, tile_for
from .turns import next_part, part_of, parts_for


class ConvReluPool(ConvGroup):
    """Convolution with stride 1, ReLU and 2x2 max pooling; out_h, out_w count pooling windows."""

    kernel = "the convolution's output stays in registers, the backward pass is sparse"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.forward_tile, self.held = self._forward_tile()
        self.taps = (0,) * next(taps for taps in (4, 3, 5, 2, 1) if self.run % taps == 0)
        # as many rows of a patch at a time as registers hold, each in whole vectors
        vectors = -(-self.run // self.lane)
        most = target().sums
        parts = -(-vectors // most)
        across = -(-vectors // parts)
        self.runp = parts * across * self.lane
        rows = self.kh if parts == 1 and self.kh * across <= most else 1
        self.part = Part((0,) * (rows * across), (0,) * rows, (0,) * across)
        rows, run = self.kh + 1, self.run + self.c
        self.patches = Patches(rows, run, padded(rows * run, self.dtype), self.f)
        conv = layers[0]
        self.winograd_fits = isinstance(conv, Conv2D) and winograd.fits(conv)

    def _forward_tile(self) -> tuple[tuple[int, ...], Held | None]:
        """The widest tile whose weights fit into registers beside a pooling window's four sums.

        Or the widest of all, and None. A tile of one vector makes four sums, which wait for each
        other longer than its weights take to load.
        """
        widest, taps = tile_for(self.f, self.dtype), self.kh * self.run
        for across in range(len(widest), 1, -1):
            if len(widest) % across == 0 and (taps + 4) * across + 1 <= target().vectors:
                tile = (0,) * across
                return tile, Held((0,) * self.kh, (0,) * self.run, tile * taps)
        return widest, None

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        n = len(x)
        self.x = self.flat("x", self.framed(x, self.pads))
        self.at = self.geometry(n)
        y = self.buffer("y", (n, self.out_h, self.out_w, self.fp))
        self.code = self.buffer("code", y.shape, np.uint8).reshape(-1)
        outputs = y.reshape(-1), self.code
        tiles = self.share.whole(n) * self.out_h * self.out_w
        if self.winograd_fits and tiles >= winograd.FEW_TILES:
            self._forward_winograd(*outputs)
        else:
            weights, bias = self.weights(self.forward_tile), self.bias(self.fp)
            given = self.forward_tile, self.x, weights, bias, *outputs, self.turns()
            if self.held is not None:
                self.call(conv_relu_pool_held, self.at, self.held, *given)
            elif len(self.forward_tile) == 1 and target().across > 1:
                # a window's four sums of one vector wait for each other where registers hold more
                self.call(conv_relu_pool_pairs, self.at, self.taps, *given)
            else:
                self.call(conv_relu_pool, self.at, self.taps, *given)
        return self.narrow("narrow", y, self.f)

    def _forward_winograd(self, y: Array, code: NDArray[np.uint8]) -> None:
        tiling = winograd.Tiling(
            self.at.n, self.h, self.w, self.c, 0, 0,
            2 * self.out_h, 2 * self.out_w, self.f, self.out_h, self.out_w,
        )  # fmt: skip
        u, bias = winograd.filters_of(self, "u", self.params["W"]), self.bias(self.f)
        block = winograd.block_for(self.f, self.dtype, of_tiles=True)
        scratch = winograd.scratch_of(self, self.c, self.f)
        given = tiling, block, self.x, u, bias, y, code, scratch, self.turns()
        self.call(winograd.conv_relu_pool, *given)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        dy = self.columns("dy", dy.reshape(-1, self.f), self.fp).reshape(-1)
        db = self.buffer("db", (self.shards(self.at.n), self.fp))
        if self.held is not None and self._masked_is_less():
            dW = self._held_weights(self.held, dy, db)
        else:
            few = self.run < self.lane
            dW = self._few_weights(dy, db) if few else self._weights(dy, db)
        self.grads["W"][:] = dW.reshape(self.grads["W"].shape)
        if "b" in self.grads:
            self.grads["b"][:] = self.total("db", db)[: self.f]
        return self._inputs(dy) if need_dx else None

    def _weights(self, dy: Array, db: Array) -> Array:
        """dW (kh, run, f), filter by filter, from the live positions alone."""
        shards = self.shards(self.at.n)
        dw = self.buffer("dw", (shards, self.fp * self.kh * self.runp))
        at, shape = self.at, (shards, self.out_h * self.out_w + 1)
        known = "corners" in self.memory  # the same for every batch
        corners = self.buffer("corners", (self.out_h, self.out_w), np.int64)
        offsets = self.buffer("offsets", (DEAD + 1,), np.int64)
        if not known:
            down, right = 2 * at.row * np.arange(self.out_h), 2 * at.right * np.arange(self.out_w)
            corners[:] = np.add.outer(down, right)
            offsets[:] = 0, at.right, at.row, at.row + at.right, 0
        places, values = self.buffer("places", shape, np.int64), self.buffer("values", shape)
        live = Live(places, values, corners.reshape(-1), offsets)
        given = self.at, self.part, dy, self.code, self.x, live, dw, db
        self.call(conv_relu_pool_weights, *given, self.turns())
        total, size = self.total("dw", dw), self.kh * self.runp
        dW = self.buffer("whole dw", (self.kh, self.runp, self.f))  # (f, kh, run) -> (kh, run, f)
        self.call(transpose, total, self.f, size, dW.reshape(-1), self.f)
        return dW[:, : self.run]

    def _masked_is_less(self) -> bool:
        """Whether four products of whole vectors for each tap are less work than one sum for each
        filter, in memory."""
        return self.kh * self.run * self.fp < self.f * self.patches.size

    def _held_weights(self, held: Held, dy: Array, db: Array) -> Array:
        """dW (kh, run, f), in registers."""
        taps, step = self.kh * self.run, len(self.forward_tile) * self.lane
        shards = self.shards(self.at.n)
        sums = self.buffer("sums", (shards, 4 * self.fp * taps))
        given = self.at, held, self.forward_tile, dy, self.code, self.x, sums, db
        self.call(conv_relu_pool_held_weights, *given, self.turns())
        lots = self.share.lots
        four = self.totals("sums", sums, lots).reshape(lots, 4, -1)
        dW = four.sum(axis=1, out=self.buffer("few dw", (lots, self.fp * taps)))
        total = self.total("few dw", dW).reshape(-1, self.kh, self.run, step)
        return total.transpose(1, 2, 0, 3).reshape(self.kh, self.run, self.fp)[..., : self.f]

    def _few_weights(self, dy: Array, db: Array) -> Array:
        """dW (kh, run, f), all of a pooling window's patches as one."""
        _, run, size, _ = at = self.patches
        shards = self.shards(self.at.n)
        sums = self.buffer("sums", (shards, self.f * (DEAD + 1) * size))
        scratch = self.buffer("patches", (shards, self.out_w * size + self.lane))
        given = self.at, at, dy, self.code, self.x, scratch, sums, db
        self.call(conv_relu_pool_few_weights, *given, self.turns())
        # lot by lot: a gradient that is whole may be added to another, and its parts may not
        lots = self.share.lots
        total = self.totals("sums", sums, lots).reshape(lots, self.f, DEAD + 1, size)
        dW = self.buffer("few dw", (lots, self.f, self.kh, self.run))
        self.call(add_windows, total, run, self.c, dW)
        return self.total("few dw", dW).transpose(1, 2, 0)  # (f, kh, run) -> (kh, run, f)

    def _inputs(self, dy: Array) -> Array:
        """dx, image by image."""
        workers = self.workers()
        shape = workers, 4 * self.out_h * self.out_w, -(-self.fp // 64)
        live = self.buffer("live", shape, np.int64)
        scratch = self.buffer("image_dx", (workers, self.at.size + SLACK))
        dx = self.dx((self.at.n, *self.image), dy)
        wt, inside = self.filters_by_row(self.fp), self.inside()
        self.call(
            conv_relu_pool_inputs,
            self.at, self.part.across, dy, self.code, wt, live, scratch, dx.reshape(-1), inside,
            self.turns(),
        )  # fmt: skip
        return dx


# ---- forward -----------------------------------------------------------------------------------


@inner
def _start_of_line(g, line):
    """Where that row of pooling windows starts in x; they are counted through all images."""
    return line // g.out_h * g.size + 2 * (line % g.out_h) * g.row


@inner
def _conv_relu_pool_lines(g, taps, tile, x, w, bias, lines, y, code):
    """Rows of pooling windows, a range of their numbers."""
    step = len(tile) * (VECTOR_BYTES // x.itemsize)
    c, row, kh, run, fp = g.right, g.row, g.kh, g.run, g.fp
    for line in lines:
        at, out = _start_of_line(g, line), line * g.out_w * fp
        for j in range(g.out_w):
            corner = at + 2 * j * c
            for f in range(0, fp, step):
                # the window's four convolution outputs, row by row
                a0 = load(tile, bias, f)
                a1, a2, a3 = a0, a0, a0
                tap = f * kh * run
                for u in range(kh):
                    p = corner + u * row
                    for _ in range(0, run, len(taps)):
                        a0 = fma_taps(a0, taps, x, p, w, tap, step)
                        a1 = fma_taps(a1, taps, x, p + c, w, tap, step)
                        a2 = fma_taps(a2, taps, x, p + row, w, tap, step)
                        a3 = fma_taps(a3, taps, x, p + row + c, w, tap, step)
                        p += len(taps)
                        tap += len(taps) * step
                store_largest(a0, a1, a2, a3, y, code, out + j * fp + f)


@by_turns
def conv_relu_pool(worker, g, taps, tile, x, w, bias, y, code, turns):
    """y, code (n, out_h, out_w, fp) <- x, framed images; bias (fp,).

    w (fp / step, kh * run, step), step a tile's width. Rows of pooling windows are shared out, so
    that a single image has enough for all threads.
    """
    lines = g.n * g.out_h
    parts = parts_for(worker, lines)
    part = next_part(turns, worker, parts)
    while part >= 0:
        mine = part_of(part, parts, lines)
        _conv_relu_pool_lines(g, taps, tile, x, w, bias, mine, y, code)
        part = next_part(turns, worker, parts)


@inner
def _conv_relu_pool_held(g, held, tile, x, w, bias, lines, y, code):
    """The same, where a tile's weights are loaded once for a row of windows."""
    rows, run, weights = held
    step = len(tile) * (VECTOR_BYTES // x.itemsize)
    c, row, fp = g.right, g.row, g.fp
    for line in lines:
        at, out = _start_of_line(g, line), line * g.out_w * fp
        for f in range(0, fp, step):
            t = load(weights, w, f * g.kh * g.run)
            for j in range(g.out_w):
                p, start = at + 2 * j * c, load(tile, bias, f)
                a0 = dot_patch(start, rows, run, x, p, row, t)
                a1 = dot_patch(start, rows, run, x, p + c, row, t)
                a2 = dot_patch(start, rows, run, x, p + row, row, t)
                a3 = dot_patch(start, rows, run, x, p + row + c, row, t)
                store_largest(a0, a1, a2, a3, y, code, out + j * fp + f)


@by_turns
def conv_relu_pool_held(worker, g, held, tile, x, w, bias, y, code, turns):
    """As conv_relu_pool, where registers hold all weights of a tile."""
    lines = g.n * g.out_h
    parts = parts_for(worker, lines)
    part = next_part(turns, worker, parts)
    while part >= 0:
        _conv_relu_pool_held(g, held, tile, x, w, bias, part_of(part, parts, lines), y, code)
        part = next_part(turns, worker, parts)


@inner
def _conv_relu_pool_pairs(g, taps, tile, x, w, bias, lines, y, code):
    """The same, two windows at a time."""
    step = len(tile) * (VECTOR_BYTES // x.itemsize)
    c, row, kh, run, fp = g.right, g.row, g.kh, g.run, g.fp
    for line in lines:
        at, out = _start_of_line(g, line), line * g.out_w * fp
        for j in range(0, g.out_w, 2):
            other = min(j + 1, g.out_w - 1)  # the last one twice, where their number is odd
            near, far = at + 2 * j * c, at + 2 * other * c
            for f in range(0, fp, step):
                a0 = load(tile, bias, f)
                a1, a2, a3 = a0, a0, a0
                b0, b1, b2, b3 = a0, a0, a0, a0
                tap = f * kh * run
                for u in range(kh):
                    p, q = near + u * row, far + u * row
                    for _ in range(0, run, len(taps)):
                        a0 = fma_taps(a0, taps, x, p, w, tap, step)
                        b0 = fma_taps(b0, taps, x, q, w, tap, step)
                        a1 = fma_taps(a1, taps, x, p + c, w, tap, step)
                        b1 = fma_taps(b1, taps, x, q + c, w, tap, step)
                        a2 = fma_taps(a2, taps, x, p + row, w, tap, step)
                        b2 = fma_taps(b2, taps, x, q + row, w, tap, step)
                        a3 = fma_taps(a3, taps, x, p + row + c, w, tap, step)
                        b3 = fma_taps(b3, taps, x, q + row + c, w, tap, step)
                        p, q, tap = p + len(taps), q + len(taps), tap + len(taps) * step
                store_largest(a0, a1, a2, a3, y, code, out + j * fp + f)
                store_largest(b0, b1, b2, b3, y, code, out + other * fp + f)


@by_turns
def conv_relu_pool_pairs(worker, g, taps, tile, x, w, bias, y, code, turns):
    """As conv_relu_pool, where a tile is one vector: eight sums at a time."""
    lines = g.n * g.out_h
    parts = parts_for(worker, lines)
    part = next_part(turns, worker, parts)
    while part >= 0:
        mine = part_of(part, parts, lines)
        _conv_relu_pool_pairs(g, taps, tile, x, w, bias, mine, y, code)
        part = next_part(turns, worker, parts)
