"""The optimizers' steps in NumPy: each the specification of its compiled twin in engine/steps.py.

One pass over flat arrays, in place. The optimizers keep the arrays and the numbers.
"""

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .backend import runs_twin

Array = NDArray[np.floating]


def least(dtype: DTypeLike) -> float:
    """A moment of gradients that is nearer to 0 than this becomes 0: 7.9e-31 in float32.

    So far from the smallest normal number that its product with a learning rate is one, too.
    """
    return float(np.finfo(dtype).tiny) * 2**26


def least_square(dtype: DTypeLike) -> float:
    """A moment of their squares that is less becomes 0: 2.4e-38 in float32.

    As little as can be: it stands in a denominator, where it counts beside a small epsilon.
    """
    return float(np.finfo(dtype).tiny) * 2


def settle(moments: Array, least: float) -> None:
    """Moments that have all but vanished become 0, in place.

    What is multiplied by 0.9 at every step, as the moments of a unit that is dead, would otherwise
    end as one of the last numbers beside 0, and stay that for ever: 0.9 of it rounds to itself.
    Some processors take a hundred times as long to compute with these.
    """
    moments[np.abs(moments) < least] = 0


@runs_twin("steps")
def sgd_step(
    params: Array, grads: Array, velocity: Array, lr: float, momentum: float, nesterov: bool
) -> None:
    """One step of gradient descent with momentum, in place; all arrays flat, (size,).

    velocity <- momentum * velocity - lr * grads, and params += velocity; with Nesterov's look-ahead
    params += momentum * velocity - lr * grads. Source: Sutskever et al. 2013, eqs. 1 to 4.
    """
    velocity *= momentum
    velocity -= lr * grads
    settle(velocity, least(velocity.dtype))
    params += momentum * velocity - lr * grads if nesterov else velocity


@runs_twin("steps")
def adam_step(
    params: Array,
    grads: Array,
    m: Array,
    v: Array,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    t: int,
    weight_decay: float,
) -> None:
    """Step number t (from 1) of Adam, in place; all arrays flat, (size,).

    weight_decay > 0 shrinks the parameters by lr * weight_decay first (AdamW).
    Source: Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2.
    """
    params *= 1 - lr * weight_decay
    m *= beta_1
    m += (1 - beta_1) * grads
    settle(m, least(m.dtype))
    v *= beta_2
    v += (1 - beta_2) * grads**2
    settle(v, least_square(v.dtype))
    m_hat = m / (1 - beta_1**t)
    v_hat = v / (1 - beta_2**t)
    params -= lr * m_hat / (np.sqrt(v_hat) + epsilon)


@runs_twin("steps")
def average_step(average: Array, values: Array, momentum: float) -> None:
    """average <- momentum * average + (1 - momentum) * values, in place; both flat, (size,)."""
    average *= momentum
    average += (1 - momentum) * values


@runs_twin("steps")
def rmsprop_step(
    params: Array,
    grads: Array,
    v: Array,
    mean: Array,
    velocity: Array,
    lr: float,
    rho: float,
    momentum: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    """One step of RMSprop, in place; all arrays flat, (size,).

    mean and velocity are empty where it is not centered, and has no momentum.
    weight_decay > 0 shrinks the parameters by lr * weight_decay first, here and below.
    """
    params *= 1 - lr * weight_decay
    v *= rho
    v += (1 - rho) * grads**2
    settle(v, least_square(v.dtype))
    size = v
    if mean.size:
        mean *= rho
        mean += (1 - rho) * grads
        settle(mean, least(mean.dtype))
        size = np.maximum(v - mean**2, 0)
    step = lr * grads / np.sqrt(size + epsilon)
    if velocity.size:
        velocity *= momentum
        velocity += step
        settle(velocity, least(velocity.dtype))
        step = velocity
    params -= step


@runs_twin("steps")
def adagrad_step(
    params: Array, grads: Array, total: Array, lr: float, epsilon: float, weight_decay: float
) -> None:
    """One step of Adagrad, in place; all arrays flat, (size,)."""
    params *= 1 - lr * weight_decay
    total += grads**2
    params -= lr * grads / np.sqrt(total + epsilon)


@runs_twin("steps")
def nadam_step(
    params: Array,
    grads: Array,
    m: Array,
    v: Array,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    t: int,
    ahead: float,
    now: float,
    weight_decay: float,
) -> None:
    """Step number t (from 1) of Nadam, in place; all arrays flat, (size,).

    ahead, now   the factors of m and of g in m_hat
    """
    params *= 1 - lr * weight_decay
    m *= beta_1
    m += (1 - beta_1) * grads
    settle(m, least(m.dtype))
    v *= beta_2
    v += (1 - beta_2) * grads**2
    settle(v, least_square(v.dtype))
    m_hat = ahead * m + now * grads
    v_hat = v / (1 - beta_2**t)
    params -= lr * m_hat / (np.sqrt(v_hat) + epsilon)


@runs_twin("steps")
def lion_step(
    params: Array,
    grads: Array,
    m: Array,
    lr: float,
    beta_1: float,
    beta_2: float,
    weight_decay: float,
) -> None:
    """One step of Lion, in place; all arrays flat, (size,)."""
    params *= 1 - lr * weight_decay
    params -= lr * np.sign(beta_1 * m + (1 - beta_1) * grads)
    m *= beta_2
    m += (1 - beta_2) * grads
    settle(m, least(m.dtype))
