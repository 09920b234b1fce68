"""Small questions about arrays: are they the same, is one a multiple of the other, where are they
most apart?"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..text import index_text

Array = NDArray[np.floating]

#: two arrays are the same if they differ by no more than this part of the larger's largest entry
SAME = 1e-6
#: what is off by less than that may be told apart from rounding where both are float64
EXACT = 1e-9


def size(a: Any) -> float:
    """The largest finite entry's absolute value, 0 where there is none."""
    a = np.asarray(a, dtype=np.float64)
    finite = np.abs(a[np.isfinite(a)])
    return float(finite.max(initial=0))


def distance(a: Any, b: Any) -> float:
    """The largest difference as a part of the largest entry; infinity for different shapes."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        return math.inf
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.asarray(np.abs(a - b))
    apart[a == b] = 0  # infinities, too
    apart[np.isnan(a) & np.isnan(b)] = 0
    most = float(apart.max(initial=0))
    return 0.0 if most == 0 else most / max(size(a), size(b), 1e-12)


def same(a: Any, b: Any, tolerance: float = SAME) -> bool:
    return distance(a, b) <= tolerance


def factor(a: Array, b: Array, tolerance: float = SAME) -> float | None:
    """The number c for which a = c b, or None; None too where b is 0 everywhere."""
    if a.shape != b.shape or not size(b) or not np.isfinite(a).all():
        return None
    at = np.unravel_index(np.abs(b).argmax(), b.shape)
    c = float(a[at] / b[at])
    return c if c and same(a, c * b, tolerance) else None


def worst(name: str, a: Any, b: Any) -> str:
    """ "x[0, 3]": where the two differ most, in words for a reader."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape or not a.size:
        return name
    with np.errstate(invalid="ignore"):
        apart = np.asarray(np.abs(a - b))
    apart[np.isnan(apart)] = np.inf
    index = tuple(int(i) for i in np.unravel_index(apart.argmax(), a.shape))
    return f"{name}{index_text(index)}" if index else name


def beside(name: str, a: Any, b: Any) -> str:
    """ "dx[0, 3] is -0.2, expected 0.4": the worst entry of a, with b for what is right."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.shape != b.shape:
        return f"{name} has the shape {a.shape}, expected {b.shape}"
    with np.errstate(invalid="ignore"):
        apart = np.asarray(np.abs(a - b))
    apart[np.isnan(apart)] = np.inf
    index = np.unravel_index(apart.argmax(), a.shape) if a.size else ()
    return f"{worst(name, a, b)} is {a[index]:.6g}, expected {b[index]:.6g}"


def number(c: float) -> str:
    """3 as 3, 0.333... as 1/3, other numbers with five digits."""
    if math.isclose(c, round(c), rel_tol=1e-9):
        return str(round(c))
    for top in (1, 2):
        below = round(top / c) if c else 0
        if 1 < abs(below) <= 10_000 and math.isclose(c, top / below, rel_tol=1e-6):
            return f"{'-' if below < 0 else ''}{top}/{abs(below)}"
    return f"{c:.5g}"


def any_nan(a: Any) -> bool:
    return not bool(np.isfinite(np.asarray(a, dtype=np.float64)).all())
