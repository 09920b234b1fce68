"""ZeroPadding2D: a frame of zeros around the image, as a layer of its own."""

from typing import Any

import numpy as np

from ..errors import InputError, shown
from .base import Array, Layer, Shape, image_shape
from .registry import register
from .window import pads_for, plain

__all__ = ["ZeroPadding2D"]


@register(gradient="dx is dy without the frame", uses_blas=False)
class ZeroPadding2D(Layer):
    """Zeros around the image, so that windows reach its corners as often as its middle.

    padding   p on every side; (ph, pw), rows above and below and columns left and right; or
              ((top, bottom), (left, right))

    Shapes    x (n, h, w, c) -> y (n, top + h + bottom, left + w + right, c)
    Forward   y[n,i,j,c] = x[n, i - top, j - left, c] inside the image, 0 in the frame
    Backward  each pixel of x is copied to one place of y, and gets the gradient of that place; the
              frame does not depend on x: dx[n,i,j,c] = dy[n, i + top, j + left, c].
    Cache     nothing.
    Source    Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning",
              section 2.2.
    """

    def __init__(self, padding: Any = 1) -> None:
        super().__init__()
        if isinstance(padding, str):
            raise InputError(
                "ZeroPadding2D padding: expected a whole number, (ph, pw) or "
                f"((top, bottom), (left, right)), found {shown(padding)}"
            )
        try:
            self.pads = pads_for(padding, (1, 1), (1, 1), (1, 1))
        except InputError as error:
            raise InputError(f"ZeroPadding2D {error}") from None
        self.padding = plain(padding)

    def shape_after(self, input_shape: Shape) -> Shape:
        h, w, c = image_shape(self, input_shape)
        top, bottom, left, right = self.pads
        return (top + h + bottom, left + w + right, c)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        self.keep(x, ())
        top, bottom, left, right = self.pads
        return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))

    def backward(self, dy: Array) -> Array:
        self.kept(dy)
        top, _, left, _ = self.pads
        h, w, _ = self.input_shape
        return dy[:, top : top + h, left : left + w].copy()

    def config(self) -> dict[str, Any]:
        return {"padding": self.padding}
