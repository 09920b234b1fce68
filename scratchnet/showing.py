"""What a notebook shows in place of a repr: tables and small pictures in HTML, and where we run.

An object's `_repr_html_` is put together here. Every text is escaped. Nothing sets a colour of text
or background, so that a light and a dark theme are both readable; lines and bars are in middle
tones. Jupyter is never imported: `in_notebook` asks only what is loaded already.
"""

import base64
import html
import io
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: seen on white and on black
BLUE, VERMILLION, LINE = "#3E8EC4", "#DE6A1E", "#8886"
#: longest side of a picture inside a table, in pixels on the screen
SIDE = 96
#: pixels on a side of what is stored: twice as fine where the page is enlarged, and no more
FINEST = 240
#: rows of a table, and cells of one row of pictures; of more it says how many there are
MOST_ROWS, MOST_PICTURES = 40, 24
#: characters of a repr
MOST_CHARACTERS = 400


def in_notebook() -> bool:
    """Whether this is a Jupyter kernel whose standard output goes to the notebook.

    Not in IPython on a terminal, and not where the output is caught, as by %%capture.
    """
    loaded = sys.modules.get("IPython")
    shell = loaded.get_ipython() if loaded is not None else None
    return getattr(shell, "kernel", None) is not None and type(sys.stdout).__module__.startswith(
        "ipykernel"
    )


def display(shown: Any, **how: Any) -> Any:
    """Show an object at once, in the notebook that `in_notebook` has found.

    With display_id=True, what is returned has `update`, which shows another in its place.
    """
    return sys.modules["IPython.display"].display(shown, **how)


def shortened(text: str, most: int = MOST_CHARACTERS) -> str:
    """The text, or its beginning and three dots."""
    return text if len(text) <= most else text[: most - 3] + "..."


def figure(key: str, value: float) -> str:
    """A loss or metric: "98.00 %" of an accuracy, "0.0712" of others, "0.000125" of small ones."""
    if key.endswith(("accuracy", "acc")):
        return f"{100 * value:.2f} %"
    return f"{value:.3g}" if key == "learning_rate" and 0 < abs(value) < 0.1 else f"{value:.4f}"


def escaped(text: object) -> str:
    return html.escape(str(text))


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    caption: str = "",
    left: int = 1,
    foot: Sequence[str] = (),
    note: str = "",
) -> str:
    """A table; the first `left` columns are aligned to the left, the others to the right.

    A cell is a text, or what `raw` made: a picture or a bar. note: a line below it.
    """
    shown = list(rows[:MOST_ROWS])
    note = note or (f"{len(rows) - len(shown):,} more rows" if len(rows) > len(shown) else "")

    def line(cells: Sequence[str], kind: str = "td") -> str:
        found = []
        for number, cell in enumerate(cells):
            side = "left" if number < left else "right"
            inside = cell if isinstance(cell, Raw) else escaped(cell)
            found.append(f'<{kind} align="{side}" style="text-align:{side}">{inside}</{kind}>')
        return f"<tr>{''.join(found)}</tr>"

    title = f'<caption style="text-align:left">{escaped(caption)}</caption>' if caption else ""
    head = f"<thead>{line(heads, 'th')}</thead>" if any(heads) else ""
    body = "".join(line(cells) for cells in [*shown, *([foot] if foot else [])])
    below = f"<div>{escaped(note)}</div>" if note else ""
    return f"<table>{title}{head}<tbody>{body}</tbody></table>{below}"


class Raw(str):
    """A text that is HTML already."""

    __slots__ = ()


def raw(text: str) -> Raw:
    return Raw(text)


def heading(text: object) -> str:
    return f"<div><b>{escaped(text)}</b></div>"


def lines(texts: Iterable[object]) -> str:
    """Plain text as it stands, in lines of letters of one width."""
    return f"<pre>{escaped(chr(10).join(map(str, texts)))}</pre>"


def bar(share: float, width: int = 120) -> Raw:
    """A share from 0 to 1 as a bar; what is not finite has none."""
    long = round(width * min(max(share, 0.0), 1.0)) if math.isfinite(share) else 0
    style = f"display:inline-block;width:{long}px;height:0.7em;background:{BLUE}"
    return raw(f'<span style="{style}"></span>')


