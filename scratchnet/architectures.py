"""Networks by name: each a function that returns its layers, to be read as a recipe.

`build("cnn")` makes a Sequential of them. A layer list is made anew at every call, because a layer
belongs to one model.
"""

from collections.abc import Callable
from importlib.resources import files

import numpy as np
from numpy.typing import DTypeLike

from .errors import InputError
from .layers import Conv2D, Dense, Dropout, Flatten, Layer, MaxPool2D, ReLU, Softmax
from .model import Sequential, Shape, load_model


def cnn(classes: int) -> list[Layer]:
    """The tutorials' CNN: two blocks of convolution, ReLU and pooling, then a small classifier."""
    return [
        Conv2D(32, 3),
        ReLU(),
        MaxPool2D(2),
        Conv2D(64, 3),
        ReLU(),
        MaxPool2D(2),
        Flatten(),
        Dense(64),
        ReLU(),
        Dense(classes),
        Softmax(),
    ]


def cnn_small(classes: int) -> list[Layer]:
    """One convolution block."""
    return [
        Conv2D(32, 3),
        ReLU(),
        MaxPool2D(2),
        Flatten(),
        Dense(64),
        ReLU(),
        Dense(classes),
        Softmax(),
    ]


def cnn_dropout(classes: int) -> list[Layer]:
    """Two blocks, then dropout and a single Dense: the Keras project's own MNIST example."""
    return [
        Conv2D(32, 3),
        ReLU(),
        MaxPool2D(2),
        Conv2D(64, 3),
        ReLU(),
        MaxPool2D(2),
        Flatten(),
        Dropout(0.5),
        Dense(classes),
        Softmax(),
    ]


def mlp(classes: int) -> list[Layer]:
    """No convolution: one hidden layer as wide as the image has pixels (784 for MNIST)."""
    return [Flatten(), Dense(784), ReLU(), Dense(classes), Softmax()]


def lenet5(classes: int) -> list[Layer]:
    """LeNet-5's sizes (LeCun et al. 1998, section II.B) with today's ReLU and max pooling."""
    return [
        Conv2D(6, 5, padding=2),
        ReLU(),
        MaxPool2D(2),
        Conv2D(16, 5),
        ReLU(),
        MaxPool2D(2),
        Flatten(),
        Dense(120),
        ReLU(),
        Dense(84),
        ReLU(),
        Dense(classes),
        Softmax(),
    ]


ARCHITECTURES: dict[str, Callable[[int], list[Layer]]] = {
    "cnn": cnn,
    "cnn-small": cnn_small,
    "cnn-dropout": cnn_dropout,
    "mlp": mlp,
    "lenet5": lenet5,
}


def build(
    name: str,
    input_shape: Shape = (28, 28, 1),
    classes: int = 10,
    seed: int | np.random.Generator | None = 0,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """The architecture of that name, with fresh weights."""
    if name not in ARCHITECTURES:
        raise InputError(
            f"architecture: expected one of {', '.join(ARCHITECTURES)}, found {name!r}"
        )
    return Sequential(ARCHITECTURES[name](classes), input_shape, seed, dtype)


def pretrained() -> Sequential:
    """The `cnn` trained on MNIST whose weights ship with the package."""
    return load_model(str(files(__package__) / "weights" / "mnist-cnn.safetensors"))
