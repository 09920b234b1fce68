"""The optimizers' steps as Numba loops: one pass over flat arrays, in place.

The functions of the same names in optimizer_steps.py, and in regularizers.py, say in NumPy what
they compute.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..optimizer_steps import least, least_square
from .compiler import in_place, inner
from .memory import SHARDS
from .turns import own_parts

Array = NDArray[np.floating]


@inner
def settled(moment, least):
    """moment, or 0 where it is nearer to that than `least`: see optimizer_steps.settle."""
    return least - least if abs(moment) < least else moment


def sgd_step(
    params: Array, grads: Array, velocity: Array, lr: float, momentum: float, nesterov: bool
) -> None:
    """One step of gradient descent with momentum, in place; all arrays flat, (size,)."""
    number = params.dtype.type  # Python's float would make the loop compute in float64
    numbers = number(lr), number(momentum), number(least(params.dtype))
    _sgd_step(params, grads, velocity, *numbers, bool(nesterov))


@in_place
def _sgd_step(worker, params, grads, velocity, lr, momentum, least, nesterov):
    for part in own_parts(worker, SHARDS):
        start, stop = part * params.size // SHARDS, (part + 1) * params.size // SHARDS
        p, g, vel = params[start:stop], grads[start:stop], velocity[start:stop]
        for k in range(stop - start):
            vel[k] = settled(momentum * vel[k] - lr * g[k], least)
            p[k] += momentum * vel[k] - lr * g[k] if nesterov else vel[k]


def power(base: float, n: int) -> float:
    """base^n by squaring: the C library's last digit is not the same on every system."""
    found = 1.0
    while n:
        if n & 1:
            found *= base
        base, n = base * base, n >> 1
    return found


class AdamFactors(NamedTuple):
    """Adam's numbers in the parameters' dtype: Python's float would make the loop use float64.

    lr, b1, c1, b2, c2, eps   learning rate, beta_1, 1 - beta_1, beta_2, 1 - beta_2, epsilon
    correct_1, correct_2      1 - beta_1^t and 1 - beta_2^t
    keep                      what is left of a parameter after the decay: 1 - lr * weight_decay
    least, least_square       a moment that is nearer to 0 becomes 0; one of squares
    """

    lr: np.floating
    b1: np.floating
    c1: np.floating
    b2: np.floating
    c2: np.floating
    eps: np.floating
    correct_1: np.floating
    correct_2: np.floating
    keep: np.floating
    least: np.floating
    least_square: np.floating


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
    """Step number t (from 1) of Adam, in place; all arrays flat, (size,)."""
    number = params.dtype.type
    factors = AdamFactors(
        lr=number(lr),
        b1=number(beta_1),
        c1=number(1 - beta_1),
        b2=number(beta_2),
        c2=number(1 - beta_2),
        eps=number(epsilon),
        correct_1=number(1 - power(beta_1, t)),
        correct_2=number(1 - power(beta_2, t)),
        keep=number(1 - lr * weight_decay),
        least=number(least(params.dtype)),
        least_square=number(least_square(params.dtype)),
    )
    inverse = None
    if params.dtype == np.float32:
        inverse = 1 / float(factors.correct_1), 1 / float(factors.correct_2)
    _adam_step(params, grads, m, v, factors, inverse)


@in_place
def _adam_step(worker, params, grads, m, v, factors, inverse):
    """inverse: of the corrections, in float64, for parameters in float32; or None.

    A product with it rounds to the quotient in float32, and takes a third of a division's time: it
    is off by less than 2^-51 of itself, and a number half way between two of float32, M of 25 bits,
    is at least 2^-49 away from x / c, since M c and x are whole numbers of something and differ
    (they could be the same only for c of 2 or more).
    """
    lr, b1, c1, b2, c2, eps, correct_1, correct_2, keep, least, least_square = factors
    for part in own_parts(worker, SHARDS):
        start, stop = part * params.size // SHARDS, (part + 1) * params.size // SHARDS
        p, g = params[start:stop], grads[start:stop]
        first, second = m[start:stop], v[start:stop]
        for k in range(stop - start):
            first[k] = settled(b1 * first[k] + c1 * g[k], least)
            second[k] = settled(b2 * second[k] + c2 * g[k] * g[k], least_square)
            if inverse is None:
                mean, square = first[k] / correct_1, second[k] / correct_2
            else:
                mean = np.float32(np.float64(first[k]) * inverse[0])
                square = np.float32(np.float64(second[k]) * inverse[1])
            p[k] = p[k] * keep - lr * mean / (np.sqrt(square) + eps)


