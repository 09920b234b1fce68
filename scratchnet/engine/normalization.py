"""Batch normalization with the ReLU after it, and layer normalization: groups and their loops."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..layers import BatchNorm, Layer, LayerNorm
from .compiler import inner, parallel, serial
from .group import Array, Gradients, Group
from .memory import SHARDS, VECTOR_BYTES, padded
from .simd import (
    add,
    add_wide,
    load,
    mul,
    mul_add,
    neg,
    relu,
    store,
    sub,
    where_positive,
    wide,
    zeros,
)
from .sums import first_of
from .target import ONE
from .turns import own_parts

#: rows whose mean and squares are taken together
BLOCK = 64
#: rows whose gradients are summed before the sum goes on in float64
RUN = 8


class Affine(NamedTuple):
    """What a channel goes through, each (c,), for as many rows side by side as fill vectors.

    mu      its mean
    slope   gamma / sqrt(var + epsilon): y = slope * (x - mu) + beta
    """

    mu: Array
    slope: Array
    beta: Array


class BatchNormRelu(Group):
    """Batch normalization, and the ReLU after it if there is one.

    Where c channels do not fill vectors, `fold` rows side by side do: (m, c) -> (m / fold, fold *
    c). Where the number of rows does not allow that, channels of zeros are added.
    """

    kernel = "normalized and rectified in one pass"
    sums_whole = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.relu = len(layers) > 1
        self.c = layers[0].input_shape[-1]

    def forward(self, x: Array, training: bool) -> Array:
        layer = self.layers[0]
        assert isinstance(layer, BatchNorm)
        self.begin(x)
        self.places = places = math.prod(x.shape[1:-1])  # values of a channel in one image
        #: values of a channel in the whole batch, wherever they are
        self.m = self.share.whole(len(x)) * places
        self.fold = self.lane // math.gcd(self.c, self.lane)
        self.width = self.fold * self.c
        if places % self.fold:
            self.fold, self.width = 1, padded(self.c, self.dtype)
        self.x = self._rows("x", x)
        mu, var = layer.buffers["running_mean"], layer.buffers["running_var"]
        self.from_batch = training and layer.trainable and self.m > 0
        if self.from_batch:
            found = self._moments(self.x, len(x))
            mu += (1 - layer.momentum) * (found[0] - mu)
            var += (1 - layer.momentum) * (found[1] - var)
            mu, var = found
        self.s = 1 / np.sqrt(var + self.dtype.type(layer.epsilon))
        slope = self.params["gamma"] * self.s
        # copies: backward needs to know which units were alive
        self.affine = Affine(
            self._channels("mu", mu), self._channels("slope", slope),
            self._channels("beta", self.params["beta"]),
        )  # fmt: skip
        y = self.buffer("y", (len(self.x), self.width))
        self.call(normalize, self.x.reshape(-1), self.affine, self.relu, y.reshape(-1))
        return self._unfolded("narrow", y, x.shape)

    def _rows(self, name: str, a: Array) -> Array:
        """a (n, ..., c) as (m / fold, width)."""
        if self.width == self.fold * self.c:
            return self.contiguous(name, a).reshape(-1, self.width)
        return self.columns(name, a.reshape(-1, self.c), self.width)

    def _unfolded(self, name: str, rows: Array, shape: tuple[int, ...]) -> Array:
        if self.width == self.fold * self.c:
            return rows.reshape(shape)
        return self.narrow(name, rows, self.c).reshape(shape)

    def _channels(self, name: str, values: Array) -> Array:
        """(c,) as often as rows lie side by side, and zeros up to whole vectors: (width,)."""
        out = self.buffer(f"{name} by row", (self.width,))
        out[: self.fold * self.c].reshape(self.fold, self.c)[:] = values
        return out

    def _by_channel(self, sums: Array) -> Array:
        """(shards, 2, width) -> (shards, fold, 2, c), of all shards of the batch."""
        sums = self.share.all_of(sums)
        parts = sums[:, :, : self.fold * self.c].reshape(len(sums), 2, self.fold, self.c)
        return parts.swapaxes(1, 2)

    def _moments(self, rows: Array, n: int) -> tuple[Array, Array]:
        """Mean and variance of each channel: the parts' own, put together in float64."""
        shards = self.shards(n)
        sums = self.buffer("moments", (shards, 2, self.width), np.float64)
        mu, var = self.buffer("mu", (self.c,)), self.buffer("var", (self.c,))
        means = self.buffer("means", (shards, self.lane))
        exact = self.buffer("exact", (shards, 2, self.lane), np.float64)
        self.call(moments, rows.reshape(-1), n, sums, means, exact)
        counts = self.share.counts(n) * (self.places // self.fold)  # images, as rows
        self.call(put_together, self._by_channel(sums), counts, mu, var)
        return mu, var

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        rows, m = self._rows("dy in one", dy), max(self.m, 1)
        sums = self.buffer("sums", (self.shards(len(dy)), 2, self.width), np.float64)
        given = rows.reshape(-1), self.x.reshape(-1), self.affine, self.relu
        self.call(gradient_sums, *given, len(dy), sums)
        dbeta, along = self._by_channel(sums).sum(axis=(0, 1))  # of dy, and of dy * (x - mu)
        dgamma = along * self.s
        self.grads["gamma"][:], self.grads["beta"][:] = dgamma, dbeta
        if not need_dx:
            return None
        dx = self.dx((len(rows), self.width), rows)
        if self.from_batch:
            mean = self._channels("mean", dbeta / m)
            along = self._channels("along", dgamma * self.s / m)
            self.call(normalize_backward, *given, mean, along, dx.reshape(-1))
        else:  # mean and variance are constants: every image for itself, and what is no number, too
            self.call(scale_backward, *given, dx.reshape(-1))
        return self._unfolded("dx", dx, dy.shape)


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
        n = len(dy)
        parts = self.buffer("parts", (self.shards(n), 2, k), np.float64)
        given = rows, self.x, gamma, self.scales
        self.call(normalize_rows_backward, *given, n, parts, dx.reshape(-1, k))
        # rounded by lot: the float32 of a lot is what another process would add to
        exact = self.totals("sums", parts, self.share.lots)
        lots = self.buffer("lots", exact.shape)
        lots[...] = exact
        sums = self.total("sums", lots).reshape(2, *self.params["gamma"].shape)
        self.grads["gamma"][:], self.grads["beta"][:] = sums
        return dx if need_dx else None


@parallel
def moments(worker, x, n, sums, means, exact):
    """sums (shards, 2, width) <- of each shard's rows of x (m, width), sum and sum (x - mean)^2.

    The rows of a block are read twice while they are in the first cache: for its mean, and for the
    squares about that. Two blocks' squares about their own means become those about the common one
    by adding n_a n_b / (n_a + n_b) (mean_a - mean_b)^2. So no digits are lost, whatever the values
    are. Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", 1.3.
    n: images, of which x has the rows. Scratch: means (shards, lane), exact (shards, 2, lane).
    """
    shards, _, width = sums.shape
    m, lane = x.size // width // max(n, 1), VECTOR_BYTES // x.itemsize
    for shard in own_parts(worker, shards):
        first, second, mean = sums[shard, 0], sums[shard, 1], means[shard]
        first[:] = 0
        second[:] = 0
        total, squares = exact[shard]
        begin, end = m * first_of(n, shards, shard), m * first_of(n, shards, shard + 1)
        for start in range(begin, end, BLOCK):
            stop = min(start + BLOCK, end)
            before, here = np.float64(start - begin), np.float64(stop - start)
            weight = before * here / (before + here)
            for v in range(0, width, lane):
                _block_moments(x, start * width + v, width, stop - start, total, squares, mean)
                for k in range(lane):
                    if start > begin:
                        apart = first[v + k] / before - total[k] / here
                        squares[k] += weight * apart * apart
                    first[v + k] += total[k]
                    second[v + k] += squares[k]


@inner
def _block_moments(x, at, width, rows, total, squares, mean):
    """total, squares (lane,) <- the sum of one vector's rows, and of (x - their mean)^2."""
    acc = wide(zeros(ONE, x))
    for i in range(rows):
        acc = add(acc, wide(load(ONE, x, at + i * width)))
    store(total, 0, acc)
    for k in range(total.size):
        mean[k] = total[k] / rows
    about, acc = load(ONE, mean, 0), wide(zeros(ONE, x))
    for i in range(rows):
        apart = wide(sub(load(ONE, x, at + i * width), about))
        acc = mul_add(apart, apart, acc)
    store(squares, 0, acc)


@serial
def put_together(sums, counts, mu, var):
    """mu, var (c,) <- of all, from what `moments` found: sums (shards, fold, 2, c).

    counts (shards,): of how many rows each
    """
    shards, fold, _, c = sums.shape
    rows = counts.sum()
    for k in range(c):
        total = 0.0
        for shard in range(shards):
            for part in range(fold):
                total += sums[shard, part, 0, k]
        mean, squares = total / (rows * fold), 0.0
        for shard in range(shards):
            count = counts[shard]
            for part in range(fold):
                squares += sums[shard, part, 1, k]
                if count > 0:
                    apart = sums[shard, part, 0, k] / count - mean
                    squares += count * apart * apart
        mu[k], var[k] = mean, squares / (rows * fold)


@inner
def _normalized(affine, apart, v):
    """slope * apart + beta, apart = x - mu"""
    return mul_add(load(ONE, affine.slope, v), apart, load(ONE, affine.beta, v))


@inner
def _alive(affine, dy, at, apart, rectified, v):
    """dy, where the ReLU was alive if there is one."""
    grad = load(ONE, dy, at)
    return where_positive(grad, _normalized(affine, apart, v)) if rectified else grad


@parallel
def normalize(worker, x, affine, rectified, y):
    """y (m, width) = slope * (x - mu) + beta, and ReLU if asked for."""
    width, lane = affine.mu.size, VECTOR_BYTES // x.itemsize
    m = x.size // width
    for shard in own_parts(worker, SHARDS):
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            for v in range(0, width, lane):
                at = i * width + v
                apart = sub(load(ONE, x, at), load(ONE, affine.mu, v))
                value = _normalized(affine, apart, v)
                store(y, at, relu(value) if rectified else value)


@parallel
def gradient_sums(worker, dy, x, affine, rectified, n, sums):
    """sums (shards, 2, width) <- in parts, over the rows: of dy, and of dy * (x - mu).

    rectified: only where the ReLU was alive. Of RUN rows in the arrays' dtype, of runs in float64.
    """
    width, lane = affine.mu.size, VECTOR_BYTES // x.itemsize
    m, shards = x.size // width // max(n, 1), len(sums)
    for shard in own_parts(worker, shards):
        first, second = sums[shard, 0], sums[shard, 1]
        first[:] = 0
        second[:] = 0
        end = m * first_of(n, shards, shard + 1)
        for start in range(m * first_of(n, shards, shard), end, RUN):
            for v in range(0, width, lane):
                total, along, mu = zeros(ONE, x), zeros(ONE, x), load(ONE, affine.mu, v)
                for i in range(start, min(start + RUN, end)):
                    at = i * width + v
                    apart = sub(load(ONE, x, at), mu)
                    grad = _alive(affine, dy, at, apart, rectified, v)
                    total, along = add(total, grad), mul_add(grad, apart, along)
                add_wide(first, v, total)
                add_wide(second, v, along)


@parallel
def normalize_backward(worker, dy, x, affine, rectified, mean, along, dx):
    """dx (m, width) = slope * (dy - mean - (x - mu) * along).

    rectified: dy only where the ReLU was alive.
    """
    width, lane = affine.mu.size, VECTOR_BYTES // x.itemsize
    m = x.size // width
    for shard in own_parts(worker, SHARDS):
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            for v in range(0, width, lane):
                at = i * width + v
                apart = sub(load(ONE, x, at), load(ONE, affine.mu, v))
                grad = sub(_alive(affine, dy, at, apart, rectified, v), load(ONE, mean, v))
                grad = mul_add(neg(apart), load(ONE, along, v), grad)
                store(dx, at, mul(load(ONE, affine.slope, v), grad))


@parallel
def scale_backward(worker, dy, x, affine, rectified, dx):
    """dx (m, width) = slope * dy; rectified: dy only where the ReLU was alive."""
    width, lane = affine.mu.size, VECTOR_BYTES // x.itemsize
    m = x.size // width
    for shard in own_parts(worker, SHARDS):
        for i in range(shard * m // SHARDS, (shard + 1) * m // SHARDS):
            for v in range(0, width, lane):
                at = i * width + v
                apart = sub(load(ONE, x, at), load(ONE, affine.mu, v))
                grad = _alive(affine, dy, at, apart, rectified, v)
                store(dx, at, mul(load(ONE, affine.slope, v), grad))


@parallel
def normalize_rows(worker, x, epsilon, gamma, beta, scales, y):
    """y (m, k) = gamma * (x - mu) * s + beta; scales (m, 2) <- each row's mu, and its s."""
    m, k = x.shape
    for shard in own_parts(worker, SHARDS):
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
def normalize_rows_backward(worker, dy, x, gamma, scales, n, parts, dx):
    """dx (m, k) = s * (d - mean d - x_hat * mean(d * x_hat)) for every row, with d = gamma * dy.

    parts (shards, 2, k) <- over each shard's rows, the sums of dy * x_hat and of dy; n images.
    """
    m, k = x.shape
    m, shards = m // max(n, 1), len(parts)
    for shard in own_parts(worker, shards):
        dgamma, dbeta = parts[shard, 0], parts[shard, 1]
        dgamma[:] = 0
        dbeta[:] = 0
        for i in range(m * first_of(n, shards, shard), m * first_of(n, shards, shard + 1)):
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
