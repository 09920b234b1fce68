"""The paper: whether the ink on it is dark or light, and taking it away with its shadows.

Both rest on `_paper_surface`, an estimate of the paper's level at every pixel.
"""

import numpy as np
from numpy.typing import NDArray

from .arrays import coarse, odd, resize_to, slide

RING_SHARE = 0.06  # the border is this share of the shorter side wide
EVEN_SHARE = 0.05  # paper that varies by less than this share of the ink's contrast is even
MIN_LIGHT = 20.0  # paper darker than this holds more noise than light to divide by
SMALL_SIDE = 64  # smaller than this is no photograph but a drawing, with no lighting to remove


def ink_is_dark(grey: NDArray) -> bool:
    """Whether the ink is darker than what it is on.

    Ink is what departs most from the paper's surface: the sum of the cubed departures, near the
    middle above all, has the sign of the ink.
    """
    grid = coarse(grey).astype(np.float64)
    x, y = _coordinates(grid.shape)
    middle = (1.1 - x * x) * (1.1 - y * y)  # 1.21 in the middle, 0.01 in the corners
    return bool((middle * (grid - _paper_surface(grid)) ** 3).sum() < 0)


def flatten(light: NDArray, was_dark: bool) -> tuple[NDArray, float, str]:
    """Take the paper away with its shadows: it becomes 0, and the ink is what is left.

    A morphological opening (a minimum, then a maximum over a window) removes whatever is bright and
    narrower than the window: the strokes. What remains is the paper. On an even paper its median is
    enough, and does no harm to the ink. Dark ink on light absorbs a share of the light that falls
    on it, so there the difference is divided by the light, which brings out ink in a shadow.

    Returns the flat image, by how many levels the paper varied, and a sentence on what was done.
    """
    grid = coarse(light)
    # The surface is taken off first, because an opening blunts a slope at the image's border.
    surface = _paper_surface(grid.astype(np.float64))
    window = odd(sum(grid.shape) / 6)  # a third of the mean side, wider than any stroke
    opened = surface + slide(slide(grid - surface, window, np.min), window, np.max)
    low, high = np.percentile(opened, (2, 98))
    contrast = (grid - opened).max()
    if max(light.shape) <= SMALL_SIDE or high - low <= max(3, EVEN_SHARE * contrast):
        level = np.median(opened)
        return light - np.float32(level), 0.0, f"even background of {level:.0f} subtracted"
    paper = resize_to(slide(opened, odd(window / 3), np.mean), light.shape)
    flat = light - paper
    if was_dark:
        flat = flat * (255 / (255 - paper).clip(min=MIN_LIGHT))
    caption = f"uneven background, varying by {high - low:.0f} levels, subtracted"
    return flat.clip(-255, 255), float(high - low), caption


def _paper_surface(grid: NDArray) -> NDArray:
    """The paper's level everywhere, ink or not: a surface of second order fitted to the image.

    Border and interior weigh the same in total: a thick digit fills the interior, a table's edge
    part of the border, but neither of them fills half of both. The fit is one of least absolute
    deviations (by reweighting), which a minority of pixels hardly moves.
    """
    height, width = grid.shape
    ring = max(1, round(RING_SHARE * min(height, width)))
    border = np.ones((height, width), dtype=bool)
    border[ring:-ring, ring:-ring] = False
    level = grid[border][0]
    if (grid[border] == level).all():  # a drawing's paper, not a photo's: nothing to fit
        return np.full_like(grid, level)
    x, y = _coordinates(grid.shape)
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1).reshape(-1, 6)
    if max(grid.shape) <= SMALL_SIDE:
        terms = terms[:, :1]  # too few pixels to tell a gradient from ink
    share = np.where(border, 1 / border.sum() + 1 / grid.size, 1 / grid.size).ravel()
    weights = share
    for _ in range(10):
        normal = terms.T * weights  # the normal equations, (6, pixels); lstsq copes if singular
        fit = np.linalg.lstsq(normal @ terms, normal @ grid.ravel(), rcond=None)[0]
        departure = grid.ravel() - terms @ fit
        weights = share / (np.abs(departure) + 1)  # + 1 grey level: no division by zero
    return (terms @ fit).reshape(height, width)


def _coordinates(shape: tuple[int, ...]) -> tuple[NDArray, NDArray]:
    """x and y of every pixel, each from -1 to 1 across the image."""
    x, y = np.meshgrid(np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[0]))
    return x, y
