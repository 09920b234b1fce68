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

import numpy as np
from numpy.typing import NDArray

from .. import showing
from ..errors import InputError
from .arrays import extent, to_uint8
from .form import stroke_width, to_form
from .frame import without_frame
from .grey import to_grey
from .ink import FRINGE_SHARE, above_threshold, ink_levels, measured_tones
from .lines import without_lines
from .paper import flatten, ink_is_dark
from .pixels import Source, name_of, read_pixels
from .signs import Sign, find_signs
from .steps import Classifier
from .strokes import bounding_boxes, components

Box = tuple[int, int, int, int]  # left, top, right, bottom: from the first pixel to after the last

# All lengths are parts of the typical height of a mark, that of the digits.
MIN_MARK = 0.12  # smaller marks are specks
SAME_DIGIT = 0.5  # strokes that overlap by this part of the narrower one's width are one digit's
MIN_TALL, MIN_FLAT = 0.6, 0.8  # what is lower and narrower may be a part of the digit beside it
NEAR = 0.5  # if it is no farther than this
MAX_DIGIT_HEIGHT, MAX_DIGIT_WIDTH = 1.4, 1.2  # of digits put together from parts
MIN_DIGIT = 0.4  # what is lower and has no digit beside it is no digit
MIN_ALONE = 0.25  # with a judge, what was joined may be lower and a digit all the same
PART_COST = 1.0  # of reading what was joined as several digits
MIN_SLOPES = 2  # so many marks with another beside them tell how a line runs
MIN_TURN = 3.0  # degrees; digits in a line that runs less steeply are read as they stand
SAME_LINE = 0.4  # digits whose heights overlap by this part of the smaller one are neighbours
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


def read(source: Source, model: Classifier, judge: Classifier | None = None) -> Reading:
    """Find and read the digits in a picture, given as to `prepare`.

    model   a classifier of 28 x 28 x 1 images. InputError where there is no digit in the picture.
    judge   one with a class more than the model, the last one for what is no digit: it has a say in
            where touching digits are cut. It is for models of the ten digits.
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
                found = _find_marks(grey, inside, axis, dark)
                tries.append((_read_marks(found, readers), found.signs))
            except InputError:
                if dark == is_dark:
                    raise
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    read_, signs = max(tries, key=lambda one: one[0].sure)
    digits = [replace(digit, box=_placed(digit.box, corner, scale)) for digit in read_.digits]
    placed = tuple(Sign(sign.text, _placed(sign.box, corner, scale)) for sign in signs)
    return Reading(_in_lines(digits), to_uint8(pixels), scale, placed)


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

    height   a typical digit's, in pixels        slope   of the lines, down to the right
    """

    groups: list[list[_Mark]]
    signs: list[Sign]
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

    groups = []
    for group in _groups(numbers, boxes, height):
        marks = [mark for mark in (cut_out(group.members), *map(cut_out, group.parts)) if mark]
        if marks:
            groups.append(marks)
    if not groups:
        raise InputError("expected written digits, found marks that are too small")
    found = []
    for n, text in signs.items():
        top, left, bottom, right = (int(edge) for edge in boxes[n])
        found.append(Sign(text, (left, top, right, bottom)))
    return _Found(groups, found, float(height), _slope([marks[0].box for marks in groups]))


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


def _groups(numbers: NDArray, boxes: NDArray, height: float) -> list[_Group]:
    """The components with these numbers, joined into digits."""
    groups = [_Group([int(n)], boxes[n]) for n in numbers]
    settled: list[_Group] = []
    groups.sort(key=lambda group: group.size)
    while groups:  # the smallest one joins another, or stays alone
        group = groups.pop(0)
        others = [other for other in groups + settled if group.belongs_to(other, height)]
        if not others:
            settled.append(group)
            continue
        nearest = min(others, key=lambda other: _distance(group.box, other.box))
        (groups if nearest in groups else settled).remove(nearest)
        groups.append(group.joined(nearest))
        groups.sort(key=lambda group: group.size)
    return [group for group in settled if group.size[0] >= MIN_DIGIT * height]


