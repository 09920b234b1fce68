"""`scratchnet evaluate`: a model's accuracy, loss and confusions."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from .. import metrics, training
from .shared import DataOption, JsonOption, app, load, load_data, test


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
    _, (x_test, y_test) = load_data(data)
    probabilities, found = test(net, x_test, y_test)
    matrix = metrics.confusion_matrix(probabilities, y_test)
    if not json_:
        print(f"{len(x_test):,} images  {training.figures(found)}\n")
        _print_confusion(matrix)
        return
    print(json.dumps({**found, "images": len(x_test), "confusion_matrix": matrix.tolist()}))


def _print_confusion(matrix: NDArray[np.int64]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="rows: true class, columns: read as")
    table.add_column("")
    for k in range(len(matrix)):
        table.add_column(str(k), justify="right")
    for k, row in enumerate(matrix):
        cells = [str(count) if count else "." for count in row]
        cells[k] = f"[bold]{cells[k]}[/bold]"
        table.add_row(f"[bold]{k}[/bold]", *cells)
    Console().print(table)
