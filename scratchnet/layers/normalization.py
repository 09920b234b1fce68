"""BatchNorm: each channel is brought to mean 0 and variance 1, then to a learnt scale and shift."""

from typing import Any

import numpy as np

from ..errors import check_number
from .base import Array, Layer, Shape
from .registry import register

__all__ = ["BatchNorm"]


@register(
    gradient="dgamma = Σ x̂ · dy,  dbeta = Σ dy,  dx = dy · gamma / √(var + ε)",
    pointwise=True,
    uses_blas=False,
)
class BatchNorm(Layer):
    """Batch normalization over the last axis.

    Shapes    x (n, ..., c) -> y, the same shape; gamma, beta, running mean and variance (c,)
    Forward   in training, with the mean and variance over the m = n*h*w values of a channel,

                  mu  = 1/m sum x,      var = 1/m sum (x - mu)^2
                  x_hat = (x - mu) / sqrt(var + epsilon)
                  y = gamma * x_hat + beta

              and the running statistics follow: running = momentum * running + (1 - momentum) * new
              In evaluation the running ones take the place of mu and var.

    Backward  dgamma = sum dy * x_hat,   dbeta = sum dy,   dx_hat = dy * gamma.

              In training x reaches y three ways: directly, through mu and through var. With
              s = 1 / sqrt(var + epsilon):

                  dL/dvar = sum dx_hat * (x - mu) * (-1/2) s^3
                  dL/dmu  = -s sum dx_hat                  (var's own part is 0: sum (x - mu) = 0)
                  dx      = s dx_hat + dL/dvar * 2 (x - mu) / m + dL/dmu / m

              and put together, writing x - mu = x_hat / s:

                  dx = s (dx_hat - 1/m sum dx_hat - x_hat * 1/m sum dx_hat * x_hat)

              The gradient loses its mean and its part along x_hat: the two directions in which x
              can move without moving y. In evaluation mu and var are constants: dx = s dx_hat.
    Cache     x_hat and s, and whether the statistics were the batch's.
    Edges     the running variance is the biased one (divided by m), as in Keras and ONNX; PyTorch
              keeps the unbiased one, and its momentum is 1 minus this one. An empty batch leaves
              the running statistics as they are. Frozen (`trainable = False`) it runs as in
              evaluation, and its running statistics stay as they are: as Keras has it.
    Source    Ioffe and Szegedy 2015, algorithm 1 and the gradients of section 3.
    """

    def __init__(self, momentum: float = 0.99, epsilon: float = 1e-3) -> None:
        super().__init__()
        self.momentum = check_number("BatchNorm momentum", momentum, least=0, most=1)
        self.epsilon = check_number("BatchNorm epsilon", epsilon, above=0)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        c = input_shape[-1:]
        return {"gamma": c, "beta": c}

    def buffer_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        c = input_shape[-1:]
        return {"running_mean": c, "running_var": c}

    def initialize(self, rng: np.random.Generator) -> None:
        self.params["gamma"][:] = 1
        self.buffers["running_var"][:] = 1

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        gamma, beta = self.params["gamma"], self.params["beta"]
        running_mean, running_var = self.buffers["running_mean"], self.buffers["running_var"]
        from_batch = training and self.trainable and x.size > 0
        if from_batch:
            every_but_last = tuple(range(x.ndim - 1))
            # added up in float64: m values in float32, one by one, would lose digits
            mu = x.mean(axis=every_but_last, dtype=np.float64).astype(x.dtype)  # (c,)
            var = np.square(x - mu).mean(axis=every_but_last, dtype=np.float64).astype(x.dtype)
            running_mean += (1 - self.momentum) * (mu - running_mean)
            running_var += (1 - self.momentum) * (var - running_var)
        else:
            mu, var = running_mean, running_var

        s = 1 / np.sqrt(var + self.epsilon)  # (c,)
        x_hat = (x - mu) * s  # (n, ..., c)
        self.keep(x, (x_hat, s, from_batch))
        return gamma * x_hat + beta

    def backward(self, dy: Array) -> Array:
        x_hat, s, from_batch = self.kept(dy)
        every_but_last = tuple(range(dy.ndim - 1))
        self.grads["gamma"][:] = (dy * x_hat).sum(axis=every_but_last, dtype=np.float64)
        self.grads["beta"][:] = dy.sum(axis=every_but_last, dtype=np.float64)

        dx_hat = dy * self.params["gamma"]  # (n, ..., c)
        if not from_batch:
            return s * dx_hat
        m = dy.size // dy.shape[-1]  # and as dx_hat = gamma dy, its sums are gamma dbeta and so on
        mean_dx_hat = self.params["gamma"] * self.grads["beta"] / m  # (c,)
        mean_along_x_hat = self.params["gamma"] * self.grads["gamma"] / m  # (c,)
        return s * (dx_hat - mean_dx_hat - x_hat * mean_along_x_hat)

    def config(self) -> dict[str, Any]:
        return {"momentum": self.momentum, "epsilon": self.epsilon}
