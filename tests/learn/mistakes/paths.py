"""Flatten and Residual, and small layers without parameters: where a gradient goes."""

import numpy as np

import scratchnet as sn

from .case import Case, Plain


def row():
    return [sn.Dense(5), sn.Tanh()]


class MyFlatten(Plain):
    def build(self, input_shape, rng, dtype=np.float32):
        self.input_shape, self.output_shape = tuple(input_shape), (int(np.prod(input_shape)),)
        return self.output_shape

    def forward(self, x, training=False):
        return x.reshape(len(x), -1)

    def backward(self, dy):
        return dy.reshape(len(dy), *self.input_shape)


class ChannelsFirst(MyFlatten):
    def forward(self, x, training=False):
        return x.transpose(0, 3, 1, 2).reshape(len(x), -1)

    def backward(self, dy):
        h, w, c = self.input_shape
        return dy.reshape(len(dy), c, h, w).transpose(0, 2, 3, 1)


class BackAsChannelsFirst(MyFlatten):
    def backward(self, dy):
        h, w, c = self.input_shape
        return dy.reshape(len(dy), c, h, w).transpose(0, 2, 3, 1)


class StaysFlat(MyFlatten):
    def backward(self, dy):
        return dy


class ColumnByColumn(sn.Flatten):
    def backward(self, dy):
        h, w, c = self.input_shape
        return dy.reshape(len(dy), w, h, c).transpose(0, 2, 1, 3)


class MyResidual(sn.Residual):
    """y = F(x) + x, for one main row."""

    def __init__(self):
        super().__init__(row())

    def forward(self, x, training=False):
        y = x
        for layer in self.main:
            y = layer.forward(y, training)
        return y + x

    def backward(self, dy):
        dx = dy
        for layer in reversed(self.main):
            dx = layer.backward(dx)
        return dx + dy


class ShortcutForgotten(MyResidual):
    def backward(self, dy):
        dx = dy
        for layer in reversed(self.main):
            dx = layer.backward(dx)
        return dx


class MainRowForgotten(MyResidual):
    def backward(self, dy):
        return dy.copy()


class AddsToX(MyResidual):
    def forward(self, x, training=False):
        y = x
        for layer in self.main:
            y = layer.forward(y, training)
        x += y
        return x


class AddsToDy(MyResidual):
    def backward(self, dy):
        dx = dy
        for layer in reversed(self.main):
            dx = layer.backward(dx)
        dy += dx
        return dy


class NothingAdded(MyResidual):
    def forward(self, x, training=False):
        y = x
        for layer in self.main:
            y = layer.forward(y, training)
        return y


class ShortcutTwice(MyResidual):
    """Learnt by heart that the gradient is 'one more', and added it at every layer."""

    def backward(self, dy):
        dx = dy
        for layer in reversed(self.main):
            dx = layer.backward(dx) + dy
        return dx


# ---- right, and unusual --------------------------------------------------------------------------


class SkipConnection(Plain):
    """A residual block by hand, with parameters of its own names: y = x + tanh(x U)."""

    def build(self, input_shape, rng, dtype=np.float32):
        super().build(input_shape, rng, dtype)
        self.add("U", (*input_shape, *input_shape), rng, dtype)
        return self.output_shape

    def forward(self, x, training=False):
        self.cache = x, np.tanh(x @ self.params["U"])
        return x + self.cache[1]

    def backward(self, dy):
        x, t = self.cache
        dz = dy * (1 - t**2)
        self.grads["U"][:] = x.T @ dz
        return dy + dz @ self.params["U"].T


class View(MyFlatten):
    """Hands out views, not copies; what it is given may be in any order of memory."""

    def forward(self, x, training=False):
        return np.reshape(x, (x.shape[0], self.output_shape[0]), order="C")

    def backward(self, dy):
        return np.reshape(dy, (-1, *self.input_shape), order="C")


class Negate(Plain):
    """y = -x: no parameters, nothing kept, and a sign that belongs there."""

    def forward(self, x, training=False):
        return -x

    def backward(self, dy):
        return -dy


class SumOfSquares(Plain):
    """One number for each example, of a batch of vectors (n, d) -> (n, 1)."""

    def build(self, input_shape, rng, dtype=np.float32):
        self.input_shape, self.output_shape = tuple(input_shape), (1,)
        return self.output_shape

    def forward(self, x, training=False):
        self.cache = x
        return np.square(x).sum(axis=1, keepdims=True)

    def backward(self, dy):
        return 2 * self.cache * dy


class AverageOverBatch(Plain):
    """y = x less the batch's mean: here a division by the batch's size is right."""

    def forward(self, x, training=False):
        return x - x.mean(axis=0)

    def backward(self, dy):
        return dy - dy.mean(axis=0)


def residual():
    return sn.Residual(row())


D, IMAGE = (7, 5), (3, 4, 5, 2)


# fmt: off
MISTAKES = [
    Case(
        "flatten-channels-first",
        "I flatten channel by channel.",
        ChannelsFirst, (), IMAGE, sn.Flatten, ("axes-permuted",),
    ),
    Case(
        "flatten-back-channels-first",
        "Backward: reshape to (n, c, h, w), then put the channels last.",
        BackAsChannelsFirst, (), IMAGE, sn.Flatten, ("axes-permuted",),
    ),
    Case(
        "flatten-back-column-by-column",
        "Backward: (n, w, h, c), then w and h exchanged.",
        ColumnByColumn, (), IMAGE, sn.Flatten, ("axes-permuted",),
    ),
    Case(
        "flatten-stays-flat",
        "Flatten has no weights, so backward passes dy on.",
        StaysFlat, (), IMAGE, sn.Flatten, ("wrong-shape",),
    ),
    Case(
        "residual-shortcut-forgotten",
        "dx is what comes out of the main row.",
        ShortcutForgotten, (), D, residual, ("overwritten",),
    ),
    Case(
        "residual-main-row-forgotten",
        "The gradient takes the shortcut, that's the idea of it.",
        MainRowForgotten, (), D, residual, ("parameter-gradient-missing", "overwritten"),
        "the main row is left out: no gradients there, and one path of two in dx",
    ),
    Case("residual-adds-to-x", "x += F(x); return x", AddsToX, (), D, residual, ("x-changed",)),
    Case(
        "residual-adds-to-dy",
        "dy += the main row's dx; return dy",
        AddsToDy, (), D, residual, ("dy-changed",),
    ),
    Case(
        "residual-nothing-added",
        "y is what comes out of the main row.",
        NothingAdded, (), D, residual, ("forward-wrong",),
    ),
]

UNNAMED = [
    Case(
        "residual-shortcut-at-every-layer",
        "dx + dy after every layer of the main row.",
        ShortcutTwice, (), D, residual,
    ),
]

RIGHT = [
    Case("residual-by-hand", "a block with names of its own", SkipConnection, (), D, None),
    Case("residual-one-row", "only one row", MyResidual, (), D, residual),
    Case("flatten-views", "views, not copies", View, (), IMAGE, sn.Flatten),
    Case("negate", "y = -x", Negate, (), D, None),
    Case("sum-of-squares", "(n, d) to (n, 1)", SumOfSquares, (), D, None),
    Case("less-the-batch-mean", "divides by n, rightly", AverageOverBatch, (), D, None),
]
# fmt: on
