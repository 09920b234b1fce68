"""Figures that people read, beside the loss that the network learns from.

A metric counts over all batches and gives one number at the end: precision is a quotient of counts,
not a mean of the batches' precisions, and a last, smaller batch weighs as much as it holds.
"""

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, check_number, is_whole, shown
from .targets import check_labels, targets_for

#: what a metric may be computed from: where the largest value is, what `predict` returns, or
#: probabilities, also of a model whose outputs are logits
READS = ("ranks", "outputs", "probabilities")


def correct(y_pred: NDArray, y_true: NDArray) -> int:
    """How many rows of y_pred (n, k) have their largest value at the true class.

    y_true: labels (n,) or (n, 1), or one-hot rows (n, k).
    """
    return int((y_pred.argmax(axis=1) == _classes(y_pred, y_true)).sum())


def _classes(y_pred: NDArray, y_true: NDArray) -> NDArray[np.integer]:
    """The true classes, (n,), of labels or one-hot rows beside predictions (n, k)."""
    y_true = np.asarray(y_true)
    one_hot = y_true.ndim == 2 and y_true.shape == y_pred.shape
    if one_hot and y_pred.shape[1] == 1:  # labels 0, or one-hot rows of the only class
        one_hot = bool(np.all((y_true == 0) | (y_true == 1)))
    return y_true.argmax(axis=1) if one_hot else check_labels(y_true, y_pred)


def confusion_matrix(y_pred: NDArray, y_true: NDArray) -> NDArray[np.int64]:
    """Counts (k, k) from predictions (n, k) and labels (n,): row true class, column predicted."""
    labels = check_labels(y_true, y_pred)
    k = y_pred.shape[1]
    cells = labels.astype(np.int64) * k + y_pred.argmax(axis=1)
    return np.bincount(cells, minlength=k * k).reshape(k, k)


