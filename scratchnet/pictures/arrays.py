"""Small tools on images as arrays, used by every stage.

Pillow, which resizes, is imported when first used: importing the package stays light.
"""

import numpy as np
from numpy.typing import NDArray

GRID_SIDE = 96  # paper and shadows are smooth: a coarse grid is enough to estimate them


def odd(size: float) -> int:
    """An odd integer close to `size`: a window of that size has a middle."""
    return int(size) // 2 * 2 + 1


def average(image: NDArray, size: int) -> NDArray:
    """The mean over a window of size x size around every pixel, size odd and small; (h, w)."""
    for axis in (0, 1):
        padded = _padded(image, size, axis)
        total = padded[: 1 - size or None].copy()
        for k in range(1, size):
            total += padded[k : k + len(total)]
        image = (total / size).swapaxes(0, axis)
    return image


def lowest(image: NDArray, size: int) -> NDArray:
    """The minimum over a window of size x size around every pixel, size odd; (h, w).

    A window of 2 k is two windows of k: so it takes a few steps, however large the window is.
    """
    for axis in (0, 1):
        run, width = _padded(image, size, axis), 1
        while 2 * width <= size:
            run = np.minimum(run[:-width], run[width:])
            width *= 2
        if width < size:
            run = np.minimum(run[: width - size], run[size - width :])
        image = run.swapaxes(0, axis)
    return image


def highest(image: NDArray, size: int) -> NDArray:
    """The maximum over a window of size x size around every pixel, size odd; (h, w)."""
    return ~lowest(~image, size) if image.dtype == bool else -lowest(-image, size)


def opened(image: NDArray, size: int) -> NDArray:
    """A morphological opening: what is bright and narrower than the window is gone."""
    return highest(lowest(image, size), size)


def _padded(image: NDArray, size: int, axis: int) -> NDArray:
    """With the axis in front, and its ends repeated by half a window."""
    return np.pad(image.swapaxes(0, axis), ((size // 2,) * 2, (0, 0)), mode="edge")


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
