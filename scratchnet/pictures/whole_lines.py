"""A line of writing read as a whole, without cutting it into digits first.

The ink of a line is brought to the form that the line reader was trained on: one image, level,
light on 0, its digits about 24 pixels high. The reader gives probabilities frame by frame, and CTC
(see ctc.py) the labels in them and where each of them is. A digit's box is that of the ink between
the cuts on both sides of it, at the place with the least ink between two labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .. import ctc
from .arrays import extent

Array = NDArray[np.floating]
Box = tuple[int, int, int, int]  # left, top, right, bottom: from the first pixel to after the last

DIGIT, ROOM = 24, 30  # pixels: a digit's height in a line, and what a line's ink has at most
BESIDE = 6  # pixels of paper on both sides
WIDEST = 2000  # pixels; a longer line is not read as a whole
BEAM = 12
OTHER_CUTS = 6.0  # a logarithm; see better_labels
LEAST_WORTH = 1e-4


class ReadsLines(Protocol):
    """What reads a line: `line_reader.LineReader`, or whatever else has this."""

    height: int
    signs: tuple[str, ...]
    blank: int

    def read(self, lines: Sequence[NDArray[np.uint8]]) -> list[Array]:
        """Lines (height, width) uint8 -> of each the log-probabilities (frames, classes)."""


@dataclass(frozen=True)
class Line:
    """A line's ink, and how its image came about.

    ink      (h, w) with its core at 1, as it stands in the picture
    corner   left and top of it there
    image    (height, width) uint8, as the reader sees it
    across   (h, w): for each pixel of the ink its column in the image
    """

    ink: NDArray[np.float32]
    corner: tuple[int, int]
    image: NDArray[np.uint8]
    across: NDArray[np.float64]


@dataclass(frozen=True)
class Placed:
    """A label that was read: its class, how sure it is, its box and the ink in it."""

    label: int
    confidence: float
    box: Box
    ink: NDArray[np.float32]


def line_of(
    inks: Sequence[tuple[NDArray[np.float32], int, int]], digit: float, turn: float, height: int
) -> Line | None:
    """The line that these inks (ink, left, top) make; None where it is too long or nothing.

    digit   the height of a digit in pixels      turn   degrees by which the line runs down
    """
    left, top = min(left for _, left, _ in inks), min(top for _, _, top in inks)
    right = max(left + ink.shape[1] for ink, left, _ in inks)
    bottom = max(top + ink.shape[0] for ink, _, top in inks)
    ink = np.zeros((bottom - top, right - left), np.float32)
    for piece, x, y in inks:
        place = ink[y - top : y - top + piece.shape[0], x - left : x - left + piece.shape[1]]
        np.maximum(place, piece, out=place)
    if not (ink > 0.5).any():
        return None
    level, down, across = _level(ink, turn)
    rows, columns = extent(level > 0.5)
    level = level[rows, columns]
    scale = min(DIGIT / digit, ROOM / level.shape[0])
    width = max(1, round(scale * level.shape[1]))
    if width + 2 * BESIDE > WIDEST:
        return None
    image = np.zeros((height, width + 2 * BESIDE), np.float32)
    small = _resized(level, (max(1, round(scale * level.shape[0])), width))
    start = (height - len(small)) // 2
    image[start : start + len(small), BESIDE:-BESIDE] = small
    across = (across - columns.start) * (width / level.shape[1]) + BESIDE
    return Line(ink, (left, top), np.rint(255 * image.clip(0, 1)).astype(np.uint8), across)


def _level(ink: NDArray[np.float32], turn: float) -> tuple[NDArray, NDArray, NDArray]:
    """The ink turned so that its line is level; and for each of its pixels the new row, column."""
    h, w = ink.shape
    y, x = np.mgrid[:h, :w].astype(np.float64)
    if not turn:
        return ink, y, x
    from PIL import Image

    image = Image.fromarray(ink).rotate(turn, Image.Resampling.BICUBIC, expand=True)
    level = np.asarray(image, np.float32).clip(0, 1)
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    y, x = y - (h - 1) / 2, x - (w - 1) / 2
    centre_y, centre_x = (level.shape[0] - 1) / 2, (level.shape[1] - 1) / 2
    return level, cos * y - sin * x + centre_y, cos * x + sin * y + centre_x


def _resized(ink: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Averaged over each new pixel, or enlarged smoothly."""
    from PIL import Image

    resample = Image.Resampling.BOX if shape[0] <= len(ink) else Image.Resampling.BICUBIC
    resized = Image.fromarray(np.ascontiguousarray(ink)).resize(shape[::-1], resample)
    return np.asarray(resized, np.float32)


