"""Images in MNIST's form that are digits, and such that are none: what networks learn to tell.

A network that has only seen digits finds one in everything. `others` makes what it must be able to
refuse: letters and symbols of free fonts, marks, scribbles, several digits, parts of digits with
their neighbour's edge (the pieces of a wrong cut), and what is left of a page on which nothing is
written. `rewritten` makes digits as other pens write them on a page that lies askew, so that it
is the shape that counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...pictures import prepare
from ...pictures.form import to_form
from . import letters, writing
from .scene import DARK, INK, PALE, Camera, Light, Paper, Pen, blots, photograph
from .writing import Ink

#: the classes after the ten digits
NOT_A_DIGIT, SEVERAL = 10, 11

Images = NDArray[np.uint8]

_HEIGHT = 44  # pixels at which ink is put together; above 40, as `to_form` sees a photograph's


# ---- digits --------------------------------------------------------------------------------------


def rewritten(x: Images, rng: np.random.Generator) -> Images:
    """The digits x (n, 28, 28) written with other pens, some of them turned by up to 40 degrees."""
    return np.stack([to_form(_some(partial(_digit, image, rng))) for image in x])


def printed(count: int, rng: np.random.Generator) -> tuple[Images, NDArray[np.int64]]:
    """Digits of fonts (count, 28, 28), with other pens and shapes; and which ones."""
    found = letters.glyphs(letters.DIGITS)
    images, labels = np.empty((count, 28, 28), np.uint8), rng.integers(10, size=count)
    by_label = [[ink for sign, ink in found if sign == digit] for digit in letters.DIGITS]
    for k, label in enumerate(labels):
        images[k] = to_form(_some(partial(_written, by_label[label], rng)))
    return images, labels


def _digit(image: Images, rng: np.random.Generator) -> Ink:
    """One of MNIST's digits as ink: thick, thin, broken, turned, or as it is."""
    style = rng.random()
    if style < 0.35:
        ink = writing.inked(image, _HEIGHT)
    elif style < 0.7:
        ink = writing.inked(image, _HEIGHT, float(rng.uniform(0.3, 5.0)))
    else:
        ink = writing.traced(image, _HEIGHT, float(rng.uniform(1.0, 9.5)))
    return _askew(_broken(ink, rng) if rng.random() < 0.15 else ink, rng)


def _askew(ink: Ink, rng: np.random.Generator) -> Ink:
    """Turned: most by a little, some by much."""
    return _turned(ink, float(rng.normal(0, 6) if rng.random() < 0.6 else rng.uniform(-40, 40)))


def _broken(ink: Ink, rng: np.random.Generator) -> Ink:
    """With gaps, as a ballpoint leaves them."""
    noise = blots(ink.shape, int(rng.integers(3, 7)), rng)
    level = np.quantile(noise, rng.uniform(0.03, 0.13))
    broken = (ink * ((noise - level) * 3 + 0.5).clip(0, 1)).astype(np.float32)
    return broken if (broken > 0.6).any() else ink


def photographed(x: Images, rng: np.random.Generator) -> tuple[Images, NDArray[np.int64]]:
    """The digits x (n, 28, 28) rewritten, photographed and found again: (m, 28, 28), m <= n.

    Also which of x they are: in some photographs no ink is found.
    """
    found, which = [], []
    for k, image in enumerate(x):
        ink = np.pad(_some(partial(_photographable, image, rng)), 20)
        paper, light, camera = _usual_page(rng)
        grey = rng.uniform(20, 110)
        pen = Pen(colour=(grey, grey, grey + rng.uniform(0, 60)), shade=rng.choice([0, 0.4]))
        top, bottom, left, right = (int(side) for side in rng.integers(10, 60, 4))
        page = np.pad(ink, ((top, bottom), (left, right)))
        try:
            found.append(prepare(photograph(page, rng, paper, pen, light, camera)).image)
        except InputError:
            continue
        which.append(k)
    return np.array(found, np.uint8).reshape(-1, 28, 28), np.array(which, np.int64)