def picture(values: NDArray, title: str = "", side: int = SIDE) -> Raw:
    """An array as a small picture: (h, w), or (h, w, c) in tiles; a vector as a strip.

    uint8 is grey, or with three channels colours. Other numbers are grey from 0 to the largest, and
    where some are below 0, blue below it, white at it and vermillion above.
    """
    pixels = _pixels(np.asarray(values))
    h, w = pixels.shape[:2]
    scale = side / max(h, w)
    size = f'width="{max(round(w * scale), 1)}" height="{max(round(h * scale), 6)}"'
    look = "image-rendering:pixelated;border:1px solid #8888"
    text = f' alt="{escaped(title)}" title="{escaped(title)}"'
    return raw(f'<img src="{_source(pixels)}" {size}{text} style="{look}">')


def pictures(named: Iterable[tuple[str, NDArray]], side: int = SIDE) -> str:
    """Pictures in a row, each over its name."""
    every = list(named)
    cells = [(picture(values, name, side), name) for name, values in every[:MOST_PICTURES]]
    look = "display:inline-block;margin:4px;vertical-align:top;text-align:center;font-size:0.85em"
    look += f";max-width:{side + 30}px"
    found = "".join(f'<div style="{look}">{seen}<br>{escaped(name)}</div>' for seen, name in cells)
    more = f"<div>{len(every) - len(cells):,} more</div>" if len(every) > len(cells) else ""
    return f"<div>{found}</div>{more}"


def _source(pixels: NDArray[np.uint8]) -> str:
    from PIL import Image

    into = io.BytesIO()
    Image.fromarray(pixels).save(into, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(into.getvalue()).decode()}"


def _pixels(values: NDArray) -> NDArray[np.uint8]:
    """(h, w) or (h, w, 3) bytes, at most FINEST on a side."""
    is_colour = values.dtype == np.uint8 and values.ndim == 3 and values.shape[2] == 3
    if not is_colour:
        values = values.reshape(1, -1) if values.ndim < 2 else values
        values = _tiles(values.reshape(*values.shape[:2], -1))
    values = _reduced(values, math.ceil(max(values.shape[:2]) / FINEST))
    if values.dtype == np.uint8:
        return values
    known = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    sizes = np.abs(known[known != 0])
    # a few outliers would make all others pale
    most = float(np.quantile(sizes, 0.995)) if sizes.size else 1.0
    share = (known / most).clip(-1, 1)
    if known.min() >= 0:
        return np.rint(255 * share).astype(np.uint8)
    share = share[..., None]  # (h, w, 1)
    below, above = np.array([0, 114, 178.0]), np.array([213, 94, 0.0])
    ends = np.where(share < 0, below, above)  # of the scale; white in its middle
    return np.rint(255 + np.abs(share) * (ends - 255)).astype(np.uint8)


def _reduced(values: NDArray, by: int) -> NDArray:
    """Means of squares of so many pixels; a strip keeps its height."""
    if by <= 1:
        return values
    down, across = (by if length >= by else 1 for length in values.shape[:2])
    h, w = values.shape[0] // down, values.shape[1] // across
    squares = values[: h * down, : w * across].reshape(h, down, w, across, *values.shape[2:])
    return squares.mean(axis=(1, 3)).astype(values.dtype)


def _tiles(maps: NDArray) -> NDArray:
    """(h, w, c) as one picture, the channels side by side with a line of zeros between."""
    h, w, c = maps.shape
    if c == 1:
        return maps[:, :, 0]
    c = min(c, 64)
    columns = math.ceil(math.sqrt(c * max(h, 1) / max(w, 1)))
    rows = math.ceil(c / columns)
    found = np.zeros((rows * (h + 1) - 1, columns * (w + 1) - 1), maps.dtype)
    for k in range(c):
        i, j = divmod(k, columns)
        found[i * (h + 1) : i * (h + 1) + h, j * (w + 1) : j * (w + 1) + w] = maps[:, :, k]
    return found
