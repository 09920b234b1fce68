"""Any image of one handwritten digit -> MNIST's own form, with every stage kept for show.

A network trained on MNIST has only ever seen digits prepared in one way: light ink on black, fitted
into a box of 20 x 20 pixels with the aspect ratio kept and the grey levels of anti-aliasing, then
moved so that the centre of mass lies in the middle of 28 x 28 (Y. LeCun, C. Cortes, C. Burges,
http://yann.lecun.com/exdb/mnist/). `prepare` brings a photograph, scan or drawing into that form:

    read -> grey -> polarity -> flattened -> ink -> cropped -> thickened -> scaled -> centred

Left out on purpose: several digits in one picture (see sequences.py), straightening a slanted or
turned digit, and removing ruled lines that cross the ink. One image, one digit, upright.

Pillow is imported when first used, so that importing the package stays light.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import IO, TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .errors import InputError

if TYPE_CHECKING:
    from PIL import Image

    Source = str | os.PathLike[str] | IO[bytes] | Image.Image | np.ndarray

# MNIST's form. That the box is 20 and the centre 14 (not 13.5) was checked on the 60,000 training
# images: the longer side is 20 in 99.98 % of them, and the centre of mass lies within 14 +- 0.5 in
# all, so the original program moved by whole pixels.
SIDE, BOX, CENTRE = 28, 20, 14.0
# In 99 % of MNIST's images the fifth brightest pixel is at least 252, most often 253.
CORE_RANK, CORE_LEVEL = 5, 253.0
# Stroke widths in pixels of MNIST, measured as `_thicken` does: 2nd percentile 1.2, 25th 1.8.
THIN_STROKE, USUAL_STROKE = 1.2, 1.8

MAX_PIXELS = 100_000_000  # more is a mistake or a decompression bomb; a large camera has 60 million
WORK_SIDE = 768  # photographs are reduced to this: a digit over 5 % of the side is still 38 pixels
GRID_SIDE = 96  # paper and shadows are smooth: a coarse grid is enough to estimate them
RING_SHARE = 0.06  # the border is this share of the shorter side wide
EVEN_SHARE = 0.05  # paper that varies by less than this share of the ink's contrast is even
MIN_LIGHT = 20.0  # paper darker than this holds more noise than light to divide by
SMALL_SIDE = 64  # smaller than this is no photograph but a drawing, with no lighting to remove
FULL_SCALES = (1, 255, 1023, 4095, 16383, 65535)  # bilevel, 8, 10, 12, 14 and 16 bits

MIN_CONTRAST = 10.0  # grey levels of 255 between ink and paper; less is paper texture or JPEG noise
MIN_CONTRAST_TO_SHADOW = 0.25  # of what the paper varies by: shadows leave traces of their edges
MIN_CONTRAST_TO_NOISE = 6.0  # ink must stand this many standard deviations above the paper
MAJOR_SHARE = 0.1  # a stroke of a digit has at least this share of the largest component's area
MAX_STROKES = 40  # more pieces are no digit, not even one drawn with a broken pen
MINOR_SHARE = 0.005  # a fragment next to the digit may be this small; below it is a speck
NEAR_SHARE = 0.15  # "next to": within this share of the digit's size
FOREIGN_CONTACT = 0.4  # running along this share of the border's length makes a mark foreign
MIN_SIDE_SHARE = 0.015  # a digit is at least this share of the image's side
MIN_INK_SHARE = 0.3  # the digit is at least this share of all marks; else they are texture
MIN_CORE = 0.3  # brighten a faint digit by no more than the inverse of this
FINE = 8  # thin strokes are thickened at this multiple of MNIST's resolution
FRINGE_SHARE = 0.05  # anti-aliasing reaches so far, one of MNIST's 20 pixels, around the digit
EDGE_LEVEL = 0.3  # part of the core level at which the outline of a blurred edge is taken


@dataclass(frozen=True)
class Step:
    """One stage: its name, one sentence on what was done, and a uint8 picture of the result."""

    name: str
    caption: str
    image: np.ndarray  # (h, w) or (h, w, 3), uint8, to be shown with 0 as black and 255 as white


@dataclass(frozen=True)
class Prepared:
    """A digit in MNIST's form, (28, 28) uint8 with light ink on 0, and how it got there."""

    image: np.ndarray
    steps: tuple[Step, ...]


