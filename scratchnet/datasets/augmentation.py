"""Augmentation: every epoch sees each training image a little moved, turned, bent or covered.

Shift, rotation, scale and shear are one affine map for each image, drawn anew for each batch. The
result is looked up backwards: pixel (i, j) of it comes from the place in the image that the map
takes to (i, j), so the kernel needs the inverse map, and interpolates once whatever is combined.

Source    Simard, Steinkraus and Platt 2003, "Best practices for convolutional neural networks
          applied to visual document analysis", section 2 (affine and elastic distortions);
          Zhong et al. 2020, "Random erasing data augmentation", algorithm 1
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from ..backend import runs_twin
from ..errors import InputError, check_number

#: a bound for lengths: positions are float32
FAR = 1e6
#: the most slender rectangle that is erased: height to width, or width to height
SLENDER = 0.3


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a batch of images: `augment(x, rng)`, and `fit(..., augment=augment)`.

    rotation     degrees: each image is turned by an angle between -rotation and +rotation
    shift        pixels: moved by up to so many, down or up and sideways, fractions included
    scale        fraction below 1: enlarged by a factor between 1 - scale and 1 + scale
    shear        pixels a row: slanted, each row moved sideways by up to so many against the next
    elastic      pixels: Simard's alpha. Random displacements between -1 and 1, one for each pixel
                 and direction, are smoothed with a Gaussian and multiplied by alpha: 34 with
                 sigma 4 moves pixels by 1.4 each way, root mean square; less near an edge
    sigma        pixels: the width of that Gaussian; small ones crumple, large ones bend
    erase        probability with which a rectangle of an image is set to 0
    erase_area   the least and the largest fraction of the image that it covers

    All is uniform in its bounds. Everything is 0, and off, unless said otherwise. What leaves the
    image is lost, what enters is 0. An InputError names a value out of its bounds.
    """

    rotation: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    elastic: float = 0.0
    sigma: float = 4.0
    erase: float = 0.0
    erase_area: tuple[float, float] = (0.02, 0.2)

    def __post_init__(self) -> None:
        check_number("rotation", self.rotation, least=0, most=180)
        check_number("shift", self.shift, least=0, most=FAR)
        check_number("scale", self.scale, least=0, below=1)
        check_number("shear", self.shear, least=0, most=FAR)
        check_number("elastic", self.elastic, least=0, most=FAR)
        check_number("sigma", self.sigma, above=0, most=100)
        check_number("erase", self.erase, least=0, most=1)
        if not isinstance(self.erase_area, (tuple, list)) or len(self.erase_area) != 2:
            raise InputError(f"erase_area: expected two fractions, found {self.erase_area!r}")
        least = check_number("erase_area", self.erase_area[0], above=0, most=1)
        check_number("erase_area, its second", self.erase_area[1], least=least, most=1)

    def __repr__(self) -> str:
        named = [(f.name, getattr(self, f.name)) for f in fields(self)]
        changed = [f"{name}={value}" for name, value in named if value != getattr(type(self), name)]
        return f"Augmentation({', '.join(changed)})"

    def __call__(self, x: NDArray, rng: np.random.Generator) -> NDArray:
        """Changed images, of x's shape and dtype; x stays as it is.

        x (n, h, w) or (n, h, w, c), uint8, float32 or float64, with 0 for the background. The same
        state of rng gives the same bits, whatever the number of threads.
        """
        return self.part(x, rng, len(x), 0)

    def part(self, x: NDArray, rng: np.random.Generator, n: int, first: int) -> NDArray:
        """The same for a part of a batch of n images: x are those from number `first` on.

        For processes that share a batch. Each draws the numbers of all images.
        """
        x = np.asarray(x)
        if x.ndim not in (3, 4) or x.dtype not in (np.uint8, np.float32, np.float64):
            raise InputError(
                "x: expected images (n, h, w) or (n, h, w, c) of uint8, float32 or float64, "
                f"found {x.shape} of {x.dtype}"
            )
        if not isinstance(rng, np.random.Generator):
            raise InputError(f"rng: expected a numpy.random.Generator, found {rng!r}")
        images = x if x.ndim == 4 else x[..., None]
        shape, mine = (n, *images.shape[1:3]), slice(first, first + len(x))
        if 0 in (n, *images.shape[1:]):
            return x.copy()
        maps = self._maps(shape, rng)[mine]
        field = self._field(shape, rng, mine)
        moves = (self.rotation, self.shift, self.scale, self.shear, self.elastic)
        y = warp(images, maps, field) if any(moves) and len(x) else images.copy()
        self._erase(y, rng, n, mine)
        return y.reshape(x.shape)

    def _maps(self, shape: tuple[int, int, int], rng: np.random.Generator) -> NDArray[np.float32]:
        n, h, w = shape
        degrees, down, right, zoom, slant = 2 * rng.random((5, n), np.float32) - 1
        shift = self.shift * np.stack([down, right], axis=1)
        scale, shear = 1 + self.scale * zoom, self.shear * slant
        return inverse_maps((h, w), self.rotation * degrees, shift, scale, shear)

    def _field(
        self, shape: tuple[int, int, int], rng: np.random.Generator, mine: slice
    ) -> NDArray[np.float32] | None:
        if not self.elastic:
            return None
        # 256 values are fine enough: each displacement becomes a sum of many
        noise = rng.integers(0, 256, (*shape, 2), np.uint8)[mine]
        radius = int(np.ceil(3 * self.sigma))
        taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / self.sigma) ** 2)
        # the taps come twice into each product, once down and once sideways
        taps *= np.sqrt(self.elastic) / taps.sum()
        return smooth(noise, taps.astype(np.float32))

    def _erase(self, y: NDArray, rng: np.random.Generator, n: int, mine: slice) -> None:
        if not self.erase:
            return
        _, h, w, _ = y.shape
        chance, share, form, down, right = rng.random((5, n), np.float32)[:, mine]
        least, most = self.erase_area
        area = (least + (most - least) * share) * (h * w)
        slender = np.log(SLENDER) * (2 * form - 1)
        # where the paper draws again until the rectangle fits, the nearest one that fits is taken
        ratio = np.clip(np.exp(slender), area / w**2, h**2 / area)
        height = np.clip(np.rint(np.sqrt(area * ratio)), 1, h)
        width = np.clip(np.rint(area / height), 1, w)
        top, left = down * (h - height + 1), right * (w - width + 1)
        boxes = np.stack([top, left, top + height, left + width], axis=1).astype(int)
        for image in np.flatnonzero(chance < self.erase):
            i, j, i_end, j_end = boxes[image]
            y[image, i:i_end, j:j_end] = 0


