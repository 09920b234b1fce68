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

Arrays are flat, channels in whole vectors, and nothing is checked (see fused.py). Tiles are worked
on in blocks of TILES, so that the 16 matrices stay in the second cache.
"""

from typing import Any

from numba import prange

from .compiled import _jit
from .fused import tile_for
from .memory import SHARDS, VECTOR_BYTES
from .simd import (
    add,
    add_rows,
    fma_patch,
    load,
    neg,
    scale,
    store,
    store_largest,
    store_relu,
    store_rows,
    sub,
    where_positive,
    zeros,
)

#: tiles worked on together; a multiple of the rows that block_for names
TILES = 40
#: a tile of one vector
ONE = (0,)


def scratch(channels: int, lane: int) -> int:
    """Elements for a block's 16 matrices: each starts a vector further on than a power of two, or
    the 16 stores of a tile would all go to one set of the first cache."""
    return 16 * (TILES * channels + lane)


# ---- columns of four vectors -------------------------------------------------------------------


def _get(a, at, step):
    return (
        load(ONE, a, at),
        load(ONE, a, at + step),
        load(ONE, a, at + 2 * step),
        load(ONE, a, at + 3 * step),
    )


_get = _jit(_get, parallel=False)


def _put(a, at, step, column):
    store(a, at, column[0])
    store(a, at + step, column[1])
    store(a, at + 2 * step, column[2])
    store(a, at + 3 * step, column[3])


_put = _jit(_put, parallel=False)


def _bt(d):
    """B' d"""
    return sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])


_bt = _jit(_bt, parallel=False)


def _b(p):
    """B p"""
    inner = sub(p[1], p[2])
    return p[0], add(inner, p[3]), sub(add(p[1], p[2]), p[0]), neg(p[3])


_b = _jit(_b, parallel=False)


def _a(y0, y1):
    """A y"""
    return y0, add(y0, y1), sub(y0, y1), neg(y1)


_a = _jit(_a, parallel=False)


def _at(m):
    """A' m"""
    return add(add(m[0], m[1]), m[2]), sub(sub(m[1], m[2]), m[3])


_at = _jit(_at, parallel=False)


def _g(g0, g1, g2, half):
    """G g; half is the number, in g's dtype"""
    outer, middle = scale(half, add(g0, g2)), scale(half, g1)
    return g0, add(outer, middle), sub(outer, middle), g2


_g = _jit(_g, parallel=False)


def _gt(m, half):
    """G' m"""
    inner = scale(half, add(m[1], m[2]))
    return add(m[0], inner), scale(half, sub(m[1], m[2])), add(inner, m[3])


_gt = _jit(_gt, parallel=False)


# ---- filters and their gradient ----------------------------------------------------------------


def _differ(a, b):
    """Whether two arrays of whole numbers differ; 512 at a time, in vectors."""
    for start in range(0, a.size, 512):
        some, others = a[start : start + 512], b[start : start + 512]
        bits = 0
        for k in range(some.size):
            bits |= some[k] ^ others[k]
        if bits != 0:
            return True
    return False


_differ = _jit(_differ, parallel=False)