def prepare(source: Source) -> Prepared:
    """Bring the image of one handwritten digit into MNIST's form.

    `source` is a path, a file opened in binary mode, a Pillow image, or an array: (h, w),
    (h, w, 1), (h, w, 3) or (h, w, 4), of uint8, uint16, bool or float in [0, 1] or [0, 255].
    Raises InputError, with one line, for whatever is no image of a digit.
    """
    name = _name_of(source)
    try:
        pixels, caption, _ = _read(source)
        steps = [Step("read", caption, _to_uint8(pixels))]

        def keep(step: str, caption: str, image: np.ndarray) -> None:
            steps.append(Step(step, caption, _to_uint8(image)))

        grey, caption = _to_grey(pixels)
        keep("grey", caption, grey)

        is_dark_ink = _ink_is_dark(grey)
        light = 255 - grey if is_dark_ink else grey
        caption = "dark ink on light: inverted" if is_dark_ink else "light ink on dark: kept"
        keep("polarity", caption, light)

        flat, unevenness, caption = _flatten(light, is_dark_ink)
        keep("flattened", caption, flat)

        ink, caption = _find_ink(flat, unevenness)
        keep("ink", caption, 255 * ink)

        ink, caption = _crop(ink)
        keep("cropped", caption, 255 * ink)

        ink, caption = _thicken(ink)
        keep("thickened", caption, 255 * ink)

        digit, caption = _scale(ink)
        keep("scaled", caption, digit)

        digit, caption = _centre(digit)
        keep("centred", caption, digit)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return Prepared(steps[-1].image, tuple(steps))


# --- Reading: whatever it is -> float32 grey or RGB pixels in 0..255, upright, without transparency


def _name_of(source: object) -> str:
    """What an error message calls the image: its path if it has one, on one line."""
    name = source
    if not isinstance(source, str | os.PathLike):
        name = getattr(source, "filename", None) or getattr(source, "name", None)
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        return "array" if isinstance(source, np.ndarray) else "image"
    return "".join(c if c.isprintable() else "?" for c in os.fsdecode(name))


def _read(source: object) -> tuple[np.ndarray, str, float]:
    """The upright pixels, (h, w) or (h, w, 3) float32 in 0..255, reduced to WORK_SIDE.

    Also what to call them, and by how much they were reduced.
    """
    with warnings.catch_warnings():
        # Pillow warns of large images (checked below) and of odd metadata (of no interest here).
        warnings.simplefilter("ignore")
        opened = _open(source)
        try:
            # The size is known from the header, before anything is decoded.
            _check_size(*opened.size)
            image, turn = _decode(opened)
        finally:
            if opened is not source:
                opened.close()
    caption = f"{opened.format or 'image'} of {opened.width} x {opened.height}"
    if isinstance(source, np.ndarray):
        caption = f"array of {source.dtype}, {' x '.join(map(str, source.shape))}"
    if max(opened.size) > WORK_SIDE:
        caption += f", reduced to {image.width} x {image.height}"
    caption += turn
    pixels = np.asarray(image, dtype=np.float32)
    if image.mode == "RGBA":
        pixels, backdrop = _compose(pixels)
        caption += f", transparency laid on {backdrop}"
    return pixels, caption, max(opened.size) / max(image.size)


