"""The dense layer, and the ReLU after it: a matrix product that passes over zeros.

Handwritten digits are zero in four pixels of five, and a layer after a ReLU in half of its values.
Where a product is wide enough, the terms that are not zero are listed first.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import prange

from ..layers import Dense, Layer
from .compiler import inner, parallel, serial
from .group import Array, Gradients, Group
from .memory import SHARDS, VECTOR_BYTES, flat_with_slack, padded
from .simd import fma, has_nan, load, relu, store, zeros
from .target import target

#: how many terms of a product are added up at a time: b's part is then 32 KiB
TERMS = 128
#: with fewer columns to compute, to list what is not zero costs more than it saves
LIST_FROM = 256
#: tiles of as many vectors as suit the processor, and of one
WIDE, NARROW = (0,) * target().across, (0,)


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
        flat, places, counts = a.reshape(-1), None, None
        m, k = sizes.m, sizes.k
        if sparse and sizes.width >= LIST_FROM and k > 0:
            blocks, parts = -(-m // 4), -(-k // TERMS)
            places = self.buffer("places", (blocks * k,), np.int32)
            counts = self.buffer("counts", (blocks * parts,), np.int32)
            self.call(list_terms, flat.view(f"i{flat.itemsize}"), sizes, places, counts)
        if bias is None:
            bias = self.buffer("zeros", (sizes.width,))
        c = c.reshape(-1)
        self.call(product, sizes, flat, b.reshape(-1), c, bias, relu, places, counts)


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
        roomy = None if b is None else flat_with_slack(b)
        bias = self.bias(self.up) if roomy is None else roomy
        W, ldb = flat_with_slack(self.params["W"]), self.units
        if W is None:
            W, ldb = self.columns("w", self.params["W"], self.up), self.up
        y = self.buffer("y", (len(x), self.up))
        sizes = Sizes(len(x), self.d, self.up, self.d, 1, ldb, self.up)
        self.product(self.x, sizes, W, y, bias=bias, relu=self.relu, sparse=True)
        self.y = y[:, : self.units]
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        n = len(dy)
        dz, db = self.buffer("dz", (n, self.up)), self.buffer("db", (self.up,))
        flat, y = self.contiguous("dy in one", dy).reshape(-1), self.memory["y"]
        self.call(relu_gradient, flat, y, self.relu, n, self.units, self.up, dz.reshape(-1), db)
        whole = self.up == self.units
        dW = self.grads["W"] if whole else self.buffer("dw", (self.d, self.up))
        transposed = Sizes(self.d, n, self.up, 1, self.d, self.up, self.up)
        self.product(self.x, transposed, dz, dW, sparse=True)  # x.T @ dz
        if not whole:
            self.grads["W"][:] = dW[:, : self.units]
        if "b" in self.grads:
            self.grads["b"][:] = db[: self.units]
        if not need_dx:
            return None
        wt = self.transposed("wt", self.params["W"], self.dp)
        dx = self.dx((n, self.dp))  # dy is in dz
        self.product(dz, Sizes(n, self.units, self.dp, self.up, 1, self.dp, self.dp), wt, dx)
        return dx[:, : self.d]  # dz @ W.T


@parallel
def list_terms(bits, s, places, counts):
    """For every four rows of a (m, k) and every TERMS of its columns: those that are not all zero.

    places (blocks, k): the columns; counts (blocks, parts): how many of them. bits is a as
    integers: nothing but zero has none set (-0 counts as something).
    """
    m, k, row, column = s.m, s.k, s.row, s.column
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
                    at = p * column
                    # written always, counted only if not zero: no branch to mispredict
                    places[slot] = p
                    slot += (bits[p0 + at] | bits[p1 + at] | bits[p2 + at] | bits[p3 + at]) != 0
                counts[block * parts + part] = slot - first


@inner
def _is_finite(tile, b, ldb, j, start, end):
    """Whether b's rows start..end hold no NaN and no infinity in the tile's columns from j on."""
    acc, zero = zeros(tile, b), b.dtype.type(0)
    for p in range(start, end):
        acc = fma(acc, zero, load(tile, b, p * ldb + j))  # 0 * inf is NaN, and NaN stays
    return not has_nan(acc)


@inner
def _product_rows(tile, s, a, b, c, bias, rectified, places, counts, part):
    """A part of c, four rows at once. The sums so far are in c, to begin with there are the biases.

    places and counts are None, or what `list_terms` finds.
    """
    row, column, ldb, ldc, k = s.row, s.column, s.ldb, s.ldc, s.k
    start, end, j = part.start, part.end, part.j
    parts, sparse = (k + TERMS - 1) // TERMS, False
    if places is not None:  # known when this is compiled: without them the lines are not there
        # zero times infinity is NaN and may not be left out
        sparse = _is_finite(tile, b, ldb, j, start, end)
    i = part.first
    while i < part.last:
        four = i + 4 <= part.last
        p = i * row + start * column
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
                p = i * row + term * column
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
                p += column
                q += ldb
        else:
            for _ in range(start, end):
                a0 = fma(a0, a[p], load(tile, b, q))
                p += column
                q += ldb
        last = rectified and end == k
        store(c, to, relu(a0) if last else a0)
        if four:
            store(c, to + ldc, relu(a1) if last else a1)
            store(c, to + 2 * ldc, relu(a2) if last else a2)
            store(c, to + 3 * ldc, relu(a3) if last else a3)
        i += 4 if four else 1


@parallel
def product(s, a, b, c, bias, rectified, places, counts):
    """c (m, width) = a (m, k) @ b (k, width) + bias (width,), and ReLU if asked for.

    The work is split by c's longer side, so that the matrix which is larger is read once and not
    by every shard; and along k, so that a tile's part of b stays in the first cache. places and
    counts are None, or what `list_terms` finds in a: the same sums, zeros left out.
    """
    lane = VECTOR_BYTES // a.itemsize
    m, k, width, row, column, ldb, ldc = s
    step = len(WIDE) * lane
    blocks, tiles = (m + 3) // 4, (width + step - 1) // step
    for shard in prange(SHARDS):
        first, last, left, right = 0, m, 0, tiles
        if width > m:
            left, right = shard * tiles // SHARDS, (shard + 1) * tiles // SHARDS
        else:
            first = min(shard * blocks // SHARDS * 4, m)
            last = min((shard + 1) * blocks // SHARDS * 4, m)
        for number in range(left, right):
            for start in range(0, max(k, 1), TERMS):
                end, j = min(start + TERMS, k), number * step
                # packed anew: one from outside the parallel loop is read from memory, 4 % slower
                sizes = Sizes(m, k, width, row, column, ldb, ldc)
                if j + step <= width:
                    part = Part(first, last, j, start, end)
                    _product_rows(WIDE, sizes, a, b, c, bias, rectified, places, counts, part)
                    continue
                while j < width:
                    part = Part(first, last, j, start, end)
                    _product_rows(NARROW, sizes, a, b, c, bias, rectified, places, counts, part)
                    j += lane


@serial
def relu_gradient(dy, y, rectified, n, units, wide, dz, db):
    """dz (n, wide) <- dy (n, units) where y (n, wide) > 0, or everywhere; db (wide,) <- its sums.

    Columns beyond the units become zero.
    """
    db[:] = 0
    for i in range(n):
        grad, row = dy[i * units : (i + 1) * units], y[i * wide : (i + 1) * wide]
        out = dz[i * wide : (i + 1) * wide]
        for k in range(units):
            out[k] = grad[k] if row[k] > 0 or not rectified else grad.dtype.type(0)
        out[units:] = 0
        for k in range(units):
            db[k] += out[k]
