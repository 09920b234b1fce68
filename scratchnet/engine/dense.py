"""The dense layer, and the ReLU after it: a matrix product that passes over zeros.

Handwritten digits are zero in four pixels of five, and a layer after a ReLU in half of its values.
Where a product is wide enough, the terms that are not zero are listed first.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..layers import Dense, Layer
from .compiler import by_turns, inner, parallel
from .group import MOST_VIEWS, Array, Gradients, Group
from .memory import SHARDS, SLACK, VECTOR_BYTES, cut, lanes, padded
from .simd import (
    add,
    fma,
    fma_patch,
    has_nan,
    load,
    load_rows,
    prefetch,
    relu,
    repeat,
    store,
    store_rows,
    zeros,
)
from .sums import first_of, tree_sum
from .target import ONE, Block, block_of, target, tile_for
from .turns import next_part, own_parts

#: how many terms of a product are added up at a time: b's part is then 16 or 32 KiB
TERMS = 128 if target().across > 1 else 256
#: rows of a that are looked at together for zeros
LISTED = 4
#: a tile for what is looked at but not summed
FOUR = (0,) * 4
#: with fewer columns to compute, to list what is not zero costs more than it saves
LIST_FROM = 256
#: sums of so many terms over a batch are made lot by lot while they are in registers, and b's part
#: in the second cache
BY_LOT = 1024
#: a product of at least so many multiply-adds, some tenths of a millisecond, is cut into so many
#: pieces for each worker
PIECES_FROM, PIECES = 1 << 23, 4


class Sizes(NamedTuple):
    """Of a product c (m, width) = a (m, k) @ b (k, width).

    row, column  element (i, p) of a is a[i * row + p * column]: a transpose is a matter of strides
    ldb, ldc     how long a row of b and of c is in memory; width is a multiple of a vector
    """

    m: int
    k: int
    width: int
    row: int
    column: int
    ldb: int
    ldc: int


class Part(NamedTuple):
    """Rows first..last of c, in a tile's columns from j on; terms start..end of the sums."""

    first: int
    last: int
    j: int
    start: int
    end: int


