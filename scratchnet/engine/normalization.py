"""Batch normalization, and the ReLU after it: the group and its loops."""

from collections.abc import Sequence

import numpy as np
from numba import prange

from ..layers import BatchNorm, Layer
from .compiler import parallel
from .group import Array, Gradients, Group
from .memory import SHARDS


class BatchNormRelu(Group):
    """Batch normalization, and the ReLU after it if there is one."""

    kernel = "normalized and rectified in one pass"

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.relu = len(layers) > 1
        self.c = layers[0].input_shape[-1]

    def forward(self, x: Array, training: bool) -> Array:
        layer = self.layers[0]
        assert isinstance(layer, BatchNorm)
        self.begin(x)
        rows = self.contiguous("x", x).reshape(-1, self.c)  # (m, c)
        m = len(rows)
        mu, var = layer.buffers["running_mean"], layer.buffers["running_var"]
        self.from_batch = training and m > 0
        one = np.ones((2, self.c), self.dtype)
        if self.from_batch:
            # deviations from the first row, not from zero: no digits are lost where mean >> spread
            sums = self.buffer("sums", (SHARDS, 2, self.c))
            start = rows[0].copy()
            self.call(channel_sums, rows, rows, False, start, one[0], one, sums)
            off, square = self.total("sums", sums) / m
            # rounding may leave a variance of nothing a little below zero
            found = start + off, np.maximum(square - off**2, 0)
            mu += (1 - layer.momentum) * (found[0] - mu)
            var += (1 - layer.momentum) * (found[1] - var)
            mu, var = found
        self.x, self.mu = rows, mu.copy()
        self.s = 1 / np.sqrt(var + self.dtype.type(layer.epsilon))
        y = self.buffer("y", x.shape)
        gamma, beta = self.params["gamma"], self.params["beta"]
        # what backward needs to know which units were alive
        self.gate = np.stack([gamma, beta]) if self.relu else one
        if not self.relu:
            self.gate[0] = 0
        self.call(normalize, rows, self.mu, self.s, gamma, beta, self.relu, y.reshape(-1, self.c))
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        rows = self.contiguous("dy in one", dy).reshape(-1, self.c)
        m = max(len(rows), 1)
        sums = self.buffer("sums", (SHARDS, 2, self.c))
        self.call(channel_sums, rows, self.x, True, self.mu, self.s, self.gate, sums)
        dbeta, dgamma = self.total("sums", sums)
        self.grads["gamma"][:], self.grads["beta"][:] = dgamma, dbeta
        dx = self.dx(dy.shape, rows)
        part = self.dtype.type(1 / m if self.from_batch else 0)
        scale = self.params["gamma"] * self.s
        self.call(
            normalize_backward,
            rows,
            self.x,
            self.mu,
            self.s,
            self.gate,
            scale,
            dbeta * part,
            dgamma * part,
            dx.reshape(-1, self.c),
        )
        return dx


@parallel
def channel_sums(x, y, use_y, mu, s, relu, sums):
    """Sums over the rows of x (m, c), in parts: sums (SHARDS, 2, c).

    Without use_y: of x - mu, and of (x - mu)^2. With it x is dy, y the layer's input: the sums of
    dy and of dy * x_hat, x_hat = (y - mu) * s; with relu only where the ReLU was alive, which
    `relu` (2, c), gamma and beta, tells: gamma * x_hat + beta > 0.
    """
    m, c = x.shape
    for shard in prange(SHARDS):
        first, second = sums[shard, 0], sums[shard, 1]
        first[:] = 0
        second[:] = 0
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            row = x[i]
            if use_y:
                inputs = y[i]
                for k in range(c):
                    x_hat = (inputs[k] - mu[k]) * s[k]
                    grad = row[k] if relu[0, k] * x_hat + relu[1, k] > 0 else row.dtype.type(0)
                    first[k] += grad
                    second[k] += grad * x_hat
            else:
                for k in range(c):
                    d = row[k] - mu[k]
                    first[k] += d
                    second[k] += d * d


@parallel
def normalize(x, mu, s, gamma, beta, relu, y):
    """y (m, c) = gamma * (x - mu) * s + beta, and ReLU if asked for."""
    m, c = x.shape
    for shard in prange(SHARDS):
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            row, out = x[i], y[i]
            if relu:
                for k in range(c):
                    value = gamma[k] * ((row[k] - mu[k]) * s[k]) + beta[k]
                    out[k] = row.dtype.type(0) if value <= 0 else value
            else:
                for k in range(c):
                    out[k] = gamma[k] * ((row[k] - mu[k]) * s[k]) + beta[k]


@parallel
def normalize_backward(dy, x, mu, s, relu, scale, mean, along, dx):
    """dx (m, c) = scale * (dy - mean - x_hat * along), dy only where the ReLU was alive."""
    m, c = x.shape
    for shard in prange(SHARDS):
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            grad, row, out = dy[i], x[i], dx[i]
            for k in range(c):
                x_hat = (row[k] - mu[k]) * s[k]
                g = grad[k] if relu[0, k] * x_hat + relu[1, k] > 0 else grad.dtype.type(0)
                out[k] = scale[k] * (g - mean[k] - x_hat * along[k])
