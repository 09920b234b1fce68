"""Activations by their names: what `activation="relu"` of a Conv2D or Dense stands for.

An activation is a layer of its own, always. The argument is only a short way to write it: the row
that the layer joins, of a Sequential or of a Residual, takes the name and appends the layer. From
then on it is to be seen there like any other, and the layer with the argument knows no more of it.
"""

from collections.abc import Callable
from typing import Any

from ..errors import InputError, shown
from .activations import ELU, LeakyReLU, LogSoftmax, ReLU, Softmax
from .base import Layer
from .smooth import GELU, Sigmoid, SiLU, Softplus, Tanh

#: Keras's names; "linear" is none at all
ACTIVATIONS: dict[str, Callable[[], Layer]] = {
    "relu": ReLU,
    "leaky_relu": lambda: LeakyReLU(0.2),  # as in Keras, whose layer of that name has 0.3
    "elu": ELU,
    "gelu": GELU,
    "silu": SiLU,
    "swish": SiLU,
    "softplus": Softplus,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "softmax": Softmax,
    "log_softmax": LogSoftmax,
}
#: the layers themselves
CLASSES = tuple({type(make()) for make in ACTIVATIONS.values()})


def checked_activation(owner: str, name: Any) -> str | None:
    """The name if it is a known one, None for "linear" and None; or an error that lists them."""
    if name is None or (isinstance(name, str) and name == "linear"):
        return None
    if not isinstance(name, str) or name not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise InputError(
            f"{owner} activation: expected one of {known}, linear or None, found {shown(name)}"
        )
    return name
