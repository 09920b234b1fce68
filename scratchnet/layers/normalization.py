"""BatchNorm and LayerNorm: values are brought to mean 0 and variance 1, then to a learnt scale.

BatchNorm takes mean and variance of one channel over the whole batch, LayerNorm of all channels of
one example.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import InputError, check_number, is_whole, shown
from .base import Array, Layer, Shape
from .registry import register

__all__ = ["BatchNorm", "LayerNorm"]


@register(
    gradient="dgamma = Σ x̂ · dy,  dbeta = Σ dy,  dx = dy · gamma / √(var + ε)",
    pointwise=True,
    uses_blas=False,
    axes={"gamma": ("map",), "beta": ("map",)},
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


@register(
    gradient="dgamma = Σ x̂ · dy,  dbeta = Σ dy,  dx = (d − mean d − x̂ · mean(d · x̂)) / √(var + ε), "
    "d = gamma · dy",
    pointwise=True,
    uses_blas=False,
)
class LayerNorm(Layer):
    """Layer normalization: over the channels at one place of one example, or over all its values.

    axis      -1, the last; or several, which must be the last ones: (-3, -2, -1), or (1, 2, 3)
              where the batch counts as 0, are all values of an image

    Shapes    x (n, ..., k) -> y, the same shape, with k for the normalized axes, one or several;
              gamma and beta have their shape
    Forward   every row of k values by itself, in training and evaluation alike:

                  mu  = 1/k sum x,      var = 1/k sum (x - mu)^2
                  x_hat = (x - mu) / sqrt(var + epsilon)
                  y = gamma * x_hat + beta

              No example depends on another, so it works for a batch of one, and there is nothing
              to remember for evaluation.

    Backward  dgamma and dbeta collect the gradient of all rows, n and the axes before k:

                  dgamma = sum dy * x_hat,   dbeta = sum dy,   dx_hat = dy * gamma

              x reaches y three ways, directly, through mu and through var, as in BatchNorm, whose
              derivation holds word for word with a row in the place of a channel:

                  dx = s (dx_hat - 1/k sum dx_hat - x_hat * 1/k sum dx_hat * x_hat)

              with s = 1 / sqrt(var + epsilon) and both sums over the row. Here gamma differs within
              the row and stays inside the sums.
    Cache     x_hat and s.
    Edges     a row of one value is normalized to 0: y = beta, dx = 0.
    Source    Ba, Kiros and Hinton 2016, "Layer Normalization", eq. 3 and 4. The default epsilon is
              Keras's; PyTorch's is 1e-5.
    """

    def __init__(self, axis: int | Sequence[int] = -1, epsilon: float = 1e-3) -> None:
        super().__init__()
        given: Any = (axis,) if is_whole(axis) else axis
        if not isinstance(given, (tuple, list)) or not given or not all(map(is_whole, given)):
            raise InputError(
                f"LayerNorm axis: expected a whole number or several, found {shown(axis)}"
            )
        axes = tuple(int(a) for a in given)
        self.axis = axes[0] if len(axes) == 1 else axes
        self.epsilon = check_number("LayerNorm epsilon", epsilon, above=0)

    def shape_after(self, input_shape: Shape) -> Shape:
        self.normalized_shape(input_shape)
        return input_shape

    def normalized_shape(self, input_shape: Shape) -> Shape:
        """The sizes of the axes that are normalized together: gamma's shape."""
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        rank = len(input_shape) + 1  # with the batch
        found = sorted(a + rank if a < 0 else a for a in axes)
        if found != [*range(rank - len(axes), rank)] or found[0] < 1:
            raise InputError(
                f"{self}: expected the last axis, or several up to the last, without the batch; "
                f"found axis {self.axis} for inputs {input_shape}"
            )
        return input_shape[-len(axes) :]

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        k = self.normalized_shape(input_shape)
        return {"gamma": k, "beta": k}

    def initialize(self, rng: np.random.Generator) -> None:
        self.params["gamma"][:] = 1

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        gamma, beta = self.params["gamma"], self.params["beta"]
        k = tuple(range(-gamma.ndim, 0))  # the normalized axes
        # added up in float64, as in BatchNorm
        mu = x.mean(axis=k, keepdims=True, dtype=np.float64).astype(x.dtype)  # (n, ..., 1)
        var = np.square(x - mu).mean(axis=k, keepdims=True, dtype=np.float64).astype(x.dtype)
        s = 1 / np.sqrt(var + self.epsilon)  # (n, ..., 1)
        x_hat = (x - mu) * s  # (n, ..., k)
        self.keep(x, (x_hat, s))
        return gamma * x_hat + beta

    def backward(self, dy: Array) -> Array:
        x_hat, s = self.kept(dy)
        gamma = self.params["gamma"]
        k = tuple(range(-gamma.ndim, 0))
        before = tuple(range(dy.ndim - gamma.ndim))
        self.grads["gamma"][:] = (dy * x_hat).sum(axis=before, dtype=np.float64)
        self.grads["beta"][:] = dy.sum(axis=before, dtype=np.float64)

        dx_hat = dy * gamma  # (n, ..., k)
        mean = dx_hat.mean(axis=k, keepdims=True)  # (n, ..., 1)
        along = (dx_hat * x_hat).mean(axis=k, keepdims=True)  # (n, ..., 1)
        return s * (dx_hat - mean - x_hat * along)

    def config(self) -> dict[str, Any]:
        return {"axis": self.axis, "epsilon": self.epsilon}
