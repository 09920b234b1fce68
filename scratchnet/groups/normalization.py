"""Batch normalization and the ReLU behind it."""

from collections.abc import Sequence

import numpy as np

from ..kernels.memory import SHARDS
from ..layers import Layer
from .base import Array, Gradients, Group


class BatchNormRelu(Group):
    """Batch normalization, and the ReLU behind it if there is one."""

    kernel = "normalized and rectified in one pass"

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.relu = len(layers) > 1
        self.c = layers[0].input_shape[-1]

    def forward(self, x: Array, training: bool) -> Array:
        layer = self.layers[0]
        layer.check_input(x)
        rows = self.contiguous("x", x).reshape(-1, self.c)  # (m, c)
        m = len(rows)
        mu, var = layer.buffers["running_mean"], layer.buffers["running_var"]
        self.from_batch = training and m > 0
        one = np.ones((2, self.c), self.dtype)
        if self.from_batch:
            # deviations from the first row, not from zero: no digits are lost where mean >> spread
            sums = self.buffer("sums", (SHARDS, 2, self.c))
            start = rows[0].copy()
            self.fused.channel_sums(rows, rows, False, start, one[0], one, sums)
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
        self.fused.normalize(rows, self.mu, self.s, gamma, beta, self.relu, y.reshape(-1, self.c))
        return y

    def backward(self, dy: Array, need_dx: bool) -> Array | None:
        rows = self.contiguous("dy in one", dy).reshape(-1, self.c)
        m = max(len(rows), 1)
        sums = self.buffer("sums", (SHARDS, 2, self.c))
        self.fused.channel_sums(rows, self.x, True, self.mu, self.s, self.gate, sums)
        dbeta, dgamma = self.total("sums", sums)
        self.grads["gamma"][:], self.grads["beta"][:] = dgamma, dbeta
        dx = self.dx(dy.shape, rows)
        part = self.dtype.type(1 / m if self.from_batch else 0)
        scale = self.params["gamma"] * self.s
        self.fused.normalize_backward(
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
