"""Networks by name: each a function that returns its layers, to be read as a recipe.

`build("cnn")` makes a Sequential of them. A layer list is made anew at every call, because a layer
belongs to one model.
"""

from collections.abc import Callable
from importlib.resources import files

import numpy as np
from numpy.typing import DTypeLike

from .errors import InputError
from .layers import (
    BatchNorm,
    ConnectedConv2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Reshape,
    Residual,
    ScaledTanh,
    Softmax,
    Subsampling2D,
    ZeroPadding2D,
)
from .model import Sequential, Shape, load_model
from .ranges import Range


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


#: which maps of S2 each map of C3 sees (LeCun et al. 1998, table I)
TABLE_I = [
    *([first, (first + 1) % 6, (first + 2) % 6] for first in range(6)),
    *([first, (first + 1) % 6, (first + 2) % 6, (first + 3) % 6] for first in range(6)),
    *([0, 1, 3, 4], [1, 2, 4, 5], [0, 2, 3, 5]),
    [0, 1, 2, 3, 4, 5],
]


def lenet5_1998(classes: int) -> list[Layer]:
    """LeNet-5 as it was (LeCun et al. 1998, section II.B), 60,000 parameters before the output.

    Digits in the middle of 32x32 pixels, subsampling that learns, the connections of table I,
    and A tanh(S x) after every layer. Not as it was: the output layer, there Euclidean distances to
    drawings of the classes, is a Dense with Softmax; pixels go from 0 to 1, not from -0.1 to 1.175;
    initial weights are Glorot's.
    """
    return [
        ZeroPadding2D(2),
        Conv2D(6, 5),  # C1
        ScaledTanh(),
        Subsampling2D(2),  # S2
        ScaledTanh(),
        ConnectedConv2D(TABLE_I, 5),  # C3
        ScaledTanh(),
        Subsampling2D(2),  # S4
        ScaledTanh(),
        Conv2D(120, 5),  # C5
        ScaledTanh(),
        Flatten(),
        Dense(84),  # F6
        ScaledTanh(),
        Dense(classes),
        Softmax(),
    ]


def _conv_norm(
    filters: int, size: int | tuple[int, int], strides: int = 1, padding: str = "valid"
) -> list[Layer]:
    """A convolution and its BatchNorm, whose beta takes the place of the bias.

    He's initial weights (He et al. 2015) keep the variance through a ReLU. The running statistics
    follow within some ten steps, so that a short training can be evaluated, too.
    """
    conv = Conv2D(filters, size, strides, padding, use_bias=False, kernel_initializer="he_normal")
    return [conv, BatchNorm(momentum=0.9)]


def cnn_bn(classes: int) -> list[Layer]:
    """Five convolutions with BatchNorm, then the mean of each channel: for the best accuracy.

    Without padding, so that the last images are 2x2, as small as they can be; the means over them
    and dropout leave a small classifier (An et al. 2020, section 3, build theirs alike).
    """
    return [
        *_conv_norm(32, 3),
        ReLU(),
        *_conv_norm(48, 3),
        ReLU(),
        MaxPool2D(2),
        *_conv_norm(96, 3),
        ReLU(),
        *_conv_norm(96, 3),
        ReLU(),
        MaxPool2D(2),
        *_conv_norm(192, 3),
        ReLU(),
        GlobalAveragePool2D(),
        Dropout(0.2),
        Dense(classes),
        Softmax(),
    ]


def _residual_block(filters: int, strides: int = 1) -> list[Layer]:
    """Two convolutions beside a shortcut, and the ReLU after the sum (He et al. 2016, fig. 2)."""
    main = [*_conv_norm(filters, 3, strides, "same"), ReLU(), *_conv_norm(filters, 3, 1, "same")]
    shortcut = _conv_norm(filters, 1, strides) if strides > 1 else []
    return [Residual(main, shortcut), ReLU()]


def resnet(classes: int) -> list[Layer]:
    """A residual network of three blocks, each half as high and twice as deep as the one before.

    He et al. 2016, section 4.2, with n = 1: the smallest of their networks for small images. Theirs
    fills up the shortcut with zeros where the shape changes; here it is a 1x1 convolution.
    """
    return [
        *_conv_norm(16, 3, 1, "same"),
        ReLU(),
        *_residual_block(16),
        *_residual_block(32, strides=2),
        *_residual_block(64, strides=2),
        GlobalAveragePool2D(),
        Dense(classes),
        Softmax(),
    ]


def _seen(filters: int, size: int | tuple[int, int]) -> list[Layer]:
    """A convolution that keeps the image's size, BatchNorm and ReLU."""
    return [*_conv_norm(filters, size, 1, "same"), ReLU()]


def line_reader(classes: int) -> list[Layer]:
    """A reader of whole lines, 32 pixels high and of any width: for CTC, see losses.CTC.

    Pooling makes the line 1 pixel high and half as wide: a frame for every two pixels, with what is
    within 20 pixels to its left and right in it. All of it is convolution, so the same weights read
    any width: `Sequential(model.layers, (32, width, 1))`. Such a network that slides over a number
    was LeCun et al.'s space-displacement network (1998, section VII).
    """
    return [
        *_seen(16, 3),
        MaxPool2D(2),
        *_seen(48, 3),
        MaxPool2D((2, 1)),
        *_seen(96, 3),
        MaxPool2D((2, 1)),
        *_seen(128, 3),
        MaxPool2D((4, 1)),
        *_seen(128, (1, 7)),
        Conv2D(classes, (1, 5), padding="same"),
        Reshape((-1, classes)),  # (1, frames, classes) -> (frames, classes)
        Softmax(),
    ]


ARCHITECTURES: dict[str, Callable[[int], list[Layer]]] = {
    "cnn": cnn,
    "cnn-small": cnn_small,
    "cnn-dropout": cnn_dropout,
    "mlp": mlp,
    "lenet5": lenet5,
    "lenet5-1998": lenet5_1998,
    "cnn-bn": cnn_bn,
    "resnet": resnet,
}


def check_name(name: str) -> None:
    """Raise unless there is an architecture of that name."""
    if name not in ARCHITECTURES:
        raise InputError(
            f"architecture: expected one of {', '.join(ARCHITECTURES)}, found {name!r}"
        )


def build(
    name: str,
    input_shape: Shape = (28, 28, 1),
    classes: int = 10,
    seed: int | np.random.Generator | None = 0,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """The architecture of that name, with fresh weights."""
    check_name(name)
    return Sequential(ARCHITECTURES[name](classes), input_shape, seed, dtype)


def pretrained() -> Sequential:
    """The `cnn` trained on MNIST whose weights ship with the package."""
    return _shipped("mnist-cnn")


def judge() -> Sequential:
    """The network that says whether an image in MNIST's form is one digit at all.

    A `cnn` of twelve classes, whose weights ship, too: the ten digits, then "no digit" and
    "several digits". It reads less well than `pretrained`, and is there for its last two.
    """
    return _shipped("mnist-judge")


def _shipped(name: str) -> Sequential:
    model = load_model(str(files(__package__) / "weights" / f"{name}.safetensors"))
    model.trained_on = Range("uint8", 0.0, 1.0)
    return model


def pretrained_line_reader() -> Sequential:
    """The `line_reader` whose weights ship with the package: digits, comma, hyphen and plus.

    Its last class is CTC's blank. It is built for lines of 32 x 128 pixels; for other widths:
    `Sequential(reader.layers, (32, width, 1))`, with the width a multiple of 2.
    """
    model = load_model(str(files(__package__) / "weights" / "line-reader.safetensors"))
    model.trained_on = Range("uint8", 0.0, 1.0)
    return model
