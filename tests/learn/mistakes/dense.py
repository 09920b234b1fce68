"""Dense."""

import numpy as np

import scratchnet as sn

from .case import Case, Plain, nearly_even


class MyDense(Plain):
    """As a learner writes it who has read the first lesson: plain, and right."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def build(self, input_shape, rng, dtype=np.float32):
        self.input_shape, self.output_shape = tuple(input_shape), (self.units,)
        self.add("W", (input_shape[0], self.units), rng, dtype)
        self.add("b", (self.units,), rng, dtype)
        return self.output_shape

    def forward(self, x, training=False):
        self.cache = x
        return x @ self.params["W"] + self.params["b"]

    def backward(self, dy):
        x = self.cache
        self.grads["W"][:] = x.T @ dy
        self.grads["b"][:] = dy.sum(axis=0)
        return dy @ self.params["W"].T


class WeightsAveraged(MyDense):
    def backward(self, dy):
        x = self.cache
        self.grads["W"][:] = x.T @ dy / len(x)
        self.grads["b"][:] = dy.sum(axis=0)
        return dy @ self.params["W"].T


class BiasAveraged(sn.Dense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["b"][:] = dy.mean(axis=0)
        return dx


class AllAveraged(MyDense):
    def backward(self, dy):
        x, n = self.cache, len(dy)
        self.grads["W"][:] = x.T @ dy / n
        self.grads["b"][:] = dy.sum(axis=0) / n
        return dy @ self.params["W"].T


class Downhill(MyDense):
    def backward(self, dy):
        x = self.cache
        self.grads["W"][:] = -(x.T @ dy)
        self.grads["b"][:] = -dy.sum(axis=0)
        return dy @ self.params["W"].T


class Uphill(sn.Dense):
    def backward(self, dy):
        return -super().backward(dy)


class BackThroughW(MyDense):
    def backward(self, dy):
        x = self.cache
        self.grads["W"][:] = x.T @ dy
        self.grads["b"][:] = dy.sum(axis=0)
        return dy @ self.params["W"]


class WeightsTheOtherWay(MyDense):
    def backward(self, dy):
        x = self.cache
        self.grads["W"] = dy.T @ x
        self.grads["b"] = dy.sum(axis=0)
        return dy @ self.params["W"].T


class WeightsTheOtherWayInPlace(MyDense):
    def backward(self, dy):
        x = self.cache
        self.grads["W"][:] = dy.T @ x
        self.grads["b"][:] = dy.sum(axis=0)
        return dy @ self.params["W"].T


class ForwardThroughTranspose(MyDense):
    def forward(self, x, training=False):
        self.cache = x
        return x @ self.params["W"].T + self.params["b"]

    def backward(self, dy):
        self.grads["W"][:] = dy.T @ self.cache
        self.grads["b"][:] = dy.sum(axis=0)
        return dy @ self.params["W"]


class NothingReturned(MyDense):
    def backward(self, dy):
        x = self.cache
        self.grads["W"][:] = x.T @ dy
        self.grads["b"][:] = dy.sum(axis=0)


class BiasForgotten(MyDense):
    def backward(self, dy):
        self.grads["W"][:] = self.cache.T @ dy
        return dy @ self.params["W"].T


class WeightsNotStored(MyDense):
    def backward(self, dy):
        W = self.params["W"]
        dW = self.cache.T @ dy  # noqa: F841
        self.grads["b"][:] = dy.sum(axis=0)
        return dy @ W.T


class Adding(MyDense):
    def backward(self, dy):
        x = self.cache
        self.grads["W"] += x.T @ dy
        self.grads["b"] += dy.sum(axis=0)
        return dy @ self.params["W"].T


class OneSumForAllBiases(MyDense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["b"][:] = dy.sum()
        return dx


class BiasNotSummed(MyDense):
    def backward(self, dy):
        self.grads["W"] = self.cache.T @ dy
        self.grads["b"] = dy
        return dy @ self.params["W"].T


class InFloat32(MyDense):
    def forward(self, x, training=False):
        x = x.astype(np.float32)
        self.cache = x
        return x @ self.params["W"] + self.params["b"]


class WeightsOfFloat32(MyDense):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["W"] = (self.cache.T @ dy).astype(np.float32)
        return dx


class FirstInputKept(MyDense):
    def forward(self, x, training=False):
        if self.cache is None:
            self.cache = x
        return x @ self.params["W"] + self.params["b"]


class KeptWhileTraining(MyDense):
    """The right one keeps x always, as Grad-CAM needs it."""

    def forward(self, x, training=False):
        if training or self.cache is None:
            self.cache = x
        return x @ self.params["W"] + self.params["b"]


class RateInside(MyDense):
    def backward(self, dy):
        x = self.cache
        self.grads["W"][:] = 0.01 * (x.T @ dy)
        self.grads["b"][:] = 0.01 * dy.sum(axis=0)
        return dy @ self.params["W"].T


class WeightsDroppedInDx(MyDense):
    """As many units as inputs, so the shape is right."""

    def backward(self, dy):
        super().backward(dy)
        return dy.copy()


class NewWeightsEachTime(MyDense):
    def build(self, input_shape, rng, dtype=np.float32):
        self.rng = rng
        return super().build(input_shape, rng, dtype)

    def forward(self, x, training=False):
        self.params["W"][:] = 0.1 * self.rng.standard_normal(self.params["W"].shape)
        return super().forward(x, training)


class BiasNotAdded(MyDense):
    def forward(self, x, training=False):
        self.cache = x
        return x @ self.params["W"]


class InputScaledInPlace(MyDense):
    """The right one takes x as it comes; this one wants it within [-1, 1]."""

    def forward(self, x, training=False):
        np.clip(x, -1, 1, out=x)
        return super().forward(x, training)


# ---- right, and unusual --------------------------------------------------------------------------


class Einsum(MyDense):
    def forward(self, x, training=False):
        self.cache = x
        return np.einsum("ni,ij->nj", x, self.params["W"]) + self.params["b"]

    def backward(self, dy):
        np.einsum("ni,nj->ij", self.cache, dy, out=self.grads["W"])
        np.einsum("nj->j", dy, out=self.grads["b"])
        return np.einsum("nj,ij->ni", dy, self.params["W"])


class ColumnMajor(MyDense):
    def forward(self, x, training=False):
        self.cache = np.asfortranarray(x)
        return (self.params["W"].T @ x.T).T + self.params["b"]

    def backward(self, dy):
        super().backward(dy)
        return np.asfortranarray(dy @ self.params["W"].T)


class ZeroesThenAdds(MyDense):
    """Example by example, from the last to the first: other rounding, the same sums."""

    def backward(self, dy):
        self.grads["W"].fill(0)
        self.grads["b"].fill(0)
        dx = np.zeros_like(self.cache)
        for i in reversed(range(len(dy))):
            self.grads["W"] += np.outer(self.cache[i], dy[i])
            self.grads["b"] += dy[i]
            dx[i] += self.params["W"] @ dy[i]
        return dx


class OneBufferForDx(MyDense):
    """Returns the same memory from every backward, as the protocol allows."""

    def backward(self, dy):
        super().backward(dy)
        if getattr(self, "dx", None) is None or self.dx.shape != self.cache.shape:
            self.dx = np.empty_like(self.cache)
        return np.matmul(dy, self.params["W"].T, out=self.dx)


class BiasInTheMatrix(Plain):
    """One parameter, theta (d + 1, units): its last row is the bias, beside a column of ones."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def build(self, input_shape, rng, dtype=np.float32):
        self.input_shape, self.output_shape = tuple(input_shape), (self.units,)
        self.add("theta", (input_shape[0] + 1, self.units), rng, dtype)
        return self.output_shape

    def forward(self, x, training=False):
        self.cache = np.hstack([x, np.ones((len(x), 1), x.dtype)])
        return self.cache @ self.params["theta"]

    def backward(self, dy):
        self.grads["theta"][:] = self.cache.T @ dy
        return (dy @ self.params["theta"].T)[:, :-1]


