"""ReLU, LeakyReLU, sigmoid, tanh and softmax."""

import numpy as np

import scratchnet as sn

from .case import Case, Plain, large, negative


class MyReLU(Plain):
    def forward(self, x, training=False):
        self.cache = x > 0
        return np.maximum(x, 0)

    def backward(self, dy):
        return dy * self.cache


class GateForgotten(MyReLU):
    def backward(self, dy):
        return dy.copy()


class GateOfDy(MyReLU):
    def backward(self, dy):
        return np.maximum(dy, 0)


class ZeroesDy(MyReLU):
    def backward(self, dy):
        dy[~self.cache] = 0
        return dy


class ZeroesX(MyReLU):
    def forward(self, x, training=False):
        self.cache = x > 0
        x[x < 0] = 0
        return x


class GateOfFirstBatch(MyReLU):
    def forward(self, x, training=False):
        if not hasattr(self, "mask"):
            self.mask = x > 0
        self.cache = self.mask
        return np.maximum(x, 0)


class GateTheOtherWay(MyReLU):
    def backward(self, dy):
        return np.where(self.cache, 0, dy)


class MyLeakyReLU(sn.Layer):
    def __init__(self, slope):
        super().__init__()
        self.slope = slope

    def forward(self, x, training=False):
        self.check_input(x)
        self.keep(x, x)
        return np.where(x > 0, x, self.slope * x)

    def backward(self, dy):
        x = self.kept(dy)
        return np.where(x > 0, dy, self.slope * dy)


class SlopeWithoutDy(MyLeakyReLU):
    def backward(self, dy):
        x = self.kept(dy)
        return np.where(x > 0, 1, self.slope)


class LeakySign(MyLeakyReLU):
    def backward(self, dy):
        x = self.kept(dy)
        return np.where(x > 0, dy, -self.slope * dy)


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


class MySigmoid(Plain):
    def forward(self, x, training=False):
        self.cache = sigmoid(x)
        return self.cache

    def backward(self, dy):
        y = self.cache
        return dy * y * (1 - y)


class SigmoidOfY(MySigmoid):
    def backward(self, dy):
        s = sigmoid(self.cache)
        return dy * s * (1 - s)


class SigmoidFormulaOfX(MySigmoid):
    def forward(self, x, training=False):
        self.cache = x
        return sigmoid(x)


class HalfOfIt(MySigmoid):
    def backward(self, dy):
        return dy * (1 - self.cache)


class SigmoidInFloat32(MySigmoid):
    def forward(self, x, training=False):
        self.cache = sigmoid(x.astype("float32"))
        return self.cache


class MyTanh(sn.Layer):
    def forward(self, x, training=False):
        self.check_input(x)
        y = np.tanh(x)
        self.keep(x, y)
        return y

    def backward(self, dy):
        y = self.kept(dy)
        return dy * (1 - y**2)


class TanhOfY(MyTanh):
    def backward(self, dy):
        return dy * (1 - np.tanh(self.kept(dy)) ** 2)


class OneLessX(MyTanh):
    def forward(self, x, training=False):
        y = super().forward(x, training)
        self.keep(x, x)
        return y


class DyForgotten(MyTanh):
    def backward(self, dy):
        return 1 - self.kept(dy) ** 2


class LessOne(MyTanh):
    def backward(self, dy):
        return dy * (self.kept(dy) ** 2 - 1)


class KeepsFloat32(MyTanh):
    def forward(self, x, training=False):
        y = np.tanh(x)
        self.keep(x, y.astype(np.float32))
        return y


class ScalesDy(MyTanh):
    def backward(self, dy):
        y = self.kept(dy)
        dy *= 1 - y**2
        return dy


class MySoftmax(Plain):
    def forward(self, x, training=False):
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        self.cache = e / e.sum(axis=-1, keepdims=True)
        return self.cache

    def backward(self, dy):
        y = self.cache
        return y * (dy - (dy * y).sum(axis=-1, keepdims=True))