def inverse_maps(
    size: tuple[int, int],
    degrees: ArrayLike,
    shift: ArrayLike,
    scale: ArrayLike,
    shear: ArrayLike,
) -> NDArray[np.float32]:
    """(n, 2, 3): for each image, where its pixel (row, column, 1) comes from, as (row, column).

    size (h, w); degrees, scale, shear (n,); shift (n, 2), down and to the right. Forward, a place
    p, counted from the image's centre, goes to q = scale * R S p + shift: slanted by
    S = [[1, 0], [shear, 1]], then turned counter-clockwise by R = [[cos, -sin], [sin, cos]], where
    rows count downwards. So what is at q comes from p = S^-1 R^-1 (q - shift) / scale.
    """
    angle = np.deg2rad(np.asarray(degrees, float))
    cos, sin, shear = np.cos(angle), np.sin(angle), np.asarray(shear, float)
    inverse = np.array([[cos, sin], [-sin - shear * cos, cos - shear * sin]]) / scale  # (2, 2, n)
    inverse = inverse.transpose(2, 0, 1)
    centre = (np.array(size) - 1) / 2
    start = centre - (inverse @ (centre + np.asarray(shift, float))[..., None])[..., 0]
    return np.concatenate([inverse, start[..., None]], axis=2).astype(np.float32)


_affine: dict[str, Any] = {"rotation": 15, "scale": 0.12, "shear": 0.2, "shift": 2}

#: by name, a function that makes an Augmentation for handwriting of 28 x 28 pixels
PRESETS: dict[str, Callable[[], Augmentation]] = {
    "affine": partial(Augmentation, **_affine),
    "elastic": partial(Augmentation, **_affine, elastic=20),
    "erase": partial(Augmentation, **_affine, erase=0.5),
}


# ---- the loops: each the specification of its compiled twin in engine/augment.py ----------------


@runs_twin("augment")
def warp(
    x: NDArray, maps: NDArray[np.floating], field: NDArray[np.floating] | None = None
) -> NDArray:
    """Images seen through maps: y[n, i, j] is x[n] at maps[n] @ (i, j, 1) + field[n, i, j].

    x and y (n, h, w, c), uint8 (rounded) or floating; maps (n, 2, 3) and field (n, h, w, 2), both
    float32, to rows and columns. Bilinear between four pixels; around the image all is zero.
    """
    n, h, w, _ = x.shape
    i, j = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)
    m = maps[..., None, None]  # (n, 2, 3, 1, 1)
    at = m[:, :, 0] * i + m[:, :, 2] + m[:, :, 1] * j  # (n, 2, h, w)
    if field is not None:
        at = at + field.transpose(0, 3, 1, 2)
    # one row of zeros before the image, two behind: every position has four neighbours
    framed = np.pad(
        x.astype(np.result_type(x, np.float32), copy=False), ((0, 0), (1, 2), (1, 2), (0, 0))
    )
    at = np.clip(at, -1, np.array([h, w], np.float32)[:, None, None]) + np.float32(1)
    corner = at.astype(int)  # (n, 2, h, w)
    down, right = (at - corner.astype(np.float32)).swapaxes(0, 1)[..., None]  # (n, h, w, 1) each
    u, v, image = corner[:, 0], corner[:, 1], np.arange(n)[:, None, None]
    upper = framed[image, u, v] + right * (framed[image, u, v + 1] - framed[image, u, v])
    u = u + 1
    lower = framed[image, u, v] + right * (framed[image, u, v + 1] - framed[image, u, v])
    y = upper + down * (lower - upper)
    return np.floor(y + np.float32(0.5)).astype(np.uint8) if x.dtype == np.uint8 else y


@runs_twin("augment")
def smooth(noise: NDArray[np.uint8], taps: NDArray[np.floating]) -> NDArray[np.floating]:
    """noise, 0 to 255 for -1 to 1, convolved with symmetric taps along h and w; zero outside.

    noise and the result (n, h, w, 2); taps (2 r + 1,) float32, and so is the result. A Gaussian's
    values as taps give a Gaussian blur: in two dimensions it is the product of two in one.
    """
    r = len(taps) // 2
    values = (noise.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    down = (
        sliding_window_view(np.pad(values, ((0, 0), (r, r), (0, 0), (0, 0))), len(taps), axis=1)
        @ taps
    )
    return (
        sliding_window_view(np.pad(down, ((0, 0), (0, 0), (r, r), (0, 0))), len(taps), axis=2)
        @ taps
    )
