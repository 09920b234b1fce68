"""Pooling: each window of an image becomes one value, channel by channel.

MaxPool2D keeps the largest, AveragePool2D the mean; GlobalMaxPool2D and GlobalAveragePool2D have
the whole image for a window. None has parameters; what is worth studying is where each sends the
gradient.
"""

from typing import Any

import numpy as np

from ..errors import InputError
from .base import Array, Footprint, Layer, Shape, image_shape
from .functions import average_pool, average_pool_backward, max_pool, max_pool_backward
from .registry import register
from .window import checked_padding, fitted, pair, window_footprint

__all__ = ["AveragePool2D", "GlobalAveragePool2D", "GlobalMaxPool2D", "MaxPool2D"]


class _Pool2D(Layer):
    """Window, strides and padding: what both kinds of pooling share."""

    def __init__(
        self,
        pool_size: int | tuple[int, int] = 2,
        strides: int | tuple[int, int] | None = None,
        padding: Any = "valid",
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        self.pool_size = pair(pool_size, f"{kind} pool_size")
        self.strides = self.pool_size if strides is None else pair(strides, f"{kind} strides")
        self.padding = checked_padding(padding, kind)

    def shape_after(self, input_shape: Shape) -> Shape:
        h, w, c = image_shape(self, input_shape)
        pads, size = fitted(self, (h, w), self.pool_size, self.strides, self.padding)
        if max(pads[:2]) >= self.pool_size[0] or max(pads[2:]) >= self.pool_size[1]:
            raise InputError(
                f"{self}: expected padding smaller than the window, found {pads}: "
                "a window of nothing but padding has no value"
            )
        return (*size, c)

    def place_window(self, input_shape: Shape) -> None:
        h, w, _ = input_shape
        self.pads, _ = fitted(self, (h, w), self.pool_size, self.strides, self.padding)

    def footprint(self, input_shape: Shape) -> Footprint:
        return window_footprint(
            input_shape, self.shape_after(input_shape), self.pool_size, self.strides, self.padding
        )

    def config(self) -> dict[str, Any]:
        return {"pool_size": self.pool_size, "strides": self.strides, "padding": self.padding}


@register(
    gradient="each dy goes to the one pixel that was the largest of its window; the others get 0",
    uses_blas=False,
)
class MaxPool2D(_Pool2D):
    """Max pooling: the largest value of each window.

    Shapes    x (n, h, w, c) -> y (n, out_h, out_w, c); pool_size (kh, kw); strides default to it
    Forward   y[n,i,j,c] = max_{u,v} x[n, i*sh + u - top, j*sw + v - left, c]
    Backward  y is a copy of one pixel of its window, the winner. Moving that pixel by a little
              moves y by as much; moving any other pixel a little moves y not at all. So

                  dx[winner of (i,j)] += dy[i,j],   and every other pixel gets nothing.

              `+=`, because windows overlap where the stride is smaller than the window, and one
              pixel may win several times.
    Cache     which pixel won, as its number u*kw + v in the window: one byte a value. x itself is
              not needed.
    Edges     a tie has no derivative; the first of the equals in row-major order takes all, as in
              PyTorch. Padding never wins. A NaN wins over every number, so it is seen.
    Source    Goodfellow, Bengio and Courville 2016, section 9.3.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        y, winner = max_pool(x, self.pool_size, self.strides, self.pads)
        self.keep(x, winner)  # (n, out_h, out_w, c)
        return y

    def backward(self, dy: Array) -> Array:
        winner = self.kept(dy)
        h, w, c = self.input_shape
        where = self.pool_size, self.strides, self.pads
        return max_pool_backward(dy, winner, (len(dy), h, w, c), *where)


@register(
    gradient="each dy is shared evenly among the pixels of its window",
    uses_blas=False,
)
class AveragePool2D(_Pool2D):
    """Average pooling: the mean of each window.

    Shapes    x (n, h, w, c) -> y (n, out_h, out_w, c); pool_size (kh, kw); strides default to it
    Forward   y[n,i,j,c] = 1/m sum_{u,v} x[n, i*sh + u - top, j*sw + v - left, c], where m is the
              number of pixels of the image in that window: kh*kw away from the padding
    Backward  dy[i,j]/dx = 1/m for each pixel of the window, so each gets dy[i,j] / m; a pixel in
              several windows gets the sum.
    Cache     nothing; the shape says it all.
    Edges     padding is not counted in the mean, as in Keras and ONNX. (PyTorch counts it unless
              count_include_pad=False.)
    Source    LeCun et al. 1998, section II.B, "sub-sampling".
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        self.keep(x, ())
        return average_pool(x, self.pool_size, self.strides, self.pads)

    def backward(self, dy: Array) -> Array:
        self.kept(dy)
        h, w, c = self.input_shape
        where = self.pool_size, self.strides, self.pads
        return average_pool_backward(dy, (len(dy), h, w, c), *where)


@register(
    gradient="each dy is shared evenly among all pixels of its map",
    uses_blas=False,
)
class GlobalAveragePool2D(Layer):
    """The mean of each channel over the whole image.

    Shapes    x (n, h, w, c) -> y (n, c)
    Forward   y[n,c] = 1/(h*w) sum_{i,j} x[n,i,j,c]
    Backward  dx[n,i,j,c] = dy[n,c] / (h*w), the same at every position
    Cache     nothing.
    Source    Lin, Chen and Yan 2014, "Network in Network", section 3.2.
    """

    def shape_after(self, input_shape: Shape) -> Shape:
        return (image_shape(self, input_shape)[2],)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        self.keep(x, ())
        return x.mean(axis=(1, 2))  # (n, h, w, c) -> (n, c)

    def backward(self, dy: Array) -> Array:
        self.kept(dy)
        h, w, c = self.input_shape
        share = dy / (h * w)  # (n, c)
        return np.broadcast_to(share[:, None, None, :], (len(dy), h, w, c)).copy()


@register(
    gradient="each dy goes to the one pixel that was the largest of its map; the others get 0",
    uses_blas=False,
)
class GlobalMaxPool2D(Layer):
    """The largest value of each channel, wherever in the image it is.

    Shapes    x (n, h, w, c) -> y (n, c)
    Forward   y[n,c] = max_{i,j} x[n,i,j,c]
    Backward  as in MaxPool2D, with the image as the only window: dx is dy[n,c] at the pixel that
              won, and 0 everywhere else. A channel learns from one place of each image.
    Cache     which pixel won, as its number i*w + j.
    Edges     of equals the first in row-major order takes all, as in PyTorch (TensorFlow shares the
              gradient among them). A NaN wins over every number, so it is seen.
    Source    Oquab et al. 2015, "Is object localization for free?", section 3.
    """

    def shape_after(self, input_shape: Shape) -> Shape:
        return (image_shape(self, input_shape)[2],)

    def footprint(self, input_shape: Shape) -> Footprint:
        h, w, c = image_shape(self, input_shape)
        return Footprint(c, h * w * max(c, 512))

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        h, w, _ = self.input_shape
        y, winner = max_pool(x, (h, w), (1, 1), (0, 0, 0, 0))
        self.keep(x, winner)  # (n, 1, 1, c)
        return y[:, 0, 0]  # (n, 1, 1, c) -> (n, c)

    def backward(self, dy: Array) -> Array:
        winner = self.kept(dy)
        h, w, c = self.input_shape
        dy = dy[:, None, None]  # (n, c) -> (n, 1, 1, c)
        return max_pool_backward(dy, winner, (len(dy), h, w, c), (h, w), (1, 1), (0, 0, 0, 0))
