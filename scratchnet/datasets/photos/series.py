"""Test series: kinds of pictures that people really take, each as many times as one likes.

    for example in photos.examples("ruled, dark", 20):
        example.picture      (h, w, 3) uint8
        example.truth        what is written there: "7", "31415", "" for nothing to be read

The digits are MNIST's test images, which no network of this package was trained on. The k-th
example of a series is always the same picture, however many are asked for.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from . import writing
from .scene import DARK, INK, PALE, Camera, Light, Paper, Pen, photograph
from .writing import Ink

Kind = Literal["digit", "number", "table", "blank", "letter", "two"]


@dataclass(frozen=True)
class Example:
    """A picture, and what is written in it: digits and marks, a letter, or nothing."""

    picture: NDArray[np.uint8]
    truth: str


Make = Callable[[np.random.Generator], Example]


@dataclass(frozen=True)
class Series:
    """One kind of picture.

    kind    what is asked: the one digit, a whole number, each digit of a table, or that there is no
            digit or more than one
    count   how many examples the whole table has
    goal    the part of them that is to be right
    make    an example, from a Generator
    """

    kind: Kind
    count: int
    goal: float
    make: Make


def examples(name: str, count: int | None = None, seed: int = 0) -> Iterator[Example]:
    """The first `count` examples of a series, all of them if it is None."""
    if name not in SERIES:
        raise InputError(f"series: expected one of {', '.join(SERIES)}, found {name!r}")
    series = SERIES[name]
    for k in range(series.count if count is None else count):
        yield series.make(np.random.default_rng([seed, zlib.crc32(name.encode()), k]))


@cache
def _test_images() -> tuple[list[NDArray[np.uint8]], NDArray[np.uint8]]:
    from .. import mnist

    (_, _), (x, y) = mnist.load_data()
    return list(x), y


def _any_digit(rng: np.random.Generator) -> tuple[NDArray[np.uint8], str]:
    x, y = _test_images()
    k = int(rng.integers(len(x)))
    return x[k], str(y[k])


# ---- one digit -----------------------------------------------------------------------------------


def _on_page(ink: Ink, rng: np.random.Generator, room: float = 1.0) -> Ink:
    """The ink somewhere on a larger canvas; `room` is how much larger, in its longer side."""
    side = max(ink.shape)
    h, w = (round(side * (1 + room * rng.uniform(0.55, 1.1))) for _ in range(2))
    canvas = np.zeros((h, w), np.float32)
    top = int(rng.uniform(0.2, 0.8) * (h - ink.shape[0]))
    left = int(rng.uniform(0.2, 0.8) * (w - ink.shape[1]))
    canvas[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return canvas


def _one(
    paper: Callable[[np.random.Generator], Paper] = lambda rng: Paper(),
    pen: Pen | None = None,
    light: Callable[[np.random.Generator], Light] = lambda rng: Light(),
    camera: Camera | None = None,
    thicker: float = 0.0,
    trace: float = 0.0,
    turn: float = 0.0,
    room: float = 1.0,
    box: bool = False,
) -> Make:
    """One digit 170 to 250 pixels high on a page; the arguments say what is special about it."""

    def make(rng: np.random.Generator) -> Example:
        digit, truth = _any_digit(rng)
        height = int(rng.integers(170, 250))
        if trace:
            ink = writing.traced(digit, height, trace * height / 200)
        else:
            ink = writing.inked(digit, height, thicker)
        if turn:
            ink = writing.trimmed(writing.turned(ink, turn * rng.choice([-1, 1])))
        if box:
            ink = _boxed(ink, rng)
        ink = np.pad(ink, int(rng.integers(0, 4))) if room == 0 else _on_page(ink, rng, room)
        picture = photograph(ink, rng, paper(rng), pen, light(rng), camera)
        return Example(picture, truth)

    return make


def _boxed(ink: Ink, rng: np.random.Generator) -> Ink:
    """In a rectangle drawn by hand, with paper between it and the ink."""
    margin = [int(rng.uniform(0.12, 0.3) * len(ink)) for _ in range(4)]
    left, top, right, bottom = margin
    canvas = np.pad(ink, ((top + 8, bottom + 8), (left + 8, right + 8)))
    h, w = canvas.shape
    pen, sway = rng.integers(3, 7), rng.uniform(-0.02, 0.02, 4)
    y, x = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)
    inside = (y >= 6) & (y <= h - 6) & (x >= 6) & (x <= w - 6)
    edges = (
        np.abs(y - 8 - sway[0] * (x - w / 2)),
        np.abs(y - h + 8 - sway[1] * (x - w / 2)),
        np.abs(x - 8 - sway[2] * (y - h / 2)),
        np.abs(x - w + 8 - sway[3] * (y - h / 2)),
    )
    for distance in edges:
        cover = (pen / 2 + 0.5 - distance).clip(0, 1) * inside
        canvas = np.maximum(canvas, cover.astype(np.float32))
    return canvas


def _lines(kind: str, colour: Any, slant: bool = False) -> Callable[[np.random.Generator], Paper]:
    def paper(rng: np.random.Generator) -> Paper:
        return Paper(
            lines=kind,
            pitch=rng.uniform(34, 70),
            width=rng.uniform(1.2, 3.0),
            line_colour=colour,
            slope=rng.choice([-1, 1]) * rng.uniform(0.05, 0.14) if slant else rng.normal(0, 0.004),
        )

    return paper


def _shadow(level: float, kind: str = "edge", **how: Any) -> Callable[[np.random.Generator], Light]:
    return lambda rng: Light(shadow=level, soft=rng.uniform(1, 8), kind=kind, **how)


def _coloured(rng: np.random.Generator) -> Example:
    digit, truth = _any_digit(rng)
    ink = _on_page(writing.inked(digit, int(rng.integers(170, 250))), rng)
    inks = [(40, 60, 180), (170, 40, 40), (30, 110, 60), (110, 40, 130), (190, 90, 20)]
    papers = [(240, 226, 130), (178, 218, 240), (246, 190, 200), (190, 232, 180), (236, 214, 180)]
    chosen = inks[rng.integers(5)], papers[rng.integers(5)]
    light = Light(shadow=rng.uniform(0.35, 0.65), soft=rng.uniform(2, 12), tint=(0.95, 1.0, 1.08))
    paper = Paper(colour=chosen[1])
    return Example(photograph(ink, rng, paper, Pen(colour=chosen[0]), light), truth)


def _grey(level: float) -> tuple[float, float, float]:
    return level, level, level


def _edges(rng: np.random.Generator) -> Paper:
    """A table at one side or two."""
    sides = np.zeros(4)
    sides[rng.choice(4, int(rng.integers(1, 3)), replace=False)] = rng.uniform(0.03, 0.1)
    left, top, right, bottom = sides.tolist()
    return Paper(table=(left, top, right, bottom))


# ---- numbers -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Row:
    """How digits stand beside each other; lengths in parts of their height, 80 pixels."""

    count: int = 5
    gap: tuple[float, float] = (0.2, 0.45)
    fitted: bool = False
    low: int = 72
    high: int = 88
    rise: float = 0.06
    trace: float = 0.0
    marks: str = ""
    boxes: str = ""
    bridge: bool = False


def _written(rng: np.random.Generator, row: _Row) -> tuple[Ink, str]:
    inks: list[Ink] = []
    text = _text(rng, row)
    tops = []
    for sign in text:
        height = int(rng.integers(row.low, row.high + 1))
        if sign in writing.MARKS:
            pen = rng.uniform(6, 9)
            ink = writing.drawn(writing.MARKS[sign], 76, pen, rng, 0.015)
            top = 40 + round(80 * min(y for line in writing.MARKS[sign] for _, y in line))
        else:
            digit = _digit_of(int(sign), rng)
            ink = (
                writing.traced(digit, height, row.trace)
                if row.trace
                else writing.inked(digit, height)
            )
            top = 40 + (80 - height) // 2 + round(80 * rng.uniform(-row.rise, row.rise))
        if row.boxes == "each":
            margins = [int(rng.uniform(8, 18)) for _ in range(2)]
            ink = _cell(ink, margins[0], margins[1])
            top = 40 - margins[1]
        inks.append(ink)
        tops.append(max(0, top))
    gaps = [round(80 * rng.uniform(*row.gap)) for _ in inks[1:]]
    if row.boxes == "each":
        gaps = [int(rng.integers(8, 24)) for _ in gaps]
    ink = writing.in_a_row(inks, gaps, row.fitted, tops)
    if row.bridge:
        ink = _bridged(ink, rng)
    if row.boxes == "all":
        ink = _boxed(ink, rng)
    return ink, text


def _text(rng: np.random.Generator, row: _Row) -> str:
    signs = [str(d) for d in rng.integers(0, 10, row.count)]
    if row.marks == "comma":
        signs.insert(int(rng.integers(1, row.count)), ",")
    elif row.marks == "hyphens":
        at = int(rng.integers(1, row.count - 1))
        signs.insert(at, "-")
        signs.insert(int(rng.integers(at + 2, row.count + 1)), "-")
    elif row.marks == "phone":
        signs.insert(0, "+")
        signs.insert(3, "-")
    return "".join(signs)


@cache
def _by_label() -> list[list[int]]:
    _, y = _test_images()
    return [list(np.flatnonzero(y == digit)) for digit in range(10)]


def _digit_of(label: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    which = _by_label()[label]
    return _test_images()[0][which[int(rng.integers(len(which)))]]


def _cell(ink: Ink, beside: int, above: int) -> Ink:
    """In a printed box."""
    canvas = np.pad(ink, ((above, above), (beside, beside)))
    canvas[:3] = canvas[-3:] = 1
    canvas[:, :3] = canvas[:, -3:] = 1
    return canvas


def _bridged(ink: Ink, rng: np.random.Generator) -> Ink:
    """A thin stroke through the whole number, from its first digit's ink to its last one's."""
    h, w = ink.shape
    y = int(rng.uniform(0.35, 0.7) * h)
    row = np.flatnonzero(ink[y : y + 2].max(axis=0) > 0.5)
    joined = ink.copy()
    if len(row):
        joined[y : y + 2, row[0] : row[-1]] = 1
    return joined


def _number(
    row: _Row,
    paper: Callable[[np.random.Generator], Paper] = lambda rng: Paper(),
    pen: Pen | None = None,
    light: Callable[[np.random.Generator], Light] = lambda rng: Light(),
    camera: Camera | None = None,
    turn: float = 0.0,
) -> Make:
    def make(rng: np.random.Generator) -> Example:
        ink, truth = _written(rng, row)
        if turn:
            ink = writing.trimmed(writing.turned(ink, turn * rng.choice([-1, 1])))
        top, bottom, left, right = (int(m) for m in rng.integers(35, 110, 4))
        canvas = np.pad(ink, ((top, bottom), (left, right)))
        return Example(photograph(canvas, rng, paper(rng), pen, light(rng), camera), truth)

    return make


def _table(rng: np.random.Generator) -> Example:
    """8 rows of 6 digits between printed lines; the truth has a space between rows."""
    pitch, lines = 76, []
    page = np.zeros((8 * pitch + 60, 6 * pitch + 60), np.float32)
    for i in range(8):
        line = ""
        for j in range(6):
            digit, label = _any_digit(rng)
            ink = writing.inked(digit, int(rng.integers(40, 52)))
            top = 30 + i * pitch + (pitch - ink.shape[0]) // 2 + int(rng.integers(-4, 5))
            left = 30 + j * pitch + (pitch - ink.shape[1]) // 2 + int(rng.integers(-8, 9))
            page[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
            line += label
        lines.append(line)
    for k in range(9):
        page[30 + k * pitch : 32 + k * pitch, 30 : 32 + 6 * pitch] = 1
        if k < 7:
            page[30 : 32 + 8 * pitch, 30 + k * pitch : 32 + k * pitch] = 1
    return Example(photograph(page, rng), " ".join(lines))


# ---- what is no digit, or more than one ----------------------------------------------------------

_BLANK: list[tuple[Paper, Light, Camera]] = [
    (Paper(), Light(), Camera()),
    (Paper(), Light(slope=0.35), Camera()),
    (Paper(grain=3), Light(slope=0.1), Camera(noise=7)),
    (Paper(grain=5, blot=9), Light(), Camera()),
    (Paper(), Light(shadow=0.6, soft=3), Camera()),
    (Paper(), Light(shadow=0.4, soft=3), Camera()),
    (Paper(), Light(shadow=0.25, soft=12), Camera()),
    (Paper(), Light(shadow=0.4, kind="phone"), Camera()),
    (Paper(lines="ruled"), Light(), Camera()),
    (Paper(lines="ruled", line_colour=DARK), Light(), Camera()),
    (Paper(lines="ruled", line_colour=INK, slope=0.08), Light(), Camera()),
    (Paper(lines="squared"), Light(), Camera()),
    (Paper(lines="squared", line_colour=DARK, pitch=28), Light(), Camera()),
    (Paper(lines="squared"), Light(shadow=0.5), Camera()),
    (Paper(folds=1), Light(), Camera()),
    (Paper(folds=2), Light(slope=0.15), Camera()),
    (Paper(holes=True), Light(), Camera()),
    (Paper(holes=True, lines="ruled"), Light(), Camera()),
    (Paper(), Light(glare=60), Camera()),
    (Paper(table=(0.1, 0, 0, 0)), Light(), Camera()),
    (Paper(table=(0, 0.06, 0.08, 0)), Light(shadow=0.6), Camera()),
]


def _blank(rng: np.random.Generator) -> Example:
    paper, light, camera = _BLANK[int(rng.integers(len(_BLANK)))]
    shape = tuple(int(side) for side in rng.integers(280, 480, 2))
    return Example(photograph(np.zeros(shape, np.float32), rng, paper, None, light, camera), "")


def _letter(rng: np.random.Generator) -> Example:
    names = list(writing.LETTERS)
    name = names[int(rng.integers(len(names)))]
    height = int(rng.integers(150, 230))
    ink = writing.drawn(writing.LETTERS[name], height, height * rng.uniform(0.06, 0.13), rng)
    return Example(photograph(_on_page(ink, rng), rng), name)


def _two(rng: np.random.Generator) -> Example:
    ink, truth = _written(rng, _Row(count=2, gap=(0.1, 0.45), low=110, high=140))
    return Example(photograph(_on_page(ink, rng), rng), truth)


_PLAIN, _CLOSE = _Row(), _Row(gap=(0.05, 0.15))

SERIES: dict[str, Series] = {
    "plain paper": Series("digit", 200, 0.985, _one()),
    "strokes three times as thick": Series("digit", 200, 0.95, _one(thicker=4.0)),
    "turned by 30 degrees": Series("digit", 200, 0.95, _one(turn=30)),
    "ruled, dark": Series("digit", 200, 0.90, _one(_lines("ruled", DARK))),
    "ruled, dark as the ink": Series("digit", 200, 0.90, _one(_lines("ruled", INK))),
    "ruled, dark, slanted": Series("digit", 200, 0.90, _one(_lines("ruled", DARK, True))),
    "squared, dark": Series("digit", 200, 0.90, _one(_lines("squared", DARK))),
    "shadow's edge, 0.6": Series("digit", 200, 0.97, _one(light=_shadow(0.6))),
    "shadow's edge, 0.4": Series("digit", 200, 0.95, _one(light=_shadow(0.4))),
    "shadow's edge, 0.25": Series("digit", 200, 0.90, _one(light=_shadow(0.25))),
    "coloured, under a shadow": Series("digit", 200, 0.93, _coloured),
    "pencil 190 on 210, noise 4": Series(
        "digit",
        200,
        0.90,
        _one(lambda rng: Paper(_grey(210)), Pen(_grey(190)), camera=Camera(noise=4)),
    ),
    "pencil, thin and shaded": Series(
        "digit",
        200,
        0.90,
        _one(pen=Pen(_grey(90), cover=0.75, shade=0.6, grain=0.35), trace=4),
    ),
    "black frame": Series(
        "digit", 200, 0.90, _one(lambda rng: Paper(frame=rng.uniform(0.03, 0.1)))
    ),
    "thin black frame": Series(
        "digit", 200, 0.90, _one(lambda rng: Paper(frame=0.008, inset=0.03))
    ),
    "a box drawn round it": Series("digit", 200, 0.90, _one(box=True)),
    "cut close": Series("digit", 200, 0.95, _one(room=0)),
    "cut close, thick pen": Series("digit", 200, 0.90, _one(room=0, thicker=3.0)),
    "glare": Series("digit", 200, 0.95, _one(light=lambda rng: Light(glare=rng.uniform(20, 70)))),
    "table's edge": Series("digit", 200, 0.95, _one(_edges)),
    "number, spaced": Series("number", 100, 0.97, _number(_PLAIN)),
    "number, close": Series("number", 100, 0.96, _number(_CLOSE)),
    "number, just touching": Series(
        "number", 100, 0.90, _number(_Row(gap=(-0.03, -0.01), fitted=True))
    ),
    "number, overlapping": Series(
        "number", 100, 0.80, _number(_Row(gap=(-0.1, -0.05), fitted=True))
    ),
    "number, a pair touching": Series(
        "number", 100, 0.90, _number(_Row(count=2, gap=(-0.03, -0.01), fitted=True))
    ),
    "number, joined by a thin stroke": Series("number", 100, 0.90, _number(_Row(bridge=True))),
    "number, sizes 40 to 160": Series(
        "number", 100, 0.90, _number(_Row(low=40, high=160, gap=(0.3, 0.6)))
    ),
    "number, page turned by 10 degrees": Series("number", 100, 0.94, _number(_PLAIN, turn=10)),
    "number, 12 digits turned by 5": Series(
        "number", 100, 0.94, _number(replace(_PLAIN, count=12), turn=5)
    ),
    "number, decimal comma": Series("number", 100, 0.95, _number(replace(_PLAIN, marks="comma"))),
    "number, hyphens": Series("number", 100, 0.95, _number(replace(_PLAIN, marks="hyphens"))),
    "number, phone with + and -": Series(
        "number", 100, 0.95, _number(replace(_PLAIN, count=8, marks="phone"))
    ),
    "number, ruled dark": Series("number", 100, 0.85, _number(_PLAIN, _lines("ruled", DARK))),
    "number, squared dark": Series("number", 100, 0.85, _number(_PLAIN, _lines("squared", DARK))),
    "number, shadow's edge 0.5": Series("number", 100, 0.90, _number(_PLAIN, light=_shadow(0.5))),
    "number, shadow's edge 0.3": Series("number", 100, 0.90, _number(_PLAIN, light=_shadow(0.3))),
    "number, a phone's shadow": Series(
        "number", 100, 0.90, _number(_PLAIN, light=_shadow(0.45, "phone"))
    ),
    "number, broken strokes": Series("number", 100, 0.94, _number(_PLAIN, pen=Pen(gaps=0.12))),
    "number, thin pen": Series("number", 100, 0.94, _number(replace(_PLAIN, trace=2.2))),
    "number, black frame": Series(
        "number", 100, 0.90, _number(_PLAIN, lambda rng: Paper(frame=0.04))
    ),
    "number, a scanner's edge strip": Series(
        "number",
        100,
        0.90,
        _number(_PLAIN, lambda rng: Paper(table=(0.0, 0.0, 0.02, 0.0))),
    ),
    "number, box round it": Series("number", 100, 0.90, _number(replace(_PLAIN, boxes="all"))),
    "number, box per digit": Series("number", 100, 0.90, _number(replace(_PLAIN, boxes="each"))),
    "number, digits' boxes abutting": Series("number", 100, 0.90, _number(_Row(gap=(0, 0)))),
    "number, digits' boxes over by 3": Series(
        "number", 100, 0.90, _number(_Row(gap=(-0.038, -0.038)))
    ),
    "number, digits' boxes over by 6": Series(
        "number", 100, 0.85, _number(_Row(gap=(-0.076, -0.076)))
    ),
    "table of 8 x 6 digits": Series("table", 30, 0.90, _table),
    "blank pages, 21 kinds": Series("blank", 252, 0.95, _blank),
    "a single letter": Series("letter", 180, 0.80, _letter),
    "two digits given to predict": Series("two", 100, 0.95, _two),
}

__all__ = ["PALE", "SERIES", "Example", "Series", "examples"]
