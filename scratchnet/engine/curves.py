"""Activations that are a function of one number: the group, and its loops made of that function.

Each function and its slope are written once, for a single number. `passes` makes a loop over all
entries of it. What they compute is derived in layers/smooth.py and layers/activations.py.
"""

import math
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from ..layers import ELU, GELU, Layer, Sigmoid, SiLU, Softplus, Tanh
from ..layers.smooth import CUBIC, SLOPE
from .compiler import inner, parallel
from .exponential import exp
from .group import Array, Group
from .memory import SHARDS
from .turns import own_parts


class Curve(NamedTuple):
    """An activation as two loops.

    forward    (x, number, y)
    backward   (dy, kept, number, dx)
    keeps_x    what `kept` is: x, or y
    """

    forward: Any
    backward: Any
    keeps_x: bool


class CurveGroup(Group):
    """An activation whose every output is a function of the input at the same place."""

    kernel = "one pass"
    only_kernels = True

    def forward(self, x: Array, training: bool) -> Array:
        layer = self.layers[0]
        self.begin(x)
        self.dtype = x.dtype
        self.curve, number = CURVES[type(layer)](layer)
        self.number = x.dtype.type(number)
        y, flat = self.buffer("y", x.shape), self.contiguous("x", x).reshape(-1)
        self.call(self.curve.forward, flat, self.number, y.reshape(-1))
        self.kept = flat if self.curve.keeps_x else y.reshape(-1)
        return y

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        dx, flat = self.dx(dy.shape, dy, self.kept), self.contiguous("dy in one", dy).reshape(-1)
        self.call(self.curve.backward, flat, self.kept, self.number, dx.reshape(-1))
        return dx


# ---- loops from functions ------------------------------------------------------------------------


def passes(function: Callable, slope: Callable, keeps_x: bool = False) -> Curve:
    """The loops of an activation: of function(x, number), and of slope(kept, number)."""
    there, back = parallel(_over(_forward, function)), parallel(_over(_backward, slope))
    return Curve(there, back, keeps_x)


def _over(loop: Any, function: Callable) -> Any:
    """The loop with `function` in the place of the name `one`.

    Numba takes what a loop calls from the loop's globals, and compiles it into the loop. Its cache
    knows a loop by its name, so each has its own.
    """
    name = f"{function.__name__}{loop.__name__}"
    made = FunctionType(loop.__code__, {**loop.__globals__, "one": inner(function)}, name)
    made.__qualname__, made.__module__ = name, __name__
    return made


def one(x: Any, number: Any) -> Any:
    """What stands in the two loops below for the function that they are made over."""
    raise NotImplementedError


def _forward(worker, x, number, y):
    for shard in own_parts(worker, SHARDS):
        first, last = shard * x.size // SHARDS, (shard + 1) * x.size // SHARDS
        source, out = x[first:last], y[first:last]
        for k in range(last - first):
            out[k] = one(source[k], number)


def _backward(worker, dy, kept, number, dx):
    for shard in own_parts(worker, SHARDS):
        first, last = shard * dy.size // SHARDS, (shard + 1) * dy.size // SHARDS
        grad, at, out = dy[first:last], kept[first:last], dx[first:last]
        for k in range(last - first):
            out[k] = grad[k] * one(at[k], number)


# ---- the functions: of numbers in x's dtype, and so are all constants in them --------------------
# float32 with an integer or a Python float is float64 to Numba, which is slower and no use here


def sigmoid(x, number):
    # for negative x exp(x) / (1 + exp(x)): exp can't overflow
    e = exp(-abs(x))
    return (e if x < 0 else type(x)(1)) / (type(x)(1) + e)


def sigmoid_slope(y, number):
    return y * (type(y)(1) - y)


def tanh(x, number):
    return np.tanh(x)


def tanh_slope(y, number):
    return type(y)(1) - y * y


def elu(x, alpha):
    return x if x > 0 else alpha * np.expm1(x)


def elu_slope(y, alpha):
    return type(y)(1) if y > 0 else y + alpha


def softplus(x, number):
    # NaN is not greater, and passes through the other branch
    e = np.log1p(np.exp(-abs(x)))
    return x + e if x > 0 else e


def softplus_slope(y, number):
    return -np.expm1(-y)


def silu(x, number):
    # -infinity times 0 would be NaN
    return type(x)(0) if x == -np.inf else x * _sigmoid(x, number)


def silu_slope(x, number):
    s = _sigmoid(x, number)
    if s == type(x)(0) or s == type(x)(1):  # x times what is 0 there, and x may be infinite
        return s
    return s + x * s * (type(x)(1) - s)


def gelu(x, number):
    return type(x)(0) if x == -np.inf else x * _share(x)


def gelu_slope(x, number):
    share = _share(x)
    if abs(x) > type(x)(40):  # the density is 0 there
        return share
    density = np.exp(-x * x * type(x)(0.5)) * type(x)(1 / math.sqrt(2 * math.pi))
    return share + x * density


def gelu_tanh(x, number):
    return type(x)(0) if x == -np.inf else x * _fitted_share(x)


def gelu_tanh_slope(x, number):
    share = _fitted_share(x)
    if abs(x) > type(x)(40):
        return share
    rise = type(x)(2 * SLOPE) * (type(x)(1) + type(x)(3 * CUBIC) * x * x)
    return share + x * share * _fitted_share(-x) * rise


_sigmoid = inner(sigmoid)


@inner
def _share(x):
    """Of a normal distribution, below x."""
    return type(x)(0.5) * type(x)(math.erfc(-x * type(x)(math.sqrt(0.5))))


@inner
def _fitted_share(x):
    """The same, by the formula that was fitted to it."""
    if abs(x) > type(x)(40):  # its cube may overflow
        return type(x)(1) if x > 0 else type(x)(0)
    return _sigmoid(type(x)(2 * SLOPE) * (x + type(x)(CUBIC) * x * x * x), x)


GELUS = {
    "none": passes(gelu, gelu_slope, keeps_x=True),
    "tanh": passes(gelu_tanh, gelu_tanh_slope, keeps_x=True),
}


def _always(curve: Curve) -> Callable[[Any], tuple[Curve, float]]:
    return lambda layer: (curve, 0.0)


_elu = passes(elu, elu_slope)

#: of a layer: its loops, and the number that they take
CURVES: dict[type[Layer], Callable[[Any], tuple[Curve, float]]] = {
    Sigmoid: _always(passes(sigmoid, sigmoid_slope)),
    Tanh: _always(passes(tanh, tanh_slope)),
    Softplus: _always(passes(softplus, softplus_slope)),
    SiLU: _always(passes(silu, silu_slope, keeps_x=True)),
    ELU: lambda layer: (_elu, layer.alpha),
    GELU: lambda layer: (GELUS[layer.approximate], 0.0),
}
