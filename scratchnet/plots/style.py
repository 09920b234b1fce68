"""What all pictures share: colours, sizes of text, figures without pyplot, and saving.

Lengths are in points, 72 to the inch. A figure is at most 8 inches wide, a README's column, and
its text has 8 points or more wherever there is room.
"""

import base64
import functools
import io
import math
import os
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from numpy.typing import NDArray

from .. import showing
from ..checkpoint import write_atomically
from ..errors import InputError
from .suffixes import METADATA, check_suffix

# Okabe and Ito's palette, which people with any colour vision tell apart. MISTAKE is its
# vermillion, darkened until small text in it reads well on white.
BLUE, VERMILLION, GREEN, MISTAKE = "#0072B2", "#D55E00", "#007A5A", "#B84700"
INK, GREY, LINE, FAINT = "#222222", "#5F5F5F", "#BBBBBB", "#E6E6E6"
WIDTH = 576.0
#: pixels an inch in a notebook, where an inch is 96 pixels of the page
SHOWN_DPI = 120
TITLE, TEXT, SMALL = 10.5, 9.0, 8.0
LONGEST, WIDEST_NAME = 300, WIDTH / 3  # letters, and points; what is longer ends in dots

FONT = "DejaVu Sans"  # ships with matplotlib: the same picture on every machine

#: decorates the functions that draw; the caller's rcParams come back unchanged
styled = rc_context(
    {
        "font.family": [FONT],
        "font.size": TEXT,
        "text.color": INK,
        "text.parse_math": False,  # a class may well be called "$"
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "axes.titlesize": TITLE,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


class Picture(Figure):
    """A figure that a notebook shows by itself, without pyplot: as the last line of a cell."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """The picture, and the size at which it is meant to be seen."""
        from ..pictures.formats import open_image

        drawn, into = io.BytesIO(), io.BytesIO()
        self.savefig(drawn, format="png", dpi=SHOWN_DPI)
        # a third of the size, or a notebook of a few pictures would have megabytes
        open_image(drawn).convert("RGB").quantize(256).save(into, "png", optimize=True)
        width, height = self.get_size_inches()
        return into.getvalue(), {"width": round(96 * width), "height": round(96 * height)}

    def _ipython_display_(self) -> None:
        """The same also where pyplot was imported, which takes over how figures are shown."""
        data, size = self._repr_png_()
        picture = {"text/plain": repr(self), "image/png": base64.b64encode(data).decode()}
        showing.display(picture, raw=True, metadata={"image/png": size})


def new_figure(
    width: float, height: float, layout: Literal["constrained", "none"] = "constrained"
) -> Picture:
    """A figure that belongs to no pyplot window; layout "none" where axes are placed by hand."""
    figure = Picture(figsize=(width / 72, height / 72))
    figure.set_layout_engine(layout)
    return figure


def figure_of(ax: Axes) -> Figure:
    """The figure in which axes lie, directly or in a part of it."""
    figure = ax.get_figure(root=True)
    assert figure is not None, "axes without a figure"
    return figure


def axes_size(ax: Axes) -> tuple[float, float]:
    """Width and height of axes."""
    box, scale = ax.get_window_extent(), 72 / ax.figure.dpi
    return box.width * scale, box.height * scale


def style_ticks(ax: Axes, size: float = SMALL, length: float = 3) -> None:
    """The style of ticks, which matplotlib makes when it draws: rcParams would come too late."""
    ax.tick_params(labelsize=size, labelcolor=INK, color=GREY, length=length)


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float, weight: str = "normal") -> float:
    """The width of one line of text, measured in the font itself, without a figure."""
    font = FontProperties(family=FONT, size=size, weight=weight)
    return TextToPath().get_text_width_height_descent(text, font, ismath=False)[0]


def drawable(text: str, room: float = math.inf) -> str:
    """The text without what no font has, and no longer than there is room for."""
    odd = {c for c in text if unicodedata.category(c) in ("Cc", "Cs")} - {"\n", "\t"}
    text = "".join("?" if c in odd else c for c in text)
    letters = min(len(text), LONGEST)
    short = text[:letters]
    while len(short) > 1 and room < math.inf and text_width(short, SMALL) > room:
        letters -= 1
        short = text[:letters]
    return text if short == text else f"{text[: letters - 1]}…"


def wrap(text: str, room: float, size: float, weight: str = "normal") -> str:
    """The text in lines no wider than `room`, broken within a word only where it must be."""
    text = drawable(text)
    lines = [text]
    for letters in range(len(text), 0, -1):
        lines = textwrap.wrap(text, letters)
        if all(text_width(line, size, weight) <= room for line in lines):
            break
    return "\n".join(lines)


def percent(fraction: float) -> str:
    """ "98.97 %". What is not quite all is never rounded up to 100."""
    return f"{100 * fraction if fraction >= 1 else min(100 * fraction, 99.99):.2f} %"


def names_of(class_names: Sequence[str] | None, k: int) -> list[str]:
    """The k class names as text; 0, 1, ... without any."""
    given = range(k) if class_names is None else class_names
    names = [drawable(str(name), WIDEST_NAME) for name in given]
    if len(names) != k:
        raise InputError(f"class names: expected {k}, one for each class, found {len(names)}")
    return names


def seen(array: NDArray) -> str:
    """What an error says of an array it did not expect."""
    numbers = array.size and array.dtype.kind in "uif"
    span = f", {array.min():g} to {array.max():g}" if numbers else ""
    return f"found shape {array.shape} of {array.dtype}{span}"


def save(figure: Figure, path: str | os.PathLike[str], dpi: float = 150) -> None:
    """Write a figure as PNG, SVG or PDF, by the path's suffix, whole or not at all.

    dpi   pixels per inch of a PNG: at 150 a figure 8 inches wide has 1200 pixels
    """
    suffix = check_suffix(path)
    picture = io.BytesIO()
    with rc_context({"svg.hashsalt": "scratchnet"}):
        figure.savefig(picture, format=suffix[1:], dpi=dpi, metadata=METADATA[suffix])
    write_atomically(path, picture.getvalue())
