"""Dense: every output is a weighted sum of every input."""

from typing import Any

import numpy as np

from .. import initializers, regularizers
from ..errors import InputError, check_flag, is_whole, shown
from ..regularizers import L1L2
from .base import Array, Layer, Shape
from .functions import sum_rows
from .named import checked_activation
from .registry import register

__all__ = ["Dense"]


@register(
    gradient="dW = xᵀ dy,  db = dy,  dx = dy Wᵀ", axes={"W": ("input", "unit"), "b": ("unit",)}
)
class Dense(Layer):
    """A fully connected layer.

    activation   the name of one, such as "relu", that the model is to append after this layer, as
                 the layer ReLU() (see named.py)
    kernel_regularizer   a price on large W that is added to the loss and to dW: an L1, L2 or L1L2,
                 a name, or a number, which means L2 (see regularizers.py)

    Shapes    x (n, d) -> y (n, units); W (d, units); b (units,)
    Forward   y = x @ W + b, that is y[n,j] = sum_i x[n,i] W[i,j] + b[j]
    Backward  the chain rule through that sum, index by index:

                  dL/dW[i,j] = sum_n dL/dy[n,j] dy[n,j]/dW[i,j] = sum_n x[n,i] dy[n,j]
                  dL/db[j]   = sum_n dy[n,j]
                  dL/dx[n,i] = sum_j dy[n,j] W[i,j]

              or   dW = x.T @ dy,   db = sum over n of dy,   dx = dy @ W.T.

              The shapes nearly force these: (d, units) can only come from (d, n) @ (n, units).
    Cache     x.
    Edges     an input of more than one axis is an error: put a Flatten before it.
    Source    Nielsen 2015, "Neural Networks and Deep Learning", chapter 2, eq. BP1 to BP4.
    """

    def __init__(
        self,
        units: int,
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
        activation: str | None = None,
        kernel_regularizer: L1L2 | str | float | None = None,
    ) -> None:
        super().__init__()
        if not is_whole(units, 1):
            raise InputError(f"Dense units: expected a positive whole number, found {shown(units)}")
        self.units = int(units)
        self.use_bias = check_flag("Dense use_bias", use_bias)
        self.kernel_initializer = kernel_initializer
        initializers.get(kernel_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer, "Dense kernel_regularizer")
        self.activation = checked_activation("Dense", activation)

    def shape_after(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 1:
            raise InputError(
                f"{self}: expected vectors (d,), found shape {input_shape}; put Flatten() before it"
            )
        return (self.units,)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        W = (input_shape[0], self.units)
        return {"W": W, "b": (self.units,)} if self.use_bias else {"W": W}

    def initialize(self, rng: np.random.Generator) -> None:
        W = self.params["W"]
        d, units = W.shape
        W[:] = initializers.get(self.kernel_initializer)(W.shape, d, units, rng, W.dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        y = x @ self.params["W"]  # (n, d) @ (d, units) -> (n, units)
        if self.use_bias:
            y += self.params["b"]
        self.keep(x, x)
        return y

    def backward(self, dy: Array) -> Array:
        x = self.kept(dy)
        self.grads["W"][:] = x.T @ dy  # (d, n) @ (n, units) -> (d, units)
        if self.use_bias:
            self.grads["b"][:] = sum_rows(dy)
        return dy @ self.params["W"].T  # (n, units) @ (units, d) -> (n, d)

    def multiply_adds(self) -> int:
        return self.params["W"].size

    def config(self) -> dict[str, Any]:
        price = self.kernel_regularizer
        return {
            "units": self.units,
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer,
            **({"activation": self.activation} if self.activation else {}),
            **({"kernel_regularizer": price.config()} if price else {}),
        }