def log_p(log_probs: Array, labels: Sequence[int], blank: int) -> float:
    """The logarithm of the probability that the line says just this."""
    wanted = np.array([labels], np.int64).reshape(1, -1)
    lengths, frames = np.array([len(labels)]), np.array([len(log_probs)])
    losses, _ = ctc.ctc_loss(log_probs[None], wanted, lengths, frames, blank)
    return -float(losses[0])


def better_labels(
    log_probs: Array,
    blank: int,
    ours: Sequence[int],
    worth: Sequence[NDArray | None],
    trust: float = 1.0,
) -> list[int] | None:
    """The labels to be believed in place of ours, which come from a line cut into digits; or None.

    worth   (classes,) for each of our labels: the probability of each digit there; None of a sign
    trust   how much ours count, from 0 to 1: less, the more of them had to be cut apart

    Two readers have read the same ink, each with errors of its own. Of all that the line may say,
    that is taken which is most probable by the product of both. What the other one would have
    thought of a row with more digits or fewer is not known: OTHER_CUTS stands for it.
    """
    known = log_p(log_probs, ours, blank)
    read = ctc.beam(log_probs, BEAM, blank)
    best, gain = None, 0.0
    for one in read if read[0].labels else []:  # who sees nothing at all has not seen the line
        if one.labels == tuple(ours) or not one.labels:
            continue
        lost = OTHER_CUTS
        if len(one.labels) == len(ours):
            lost = sum(map(_loss, ours, one.labels, worth))
        if one.log_p - known - trust * lost > gain:
            best, gain = list(one.labels), one.log_p - known - trust * lost
    return best


def _loss(ours: int, other: int, worth: NDArray | None) -> float:
    """By how much the cut digit's logarithm falls where it is read otherwise."""
    if ours == other:
        return 0.0
    if worth is None or other >= len(worth):
        return OTHER_CUTS
    of_both = np.log(np.maximum(worth[[ours, other]], LEAST_WORTH))
    return float(of_both[0] - of_both[1])


def placed(line: Line, log_probs: Array, labels: Sequence[int], blank: int) -> list[Placed] | None:
    """The labels with their boxes; None where one has no ink of its own."""
    frames = ctc.align(log_probs, labels, blank)
    per_frame = 2  # pixels of the image
    peaks, sure = [], []
    for label, (start, stop) in zip(labels, frames, strict=True):
        at = start + int(log_probs[start:stop, label].argmax())
        peaks.append(per_frame * (at + 0.5))
        sure.append(float(np.exp(log_probs[at, label])))
    column = line.image.sum(axis=0, dtype=np.float64)
    cuts = [-np.inf, *(_cut(column, a, b) for a, b in zip(peaks, peaks[1:], strict=False)), np.inf]
    found = []
    for k, label in enumerate(labels):
        mine = (line.across >= cuts[k]) & (line.across < cuts[k + 1])
        part = np.where(mine, line.ink, np.float32(0))
        if not (part > 0.5).any():
            return None
        rows, columns = extent(part > 0.5)
        x, y = line.corner
        box = (x + columns.start, y + rows.start, x + columns.stop, y + rows.stop)
        found.append(Placed(int(label), sure[k], box, part[rows, columns]))
    return found


def _cut(column: NDArray, left: float, right: float) -> float:
    """Where there is least ink between two labels: of equal columns the one in the middle."""
    first, last = int(left) + 1, max(int(np.ceil(right)), int(left) + 2)
    places = np.arange(first, min(last, len(column)))
    if not len(places):
        return (left + right) / 2
    off = np.abs(places + 0.5 - (left + right) / 2) / max(right - left, 1)
    return float(places[np.argmin(column[places] * (1 + off) + off)]) + 0.5
