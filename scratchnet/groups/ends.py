"""The ends of a training step: bytes that become numbers, and the loss with its gradient."""

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..losses import Loss
from .base import Array, Buffers


class Pixels(Buffers):
    """Images of bytes, 0 to 255, as numbers from 0 to 1."""

    def forward(self, x: NDArray[np.uint8]) -> Array:
        from ..kernels import fused

        out = self.buffer("x", x.shape)
        fused.pixels(self.contiguous("bytes", x).reshape(-1), out.reshape(-1))
        return out


class CrossEntropy(Buffers):
    """Softmax and the cross-entropy against whole-number labels, from logits, in one kernel."""

    def of(self, loss: Loss) -> Self:
        """With that loss, whose from_logits is set; it does what the kernel doesn't."""
        self.loss = loss
        return self

    def forward(self, y_pred: Array, y_true: Any) -> float:
        self.dy = None
        shape = y_pred.shape
        rows = isinstance(y_true, np.ndarray) and y_true.shape == shape[:1] and len(shape) == 2
        if rows and y_true.dtype.kind in "ui" and y_true.dtype.isnative and shape[1] > 0:
            from ..kernels import fused

            x, dy = self.buffer("x", shape), self.buffer("dy", shape)
            x[:] = y_pred
            labels, s = np.ascontiguousarray(y_true), float(self.loss.label_smoothing)
            found = fused.cross_entropy(x.reshape(-1), labels, shape[1], s, dy.reshape(-1))
            if not found < 0:
                self.dy = dy
                return float(found / max(len(labels), 1))
        return self.loss.forward(y_pred, y_true)

    def backward(self) -> Array:
        return self.loss.backward() if self.dy is None else self.dy