def _open(source: object) -> Image.Image:
    """Any kind of source as a Pillow image, not yet decoded."""
    from PIL import Image

    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        return _image_of_array(source)
    if isinstance(source, str | os.PathLike):
        return _open_file(_checked_path(source))
    if not hasattr(source, "read"):
        raise InputError(
            "expected a path, a file opened in binary mode, a Pillow image or "
            f"a NumPy array, found {type(source).__name__}"
        )
    try:
        data = source.read()
    except (OSError, ValueError) as error:  # ValueError: the file is closed, or text in no encoding
        raise InputError(f"expected a readable file, found: {_one_line(error)}") from None
    if not isinstance(data, bytes | bytearray):
        raise InputError("expected a file opened in binary mode, found one opened as text")
    return _open_file(BytesIO(data))


def _checked_path(path: str | os.PathLike) -> str | os.PathLike:
    """`path`, if it can be read; what can be wrong with a path gets a message of its own."""
    if os.path.isdir(path):
        raise InputError("expected an image file, found a directory")
    try:
        with open(path, "rb"):
            return path
    except FileNotFoundError:
        raise InputError("expected an image file, found no such file") from None
    except PermissionError:
        raise InputError("expected a readable file, found that permission is denied") from None
    except (OSError, ValueError) as error:  # a name too long or with a null character, a bad disk
        found = getattr(error, "strerror", None) or error
        raise InputError(f"expected a readable file, found: {found}") from None


def _open_file(file: str | os.PathLike | BytesIO) -> Image.Image:
    """`Image.open`, with a message that says what the file is when it is no image."""
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(file)
    except Image.DecompressionBombError as error:
        raise InputError(
            f"expected at most {MAX_PIXELS / 1e6:.0f} megapixels, found a possible "
            f"decompression bomb: {_one_line(error)}"
        ) from None
    except UnidentifiedImageError:
        found = _describe(_first_bytes(file))
        raise InputError(f"expected an image such as PNG or JPEG, found {found}") from None
    except Exception as error:  # Pillow's readers raise anything on a damaged header
        raise InputError(f"expected an image, found a damaged one: {_one_line(error)}") from None


def _first_bytes(file: str | os.PathLike | BytesIO) -> bytes:
    """The start of a file, enough to tell text from binary data."""
    if isinstance(file, BytesIO):
        return file.getvalue()[:512]
    with open(file, "rb") as opened:
        return opened.read(512)


