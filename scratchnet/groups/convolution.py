"""Convolutions, with the ReLU and the pooling behind them."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..kernels.memory import SHARDS, SLACK, lanes, padded
from ..layers import Conv2D, Layer
from .base import Array, Gradients, Group

#: with fewer tiles, to transform the filters costs more than it saves
FEW_TILES = 20


def fits_winograd(conv: Conv2D) -> bool:
    """Whether it is 3x3 with stride 1, and its input and output channels are whole vectors."""
    lane = lanes(conv.params["W"].dtype)
    whole = conv.input_shape[2] % lane == 0 and conv.filters % lane == 0
    return whole and conv.kernel_size == (3, 3) and conv.strides == (1, 1)


class Convolution(Group):
    """What convolutions share; the last three are for Winograd's (see kernels/winograd.py)."""

    def filters_by_row(self, filters: int) -> Array:
        """W filter by filter, each row in whole vectors: (filters, kh, runp), zeros behind."""
        wt = self.buffer("wt", (filters, self.kh, self.runp))
        W = self.params["W"].reshape(self.kh, self.run, self.f)
        wt[: self.f, :, : self.run] = W.transpose(2, 0, 1)  # (kh, run, f) -> (f, kh, run)
        return wt.reshape(-1)

    def inside(self) -> tuple[int, int, int]:
        """The image in its frame: where it begins, its rows, and how long one is."""
        return (
            (self.pads[0] * self.w + self.pads[2]) * self.c,
            self.image[0],
            self.image[1] * self.c,
        )

    def winograd_filters(self, name: str, W: Array) -> Array:
        """W (3, 3, a, b) as (16 * a * b,)."""
        u = self.buffer(name, (16 * W[0, 0].size,))
        w = self.contiguous("W in one", W).reshape(-1)
        bits = w.view(np.int64)  # whole vectors: a whole number of them
        kept = self.buffer(f"{name} of", bits.shape, bits.dtype)
        self.winograd.filters(w, bits, kept, W[0, 0].size, self.dtype.type(0.5), u)
        return u

    def winograd_scratch(self, name: str, channels: int) -> Array:
        return self.buffer(name, (SHARDS, self.winograd.scratch(channels, self.lane)))

    def winograd_patch(self, channels: int) -> Array:
        return self.buffer("patch", (SHARDS, 16 * channels))


