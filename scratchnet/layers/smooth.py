"""Smooth activations: Sigmoid, Tanh, Softplus, SiLU and GELU; each bends without a kink.

All are functions of one number, applied to each entry by itself, so every backward pass is
dx = dy * f'(x). What is written here is f, f', and how both stay right for large |x|.
"""

import math
from typing import Any

import numpy as np

from ..errors import InputError, shown
from .base import Array, Layer
from .registry import Equal, register
from .special import erfc

__all__ = ["GELU", "SiLU", "Sigmoid", "Softplus", "Tanh"]

#: exp(-x) is 0 from here on, in every dtype; so a larger |x| may be taken for this one
LARGE = 800.0


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)); for negative x as exp(x) / (1 + exp(x)), so that exp can't overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, x.dtype.type(1)) / (1 + e)


@register(
    gradient="dx = dy · y (1 − y)",
    formula="1 / (1 + exp(-{x}))",
    pointwise=True,
    uses_blas=False,
    torch=Equal("Sigmoid"),
    keras=Equal("Activation", fixed={"activation": "sigmoid"}),
    jax=Equal("sigmoid"),
    onnx=Equal("Sigmoid"),
)
class Sigmoid(Layer):
    """The logistic function: any number to one between 0 and 1, such as a probability.

    Shapes    x (n, ...) -> y, the same shape
    Forward   y = 1 / (1 + exp(-x))
    Backward  dy/dx = exp(-x) / (1 + exp(-x))^2. The two factors 1 / (1 + exp(-x)) = y and
              exp(-x) / (1 + exp(-x)) = 1 - y are known already:

                  dx = dy * y * (1 - y)

              It is at most dy / 4, and next to nothing where y is near 0 or 1: deep networks of
              sigmoids learn slowly in their first layers.
    Cache     y.
    Edges     no x is too large: see `sigmoid`. NaN stays NaN.
    Source    Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating
              errors", eq. 2.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        y = sigmoid(x)
        self.keep(x, y)
        return y

    def backward(self, dy: Array) -> Array:
        y = self.kept(dy)
        return dy * y * (1 - y)


@register(
    gradient="dx = dy · (1 − y²)",
    formula="tanh({x})",
    pointwise=True,
    uses_blas=False,
    torch=Equal("Tanh"),
    keras=Equal("Activation", fixed={"activation": "tanh"}),
    jax=Equal("tanh"),
    onnx=Equal("Tanh"),
)
class Tanh(Layer):
    """The hyperbolic tangent: any number to one between -1 and 1, with 0 staying 0.

    Shapes    x (n, ...) -> y, the same shape
    Forward   y = tanh(x) = (exp(x) - exp(-x)) / (exp(x) + exp(-x)) = 2 sigmoid(2x) - 1
    Backward  with s = sigmoid(2x): dy/dx = 4 s (1 - s), and s = (1 + y) / 2, so

                  dx = dy * (1 + y) * (1 - y) = dy * (1 - y^2)

    Cache     y.
    Edges     NaN stays NaN.
    Source    LeCun, Bottou, Orr and Müller 1998, "Efficient BackProp", section 4.4.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        y = np.tanh(x)
        self.keep(x, y)
        return y

    def backward(self, dy: Array) -> Array:
        y = self.kept(dy)
        return dy * (1 - y * y)


@register(
    gradient="dx = dy · sigmoid(x)",
    formula="log(1 + exp({x}))",
    pointwise=True,
    uses_blas=False,
    # PyTorch takes y = x above its threshold; above this one it is that, to the last digit
    torch=Equal("Softplus", fixed={"threshold": 40.0}),
    keras=Equal("Activation", fixed={"activation": "softplus"}),
    jax=Equal("softplus"),
    onnx=Equal("Softplus"),
)
class Softplus(Layer):
    """A rectifier without a corner: y is always positive, and near x where x is large.

    Shapes    x (n, ...) -> y, the same shape
    Forward   y = log(1 + exp(x)); for positive x as x + log(1 + exp(-x)), which is the same, so

                  y = max(x, 0) + log(1 + exp(-|x|))

    Backward  dy/dx = exp(x) / (1 + exp(x)) = sigmoid(x). As 1 + exp(x) = exp(y), it is known from
              y as well: 1 - 1 / (1 + exp(x)) = 1 - exp(-y), so

                  dx = dy * (1 - exp(-y))

    Cache     y.
    Edges     exp can't overflow; log(1 + e) and 1 - exp(-y) are NumPy's log1p and expm1, which keep
              the digits of what is small. NaN stays NaN.
    Source    Dugas, Bengio, Bélisle, Nadeau and Garcia 2001, "Incorporating Second-Order Functional
              Knowledge for Better Option Pricing", section 2.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        y = np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))
        self.keep(x, y)
        return y

    def backward(self, dy: Array) -> Array:
        y = self.kept(dy)
        return dy * -np.expm1(-y)


@register(
    gradient="dx = dy · (s + x s (1 − s)), s = sigmoid(x)",
    formula="{x} / (1 + exp(-{x}))",
    pointwise=True,
    uses_blas=False,
    torch=Equal("SiLU"),
    keras=Equal("Activation", fixed={"activation": "silu"}),
    jax=Equal("silu"),
)
class SiLU(Layer):
    """The sigmoid linear unit, also called swish: x, weighted by its own sigmoid.

    Shapes    x (n, ...) -> y, the same shape
    Forward   y = x s, with s = sigmoid(x)
    Backward  the product rule, and s' = s (1 - s) from Sigmoid:

                  dx = dy * (s + x s (1 - s))

    Cache     x.
    Edges     y is about -0.28 at its lowest, near x = -1.28, and goes back to 0 on the left of it:
              -infinity gives 0. NaN stays NaN.
    Source    Elfwing, Uchibe and Doya 2018, "Sigmoid-weighted linear units for neural network
              function approximation in reinforcement learning", eq. 11 and 12.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        self.keep(x, x)
        return np.maximum(x, -LARGE) * sigmoid(x)

    def backward(self, dy: Array) -> Array:
        x = np.clip(self.kept(dy), -LARGE, LARGE)
        s = sigmoid(x)
        return dy * (s + x * s * (1 - s))


