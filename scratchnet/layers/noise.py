"""GaussianNoise: in training, add a little random noise to every value."""

from typing import Any

import numpy as np

from ..errors import check_number
from .base import Array, Layer
from .registry import Equal, register

__all__ = ["GaussianNoise"]


@register(
    gradient="dx = dy: noise that is added changes no slope",
    pointwise=True,
    uses_blas=False,
    keras=Equal("GaussianNoise", {"stddev": "stddev"}),
)
class GaussianNoise(Layer):
    """Additive noise, normally distributed around 0.

    stddev    its standard deviation, at least 0

    Shapes    x (n, ...) -> y, the same shape
    Forward   in training y = x + stddev * e, with each e drawn from the standard normal
              distribution; in evaluation y = x. So the network never sees the same input twice,
              and learns what small changes must not change.
    Backward  e does not depend on x, so dy/dx = 1: dx = dy
    Cache     nothing.
    Edges     stddev 0 adds nothing. The random numbers come from the generator that `build` was
              given, through a stream of the layer's own, as in Dropout; they are drawn in float32
              for every dtype.
    Source    Bishop 1995, "Training with Noise is Equivalent to Tikhonov Regularization", Neural
              Computation 7(1), section 2.
    """

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = check_number("GaussianNoise stddev", stddev, least=0)

    def initialize(self, rng: np.random.Generator) -> None:
        (self.rng,) = rng.spawn(1)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        self.keep(x, ())
        if not training or self.stddev == 0:
            return x
        e = self.rng.standard_normal(x.shape, dtype=np.float32)
        return x + x.dtype.type(self.stddev) * e

    def backward(self, dy: Array) -> Array:
        self.kept(dy)
        return dy

    def config(self) -> dict[str, Any]:
        return {"stddev": self.stddev}
