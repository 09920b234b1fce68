"""Which files are read as images: a closed list of formats, decided by their content.

Pillow knows some forty formats. Among them is PostScript, a programming language: to show such a
file Pillow starts Ghostscript with it. Others are read by code that hardly anybody uses. The list
holds what cameras, scanners, drawing programs and browsers write, and what a student writes by hand
(PPM, PGM, PBM); decoding one of these starts no program and reads no other file.
"""

from __future__ import annotations

import os
import warnings
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

#: Pillow's names of the formats that are read
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")


def open_image(file: str | os.PathLike[str] | IO[bytes]) -> Image.Image:
    """`Image.open` for FORMATS, whatever the file is called; the pixels are not yet decoded.

    Raises whatever Pillow's readers raise: UnidentifiedImageError for another format,
    DecompressionBombError for a size beyond reason, anything for a damaged header. Pillow's
    warnings, of large images and of odd metadata, are left out: the caller looks at the size.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(file, formats=FORMATS)