def filters(w, bits, kept, size, half, u):
    """u (16, size) = G g G' of w (3, 3, size): for each of `size` pairs of channels.

    bits: w as whole numbers. Where they are those kept from the last time, u is what it was then.
    """
    if not _differ(bits, kept):
        return
    lane = VECTOR_BYTES // w.itemsize
    vectors = size // lane
    for k in range(bits.size):
        kept[k] = bits[k]
    for shard in prange(SHARDS):
        for v in range(shard * vectors // SHARDS, (shard + 1) * vectors // SHARDS):
            at = v * lane
            c0 = _g(
                load(ONE, w, at), load(ONE, w, at + 3 * size), load(ONE, w, at + 6 * size), half
            )
            at += size
            c1 = _g(
                load(ONE, w, at), load(ONE, w, at + 3 * size), load(ONE, w, at + 6 * size), half
            )
            at += size
            c2 = _g(
                load(ONE, w, at), load(ONE, w, at + 3 * size), load(ONE, w, at + 6 * size), half
            )
            at = v * lane
            _put(u, at, size, _g(c0[0], c1[0], c2[0], half))
            _put(u, at + 4 * size, size, _g(c0[1], c1[1], c2[1], half))
            _put(u, at + 8 * size, size, _g(c0[2], c1[2], c2[2], half))
            _put(u, at + 12 * size, size, _g(c0[3], c1[3], c2[3], half))


filters = _jit(filters)


def _total(du, shards, size, at):
    """Four places of the filters' gradient, summed over the shards."""
    total = _get(du, at, size)
    for shard in range(1, shards):
        part = _get(du, at + shard * 16 * size, size)
        total = (
            add(total[0], part[0]), add(total[1], part[1]),
            add(total[2], part[2]), add(total[3], part[3]),
        )  # fmt: skip
    return total


_total = _jit(_total, parallel=False)


def filters_backward(du, shards, size, half, dw):
    """dw (3, 3, size) = G' du G, du (shards, 16, size) summed over the shards."""
    lane = VECTOR_BYTES // dw.itemsize
    vectors = size // lane
    for shard in prange(SHARDS):
        for v in range(shard * vectors // SHARDS, (shard + 1) * vectors // SHARDS):
            at = v * lane
            r0 = _gt(_total(du, shards, size, at), half)
            r1 = _gt(_total(du, shards, size, at + 4 * size), half)
            r2 = _gt(_total(du, shards, size, at + 8 * size), half)
            r3 = _gt(_total(du, shards, size, at + 12 * size), half)
            for k in range(3):
                to = at + k * size
                column = _gt((r0[k], r1[k], r2[k], r3[k]), half)
                store(dw, to, column[0])
                store(dw, to + 3 * size, column[1])
                store(dw, to + 6 * size, column[2])


filters_backward = _jit(filters_backward)


# ---- matrix products ---------------------------------------------------------------------------


def block_for(channels: int, dtype: Any, of_tiles: bool = True) -> tuple[tuple[int, ...], ...]:
    """How a product's result is worked on where it has that many columns: (whole, rows, tile).

    Tuples as long as the vectors in all, the rows, and the vectors of a row. Fewer than 8 sums
    would wait for each other, and more than 20 do not stay in registers. The rows divide TILES or,
    where they are not tiles, any number of channels.
    """
    tile = tile_for(channels, dtype)
    rows = 8 if len(tile) < 3 else 5 if of_tiles else 4
    return (0,) * rows * len(tile), (0,) * rows, tile


def _multiply(block, a, at, row, col, k, b, bt, ldb, c, ct, ldc, m, n, onto):
    """c (m, n) = a (m, k) @ b (k, n), added to what is there with `onto`.

    Element (i, p) of a is a[at + i * row + p * col], so a transpose is a matter of strides. m and n
    are multiples of the block's rows and columns.
    """
    whole, rows, tile = block
    step = len(tile) * (VECTOR_BYTES // a.itemsize)
    for j in range(0, n, step):
        for i in range(0, m, len(rows)):
            acc = zeros(whole, c)
            p, q = at + i * row, bt + j
            for _ in range(k):
                acc = fma_patch(acc, rows, ONE, a, p, row, load(tile, b, q))
                p += col
                q += ldb
            if onto:
                add_rows(acc, rows, c, ct + i * ldc + j, ldc)
            else:
                store_rows(acc, rows, c, ct + i * ldc + j, ldc)


_multiply = _jit(_multiply, parallel=False)


# ---- tiles -------------------------------------------------------------------------------------


def _copy_patch(x, image, h, w, c, y, z, size, patch):
    """patch (size, size, c) <- the image from pixel (y, z) on, zero where there is no image."""
    lane = VECTOR_BYTES // x.itemsize
    for u in range(size):
        for v in range(size):
            to = (u * size + v) * c
            if 0 <= y + u < h and 0 <= z + v < w:
                source = ((image * h + y + u) * w + z + v) * c
                for k in range(0, c, lane):
                    store(patch, to + k, load(ONE, x, source + k))
            else:
                for k in range(0, c, lane):
                    store(patch, to + k, zeros(ONE, patch))


_copy_patch = _jit(_copy_patch, parallel=False)


def _inputs(x, h, w, c, top, left, down, right, first, count, v, patch):
    """v (16, TILES, c) <- B' d B of `count` tiles, from number `first` on."""
    lane = VECTOR_BYTES // x.itemsize
    for t in range(count):
        image, place = (first + t) // (down * right), (first + t) % (down * right)
        y, z = 2 * (place // right) - top, 2 * (place % right) - left
        if y >= 0 and y + 4 <= h and z >= 0 and z + 4 <= w:
            source, p, row = x, ((image * h + y) * w + z) * c, w * c
        else:
            _copy_patch(x, image, h, w, c, y, z, 4, patch)
            source, p, row = patch, 0, 4 * c
        for k in range(0, c, lane):
            d0 = _bt(_get(source, p + k, row))
            d1 = _bt(_get(source, p + k + c, row))
            d2 = _bt(_get(source, p + k + 2 * c, row))
            d3 = _bt(_get(source, p + k + 3 * c, row))
            to, step = t * c + k, TILES * c + lane
            _put(v, to, step, _bt((d0[0], d1[0], d2[0], d3[0])))
            _put(v, to + 4 * step, step, _bt((d0[1], d1[1], d2[1], d3[1])))
            _put(v, to + 8 * step, step, _bt((d0[2], d1[2], d2[2], d3[2])))
            _put(v, to + 12 * step, step, _bt((d0[3], d1[3], d2[3], d3[3])))


_inputs = _jit(_inputs, parallel=False)


def _products(block, v, c, u, f, count, m):
    """m (16, TILES, f) = v (16, TILES, c) @ u (16, c, f), the first `count` tiles of each."""
    side = len(block[1])
    rows = (count + side - 1) // side * side
    lane = VECTOR_BYTES // v.itemsize
    for k in range(16):
        _multiply(
            block, v, k * (TILES * c + lane), c, 1, c, u, k * c * f, f,
            m, k * (TILES * f + lane), f, rows, f, False,
        )  # fmt: skip


_products = _jit(_products, parallel=False)


def _output(m, at, step, bias, f):
    """The four outputs of a tile, row by row: A' m A + bias, one vector of filters."""
    start = load(ONE, bias, f)
    r0, r1 = _at(_get(m, at, step)), _at(_get(m, at + 4 * step, step))
    r2, r3 = _at(_get(m, at + 8 * step, step)), _at(_get(m, at + 12 * step, step))
    left, right = _at((r0[0], r1[0], r2[0], r3[0])), _at((r0[1], r1[1], r2[1], r3[1]))
    return add(left[0], start), add(right[0], start), add(left[1], start), add(right[1], start)


_output = _jit(_output, parallel=False)


def _put_output(y, at, value, relu):
    if relu:
        store_relu(y, at, value)
    else:
        store(y, at, value)


_put_output = _jit(_put_output, parallel=False)


def conv_relu_pool(
    whole, rows, tile, x, n, h, w, c, top, left, u, f, bias, down, right, y, code, v, m, patch
):
    """y, code (n, down, right, f) <- x (n, h, w, c), u (16, c, f): with ReLU and 2x2 pooling.

    A tile's four outputs are one pooling window. Scratch, each with SHARDS rows: v, m, patch.
    """
    lane, tiles = VECTOR_BYTES // x.itemsize, n * down * right
    blocks = (tiles + TILES - 1) // TILES
    for shard in prange(SHARDS):
        for number in range(shard * blocks // SHARDS, (shard + 1) * blocks // SHARDS):
            first = number * TILES
            count = min(TILES, tiles - first)
            _inputs(x, h, w, c, top, left, down, right, first, count, v[shard], patch[shard])
            _products((whole, rows, tile), v[shard], c, u, f, count, m[shard])
            for t in range(count):
                for k in range(0, f, lane):
                    four = _output(m[shard], t * f + k, TILES * f + lane, bias, k)
                    to = (first + t) * f + k
                    store_largest(four[0], four[1], four[2], four[3], y, code, to)


conv_relu_pool = _jit(conv_relu_pool)


def conv(
    whole, rows, tile, x, n, h, w, c, top, left, u, f, bias, out_h, out_w, y, relu, v, m, patch
):  # fmt: skip
    """y (n, out_h, out_w, f) <- x (n, h, w, c), u (16, c, f), and ReLU if asked for."""
    lane = VECTOR_BYTES // x.itemsize
    down, right = (out_h + 1) // 2, (out_w + 1) // 2
    tiles = n * down * right
    blocks = (tiles + TILES - 1) // TILES
    for shard in prange(SHARDS):
        for number in range(shard * blocks // SHARDS, (shard + 1) * blocks // SHARDS):
            first = number * TILES
            count = min(TILES, tiles - first)
            _inputs(x, h, w, c, top, left, down, right, first, count, v[shard], patch[shard])
            _products((whole, rows, tile), v[shard], c, u, f, count, m[shard])
            for t in range(count):
                image, place = (first + t) // (down * right), (first + t) % (down * right)
                i, j = 2 * (place // right), 2 * (place % right)
                for k in range(0, f, lane):
                    four = _output(m[shard], t * f + k, TILES * f + lane, bias, k)
                    to = ((image * out_h + i) * out_w + j) * f + k
                    _put_output(y, to, four[0], relu)
                    if j + 1 < out_w:
                        _put_output(y, to + f, four[1], relu)
                    if i + 1 < out_h:
                        _put_output(y, to + out_w * f, four[2], relu)
                        if j + 1 < out_w:
                            _put_output(y, to + (out_w + 1) * f, four[3], relu)


conv = _jit(conv)


# ---- backward ----------------------------------------------------------------------------------


def _gradient(dy, y, at, relu):
    grad = load(ONE, dy, at)
    return where_positive(grad, load(ONE, y, at)) if relu else grad


_gradient = _jit(_gradient, parallel=False)


def _output_gradients(dy, y, relu, out_h, out_w, f, down, right, first, count, e, db):
    """e (16, TILES, f) <- A dy A' of `count` tiles; with relu only where y was alive. db += dy."""
    lane = VECTOR_BYTES // dy.itemsize
    step = TILES * f + lane
    for t in range(count):
        image, place = (first + t) // (down * right), (first + t) % (down * right)
        i, j = 2 * (place // right), 2 * (place % right)
        at, to = ((image * out_h + i) * out_w + j) * f, t * f
        for k in range(0, f, lane):
            g0 = _gradient(dy, y, at + k, relu)
            g1, g2, g3 = zeros(ONE, dy), zeros(ONE, dy), zeros(ONE, dy)
            if j + 1 < out_w:
                g1 = _gradient(dy, y, at + k + f, relu)
            if i + 1 < out_h:
                g2 = _gradient(dy, y, at + k + out_w * f, relu)
                if j + 1 < out_w:
                    g3 = _gradient(dy, y, at + k + (out_w + 1) * f, relu)
            store(db, k, add(load(ONE, db, k), add(add(g0, g1), add(g2, g3))))
            left, right_ = _a(g0, g2), _a(g1, g3)
            for r in range(4):
                _put(e, to + k + 4 * r * step, step, _a(left[r], right_[r]))


_output_gradients = _jit(_output_gradients, parallel=False)


def _add_inputs(p, c, h, w, top, left, down, right, first, count, dx):
    """dx += B p B' of each tile, laid over the 4x4 inputs that it came from."""
    lane = VECTOR_BYTES // p.itemsize
    step = TILES * c + lane
    for t in range(count):
        image, place = (first + t) // (down * right), (first + t) % (down * right)
        y, z = 2 * (place // right) - top, 2 * (place % right) - left
        at = ((image * h + y) * w + z) * c
        whole = y >= 0 and y + 4 <= h and z >= 0 and z + 4 <= w
        for k in range(0, c, lane):
            r0 = _b(_get(p, t * c + k, step))
            r1 = _b(_get(p, t * c + k + 4 * step, step))
            r2 = _b(_get(p, t * c + k + 8 * step, step))
            r3 = _b(_get(p, t * c + k + 12 * step, step))
            for q in range(4):
                column = _b((r0[q], r1[q], r2[q], r3[q]))
                if whole or 0 <= z + q < w:
                    for r in range(4):
                        if whole or 0 <= y + r < h:
                            to = at + (r * w + q) * c + k
                            store(dx, to, add(load(ONE, dx, to), column[r]))


_add_inputs = _jit(_add_inputs, parallel=False)


def conv_backward(
    whole_f, rows_f, tile_f, whole_c, rows_c, tile_c, x, n, h, w, c, top, left, ut, f, dy, y, relu,
    out_h, out_w, need_dx, v, e, patch, du, db, dx,
):  # fmt: skip
    """du (SHARDS, 16, c, f), db (SHARDS, f), dx (n, h, w, c) <- x, dy (n, out_h, out_w, f), y.

    ut (16, f, c): the filters, transposed. Scratch, each with SHARDS rows: v, e, patch.
    """
    down, right = (out_h + 1) // 2, (out_w + 1) // 2
    lane = VECTOR_BYTES // x.itemsize
    for shard in prange(SHARDS):
        mine, values, gradients = du[shard], v[shard], e[shard]
        mine[:] = 0
        db[shard, :] = 0
        begin, end = shard * n // SHARDS * down * right, (shard + 1) * n // SHARDS * down * right
        if need_dx:
            dx[shard * n // SHARDS * h * w * c : (shard + 1) * n // SHARDS * h * w * c] = 0
        for first in range(begin, end, TILES):
            count = min(TILES, end - first)
            _inputs(x, h, w, c, top, left, down, right, first, count, values, patch[shard])
            _output_gradients(
                dy, y, relu, out_h, out_w, f, down, right, first, count, gradients, db[shard]
            )
            for k in range(16):
                _multiply(
                    (whole_f, rows_f, tile_f), values, k * (TILES * c + lane), 1, c, count,
                    gradients, k * (TILES * f + lane), f, mine, k * c * f, f, c, f, True,
                )  # fmt: skip
            if need_dx:
                block = whole_c, rows_c, tile_c
                _products(block, gradients, f, ut, c, count, values)
                _add_inputs(values, c, h, w, top, left, down, right, first, count, dx)


conv_backward = _jit(conv_backward)
