"""What goes on inside a network: heat over an image, filters, maps, spreads of values, a trace.

Signed values are blue below zero, white at it and vermillion above; values that are never below
zero go from black to white. A scale is shared by all tiles of one picture, never by two.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ..errors import InputError
from . import style


def _colours(*colours: str) -> Colormap:
    # the gaps between tiles have a colour that is seen beside black, white and all others
    return LinearSegmentedColormap.from_list("", colours).with_extremes(bad="#9FB4C2")


SIGNED = _colours(style.BLUE, "white", style.VERMILLION)
HEAT = _colours("white", "#F6B26B", style.VERMILLION, "#6B1F00")
GREYS = _colours("black", "white")


@style.styled
def heat(
    image: NDArray,
    values: NDArray,
    title: str = "",
    label: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Values over the image that they belong to, its ink as an outline.

    image    (h, w) or (h, w, 1 or 3), uint8, or float from 0 to 1
    values   (h, w), one for each pixel, as `scratchnet.explain` makes them
    label    what the values are, beside the colour bar
    ax       draw into these axes, and return their figure
    """
    picture, found = _grey(image), _numbers(values, "heat", (2,))
    if picture.shape != found.shape:
        raise InputError(f"heat: expected values of shape {picture.shape}, {style.seen(found)}")
    ax = style.new_figure(300, 262).add_subplot() if ax is None else ax
    if found.min() > -0.02 * found.max():  # next to nothing is not worth half of the scale
        found = np.maximum(found, 0)
    drawn = ax.imshow(found, **_scale(found, HEAT))
    if picture.min() < 0.5 < picture.max():
        ax.contour(picture, levels=[0.5], colors=[style.INK], linewidths=1.3)
    bar = ax.figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03)
    bar.set_label(label)
    _finish_bar(bar)
    _frame(ax, title)
    return style.figure_of(ax)


@style.styled
def filters(weights: NDArray, title: str = "", ax: Axes | None = None) -> Figure:
    """The filters of a convolution as tiles, zero in white.

    weights   (kh, kw, c, k). For one input channel a tile is a filter, in reading order; for more,
              a column is a filter and a row an input channel.
    """
    W = _numbers(weights, "filters", (4,))
    kh, kw, c, k = W.shape
    if c == 1:
        return _draw_tiles(W[:, :, 0], _columns(W[:, :, 0]), title, ax, SIGNED)
    tiles = W.reshape(kh, kw, c * k)  # row by row: all filters of one input channel
    return _draw_tiles(tiles, k, title, ax, SIGNED, "filter", "input channel")


@style.styled
def feature_maps(maps: NDArray, title: str = "", ax: Axes | None = None) -> Figure:
    """The channels of a layer's output, or of its gradient, as tiles in reading order.

    maps   (h, w, k)
    """
    tiles = _numbers(maps, "feature maps", (3,))
    return _draw_tiles(tiles, _columns(tiles), title, ax)


