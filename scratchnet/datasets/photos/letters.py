"""Letters, symbols and digits as free fonts draw them: for what learns to tell them from digits.

No font is part of this package. Debian has those of PACKAGES; `apt install` them to train a judge.
Others, of the same names, serve as well, but the bits of what was trained on them are others.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from . import writing
from .writing import Ink

#: Debian's packages, and the files in them that are used: hands first, then print
PACKAGES: dict[str, tuple[str, ...]] = {
    "fonts-breip": ("Breip.ttf",),
    "fonts-bwht": (
        "BecauseWeBuild-Regular.otf",
        "BecauseWeConnect-Regular.otf",
        "BecauseWeCreate-Regular.otf",
        "BecauseWeLearn-Regular.otf",
        "BecauseWeMentor-Regular.otf",
        "BecauseWeOrganize-Regular.otf",
    ),
    "fonts-comic-neue": ("ComicNeue-Regular.otf", "ComicNeue-LightItalic.otf"),
    "fonts-dancingscript": ("DancingScript-Regular.otf",),
    "fonts-dkg-handwriting": ("dkg.ttf", "dkgIt.ttf"),
    "fonts-femkeklaver": ("femkeklaver.ttf",),
    "fonts-havana": ("Havana-Regular.otf",),
    "fonts-humor-sans": ("Humor-Sans.ttf",),
    "fonts-kaushanscript": ("KaushanScript-Regular.otf",),
    "fonts-kristi": ("Kristi.ttf",),
    "fonts-leckerli-one": ("LeckerliOne-Regular.ttf",),
    "fonts-rufscript": ("Rufscript010.ttf",),
    "fonts-sjfonts": ("Delphine.ttf", "SteveHand.ttf"),
    "fonts-tomsontalks": ("TomsonTalks.ttf",),
    "fonts-yusei-magic": ("YuseiMagic-Regular.ttf",),
    "fonts-dejavu-core": ("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf"),
    "fonts-liberation": ("LiberationSans-Regular.ttf", "LiberationSerif-Italic.ttf"),
}
FOLDERS = (Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), Path("~/.local/share/fonts"))

DIGITS = "0123456789"
#: without I, O, S, Z, b, g, i, l, o, q, s, z: in some hand or font each of them is a digit
LETTERS = "ABCDEFGHJKLMNPQRTUVWXYacdefhjkmnprtuvwxy"
SIGNS = "&%#@?*+=<>$€£§^~"
#: DejaVu Sans alone has all of these: Greek, Cyrillic, arrows, shapes that people draw
SYMBOLS = "αγδεζηθκλμξπρφχψωΓΔΘΛΞΠΣΦΨΩЖИКЛФЦЩЫЭЮЯ←→↑↓↔∀∃∞∑∫√≈≠☀☁☂★☆☎☺☻♀♂♠♣♥♦♪♫✓✗✚✦✿❤□△◇▲■●"

_HEIGHT = 80  # pixels at which a glyph is drawn


def drawn_with(name: str, sign: str) -> Ink:
    """A sign as the font in that file draws it, with no paper around it; empty if it cannot."""
    from PIL import Image, ImageDraw

    font = _font(name)
    left, top, right, bottom = (int(edge) for edge in font.getbbox(sign))
    if right <= left or bottom <= top:
        return np.zeros((0, 0), np.float32)
    image = Image.new("L", (right - left + 8, bottom - top + 8))
    ImageDraw.Draw(image).text((4 - left, 4 - top), sign, fill=255, font=font)
    ink = np.asarray(image, np.float32) / np.float32(255)
    return writing.trimmed(ink) if (ink > 0.5).any() else np.zeros((0, 0), np.float32)


@cache
def glyphs(signs: str) -> list[tuple[str, NDArray[np.uint8]]]:
    """Every sign in every font that has it, as (sign, coverage from 0 to 255)."""
    names = ["DejaVuSans.ttf"] if signs == SYMBOLS else [n for ns in PACKAGES.values() for n in ns]
    found = []
    for name in names:
        unknown = drawn_with(name, "\uffff")  # the box that stands for what a font lacks
        for sign in signs:
            ink = drawn_with(name, sign)
            if ink.size and not (ink.shape == unknown.shape and (ink == unknown).all()):
                found.append((sign, np.rint(255 * ink).astype(np.uint8)))
    return found


@cache
def _font(name: str):  # type: ignore[no-untyped-def]
    from PIL import ImageFont

    return ImageFont.truetype(_files()[name], _HEIGHT)


@cache
def _files() -> dict[str, str]:
    """Where the fonts lie, by the names of their files; InputError names packages that lack."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        for place, _, names in sorted(os.walk(folder.expanduser())):
            found = {name: os.path.join(place, name) for name in names} | found
    lacking = [p for p, names in PACKAGES.items() if any(name not in found for name in names)]
    if lacking:
        raise InputError(
            f"fonts: expected those of Debian's packages, found none of {', '.join(lacking)} "
            f"(apt install {' '.join(lacking)})"
        )
    return found
