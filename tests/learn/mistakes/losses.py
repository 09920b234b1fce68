"""Losses: forward(y_pred, y_true) -> a number, backward() -> dL/dy_pred."""

import numpy as np

import scratchnet as sn

from .case import Case, bits, labels, large, normal, probabilities, surely_wrong, yes_or_no


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


class MyCrossEntropy:
    """Of logits (n, k) and labels (n,)."""

    def log_probs(self, x):
        x = x - x.max(axis=1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=1, keepdims=True))

    def forward(self, y_pred, y_true):
        log_probs = self.log_probs(y_pred)
        self.probs, self.labels = np.exp(log_probs), y_true
        return float(-log_probs[np.arange(len(y_true)), y_true].mean())

    def backward(self):
        dy = self.probs.copy()
        dy[np.arange(len(dy)), self.labels] -= 1
        return dy / len(dy)


class NotDivided(MyCrossEntropy):
    def backward(self):
        return super().backward() * len(self.probs)


class DividedTwice(MyCrossEntropy):
    def backward(self):
        n = len(self.probs)
        dy = self.probs / n
        dy[np.arange(n), self.labels] -= 1 / n
        return dy / n


class Summed(MyCrossEntropy):
    def forward(self, y_pred, y_true):
        return super().forward(y_pred, y_true) * len(y_pred)

    def backward(self):
        return super().backward() * len(self.probs)


class LabelsLessProbs(MyCrossEntropy):
    def backward(self):
        return -super().backward()


class MinusForgotten(MyCrossEntropy):
    """The mean of log p, and its gradient: what would have to be maximized."""

    def forward(self, y_pred, y_true):
        return -super().forward(y_pred, y_true)

    def backward(self):
        return -super().backward()


class NotShifted(MyCrossEntropy):
    def log_probs(self, x):
        return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


class ProbsClipped(MyCrossEntropy):
    def log_probs(self, x):
        return np.log(np.clip(softmax(x), 1e-7, 1 - 1e-7))


class LogOfSoftmax(MyCrossEntropy):
    """Softmax, then its logarithm: a probability that underflows has none."""

    def log_probs(self, x):
        return np.log(softmax(x))


class ColumnsOfAll(MyCrossEntropy):
    def backward(self):
        dy = self.probs.copy()
        dy[:, np.unique(self.labels)] -= 1
        return dy / len(dy)


class FirstLabelsKept(MyCrossEntropy):
    def forward(self, y_pred, y_true):
        kept = getattr(self, "labels", y_true)
        loss = super().forward(y_pred, y_true)
        if len(kept) == len(y_true):
            self.labels = kept
        return loss


class CrossEntropyInFloat32(MyCrossEntropy):
    def log_probs(self, x):
        return super().log_probs(x.astype(np.float32))


class OfProbabilities:
    """Of probabilities (n, k) and labels (n,)."""

    def forward(self, y_pred, y_true):
        rows = np.arange(len(y_true))
        self.cache = y_pred, np.maximum(y_pred[rows, y_true], 1e-7), y_true
        return float(-np.log(self.cache[1]).mean())

    def backward(self):
        probs, true, y_true = self.cache
        dy = np.zeros_like(probs)
        dy[np.arange(len(dy)), y_true] = -1 / true / len(dy)
        return dy


class LogOfZero(OfProbabilities):
    def forward(self, y_pred, y_true):
        self.cache = y_pred, y_pred[np.arange(len(y_true)), y_true], y_true
        return float(-np.log(self.cache[1]).mean())


class AsIfLogits(OfProbabilities):
    def backward(self):
        probs, _, y_true = self.cache
        dy = probs.copy()
        dy[np.arange(len(dy)), y_true] -= 1
        return dy / len(dy)


class DividesProbabilitiesNot(OfProbabilities):
    def backward(self):
        probs, _, y_true = self.cache
        dy = np.zeros_like(probs)
        dy[np.arange(len(dy)), y_true] = -1 / len(dy)
        return dy


class MyMeanSquared:
    def forward(self, y_pred, y_true):
        self.e = y_pred - y_true
        return float((self.e**2).mean())

    def backward(self):
        return 2 * self.e / self.e.size


class TwoForgotten(MyMeanSquared):
    def backward(self):
        return self.e / self.e.size


class SquaresNotDivided(MyMeanSquared):
    def backward(self):
        return 2 * self.e


class TrueLessPredicted(MyMeanSquared):
    def backward(self):
        return -2 * self.e / self.e.size


class SquaresDividedTwice(MyMeanSquared):
    def backward(self):
        return 2 * self.e / self.e.size / len(self.e)


class HalfTheSquares(MyMeanSquared):
    def forward(self, y_pred, y_true):
        return super().forward(y_pred, y_true) / 2

    def backward(self):
        return super().backward() / 2


