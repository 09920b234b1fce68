"""Figures that people read, beside the loss that the network learns from."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .losses import check_labels


def correct(y_pred: NDArray, y_true: NDArray) -> int:
    """How many rows of y_pred (n, k) have their largest value at the true class.

    y_true: labels (n,) or (n, 1), or one-hot rows (n, k).
    """
    y_true = np.asarray(y_true)
    one_hot = y_true.ndim == 2 and y_true.shape == y_pred.shape
    if one_hot and y_pred.shape[1] == 1:  # labels 0, or one-hot rows of the only class
        one_hot = bool(np.all((y_true == 0) | (y_true == 1)))
    labels = y_true.argmax(axis=1) if one_hot else check_labels(y_true, y_pred)
    return int((y_pred.argmax(axis=1) == labels).sum())


def confusion_matrix(y_pred: NDArray, y_true: NDArray) -> NDArray[np.int64]:
    """Counts (k, k) from predictions (n, k) and labels (n,): row true class, column predicted."""
    labels = check_labels(y_true, y_pred)
    k = y_pred.shape[1]
    cells = labels.astype(np.int64) * k + y_pred.argmax(axis=1)
    return np.bincount(cells, minlength=k * k).reshape(k, k)


def rms(*arrays: NDArray | None) -> float | None:
    """The root of the mean square over all entries of all arrays; None where there are none."""
    there = [a for a in arrays if a is not None]
    size = sum(a.size for a in there)
    squares = sum(float(np.square(a, dtype=np.float64).sum()) for a in there)
    return math.sqrt(squares / size) if size else None


def finite_or_none(value: Any) -> Any:
    """The value, with None for NaN and infinity, which JSON does not know; inside of it, too."""
    if isinstance(value, dict):
        return {key: finite_or_none(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite_or_none(entry) for entry in value]
    return None if isinstance(value, (float, np.floating)) and not math.isfinite(value) else value