def average_step(average: Array, values: Array, momentum: float) -> None:
    """average <- momentum * average + (1 - momentum) * values, in place; both flat, (size,)."""
    number = average.dtype.type
    _average_step(average, np.ascontiguousarray(values), number(momentum), number(1 - momentum))


@in_place
def _average_step(worker, average, values, momentum, rest):
    for part in own_parts(worker, SHARDS):
        start, stop = part * average.size // SHARDS, (part + 1) * average.size // SHARDS
        a, new = average[start:stop], values[start:stop]
        for k in range(stop - start):
            a[k] = momentum * a[k] + rest * new[k]


class RMSpropFactors(NamedTuple):
    """RMSprop's numbers in the parameters' dtype.

    lr, rho, rest, momentum, eps   learning rate, rho, 1 - rho, momentum, epsilon
    keep                           1 - lr * weight_decay
    least, least_square            a moment that is nearer to 0 becomes 0; one of squares
    """

    lr: np.floating
    rho: np.floating
    rest: np.floating
    momentum: np.floating
    eps: np.floating
    keep: np.floating
    least: np.floating
    least_square: np.floating


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
    """One step of RMSprop, in place; all arrays flat, (size,); mean and velocity may be empty."""
    number = params.dtype.type
    factors = RMSpropFactors(
        lr=number(lr),
        rho=number(rho),
        rest=number(1 - rho),
        momentum=number(momentum),
        eps=number(epsilon),
        keep=number(1 - lr * weight_decay),
        least=number(least(params.dtype)),
        least_square=number(least_square(params.dtype)),
    )
    _rmsprop_step(params, grads, v, mean, velocity, factors)


@in_place
def _rmsprop_step(worker, params, grads, v, mean, velocity, factors):
    lr, rho, rest, momentum, eps, keep, least, least_square = factors
    centered, moving = mean.size > 0, velocity.size > 0
    for part in own_parts(worker, SHARDS):
        start, stop = part * params.size // SHARDS, (part + 1) * params.size // SHARDS
        p, g, second = params[start:stop], grads[start:stop], v[start:stop]
        first, vel = mean[start:stop], velocity[start:stop]
        for k in range(stop - start):
            second[k] = settled(rho * second[k] + rest * g[k] * g[k], least_square)
            size = second[k]
            if centered:
                first[k] = settled(rho * first[k] + rest * g[k], least)
                size = size - first[k] * first[k]
                if size < 0:  # not so for NaN, which stays
                    size = eps - eps
            step = lr * g[k] / np.sqrt(size + eps)
            if moving:
                vel[k] = settled(momentum * vel[k] + step, least)
                step = vel[k]
            p[k] = p[k] * keep - step


def adagrad_step(
    params: Array, grads: Array, total: Array, lr: float, epsilon: float, weight_decay: float
) -> None:
    """One step of Adagrad, in place; all arrays flat, (size,)."""
    number = params.dtype.type
    keep = number(1 - lr * weight_decay)
    _adagrad_step(params, grads, total, number(lr), number(epsilon), keep)


@in_place
def _adagrad_step(worker, params, grads, total, lr, eps, keep):
    for part in own_parts(worker, SHARDS):
        start, stop = part * params.size // SHARDS, (part + 1) * params.size // SHARDS
        p, g, squares = params[start:stop], grads[start:stop], total[start:stop]
        for k in range(stop - start):
            squares[k] += g[k] * g[k]
            p[k] = p[k] * keep - lr * g[k] / np.sqrt(squares[k] + eps)