def _describe(start: bytes) -> str:
    """What a file that Pillow does not know seems to be, in two or three words."""
    if not start:
        return "an empty file"
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG drawing (save it as PNG)"
    if text[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "a HEIC photograph (save it as JPEG)"
    is_text = all(byte >= 32 or byte in b"\t\n\r\f" for byte in start)
    return "text" if is_text else "data in no known image format"


def _one_line(error: Exception) -> str:
    """The text of another library's exception, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _check_size(width: int, height: int) -> None:
    """Refuse an image without pixels or with more than any camera makes."""
    if width == 0 or height == 0:
        raise InputError(f"expected at least one pixel, found {width} x {height}")
    if width * height > MAX_PIXELS:
        raise InputError(
            f"expected at most {MAX_PIXELS / 1e6:.0f} megapixels, found "
            f"{width} x {height} = {width * height / 1e6:.0f} megapixels"
        )


def _decode(opened: Image.Image) -> tuple[Image.Image, str]:
    """The first frame as L, RGB or RGBA, reduced to WORK_SIDE, turned upright as EXIF says."""
    from PIL import Image, ImageOps

    try:
        orientation = opened.getexif().get(0x0112, 1)  # the EXIF tag "Orientation", 1 is upright
        image = _to_plain_mode(opened)
        # HAMMING does not ring at edges as the sharper filters do.
        image.thumbnail((WORK_SIDE, WORK_SIDE), Image.Resampling.HAMMING)
        image = ImageOps.exif_transpose(image)
    except InputError:
        raise
    except Exception as error:  # Pillow's decoders raise anything on damaged data
        raise InputError(
            f"expected a complete image, found a damaged one: {_one_line(error)}"
        ) from None
    turns = {
        2: "mirrored",
        3: "turned by 180 degrees",
        4: "mirrored",
        5: "turned and mirrored",
        6: "turned by 90 degrees",
        7: "turned and mirrored",
        8: "turned by 270 degrees",
    }
    return image, f", {turns[orientation]} (EXIF)" if orientation in turns else ""


def _to_plain_mode(image: Image.Image) -> Image.Image:
    """A copy in mode L, RGB or RGBA, whatever Pillow's mode was."""
    from PIL import Image

    if image.mode[0] in "IF":  # I, I;16, I;16B, F: numbers that convert() would clip, not scale
        return Image.fromarray(_to_8_bits(np.asarray(image)))
    if image.mode == "La":  # LA with the alpha multiplied in; Pillow converts it to LA alone
        image = image.convert("LA")
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image.convert("RGB")


def _image_of_array(array: np.ndarray) -> Image.Image:
    """An array in one of the accepted shapes and dtypes as a Pillow image."""
    from PIL import Image

    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise InputError(
            "expected an array of shape (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), "
            f"found {array.shape}"
        )
    if array.dtype not in (np.uint8, np.uint16, np.bool_) and array.dtype.kind != "f":
        raise InputError(f"expected an array of uint8, uint16, bool or float, found {array.dtype}")
    _check_size(array.shape[1], array.shape[0])
    return Image.fromarray(_to_8_bits(array))


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    """Numbers of any range -> uint8. The full scale is the smallest usual one that holds them all.

    So 12 bits in a 16-bit file, or floats in [0, 1], come out with their full contrast. Colour and
    alpha share the scale.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError("expected finite numbers, found NaN or infinity")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > FULL_SCALES[-1]:
        raise InputError(
            f"expected values from 0 to 1, 255 or {FULL_SCALES[-1]}, found {low:g} to {high:g}"
        )
    full = next(scale for scale in FULL_SCALES if high <= scale)
    if values.dtype == np.uint8 and full == FULL_SCALES[1]:
        return values
    return np.rint(values.astype(np.float32) * (255 / full)).astype(np.uint8)


def _compose(rgba: np.ndarray) -> tuple[np.ndarray, str]:
    """Lay a transparent image on a backdrop that its ink stands out from.

    Strokes on nothing have one colour, and the backdrop is the opposite: white under dark ink,
    black under light. If the opaque part has contrast of its own (a whole drawing with rounded
    corners, say), it brings its paper along: the backdrop is the paper's colour, the median.
    """
    rgb, alpha = rgba[:, :, :3], rgba[:, :, 3:] / 255
    opaque = rgb[alpha[:, :, 0] > 0.5]
    if len(opaque) == 0:
        raise InputError("expected a digit, found a blank image (all of it transparent)")
    darkest, lightest = np.percentile(opaque.mean(axis=1), (2, 98))
    if lightest - darkest > 100:
        backdrop, said = np.median(opaque, axis=0), "the colour of its paper"
    elif opaque.mean() < 128:
        backdrop, said = np.full(3, 255.0), "white"
    else:
        backdrop, said = np.zeros(3), "black"
    return (rgb * alpha + backdrop * (1 - alpha)).astype(np.float32), said


# --- From colours to light ink on black


def _to_grey(pixels: np.ndarray) -> tuple[np.ndarray, str]:
    """Grey along the axis in colour space on which ink and paper differ most.

    The usual luminance weights would make yellow on white nearly vanish. The axis is the first
    principal component of the colours, after the slow changes of the lighting are taken out.
    """
    if pixels.ndim == 2:
        return pixels, "already grey"
    grid = _shrink(pixels, GRID_SIDE)
    fast = grid - _slide(grid, _odd(max(grid.shape[:2]) / 4), np.mean)
    colours = fast.reshape(-1, 3).astype(np.float64)
    axis = np.linalg.eigh(colours.T @ colours)[1][:, -1]  # eigh sorts upwards
    if axis.sum() < 0:  # keep light things light, where that has a meaning
        axis = -axis
    axis /= np.abs(axis).sum()
    # A negative weight is that of the channel's complement, which keeps the result within 0..255.
    grey = pixels @ axis - 255 * axis.clip(max=0).sum()
    weights = ", ".join(f"{weight:.2f}" for weight in axis)
    return grey.astype(np.float32), f"red, green and blue weighted by {weights}"


def _ink_is_dark(grey: np.ndarray) -> bool:
    """Whether the ink is darker than what it is on.

    Ink is what departs most from the paper's surface: the sum of the cubed departures, near the
    middle above all, has the sign of the ink.
    """
    grid = _shrink(grey, GRID_SIDE).astype(np.float64)
    x, y = _coordinates(grid.shape)
    middle = (1.1 - x * x) * (1.1 - y * y)  # 1.21 in the middle, 0.01 in the corners
    return bool((middle * (grid - _paper_surface(grid)) ** 3).sum() < 0)


def _paper_surface(grid: np.ndarray) -> np.ndarray:
    """The paper's level everywhere, ink or not: a surface of second order fitted to the image.

    Border and interior weigh the same in total: a thick digit fills the interior, a table's edge
    part of the border, but neither of them half of both. The fit is one of least absolute
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


def _flatten(light: np.ndarray, was_dark: bool) -> tuple[np.ndarray, float, str]:
    """Take the paper away, shadows and all, so that it is 0 and the ink what is left.

    A morphological opening (a minimum, then a maximum over a window) removes whatever is bright and
    narrower than the window: the strokes. What remains is the paper. On an even paper its median is
    enough, and does no harm to the ink. Dark ink on light swallows a share of the light that falls
    on it, so there the difference is divided by the light, which brings out ink lying in a shadow.

    Also returns by how many levels the paper varies.
    """
    grid = _shrink(light, GRID_SIDE)
    # The surface is taken off first, for an opening blunts a slope at the image's border.
    surface = _paper_surface(grid.astype(np.float64))
    window = _odd(sum(grid.shape) / 6)  # a third of the mean side, wider than any stroke
    opened = surface + _slide(_slide(grid - surface, window, np.min), window, np.max)
    low, high = np.percentile(opened, (2, 98))
    contrast = (grid - opened).max()
    if max(light.shape) <= SMALL_SIDE or high - low <= max(3, EVEN_SHARE * contrast):
        level = np.median(opened)
        return light - np.float32(level), 0.0, f"even background of {level:.0f} subtracted"
    paper = _resize_to(_slide(opened, _odd(window / 3), np.mean), light.shape)
    flat = light - paper
    if was_dark:
        flat = flat * (255 / (255 - paper).clip(min=MIN_LIGHT))
    caption = f"uneven background, varying by {high - low:.0f} levels, subtracted"
    return flat.clip(-255, 255), float(high - low), caption


# --- Finding the ink


def _find_ink(flat: np.ndarray, unevenness: float) -> tuple[np.ndarray, str]:
    """Separate the digit from paper and specks: its grey levels, with the strokes' core at 1.

    The threshold is Otsu's, on a slightly smoothed image. The grey levels around the mask are kept
    too: they are the anti-aliased fringe. All else is 0.
    """
    smooth, mask, threshold = _above_threshold(flat)
    labels, areas = _components(mask)
    kept = _digit_components(labels, areas)
    digit = kept[labels]
    ink = _levels(flat, digit, mask & ~digit, _tones(smooth, mask, digit, unevenness))
    count, all_count = int(kept.sum()), len(areas) - 1
    caption = f"threshold {threshold:.0f} (Otsu): {count} stroke{'' if count == 1 else 's'} kept"
    if count < all_count:
        caption += f", {all_count - count} other marks dropped"
    return ink, caption


def _above_threshold(flat: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The image slightly smoothed, where it lies above Otsu's threshold, and the threshold."""
    smooth = _slide(flat, _odd(max(flat.shape) / 250), np.mean)
    threshold = _otsu(smooth)
    mask = smooth > threshold
    if not mask.any():
        raise InputError("expected a digit, found a blank image")
    return smooth, mask, threshold


def _tones(
    smooth: np.ndarray, mask: np.ndarray, digit: np.ndarray, unevenness: float
) -> tuple[float, float, float]:
    """The paper's level and noise, and how far the digit's core is above it; or it is no ink."""
    paper = smooth[~mask]
    level = np.median(paper)
    noise = 1.4826 * np.median(np.abs(paper - level))  # of a normal distribution: its deviation
    core = np.percentile(smooth[digit], 90) - level  # the digit's own, not a dark table's
    needed = max(MIN_CONTRAST, MIN_CONTRAST_TO_NOISE * noise, MIN_CONTRAST_TO_SHADOW * unevenness)
    if core < needed:
        raise InputError(
            "expected a digit, found a blank image (the strongest marks differ from "
            f"the paper by {core:.0f} of 255 levels, ink by {needed:.0f} or more)"
        )
    return float(level), float(noise), float(core)


def _levels(
    flat: np.ndarray, digit: np.ndarray, others: np.ndarray, tones: tuple[float, float, float]
) -> np.ndarray:
    """The grey levels of the digit and its fringe, with its core at 1; all else is 0."""
    level, noise, core = tones
    ink = ((flat - level) / core).clip(min=0)
    ink[ink < 3 * noise / core] = 0
    rows, columns = _extent(digit)
    reach = max(2, round(FRINGE_SHARE * max(digit[rows, columns].shape)))
    ink[~_slide(digit, 2 * reach + 1, np.max) | others] = 0
    return ink


def _otsu(image: np.ndarray) -> float:
    """The threshold that parts the histogram into the two classes with means farthest apart.

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


def _components(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label 8-connected components 1, 2, ...; 0 is outside. Returns labels (h, w) and the areas.

    A union-find over whole arrays: every pixel starts as its own root, the roots of neighbours are
    joined at the smaller one, and chains are shortened, until no pair of neighbours disagrees.
    """
    index = np.arange(mask.size).reshape(mask.shape)
    pairs = []
    for first, second in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),  # right
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),  # down
        ((slice(None, -1), slice(None, -1)), (slice(1, None), slice(1, None))),  # down and right
        ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))),  # down and left
    ):
        both = mask[first] & mask[second]
        pairs.append((index[first][both], index[second][both]))
    a = np.concatenate([pair[0] for pair in pairs])
    b = np.concatenate([pair[1] for pair in pairs])
    root = np.arange(mask.size)
    while (root[a] != root[b]).any():
        low, high = np.minimum(root[a], root[b]), np.maximum(root[a], root[b])
        np.minimum.at(root, high, low)
        while (root[root] != root).any():
            root = root[root]
    _, labels = np.unique(np.where(mask.ravel(), root + 1, 0), return_inverse=True)
    labels = labels.reshape(mask.shape) + (0 if not mask.all() else 1)
    areas = np.bincount(labels.ravel())
    return labels, areas


