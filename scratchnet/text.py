"""Arrays and tables as plain text: shapes, indices, aligned columns."""

from collections.abc import Sequence


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