@style.styled
def histograms(
    arrays: Mapping[str, NDArray],
    title: str = "",
    label: str = "value",
    log: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """How the values of several arrays are spread, one curve over the other: weights, gradients.

    arrays   name -> array, such as `trace.parameters` or `trace.gradients`
    label    what the values are, under the axis
    log      draw their sizes, by powers of ten: gradients differ too much for one linear axis

    Each curve has its own height. At the right the root of the mean square, and how many are 0, or
    with log smaller than the largest by more than ten powers of ten, which are not drawn.
    """
    values = {name: _numbers(a, name).ravel() for name, a in arrays.items()}
    values = {name: a for name, a in values.items() if a.size}
    if not values:
        raise InputError("histograms: expected at least one array with values, found none")
    if ax is None:
        ax = style.new_figure(0.8 * style.WIDTH, 64 + 30 * len(values)).add_subplot()
    shown = {name: np.log10(np.abs(a[a != 0])) if log else a for name, a in values.items()}
    everything = np.concatenate(list(shown.values()))
    low, high = (everything.min(), everything.max()) if everything.size else (0.0, 1.0)
    low = max(low, high - 10) if log else low
    margin = 0.02 * (high - low) or 0.5
    edges = np.linspace(low - margin, high + margin, 81)
    middles = (edges[1:] + edges[:-1]) / 2
    for row, (name, a) in enumerate(values.items()):
        counts = np.histogram(shown[name], edges)[0]
        base = len(values) - 1 - row
        curve = base + 0.85 * counts / max(counts.max(), 1)
        ax.fill_between(middles, base, curve, step="mid", color=style.BLUE, alpha=0.35, linewidth=0)
        ax.step(middles, curve, where="mid", color=style.BLUE, linewidth=1)
        small = np.mean(np.abs(a) < 10.0**low) if log else np.mean(a == 0)
        text = f"rms {math.sqrt(np.square(a).mean()):.2g}"
        text += f"\n{100 * small:.0f} % {'about ' if log else ''}zero" if small >= 0.005 else ""
        look: dict[str, Any] = {"color": style.GREY, "fontsize": style.SMALL, "va": "bottom"}
        ax.text(1.01, base + 0.08, text, transform=ax.get_yaxis_transform(), **look)
    ax.set_yticks(range(len(values))[::-1], list(values))
    ax.set(title=title, xlim=(edges[0], edges[-1]), ylim=(-0.1, len(values)))
    ax.set_xlabel(f"size of the {label}" if log else label)
    if log:
        ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        ax.xaxis.set_major_formatter(lambda power, _: f"1e{power:.0f}")
    if not log and low < 0 < high:
        ax.axvline(0, color=style.LINE, linewidth=0.8, zorder=0)
    ax.spines["left"].set_visible(False)
    style.style_ticks(ax)
    ax.tick_params(axis="y", length=0)
    return style.figure_of(ax)


@style.styled
def trace(layers: Sequence[Mapping[str, Any]], image: NDArray, title: str = "") -> Figure:
    """A forward and a backward pass: each layer's output, and beside it dL/d(output).

    layers   as `LayerTrace.to_dict` makes them: "name", "kind", "output", "dy", "rms", "dead"
    image    the input: an image, or a vector

    Of images every channel is a tile; a vector is a strip. A layer that only changes the shape has
    no row. Each picture has a scale of its own, and the number under it says how large it is. The
    first row is the input, and dL/d(input).
    """
    shown = [layer for layer in layers if layer["kind"] != "Flatten"]
    half, label = (style.WIDTH - 82) / 2, 82.0
    shapes = [_tall(np.asarray(layer["output"]), half - 12) for layer in shown]
    above, under, top = 4.0, 17.0, 34.0
    height = top + 66 + sum(above + tall + under for tall in shapes)
    figure = style.new_figure(style.WIDTH, height, layout="none")

    def axes(left: float, y: float, width: float, tall: float) -> Axes:
        place = left / style.WIDTH, 1 - (y + tall) / height, width / style.WIDTH, tall / height
        return figure.add_axes(place, xticks=[], yticks=[], anchor="NW")

    figure.text(6 / style.WIDTH, 1 - 14 / height, title, fontsize=style.TITLE, weight="bold")
    for left, text in (
        (label, "forward: output"),
        (label + half, "backward: gradient of the loss"),
    ):
        figure.text(left / style.WIDTH, 1 - 29 / height, text, color=style.GREY)
    for left, a in ((label, image), (label + half, layers[0]["dx"])):
        flat = np.ndim(a) == 1
        where = axes(left, top, half - 12 if flat else 60, 14 if flat else 60)
        _draw_array(where, np.asarray(a))
    _name(figure, "input", "", top, height)
    y = top + 66
    for layer, tall in zip(shown, shapes, strict=True):
        _name(figure, layer["name"], _times(np.shape(layer["output"])), y + above, height)
        for left, key in ((label, "output"), (label + half, "dy")):
            where = axes(left, y + above, half - 12, tall)
            if layer[key] is None:
                where.set_axis_off()
                note = "folded into the loss:\nits dx = probabilities - one_hot"
                where.text(0, 1, note, color=style.GREY, fontsize=style.SMALL, va="top")
                continue
            _draw_array(where, np.asarray(layer[key]))
            text = f"rms {layer['rms'][key]:.2g}"
            if key == "output" and layer["dead"] is not None:
                text += f", {100 * layer['dead']:.0f} % zero"
            where.set_xlabel(text, fontsize=style.SMALL, loc="left", labelpad=2, color=style.GREY)
        y += above + tall + under
    return figure


def _name(figure: Figure, name: str, shape: str, y: float, height: float) -> None:
    look: dict[str, Any] = {"fontsize": style.SMALL, "va": "top", "transform": figure.transFigure}
    lines = style.wrap(name.replace(".", ". "), 72, style.SMALL).replace(". ", ".")
    figure.text(6 / style.WIDTH, 1 - y / height, lines, **look)
    down = 11 * (1 + lines.count("\n"))
    figure.text(6 / style.WIDTH, 1 - (y + down) / height, shape, color=style.GREY, **look)


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))


def _tall(a: NDArray, width: float) -> float:
    """The height in points of an array drawn `width` wide."""
    if a.ndim == 1:
        return 14.0
    tiles = np.atleast_3d(a)
    mosaic = _mosaic(tiles, _columns(tiles, wide=4))
    return min(width * mosaic.shape[0] / mosaic.shape[1], 150.0)