class MaximumForgotten(MySoftmax):
    def forward(self, x, training=False):
        e = np.exp(x)
        self.cache = e / e.sum(axis=-1, keepdims=True)
        return self.cache


class Diagonal(MySoftmax):
    def backward(self, dy):
        y = self.cache
        return dy * y * (1 - y)


class OuterFactorForgotten(MySoftmax):
    def backward(self, dy):
        y = self.cache
        return dy - (dy * y).sum(axis=-1, keepdims=True)


class OverTheBatch(MySoftmax):
    def forward(self, x, training=False):
        e = np.exp(x - x.max(axis=0))
        self.cache = e / e.sum(axis=0)
        return self.cache

    def backward(self, dy):
        y = self.cache
        return y * (dy - (dy * y).sum(axis=0))


class SoftmaxOfY(MySoftmax):
    def forward(self, x, training=False):
        y = super().forward(x, training)
        e = np.exp(y)
        self.cache = e / e.sum(axis=-1, keepdims=True)
        return y


class SumOverEverything(MySoftmax):
    def backward(self, dy):
        y = self.cache
        return y * (dy - (dy * y).sum())


class Swish(Plain):
    """y = x sigmoid(x): no layer to compare with is given."""

    def forward(self, x, training=False):
        self.cache = x, sigmoid(x)
        return x * self.cache[1]

    def backward(self, dy):
        x, s = self.cache
        return dy * (s + x * s * (1 - s))


class SwishStale(Swish):
    def forward(self, x, training=False):
        if self.cache is None or self.cache[0].shape != x.shape:
            self.cache = x, sigmoid(x)
        return x * sigmoid(x)


class SwishInPlace(Swish):
    def forward(self, x, training=False):
        s = sigmoid(x)
        self.cache = x.copy(), s
        x *= s
        return x


class SwishWritesDy(Swish):
    def backward(self, dy):
        x, s = self.cache
        dy *= s + x * s * (1 - s)
        return dy


class SwishNothingBack(Swish):
    def backward(self, dy):
        x, s = self.cache
        self.dx = dy * (s + x * s * (1 - s))


# ---- right, and unusual --------------------------------------------------------------------------


class Product(MyReLU):
    def forward(self, x, training=False):
        self.cache = np.heaviside(x, 0.0)
        return x * self.cache


class InItsOwnCopy(MyReLU):
    """In place, but in a copy."""

    def forward(self, x, training=False):
        y = x.copy()
        y[y < 0] = 0
        self.cache = y
        return y

    def backward(self, dy):
        dx = dy.copy()
        dx[self.cache <= 0] = 0
        return dx


class Larger(MyLeakyReLU):
    def forward(self, x, training=False):
        self.keep(x, np.where(x > 0, 1.0, self.slope))
        return np.maximum(x, self.slope * x)

    def backward(self, dy):
        return self.kept(dy) * dy


class ByTanh(MySigmoid):
    def forward(self, x, training=False):
        self.cache = np.tanh(x / 2)
        return (1 + self.cache) / 2

    def backward(self, dy):
        return dy * (1 - self.cache) * (1 + self.cache) / 4


class BySigmoid(MyTanh):
    """tanh(x) = 2 sigmoid(2x) - 1, and its derivative from x."""

    def forward(self, x, training=False):
        self.keep(x, x)
        return 2 * sigmoid(2 * x) - 1

    def backward(self, dy):
        s = sigmoid(2 * self.kept(dy))
        return 4 * s * (1 - s) * dy


class WholeJacobian(MySoftmax):
    def backward(self, dy):
        y = self.cache
        jacobian = y[..., :, None] * (np.eye(y.shape[-1]) - y[..., None, :])
        return np.einsum("...i,...ij->...j", dy, jacobian)


class ByLogarithms(MySoftmax):
    def forward(self, x, training=False):
        self.cache = np.exp(x - np.logaddexp.reduce(x, axis=-1, keepdims=True))
        return self.cache


