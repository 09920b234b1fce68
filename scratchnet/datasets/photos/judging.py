"""Images in MNIST's form that are digits, and such that are none: what a judge learns from.

A network that has only seen digits finds one in everything. `examples` makes what it must be able
to refuse: letters and marks, two digits that touch, digits of which a part is missing or to which
their neighbour's edge clings (the pieces of a wrong cut), scribbles.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...pictures.form import to_form
from ..augmentation import Augmentation
from . import writing
from .writing import Ink

NOT_A_DIGIT = 10
_BOX = 40  # pixels: the height at which ink is put together, twice MNIST's


def examples(
    x: NDArray[np.uint8], y: NDArray, count: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`count` images (count, 28, 28) that are no digits, made of digits x (n, 28, 28), labels y.

    Returns the images and their labels: NOT_A_DIGIT for all but the pieces of a cut that turn out
    to be a whole digit.
    """
    images = np.empty((count, 28, 28), np.uint8)
    labels = np.full(count, NOT_A_DIGIT)
    kinds = rng.choice(5, count, p=[0.3, 0.1, 0.3, 0.22, 0.08])
    for k, kind in enumerate(kinds):
        ink = np.zeros((0, 0), np.float32)
        while ink.size == 0 or not (ink > 0.5).any():
            if kind == 0:
                ink = _letter(rng)
            elif kind == 1:
                ink = _mark(rng)
            elif kind == 2:
                ink = _pair(x, rng)
            elif kind == 3:
                ink = _piece(x, rng)
            else:
                ink = _scribble(rng)
        images[k] = to_form(ink)
    return images, labels


def digits(
    x: NDArray[np.uint8], rng: np.random.Generator, share_thick: float = 0.25
) -> NDArray[np.uint8]:
    """The digits turned, slanted, some written with a thinner or thicker pen."""
    made = Augmentation(rotation=18, scale=0.08, shear=0.25, shift=1)(x, rng)
    for k in np.flatnonzero(rng.random(len(made)) < share_thick):
        if made[k].any():
            if rng.random() < 0.5:
                ink = writing.inked(made[k], _BOX, float(rng.uniform(0.5, 4.0)))
            else:
                ink = writing.traced(made[k], _BOX, float(rng.uniform(2.0, 6.0)))
            made[k] = to_form(ink)
    return made


def _letter(rng: np.random.Generator) -> Ink:
    names = list(writing.LETTERS)
    strokes = writing.LETTERS[names[int(rng.integers(len(names)))]]
    ink = writing.drawn(strokes, _BOX, _BOX * rng.uniform(0.05, 0.2), rng, rng.uniform(0.01, 0.05))
    return _turned(ink, rng)


def _mark(rng: np.random.Generator) -> Ink:
    """A plus or a hyphen; a comma has the shape of a 1, and only its size and place tell."""
    if rng.random() < 0.5:
        return writing.drawn(writing.MARKS["-"], 60, rng.uniform(4, 10), rng, 0.01)
    return writing.drawn(writing.MARKS["+"], _BOX, rng.uniform(3, 8), rng, 0.02)


def _pair(x: NDArray[np.uint8], rng: np.random.Generator) -> Ink:
    inks = [_ink(x, rng) for _ in range(2 + int(rng.random() < 0.15))]
    tops = [int(t) for t in rng.integers(0, 5, len(inks))]
    tops = [top + _BOX - len(ink) for top, ink in zip(tops, inks, strict=True)]
    gaps = [int(g) for g in rng.integers(-8, 7, len(inks) - 1)]
    return writing.in_a_row(inks, gaps, bool(rng.random() < 0.6), tops)


def _piece(x: NDArray[np.uint8], rng: np.random.Generator) -> Ink:
    """A digit and the edge of its neighbour, or a part of a pair that was cut in a wrong place."""
    first, second = _ink(x, rng), _ink(x, rng)
    tops = [_BOX - len(first), _BOX - len(second)]
    ink = writing.in_a_row([first, second], [int(rng.integers(-4, 2))], True, tops)
    w, middle = ink.shape[1], first.shape[1]
    if rng.random() < 0.5:  # the first and much of the second
        at = middle + int(rng.uniform(0.3, 0.65) * max(w - middle, 6))
        ink = ink[:, :at]
    else:  # the second half of the first and much of the second
        at = int(rng.uniform(0.3, 0.6) * middle)
        ink = ink[:, at : middle + int(rng.uniform(0.25, 1.0) * max(w - middle, 6))]
    return writing.trimmed(ink) if (ink > 0.5).any() else np.zeros((0, 0), np.float32)


def _scribble(rng: np.random.Generator) -> Ink:
    points = rng.random((int(rng.integers(6, 14)), 2))
    return writing.drawn([points.tolist()], _BOX, rng.uniform(2, 6), rng, 0.0)


def _ink(x: NDArray[np.uint8], rng: np.random.Generator) -> Ink:
    digit = x[int(rng.integers(len(x)))]
    thicker = float(rng.uniform(0, 1.5)) if rng.random() < 0.3 else 0.0
    return writing.inked(digit, int(rng.integers(32, 41)), thicker)


def _turned(ink: Ink, rng: np.random.Generator) -> Ink:
    return writing.trimmed(writing.turned(ink, float(rng.normal(0, 6))))
