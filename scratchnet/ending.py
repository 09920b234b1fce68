"""Where a network ends and its loss begins: what the two make together, and what cannot be meant.

A last Softmax, or sigmoid, and a cross-entropy of its probabilities are one function (see losses.py
for the derivation); what then comes out of the layers that run are logits. Here it is decided when
that is so, and how the model's outputs come back from these.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layers import Layer, Softmax
from .layers.activations import softmax
from .layers.registry import LAYERS
from .losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Loss,
    SparseCategoricalCrossentropy,
    sigmoid,
)

Array = NDArray[np.floating]


def is_folded(layers: Sequence[Layer], loss: Loss | None) -> bool:
    """Whether the last layer and the loss make probabilities and a cross-entropy of them.

    Not subclasses, which run as they are written.
    """
    ends: dict[type, type[Layer] | None] = {
        CategoricalCrossentropy: Softmax,
        SparseCategoricalCrossentropy: Softmax,
        BinaryCrossentropy: LAYERS.get("Sigmoid"),
    }
    on_probabilities = not getattr(loss, "from_logits", True)
    return on_probabilities and bool(layers) and type(layers[-1]) is ends.get(type(loss))


def fold(loss: Any, layers: Sequence[Layer], groups: list[Any]) -> tuple[Any, list[Any]]:
    """The loss, and those of the groups, or layers, whose output it takes."""
    is_alone = len(getattr(groups[-1], "layers", groups[-1:])) == 1
    if is_alone and is_folded(layers, loss):
        loss, groups = copy.copy(loss), groups[:-1]
        loss.from_logits = True
    return loss, groups


class Reader:
    """What a metric reads of the outputs that training works with: see metrics.READS."""

    def __init__(self, layers: Sequence[Layer], loss: Loss | None) -> None:
        self.from_logits = is_folded(layers, loss)
        binary = isinstance(loss, BinaryCrossentropy)
        self.probabilities = sigmoid if binary else softmax
        self.are_logits = binary and getattr(loss, "from_logits", False)

    def __call__(self, out: Array, what: str) -> Array:
        if self.from_logits or self.are_logits and what == "probabilities":
            return self.probabilities(out)
        return out


def is_yes_or_no(layers: Sequence[Layer], loss: Loss | None) -> bool:
    """Whether one output is a yes or a no, and not the only one of so many classes."""
    return layers[-1].output_shape == (1,) and not isinstance(loss, CategoricalCrossentropy)
