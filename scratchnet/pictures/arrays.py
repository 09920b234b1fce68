"""Small tools on images as arrays, used by every stage.

Pillow, which resizes, is imported when first used: importing the package stays light.
"""

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

GRID_SIDE = 96  # paper and shadows are smooth: a coarse grid is enough to estimate them


def odd(size: float) -> int:
    """An odd integer close to `size`: a window of that size has a middle."""
    return int(size) // 2 * 2 + 1


def slide(image: NDArray, size: int, take: Callable[..., NDArray]) -> NDArray:
    """`take` (np.min, np.max, np.mean) over a window of size x size around every pixel."""
    for axis in (0, 1):
        margins = [(size // 2,) * 2 if a == axis else (0, 0) for a in range(image.ndim)]
        padded = np.pad(image, margins, mode="edge")
        image = take(sliding_window_view(padded, size, axis=axis), axis=-1)
    return image


def extent(mask: NDArray) -> tuple[slice, slice]:
    """The rows and columns of the smallest box that holds all of `mask`."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def resize_to(image: NDArray, shape: tuple[int, ...]) -> NDArray:
    """The image in a new shape (h, w); averaging where it shrinks, interpolating where it grows."""
    from PIL import Image

    resized = Image.fromarray(image.astype(np.float32)).resize(
        (shape[1], shape[0]), Image.Resampling.BILINEAR
    )
    return np.asarray(resized)


def coarse(image: NDArray) -> NDArray:
    """The image, grey or colour, with its longer side at most GRID_SIDE, averaging."""
    scale = GRID_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    shape = tuple(max(1, round(length * scale)) for length in image.shape[:2])
    if image.ndim == 2:
        return resize_to(image, shape)
    return np.stack([resize_to(image[:, :, c], shape) for c in range(image.shape[2])], axis=-1)


def to_uint8(image: NDArray) -> NDArray:
    """Rounded to the nearest grey level, ready to show."""
    return np.rint(image).clip(0, 255).astype(np.uint8)
