"""Is a backward pass right? Compare its gradients with what happens when a number is nudged.

The derivative of f at a is close to (f(a + h) - f(a - h)) / 2h. That needs nothing but the forward
pass, so it can judge the backward pass: numeric against analytic, entry by entry.

Done in float64: with h = 1e-5 the formula's own error is of the order h^2 = 1e-10 of the third
derivative, and the rounding of f about 1e-16 |f| / h = 1e-11 |f|.
Source: Goodfellow, Bengio and Courville 2016, section 11.5; LeVeque 2007, section 1.2.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError

Array = NDArray[np.floating]

STEP = 1e-5


@dataclass(frozen=True)
class Check:
    """How one array's gradient compares: the entry with the largest error.

    error is |analytic - numeric| at that entry, divided by the largest entry of the whole gradient
    (or by 1e-8 if all are smaller), so that rounding in tiny entries does not count as a mistake.
    """

    name: str
    shape: tuple[int, ...]
    index: tuple[int, ...]
    analytic: float
    numeric: float
    error: float


def numeric_gradient(f: Callable[[], float], a: Array, step: float = STEP) -> Array:
    """df/da by central differences, for a function f() that reads the float64 array a.

    Each entry of a is changed in place and put back: 2 * a.size calls of f.
    """
    gradient = np.zeros_like(a)
    for index in np.ndindex(a.shape):
        kept = a[index]
        a[index] = kept + step
        above = f()
        a[index] = kept - step
        below = f()
        a[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient


def compare(name: str, analytic: Array, numeric: Array) -> Check:
    """The worst entry of two gradients of the same shape."""
    if analytic.shape != numeric.shape:
        raise InputError(f"{name}: expected a gradient {numeric.shape}, found {analytic.shape}")
    if numeric.size == 0:
        return Check(name, numeric.shape, (), 0.0, 0.0, 0.0)
    finite = np.isfinite(analytic) & np.isfinite(numeric)
    a, b = np.where(finite, analytic, 0), np.where(finite, numeric, 0)
    scale = max(np.abs(a).max(), np.abs(b).max(), 1e-8)
    errors = np.where(finite, np.abs(a - b) / scale, np.inf)  # a NaN must not pass for agreement
    index = tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))
    return Check(
        name,
        numeric.shape,
        index,
        float(analytic[index]),
        float(numeric[index]),
        float(errors[index]),
    )


def check_layer(
    layer: Any, x: Array, rng: np.random.Generator, training: bool = True, step: float = STEP
) -> list[Check]:
    """Compare a built float64 layer's dx, and the gradient of each parameter, at the input x.

    The loss is sum(y * dy) for a random dy: its derivative by y is dy, and a random one shows
    mistakes that a constant one hides (BatchNorm's gradient is zero for it, and a permutation of
    the outputs goes unseen). Keep x away from kinks and ties: there no derivative exists.
    """
    x = _float64(x)
    with _frozen(layer) as rewind:
        dy = rng.standard_normal(layer.forward(x, training).shape)

        def f() -> float:
            rewind()
            return float((layer.forward(x, training) * dy).sum())

        f()
        dx = layer.backward(dy)
        grads = {key: grad.copy() for key, grad in layer.grads.items()}
        checks = [compare("x", dx, numeric_gradient(f, x, step))]
        for key, param in layer.params.items():
            checks.append(compare(key, grads[key], numeric_gradient(f, _float64(param), step)))
    return checks


def check_loss(loss: Any, y_pred: Array, y_true: NDArray, step: float = STEP) -> Check:
    """Compare a loss's dL/dy_pred at float64 predictions."""
    y_pred = _float64(y_pred)
    loss.forward(y_pred, y_true)
    analytic = loss.backward()
    numeric = numeric_gradient(lambda: loss.forward(y_pred, y_true), y_pred, step)
    return compare("y_pred", analytic, numeric)


def check_model(model: Any, x: Array, y: NDArray, step: float = STEP) -> list[Check]:
    """Compare every parameter's gradient in a compiled float64 model, from its loss."""
    with _frozen(*model.layers) as rewind:

        def f() -> float:
            rewind()
            return model.loss_and_gradients(x, y)

        f()
        analytic = {
            (layer.name, key): grad.copy()
            for layer in model.layers
            for key, grad in layer.grads.items()
        }
        return [
            compare(
                f"{layer.name}.{key}",
                analytic[layer.name, key],
                numeric_gradient(f, _float64(param), step),
            )
            for layer in model.layers
            for key, param in layer.params.items()
        ]


def _float64(a: Array) -> Array:
    if a.dtype != np.float64:
        raise InputError(f"gradient check: expected float64, found {a.dtype}")
    return a


@contextmanager
def _frozen(*layers: Any) -> Iterator[Callable[[], None]]:
    """Hand out a function that puts random streams and buffers back to where they are now."""
    leaves = [leaf for layer in layers for leaf in layer.leaves()]
    streams = [(leaf.rng, leaf.rng.bit_generator.state) for leaf in leaves if hasattr(leaf, "rng")]
    buffers = [(array, array.copy()) for layer in layers for array in layer.buffers.values()]

    def rewind() -> None:
        for rng, state in streams:
            rng.bit_generator.state = state
        for array, kept in buffers:
            array[:] = kept

    try:
        yield rewind
    finally:
        rewind()
