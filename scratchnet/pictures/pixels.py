"""Any source of an image -> upright grey or RGB pixels in 0..255, without transparency.

A source is a path, an open file, a Pillow image or an array, of any mode, depth or orientation that
Pillow reads; of files, those in one of FORMATS. `read_pixels` decodes it; what is no image, or
damaged, raises InputError with one line that says what it is instead. Of an animation only the
first frame is read.

Pillow is imported when first used: importing the package stays light.
"""

from __future__ import annotations

import os
import stat
import warnings
from io import BytesIO
from typing import IO, TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .formats import FORMATS, open_image

if TYPE_CHECKING:
    from PIL import Image

#: a string, because Pillow is not loaded yet
Source: TypeAlias = "str | os.PathLike[str] | IO[bytes] | Image.Image | NDArray"

MAX_PIXELS = 100_000_000  # more is a mistake or a decompression bomb; a large camera has 60 million
MAX_PIPE = 2**29  # bytes from a pipe, whose end cannot be seen
WORK_SIDE = 768  # photographs are reduced to this: a digit over 5 % of the side is still 38 pixels
FULL_SCALES = (1, 255, 1023, 4095, 16383, 65535)  # bilevel, 8, 10, 12, 14 and 16 bits


def name_of(source: object) -> str:
    """What an error message calls the image: its path if it has one, on one line."""
    name = source
    if not isinstance(source, str | os.PathLike):
        name = getattr(source, "filename", None) or getattr(source, "name", None)
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        return "array" if isinstance(source, np.ndarray) else "image"
    return "".join(c if c.isprintable() else "?" for c in os.fsdecode(name))


def read_pixels(source: object) -> tuple[NDArray, str, float]:
    """The upright pixels, (h, w) or (h, w, 3) float32 in 0..255, reduced to WORK_SIDE.

    Also a sentence on what was read, and by how much it was reduced.
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


def _checked_path(path: str | os.PathLike) -> str | os.PathLike | BytesIO:
    """`path`, if it can be read, or what comes out of a pipe; else InputError that says why not."""
    if os.path.isdir(path):
        raise InputError("expected an image file, found a directory")
    try:
        with open(path, "rb") as file:
            if not stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
                return path
            data = file.read(MAX_PIPE + 1)
    except FileNotFoundError:
        raise InputError("expected an image file, found no such file") from None
    except PermissionError:
        raise InputError("expected a readable file, found that permission is denied") from None
    except (OSError, ValueError) as error:  # a name too long or with a null character, a bad disk
        found = getattr(error, "strerror", None) or error
        raise InputError(f"expected a readable file, found: {found}") from None
    if len(data) > MAX_PIPE:
        raise InputError(f"expected at most {MAX_PIPE:,} bytes from a pipe, found more")
    return BytesIO(data)


def _open_file(file: str | os.PathLike | BytesIO) -> Image.Image:
    """The image in a file, or a message that says what the file is instead."""
    from PIL import Image, UnidentifiedImageError

    try:
        return open_image(file)
    except Image.DecompressionBombError as error:
        raise InputError(
            f"expected at most {MAX_PIXELS / 1e6:.0f} megapixels, found a possible "
            f"decompression bomb: {_one_line(error)}"
        ) from None
    except UnidentifiedImageError:
        found = _describe(_first_bytes(file))
        known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
        raise InputError(f"expected an image in {known}, found {found}") from None
    except Exception as error:  # Pillow's readers raise anything on a damaged header
        raise InputError(f"expected an image, found a damaged one: {_one_line(error)}") from None


def _first_bytes(file: str | os.PathLike | BytesIO) -> bytes:
    """The start of a file, enough to tell text from binary data."""
    if isinstance(file, BytesIO):
        return file.getvalue()[:512]
    with open(file, "rb") as opened:
        return opened.read(512)


def _describe(start: bytes) -> str:
    """What a file in none of the formats seems to be, in a few words."""
    if not start:
        return "an empty file"
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if text.startswith(b"<svg") or (text.startswith(b"<?xml") and b"<svg" in text):
        return "an SVG drawing (save it as PNG)"
    if text[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "a HEIC photograph (save it as JPEG)"
    if start.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        return "PostScript (save it as PNG)"
    if start.startswith(b"%PDF"):
        return "a PDF document (save the page as PNG)"
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


def _image_of_array(array: NDArray) -> Image.Image:
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


def _to_8_bits(values: NDArray) -> NDArray:
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
    scaled = values.astype(np.float32)  # worked on in place: an image may have MAX_PIXELS
    scaled *= 255 / full
    return np.rint(scaled, out=scaled).astype(np.uint8)


def _compose(rgba: NDArray) -> tuple[NDArray, str]:
    """Lay a transparent image on a backdrop from which its ink stands out.

    Strokes on nothing have one colour, and the backdrop is the opposite: white under dark ink,
    black under light. If the opaque part has contrast in itself (a whole drawing with
    rounded corners, say), paper is part of it: the backdrop is the paper's colour, the median.
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
