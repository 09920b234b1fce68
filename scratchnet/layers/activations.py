"""Activations: ReLU and LeakyReLU, which bend, and Softmax, which turns scores to probabilities."""

from typing import Any

import numpy as np

from ..errors import check_number
from .base import Array, Layer
from .functions import relu, relu_backward
from .registry import Equal, register

__all__ = ["LeakyReLU", "ReLU", "Softmax"]


@register(
    gradient="dx = dy where x > 0, and 0 elsewhere",
    formula="max({x}, 0)",
    pointwise=True,
    uses_blas=False,
    torch=Equal("ReLU"),
    keras=Equal("ReLU"),
    jax=Equal("relu"),
    onnx=Equal("Relu"),
)
class ReLU(Layer):
    """The rectifier: negative values become zero.

    Shapes    x (n, ...) -> y, the same shape
    Forward   y = max(x, 0)
    Backward  dy/dx is 1 where x > 0 and 0 where x < 0, so dx = dy where x > 0, else 0
    Cache     y: it is positive exactly where x is, and the next layer holds it anyway.
    Edges     at the kink, x = 0, the derivative is taken as 0. NaN stays NaN.
    Source    Nair and Hinton 2010.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        y = relu(x)
        self.keep(x, y)
        return y

    def backward(self, dy: Array) -> Array:
        y = self.kept(dy)
        return relu_backward(dy, y)


@register(
    gradient="dx = dy where x > 0, and slope · dy elsewhere",
    formula="{x} if {x} > 0 else slope * {x}",
    pointwise=True,
    uses_blas=False,
    torch=Equal("LeakyReLU", {"negative_slope": "slope"}),
    keras=Equal("LeakyReLU", {"negative_slope": "slope"}),
    jax=Equal("leaky_relu", {"negative_slope": "slope"}),
    onnx=Equal("LeakyRelu", {"alpha": "slope"}),
)
class LeakyReLU(Layer):
    """A rectifier that lets a little of what is negative through.

    slope     of the negative side, from 0 (a ReLU) to below 1

    Shapes    x (n, ...) -> y, the same shape
    Forward   y = x where x > 0, slope * x elsewhere
    Backward  dy/dx is 1 where x > 0 and the slope elsewhere, so a unit that is negative for every
              example still learns: dx = dy where x > 0, else slope * dy
    Cache     y: it is positive exactly where x is, and the next layer holds it anyway.
    Edges     at the kink, x = 0, the derivative is taken as the slope. NaN stays NaN.
    Source    Maas, Hannun and Ng 2013, "Rectifier Nonlinearities Improve Neural Network Acoustic
              Models", section 2.2, with a slope of 0.01; Keras's is 0.3.
    """

    def __init__(self, slope: float = 0.3) -> None:
        super().__init__()
        self.slope = check_number("LeakyReLU slope", slope, least=0, below=1)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        y = np.where(x > 0, x, x.dtype.type(self.slope) * x)
        self.keep(x, y)
        return y

    def backward(self, dy: Array) -> Array:
        y = self.kept(dy)
        return np.where(y > 0, dy, dy.dtype.type(self.slope) * dy)

    def config(self) -> dict[str, Any]:
        return {"slope": self.slope}


def softmax(logits: Array) -> Array:
    """exp(logits) / sum exp(logits) along the last axis.

    The row's maximum is subtracted first: the quotient stays the same, and exp can't overflow.
    """
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@register(
    gradient="together with the loss: dx = probabilities − one-hot",
    pointwise=True,
    uses_blas=False,
)
class Softmax(Layer):
    """Scores to probabilities: positive, and adding up to one.

    Shapes    x (n, ..., k) -> y, the same shape; along the last axis
    Forward   y[i] = exp(x[i]) / sum_j exp(x[j])
    Backward  every output depends on every input of its row. With the quotient rule
              dy[i]/dx[j] = y[i] (1[i = j] - y[j]), so

                  dx[j] = sum_i dy[i] y[i] (1[i = j] - y[j]) = y[j] (dy[j] - sum_i dy[i] y[i])

              A model that ends in Softmax and trains with cross-entropy does not come this way:
              the two backward passes together are just `probs - labels`, see losses.py.
    Cache     y.
    Source    Bridle 1990; Goodfellow, Bengio and Courville 2016, section 6.2.2.3.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        y = softmax(x)
        self.keep(x, y)
        return y

    def backward(self, dy: Array) -> Array:
        y = self.kept(dy)
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))
