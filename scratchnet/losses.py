"""Losses: one number that says how wrong the predictions are, and its gradient.

A loss is a layer with a scalar output: `forward(y_pred, y_true)` returns L and `backward()` returns
dL/dy_pred, from which the backward pass of the whole network starts. The loss divides by the batch
size N; nothing else in the library does.

**Weights.** With `sample_weight` (n,) every example's loss l[n] counts w[n] times, and L is still
divided by N, not by the weights' sum: L = 1/N sum_n w[n] l[n], as in Keras. Row n of the gradient
depends on l[n] alone, so it is w[n] times as long as it was.

**Why softmax and cross-entropy belong together.** With probs = softmax(logits) and the true
class t, L = -log probs[t] = log sum_j exp(logits[j]) - logits[t]. Its derivative by logits[j] is
exp(logits[j]) / sum exp - 1[j = t], that is

    dL/dlogits = probs - one_hot(t)

No logarithm of a small number and no division by one is left, so `from_logits=True` is exact where
the two separate steps lose everything: a probability that underflows to 0 has no logarithm. A
Sequential that ends in Softmax and is compiled with a cross-entropy trains this way by itself.

The same happens with a sigmoid and the binary cross-entropy: see BinaryCrossentropy.

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

from .ctc import check_blank, ctc_loss, frames_needed
from .errors import InputError, check_number, is_whole
from .targets import (
    check_labels,
    checked_weights,
    labels_for,
    probabilities_for,
    rows_of_labels,
    targets_for,
)

Array = NDArray[np.floating]

#: probabilities below this count as this, as in Keras: -log 0 would be infinite
SMALLEST_PROBABILITY = 1e-7


class Loss:
    """forward(y_pred, y_true) -> L; then backward() -> dL/dy_pred, the shape of y_pred.

    A loss of your own writes these two. Only one whose forward takes a third argument,
    `sample_weight`, can be trained with weights; see `total` and `weighted`.
    """

    #: of the examples of the last forward, (n,); None where all count the same
    weights: Array | None = None

    def __init__(self) -> None:
        self.cache: Any = None

    def forward(self, y_pred: Array, y_true: NDArray, sample_weight: Any = None) -> float:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def check_targets(self, y_true: NDArray, shape: tuple[int, ...]) -> None:
        """Raise InputError where all targets can't belong to predictions of that shape."""

    def total(self, terms: Array, sample_weight: Any) -> float:
        """The sum of terms (n, ...), each row times its weight, in float64; keeps the weights."""
        weights = checked_weights(sample_weight, len(terms))
        self.weights = None if weights is None else weights.astype(terms.dtype)
        return self.weighted(terms).sum(dtype=np.float64)

    def weighted(self, rows: Array) -> Array:
        """rows (n, ...), each times the weight that its example had in forward."""
        if self.weights is None:
            return rows
        return rows * self.weights.reshape(-1, *(1,) * (rows.ndim - 1))  # (n,) -> (n, 1, ...)

    def backward(self) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def __call__(self, y_pred: Array, y_true: NDArray) -> float:
        return self.forward(y_pred, y_true)

    def kept(self) -> Any:
        if self.cache is None:
            raise RuntimeError(f"{type(self).__name__}: backward needs a forward before it")
        return self.cache

    def in_a_line(self) -> tuple[str, str]:
        """The loss of one example and its gradient, a line each, to be shown beside the numbers.

        y is what the model says, p a probability, t the target; both "" where they are not written.
        """
        return "", ""

    def config(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.config().items())
        return f"{type(self).__name__}({arguments})"


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

    def forward(self, y_pred: Array, y_true: NDArray, sample_weight: Any = None) -> float:
        y_true = targets_for(y_true, y_pred.shape, "one-hot labels")
        y_true = y_true.astype(y_pred.dtype, copy=False)
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
        return float(-self.total(y_true * log_probs, sample_weight) / n)

    def backward(self) -> Array:
        probs, y_true = self.kept()
        n = max(len(probs), 1)
        if self.from_logits:
            return self.weighted((probs * y_true.sum(axis=1, keepdims=True) - y_true) / n)
        return self.weighted(-y_true / probs / n)

    def in_a_line(self) -> tuple[str, str]:
        return "L = −Σ t · log p", "dlogits = p − t" if self.from_logits else "dp = −t / p"

    def check_targets(self, y_true: NDArray, shape: tuple[int, ...]) -> None:
        targets_for(y_true, shape, "one-hot labels")

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

    def forward(self, y_pred: Array, y_true: NDArray, sample_weight: Any = None) -> float:
        labels = check_labels(y_true, y_pred)  # (n,)
        if self.label_smoothing:
            one_hot = np.eye(y_pred.shape[1], dtype=y_pred.dtype)[labels]
            return super().forward(y_pred, one_hot, sample_weight)
        rows = np.arange(len(labels))
        n = max(len(labels), 1)
        if self.from_logits:
            shifted = y_pred - y_pred.max(axis=1, keepdims=True)
            log_sum = np.log(np.exp(shifted).sum(axis=1))  # (n,)
            self.cache = shifted, log_sum, labels
            return float(self.total(log_sum - shifted[rows, labels], sample_weight) / n)
        true_probs = np.maximum(y_pred[rows, labels], y_pred.dtype.type(SMALLEST_PROBABILITY))
        self.cache = y_pred, true_probs, labels
        return float(-self.total(np.log(true_probs), sample_weight) / n)

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
            return self.weighted(dy / n)
        dy = np.zeros_like(y_pred)
        dy[rows, labels] = -1 / by_row / n
        return self.weighted(dy)

    def in_a_line(self) -> tuple[str, str]:
        if self.label_smoothing:
            return super().in_a_line()
        gradient = "dlogits = p − one-hot" if self.from_logits else "dp = −one-hot / p"
        return "L = −log p[label]", gradient

    def check_targets(self, y_true: NDArray, shape: tuple[int, ...]) -> None:
        labels_for(y_true, shape)


