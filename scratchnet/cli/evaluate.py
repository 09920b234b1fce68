"""`scratchnet evaluate`: a model's accuracy, loss and confusions."""

import json
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import datasets, metrics, training
from ..errors import InputError, printable
from ..text import listed, room
from .shared import DataOption, JsonOption, ModelArgument, command, load, test

MOST_IN_TABLE = 20  # classes; more do not fit on a screen
LEAST = 4  # letters of a class's name on a line


@command("evaluate", "evaluate my-run", "evaluate my-run --data my-images --json")
def evaluate(
    model: ModelArgument = None,
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
        if len(matrix) > MOST_IN_TABLE:
            _print_mistakes(matrix, net.class_names)
        _print_confusion(matrix, net.class_names, room())
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


def _print_confusion(
    matrix: NDArray[np.int64], names: Sequence[str], width: int | None = None
) -> None:
    """All counts: as a table where there is room for one, else as a list."""
    names = [printable(name) for name in names]
    widths = _column_widths(matrix, names, width)
    if widths is None or len(matrix) > MOST_IN_TABLE:
        _list_confusion(matrix, names, width)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # names are printed as they are: "[bold]" and ":cat:" as well

    table = Table(title="rows: true class, columns: read as")
    for name, wide in zip(["", *names], widths, strict=True):  # a long name is folded, never cut
        side: Literal["left", "right"] = "right" if table.columns else "left"
        table.add_column(Text(name), justify=side, overflow="fold", width=wide)
    for k, row in enumerate(matrix):
        cells = [Text(str(count) if count else ".") for count in row]
        cells[k].stylize("bold")
        table.add_row(Text(names[k], "bold"), *cells)
    all_ = sum(widths) + 3 * len(widths) + 1
    Console(width=all_, markup=False, emoji=False).print(table)


def _column_widths(
    matrix: NDArray[np.int64], names: Sequence[str], width: int | None
) -> list[int] | None:
    """Of the names and of each class's counts, with the names as little folded as can be.

    None where that leaves a name fewer than LEAST letters of a line, or a count too few.
    """
    from rich.cells import cell_len

    counts, own = len(str(matrix.max())), [cell_len(name) for name in names]
    longest = max(own)
    for most in range(longest, min(longest, LEAST) - 1, -1):
        widths = [min(longest, 3 * most), *(max(counts, min(wide, most)) for wide in own)]
        if width is None or sum(widths) + 3 * len(widths) + 1 <= width:
            return widths
    return None


def _list_confusion(
    matrix: NDArray[np.int64], names: Sequence[str], width: int | None = None
) -> None:
    """A class a paragraph, with what else it is read as, the most frequent first."""
    print(*listed("each true class, and what else it was read as", [], width), sep="\n")
    for k, row in enumerate(matrix):
        others = [j for j in np.argsort(-row, kind="stable") if row[j] and j != k]
        items = [f"{row[j]:,} as {names[j]}" for j in others]
        right = f"{names[k]}: {row[k]:,} of {row.sum():,} right"
        print(*listed(right, items, width), sep="\n")


def _print_mistakes(matrix: NDArray[np.int64], names: Sequence[str]) -> None:
    """The most frequent ones; all stand in the list below them."""
    mistakes = matrix * ~np.eye(len(matrix), dtype=bool)
    for cell in np.argsort(-mistakes, axis=None, kind="stable")[:MOST_IN_TABLE]:
        true, read_as = divmod(int(cell), len(matrix))
        if mistakes[true, read_as]:
            classes = f"{printable(names[true])} read as {printable(names[read_as])}"
            print(f"{mistakes[true, read_as]:6,}  {classes}")
    print()
