"""Which components of ink are one digit: strokes above each other, a part and the digit beside it.

Marks that overlap from left to right are strokes of one digit, and a small one belongs to the digit
next to it.
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