class BinaryCrossentropy(Loss):
    """Cross-entropy of yes-or-no questions: each output is the probability of a yes.

    Shapes    y_pred (n, ...), mostly (n, 1): probabilities, or logits with from_logits=True; y_true
              the same, 0 or 1 or what lies between; (n,) beside (n, 1) too
    Forward   l = -t log p - (1 - t) log(1 - p), and L is its mean over all m entries, with
              t = (1 - s) y_true + s / 2 and s = label_smoothing.
              From logits z, with p = 1 / (1 + e^-z): log p = -log(1 + e^-z) and
              log(1 - p) = -z - log(1 + e^-z), so

                  l = z - t z + log(1 + e^-z) = max(z, 0) - t z + log(1 + e^-|z|)

              where no e can overflow.
    Backward  from probabilities: dl/dp = -t / p + (1 - t) / (1 - p) = (p - t) / (p (1 - p)).
              From logits dp/dz = p (1 - p) cancels the denominator: dl/dz = p - t. Both by 1/m. A
              Sequential that ends in a Sigmoid trains this way by itself.
    Edges     a probability closer than 1e-7 to 0 or 1 counts as that, and has its gradient, as in
              CategoricalCrossentropy. A target outside 0 .. 1 is an error.
    Source    Goodfellow, Bengio and Courville 2016, section 6.2.2.2.
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.from_logits = from_logits
        self.label_smoothing = check_number("label_smoothing", label_smoothing, least=0, most=1)

    def forward(self, y_pred: Array, y_true: NDArray, sample_weight: Any = None) -> float:
        t = probabilities_for(y_true, y_pred.shape, "binary labels").astype(y_pred.dtype)
        if self.label_smoothing:
            smooth = y_pred.dtype.type(self.label_smoothing)
            t = (1 - smooth) * t + smooth / 2
        if self.from_logits:
            z, p = y_pred, sigmoid(y_pred)
            terms = np.maximum(z, 0) - t * z + np.log1p(np.exp(-np.abs(z)))
        else:
            least = y_pred.dtype.type(SMALLEST_PROBABILITY)
            p = np.clip(y_pred, least, 1 - least)
            terms = -t * np.log(p) - (1 - t) * np.log(1 - p)
        self.cache = p, t
        return float(self.total(terms, sample_weight) / max(terms.size, 1))

    def backward(self) -> Array:
        p, t = self.kept()
        dy = (p - t) if self.from_logits else (p - t) / (p * (1 - p))
        return self.weighted(dy / max(p.size, 1))

    def in_a_line(self) -> tuple[str, str]:
        gradient = "dlogits = p − t" if self.from_logits else "dp = (p − t) / (p (1 − p))"
        return (
            "L = mean of −t · log p − (1 − t) · log(1 − p)",
            f"{gradient}, by the outputs' number",
        )

    def check_targets(self, y_true: NDArray, shape: tuple[int, ...]) -> None:
        probabilities_for(y_true, shape, "binary labels")

    def config(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, "label_smoothing": self.label_smoothing}


class _Difference(Loss):
    """A mean over all entries of what depends on e = y_pred - y_true alone."""

    def difference(self, y_pred: Array, y_true: NDArray) -> Array:
        self.cache = y_pred - targets_for(y_true, y_pred.shape).astype(y_pred.dtype, copy=False)
        return self.cache

    def mean(self, terms: Array, sample_weight: Any) -> float:
        return float(self.total(terms, sample_weight) / max(terms.size, 1))

    def check_targets(self, y_true: NDArray, shape: tuple[int, ...]) -> None:
        targets_for(y_true, shape)


class MeanSquaredError(_Difference):
    """The mean of the squared differences, over all entries (as Keras and PyTorch have it).

    Shapes    y_pred (n, ...), y_true the same; (n,) beside (n, 1) too
    Forward   L = 1/m sum (y_pred - y_true)^2, with m the number of entries
    Backward  2 (y_pred - y_true) / m
    """

    def forward(self, y_pred: Array, y_true: NDArray, sample_weight: Any = None) -> float:
        return self.mean(np.square(self.difference(y_pred, y_true)), sample_weight)

    def backward(self) -> Array:
        difference = self.kept()
        return self.weighted(2 * difference / max(difference.size, 1))

    def in_a_line(self) -> tuple[str, str]:
        return "L = mean of (y − t)²", "dy = 2 (y − t), by the outputs' number"


class MeanAbsoluteError(_Difference):
    """The mean of the absolute differences: one wild target does not outweigh all others.

    Shapes    y_pred (n, ...), y_true the same; (n,) beside (n, 1) too
    Forward   L = 1/m sum |y_pred - y_true|, with m the number of entries
    Backward  sign(y_pred - y_true) / m
    Edges     at the kink, where both are equal, the derivative is taken as 0.
    """

    def forward(self, y_pred: Array, y_true: NDArray, sample_weight: Any = None) -> float:
        return self.mean(np.abs(self.difference(y_pred, y_true)), sample_weight)

    def backward(self) -> Array:
        difference = self.kept()
        return self.weighted(np.sign(difference) / max(difference.size, 1))

    def in_a_line(self) -> tuple[str, str]:
        return "L = mean of |y − t|", "dy = sign(y − t), by the outputs' number"


class Huber(_Difference):
    """Squared where the difference is small and absolute where it is large; smooth between.

    delta     where the parabola goes over into its tangents

    Shapes    y_pred (n, ...), y_true the same; (n,) beside (n, 1) too
    Forward   with e = y_pred - y_true, L is the mean over all m entries of
              e^2 / 2 where |e| <= delta, and delta (|e| - delta / 2) elsewhere
    Backward  e where |e| <= delta, and delta sign(e) elsewhere: e brought into [-delta, delta],
              by 1/m. Both pieces have the slope delta at |e| = delta.
    Source    Huber 1964, "Robust Estimation of a Location Parameter"; the names are Keras's.
    """

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        self.delta = check_number("Huber delta", delta, above=0)

    def forward(self, y_pred: Array, y_true: NDArray, sample_weight: Any = None) -> float:
        e, delta = self.difference(y_pred, y_true), y_pred.dtype.type(self.delta)
        size = np.abs(e)
        terms = np.where(size <= delta, np.square(e) / 2, delta * (size - delta / 2))
        return self.mean(terms, sample_weight)

    def backward(self) -> Array:
        e = self.kept()
        delta = e.dtype.type(self.delta)
        return self.weighted(np.clip(e, -delta, delta) / max(e.size, 1))

    def in_a_line(self) -> tuple[str, str]:
        return (
            f"L = mean of e²/2 where |e| ≤ {self.delta:g}, of {self.delta:g} (|e| − "
            f"{self.delta / 2:g}) elsewhere, e = y − t",
            f"dy = e, cut at ±{self.delta:g}, by the outputs' number",
        )

    def config(self) -> dict[str, Any]:
        return {"delta": self.delta}


class CategoricalHinge(Loss):
    """The hinge for several classes: the true class shall lead all others by 1, and no more.

    Shapes    y_pred (n, k): scores of any size, so without a Softmax; y_true (n,) or (n, 1) whole
              numbers, or (n, k) one-hot rows
    Forward   pos = y_pred at the true class, neg = the largest of 0 and the others' scores,
              L = 1/n sum_n max(0, 1 + neg - pos)
    Backward  rows with 1 + neg - pos > 0: -1/n at the true class, +1/n at the class that neg is of,
              and nothing there if neg is the 0. All other rows 0: what leads by 1 learns no more.
    Edges     of equal scores the first is neg's; at the kink the derivative is taken as 0.
              Keras's categorical_hinge has the 0 under neg as well; without it this is the loss of
              Crammer and Singer, to which it is equal where another class has a score above 0.
    Source    Crammer and Singer 2001, "On the Algorithmic Implementation of Multiclass
              Kernel-based Vector Machines", section 3.
    """

    def forward(self, y_pred: Array, y_true: NDArray, sample_weight: Any = None) -> float:
        labels = self._labels(y_true, y_pred.shape)  # (n,)
        n, rows = max(len(labels), 1), np.arange(len(labels))
        others = y_pred.copy()
        others[rows, labels] = 0
        rivals = others.argmax(axis=1)  # (n,); the true class where no other is above 0
        gaps = 1 + others[rows, rivals] - y_pred[rows, labels]
        self.cache = y_pred, labels, rivals, gaps > 0
        return float(self.total(np.maximum(gaps, 0), sample_weight) / n)

    def backward(self) -> Array:
        y_pred, labels, rivals, learns = self.kept()
        dy, rows = np.zeros_like(y_pred), np.arange(len(labels))
        dy[rows, rivals] = 1 * (rivals != labels)
        dy[rows, labels] = -1
        dy[~learns] = 0
        return self.weighted(dy / max(len(labels), 1))

    @staticmethod
    def _labels(y_true: NDArray, shape: tuple[int, ...]) -> NDArray[np.integer]:
        y_true = np.asarray(y_true)
        if y_true.shape != shape or len(shape) != 2 or shape[1] == 1:
            return labels_for(y_true, shape)
        one_hot = targets_for(y_true, shape, "one-hot labels")
        if not np.all((one_hot == one_hot.max(axis=1, keepdims=True)).sum(axis=1) == 1):
            raise InputError("one-hot labels: expected one largest value a row, found more")
        return one_hot.argmax(axis=1)

    def in_a_line(self) -> tuple[str, str]:
        return (
            "L = max(0, 1 + largest other score − score of the label)",
            "dy = −1 at the label, +1 at its rival, and 0 where the label leads by 1",
        )

    def check_targets(self, y_true: NDArray, shape: tuple[int, ...]) -> None:
        self._labels(y_true, shape)


class KLDivergence(Loss):
    """How far a distribution of probabilities is from the one that is wanted.

    Shapes    y_pred (n, ..., k): probabilities along the last axis; y_true the same
    Forward   L = 1/n sum over all entries of t log(t / p), with t = y_true, p = y_pred and n the
              number of rows. It is the cross-entropy less the entropy of t, which no p changes: 0
              where p = t, and above 0 elsewhere.
    Backward  -t / p / n, the cross-entropy's
    Edges     0 log 0 = 0. A probability below 1e-7 counts as 1e-7, as in CategoricalCrossentropy.
              Keras takes a t below 1e-7 for 1e-7, too. A target outside 0 .. 1 is an error.
    Source    Kullback and Leibler 1951, "On Information and Sufficiency", section 2.
    """

    def forward(self, y_pred: Array, y_true: NDArray, sample_weight: Any = None) -> float:
        t = probabilities_for(y_true, y_pred.shape, "distributions").astype(y_pred.dtype)
        p = np.maximum(y_pred, y_pred.dtype.type(SMALLEST_PROBABILITY))
        self.cache = p, t
        terms = t * (np.log(np.where(t > 0, t, 1)) - np.log(p))
        return float(self.total(terms, sample_weight) / self._rows(p))

    def backward(self) -> Array:
        p, t = self.kept()
        return self.weighted(-t / p / self._rows(p))

    @staticmethod
    def _rows(p: Array) -> int:
        return max(p.size // max(p.shape[-1], 1), 1)

    def in_a_line(self) -> tuple[str, str]:
        return "L = Σ t · log(t / p)", "dp = −t / p"

    def check_targets(self, y_true: NDArray, shape: tuple[int, ...]) -> None:
        probabilities_for(y_true, shape, "distributions")


class CTC(Loss):
    """Connectionist temporal classification: a row of labels in a row of frames, wherever it is.

    from_logits   y_pred are scores, not probabilities
    blank         the class that is no label; -1 is the last

    Shapes    y_pred (n, t, k): each frame's probabilities, or logits with from_logits=True;
              y_true (n, s): each example's labels, filled up with the blank behind the last
    Forward   L = -1/n sum_n log p(labels of n), by forward and backward variables: see ctc.py
    Backward  from probabilities: -g / probs / n;   from logits: (probs - g) / n, with the occupancy
              g[n,t,k], the share of the labels' paths that are at k in frame t: derived in ctc.py.
              A Sequential that ends in Softmax trains this way by itself.
    Edges     no labels at all are a row of blanks. Labels for which there are too few frames are an
              error: equal neighbours need a blank between them. (PyTorch's loss is infinite there,
              and its gradient no number; `ctc.ctc_loss` is infinite, too.) A probability below 1e-7
              counts as 1e-7, and has its gradient, as in CategoricalCrossentropy.
              Keras's CTC is this from logits, with blank=0. PyTorch's ctc_loss with
              reduction="sum" is n L; its "mean" divides by the labels' number besides.
    Source    Graves et al. 2006, "Connectionist Temporal Classification".
    """

    def __init__(self, from_logits: bool = False, blank: int = 0) -> None:
        super().__init__()
        if not is_whole(blank, -1):
            raise InputError(f"CTC blank: expected a class, or -1 for the last, found {blank!r}")
        self.from_logits = from_logits
        self.blank = int(blank)

    def forward(
        self, y_pred: Array, y_true: NDArray, sample_weight: Any = None, frames: Any = None
    ) -> float:
        """frames (n,): how many of the t count, for each example; all of them without it."""
        labels, lengths, blank = self._targets(y_true, y_pred.shape)
        frames = self._frames(frames, y_pred.shape, labels, lengths)
        if self.from_logits:
            shifted = y_pred - y_pred.max(axis=2, keepdims=True)
            log_probs = shifted - np.log(np.exp(shifted).sum(axis=2, keepdims=True))
            probs = np.exp(log_probs)
        else:
            probs = np.maximum(y_pred, y_pred.dtype.type(SMALLEST_PROBABILITY))
            log_probs = np.log(probs)
        terms, occupancy = ctc_loss(log_probs, labels, lengths, frames, blank)
        counts = np.arange(y_pred.shape[1]) < frames[:, None]  # (n, t)
        self.cache = probs, occupancy, counts[:, :, None]
        return float(self.total(terms, sample_weight) / max(len(y_pred), 1))

    def backward(self) -> Array:
        probs, occupancy, counts = self.kept()
        dy = (probs - occupancy) * counts if self.from_logits else -occupancy / probs
        return self.weighted(dy / max(len(probs), 1))

    def in_a_line(self) -> tuple[str, str]:
        gradient = "dlogits = p − g" if self.from_logits else "dp = −g / p"
        return "L = −log sum of p over all ways to write the labels", gradient

    def check_targets(self, y_true: NDArray, shape: tuple[int, ...]) -> None:
        labels, lengths, _ = self._targets(y_true, shape)
        self._frames(None, shape, labels, lengths)

    def _targets(self, y_true: NDArray, shape: tuple[int, ...]) -> tuple[NDArray, NDArray, int]:
        """Labels (n, s), how many of each row count (n,), and the blank's class."""
        if len(shape) != 3:
            raise InputError(f"CTC: expected predictions (n, frames, classes), found {shape}")
        blank = check_blank(self.blank, shape[2])
        return *rows_of_labels(y_true, shape, blank), blank

    @staticmethod
    def _frames(frames: Any, shape: tuple[int, ...], labels: NDArray, lengths: NDArray) -> NDArray:
        """How many frames count, (n,); an error where an example's labels need more."""
        n, t, _ = shape
        found = np.full(n, t) if frames is None else np.asarray(frames)
        if found.shape != (n,) or found.dtype.kind not in "ui" or np.any((found < 0) | (found > t)):
            raise InputError(f"frames: expected {n} whole numbers from 0 to {t}, found {frames!r}")
        for row, (line, length) in enumerate(zip(labels, lengths, strict=True)):
            if frames_needed(line[:length]) > found[row]:
                raise InputError(
                    f"labels: expected no more than {found[row]} frames can hold, found {length} "
                    f"in row {row}, which need {frames_needed(line[:length])}: one each, and one "
                    "between equal neighbours"
                )
        return found

    def config(self) -> dict[str, Any]:
        return {"from_logits": self.from_logits, "blank": self.blank}


def sigmoid(z: Array) -> Array:
    """1 / (1 + e^-z) in a form where no e overflows: with e^z / (1 + e^z) where z < 0."""
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


LOSSES: dict[str, type[Loss]] = {
    "sparse_categorical_crossentropy": SparseCategoricalCrossentropy,
    "categorical_crossentropy": CategoricalCrossentropy,
    "binary_crossentropy": BinaryCrossentropy,
    "mean_squared_error": MeanSquaredError,
    "mse": MeanSquaredError,
    "mean_absolute_error": MeanAbsoluteError,
    "mae": MeanAbsoluteError,
    "huber": Huber,
    "categorical_hinge": CategoricalHinge,
    "kl_divergence": KLDivergence,
    "ctc": CTC,
}


def get(loss: str | Loss) -> Loss:
    """A loss by its Keras name, or the loss itself."""
    if isinstance(loss, Loss):
        return loss
    if loss not in LOSSES:
        raise InputError(f"loss: expected one of {', '.join(LOSSES)}, found {loss!r}")
    return LOSSES[loss]()
