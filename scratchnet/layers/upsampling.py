"""UpSampling2D: every pixel becomes several, so that a small map grows to the size of an image."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, shown
from .base import Array, Layer, Shape, image_shape
from .registry import register
from .window import pair

__all__ = ["UpSampling2D"]


class Between(NamedTuple):
    """Where along one axis each new pixel stands between two old ones.

    low, high    the old pixel before it and the one after it, (size,); at the border the same
    part         how far it is on the way from low to high, 0 to 1, (size,)
    """

    low: NDArray[np.intp]
    high: NDArray[np.intp]
    part: NDArray[np.float64]


def between(extent: int, factor: int) -> Between:
    """Of each of extent * factor new pixels: which old ones it lies between.

    Pixels are squares side by side, so new pixel i has its middle at (i + 1/2) / factor of the old
    image, and an old one at its number + 1/2.
    """
    middle = (np.arange(extent * factor) + 0.5) / factor - 0.5
    middle = middle.clip(0, extent - 1)  # beyond the outermost middles there is nothing to mix with
    low = np.floor(middle).astype(np.intp)
    return Between(low, np.minimum(low + 1, extent - 1), middle - low)


def _stretch(x: Array, axis: int, at: Between) -> Array:
    """The new pixels along one axis: (1 - part) * x[low] + part * x[high]."""
    sizes = [1] * x.ndim
    sizes[axis] = len(at.part)
    part = at.part.astype(x.dtype).reshape(sizes)
    return (1 - part) * x.take(at.low, axis) + part * x.take(at.high, axis)


def _gather(dy: Array, axis: int, at: Between, extent: int) -> Array:
    """The transpose of `_stretch`: each old pixel collects from the new ones that it is part of."""
    dy = np.moveaxis(dy, axis, 0)
    part = at.part.astype(dy.dtype).reshape(-1, *[1] * (dy.ndim - 1))
    dx = np.zeros((extent, *dy.shape[1:]), dy.dtype)
    np.add.at(dx, at.low, (1 - part) * dy)
    np.add.at(dx, at.high, part * dy)
    return np.moveaxis(dx, 0, axis)


@register(
    gradient="each x collects the dy of all pixels that were made from it",
    uses_blas=False,
)
class UpSampling2D(Layer):
    """An image made larger by whole numbers.

    size            (sh, sw): how many rows and columns each one becomes
    interpolation   "nearest", every pixel a block of its own value; or "bilinear", in between a
                    mixture of the two nearest along each axis

    Shapes    x (n, h, w, c) -> y (n, h * sh, w * sw, c)
    Forward   nearest    y[n,i,j,c] = x[n, i // sh, j // sw, c]
              bilinear   with A[i,k] the share of old row k in new row i (two of them are not 0 and
                         add up to 1), and B the same for columns:
                         y[n,i,j,c] = sum_{k,l} A[i,k] B[j,l] x[n,k,l,c]
                         First along the rows, then along the columns: two short sums.
    Backward  y is linear in x, so each x collects the dy of all its copies, times its share:

                  nearest    dx[n,k,l,c] = sum of dy over the block of (k, l)
                  bilinear   dx[n,k,l,c] = sum_{i,j} A[i,k] B[j,l] dy[n,i,j,c]
    Cache     nothing; the shares follow from the sizes.
    Edges     bilinear: beyond the middles of the outermost pixels their value goes on, as in Keras,
              PyTorch (align_corners=False) and ONNX (half_pixel).
    Source    Odena, Dumoulin and Olah 2016, "Deconvolution and Checkerboard Artifacts"; bilinear:
              Long, Shelhamer and Darrell 2015, section 3.3.
    """

    def __init__(self, size: int | tuple[int, int] = 2, interpolation: str = "nearest") -> None:
        super().__init__()
        self.size = pair(size, "UpSampling2D size")
        if interpolation not in ("nearest", "bilinear"):
            raise InputError(
                'UpSampling2D interpolation: expected "nearest" or "bilinear", '
                f"found {shown(interpolation)}"
            )
        self.interpolation = interpolation

    def shape_after(self, input_shape: Shape) -> Shape:
        h, w, c = image_shape(self, input_shape)
        return (h * self.size[0], w * self.size[1], c)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        self.keep(x, ())
        (h, w, _), (sh, sw) = self.input_shape, self.size
        if self.interpolation == "nearest":
            return x.repeat(sh, axis=1).repeat(sw, axis=2)
        return _stretch(_stretch(x, 1, between(h, sh)), 2, between(w, sw))

    def backward(self, dy: Array) -> Array:
        self.kept(dy)
        (h, w, c), (sh, sw) = self.input_shape, self.size
        if self.interpolation == "nearest":
            blocks = dy.reshape(len(dy), h, sh, w, sw, c)
            return blocks.sum(axis=(2, 4))  # (n, h, sh, w, sw, c) -> (n, h, w, c)
        return _gather(_gather(dy, 2, between(w, sw), w), 1, between(h, sh), h)

    def config(self) -> dict[str, Any]:
        return {"size": self.size, "interpolation": self.interpolation}
