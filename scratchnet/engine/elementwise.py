"""Layers of one pass over their values: rectifiers, dropout, softmax; Flatten moves nothing.

The other activations are in curves.py.
"""

from typing import Any

import numpy as np

from .compiler import inner, parallel, serial
from .exponential import exp, log
from .functions import relu_into
from .group import Array, Group
from .memory import SHARDS
from .turns import own_parts


class ReLUGroup(Group):
    """A ReLU after a layer that no other group has it with."""

    kernel = "one pass"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.dtype = x.dtype
        self.y = self.buffer("y", x.shape)
        self.call(relu_into, self.contiguous("x", x).reshape(-1), self.y.reshape(-1))
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        return self.where_alive(dy, self.y)


class LeakyReLUGroup(Group):
    """A LeakyReLU, forward and backward by the same loop: x * 1 or * slope, by a gate's sign."""

    kernel = "one pass"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        layer: Any = self.layers[0]
        self.begin(x)
        self.dtype, self.slope = x.dtype, x.dtype.type(layer.slope)
        self.y, flat = self.buffer("y", x.shape), self.contiguous("x", x).reshape(-1)
        self.call(leak, flat, flat, self.slope, self.y.reshape(-1))
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        dx, flat = self.dx(dy.shape, dy), self.contiguous("dy in one", dy).reshape(-1)
        self.call(leak, flat, self.y.reshape(-1), self.slope, dx.reshape(-1))
        return dx


class DropoutGroup(Group):
    """Dropout: the layer's own draws, and its mask in the same pass as the product."""

    kernel = "mask and product in one pass"
    only_kernels = True  # in inference none

    def forward(self, x: Array, training: bool) -> Array:
        layer: Any = self.layers[0]
        self.begin(x)
        self.masked = training and layer.rate > 0
        if not self.masked:
            return x
        self.dtype = x.dtype
        draws, mask = self.buffer("draws", x.shape, np.float32), self.buffer("mask", x.shape)
        y = self.buffer("y", x.shape)
        self.share.draw(layer.rng, draws)
        flat = self.contiguous("x", x).reshape(-1)
        outputs = mask.reshape(-1), y.reshape(-1)
        self.call(drop, flat, draws.reshape(-1), 1 - layer.rate, *outputs)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        if not self.masked:
            return dy
        dx, mask = self.dx(dy.shape, dy), self.buffer("mask", dy.shape)
        flat = self.contiguous("dy in one", dy).reshape(-1)
        self.call(times, flat, mask.reshape(-1), dx.reshape(-1))
        return dx


class GaussianNoiseGroup(Group):
    """GaussianNoise: the layer's own draws; what is added to x has no part in the gradient."""

    kernel = "draws and sum in one pass"
    only_kernels = True  # in inference none

    def forward(self, x: Array, training: bool) -> Array:
        layer: Any = self.layers[0]
        self.begin(x)
        if not training or layer.stddev == 0:
            return x
        self.dtype = x.dtype
        draws, y = self.buffer("draws", x.shape, np.float32), self.buffer("y", x.shape)
        self.share.draw_normal(layer.rng, draws)
        flat, stddev = self.contiguous("x", x).reshape(-1), x.dtype.type(layer.stddev)
        self.call(add_scaled, flat, draws.reshape(-1), stddev, y.reshape(-1))
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        return dy


class SoftmaxGroup(Group):
    """Softmax; in training it is folded into the loss and does not run."""

    kernel = "row by row"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.dtype = x.dtype
        y = self.buffer("y", x.shape)
        self.call(softmax, self.contiguous("x", x).reshape(-1), x.shape[-1], y.reshape(-1))
        self.y = y
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        y = self.y
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


class LogSoftmaxGroup(Group):
    """LogSoftmax, forward and backward row by row."""

    kernel = "row by row"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.dtype = x.dtype
        self.y = self.buffer("y", x.shape)
        flat = self.contiguous("x", x).reshape(-1)
        self.call(log_softmax, flat, x.shape[-1], self.y.reshape(-1))
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        dx, flat = self.dx(dy.shape, dy), self.contiguous("dy in one", dy).reshape(-1)
        y, k = self.y.reshape(-1), dy.shape[-1]
        self.call(log_softmax_backward, flat, y, k, dx.reshape(-1))
        return dx


