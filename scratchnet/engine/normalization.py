"""Batch normalization with the ReLU after it, and layer normalization: groups and their loops."""

from collections.abc import Sequence

import numpy as np
from numba import prange

from ..layers import BatchNorm, Layer, LayerNorm
from .compiler import inner, parallel, serial
from .group import Array, Gradients, Group
from .memory import SHARDS

#: rows whose mean and squares are taken together
BLOCK = 64


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
        mu, var = layer.buffers["running_mean"], layer.buffers["running_var"]
        self.from_batch = training and layer.trainable and len(rows) > 0
        if self.from_batch:
            found = self._moments(rows)
            mu += (1 - layer.momentum) * (found[0] - mu)
            var += (1 - layer.momentum) * (found[1] - var)
            mu, var = found
        self.x, self.mu = rows, mu.copy()
        self.s = 1 / np.sqrt(var + self.dtype.type(layer.epsilon))
        y = self.buffer("y", x.shape)
        # what backward needs to know which units were alive
        self.gamma, self.beta = self.params["gamma"].copy(), self.params["beta"].copy()
        scales = self.mu, self.s, self.gamma, self.beta
        self.call(normalize, rows, *scales, self.relu, y.reshape(-1, self.c))
        return y

    def _moments(self, rows: Array) -> tuple[Array, Array]:
        """Mean and variance of each channel: the shards' own, put together in float64."""
        sums = self.buffer("moments", (SHARDS, 2, self.c), np.float64)
        mu, var = self.buffer("mu", (self.c,)), self.buffer("var", (self.c,))
        self.call(moments, rows, sums)
        self.call(put_together, sums, len(rows), mu, var)
        return mu, var

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        rows = self.contiguous("dy in one", dy).reshape(-1, self.c)
        m = max(len(rows), 1)
        sums = self.buffer("sums", (SHARDS, 2, self.c), np.float64)
        scales = self.mu, self.s, self.gamma, self.beta
        self.call(gradient_sums, rows, self.x, *scales, self.relu, sums)
        dbeta, dgamma = sums.sum(axis=0)
        self.grads["gamma"][:], self.grads["beta"][:] = dgamma, dbeta
        if not need_dx:
            return None
        dx = self.dx(dy.shape, rows)
        out = dx.reshape(-1, self.c)
        if self.from_batch:
            means = (dbeta / m).astype(self.dtype), (dgamma / m).astype(self.dtype)
            self.call(normalize_backward, rows, self.x, *scales, self.relu, *means, out)
        else:  # mean and variance are constants: every image for itself
            self.call(scale_backward, rows, self.x, *scales, self.relu, out)
        return dx


class LayerNormGroup(Group):
    """Layer normalization: a row's mean and variance, and its values, while it is in the cache."""

    kernel = "row by row"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        layer = self.layers[0]
        assert isinstance(layer, LayerNorm)
        self.begin(x)
        gamma, beta = (self.contiguous(key, self.params[key]) for key in ("gamma", "beta"))
        k = gamma.size
        self.x = self.contiguous("x", x).reshape(-1, k)  # (m, k)
        self.scales = self.buffer("scales", (len(self.x), 2))
        y = self.buffer("y", x.shape)
        given = self.x, layer.epsilon, gamma.reshape(-1), beta.reshape(-1)
        self.call(normalize_rows, *given, self.scales, y.reshape(-1, k))
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        gamma = self.contiguous("gamma", self.params["gamma"]).reshape(-1)
        k = gamma.size
        dx, rows = self.dx(dy.shape, dy), self.contiguous("dy in one", dy).reshape(-1, k)
        parts = self.buffer("parts", (SHARDS, 2, k), np.float64)
        given = rows, self.x, gamma, self.scales
        self.call(normalize_rows_backward, *given, parts, dx.reshape(-1, k))
        sums = self.buffer("sums", (2, *self.params["gamma"].shape))
        self.call(add_parts, parts, sums.reshape(2, k))
        self.grads["gamma"][:], self.grads["beta"][:] = sums
        return dx if need_dx else None


@parallel
def moments(x, sums):
    """sums (SHARDS, 2, c) <- of each shard's rows of x (m, c), the sum and sum (x - mean)^2.

    The rows of a block are read twice while they are in the first cache: for its mean, and for the
    squares about that. Two blocks' squares about their own means become those about the common one
    by adding n_a n_b / (n_a + n_b) (mean_a - mean_b)^2. So no digits are lost, whatever the values
    are. Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", 1.3.
    """
    m, c = x.shape
    for shard in prange(SHARDS):
        first, second = sums[shard, 0], sums[shard, 1]
        first[:] = 0
        second[:] = 0
        total, squares = np.empty(c, np.float64), np.empty(c, np.float64)
        begin, end = shard * m // SHARDS, (shard + 1) * m // SHARDS
        for start in range(begin, end, BLOCK):
            stop = min(start + BLOCK, end)
            _block_moments(x, start, stop, total, squares)
            before, here = np.float64(start - begin), np.float64(stop - start)
            for k in range(c):
                if start > begin:
                    apart = first[k] / before - total[k] / here
                    squares[k] += before * here / (before + here) * apart * apart
                first[k] += total[k]
                second[k] += squares[k]