class MyBinary:
    """Of probabilities and 0 or 1."""

    def forward(self, y_pred, y_true):
        p, t = np.clip(y_pred, 1e-7, 1 - 1e-7), y_true
        self.cache = p, t
        return float(-(t * np.log(p) + (1 - t) * np.log(1 - p)).mean())

    def backward(self):
        p, t = self.cache
        return (p - t) / (p * (1 - p)) / p.size


class BinaryAsIfLogits(MyBinary):
    def backward(self):
        p, t = self.cache
        return (p - t) / p.size


class NoesForgotten(MyBinary):
    def forward(self, y_pred, y_true):
        p, t = np.clip(y_pred, 1e-7, 1 - 1e-7), y_true
        self.cache = p, t
        return float(-(t * np.log(p)).mean())

    def backward(self):
        p, t = self.cache
        return -t / p / p.size


class BinaryChangesY(MyBinary):
    def forward(self, y_pred, y_true):
        np.clip(y_pred, 0.2, 0.8, out=y_pred)
        return super().forward(y_pred, y_true)


# ---- right, and unusual --------------------------------------------------------------------------


class ByOneHot(MyCrossEntropy):
    def forward(self, y_pred, y_true):
        one_hot = np.eye(y_pred.shape[1])[y_true]
        self.dy = (softmax(y_pred) - one_hot) / len(y_pred)
        return float(np.vdot(one_hot, -self.log_probs(y_pred)) / len(y_pred))

    def backward(self):
        return self.dy


class ByLogAddExp(MyCrossEntropy):
    def log_probs(self, x):
        return x - np.logaddexp.reduce(x, axis=1, keepdims=True)


class ExampleByExample(MyCrossEntropy):
    def forward(self, y_pred, y_true):
        self.dy, total = np.zeros_like(y_pred), 0.0
        for i in reversed(range(len(y_pred))):
            log_probs = self.log_probs(y_pred[i : i + 1])[0]
            total -= log_probs[y_true[i]] / len(y_pred)
            self.dy[i] = np.exp(log_probs) / len(y_pred)
            self.dy[i, y_true[i]] -= 1 / len(y_pred)
        return total

    def backward(self):
        return self.dy.copy()


class ByDotProduct(MyMeanSquared):
    def forward(self, y_pred, y_true):
        self.e = np.subtract(y_pred, y_true, order="F")
        flat = self.e.ravel()
        return float(flat @ flat) / flat.size


class BinaryOfLogits(MyBinary):
    def forward(self, y_pred, y_true):
        self.cache = np.where(y_pred >= 0, 1, np.exp(-np.abs(y_pred))), y_pred, y_true
        return float((np.logaddexp(0, y_pred) - y_true * y_pred).mean())

    def backward(self):
        upper, z, t = self.cache
        return (upper / (1 + np.exp(-np.abs(z))) - t) / t.size


def of_logits():
    return sn.losses.SparseCategoricalCrossentropy(from_logits=True)


def of_probabilities():
    return sn.losses.SparseCategoricalCrossentropy()


def binary():
    return sn.losses.BinaryCrossentropy()


squares = sn.losses.MeanSquaredError
S, M = (6, 4), (7, 3)