def _usual_page(rng: np.random.Generator) -> tuple[Paper, Light, Camera]:
    """A page on which digits are: hard in its paper, its light or its camera, or in none of them.

    Confidence is to be true of what people mostly take, not of all that may go wrong at once.
    """
    paper, light, camera = _page(rng)
    hard = rng.integers(4)
    if hard != 0:
        paper = replace(paper, lines=None, folds=0, holes=False, table=(0, 0, 0, 0))
    if hard != 1:
        light = Light(slope=light.slope)
    if hard != 2:
        camera = replace(camera, turn=0.0, perspective=0.0)
    return paper, light, camera


def _photographable(image: Images, rng: np.random.Generator) -> Ink:
    height = int(rng.integers(90, 150))
    if rng.random() < 0.2:
        return _askew(writing.traced(image, height, height * rng.uniform(0.02, 0.2)), rng)
    thicker = float(rng.uniform(0, 4.0)) if rng.random() < 0.4 else 0.0
    return _askew(writing.inked(image, height, thicker), rng)


# ---- what is no digit, or several ----------------------------------------------------------------


def others(
    x: Images, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`count` images (count, 28, 28) of other things than one digit, made of digits x (n, 28, 28).

    Returns the images and their labels, NOT_A_DIGIT or SEVERAL. InputError where fonts lack.
    """
    kinds: list[tuple[float, int, Callable[[], Ink]]] = [
        (0.37, NOT_A_DIGIT, lambda: _sign(letters.LETTERS, rng)),
        (0.07, NOT_A_DIGIT, lambda: _sign(letters.SIGNS, rng)),
        (0.07, NOT_A_DIGIT, lambda: _sign(letters.SYMBOLS, rng)),
        (0.03, NOT_A_DIGIT, lambda: _mark(rng)),
        (0.10, NOT_A_DIGIT, lambda: _scribble(rng)),
        (0.08, NOT_A_DIGIT, lambda: _piece(x, rng)),
        (0.28, SEVERAL, lambda: _row(x, rng)),
    ]
    images, labels = np.empty((count, 28, 28), np.uint8), np.empty(count, np.int64)
    for k, kind in enumerate(rng.choice(len(kinds), count, p=[share for share, _, _ in kinds])):
        _, labels[k], make = kinds[kind]
        images[k] = to_form(_some(make))
    return images, labels


def papers(count: int, rng: np.random.Generator) -> Images:
    """What is taken for ink on pages with nothing on them (about count / 2, 28, 28).

    `count` photographs of empty pages are made; of most `prepare` says that they are blank.
    """
    found = []
    for _ in range(count):
        page = np.zeros([int(side) for side in rng.integers(200, 420, 2)], np.float32)
        paper, light, camera = _page(rng)
        try:
            found.append(prepare(photograph(page, rng, paper, None, light, camera)).image)
        except InputError:
            continue
    return np.array(found, np.uint8).reshape(-1, 28, 28)


def _page(rng: np.random.Generator) -> tuple[Paper, Light, Camera]:
    """A page that somebody may photograph: two thirds have rules, folds, holes or a table."""
    colours = PALE, DARK, INK
    paper = Paper(
        colour=(rng.uniform(190, 245), rng.uniform(190, 240), rng.uniform(180, 235)),
        lines=(None, None, "ruled", "squared")[rng.integers(4)],
        pitch=rng.uniform(24, 70),
        width=rng.uniform(1.0, 3.2),
        line_colour=colours[rng.integers(3)],
        slope=rng.normal(0, 0.05),
        grain=rng.uniform(0.5, 5),
        blot=int(rng.integers(1, 10)),
        folds=int(rng.choice(3, p=[0.6, 0.25, 0.15])),
        holes=bool(rng.random() < 0.2),
        table=_table(rng) if rng.random() < 0.25 else (0, 0, 0, 0),
    )
    light = Light(
        slope=rng.uniform(0, 0.35),
        shadow=rng.uniform(0.2, 0.8) if rng.random() < 0.4 else 1.0,
        soft=rng.uniform(1, 14),
        kind=("edge", "phone")[rng.integers(2)],
        glare=rng.uniform(20, 80) if rng.random() < 0.2 else 0.0,
    )
    askew = rng.random() < 0.3
    camera = Camera(
        turn=rng.normal(0, 5) if askew else 0.0,
        perspective=0.03 if askew else 0.0,
        noise=rng.uniform(1, 8),
        quality=int(rng.integers(60, 95)),
    )
    return paper, light, camera


def _table(rng: np.random.Generator) -> tuple[float, float, float, float]:
    sides = np.where(rng.random(4) < 0.4, rng.uniform(0.02, 0.12, 4), 0.0)
    left, top, right, bottom = sides.tolist()
    return left, top, right, bottom


def _some(make: Callable[[], Ink]) -> Ink:
    """What `make` makes, when there is ink in it."""
    ink = make()
    while not (ink > 0.5).any():
        ink = make()
    return ink


def _sign(signs: str, rng: np.random.Generator) -> Ink:
    return _written([ink for _, ink in letters.glyphs(signs)], rng)


def _written(glyphs: list[Images], rng: np.random.Generator) -> Ink:
    """One of the glyphs as a hand would write it, upright or askew."""
    return _askew(_glyph(glyphs[int(rng.integers(len(glyphs)))], rng), rng)


def _glyph(ink: Images, rng: np.random.Generator) -> Ink:
    """A font's glyph as a hand would write it: wider or narrower, slanted, bent, another pen."""
    stretch = np.exp(rng.normal(0, 0.15, 2))
    scale = _HEIGHT / max(stretch * ink.shape)
    h, w = (max(3, round(side)) for side in scale * stretch * ink.shape)
    shaped = _bent(
        np.pad(writing.resized((ink / np.float32(255)).astype(np.float32), (h, w)), 4), rng
    )
    if not (shaped > 0.5).any():
        return shaped
    style = rng.random()
    if style < 0.55:
        again = writing.retraced(shaped, _HEIGHT, float(rng.uniform(1.2, 9.0)))
        return _broken(again, rng) if rng.random() < 0.1 else again
    if style < 0.75:
        return writing.trimmed(writing.widened(shaped, float(rng.uniform(0.5, 2.5))))
    return writing.trimmed(shaped)


def _bent(ink: Ink, rng: np.random.Generator) -> Ink:
    """Slanted, and bent by a smooth random shift of every row and every column."""
    h, w = ink.shape
    slant = rng.uniform(-0.25, 0.25)
    rows = _waves(h, 0.05 * h, rng) + slant * (np.arange(h) - h / 2)
    columns = _waves(w, 0.05 * w, rng)
    margin = int(np.ceil(max(np.abs(rows).max(), np.abs(columns).max()))) + 1
    wide = np.pad(ink, margin)
    y, x = np.arange(h + 2 * margin), np.arange(w + 2 * margin)
    across = np.interp(y, np.arange(h) + margin, rows)
    down = np.interp(x, np.arange(w) + margin, columns)
    moved = np.stack([np.interp(x + a, x, row) for a, row in zip(across, wide, strict=True)])
    moved = np.stack([np.interp(y + d, y, col) for d, col in zip(down, moved.T, strict=True)]).T
    return moved.astype(np.float32)


def _waves(count: int, most: float, rng: np.random.Generator) -> NDArray[np.float64]:
    return np.interp(np.linspace(0, 3, count), np.arange(4), rng.uniform(-most, most, 4))


def _mark(rng: np.random.Generator) -> Ink:
    """A plus or a hyphen; a comma has the shape of a 1, and only its size and place tell."""
    if rng.random() < 0.5:
        return writing.drawn(writing.MARKS["-"], 60, rng.uniform(3, 10), rng, 0.01)
    return writing.drawn(writing.MARKS["+"], _HEIGHT, rng.uniform(2.5, 8.5), rng, 0.02)


def _row(x: Images, rng: np.random.Generator) -> Ink:
    """Two digits, sometimes more, apart, touching or one over the edge of the other."""
    count = int(rng.choice([2, 3, 4, 5, 6], p=[0.7, 0.15, 0.07, 0.04, 0.04]))
    fitted = bool(rng.random() < 0.6)
    low, high = (-0.2, 0.3) if fitted else (-0.1, 0.5)
    inks = [_neighbour(x, rng) for _ in range(count)]
    tops = _on_a_line(inks) + rng.integers(0, 7, count)
    gaps = [round(_HEIGHT * gap) for gap in rng.uniform(low, high, count - 1)]
    return _turned(writing.in_a_row(inks, gaps, fitted, tops.tolist()), float(rng.normal(0, 5)))


def _piece(x: Images, rng: np.random.Generator) -> Ink:
    """A digit and the edge of its neighbour, or a part of a pair that was cut in a wrong place."""
    first, second = _neighbour(x, rng), _neighbour(x, rng)
    inks = [first, second]
    ink = writing.in_a_row(inks, [int(rng.integers(-6, 3))], True, _on_a_line(inks).tolist())
    w, middle = ink.shape[1], first.shape[1]
    if rng.random() < 0.5 or middle < 0.5 * _HEIGHT:  # the first and much of the second
        at = middle + int(rng.uniform(0.3, 0.65) * max(w - middle, 6))
        ink = ink[:, :at]
    else:  # the second half of the first and much of the second
        at = int(rng.uniform(0.3, 0.6) * middle)
        ink = ink[:, at : middle + int(rng.uniform(0.25, 1.0) * max(w - middle, 6))]
    return writing.trimmed(ink) if (ink > 0.5).any() else ink


def _on_a_line(inks: list[Ink]) -> NDArray[np.int64]:
    """The row in which each begins, that all of them end in one."""
    heights = np.array([len(ink) for ink in inks])
    return heights.max() - heights


def _scribble(rng: np.random.Generator) -> Ink:
    """Strokes to and fro, rounds of no shape, a spiral, or a blot."""
    kind, pen = rng.integers(4), float(rng.uniform(1.2, 7.5))
    count = int(rng.integers(7, 16))
    if kind == 0:
        points = rng.random((count, 2))
    elif kind == 1:  # to and fro, as one crosses out
        along = np.linspace(0, 1, count)
        across = np.where(np.arange(count) % 2, 1.0, 0.0) + rng.normal(0, 0.12, count)
        points = np.stack([along, across * rng.uniform(0.3, 1.0)], axis=1)
    elif kind == 2:
        points = np.cumsum(rng.normal(0, 0.3, (count, 2)), axis=0)
        points = (points - points.min(axis=0)) / max(float(np.ptp(points, axis=0).max()), 0.1)
    else:
        angle = np.linspace(0, rng.uniform(3, 6) * np.pi, 4 * count)
        radius = np.linspace(0.05, 0.5, 4 * count) + rng.normal(0, 0.02, 4 * count)
        points = 0.5 + np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return _turned(writing.drawn([points.tolist()], _HEIGHT, pen, rng, 0.0), rng.uniform(0, 360))


def _neighbour(x: Images, rng: np.random.Generator) -> Ink:
    """A digit beside others."""
    image, height = x[int(rng.integers(len(x)))], int(rng.integers(34, _HEIGHT + 1))
    style = rng.random()
    if style < 0.5:
        return writing.inked(image, height)
    if style < 0.75:
        return writing.inked(image, height, float(rng.uniform(0.3, 3.0)))
    return writing.traced(image, height, float(rng.uniform(1.2, 6.5)))


def _turned(ink: Ink, degrees: float) -> Ink:
    if abs(degrees) < 1 or not (ink > 0.5).any():
        return ink
    turned = writing.turned(ink, degrees)
    return writing.trimmed(turned) if (turned > 0.5).any() else ink
