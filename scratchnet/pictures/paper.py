"""The paper: whether the ink on it is dark or light, and taking it away with its shadows.

Both rest on `_paper_surface`, an estimate of the paper's level at every pixel.
"""

import numpy as np
from numpy.typing import NDArray

from .arrays import average, coarse, odd, opened, resize_to

RING_SHARE = 0.06  # the border is this share of the shorter side wide
EVEN_SHARE = 0.05  # paper that varies by less than this share of the ink's contrast is even
MIN_LIGHT = 30.0  # paper darker than this holds more noise than light to divide by
MAX_DEPARTURE = 6.0  # grey levels, of half the paper, from a surface that is to be taken off
MIN_WEIGHT = 0.03  # a colour that counts for less is left out
WINDOW_SIDE = 256  # fine enough to see how wide the strokes are
STRIP_SHARE = 0.04  # of the side: what ink that was cut close reaches
MUCH_INK = 0.25  # of a picture that was cut close round a thick digit
CERTAIN = 0.7  # where one paper has at most this part of the other's change
SMALL_SIDE = 64  # smaller than this is no photograph but a drawing, with no lighting to remove


def ink_is_dark(grey: NDArray) -> tuple[bool, bool]:
    """Whether the ink is darker than what it is on, and whether that is certain.

    Taken for dark, ink is removed by a closing (a maximum, then a minimum over a window); taken for
    light, by an opening. Where it was ink, an even paper is left, with its shadows. Where it was
    not, the strokes have grown into blots. So the one is right that leaves the less change from
    pixel to pixel.
    """
    grid = coarse(grey).astype(np.float64)
    if max(grid.shape) > SMALL_SIDE:
        grid = average(grid, 3)
        plane = _paper_surface(grid, border_alone=True)
        if _is_cut_close(plane - grid):  # too little paper is left to see what it changes by
            return True, False
    grid = np.log(grid.clip(min=0) + MIN_LIGHT)  # a shadow takes the same share of paper and ink
    window = odd(sum(grid.shape) / 6)
    as_dark, as_light = (_change(paper) for paper in (-opened(-grid, window), opened(grid, window)))
    if min(as_dark, as_light) < CERTAIN * max(as_dark, as_light):
        return bool(as_dark < as_light), True
    # Rules from side to side leave an even page either way; then most of it is paper.
    return bool(np.median(grid) > np.percentile(grid, (2, 98)).mean()), False


def _change(image: NDArray) -> float:
    """The total variation: by how much neighbours differ, summed up."""
    return float(sum(np.abs(np.diff(image, axis=axis)).sum() for axis in (0, 1)))


def flatten(
    light: NDArray, pixels: NDArray, axis: NDArray | None, was_dark: bool
) -> tuple[NDArray, float, str]:
    """Take the paper away with its shadows: it becomes 0, and the ink is what is left.

    light    (h, w), in which ink is lighter than paper
    pixels   what it was made from, (h, w) or (h, w, 3), by the weights `axis`

    A morphological opening (a minimum, then a maximum over a window) removes whatever is bright and
    narrower than the window: the strokes. What remains is the paper, with the edges of its shadows
    as sharp as they are. On an even paper its median is enough, and does no harm to the ink. Dark
    ink absorbs a share of the light that falls on it, so there the difference is divided by the
    light, channel by channel, which brings out ink in a shadow.

    Returns the flat image, by how many levels the paper varied, and a sentence on what was done.
    """
    grid = coarse(light)
    # The surface is taken off first, because an opening blunts a slope at the image's border.
    surface = _paper_surface(grid.astype(np.float64))
    window = odd(sum(grid.shape) / 6)  # a third of the mean side, wider than any stroke
    paper = surface + opened(grid - surface, window)
    low, high = np.percentile(paper, (2, 98))
    contrast = (grid - paper).max()
    if max(light.shape) <= SMALL_SIDE or high - low <= max(3, EVEN_SHARE * contrast):
        level = np.median(paper)
        return light - np.float32(level), 0.0, f"even background of {level:.0f} subtracted"
    fit = _fitted(grid.astype(np.float64), border_alone=True)
    if _is_cut_close(grid - _surface(fit, grid.shape)):
        plane = _surface(fit, light.shape).astype(np.float32)
        return light - plane, 0.0, f"background of about {fit[0]:.0f} subtracted"
    size = _window(light)
    if axis is None:
        axis, pixels = np.ones(1), pixels[:, :, None]
    flat = np.zeros(light.shape, np.float32)
    for weight, channel in zip(axis, np.moveaxis(pixels, 2, 0), strict=True):
        if abs(weight) >= MIN_WEIGHT:
            flat += np.float32(abs(weight)) * _without_paper(
                channel, (weight > 0) == was_dark, size
            )
    caption = f"uneven background, varying by {high - low:.0f} levels, subtracted"
    return flat.clip(-255, 255), float(high - low), caption