def _draw_array(ax: Axes, a: NDArray) -> None:
    scale = _scale(a, GREYS, clip=True)
    if a.ndim == 1:
        ax.imshow(a[None], aspect="auto", interpolation="nearest", **scale)
    else:
        tiles = np.atleast_3d(a)
        ax.imshow(_mosaic(tiles, _columns(tiles, wide=4)), interpolation="nearest", **scale)
    if a.ndim == 1 and len(a) <= 12:  # classes
        for k, value in enumerate(a):
            red, green, blue, _ = scale["cmap"](scale["norm"](value))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            look: dict[str, Any] = {"ha": "center", "va": "center_baseline"}
            look |= {"color": "white" if dark else style.INK, "fontsize": style.SMALL}
            ax.text(k, 0, str(k), **look)
    ax.spines[:].set(visible=True, color=style.LINE)


def _draw_tiles(
    tiles: NDArray,
    columns: int,
    title: str,
    ax: Axes | None,
    unsigned: Colormap = GREYS,
    across: str = "",
    down: str = "",
) -> Figure:
    mosaic = _mosaic(tiles, columns)
    if ax is None:
        width = style.WIDTH - 90
        tall = min(width * mosaic.shape[0] / mosaic.shape[1], 560)
        width = min(width, tall * mosaic.shape[1] / mosaic.shape[0])
        room = style.text_width(title, style.TITLE, "bold") + 20
        ax = style.new_figure(max(width + 90, room), tall + 44).add_subplot()
    scale = _scale(tiles, unsigned, clip=True)
    drawn = ax.imshow(mosaic, interpolation="nearest", **scale)
    beyond = "neither"
    if np.nanmax(np.abs(tiles)) > scale["norm"].vmax:
        beyond = "both" if scale["cmap"] is SIGNED else "max"
    bar = ax.figure.colorbar(drawn, ax=ax, fraction=0.046, pad=0.03, shrink=0.9, extend=beyond)
    _finish_bar(bar)
    _frame(ax, title)
    ax.set(xlabel=across, ylabel=down)
    return style.figure_of(ax)


def _mosaic(tiles: NDArray, columns: int) -> NDArray:
    """(h, w, k) side by side with gaps of NaN; small tiles enlarged, so that the gaps are thin."""
    zoom = max(1, 12 // max(tiles.shape[:2]))
    tiles = tiles.repeat(zoom, axis=0).repeat(zoom, axis=1)
    h, w, k = tiles.shape
    gap = 0 if k == 1 else 1 if max(h, w) <= 16 else 2
    rows = math.ceil(k / columns)
    found = np.full((rows * (h + gap) + gap, columns * (w + gap) + gap), np.nan)
    for number in range(k):
        i, j = divmod(number, columns)
        top, left = gap + i * (h + gap), gap + j * (w + gap)
        found[top : top + h, left : left + w] = tiles[:, :, number]
    return found


def _columns(tiles: NDArray, wide: float = 2) -> int:
    """Tiles in a row: the whole about `wide` times as wide as tall, with full rows if it can."""
    h, w, k = tiles.shape
    best = max(1, min(k, round(math.sqrt(wide * k * h / w))))
    near = [n for n in range(max(1, best * 2 // 3), min(k, best * 4 // 3) + 1) if k % n == 0]
    return min(near, key=lambda n: abs(n - best), default=best)


def _scale(values: NDArray, unsigned: Colormap, clip: bool = False) -> dict[str, Any]:
    """The colours for these values: signed ones around zero, others from zero.

    clip   let the largest 0.5 % of the values that are not zero share the last colour: a few
           outliers would make all others pale
    """
    sizes = np.abs(values[np.isfinite(values) & (values != 0)])
    most = float(np.quantile(sizes, 0.995) if clip else sizes.max()) if sizes.size else 1.0
    if (values < 0).any():
        return {"cmap": SIGNED, "norm": Normalize(-most, most)}
    return {"cmap": unsigned, "norm": Normalize(0, most)}


def _finish_bar(bar: Any) -> None:
    bar.outline.set_visible(False)
    style.style_ticks(bar.ax)
    bar.ax.yaxis.get_offset_text().set_fontsize(style.SMALL)


def _frame(ax: Axes, title: str) -> None:
    ax.set(title=title, xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=style.LINE)


def _grey(image: NDArray) -> NDArray:
    """(h, w) between 0 and 1; colours become their mean."""
    picture = np.asarray(image)
    if picture.ndim not in (2, 3) or picture.dtype.kind not in "buif" or picture.size == 0:
        raise InputError(f"image: expected (h, w) or (h, w, c), {style.seen(picture)}")
    picture = picture.mean(axis=2) if picture.ndim == 3 else picture
    return picture / 255 if np.asarray(image).dtype == np.uint8 else picture


def _numbers(values: NDArray, what: str, axes: tuple[int, ...] = ()) -> NDArray:
    found = np.asarray(values)
    if found.dtype.kind not in "buif" or (axes and found.ndim not in axes) or found.size == 0:
        wanted = f" with {axes[0]} axes" if axes else ""
        raise InputError(f"{what}: expected numbers{wanted}, {style.seen(found)}")
    return found