class NewGradientArrays(MyDense):
    """New arrays for the gradients each time: slower, and as right."""

    def backward(self, dy):
        self.grads["W"] = self.cache.T @ dy
        self.grads["b"] = dy.sum(axis=0)
        return dy @ self.params["W"].T


class KeepsACopy(sn.Layer):
    """Keeps copies of all it might need, under names of its own."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def shape_after(self, input_shape):
        return (self.units,)

    def parameter_shapes(self, input_shape):
        return {"b": (self.units,), "W": (input_shape[0], self.units)}

    def initialize(self, rng):
        self.params["W"][:] = rng.uniform(-1, 1, self.params["W"].shape)

    def forward(self, x, training=False):
        self._seen = [x.copy(), self.params["W"].copy()]
        return self.params["b"] + sum(x[:, [i]] * W for i, W in enumerate(self.params["W"]))

    def backward(self, dy):
        x, W = self._seen
        self.grads["W"][:] = np.tensordot(x, dy, axes=(0, 0))
        np.add.reduce(dy, axis=0, out=self.grads["b"])
        return np.inner(dy, W)


def dense():
    return sn.Dense(4)


def square():
    return sn.Dense(5)


D = (7, 5)


# fmt: off
MISTAKES = [
    Case(
        "dense-weights-averaged",
        "I divide dW by the batch size, because we want the average gradient.",
        WeightsAveraged, (4,), D, dense, ("batch-mean",),
    ),
    Case(
        "dense-bias-averaged",
        "The bias's gradient is the mean of dy over the batch.",
        BiasAveraged, (4,), D, dense, ("batch-mean",),
    ),
    Case(
        "dense-all-averaged-alone",
        "All parameters' gradients are averages over the batch.",
        AllAveraged, (4,), (9, 5), None, ("batch-mean",),
    ),
    Case(
        "dense-downhill",
        "We go downhill, so the gradients of W and b have a minus.",
        Downhill, (4,), D, dense, ("sign",),
    ),
    Case("dense-dx-negative", "I put the minus into dx.", Uphill, (4,), D, dense, ("sign",)),
    Case(
        "dense-downhill-alone",
        "We go downhill, so the gradients of W and b have a minus.",
        Downhill, (4,), D, None, ("sign",),
    ),
    Case(
        "dense-back-through-W",
        "dx is dy times W; the shapes fit.",
        BackThroughW, (5,), D, square, ("transposed",),
    ),
    Case(
        "dense-dW-transposed",
        "dW = dy.T @ x; it has all the numbers it should.",
        WeightsTheOtherWay, (4,), D, dense, ("transposed", "wrong-shape"),
        "the values are exactly the transpose; that its shape is wrong is true as well",
    ),
    Case(
        "dense-dW-transposed-square",
        "dW = dy.T @ x, written into grads.",
        WeightsTheOtherWayInPlace, (5,), D, square, ("transposed",),
    ),
    Case(
        "dense-forward-transposed",
        "I keep W as (units, in), as PyTorch does.",
        ForwardThroughTranspose, (5,), D, square, ("transposed",),
    ),
    Case(
        "dense-returns-nothing",
        "backward fills in the gradients. Must it return something?",
        NothingReturned, (4,), D, dense, ("dx-missing",),
    ),
    Case(
        "dense-bias-forgotten",
        "I did W and dx, that is all, isn't it?",
        BiasForgotten, (4,), D, dense, ("parameter-gradient-missing",),
    ),
    Case(
        "dense-dW-not-stored",
        "I compute dW and db and return dx.",
        WeightsNotStored, (4,), D, dense, ("parameter-gradient-missing",),
    ),
    Case(
        "dense-dW-not-stored-alone",
        "I compute dW and db and return dx.",
        WeightsNotStored, (4,), D, None, ("parameter-gradient-missing",),
    ),
    Case(
        "dense-adds",
        "grads['W'] += x.T @ dy, as gradients are added up.",
        Adding, (4,), D, dense, ("accumulated",),
    ),
    Case(
        "dense-adds-alone",
        "grads['W'] += x.T @ dy, as gradients are added up.",
        Adding, (4,), D, None, ("accumulated",),
    ),
    Case(
        "dense-one-sum-for-biases",
        "The bias's gradient is the sum of dy.",
        OneSumForAllBiases, (4,), D, dense, ("bias-axes",),
    ),
    Case(
        "dense-bias-not-summed",
        "y = xW + b, so db is dy.",
        BiasNotSummed, (4,), D, dense, ("bias-axes", "wrong-shape"),
        "not summed at all; that its shape is wrong is true as well",
    ),
    Case(
        "dense-x-in-float32",
        "I convert the input to float32, to be fast.",
        InFloat32, (4,), D, dense, ("float32-inside",),
    ),
    Case(
        "dense-dW-in-float32",
        "Gradients are stored in float32, that is enough.",
        WeightsOfFloat32, (4,), D, None, ("float32-inside",),
    ),
    Case(
        "dense-first-input-kept",
        "if self.cache is None: self.cache = x",
        FirstInputKept, (4,), D, dense, ("stale-cache",),
    ),
    Case(
        "dense-kept-while-training",
        "Only training needs the cache.",
        KeptWhileTraining, (4,), D, dense, ("stale-cache",),
    ),
    Case(
        "dense-learning-rate-inside",
        "The gradient times the learning rate goes into grads.",
        RateInside, (4,), D, dense, ("missing-factor",),
        "a constant factor of 0.01 too many",
    ),
    Case(
        "dense-W-dropped-in-dx",
        "The gradient with respect to the input is dy.",
        WeightsDroppedInDx, (5,), D, square, ("missing-factor",),
    ),
    Case(
        "dense-new-weights-each-time",
        "W is drawn at the beginning of forward.",
        NewWeightsEachTime, (4,), D, dense, ("forward-random",),
    ),
    Case("dense-no-bias", "y = x @ W.", BiasNotAdded, (4,), D, dense, ("forward-wrong",)),
    Case(
        "dense-clips-its-input",
        "I bring x into [-1, 1] first, with out=x to save memory.",
        InputScaledInPlace, (4,), D, dense, ("x-changed", "forward-wrong"),
        "x is written to, and what is computed from it is something else as well",
    ),
]

UNNAMED = []

RIGHT = [
    Case("dense-plain", "the derivation, line by line", MyDense, (4,), D, dense),
    Case("dense-einsum", "einsum throughout", Einsum, (4,), D, dense),
    Case("dense-column-major", "Fortran order throughout", ColumnMajor, (4,), D, dense),
    Case("dense-zeroes-then-adds", "+=, after zeroes", ZeroesThenAdds, (4,), D, dense),
    Case("dense-one-buffer-for-dx", "dx always in one array", OneBufferForDx, (4,), D, dense),
    Case("dense-bias-in-the-matrix", "one matrix for both", BiasInTheMatrix, (4,), D, None),
    Case("dense-new-gradient-arrays", "grads['W'] = ...", NewGradientArrays, (4,), D, dense),
    Case("dense-copies", "copies, other names, b before W", KeepsACopy, (4,), D, dense),
    Case("dense-batch-of-one", "a batch of one", MyDense, (4,), (1, 5), dense),
    Case("dense-square", "as many units as inputs", MyDense, (5,), (5, 5), square),
    Case("dense-one-unit-alone", "one unit, nothing to compare with", MyDense, (1,), D, None),
    Case("dense-tiny-inputs", "x near 0", MyDense, (4,), D, dense, values=nearly_even),
]
# fmt: on
