"""`components` and `bounding_boxes` of pictures/strokes.py as Numba loops, in two passes.

The first pass goes through the mask row by row. A pixel takes the smallest number among its four
neighbours that were seen before, or a new one, and where two numbers meet they are joined: each
number points to a smaller one of its component, the smallest to itself (union-find). The second
pass replaces every number by its component's, counted in the order of their first pixels, adds up
the areas and widens the boxes.
A. Rosenfeld, J. Pfaltz, "Sequential operations in digital picture processing", JACM 13 (1966).
"""

import numpy as np
from numpy.typing import NDArray

from .compiler import inner, serial


def components(mask: NDArray) -> tuple[NDArray, NDArray]:
    """Label 8-connected components 1, 2, ...; 0 is outside. Returns labels (h, w) and the areas."""
    mask = np.require(mask, bool, requirements=["C", "W"])
    labels = np.empty(mask.shape, np.int64)
    # a new number needs a pixel of paper on its left and above: at most every other row and column
    parent = np.zeros((mask.shape[0] + 1) // 2 * ((mask.shape[1] + 1) // 2) + 1, np.int64)
    used = _number(mask, labels, parent)
    areas = np.zeros(_renumber(parent[:used]) + 1, np.int64)
    _settle(labels, parent, areas)
    return labels, areas


def bounding_boxes(labels: NDArray, count: int) -> NDArray:
    """The bounding box of each label, (count, 4): top, left, bottom, right, as in a slice."""
    boxes = np.zeros((count, 4), np.int64)
    boxes[:, :2] = max(labels.shape)
    _widen(np.require(labels, np.int64, requirements=["C", "W"]), boxes)
    return boxes


@inner
def _root(parent, number):
    while parent[number] != number:
        number = parent[number]
    return number


@inner
def _join(parent, a, b):
    """Let the larger root of the two point to the smaller, which is returned."""
    a, b = _root(parent, a), _root(parent, b)
    low, high = min(a, b), max(a, b)
    parent[high] = low
    return low


@serial
def _number(mask, labels, parent):
    """Labels that may differ within a component, and how many numbers were used, 0 included."""
    h, w = mask.shape
    used = 1
    for i in range(h):
        for j in range(w):
            if not mask[i, j]:
                labels[i, j] = 0
                continue
            number = labels[i, j - 1] if j > 0 else 0
            if i > 0:
                for k in range(max(j - 1, 0), min(j + 2, w)):
                    above = labels[i - 1, k]
                    if above and number and above != number:
                        number = _join(parent, above, number)
                    elif above:
                        number = above
            if number == 0:
                number = used
                parent[used] = used
                used += 1
            labels[i, j] = number
    return used


@serial
def _renumber(parent):
    """Each number's component in place of its parent: 1, 2, ... in order. Returns how many."""
    count = 0
    for number in range(1, parent.size):
        if parent[number] == number:
            count += 1
            parent[number] = count
        else:  # a smaller number, which is settled already
            parent[number] = parent[parent[number]]
    return count


@serial
def _settle(labels, parent, areas):
    h, w = labels.shape
    for i in range(h):
        for j in range(w):
            number = parent[labels[i, j]]
            labels[i, j] = number
            areas[number] += 1


@serial
def _widen(labels, boxes):
    h, w = labels.shape
    for i in range(h):
        for j in range(w):
            box = boxes[labels[i, j]]
            box[0], box[1] = min(box[0], i), min(box[1], j)
            box[2], box[3] = max(box[2], i + 1), max(box[3], j + 1)