class Step(Plain):
    """1 where x is positive: its gradient is 0 wherever there is one."""

    def forward(self, x, training=False):
        return (x > 0).astype(x.dtype)

    def backward(self, dy):
        return np.zeros_like(dy)


class SignGate(Plain):
    """y = |x|: half of the slopes are negative."""

    def forward(self, x, training=False):
        self.cache = np.sign(x)
        return np.abs(x)

    def backward(self, dy):
        return self.cache * dy


A = (6, 4, 5)
S = (6, 4)

# fmt: off
MISTAKES = [
    Case(
        "relu-gate-forgotten",
        "ReLU has no weights: backward passes dy on.",
        GateForgotten, (), A, sn.ReLU, ("mask-unused", "missing-factor"),
        "the gate x > 0 is a mask, and a factor",
    ),
    Case(
        "relu-gate-of-dy",
        "Backward is ReLU again: negative gradients become 0.",
        GateOfDy, (), A, sn.ReLU, ("mask-of-dy",),
    ),
    Case("relu-zeroes-dy", "dy[x <= 0] = 0; return dy", ZeroesDy, (), A, sn.ReLU, ("dy-changed",)),
    Case("relu-zeroes-x", "x[x < 0] = 0; return x", ZeroesX, (), A, sn.ReLU, ("x-changed",)),
    Case(
        "relu-gate-of-first-batch",
        "The mask is made once, in the first forward.",
        GateOfFirstBatch, (), A, sn.ReLU, ("stale-cache",),
    ),
    Case(
        "leaky-slope-without-dy",
        "Backward: 1 where x > 0, and the slope elsewhere.",
        SlopeWithoutDy, (0.2,), A, lambda: sn.LeakyReLU(0.2), ("missing-factor",),
        "dy is what is dropped",
    ),
    Case(
        "sigmoid-of-y",
        "sigmoid' = s (1 - s), and I had y in the cache.",
        SigmoidOfY, (), A, sn.Sigmoid, ("derivative-of-output",),
    ),
    Case(
        "sigmoid-formula-of-x",
        "a (1 - a), with the input in the cache.",
        SigmoidFormulaOfX, (), A, sn.Sigmoid, ("derivative-of-output",),
    ),
    Case(
        "sigmoid-half-of-it",
        "dy * (1 - y)",
        HalfOfIt, (), A, sn.Sigmoid, ("missing-factor",),
    ),
    Case(
        "sigmoid-in-float32",
        "I convert to float32 first.",
        SigmoidInFloat32, (), A, sn.Sigmoid, ("float32-inside",),
    ),
    Case("tanh-of-y", "1 - tanh(y)**2", TanhOfY, (), A, sn.Tanh, ("derivative-of-output",)),
    Case(
        "tanh-one-less-x",
        "1 - x**2, with x from the cache.",
        OneLessX, (), A, sn.Tanh, ("derivative-of-output",),
    ),
    Case(
        "tanh-dy-forgotten",
        "The derivative of tanh is 1 - y**2, so that is what I return.",
        DyForgotten, (), A, sn.Tanh, ("missing-factor",),
        "dy is what is dropped",
    ),
    Case("tanh-less-one", "y**2 - 1", LessOne, (), A, sn.Tanh, ("sign",)),
    Case("tanh-less-one-alone", "y**2 - 1", LessOne, (), A, None, ("sign",)),
    Case(
        "tanh-keeps-float32",
        "I keep y in float32, to save memory.",
        KeepsFloat32, (), A, sn.Tanh, ("float32-inside",),
    ),
    Case("tanh-scales-dy", "dy *= 1 - y**2", ScalesDy, (), A, sn.Tanh, ("dy-changed",)),
    Case(
        "softmax-maximum-forgotten",
        "exp(x) / sum(exp(x)), as in the book.",
        MaximumForgotten, (), S, sn.Softmax, ("shifted-max",),
    ),
    Case(
        "softmax-maximum-forgotten-alone",
        "exp(x) / sum(exp(x)), as in the book.",
        MaximumForgotten, (), S, None, ("shifted-max",),
    ),
    Case(
        "softmax-diagonal",
        "y (1 - y), like the sigmoid's.",
        Diagonal, (), S, sn.Softmax, ("diagonal-only",),
    ),
    Case(
        "softmax-diagonal-three-axes",
        "y (1 - y), like the sigmoid's.",
        Diagonal, (), (4, 3, 5), sn.Softmax, ("diagonal-only",),
    ),
    Case(
        "softmax-outer-factor-forgotten",
        "dy - sum(dy * y)",
        OuterFactorForgotten, (), S, sn.Softmax, ("missing-factor",),
    ),
    Case(
        "softmax-over-the-batch",
        "e / e.sum(axis=0)",
        OverTheBatch, (), S, sn.Softmax, ("forward-wrong", "axes-permuted"),
        "right along the wrong axis; it is the softmax of x.T, transposed",
    ),
    Case(
        "softmax-of-y",
        "In the cache is y, and then softmax once more, to be sure.",
        SoftmaxOfY, (), S, sn.Softmax, ("derivative-of-output",),
    ),
    Case(
        "swish-stale",
        "Computed anew only where the shape changes.",
        SwishStale, (), A, None, ("stale-cache",),
    ),
    Case("swish-in-place", "x *= sigmoid(x)", SwishInPlace, (), A, None, ("x-changed",)),
    Case("swish-writes-dy", "dy *= the derivative", SwishWritesDy, (), A, None, ("dy-changed",)),
    Case(
        "swish-nothing-back",
        "I keep dx in self.dx.",
        SwishNothingBack, (), A, None, ("dx-missing",),
    ),
]

