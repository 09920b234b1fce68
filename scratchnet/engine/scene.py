"""`exposed` and `sensed` of datasets/photos/scene.py as Numba loops over the pixels."""

import numpy as np
from numpy.typing import NDArray

from .compiler import inner, serial


def exposed(
    page: NDArray,
    cover: NDArray,
    colour: NDArray,
    lit: NDArray,
    shadow: NDArray,
    dark: NDArray,
    glow: NDArray,
) -> NDArray:
    """Ink on paper under the light, (h, w, 3) uint8: see scene.py."""
    scene = np.empty(page.shape, np.uint8)
    maps = (np.ascontiguousarray(one, np.float32) for one in (cover, lit, shadow, glow))
    cover, lit, shadow, glow = maps
    _expose(np.ascontiguousarray(page), cover, colour, lit, shadow, dark, glow, scene)
    return scene


def sensed(image: NDArray, kernel: NDArray, noise: NDArray) -> NDArray:
    """The image blurred in both directions, and with noise, (h, w, 3) uint8: see scene.py."""
    taken = np.empty(image.shape, np.uint8)
    padded = np.empty((image.shape[0], 3 * (image.shape[1] + len(kernel) - 1)), np.float32)
    _blur_rows(np.ascontiguousarray(image), kernel, padded)
    _blur_columns(padded, kernel, np.ascontiguousarray(noise, np.float32), taken)
    return taken


@inner
def _level(value):
    """0 to 255."""
    return min(max(value, np.float32(0)), np.float32(255))


@serial
def _expose(page, cover, colour, lit, shadow, dark, glow, scene):
    h, w, _ = page.shape
    one = np.float32(1)
    for i in range(h):
        for j in range(w):
            ink, light, part, more = cover[i, j], lit[i, j], shadow[i, j], glow[i, j]
            for c in range(3):
                value = page[i, j, c]
                value = (value + ink * (colour[c] - value)) * light
                value = value * (one + part * (dark[c] - one)) + more
                scene[i, j, c] = np.uint8(_level(value))


@serial
def _blur_rows(image, kernel, out):
    """Each row blurred into out (h, 3 w), whose rows have room for the row with repeated ends."""
    h, w, _ = image.shape
    reach = kernel.size // 2
    row = np.empty(3 * (w + 2 * reach), np.float32)
    for i in range(h):
        for j in range(w + 2 * reach):
            at = min(max(j - reach, 0), w - 1)
            for c in range(3):
                row[3 * j + c] = image[i, at, c]
        for j in range(3 * w):
            out[i, j] = kernel[0] * row[j]
        for k in range(1, kernel.size):
            for j in range(3 * w):
                out[i, j] += kernel[k] * row[j + 3 * k]


@serial
def _blur_columns(rows, kernel, noise, taken):
    h, w, _ = taken.shape
    reach = kernel.size // 2
    total = np.empty(3 * w, np.float32)
    for i in range(h):
        total[:] = 0
        for k in range(kernel.size):
            at = min(max(i + k - reach, 0), h - 1)
            for j in range(3 * w):
                total[j] += kernel[k] * rows[at, j]
        for j in range(w):
            for c in range(3):
                value = np.rint(total[3 * j + c]) + noise[i, j]
                taken[i, j, c] = np.uint8(np.rint(_level(value)))
