"""Which kernels run which layers: decided once for a model, and printable.

The layers own the parameters and the mathematics. The plan looks at their row and finds runs that
one fused kernel covers; every other layer runs by itself. A group has the layers' own protocol and
computes the same numbers, only without writing to memory what nobody reads:

    Conv2D, ReLU, MaxPool2D    stride 1, any kernel, channels and padding; 2x2 pooling
    Conv2D, with or without ReLU, BatchNorm and Dense likewise; 3x3 convolutions with stride 1 and
    channels in whole vectors with 2.25 times fewer multiplications (see kernels/winograd.py)
    Residual, with or without ReLU    both its rows in groups of their own
    pooling, means, dropout, Softmax  each by itself, in buffers that are kept

A group keeps its buffers from step to step, so that training allocates nothing large. What it
returns is such a buffer: valid until its next forward.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .kernels.geometry import Pads, winner_dtype
from .kernels.memory import SHARDS, SLACK, flat_with_slack, flat_zeros, lanes, padded
from .layers import (
    LAYERS,
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    Softmax,
)
from .losses import Loss

Array = NDArray[np.floating]


#: with fewer tiles, to transform the filters costs more than it saves
FEW_TILES = 20
#: the single image at which a row of kernels is prepared for it (see OneImage): that takes as long
#: as some hundred images, and a few seconds where its kernels are not in the cache
PREPARE_AT = 8
#: layers that call no matrix product of NumPy's; of a user's own layer nobody knows
WITHOUT_BLAS = set(LAYERS.values()) - {Conv2D, Dense}


class Single:
    """A layer that runs by itself."""

    def __init__(self, layer: Layer) -> None:
        self.layers = [layer]
        self.uses_blas = any(type(leaf) not in WITHOUT_BLAS for leaf in layer.leaves())
        self.only_kernels = type(layer) is Flatten  # no kernel at all

    def forward(self, x: Array, training: bool) -> Array:
        return self.layers[0].forward(x, training)

    def backward(self, dy: Array, need_dx: bool) -> Array:
        return self.layers[0].backward(dy)

    def recorded(self, x: Array, record: Any) -> Array:
        return self.forward(x, training=False)

    def __str__(self) -> str:
        return f"{self.layers[0].name}: by itself"


class Buffers:
    """Arrays that are kept from one step to the next."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.memory: dict[str, NDArray] = {}

    def buffer(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> NDArray:
        """An array of that shape with slack behind it; the same memory again while it fits."""
        size = math.prod(shape)
        flat = self.memory.get(name)
        if flat is None or flat.size < size + SLACK:
            flat = self.memory[name] = flat_zeros(size, dtype or self.dtype)
        return flat[:size].reshape(shape)

    def contiguous(self, name: str, a: Array) -> Array:
        """a itself if it is that, or a copy."""
        if a.flags.c_contiguous:
            return a
        out = self.buffer(name, a.shape, a.dtype)
        out[:] = a
        return out

    def total(self, name: str, parts: Array) -> Array:
        """The sum of the shards' parts, along the first axis."""
        return parts.sum(axis=0, out=self.buffer(f"{name} in all", parts.shape[1:]))


class Gradients:
    """Memory for the gradients between groups, which a backward pass needs for a moment each.

    All groups of a model share it: two arrays in turn instead of one for each group, and a third
    and a fourth while a Residual goes back along both its rows. What is so small stays in the
    processor's caches.
    """

    def __init__(self) -> None:
        self.slots: list[NDArray] = []
        self.held: list[NDArray] = []

    def take(self, shape: tuple[int, ...], dtype: Any, *keep: NDArray) -> NDArray:
        """An array that shares no memory with `keep` and with what is held; slack behind it."""
        size, keep = math.prod(shape), (*keep, *self.held)
        free = [
            number
            for number, slot in enumerate(self.slots)
            if slot.dtype == dtype and not any(np.may_share_memory(slot, other) for other in keep)
        ]
        fits = [number for number in free if self.slots[number].size >= size + SLACK]
        if fits:
            slot = self.slots[fits[0]]
        else:
            slot = flat_zeros(size, dtype)
            if free:
                self.slots[free[0]] = slot
            else:
                self.slots.append(slot)
        return slot[:size].reshape(shape)

    @contextmanager
    def holding(self, array: NDArray) -> Iterator[None]:
        """Inside, no other array takes its memory."""
        self.held.append(array)
        try:
            yield
        finally:
            self.held.pop()


class Pixels(Buffers):
    """Images of bytes, 0 to 255, as numbers from 0 to 1."""

    def forward(self, x: NDArray[np.uint8]) -> Array:
        from .kernels import fused

        out = self.buffer("x", x.shape)
        fused.pixels(self.contiguous("bytes", x).reshape(-1), out.reshape(-1))
        return out


class CrossEntropy(Buffers):
    """Softmax and the cross-entropy against whole-number labels, from logits, in one kernel."""

    def of(self, loss: Loss) -> Self:
        """With that loss, whose from_logits is set; it does what the kernel doesn't."""
        self.loss = loss
        return self

    def forward(self, y_pred: Array, y_true: Any) -> float:
        self.dy = None
        shape = y_pred.shape
        rows = isinstance(y_true, np.ndarray) and y_true.shape == shape[:1] and len(shape) == 2
        if rows and y_true.dtype.kind in "ui" and shape[1] > 0:
            from .kernels import fused

            x, dy = self.buffer("x", shape), self.buffer("dy", shape)
            x[:] = y_pred
            labels, s = np.ascontiguousarray(y_true), float(self.loss.label_smoothing)
            found = fused.cross_entropy(x.reshape(-1), labels, shape[1], s, dy.reshape(-1))
            if not found < 0:
                self.dy = dy
                return found / max(len(labels), 1)
        return self.loss.forward(y_pred, y_true)

    def backward(self) -> Array:
        return self.loss.backward() if self.dy is None else self.dy


class Group(Buffers):
    """Layers that one fused kernel covers.

    forward keeps what backward needs; backward writes the layers' grads and returns dx, or None
    where nobody needs it.
    """

    kernel = ""
    uses_blas = False
    #: whether forward is calls of kernels alone, so that a row of them can be prepared
    only_kernels = False

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        from .kernels import fused, winograd  # Numba is loaded here, when a model first runs

        self.fused, self.winograd = fused, winograd
        self.layers = list(layers)
        self.params, self.grads = layers[0].params, layers[0].grads
        super().__init__(next((p.dtype for p in self.params.values()), np.float32))
        self.lane = lanes(self.dtype)
        self.gradients = gradients

    def dx(self, shape: tuple[int, ...], *keep: Array) -> Array:
        """Memory for what backward returns; keep: what it reads meanwhile."""
        return self.gradients.take(shape, self.dtype, *keep)

    def recorded(self, x: Array, record: Any) -> Array:
        """forward in inference, its kernel calls recorded."""
        modules = self.fused, self.winograd
        self.fused, self.winograd = map(record.listen, modules)
        try:
            return self.forward(x, training=False)
        finally:
            self.fused, self.winograd = modules

    def flat(self, name: str, x: Array) -> Array:
        """x as flat memory with slack behind it: its own if it has that, or a copy."""
        root = flat_with_slack(x)
        if root is None:
            self.buffer(name, x.shape)[:] = x
            root = self.memory[name]
        return root

    def framed(self, x: Array, pads: Pads) -> Array:
        """x (n, h, w, c) in a frame of zeros; x itself if the frame has no width."""
        if not any(pads):
            return x
        n, h, w, c = x.shape
        top, bottom, left, right = pads
        high, run = top + h + bottom, (left + w + right) * c
        out = self.buffer("x", (n, high, left + w + right, c))
        x, to = self.contiguous("unframed", x).reshape(-1), out.reshape(-1)
        self.fused.frame(x, n, h, w * c, top, left * c, high, run, to)
        return out

    def columns(self, name: str, a: Array, width: int) -> Array:
        """a (m, k) with zero columns added up to `width`; a itself if it has as many."""
        if a.shape[1] == width and a.flags.c_contiguous:
            return a
        return self.tiled(name, a, width, width).reshape(len(a), width)

    def tiled(self, name: str, a: Array, width: int, step: int) -> Array:
        """a (m, k) with as many columns as `width` says, in tiles: (width / step, m, step)."""
        m, k = a.shape
        out = self.buffer(name, (width // step, m, step))
        flat = self.contiguous(f"{name} in one", a).reshape(-1)
        self.fused.columns(flat, m, k, out.reshape(-1), width, step)
        return out

    def narrow(self, name: str, a: Array, width: int) -> Array:
        """The first `width` entries of a's last axis, contiguous; a itself if it has no more."""
        if a.shape[-1] == width:
            return a
        out = self.tiled(name, a.reshape(-1, a.shape[-1]), width, width)
        return out.reshape(*a.shape[:-1], width)

    def where_alive(self, dy: Array, y: Array) -> Array:
        """dy where y > 0, zero elsewhere: the gradient in front of a ReLU."""
        flat = self.contiguous("dy in one", dy).reshape(-1)
        alive = self.contiguous("y in one", y).reshape(-1)
        out = self.dx(dy.shape, flat)
        self.fused.relu_backward(flat, alive, out.reshape(-1))
        return out

    def bias(self, width: int) -> Array:
        b = self.params.get("b")
        if b is not None and b.size == width:
            return b
        if b is None:
            return self.buffer("bias", (width,))  # of zeros: nobody writes there
        return self.columns("bias", b.reshape(1, -1), width).reshape(-1)

    def __str__(self) -> str:
        return f"{' + '.join(str(layer.name) for layer in self.layers)}: fused, {self.kernel}"

    # ---- Winograd's 3x3 convolution (see kernels/winograd.py) --------------------------------

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


class ConvReluPool(Group):
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
        self.winograd_fits = _winograd(conv)

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
        wt = self.buffer("wt", (self.fp, self.kh, self.runp))
        W = self.params["W"].reshape(self.kh, self.run, self.f)
        wt[: self.f, :, : self.run] = W.transpose(2, 0, 1)  # (kh, run, f) -> (f, kh, run)
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
            wt.reshape(-1),
            places,
            values,
            self.buffer("starts", (SHARDS, 4 * self.out_h * self.out_w + 1), np.int64),
            self.buffer("image_dx", (SHARDS, size + SLACK)),
            dx.reshape(-1),
            self.pads[0] * self.w * self.c + self.pads[2] * self.c,
            self.image[0],
            self.image[1] * self.c,
        )
        return dx


class ConvRelu(Group):
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
        self.kh, self.kw = conv.kernel_size
        self.out_h, self.out_w, self.f = conv.output_shape
        self.fp = padded(self.f, self.dtype)
        self.runp = padded(self.kw * self.c, self.dtype)
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
            self.kw * self.c,
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
        dw = self.buffer("dw", (SHARDS, self.kh * self.kw * self.c * fp))
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
            self.kw * self.c,
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
        wt = self.buffer("wt", (f, self.kh, self.runp))
        W = self.params["W"].reshape(self.kh, self.kw * self.c, f)
        wt[:, :, : W.shape[1]] = W.transpose(2, 0, 1)  # (kh, run, f) -> (f, kh, run)
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
            wt.reshape(-1),
            self.buffer("image_dx", (SHARDS, self.h * row + SLACK)),
            dx.reshape(-1),
            self.pads[0] * self.w * self.c + self.pads[2] * self.c,
            self.image[0],
            self.image[1] * self.c,
        )
        return dx


class ConvReluWinograd(Group):
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


class DenseRelu(Group):
    """A Dense layer, and the ReLU behind it if there is one."""

    kernel = "product, bias and ReLU in one pass"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.relu = len(layers) > 1
        self.d, self.units = layers[0].input_shape[0], layers[0].units
        self.dp = padded(self.d, self.dtype)
        self.up = padded(self.units, self.dtype)

    def product(self, a: Array, row: int, col: int, b: Array, c: Array, k: int, **how: Any) -> None:
        """c (m, width) = a (m, k) @ b (k, width), a given by its strides; + bias and ReLU.

        sparse: a may have zeros in plenty, and where it has they are passed over. ldb: how long a
        row of b is where b is flat.
        """
        m, width = c.shape
        zeros = self.buffer("zeros", (width,))
        flat, places, counts = a.reshape(-1), None, None
        if how.get("sparse", False) and width >= self.fused.LIST_FROM:
            blocks, parts = -(-m // 4), -(-k // self.fused.TERMS)
            places = self.buffer("places", (blocks * k,), np.int32)
            counts = self.buffer("counts", (blocks * parts,), np.int32)
            bits = flat.view(f"i{flat.itemsize}")
            self.fused.list_terms(bits, row, col, m, k, places, counts)
        self.fused.product(
            (0,) * 4,
            (0,),
            self.lane,
            flat,
            row,
            col,
            b.reshape(-1),
            how.get("ldb", b.shape[-1]),
            c.reshape(-1),
            width,
            m,
            width,
            k,
            how.get("bias", zeros),
            how.get("relu", False),
            places,
            counts,
        )

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        self.x = self.contiguous("x", x)
        # read in whole vectors, beyond a row: into the next one, or behind the array where there
        # is room; what comes of it is in columns that nobody looks at
        b = self.params.get("b")
        behind = None if b is None else flat_with_slack(b)
        b = self.bias(self.up) if behind is None else behind
        W, ldb = flat_with_slack(self.params["W"]), self.units
        if W is None:
            W, ldb = self.columns("w", self.params["W"], self.up), self.up
        y = self.buffer("y", (len(x), self.up))
        how = {"bias": b, "relu": self.relu, "sparse": True, "ldb": ldb}
        self.product(self.x, self.d, 1, W, y, self.d, **how)
        self.y = y[:, : self.units]
        return self.y

    def backward(self, dy: Array, need_dx: bool) -> Array | None:
        n = len(dy)
        dz, db = self.buffer("dz", (n, self.up)), self.buffer("db", (self.up,))
        flat = self.contiguous("dy in one", dy).reshape(-1)
        y = self.memory["y"]
        self.fused.relu_gradient(flat, y, self.relu, n, self.units, self.up, dz.reshape(-1), db)
        whole = self.up == self.units
        dW = self.grads["W"] if whole else self.buffer("dw", (self.d, self.up))
        self.product(self.x, 1, self.d, dz, dW, n, sparse=True)  # x.T @ dz
        if not whole:
            self.grads["W"][:] = dW[:, : self.units]
        if "b" in self.grads:
            self.grads["b"][:] = db[: self.units]
        if not need_dx:
            return None
        wt = self.buffer("wt", (self.units, self.dp))
        wt[:, : self.d] = self.params["W"].T
        dx = self.dx((n, self.dp))  # dy is in dz
        self.product(dz, self.up, 1, wt, dx, self.units)  # dz @ W.T
        return dx[:, : self.d]


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


class ResidualGroup(Group):
    """A Residual, and the ReLU behind it if there is one: groups inside both rows.

    The sum is in a buffer of its own, not in one of the inner groups: the main row may need its
    output in backward, and with the identity for a shortcut x and dy belong to the neighbours.
    """

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.relu = len(layers) > 1
        self.main, self.shortcut = (
            make(row, gradients=gradients) for row in (layers[0].main, layers[0].shortcut)
        )
        self.uses_blas = any(group.uses_blas for group in (*self.main, *self.shortcut))

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        main = shortcut = x
        for group in self.main:
            main = group.forward(main, training)
        for group in self.shortcut:
            shortcut = group.forward(shortcut, training)
        self.y = self.sum(main, shortcut, self.relu, self.buffer("y", main.shape))
        return self.y

    def backward(self, dy: Array, need_dx: bool) -> Array | None:
        if self.relu:
            dy = self.where_alive(dy, self.y)
        with self.gradients.holding(dy):
            main = self._back(self.main, dy, need_dx)
            with self.gradients.holding(main) if need_dx else nullcontext():
                shortcut = self._back(self.shortcut, dy, need_dx)
        if not need_dx:
            return None
        return self.sum(main, shortcut, False, self.dx(main.shape, main, shortcut))

    def sum(self, a: Array, b: Array, relu: bool, out: Array) -> Array:
        flat = self.contiguous("a", a).reshape(-1)
        other = self.contiguous("b", b).reshape(-1)
        self.fused.add(flat, other, relu, out.reshape(-1))
        return out

    @staticmethod
    def _back(row: list[Any], dy: Array, need_dx: bool) -> Array | None:
        for number in range(len(row) - 1, -1, -1):
            dy = row[number].backward(dy, need_dx or number > 0)
        return dy

    def __str__(self) -> str:
        rows = (("main", self.main), ("shortcut", self.shortcut))
        inner = [f"\n  {where}: {group}" for where, row in rows for group in row]
        names = " + ".join(str(layer.name) for layer in self.layers)
        return f"{names}: the sum of" + "".join(inner)


class OneImage:
    """The groups for a single image in inference, as one native function (kernels/prepared.py).

    For groups that are `only_kernels`: whatever else forward did would be done once, here.
    """

    def __init__(self, groups: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> None:
        from .kernels import fused
        from .kernels.prepared import Record

        self.groups = groups
        self.record, size = Record(), math.prod(shape)
        self.bytes = np.zeros((1, *shape), np.uint8)
        self.x = self.y = flat_zeros(size, dtype)[:size].reshape(1, *shape)
        self.record.listen(fused).pixels(self.bytes.reshape(-1), self.x.reshape(-1))
        for group in groups:
            self.y = group.recorded(self.y, self.record)
        self.runs: dict[bool, Callable[[], int]] = {}
        stores = [layer.params for group in groups for layer in group.layers]
        self.params = [(store, key, store[key]) for store in stores for key in store]

    def fits(self, groups: Sequence[Any]) -> bool:
        """Whether these are the groups, and their parameters the arrays, that were recorded."""
        for store, key, array in self.params:
            if store[key] is not array:
                return False
        return groups is self.groups

    def predict(self, x: NDArray) -> Array | None:
        """The output for x (1, ...), bytes or numbers; None if a kernel failed."""
        from_bytes = x.dtype == np.uint8
        if from_bytes:
            self.bytes[:] = x
        else:
            self.x[:] = x
        if from_bytes not in self.runs:
            self.runs[from_bytes] = self.record.prepare(0 if from_bytes else 1)
        return None if self.runs[from_bytes]() else self.y.copy()


#: layers that have a kernel of their own, which takes a ReLU behind them along
WITH_RELU: dict[type[Layer], type[Group]] = {
    Dense: DenseRelu,
    Conv2D: ConvRelu,
    BatchNorm: BatchNormRelu,
    Residual: ResidualGroup,
}


#: layers whose kernel takes nothing along
ALONE: dict[type[Layer], type[Group]] = {
    MaxPool2D: Pool,
    AveragePool2D: Pool,
    GlobalAveragePool2D: Means,
    Dropout: Dropped,
    Softmax: SoftmaxRows,
}


def make(
    layers: Sequence[Layer], fuse: bool = True, gradients: Gradients | None = None
) -> list[Single | Group]:
    """The layers in groups, in order: the longest fused kernel that covers what comes next.

    gradients: the memory that they share; their own unless given.
    """
    gradients = gradients or Gradients()
    groups: list[Single | Group] = []
    rest = list(layers)
    while rest:
        kind, count = _next(rest) if fuse else (None, 1)
        groups.append(kind(rest[:count], gradients) if kind else Single(rest[0]))
        del rest[:count]
    return groups


def _next(layers: Sequence[Layer]) -> tuple[type[Group] | None, int]:
    """The group that the row starts with, if any, and how many layers it covers."""
    first = type(layers[0])
    if _conv_relu_pool(layers):
        return ConvReluPool, 3
    if first in ALONE:
        return ALONE[first], 1
    kind = WITH_RELU.get(first)
    if kind is ConvRelu and _winograd(layers[0]):
        kind = ConvReluWinograd
    if kind is ResidualGroup and not layers[0].params:
        kind = None
    return kind, 2 if kind and _is(layers, first, ReLU) else 1


def can_be_prepared(groups: Sequence[Single | Group]) -> bool:
    """Whether OneImage can hold them."""
    return all(group.only_kernels for group in groups) and kernels.compiles()


def _is(layers: Sequence[Layer], *kinds: type[Layer]) -> bool:
    """Whether the row starts with exactly these kinds; a subclass may compute something else."""
    return [type(layer) for layer in layers[: len(kinds)]] == list(kinds)


def _winograd(conv: Conv2D) -> bool:
    """Whether it is 3x3 with stride 1, and its input and output channels are whole vectors."""
    lane = lanes(conv.params["W"].dtype)
    whole = conv.input_shape[2] % lane == 0 and conv.filters % lane == 0
    return whole and conv.kernel_size == (3, 3) and conv.strides == (1, 1)


def _conv_relu_pool(layers: Sequence[Layer]) -> bool:
    if not _is(layers, Conv2D, ReLU, MaxPool2D):
        return False
    conv, _, pool = layers[:3]
    return (
        conv.strides == (1, 1)
        and pool.pool_size == pool.strides == (2, 2)
        and pool.pads == (0, 0, 0, 0)
    )