class FlattenGroup(Group):
    """Another shape for the same memory."""

    kernel = "no kernel: the same memory in another shape"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        return x.reshape(len(x), *self.layers[0].output_shape)  # (n, h, w, c) -> (n, h*w*c)

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        return dy.reshape(len(dy), *self.layers[0].input_shape)  # (n, h*w*c) -> (n, h, w, c)


@parallel
def leak(worker, a, gate, slope, out):
    """out = a where gate > 0, slope * a elsewhere."""
    for shard in own_parts(worker, SHARDS):
        first, last = shard * a.size // SHARDS, (shard + 1) * a.size // SHARDS
        source, sign, result = a[first:last], gate[first:last], out[first:last]
        for k in range(last - first):
            result[k] = source[k] if sign[k] > 0 else slope * source[k]


@parallel
def drop(worker, x, draws, keep, mask, y):
    """mask <- 1 / keep where the number drawn from 0..1 is below keep, else 0; y = x * mask."""
    zero, scale = x.dtype.type(0), x.dtype.type(1 / keep)
    for shard in own_parts(worker, SHARDS):
        first, last = shard * x.size // SHARDS, (shard + 1) * x.size // SHARDS
        source, drawn, gate, out = x[first:last], draws[first:last], mask[first:last], y[first:last]
        for k in range(last - first):
            gate[k] = scale if drawn[k] < np.float32(keep) else zero
            out[k] = source[k] * gate[k]


@parallel
def add_scaled(worker, a, b, scale, out):
    """out = a + scale * b, element by element."""
    for shard in own_parts(worker, SHARDS):
        first, last = shard * a.size // SHARDS, (shard + 1) * a.size // SHARDS
        one, other, total = a[first:last], b[first:last], out[first:last]
        for k in range(last - first):
            total[k] = one[k] + scale * other[k]


@parallel
def times(worker, a, b, out):
    """out = a * b, element by element."""
    for shard in own_parts(worker, SHARDS):
        first, last = shard * a.size // SHARDS, (shard + 1) * a.size // SHARDS
        one, other, product_ = a[first:last], b[first:last], out[first:last]
        for k in range(last - first):
            product_[k] = one[k] * other[k]


@inner
def exponentials(row, out):
    """out <- exp(row - the largest of it); that largest one, and the sum."""
    largest = row[0]
    for j in range(1, row.size):
        largest = max(largest, row[j])
    total = row.dtype.type(0)
    for j in range(row.size):
        out[j] = exp(row[j] - largest)
    for j in range(row.size):
        total += out[j]
    return largest, total


@serial
def softmax(x, k, y):
    """y = exp(x) / sum exp(x) for every k values, the largest subtracted first as in Softmax."""
    for i in range(x.size // k):
        row, out = x[i * k : (i + 1) * k], y[i * k : (i + 1) * k]
        largest, total = exponentials(row, out)
        for j in range(k):
            out[j] /= total


@serial
def log_softmax(x, k, y):
    """y = x - log sum exp(x) for every k values, the largest subtracted first."""
    for i in range(x.size // k):
        row, out = x[i * k : (i + 1) * k], y[i * k : (i + 1) * k]
        largest, total = exponentials(row, out)
        log_sum = log(total)
        for j in range(k):
            out[j] = (row[j] - largest) - log_sum


@serial
def log_softmax_backward(dy, y, k, dx):
    """dx = dy - exp(y) * sum dy for every k values."""
    for i in range(dy.size // k):
        grad, row, out = dy[i * k : (i + 1) * k], y[i * k : (i + 1) * k], dx[i * k : (i + 1) * k]
        total = grad.dtype.type(0)
        for j in range(k):
            total += grad[j]
        for j in range(k):
            out[j] = grad[j] - exp(row[j]) * total
