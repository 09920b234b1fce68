"""Convolution with stride 1, ReLU and 2x2 max pooling as one group: its output never exists.

Forward, the four convolution outputs of a pooling window are computed side by side; only the
largest and a code for which it was are written. Backward, at most one position in four of each
channel carries a gradient, and none where the unit is dead: the loops list the live ones and touch
nothing else.

Max pooling and ReLU commute, gradients included: the largest of the rectified values is the
rectified largest, and where it is not positive neither passes a gradient on.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..layers import Conv2D, Layer
from . import winograd
from .compiler import by_turns, inner, serial
from .conv import ConvGroup, Geometry, copy_inside
from .group import Array, Gradients, transpose
from .memory import SLACK, VECTOR_BYTES, padded
from .simd import (
    add,
    add_rows,
    bits_where,
    dot_patch,
    fma,
    fma_patch,
    fma_rows,
    fma_taps,
    load,
    load_unless,
    load_where,
    lowest_bit,
    store,
    store_largest,
    zeros,
)
from .sums import first_of
from .target import ONE, target, tile_for
from .turns import next_part, part_of, parts_for

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


class Held(NamedTuple):
    """A window's weights, all of them in registers: tuples as long as

    rows, run    the window's rows, and the values in each
    weights      the vectors of all weights of a tile
    """

    rows: tuple[int, ...]
    run: tuple[int, ...]
    weights: tuple[int, ...]


class Patches(NamedTuple):
    """What lies under all four windows of a pooling window, where a row does not fill a vector.

    rows, run   kh + 1 rows of `run` values, run = (kw + 1) * c
    size        of all, in whole vectors
    filters     without those that fill up a vector
    """

    rows: int
    run: int
    size: int
    filters: int


class Live(NamedTuple):
    """Lists of an image's windows, the first two (shards, windows + 1).

    places, values   where the live ones of a filter start in the image, and their gradients
    corners          where all pooling windows start in it
    offsets          and from there the windows of the four positions, and what a dead one reads
    """

    places: NDArray[np.int64]
    values: Array
    corners: NDArray[np.int64]
    offsets: NDArray[np.int64]


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
            # a window's four sums of one vector wait for each other where registers hold more
            few = len(self.forward_tile) == 1 and target().across > 1
            loop = conv_relu_pool_pairs if few else conv_relu_pool
            if self.held is not None:
                self.call(conv_relu_pool_held, self.at, self.held, *given)
            else:
                self.call(loop, self.at, self.taps, *given)
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
        dW = self.buffer("few dw", (lots, self.fp * taps))
        np.add(four[:, 0], four[:, 1], out=dW)
        dW += four[:, 2]
        dW += four[:, 3]
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
            t, start = load(weights, w, f * g.kh * g.run), load(tile, bias, f)
            for j in range(g.out_w):
                p = at + 2 * j * c
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


# ---- backward: the weights ---------------------------------------------------------------------


@inner
def _list_live(g, dy, code, at, live, places, values):
    """Where the live windows of one filter start in an image, and their dy; returns how many.

    at: of the image's first window and that filter, in dy and code
    """
    count = 0
    for window in range(live.corners.size):
        q = code[at]
        # written always, counted only if alive, and looked up: no branch to mispredict
        places[count] = live.corners[window] + live.offsets[q]
        values[count] = dy[at]
        count += q < DEAD
        at += g.fp
    return count


@inner
def _add_alive(db, f, dy, code, window):
    """db[f:] += one vector of a window's dy, where it is alive."""
    store(db, f, add(load(ONE, db, f), load_unless(ONE, dy, code, window + f, DEAD)))


