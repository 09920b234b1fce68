"""A training as a notebook shows it: one output with a bar and curves, renewed while it runs.

At the end the bar goes, and the curves stay with one line of figures below them. What cannot show
HTML has the lines that are printed elsewhere, one an epoch.
"""

import math
import time
from collections.abc import Sequence
from typing import Any

from . import showing

#: seconds from one picture to the next; the browser draws each anew
PAUSE = 0.25
#: lines that stay, of more the first and the last
MOST_LINES = 12
#: points of a curve; of more, two neighbours become one
MOST_POINTS = 300
#: of one panel, in pixels, and the room around its curves: left, right, above, below
WIDTH, HEIGHT = 330, 150
ROOM = (44, 8, 20, 22)

Point = tuple[float, float]


class Curve:
    """Points in the order in which they come, (x, y); many are thinned out by taking means."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.every = 1  # so many given points are one of these
        self.waiting: list[Point] = []

    def add(self, x: float, y: float) -> None:
        if not math.isfinite(y):
            return
        self.waiting.append((x, y))
        if len(self.waiting) == self.every:
            self.points.append(mean(self.waiting))
            self.waiting = []
        if len(self.points) > MOST_POINTS:
            pairs = zip(self.points[::2], self.points[1::2], strict=False)
            self.points, self.every = [mean(pair) for pair in pairs], 2 * self.every
            self.waiting = []


def mean(points: Sequence[Point]) -> Point:
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return x, y


class Live:
    """What `Progress` tells a notebook. It is itself what is displayed."""

    def __init__(self) -> None:
        self.handle: Any = None
        self.shown = -math.inf  # when
        self.curves: dict[str, Curve] = {}
        self.lines: list[str] = []
        self.state, self.share = "", 0.0
        self.first, self.epochs, self.done = 0, 1, False

    def batch(self, at: float, loss: float, logs: dict[str, float]) -> None:
        """at: epochs done, with the part of the one that runs; loss: of the batch alone."""
        self._add("loss of each batch", at, loss)
        for key, value in logs.items():
            if key in ("accuracy", "acc"):
                self._add(f"{key} so far", at, value)

    def epoch(self, at: float, logs: dict[str, float], line: str) -> None:
        for key, value in logs.items():
            if key.removeprefix("val_") in ("loss", "accuracy", "acc"):
                self._add(key, at, value)
        self.lines.append(line)
        self.show()

    def _add(self, name: str, at: float, value: float) -> None:
        self.curves.setdefault(name, Curve()).add(at, value)

    def show(self, last: bool = False) -> None:
        """Draw it, unless it has just been drawn."""
        now = time.perf_counter()
        if not last and now - self.shown < PAUSE:
            return
        self.shown, self.done = now, last
        if self.handle is None:
            self.handle = showing.display(self, display_id=True)
        else:
            self.handle.update(self)

    def __repr__(self) -> str:
        lines = self.lines
        if len(lines) > MOST_LINES:
            half = MOST_LINES // 2
            lines = [*lines[:half], f"... {len(lines) - 2 * half:,} more ...", *lines[-half:]]
        return "\n".join(lines if self.done else [*lines, self.state])

    def _repr_html_(self) -> str:
        panels = [
            ("loss", ("loss of each batch", "loss", "val_loss")),
            *((key, (f"{key} so far", key, f"val_{key}")) for key in ("accuracy", "acc")),
        ]
        drawn = "".join(
            self._panel(title, names)
            for title, names in panels
            if any(name in self.curves for name in names)
        )
        below = self.lines[-1] if self.done and self.lines else self.state
        look = f"width:{2 * WIDTH}px;max-width:100%;height:5px;background:{showing.LINE}"
        inside = f"width:{100 * min(self.share, 1):.1f}%;height:5px;background:{showing.BLUE}"
        moving = "" if self.done else f'<div style="{look}"><div style="{inside}"></div></div>'
        text = f'<div style="white-space:pre-wrap">{showing.escaped(below)}</div>'
        return f"<div>{drawn}</div>{moving}{text}"

    def _panel(self, title: str, names: Sequence[str]) -> str:
        """The curves of one figure, over the epochs: of batches thin, of epochs with dots."""
        curves = [self.curves[name].points for name in names if name in self.curves]
        low, high = _range([y for points in curves for _, y in points], title == "loss")
        left, right, above, below = ROOM
        wide, tall = WIDTH - left - right, HEIGHT - above - below
        last = max(self.epochs, self.first + 1)

        def place(x: float, y: float) -> tuple[float, float]:
            along = (x - self.first) / (last - self.first)
            return left + wide * along, above + tall * (high - min(max(y, low), high)) / (
                high - low
            )

        found = [_frame(title, (self.first, last), (low, high))]
        for name, colour in zip(names, ("#8889", showing.BLUE, showing.VERMILLION), strict=True):
            points = [place(*p) for p in self.curves[name].points] if name in self.curves else []
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            if len(points) > 1:
                look = f'fill="none" stroke="{colour}" stroke-width="1.5"'
                found.append(f'<polyline points="{path}" {look}/>')
            if name != names[0] and len(points) <= 30:
                found += [
                    f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points
                ]
        if names[2] in self.curves:
            found.append(_legend())
        size = f'width="{WIDTH}" height="{HEIGHT}"'
        inside = "".join(found)
        return f'<svg {size} font-size="11" fill="currentColor">{inside}</svg>'


def _frame(title: str, x: tuple[int, int], y: tuple[float, float]) -> str:
    left, right, above, below = ROOM
    right, bottom = WIDTH - right, HEIGHT - below
    unit = (lambda v: f"{100 * v:.1f} %") if title.startswith("acc") else (lambda v: f"{v:.2g}")
    texts = [
        (left, above - 7, "start", title),
        (left - 4, above + 8, "end", unit(y[1])),
        (left - 4, bottom, "end", unit(y[0])),
        (left, HEIGHT - 6, "start", f"{x[0]}"),
        (right, HEIGHT - 6, "end", f"epoch {x[1]}"),
    ]
    line = f'd="M{left} {above}V{bottom}H{right}" stroke="#8888" fill="none"'
    words = [f'<text x="{a}" y="{b}" text-anchor="{side}">{t}</text>' for a, b, side, t in texts]
    return f"<path {line}/>{''.join(words)}"


def _legend() -> str:
    names = (("training", showing.BLUE, 132), ("validation", showing.VERMILLION, 62))
    return "".join(
        f'<circle cx="{WIDTH - back}" cy="9" r="3" fill="{colour}"/>'
        f'<text x="{WIDTH - back + 6}" y="13">{name}</text>'
        for name, colour, back in names
    )


def _range(values: list[float], falls: bool) -> tuple[float, float]:
    """From where to where to draw; the few batches at the very beginning may lie outside."""
    ordered = sorted(values) or [0.0]
    cut = len(ordered) // 30
    if falls:
        low, high = 0.0 if ordered[0] >= 0 else ordered[0], ordered[len(ordered) - 1 - cut]
    else:
        low, high = ordered[cut], ordered[-1]
    return (
        (low, high) if high > low else (low - 0.5 * abs(low) - 1e-3, high + 0.5 * abs(high) + 1e-3)
    )