@dataclass(frozen=True, eq=False)
class _Group:
    """Components of one digit, and the box around them: top, left, bottom, right.

    parts   where two were joined that may be two digits as well: the members of each; else empty
    """

    members: list[int]
    box: NDArray
    parts: tuple[list[int], ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]

    def joined(self, other: _Group) -> _Group:
        low, high = np.minimum(self.box, other.box), np.maximum(self.box, other.box)
        narrower = min(self.size[1], other.size[1])
        parts: tuple[list[int], ...] = ()
        if _overlap(self.box, other.box, 1) < SAME_DIGIT * narrower:  # side by side
            parts = (*(self.parts or (self.members,)), *(other.parts or (other.members,)))
        return _Group(self.members + other.members, np.array([*low[:2], *high[2:]]), parts)

    def belongs_to(self, other: _Group, height: float) -> bool:
        """Whether the two are one digit: strokes above each other, or a part beside a digit."""
        tall, wide = self.joined(other).size
        if tall > MAX_DIGIT_HEIGHT * height:
            return False
        if _overlap(self.box, other.box, 1) >= SAME_DIGIT * min(self.size[1], other.size[1]):
            return True
        is_part = self.size[0] < MIN_TALL * height and self.size[1] < MIN_FLAT * height
        near = _distance(self.box, other.box) <= NEAR * height
        return is_part and near and wide <= MAX_DIGIT_WIDTH * height


def _overlap(a: NDArray, b: NDArray, axis: int) -> float:
    """How far two boxes overlap from top to bottom (axis 0) or left to right (1); < 0: the gap."""
    return float(min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis]))


def _distance(a: NDArray, b: NDArray) -> float:
    """Between two boxes; sideways counts twice, for a part is above or below more often."""
    return max(0.0, -_overlap(a, b, 0)) + 2 * max(0.0, -_overlap(a, b, 1))


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


@dataclass(frozen=True)
class _Read:
    """Digits, and how sure they are on the average: a logarithm."""

    digits: list[Digit]
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
    digits, sure = [], 0.0
    for group in rows:
        ways = []
        for row in group:
            read = []
            for piece in row:
                image, probabilities, worth = next(answers)
                digit = _digit(piece.mark, image, probabilities)
                read.append((piece, digit, float(worth[digit.label])))
            ways.append(_best_row(read))
        one, several = ways[0], ways[1:]
        if several and readers.judge is not None:
            apart = sum(way.sure for way in several) - PART_COST
            if apart > one.sure and all(_is_tall(way, height) for way in several):
                one = _Read([digit for way in several for digit in way.digits], apart)
        digits += one.digits
        sure += one.sure
    return _Read(digits, sure / len(digits))


def _is_tall(way: _Read, height: float) -> bool:
    """Whether all its digits are high enough to be digits by themselves."""
    return all(digit.box[3] - digit.box[1] >= MIN_ALONE * height for digit in way.digits)


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


def _best_row(read: list[tuple[_Piece, Digit, float]]) -> _Read:
    """The row of pieces that is surest as a whole, by the best way to each place in turn."""
    best: dict[int, tuple[float, list[Digit]]] = {0: (0.0, [])}
    for piece, digit, worth in sorted(read, key=lambda one: one[0].stop):
        if piece.start in best:
            sure, row = best[piece.start]
            sure += np.log(max(worth, 1e-9)) - piece.cost
            if piece.stop not in best or sure > best[piece.stop][0]:
                best[piece.stop] = sure, [*row, digit]
    sure, row = best[max(best)]
    return _Read(row, sure)


# --- From digits to lines


def _in_lines(digits: list[Digit]) -> tuple[tuple[Digit, ...], ...]:
    """Each digit follows its nearest neighbour on the left at the same height."""
    boxes = np.array([digit.box for digit in digits])[:, [1, 0, 3, 2]]  # top, left, bottom, right
    centre = (boxes[:, 1] + boxes[:, 3]) / 2
    lines: list[list[int]] = []
    for n in np.argsort(centre, kind="stable"):
        level = [
            line
            for line in lines
            if _overlap(boxes[line[-1]], boxes[n], 0)
            >= SAME_LINE * min(np.diff(boxes[[line[-1], n]][:, ::2], axis=1))[0]
        ]
        if level:
            max(level, key=lambda line: _overlap(boxes[line[-1]], boxes[n], 0)).append(int(n))
        else:
            lines.append([int(n)])
    lines.sort(key=lambda line: boxes[line, ::2].mean())
    return tuple(tuple(digits[n] for n in line) for line in lines)
