"""Layers whose kernel takes nothing along: pooling, means, dropout, softmax."""

import numpy as np

from ..kernels.geometry import winner_dtype
from ..layers import MaxPool2D
from .base import Array, Group


class Pool(Group):
    """Pooling that no convolution takes along: its layer's kernels, with buffers."""

    kernel = "window by window"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        layer = self.layers[0]
        layer.check_input(x)
        self.dtype = x.dtype
        x = self.contiguous("x", x)
        y = self.buffer("y", (len(x), *layer.output_shape))
        where = layer.pool_size, layer.strides, layer.pads[0], layer.pads[2]
        if type(layer) is MaxPool2D:
            self.winner = self.buffer("winner", y.shape, winner_dtype(layer.pool_size))
            self.fused.max_pool(x, y, self.winner, *where)
        else:
            self.fused.average_pool(x, y, *where)
        return y

    def backward(self, dy: Array, need_dx: bool) -> Array:
        layer = self.layers[0]
        dx = self.dx((len(dy), *layer.input_shape), dy)
        dy = self.contiguous("dy in one", dy)
        where = layer.strides, layer.pads[0], layer.pads[2]
        if type(layer) is MaxPool2D:
            self.fused.max_pool_backward(dy, self.winner, dx, layer.pool_size[1], *where)
        else:
            self.fused.average_pool_backward(dy, dx, layer.pool_size, *where)
        return dx


class Means(Group):
    """The mean of each channel over the image."""

    kernel = "image by image"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        self.dtype = x.dtype
        n, h, w, c = x.shape
        y = self.buffer("y", (n, c))
        self.fused.means(self.contiguous("x", x).reshape(-1), h * w, c, y.reshape(-1))
        return y

    def backward(self, dy: Array, need_dx: bool) -> Array:
        h, w, c = self.layers[0].input_shape
        dx = self.dx((len(dy), h, w, c), dy)
        flat = self.contiguous("dy in one", dy).reshape(-1)
        self.fused.means_backward(flat, h * w, c, dx.reshape(-1))
        return dx


class Dropped(Group):
    """Dropout: the layer's own draws, and its mask in the same pass as the product."""

    kernel = "mask and product in one pass"
    only_kernels = True  # in inference none

    def forward(self, x: Array, training: bool) -> Array:
        layer = self.layers[0]
        layer.check_input(x)
        self.masked = training and layer.rate > 0
        if not self.masked:
            return x
        self.dtype = x.dtype
        draws, mask = self.buffer("draws", x.shape, np.float32), self.buffer("mask", x.shape)
        y = self.buffer("y", x.shape)
        layer.rng.random(dtype=np.float32, out=draws)
        flat = self.contiguous("x", x).reshape(-1)
        outputs = mask.reshape(-1), y.reshape(-1)
        self.fused.drop(flat, draws.reshape(-1), 1 - layer.rate, *outputs)
        return y

    def backward(self, dy: Array, need_dx: bool) -> Array:
        if not self.masked:
            return dy
        dx, mask = self.dx(dy.shape, dy), self.buffer("mask", dy.shape)
        flat = self.contiguous("dy in one", dy).reshape(-1)
        self.fused.times(flat, mask.reshape(-1), dx.reshape(-1))
        return dx


class SoftmaxRows(Group):
    """Softmax; in training it is folded into the loss and does not run."""

    kernel = "row by row"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        self.dtype = x.dtype
        y = self.buffer("y", x.shape)
        self.fused.softmax(self.contiguous("x", x).reshape(-1), x.shape[-1], y.reshape(-1))
        self.layers[0].cache = y
        return y

    def backward(self, dy: Array, need_dx: bool) -> Array:
        return self.layers[0].backward(dy)
