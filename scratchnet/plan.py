"""Which kernels run which layers: decided once for a model, and printable.

The layers own the parameters and the mathematics. The plan looks at their row and finds runs that
one fused kernel covers; every other layer runs by itself. A group has the layers' own protocol and
computes the same numbers, only without writing to memory what nobody reads:

    Conv2D, ReLU, MaxPool2D    stride 1, any kernel, channels and padding; 2x2 pooling
    Dense, ReLU; Dense         any size

A group keeps its buffers from step to step, so that training allocates nothing large. What it
returns is such a buffer: valid until its next forward.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .layers import Conv2D, Dense, Layer, MaxPool2D, ReLU

Array = NDArray[np.floating]


class Single:
    """A layer that runs by itself."""

    def __init__(self, layer: Layer) -> None:
        self.layers = [layer]

    def forward(self, x: Array, training: bool) -> Array:
        return self.layers[0].forward(x, training)

    def backward(self, dy: Array, need_dx: bool) -> Array:
        return self.layers[0].backward(dy)

    def __str__(self) -> str:
        return f"{self.layers[0].name}: by itself"


class Group:
    """Layers that one fused kernel covers.

    forward keeps what backward needs; backward writes the layers' grads and returns dx, or None
    where nobody needs it.
    """

    kernel = ""

    def __init__(self, layers: Sequence[Layer]) -> None:
        from .kernels import fused  # Numba is loaded here, when a model first runs

        self.fused = fused
        self.layers = list(layers)
        self.params, self.grads = layers[0].params, layers[0].grads
        self.dtype = next(iter(self.params.values())).dtype
        self.lane = fused.lanes(self.dtype)
        self.memory: dict[str, NDArray] = {}

    def buffer(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> NDArray:
        """An array of that shape with slack behind it; the same memory again while it fits."""
        size = math.prod(shape)
        flat = self.memory.get(name)
        if flat is None or flat.size < size + self.fused.SLACK:
            flat = np.zeros(size + self.fused.SLACK, dtype or self.dtype)
            self.memory[name] = flat
        return flat[:size].reshape(shape)

    def flat(self, name: str, x: Array) -> Array:
        """x as flat memory with slack behind it: its own if it has that, or a copy."""
        root = self.fused.flat_with_slack(x)
        if root is None:
            self.buffer(name, x.shape)[:] = x
            root = self.memory[name]
        return root

    def columns(self, name: str, a: Array, width: int) -> Array:
        """a (m, k) with zero columns added up to `width`; a itself if it has as many."""
        if a.shape[1] == width and a.flags.c_contiguous:
            return a
        out = self.buffer(name, (len(a), width))
        out[:, : a.shape[1]] = a
        out[:, a.shape[1] :] = 0
        return out

    def bias(self, width: int) -> Array:
        out = self.buffer("bias", (1, width))
        out[:] = 0
        if "b" in self.params:
            out[0, : self.params["b"].size] = self.params["b"]
        return out.reshape(-1)

    def __str__(self) -> str:
        return f"{' + '.join(str(layer.name) for layer in self.layers)}: fused, {self.kernel}"


class ConvReluPool(Group):
    """Convolution with stride 1, ReLU and 2x2 max pooling."""

    kernel = "the convolution's output stays in registers, the backward pass is sparse"

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__(layers)
        conv, _, pool = layers
        self.pads = conv.pads
        h, w, self.c = conv.input_shape
        self.image = (h, w, self.c)
        self.h, self.w = h + sum(self.pads[:2]), w + sum(self.pads[2:])
        self.kh, kw = conv.kernel_size
        self.out_h, self.out_w, self.f = pool.output_shape
        self.run = kw * self.c  # one row of the window, contiguous in memory
        fused, lane = self.fused, self.lane
        self.fp = fused.padded(self.f, self.dtype)
        self.forward_tile = fused.tile_for(self.f, self.dtype)

        # backward: a patch is kh rows of whole vectors, as many of them at a time as registers hold
        vectors = -(-self.run // lane)
        parts = -(-vectors // fused.MOST_VECTORS)
        per_part = -(-vectors // parts)
        rows = self.kh if parts == 1 and self.kh * per_part <= fused.MOST_VECTORS else 1
        self.width = per_part * lane
        self.runp = parts * self.width
        self.rows, self.tile = (0,) * rows, (0,) * (rows * per_part)

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        n, top, left = len(x), self.pads[0], self.pads[2]
        if any(self.pads):
            framed = self.buffer("x", (n, self.h, self.w, self.c))
            h, w, _ = self.image
            framed[:] = 0
            framed[:, top : top + h, left : left + w] = x
            x = framed
        self.x = self.flat("x", x)
        self.n = n
        w = self.columns("w", self.params["W"].reshape(-1, self.f), self.fp)  # (kh*kw*c, fp)
        y = self.buffer("y", (n, self.out_h, self.out_w, self.fp))
        code = self.buffer("code", y.shape, np.uint8)
        self.fused.conv_relu_pool(
            self.forward_tile,
            len(self.forward_tile) * self.lane,
            self.x,
            n,
            self.h * self.w * self.c,
            self.w * self.c,
            self.c,
            self.kh,
            self.run,
            w.reshape(-1),
            self.fp,
            self.bias(self.fp),
            self.out_h,
            self.out_w,
            y.reshape(-1),
            code.reshape(-1),
        )
        if self.fp == self.f:
            return y
        narrow = self.buffer("narrow", (*y.shape[:3], self.f))
        narrow[:] = y[..., : self.f]
        return narrow

    def backward(self, dy: Array, need_dx: bool) -> Array | None:
        n, f, fp, kh, fused = self.n, self.f, self.fp, self.kh, self.fused
        windows, size = self.out_h * self.out_w, self.h * self.w * self.c
        dy = self.columns("dy", dy.reshape(-1, f), fp)
        wt = self.buffer("wt", (fp, kh, self.runp))
        W = self.params["W"].reshape(kh, self.run, f)
        wt[:f, :, : self.run] = W.transpose(2, 0, 1)  # (kh, run, f) -> (f, kh, run)

        shards = fused.SHARDS
        slots = max(windows, fused.DEAD + 1) * fp
        dw = self.buffer("dw", (shards, fp, kh, self.runp)).reshape(shards, -1)
        db = self.buffer("db", (shards, fp))
        dx = self.buffer("dx", (n if need_dx else 0, self.h, self.w, self.c))
        fused.conv_relu_pool_backward(
            self.tile,
            self.rows,
            self.width,
            dy.reshape(-1),
            self.memory["code"],
            n,
            self.out_h,
            self.out_w,
            fp,
            self.x,
            size,
            self.w * self.c,
            self.c,
            kh,
            self.runp,
            wt.reshape(-1),
            need_dx,
            self.buffer("places", (shards, slots), np.int32),
            self.buffer("values", (shards, slots)),
            self.buffer("counts", (shards, max(fp, fused.DEAD + 1)), np.int64),
            dw,
            db,
            self.buffer("image_dx", (shards, size + fused.SLACK)),
            dx.reshape(-1),
        )
        dW = dw.sum(axis=0).reshape(fp, kh, self.runp)[:f, :, : self.run]
        self.grads["W"].reshape(kh, self.run, f)[:] = dW.transpose(1, 2, 0)
        if "b" in self.grads:
            self.grads["b"][:] = db.sum(axis=0)[:f]
        if not need_dx:
            return None
        top, left, (h, w, _) = self.pads[0], self.pads[2], self.image
        return dx[:, top : top + h, left : left + w]


class DenseRelu(Group):
    """A Dense layer, and the ReLU behind it if there is one."""

    kernel = "product, bias and ReLU in one pass"

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__(layers)
        self.relu = len(layers) > 1
        self.d, self.units = layers[0].input_shape[0], layers[0].units
        self.dp = self.fused.padded(self.d, self.dtype)
        self.up = self.fused.padded(self.units, self.dtype)

    def product(self, a: Array, row: int, col: int, b: Array, c: Array, k: int, **how: Any) -> None:
        """c (m, width) = a (m, k) @ b (k, width), a given by its strides; + bias and ReLU."""
        m, width = c.shape
        zeros = self.buffer("zeros", (width,))
        self.fused.product(
            (0,) * 4,
            (0,),
            self.lane,
            a.reshape(-1),
            row,
            col,
            b.reshape(-1),
            b.shape[1],
            c.reshape(-1),
            width,
            m,
            width,
            k,
            how.get("bias", zeros),
            how.get("relu", False),
        )

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        self.x = np.ascontiguousarray(x)
        W = self.columns("w", self.params["W"], self.up)
        y = self.buffer("y", (len(x), self.up))
        self.product(self.x, self.d, 1, W, y, self.d, bias=self.bias(self.up), relu=self.relu)
        self.y = y[:, : self.units]
        return self.y

    def backward(self, dy: Array, need_dx: bool) -> Array | None:
        n = len(dy)
        dz = self.buffer("dz", (n, self.up))
        dz[:, self.units :] = 0
        if self.relu:
            np.multiply(dy, self.y > 0, out=dz[:, : self.units])
        else:
            dz[:, : self.units] = dy
        whole = self.up == self.units
        dW = self.grads["W"] if whole else self.buffer("dw", (self.d, self.up))
        self.product(self.x, 1, self.d, dz, dW, n)  # x.T @ dz
        if not whole:
            self.grads["W"][:] = dW[:, : self.units]
        if "b" in self.grads:
            self.grads["b"][:] = kernels.sum_rows(dz)[: self.units]
        if not need_dx:
            return None
        wt = self.buffer("wt", (self.units, self.dp))
        wt[:, : self.d] = self.params["W"].T
        dx = self.buffer("dx", (n, self.dp))
        self.product(dz, self.up, 1, wt, dx, self.units)  # dz @ W.T
        return dx[:, : self.d]


def make(layers: Sequence[Layer], fuse: bool = True) -> list[Single | Group]:
    """The layers in groups, in order: the longest fused kernel that covers what comes next."""
    groups: list[Single | Group] = []
    rest = list(layers)
    while rest:
        if fuse and _conv_relu_pool(rest):
            groups.append(ConvReluPool(rest[:3]))
        elif fuse and type(rest[0]) is Dense:
            groups.append(DenseRelu(rest[: 2 if _is(rest, Dense, ReLU) else 1]))
        else:
            groups.append(Single(rest[0]))
        del rest[: len(groups[-1].layers)]
    return groups


def _is(layers: Sequence[Layer], *kinds: type[Layer]) -> bool:
    """Whether the row starts with exactly these kinds; a subclass may compute something else."""
    return [type(layer) for layer in layers[: len(kinds)]] == list(kinds)


def _conv_relu_pool(layers: Sequence[Layer]) -> bool:
    if not _is(layers, Conv2D, ReLU, MaxPool2D):
        return False
    conv, _, pool = layers[:3]
    return (
        conv.strides == (1, 1)
        and pool.pool_size == pool.strides == (2, 2)
        and pool.pads == (0, 0, 0, 0)
    )
