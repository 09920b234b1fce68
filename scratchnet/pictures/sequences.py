"""A picture of written numbers -> the digits in it, line by line, each with its box.

The ink is found as `prepare` finds it, but all of it is kept: marks that overlap from left
to right are strokes of one digit, and a small one belongs to the digit next to it. What is wider
than a digit may be several that touch: it is cut at thin places in all ways that make sense, the
network reads every piece, and those cuts are kept whose pieces it reads with the most confidence.
(This is the "heuristic over-segmentation" of Y. LeCun, L. Bottou, Y. Bengio, P. Haffner,
"Gradient-based learning applied to document recognition", Proc. IEEE 86 (1998), section V.)

Commas, hyphens and pluses are signs (signs.py), not digits. A line that runs up or down is measured
from mark to mark, and its digits are turned upright before they are read.

Left out on purpose: other signs and letters, digits that touch one above the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import showing
from ..errors import InputError
from . import whole_lines
from .arrays import extent, to_uint8
from .form import stroke_width, to_form
from .frame import without_frame
from .grey import to_grey
from .grouping import MAX_DIGIT_HEIGHT as MAX_DIGIT_HEIGHT
from .grouping import MAX_DIGIT_WIDTH as MAX_DIGIT_WIDTH
from .grouping import MIN_DIGIT, groups_of, lines_of
from .grouping import MIN_FLAT as MIN_FLAT
from .grouping import MIN_TALL as MIN_TALL
from .grouping import NEAR as NEAR
from .grouping import SAME_DIGIT as SAME_DIGIT
from .grouping import SAME_LINE as SAME_LINE
from .ink import FRINGE_SHARE, above_threshold, ink_levels, measured_tones
from .lines import without_lines
from .paper import flatten, ink_is_dark
from .pixels import Source, name_of, read_pixels
from .signs import Sign, find_signs
from .steps import Classifier
from .strokes import bounding_boxes, components
from .whole_lines import ReadsLines

Box = tuple[int, int, int, int]  # left, top, right, bottom: from the first pixel to after the last

# All lengths are parts of the typical height of a mark, that of the digits.
MIN_MARK = 0.12  # smaller marks are specks
MIN_ALONE = 0.25  # with a judge, what was joined may be lower and a digit all the same
LOW_DIGIT = 0.8  # what both make of a mark as low as that, and alone, if it is a digit
PART_COST = 1.0  # of reading what was joined as several digits
MIN_SLOPES = 2  # so many marks with another beside them tell how a line runs
MIN_TURN = 3.0  # degrees; digits in a line that runs less steeply are read as they stand
USUAL_WIDTH = 0.9  # what is wider may be several digits
WIDE, WIDE_COST = 1.15, 8.0  # what is wider probably is, with a cost that grows with the width
MAX_WIDTH = 1.4  # what is wider than this must be
MIN_WIDTH = 0.12
MAX_CUTS = 12
CUT_COST = 0.4  # of a cut across one stroke
MIN_HEIGHT = 8  # pixels; smaller digits cannot be told apart from texture
MAX_MARKS = 500
FRAME = (222, 106, 30)  # the colour of a digit's box where a notebook shows them


@dataclass(frozen=True, repr=False)
class Digit:
    """One digit as it was read.

    label           the class that the network finds most probable
    box             left, top, right, bottom, in pixels of the upright picture
    image           (28, 28) uint8, as the network saw it
    """

    label: int
    confidence: float
    box: Box
    image: NDArray[np.uint8]

    def __repr__(self) -> str:
        return f"Digit({self.label}, confidence {self.confidence:.4f}, box {self.box})"

    def _repr_html_(self) -> str:
        return showing.pictures([self._named()])

    def _named(self) -> tuple[str, NDArray[np.uint8]]:
        return f"{self.label}: {100 * self.confidence:.1f} %", self.image


@dataclass(frozen=True, repr=False)
class Reading:
    """All digits in a picture: lines from top to bottom, each from left to right.

    picture   the picture, upright, (h, w) or (h, w, 3) uint8, reduced by `scale` if it was large
    """

    lines: tuple[tuple[Digit, ...], ...]
    picture: NDArray[np.uint8]
    scale: float
    signs: tuple[Sign, ...] = ()

    def texts(self, names: Sequence[str]) -> list[str]:
        """Each line as it is written: the digits by the names of their classes, and the signs."""
        lines = [[(digit.box, names[digit.label]) for digit in line] for line in self.lines]
        for sign in self.signs:
            middle = (sign.box[1] + sign.box[3]) / 2
            nearest = min(lines, key=lambda line: _distance_to_line(sign.box, middle, line))
            nearest.append((sign.box, sign.text))
        return ["".join(text for _, text in sorted(line, key=_middle)) for line in lines]

    def __repr__(self) -> str:
        read = " / ".join("".join(str(digit.label) for digit in line) for line in self.lines)
        h, w = self.picture.shape[:2]
        return f"Reading({showing.shortened(read)!r}, picture {w} x {h})"

    def _repr_html_(self) -> str:
        """The picture, and below it each line's digits as the network saw them."""
        found = [str(showing.picture(self._framed(), "the picture", side=420))]
        for line in self.lines[: showing.MOST_ROWS]:
            found.append(showing.heading("".join(str(digit.label) for digit in line)))
            found.append(showing.pictures((digit._named() for digit in line), side=42))
        return "".join(found)

    def _framed(self) -> NDArray[np.uint8]:
        """The picture in colours, with a frame around each digit."""
        h, w = self.picture.shape[:2]
        colours = 1 if self.picture.ndim == 3 else 3
        seen = np.repeat(self.picture.reshape(h, w, -1), colours, axis=2)
        for digit in (digit for line in self.lines for digit in line):
            left, top, right, bottom = (max(round(edge / self.scale), 0) for edge in digit.box)
            inside = seen[top:bottom, left:right].copy()
            thick = max(2, w // 200)
            around = np.s_[
                max(top - thick, 0) : bottom + thick, max(left - thick, 0) : right + thick
            ]
            seen[around] = FRAME
            seen[top:bottom, left:right] = inside
        return seen


def _middle(placed: tuple[Box, str]) -> float:
    return (placed[0][0] + placed[0][2]) / 2


def _distance_to_line(box: Box, middle: float, line: list[tuple[Box, str]]) -> float:
    """From a sign to the digit of a line that is nearest to it; down counts more than sideways."""
    return min(
        3 * max(0.0, other[1] - middle, middle - other[3])
        + max(0.0, other[0] - box[2], box[0] - other[2])
        for other, _ in line
    )


def read(
    source: Source,
    model: Classifier,
    judge: Classifier | None = None,
    reader: ReadsLines | None = None,
) -> Reading:
    """Find and read the digits in a picture, given as to `prepare`.

    model   a classifier of 28 x 28 x 1 images. InputError where there is no digit in the picture.
    judge   one with classes more than the model, the last ones for what is no digit: it has a say
            in where touching digits are cut, and in whether a mark much lower than the others is
            one. It is for models of the ten digits.
    reader  a `LineReader`, which reads each line as a whole besides, without cutting it, and whose
            word counts where it is the surer one. It is for models of the ten digits, too.
    """
    name = name_of(source)
    try:
        pixels, _, scale = read_pixels(source)
        inside, corner, _ = without_frame(pixels)
        grey, axis, _ = to_grey(inside)
        is_dark, certain = ink_is_dark(grey)
        readers = _Readers(model, judge)
        tries = []
        for dark in (is_dark,) if certain else (is_dark, not is_dark):
            try:
                found = _with_low(_find_marks(grey, inside, axis, dark), readers)
                tries.append((_read_marks(found, readers), found))
            except InputError:
                if dark == is_dark:
                    raise
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    read_, found = max(tries, key=lambda one: one[0].sure)
    rows, signs = _in_lines(read_.choices), found.signs
    lines = [[choice.digit for choice in row] for row in rows]
    if reader is not None:
        lines, signs = _read_whole(rows, found, reader)
    digits = tuple(
        tuple(replace(digit, box=_placed(digit.box, corner, scale)) for digit in line)
        for line in lines
        if line
    )
    placed = tuple(Sign(sign.text, _placed(sign.box, corner, scale)) for sign in signs)
    return Reading(digits, to_uint8(pixels), scale, placed)


def _placed(box: Box, corner: tuple[int, int], scale: float) -> Box:
    """A box in the picture as it came: before it was reduced and its frame cut off."""
    left, top, right, bottom = box
    x, y = corner
    return (
        round(scale * (left + x)),
        round(scale * (top + y)),
        round(scale * (right + x)),
        round(scale * (bottom + y)),
    )


# --- From the picture to marks: ink that is one digit, or several that touch


@dataclass(frozen=True)
class _Mark:
    """Ink with its grey levels, and the place of its box in the picture."""

    ink: NDArray[np.float32]
    left: int
    top: int

    @property
    def box(self) -> Box:
        return self.left, self.top, self.left + self.ink.shape[1], self.top + self.ink.shape[0]

    def part(self, start: int, stop: int) -> _Mark | None:
        """The columns from start to stop without the empty rows and columns around the ink."""
        ink = self.ink[:, start:stop]
        if not (ink > 0.5).any():
            return None
        rows, columns = extent(ink > 0)
        return _Mark(ink[rows, columns], self.left + start + columns.start, self.top + rows.start)


@dataclass(frozen=True)
class _Found:
    """The marks in a picture: groups of them that may be one digit or one each; and the signs.

    small    the ink of signs, and of what is too low to be taken for a digit by itself
    low      of what is too low, but may be a digit where a judge says so
    height   a typical digit's, in pixels        slope   of the lines, down to the right
    """

    groups: list[list[_Mark]]
    signs: list[Sign]
    small: list[_Mark]
    low: list[_Mark]
    height: float
    slope: float


def _find_marks(grey: NDArray, pixels: NDArray, axis: NDArray | None, is_dark: bool) -> _Found:
    light = 255 - grey if is_dark else grey
    flat, unevenness, _ = flatten(light, pixels, axis, is_dark)
    flat, smooth, everything, _ = above_threshold(flat)
    mask, _ = without_lines(everything)
    labels, areas = components(mask)
    boxes = bounding_boxes(labels, len(areas))
    ours = ~_foreign(labels, boxes)
    ours[0] = False  # label 0 is the paper
    if not ours.any():
        raise InputError("expected written digits, found marks along the border only")
    sizes = np.where(ours, areas, 0)
    heights = boxes[:, 2] - boxes[:, 0]
    order = np.argsort(heights)
    # the median over all pixels of ink: many specks count less than a few digits
    height = heights[order][np.searchsorted(sizes[order].cumsum(), sizes.sum() / 2)]
    ours &= np.maximum(heights, boxes[:, 3] - boxes[:, 1]) >= MIN_MARK * height
    tones = measured_tones(smooth, everything, ours[labels], unevenness)
    if height < MIN_HEIGHT or ours.sum() > MAX_MARKS:
        raise InputError(
            f"expected written digits, found noise or texture ({ours.sum()} marks, most of them "
            f"{height} pixels high)"
        )
    numbers = np.flatnonzero(ours)
    signs = find_signs(labels, boxes, numbers, height)
    numbers = np.array([n for n in numbers if n not in signs], int)

    def cut_out(members: list[int]) -> _Mark | None:
        top, left = boxes[members, :2].min(axis=0)
        bottom, right = boxes[members, 2:].max(axis=0)
        reach = max(2, round(FRINGE_SHARE * max(bottom - top, right - left)))
        top, left = max(0, top - reach), max(0, left - reach)
        near = np.s_[top : bottom + reach, left : right + reach]
        digit = np.isin(labels[near], members)
        ink = ink_levels(flat[near], digit, everything[near] & ~digit, tones)
        return _Mark(ink, int(left), int(top)).part(0, ink.shape[1])

    groups, small, low = [], [cut_out([n]) for n in signs], []
    for group in groups_of(numbers, boxes, height):
        marks = [mark for mark in (cut_out(group.members), *map(cut_out, group.parts)) if mark]
        if marks and group.size[0] < MIN_DIGIT * height:
            low += marks[:1] if group.size[0] >= MIN_ALONE * height else []
        elif marks:
            groups.append(marks)
    if not groups:
        raise InputError("expected written digits, found marks that are too small")
    found = []
    for n, text in signs.items():
        top, left, bottom, right = (int(edge) for edge in boxes[n])
        found.append(Sign(text, (left, top, right, bottom)))
    slope = _slope([marks[0].box for marks in groups])
    return _Found(groups, found, [mark for mark in small if mark], low, float(height), slope)


def _with_low(found: _Found, readers: _Readers) -> _Found:
    """With the low marks among the groups that model and judge agree are digits."""
    sure = np.zeros(len(found.low), bool)
    if found.low and readers.judge is not None:
        _, worth = readers.probabilities(np.stack([to_form(mark.ink) for mark in found.low]))
        sure = worth.max(axis=1) >= LOW_DIGIT
    digits = [[mark] for mark, digit in zip(found.low, sure, strict=True) if digit]
    others = [mark for mark, digit in zip(found.low, sure, strict=True) if not digit]
    return replace(found, groups=[*found.groups, *digits], small=[*found.small, *others])


def _slope(boxes: list[Box]) -> float:
    """How steeply the lines run down to the right: the median from each mark to the next one."""
    slopes = []
    for left, top, right, bottom in boxes:
        tall = bottom - top
        next_ones = [
            other
            for other in boxes
            if 0 < other[0] + other[2] - left - right < 6 * tall
            and abs(other[1] + other[3] - top - bottom) < 0.8 * (tall + other[3] - other[1]) / 2
        ]
        if next_ones:
            other = min(next_ones, key=lambda other: other[0] + other[2])
            rise, run = other[1] + other[3] - top - bottom, other[0] + other[2] - left - right
            slopes.append(rise / run)
    return float(np.median(slopes)) if len(slopes) >= MIN_SLOPES else 0.0


def _foreign(labels: NDArray, boxes: NDArray) -> NDArray[np.bool_]:
    """Which marks run along the border or from side to side: ruled lines, a table's edge."""
    height, width = labels.shape
    count = len(boxes)

    def along(*edges: NDArray) -> NDArray:
        return np.max([np.bincount(edge, minlength=count) for edge in edges], axis=0)

    top, left, bottom, right = boxes.T
    flat = along(labels[0], labels[-1]) > width / 2
    upright = along(labels[:, 0], labels[:, -1]) > 0.9 * height
    across = (left == 0) & (right == width)
    return flat | upright | across


# --- From marks to digits: cutting and reading


@dataclass(frozen=True)
class _Piece:
    """Columns start to stop of a mark; `cost`, a logarithm, is how unlikely it is to be a digit."""

    start: int
    stop: int
    mark: _Mark
    cost: float


@dataclass(frozen=True)
class _Readers:
    """The model, and the judge if there is one."""

    model: Classifier
    judge: Classifier | None

    def probabilities(self, images: NDArray) -> tuple[NDArray, NDArray]:
        """The model's (n, classes), and what each label is worth in the search for cuts."""
        read = self.model.predict(images, batch_size=256)
        if self.judge is None:
            return read, read
        judged = self.judge.predict(images, batch_size=256)[:, : read.shape[1]]
        return read, np.sqrt(read * judged)


class _Choice(NamedTuple):
    """A digit that was read, what each label would have been worth, and the group it is of."""

    digit: Digit
    worth: NDArray
    group: int


@dataclass(frozen=True)
class _Read:
    """Digits, and how sure they are on the average: a logarithm."""

    choices: list[_Choice]
    sure: float


def _read_marks(found: _Found, readers: _Readers) -> _Read:
    """Every group read as one digit or more, all pieces of all marks in one batch."""
    height = found.height
    rows = [[_pieces(mark, height) for mark in group] for group in found.groups]
    turn = np.degrees(np.arctan(found.slope))
    upright = abs(turn) >= MIN_TURN
    inks = [piece.mark.ink for group in rows for row in group for piece in row]
    images = np.stack([to_form(_turned(ink, turn) if upright else ink) for ink in inks])
    answers = iter(zip(images, *readers.probabilities(images), strict=True))
    choices: list[_Choice] = []
    sure = 0.0
    for number, group in enumerate(rows):
        ways = []
        for row in group:
            read = []
            for piece in row:
                image, probabilities, worth = next(answers)
                digit = _digit(piece.mark, image, probabilities)
                read.append((piece, _Choice(digit, worth, number)))
            ways.append(_best_row(read))
        one, several = ways[0], ways[1:]
        if several and readers.judge is not None:
            apart = sum(way.sure for way in several) - PART_COST
            if apart > one.sure and all(_is_tall(way, height) for way in several):
                one = _Read([choice for way in several for choice in way.choices], apart)
        choices += one.choices
        sure += one.sure
    return _Read(choices, sure / len(choices))


def _is_tall(way: _Read, height: float) -> bool:
    """Whether all its digits are high enough to be digits by themselves."""
    boxes = [choice.digit.box for choice in way.choices]
    return all(box[3] - box[1] >= MIN_ALONE * height for box in boxes)


def _turned(ink: NDArray, degrees: float) -> NDArray:
    """The ink of a digit in a line that runs down by so much, upright."""
    from PIL import Image

    image = Image.fromarray(np.asarray(ink, np.float32))
    turned = np.asarray(image.rotate(degrees, Image.Resampling.BICUBIC, expand=True)).clip(0, 1)
    if not (turned > 0.5).any():
        return ink
    return turned[extent(turned > 0.02)]


def _pieces(mark: _Mark, height: float) -> list[_Piece]:
    """All pieces of a mark that may be a digit. A narrow mark is one, a wide one may be cut.

    Cuts are where there is least ink in a column. A cut across much ink has a high cost, and so
    has a piece that is wider than nearly all digits.
    """
    width = mark.ink.shape[1]
    whole = [_Piece(0, width, mark, 0.0)]
    if width <= USUAL_WIDTH * height:
        return whole
    margin = max(1, round(MIN_WIDTH * height))
    column = np.convolve(mark.ink.sum(axis=0), np.ones(3) / 3, "same")
    cuts: list[int] = []
    for x in np.argsort(column, kind="stable"):
        if margin <= x <= width - margin and all(abs(x - cut) >= margin for cut in cuts):
            cuts.append(int(x))
    places = [0, *sorted(cuts[:MAX_CUTS]), width]
    stroke = stroke_width(mark.ink)
    pieces = []
    for i, start in enumerate(places[:-1]):
        cut = CUT_COST * column[start] / stroke if start else 0.0
        for stop in places[i + 1 :]:
            wide = WIDE_COST * max(0.0, (stop - start) / height - WIDE)
            part = mark.part(start, stop) if stop - start <= MAX_WIDTH * height else None
            if part:
                pieces.append(_Piece(start, stop, part, cut + wide))
    reached = {0}
    for piece in pieces:  # in the order of their starts
        if piece.start in reached:
            reached.add(piece.stop)
    return pieces if width in reached else whole


def _digit(mark: _Mark, image: NDArray[np.uint8], probabilities: NDArray) -> Digit:
    label = int(probabilities.argmax())
    return Digit(label, float(probabilities[label]), mark.box, image)


def _best_row(read: list[tuple[_Piece, _Choice]]) -> _Read:
    """The row of pieces that is surest as a whole, by the best way to each place in turn."""
    best: dict[int, tuple[float, list[_Choice]]] = {0: (0.0, [])}
    for piece, choice in sorted(read, key=lambda one: one[0].stop):
        if piece.start in best:
            sure, row = best[piece.start]
            sure += np.log(max(float(choice.worth[choice.digit.label]), 1e-9)) - piece.cost
            if piece.stop not in best or sure > best[piece.stop][0]:
                best[piece.stop] = sure, [*row, choice]
    sure, row = best[max(best)]
    return _Read(row, sure)


# --- From digits to lines


def _in_lines(choices: list[_Choice]) -> list[list[_Choice]]:
    """From top to bottom, each from left to right."""
    boxes = np.array([choice.digit.box for choice in choices])[:, [1, 0, 3, 2]]
    return [[choices[n] for n in line] for line in lines_of(boxes)]


# --- Lines as a whole


def _read_whole(
    rows: list[list[_Choice]], found: _Found, reader: ReadsLines
) -> tuple[list[list[Digit]], list[Sign]]:
    """Digits line by line, and signs: as they were read, or as the reader reads the whole line."""
    turn = float(np.degrees(np.arctan(found.slope)))
    turn = turn if abs(turn) >= MIN_TURN else 0.0
    signs = _by_line(found.signs, rows)
    images = []
    for row, small in zip(rows, _by_line(found.small, rows), strict=True):
        marks = [found.groups[n][0] for n in sorted({choice.group for choice in row})]
        inks = [(mark.ink, mark.left, mark.top) for mark in [*marks, *small]]
        images.append(whole_lines.line_of(inks, found.height, turn, reader.height))
    frames = iter(reader.read([line.image for line in images if line is not None]))
    lines, all_signs = [], []
    for row, others, line in zip(rows, signs, images, strict=True):
        digits = [choice.digit for choice in row]
        better = (
            None if line is None else _surer(row, others, line, next(frames), reader, found.height)
        )
        if better is not None and line is not None:
            digits = [
                Digit(int(reader.signs[one.label]), one.confidence, one.box, _form(one.ink, turn))
                for one in better
                if reader.signs[one.label].isdigit()
            ]
            others = [
                Sign(reader.signs[one.label], one.box)
                for one in better
                if not reader.signs[one.label].isdigit()
            ]
        lines.append(digits)
        all_signs += others
    return lines, all_signs


def _by_line(things: Sequence[Any], rows: list[list[_Choice]]) -> list[list[Any]]:
    """Signs or marks, each with a `box`, by the row that they are nearest to."""
    placed = [[(choice.digit.box, "") for choice in row] for row in rows]
    found: list[list[Any]] = [[] for _ in rows]
    for thing in things:
        middle = (thing.box[1] + thing.box[3]) / 2
        near = [_distance_to_line(thing.box, middle, line) for line in placed]
        found[int(np.argmin(near))].append(thing)
    return found


def _form(ink: NDArray[np.float32], turn: float) -> NDArray[np.uint8]:
    return to_form(_turned(ink, turn) if turn else ink)


def _surer(
    row: list[_Choice],
    signs: list[Sign],
    line: whole_lines.Line,
    log_probs: NDArray,
    reader: ReadsLines,
    height: float,
) -> list[whole_lines.Placed] | None:
    """What the reader reads in the line, where that is more probable all in all; else None."""
    ours: list[tuple[Box, str, NDArray | None]] = [
        (choice.digit.box, str(choice.digit.label), choice.worth) for choice in row
    ]
    ours += [(sign.box, sign.text, None) for sign in signs]
    ours.sort(key=lambda one: one[0][0] + one[0][2])
    groups = [choice.group for choice in row]
    alone = [
        groups.count(choice.group) == 1
        and choice.digit.box[2] - choice.digit.box[0] <= USUAL_WIDTH * height
        for choice in row
    ]
    labels = whole_lines.better_labels(
        log_probs,
        reader.blank,
        [reader.signs.index(text) for _, text, _ in ours],
        [worth for _, _, worth in ours],
        float(np.mean(alone)),
    )
    if labels is None or not any(reader.signs[label].isdigit() for label in labels):
        return None
    return whole_lines.placed(line, log_probs, labels, reader.blank)
