"""Convolutions of any stride, and the ReLU after them: the group and its loops.

Forward, four positions side by side; no patches are copied (im2col), since a row of a window is
contiguous in memory as it is. conv_pool.py and winograd.py have the other ways to run a Conv2D.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from numba import prange

from ..layers import Layer
from .compiler import inner, parallel
from .functions import sum_rows_into
from .group import Array, Gradients, Group
from .memory import SHARDS, SLACK, VECTOR_BYTES, lanes, padded
from .simd import add_rows, fma, load, store, store_relu, zeros
from .target import target


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


def tile_for(filters: int, dtype: Any) -> tuple[int, ...]:
    """The widest tile, of at most 4 vectors, that divides the padded filters; as a tuple."""
    vectors, most = padded(filters, dtype) // lanes(dtype), target().across
    return (0,) * next(width for width in range(most, 0, -1) if vectors % width == 0)


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

    def weights(self) -> Array:
        """W as a matrix (kh * run, fp), flat."""
        return self.columns("w", self.params["W"].reshape(-1, self.f), self.fp).reshape(-1)

    def filters_by_row(self, filters: int) -> Array:
        """W filter by filter, each row in whole vectors: (filters, kh, runp), zeros after."""
        wt = self.buffer("wt", (filters, self.kh, self.runp))
        W = self.params["W"].reshape(self.kh, self.run, self.f)
        wt[: self.f, :, : self.run] = W.transpose(2, 0, 1)  # (kh, run, f) -> (f, kh, run)
        return wt.reshape(-1)

    def inside(self) -> Inside:
        top, _, left, _ = self.pads
        return Inside((top * self.w + left) * self.c, self.image[0], self.image[1] * self.c)


class ConvRelu(ConvGroup):
    """A convolution of any stride, and the ReLU after it if there is one."""

    kernel = "four positions at a time, no im2col"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.relu = len(layers) > 1
        self.tile = tile_for(self.f, self.dtype)
        self.dx_tile = tile_for(self.runp, self.dtype)

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.x = self.contiguous("x", self.framed(x, self.pads))
        self.at = self.geometry(len(x))
        y = self.buffer("y", (len(x), self.out_h, self.out_w, self.fp))
        outputs = self.bias(self.fp), y.reshape(-1), self.relu
        self.call(conv, self.at, self.tile, self.x.reshape(-1), self.weights(), *outputs)
        self.y = self.narrow("narrow", y, self.f)
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        n, f, fp = self.at.n, self.f, self.fp
        if self.relu:
            dy = self.where_alive(dy, self.y)
        wide = self.columns("dy", dy.reshape(-1, f), fp)
        dw = self.buffer("dw", (SHARDS, self.kh * self.run * fp))
        self.call(conv_weights, self.at, self.tile, self.x.reshape(-1), wide.reshape(-1), dw)
        self.grads["W"].reshape(-1, f)[:] = self.total("dw", dw).reshape(-1, fp)[:, :f]
        if "b" in self.grads:
            db = self.buffer("db", (SHARDS, fp))
            self.call(sum_rows_into, wide.reshape(-1, fp), db)
            self.grads["b"][:] = self.total("db", db)[:f]
        if not need_dx:
            return None
        flat = self.contiguous("dy in one", dy).reshape(-1)
        dx = self.dx((n, *self.image), flat)
        scratch = self.buffer("image_dx", (SHARDS, self.at.size + SLACK))
        weights, inside = self.filters_by_row(f), self.inside()
        self.call(
            conv_inputs, self.at, self.dx_tile, flat, f, weights, scratch, dx.reshape(-1), inside
        )
        return dx


# ---- forward -----------------------------------------------------------------------------------


@inner
def _conv_row(g, tile, x, at, w, bias, y, to, relu):
    step = len(tile) * (VECTOR_BYTES // x.itemsize)
    fp, right = g.fp, g.right
    j = 0
    while j < g.out_w:
        # four positions side by side; the last four may overlap those before
        four = g.out_w >= 4
        if four:
            j = min(j, g.out_w - 4)
        start = at + j * right
        out = to + j * fp
        for f in range(0, fp, step):
            a0 = load(tile, bias, f)
            a1, a2, a3 = a0, a0, a0
            tap = f
            for u in range(g.kh):
                p = start + u * g.row
                if four:
                    for k in range(g.run):
                        weights = load(tile, w, tap)
                        a0 = fma(a0, x[p + k], weights)
                        a1 = fma(a1, x[p + k + right], weights)
                        a2 = fma(a2, x[p + k + 2 * right], weights)
                        a3 = fma(a3, x[p + k + 3 * right], weights)
                        tap += fp
                else:
                    for k in range(g.run):
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


@parallel
def conv(g, tile, x, w, bias, y, relu):
    """y (n, out_h, out_w, fp) <- x, framed images; w (kh * run, fp), bias (fp,); ReLU if asked."""
    rows = g.n * g.out_h
    for shard in prange(SHARDS):
        for unit in range(shard * rows // SHARDS, (shard + 1) * rows // SHARDS):
            image, i = unit // g.out_h, unit % g.out_h
            to = unit * g.out_w * g.fp
            _conv_row(g, tile, x, image * g.size + i * g.down, w, bias, y, to, relu)


# ---- backward ----------------------------------------------------------------------------------


@inner
def _conv_weights_image(g, tile, x, at, dy, to, dw):
    """dw (kh * run, fp) += the patches of one image, transposed, times its dy; four taps a time."""
    step = len(tile) * (VECTOR_BYTES // x.itemsize)
    run, fp = g.run, g.fp
    for u in range(g.kh):
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
                    for i in range(g.out_h):
                        p = at + i * g.down + u * g.row + k
                        q = to + i * g.out_w * fp + f
                        for _ in range(g.out_w):
                            grad = load(tile, dy, q)
                            a0 = fma(a0, x[p], grad)
                            a1 = fma(a1, x[p + 1], grad)
                            a2 = fma(a2, x[p + 2], grad)
                            a3 = fma(a3, x[p + 3], grad)
                            p += g.right
                            q += fp
                    store(dw, tap + fp, a1)
                    store(dw, tap + 2 * fp, a2)
                    store(dw, tap + 3 * fp, a3)
                else:
                    for i in range(g.out_h):
                        p = at + i * g.down + u * g.row + k
                        q = to + i * g.out_w * fp + f
                        for _ in range(g.out_w):
                            a0 = fma(a0, x[p], load(tile, dy, q))
                            p += g.right
                            q += fp
                store(dw, tap, a0)
            k += 4 if four else 1


@parallel
def conv_weights(g, tile, x, dy, dw):
    """dw (SHARDS, kh * run * fp) <- x, dy (n, out_h, out_w, fp): the gradient of conv's weights."""
    for shard in prange(SHARDS):
        mine = dw[shard]
        mine[:] = 0
        for image in range(shard * g.n // SHARDS, (shard + 1) * g.n // SHARDS):
            to = image * g.out_h * g.out_w * g.fp
            _conv_weights_image(g, tile, x, image * g.size, dy, to, mine)


@inner
def _spread_all(g, tile, dy, at, filters, wt, dx):
    """dx += each gradient times its filter, laid over the patch that it came from."""
    step = len(tile) * (VECTOR_BYTES // dy.itemsize)
    rows, positions, out_w = (0,), g.out_h * g.out_w, g.out_w
    for u in range(g.kh):
        for v in range(0, g.runp, step):
            # four positions side by side; what the last ones lack is computed for nothing
            for first in range(0, positions, 4):
                p0 = first
                p1, p2 = min(first + 1, positions - 1), min(first + 2, positions - 1)
                p3 = min(first + 3, positions - 1)
                a0 = zeros(tile, dx)
                a1, a2, a3 = a0, a0, a0
                tap = u * g.runp + v
                for k in range(filters):
                    weights = load(tile, wt, tap)
                    a0 = fma(a0, dy[at + p0 * filters + k], weights)
                    a1 = fma(a1, dy[at + p1 * filters + k], weights)
                    a2 = fma(a2, dy[at + p2 * filters + k], weights)
                    a3 = fma(a3, dy[at + p3 * filters + k], weights)
                    tap += g.kh * g.runp
                to, row = u * g.row + v, g.row
                add_rows(a0, rows, dx, to + p0 // out_w * g.down + p0 % out_w * g.right, row)
                if first + 1 < positions:
                    add_rows(a1, rows, dx, to + p1 // out_w * g.down + p1 % out_w * g.right, row)
                if first + 2 < positions:
                    add_rows(a2, rows, dx, to + p2 // out_w * g.down + p2 % out_w * g.right, row)
                if first + 3 < positions:
                    add_rows(a3, rows, dx, to + p3 // out_w * g.down + p3 % out_w * g.right, row)


@parallel
def conv_inputs(g, tile, dy, filters, wt, image_dx, dx, inside):
    """dx (n, h, w, c) <- dy (n, out_h, out_w, filters), wt (filters, kh, runp).

    Scratch: image_dx (SHARDS, size + SLACK), a framed image for each shard.
    """
    for shard in prange(SHARDS):
        mine = image_dx[shard]
        for image in range(shard * g.n // SHARDS, (shard + 1) * g.n // SHARDS):
            mine[:] = 0
            _spread_all(g, tile, dy, image * g.out_h * g.out_w * filters, filters, wt, mine)
            copy_inside(g, mine, inside, dx, image * inside.h * inside.run)


@inner
def copy_inside(g, framed, inside, out, to):
    """out[to:] <- the image without its frame."""
    run = inside.run
    for i in range(inside.h):
        source = framed[inside.start + i * g.row :]
        row = out[to + i * run : to + (i + 1) * run]
        for k in range(run):
            row[k] = source[k]
