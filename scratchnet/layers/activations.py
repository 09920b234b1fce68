"""Activations: ReLU, LeakyReLU and ELU, which bend; Softmax and LogSoftmax, which compare scores.

The smooth ones, Sigmoid, Tanh, SiLU, Softplus and GELU, are in smooth.py.
"""

from typing import Any

import numpy as np

from ..errors import check_number
from .base import Array, Layer
from .functions import relu, relu_backward
from .registry import Equal, register

__all__ = ["ELU", "LeakyReLU", "LogSoftmax", "ReLU", "Softmax"]


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


@register(
    gradient="dx = dy where x > 0, and (y + alpha) · dy elsewhere",
    formula="{x} if {x} > 0 else alpha * (exp({x}) - 1)",
    pointwise=True,
    uses_blas=False,
    torch=Equal("ELU", {"alpha": "alpha"}),
    keras=Equal("ELU", {"alpha": "alpha"}),
    jax=Equal("elu", {"alpha": "alpha"}),
    onnx=Equal("Elu", {"alpha": "alpha"}),
)
class ELU(Layer):
    """The exponential linear unit: a rectifier that goes over into a constant, not into zero.

    alpha     what it goes towards, -alpha; at least 0 (then it is a ReLU)

    Shapes    x (n, ...) -> y, the same shape
    Forward   y = x where x > 0, alpha * (exp(x) - 1) elsewhere
    Backward  dy/dx is 1 where x > 0. Elsewhere it is alpha * exp(x), and that is y + alpha:

                  dx = dy where x > 0, else dy * (y + alpha)

    Cache     y: it is positive exactly where x is, and the slope follows from it.
    Edges     at x = 0 the slope is taken from the left, alpha. With the usual alpha = 1 there is no
              kink, since both sides have the slope 1. exp(x) - 1 is NumPy's expm1, which keeps the
              digits that the subtraction would lose near 0. NaN stays NaN.
    Source    Clevert, Unterthiner and Hochreiter 2016, "Fast and Accurate Deep Network Learning by
              Exponential Linear Units (ELUs)", eq. 15.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        self.alpha = check_number("ELU alpha", alpha, least=0)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        # the minimum: exp of a large x would overflow, although nothing takes it
        y = np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))
        self.keep(x, y)
        return y

    def backward(self, dy: Array) -> Array:
        y = self.kept(dy)
        return np.where(y > 0, dy, dy * (y + self.alpha))

    def config(self) -> dict[str, Any]:
        return {"alpha": self.alpha}


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


@register(
    gradient="dx = dy − exp(y) · Σ dy",
    pointwise=True,
    uses_blas=False,
    jax=Equal("log_softmax"),
)
class LogSoftmax(Layer):
    """The logarithms of Softmax's probabilities, without the probabilities between.

    Shapes    x (n, ..., k) -> y, the same shape; along the last axis
    Forward   y[i] = log(exp(x[i]) / sum_j exp(x[j])) = x[i] - log sum_j exp(x[j])
    Backward  the derivative of log sum_j exp(x[j]) by x[j] is Softmax's output p[j] = exp(y[j]), so
              dy[i]/dx[j] = 1[i = j] - p[j] and

                  dx[j] = sum_i dy[i] (1[i = j] - p[j]) = dy[j] - exp(y[j]) sum_i dy[i]

    Cache     y.
    Edges     a probability that underflows to 0 has no logarithm, but y is right for it, because
              the row's maximum is subtracted before exp and no quotient is taken.
    Source    Goodfellow, Bengio and Courville 2016, section 6.2.2.3, eq. 6.30 and 6.31.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        shifted = x - x.max(axis=-1, keepdims=True)
        y = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        self.keep(x, y)
        return y

    def backward(self, dy: Array) -> Array:
        y = self.kept(dy)
        return dy - np.exp(y) * dy.sum(axis=-1, keepdims=True)
