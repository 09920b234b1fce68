"""Arrays and tables as plain text: shapes, indices, aligned columns; tables for any terminal."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TextIO

from . import showing

if TYPE_CHECKING:
    from rich.table import Table as Grid

#: a terminal narrower than this is taken for one of this width
NARROWEST = 20


def shape_text(shape: Sequence[int]) -> str:
    """28 x 28 x 1"""
    return " x ".join(map(str, shape))


def index_text(index: Sequence[int]) -> str:
    """[2, 0, 5]"""
    return f"[{', '.join(map(str, index))}]"


def columns(rows: Sequence[tuple[str, ...]], left: int = 1) -> list[str]:
    """Rows of text as lines with aligned columns, the first `left` of them to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = (
        [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    )
    return ["  ".join(row).rstrip() for row in aligned]


def room() -> int | None:
    """Columns of $COLUMNS or of the terminal; None where there is neither: a file takes any."""
    asked = os.environ.get("COLUMNS", "")
    if asked.isascii() and asked.isdigit() and int(asked):
        return max(int(asked), NARROWEST)
    try:
        return max(os.get_terminal_size(sys.stdout.fileno()).columns, NARROWEST)
    except (AttributeError, OSError, ValueError):  # no output, a closed one, or no terminal
        return None


def fits(lines: Iterable[str], width: int | None) -> bool:
    """Whether all lines fit into so many columns; a letter may take two."""
    from rich.cells import cell_len

    return width is None or all(cell_len(line) <= width for line in lines)


def listed(first: str, items: Iterable[str], width: int | None, indent: str = "  ") -> list[str]:
    """The first on a line of its own, below it the items, as many on a line as there is room for.

    An item is broken only where it is wider than the whole line.
    """
    from rich.cells import cell_len, chop_cells

    if width is None:
        return [first, *(indent + item for item in ["   ".join(items)] if item)]
    lines = [""]
    for word in first.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if cell_len(longer) > width:
            longer = word
            lines += [""] if lines[-1] else []
        lines[-1:] = chop_cells(longer, width) or [""]
    inside, line = max(width - len(indent), 1), ""
    for item in items:
        longer = f"{line}   {item}" if line else item
        if line and cell_len(longer) > inside:
            lines.append(indent + line)
            longer = item
        *full, line = chop_cells(longer, inside) or [""]
        lines += [indent + part for part in full]
    return [*lines, indent + line] if line else lines


@dataclass(frozen=True, repr=False)
class Table:
    """A table of plain text that loses nothing, however narrow the terminal is.

    title   over it; heads: the columns' names, "" for one that needs none
    rows    a row may end early
    left    so many columns are aligned to the left, the rest to the right
    foot    the last row, below a line; or none
    note    what stands below it

    Wherever a line would not fit it is a list: a row's first cell on a line, with the cells that
    have no head, and below it "head: value" for every other cell that is not empty. Nothing in it
    is taken for a style: not the "[bench]" in a message, not the "[/b]" in a file's name.
    """

    title: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    foot: Sequence[str] = ()
    note: str = ""

    def __repr__(self) -> str:
        title = f"{self.title!r}, " if self.title else ""
        return f"Table({title}{len(self.heads)} columns, {len(self.rows)} rows)"

    def _repr_html_(self) -> str:
        return showing.table(
            self.heads, self.rows, self.title, self.left, foot=self.foot, note=self.note
        )

    def show(self, file: TextIO | None = None, width: int | None = None) -> None:
        """Print it; width: columns to keep within, None for any."""
        from rich.console import Console

        grid = self.grid(width)
        if grid is None:
            print(*self.lines(width), sep="\n", file=file)
        else:
            # rich would ask the terminal; and one column more than it needs does no harm
            Console(file=file, width=10_000, markup=False, emoji=False).print(grid)
            if self.note:
                print(*listed(self.note, [], width), sep="\n", file=file)

    def text(self, width: int | None = None) -> str:
        """What `show` prints, without styles."""
        from io import StringIO

        into = StringIO()
        self.show(into, width)
        return into.getvalue()

    def grid(self, width: int | None = None) -> "Grid | None":
        """The table with its lines, for rich; None where it is wider than that."""
        from rich.console import Console
        from rich.measure import Measurement
        from rich.table import Table as Grid
        from rich.text import Text

        grid = Grid(title=Text(self.title), title_justify="left", show_footer=bool(self.foot))
        foot = [*self.foot, *[""] * (len(self.heads) - len(self.foot))]
        for number, (head, last) in enumerate(zip(self.heads, foot, strict=True)):
            side: Literal["left", "right"] = "left" if number < self.left else "right"
            grid.add_column(Text(head), Text(last), justify=side, no_wrap=True)
        for row in self.rows:
            grid.add_row(*map(Text, row))
        console = Console(width=10_000, markup=False, emoji=False)
        needed = Measurement.get(console, console.options, grid).maximum
        return grid if width is None or needed <= width else None

    def aligned(self, width: int | None = None) -> list[str]:
        """Columns without lines between them; the list where they are wider than that."""
        found = columns([tuple(self.heads), *map(tuple, self.rows)], self.left)
        return found if fits(found, width) else self.lines(width)

    def lines(self, width: int | None = None) -> list[str]:
        """The list."""
        found = listed(self.title, [], width) if self.title else []
        for row in [*self.rows, *([self.foot] if self.foot else [])]:
            cells = list(zip(self.heads, row, strict=False))
            first = [value for head, value in cells[1:] if value and not head]
            items = [f"{head}: {value}" for head, value in cells[1:] if value and head]
            found += listed("  ".join([row[0], *first]), items, width)
        return found + (listed(self.note, [], width) if self.note else [])
