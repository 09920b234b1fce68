"""Images with what the model makes of them, and what was done to one of them."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from ..errors import InputError, is_whole
from ..pictures import Step
from ..pictures.sequences import Reading
from . import style
from .style import SMALL, text_width


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

    A mistake is framed and says the true class. The least confident correct predictions follow.
    """
    pictures, probs = _pictures(images, "images"), _probabilities(probabilities)
    n, k = probs.shape
    if len(pictures) != n or min(columns, rows) < 1:
        found = f"{len(pictures)} images, {n} rows, a grid of {columns} x {rows}"
        raise InputError(f"prediction grid: expected probabilities for each image, found {found}")
    names = style.names_of(class_names, k)
    guesses, confidence = probs.argmax(axis=1), probs.max(axis=1)
    truth = guesses if labels is None else np.asarray(labels)
    fits = truth.shape == (n,) and truth.dtype.kind in "iu"
    if not (fits and truth.min() >= 0 and truth.max() < k):
        raise InputError(f"labels: expected {n} integers below {k}, {style.seen(truth)}")
    wrong = guesses != truth
    # the last key counts most: mistakes by falling confidence, then the rest by rising
    order = np.lexsort((np.where(wrong, -confidence, confidence), ~wrong))[: columns * rows]

    columns = min(columns, len(order))
    cell = min(max(style.WIDTH / columns, 54.0), 100.0)  # neither too narrow for text nor huge
    between = " · " if max(map(len, names)) == 1 else "\n"  # beside a name there is no room
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
    width = 16 + max(text_width(title, style.TITLE, "bold"), text_width(line, style.TEXT))
    axes = _panels(pictures[order], captions, columns, cell, top=40, width=width)
    axes[0].set_title(title, pad=25)
    axes[0].annotate(line, (0, 1), (0, 9), "axes fraction", "offset points", color=style.GREY)
    for ax, mistaken in zip(axes, wrong[order], strict=True):
        if mistaken:
            ax.xaxis.label.set_color(style.MISTAKE)
            ax.spines[:].set(color=style.MISTAKE, linewidth=2.4)
    return style.figure_of(axes[0])


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
        titles.append("prediction")
        captions.append("probability" if len(probs) <= 10 else f"best 10 of {len(probs)}")
    most = 5 if probabilities is None or max(map(len, names)) == 1 else 4  # for names: wider bars
    columns = math.ceil(len(titles) / math.ceil(len(titles) / most))
    cell = min(style.WIDTH / columns, 190.0)
    captions = [style.wrap(caption, cell - 16, SMALL) for caption in captions]
    axes = _panels(pictures, captions, columns, cell, above=21)
    for ax, title, caption in zip(axes, titles, captions, strict=True):
        ax.set_title(title, fontsize=style.TEXT)
        ax.set_xlabel(caption, color=style.GREY, loc="left")
    if probabilities is not None:
        _draw_bars(axes[-1], probs, names)
    return style.figure_of(axes[0])


@style.styled
def augmented_samples(
    x: NDArray,
    augment: Callable[[NDArray, np.random.Generator], NDArray],
    rng: np.random.Generator,
    draws: int = 6,
) -> Figure:
    """Images in the first row, and below each what augmentation makes of it, drawn several times.

    x         (n, h, w) or (n, h, w, 1 or 3), uint8 or float; the first ten are shown
    augment   what `fit` takes: (x, rng) -> x
    draws     rows below the first
    """
    x = np.asarray(x)[:10]
    if not is_whole(draws, 1):
        raise InputError(f"draws: expected a whole number, at least 1, found {draws!r}")
    rows = [x, *(augment(x, rng) for _ in range(draws))]
    pictures = _pictures(np.concatenate(rows), "images")
    columns = len(x)
    cell = min(style.WIDTH / columns, 64.0)
    title = "originals, and below each what becomes of it"
    width = max(cell * columns, 16 + text_width(title, style.TITLE, "bold"))
    line = style.wrap(str(getattr(augment, "__name__", augment)), width - 16, SMALL)
    pad = 21 + 11 * line.count("\n")
    captions = [""] * len(pictures)
    axes = _panels(pictures, captions, columns, cell, top=pad + 16, width=width, below=10)
    axes[0].set_title(title, pad=pad)
    how: dict[str, Any] = {"fontsize": SMALL, "color": style.GREY}
    axes[0].annotate(line, (0, 1), (0, 5), "axes fraction", "offset points", **how)
    return style.figure_of(axes[0])


