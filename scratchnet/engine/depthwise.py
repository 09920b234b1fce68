"""Depthwise convolutions: the group, and its loops over all channels at once."""

from typing import Any, NamedTuple

from .compiler import inner, parallel
from .functions import sum_rows_into
from .group import Array, Group
from .memory import SHARDS
from .sums import first_of
from .turns import own_parts


class Taps(NamedTuple):
    """How windows lie on images, in pixels.

    kh, kw        places of a window
    sh, sw        from a window to the next
    dh, dw        from a place of a window to the next
    top, left     rows and columns of padding before the image
    many          outputs of each channel
    """

    kh: int
    kw: int
    sh: int
    sw: int
    dh: int
    dw: int
    top: int
    left: int
    many: int


class DepthwiseGroup(Group):
    """A DepthwiseConv2D."""

    kernel = "tap by tap, channels side by side"
    only_kernels = True

    def taps(self) -> Taps:
        layer: Any = self.layers[0]
        (kh, kw), (sh, sw), (dh, dw) = layer.kernel_size, layer.strides, layer.dilation_rate
        top, _, left, _ = layer.pads
        return Taps(kh, kw, sh, sw, dh, dw, top, left, layer.depth_multiplier)

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        pads, W = self.layers[0].pads, self.params["W"]  # type: ignore[attr-defined]
        self.x = self.contiguous("x", self.framed(x, pads))
        y = self.buffer("y", (len(x), *self.layers[0].output_shape))
        b = self.params.get("b")
        if b is None:
            b = self.buffer("zeros", (y.shape[3],))
        self.call(depthwise, self.taps(), self.x, W.reshape(W.shape[0] * W.shape[1], -1), b, y)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        W, at = self.params["W"], self.taps()
        dy = self.contiguous("dy in one", dy)
        taps, width = at.kh * at.kw, dy.shape[3]
        n = len(dy)
        dw = self.buffer("dw", (self.shards(n), taps, width))
        self.call(depthwise_weights, at, self.x, dy, dw)
        self.grads["W"][:] = self.total("dw", dw).reshape(W.shape)
        if "b" in self.grads:
            db = self.buffer("db", (self.shards(n), width))
            self.call(sum_rows_into, dy.reshape(-1, width), n, db)
            self.grads["b"][:] = self.total("db", db)
        if not need_dx:
            return None
        dx = self.dx((n, *self.layers[0].input_shape), dy)
        self.call(depthwise_inputs, at, dy, W.reshape(taps, width), dx)
        return dx


@inner
def _add_products(pixel, weights, many, out):
    """out (c * many,) += weights (c * many,) times their channel's value, pixel (c,)."""
    if many == 1:
        for k in range(pixel.size):
            out[k] += pixel[k] * weights[k]
    else:
        for k in range(pixel.size):
            for d in range(k * many, (k + 1) * many):
                out[d] += pixel[k] * weights[d]


@parallel
def depthwise(worker, t, x, w, b, y):
    """y (n, out_h, out_w, c * many) <- x, framed images; w (kh * kw, c * many), b (c * many,)."""
    n, out_h, out_w, _ = y.shape
    rows = n * out_h
    for shard in own_parts(worker, SHARDS):
        for unit in range(shard * rows // SHARDS, (shard + 1) * rows // SHARDS):
            image, i = unit // out_h, unit % out_h
            for j in range(out_w):
                out = y[image, i, j]
                for k in range(out.size):
                    out[k] = b[k]
                for u in range(t.kh):
                    for v in range(t.kw):
                        pixel = x[image, i * t.sh + u * t.dh, j * t.sw + v * t.dw]
                        _add_products(pixel, w[u * t.kw + v], t.many, out)


@parallel
def depthwise_weights(worker, t, x, dy, dw):
    """dw (shards, kh * kw, c * many) <- x, framed, and dy: parts of the weights' gradient."""
    n, out_h, out_w, _ = dy.shape
    shards = len(dw)
    for shard in own_parts(worker, shards):
        dw[shard] = 0
        for image in range(first_of(n, shards, shard), first_of(n, shards, shard + 1)):
            for u in range(t.kh):
                for v in range(t.kw):
                    mine = dw[shard, u * t.kw + v]
                    for i in range(out_h):
                        for j in range(out_w):
                            pixel = x[image, i * t.sh + u * t.dh, j * t.sw + v * t.dw]
                            _add_products(pixel, dy[image, i, j], t.many, mine)


@parallel
def depthwise_inputs(worker, t, dy, w, dx):
    """dx (n, h, w, c) <- dy (n, out_h, out_w, c * many), w (kh * kw, c * many)."""
    n, h, wide, c = dx.shape
    _, out_h, out_w, _ = dy.shape
    for shard in own_parts(worker, SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            dx[image] = 0
            for i in range(out_h):
                for u in range(t.kh):
                    row = i * t.sh + u * t.dh - t.top
                    if row < 0 or row >= h:
                        continue
                    for j in range(out_w):
                        grad = dy[image, i, j]
                        for v in range(t.kw):
                            column = j * t.sw + v * t.dw - t.left
                            if column < 0 or column >= wide:
                                continue
                            pixel, weights = dx[image, row, column], w[u * t.kw + v]
                            for k in range(c):
                                for d in range(k * t.many, (k + 1) * t.many):
                                    pixel[k] += grad[d] * weights[d]