class Metric:
    """One of your own writes `update_state` and `result`, as in Keras, and counts in `counts`.

    name     its key in History, with val_ before it for what is held out
    counts   numbers, or arrays of one axis, by name: all that it knows from batch to batch.
             They are empty when an epoch begins, and saved in the middle of one.
    reads    of READS: what the `y_pred` of update_state is
    higher_is_better   which way is good, for EarlyStopping; None where nobody knows
    """

    reads = "outputs"
    higher_is_better: bool | None = None

    def __init__(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise InputError(f"metric: expected a name, found {shown(name)}")
        self.name = name
        self.counts: dict[str, Any] = {}

    def update_state(self, y_true: NDArray, y_pred: NDArray) -> None:
        """Count a batch, y_true (n, ...) and y_pred (n, ...)."""
        raise NotImplementedError(f"{type(self).__name__} has no update_state")

    def result(self) -> float:
        """The figure over all that was counted."""
        raise NotImplementedError(f"{type(self).__name__} has no result")

    def reset_state(self) -> None:
        self.counts = {}

    def add(self, **more: Any) -> None:
        """Add numbers, or arrays, to the counts of those names, which begin with 0."""
        for name, value in more.items():
            self.counts[name] = self.counts.get(name, 0) + value

    def state(self) -> dict[str, Any]:
        """The counts in values that JSON knows."""
        return {name: np.asarray(value).tolist() for name, value in self.counts.items()}

    def load_state(self, state: Any) -> None:
        """Take over what `state` returned; raises InputError where it is none."""
        if not isinstance(state, dict):
            raise InputError(f"metric {self.name}: expected counts by name, found {shown(state)}")
        counts = {}
        for name, value in state.items():
            values = value if isinstance(value, list) else [value]
            if not all(type(number) in (int, float) for number in values):
                raise InputError(
                    f"metric {self.name} {name}: expected numbers, found {shown(value)}"
                )
            counts[name] = np.array(value) if isinstance(value, list) else value
        self.counts = counts

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, in values that JSON knows."""
        return {"name": self.name}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.config().items())
        return f"{type(self).__name__}({arguments})"


class _Mean(Metric):
    """A mean of one number an example, or an entry."""

    def result(self) -> float:
        return float(self.counts.get("total", 0) / max(self.counts.get("count", 0), 1))


class Accuracy(_Mean):
    """The part of the examples whose largest output is at the true class.

    y_true: labels (n,) or (n, 1), or one-hot rows (n, k). The name "accuracy" means this, or
    BinaryAccuracy for a model with one output that is not trained by a categorical cross-entropy.
    """

    reads, higher_is_better = "ranks", True

    def __init__(self, name: str = "accuracy") -> None:
        super().__init__(name)

    def update_state(self, y_true: NDArray, y_pred: NDArray) -> None:
        self.add(total=correct(y_pred, y_true), count=len(y_pred))


class BinaryAccuracy(_Mean):
    """The part of the entries whose probability is on the right side of the threshold.

    y_true: 0 and 1, (n,) or (n, 1) beside one output. A probability above the threshold is a 1. Of
    a model that is trained from logits it is the logits' probability.
    """

    reads, higher_is_better = "probabilities", True

    def __init__(self, threshold: float = 0.5, name: str = "binary_accuracy") -> None:
        super().__init__(name)
        self.threshold = check_number("threshold", threshold)

    def update_state(self, y_true: NDArray, y_pred: NDArray) -> None:
        right = (y_pred > self.threshold) == _yes_or_no(y_true, y_pred)
        self.add(total=int(right.sum()), count=right.size)

    def config(self) -> dict[str, Any]:
        return {"threshold": self.threshold, **super().config()}


class TopK(_Mean):
    """The part of the examples whose true class is among the k largest outputs.

    Equal outputs share the better place, as in Keras. By the name "top_k_accuracy" k is 5.
    """

    reads, higher_is_better = "ranks", True

    def __init__(self, k: int = 5, name: str | None = None) -> None:
        super().__init__(f"top_{k}_accuracy" if name is None else name)
        if not is_whole(k, 1):
            raise InputError(f"TopK k: expected a whole number, at least 1, found {shown(k)}")
        self.k = int(k)

    def update_state(self, y_true: NDArray, y_pred: NDArray) -> None:
        labels = _classes(y_pred, y_true)
        if self.k > y_pred.shape[1]:
            raise InputError(
                f"metric {self.name}: expected k of at most {y_pred.shape[1]}, the number of "
                f"classes, found {self.k}"
            )
        own = y_pred[np.arange(len(labels)), labels][:, None]  # (n, 1)
        better = (y_pred > own).sum(axis=1)
        self.add(total=int(((better < self.k) & np.isfinite(own[:, 0])).sum()), count=len(labels))

    def config(self) -> dict[str, Any]:
        return {"k": self.k, **super().config()}


class _Counts(Metric):
    """What is made of three counts for each class: true, predicted as it, and both."""

    reads, higher_is_better = "probabilities", True

    def __init__(self, average: str | None = None, threshold: float = 0.5, name: str = "") -> None:
        super().__init__(name)
        if average not in (None, "binary", "macro", "micro"):
            raise InputError(
                f'{type(self).__name__} average: expected "binary", "macro" or "micro", found '
                f"{shown(average)}"
            )
        self.average, self.threshold = average, check_number("threshold", threshold)

    def update_state(self, y_true: NDArray, y_pred: NDArray) -> None:
        if y_pred.ndim == 1 or y_pred.shape[1:] == (1,):
            true = _yes_or_no(y_true, y_pred).reshape(-1).astype(int)
            predicted, k = (y_pred.reshape(-1) > self.threshold).astype(int), 2
            one = self.average in (None, "binary")
        else:
            y_true = np.asarray(y_true)
            several = y_true.shape == y_pred.shape and np.any((y_true > 0).sum(axis=1) != 1)
            if several:
                raise InputError(
                    f"metric {self.name}: expected one class an example, found rows of y with "
                    "none or several"
                )
            true, predicted = _classes(y_pred, y_true), y_pred.argmax(axis=1)
            k = y_pred.shape[1]
            one = self.average == "binary"
            if one and k != 2:
                raise InputError(
                    f'metric {self.name}: expected 2 classes for average "binary", found {k}'
                )
        counted = [np.bincount(labels, minlength=k) for labels in (true, predicted)]
        both = np.bincount(true[true == predicted], minlength=k)
        named = dict(zip(("true", "predicted", "both"), (*counted, both), strict=True))
        self.add(**({key: int(count[1]) for key, count in named.items()} if one else named))

    def result(self) -> float:
        true, predicted, both = (
            np.atleast_1d(np.asarray(self.counts.get(key, 0), np.float64))
            for key in ("true", "predicted", "both")
        )
        if self.average == "micro":
            true, predicted, both = (np.array([a.sum()]) for a in (true, predicted, both))
        seen = (true + predicted) > 0
        figures = self.of(true[seen], predicted[seen], both[seen])
        return float(figures.mean()) if seen.any() else 0.0

    def of(self, true: NDArray, predicted: NDArray, both: NDArray) -> NDArray:
        """The figure of each class."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        return {"average": self.average, "threshold": self.threshold, **super().config()}


class Precision(_Counts):
    """How many of those that were predicted as the class are of it.

    average     "binary": of class 1 among two, or of a yes; "macro": the mean over the classes,
                each the same weight; "micro": of all classes' counts together. By default binary
                for one output, macro for several. As in scikit-learn, a class that was neither
                there nor predicted is left out of the mean, and 0 / 0 is 0.
    threshold   of a model with one output: a probability above it is a yes
    """

    def __init__(
        self, average: str | None = None, threshold: float = 0.5, name: str = "precision"
    ) -> None:
        super().__init__(average, threshold, name)

    def of(self, true: NDArray, predicted: NDArray, both: NDArray) -> NDArray:
        return both / np.maximum(predicted, 1)


class Recall(_Counts):
    """How many of the class were predicted as it; averages and threshold as in Precision."""

    def __init__(
        self, average: str | None = None, threshold: float = 0.5, name: str = "recall"
    ) -> None:
        super().__init__(average, threshold, name)

    def of(self, true: NDArray, predicted: NDArray, both: NDArray) -> NDArray:
        return both / np.maximum(true, 1)


class F1(_Counts):
    """The harmonic mean of precision and recall, 2 both / (true + predicted).

    Averages and threshold as in Precision; the macro average is that of the classes' F1.
    """

    def __init__(
        self, average: str | None = None, threshold: float = 0.5, name: str = "f1"
    ) -> None:
        super().__init__(average, threshold, name)

    def of(self, true: NDArray, predicted: NDArray, both: NDArray) -> NDArray:
        return 2 * both / np.maximum(true + predicted, 1)


class MeanAbsoluteError(_Mean):
    """The mean of |y_pred - y_true| over all entries."""

    higher_is_better = False

    def __init__(self, name: str = "mae") -> None:
        super().__init__(name)

    def update_state(self, y_true: NDArray, y_pred: NDArray) -> None:
        difference = y_pred - targets_for(y_true, y_pred.shape).astype(np.float64)
        self.add(total=float(self.of(difference).sum()), count=difference.size)

    def of(self, difference: NDArray) -> NDArray:
        return np.abs(difference)


class MeanSquaredError(MeanAbsoluteError):
    """The mean of (y_pred - y_true)^2 over all entries."""

    def __init__(self, name: str = "mse") -> None:
        super().__init__(name)

    def of(self, difference: NDArray) -> NDArray:
        return np.square(difference)


class FunctionMetric(_Mean):
    """Any function of (y_true, y_pred), under its own name.

    It may return one number a batch, or one an example. Batches are averaged by their numbers of
    examples; so for what is no mean over examples, such as a median, the figure is a mean over
    batches. y_pred is what `predict` returns; both are copies.
    """

    def __init__(self, function: Callable[[NDArray, NDArray], Any]) -> None:
        super().__init__(str(getattr(function, "__name__", type(function).__name__)))
        self.function = function

    def update_state(self, y_true: NDArray, y_pred: NDArray) -> None:
        found = np.asarray(self.function(np.array(y_true), np.array(y_pred)))
        n = len(y_pred)
        if found.dtype.kind not in "uifb" or (found.ndim and len(found) != n):
            raise InputError(
                f"metric {self.name}: expected a number, or one an example, found {shown(found)}"
            )
        self.add(total=float(found.mean(dtype=np.float64)) * n if n else 0.0, count=n)


def _yes_or_no(y_true: NDArray, y_pred: NDArray) -> NDArray[np.bool_]:
    labels = targets_for(y_true, y_pred.shape, "binary labels")
    if not np.all((labels == 0) | (labels == 1)):
        raise InputError(
            "binary labels: expected 0 and 1 for accuracy, precision and the like, found others; "
            "for targets that are numbers there are mae and mse"
        )
    return labels == 1


#: by their names in `compile`; the key in History is the name as it was given
METRICS: dict[str, type[Metric]] = {
    "accuracy": Accuracy,
    "acc": Accuracy,
    "categorical_accuracy": Accuracy,
    "sparse_categorical_accuracy": Accuracy,
    "binary_accuracy": BinaryAccuracy,
    "top_k_accuracy": TopK,
    "precision": Precision,
    "recall": Recall,
    "f1": F1,
    "f1_score": F1,
    "mae": MeanAbsoluteError,
    "mean_absolute_error": MeanAbsoluteError,
    "mse": MeanSquaredError,
    "mean_squared_error": MeanSquaredError,
}
#: by the names of their classes, for files
KINDS: dict[str, type[Metric]] = {kind.__name__: kind for kind in METRICS.values()}
#: what `compile` takes
Chosen = str | Metric | Callable[[NDArray, NDArray], Any]


def get(metric: Chosen) -> Metric:
    """A metric by name, from a function, or the metric itself."""
    if isinstance(metric, str) and metric in METRICS:
        return METRICS[metric](name=metric)
    if isinstance(metric, Metric):
        return metric
    if callable(metric) and not isinstance(metric, type):
        return FunctionMetric(metric)
    raise InputError(
        f"metrics: expected {', '.join(METRICS)}, a Metric, or a function of (y_true, y_pred), "
        f"found {shown(metric)}"
    )


def checked(metrics: Any) -> list[Chosen]:
    """What was given to `compile`, as a list, if all of it is good."""
    if isinstance(metrics, str) or not isinstance(metrics or (), Iterable):
        raise InputError(f"metrics: expected a list such as ['accuracy'], found {shown(metrics)}")
    chosen = list(metrics or ())
    names = [get(metric).name for metric in chosen]
    for name in names:
        if name == "loss" or name.startswith("val_") or names.count(name) > 1:
            raise InputError(f"metrics: expected names of their own, found {name!r}")
    return chosen


def fresh(metrics: Sequence[Chosen], binary: bool = False) -> list[Metric]:
    """The metrics, with nothing counted yet. binary: accuracy is that of one output."""
    found = []
    for metric in map(get, metrics):
        new = copy.copy(metric)
        if binary and type(new) is Accuracy:
            new = BinaryAccuracy(name=new.name)
        new.reset_state()
        found.append(new)
    return found


def described(metrics: Sequence[Chosen]) -> list[Any]:
    """The metrics in values that JSON knows; without functions, and a warning that says so."""
    entries: list[Any] = []
    for metric in metrics:
        if isinstance(metric, str):
            entries.append(metric)
        elif isinstance(metric, Metric) and KINDS.get(type(metric).__name__) is type(metric):
            entries.append({"metric": type(metric).__name__, "config": metric.config()})
        else:
            warnings.warn(
                f"save: the metric {get(metric).name} is your own, which a file can't hold; it is "
                "left out",
                stacklevel=5,
            )
    return entries


def from_description(entries: Any) -> list[Chosen]:
    """What `described` wrote down."""
    if not isinstance(entries, list):
        raise InputError(f"metrics: expected a list, found {shown(entries)}")
    found: list[Chosen] = []
    for entry in entries:
        if isinstance(entry, dict):
            kind, config = entry.get("metric"), entry.get("config")
            if not isinstance(config, dict) or not isinstance(kind, str) or kind not in KINDS:
                raise InputError(
                    f"metrics: expected one of {', '.join(KINDS)}, found {shown(entry)}"
                )
            found.append(KINDS[kind](**config))
        elif isinstance(entry, str):
            found.append(entry)
        else:
            raise InputError(f"metrics: expected names, found {shown(entry)}")
    return found


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