def _digit_components(labels: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """Which components belong to the digit, as a boolean for each label.

    The largest and those of a like size are its strokes; a smaller one belongs to it when it lies
    close by. What runs along the border (a table's edge, a finger) or from one border to the one
    opposite (a ruled line) is none of it, if there is something else clear of the border.
    """
    height, width = labels.shape
    boxes = _boxes(labels, len(areas))
    top, left, bottom, right = boxes.T
    border = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    contact = np.bincount(border, minlength=len(areas))
    across = ((top == 0) & (bottom == height)) | ((left == 0) & (right == width))
    foreign = across | (contact > FOREIGN_CONTACT * min(height, width))
    sides = np.maximum(bottom - top, right - left)
    large = sides >= max(3, MIN_SIDE_SHARE * max(height, width))
    large[0] = foreign[0] = False  # label 0 is the paper
    if (large & (contact == 0)).any():
        large &= ~foreign
    else:
        foreign[:] = False
    if not large.any():
        raise InputError(
            "expected a digit, found a blank image with specks "
            f"({len(areas) - 1} of them, none larger than {sides[1:].max()} pixels)"
        )
    ours = np.where(foreign, 0, areas)
    ours[0] = 0
    largest = ours[large].max()
    kept = large & (ours >= MAJOR_SHARE * largest)
    y0, x0 = boxes[kept, :2].min(axis=0)
    y1, x1 = boxes[kept, 2:].max(axis=0)
    near = NEAR_SHARE * max(y1 - y0, x1 - x0)
    inside = (top >= y0 - near) & (left >= x0 - near) & (bottom <= y1 + near) & (right <= x1 + near)
    kept |= inside & (ours > MINOR_SHARE * largest)
    if kept.sum() > MAX_STROKES or ours[kept].sum() < MIN_INK_SHARE * ours.sum():
        raise InputError(
            "expected a digit, found a blank image with noise or texture "
            f"({len(areas) - 1} separate marks)"
        )
    return kept


def _boxes(labels: np.ndarray, count: int) -> np.ndarray:
    """The bounding box of each label, (count, 4): top, left, bottom, right, as in a slice."""
    y, x = np.indices(labels.shape).reshape(2, -1)
    boxes = np.zeros((count, 4), dtype=int)
    boxes[:, :2] = max(labels.shape)
    for axis, position in enumerate((y, x)):
        np.minimum.at(boxes[:, axis], labels.ravel(), position)
        np.maximum.at(boxes[:, axis + 2], labels.ravel(), position + 1)
    return boxes


# --- Into MNIST's form


def _crop(ink: np.ndarray) -> tuple[np.ndarray, str]:
    """Cut the ink out, along its outline.

    Digits not much larger than MNIST's have pixels that are anti-aliased already: there every pixel
    with any ink counts, as in MNIST itself. On larger ones an edge is blurred over many pixels,
    and the outline is where the ink crosses EDGE_LEVEL.
    """
    rows, columns = _extent(ink > 0)
    if max(ink[rows, columns].shape) > 2 * BOX:
        rows, columns = _extent(ink > EDGE_LEVEL)
    cut = ink[rows, columns]
    return cut, f"cropped to {cut.shape[1]} x {cut.shape[0]}"


def _thicken(ink: np.ndarray) -> tuple[np.ndarray, str]:
    """Give a thin pen's strokes the width they usually have in MNIST.

    Averaged down to 20 x 20, a stroke of half a pixel would be left as a faint, broken grey. A
    dilation with a disc, on 8 times MNIST's resolution, widens it evenly.
    """
    width = _stroke_width(ink) * BOX / max(ink.shape)
    if width >= THIN_STROKE or max(ink.shape) <= 2 * BOX:
        return ink, f"strokes of {width:.1f} pixels at MNIST's scale: kept"
    fine_side = FINE * BOX
    scale = fine_side / max(ink.shape)
    fine = _resize_to(ink, tuple(max(1, round(side * scale)) for side in ink.shape))
    radius = (USUAL_STROKE - width) / 2 * FINE
    reach = int(radius)
    fine = np.pad(fine, 2 * reach)
    thick = fine.copy()
    for dy in range(-reach, reach + 1):
        for dx in range(-reach, reach + 1):
            if dy * dy + dx * dx <= radius * radius:
                np.maximum(thick, np.roll(fine, (dy, dx), (0, 1)), out=thick)
    thick /= np.median(thick[thick > EDGE_LEVEL * thick.max()])  # the averaging made it fainter
    rows, columns = _extent(thick > EDGE_LEVEL)
    return thick[rows, columns].clip(0, 1), (
        f"strokes of {width:.1f} pixels at MNIST's scale: thickened to {USUAL_STROKE}"
    )


def _stroke_width(ink: np.ndarray) -> float:
    """How wide the strokes are, in pixels; `ink` has its core at 1."""
    # Area and perimeter of the outline; their ratio is half the width of a long stroke.
    solid = np.pad(ink > 0.5, 1).astype(np.float64)
    falling, rising = solid[1:, 1:] - solid[:-1, :-1], solid[1:, :-1] - solid[:-1, 1:]
    perimeter = np.sqrt((falling**2 + rising**2) / 2).sum()
    return float(2 * solid.sum() / perimeter)


def _scale(ink: np.ndarray) -> tuple[np.ndarray, str]:
    """Fit the ink into 20 x 20 with its aspect ratio: the average over each new pixel.

    Plain averaging (Pillow's BOX) is what anti-aliasing means; of MNIST's images, enlarged and
    reduced again, it gave back more than the HAMMING, BICUBIC and LANCZOS filters did.
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


def _centre(digit: np.ndarray) -> tuple[np.ndarray, str]:
    """Move the centre of mass to the middle of 28 x 28, by whole pixels as MNIST's makers did."""
    height, width = digit.shape
    total = digit.sum()
    mass_y = float(digit.sum(axis=1) @ np.arange(height) / total)
    mass_x = float(digit.sum(axis=0) @ np.arange(width) / total)
    top, left = round(CENTRE - mass_y), round(CENTRE - mass_x)
    # A lopsided digit may not reach past the frame.
    top, left = min(max(top, 0), SIDE - height), min(max(left, 0), SIDE - width)
    image = np.zeros((SIDE, SIDE), dtype=np.float32)
    image[top : top + height, left : left + width] = digit
    # Said as a movement from the plain placement, with the box in the middle of the frame.
    move_x, move_y = left - (SIDE - width) / 2, top - (SIDE - height) / 2
    return image, f"centre of mass moved by ({move_x:+.1f}, {move_y:+.1f})"


# --- Small tools on 2-D arrays


def _coordinates(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """x and y of every pixel, each from -1 to 1 across the image."""
    x, y = np.meshgrid(np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[0]))
    return x, y


def _odd(size: float) -> int:
    """An odd whole number close to `size`: windows have a middle."""
    return int(size) // 2 * 2 + 1


def _slide(image: np.ndarray, size: int, take: Callable[..., np.ndarray]) -> np.ndarray:
    """`take` (np.min, np.max, np.mean) over a window of size x size around every pixel."""
    for axis in (0, 1):
        margins = [(size // 2,) * 2 if a == axis else (0, 0) for a in range(image.ndim)]
        padded = np.pad(image, margins, mode="edge")
        image = take(sliding_window_view(padded, size, axis=axis), axis=-1)
    return image


def _extent(mask: np.ndarray) -> tuple[slice, slice]:
    """The rows and columns of the smallest box that holds all of `mask`."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _resize_to(image: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The image in a new shape (h, w); averaging where it shrinks, interpolating where it grows."""
    from PIL import Image

    resized = Image.fromarray(image.astype(np.float32)).resize(
        shape[::-1], Image.Resampling.BILINEAR
    )
    return np.asarray(resized)


def _shrink(image: np.ndarray, side: int) -> np.ndarray:
    """The image, grey or colour, with its longer side at most `side`, averaging."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    shape = tuple(max(1, round(length * scale)) for length in image.shape[:2])
    if image.ndim == 2:
        return _resize_to(image, shape)
    return np.stack([_resize_to(image[:, :, c], shape) for c in range(image.shape[2])], axis=-1)


def _to_uint8(image: np.ndarray) -> np.ndarray:
    """Rounded to the nearest grey level, ready to show."""
    return np.rint(image).clip(0, 255).astype(np.uint8)
