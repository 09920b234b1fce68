"""`scratchnet evaluate`: a model's accuracy, loss and confusions."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from .. import datasets, metrics, training
from ..errors import InputError, printable
from .shared import DataOption, JsonOption, app, load, test

MOST_IN_TABLE = 20  # classes; more do not fit on a screen


@app.command()
def evaluate(
    model: Annotated[
        Path | None, typer.Argument(help="A model file.", show_default="the shipped weights")
    ] = None,
    data: DataOption = "mnist",
    json_: JsonOption = False,
) -> None:
    """Test a model: accuracy, loss, and which digits it takes for which."""
    net = load(model)
    dataset = datasets.load(data)
    x_test, y_test = dataset.x_test, dataset.y_test
    probabilities, found = test(net, x_test, y_test)
    if dataset.class_names != net.class_names[: len(dataset.class_names)]:
        raise InputError(
            f"{data}: expected the model's classes {_some(net.class_names)}, "
            f"found {_some(dataset.class_names)}"
        )
    matrix = metrics.confusion_matrix(probabilities, y_test)
    if not json_:
        print(f"{len(x_test):,} images  {training.figures(found)}\n")
        if len(matrix) <= MOST_IN_TABLE:
            _print_confusion(matrix, net.class_names)
        else:
            _print_mistakes(matrix, net.class_names)
        return
    result = {
        **found,
        "images": len(x_test),
        "confusion_matrix": matrix.tolist(),
        "class_names": net.class_names,
    }
    print(json.dumps(metrics.finite_or_none(result)))


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(printable, names[:12])) + (", ..." if len(names) > 12 else "")


def _print_confusion(matrix: NDArray[np.int64], names: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # names are printed as they are: "[bold]" and ":cat:" as well

    table = Table(title="rows: true class, columns: read as")
    table.add_column("", no_wrap=True)
    wide = len(str(matrix.max()))
    for name in names:  # a long name is folded, a count never
        table.add_column(Text(printable(name)), justify="right", overflow="fold", min_width=wide)
    for k, row in enumerate(matrix):
        cells = [Text(str(count) if count else ".") for count in row]
        cells[k].stylize("bold")
        table.add_row(Text(printable(names[k]), "bold"), *cells)
    Console().print(table)


def _print_mistakes(matrix: NDArray[np.int64], names: Sequence[str]) -> None:
    mistakes = matrix * ~np.eye(len(matrix), dtype=bool)
    for cell in np.argsort(-mistakes, axis=None, kind="stable")[:MOST_IN_TABLE]:
        true, read_as = divmod(int(cell), len(matrix))
        if mistakes[true, read_as]:
            classes = f"{printable(names[true])} read as {printable(names[read_as])}"
            print(f"{mistakes[true, read_as]:6,}  {classes}")
