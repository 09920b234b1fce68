"""What the commands share: the application, its common options, how models and data are found."""

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray
from typer.core import TyperGroup

from .. import architectures, datasets, metrics
from ..errors import InputError
from ..model import Sequential, load_model
from ..plots.suffixes import check_suffix

#: of the commands in the help: first what is done first
ORDER = [
    "train",
    "evaluate",
    "predict",
    "explain",
    "serve",
    "learn",
    "export",
    "summary",
    "gradcheck",
]


class InOrder(TyperGroup):
    """The commands in the order of work; those that are not in it come last."""

    def list_commands(self, ctx: Any) -> list[str]:
        names = super().list_commands(ctx)
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


def examples(*lines: str) -> str:
    """What a help ends with."""
    return "\n".join(["Examples:", *(f"scratchnet {line}" for line in lines)])


app = typer.Typer(
    cls=InOrder,
    help="A convolutional network written out by hand: train it, test it, show it your own digit.",
    epilog=examples(
        "train --out my-run", "evaluate my-run", "predict photo.jpg --model my-run", "serve my-run"
    ),
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def command(
    *lines: str, into: typer.Typer = app
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates the function of a command; its help is the docstring, and ends with those examples.

    into    the application that it is a command of

    A paragraph is one line there: Typer would keep the source's line breaks.
    """

    def added(function: Callable[..., None]) -> Callable[..., None]:
        paragraphs = (inspect.getdoc(function) or "").split("\n\n")
        text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
        short = text.partition("\n\n")[0]  # Typer's own would end in dots
        return into.command(help=text, short_help=short, epilog=examples(*lines))(function)

    return added


DATA = typer.Option(
    metavar="NAME|DIR|FILE.csv",
    help=f"One of {', '.join(datasets.NAMES)}; or a folder with four IDX files, or with one "
    "sub-folder of images for each class; or a CSV file, a label and the pixels in every line.",
    show_default="mnist",
)
DataOption = Annotated[str, DATA]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object last on stdout.")]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE|DIR",
        help="A model file, or the folder of a run.",
        show_default="the shipped weights",
    ),
]
ModelArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="[MODEL]",
        help="A model file, or the folder of a run.",
        show_default="the shipped weights",
    ),
]


@contextmanager
def wrong_usage(option: str = "") -> Iterator[None]:
    """What is refused inside is a mistake on the command line, which ends with 2 and not with 1."""
    try:
        yield
    except InputError as error:
        raise typer.BadParameter(f"{option}: {error}" if option else str(error)) from None


def check_picture(option: str, path: Path | None) -> None:
    """Refuse a picture's name whose ending no picture has, before any work is done."""
    if path is not None:
        with wrong_usage(option):
            check_suffix(path)


def load(path: Path | None) -> Sequential:
    """The model in that file or run's folder, or the one that ships with the package."""
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


def compile_first(net: Sequential, batch_size: int, labels: Any) -> None:
    """Compile for a training, on all cores, with a bar on a terminal; nothing if that is done."""
    from .. import first_start

    file = sys.stderr
    if file is None or not file.isatty():
        first_start.compile_for(net, batch_size, labels)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (
        TextColumn("compiling", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        Left(compact=True),
    )
    console = Console(file=file, markup=False, emoji=False)
    with Progress(
        *columns, TextColumn("left", markup=False), console=console, transient=True
    ) as bar:
        task = bar.add_task("", total=None)
        first_start.compile_for(
            net, batch_size, labels, lambda done, of: bar.update(task, completed=done - 1, total=of)
        )
