"""Conv2D: a small pattern of weights, laid over every position of the image.

This file holds the mathematics of a convolution, forward and backward, as two matrix products. The
only thing it leaves to a kernel is the copying of pixels (im2col, and its transpose col2im).
"""

from typing import Any

import numpy as np

from .. import initializers, regularizers
from ..errors import InputError, check_flag, is_whole, shown
from ..regularizers import L1L2
from .base import Array, Footprint, Layer, Shape, image_shape
from .functions import col2im, im2col, sum_rows
from .named import checked_activation
from .registry import register
from .window import Pair, checked_padding, fitted, pair, spread, window_footprint

__all__ = ["Conv2D"]


@register(
    gradient="dW[u, v, c, f] = Σ x[i+u, j+v, c] · dy[i, j, f],  db[f] = Σ dy[i, j, f],  "
    "and dx takes each dy back through the filter that made it",
    axes={"W": ("row", "column", "input map", "filter"), "b": ("filter",)},
)
class Conv2D(Layer):
    """Two-dimensional convolution (cross-correlation, as all frameworks have it).

    activation   the name of one, such as "relu", that the model is to append after this layer, as
                 the layer ReLU() (see named.py)
    kernel_regularizer   a price on large W that is added to the loss and to dW: an L1, L2 or L1L2,
                 a name, or a number, which means L2 (see regularizers.py)

    Shapes    x (n, h, w, c) -> y (n, out_h, out_w, f), with f = filters
              W (kh, kw, c, f); b (f,); strides (sh, sw); pads (top, bottom, left, right)
              dilation_rate (dh, dw): the window looks at every dh-th row and dw-th column, and
              spans (kh - 1) dh + 1 rows: more is seen, with as many weights
              out_h = (h + top + bottom - (kh - 1) dh - 1) // sh + 1, out_w likewise

    Forward   y[n,i,j,f] = b[f] + sum_{u,v,c} x[n, i sh + u dh - top, j sw + v dw - left, c]
                                              W[u,v,c,f]
              with x = 0 outside the image.

              For one output position the sum is a dot product of W[..., f] with the patch of x
              under the window. Write each patch as a row: `cols`, one row a position, kh*kw*c
              columns. Then all positions and all filters at once are

                  y = cols @ W + b        (n*out_h*out_w, kh*kw*c) @ (kh*kw*c, f)

    Backward  L depends on W only through y, and y[p,f] = sum_k cols[p,k] W[k,f] + b[f], so

                  dL/dW[k,f]    = sum_p dL/dy[p,f] dy[p,f]/dW[k,f] = sum_p cols[p,k] dy[p,f]
                  dL/db[f]      = sum_p dy[p,f]
                  dL/dcols[p,k] = sum_f dy[p,f] W[k,f]

              or   dW = cols.T @ dy,   db = sum over positions of dy,   dcols = dy @ W.T.

              A pixel of x was copied into the rows of all the windows that contain it. A value
              that is used several times collects the gradient of each use, so dx adds up the
              copies: dx = col2im(dcols), the transpose of the copying.

    Cache     cols. It is kh*kw / (sh*sw) times as large as x; keeping it saves a second im2col.
    Edges     padding "same" puts the odd zero at the bottom and right, as TensorFlow does.
              Strides and dilation together are right here and in PyTorch; Keras refuses them.
              An empty batch gives an empty output and zero gradients.
    Source    Goodfellow, Bengio and Courville 2016, "Deep Learning", section 9.1 and eq. 9.6 to
              9.10; im2col: Chellapilla, Puri and Simard 2006; dilation: Yu and Koltun 2016,
              "Multi-Scale Context Aggregation by Dilated Convolutions", section 2.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int],
        strides: int | tuple[int, int] = 1,
        padding: Any = "valid",
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
        dilation_rate: int | tuple[int, int] = 1,
        activation: str | None = None,
        kernel_regularizer: L1L2 | str | float | None = None,
    ) -> None:
        super().__init__()
        if not is_whole(filters, 1):
            raise InputError(
                f"Conv2D filters: expected a positive whole number, found {shown(filters)}"
            )
        self.filters = int(filters)
        self.kernel_size = pair(kernel_size, "Conv2D kernel_size")
        self.strides = pair(strides, "Conv2D strides")
        self.padding = checked_padding(padding, "Conv2D")
        self.dilation_rate = pair(dilation_rate, "Conv2D dilation_rate")
        self.use_bias = check_flag("Conv2D use_bias", use_bias)
        self.kernel_initializer = kernel_initializer
        initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer, "Conv2D kernel_regularizer")
        self.activation = checked_activation("Conv2D", activation)

    @property
    def span(self) -> Pair:
        """How many rows and columns the window spans, the gaps of a dilation included."""
        return spread(self.kernel_size, self.dilation_rate)

    def shape_after(self, input_shape: Shape) -> Shape:
        h, w, _ = image_shape(self, input_shape)
        _, size = fitted(self, (h, w), self.span, self.strides, self.padding)
        return (*size, self.filters)

    def place_window(self, input_shape: Shape) -> None:
        h, w, _ = input_shape
        self.pads, _ = fitted(self, (h, w), self.span, self.strides, self.padding)

    def footprint(self, input_shape: Shape) -> Footprint:
        where = self.kernel_size, self.strides, self.padding, self.dilation_rate
        return window_footprint(input_shape, self.shape_after(input_shape), *where)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        W = (*self.kernel_size, input_shape[2], self.filters)
        return {"W": W, "b": (self.filters,)} if self.use_bias else {"W": W}

    def initialize(self, rng: np.random.Generator) -> None:
        W = self.params["W"]
        kh, kw, c, f = W.shape
        start = initializers.get(self.kernel_initializer)
        W[:] = start(W.shape, kh * kw * c, kh * kw * f, rng, W.dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        n = len(x)
        out_h, out_w, f = self.output_shape
        W = self.params["W"].reshape(-1, f)  # (kh*kw*c, f)

        where = self.kernel_size, self.strides, self.pads, self.dilation_rate
        cols = im2col(x, *where)
        y = cols @ W  # (n*out_h*out_w, kh*kw*c) @ (kh*kw*c, f) -> (n*out_h*out_w, f)
        if self.use_bias:
            y += self.params["b"]

        self.keep(x, cols)
        return y.reshape(n, out_h, out_w, f)

    def backward(self, dy: Array) -> Array:
        cols = self.kept(dy)
        n = len(dy)
        f = self.filters
        W = self.params["W"].reshape(-1, f)  # (kh*kw*c, f)
        dy = dy.reshape(-1, f)  # (n*out_h*out_w, f)

        dW = cols.T @ dy  # (kh*kw*c, n*out_h*out_w) @ (n*out_h*out_w, f) -> (kh*kw*c, f)
        self.grads["W"][:] = dW.reshape(self.params["W"].shape)
        if self.use_bias:
            self.grads["b"][:] = sum_rows(dy)

        dcols = dy @ W.T  # (n*out_h*out_w, f) @ (f, kh*kw*c) -> (n*out_h*out_w, kh*kw*c)
        h, w, c = self.input_shape
        where = self.kernel_size, self.strides, self.pads, self.dilation_rate
        return col2im(dcols, (n, h, w, c), *where)

    def multiply_adds(self) -> int:
        out_h, out_w, _ = self.output_shape
        return out_h * out_w * self.params["W"].size

    def config(self) -> dict[str, Any]:
        price = self.kernel_regularizer
        # an older version reads the files of networks without gaps
        dilated = {"dilation_rate": self.dilation_rate} if self.dilation_rate != (1, 1) else {}
        return {
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "padding": self.padding,
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer,
            **dilated,
            **({"activation": self.activation} if self.activation else {}),
            **({"kernel_regularizer": price.config()} if price else {}),
        }
