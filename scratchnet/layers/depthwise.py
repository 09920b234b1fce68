"""DepthwiseConv2D: every channel has windows of its own, and is never mixed with the others."""

from typing import Any

import numpy as np

from .. import initializers
from ..errors import InputError, check_flag, is_whole, shown
from .base import Array, Footprint, Layer, Shape, image_shape
from .functions import col2im, im2col, sum_rows
from .registry import register
from .window import Pair, checked_padding, fitted, pair, spread, window_footprint

__all__ = ["DepthwiseConv2D"]


@register(
    gradient="dW[u, v, c, d] = Σ x[i+u, j+v, c] · dy[i, j, c·m + d],  db = Σ dy[i, j],  "
    "and dx takes each dy back through the window of its channel",
    uses_blas=False,
    axes={"W": ("row", "column", "map", "filter of it"), "b": ("filter",)},
)
class DepthwiseConv2D(Layer):
    """A convolution of each channel by itself: m outputs of every channel, c * m in all.

    A Conv2D has a weight for each pair of an input and an output channel; this has c times fewer,
    and as many times less to compute. A Conv2D with a 1x1 window after it mixes the channels.

    depth_multiplier   m
    dilation_rate      (dh, dw), as in Conv2D

    Shapes    x (n, h, w, c) -> y (n, out_h, out_w, c * m), the m outputs of a channel side by side
              W (kh, kw, c, m); b (c * m,); strides (sh, sw); pads (top, bottom, left, right)
              out_h, out_w as Conv2D has them

    Forward   y[n,i,j,c*m+d] = b[c*m+d]
                  + sum_{u,v} x[n, i sh + u dh - top, j sw + v dw - left, c] W[u,v,c,d]

              With a row of `cols` for each position p, as in Conv2D, seen as (kh*kw, c):

                  y[p,c,d] = sum_k cols[p,k,c] W[k,c,d] + b[c,d]

              Only k is summed over. A matrix product would sum over c, too, and mix the channels.

    Backward  y[p,c,d] depends on the weights and the pixels of its own channel only:

                  dL/dW[k,c,d]    = sum_p cols[p,k,c] dy[p,c,d]
                  dL/db[c,d]      = sum_p dy[p,c,d]
                  dL/dcols[p,k,c] = sum_d dy[p,c,d] W[k,c,d],   and dx = col2im(dcols)

    Cache     cols.
    Edges     padding "same" as in Conv2D. Strides and dilation together are right here and in
              PyTorch; Keras refuses them, and strides that are not the same both ways.
    Source    Howard et al. 2017, "MobileNets: Efficient Convolutional Neural Networks for Mobile
              Vision Applications", section 3.1.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: Any = "valid",
        depth_multiplier: int = 1,
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
        dilation_rate: int | tuple[int, int] = 1,
    ) -> None:
        super().__init__()
        if not is_whole(depth_multiplier, 1):
            raise InputError(
                "DepthwiseConv2D depth_multiplier: expected a positive whole number, found "
                f"{shown(depth_multiplier)}"
            )
        self.kernel_size = pair(kernel_size, "DepthwiseConv2D kernel_size")
        self.strides = pair(strides, "DepthwiseConv2D strides")
        self.padding = checked_padding(padding, "DepthwiseConv2D")
        self.depth_multiplier = int(depth_multiplier)
        self.use_bias = check_flag("DepthwiseConv2D use_bias", use_bias)
        self.kernel_initializer = kernel_initializer
        initializers.get(kernel_initializer)
        self.dilation_rate = pair(dilation_rate, "DepthwiseConv2D dilation_rate")

    @property
    def span(self) -> Pair:
        """How many rows and columns the window spans, the gaps of a dilation included."""
        return spread(self.kernel_size, self.dilation_rate)

    def shape_after(self, input_shape: Shape) -> Shape:
        h, w, c = image_shape(self, input_shape)
        _, size = fitted(self, (h, w), self.span, self.strides, self.padding)
        return (*size, c * self.depth_multiplier)

    def place_window(self, input_shape: Shape) -> None:
        h, w, _ = input_shape
        self.pads, _ = fitted(self, (h, w), self.span, self.strides, self.padding)

    def footprint(self, input_shape: Shape) -> Footprint:
        where = self.kernel_size, self.strides, self.padding, self.dilation_rate
        return window_footprint(input_shape, self.shape_after(input_shape), *where)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        c, m = input_shape[2], self.depth_multiplier
        W = (*self.kernel_size, c, m)
        return {"W": W, "b": (c * m,)} if self.use_bias else {"W": W}

    def initialize(self, rng: np.random.Generator) -> None:
        W = self.params["W"]
        kh, kw, _, m = W.shape
        start = initializers.get(self.kernel_initializer)
        W[:] = start(W.shape, kh * kw, kh * kw * m, rng, W.dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        n, (kh, kw, c, m) = len(x), self.params["W"].shape
        out_h, out_w, _ = self.output_shape
        W = self.params["W"].reshape(kh * kw, c, m)

        where = self.kernel_size, self.strides, self.pads, self.dilation_rate
        cols = im2col(x, *where).reshape(-1, kh * kw, c)  # (n*out_h*out_w, kh*kw, c)
        y = np.einsum("pkc,kcd->pcd", cols, W).reshape(n, out_h, out_w, c * m)
        if self.use_bias:
            y += self.params["b"]

        self.keep(x, cols)
        return y

    def backward(self, dy: Array) -> Array:
        cols = self.kept(dy)
        n, (kh, kw, c, m) = len(dy), self.params["W"].shape
        W = self.params["W"].reshape(kh * kw, c, m)
        if self.use_bias:
            self.grads["b"][:] = sum_rows(dy.reshape(-1, c * m))
        dy = dy.reshape(-1, c, m)  # (n*out_h*out_w, c, m)

        dW = np.einsum("pkc,pcd->kcd", cols, dy)  # (kh*kw, c, m)
        self.grads["W"][:] = dW.reshape(kh, kw, c, m)

        dcols = np.einsum("pcd,kcd->pkc", dy, W).reshape(-1, kh * kw * c)
        h, w, _ = self.input_shape
        where = self.kernel_size, self.strides, self.pads, self.dilation_rate
        return col2im(dcols, (n, h, w, c), *where)

    def multiply_adds(self) -> int:
        out_h, out_w, _ = self.output_shape
        return out_h * out_w * self.params["W"].size

    def config(self) -> dict[str, Any]:
        return {
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "depth_multiplier": self.depth_multiplier,
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer,
            "dilation_rate": self.dilation_rate,
        }
