"""Convolutions as products with copied patches (im2col): where the loops of conv.py do not fit.

A dilated window has gaps, so its rows are not contiguous in memory as those loops want them.
"""

from collections.abc import Sequence
from typing import Any

from ..layers import Layer
from .compiler import parallel, serial
from .dense import ProductGroup, Sizes
from .functions import col2im_into, im2col_into, sum_rows_into
from .group import Array, Gradients
from .memory import SHARDS, padded
from .turns import own_parts


class PatchGroup(ProductGroup):
    """What products with patches share: the geometry of the layer's window, and its copies.

    image, places    the shape that patches are copied from, and how many there are (out_h, out_w)
    taps, tapsp      values in a patch, kh * kw * c; the same in whole vectors
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        gradients: Gradients,
        image: tuple[int, ...],
        places: tuple[int, ...],
    ) -> None:
        super().__init__(layers, gradients)
        layer: Any = layers[0]
        self.image, self.places = image, places
        self.kh, kw = layer.kernel_size
        self.run = kw * image[2]
        self.taps = self.kh * self.run
        self.tapsp = padded(self.taps, self.dtype)
        dilation = getattr(layer, "dilation_rate", (1, 1))
        self.where = image[2], layer.strides, dilation, layer.pads[0], layer.pads[2]

    def patches(self, x: Array) -> Array:
        """cols (n * out_h * out_w, taps) <- x (n, h, w, c)."""
        n, (h, w, c) = len(x), self.image
        cols = self.buffer("cols", (n, *self.places, self.kh, self.run))
        self.call(im2col_into, self.contiguous("x", x).reshape(n, h, w * c), cols, *self.where)
        return cols.reshape(n * self.places[0] * self.places[1], self.taps)

    def add_patches(self, dcols: Array, n: int, out: Array) -> Array:
        """out (n, h, w, c) <- dcols (n * out_h * out_w, tapsp): each pixel sums up its copies."""
        h, w, c = self.image
        rows = dcols.reshape(n, *self.places, self.tapsp)[..., : self.taps]
        patches = rows.reshape(n, *self.places, self.kh, self.run)  # a view
        self.call(col2im_into, patches, out.reshape(n, h, w * c), *self.where)
        return out

    def bias_gradient(self, dy: Array, n: int) -> None:
        """db <- the sums of dy (m, f or more), of n images."""
        if "b" in self.grads:
            db = self.buffer("db", (self.shards(n), dy.shape[1]))
            self.call(sum_rows_into, dy, n, db)
            self.grads["b"][:] = self.total("db", db)[: self.grads["b"].size]


class ConvPatches(PatchGroup):
    """A convolution of any kind, and the ReLU after it if there is one."""

    kernel = "a product with copied patches"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        first = layers[0]
        super().__init__(layers, gradients, first.input_shape, first.output_shape[:2])
        self.relu = len(layers) > 1
        self.f = first.output_shape[2]
        self.fp = padded(self.f, self.dtype)

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        f, fp, k = self.f, self.fp, self.taps
        self.cols = self.patches(x)
        m = len(self.cols)
        W = self.columns("w", self.params["W"].reshape(k, f), fp)
        y = self.buffer("y", (len(x), *self.places, fp))
        sizes = Sizes(m, k, fp, k, 1, fp, fp)
        self.product(self.cols, sizes, W, y, bias=self.bias(fp), relu=self.relu)  # cols @ W + b
        self.y = self.narrow("narrow", y, f)
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        n, m, f, fp, k, kp = len(dy), len(self.cols), self.f, self.fp, self.taps, self.tapsp
        if self.relu:
            dy = self.where_alive(dy, self.y)
        wide = self.columns("dy", dy.reshape(m, f), fp)
        dW = self.buffer("dw", (k, fp))
        sizes = Sizes(k, m, fp, 1, k, fp, fp)
        self.product_over_batch(self.cols, sizes, wide, dW, n)  # cols.T @ dy
        self.grads["W"].reshape(k, f)[:] = dW[:, :f]
        self.bias_gradient(wide, n)
        if not need_dx:
            return None
        wt = self.buffer("wt", (f, kp))
        wt[:, :k] = self.params["W"].reshape(k, f).T
        dcols = self.buffer("dcols", (m, kp))
        self.product(wide, Sizes(m, f, kp, fp, 1, kp, kp), wt, dcols)  # dy @ W.T
        return self.add_patches(dcols, n, self.dx((n, *self.image), dy))


class ConvTransposeGroup(PatchGroup):
    """A transposed convolution: a product, and its patches added up."""

    kernel = "a product, and patches added up"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        first = layers[0]
        super().__init__(layers, gradients, first.output_shape, first.input_shape[:2])
        self.c = first.input_shape[2]
        self.cp = padded(self.c, self.dtype)

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        n, c, k, kp = len(x), self.c, self.taps, self.tapsp
        m = n * self.places[0] * self.places[1]
        self.x = self.contiguous("small", x).reshape(m, c)
        wt, cols = self.buffer("wt", (c, kp)), self.buffer("cols of x", (m, kp))
        self.call(transpose, self.params["W"].reshape(-1), k, c, wt.reshape(-1), kp)
        self.product(self.x, Sizes(m, c, kp, c, 1, kp, kp), wt, cols)  # x @ W.T
        y = self.add_patches(cols, n, self.buffer("y", (n, *self.image)))
        if "b" in self.params:
            self.call(add_bias, y.reshape(-1), self.params["b"])
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        n, m, c, cp, k = len(dy), len(self.x), self.c, self.cp, self.taps
        dcols = self.patches(dy)
        x = self.columns("x wide", self.x, cp)
        dW = self.buffer("dw", (k, cp))
        self.product_over_batch(dcols, Sizes(k, m, cp, 1, k, cp, cp), x, dW, n)  # dcols.T @ x
        self.grads["W"].reshape(k, c)[:] = dW[:, :c]
        self.bias_gradient(self.contiguous("dy in one", dy).reshape(-1, self.image[2]), n)
        if not need_dx:
            return None
        W = self.columns("w", self.params["W"].reshape(k, c), cp)
        dx = self.dx((m, cp), dy)
        self.product(dcols, Sizes(m, k, cp, k, 1, cp, cp), W, dx)  # dcols @ W
        return self.narrow("dx", dx, c).reshape(n, *self.places, c)


@serial  # little work: weights
def transpose(a, m, k, out, width):
    """out (k, width) <- a (m, k), transposed, with zeros after it."""
    for p in range(k):
        row = out[p * width : (p + 1) * width]
        for i in range(m):
            row[i] = a[i * k + p]
        row[m:] = 0


@parallel
def add_bias(worker, y, b):
    """y (rows, f) += b (f,)."""
    f = b.size
    rows = y.size // f
    for shard in own_parts(worker, SHARDS):
        for i in range(shard * rows // SHARDS, (shard + 1) * rows // SHARDS):
            row = y[i * f : (i + 1) * f]
            for k in range(f):
                row[k] += b[k]
