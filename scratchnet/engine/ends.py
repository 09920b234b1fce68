"""The ends of a training step: bytes that become numbers, and the loss with its gradient."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..losses import SparseCategoricalCrossentropy
from .compiler import serial
from .elementwise import exponentials
from .exponential import log
from .group import Array, Buffers


class Pixels(Buffers):
    """Images of bytes, 0 to 255, as numbers from 0 to 1."""

    def forward(self, x: NDArray) -> Array:
        out = self.buffer("x", x.shape)
        pixels(self.contiguous("bytes", x).reshape(-1), out.reshape(-1))
        return out


class CrossEntropy(Buffers):
    """Softmax and the cross-entropy against integer labels, from logits, in one loop.

    loss    the loss that it stands for, whose from_logits is set; it does what the loop doesn't
    """

    loss: SparseCategoricalCrossentropy
    dy: Array | None = None

    def forward(self, y_pred: Array, y_true: Any, sample_weight: Any = None) -> float:
        self.dy = None
        if sample_weight is not None:
            return self.loss.forward(y_pred, y_true, sample_weight)
        shape = y_pred.shape
        rows = isinstance(y_true, np.ndarray) and y_true.shape == shape[:1] and len(shape) == 2
        if rows and y_true.dtype.kind in "ui" and y_true.dtype.isnative and shape[1] > 0:
            x, dy = self.buffer("x", shape), self.buffer("dy", shape)
            x[:] = y_pred
            labels, s = np.ascontiguousarray(y_true), float(self.loss.label_smoothing)
            found = cross_entropy(x.reshape(-1), labels, shape[1], s, dy.reshape(-1))
            if not found < 0:
                self.dy = dy
                return float(found / max(len(labels), 1))
        return self.loss.forward(y_pred, y_true)

    def backward(self) -> Array:
        return self.loss.backward() if self.dy is None else self.dy


@serial  # memory's speed on one thread, soon compiled
def pixels(x, out):
    """out <- x / 255: bytes as numbers from 0 to 1."""
    most = out.dtype.type(255)
    for k in range(x.size):
        out[k] = x[k] / most


@serial
def cross_entropy(x, labels, k, smoothing, dy):
    """The losses' sum for logits x (n, k), labels (n,); dy (n, k) <- the gradient of their mean.

    The formulas are those of losses.py, the targets (1 - smoothing) * one_hot + smoothing / k. What
    is returned is less than zero, as no loss is, if a label is none of 0 .. k-1.
    """
    total_loss, n = np.float64(0), x.dtype.type(len(labels))
    share, rest = x.dtype.type(smoothing / k), x.dtype.type(1 - smoothing)
    for i in range(len(labels)):
        label = np.int64(labels[i])
        if label < 0 or label >= k:
            return -1.0
        row, out = x[i * k : (i + 1) * k], dy[i * k : (i + 1) * k]
        largest, total = exponentials(row, out)
        log_sum = log(total)
        if share > 0:
            for j in range(k):
                target = share + rest if j == label else share
                total_loss += target * (log_sum - (row[j] - largest))
        else:  # not zero times what may be infinite
            total_loss += log_sum - (row[label] - largest)
        for j in range(k):
            out[j] = (out[j] / total - share) / n
        out[label] -= rest / n
    return total_loss
