"""The layers of LeNet-5 as it was in 1998 (layers/lenet.py): groups and their loops."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..layers import Layer
from ..layers.lenet import AMPLITUDE, SLOPE
from .compiler import parallel, serial
from .conv import ConvRelu
from .functions import sum_rows_into
from .group import Array, Gradients, Group
from .memory import SHARDS
from .sums import first_of
from .turns import own_parts


class ScaledTanhGroup(Group):
    """A ScaledTanh, forward and backward in one pass each."""

    kernel = "one pass"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.dtype = x.dtype
        self.y, flat = self.buffer("y", x.shape), self.contiguous("x", x).reshape(-1)
        self.call(bend, flat, self.y.reshape(-1))
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        dx, flat = self.dx(dy.shape, dy), self.contiguous("dy in one", dy).reshape(-1)
        self.call(bend_backward, flat, self.y.reshape(-1), dx.reshape(-1))
        return dx


class SubsamplingGroup(Group):
    """A Subsampling2D."""

    kernel = "window by window"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        layer: Any = self.layers[0]
        self.begin(x)
        shape = len(x), *layer.output_shape
        self.s, y = self.buffer("s", shape), self.buffer("y", shape)
        params = self.params["W"], self.params["b"]
        self.call(subsample, self.contiguous("x", x), layer.pool_size, *params, self.s, y)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        layer: Any = self.layers[0]
        n, c, shards = len(dy), dy.shape[3], self.shards(len(dy))
        dx = self.dx((len(dy), *layer.input_shape), dy)
        dy = self.contiguous("dy in one", dy)
        dw, db = self.buffer("dw", (shards, c)), self.buffer("db", (shards, c))
        self.call(products, self.s.reshape(-1), dy.reshape(-1), n, dw)
        self.call(sum_rows_into, dy.reshape(-1, c), n, db)
        self.grads["W"][:] = self.total("dw", dw)
        self.grads["b"][:] = self.total("db", db)
        self.call(subsample_backward, dy, layer.pool_size, self.params["W"], dx)
        return dx


class ConnectedGroup(ConvRelu):
    """A ConnectedConv2D: a convolution whose weights are zero where the table has no entry."""

    kernel = "four positions at a time, zeros between the connections"

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        own: Any = layers[0]
        self.own, shape = own, (*own.kernel_size, self.c, self.f)
        self.full, self.dfull = self.buffer("full", shape), self.buffer("dfull", shape)
        #: where each window's weights are among those of a tap, (c, f)
        self.places = (own.reads * self.f + own.makes).astype(np.int64)

    def forward(self, x: Array, training: bool) -> Array:
        self.params = {**self.own.params, "W": self.full}
        own = self.own.params["W"].reshape(-1)
        self.call(put, own, self.places, self.full.reshape(-1), self.c * self.f)
        return super().forward(x, training)

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        self.grads = {**self.own.grads, "W": self.dfull}
        dx = super().backward(dy, need_dx)
        own = self.own.grads["W"].reshape(-1)
        self.call(pick, self.dfull.reshape(-1), self.places, own, self.c * self.f)
        return dx


@parallel
def bend(worker, x, y):
    """y = A tanh(S x)."""
    a, s = y.dtype.type(AMPLITUDE), y.dtype.type(SLOPE)
    for shard in own_parts(worker, SHARDS):
        first, last = shard * x.size // SHARDS, (shard + 1) * x.size // SHARDS
        source, out = x[first:last], y[first:last]
        for k in range(last - first):
            out[k] = a * np.tanh(s * source[k])


@parallel
def bend_backward(worker, dy, y, dx):
    """dx = (S / A) (A - y) (A + y) dy."""
    a, s = y.dtype.type(AMPLITUDE), y.dtype.type(SLOPE)
    for shard in own_parts(worker, SHARDS):
        first, last = shard * y.size // SHARDS, (shard + 1) * y.size // SHARDS
        grad, value, out = dy[first:last], y[first:last], dx[first:last]
        for k in range(last - first):
            out[k] = s / a * (a - value[k]) * (a + value[k]) * grad[k]


@parallel
def subsample(worker, x, window, w, b, s, y):
    """s (n, out_h, out_w, c) <- the sums of x's windows; y = w s + b."""
    n, out_h, out_w, c = y.shape
    kh, kw = window
    for shard in own_parts(worker, SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            for i in range(out_h):
                for j in range(out_w):
                    total, out = s[image, i, j], y[image, i, j]
                    total[:] = 0
                    for u in range(kh):
                        for v in range(kw):
                            pixel = x[image, i * kh + u, j * kw + v]
                            for k in range(c):
                                total[k] += pixel[k]
                    for k in range(c):
                        out[k] = w[k] * total[k] + b[k]


@parallel
def products(worker, s, dy, n, dw):
    """dw (shards, c) <- s and dy (m, c), of n images: parts of each channel's sum of s * dy."""
    shards, c = dw.shape
    m = s.size // c // max(n, 1)
    for shard in own_parts(worker, shards):
        mine = dw[shard]
        mine[:] = 0
        for i in range(m * first_of(n, shards, shard), m * first_of(n, shards, shard + 1)):
            one, other = s[i * c : (i + 1) * c], dy[i * c : (i + 1) * c]
            for k in range(c):
                mine[k] += one[k] * other[k]


@parallel
def subsample_backward(worker, dy, window, w, dx):
    """dx (n, h, w, c) <- w dy at every pixel of the window, 0 where there is none."""
    n, out_h, out_w, c = dy.shape
    kh, kw = window
    for shard in own_parts(worker, SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            dx[image] = 0
            for i in range(out_h):
                for j in range(out_w):
                    grad = dy[image, i, j]
                    for u in range(kh):
                        for v in range(kw):
                            pixel = dx[image, i * kh + u, j * kw + v]
                            for k in range(c):
                                pixel[k] = w[k] * grad[k]


@serial
def put(own, places, full, size):
    """full (taps, size) <- own (taps, k) at their places; the rest stays zero."""
    count = places.size
    for tap in range(own.size // count):
        for k in range(count):
            full[tap * size + places[k]] = own[tap * count + k]


@serial
def pick(full, places, own, size):
    """own (taps, k) <- full (taps, size) at their places."""
    count = places.size
    for tap in range(own.size // count):
        for k in range(count):
            own[tap * count + k] = full[tap * size + places[k]]
