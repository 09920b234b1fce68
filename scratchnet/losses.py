"""Losses: one number that says how wrong the predictions are, and its gradient.

A loss is a layer with a scalar output: `forward(y_pred, y_true)` returns L and `backward()` returns
dL/dy_pred, from which the backward pass of the whole network starts. The loss divides by the batch
size N; nothing else in the library does.

**Why softmax and cross-entropy belong together.** With probs = softmax(logits) and the true
class t, L = -log probs[t] = log sum_j exp(logits[j]) - logits[t]. Its derivative by logits[j] is
exp(logits[j]) / sum exp - 1[j = t], that is

    dL/dlogits = probs - one_hot(t)

No logarithm of a small number and no division by one is left, so `from_logits=True` is exact where
the two separate steps lose everything: a probability that underflows to 0 has no logarithm. A
Sequential that ends in Softmax and is compiled with a cross-entropy trains this way by itself.

**Label smoothing.** A network can lower the cross-entropy for ever by making its logits larger,
long after every answer is right. With `label_smoothing=s` the target of k classes is

    (1 - s) * one_hot + s / k

and the best logits are finite: the wrong classes should get s / k each, and no less.

Source: Goodfellow, Bengio and Courville 2016, sections 6.2.1.1 and 6.2.2.3; label smoothing:
Szegedy et al. 2016, "Rethinking the Inception Architecture", section 7.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, check_number

Array = NDArray[np.floating]

#: probabilities below this count as this, as in Keras: -log 0 would be infinite
SMALLEST_PROBABILITY = 1e-7


class Loss:
    """forward(y_pred, y_true) -> L; then backward() -> dL/dy_pred, the shape of y_pred."""

    def __init__(self) -> None:
        self.cache: Any = None

    def forward(self, y_pred: Array, y_true: NDArray) -> float:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def __call__(self, y_pred: Array, y_true: NDArray) -> float:
        return self.forward(y_pred, y_true)

    def kept(self) -> Any:
        if self.cache is None:
            raise RuntimeError(f"{type(self).__name__}: backward needs a forward before it")
        return self.cache

    def config(self) -> dict[str, Any]:
        return {}


class CategoricalCrossentropy(Loss):
    """Cross-entropy against a distribution over the classes, such as one-hot labels.

    Shapes    y_pred (n, k): probabilities, or logits with from_logits=True; y_true (n, k), rows
              that add up to 1
    Forward   L = -1/n sum_n sum_j t[n,j] log probs[n,j], with t = (1 - s) y_true + s / k and
              s = label_smoothing
    Backward  from probabilities: -t / probs / n;   from logits: (probs - t) / n
    Edges     a probability below 1e-7 counts as 1e-7, and its gradient is that of 1e-7: a network
              that is surely wrong must still learn. An empty batch has loss 0.
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.from_logits = from_logits
        self.label_smoothing = check_number("label_smoothing", label_smoothing, least=0, most=1)

    def forward(self, y_pred: Array, y_true: NDArray) -> float:
        y_true = _same_shape(y_true, y_pred, "one-hot labels")
        if self.label_smoothing:
            smooth = y_pred.dtype.type(self.label_smoothing)
            y_true = (1 - smooth) * y_true + smooth / y_pred.shape[-1]
        n = max(len(y_pred), 1)
        if self.from_logits:
            shifted = y_pred - y_pred.max(axis=1, keepdims=True)
            log_probs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
            self.cache = np.exp(log_probs), y_true
        else:
            probs = np.maximum(y_pred, y_pred.dtype.type(SMALLEST_PROBABILITY))
            log_probs = np.log(probs)
            self.cache = probs, y_true
        return float(-(y_true * log_probs).sum(dtype=np.float64) / n)

    def backward(self) -> Array:
        probs, y_true = self.kept()
        n = max(len(probs), 1)
        if self.from_logits:
            return (probs * y_true.sum(axis=1, keepdims=True) - y_true) / n
        return -y_true / probs / n

    def config(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


class SparseCategoricalCrossentropy(CategoricalCrossentropy):
    """Cross-entropy against whole-number labels.

    Shapes    y_pred (n, k): probabilities, or logits with from_logits=True; y_true (n,) or (n, 1)
    Forward   L = -1/n sum_n log probs[n, y_true[n]]
    Backward  from probabilities: -1 / (n probs[n,t]) at the true class t, 0 elsewhere;
              from logits: (probs - one_hot) / n, see the top of this file
              With label_smoothing the target has no zeros, and CategoricalCrossentropy does it all.
    Edges     as in CategoricalCrossentropy. A label outside 0 .. k-1 is an error.
    """

    def forward(self, y_pred: Array, y_true: NDArray) -> float:
        labels = check_labels(y_true, y_pred)  # (n,)
        if self.label_smoothing:
            return super().forward(y_pred, np.eye(y_pred.shape[1], dtype=y_pred.dtype)[labels])
        rows = np.arange(len(labels))
        n = max(len(labels), 1)
        if self.from_logits:
            shifted = y_pred - y_pred.max(axis=1, keepdims=True)
            log_sum = np.log(np.exp(shifted).sum(axis=1))  # (n,)
            self.cache = shifted, log_sum, labels
            return float((log_sum - shifted[rows, labels]).sum(dtype=np.float64) / n)
        true_probs = np.maximum(y_pred[rows, labels], y_pred.dtype.type(SMALLEST_PROBABILITY))
        self.cache = y_pred, true_probs, labels
        return float(-np.log(true_probs).sum(dtype=np.float64) / n)

    def backward(self) -> Array:
        if self.label_smoothing:
            return super().backward()
        y_pred, by_row, labels = self.kept()
        rows = np.arange(len(labels))
        n = max(len(labels), 1)
        if self.from_logits:
            shifted, log_sum = y_pred, by_row
            dy = np.exp(shifted - log_sum[:, None])  # probs, (n, k)
            dy[rows, labels] -= 1
            return dy / n
        dy = np.zeros_like(y_pred)
        dy[rows, labels] = -1 / by_row / n
        return dy


class MeanSquaredError(Loss):
    """The mean of the squared differences, over all entries (as Keras and PyTorch have it).

    Shapes    y_pred (n, ...), y_true the same
    Forward   L = 1/m sum (y_pred - y_true)^2, with m the number of entries
    Backward  2 (y_pred - y_true) / m
    """

    def forward(self, y_pred: Array, y_true: NDArray) -> float:
        difference = y_pred - _same_shape(y_true, y_pred, "targets")
        self.cache = difference
        return float(np.square(difference).sum(dtype=np.float64) / max(difference.size, 1))

    def backward(self) -> Array:
        difference = self.kept()
        return 2 * difference / max(difference.size, 1)


def check_labels(y_true: NDArray, y_pred: Array) -> NDArray[np.integer]:
    """Labels as (n,) integers, or an error that names what is wrong with them."""
    labels = np.asarray(y_true)
    if labels.shape == (len(y_pred), 1):
        labels = labels[:, 0]
    if y_pred.ndim != 2 or labels.shape != (len(y_pred),):
        raise InputError(
            f"labels: expected shape ({len(y_pred)},) beside predictions (n, k), "
            f"found {labels.shape} beside {y_pred.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        if labels.dtype.kind not in "fb":
            raise InputError(f"labels: expected whole numbers, found dtype {labels.dtype}")
        if not np.all(np.isfinite(labels) & (labels == np.floor(labels))):
            raise InputError("labels: expected whole numbers, found fractions or infinities")
        labels = labels.astype(np.int64)
    k = y_pred.shape[1]
    if labels.size and not 0 <= labels.min() <= labels.max() < k:
        wrong = labels.max() if labels.max() >= k else labels.min()
        raise InputError(f"labels: expected whole numbers from 0 to {k - 1}, found {wrong}")
    return labels


def _same_shape(y_true: NDArray, y_pred: Array, what: str) -> Array:
    y_true = np.asarray(y_true)
    if y_true.dtype.kind not in "uifb":
        raise InputError(f"{what}: expected numbers, found dtype {y_true.dtype}")
    y_true = y_true.astype(y_pred.dtype, copy=False)
    if y_true.shape != y_pred.shape:
        raise InputError(f"{what}: expected shape {y_pred.shape}, found {y_true.shape}")
    return y_true


LOSSES: dict[str, type[Loss]] = {
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
}


def get(loss: str | Loss) -> Loss:
    """A loss by its Keras name, or the loss itself."""
    if isinstance(loss, Loss):
        return loss
    if loss not in LOSSES:
        raise InputError(f"loss: expected one of {', '.join(LOSSES)}, found {loss!r}")
    return LOSSES[loss]()
