"""Connected strokes: finding them in a mask, and choosing those that form the one digit."""

import numpy as np
from numpy.typing import NDArray

from ..backend import runs_twin
from ..errors import InputError

MAJOR_SHARE = 0.1  # a stroke of a digit has at least this share of the largest component's area
MAX_STROKES = 40  # more pieces are no digit, not even one drawn with a broken pen
MINOR_SHARE = 0.005  # a fragment next to the digit may be this small; below it is a speck
NEAR_SHARE = 0.15  # "next to": within this share of the digit's size
FOREIGN_CONTACT = 0.4  # running along this share of the border's length makes a mark foreign
EQUAL_HEIGHT = 0.55  # of the highest: what is lower is no second digit
EQUAL_AREA = 0.15  # of the largest: what has less ink is none either
BESIDE = 0.5  # components that share less than this part of the narrower one's columns
MIN_SIDE_SHARE = 0.015  # a digit is at least this share of the image's side
MIN_INK_SHARE = 0.3  # the digit is at least this share of all marks; else they are texture


@runs_twin("components")
def components(mask: NDArray) -> tuple[NDArray, NDArray]:
    """Label 8-connected components 1, 2, ...; 0 is outside. Returns labels (h, w) and the areas.

    A union-find over whole arrays: every pixel starts as its own root, the roots of neighbours are
    joined at the smaller one, and chains are shortened, until no pair of neighbours disagrees.
    """
    index = np.arange(mask.size).reshape(mask.shape)
    pairs = []
    for first, second in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),  # right
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),  # down
        ((slice(None, -1), slice(None, -1)), (slice(1, None), slice(1, None))),  # down and right
        ((slice(None, -1), slice(1, None)), (slice(1, None), slice(None, -1))),  # down and left
    ):
        both = mask[first] & mask[second]
        pairs.append((index[first][both], index[second][both]))
    a = np.concatenate([pair[0] for pair in pairs])
    b = np.concatenate([pair[1] for pair in pairs])
    root = np.arange(mask.size)
    while (root[a] != root[b]).any():
        low, high = np.minimum(root[a], root[b]), np.maximum(root[a], root[b])
        np.minimum.at(root, high, low)
        while (root[root] != root).any():
            root = root[root]
    _, labels = np.unique(np.where(mask.ravel(), root + 1, 0), return_inverse=True)
    labels = labels.reshape(mask.shape) + (0 if not mask.all() else 1)
    areas = np.bincount(labels.ravel())
    return labels, areas


@runs_twin("components")
def bounding_boxes(labels: NDArray, count: int) -> NDArray:
    """The bounding box of each label, (count, 4): top, left, bottom, right, as in a slice."""
    y, x = np.indices(labels.shape).reshape(2, -1)
    boxes = np.zeros((count, 4), dtype=int)
    boxes[:, :2] = max(labels.shape)
    for axis, position in enumerate((y, x)):
        np.minimum.at(boxes[:, axis], labels.ravel(), position)
        np.maximum.at(boxes[:, axis + 2], labels.ravel(), position + 1)
    return boxes


def digit_components(labels: NDArray, areas: NDArray) -> NDArray:
    """Which components belong to the digit, as a boolean for each label.

    The largest and those of similar size are its strokes; a smaller one belongs to it when it lies
    close by. What runs along the border (a table's edge, a finger) or from one border to the one
    opposite (a ruled line) does not belong to it, if something else is clear of the border.
    """
    height, width = labels.shape
    boxes = bounding_boxes(labels, len(areas))
    top, left, bottom, right = boxes.T
    border = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    contact = np.bincount(border, minlength=len(areas))
    across = ((top == 0) & (bottom == height)) | ((left == 0) & (right == width))
    foreign = across | (contact > FOREIGN_CONTACT * min(height, width))
    sides = np.maximum(bottom - top, right - left)
    large = sides >= max(3, MIN_SIDE_SHARE * max(height, width))
    large[0] = foreign[0] = False  # label 0 is the paper
    if (large & (contact == 0)).any():
        large &= ~foreign
    else:
        foreign[:] = False
    if not large.any():
        raise InputError(
            "expected a digit, found a blank image with specks "
            f"({len(areas) - 1} of them, none larger than {sides[1:].max()} pixels)"
        )
    ours = np.where(foreign, 0, areas)
    ours[0] = 0
    largest = ours[large].max()
    kept = large & (ours >= MAJOR_SHARE * largest)
    y0, x0 = boxes[kept, :2].min(axis=0)
    y1, x1 = boxes[kept, 2:].max(axis=0)
    near = NEAR_SHARE * max(y1 - y0, x1 - x0)
    inside = (top >= y0 - near) & (left >= x0 - near) & (bottom <= y1 + near) & (right <= x1 + near)
    kept |= inside & (ours > MINOR_SHARE * largest)
    if kept.sum() > MAX_STROKES or ours[kept].sum() < MIN_INK_SHARE * ours.sum():
        raise InputError(
            "expected a digit, found a blank image with noise or texture "
            f"({len(areas) - 1} separate marks)"
        )
    return kept


def side_by_side(labels: NDArray, areas: NDArray, kept: NDArray) -> bool:
    """Whether the components that were kept are several digits rather than the strokes of one.

    Two of them are about equally high and stand beside each other. So do no two strokes of a digit:
    the hat of a 5 is low, the bars of a 4 cross.
    """
    numbers = np.flatnonzero(kept)
    if len(numbers) < 2:
        return False
    boxes = bounding_boxes(labels, len(areas))[numbers]
    heights = boxes[:, 2] - boxes[:, 0]
    large = (heights >= EQUAL_HEIGHT * heights.max()) & (
        areas[numbers] >= EQUAL_AREA * areas[numbers].max()
    )
    top, left, bottom, right = boxes[large].T
    width = right - left
    for k in range(len(width)):
        columns = np.minimum(right, right[k]) - np.maximum(left, left[k])
        rows = np.minimum(bottom, bottom[k]) - np.maximum(top, top[k])
        beside = columns < BESIDE * np.minimum(width, width[k])
        level = rows > EQUAL_HEIGHT * np.minimum(bottom - top, bottom[k] - top[k])
        if (beside & level).any():
            return True
    return False
