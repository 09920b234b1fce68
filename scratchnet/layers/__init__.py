"""The student's room: one kind of layer a file, each with its derivation, forward and backward.

Start with dense.py, then activations.py and pool.py; conv.py is dense.py on patches.
"""

from .activations import ReLU, Softmax, softmax
from .base import Layer
from .conv import Conv2D
from .dense import Dense
from .dropout import Dropout
from .normalization import BatchNorm
from .pool import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from .reshape import Flatten

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
    )
}

__all__ = [*LAYERS, "LAYERS", "Layer", "softmax"]
