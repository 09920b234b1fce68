"""The dense layer, and the ReLU after it: a matrix product that passes over zeros.

Handwritten digits are zero in four pixels of five, and a layer after a ReLU in half of its values.
Where a product is wide enough, the terms that are not zero are marked first.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..layers import Dense, Layer
from .compiler import by_turns, inner, parallel
from .group import MOST_VIEWS, Array, Gradients, Group
from .memory import VECTOR_BYTES, cut, lanes, padded
from .simd import (
    add,
    bits_set,
    fma,
    fma_patch,
    has_nan,
    load,
    load_rows,
    lowest_bit,
    prefetch,
    relu,
    repeat,
    store,
    store_rows,
    without_lowest,
    zeros,
)
from .sums import first_of, tree_sum
from .target import ONE, Block, block_of, target, tile_for
from .turns import next_part, own_parts

#: of b, what is read again and again is at most so large, in bytes: it stays in the first cache
PART_OF_B = 1 << 15
#: how wide a row of a tile may be, in vectors: where zeros are passed over, and elsewhere
SPARSE_WIDTHS, WIDTHS = range(1, 9), (1, 2, 4)
#: with fewer rows, b is read where it is
FEW_ROWS = 4
#: a tile for what is looked at but not summed
FOUR = (0,) * 4
#: with fewer columns to compute, to mark what is not zero costs more than it saves
MARK_FROM = 256
#: sums of so many terms over a batch are made lot by lot while they are in registers, and b's part
#: in the second cache
BY_LOT = 1024
#: a product of at least so many multiply-adds, some tenths of a millisecond, is cut into so many
#: pieces for each worker
PIECES_FROM, PIECES = 1 << 23, 4
#: blocks of rows that make what one piece has of b worth copying
MANY_BLOCKS = 64


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
        sparse = sparse and _is_worth_marking(sizes)
        # images that lie side by side have their zeros in other places
        held = _Held(1, (2,), SPARSE_WIDTHS, 0) if sparse else _Held(1, (1, 2, 4), WIDTHS, 0)
        if sizes.m < FEW_ROWS:
            block = block_of(FEW_ROWS, tile_for(sizes.width, self.dtype))
        else:
            block = _block(sizes.width, self._sharing(sizes), held, self.dtype)
        flat = a.reshape(-1)
        marks = self._marks(flat, sizes, len(block.rows), sparse)
        if bias is None:
            bias = self.buffer("zeros", (sizes.width,))
        step = len(block.tile) * self.lane
        terms = _terms(len(block.tile)) * (2 if sparse else 1)
        scratch = self.buffer("packed", (self.workers(), (terms + 4) * step))
        given = flat, b.reshape(-1), c.reshape(-1), bias, relu
        self.call(product, sizes, block, terms, *given, marks, scratch, self.turns())

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
        sparse = sparse and _is_worth_marking(sizes)
        # two lots' sums where there are registers for them; else the first one's wait in memory
        sums = 2 if target().vectors >= 32 else 1
        held = _Held(sums, (1, 2, 3, 4), WIDTHS, 0)
        if sparse:
            held = _Held(sums, (2, 4), SPARSE_WIDTHS, 12)
        block = _block(sizes.width, self._sharing(sizes), held, self.dtype)
        if sizes.m < len(block.rows):
            block = block_of(1, block.tile)
        flat = a.reshape(-1)
        marks = self._marks(flat, sizes, len(block.rows), sparse)
        step, size = len(block.tile) * self.lane, len(block.whole) * self.lane
        room = (sizes.k + 4) * step + lots.bit_length() * size
        scratch = self.buffer("packed lots", (self.workers(), room))
        given = flat, b.reshape(-1), c.reshape(-1)
        self.call(product_by_lots, sizes, block, *given, cuts, marks, scratch, self.turns())

    def _sharing(self, sizes: Sizes) -> int:
        """How many workers share whole columns: see `_grid`."""
        return self.workers() if sizes.m <= min(sizes.width, 4 * MANY_BLOCKS) else 1

    def _marks(self, flat: Array, sizes: Sizes, rows: int, sparse: bool) -> Array:
        """What `mark_terms` finds for so many rows together; its first row alone if not sparse."""
        words = -(-sizes.k // 64)
        if not sparse:
            marks = self.buffer("all terms", (1, words), np.int64)
            marks[:] = -1
            return marks
        marks = self.buffer("marks", (1 + -(-sizes.m // rows), words), np.int64)
        self.call(mark_terms, flat.view(f"i{flat.itemsize}"), sizes, rows, marks)
        return marks


def _is_worth_marking(sizes: Sizes) -> bool:
    """Whether `mark_terms` can look at a product's a, and saves more than it takes."""
    long = sizes.k if sizes.column == 1 else sizes.m
    return sizes.width >= MARK_FROM and sizes.m >= FEW_ROWS and sizes.k > 0 and long >= 64