@style.styled
def digit_boxes(reading: Reading, class_names: Sequence[str] | None = None) -> Figure:
    """A picture of written numbers, a box around every digit with what it was read as.

    reading       from `pictures.sequences.read`
    class_names   k names; 0, 1, ... when left out

    A digit that the network is less than 90 % sure of has a box of another colour and its
    confidence beside it.
    """
    picture = _pictures(reading.picture[None], "picture")[0]
    height, width = picture.shape[:2]
    tall = (style.WIDTH - 10) * height / width
    figure = style.new_figure(style.WIDTH, tall + 29, layout="none")
    place = (5 / style.WIDTH, 5 / (tall + 29), 1 - 10 / style.WIDTH, tall / (tall + 29))
    ax = figure.add_axes(place, xticks=[], yticks=[])
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1, aspect="auto")
    ax.spines[:].set(visible=True, color=style.LINE)
    text = "   ".join(
        "".join(_name(digit.label, class_names) for digit in line) for line in reading.lines
    )
    ax.set_title(f"read as  {text}")
    for digit in (digit for line in reading.lines for digit in line):
        left, top, right, bottom = (edge / reading.scale - 0.5 for edge in digit.box)
        sure = digit.confidence >= 0.9
        color = style.BLUE if sure else style.MISTAKE
        frame = Rectangle((left, top), right - left, bottom - top, fill=False)
        frame.set(edgecolor=color, linewidth=1.4)
        ax.add_patch(frame)
        label = _name(digit.label, class_names)
        label += "" if sure else f" {100 * digit.confidence:.0f} %"
        box = {"facecolor": color, "edgecolor": "none", "pad": 1.5}
        ax.annotate(
            label,
            (left, top),
            (1, 2),
            textcoords="offset points",
            color="white",
            fontsize=style.TEXT,
            fontweight="bold",
            bbox=box,
        )
    return figure


def _name(label: int, class_names: Sequence[str] | None) -> str:
    return (
        str(label) if class_names is None else style.drawable(class_names[label], style.WIDEST_NAME)
    )


def _draw_bars(ax: Axes, probs: NDArray, names: list[str]) -> None:
    """The classes in their order, of many the ten most probable; of long names the first words."""
    chosen = np.sort(np.argsort(-probs, kind="stable")[:10])
    percents, best = 100 * probs[chosen], probs[chosen].argmax()
    bars = ax.barh(range(len(chosen)), percents, color="#A9BCC9", height=0.72)
    bars[best].set_color(style.BLUE)
    texts = [f"{value:.1f} %" if value >= 0.1 else "" for value in percents]
    ax.bar_label(bars, texts, padding=3, fontsize=SMALL)[best].set_fontweight("bold")
    width, _ = style.axes_size(ax)
    labels = [style.wrap(names[i], 0.4 * width, SMALL).partition("\n")[0] for i in chosen]
    ax.set_yticks(range(len(chosen)), labels)
    style.style_ticks(ax, length=0)
    ax.spines["bottom"].set_visible(False)
    ax.spines["left"].set_position("zero")  # with the names, inside the panel
    inset = 6 + max(text_width(label, SMALL) for label in labels)
    point = 100 / (width - inset - 44)  # of the scale: beyond a full bar a number fits
    ax.set(xlim=(-inset * point, (width - inset) * point), ylim=(len(chosen) - 0.5, -0.5))


def _panels(
    pictures: NDArray | Sequence[NDArray],
    captions: Sequence[str],
    columns: int,
    cell: float,
    above: float = 0.0,
    top: float = 0.0,
    width: float = 0.0,
    below: float = 21.0,
) -> list[Axes]:
    """Pictures over their captions, in rows; where there are more captions, empty squares.

    cell, above, top   points from one picture to the next, over each row, over all rows
    width              at least that of the figure
    below              under each row, for the first line of the captions

    Placed by hand, because every size is known: matplotlib's layout of 50 axes takes seconds.
    """
    side, width = cell - 10, max(width, cell * columns)
    ratios = [min(1.0, picture.shape[0] / picture.shape[1]) for picture in pictures]
    ratios += [1.0] * (len(captions) - len(pictures))
    tall = [side * max(ratios[i : i + columns]) for i in range(0, len(ratios), columns)]
    pitch = above + below + 11 * max(caption.count("\n") for caption in captions)
    height = top + sum(tall) + pitch * len(tall)
    figure = style.new_figure(width, height, layout="none")
    for i, caption in enumerate(captions):
        row, column = divmod(i, columns)
        bottom = height - top - above - sum(tall[: row + 1]) - row * pitch
        place = ((column * cell + 5) / width, bottom / height, side / width, tall[row] / height)
        ax = figure.add_axes(place, xticks=[], yticks=[], anchor="NW")
        ax.set_xlabel(caption, fontsize=SMALL)
        if i < len(pictures):
            ax.imshow(pictures[i], cmap="gray", vmin=0, vmax=1)
            ax.spines[:].set(visible=True, color=style.LINE)
    return figure.axes


def _pictures(images: NDArray, what: str) -> NDArray:
    """(n, h, w) or (n, h, w, 3) between 0 and 1; floats beyond that are scaled into it."""
    batch = np.asarray(images)
    batch = batch[..., 0] if batch.shape[3:] == (1,) else batch
    fits = batch.ndim >= 3 and batch.shape[3:] in ((), (3,)) and batch.dtype.kind in "buif"
    if not fits or batch.size == 0:
        raise InputError(f"{what}: expected (n, h, w) or (n, h, w, 3), {style.seen(batch)}")
    low, high = (0, 255) if batch.dtype == np.uint8 else (min(0, batch.min()), max(1, batch.max()))
    return (batch - np.float32(low)) / np.float32(high - low)


def _probabilities(probabilities: NDArray) -> NDArray:
    """(n, k), between 0 and 1 but for a rounding."""
    probs = np.asarray(probabilities)
    fits = probs.ndim == 2 and probs.size > 0 and probs.dtype.kind == "f"
    if not (fits and probs.min() >= -1e-3 and probs.max() <= 1 + 1e-3):  # NaN fails too
        raise InputError(f"probabilities: expected (n, k) from 0 to 1, {style.seen(probs)}")
    return probs.clip(0, 1)
