"""How weights start: random, with a spread that keeps signals the same size through the layers.

A unit that sums fan_in inputs multiplies the variance by fan_in * Var(W); its backward pass
multiplies the gradient's variance by fan_out * Var(W). Glorot balances the two, He makes up for the
half of the units that a ReLU sets to zero.

Each is a function (shape, fan_in, fan_out, rng, dtype) -> array of that shape.
Source: Glorot and Bengio 2010, eq. 12 and 16; He et al. 2015, eq. 10.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .errors import InputError, shown

Shape = tuple[int, ...]
Initializer = Callable[[Shape, int, int, np.random.Generator, DTypeLike], NDArray]


def _uniform(shape: Shape, variance: float, rng: np.random.Generator, dtype: DTypeLike) -> NDArray:
    limit = np.sqrt(3 * variance)  # Var(U(-a, a)) = a^2 / 3
    # as rng.uniform, which some compilers let round once instead of twice
    return (rng.random(shape) * (2 * limit) - limit).astype(dtype)


def _normal(shape: Shape, variance: float, rng: np.random.Generator, dtype: DTypeLike) -> NDArray:
    return rng.normal(0.0, np.sqrt(variance), shape).astype(dtype)


def glorot_uniform(
    shape: Shape, fan_in: int, fan_out: int, rng: np.random.Generator, dtype: DTypeLike
) -> NDArray:
    """Uniform with variance 2 / (fan_in + fan_out)."""
    return _uniform(shape, 2 / (fan_in + fan_out), rng, dtype)


def glorot_normal(
    shape: Shape, fan_in: int, fan_out: int, rng: np.random.Generator, dtype: DTypeLike
) -> NDArray:
    """Normal with variance 2 / (fan_in + fan_out)."""
    return _normal(shape, 2 / (fan_in + fan_out), rng, dtype)


def he_uniform(
    shape: Shape, fan_in: int, fan_out: int, rng: np.random.Generator, dtype: DTypeLike
) -> NDArray:
    """Uniform with variance 2 / fan_in."""
    return _uniform(shape, 2 / fan_in, rng, dtype)


def he_normal(
    shape: Shape, fan_in: int, fan_out: int, rng: np.random.Generator, dtype: DTypeLike
) -> NDArray:
    """Normal with variance 2 / fan_in."""
    return _normal(shape, 2 / fan_in, rng, dtype)


INITIALIZERS: dict[str, Initializer] = {
    f.__name__: f for f in (glorot_uniform, glorot_normal, he_uniform, he_normal)
}


def get(name: str) -> Initializer:
    """The initializer of that name."""
    if not isinstance(name, str) or name not in INITIALIZERS:
        known = ", ".join(INITIALIZERS)
        raise InputError(f"initializer: expected one of {known}, found {shown(name)}")
    return INITIALIZERS[name]
