"""Lines of handwritten numbers, as many as wanted, with what is written in them: a reader's school.

    lines = LineMaker(x_train, y_train)
    images, labels = lines(64, rng)              # (64, 32, 128) uint8 and (64, signs) class numbers

A line is light ink on 0, as `pictures.line` cuts it out of a photograph, 32 pixels high and with
digits of some 24. What differs from line to line: how far apart the signs stand, from far to
overlapping, how large they are, each for itself or all of one size, slant, turn, rise, the pen's
width and its edge, gaps in the strokes, specks and remains of rules beside the ink. In some lines
all is written with a thin pen. Commas, hyphens and pluses are signs of their own.

All of it is drawn from the Generator that is handed in: the same state gives the same lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .augmentation import inverse_maps, warp

HEIGHT, WIDTH = 32, 128  # of a line in pixels
DIGIT = 24  # the usual height of a digit in it
BOX = 20  # the height of a digit in MNIST's form
#: the classes' names: digits, marks, and the blank, which is none of them
SIGNS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", ",", "-", "+", "")
BLANK = len(SIGNS) - 1
MARKS = SIGNS[10:BLANK]
MOST = 16  # signs in a line
_BANK, _THIN_BANK = 150, 500  # drawings of each mark, and of each digit with a thin pen
_SIDE = 4 * BOX  # pixels of a digit's height where it is drawn before it is reduced
_THIN, _USUAL = (2, 5), (5, 12)  # pens in those pixels
_CELL = 40  # pixels of the square in which a sign is drawn before it is put into its line
_INK = 0.35  # from this grey on a pixel belongs to the stroke, where distances are measured


@dataclass(frozen=True)
class LineMaker:
    """Lines of the digits x (n, 28, 28) uint8 with the labels y (n,).

    width        of the lines in pixels
    marks_share  the share of lines with commas, hyphens or pluses
    thin_share   the share of lines written with a thin pen
    """

    x: NDArray[np.uint8]
    y: NDArray
    width: int = WIDTH
    marks_share: float = 0.35
    thin_share: float = 0.15

    @cached_property
    def _banks(self) -> tuple[list[NDArray[np.uint8]], list[NDArray[np.uint8]]]:
        """Images (n, 28, 28) of each sign as it is usually written, and with a thin pen."""
        rng = np.random.default_rng(28)
        usual = [self.x[self.y == digit] for digit in range(10)]
        thin = [np.stack([_drawn_thin(x, rng) for x in of_one[:_THIN_BANK]]) for of_one in usual]
        for pen, bank in ((_USUAL, usual), (_THIN, thin)):
            for sign in MARKS:
                bank.append(np.stack([drawn_mark(sign, rng, pen) for _ in range(_BANK)]))
        return usual, thin

    def __call__(
        self, count: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """Images (count, HEIGHT, width), and their signs (count, MOST) filled up with the blank."""
        plans = [self._plan(rng) for _ in range(count)]
        which = np.concatenate([plan.signs for plan in plans])
        thin = np.repeat([plan.thin for plan in plans], [len(plan.signs) for plan in plans])
        cells = _drawn(self._pictures(which, thin, rng), plans, rng)
        images = np.zeros((count, HEIGHT, self.width), np.float32)
        labels, at = np.full((count, MOST), BLANK), 0
        for i, plan in enumerate(plans):
            here = cells[at : at + len(plan.signs)]
            at += len(plan.signs)
            placed = _put(images[i], here, plan, rng)
            labels[i, :placed] = plan.signs[:placed]
        return _soiled(images, rng), labels

    def _plan(self, rng: np.random.Generator) -> _Plan:
        count = int(rng.integers(1, MOST + 1))
        signs = rng.integers(0, 10, count)
        if rng.random() < self.marks_share:
            here = rng.random(count) < 0.25
            signs[here] = 10 + rng.integers(len(MARKS), size=int(here.sum()))
        usual = rng.uniform(0.8, 1.12)
        sizes = np.full(count, usual) * rng.uniform(0.9, 1.1, count)
        if rng.random() < 0.15:  # each of a size of its own, the largest as high as the line
            sizes = rng.uniform(0.28, 1, count)
            sizes *= 1.15 / sizes.max()
        kind = rng.choice(4, p=[0.2, 0.2, 0.35, 0.25])
        low, high = [(4, 12), (0.5, 4), (-1.2, 0.6), (-2.8, -0.5)][kind]
        return _Plan(
            signs,
            sizes * DIGIT / BOX,
            rng.uniform(low, high, count),
            bool(kind >= 2 or rng.random() < 0.5),
            float(rng.normal(0, 5)),
            float(rng.normal(0, 0.1)),
            float(rng.uniform(0, 0.08)),
            bool(rng.random() < self.thin_share),
        )

    def _pictures(
        self, signs: NDArray[np.integer], thin: NDArray[np.bool_], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        """An image (28, 28) of each sign."""
        found = np.empty((len(signs), 28, 28), np.uint8)
        for banks, pen in zip(self._banks, (~thin, thin), strict=True):
            for sign, bank in enumerate(banks):
                here = np.flatnonzero((signs == sign) & pen)
                found[here] = bank[rng.integers(0, len(bank), len(here))]
        return found


@dataclass(frozen=True)
class _Plan:
    """What a line shall hold.

    signs     class numbers             sizes   of each, as multiples of MNIST's
    gaps      pixels before each sign, between the boxes or, if `fitted`, where two are nearest
    turn      degrees, `slant` a shear  rise    how far signs stand off the line, as a part of 24
    thin      whether the pen is a thin one
    """

    signs: NDArray[np.integer]
    sizes: NDArray[np.float64]
    gaps: NDArray[np.float64]
    fitted: bool
    turn: float
    slant: float
    rise: float
    thin: bool


def drawn_mark(
    sign: str, rng: np.random.Generator, pen: tuple[float, float] = _USUAL
) -> NDArray[np.uint8]:
    """A comma, hyphen or plus in 28 x 28 pixels, beside a digit that fills the box of 20."""
    from .photos import writing

    strokes = writing.MARKS[sign]
    ink = writing.drawn(strokes, round(0.95 * _SIDE), rng.uniform(*pen), rng, 0.02)
    return _reduced(ink, round(_SIDE * min(y for stroke in strokes for _, y in stroke)))


def _drawn_thin(digit: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """An image in MNIST's form, (28, 28), as a thin pen would have drawn it."""
    from .photos import writing

    ink = writing.traced(digit, _SIDE, rng.uniform(*_THIN))[:_SIDE, :_SIDE]
    return _reduced(ink, (_SIDE - len(ink)) // 2)


def _reduced(ink: NDArray[np.float32], top: int) -> NDArray[np.uint8]:
    """Ink drawn four times as large, in 28 x 28 pixels; top is the row of the box it begins in."""
    page = np.zeros((4 * 28, 4 * 28), np.float32)
    top, left = 16 + min(top, 96 - len(ink)), (len(page) - ink.shape[1]) // 2
    page[top : top + len(ink), left : left + ink.shape[1]] = ink
    return np.rint(255 * page.reshape(28, 4, 28, 4).mean(axis=(1, 3))).astype(np.uint8)


def _drawn(
    pictures: NDArray[np.uint8], plans: list[_Plan], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Each sign in a cell of its own, (n, _CELL, _CELL), as large, turned and thick as planned."""
    sizes = np.concatenate([plan.sizes for plan in plans])
    counts = [len(plan.signs) for plan in plans]
    turns = np.repeat([plan.turn for plan in plans], counts) + rng.normal(0, 4, len(sizes))
    slants = np.repeat([plan.slant for plan in plans], counts) + rng.normal(0, 0.06, len(sizes))
    margin = (_CELL - 28) // 2
    x = np.pad(pictures, ((0, 0), (margin, margin), (margin, margin))).astype(np.float32)
    small = sizes < 0.7  # every second pixel would be skipped: averaged first
    x[small] = _averaged(x[small])
    shift = rng.uniform(-0.5, 0.5, (len(sizes), 2))
    cells = warp(x[..., None], inverse_maps((_CELL, _CELL), turns, shift, sizes, slants))[..., 0]
    # a pen's edge is sharper than that of an image which was enlarged, and its width differs
    sharp = np.repeat(rng.uniform(1.0, 2.2, len(plans)), counts)[:, None, None]
    low, high = np.where([[plan.thin] for plan in plans], (0.2, 0.35), (0.3, 0.62)).T
    level = np.repeat(rng.uniform(low, high), counts)[:, None, None]
    return ((cells / 255 - level) * sharp + 0.5).clip(0, 1).astype(np.float32) * (cells > 8)


def _averaged(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each pixel with its neighbours, by 1/4, 1/2, 1/4 across and down; a border of paper."""
    across = 0.5 * x + 0.25 * (np.roll(x, 1, 2) + np.roll(x, -1, 2))
    down = 0.5 * across + 0.25 * (np.roll(across, 1, 1) + np.roll(across, -1, 1))
    return down.astype(np.float32, copy=False)


def _put(
    image: NDArray[np.float32], cells: NDArray[np.float32], plan: _Plan, rng: np.random.Generator
) -> int:
    """Put the signs into the line, as many as it holds, and return how many those are."""
    h, w = image.shape
    masks = cells > _INK
    rows: NDArray[np.bool_] = np.asarray(masks.any(axis=2))
    columns: NDArray[np.bool_] = np.asarray(masks.any(axis=1))
    begins = np.where(rows, masks.argmax(axis=2), _CELL)  # the first ink of each row
    ends = np.where(rows, _CELL - masks[:, :, ::-1].argmax(axis=2), 0)
    drift = np.rint(DIGIT * plan.rise * rng.uniform(-1, 1, len(cells))).astype(int)
    drift += int(rng.integers(-2, 3))
    edge = np.zeros(h, int)  # where the ink of the signs before ends, row by row
    is_ink, right, placed = np.zeros(h, bool), 0, 0
    start = int(rng.integers(0, 12))
    for k, cell in enumerate(cells):
        found = np.flatnonzero(columns[k])
        if not len(found):
            break
        top = (h - _CELL) // 2 + drift[k]
        inside = np.arange(max(0, top), min(h, top + _CELL))
        first, last, ink = begins[k, inside - top], ends[k, inside - top], rows[k, inside - top]
        gap = start if k == 0 else round(plan.gaps[k])
        at = right + gap - found[0]
        both = ink & is_ink[inside]
        if k and plan.fitted and both.any():
            at = gap + int((edge[inside] - first)[both].max())
        at = max(at, -int(found[0]))
        stop = at + int(found[-1]) + 1
        if stop > w or (k and stop <= right - 2):
            break
        into, of = slice(max(0, at), min(w, at + _CELL)), max(0, -at)
        piece = cell[inside - top, of : of + into.stop - into.start]
        np.maximum(image[inside, into], piece, out=piece)
        image[inside, into] = piece
        edge[inside[ink]] = np.maximum(edge[inside[ink]], at + last[ink])
        is_ink[inside] |= ink
        right, placed = max(right, stop), placed + 1
    return placed


def _soiled(images: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    """With gaps in some lines' strokes, specks or a rule's remains beside others, and noise."""
    from .photos.scene import blots

    count, h, w = images.shape
    chance = rng.random((4, count))
    for i in np.flatnonzero(chance[0] < 0.12):  # a ball that skips
        holes = rng.random((h // 2, w // 2)) < rng.uniform(0.03, 0.15)
        images[i] *= 1 - 0.8 * np.kron(holes, np.ones((2, 2)))
    for i in np.flatnonzero(chance[3] < 0.2):  # or that leaves more out, in blots
        noise = blots((h, w), 2, rng)
        images[i] *= ((noise - np.quantile(noise, rng.uniform(0.05, 0.2))) * 3 + 0.5).clip(0, 1)
    for i in np.flatnonzero(chance[1] < 0.08):
        for _ in range(int(rng.integers(1, 5))):
            y, x = int(rng.integers(h - 1)), int(rng.integers(w - 1))
            images[i, y : y + 2, x : x + 2] = rng.uniform(0.3, 1)
    for i in np.flatnonzero(chance[2] < 0.05):
        y, x = int(rng.integers(h)), int(rng.integers(w - 8))
        images[i, y, x : x + int(rng.integers(8, w))] = rng.uniform(0.2, 0.8)
    grain = 0.02 * rng.standard_normal(images.shape, np.float32)
    images += grain * (rng.random((count, 1, 1)) < 0.3)
    return np.rint(255 * images.clip(0, 1)).astype(np.uint8)


def batches(
    maker: LineMaker, batch_size: int, count: int, seed: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """`count` batches of lines, for `fit(..., steps_per_epoch=count)`."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        yield maker(batch_size, rng)