def _is_cut_close(rest: NDArray) -> bool:
    """Whether ink fills the picture and reaches all four sides of it, and none of them wholly.

    So does a digit drawn with a thick pen and cut out along its outline. A shadow covers one side,
    or leaves one free.
    """
    ink = rest > np.percentile(rest, 98) / 2
    strip = max(2, round(STRIP_SHARE * min(ink.shape)))
    sides = [ink[:strip].max(axis=0), ink[-strip:].max(axis=0)]
    sides += [ink[:, :strip].max(axis=1), ink[:, -strip:].max(axis=1)]
    return ink.mean() > MUCH_INK and all(0 < side.mean() < 0.8 for side in sides)


def _without_paper(channel: NDArray, is_dark: bool, size: int) -> NDArray:
    """One channel without its paper, ink above 0, in parts of the light if the ink is dark."""
    channel = 255 - channel if is_dark else channel
    grid = coarse(channel).astype(np.float64)
    fit = _fitted(grid)
    # A shadow with a hard edge has no smooth surface: to take one off would bend what is flat. And
    # it goes on beyond the picture, or its tip at the border would be narrower than the window.
    beyond = 0
    if np.median(np.abs(grid - _surface(fit, grid.shape))) > MAX_DEPARTURE:
        fit, beyond = np.zeros(6), size
    surface = _surface(fit, channel.shape).astype(np.float32)
    smooth = average(channel - surface, 3)  # or the paper would be the noise's lowest
    paper = opened(np.pad(smooth, beyond, mode="edge"), size)
    h, w = channel.shape
    paper = surface + paper[beyond : beyond + h, beyond : beyond + w]
    flat = channel - paper
    return flat * (255 / (255 - paper).clip(min=MIN_LIGHT)) if is_dark else flat


def _window(light: NDArray) -> int:
    """The size of the opening's window: wider than the strokes, but not by much.

    The wider it is, the more of a shadow's corner is taken for ink. At first it is a third of the
    mean side; what stands out then is ink, and the window twice as wide as the widest square in it.
    """
    scale = max(1.0, max(light.shape) / WINDOW_SIDE)
    grid = resize_to(light, tuple(max(1, round(side / scale)) for side in light.shape))
    most = odd(sum(grid.shape) / 6)
    rest = average(grid, 3)
    rest = rest - opened(rest, most)
    ink = (rest > rest.max() / 2).astype(np.float32)
    size = 1
    while size < most and opened(ink, size).sum() > 0.02 * ink.sum():
        size += 2
    return max(odd(scale * min(2 * size + 3, most)), 3)


def _paper_surface(grid: NDArray, border_alone: bool = False) -> NDArray:
    """The paper's level everywhere, ink or not: `_fitted` to the image, of the image's shape."""
    return _surface(_fitted(grid, border_alone), grid.shape)


def _fitted(grid: NDArray, border_alone: bool = False) -> NDArray:
    """The coefficients of a surface of second order fitted to the image, for `_surface`.

    Border and interior weigh the same in total: a thick digit fills the interior, a table's edge
    part of the border, but neither of them fills half of both. The fit is one of least absolute
    deviations (by reweighting), which a minority of pixels hardly moves.
    """
    height, width = grid.shape
    ring = max(1, round(RING_SHARE * min(height, width)))
    border = np.ones((height, width), dtype=bool)
    border[ring:-ring, ring:-ring] = False
    fit = np.zeros(6)
    fit[0] = grid[border][0]
    if (grid[border] == fit[0]).all():  # a drawing's paper, not a photo's: nothing to fit
        return fit
    # too few pixels cannot tell a gradient from ink; of the middle the border gives no more than
    # a plane; and of a large grid half the rows and columns are enough
    is_small = max(grid.shape) <= SMALL_SIDE
    count = 1 if is_small else 3 if border_alone else 6
    some = np.s_[:: 1 if is_small else 2, :: 1 if is_small else 2]
    terms = np.stack([term[some] for term in _terms(grid.shape)[:count]], axis=-1)
    terms, levels = terms.reshape(-1, count), grid[some].ravel()
    inside = 0.0 if border_alone else 1 / grid.size
    share = np.where(border, 1 / border.sum() + inside, inside)[some].ravel()
    weights = share
    for _ in range(10):
        normal = terms.T * weights  # the normal equations, (6, pixels); lstsq copes if singular
        fit[:count] = np.linalg.lstsq(normal @ terms, normal @ levels, rcond=None)[0]
        departure = levels - terms @ fit[:count]
        weights = share / (np.abs(departure) + 1)  # + 1 grey level: no division by zero
    return fit


def _surface(fit: NDArray, shape: tuple[int, ...]) -> NDArray:
    """The surface in an image of any shape that shows the same as the one it was fitted to."""
    surface = np.full(shape, fit[0])
    for factor, term in zip(fit[1:], _terms(shape)[1:], strict=True):
        if factor:
            surface += factor * term
    return surface


def _terms(shape: tuple[int, ...]) -> list[NDArray]:
    """1, x, y, x^2, x y and y^2 at every pixel's centre, x and y from -1 to 1 across the image."""
    y, x = ((2 * np.arange(side) + 1) / side - 1 for side in shape)
    one = np.ones(shape)
    return [one, one * x, one * y[:, None], one * x * x, x * y[:, None], one * (y * y)[:, None]]
