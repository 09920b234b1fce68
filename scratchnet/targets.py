"""What predictions are compared with: labels, targets and the weights of examples, checked.

A mistake here does not stop a training, it spoils it: labels that count from 1, one-hot rows where
numbers are meant. So each of them is an error of one line that says what to do instead.
"""

from collections.abc import Mapping
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, check_number, is_whole, shown

Array = NDArray[np.floating]
Shape = tuple[int, ...]


def check_labels(y_true: NDArray, y_pred: Array) -> NDArray[np.integer]:
    """Labels as (n,) integers, or an error that names what is wrong with them."""
    return labels_for(y_true, y_pred.shape)


def labels_for(y_true: NDArray, shape: Shape) -> NDArray[np.integer]:
    """Labels (n,) or (n, 1), as (n,) integers, for predictions of a shape (n, k); or an error."""
    labels = np.asarray(y_true)
    if labels.shape == (shape[0], 1):
        labels = labels[:, 0]
    if len(shape) != 2 or labels.shape != shape[:1]:
        one_hot = labels.shape == shape and len(shape) == 2
        hint = "; one-hot labels go with categorical_crossentropy, or in as y.argmax(axis=1)"
        raise InputError(
            f"labels: expected shape ({shape[0]},) beside predictions (n, k), "
            f"found {labels.shape} beside {shape}{hint if one_hot else ''}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        if labels.dtype.kind not in "fb":
            raise InputError(f"labels: expected whole numbers, found dtype {labels.dtype}")
        if not np.all(np.isfinite(labels) & (labels == np.floor(labels))):
            raise InputError("labels: expected whole numbers, found fractions or infinities")
        labels = labels.astype(np.int64)
    k = shape[1]
    if labels.size and not 0 <= labels.min() <= labels.max() < k:
        wrong = labels.max() if labels.max() >= k else labels.min()
        raise InputError(
            f"labels: expected whole numbers from 0 to {k - 1}, found {wrong}"
            f"{_hint_on_range(labels, k)}"
        )
    return labels


def _hint_on_range(labels: NDArray[np.integer], k: int) -> str:
    if k == 1:
        return (
            "; one output is one class: for labels 0 and 1 it takes Sigmoid() and "
            "binary_crossentropy, or two outputs"
        )
    if labels.min() >= 1 and labels.max() == k:
        return "; labels that count from 1 go in as y - 1"
    return f"; the model has {k} outputs, one a class" if labels.max() >= k else ""


def rows_of_labels(
    y_true: NDArray, shape: Shape, blank: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of labels (n, s), and how many of each row count (n,): those before the first blank.

    shape   of the predictions, (n, frames, classes); `blank` is the class that is no label
    """
    rows = np.asarray(y_true)
    if rows.ndim != 2 or len(rows) != shape[0]:
        raise InputError(
            f"labels: expected a row for each example, shape ({shape[0]}, labels), filled up with "
            f"the blank, found {rows.shape}"
        )
    flat = labels_for(rows.reshape(-1), (rows.size, shape[2])).astype(np.int64)
    labels = flat.reshape(rows.shape)
    is_blank = labels == blank
    lengths = (is_blank.cumsum(axis=1) == 0).sum(axis=1)
    if np.any(~is_blank & (np.arange(rows.shape[1]) >= lengths[:, None])):
        raise InputError(
            f"labels: expected the blank, {blank}, behind a row's last label alone, found one "
            "between labels"
        )
    return labels, lengths


def in_shape(y_true: NDArray, shape: Shape) -> NDArray:
    """y_true, and a last axis of 1 more or less where that makes it the shape.

    Targets (n,) and outputs (n, 1) mean one thing, and so do (n, 1) and (n,).
    """
    alike = y_true.shape == shape[:-1] and shape[-1:] == (1,) and len(shape) > 1
    alike |= y_true.shape == (*shape, 1)
    return y_true.reshape(shape) if alike else y_true


def targets_for(y_true: NDArray, shape: Shape, what: str = "targets") -> NDArray:
    """Targets in the predictions' shape, or an error. what: they are called in it."""
    y_true = np.asarray(y_true)
    if y_true.dtype.kind not in "uifb":
        raise InputError(f"{what}: expected numbers, found dtype {y_true.dtype}")
    y_true = in_shape(y_true, shape)
    if y_true.shape != shape:
        labels = what == "one-hot labels" and y_true.shape in (shape[:1], (*shape[:1], 1))
        hint = (
            "; whole-number labels go with sparse_categorical_crossentropy, or in as "
            f"np.eye({shape[-1]})[y]"
        )
        raise InputError(
            f"{what}: expected shape {shape}, found {y_true.shape}{hint if labels else ''}"
        )
    return y_true


def probabilities_for(y_true: NDArray, shape: Shape, what: str) -> NDArray:
    """Targets from 0 to 1 in the predictions' shape, or an error."""
    y_true = targets_for(y_true, shape, what)
    if y_true.size:
        low, high = y_true.min(), y_true.max()
        if low < 0 or high > 1:
            hint = ""
            if low == -1 and high <= 1:
                hint = "; labels -1 and 1 go in as (y + 1) / 2"
            elif low >= 0 and 1 < high <= 255 and y_true.ndim > 2:
                hint = "; images of 0 to 255 go in as y / 255"
            raise InputError(
                f"{what}: expected numbers from 0 to 1, found {low if low < 0 else high:g}{hint}"
            )
    return y_true


# ---- weights of examples -------------------------------------------------------------------------


def checked_weights(sample_weight: Any, n: int) -> NDArray | None:
    """One weight an example, (n,); None for None."""
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight)
    if weights.dtype.kind not in "uifb" or weights.shape not in ((n,), (n, 1)):
        raise InputError(
            f"sample_weight: expected a number an example, shape ({n},), found "
            f"{weights.dtype} {weights.shape}"
        )
    if weights.size and not (weights.min() >= 0 and np.isfinite(weights).all()):
        raise InputError("sample_weight: expected finite numbers, none below 0")
    return weights.reshape(n)


class Weights(TypedDict, total=False):
    """The arguments that say how much examples count; see `Sequential.fit`."""

    sample_weight: Any
    class_weight: Mapping[int, float] | None


def check_names(given: Mapping[str, Any], known: type, function: str) -> None:
    """Raise, as Python does, where there are other names than a TypedDict has."""
    for name in given.keys() - known.__annotations__.keys():
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def example_weights(
    y: NDArray, output_shape: Shape, sample_weight: Any = None, class_weight: Any = None
) -> NDArray | None:
    """The weight of each example, (n,), from one of the two; None without both.

    class_weight   {class: weight}; a class that is not in it counts 1
    output_shape   of the model, which has so many classes: two where it has one output
    """
    if class_weight is None:
        return checked_weights(sample_weight, len(y))
    if sample_weight is not None:
        raise InputError(
            "weights: expected sample_weight or class_weight, found both; multiply the first by "
            "the weight of each example's class"
        )
    if not isinstance(class_weight, Mapping):
        raise InputError(
            "class_weight: expected a dict such as {0: 1.0, 1: 5.0}, found " + shown(class_weight)
        )
    labels, classes = np.asarray(y), max(output_shape[-1], 2)
    if labels.ndim == 2:
        labels = labels.argmax(axis=1) if labels.shape[1] > 1 else labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "uifb" or np.any(labels != np.round(labels)):
        raise InputError(f"class_weight: expected labels, found y {labels.dtype} {labels.shape}")
    weights = np.ones(len(labels))
    for label, weight in class_weight.items():
        if not is_whole(label, 0) or label >= classes:
            raise InputError(
                f"class_weight: expected classes from 0 to {classes - 1}, found {shown(label)}"
            )
        number = check_number(f"class_weight of {label}", weight, least=0)
        weights[labels == label] = number
    return weights
