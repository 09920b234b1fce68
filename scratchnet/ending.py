"""Where a network ends and its loss begins: what the two make together, and what cannot be meant.

A last Softmax, or sigmoid, and a cross-entropy of its probabilities are one function (see losses.py
for the derivation); what then comes out of the layers that run are logits. Here it is decided when
that is so, and how the model's outputs come back from these. What is no loss for such an end, and
no target for such a loss, is found here before it spoils a training.
"""

import copy
import inspect
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError
from .layers import Layer, Sigmoid, Softmax
from .layers.activations import softmax
from .layers.registry import LAYERS
from .losses import (
    CTC,
    LOSSES,
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Huber,
    KLDivergence,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
    sigmoid,
)
from .metrics import Accuracy, Metric

Array = NDArray[np.floating]

#: kinds of layers that make no scores or probabilities, but pass on those before them
PASSING = {"Dropout", "Flatten", "GaussianNoise", "Reshape", "UpSampling2D", "ZeroPadding2D"}
PASSING |= {"AveragePool2D", "GlobalAveragePool2D", "GlobalMaxPool2D", "MaxPool2D"}
#: kinds whose outputs may be anything, below 0 or above 1
SCORES = {"Conv2D", "Conv2DTranspose", "Dense", "DepthwiseConv2D", "Residual"}
SCORES |= {"BatchNorm", "LayerNorm", "ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Softplus", "Tanh"}
SCORES |= {"ConnectedConv2D", "LogSoftmax", "ScaledTanh", "Subsampling2D"}


def is_folded(layers: Sequence[Layer], loss: Loss | None) -> bool:
    """Whether the last layer and the loss make probabilities and a cross-entropy of them.

    Not subclasses, which run as they are written.
    """
    ends: dict[type, type[Layer] | None] = {
        CategoricalCrossentropy: Softmax,
        SparseCategoricalCrossentropy: Softmax,
        BinaryCrossentropy: Sigmoid,
        CTC: Softmax,
    }
    on_probabilities = not getattr(loss, "from_logits", True)
    return on_probabilities and bool(layers) and type(layers[-1]) is ends.get(type(loss))


def fold(loss: Any, layers: Sequence[Layer], groups: list[Any]) -> tuple[Any, list[Any]]:
    """The loss, and those of the groups, or layers, whose output it takes.

    The library's losses as copies: another thread may evaluate with them meanwhile.
    """
    if type(loss) in LOSSES.values():
        loss = copy.copy(loss)
    is_alone = len(getattr(groups[-1], "layers", groups[-1:])) == 1
    if is_alone and is_folded(layers, loss):
        groups = groups[:-1]
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


def loss_of(loss: Any, out: Array, y: NDArray, weights: NDArray | None) -> float:
    """The loss's forward, with the weights of the examples if there are any."""
    if weights is None:
        return loss.forward(out, y)
    if "sample_weight" not in inspect.signature(loss.forward).parameters:
        raise InputError(
            f"sample_weight: expected a loss whose forward takes sample_weight, found "
            f"{type(loss).__name__}"
        )
    return loss.forward(out, y, sample_weight=weights)


# ---- what cannot be meant ------------------------------------------------------------------------


def _kinds_from_the_end(layers: Sequence[Layer]) -> list[tuple[str, str]]:
    """(kind, name) of each layer from the last, without those that pass on; "" for one's own."""
    known = [
        (type(layer).__name__ if LAYERS.get(type(layer).__name__) is type(layer) else "", layer)
        for layer in reversed(layers)
    ]
    return [(kind, layer.name) for kind, layer in known if kind not in PASSING]


def check(layers: Sequence[Layer], loss: Loss | None) -> None:
    """Raise InputError where the loss cannot be meant for what the layers end in.

    Layers and losses of one's own, subclasses as well, are taken as they are.
    """
    ends = [*_kinds_from_the_end(layers), ("", ""), ("", "")]
    (kind, name), (before, _) = ends[:2]
    if kind == before == "Softmax":
        raise InputError(
            f"{name}: expected one Softmax at the end of the model, found two in a row; the second "
            "makes all classes nearly equal"
        )
    classes = CategoricalCrossentropy, SparseCategoricalCrossentropy, CTC
    known = *classes, BinaryCrossentropy, KLDivergence
    if type(loss) not in known or not kind:
        return
    what = type(loss).__name__
    binary, from_logits = type(loss) is BinaryCrossentropy, getattr(loss, "from_logits", False)
    end = "Sigmoid()" if binary else "Softmax()"
    found = f"found a model that ends in {kind} ({name})"
    if from_logits and kind in ("Softmax", "Sigmoid") and (binary or kind == "Softmax"):
        raise InputError(
            f"{what}(from_logits=True): expected logits, {found}; leave out one of the two"
        )
    if not binary and kind == "Sigmoid" and type(loss) is not KLDivergence:
        raise InputError(
            f"{what}: expected probabilities that add up to 1, {found}; end it in Softmax(), or "
            "compile with binary_crossentropy where several classes may be right at once"
        )
    if not from_logits and kind in SCORES:
        other = "" if type(loss) is KLDivergence else f", or compile with {what}(from_logits=True)"
        raise InputError(f"{what}: expected probabilities, {found}; add {end} at its end{other}")
    if binary and kind == "Softmax" and layers[-1].output_shape == (1,):
        raise InputError(f"{what}: {found}, which of one output is always 1; end it in Sigmoid()")


def check_targets(
    y: NDArray, layers: Sequence[Layer], loss: Loss | None, metrics: Sequence[Metric] = ()
) -> None:
    """Raise InputError where targets do not belong to the loss; warn where they hardly can.

    Or where the accuracy, which looks for the largest output, is not what is meant.
    """
    if loss is None or type(loss) not in LOSSES.values():
        return
    loss.check_targets(y, (len(y), *layers[-1].output_shape))
    if type(loss) is CategoricalCrossentropy and np.any(np.abs(y.sum(axis=1) - 1.0) > 1e-2):
        warnings.warn(
            "y: expected rows that add up to 1 for categorical_crossentropy, found others; where "
            "several classes may be right at once, use Sigmoid() and binary_crossentropy",
            stacklevel=5,
        )
    several = y.ndim == 2 and y.shape[1] > 1 and np.any((y > 0).sum(axis=1) != 1)
    if several and type(loss) is BinaryCrossentropy and Accuracy in map(type, metrics):
        warnings.warn(
            "metrics: accuracy asks for the one largest output of a row, and rows of y have none "
            'or several classes; "binary_accuracy" asks for each',
            stacklevel=5,
        )
    if type(loss) in (MeanSquaredError, MeanAbsoluteError, Huber) and (
        y.dtype == np.uint8 and y.ndim > 2
    ):
        warnings.warn(
            "y: expected numbers like the model's outputs, found bytes of 0 to 255, which are "
            "scaled to 0..1 in x alone; give y / 255",
            stacklevel=5,
        )
