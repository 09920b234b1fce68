"""Layers that move values to other places, in buffers that are kept."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..layers import Layer
from ..layers.upsampling import between
from .compiler import parallel
from .group import Array, Gradients, Group
from .memory import SHARDS
from .turns import own_parts


class ZeroPaddingGroup(Group):
    """A frame of zeros around images."""

    kernel = "row by row"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        layer: Any = self.layers[0]
        self.begin(x)
        self.dtype = x.dtype
        return self.framed(x, layer.pads)

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        layer: Any = self.layers[0]
        if not any(layer.pads):
            return dy
        (h, w, c), (high, wide, _) = layer.input_shape, layer.output_shape
        dx = self.dx((len(dy), h, w, c), dy)
        flat = self.contiguous("dy in one", dy).reshape(-1)
        top, _, left, _ = layer.pads
        start = (top * wide + left) * c
        self.call(crop, flat, high * wide * c, wide * c, start, dx.reshape(-1), h, w * c)
        return dx


class ReshapeGroup(Group):
    """Another shape for the same memory; values with gaps between them are brought together."""

    kernel = "no kernel: the same memory in another shape"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.dtype = x.dtype
        return self.contiguous("x", x).reshape(len(x), *self.layers[0].output_shape)

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        return self.contiguous("dy", dy).reshape(len(dy), *self.layers[0].input_shape)


class Shares(NamedTuple):
    """Along one axis: between which old pixels each new one lies, as in layers/upsampling.py.

    low, high    the old ones
    part         the share of the second; the first has the rest
    """

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    part: Array


class UpSamplingGroup(Group):
    """Larger images: blocks of one value, or mixtures along the rows and then along the columns."""

    kernel = "pixel by pixel"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        layer: Any = layers[0]
        (self.h, self.w, self.c), (self.sh, self.sw) = layer.input_shape, layer.size
        self.mixes = layer.interpolation == "bilinear"
        self.along = between(self.h, self.sh), between(self.w, self.sw)

    def shares(self, axis: int, dtype: Any) -> Shares:
        """In the arrays' dtype, converted once."""
        at = self.along[axis]
        if at.part.dtype != dtype:
            at = at._replace(part=at.part.astype(dtype))
            self.along = (at, self.along[1]) if axis == 0 else (self.along[0], at)
        return Shares(*at)

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        self.dtype = x.dtype
        n, h, w, c, sh, sw = len(x), self.h, self.w, self.c, self.sh, self.sw
        flat = self.contiguous("x", x).reshape(-1)
        y = self.buffer("y", (n, h * sh, w * sw, c))
        if not self.mixes:
            self.call(repeat, flat, n * h, w, c, sh, sw, y.reshape(-1))
            return y
        tall = self.buffer("tall", (n, h * sh, w, c))
        self.call(stretch, flat, n, h, w * c, self.shares(0, x.dtype), tall.reshape(-1))
        columns = self.shares(1, x.dtype)
        self.call(stretch, tall.reshape(-1), n * h * sh, w, c, columns, y.reshape(-1))
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        n, h, w, c, sh, sw = len(dy), self.h, self.w, self.c, self.sh, self.sw
        dx = self.dx((n, h, w, c), dy)
        flat = self.contiguous("dy in one", dy).reshape(-1)
        if not self.mixes:
            self.call(add_blocks, flat, n * h, w, c, sh, sw, dx.reshape(-1))
            return dx
        tall = self.buffer("dtall", (n, h * sh, w, c))
        columns = self.shares(1, self.dtype)
        self.call(gather, flat, n * h * sh, w, c, columns, tall.reshape(-1))
        rows = self.shares(0, self.dtype)
        self.call(gather, tall.reshape(-1), n, h, w * c, rows, dx.reshape(-1))
        return dx


@parallel
def crop(worker, a, size, row, start, out, h, run):
    """out (n, h, run) <- from each image of a (n, size), rows `row` long, h times `run` values."""
    n = out.size // (h * run)
    for shard in own_parts(worker, SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            for i in range(h):
                at, to = image * size + start + i * row, (image * h + i) * run
                source, target = a[at : at + run], out[to : to + run]
                for k in range(run):
                    target[k] = source[k]


@parallel
def repeat(worker, x, rows, w, c, sh, sw, y):
    """y (rows, sh, w, sw, c) <- x (rows, w, c): every value sh * sw times."""
    for shard in own_parts(worker, SHARDS):
        for row in range(shard * rows // SHARDS, (shard + 1) * rows // SHARDS):
            for u in range(sh):
                for j in range(w):
                    source = x[(row * w + j) * c : (row * w + j + 1) * c]
                    for v in range(sw):
                        to = (((row * sh + u) * w + j) * sw + v) * c
                        out = y[to : to + c]
                        for k in range(c):
                            out[k] = source[k]


@parallel
def add_blocks(worker, dy, rows, w, c, sh, sw, dx):
    """dx (rows, w, c) <- dy (rows, sh, w, sw, c): the sums that are `repeat`'s transpose."""
    for shard in own_parts(worker, SHARDS):
        for row in range(shard * rows // SHARDS, (shard + 1) * rows // SHARDS):
            for j in range(w):
                out = dx[(row * w + j) * c : (row * w + j + 1) * c]
                out[:] = 0
                for u in range(sh):
                    for v in range(sw):
                        at = (((row * sh + u) * w + j) * sw + v) * c
                        grad = dy[at : at + c]
                        for k in range(c):
                            out[k] += grad[k]


@parallel
def stretch(worker, x, n, extent, run, shares, y):
    """y (n, size, run) <- x (n, extent, run): (1 - part) * x[low] + part * x[high]."""
    low, high, part = shares
    one, size = y.dtype.type(1), len(low)
    for shard in own_parts(worker, SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            for i in range(size):
                at, after = (image * extent + low[i]) * run, (image * extent + high[i]) * run
                to = (image * size + i) * run
                a, b, out = x[at : at + run], x[after : after + run], y[to : to + run]
                share = part[i]
                rest = one - share
                for k in range(run):
                    out[k] = rest * a[k] + share * b[k]


@parallel
def gather(worker, dy, n, extent, run, shares, dx):
    """dx (n, extent, run) <- dy (n, size, run): the transpose of `stretch`."""
    low, high, part = shares
    one, size = dx.dtype.type(1), len(low)
    for shard in own_parts(worker, SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            dx[image * extent * run : (image + 1) * extent * run] = 0
            for i in range(size):
                at, after = (image * extent + low[i]) * run, (image * extent + high[i]) * run
                to = (image * size + i) * run
                a, b, grad = dx[at : at + run], dx[after : after + run], dy[to : to + run]
                share = part[i]
                rest = one - share
                for k in range(run):
                    a[k] += rest * grad[k]
                for k in range(run):
                    b[k] += share * grad[k]
