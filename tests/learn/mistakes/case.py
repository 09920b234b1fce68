"""One case: a learner's class, what it is tried on, and what a diagnosis has to say of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import scratchnet as sn

#: what a diagnosis may name, and what is meant by it here
CAUSES = {
    "batch-mean": "a mean over the batch where the sum belongs, or the sum where the mean does",
    "divided-twice": "divided by the same number twice",
    "sign": "the sign is the other one",
    "transposed": "a matrix where its transpose belongs",
    "axes-permuted": "the values are right, their axes in another order",
    "kernel-flipped": "the kernel turned upside down and left to right, or not turned",
    "overwritten": "= where += belongs: of several uses of a value, one counts",
    "padding-off": "the padding on the wrong side, of the wrong size or value, or not cut off",
    "stride-forgotten": "the stride is left out, mostly in backward",
    "all-ties": "every one of several equal maxima gets the gradient",
    "last-tie": "the last of several equal maxima gets the gradient",
    "bias-axes": "the bias's gradient is summed over too few, too many or the wrong axes",
    "mask-unused": "the mask of forward is not used in backward",
    "mask-unscaled": "dropout's mask without 1 / (1 - rate)",
    "mask-of-dy": "the gate is taken from the sign of dy, not of x",
    "batchnorm-term": "the term of the mean, of the variance, or both are missing in dx",
    "variance-ddof": "m - 1 where m belongs",
    "stale-cache": "backward uses what an earlier forward kept",
    "dy-changed": "backward writes to dy",
    "x-changed": "forward writes to x",
    "dx-missing": "backward returns nothing",
    "parameter-gradient-missing": "the gradient of a parameter is not stored",
    "float32-inside": "float64 goes through float32 on its way",
    "forward-random": "forward differs from call to call, or dropout drops in evaluation",
    "epsilon-side": "epsilon outside the root where it belongs inside, or the reverse",
    "no-bias-correction": "Adam's averages are not corrected for their start at 0",
    "wrong-t": "Adam's step number starts at 0, stands still or runs too fast",
    "parameters-replaced": "a new array in place of a change of the parameters' own",
    "accumulated": "added to what an earlier call left",
    "derivative-of-output": "f'(y) where f'(x) belongs, or a formula for y given x",
    "diagonal-only": "of a Jacobian the diagonal alone: softmax taken for a sigmoid",
    "missing-factor": "a factor is dropped, or a constant one too many",
    "shifted-max": "softmax without subtracting the maximum: large scores overflow",
    "clipped": "the logarithm of 0, or of probabilities that were clipped",
    "decay-coupled": "weight decay added to the gradient where it is apart (AdamW), or the reverse",
    "memory-lost": "what should be remembered from step to step starts anew at every step",
    "forward-wrong": "forward computes something else, and nothing narrower fits",
    "wrong-shape": "an array of the wrong shape",
    "changes-state": "running statistics change in evaluation, or with the momentum turned round",
}


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def large(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Scores of a network that is very sure, and activations that are saturated."""
    return 30 * rng.standard_normal(shape)


def negative(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return -0.1 - rng.random(shape)


def shifted(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Like activations: neither mean 0 nor variance 1."""
    return 0.7 + 1.5 * rng.standard_normal(shape)


def plateaus(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Few different values, as in a picture after a ReLU: most windows have several maxima."""
    return rng.integers(0, 3, shape).astype(np.float64)


def constant(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return np.full(shape, 0.25)


def nearly_even(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Of so little variance that an epsilon of 1e-3 counts."""
    return 0.05 * rng.standard_normal(shape)


def probabilities(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    e = np.exp(rng.standard_normal(shape))
    return e / e.sum(axis=-1, keepdims=True)


def surely_wrong(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Probabilities; the first row is sure of the last class (its label is 0, see `labels`)."""
    probs = probabilities(rng, shape)
    probs[0] = np.eye(shape[1])[-1]
    return probs


def yes_or_no(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(0.1, 0.9, shape)


def labels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """(n,) whole numbers; the first is 0."""
    found = rng.integers(0, shape[1], shape[0])
    found[0] = 0
    return found


def bits(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.integers(0, 2, shape).astype(np.float64)


#: values at which a layer has kinks, and central differences say nothing
KINKED = (plateaus, constant)


@dataclass(frozen=True)
class Case:
    """A learner's layer, loss or optimizer.

    name       unique
    said       what the learner would say they did
    kind, args how it is made: kind(*args). kind derives from a class that is right with these
               arguments and differs from it in what is said, and in nothing else
    shape      of x, or of a loss's y_pred, the batch included; () for an optimizer
    like       makes the right object of the package, or is None
    causes     slugs; the first is the right one. Others count as right too, for `note`'s reason.
               () means: wrong, and nothing fits (UNNAMED), or right (RIGHT)
    values     draws x;  targets   draws a loss's y
    """

    name: str
    said: str
    kind: type
    args: tuple[Any, ...]
    shape: tuple[int, ...]
    like: Callable[[], Any] | None
    causes: tuple[str, ...] = ()
    note: str = ""
    values: Callable[..., np.ndarray] = normal
    targets: Callable[..., np.ndarray] | None = None

    @property
    def room(self) -> str:
        """ "layer", "loss" or "optimizer"."""
        if not self.shape:
            return "optimizer"
        return "layer" if self.targets is None else "loss"

    def make(self) -> Any:
        return self.kind(*self.args)

    def __str__(self) -> str:
        return self.name


def prepared(case: Case, seed: int, kind: type | None = None) -> tuple[Any, Any, Any, Any]:
    """(object, x, y, like), as an exercise's checker would hand them to a diagnosis.

    Layers are built, in float64, and no parameter is left at 0 or 1, where a factor that is
    forgotten would not show. `like` has parameters of its own: whoever compares copies them.

    kind   another class in the place of the case's, made with the same arguments
    """
    rng = np.random.default_rng(seed)
    thing = (kind or case.kind)(*case.args)
    like = None if case.like is None else case.like()
    if case.room == "optimizer":
        return thing, None, None, like
    x = case.values(rng, case.shape)
    if case.room == "loss":
        return thing, x, case.targets(rng, case.shape), like
    for layer in (thing, like):
        if layer is not None:
            layer.build(case.shape[1:], np.random.default_rng(seed + 1), np.float64)
            for array in layer.params.values():
                array += 0.3 * rng.standard_normal(array.shape)
            for key, array in layer.buffers.items():
                array += rng.random(array.shape) * (0.5 if "var" in key else 0.2)
    return thing, x, None, like


class Plain:
    """What a learner's layer has who builds on nothing: three dicts and a place for the cache."""

    def __init__(self):
        self.params, self.grads, self.buffers = {}, {}, {}
        self.cache = None

    def build(self, input_shape, rng, dtype=np.float32):
        self.input_shape, self.output_shape = tuple(input_shape), tuple(input_shape)
        return self.output_shape

    def add(self, name, shape, rng, dtype, scale=0.5):
        self.params[name] = (scale * rng.standard_normal(shape)).astype(dtype)
        self.grads[name] = np.zeros(shape, dtype)


def model_of(seed: int = 0) -> sn.Sequential:
    """A small float64 model on which optimizers are tried."""
    layers = [sn.Dense(3), sn.Tanh(), sn.Dense(2)]
    return sn.Sequential(layers, input_shape=(4,), seed=seed, dtype=np.float64)
