"""Pooling that no convolution is grouped with, in buffers that are kept."""

from typing import Any

from ..layers import MaxPool2D
from ..layers.window import winner_dtype
from .compiler import parallel
from .functions import (
    average_pool_backward_into,
    average_pool_into,
    max_pool_backward_into,
    max_pool_into,
)
from .group import Array, Group
from .memory import SHARDS
from .turns import own_parts


class PoolGroup(Group):
    """Max or average pooling: its layer's loops, with buffers."""

    kernel = "window by window"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        layer: Any = self.layers[0]
        self.begin(x)
        self.dtype = x.dtype
        x = self.contiguous("x", x)
        y = self.buffer("y", (len(x), *layer.output_shape))
        where = layer.pool_size, layer.strides, layer.pads[0], layer.pads[2]
        if type(layer) is MaxPool2D:
            self.winner = self.buffer("winner", y.shape, winner_dtype(layer.pool_size))
            self.call(max_pool_into, x, y, self.winner, *where)
        else:
            self.call(average_pool_into, x, y, *where)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        layer: Any = self.layers[0]
        dx = self.dx((len(dy), *layer.input_shape), dy)
        dy = self.contiguous("dy in one", dy)
        where = layer.strides, layer.pads[0], layer.pads[2]
        if type(layer) is MaxPool2D:
            self.call(max_pool_backward_into, dy, self.winner, dx, layer.pool_size[1], *where)
        else:
            self.call(average_pool_backward_into, dy, dx, layer.pool_size, *where)
        return dx


class GlobalAverageGroup(Group):
    """The mean of each channel over the image."""

    kernel = "image by image"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.dtype = x.dtype
        n, h, w, c = x.shape
        y = self.buffer("y", (n, c))
        self.call(means, self.contiguous("x", x).reshape(-1), h * w, c, y.reshape(-1))
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        h, w, c = self.layers[0].input_shape
        dx = self.dx((len(dy), h, w, c), dy)
        flat = self.contiguous("dy in one", dy).reshape(-1)
        self.call(means_backward, flat, h * w, c, dx.reshape(-1))
        return dx


class GlobalMaxGroup(Group):
    """The largest value of each channel: a window as large as the image, and the pools' loops."""

    kernel = "image by image"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.dtype = x.dtype
        n, h, w, c = x.shape
        y = self.buffer("y", (n, 1, 1, c))
        self.winner = self.buffer("winner", y.shape, winner_dtype((h, w)))
        self.call(max_pool_into, self.contiguous("x", x), y, self.winner, (h, w), (1, 1), 0, 0)
        return y.reshape(n, c)

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        n, (h, w, c) = len(dy), self.layers[0].input_shape
        dx = self.dx((n, h, w, c), dy)
        grad = self.contiguous("dy in one", dy).reshape(n, 1, 1, c)
        self.call(max_pool_backward_into, grad, self.winner, dx, w, (1, 1), 0, 0)
        return dx


@parallel
def means(worker, x, m, c, y):
    """y (n, c) <- the means over the m rows of each of n images, x (n, m, c)."""
    n, count = y.size // c, y.dtype.type(m)
    for shard in own_parts(worker, SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            out = y[image * c : (image + 1) * c]
            out[:] = 0
            for i in range(m):
                row = x[(image * m + i) * c : (image * m + i + 1) * c]
                for k in range(c):
                    out[k] += row[k]
            for k in range(c):
                out[k] /= count


@parallel
def means_backward(worker, dy, m, c, dx):
    """dx (n, m, c) <- an equal share of dy (n, c) for each of the m rows."""
    n, count = dy.size // c, dy.dtype.type(m)
    for shard in own_parts(worker, SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            grad = dy[image * c : (image + 1) * c]
            for i in range(m):
                row = dx[(image * m + i) * c : (image * m + i + 1) * c]
                for k in range(c):
                    row[k] = grad[k] / count
