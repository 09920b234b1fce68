"""The classic picture of a network: stacks of feature maps, bars for vectors, arrows between."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle
from matplotlib.path import Path

from ..errors import InputError
from ..layers import Residual
from ..layers.registry import kind_of
from . import style
from .style import SMALL, text_width

# Points, which are the units of the axes too.
_SIDE = 50.0  # the edge of the largest feature map
_SHEET = 2.6  # from one sheet of a stack to the next
_LINE = 10.0  # from one line of an operation's name to the next
_MARGIN = 10.0  # left and right, where the line from row to row runs
_DEEP = 16.0  # from an arrow down to the way around it
_AROUND = 9.0  # from an arrow's ends to where that way leaves it and comes back
_SUM = 4.0  # the radius of the plus where it comes back
_BETWEEN = 16.0  # from one row's labels to the next row


class Model(Protocol):
    """What the picture shows of a model: what a `Sequential` has."""

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Of one example, without the batch axis; None before the model is built."""

    @property
    def layers(self) -> Sequence[Any]:
        """Each with `output_shape`, and the sizes that its kind has."""

    def count_params(self) -> int:
        """How many numbers the model learns."""


class _Block:
    """An array on its way through the model, and the lines that name the layers before it.

    lines     the first `own` name the operation, the rest its elementwise layers; none at the input
    shortcut  the lines below the way around the operation; None where there is no such way
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        largest: int,
        lines: list[str],
        shortcut: list[str] | None = None,
    ) -> None:
        self.shape, self.label = shape, "×".join(map(str, shape))
        self.lines, self.own, self.shortcut = lines, len(lines), shortcut
        self.face = 9.0, 14.0 + 5.2 * math.log2(shape[0])  # width and height of a vector's bar
        if len(shape) > 1:  # less than linear, or 5 beside 28 would be a dot
            height, width = (max(6.0, _SIDE * (edge / largest) ** 0.75) for edge in shape[:2])
            self.face = width, height
        self.sheets = 1 + min(9, round(math.log2(math.prod(shape[2:]))))
        self.width, self.height = (edge + _SHEET * (self.sheets - 1) for edge in self.face)
        self.slot = max(self.width, text_width(self.label, SMALL))

    @property
    def arrow(self) -> float:
        """The length of the arrow that leads to it, under its lines."""
        words = [8 + text_width(line, SMALL) for line in self.lines]
        words += [2 * _AROUND + 16 + text_width(line, SMALL) for line in self.shortcut or []]
        return max(words, default=0.0)

    @property
    def below(self) -> float:
        """How far the way around the operation, with its lines, reaches below the arrow."""
        return 0.0 if self.shortcut is None else _DEEP + len(self.shortcut) * _LINE + 4


_Row = list[_Block]


@style.styled
def architecture(model: Model, ax: Axes | None = None) -> Figure:
    """The model as a row of arrays, with its layers over the arrows between them.

    model   a built `Sequential`
    ax      draw into these axes, shrunk to fit, and return their figure

    A stack's face grows with h and w, its sheets with the logarithm of c; a bar with the logarithm
    of its length. A pointwise layer makes no block: it is named with the operation it follows. A
    residual block is one operation, with its shortcut below it and the sum where both ways meet.
    Long models wrap into rows.
    """
    if model.input_shape is None:
        raise InputError("architecture: expected a built model, found one without input shape")
    title = f"{len(model.layers)} layers, {model.count_params():,} parameters"
    room = (style.WIDTH - 8, math.inf) if ax is None else style.axes_size(ax)
    blocks = _blocks(model)

    def scale(rows: list[_Row]) -> float:
        width, height = _size(rows)
        return min(1.0, room[0] / width, room[1] / height)

    # of several that are not shrunk, the first: that of the fewest rows
    rows = max((_rows(blocks, count) for count in range(1, len(blocks) + 1)), key=scale)
    width, height = _size(rows)
    if ax is None:
        width = max(width, text_width(title, style.TITLE, "bold") + 8)
        outer = width + 8, height + 26  # the title, and a margin of 4
        place = (4 / outer[0], 4 / outer[1], width / outer[0], height / outer[1])
        ax = style.new_figure(*outer, layout="none").add_axes(place)
    ax.set(title=title, xlim=(0, width), ylim=(height, 0), aspect="equal", anchor="NW")
    ax.set_axis_off()
    _draw(ax, rows, width, scale(rows))
    return style.figure_of(ax)


def _blocks(model: Model) -> list[_Block]:
    """The input and one block for every layer that is not pointwise."""
    shapes = [model.input_shape, *(layer.output_shape for layer in model.layers)]
    largest = max((max(shape[:2]) for shape in shapes if len(shape) > 1), default=1)
    blocks = [_Block(shapes[0], largest, [])]
    for layer, shape in zip(model.layers, shapes[1:], strict=True):
        if kind_of(layer).pointwise and blocks[-1].lines:
            blocks[-1].lines += _name(layer)
        else:
            blocks.append(_Block(shape, largest, _name(layer), _shortcut(layer)))
    return blocks


def _shortcut(layer: Any) -> list[str] | None:
    """The lines that name what stands in the way around a Residual's main row."""
    if not isinstance(layer, Residual):
        return None
    return [" ".join(_name(one)) for one in layer.shortcut] or ["shortcut"]