class NadamFactors(NamedTuple):
    """Nadam's numbers in the parameters' dtype: those of Adam, and

    ahead, now   the factors of m and of g in m_hat
    correct_2    1 - beta_2^t
    """

    lr: np.floating
    b1: np.floating
    c1: np.floating
    b2: np.floating
    c2: np.floating
    eps: np.floating
    correct_2: np.floating
    ahead: np.floating
    now: np.floating
    keep: np.floating
    least: np.floating
    least_square: np.floating


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
    """Step number t (from 1) of Nadam, in place; all arrays flat, (size,)."""
    number = params.dtype.type
    factors = NadamFactors(
        lr=number(lr),
        b1=number(beta_1),
        c1=number(1 - beta_1),
        b2=number(beta_2),
        c2=number(1 - beta_2),
        eps=number(epsilon),
        correct_2=number(1 - power(beta_2, t)),
        ahead=number(ahead),
        now=number(now),
        keep=number(1 - lr * weight_decay),
        least=number(least(params.dtype)),
        least_square=number(least_square(params.dtype)),
    )
    _nadam_step(params, grads, m, v, factors)


@in_place
def _nadam_step(worker, params, grads, m, v, factors):
    lr, b1, c1, b2, c2, eps, correct_2, ahead, now, keep, least, least_square = factors
    for part in own_parts(worker, SHARDS):
        start, stop = part * params.size // SHARDS, (part + 1) * params.size // SHARDS
        p, g = params[start:stop], grads[start:stop]
        first, second = m[start:stop], v[start:stop]
        for k in range(stop - start):
            first[k] = settled(b1 * first[k] + c1 * g[k], least)
            second[k] = settled(b2 * second[k] + c2 * g[k] * g[k], least_square)
            step = lr * (ahead * first[k] + now * g[k]) / (np.sqrt(second[k] / correct_2) + eps)
            p[k] = p[k] * keep - step


class LionFactors(NamedTuple):
    """Lion's numbers in the parameters' dtype.

    lr, b1, c1, b2, c2   learning rate, beta_1, 1 - beta_1, beta_2, 1 - beta_2
    keep, least          1 - lr * weight_decay; a moment that is nearer to 0 becomes 0
    """

    lr: np.floating
    b1: np.floating
    c1: np.floating
    b2: np.floating
    c2: np.floating
    keep: np.floating
    least: np.floating


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
    number = params.dtype.type
    factors = LionFactors(
        lr=number(lr),
        b1=number(beta_1),
        c1=number(1 - beta_1),
        b2=number(beta_2),
        c2=number(1 - beta_2),
        keep=number(1 - lr * weight_decay),
        least=number(least(params.dtype)),
    )
    _lion_step(params, grads, m, factors)


@in_place
def _lion_step(worker, params, grads, m, factors):
    lr, b1, c1, b2, c2, keep, least = factors
    for part in own_parts(worker, SHARDS):
        start, stop = part * params.size // SHARDS, (part + 1) * params.size // SHARDS
        p, g, first = params[start:stop], grads[start:stop], m[start:stop]
        for k in range(stop - start):
            p[k] = p[k] * keep - lr * np.sign(b1 * first[k] + c1 * g[k])
            first[k] = settled(b2 * first[k] + c2 * g[k], least)


def penalize(W: Array, dW: Array, l1: float, l2: float) -> float:
    """dW += l1 sign(W) + 2 l2 W, in place; returns the penalty, l1 sum |W| + l2 sum W^2."""
    number, parts = W.dtype.type, np.empty(SHARDS)
    flat = np.ascontiguousarray(dW)  # dW itself, but for memory of a user's own
    numbers = number(l1), number(2 * l2), float(l1), float(l2)
    _penalize(np.ascontiguousarray(W).reshape(-1), flat.reshape(-1), *numbers, parts)
    if flat is not dW:
        dW[...] = flat
    return float(parts.sum())


@in_place
def _penalize(worker, W, dW, pull, rise, l1, l2, parts):
    """pull, rise: l1 and 2 l2 in W's dtype; parts (SHARDS,) <- each shard's penalty in float64."""
    for part in own_parts(worker, SHARDS):
        start, stop = part * W.size // SHARDS, (part + 1) * W.size // SHARDS
        w, g = W[start:stop], dW[start:stop]
        absolute, squares = np.float64(0), np.float64(0)
        for k in range(stop - start):
            g[k] += pull * np.sign(w[k]) + rise * w[k]
            wide = np.float64(w[k])
            absolute += abs(wide)
            squares += wide * wide
        parts[part] = l1 * absolute + l2 * squares
