"""MNIST's form: the ink cut out, thickened if thin, scaled to 20 x 20, centred in 28 x 28.

Each of the four steps returns the new image and a sentence on what it did; `to_form` is all four.
The steps' order matters, and all but the last expect ink with its core at 1 on paper at 0.
"""

import numpy as np
from numpy.typing import NDArray

from .arrays import extent, resize_to, to_uint8

# That the box is 20 and the centre 14 (not 13.5) was checked on the 60,000 training images: the
# longer side is 20 in 99.98 % of them, and the centre of mass lies within 14 +- 0.5 in all, so the
# original program moved by whole pixels.
SIDE, BOX, CENTRE = 28, 20, 14.0
# In 99 % of MNIST's images the fifth brightest pixel is at least 252, most often 253.
CORE_RANK, CORE_LEVEL = 5, 253.0
# Stroke widths in pixels of MNIST, measured as `thicken` does: 2nd percentile 1.2, 25th 1.8.
THIN_STROKE, USUAL_STROKE = 1.2, 1.8

MIN_CORE = 0.3  # brighten a faint digit by no more than the inverse of this
FINE = 8  # thin strokes are thickened at this multiple of MNIST's resolution
EDGE_LEVEL = 0.3  # part of the core level at which the outline of a blurred edge is taken


def to_form(ink: NDArray) -> NDArray[np.uint8]:
    """Ink in MNIST's form, (28, 28) with light ink on 0."""
    for step in (crop, thicken, scale_to_box, centre):
        ink, _ = step(ink)
    return to_uint8(ink)


def crop(ink: NDArray) -> tuple[NDArray, str]:
    """Cut the ink out, along its outline.

    Digits not much larger than MNIST's have pixels that are anti-aliased already: there every pixel
    with any ink counts, as in MNIST itself. On larger ones an edge is blurred over many pixels,
    and the outline is where the ink crosses EDGE_LEVEL.
    """
    rows, columns = extent(ink > 0)
    if max(ink[rows, columns].shape) > 2 * BOX:
        rows, columns = extent(ink > EDGE_LEVEL)
    cut = ink[rows, columns]
    return cut, f"cropped to {cut.shape[1]} x {cut.shape[0]}"


def thicken(ink: NDArray) -> tuple[NDArray, str]:
    """Give a thin pen's strokes the width they usually have in MNIST.

    Averaged down to 20 x 20, a stroke of half a pixel would be left as a faint, broken grey. A
    dilation with a disc, on 8 times MNIST's resolution, widens it evenly.
    """
    width = stroke_width(ink) * BOX / max(ink.shape)
    if width >= THIN_STROKE or max(ink.shape) <= 2 * BOX:
        return ink, f"strokes of {width:.1f} pixels at MNIST's scale: kept"
    fine_side = FINE * BOX
    scale = fine_side / max(ink.shape)
    fine = resize_to(ink, tuple(max(1, round(side * scale)) for side in ink.shape))
    radius = (USUAL_STROKE - width) / 2 * FINE
    reach = int(radius)
    fine = np.pad(fine, 2 * reach)
    thick = fine.copy()
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dy * dy + dx * dx <= radius * radius:
                np.maximum(thick, np.roll(fine, (dy, dx), (0, 1)), out=thick)
    thick /= np.median(thick[thick > EDGE_LEVEL * thick.max()])  # the averaging made it fainter
    rows, columns = extent(thick > EDGE_LEVEL)
    return thick[rows, columns].clip(0, 1), (
        f"strokes of {width:.1f} pixels at MNIST's scale: thickened to {USUAL_STROKE}"
    )


def scale_to_box(ink: NDArray) -> tuple[NDArray, str]:
    """Fit the ink into 20 x 20 with its aspect ratio: the average over each new pixel.

    Plain averaging (Pillow's BOX) is what anti-aliasing means; of MNIST's images, enlarged and
    reduced again, it restored more than the HAMMING, BICUBIC and LANCZOS filters did.
    """
    from PIL import Image

    scale = BOX / max(ink.shape)
    height, width = (max(1, round(side * scale)) for side in ink.shape)
    # The shorter side rarely comes to whole pixels. It is cut or padded by less than half of one
    # rather than stretched, so that a thin 1 keeps its slant and its width.
    box = (0, 0, width / scale, height / scale)  # left, top, right, bottom
    below = max(0, int(np.ceil(box[3])) - ink.shape[0])
    beside = max(0, int(np.ceil(box[2])) - ink.shape[1])
    padded = Image.fromarray(np.pad(ink, ((0, below), (0, beside))))
    resample = Image.Resampling.BOX if scale <= 1 else Image.Resampling.BICUBIC
    digit = np.asarray(padded.resize((width, height), resample, box)).clip(min=0)
    core = np.sort(digit, axis=None)[-min(CORE_RANK, digit.size)]
    gain = max(1.0, 1 / max(core, MIN_CORE))
    digit = (CORE_LEVEL * gain * digit).clip(0, 255)
    return digit, f"scaled by {scale:.3g} to {width} x {height}, brightened by {gain:.2f}"


def centre(digit: NDArray) -> tuple[NDArray, str]:
    """Move the centre of mass to the middle of 28 x 28, by whole pixels as MNIST's makers did."""
    height, width = digit.shape
    total = digit.sum()
    mass_y = float(digit.sum(axis=1) @ np.arange(height) / total)
    mass_x = float(digit.sum(axis=0) @ np.arange(width) / total)
    top, left = round(CENTRE - mass_y), round(CENTRE - mass_x)
    # A lopsided digit must not reach past the frame.
    top, left = min(max(top, 0), SIDE - height), min(max(left, 0), SIDE - width)
    image = np.zeros((SIDE, SIDE), dtype=np.float32)
    image[top : top + height, left : left + width] = digit
    # The caption counts from the plain placement, with the box in the middle of the frame.
    move_x, move_y = left - (SIDE - width) / 2, top - (SIDE - height) / 2
    return image, f"centre of mass moved by ({move_x:+.1f}, {move_y:+.1f})"


def stroke_width(ink: NDArray) -> float:
    """How wide the strokes are, in pixels; `ink` has its core at 1."""
    # their ratio is half the width of a long stroke
    return float(2 * (ink > 0.5).sum() / _perimeter(ink))


def edge_width(ink: NDArray) -> float:
    """In how many pixels the ink rises from a quarter to three quarters of its core's level."""
    return float(((ink > 0.25) & (ink < 0.75)).sum() / _perimeter(ink))


def _perimeter(ink: NDArray) -> float:
    """The length of the outline, in pixels."""
    solid = np.pad(ink > 0.5, 1).astype(np.float64)
    falling, rising = solid[1:, 1:] - solid[:-1, :-1], solid[1:, :-1] - solid[:-1, 1:]
    return float(np.sqrt((falling**2 + rising**2) / 2).sum())
