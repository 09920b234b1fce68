"""Colours -> one grey channel in which the ink stands out from the paper."""

import numpy as np
from numpy.typing import NDArray

from .arrays import coarse, odd, opened


def to_grey(pixels: NDArray) -> tuple[NDArray, NDArray | None, str]:
    """Grey along the axis in colour space on which ink and paper differ most.

    The usual luminance weights would make yellow on white nearly vanish. The axis is the first
    principal component of what is narrow, lighter or darker than around it: the strokes, and the
    paper between them. Light and shadows are wide, whatever their edges, and have no say.

    Returns the grey image, the axis (the weights of red, green and blue; None for an image that is
    grey already) and a sentence.
    """
    if pixels.ndim == 2:
        return pixels, None, "already grey"
    grid = coarse(pixels)
    size = odd(sum(grid.shape[:2]) / 6)
    channels = np.moveaxis(grid, 2, 0)
    light = np.stack([c - opened(c, size) for c in channels], axis=-1)
    dark = np.stack([c + opened(-c, size) for c in channels], axis=-1)
    colours = np.concatenate([light, dark]).reshape(-1, 3).astype(np.float64)
    axis = np.linalg.eigh(colours.T @ colours)[1][:, -1]  # eigh sorts upwards
    if axis.sum() < 0:  # what is light stays light, where that has a meaning
        axis = -axis
    axis /= np.abs(axis).sum()
    # A negative weight is that of the channel's complement, which keeps the result within 0..255.
    grey = pixels @ axis - 255 * axis.clip(max=0).sum()
    weights = ", ".join(f"{weight:.2f}" for weight in axis)
    return grey.astype(np.float32), axis, f"red, green and blue weighted by {weights}"