class ConvReluPool(Convolution):
    """Convolution with stride 1, ReLU and 2x2 max pooling."""

    kernel = "the convolution's output stays in registers, the backward pass is sparse"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        conv, _, pool = layers
        self.pads = conv.pads
        h, w, self.c = conv.input_shape
        self.image = (h, w, self.c)
        self.h, self.w = h + sum(self.pads[:2]), w + sum(self.pads[2:])
        self.kh, kw = conv.kernel_size
        self.out_h, self.out_w, self.f = pool.output_shape
        self.run = kw * self.c  # one row of the window, contiguous in memory
        fused, lane = self.fused, self.lane
        self.fp = padded(self.f, self.dtype)
        self.forward_tile = fused.tile_for(self.f, self.dtype)

        # backward: a patch is kh rows of whole vectors, as many of them at a time as registers hold
        vectors = -(-self.run // lane)
        parts = -(-vectors // fused.MOST_VECTORS)
        per_part = -(-vectors // parts)
        self.width = per_part * lane
        self.runp = parts * self.width
        fits = parts == 1 and self.kh * per_part <= fused.MOST_VECTORS
        self.rows = (0,) * (self.kh if fits else 1)
        self.dx_tile = (0,) * per_part
        self.dw_tile = (0,) * (len(self.rows) * per_part)

        # a window whose rows do not even fill a vector: as many rows of it, and vectors of filters,
        # as registers hold
        self.few = self.run < lane
        most = [
            (rows, wide)
            for rows in (self.kh, 1)
            for wide in (2, 1)
            if rows * self.run * wide <= fused.MOST_NUMBERS and self.fp // lane % wide == 0
        ]
        if self.few:
            few_rows, wide = most[0]
            self.few_rows, self.few_run = (0,) * few_rows, (0,) * self.run
            self.few_tile, self.few_patch = (0,) * wide, (0,) * (few_rows * self.run * wide)
            self.few_step = wide * lane
        self.winograd_fits = fits_winograd(conv)

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        n = len(x)
        self.x = self.flat("x", self.framed(x, self.pads))
        self.n = n
        y = self.buffer("y", (n, self.out_h, self.out_w, self.fp))
        code = self.buffer("code", y.shape, np.uint8)
        if self.winograd_fits and n * self.out_h * self.out_w >= FEW_TILES:
            self.forward_winograd(y, code)
            return y
        if self.few and len(self.few_rows) == self.kh:
            self.forward_few(y, code)
            return self.narrow("narrow", y, self.f)
        w = self.columns("w", self.params["W"].reshape(-1, self.f), self.fp)  # (kh*kw*c, fp)
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
        return self.narrow("narrow", y, self.f)

    def forward_winograd(self, y: Array, code: NDArray) -> None:
        self.winograd.conv_relu_pool(
            *self.winograd.block_for(self.f, self.dtype),
            self.x,
            self.n,
            self.h,
            self.w,
            self.c,
            0,
            0,
            self.winograd_filters("u", self.params["W"]),
            self.f,
            self.bias(self.f),
            self.out_h,
            self.out_w,
            y.reshape(-1),
            code.reshape(-1),
            self.winograd_scratch("v", self.c),
            self.winograd_scratch("m", self.f),
            self.winograd_patch(self.c),
        )

    def backward(self, dy: Array, need_dx: bool) -> Array | None:
        dy = self.columns("dy", dy.reshape(-1, self.f), self.fp).reshape(-1)
        code = self.memory["code"]
        windows = self.out_h * self.out_w
        slots = windows * self.fp + self.lane  # lists are written in whole vectors
        places = self.buffer("places", (SHARDS, slots), np.int32)
        values = self.buffer("values", (SHARDS, slots))
        db = self.buffer("db", (SHARDS, self.fp))
        if self.few:
            dW = self.few_weights(dy, code, db)
        else:
            dW = self.weights(dy, code, places, values, db)
        self.grads["W"][:] = dW.reshape(self.grads["W"].shape)
        if "b" in self.grads:
            self.grads["b"][:] = self.total("db", db)[: self.f]
        return self.inputs(dy, code, places, values) if need_dx else None

    def weights(self, dy: Array, code: NDArray, places: NDArray, values: Array, db: Array) -> Array:
        """dW (kh, run, f), filter by filter, from the live positions alone."""
        dw = self.buffer("dw", (SHARDS, self.fp * self.kh * self.runp))
        self.fused.conv_relu_pool_weights(
            self.dw_tile,
            self.rows,
            self.width,
            dy,
            code,
            self.n,
            self.out_h,
            self.out_w,
            self.fp,
            self.x,
            self.h * self.w * self.c,
            self.w * self.c,
            self.c,
            self.kh,
            self.runp,
            places,
            values,
            self.buffer("counts", (SHARDS, self.fp), np.int64),
            dw,
            db,
        )
        dW = self.total("dw", dw).reshape(self.fp, self.kh, self.runp)
        return dW[: self.f, :, : self.run].transpose(1, 2, 0)  # (f, kh, run) -> (kh, run, f)

    def forward_few(self, y: Array, code: NDArray) -> None:
        # (kh * run, f) -> (fp / step, kh * run, step)
        w = self.params["W"].reshape(-1, self.f)
        weights = self.tiled("few", w, self.fp, self.few_step)
        self.fused.conv_relu_pool_few(
            self.few_patch,
            self.few_tile,
            self.few_rows,
            self.few_run,
            self.few_step,
            self.x,
            self.n,
            self.h * self.w * self.c,
            self.w * self.c,
            self.c,
            weights.reshape(-1),
            self.fp,
            self.bias(self.fp),
            self.out_h,
            self.out_w,
            y.reshape(-1),
            code.reshape(-1),
        )

    def few_weights(self, dy: Array, code: NDArray, db: Array) -> Array:
        """dW (kh * run, f), all filters side by side."""
        shape = (self.fp // self.few_step, self.kh * self.run, self.few_step)
        dw = self.buffer("dw", (SHARDS, math.prod(shape)))
        self.fused.conv_relu_pool_few_weights(
            self.few_patch,
            self.few_tile,
            self.few_rows,
            self.few_run,
            self.few_step,
            dy,
            code,
            self.n,
            self.out_h,
            self.out_w,
            self.fp,
            self.x,
            self.h * self.w * self.c,
            self.w * self.c,
            self.c,
            self.kh,
            dw,
            db,
        )
        dW = self.total("dw", dw).reshape(shape).transpose(1, 0, 2)
        return dW.reshape(shape[1], -1)[:, : self.f]

    def inputs(self, dy: Array, code: NDArray, places: NDArray, values: Array) -> Array:
        """dx, image by image."""
        size = self.h * self.w * self.c
        dx = self.dx((self.n, *self.image), dy)
        self.fused.conv_relu_pool_inputs(
            self.dx_tile,
            self.lane,
            dy,
            code,
            self.n,
            self.out_h,
            self.out_w,
            self.fp,
            size,
            self.w * self.c,
            self.c,
            self.kh,
            self.runp,
            self.width,
            self.filters_by_row(self.fp),
            places,
            values,
            self.buffer("starts", (SHARDS, 4 * self.out_h * self.out_w + 1), np.int64),
            self.buffer("image_dx", (SHARDS, size + SLACK)),
            dx.reshape(-1),
            *self.inside(),
        )
        return dx


class ConvRelu(Convolution):
    """A convolution of any stride, and the ReLU behind it if there is one."""

    kernel = "four positions at a time, no im2col"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        conv = layers[0]
        self.relu = len(layers) > 1
        self.pads, (self.sh, self.sw) = conv.pads, conv.strides
        self.image = conv.input_shape
        h, w, self.c = self.image
        self.h, self.w = h + sum(self.pads[:2]), w + sum(self.pads[2:])
        self.kh, kw = conv.kernel_size
        self.run = kw * self.c
        self.out_h, self.out_w, self.f = conv.output_shape
        self.fp = padded(self.f, self.dtype)
        self.runp = padded(self.run, self.dtype)
        self.tile = self.fused.tile_for(self.f, self.dtype)
        self.dx_tile = self.fused.tile_for(self.runp, self.dtype)

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        n = len(x)
        self.x = self.contiguous("x", self.framed(x, self.pads))
        w = self.columns("w", self.params["W"].reshape(-1, self.f), self.fp)
        y = self.buffer("y", (n, self.out_h, self.out_w, self.fp))
        row = self.w * self.c
        self.fused.conv(
            self.tile,
            len(self.tile) * self.lane,
            self.x.reshape(-1),
            n,
            self.h * row,
            self.sh * row,
            self.sw * self.c,
            row,
            self.kh,
            self.run,
            w.reshape(-1),
            self.fp,
            self.bias(self.fp),
            self.out_h,
            self.out_w,
            y.reshape(-1),
            self.relu,
        )
        self.y = self.narrow("narrow", y, self.f)
        return self.y

    def backward(self, dy: Array, need_dx: bool) -> Array | None:
        n, f, fp, fused = len(self.x), self.f, self.fp, self.fused
        if self.relu:
            dy = self.where_alive(dy, self.y)
        wide = self.columns("dy", dy.reshape(-1, f), fp)
        dw = self.buffer("dw", (SHARDS, self.kh * self.run * fp))
        fused.conv_weights(
            self.tile,
            len(self.tile) * self.lane,
            self.x.reshape(-1),
            n,
            self.h * self.w * self.c,
            self.sh * self.w * self.c,
            self.sw * self.c,
            self.w * self.c,
            self.kh,
            self.run,
            fp,
            self.out_h,
            self.out_w,
            wide.reshape(-1),
            dw,
        )
        dW = self.total("dw", dw).reshape(-1, fp)[:, :f]
        self.grads["W"].reshape(-1, f)[:] = dW
        if "b" in self.grads:
            db = self.buffer("db", (SHARDS, fp))
            fused.sum_rows(wide.reshape(-1, fp), db)
            self.grads["b"][:] = self.total("db", db)[:f]
        if not need_dx:
            return None

        row = self.w * self.c
        flat = self.contiguous("dy in one", dy).reshape(-1)
        dx = self.dx((n, *self.image), flat)
        fused.conv_inputs(
            self.dx_tile,
            len(self.dx_tile) * self.lane,
            flat,
            n,
            self.out_h,
            self.out_w,
            f,
            self.h * row,
            self.sh * row,
            self.sw * self.c,
            row,
            self.kh,
            self.runp,
            self.filters_by_row(f),
            self.buffer("image_dx", (SHARDS, self.h * row + SLACK)),
            dx.reshape(-1),
            *self.inside(),
        )
        return dx


class ConvReluWinograd(Convolution):
    """A 3x3 convolution with stride 1 and whole vectors of channels, and the ReLU behind it."""

    kernel = "Winograd's F(2x2, 3x3), forward and backward"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        conv = layers[0]
        self.relu = len(layers) > 1
        self.top, _, self.left, _ = conv.pads
        self.image, self.out = conv.input_shape, conv.output_shape
        self.c, self.f = self.image[2], conv.filters
        block_for = self.winograd.block_for
        self.block_c, self.block_f = (block_for(a, self.dtype) for a in (self.c, self.f))
        self.dw_block = block_for(self.f, self.dtype, of_tiles=False)

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        self.x = self.contiguous("x", x)
        self.y = self.buffer("y", (len(x), *self.out))
        self.winograd.conv(
            *self.block_f,
            self.x.reshape(-1),
            len(x),
            *self.image,
            self.top,
            self.left,
            self.winograd_filters("u", self.params["W"]),
            self.f,
            self.bias(self.f),
            *self.out[:2],
            self.y.reshape(-1),
            self.relu,
            self.winograd_scratch("v", self.c),
            self.winograd_scratch("m", self.f),
            self.winograd_patch(self.c),
        )
        return self.y

    def backward(self, dy: Array, need_dx: bool) -> Array | None:
        size = self.c * self.f
        du = self.buffer("du", (SHARDS, 16 * size))
        db = self.buffer("db", (SHARDS, self.f))
        flat = self.contiguous("dy in one", dy).reshape(-1)
        dx = self.dx(self.x.shape, flat)
        self.winograd.conv_backward(
            *self.dw_block,
            *self.block_c,
            self.x.reshape(-1),
            len(self.x),
            *self.image,
            self.top,
            self.left,
            self.winograd_filters("ut", self.params["W"].transpose(0, 1, 3, 2)),
            self.f,
            flat,
            self.y.reshape(-1),
            self.relu,
            *self.out[:2],
            need_dx,
            self.winograd_scratch("v", self.c),
            self.winograd_scratch("m", self.f),
            self.winograd_patch(self.c),
            du,
            db,
            dx.reshape(-1),
        )
        dW = self.grads["W"].reshape(-1)
        self.winograd.filters_backward(du.reshape(-1), SHARDS, size, self.dtype.type(0.5), dW)
        if "b" in self.grads:
            self.grads["b"][:] = self.total("db", db)
        return dx if need_dx else None
