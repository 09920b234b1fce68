"""Regularizers: a price on large weights, which is added to the loss.

A network can learn its training set by heart with large weights that cancel one another on these
examples and on no others. So the weights themselves get a penalty R(W), and what is minimized, and
shown, is the sum of both:

    L = loss + l1 sum |W| + l2 sum W^2
    dL/dW = dloss/dW + l1 sign(W) + 2 l2 W

L2 pulls every weight towards 0 in proportion to itself, so mostly the large ones. L1 pulls all of
them equally hard, until many are (nearly) 0: the network chooses among its inputs. At W = 0, where
|W| has a kink, its slope is taken as 0.

A layer has one for its weights W, `Dense(64, kernel_regularizer=L2(1e-4))`, and none for its
biases. Written as a number it is L2: `kernel_regularizer=1e-4`.

L2 is not AdamW's weight decay, which shrinks the weights beside the gradient, whatever Adam makes
of that; and PyTorch's SGD with weight_decay=d has the gradient d W, which is L2(d / 2) here.

Left out on purpose: regularizers of outputs, and penalties of one's own, which a saved model could
not name.

Source: Goodfellow, Bengio and Courville 2016, sections 7.1.1 and 7.1.2; names and factors are
Keras's.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .backend import runs_twin
from .errors import InputError, check_number, shown

__all__ = ["L1", "L1L2", "L2"]

Array = NDArray[np.floating]


@runs_twin("steps")
def penalize(W: Array, dW: Array, l1: float, l2: float) -> float:
    """dW += l1 sign(W) + 2 l2 W, in place; returns the penalty, l1 sum |W| + l2 sum W^2."""
    number = W.dtype.type
    dW += number(l1) * np.sign(W) + number(2 * l2) * W
    return _penalty(W, l1, l2)


def _penalty(W: Array, l1: float, l2: float) -> float:
    wide = W.astype(np.float64)
    return float(l1 * np.abs(wide).sum() + l2 * np.square(wide).sum())


class L1L2:
    """Both penalties: l1 sum |W| + l2 sum W^2.

    l1, l2   the prices, at least 0
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = check_number(f"{type(self).__name__} l1", l1, least=0)
        self.l2 = check_number(f"{type(self).__name__} l2", l2, least=0)

    def penalty(self, W: Array) -> float:
        """R(W)."""
        return _penalty(W, self.l1, self.l2)

    def add_gradient(self, W: Array, dW: Array) -> float:
        """dW += dR/dW, in place; returns R(W)."""
        return penalize(W, dW, self.l1, self.l2)

    def config(self) -> dict[str, float]:
        return {"l1": self.l1, "l2": self.l2}

    def __repr__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.config().items())
        return f"{type(self).__name__}({inside})"


class L1(L1L2):
    """l1 sum |W|."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)

    def config(self) -> dict[str, float]:
        return {"l1": self.l1}


class L2(L1L2):
    """l2 sum W^2."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)

    def config(self) -> dict[str, float]:
        return {"l2": self.l2}


#: Keras's names, with Keras's prices
REGULARIZERS = {"l1": L1, "l2": L2, "l1_l2": lambda: L1L2(0.01, 0.01)}
#: by the names in a config
KINDS = {("l1",): L1, ("l2",): L2, ("l1", "l2"): L1L2}


def get(regularizer: Any, owner: str = "regularizer") -> L1L2 | None:
    """A regularizer by its Keras name, or a number for L2, or its config, or itself; None is none.

    owner   whose it is, for the error's text
    """
    if regularizer is None or type(regularizer) in KINDS.values():
        return regularizer
    if isinstance(regularizer, str) and regularizer in REGULARIZERS:
        return REGULARIZERS[regularizer]()
    if isinstance(regularizer, dict) and (names := tuple(sorted(regularizer, key=str))) in KINDS:
        return KINDS[names](**regularizer)
    if isinstance(regularizer, (bool, np.bool_, str, dict)) or not np.isscalar(regularizer):
        known = ", ".join(REGULARIZERS)
        raise InputError(
            f"{owner}: expected a number for L2, one of {known}, or an L1, L2 or L1L2, "
            f"found {shown(regularizer)}"
        )
    return L2(check_number(owner, regularizer, least=0))


# ---- of a whole model ----------------------------------------------------------------------------


class Regularized(Protocol):
    """What is asked of a layer: `leaves` are the layers that it is made of, or itself."""

    kernel_regularizer: L1L2 | None
    trainable: bool
    params: dict[str, Array]
    grads: dict[str, Array]

    def leaves(self) -> "Iterator[Any]": ...


def _regularized(layers: Iterable[Regularized]) -> Iterator[tuple[L1L2, Array, Array]]:
    """Of the layers that learn: what stays as it is has no price, as in Keras."""
    for leaf in (leaf for layer in layers for leaf in layer.leaves()):
        if leaf.kernel_regularizer is not None and leaf.trainable:
            yield leaf.kernel_regularizer, leaf.params["W"], leaf.grads["W"]


def penalty(layers: Iterable[Regularized]) -> float:
    """The sum of all layers' penalties; 0 where none has a regularizer."""
    return sum((of.penalty(W) for of, W, _ in _regularized(layers)), 0.0)


def add_gradients(layers: Iterable[Regularized]) -> float:
    """Add the penalties' gradients to the layers'; returns the sum of the penalties."""
    return sum((of.add_gradient(W, dW) for of, W, dW in _regularized(layers)), 0.0)
