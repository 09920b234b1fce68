"""What the commands share: the application, its common options, how models and data are found."""

from pathlib import Path
from typing import Annotated

import typer
from numpy.typing import NDArray

from .. import architectures, datasets, metrics
from ..errors import InputError
from ..model import Sequential, load_model

app = typer.Typer(
    help="A convolutional network written out by hand: train it, test it, show it your own digit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DATA = typer.Option(
    metavar="NAME|DIR|FILE.csv",
    help=f"One of {', '.join(datasets.NAMES)}; or a folder with four IDX files, or with one "
    "sub-folder of images for each class; or a CSV file, a label and the pixels in every line.",
)
DataOption = Annotated[str, DATA]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object last on stdout.")]


def load(path: Path | None) -> Sequential:
    """The model in that file, or the one that ships with the package."""
    return load_model(path) if path else architectures.pretrained()


def load_reader(path: Path | None) -> Sequential:
    """The same, if it takes images as `pictures.prepare` makes them and answers with classes."""
    net = load(path)
    if net.input_shape != (28, 28, 1) or len(net.output_shape or ()) != 1:
        raise InputError(
            f"{path}: expected a classifier of 28 x 28 x 1 images, "
            f"found input {net.input_shape} and output {net.output_shape}"
        )
    return net


def test(net: Sequential, x: NDArray, y: NDArray) -> tuple[NDArray, dict[str, float]]:
    """Probabilities for x, and accuracy and cross-entropy against y."""
    from ..losses import SparseCategoricalCrossentropy

    probabilities = net.predict(x, batch_size=256)
    return probabilities, {
        "accuracy": metrics.correct(probabilities, y) / len(y),
        "loss": SparseCategoricalCrossentropy().forward(probabilities, y),
    }