@serial
def put_together(sums, m, mu, var):
    """mu, var (c,) <- of all m rows, from what `moments` found of each shard's."""
    shards, _, c = sums.shape
    for k in range(c):
        total = 0.0
        for shard in range(shards):
            total += sums[shard, 0, k]
        mean, squares = total / m, 0.0
        for shard in range(shards):
            count = (shard + 1) * m // shards - shard * m // shards
            squares += sums[shard, 1, k]
            if count > 0:
                apart = sums[shard, 0, k] / count - mean
                squares += count * apart * apart
        mu[k], var[k] = mean, squares / m


@inner
def _block_moments(x, start, stop, total, squares):
    """total, squares <- the sum of those rows, and the sum of (x - their mean)^2."""
    c, n = total.size, np.float64(stop - start)
    total[:] = 0
    for i in range(start, stop):
        row = x[i]
        for k in range(c):
            total[k] += row[k]
    squares[:] = 0
    for i in range(start, stop):
        row = x[i]
        for k in range(c):
            d = row[k] - total[k] / n
            squares[k] += d * d


@parallel
def gradient_sums(dy, x, mu, s, gamma, beta, relu, sums):
    """sums (SHARDS, 2, c) <- in parts, over the rows: of dy, and of dy * x_hat.

    x_hat = (x - mu) * s; with relu only where the ReLU was alive: gamma * x_hat + beta > 0.
    """
    m, c = x.shape
    for shard in prange(SHARDS):
        first, second = sums[shard, 0], sums[shard, 1]
        first[:] = 0
        second[:] = 0
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            grad, row = dy[i], x[i]
            for k in range(c):
                x_hat = (row[k] - mu[k]) * s[k]
                dead = relu and gamma[k] * x_hat + beta[k] <= 0
                g = grad.dtype.type(0) if dead else grad[k]
                first[k] += g
                second[k] += g * x_hat


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
def normalize_backward(dy, x, mu, s, gamma, beta, relu, mean, along, dx):
    """dx (m, c) = gamma * s * (dy - mean - x_hat * along), dy only where the ReLU was alive."""
    m, c = x.shape
    for shard in prange(SHARDS):
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            grad, row, out = dy[i], x[i], dx[i]
            for k in range(c):
                x_hat = (row[k] - mu[k]) * s[k]
                dead = relu and gamma[k] * x_hat + beta[k] <= 0
                g = grad.dtype.type(0) if dead else grad[k]
                out[k] = gamma[k] * s[k] * (g - mean[k] - x_hat * along[k])


@parallel
def scale_backward(dy, x, mu, s, gamma, beta, relu, dx):
    """dx (m, c) = gamma * s * dy, dy only where the ReLU was alive."""
    m, c = x.shape
    for shard in prange(SHARDS):
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            grad, row, out = dy[i], x[i], dx[i]
            for k in range(c):
                dead = relu and gamma[k] * ((row[k] - mu[k]) * s[k]) + beta[k] <= 0
                out[k] = grad.dtype.type(0) if dead else gamma[k] * s[k] * grad[k]


@parallel
def normalize_rows(x, epsilon, gamma, beta, scales, y):
    """y (m, k) = gamma * (x - mu) * s + beta; scales (m, 2) <- each row's mu, and its s."""
    m, k = x.shape
    for shard in prange(SHARDS):
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            row, out, scale = x[i], y[i], scales[i]
            total, squares = np.float64(0), np.float64(0)
            for j in range(k):
                total += row[j]
            scale[0] = total / k
            mu = scale[0]
            for j in range(k):
                apart = np.float64(row[j] - mu)
                squares += apart * apart
            scale[1] = 1 / np.sqrt(squares / k + epsilon)
            s = scale[1]
            for j in range(k):
                out[j] = gamma[j] * ((row[j] - mu) * s) + beta[j]


@parallel
def normalize_rows_backward(dy, x, gamma, scales, parts, dx):
    """dx (m, k) = s * (d - mean d - x_hat * mean(d * x_hat)) for every row, with d = gamma * dy.

    parts (SHARDS, 2, k) <- over each shard's rows, the sums of dy * x_hat and of dy.
    """
    m, k = x.shape
    for shard in prange(SHARDS):
        dgamma, dbeta = parts[shard, 0], parts[shard, 1]
        dgamma[:] = 0
        dbeta[:] = 0
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            grad, row, out, mu, s = dy[i], x[i], dx[i], scales[i, 0], scales[i, 1]
            total, product = np.float64(0), np.float64(0)
            for j in range(k):
                x_hat, d = (row[j] - mu) * s, gamma[j] * grad[j]
                dbeta[j] += grad[j]
                dgamma[j] += grad[j] * x_hat
                total += d
                product += d * x_hat
            mean, along = row.dtype.type(total / k), row.dtype.type(product / k)
            for j in range(k):
                x_hat = (row[j] - mu) * s
                out[j] = s * (gamma[j] * grad[j] - mean - x_hat * along)


@serial
def add_parts(parts, sums):
    """sums (2, k) <- the shards' parts, in order."""
    shards, _, k = parts.shape
    for which in range(2):
        for j in range(k):
            total = 0.0
            for shard in range(shards):
                total += parts[shard, which, j]
            sums[which, j] = total