UNNAMED = [
    Case("relu-gate-the-other-way", "where(x > 0, 0, dy)", GateTheOtherWay, (), A, sn.ReLU),
    Case("softmax-sum-over-everything", "no axis", SumOverEverything, (), S, sn.Softmax),
    Case("leaky-sign", "-slope on the left", LeakySign, (0.2,), A, lambda: sn.LeakyReLU(0.2)),
]

RIGHT = [
    Case("relu-product", "x times a step", Product, (), A, sn.ReLU),
    Case("relu-own-copy", "in place, in a copy", InItsOwnCopy, (), A, sn.ReLU),
    Case("relu-all-negative", "no unit alive", MyReLU, (), A, sn.ReLU, values=negative),
    Case("relu-all-negative-alone", "no unit alive", MyReLU, (), A, None, values=negative),
    Case("leaky-larger", "max(x, slope x)", Larger, (0.2,), A, lambda: sn.LeakyReLU(0.2)),
    Case("sigmoid-by-tanh", "(1 + tanh(x/2)) / 2", ByTanh, (), A, sn.Sigmoid),
    Case("sigmoid-saturated", "all near 0 or 1", MySigmoid, (), A, sn.Sigmoid, values=large),
    Case("tanh-by-sigmoid", "2 s(2x) - 1, derivative from x", BySigmoid, (), A, sn.Tanh),
    Case("softmax-whole-jacobian", "a matrix for every row", WholeJacobian, (), S, sn.Softmax),
    Case("softmax-by-logarithms", "logaddexp", ByLogarithms, (), S, sn.Softmax),
    Case("softmax-three-axes", "(n, t, k)", MySoftmax, (), (4, 3, 5), sn.Softmax),
    Case("softmax-sure", "probabilities 0 and 1", MySoftmax, (), S, sn.Softmax, values=large),
    Case("swish", "nothing to compare with", Swish, (), A, None),
    Case("step", "a gradient of 0 everywhere", Step, (), A, None),
    Case("absolute-value", "negative slopes, rightly", SignGate, (), A, None),
]
# fmt: on