class ProductGroup(Group):
    """A group that computes matrix products."""

    def product(
        self,
        a: Array,
        sizes: Sizes,
        b: Array,
        c: Array,
        *,
        bias: Array | None = None,
        relu: bool = False,
        sparse: bool = False,
    ) -> None:
        """c = a @ b, + bias and ReLU. sparse: a may have many zeros, which are passed over."""
        flat, block = a.reshape(-1), _block(sizes.width, sizes.m < LISTED, self.dtype)
        listed = self._listed(flat, sizes, _by_terms(sizes.k), sparse)
        if bias is None:
            bias = self.buffer("zeros", (sizes.width,))
        scratch = self.buffer("packed", (self.workers(), (TERMS + 4) * len(block.tile) * self.lane))
        given = flat, b.reshape(-1), c.reshape(-1), bias, relu
        self.call(product, sizes, block, *given, *listed, scratch, self.turns())

    def product_over_batch(
        self, a: Array, sizes: Sizes, b: Array, c: Array, n: int, sparse: bool = False
    ) -> None:
        """c = a @ b as `product` has it, where the terms are those of n images, in their order.

        Each lot of the batch is summed by itself, and the lots in a tree: see sums.py.
        """
        lots, each = self.share.lots, sizes.k // max(n, 1)
        cuts = _by_images(n, each, lots)
        if sizes.k > BY_LOT:
            rows = a.reshape(sizes.k, -1)
            parts = self.buffer("products", (lots, *c.shape))
            for lot, (first, end) in enumerate(itertools.pairwise(cuts)):
                part = sizes._replace(k=int(end - first))
                self.product(rows[first:end], part, b[first:end], parts[lot], sparse=sparse)
            tree_sum(parts, c, 1, self.call)
            return
        flat, block = a.reshape(-1), _block(sizes.width, sizes.m < LISTED, self.dtype)
        if sizes.m < len(block.rows):
            block = block_of(1, block.tile)
        listed = self._listed(flat, sizes, cuts, sparse)
        width, levels = len(block.tile) * self.lane, lots.bit_length()
        room = (sizes.k + 4) * width + levels * len(block.whole) * self.lane
        scratch = self.buffer("packed lots", (self.workers(), room))
        given = flat, b.reshape(-1), c.reshape(-1)
        self.call(product_by_lots, sizes, block, *given, cuts, *listed, scratch, self.turns())

    def _listed(self, flat: Array, sizes: Sizes, cuts: Array, sparse: bool) -> tuple[Any, Any]:
        """places and counts of `list_terms`; no counts where to list is not worth its time."""
        if not sparse or sizes.width < LIST_FROM or sizes.m < LISTED or sizes.k == 0:
            return self._all(sizes.k), self.buffer("no counts", (0,), np.int32)
        blocks = -(-sizes.m // LISTED)
        places = self.buffer("places", (sizes.k + blocks * sizes.k,), np.int32)
        counts = self.buffer("counts", (blocks * (len(cuts) - 1),), np.int32)
        self.call(list_terms, flat.view(f"i{flat.itemsize}"), sizes, cuts, places, counts)
        return places, counts

    def _all(self, k: int) -> Array:
        """(k,): 0, 1, 2, ..."""
        known = self.memory.get("all")
        if known is None or known.size < k + SLACK:
            self.buffer("all", (k,), np.int32)
            self.memory["all"][:] = np.arange(self.memory["all"].size)
        return self.buffer("all", (k,), np.int32)


@functools.lru_cache(maxsize=MOST_VIEWS)
def _block(width: int, few: bool, dtype: Any) -> Block:
    """What is held in registers of a product with that many columns, and with a few rows or more.

    A few rows wait for b from memory, and not for its sums.
    """
    tile = tile_for(width, dtype)
    if len(tile) == 1 and not few:  # nothing divides it: the last tile overlaps the one before
        tile *= min(target().across, width // lanes(dtype))
    return block_of(target().rows(len(tile), 1, 2, LISTED), tile)


@functools.lru_cache(maxsize=MOST_VIEWS)
def _by_terms(k: int) -> Array:
    """Where every TERMS of k terms begin, and where the last ones end."""
    parts = -(-k // TERMS)
    return np.minimum(np.arange(parts + 1) * TERMS, k)


@functools.lru_cache(maxsize=MOST_VIEWS)
def _by_images(n: int, each: int, lots: int) -> Array:
    """The same for the lots of n images, with so many terms each."""
    return np.array([each * cut(n, lots, lot) for lot in range(lots + 1)], np.int64)


class DenseRelu(ProductGroup):
    """A Dense layer, and the ReLU after it if there is one."""

    kernel = "product, bias and ReLU in one pass"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        dense = layers[0]
        assert isinstance(dense, Dense)
        self.relu = len(layers) > 1
        self.d, self.units = dense.input_shape[0], dense.units
        self.dp = padded(self.d, self.dtype)
        self.up = padded(self.units, self.dtype)

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.x = self.contiguous("x", x)
        # read in whole vectors, beyond a row: into the next one, or after the array where there
        # is room; what comes of it is in columns that are never read
        b = self.params.get("b")
        roomy = None if b is None else self.with_slack("b", b)
        bias = self.bias(self.up) if roomy is None else roomy
        W, ldb = self.with_slack("W", self.params["W"]), self.units
        if W is None:
            W, ldb = self.columns("w", self.params["W"], self.up), self.up
        y = self.buffer("y", (len(x), self.up))
        sizes = Sizes(len(x), self.d, self.up, self.d, 1, ldb, self.up)
        self.product(self.x, sizes, W, y, bias=bias, relu=self.relu, sparse=True)
        self.y = y[:, : self.units]
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        n = len(dy)
        dz, lots = self.buffer("dz", (n, self.up)), self.share.lots
        db = self.buffer("db", (lots, self.up))
        flat, y = self.contiguous("dy in one", dy).reshape(-1), self.memory["y"]
        self.call(relu_gradient, flat, y, self.relu, n, self.units, self.up, dz.reshape(-1), db)
        whole = self.up == self.units
        dW = self.grads["W"] if whole else self.buffer("dw", (self.d, self.up))
        transposed = Sizes(self.d, n, self.up, 1, self.d, self.up, self.up)
        self.product_over_batch(self.x, transposed, dz, dW, n, sparse=True)  # x.T @ dz
        if not whole:
            self.grads["W"][:] = dW[:, : self.units]
        if "b" in self.grads:
            self.grads["b"][:] = self.total("db", db)[: self.units]
        if not need_dx:
            return None
        wt = self.transposed("wt", self.params["W"], self.dp)
        dx = self.dx((n, self.dp))  # dy is in dz
        self.product(dz, Sizes(n, self.units, self.dp, self.up, 1, self.dp, self.dp), wt, dx)
        return dx[:, : self.d]  # dz @ W.T


@parallel
def list_terms(worker, bits, s, cuts, places, counts):
    """For every LISTED rows of a (m, k) and every part of its columns: those not all zero.

    cuts (parts + 1,): where the parts begin, and where the last one ends
    places (1 + blocks, k): all columns; and for every block its own; counts (blocks, parts): how
    many of them. bits is a as integers: nothing but zero has none set (-0 counts as something).
    """
    m, k, row, column = s.m, s.k, s.row, s.column
    blocks, parts = (m + LISTED - 1) // LISTED, len(cuts) - 1
    for shard in own_parts(worker, SHARDS):
        for p in range(shard * k // SHARDS, (shard + 1) * k // SHARDS):
            places[p] = p
        for block in range(shard * blocks // SHARDS, (shard + 1) * blocks // SHARDS):
            p0 = LISTED * block * row
            p1 = min(LISTED * block + 1, m - 1) * row
            p2 = min(LISTED * block + 2, m - 1) * row
            p3 = min(LISTED * block + 3, m - 1) * row
            for part in range(parts):
                slot = first = (1 + block) * k + cuts[part]
                for p in range(cuts[part], cuts[part + 1]):
                    at = p * column
                    # written always, counted only if not zero: no branch to mispredict
                    places[slot] = p
                    slot += (bits[p0 + at] | bits[p1 + at] | bits[p2 + at] | bits[p3 + at]) != 0
                counts[block * parts + part] = slot - first


@inner
def _parts(k):
    """Into how many parts of TERMS a sum of k terms is cut."""
    return (k + TERMS - 1) // TERMS


@inner
def _is_finite(b, size):
    """Whether b[:size] holds no NaN and no infinity; some of what lies behind may count, too."""
    acc, zero = zeros(FOUR, b), b.dtype.type(0)
    q = 0
    while q < size:
        acc = fma(acc, zero, load(FOUR, b, q))  # 0 * inf is NaN, and NaN stays
        q += len(FOUR) * (VECTOR_BYTES // b.itemsize)
    return not has_nan(acc)


@inner
def _product_rows(block, s, a, b, c, bias, rectified, places, counts, part):
    """A part of c, in the tile's columns. The sums so far are in c, to begin with the biases.

    b (end - start, tile): those terms, in those columns. places and counts: what `list_terms`
    finds, or all places and no counts.
    """
    whole, rows, tile = block
    step = len(tile) * (VECTOR_BYTES // a.itemsize)
    start, end, j = part.start, part.end, part.j
    last = rectified and end == s.k
    # zero times infinity is NaN and may not be left out
    sparse = counts.size > 0 and _is_finite(b, (end - start) * step)
    i = part.first
    while i + len(rows) <= part.last:
        p, to = i * s.row, i * s.ldc + j
        if start == 0:
            acc = repeat(rows, load(tile, bias, j))
        else:
            acc = load_rows(whole, rows, c, to, s.ldc)
        slot, count = start, end - start
        if sparse:
            number = i // LISTED
            slot += (1 + number) * s.k
            count = counts[number * _parts(s.k) + start // TERMS]
        for listed in range(slot, slot + count):
            term = np.int64(places[listed])
            values = load(tile, b, (term - start) * step)
            acc = fma_patch(acc, rows, ONE, a, p + term * s.column, s.row, values)
        store_rows(relu(acc) if last else acc, rows, c, to, s.ldc)
        i += len(rows)
    while i < part.last:
        p, to = i * s.row + start * s.column, i * s.ldc + j
        acc = load(tile, bias, j) if start == 0 else load(tile, c, to)
        q = 0
        while q < (end - start) * step:  # not a range: LLVM would write it out eight times
            acc = fma(acc, a[p], load(tile, b, q))
            p, q = p + s.column, q + step
        store(c, to, relu(acc) if last else acc)
        i += 1


@inner
def _rows_in_place(tile, s, a, b, c, bias, rectified, first, last, number):
    """Rows first..last of c in the columns of that tile, whole sums: `_product_rows` for few."""
    step = len(tile) * (VECTOR_BYTES // a.itemsize)
    j = min(number * step, s.width - step)
    for i in range(first, last):
        acc, p, q = load(tile, bias, j), i * s.row, j
        for _ in range(s.k):
            acc = fma(acc, a[p], load(tile, b, q))
            p, q = p + s.column, q + s.ldb
        store(c, i * s.ldc + j, relu(acc) if rectified else acc)


@inner
def _pack(tile, b, ldb, part, packed):
    """packed (end - start, tile) <- b's rows start..end, in the tile's columns from j on."""
    step = len(tile) * (VECTOR_BYTES // b.itemsize)
    for p in range(part.start, part.end):
        at = p * ldb + part.j
        prefetch(b, at + step)  # what comes next: no processor foresees so long a row
        store(packed, (p - part.start) * step, load(tile, b, at))


@by_turns
def product(worker, s, block, a, b, c, bias, rectified, places, counts, scratch, turns):
    """c (m, width) = a (m, k) @ b (k, width) + bias (width,), and ReLU if asked for.

    The work is split by c's longer side, so that the matrix which is larger is read once and not
    for every piece; and along k, so that a tile's part of b stays in the first cache, where it is
    copied to lie in one. places and counts are what `list_terms` finds in a: the same sums, zeros
    left out. scratch (workers, (TERMS + 4) * tile).
    """
    k, width, rows, tile = s.k, s.width, len(block.rows), block.tile
    step, pieces = len(tile) * (VECTOR_BYTES // a.itemsize), _pieces(s, turns)
    piece = next_part(turns, worker, pieces)
    while piece >= 0:
        first, last, left, right, rest = _area(s, rows, step, piece, pieces)
        if s.m < rows:  # b is read once: to copy it would take as long as the product
            for number in range(left, right + rest if first < last else left):
                _rows_in_place(tile, s, a, b, c, bias, rectified, first, last, number)
            piece = next_part(turns, worker, pieces)
            continue
        packed, tiles = scratch[worker.number], right - left
        parts = max(1, _parts(k)) if first < last else 0
        for number in range(parts * (tiles + rest)):
            if number < parts * tiles:
                chunk, j = number // tiles, (left + number % tiles) * step
            else:  # from its first term on: some of its columns have their sums already
                chunk, j = number - parts * tiles, width - step
            part = Part(first, last, j, chunk * TERMS, min((chunk + 1) * TERMS, k))
            _pack(tile, b, s.ldb, part, packed)
            _product_rows(block, s, a, packed, c, bias, rectified, places, counts, part)
        piece = next_part(turns, worker, pieces)


@inner
def _pieces(s, turns):
    """Into how many pieces c is cut: one for each worker is enough where there is little to do."""
    return len(turns) * (PIECES if s.m * s.width * s.k >= PIECES_FROM else 1)


@inner
def _area(s, many, step, piece, pieces):
    """What a piece has of c: rows first..last, tiles left..right, and the rest of columns.

    The rest is 1 where the tiles leave columns over: for one more tile that ends where they end,
    and overlaps the one before.
    """
    blocks, tiles = s.m // many, s.width // step
    rest, is_last = int(s.width % step > 0), piece + 1 == pieces
    if s.width >= s.m:
        left, right = piece * tiles // pieces, (piece + 1) * tiles // pieces
        return 0, s.m, left, right, rest if is_last else 0
    first, last = piece * blocks // pieces * many, (piece + 1) * blocks // pieces * many
    return first, s.m if is_last else last, 0, tiles, rest


@inner
def _tile_by_lots(block, s, a, b, c, cuts, places, counts, sparse, i, j, stack):
    """One tile of c, rows i.. and columns j.., from b in those columns: (k, tile).

    stack (levels, whole): the sums that wait for one of as many lots, of 1, 2, 4, ...; those in
    `waiting` are there. A lot without terms is zero, and is passed over.
    """
    whole, rows, tile = block
    lane = VECTOR_BYTES // a.itemsize
    step, size, lots, number = len(tile) * lane, len(whole) * lane, len(cuts) - 1, i // LISTED
    acc, waiting, before, found, level = zeros(whole, c), 0, 0, 0, 0
    for lot in range(lots):
        slot, count = cuts[lot], cuts[lot + 1] - cuts[lot]
        if sparse:
            slot += (1 + number) * s.k
            count = np.int64(counts[number * lots + lot])
        if count == 0:
            continue
        if found > 0:
            level, apart = 0, (before ^ lot) >> 1
            while apart > 0:  # what is summed before this lot begins
                if waiting >> level & 1:
                    acc = add(load(whole, stack, level * size), acc)
                apart >>= 1
                level += 1
            store(stack, level * size, acc)
            waiting = (waiting >> level | 1) << level
        acc, before, found = zeros(whole, c), lot, found + 1
        for listed in range(slot, slot + count):
            term = np.int64(places[listed])
            values = load(tile, b, term * step)
            acc = fma_patch(acc, rows, ONE, a, i * s.row + term * s.column, s.row, values)
    level = 0
    while waiting > 0:
        if waiting & 1:
            acc = add(load(whole, stack, level * size), acc)
        waiting >>= 1
        level += 1
    if found < lots:  # -0 and the zero of a lot without terms are 0
        acc = add(acc, zeros(whole, c))
    store_rows(acc, rows, c, i * s.ldc + j, s.ldc)


@by_turns
def product_by_lots(worker, s, block, a, b, c, cuts, places, counts, scratch, turns):
    """c (m, width) = a (m, k) @ b (k, width), k's lots each by themselves and added in the tree.

    cuts (lots + 1,): where they begin; places and counts as `list_terms` finds them with these.
    m is at least a block's rows. scratch (workers, (k + 4) * tile + levels * a block's elements).
    """
    m, k, width, rows, tile = s.m, s.k, s.width, len(block.rows), block.tile
    step, pieces = len(tile) * (VECTOR_BYTES // a.itemsize), _pieces(s, turns)
    mine, room = scratch[worker.number], (k + 4) * step
    packed, stack = mine[:room], mine[room:]
    piece = next_part(turns, worker, pieces)
    while piece >= 0:
        first, last, left, right, rest = _area(s, rows, step, piece, pieces)
        for number in range(left, right + rest if first < last else left):
            j = min(number * step, width - step)
            _pack(tile, b, s.ldb, Part(first, last, j, 0, k), packed)
            # zero times infinity is NaN and may not be left out
            sparse = counts.size > 0 and _is_finite(packed, k * step)
            for i in range(first, last, rows):
                own = min(i, m - rows)  # the last rows overlap those before: not listed
                given = cuts, places, counts, sparse and own == i, own, j, stack
                _tile_by_lots(block, s, a, packed, c, *given)
        piece = next_part(turns, worker, pieces)


@parallel
def relu_gradient(worker, dy, y, rectified, n, units, wide, dz, db):
    """dz (n, wide) <- dy (n, units) where y (n, wide) > 0, or everywhere.

    db (lots, wide) <- the sums of each lot. Columns beyond the units become zero. Each worker has
    vectors of columns of its own.
    """
    lane = VECTOR_BYTES // dy.itemsize
    own = own_parts(worker, (units + lane - 1) // lane)
    first, end = own.start * lane, min(own.stop * lane, units)
    last = wide if end == units else end
    db[:, first:last] = 0
    lot, lot_end = -1, 0
    for i in range(n):
        while i >= lot_end:
            lot += 1
            lot_end = first_of(n, len(db), lot + 1)
        sums, start = db[lot, first:end], i * wide
        grad, row = dy[i * units + first : i * units + end], y[start + first : start + end]
        out = dz[start + first : start + end]
        for k in range(end - first):
            out[k] = grad[k] if row[k] > 0 or not rectified else grad.dtype.type(0)
        dz[start + end : start + last] = 0
        for k in range(end - first):
            sums[k] += out[k]
