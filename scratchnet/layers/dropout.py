"""Dropout: in training, forget a random part of the activations."""

from typing import Any

import numpy as np

from ..errors import check_number
from .base import Array, Layer
from .registry import register

__all__ = ["Dropout"]


@register(
    gradient="dx = dy · mask; nothing is dropped while looking",
    pointwise=True,
    uses_blas=False,
)
class Dropout(Layer):
    """Inverted dropout.

    Shapes    x (n, ...) -> y, the same shape
    Forward   in training, each value is kept with probability 1 - rate and divided by that
              probability, or set to zero:  y = x * mask, mask in {0, 1 / (1 - rate)}.
              The expected value of y is x, so that evaluation needs no scaling: there y = x.
    Backward  the mask is a constant factor: dx = dy * mask; in evaluation dx = dy
    Cache     the mask, or nothing in evaluation.
    Edges     rate 0 keeps all. The random numbers come from the generator that `build` was given,
              through a stream of the layer's own.
    Source    Srivastava et al. 2014, section 10 (scaling at training time).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = check_number("Dropout rate", rate, least=0, below=1)

    def initialize(self, rng: np.random.Generator) -> None:
        (self.rng,) = rng.spawn(1)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        if not training or self.rate == 0:
            self.keep(x, (None,))
            return x
        keep = 1 - self.rate
        # float32 draws are enough to decide yes or no, and twice as fast
        kept = self.rng.random(x.shape, dtype=np.float32) < keep
        mask = kept * x.dtype.type(1 / keep)
        self.keep(x, (mask,))
        return x * mask

    def backward(self, dy: Array) -> Array:
        (mask,) = self.kept(dy)
        return dy if mask is None else dy * mask

    def config(self) -> dict[str, Any]:
        return {"rate": self.rate}
