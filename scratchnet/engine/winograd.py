"""3x3 convolutions with 2.25 times fewer multiplications: Winograd's F(2x2, 3x3).

A tile of 2x2 outputs y needs the 4x4 inputs d around it. With g the 3x3 filter,

    y = A' [ (G g G') * (B' d B) ] A

where * is element by element: 16 multiplications, where the four sums of nine need 36. Summed over
the input channels this becomes, for each of the 16 places, a matrix product over channels; that is
where the time goes. (Winograd 1980; Lavin and Gray 2016, arXiv:1509.09308, section 4.1.)

         1  0 -1  0            1    0    0           1  1  1  0
    B' = 0  1  1  0       G = 1/2  1/2  1/2     A' = 0  1 -1 -1
         0 -1  1  0           1/2 -1/2  1/2
         0  1  0 -1            0    0    1

The equation is linear in d and in g, so backward is its transpose, and has the same 16 products:

    dg = G' [ (A dy A') * (B' d B) ] G  summed over tiles        dd = B [ (A dy A') * (G g G') ] B'

Arrays are flat, channels in whole vectors, and nothing is checked. Tiles are worked on in blocks of
TILES, so that the 16 matrices stay in the second cache.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..layers import Conv2D, Layer
from .compiler import by_turns, inner, parallel
from .conv import ConvGroup
from .group import Array, Gradients, Group
from .memory import VECTOR_BYTES, lanes
from .simd import (
    add,
    add_rows,
    fma_patch,
    load,
    neg,
    prefetch,
    relu,
    store,
    store_largest,
    store_rows,
    sub,
    where_positive,
    zeros,
)
from .sums import first_of
from .target import ONE, Block, block_of, target, tile_for
from .transforms import (
    differences,
    get,
    put,
    sums,
    times_a,
    times_at,
    times_b,
    times_b1,
    times_b2,
    times_bt,
    times_g,
    times_gt,
)
from .turns import next_part, own_parts

#: tiles worked on together; a multiple of the rows that block_for names
TILES = 40
#: with fewer tiles, to transform the filters costs more than it saves
FEW_TILES = 20


class Tiling(NamedTuple):
    """Images, and the 2x2 tiles of outputs that cover them.

    n, h, w, c           the input's images, and their channels
    top, left            rows and columns of zeros before them
    out_h, out_w, f      the outputs, and their channels
    down, right          tiles one below the other, and side by side
    """

    n: int
    h: int
    w: int
    c: int
    top: int
    left: int
    out_h: int
    out_w: int
    f: int
    down: int
    right: int


class Scratch(NamedTuple):
    """Memory that a block of tiles passes through, a row for each worker.

    v       the 16 matrices of the inputs' transforms
    m       the 16 matrices of the outputs', or of their gradients'
    patch   the 4x4 inputs of a tile at the border
    """

    v: Array
    m: Array
    patch: Array


class Blocks(NamedTuple):
    """What is held in registers of the products for the filters' gradient, and the inputs'."""

    dw: Block
    dx: Block


class Matrix(NamedTuple):
    """Element (i, j) is values[at + i * row + j * column]; a transpose is a matter of strides."""

    values: Array
    at: int
    row: int
    column: int


class Totals(NamedTuple):
    """What backward adds up, each shard by itself but for dx.

    du      (workers, 16 * c * f): scratch, the gradient of the transformed filters
    dw, db  (shards, 3 * 3 * c * f), (shards, f)
    dx      (n, h, w, c)
    """

    du: Array
    dw: Array
    db: Array
    dx: Array


def fits(conv: Conv2D) -> bool:
    """Whether it is 3x3 with stride 1, and its input and output channels are whole vectors."""
    lane = lanes(conv.params["W"].dtype)
    whole = conv.input_shape[2] % lane == 0 and conv.filters % lane == 0
    return whole and conv.kernel_size == (3, 3) and conv.strides == (1, 1)


def block_for(channels: int, dtype: Any, of_tiles: bool = False) -> Block:
    """How a product's result is worked on where it has that many columns.

    The rows divide TILES, and any number of channels, so that both kinds of products are compiled
    once; unless all rows are of tiles.
    """
    tile = tile_for(channels, dtype)
    return block_of(target().rows(len(tile), *((8, 5, 4, 2) if of_tiles else (8, 4, 2))), tile)


def filters_of(group: Group, name: str, W: Array) -> Array:
    """The transformed filters of W (3, 3, a, b) as (16 * a * b,), kept while W stays as it is."""
    u = group.buffer(name, (16 * W[0, 0].size,))
    w = group.contiguous("W in one", W).reshape(-1)
    bits = w.view(np.int64)  # to compare: whole vectors, so also a whole number of these
    kept = group.buffer(f"{name} of", bits.shape, bits.dtype)
    group.call(filters, w, bits, kept, W[0, 0].size, group.dtype.type(0.5), u)
    return u


def scratch_of(group: Group, c: int, f: int) -> Scratch:
    """Each matrix starts a vector further on than a power of two, or the 16 stores of a tile would
    all go to one set of the first cache."""
    v, m = (
        group.buffer(name, (group.workers(), 16 * (TILES * channels + group.lane)))
        for name, channels in (("v", c), ("m", f))
    )
    return Scratch(v, m, group.buffer("patch", (group.workers(), 16 * c)))


class ConvReluWinograd(ConvGroup):
    """A 3x3 convolution with stride 1 and whole vectors of channels, and the ReLU after it."""

    kernel = "Winograd's F(2x2, 3x3), forward and backward"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.relu = len(layers) > 1
        self.block_f = block_for(self.f, self.dtype)
        self.block_c = block_for(self.c, self.dtype)

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.x = self.contiguous("x", x)
        self.y = self.buffer("y", (len(x), self.out_h, self.out_w, self.f))
        top, _, left, _ = self.pads
        h, w, c = self.image
        self.tiling = Tiling(
            len(x), h, w, c, top, left, self.out_h, self.out_w, self.f,
            (self.out_h + 1) // 2, (self.out_w + 1) // 2,
        )  # fmt: skip
        u, bias = filters_of(self, "u", self.params["W"]), self.bias(self.f)
        inputs, outputs = (self.x.reshape(-1), u, bias), (self.y.reshape(-1), self.relu)
        scratch = scratch_of(self, self.c, self.f)
        self.call(conv, self.tiling, self.block_f, *inputs, *outputs, scratch, self.turns())
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        size, shards = self.c * self.f, self.shards(len(dy))
        du = self.buffer("du", (self.workers(), 16 * size))
        dw, db = self.buffer("dw", (shards, 9 * size)), self.buffer("db", (shards, self.f))
        flat = self.contiguous("dy in one", dy).reshape(-1)
        dx = self.dx(self.x.shape, flat)
        ut = filters_of(self, "ut", self.params["W"].transpose(0, 1, 3, 2))
        self.call(
            conv_backward,
            self.tiling, Blocks(self.block_f, self.block_c), self.x.reshape(-1), ut, flat,
            self.y.reshape(-1), self.relu, need_dx, scratch_of(self, self.c, self.f),
            Totals(du, dw, db, dx.reshape(-1)), self.turns(),
        )  # fmt: skip
        self.grads["W"].reshape(-1)[:] = self.total("dw", dw)
        if "b" in self.grads:
            self.grads["b"][:] = self.total("db", db)
        return dx if need_dx else None


# ---- filters and their gradient ----------------------------------------------------------------


@inner
def _differ(a, b, first, end):
    """Whether two arrays of 9 rows of whole numbers differ in the columns from `first` to `end`."""
    bits, size = 0, len(a) // 9
    for row in range(0, 9 * size, size):
        some, others = a[row + first : row + end], b[row + first : row + end]
        for k in range(end - first):
            bits |= some[k] ^ others[k]
    return bits != 0


@parallel
def filters(worker, w, bits, kept, size, half, u):
    """u (16, size) = G g G' of w (3, 3, size): for each of `size` pairs of channels.

    bits: w as whole numbers of eight bytes. Where they are those kept from the last time, u is what
    it was then.
    """
    lane, numbers, columns = VECTOR_BYTES // w.itemsize, VECTOR_BYTES // 8, len(bits) // 9
    own = own_parts(worker, size // lane)
    begin, stop = own.start * numbers, own.stop * numbers
    if _differ(bits, kept, begin, stop):
        for row in range(0, len(bits), columns):
            for k in range(row + begin, row + stop):
                kept[k] = bits[k]
        first, end = own.start * lane, own.stop * lane
        for v in range(first, end, lane):
            at = v
            c0 = times_g(
                load(ONE, w, at), load(ONE, w, at + 3 * size), load(ONE, w, at + 6 * size), half
            )
            at += size
            c1 = times_g(
                load(ONE, w, at), load(ONE, w, at + 3 * size), load(ONE, w, at + 6 * size), half
            )
            at += size
            c2 = times_g(
                load(ONE, w, at), load(ONE, w, at + 3 * size), load(ONE, w, at + 6 * size), half
            )
            put(u, v, size, times_g(c0[0], c1[0], c2[0], half))
            put(u, v + 4 * size, size, times_g(c0[1], c1[1], c2[1], half))
            put(u, v + 8 * size, size, times_g(c0[2], c1[2], c2[2], half))
            put(u, v + 12 * size, size, times_g(c0[3], c1[3], c2[3], half))


@inner
def _filters_gradient(du, size, half, dw):
    """dw (3, 3, size) = G' du G, du (16, size)."""
    for at in range(0, size, VECTOR_BYTES // dw.itemsize):
        r0 = times_gt(get(du, at, size), half)
        r1 = times_gt(get(du, at + 4 * size, size), half)
        r2 = times_gt(get(du, at + 8 * size, size), half)
        r3 = times_gt(get(du, at + 12 * size, size), half)
        for k in range(3):
            to = at + k * size
            column = times_gt((r0[k], r1[k], r2[k], r3[k]), half)
            store(dw, to, column[0])
            store(dw, to + 3 * size, column[1])
            store(dw, to + 6 * size, column[2])


# ---- matrix products ---------------------------------------------------------------------------


@inner
def _multiply(block, a, b, c, m, n, k, onto):
    """c (m, n) = a (m, k) @ b (k, n), added to what is there with `onto`; all three a Matrix.

    m and n are multiples of the block's rows and columns; the columns of b and c lie side by side.
    """
    whole, rows, tile = block
    step = len(tile) * (VECTOR_BYTES // a.values.itemsize)
    for j in range(0, n, step):
        for i in range(0, m, len(rows)):
            acc = zeros(whole, c.values)
            p, q = a.at + i * a.row, b.at + j
            for _ in range(k):
                acc = fma_patch(acc, rows, ONE, a.values, p, a.row, load(tile, b.values, q))
                p += a.column
                q += b.row
            to = c.at + i * c.row + j
            if onto:
                add_rows(acc, rows, c.values, to, c.row)
            else:
                store_rows(acc, rows, c.values, to, c.row)


@inner
def _products(block, v, c, u, f, count, m):
    """m (16, TILES, f) = v (16, TILES, c) @ u (16, c, f), the first `count` tiles of each."""
    side = len(block.rows)
    rows = (count + side - 1) // side * side
    lane = VECTOR_BYTES // v.itemsize
    for k in range(16):
        a = Matrix(v, k * (TILES * c + lane), c, 1)
        to = Matrix(m, k * (TILES * f + lane), f, 1)
        _multiply(block, a, Matrix(u, k * c * f, f, 1), to, rows, f, c, False)


# ---- tiles -------------------------------------------------------------------------------------


@inner
def _place(t, number):
    """Which image that tile is of, and its first output's row and column there."""
    image, place = number // (t.down * t.right), number % (t.down * t.right)
    return image, 2 * (place // t.right), 2 * (place % t.right)


@inner
def _next(t, image, i, j):
    """The same of the tile after that."""
    j += 2
    if j < 2 * t.right:
        return image, i, j
    i += 2
    if i < 2 * t.down:
        return image, i, 0
    return image + 1, 0, 0


@inner
def _copy_patch(t, x, image, i, j, patch):
    """patch (4, 4, c) <- the image from row i and column j on, zero where there is no image."""
    lane, c = VECTOR_BYTES // x.itemsize, t.c
    for u in range(4):
        for v in range(4):
            to = (u * 4 + v) * c
            if 0 <= i + u < t.h and 0 <= j + v < t.w:
                source = ((image * t.h + i + u) * t.w + j + v) * c
                for k in range(0, c, lane):
                    store(patch, to + k, load(ONE, x, source + k))
            else:
                for k in range(0, c, lane):
                    store(patch, to + k, zeros(ONE, patch))


@inner
def _ask_for_next(x, at, c, row):
    """What the tile below is the first to read: the processor does not foresee two rows at once."""
    prefetch(x, at + 4 * row)
    prefetch(x, at + 4 * row + c)
    prefetch(x, at + 5 * row)
    prefetch(x, at + 5 * row + c)


@inner
def _input(x, p, c, row, v, to, step):
    """v <- B' d B of one tile, its 4x4 inputs from x[p] on."""
    for k in range(0, c, VECTOR_BYTES // x.itemsize):
        at = p + k
        below = at + 2 * row
        _ask_for_next(x, at, c, row)
        # the four rows of B' d, each times B as soon as it is there
        put(v, to + k, step, times_bt(differences(x, at, below, c)))
        put(v, to + k + 4 * step, step, times_bt(sums(x, at + row, below, c)))
        put(v, to + k + 8 * step, step, times_bt(differences(x, below, at + row, c)))
        put(v, to + k + 12 * step, step, times_bt(differences(x, at + row, below + row, c)))


@inner
def _inputs(t, x, first, count, v, patch):
    """v (16, TILES, c) <- B' d B of `count` tiles, from number `first` on."""
    c, step = t.c, TILES * t.c + VECTOR_BYTES // x.itemsize
    image, i, j = _place(t, first)
    for number in range(count):
        top, left = i - t.top, j - t.left
        if top >= 0 and top + 4 <= t.h and left >= 0 and left + 4 <= t.w:
            p = ((image * t.h + top) * t.w + left) * c
            _input(x, p, c, t.w * c, v, number * c, step)
        else:
            _copy_patch(t, x, image, top, left, patch)
            _input(patch, 0, c, 4 * c, v, number * c, step)
        image, i, j = _next(t, image, i, j)


@inner
def _output(m, at, step, bias, f):
    """The four outputs of a tile, row by row: A' m A + bias, one vector of filters."""
    start = load(ONE, bias, f)
    # A' times the four columns of m A, each added as soon as it is there
    r, s = times_at(get(m, at, step)), times_at(get(m, at + 4 * step, step))
    top0, top1, low0, low1 = add(r[0], s[0]), add(r[1], s[1]), s[0], s[1]
    r, s = times_at(get(m, at + 8 * step, step)), times_at(get(m, at + 12 * step, step))
    top0, top1 = add(top0, r[0]), add(top1, r[1])
    low0, low1 = sub(sub(low0, r[0]), s[0]), sub(sub(low1, r[1]), s[1])
    return add(top0, start), add(top1, start), add(low0, start), add(low1, start)


@inner
def _put_output(y, at, value, rectified):
    store(y, at, relu(value) if rectified else value)


@by_turns
def conv_relu_pool(worker, t, block, x, u, bias, y, code, scratch, turns):
    """y, code (n, down, right, f) <- x (n, h, w, c), u (16, c, f): with ReLU and 2x2 pooling.

    A tile's four outputs are one pooling window.
    """
    lane, tiles, f = VECTOR_BYTES // x.itemsize, t.n * t.down * t.right, t.f
    blocks = (tiles + TILES - 1) // TILES
    v, m, patch = scratch.v[worker.number], scratch.m[worker.number], scratch.patch[worker.number]
    number = next_part(turns, worker, blocks)
    while number >= 0:
        first = number * TILES
        count = min(TILES, tiles - first)
        _inputs(t, x, first, count, v, patch)
        _products(block, v, t.c, u, f, count, m)
        for at in range(count):
            for k in range(0, f, lane):
                four = _output(m, at * f + k, TILES * f + lane, bias, k)
                store_largest(four[0], four[1], four[2], four[3], y, code, (first + at) * f + k)
        number = next_part(turns, worker, blocks)


@by_turns
def conv(worker, t, block, x, u, bias, y, rectified, scratch, turns):
    """y (n, out_h, out_w, f) <- x (n, h, w, c), u (16, c, f), and ReLU if asked for."""
    lane, tiles, f = VECTOR_BYTES // x.itemsize, t.n * t.down * t.right, t.f
    out_h, out_w = t.out_h, t.out_w
    blocks = (tiles + TILES - 1) // TILES
    v, m, patch = scratch.v[worker.number], scratch.m[worker.number], scratch.patch[worker.number]
    number = next_part(turns, worker, blocks)
    while number >= 0:
        first = number * TILES
        count = min(TILES, tiles - first)
        _inputs(t, x, first, count, v, patch)
        _products(block, v, t.c, u, f, count, m)
        image, i, j = _place(t, first)
        for at in range(count):
            for k in range(0, f, lane):
                four = _output(m, at * f + k, TILES * f + lane, bias, k)
                to = ((image * out_h + i) * out_w + j) * f + k
                _put_output(y, to, four[0], rectified)
                if j + 1 < out_w:
                    _put_output(y, to + f, four[1], rectified)
                if i + 1 < out_h:
                    _put_output(y, to + out_w * f, four[2], rectified)
                    if j + 1 < out_w:
                        _put_output(y, to + (out_w + 1) * f, four[3], rectified)
            image, i, j = _next(t, image, i, j)
        number = next_part(turns, worker, blocks)


# ---- backward ----------------------------------------------------------------------------------


@inner
def _gradient(dy, y, at, rectified):
    grad = load(ONE, dy, at)
    return where_positive(grad, load(ONE, y, at)) if rectified else grad


@inner
def _output_gradients(t, dy, y, rectified, first, count, e, db):
    """e (16, TILES, f) <- A dy A' of `count` tiles; rectified: only where y was alive. db += dy."""
    lane, f = VECTOR_BYTES // dy.itemsize, t.f
    out_h, out_w, step = t.out_h, t.out_w, TILES * f + lane
    image, i, j = _place(t, first)
    for number in range(count):
        at, to = ((image * out_h + i) * out_w + j) * f, number * f
        for k in range(0, f, lane):
            g0 = _gradient(dy, y, at + k, rectified)
            g1, g2, g3 = zeros(ONE, dy), zeros(ONE, dy), zeros(ONE, dy)
            if j + 1 < out_w:
                g1 = _gradient(dy, y, at + k + f, rectified)
            if i + 1 < out_h:
                g2 = _gradient(dy, y, at + k + out_w * f, rectified)
                if j + 1 < out_w:
                    g3 = _gradient(dy, y, at + k + (out_w + 1) * f, rectified)
            store(db, k, add(load(ONE, db, k), add(add(g0, g1), add(g2, g3))))
            put(e, to + k, step, times_a(g0, g1))
            put(e, to + k + 4 * step, step, times_a(add(g0, g2), add(g1, g3)))
            put(e, to + k + 8 * step, step, times_a(sub(g0, g2), sub(g1, g3)))
            put(e, to + k + 12 * step, step, times_a(neg(g2), neg(g3)))
        image, i, j = _next(t, image, i, j)


@inner
def _add_to(dx, at, value):
    store(dx, at, add(load(ONE, dx, at), value))


@inner
def _add_column(dx, at, row, column, whole, i, h):
    """dx += four vectors, one below the other; those in rows of the image, i its first."""
    if whole or 0 <= i < h:
        _add_to(dx, at, column[0])
    if whole or 0 <= i + 1 < h:
        _add_to(dx, at + row, column[1])
    if whole or 0 <= i + 2 < h:
        _add_to(dx, at + 2 * row, column[2])
    if whole or 0 <= i + 3 < h:
        _add_to(dx, at + 3 * row, column[3])


@inner
def _add_inputs(t, p, first, count, dx):
    """dx += B p B' of each tile, laid over the 4x4 inputs that it came from."""
    lane, c, h, w = VECTOR_BYTES // p.itemsize, t.c, t.h, t.w
    step = TILES * c + lane
    image, down, right = _place(t, first)
    for number in range(count):
        i, j = down - t.top, right - t.left
        at = ((image * h + i) * w + j) * c
        whole = i >= 0 and i + 4 <= h and j >= 0 and j + 4 <= w
        for k in range(0, c, lane):
            q0 = number * c + k
            q1, q2, q3 = q0 + 4 * step, q0 + 8 * step, q0 + 12 * step
            # column by column of B p B'
            column = times_b(load(ONE, p, q0), load(ONE, p, q1), load(ONE, p, q2), load(ONE, p, q3))
            if whole or 0 <= j < w:
                _add_column(dx, at + k, w * c, column, whole, i, h)
            column = times_b(
                times_b1(p, q0, step),
                times_b1(p, q1, step),
                times_b1(p, q2, step),
                times_b1(p, q3, step),
            )
            if whole or 0 <= j + 1 < w:
                _add_column(dx, at + k + c, w * c, column, whole, i, h)
            column = times_b(
                times_b2(p, q0, step),
                times_b2(p, q1, step),
                times_b2(p, q2, step),
                times_b2(p, q3, step),
            )
            if whole or 0 <= j + 2 < w:
                _add_column(dx, at + k + 2 * c, w * c, column, whole, i, h)
            if whole or 0 <= j + 3 < w:
                last = 3 * step
                column = times_b(
                    neg(load(ONE, p, q0 + last)), neg(load(ONE, p, q1 + last)),
                    neg(load(ONE, p, q2 + last)), neg(load(ONE, p, q3 + last)),
                )  # fmt: skip
                _add_column(dx, at + k + 3 * c, w * c, column, whole, i, h)
        image, down, right = _next(t, image, down, right)


@by_turns
def conv_backward(worker, t, blocks, x, ut, dy, y, rectified, need_dx, scratch, totals, turns):
    """totals <- x, dy (n, out_h, out_w, f), y; dx only if it is needed.

    ut (16, f, c): the filters, transposed.
    """
    c, f, lane = t.c, t.f, VECTOR_BYTES // x.itemsize
    tiles, image, half = t.down * t.right, t.h * t.w * t.c, x.dtype.type(0.5)
    all_du, dw, db, dx = totals
    shards = len(dw)
    v, e, du, patch = (
        scratch.v[worker.number],
        scratch.m[worker.number],
        all_du[worker.number],
        scratch.patch[worker.number],
    )
    shard = next_part(turns, worker, shards)
    while shard >= 0:
        du[:] = 0
        db[shard, :] = 0
        start, end = first_of(t.n, shards, shard), first_of(t.n, shards, shard + 1)
        for first in range(start * tiles, end * tiles, TILES):
            count = min(TILES, end * tiles - first)
            _inputs(t, x, first, count, v, patch)
            _output_gradients(t, dy, y, rectified, first, count, e, db[shard])
            for k in range(16):
                a = Matrix(v, k * (TILES * c + lane), 1, c)  # transposed
                b = Matrix(e, k * (TILES * f + lane), f, 1)
                to = Matrix(du, k * c * f, f, 1)
                _multiply(blocks.dw, a, b, to, c, f, count, True)
            if need_dx:
                # the images that begin here: zero while in the cache that adds to them
                new, old = (first + tiles - 1) // tiles, (first + count + tiles - 1) // tiles
                dx[new * image : old * image] = 0
                _products(blocks.dx, e, f, ut, c, count, v)
                _add_inputs(t, v, first, count, dx)
        _filters_gradient(du, c * f, half, dw[shard])
        shard = next_part(turns, worker, shards)
