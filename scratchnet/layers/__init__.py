"""The student's room: one kind of layer a file, each with its derivation, forward and backward.

Start with dense.py, then activations.py and pool.py; conv.py is dense.py on patches.
"""

from typing import Any

from ..errors import InputError
from .activations import ReLU, Softmax, softmax
from .base import Layer
from .conv import Conv2D
from .dense import Dense
from .dropout import Dropout
from .normalization import BatchNorm
from .pool import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from .reshape import Flatten
from .residual import Residual

#: the layers that a saved model may name
LAYERS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        Conv2D,
        MaxPool2D,
        AveragePool2D,
        GlobalAveragePool2D,
        Dense,
        Flatten,
        ReLU,
        Softmax,
        Dropout,
        BatchNorm,
        Residual,
    )
}


def described(layer: Layer) -> dict[str, Any]:
    """Kind, name and constructor's arguments, in values that JSON knows."""
    kind = type(layer).__name__
    if LAYERS.get(kind) is not type(layer):
        raise InputError(f"save: expected one of {', '.join(LAYERS)}, found {kind}")
    return {"kind": kind, "name": layer.name, "config": layer.config()}


def from_description(entry: dict[str, Any]) -> Layer:
    """The layer, not built yet, that `described` wrote down."""
    if entry["kind"] not in LAYERS:
        raise InputError(f"expected one of {', '.join(LAYERS)}, found layer {entry['kind']!r}")
    layer = LAYERS[entry["kind"]].from_config(entry["config"])
    layer.name = str(entry["name"])
    return layer


__all__ = [*LAYERS, "LAYERS", "Layer", "described", "from_description", "softmax"]
