"""Images with what the model makes of them, and what was done to one of them."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import InputError
from ..imaging import Step
from . import style
from .style import SMALL


@style.styled
def prediction_grid(
    images: NDArray,
    probabilities: NDArray,
    labels: NDArray | None = None,
    class_names: Sequence[str] | None = None,
    columns: int = 10,
    rows: int = 5,
) -> Figure:
    """Images with what the model makes of them: the most confident mistakes first.

    images          (n, h, w) or (n, h, w, 1 or 3), uint8 or float
    probabilities   (n, k), between 0 and 1
    labels          (n,) true classes; without them the least confident predictions come first
    class_names     k names; 0, 1, ... when left out
    columns, rows   at most so many cells

    After the mistakes follow the least confident of the correct predictions. A mistake is framed
    and says the true class.
    """
    pictures, probs = _pictures(images, "images"), _probabilities(probabilities)
    n, k = probs.shape
    if len(pictures) != n or min(columns, rows) < 1:
        found = f"{len(pictures)} images, {n} rows, a grid of {columns} x {rows}"
        raise InputError(f"prediction grid: expected probabilities for each image, found {found}")
    names = style.names_of(class_names, k)
    guesses, confidence = probs.argmax(axis=1), probs.max(axis=1)
    truth = guesses if labels is None else _labels(labels, n, k)
    wrong = guesses != truth
    # the last key counts most: mistakes by falling confidence, then the rest by rising
    order = np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))[: columns * rows]

    columns = min(columns, len(order))
    cell = min(style.WIDTH / columns, 100.0)  # three cells across the whole width would be huge
    between = " · " if class_names is None else "\n"  # beside a name there is no room
    captions = []
    for i in order:
        name = style.wrap(names[guesses[i]], cell - 8, SMALL)
        true = "\n" + style.wrap(f"true {names[truth[i]]}", cell - 8, SMALL) if wrong[i] else ""
        captions.append(f"{name}{between}{100 * confidence[i]:.1f} %{true}")

    title, line = f"{n:,} predicted", "the least confident first"
    if labels is not None:
        title = f"{wrong.sum():,} of {n:,} wrong ({style.percent(1 - wrong.mean())} correct)"
    if wrong.any():
        line = "the most confident mistakes first"
        line += "" if wrong[order].all() else ", then the least confident correct ones"
    line = f"{len(order):,} shown: {line}"
    width = 16 + max(
        style.text_width(title, style.TITLE, "bold"), style.text_width(line, style.TEXT)
    )
    figure, axes = _panels(pictures[order], columns, cell, width, 40, 0, _height(captions) + 9)
    x, y = 5 / 72 / figure.get_figwidth(), 4 / 72 / figure.get_figheight()
    figure.text(x, 1 - y, title, va="top", fontsize=style.TITLE, fontweight="bold")
    figure.text(x, 1 - 5 * y, line, va="top", color=style.GREY)
    for ax, i, caption in zip(axes, order, captions, strict=True):
        _show(ax, pictures[i])
        ax.set_xlabel(caption, fontsize=SMALL, color=style.MISTAKE if wrong[i] else style.INK)
        if wrong[i]:
            ax.spines[:].set(color=style.MISTAKE, linewidth=2.4)
    return figure


@style.styled
def image_steps(
    steps: Sequence[Step],
    probabilities: NDArray | None = None,
    class_names: Sequence[str] | None = None,
) -> Figure:
    """What was done to an image, one panel a step, in order.

    steps           objects with `name`, `caption` and `image`, (h, w) or (h, w, 3), uint8
    probabilities   (k,) between 0 and 1: a last panel shows what the model makes of the result
    class_names     k names for that panel; 0, 1, ... when left out
    """
    if not steps:
        raise InputError("image steps: expected at least one step, found none")
    pictures = [_pictures(np.asarray(s.image)[None], f"image step {s.name!r}")[0] for s in steps]
    titles = [f"{number}. {step.name}" for number, step in enumerate(steps, 1)]
    captions = [step.caption for step in steps]
    if probabilities is not None:
        probs = _probabilities(np.asarray(probabilities)[None])[0]  # (k,)
        names = style.names_of(class_names, len(probs))
        pictures.append(np.zeros((1, 1)))  # a square for the bars
        titles.append("prediction")
        captions.append("probability" if len(probs) <= 10 else f"best 10 of {len(probs)}")
    count = len(titles)
    most = 5 if class_names is None else 4  # beside names, bars want more width
    columns = math.ceil(count / math.ceil(count / most))
    cell = min(style.WIDTH / columns, 190.0)
    room = cell - 16  # text drawn is a little wider than text measured
    titles = [style.wrap(title, room, style.TEXT, "bold") for title in titles]
    captions = [style.wrap(caption, room, SMALL) for caption in captions]
    above, below = _height(titles) + 10, _height(captions) + 10
    figure, axes = _panels(pictures, columns, cell, 0, 0, above, below)
    for ax, picture, title, caption in zip(axes, pictures, titles, captions, strict=True):
        ax.set_title(title, fontsize=style.TEXT)
        ax.set_xlabel(caption, fontsize=SMALL, color=style.GREY, loc="left")
        if ax is axes[-1] and probabilities is not None:
            _draw_bars(ax, probs, names)
        else:
            _show(ax, picture)
    return figure


def _draw_bars(ax: Axes, probs: NDArray, names: list[str]) -> None:
    """The classes in their order; of more than ten, the ten most probable."""
    chosen = np.sort(np.argsort(-probs, kind="stable")[:10])
    places, percents = np.arange(len(chosen)), 100 * probs[chosen]
    best = int(percents.argmax())
    bars = ax.barh(places, percents, color="#A9BCC9", height=0.72)
    bars[best].set_color(style.BLUE)
    texts = [f"{value:.1f} %" if value >= 0.1 else "" for value in percents]
    ax.bar_label(bars, texts, padding=3, fontsize=SMALL)[best].set_fontweight("bold")
    width, _ = style.axes_size(ax)
    # of a long name the first words
    labels = [style.wrap(names[i], 0.4 * width, SMALL).partition("\n")[0] for i in chosen]
    ax.set_yticks(places, labels)
    ax.set_ylim(len(chosen) - 0.5, -0.5)
    ax.set_xticks([])
    style.style_ticks(ax, length=0)
    ax.spines["bottom"].set_visible(False)
    # the names stand left of the axes: move its edge, so that they stay in the panel
    inset = 6 + max(style.text_width(label, SMALL) for label in labels)
    box = ax.get_position()
    ax.set_position(box.from_extents(box.x0 + box.width * inset / width, box.y0, box.x1, box.y1))
    ax.set_xlim(0, 100 * (width - inset) / (width - inset - 44))  # 44: a number beyond a full bar


def _panels(
    pictures: Sequence[NDArray],
    columns: int,
    cell: float,
    width: float,
    top: float,
    above: float,
    below: float,
) -> tuple[Figure, list[Axes]]:
    """Axes for the pictures in rows, each row as high as its highest; in points:

    cell, width    from one image to the next; at least that of the figure
    top            room over the first row
    above, below   room over and under the axes of every row

    Placed by hand, because every size is known: matplotlib's layout of 50 axes takes seconds.
    """
    side, width = cell - 10, max(width, cell * columns)
    rows = [pictures[first : first + columns] for first in range(0, len(pictures), columns)]
    tall = [side * max(min(1.0, p.shape[0] / p.shape[1]) for p in row) for row in rows]
    height = top + sum(tall) + len(rows) * (above + below)
    figure, axes = style.new_figure(width, height, layout="none"), []
    for row, edge in zip(rows, tall, strict=True):
        top += above + edge
        for column in range(len(row)):
            corner = (column * cell + 5) / width, 1 - top / height
            axes.append(figure.add_axes((*corner, side / width, edge / height)))
        top += below
    return figure, axes


def _show(ax: Axes, picture: NDArray) -> None:
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], anchor="NW")
    ax.spines[:].set(visible=True, color=style.LINE)


def _height(texts: Sequence[str]) -> float:
    """Points that the text of most lines needs."""
    return 11.0 * (1 + max(text.count("\n") for text in texts))


def _pictures(images: NDArray, what: str) -> NDArray:
    """(n, h, w) or (n, h, w, 3) between 0 and 1; floats beyond that are scaled into it."""
    batch = np.asarray(images)
    if batch.ndim == 4 and batch.shape[3] == 1:
        batch = batch[..., 0]
    fits = batch.ndim == 3 or (batch.ndim == 4 and batch.shape[3] == 3)
    if not fits or batch.size == 0 or batch.dtype.kind not in "buif":
        raise InputError(f"{what}: expected (n, h, w) or (n, h, w, 3), {style.seen(batch)}")
    if batch.dtype == np.uint8:
        return batch / np.float32(255)
    low, high = min(0.0, batch.min()), max(1.0, batch.max())
    return (batch - low) / (high - low)


def _probabilities(probabilities: NDArray) -> NDArray:
    """(n, k), between 0 and 1 but for a rounding."""
    probs = np.asarray(probabilities)
    fits = probs.ndim == 2 and probs.size > 0 and probs.dtype.kind == "f"
    if not (fits and probs.min() >= -1e-3 and probs.max() <= 1 + 1e-3):  # NaN fails too
        raise InputError(f"probabilities: expected (n, k) from 0 to 1, {style.seen(probs)}")
    return probs.clip(0, 1)


def _labels(labels: NDArray, n: int, k: int) -> NDArray:
    """(n,) classes from 0 to k - 1."""
    truth = np.asarray(labels)
    fits = truth.shape == (n,) and truth.dtype.kind in "iu"
    if not (fits and truth.min() >= 0 and truth.max() < k):
        raise InputError(f"labels: expected {n} integers below {k}, {style.seen(truth)}")
    return truth