#: of GELU's approximation
SLOPE, CUBIC = math.sqrt(2 / math.pi), 0.044715


@register(
    gradient="dx = dy · (Φ(x) + x Φ′(x))",
    formula="{x} * Phi({x})",
    pointwise=True,
    uses_blas=False,
    torch=Equal("GELU", {"approximate": "approximate"}),
    jax=Equal("gelu", {"approximate": "is_approximate"}),
    onnx=Equal("Gelu", {"approximate": "approximate"}),
)
class GELU(Layer):
    """The Gaussian error linear unit: x, weighted by the share of a normal distribution below it.

    approximate   False or "none": with the normal distribution itself. True or "tanh": with the
                  formula that was fitted to it when error functions were slow

    Shapes    x (n, ...) -> y, the same shape
    Forward   y = x Phi(x). Phi is the distribution function of the normal distribution,

                  Phi(x) = 1/2 erfc(-x / sqrt(2))

              or approximately, with u = sqrt(2 / pi) (x + 0.044715 x^3),

                  Phi(x) = 1/2 (1 + tanh(u)) = sigmoid(2u)

    Backward  the product rule: dx = dy * (Phi(x) + x Phi'(x)). Phi' is the normal density, or by
              the chain rule, with sigmoid' = s (1 - s), what follows from the approximation:

                  Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi)
                  Phi'(x) = Phi(x) Phi(-x) 2 sqrt(2 / pi) (1 + 3 * 0.044715 x^2)

              Phi(-x) is 1 - Phi(x), with all its digits where Phi(x) is nearly 1.

    Cache     x.
    Edges     -infinity gives 0. The textbook's 1 + erf and 1 + tanh are not used: for negative x
              they subtract what is nearly equal, and lose the digits of a small y. NaN stays NaN.
    Source    Hendrycks and Gimpel 2016, "Gaussian Error Linear Units (GELUs)", section 2.
    """

    def __init__(self, approximate: bool | str = False) -> None:
        super().__init__()
        known = {False: "none", True: "tanh", "none": "none", "tanh": "tanh"}
        is_known = isinstance(approximate, (bool, np.bool_, str)) and approximate in known
        if not is_known:
            raise InputError(
                'GELU approximate: expected False or "none", True or "tanh", '
                f"found {shown(approximate)}"
            )
        self.approximate = known[approximate]

    @property
    def is_approximate(self) -> bool:
        return self.approximate == "tanh"

    def share(self, x: Array) -> Array:
        """Phi(x)."""
        if self.is_approximate:
            return sigmoid(2 * SLOPE * (x + CUBIC * x * x * x))
        return erfc(-math.sqrt(0.5) * x) / 2

    def density(self, x: Array, share: Array) -> Array:
        """Phi'(x), where Phi(x) is known."""
        if self.is_approximate:
            return share * self.share(-x) * (2 * SLOPE * (1 + 3 * CUBIC * x * x))
        return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        self.keep(x, x)
        return np.maximum(x, -LARGE) * self.share(np.clip(x, -LARGE, LARGE))

    def backward(self, dy: Array) -> Array:
        x = np.clip(self.kept(dy), -LARGE, LARGE)
        share = self.share(x)
        return dy * (share + x * self.density(x, share))

    def config(self) -> dict[str, Any]:
        return {"approximate": self.approximate}
