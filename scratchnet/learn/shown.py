"""Arrays in a few words, for what is said to a learner."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..text import index_text

#: an array of more values is not printed whole
MOST_VALUES = 24


def number(value: Any) -> str:
    """0.25, -1.5e-09, nan"""
    return f"{float(value):.6g}"


def kind(value: Any) -> str:
    """What a value is: "an array of shape (3, 2)", "None", "a list"."""
    if value is None:
        return "None"
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape}"
    if isinstance(value, (bool, int, float, np.number)):
        return f"the number {value}"
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def array_lines(label: str, values: Any) -> list[str]:
    """The label, and beside it the values, aligned, or only their shape where they are many."""
    a = np.asarray(values)
    if a.size > MOST_VALUES:
        return [f"{label}  {kind(a)}"]
    text = np.array2string(a, precision=4, suppress_small=True, max_line_width=64, separator=", ")
    first, *rest = text.splitlines()
    return [f"{label}  {first}", *(" " * (len(label) + 2) + line for line in rest if line.strip())]


def compared(found: NDArray, expected: NDArray) -> list[str]:
    """Both arrays, or the place where they differ most."""
    error = np.where(np.isfinite(found), np.abs(found - expected), np.inf)
    if expected.size <= MOST_VALUES:
        lines = [*array_lines("expected", expected), *array_lines("found   ", found)]
        close = float(error.max(initial=0)) < 1e-3 * float(np.abs(expected).max(initial=0))
        return [*lines, f"the largest difference is {number(error.max())}"] if close else lines
    at = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
    wrong = int((error > 1e-9 * max(1.0, float(np.abs(expected).max()))).sum())
    return [
        f"{wrong:,} of {expected.size:,} values differ, most at {index_text(at)}:",
        f"expected {number(expected[at])}, found {number(found[at])}",
    ]
