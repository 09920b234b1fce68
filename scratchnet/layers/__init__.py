"""The student's room: one kind of layer a file, each with its derivation, forward and backward.

Start with dense.py, then activations.py and pool.py; conv.py is dense.py on patches. The loops that
they share are in functions.py. registry.py says what a new kind of layer has to tell.
"""

from .activations import ReLU, Softmax, softmax
from .base import Layer
from .conv import Conv2D
from .dense import Dense
from .dropout import Dropout
from .normalization import BatchNorm
from .pool import AveragePool2D, GlobalAveragePool2D, MaxPool2D
from .registry import LAYERS, described, from_description, kind_of, register
from .reshape import Flatten
from .residual import Residual

__all__ = [
    "LAYERS",
    "AveragePool2D",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "GlobalAveragePool2D",
    "Layer",
    "MaxPool2D",
    "ReLU",
    "Residual",
    "Softmax",
    "described",
    "from_description",
    "kind_of",
    "register",
    "softmax",
]
