"""How training went, and what the model mistakes for what."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..errors import InputError
from . import style

_Series = dict[str, NDArray[np.float64]]


@style.styled
def training_curves(
    history: Mapping[str, Sequence[float]],
    epochs: Sequence[int] | None = None,
    test: Mapping[str, float] | None = None,
) -> Figure:
    """Loss and accuracy over the epochs, training against validation.

    history   "loss", "accuracy", "val_loss", "val_accuracy": a number for every epoch, accuracy as
              a fraction. A panel appears when one of its two series is there; other keys are
              ignored. NaN and infinities are gaps, and the legend says so.
    epochs    the epochs' numbers; 1, 2, ... when left out
    test      "accuracy" (a fraction) and/or "loss": a dashed line with its figure
    """
    series = _series(history)
    length = len(next(iter(series.values())))
    numbers = np.arange(1, length + 1) if epochs is None else np.asarray(epochs)
    if numbers.shape != (length,) or numbers.dtype.kind not in "iu":
        raise InputError(f"epochs: expected {length} integers, {style.seen(numbers)}")
    panels = [kind for kind in ("loss", "accuracy") if kind in series or f"val_{kind}" in series]
    figure = style.new_figure(style.WIDTH * (1.0 if len(panels) == 2 else 0.6), 240)
    for ax, kind in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _draw_curves(ax, kind, numbers, series, (test or {}).get(kind))
    return figure


def _series(history: Mapping[str, Sequence[float]]) -> _Series:
    """The series that are drawn, as arrays (epochs,) with NaN in the gaps."""
    keys = [key for key in ("loss", "accuracy", "val_loss", "val_accuracy") if key in history]
    try:
        series = {key: np.asarray(history[key], dtype=np.float64) for key in keys}
    except (TypeError, ValueError):
        raise InputError("history: expected a number for every epoch, found others") from None
    shapes = {key: values.shape for key, values in series.items()}
    if len(set(shapes.values())) != 1 or any(len(s) != 1 or s == (0,) for s in shapes.values()):
        expected = 'expected "loss" or "accuracy", a number for every epoch'
        raise InputError(f"history: {expected}, found {shapes or sorted(history)}")
    return {key: np.where(np.isfinite(values), values, np.nan) for key, values in series.items()}


def _draw_curves(ax: Axes, kind: str, epochs: NDArray, series: _Series, test: float | None) -> None:
    unit = 100 if kind == "accuracy" else 1
    colors = {"training": style.BLUE, "validation": style.VERMILLION}
    for name, key, marker in (("training", kind, "o"), ("validation", f"val_{kind}", "s")):
        if key in series:
            label = f"{name} (gaps: not finite)" if np.isnan(series[key]).any() else name
            marker = marker if len(epochs) <= 30 else ""
            look: dict[str, Any] = {"color": colors[name], "linewidth": 1.8, "markersize": 4.5}
            ax.plot(epochs, unit * series[key], label=label, marker=marker, **look)
    if test is not None:
        label = f"test {style.percent(test) if kind == 'accuracy' else format(test, '.4g')}"
        ax.axhline(unit * test, color=style.GREEN, linestyle="--", linewidth=1.5, label=label)
    ax.xaxis.set_major_locator(MaxNLocator(10, integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    ax.set_xlim(epochs.min() - 0.3, epochs.max() + 0.3)
    ax.margins(y=0.07)
    low, high = ax.get_ylim()
    if kind == "loss":
        ax.set_ylim(bottom=max(low, 0))
    else:  # a sliver above 100 %, or its marker would be cut in half
        ax.set_ylim(top=min(high, 100 + 0.04 * (100 - low)))
    ax.ticklabel_format(axis="y", useOffset=False)
    label = "accuracy (%)" if kind == "accuracy" else "mean loss per image"
    ax.set(title=kind.capitalize(), xlabel="epoch", ylabel=label)
    ax.grid(axis="y", color=style.FAINT)
    style.style_ticks(ax)
    ax.legend(edgecolor=style.FAINT, framealpha=0.9)


@style.styled
def learning_rates(
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float] | None = None,
    suggestion: float | None = None,
) -> Figure:
    """The loss of each step over its learning rate, which grew: what `find_learning_rate` found.

    rates        above 0; their axis is logarithmic
    losses       one for each rate
    smoothed     a second line, over the first
    suggestion   a rate to mark
    """
    x, lines = np.asarray(rates, float), [np.asarray(losses, float)]
    lines += [] if smoothed is None else [np.asarray(smoothed, float)]
    if x.ndim != 1 or not x.size or not np.all(x > 0) or any(a.shape != x.shape for a in lines):
        shapes = ", ".join(str(a.shape) for a in lines)
        raise InputError(
            f"rates: expected numbers above 0, and as many losses, found {style.seen(x)}, {shapes}"
        )
    figure = style.new_figure(style.WIDTH * 0.75, 260)
    ax = figure.subplots()
    ax.plot(x, lines[0], color=style.BLUE, linewidth=0.9, alpha=0.6, label="each batch")
    if smoothed is not None:
        ax.plot(x, lines[1], color=style.BLUE, linewidth=2, label="smoothed")
    if suggestion is not None:
        look: dict[str, Any] = {"color": style.GREEN, "linestyle": "--", "linewidth": 1.5}
        ax.axvline(suggestion, label=f"falls fastest: {suggestion:.2g}", **look)
    ax.set_xscale("log")
    finite = lines[-1][np.isfinite(lines[-1])]
    if finite.size and finite[0] > finite.min():  # what explodes would press the rest flat
        low, start = float(finite.min()), float(finite[0])
        ax.set_ylim(low - 0.15 * (start - low), start + 0.6 * (start - low))
    ax.set(title="Learning rate", xlabel="learning rate", ylabel="loss of the batch")
    ax.grid(axis="y", color=style.FAINT)
    style.style_ticks(ax)
    ax.legend(edgecolor=style.FAINT, framealpha=0.9)
    return figure


@style.styled
def confusion_matrix(
    matrix: NDArray, class_names: Sequence[str] | None = None, ax: Axes | None = None
) -> Figure:
    """Which class was taken for which, the mistakes on a colour scale of their own.

    matrix        (k, k) counts of images: rows the true class, columns the predicted one
    class_names   k names; 0, 1, ... when left out
    ax            draw into these axes, and return their figure

    The diagonal, a hundred times larger than the rest in a good model, is a neutral grey outside
    the scale. Counts are written into the cells up to 20 classes; zeros stay blank.
    """
    counts = np.asarray(matrix)
    fits = counts.ndim == 2 and len(counts) == counts.shape[1] and counts.dtype.kind in "iu"
    if not (fits and counts.any() and counts.min() >= 0):
        raise InputError(f"confusion matrix: expected counts (k, k), {style.seen(counts)}")
    k, right, total = len(counts), int(np.trace(counts)), int(counts.sum())
    names = style.names_of(class_names, k)
    if ax is None:
        side = min(style.WIDTH, max(420, 320 + 8 * k))
        ax = style.new_figure(1.12 * side, side).add_subplot()
    _draw_cells(ax, counts)
    cell = min(style.axes_size(ax)) / k
    size = min(style.TEXT, 0.9 * cell)
    upright = max(style.text_width(name, size) for name in names) < 0.95 * cell
    ax.set_xticks(range(k), names, rotation=0 if upright else 90)
    ax.set_yticks(range(k), names)
    style.style_ticks(ax, size, length=0)
    ax.spines[:].set(visible=True, color=style.GREY)
    ax.set(xlabel="predicted class", ylabel="true class")
    ax.set_title(f"{right:,} of {total:,} correct ({style.percent(right / total)})")
    if k <= 20:  # beyond that a count no longer fits its cell
        _write_counts(ax, counts, cell)
    return style.figure_of(ax)


def _draw_cells(ax: Axes, counts: NDArray) -> None:
    k = len(counts)
    diagonal = np.eye(k, dtype=bool)
    ax.imshow(diagonal, cmap=ListedColormap(["white", "#D9D9D9"]), vmin=0, vmax=1)
    mistakes = np.ma.masked_array(counts, mask=diagonal | (counts == 0))
    if mistakes.count():
        # the first tenth of the map is almost white: a single mistake would not be seen
        oranges = ListedColormap(colormaps["Oranges"](np.linspace(0.12, 1.0, 256)))
        picture = ax.imshow(mistakes, cmap=oranges, vmin=0, vmax=mistakes.max())
        ticks = MaxNLocator(nbins=6, integer=True)
        bar = ax.figure.colorbar(picture, ax=ax, ticks=ticks, shrink=0.85, fraction=0.046, pad=0.03)
        bar.set_label("mistakes (images)")
        bar.outline.set_visible(False)
        style.style_ticks(bar.ax)
    edges = np.arange(0.5, k - 1)
    ax.hlines(edges, -0.5, k - 0.5, color=style.FAINT, linewidth=0.5)
    ax.vlines(edges, -0.5, k - 0.5, color=style.FAINT, linewidth=0.5)


def _write_counts(ax: Axes, counts: NDArray, cell: float) -> None:
    """Each count in its cell, as large as the longest allows, dark on light or light on dark."""
    size = min(style.TEXT, 1.3 * cell / len(str(counts.max())))
    off_diagonal = counts * ~np.eye(len(counts), dtype=bool)
    dark = off_diagonal > 0.72 * off_diagonal.max()  # there white reads better than ink
    for row, column in np.argwhere(counts):
        look: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": size}
        look["color"] = "white" if dark[row, column] else style.INK
        ax.text(column, row, counts[row, column], **look)
