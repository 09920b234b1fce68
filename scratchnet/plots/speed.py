"""How fast a machine is, beside another one and beside PyTorch: a row of bars for each quantity."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from . import style

#: whose bar it is: (here or recorded, scratchnet or PyTorch)
COLORS = {
    ("here", "scratchnet"): style.BLUE,
    ("here", "torch"): style.GREY,
    ("recorded", "scratchnet"): "#8DBFDD",
    ("recorded", "torch"): style.LINE,
}
CALLED = {"scratchnet": "scratchnet", "torch": "PyTorch"}


@style.styled
def speeds(
    quantities: Mapping[str, tuple[str, str]],
    here: Mapping[str, Mapping[str, float]],
    recorded: Mapping[str, Mapping[str, float]],
    machines: tuple[str, str],
) -> Figure:
    """Bars of times, shorter is faster: this machine's above those of the recorded one.

    quantities   {key: (what it says, unit)}, in this order
    here         {key: {"scratchnet": seconds, "torch": seconds}}; what is missing is left out
    recorded     the same of another machine
    machines     what the two are called
    """
    bars = {key: _bars(here.get(key, {}), recorded.get(key, {})) for key in quantities}
    bars = {key: rows for key, rows in bars.items() if rows}
    heights = [len(rows) for rows in bars.values()]
    # 16 points a bar, 28 for a heading, 46 for the legend
    figure = style.new_figure(style.WIDTH, 46 + sum(28 + 16 * n for n in heights))
    axes = figure.subplots(len(bars), 1, squeeze=False, height_ratios=heights)[:, 0]
    for ax, (key, rows) in zip(axes, bars.items(), strict=True):
        _draw(ax, *quantities[key], rows)
    names = dict(zip(("here", "recorded"), machines, strict=True))
    shown = dict.fromkeys(who for rows in bars.values() for who, _ in rows)
    handles = [axes[0].barh([0], [math.nan], color=COLORS[who]) for who in shown]
    labels = [f"{CALLED[by]}, {style.drawable(names[where], 190)}" for where, by in shown]
    figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False)
    return figure


def time_text(seconds: float, unit: str) -> str:
    """In "s" or "us", with three digits."""
    value = 1e6 * seconds if unit == "us" else seconds
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:.3g} {unit}"


def _bars(
    here: Mapping[str, float], recorded: Mapping[str, float]
) -> list[tuple[tuple[str, str], float]]:
    """((where, whose), seconds) of the bars of one quantity, from the top."""
    found = (("here", here), ("recorded", recorded))
    return [((where, by), row[by]) for where, row in found for by in CALLED if by in row]


def _draw(ax: Axes, title: str, unit: str, rows: Sequence[tuple[tuple[str, str], float]]) -> None:
    scale = 1e6 if unit == "us" else 1.0
    values = [scale * seconds for _, seconds in rows]
    at = [-number for number in range(len(rows))]
    ax.barh(at, values, 0.78, color=[COLORS[who] for who, _ in rows])
    for y, value in zip(at, values, strict=True):
        text = time_text(value / scale, unit)
        ax.annotate(text, (value, y), (4, 0), textcoords="offset points", va="center")
    ax.set(title=title[:1].upper() + title[1:], xlim=(0, 1.14 * max(values)))
    ax.set(xticks=[], yticks=[], ylim=(0.5 - len(rows), 0.5))
    ax.spines["bottom"].set_visible(False)
