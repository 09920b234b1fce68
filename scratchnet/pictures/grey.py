"""Colours -> one grey channel in which the ink stands out from the paper."""

import numpy as np
from numpy.typing import NDArray

from .arrays import coarse, odd, slide


def to_grey(pixels: NDArray) -> tuple[NDArray, str]:
    """Grey along the axis in colour space on which ink and paper differ most.

    The usual luminance weights would make yellow on white nearly vanish. The axis is the first
    principal component of the colours, after the slow changes of the lighting are taken out.
    """
    if pixels.ndim == 2:
        return pixels, "already grey"
    grid = coarse(pixels)
    fast = grid - slide(grid, odd(max(grid.shape[:2]) / 4), np.mean)
    colours = fast.reshape(-1, 3).astype(np.float64)
    axis = np.linalg.eigh(colours.T @ colours)[1][:, -1]  # eigh sorts upwards
    if axis.sum() < 0:  # what is light stays light, where that has a meaning
        axis = -axis
    axis /= np.abs(axis).sum()
    # A negative weight is that of the channel's complement, which keeps the result within 0..255.
    grey = pixels @ axis - 255 * axis.clip(max=0).sum()
    weights = ", ".join(f"{weight:.2f}" for weight in axis)
    return grey.astype(np.float32), f"red, green and blue weighted by {weights}"
