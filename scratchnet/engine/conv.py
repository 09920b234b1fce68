"""Convolutions of any stride, and the ReLU after them: the group and its loops.

Several positions are computed side by side, as many as there are registers for. No patches are
copied (im2col), since a row of a window is contiguous in memory as it is. conv_pool.py and
winograd.py have the other ways to run a Conv2D.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..layers import Layer
from .compiler import by_turns, inner
from .functions import sum_rows_into
from .group import Array, Gradients, Group, transpose
from .memory import VECTOR_BYTES, padded
from .simd import add_at, add_rows, fma_patch, load, relu, repeat, store_rows, zeros
from .sums import first_of
from .target import ONE, block_of, target, tile_for
from .turns import next_part, part_of, parts_for


class Geometry(NamedTuple):
    """How a window walks over images in flat memory; lengths in elements.

    n            images
    size         of one framed image
    row          of one of its rows
    down, right  from a window to the one below it, and to the next in its row
    kh           rows of a window
    run, runp    values in a row of a window, kw * c; the same in whole vectors
    out_h, out_w how many windows there are, one below the other and side by side
    fp           filters, in whole vectors
    """

    n: int
    size: int
    row: int
    down: int
    right: int
    kh: int
    run: int
    runp: int
    out_h: int
    out_w: int
    fp: int


class Inside(NamedTuple):
    """Where the image lies in its frame: its first element, its rows, and how long one is."""

    start: int
    h: int
    run: int


def rows_for(size: int, across: int) -> int:
    """How many rows of a tile are computed together where there are `size` one after the other.

    Four keep a processor's units busy; and the fewer kinds of tiles, the less there is to compile.
    """
    return min(size, target().rows(across, 2, 4))


class ConvGroup(Group):
    """What the groups of a Conv2D share: where its windows are, and its weights in order."""

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        conv: Any = layers[0]
        self.pads, (self.sh, self.sw) = conv.pads, conv.strides
        h, w, self.c = self.image = conv.input_shape
        self.h, self.w = h + sum(self.pads[:2]), w + sum(self.pads[2:])
        self.kh, kw = conv.kernel_size
        self.run = kw * self.c
        self.runp = padded(self.run, self.dtype)
        self.f = conv.filters
        self.fp = padded(self.f, self.dtype)
        self.out_h, self.out_w, _ = layers[-1].output_shape

    def geometry(self, n: int) -> Geometry:
        row = self.w * self.c
        return Geometry(
            n=n,
            size=self.h * row,
            row=row,
            down=self.sh * row,
            right=self.sw * self.c,
            kh=self.kh,
            run=self.run,
            runp=self.runp,
            out_h=self.out_h,
            out_w=self.out_w,
            fp=self.fp,
        )

    def weights(self, tile: tuple[int, ...]) -> Array:
        """W in the tile's columns: (fp / step, kh * run, step), step their width; flat."""
        W = self.params["W"].reshape(-1, self.f)
        return self.tiled("w", W, self.fp, len(tile) * self.lane).reshape(-1)

    def filters_by_row(self, filters: int) -> Array:
        """W filter by filter, each row in whole vectors: (filters, kh, runp), zeros after."""
        wt = self.buffer("wt", (filters, self.kh, self.runp))
        if self.run == self.runp:
            flat, size = self.contiguous("W in one", self.params["W"]), self.kh * self.run
            self.call(transpose, flat.reshape(-1), size, self.f, wt.reshape(-1), size)
            return wt.reshape(-1)
        W = self.params["W"].reshape(self.kh, self.run, self.f)
        wt[: self.f, :, : self.run] = W.transpose(2, 0, 1)  # (kh, run, f) -> (f, kh, run)
        return wt.reshape(-1)

    def filters_by_vector(self) -> Array:
        """W with a vector of a window's row on the outside: (kh, runp / lane, f, lane), flat."""
        kh, run, f, lane = self.kh, self.run, self.f, self.lane
        wt = self.buffer("wt", (kh, self.runp // lane, f, lane))
        W = self.params["W"].reshape(kh, run, f)
        for part, first in enumerate(range(0, run, lane)):
            some = W[:, first : first + lane].transpose(0, 2, 1)  # (kh, lane, f) -> (kh, f, lane)
            wt[:, part, :, : some.shape[2]] = some
        return wt.reshape(-1)

    def inside(self) -> Inside:
        top, _, left, _ = self.pads
        return Inside((top * self.w + left) * self.c, self.image[0], self.image[1] * self.c)


class ConvRelu(ConvGroup):
    """A convolution of any stride, and the ReLU after it if there is one."""

    kernel = "several positions at a time, no im2col"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.relu = len(layers) > 1
        tile = tile_for(self.f, self.dtype)
        self.block = block_of(rows_for(self.out_w, len(tile)), tile)
        self.dw_block = block_of(rows_for(self.run, len(tile)), tile)
        # one vector: the order in which dx is summed must not depend on the registers
        rows = [rows for rows in (1, 2, 4, 6, 12) if rows <= self.out_h * self.out_w]
        self.dx_block = block_of(target().rows(1, *rows), ONE)

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.x = self.flat("x", self.framed(x, self.pads))
        self.at = self.geometry(len(x))
        y = self.buffer("y", (len(x), self.out_h, self.out_w, self.fp))
        given = self.x, self.weights(self.block.tile), self.bias(self.fp), y.reshape(-1), self.relu
        self.call(conv, self.at, self.block, *given, self.turns())
        self.y = self.narrow("narrow", y, self.f)
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        n, f, fp = self.at.n, self.f, self.fp
        if self.relu:
            dy = self.where_alive(dy, self.y)
        wide = self.columns("dy", dy.reshape(-1, f), fp)
        rows = len(self.dw_block.rows)
        taps = -(-self.run // rows) * rows
        shards = self.shards(n)
        dw = self.buffer("dw", (shards, self.kh * taps * fp))
        places = self.window_places()
        given = self.x, wide.reshape(-1), places, dw
        self.call(conv_weights, self.at, self.dw_block, *given, self.turns())
        total = self.total("dw", dw).reshape(self.kh, taps, fp)
        self.grads["W"].reshape(self.kh, self.run, f)[:] = total[:, : self.run, :f]
        if "b" in self.grads:
            db = self.buffer("db", (shards, fp))
            self.call(sum_rows_into, wide.reshape(-1, fp), n, db)
            self.grads["b"][:] = self.total("db", db)[:f]
        if not need_dx:
            return None
        flat = self.contiguous("dy in one", dy).reshape(-1)
        dx = self.dx((n, *self.image), flat)
        # and behind the image as much as the last window covers
        size = self.at.size + self.kh * self.at.row + self.runp
        scratch = self.buffer("image_dx", (self.workers(), size))
        self.call(
            conv_inputs, self.at, self.dx_block, flat, f, self.filters_by_vector(), places,
            scratch, dx.reshape(-1), self.inside(), self.turns(),
        )  # fmt: skip
        return dx

    def window_places(self) -> Array:
        """Where each position's window starts; and then again for the last ones, a block of them.

        Of these, what a block before has done already goes behind the image, where nothing is read.
        """
        positions, rows = self.out_h * self.out_w, len(self.dx_block.rows)
        if "places" in self.memory:  # the same for every batch
            return self.buffer("places", (positions + rows,), np.int64)
        places = self.buffer("places", (positions + rows,), np.int64)
        i, j = np.divmod(np.arange(positions), self.out_w)
        places[:positions] = i * self.at.down + j * self.at.right
        places[positions:] = self.at.size
        if rest := positions % rows:
            places[-rest:] = places[positions - rest : positions]
        return places


# ---- forward -----------------------------------------------------------------------------------


@inner
def _conv_positions(g, block, x, start, w, bias, y, out, rectified):
    """The outputs of block.rows positions side by side: y from `out` on, x from `start` on."""
    whole, rows, tile = block
    step = len(tile) * (VECTOR_BYTES // x.itemsize)
    for f in range(0, g.fp, step):
        acc = repeat(rows, load(tile, bias, f))
        tap = f * g.kh * g.run
        for u in range(g.kh):
            p = start + u * g.row
            for _ in range(g.run):
                acc = fma_patch(acc, rows, ONE, x, p, g.right, load(tile, w, tap))
                p += 1
                tap += step
        if rectified:
            acc = relu(acc)
        store_rows(acc, rows, y, out + f, g.fp)


@by_turns
def conv(worker, g, block, x, w, bias, y, rectified, turns):
    """y (n, out_h, out_w, fp) <- x, framed images; ReLU if asked.

    w (fp / step, kh * run, step), step a tile's width; bias (fp,)
    """
    rows, lines = len(block.rows), g.n * g.out_h
    parts = parts_for(worker, lines)
    part = next_part(turns, worker, parts)
    while part >= 0:
        for line in part_of(part, parts, lines):
            at = line // g.out_h * g.size + line % g.out_h * g.down
            for first in range(0, g.out_w, rows):
                j = min(first, g.out_w - rows)  # the last ones may overlap those before
                out = (line * g.out_w + j) * g.fp
                _conv_positions(g, block, x, at + j * g.right, w, bias, y, out, rectified)
        part = next_part(turns, worker, parts)


# ---- backward ----------------------------------------------------------------------------------


@inner
def _conv_weights_image(g, block, x, at, dy, to, places, dw):
    """dw (kh, taps, fp) += the patches of one image, transposed, times its dy.

    taps: the run of a window in whole groups of block.rows. What is read beyond the run ends up in
    rows of dw that are never read.
    """
    whole, rows, tile = block
    step = len(tile) * (VECTOR_BYTES // x.itemsize)
    fp = g.fp
    to_dw = 0
    for u in range(g.kh):
        for k in range(0, g.run, len(rows)):
            for f in range(0, fp, step):
                acc, q = zeros(whole, dw), to + f
                for position in range(g.out_h * g.out_w):
                    p = at + u * g.row + k + places[position]
                    acc = fma_patch(acc, ONE, rows, x, p, 0, load(tile, dy, q))
                    q += fp
                add_rows(acc, rows, dw, to_dw + f, fp)
            to_dw += len(rows) * fp


@by_turns
def conv_weights(worker, g, block, x, dy, places, dw, turns):
    """dw (shards, kh * taps * fp) <- x, dy (n, out_h, out_w, fp): the gradient of conv's weights.

    places: where each position's window starts in an image
    """
    shards = len(dw)
    shard = next_part(turns, worker, shards)
    while shard >= 0:
        mine = dw[shard]
        mine[:] = 0
        for image in range(first_of(g.n, shards, shard), first_of(g.n, shards, shard + 1)):
            to = image * g.out_h * g.out_w * g.fp
            _conv_weights_image(g, block, x, image * g.size, dy, to, places, mine)
        shard = next_part(turns, worker, shards)


@inner
def _spread_all(g, block, dy, at, filters, wt, places, dx):
    """dx += each gradient times its filter, laid over the patch that it came from."""
    whole, rows, tile = block
    lane, positions = VECTOR_BYTES // dy.itemsize, g.out_h * g.out_w
    part = 0
    for u in range(g.kh):
        for v in range(0, g.runp, lane):
            for first in range(0, positions, len(rows)):
                acc, own = zeros(whole, dx), first
                if first + len(rows) > positions:  # the last ones overlap those before
                    first, own = positions - len(rows), positions
                p, k = at + first * filters, part
                while k < part + filters * lane:  # not a range: for some, LLVM would unroll it
                    acc = fma_patch(acc, rows, ONE, dy, p, filters, load(tile, wt, k))
                    p, k = p + 1, k + lane
                add_at(acc, dx, u * g.row + v, places, own)
            part += filters * lane


@by_turns
def conv_inputs(worker, g, block, dy, filters, wt, places, image_dx, dx, inside, turns):
    """dx (n, h, w, c) <- dy (n, out_h, out_w, filters), wt (kh, runp / lane, filters, lane).

    places: where each position's window starts in an image; and after them the last block.rows once
    more, behind the image where they were done before.
    Scratch: image_dx (workers, size + kh * row + runp), a framed image for each worker.
    """
    mine = image_dx[worker.number]
    image = next_part(turns, worker, g.n)
    while image >= 0:
        mine[:] = 0
        at = image * g.out_h * g.out_w * filters
        _spread_all(g, block, dy, at, filters, wt, places, mine)
        copy_inside(g, mine, inside, dx, image * inside.h * inside.run)
        image = next_part(turns, worker, g.n)


@inner
def copy_inside(g, framed, inside, out, to):
    """out[to:] <- the image without its frame."""
    run = inside.run
    for i in range(inside.h):
        source = framed[inside.start + i * g.row :]
        row = out[to + i * run : to + (i + 1) * run]
        for k in range(run):
            row[k] = source[k]