class _Held(NamedTuple):
    """sums    how many are held in registers for every output, beside a row of terms
    rows    how many rows of outputs there may be
    across  and vectors in a row; each other choice is compiled by itself
    start   what it takes to begin and to end a tile, in multiply-adds for each term
    """

    sums: int
    rows: tuple[int, ...]
    across: Sequence[int]
    start: float


@functools.lru_cache(maxsize=MOST_VIEWS)
def _block(width: int, workers: int, held: _Held, dtype: Any) -> Block:
    """What is held in registers of a product with that many columns: what takes least time.

    A term of a tile is a multiply-add for each of its vectors, and a load for each of its columns'
    vectors and each of its rows, of which two are done at a time. Where the tiles do not divide the
    columns, the last one overlaps the one before. workers: so many share the tiles.
    """
    vectors = width // lanes(dtype)

    def time(block: tuple[int, int]) -> float:
        down, across = block
        rounds = -(-vectors // across // workers)
        return rounds * (down * across + (down + across) / 2 + held.start) / down

    every = itertools.product(held.rows, [w for w in held.across if w <= vectors])
    fitting = [b for b in every if held.sums * b[0] * b[1] + b[1] + 1 <= target().vectors]
    down, across = min(fitting or [(min(held.rows), 1)], key=time)
    return block_of(down, (0,) * across)


def _terms(across: int) -> int:
    """How many terms are summed at a time, of a tile with so many vectors in a row."""
    return min(256, PART_OF_B // (64 * across * VECTOR_BYTES) * 64)


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
def mark_terms(worker, bits, s, rows, marks):
    """For every so many rows of a (m, k), 1, 2 or 4: which of their terms are not all zero.

    a's rows, or its columns, lie in one, and have at least 64 elements.
    marks (1 + blocks, words): all terms; and for every block its own, as bits, 64 in a word. bits
    is a as integers: nothing but zero has none set (-0 counts as something).
    """
    marks[0] = -1
    if s.row == 1:
        for part in own_parts(worker, (s.m + 63) // 64):
            _mark_side_by_side(bits, s, rows, part, marks)
        return
    for block in own_parts(worker, len(marks) - 1):
        for word in range(marks.shape[1]):
            found, start = (
                np.int64(0),
                min(64 * word, s.k - 64),
            )  # the last one ends where a row does
            for i in range(block * rows, min((block + 1) * rows, s.m)):
                found |= bits_set(bits, i * s.row + start)
            marks[1 + block, word] = found >> (64 * word - start)


@inner
def _mark_side_by_side(bits, s, rows, part, marks):
    """`mark_terms` where a's rows lie side by side: for 64 of them, all terms."""
    start = min(64 * part, s.m - 64)
    first, blocks = 1 + 64 * part // rows, (min(64, s.m - 64 * part) + rows - 1) // rows
    own, lowest = (np.int64(1) << rows) - 1, np.int64(0)
    for block in range(64 // rows):
        lowest |= np.int64(1) << (rows * block)
    marks[first : first + blocks] = 0
    for p in range(0, s.k, rows):
        some = np.int64(0)  # of so many terms: the block's bits side by side
        for u in range(min(rows, s.k - p)):
            found = bits_set(bits, start + (p + u) * s.column) >> (64 * part - start)
            width = 1
            while width < rows:
                found |= found >> width
                width *= 2
            some |= (found & lowest) << u
        for block in range(blocks):
            marks[first + block, p // 64] |= (some >> (rows * block) & own) << (p % 64)


@inner
def _marked(marks, word, start, end):
    """A word of marks, those of terms start..end."""
    bits, first = marks[word], 64 * word
    if start > first:
        bits &= np.int64(-1) << (start - first)
    if end < first + 64:
        bits &= ~(np.int64(-1) << (end - first))
    return bits


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
def _product_rows(block, s, a, b, c, bias, rectified, marks, part):
    """A part of c, in the tile's columns. The sums so far are in c, to begin with the biases.

    b (end - start, tile): those terms, in those columns. marks: what `mark_terms` finds, or its
    first row alone.
    """
    whole, rows, tile = block
    step = len(tile) * (VECTOR_BYTES // a.itemsize)
    start, end, j = part.start, part.end, part.j
    last = rectified and end == s.k
    # zero times infinity is NaN and may not be left out
    sparse = len(marks) > 1 and _is_finite(b, (end - start) * step)
    i = part.first
    while i + len(rows) <= part.last:
        p, to = i * s.row, i * s.ldc + j
        if start == 0:
            acc = repeat(rows, load(tile, bias, j))
        else:
            acc = load_rows(whole, rows, c, to, s.ldc)
        mine = marks[1 + i // len(rows) if sparse else 0]
        for word in range(start // 64, (end + 63) // 64):
            bits = _marked(mine, word, start, end)
            while bits != 0:
                term = 64 * word + lowest_bit(bits)
                values = load(tile, b, (term - start) * step)
                acc = fma_patch(acc, rows, ONE, a, p + term * s.column, s.row, values)
                bits = without_lowest(bits)
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
def product(worker, s, block, terms, a, b, c, bias, rectified, marks, scratch, turns):
    """c (m, width) = a (m, k) @ b (k, width) + bias (width,), and ReLU if asked for.

    The work is split by c's longer side, so that the matrix which is larger is read once and not
    for every piece; and along k, so many terms at a time, so that a tile's part of b stays in the
    first cache, copied if it does not lie in one. marks are what `mark_terms` finds in a: the same
    sums, zeros left out. scratch (workers, (terms + 4) * tile).
    """
    k, width, rows, tile = s.k, s.width, len(block.rows), block.tile
    step = len(tile) * (VECTOR_BYTES // a.itemsize)
    grid = _grid(s, rows, step, turns)
    piece = next_part(turns, worker, grid[0] * grid[1])
    while piece >= 0:
        first, last, left, right, rest = _area(s, rows, step, grid, piece)
        if s.m < rows:  # b is read once: to copy it would take as long as the product
            for number in range(left, right + rest if first < last else left):
                _rows_in_place(tile, s, a, b, c, bias, rectified, first, last, number)
            piece = next_part(turns, worker, grid[0] * grid[1])
            continue
        tiles = right - left
        parts = max(1, (k + terms - 1) // terms) if first < last else 0
        for number in range(parts * (tiles + rest)):
            if number < parts * tiles:
                chunk, j = number // tiles, (left + number % tiles) * step
            else:  # from its first term on: some of its columns have their sums already
                chunk, j = number - parts * tiles, width - step
            part = Part(first, last, j, chunk * terms, min((chunk + 1) * terms, k))
            if s.ldb == step:  # they lie in one
                own = b[part.start * step :]
            else:
                own = scratch[worker.number]
                _pack(tile, b, s.ldb, part, own)
            _product_rows(block, s, a, own, c, bias, rectified, marks, part)
        piece = next_part(turns, worker, grid[0] * grid[1])


@inner
def _grid(s, many, step, turns):
    """Into how many pieces c is cut, down and across.

    Its longer side is cut. One piece for each worker is enough where there is little to do. Else
    there is something left to hand out; and where the columns are cut, a piece is one tile, or some
    of its rows if they are so many that b's part, copied for each piece, does not matter.
    """
    workers, is_much = len(turns), s.m * s.width * s.k >= PIECES_FROM
    if s.width < s.m:
        return workers * (PIECES if is_much else 1), 1
    if not is_much:
        return 1, workers
    return max(1, s.m // many // MANY_BLOCKS), s.width // step


@inner
def _area(s, many, step, grid, piece):
    """What a piece has of c: rows first..last, tiles left..right, and the rest of columns.

    The rest is 1 where the tiles leave columns over: for one more tile that ends where they end,
    and overlaps the one before.
    """
    blocks, tiles, (down, across) = s.m // many, s.width // step, grid
    row, column = piece % down, piece // down
    first, last = row * blocks // down * many, (row + 1) * blocks // down * many
    left, right = column * tiles // across, (column + 1) * tiles // across
    rest = int(s.width % step > 0 and column + 1 == across)
    return first, s.m if row + 1 == down else last, left, right, rest


@inner
def _tile_by_lots(block, s, a, b, c, cuts, marked, i, j, stack):
    """One tile of c, rows i.. and columns j.., from b in those columns: (k, tile).

    marked: its terms. stack (levels, whole): sums that wait for one of as many lots, of 1, 2,
    4, ...
    """
    whole, rows, tile = block
    lane = VECTOR_BYTES // a.itemsize
    step, size, lots = len(tile) * lane, len(whole) * lane, len(cuts) - 1
    acc = even = zeros(whole, c)
    for lot in range(lots):
        acc, start, end = zeros(whole, c), cuts[lot], cuts[lot + 1]
        for word in range(start // 64, (end + 63) // 64):
            bits = _marked(marked, word, start, end)
            while bits != 0:
                term = 64 * word + lowest_bit(bits)
                values = load(tile, b, term * step)
                acc = fma_patch(acc, rows, ONE, a, i * s.row + term * s.column, s.row, values)
                bits = without_lowest(bits)
        if lot & 1 == 0:
            even = acc
            continue
        acc = add(even, acc)
        at, complete = 0, lot >> 1
        while complete & 1:
            acc = add(load(whole, stack, at), acc)
            at, complete = at + size, complete >> 1
        if lot + 1 < lots:
            store(stack, at, acc)
    store_rows(acc, rows, c, i * s.ldc + j, s.ldc)


@by_turns
def product_by_lots(worker, s, block, a, b, c, cuts, marks, scratch, turns):
    """c (m, width) = a (m, k) @ b (k, width), k's lots each by themselves and added in the tree.

    cuts (lots + 1,): where they begin; marks as `mark_terms` finds them.
    m is at least a block's rows. scratch (workers, (k + 4) * tile + levels * a block's elements).
    """
    m, k, width, rows, tile = s.m, s.k, s.width, len(block.rows), block.tile
    step = len(tile) * (VECTOR_BYTES // a.itemsize)
    grid, room = _grid(s, rows, step, turns), (k + 4) * step
    mine, stack = scratch[worker.number, :room], scratch[worker.number, room:]
    piece = next_part(turns, worker, grid[0] * grid[1])
    while piece >= 0:
        first, last, left, right, rest = _area(s, rows, step, grid, piece)
        for number in range(left, right + rest if first < last else left):
            j = min(number * step, width - step)
            if s.ldb == step:  # they lie in one
                own = b
            else:
                own = mine
                _pack(tile, b, s.ldb, Part(first, last, j, 0, k), own)
            # zero times infinity is NaN and may not be left out
            sparse = len(marks) > 1 and _is_finite(own, k * step)
            for i in range(first, last, rows):
                at = min(i, m - rows)  # the last rows overlap those before: without marks
                marked = marks[1 + i // rows if sparse and at == i else 0]
                _tile_by_lots(block, s, a, own, c, cuts, marked, at, j, stack)
        piece = next_part(turns, worker, grid[0] * grid[1])


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