@inner
def _add_patches(g, part, x, start, places, values, f, dw):
    """dw[f] += sum over the list: value * patch; a patch is kh rows of runp elements.

    start: where the image is in x
    """
    tile, rows, across = part
    width = len(across) * (VECTOR_BYTES // x.itemsize)
    for u in range(0, g.kh, len(rows)):
        for v in range(0, g.runp, width):
            to = (f * g.kh + u) * g.runp + v
            acc = load(tile, dw, to)
            for slot in range(places.size):
                at = start + places[slot] + u * g.row + v
                acc = fma_rows(acc, rows, values[slot], x, at, g.row)
            store(dw, to, acc)


@by_turns
def conv_relu_pool_weights(worker, g, part, dy, code, x, live, dw, db, turns):
    """dw (shards, fp * kh * runp), db (shards, fp) <- dy, code, x: the weights' gradient.

    A patch's row is read as runp elements, whole vectors; what is read beyond the run ends up in
    columns of dw that are never read. live: scratch, the live windows of one filter and image.
    """
    fp, windows, lane = g.fp, g.out_h * g.out_w, VECTOR_BYTES // x.itemsize
    shards = len(dw)
    shard = next_part(turns, worker, shards)
    while shard >= 0:
        mine, sums = dw[shard], db[shard]
        places, values = live.places[shard], live.values[shard]
        mine[:] = 0
        sums[:] = 0
        for image in range(first_of(g.n, shards, shard), first_of(g.n, shards, shard + 1)):
            first = image * windows * fp
            for window in range(first, first + windows * fp, fp):
                for f in range(0, fp, lane):
                    _add_alive(sums, f, dy, code, window)
            for f in range(fp):
                count = _list_live(g, dy, code, first + f, live, places, values)
                given = places[:count], values[:count], f, mine
                _add_patches(g, part, x, image * g.size, *given)
        shard = next_part(turns, worker, shards)


@serial  # little work: weights of few inputs
def add_windows(total, line, right, dw):
    """dw (lots, f, kh, run) <- total (lots, f, 5, size): the four windows of each patch.

    line: how long a row of a patch is. right: from a window to the one on its right.
    """
    lots, f, kh, run = dw.shape
    for lot in range(lots):
        for filter in range(f):
            out, four = dw[lot, filter], total[lot, filter]
            for u in range(kh):
                for k in range(run):
                    at, below = u * line + k, (u + 1) * line + k
                    above = dw.dtype.type(0) + four[0, at] + four[1, at + right]
                    out[u, k] = above + four[2, below] + four[3, below + right]


@inner
def _copy_patches(g, patches, x, at, out):
    """out (out_w, size) <- what each pooling window of a row covers, kh + 1 rows.

    In whole vectors: what a row has too much, the next one overwrites.
    """
    lane = VECTOR_BYTES // x.itemsize
    for j in range(g.out_w):
        for u in range(patches.rows):
            source = at + 2 * j * g.right + u * g.row
            to = j * patches.size + u * patches.run
            k = 0  # not a range: how many steps it has would be a division every time
            while k < patches.run:
                store(out, to + k, load(ONE, x, source + k))
                k += lane


@by_turns
def conv_relu_pool_few_weights(worker, g, patches, dy, code, x, scratch, sums, db, turns):
    """The same for windows of few values: sums (shards, f * 5 * size), db (shards, fp).

    All four windows of a pooling window read one patch; which of them a filter's gradient belongs
    to decides which of its five sums the patch is added to. The fifth is of dead units, and never
    read: no branch to mispredict. scratch (shards, out_w * size + lane).
    """
    lane, fp, size, shards = VECTOR_BYTES // x.itemsize, g.fp, patches.size, len(db)
    shard = next_part(turns, worker, shards)
    while shard >= 0:
        mine, total, copies = sums[shard], db[shard], scratch[shard]
        mine[:] = 0
        total[:] = 0
        first = g.out_h * first_of(g.n, shards, shard)
        for line in range(first, g.out_h * first_of(g.n, shards, shard + 1)):
            at = line // g.out_h * g.size + 2 * (line % g.out_h) * g.row
            _copy_patches(g, patches, x, at, copies)
            for j in range(g.out_w):
                window, f = (line * g.out_w + j) * fp, 0
                while f < fp:
                    _add_alive(total, f, dy, code, window)
                    f += lane
                grad, which = dy[window : window + fp], code[window : window + fp]
                part = 0
                while part < size:
                    values = load(ONE, copies, j * size + part)
                    for f in range(patches.filters):
                        to = (f * (DEAD + 1) + np.int64(which[f])) * size + part
                        store(mine, to, fma(load(ONE, mine, to), grad[f], values))
                    part += lane
        shard = next_part(turns, worker, shards)


@inner
def _add_masked(g, held, tile, dy, code, x, at, to, dw):
    """dw (4, fp / step, kh * run, step) += one image's gradients, each times its window.

    One of a pooling window's four positions at a time, the others' gradients masked out: four times
    the arithmetic, but of whole vectors, and all sums in registers.
    at, to: where the image starts in x, and its windows in dy and code
    """
    rows, run, weights = held
    step, fp, own = len(tile) * (VECTOR_BYTES // x.itemsize), g.fp, 0
    for q in range(4):
        corner = at + (q >> 1) * g.row + (q & 1) * g.right
        for f in range(0, fp, step):
            acc, window = load(weights, dw, own), to + f
            for i in range(g.out_h):
                p = corner + 2 * i * g.row
                for _ in range(g.out_w):
                    values = load_where(tile, dy, code, window, q)
                    acc = fma_patch(acc, rows, run, x, p, g.row, values)
                    p += 2 * g.right
                    window += fp
            store(dw, own, acc)
            own += g.kh * g.run * step


@by_turns
def conv_relu_pool_held_weights(worker, g, held, tile, dy, code, x, dw, db, turns):
    """The same, where registers hold all weights of a tile: dw (shards, 4 * fp * kh * run)."""
    lane, fp, shards = VECTOR_BYTES // x.itemsize, g.fp, len(db)
    windows = g.out_h * g.out_w * fp
    shard = next_part(turns, worker, shards)
    while shard >= 0:
        mine, total = dw[shard], db[shard]
        mine[:] = 0
        total[:] = 0
        for image in range(first_of(g.n, shards, shard), first_of(g.n, shards, shard + 1)):
            to = image * windows
            _add_masked(g, held, tile, dy, code, x, image * g.size, to, mine)
            for f in range(0, fp, lane):
                acc = load(ONE, total, f)
                for window in range(to + f, to + windows, fp):
                    acc = add(acc, load_unless(ONE, dy, code, window, DEAD))
                store(total, f, acc)
        shard = next_part(turns, worker, shards)


# ---- backward: the inputs ----------------------------------------------------------------------


@inner
def _mark_live(g, dy, code, to, live):
    """live (4 * windows, words) <- for each position of the convolution its live filters, as bits.

    to: where the image's windows are in dy and code
    """
    lane, words = VECTOR_BYTES // dy.itemsize, live.shape[1]
    for window in range(g.out_h * g.out_w):
        first = to + window * g.fp
        for q in range(4):
            marks = live[4 * window + q]
            for word in range(words):
                bits = 0
                for f in range(64 * word, min(64 * (word + 1), g.fp), lane):
                    bits |= bits_where(ONE, dy, code, first + f, q) << (f - 64 * word)
                marks[word] = bits


@inner
def _spread(g, tile, dy, to, live, wt, dx):
    """dx += each live gradient times its filter, laid over the patch that it came from.

    One row of all filters at a time: that much stays in the first or second cache. A row's parts
    come last: the order in which dx is summed must not depend on how wide they are.
    """
    width, rows = len(tile) * (VECTOR_BYTES // dx.itemsize), (0,)
    for u in range(g.kh):
        for window in range(g.out_h * g.out_w):
            first, i, j = to + window * g.fp, 2 * (window // g.out_w), 2 * (window % g.out_w)
            for q in range(4):
                at = (i + (q >> 1) + u) * g.row + (j + (q & 1)) * g.right
                marks = live[4 * window + q]
                for v in range(0, g.runp, width):
                    acc, tap = zeros(tile, dx), u * g.runp + v
                    for word in range(marks.size):
                        bits = marks[word]
                        while bits != 0:
                            f = 64 * word + lowest_bit(bits)
                            weights = f * g.kh * g.runp + tap
                            acc = fma_rows(acc, rows, dy[first + f], wt, weights, g.runp)
                            bits &= bits - 1
                    add_rows(acc, rows, dx, at + v, g.row)


@by_turns
def conv_relu_pool_inputs(worker, g, tile, dy, code, wt, live, image_dx, dx, inside, turns):
    """dx (n, h, w, c) <- dy, code and wt (fp, kh, runp), the weights filter by filter.

    Scratch: live int64 (workers, 4 * windows, words), image_dx (workers, size + SLACK).
    """
    windows = g.out_h * g.out_w
    mine, marks = image_dx[worker.number], live[worker.number]
    image = next_part(turns, worker, g.n)
    while image >= 0:
        mine[:] = 0
        _mark_live(g, dy, code, image * windows * g.fp, marks)
        _spread(g, tile, dy, image * windows * g.fp, marks, wt, mine)
        copy_inside(g, mine, inside, dx, image * inside.h * inside.run)
        image = next_part(turns, worker, g.n)
