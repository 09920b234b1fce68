"""Conv2DTranspose: a convolution's backward pass as a layer, which makes images larger.

A decoder goes the way of an encoder back: where Conv2D with a stride makes a small map of a large
image, this makes a large image of a small map. im2col and col2im are those of conv.py, with their
places exchanged.
"""

from typing import Any

import numpy as np

from .. import initializers
from ..errors import InputError, check_flag, is_whole, shown
from .base import Array, Footprint, Layer, Shape, image_shape
from .functions import col2im, im2col, sum_rows
from .registry import register
from .window import Pads, Pair, checked_padding, pads_for, pair

__all__ = ["Conv2DTranspose"]


@register(
    gradient="dW[u, v, f, c] = Σ x[i, j, c] · dy[i+u, j+v, f],  db[f] = Σ dy[p, q, f],  "
    "and dx is the convolution of dy with the filters",
    axes={"W": ("row", "column", "filter", "input map"), "b": ("filter",)},
)
class Conv2DTranspose(Layer):
    """Transposed convolution: every pixel of x lays the filters, times its value, onto y.

    filters   channels of y, f
    padding   "valid": nothing is cut off. "same": y is sh and sw times as large as x, the odd row
              cut off at the bottom and right. A whole number, a pair, or pairs as in Conv2D: so
              many rows and columns are cut off each side of y.

    Shapes    x (n, h, w, c) -> y (n, out_h, out_w, f)
              W (kh, kw, f, c); b (f,); strides (sh, sw); pads (top, bottom, left, right)
              out_h = (h - 1) sh + kh - top - bottom, out_w likewise; where the stride is larger
              than the window, "valid" and "same" end in rows that no pixel reaches: h sh in all

    Forward   y[n,p,q,f] = b[f] + sum_{i,j,u,v,c} x[n,i,j,c] W[u,v,f,c]
                                  over i sh + u - top = p and j sw + v - left = q

              The backward pass of a Conv2D from y's shape to x's, as a forward. There, with a row
              of `cols` for each window, dcols = dy @ W.T, and col2im adds up what overlaps. Here x
              stands where dy stood:

                  cols = x @ W.T          (n*h*w, c) @ (c, kh*kw*f)
                  y    = col2im(cols) + b

    Backward  col2im is linear and im2col its transpose, so the gradient of each line is a line of
              Conv2D's forward:

                  dcols = im2col(dy)
                  dW    = dcols.T @ x     (kh*kw*f, n*h*w) @ (n*h*w, c)
                  dx    = dcols @ W       (n*h*w, kh*kw*f) @ (kh*kw*f, c)
                  db    = sum over positions of dy

    Cache     x.
    Edges     windows that overlap unevenly (kernel_size no multiple of strides) leave a pattern of
              squares; where no window reaches, y is b.
    Source    Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning",
              section 4; Zeiler et al. 2010, "Deconvolutional networks".
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: Any = "valid",
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        super().__init__()
        if not is_whole(filters, 1):
            raise InputError(
                f"Conv2DTranspose filters: expected a positive whole number, found {shown(filters)}"
            )
        self.filters = int(filters)
        self.kernel_size = pair(kernel_size, "Conv2DTranspose kernel_size")
        self.strides = pair(strides, "Conv2DTranspose strides")
        self.padding = checked_padding(padding, "Conv2DTranspose")
        self.use_bias = check_flag("Conv2DTranspose use_bias", use_bias)
        self.kernel_initializer = kernel_initializer
        initializers.get(kernel_initializer)

    def _grown(self, input_shape: Shape) -> tuple[Pads, Pair]:
        """What is cut off, in numbers, and the output's height and width."""
        size = image_shape(self, input_shape)[:2]
        steps = list(zip(size, self.kernel_size, self.strides, strict=True))
        if self.padding == "same":
            h, w = (extent * s for extent, _, s in steps)
            return pads_for("same", (h, w), self.kernel_size, self.strides), (h, w)
        top, bottom, left, right = pads = pads_for(self.padding, size, (1, 1), (1, 1))
        h, w = ((extent - 1) * s + k for extent, k, s in steps)
        if self.padding == "valid":
            h, w = (extent * s + max(k - s, 0) for extent, k, s in steps)
        out = h - top - bottom, w - left - right
        if min(out) < 1:
            raise InputError(f"{self}: expected to cut off less than all of {h}x{w}, found {pads}")
        return pads, out

    def shape_after(self, input_shape: Shape) -> Shape:
        return (*self._grown(input_shape)[1], self.filters)

    def place_window(self, input_shape: Shape) -> None:
        self.pads, _ = self._grown(input_shape)

    def footprint(self, input_shape: Shape) -> Footprint:
        (h, w, _), (out_h, out_w, f) = input_shape, self.shape_after(input_shape)
        top, bottom, left, right = self._grown(input_shape)[0]
        padded = (out_h + top + bottom) * (out_w + left + right) * f
        kh, kw = self.kernel_size
        return Footprint(padded + out_h * out_w * f, kh * kw * max(h * w * f, 512))

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        W = (*self.kernel_size, self.filters, input_shape[2])
        return {"W": W, "b": (self.filters,)} if self.use_bias else {"W": W}

    def initialize(self, rng: np.random.Generator) -> None:
        W = self.params["W"]
        kh, kw, f, c = W.shape
        start = initializers.get(self.kernel_initializer)
        W[:] = start(W.shape, kh * kw * c, kh * kw * f, rng, W.dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        n, c = len(x), self.input_shape[2]
        W = self.params["W"].reshape(-1, c)  # (kh*kw*f, c)

        cols = x.reshape(-1, c) @ W.T  # (n*h*w, c) @ (c, kh*kw*f) -> (n*h*w, kh*kw*f)
        where = self.kernel_size, self.strides, self.pads
        out_h, out_w, f = self.output_shape
        y = col2im(cols, (n, out_h, out_w, f), *where)
        if self.use_bias:
            y += self.params["b"]

        self.keep(x, x)
        return y

    def backward(self, dy: Array) -> Array:
        x = self.kept(dy)
        c, f = self.input_shape[2], self.filters
        W = self.params["W"].reshape(-1, c)  # (kh*kw*f, c)

        dcols = im2col(dy, self.kernel_size, self.strides, self.pads)  # (n*h*w, kh*kw*f)
        dW = dcols.T @ x.reshape(-1, c)  # (kh*kw*f, n*h*w) @ (n*h*w, c) -> (kh*kw*f, c)
        self.grads["W"][:] = dW.reshape(self.params["W"].shape)
        if self.use_bias:
            self.grads["b"][:] = sum_rows(dy.reshape(-1, f))

        dx = dcols @ W  # (n*h*w, kh*kw*f) @ (kh*kw*f, c) -> (n*h*w, c)
        return dx.reshape(x.shape)

    def multiply_adds(self) -> int:
        h, w, _ = self.input_shape
        return h * w * self.params["W"].size

    def config(self) -> dict[str, Any]:
        return {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer,
        }