def _name(layer: Any) -> list[str]:
    """The lines that name a layer over its arrow: ["Conv2D", "3×3", "stride 2×2"]."""
    kind = type(layer).__name__
    if isinstance(layer, Residual):
        return [kind, *(" ".join(_name(one)) for one in layer.main)]
    if kind == "Dropout":
        return [f"Dropout {layer.rate:g}"]
    if kind == "GaussianNoise":
        return [f"GaussianNoise {layer.stddev:g}"]
    if not hasattr(layer, "strides"):
        return [kind]
    convolves = hasattr(layer, "kernel_size")
    window = layer.kernel_size if convolves else layer.pool_size
    name = kind.replace("Pool2D", "Pool").replace("2DTranspose", "Transpose")
    lines = [name, "×".join(map(str, window))]
    if layer.strides != ((1, 1) if convolves else window):
        lines.append("stride " + "×".join(map(str, layer.strides)))
    if getattr(layer, "dilation_rate", (1, 1)) != (1, 1):
        lines.append("dilation " + "×".join(map(str, layer.dilation_rate)))
    return lines


def _rows(blocks: list[_Block], count: int) -> list[_Row]:
    """The blocks in at most `count` rows of about one length."""
    widths = np.array([block.arrow + block.slot for block in blocks])
    row_of = (np.cumsum(widths) - widths / 2) * count // widths.sum()
    return [[blocks[i] for i in np.flatnonzero(row_of == row)] for row in np.unique(row_of)]


def _extent(row: _Row) -> tuple[float, float]:
    """Above and below the arrows' line, all text included."""
    half = max(block.height for block in row) / 2
    below = max(half + 16, *(block.below for block in row))
    return max(half + 2, max(len(block.lines) for block in row) * _LINE + 6), below


def _size(rows: list[_Row]) -> tuple[float, float]:
    width = max(sum(block.arrow + block.slot for block in row) for row in rows)
    return 2 * _MARGIN + width, sum(sum(_extent(row)) + _BETWEEN for row in rows) - _BETWEEN


def _draw(ax: Axes, rows: list[_Row], width: float, scale: float) -> None:
    path: list[tuple[float, float]] = []  # of the next arrow, as far as it is known
    top = 0.0
    for row in rows:
        above, below = _extent(row)
        x, middle = _MARGIN, top + above
        if path:  # from the end of the last row, around its labels
            turn = top - _BETWEEN / 2
            path += [(width - 4, path[0][1]), (width - 4, turn), (4, turn), (4, middle)]
        for block in row:
            x += block.arrow
            left = x + (block.slot - block.width) / 2
            if path:
                _draw_arrow(ax, block, [*path, (left - 3, middle)], scale)
            _draw_block(ax, block, left, middle)
            place = x + block.slot / 2, middle + max(one.height for one in row) / 2 + 16
            ax.text(*place, block.label, fontsize=SMALL * scale, ha="center", va="bottom")
            x += block.slot
            path = [(left + block.width + 3, middle)]
        top += above + below + _BETWEEN


def _draw_arrow(ax: Axes, block: _Block, path: list[tuple[float, float]], scale: float) -> None:
    head = "-|>,head_length=4,head_width=2"
    arrow = FancyArrowPatch(path=Path(path), arrowstyle=head, mutation_scale=scale, shrinkB=0)
    arrow.set(color=style.GREY, joinstyle="miter")
    ax.add_patch(arrow)
    (start, _), (end, middle) = path[-2:]
    for number, line in enumerate(block.lines):
        color = style.INK if number < block.own else style.GREY
        place = (start + end) / 2, middle - 4 - (len(block.lines) - 1 - number) * _LINE
        ax.text(*place, line, fontsize=SMALL * scale, ha="center", color=color)
    if block.shortcut is not None:
        _draw_shortcut(ax, block.shortcut, (start, end, middle), scale)


def _draw_shortcut(
    ax: Axes, lines: list[str], arrow: tuple[float, float, float], scale: float
) -> None:
    """The way around an operation, below its arrow, and the plus where both ways meet."""
    (left, right, middle), bottom = arrow, arrow[2] + _DEEP
    left, right = left + _AROUND / 2, right - _AROUND - _SUM
    around = Path([(left, middle), (left, bottom), (right, bottom), (right, middle + _SUM)])
    way = FancyArrowPatch(path=around, arrowstyle="-|>,head_length=3,head_width=1.5", shrinkB=0)
    way.set(mutation_scale=scale, color=style.BLUE, joinstyle="miter")
    ax.add_patch(way)
    ax.add_patch(
        Circle((right, middle), _SUM, facecolor="white", edgecolor=style.BLUE, zorder=3, lw=0.9)
    )
    half = _SUM * 0.55
    for dx, dy in ((half, 0), (0, half)):
        ends = [right - dx, right + dx], [middle - dy, middle + dy]
        ax.plot(*ends, color=style.BLUE, linewidth=0.9 * scale, zorder=4)
    for number, line in enumerate(lines, 1):
        place = (left + right) / 2, bottom + number * _LINE
        ax.text(*place, line, fontsize=SMALL * scale, ha="center", color=style.BLUE)


def _draw_block(ax: Axes, block: _Block, left: float, middle: float) -> None:
    fill, edge = ("#D3E5F2", style.BLUE) if len(block.shape) > 1 else ("#F9DDC8", style.MISTAKE)
    if not block.lines:
        fill, edge = style.FAINT, style.GREY
    top = middle - block.height / 2
    for sheet in reversed(range(block.sheets)):  # the front one, drawn last, hides the others
        corner = left + sheet * _SHEET, top + (block.sheets - 1 - sheet) * _SHEET
        ax.add_patch(Rectangle(corner, *block.face, facecolor=fill, edgecolor=edge, linewidth=0.9))
    if len(block.shape) == 1 and block.shape[0] <= 16:  # few enough to show each number
        lines = np.linspace(top, top + block.height, block.shape[0] + 1)[1:-1]
        ax.hlines(lines, left, left + block.width, color=edge, linewidth=0.6)