# fmt: off
MISTAKES = [
    Case(
        "crossentropy-not-divided", "probs - one_hot, as the derivation says.",
        NotDivided, (), S, of_logits, ("batch-mean",), targets=labels,
    ),
    Case(
        "crossentropy-not-divided-alone", "probs - one_hot, as the derivation says.",
        NotDivided, (), S, None, ("batch-mean",), targets=labels,
    ),
    Case(
        "crossentropy-divided-twice", "Divided when subtracting, and at the end.",
        DividedTwice, (), S, of_logits, ("divided-twice", "batch-mean"),
        "of these numbers, one division by n too many", targets=labels,
    ),
    Case(
        "crossentropy-summed", "The loss is the sum over the batch.",
        Summed, (), S, of_logits, ("batch-mean",), targets=labels,
    ),
    Case(
        "crossentropy-labels-less-probs", "one_hot - probs",
        LabelsLessProbs, (), S, of_logits, ("sign",), targets=labels,
    ),
    Case(
        "crossentropy-minus-forgotten", "L = mean of log p",
        MinusForgotten, (), S, of_logits, ("sign",), targets=labels,
    ),
    Case(
        "crossentropy-not-shifted", "log(sum(exp(x))) as it stands.",
        NotShifted, (), S, of_logits, ("shifted-max",), targets=labels,
    ),
    Case(
        "crossentropy-probs-clipped", "Softmax, clipped to [1e-7, 1 - 1e-7], then log.",
        ProbsClipped, (), S, of_logits, ("clipped",), values=large, targets=labels,
    ),
    Case(
        "crossentropy-log-of-softmax", "log(softmax(x))",
        LogOfSoftmax, (), S, of_logits, ("clipped", "shifted-max"),
        "the softmax is shifted; for large scores a probability is 0 and has no logarithm",
        targets=labels,
    ),
    Case(
        "crossentropy-first-labels-kept", "The labels are noted once.",
        FirstLabelsKept, (), S, of_logits, ("stale-cache",), targets=labels,
    ),
    Case(
        "crossentropy-in-float32", "Logits to float32 first.",
        CrossEntropyInFloat32, (), S, of_logits, ("float32-inside",), targets=labels,
    ),
    Case(
        "crossentropy-log-of-zero", "-log of the probability.",
        LogOfZero, (), S, of_probabilities, ("clipped",), values=surely_wrong, targets=labels,
    ),
    Case(
        "crossentropy-log-of-zero-unseen", "-log of the probability.",
        LogOfZero, (), S, of_probabilities, ("clipped",), values=probabilities, targets=labels,
    ),
    Case(
        "crossentropy-1-over-p-forgotten", "-1/n at the true class.",
        DividesProbabilitiesNot, (), S, of_probabilities, ("missing-factor",),
        values=probabilities, targets=labels,
    ),
    Case(
        "squares-two-forgotten", "(y_pred - y_true) / m",
        TwoForgotten, (), M, squares, ("missing-factor",), "the constant 2", targets=normal,
    ),
    Case(
        "squares-two-forgotten-alone", "(y_pred - y_true) / m",
        TwoForgotten, (), M, None, ("missing-factor",), "the constant 2", targets=normal,
    ),
    Case(
        "squares-not-divided", "2 (y_pred - y_true)",
        SquaresNotDivided, (), (7, 1), squares, ("batch-mean",), targets=normal,
    ),
    Case(
        "squares-divided-twice", "Divided by the number of entries, and by the batch.",
        SquaresDividedTwice, (), (7, 1), squares, ("divided-twice", "batch-mean"),
        "of these numbers, one division by n too many", targets=normal,
    ),
    Case(
        "squares-true-less-predicted", "2 (y_true - y_pred) / m",
        TrueLessPredicted, (), M, squares, ("sign",), targets=normal,
    ),
    Case(
        "squares-half", "Half the squares, so that the 2 goes away.",
        HalfTheSquares, (), M, squares, ("missing-factor", "forward-wrong"),
        "right by itself; beside the package's it lacks the constant 2, forward and backward",
        targets=normal,
    ),
    Case(
        "binary-as-if-logits", "p - t",
        BinaryAsIfLogits, (), (6, 1), binary, ("missing-factor", "derivative-of-output"),
        "1 / (p (1 - p)) is missing; p - t is the derivative by the logits",
        values=yes_or_no, targets=bits,
    ),
    Case(
        "binary-noes-forgotten", "-t log p",
        NoesForgotten, (), (9, 1), binary, ("forward-wrong",), values=yes_or_no, targets=bits,
    ),
    Case(
        "binary-changes-y", "np.clip(y_pred, ..., out=y_pred)",
        BinaryChangesY, (), (9, 1), binary, ("x-changed", "clipped"),
        "y_pred is written to, and the probabilities are clipped too far in",
        values=yes_or_no, targets=bits,
    ),
]

UNNAMED = [
    Case("crossentropy-columns-of-all", "dy[:, labels] -= 1", ColumnsOfAll, (), S, of_logits,
         targets=labels),
    Case("crossentropy-as-if-logits", "probs - one_hot, of probabilities", AsIfLogits, (), S,
         of_probabilities, values=probabilities, targets=labels),
]

RIGHT = [
    Case("crossentropy-one-hot", "a matrix of labels", ByOneHot, (), S, of_logits, targets=labels),
    Case("crossentropy-logaddexp", "logaddexp", ByLogAddExp, (), S, of_logits, values=large,
         targets=labels),
    Case("crossentropy-by-example", "one after the other", ExampleByExample, (), S, of_logits,
         targets=labels),
    Case("crossentropy-one-example", "a batch of one", MyCrossEntropy, (), (1, 4), of_logits,
         targets=labels),
    Case("crossentropy-alone", "nothing to compare with", MyCrossEntropy, (), S, None,
         targets=labels),
    Case("crossentropy-of-probabilities", "at least 1e-7", OfProbabilities, (), S,
         of_probabilities, values=probabilities, targets=labels),
    Case("squares-dot-product", "a dot product", ByDotProduct, (), M, squares, targets=normal),
    Case("binary-of-logits", "logaddexp(0, z)", BinaryOfLogits, (), (6, 2),
         lambda: sn.losses.BinaryCrossentropy(from_logits=True), targets=bits),
    Case("binary-of-probabilities", "clipped as the package does", MyBinary, (), (6, 1), binary,
         values=yes_or_no, targets=bits),
]
# fmt: on
