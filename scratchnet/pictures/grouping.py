"""Which components of ink are one digit: strokes above each other, a part and the digit beside it.

Marks that overlap from left to right are strokes of one digit, and a small one belongs to the digit
next to it. And which digits are one line.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# All lengths are parts of the typical height of a mark, that of the digits.
SAME_DIGIT = 0.5  # strokes that overlap by this part of the narrower one's width are one digit's
MIN_TALL, MIN_FLAT = 0.6, 0.8  # what is lower and narrower may be a part of the digit beside it
NEAR = 0.5  # if it is no farther than this
MAX_DIGIT_HEIGHT, MAX_DIGIT_WIDTH = 1.4, 1.2  # of digits put together from parts
SAME_LINE = 0.4  # digits whose heights overlap by this part of the smaller one are neighbours
TALL = 90  # per cent of all marks are not higher than a whole digit, where some are broken
MIN_DIGIT = 0.4  # what is lower and has no digit beside it is no digit


def groups_of(numbers: NDArray, boxes: NDArray, height: float) -> list[Group]:
    """The components with these numbers, joined into digits."""
    groups = [Group([int(n)], boxes[n]) for n in numbers]
    settled: list[Group] = []
    groups.sort(key=lambda group: group.size)
    while groups:  # the smallest one joins another, or stays alone
        group = groups.pop(0)
        others = [other for other in groups + settled if group.belongs_to(other, height)]
        if not others:
            settled.append(group)
            continue
        nearest = min(others, key=lambda other: distance(group.box, other.box))
        (groups if nearest in groups else settled).remove(nearest)
        groups.append(group.joined(nearest))
        groups.sort(key=lambda group: group.size)
    return settled


@dataclass(frozen=True, eq=False)
class Group:
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

    def joined(self, other: Group) -> Group:
        low, high = np.minimum(self.box, other.box), np.maximum(self.box, other.box)
        narrower = min(self.size[1], other.size[1])
        parts: tuple[list[int], ...] = ()
        if overlap(self.box, other.box, 1) < SAME_DIGIT * narrower:  # side by side
            parts = (*(self.parts or (self.members,)), *(other.parts or (other.members,)))
        return Group(self.members + other.members, np.array([*low[:2], *high[2:]]), parts)

    def belongs_to(self, other: Group, height: float) -> bool:
        """Whether the two are one digit: strokes above each other, or a part beside a digit."""
        tall, wide = self.joined(other).size
        if tall > MAX_DIGIT_HEIGHT * height:
            return False
        if overlap(self.box, other.box, 1) >= SAME_DIGIT * min(self.size[1], other.size[1]):
            return True
        is_part = self.size[0] < MIN_TALL * height and self.size[1] < MIN_FLAT * height
        near = distance(self.box, other.box) <= NEAR * height
        return is_part and near and wide <= MAX_DIGIT_WIDTH * height


def overlap(a: NDArray, b: NDArray, axis: int) -> float:
    """How far two boxes overlap from top to bottom (axis 0) or left to right (1); < 0: the gap."""
    return float(min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis]))


def distance(a: NDArray, b: NDArray) -> float:
    """Between two boxes; sideways counts twice, for a part is above or below more often."""
    return max(0.0, -overlap(a, b, 0)) + 2 * max(0.0, -overlap(a, b, 1))


def lines_of(boxes: NDArray) -> list[list[int]]:
    """The numbers of the boxes line by line, from left to right.

    Each digit follows its nearest neighbour on the left at the same height. The halves of a broken
    digit, which do not overlap, would begin lines of their own. So a line most of whose marks are,
    together with the nearest one of another line, no higher than a digit, is a part of that.
    """
    centre = (boxes[:, 1] + boxes[:, 3]) / 2
    lines: list[list[int]] = []
    for n in np.argsort(centre, kind="stable"):
        level = [
            line
            for line in lines
            if overlap(boxes[line[-1]], boxes[n], 0)
            >= SAME_LINE * min(np.diff(boxes[[line[-1], n]][:, ::2], axis=1))[0]
        ]
        if level:
            max(level, key=lambda line: overlap(boxes[line[-1]], boxes[n], 0)).append(int(n))
        else:
            lines.append([int(n)])
    most = MAX_DIGIT_HEIGHT * np.percentile(boxes[:, 2] - boxes[:, 0], TALL)
    whole: list[list[int]] = []
    for line in sorted(lines, key=len, reverse=True):
        shares = [float(np.mean(_reach(boxes[line], boxes[other]) <= most)) for other in whole]
        if shares and max(shares) > 0.5:
            whole[int(np.argmax(shares))] += line
        else:
            whole.append(line)
    whole.sort(key=lambda line: boxes[line, ::2].mean())
    return [sorted(line, key=lambda n: centre[n]) for line in whole]


def _reach(boxes: NDArray, others: NDArray) -> NDArray:
    """Of each box and that of the others which is nearest sideways: the height of both together."""
    centre, of_others = (boxes[:, 1] + boxes[:, 3]) / 2, (others[:, 1] + others[:, 3]) / 2
    near = others[np.abs(np.subtract.outer(centre, of_others)).argmin(axis=1)]
    bottom, top = np.maximum(boxes[:, 2], near[:, 2]), np.minimum(boxes[:, 0], near[:, 0])
    reach: NDArray = bottom - top
    return reach
