"""Activations: ReLU, which bends, and Softmax, which turns scores into probabilities."""

import numpy as np

from .base import Array, Layer
from .functions import relu, relu_backward
from .registry import Equal, register

__all__ = ["ReLU", "Softmax"]


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
