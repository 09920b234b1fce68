"""The ink on flattened paper: a threshold, a check that it is ink, and its grey levels.

`find_ink` finds one digit. `sequences`, which keeps all marks, uses its three parts instead:
`above_threshold`, `measured_tones`, `ink_levels`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .arrays import average, extent, highest, odd
from .lines import without_lines
from .paper import SMALL_SIDE
from .strokes import components, digit_components, side_by_side

MIN_CONTRAST = 10.0  # grey levels of 255 between ink and paper; less is paper texture or JPEG noise
MIN_CONTRAST_TO_SHADOW = 0.25  # of what the paper varies by: shadows leave traces of their edges
MIN_CONTRAST_TO_NOISE = 6.0  # ink must stand this many standard deviations above the paper
MAX_FROM_SHADOW = 25.0  # levels that are asked for because of them, at most
MORE_SMOOTH = (3, 5)  # windows over which faint ink is averaged
SURELY_INK = 4.0  # standard deviations above the paper
MIN_STRONG = 0.0005  # of all pixels: fewer that stand out are specks
FRINGE_SHARE = 0.05  # anti-aliasing reaches so far, one of MNIST's 20 pixels, around the digit


class Tones(NamedTuple):
    """Levels measured on a flattened image.

    level   of the paper
    noise   its standard deviation
    core    how far the middle of the strokes is above the paper
    """

    level: float
    noise: float
    core: float


def find_ink(flat: NDArray, unevenness: float) -> tuple[NDArray, bool, str]:
    """Separate the digit from paper and specks: its grey levels, with the strokes' core at 1.

    Also whether it looks like several digits, and a sentence.

    The threshold is Otsu's, on a slightly smoothed image. The grey levels around the mask are kept
    too: they are the anti-aliased fringe. All else is 0.
    """
    flat, smooth, mask, threshold = above_threshold(flat)
    written, lines = without_lines(mask)
    if not written.any():
        raise InputError(f"expected a digit, found a blank image with {lines} ruled lines")
    labels, areas = components(written)
    kept = digit_components(labels, areas)
    digit = kept[labels]
    tones = measured_tones(smooth, mask, digit, unevenness)
    ink = ink_levels(flat, digit, mask & ~digit, tones)
    count, all_count = int(kept.sum()), len(areas) - 1
    caption = f"threshold {threshold:.0f} (Otsu): {count} stroke{'' if count == 1 else 's'} kept"
    if count < all_count:
        caption += f", {all_count - count} other marks dropped"
    if lines:
        caption += f", {lines} straight lines taken out"
    return ink, side_by_side(labels, areas, kept), caption


def above_threshold(flat: NDArray) -> tuple[NDArray, NDArray, NDArray, float]:
    """The image, the same slightly smoothed, where that lies above Otsu's threshold, and this.

    Faint pencil on grainy paper is smoothed more, until it stands out from the grain, and so is
    then the image that is returned. Where ink is
    so little that Otsu's threshold would part the paper's own levels, it is halfway to the ink's.
    """
    usual = odd(max(flat.shape) / 250)
    for size in (usual, *(size for size in MORE_SMOOTH if size > usual)):
        smooth = average(flat, size)
        level, noise = _paper_level(smooth)
        threshold = _otsu(smooth)
        if threshold < level + SURELY_INK * noise:
            strong = smooth[smooth > level + SURELY_INK * noise]
            if len(strong) > MIN_STRONG * smooth.size:
                core = float(np.percentile(strong, 80)) - level
                threshold = level + max(SURELY_INK * noise, core / 2)
        mask = smooth > threshold
        if not mask.any():
            raise InputError("expected a digit, found a blank image")
        if max(flat.shape) <= SMALL_SIDE or (
            np.percentile(smooth[mask], 90) - level >= 1.5 * MIN_CONTRAST_TO_NOISE * noise
        ):
            break
    return flat if size == usual else smooth, smooth, mask, threshold


def _paper_level(smooth: NDArray) -> tuple[float, float]:
    """The median of an image that is paper for the most part, and the paper's deviation from it."""
    level = float(np.median(smooth))
    return level, 1.4826 * float(np.median(np.abs(smooth - level)))  # if it is a normal one


def measured_tones(smooth: NDArray, mask: NDArray, digit: NDArray, unevenness: float) -> Tones:
    """The levels of paper and digit; InputError where the digit is too faint to be ink.

    smooth, mask   from `above_threshold`
    digit          the part of the mask that is the digit
    unevenness     by how many levels the paper varied, from `flatten`
    """
    level, noise = _paper_level(smooth[~mask])
    core = np.percentile(smooth[digit], 90) - level  # of the digit alone: a dark table is darker
    shadow = min(MIN_CONTRAST_TO_SHADOW * unevenness, MAX_FROM_SHADOW)
    needed = max(MIN_CONTRAST, MIN_CONTRAST_TO_NOISE * noise, shadow)
    if core < needed:
        raise InputError(
            "expected a digit, found a blank image (the strongest marks differ from "
            f"the paper by {core:.0f} of 255 levels, ink by {needed:.0f} or more)"
        )
    return Tones(level, noise, float(core))


def ink_levels(flat: NDArray, digit: NDArray, others: NDArray, tones: Tones) -> NDArray:
    """The grey levels of the digit and its fringe, with its core at 1; all else is 0.

    digit, others   masks: the digit's pixels, and those of marks that may lie in its fringe
    """
    level, noise, core = tones
    ink = ((flat - level) / core).clip(min=0)
    ink[ink < 3 * noise / core] = 0
    rows, columns = extent(digit)
    reach = max(2, round(FRINGE_SHARE * max(digit[rows, columns].shape)))
    ink[~highest(digit, 2 * reach + 1) | others] = 0
    return ink


def _otsu(image: NDArray) -> float:
    """The threshold that splits the histogram into the two classes with means farthest apart.

    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979):
    the one that maximises w0 w1 (m1 - m0)^2, the variance between the classes.
    """
    counts, edges = np.histogram(image, bins=256)
    centres = (edges[:-1] + edges[1:]) / 2
    weight0 = counts.cumsum()[:-1]  # pixels up to each bin, and above it
    weight1 = image.size - weight0
    sums = (counts * centres).cumsum()
    mean0 = sums[:-1] / weight0.clip(min=1)
    mean1 = (sums[-1] - sums[:-1]) / weight1.clip(min=1)
    between = weight0.astype(np.float64) * weight1 * (mean1 - mean0) ** 2
    # Empty bins leave the variance unchanged: the middle of that plateau is the fairest choice.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(edges[best[0] + 1] + edges[best[-1] + 1]) / 2
