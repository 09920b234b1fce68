"""The one exception for a user's mistake, so that a caller can tell it from a defect of ours.

And the one warning, for what may be one.
"""

import math
from typing import Any

import numpy as np


class InputError(ValueError):
    """Something handed in is wrong: a file, a shape, a number. Its text is one line.

    The text names what was expected and what was found. The command `scratchnet` prints it as it
    is and exits with 1; every other exception is a bug and keeps its traceback.
    """

    def __init__(self, message: str) -> None:
        # names of files and layers come from outside and may hold anything, line breaks too
        super().__init__(printable(message))


class InputWarning(UserWarning):
    """Something handed in can be computed with, and is yet most likely not what is meant.

    Its text is one line and names the remedy. `warnings.simplefilter("error", sn.InputWarning)`
    makes it an error; "ignore" silences it.
    """


class WriteError(InputError):
    """A file cannot be written: its folder has gone, the disk is full, there is no permission."""


def printable(text: str) -> str:
    """The text without what a terminal would obey, such as line breaks and escapes."""
    return "".join(c if c.isprintable() else "?" for c in text)


def check_number(
    name: str,
    value: Any,
    least: float = -math.inf,
    above: float = -math.inf,
    below: float = math.inf,
    most: float = math.inf,
) -> float:
    """value as a float if it is a finite number within the bounds, or raise."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if isinstance(value, str) or not (least <= number <= most and above < number < below):
        wanted = [f"at least {least:g}"] if least > -math.inf else []
        wanted += [f"above {above:g}"] if above > -math.inf else []
        wanted += [f"below {below:g}"] if below < math.inf else []
        wanted += [f"at most {most:g}"] if most < math.inf else []
        bounds = " and ".join(wanted) or "that is finite"
        raise InputError(f"{name}: expected a number {bounds}, found {shown(value)}")
    return number


def shown(value: object, most: int = 100) -> str:
    """The value as an error message shows it: a long one is cut."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits, lists in lists
        text = f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[:most]}..."


def check_flag(name: str, value: Any) -> bool:
    """value as a bool if it is one (Python's or NumPy's), or raise."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name}: expected True or False, found {shown(value)}")
    return bool(value)


def is_whole(value: object, least: int | None = None) -> bool:
    """Whether `value` is an integer (Python's or NumPy's, not a bool), and at least `least`."""
    whole = hasattr(value, "__index__") and not isinstance(value, bool)
    return whole and (least is None or value >= least)  # type: ignore[operator]
