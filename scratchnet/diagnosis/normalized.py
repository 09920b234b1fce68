"""Hypotheses about normalization: BatchNorm, LayerNorm and whatever gives the same numbers."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .hypotheses import Guess
from .numbers import Array, same
from .trial import Trial


@dataclass(frozen=True)
class Norm:
    """y = gamma (x - mean) / sqrt(var + epsilon) + beta, with every choice that there is.

    over      the axes of mean and variance;  ddof  what is subtracted from m
    outside   epsilon beside the root
    running   mean and variance of evaluation, or None
    """

    over: tuple[int, ...]
    epsilon: float
    gamma: Array
    beta: Array
    ddof: int = 0
    outside: bool = False
    running: tuple[Array, Array] | None = None

    def scale(self, x: Array, ddof: int | None = None) -> Array:
        if self.running:
            var = self.running[1]
        else:
            var = _var(x, self.over, self.ddof if ddof is None else ddof)
        root = np.sqrt(var) + self.epsilon if self.outside else np.sqrt(var + self.epsilon)
        return 1 / root

    def x_hat(self, x: Array) -> Array:
        mean = self.running[0] if self.running else x.mean(axis=self.over, keepdims=True)
        return (x - mean) * self.scale(x)

    def forward(self, x: Array) -> Array:
        return self.gamma * self.x_hat(x) + self.beta


def _var(x: Array, over: tuple[int, ...], ddof: int) -> Array:
    m = int(np.prod([x.shape[a] for a in over]))
    return x.var(axis=over, keepdims=True) * m / max(m - ddof, 1)


def norm_of(t: Trial) -> Norm | None:
    """The normalization that gives the right numbers here; None if none does."""
    thing = t.layer if t.like is None else t.like
    epsilon = next(
        (float(getattr(thing, k)) for k in ("epsilon", "eps") if hasattr(thing, k)), None
    )
    y = t.y_right if t.y_right is not None else t.run.arrays.get("y")
    if epsilon is None or y is None or y.shape != t.x.shape:
        return None
    ones = np.ones(t.x.shape[-1:])
    arrays = dict(t.layer.params)
    gamma, beta = (
        next((a for k, a in arrays.items() if k in keys), start)
        for keys, start in (
            (("gamma", "g", "scale", "W"), ones),
            (("beta", "b", "shift"), 0 * ones),
        )
    )
    buffers = [np.asarray(a) for a in t.layer.buffers.values()]
    last = t.x.ndim - 1
    choices = [Norm(tuple(range(last)), epsilon, gamma, beta), Norm((last,), epsilon, gamma, beta)]
    choices.append(Norm(tuple(range(1, t.x.ndim)), epsilon, gamma, beta))
    if len(buffers) == 2:
        choices += [replace(choices[0], running=(a, b)) for a, b in (buffers, buffers[::-1])]
    with np.errstate(all="ignore"):
        return next((norm for norm in choices if same(norm.forward(t.x), y)), None)


def batchnorm_term(t: Trial, name: str) -> Iterator[Guess]:
    norm = t.remember(norm_of)
    if name != "dx" or norm is None:
        return
    x_hat, s = norm.x_hat(t.x), norm.scale(t.x)
    d = t.dy * norm.gamma
    over = norm.over
    mean = d.mean(axis=over, keepdims=True)
    along = x_hat * (d * x_hat).mean(axis=over, keepdims=True)
    yield "the mean's term is left out", s * (d - along)
    yield "the variance's term is left out", s * (d - mean)
    yield "the terms of the mean and of the variance are left out", s * d
    yield "the variance's term has the other sign", s * (d - mean + along)
    yield "the mean's term has the other sign", s * (d + mean - along)
    yield "the variance's term is taken twice", s * (d - mean - 2 * along)
    yield "the variance's term is taken by half", s * (d - mean - along / 2)
    if norm.running:
        yield (
            "the terms of the mean and the variance are taken in evaluation",
            s * (d - mean - along),
        )
        batch = replace(norm, running=None)
        x_hat, s = batch.x_hat(t.x), batch.scale(t.x)
        along = x_hat * (d * x_hat).mean(axis=over, keepdims=True)
        yield "the batch's statistics are used in evaluation", s * (d - mean - along)


def variance_ddof(t: Trial, name: str) -> Iterator[Guess]:
    norm = t.remember(norm_of)
    if norm is None or norm.running:
        return
    m = int(np.prod([t.x.shape[a] for a in norm.over]))
    biased = replace(norm, ddof=1)
    if name == "y":
        yield f"the variance is divided by {m - 1}, not by {m}", biased.forward(t.x)
    elif name == "dx":
        for x_hat_of in (norm, biased):
            for s_of in (norm, biased):
                for count in (m, m - 1):
                    for second in (m, m - 1):
                        said = f"{m - 1} stands where {m} belongs"
                        yield said, _dx(t, norm, x_hat_of, s_of.scale(t.x), count, second)
    else:
        yield f"the variance is divided by {m - 1}, not by {m}", _dgamma(t, biased)


def divided_twice(t: Trial, name: str) -> Iterator[Guess]:
    """The means in dx, of which each is a sum divided by m."""
    norm = t.remember(norm_of)
    if norm is None or norm.running or name != "dx":
        return
    m = int(np.prod([t.x.shape[a] for a in norm.over]))
    s = norm.scale(t.x)
    for count, second in ((m * m, m * m), (m * m, m), (m, m * m)):
        yield f"a mean is divided by {m} twice", _dx(t, norm, norm, s, count, second)


def _dx(t: Trial, norm: Norm, x_hat_of: Norm, s: Array, count: int, second: int) -> Array:
    x_hat, d = x_hat_of.x_hat(t.x), t.dy * norm.gamma
    mean = d.sum(axis=norm.over, keepdims=True) / count
    return s * (d - mean - x_hat * (d * x_hat).sum(axis=norm.over, keepdims=True) / second)


def _dgamma(t: Trial, norm: Norm) -> Array:
    over = tuple(range(t.x.ndim - norm.gamma.ndim))
    return (t.dy * norm.x_hat(t.x)).sum(axis=over)


def epsilon_side(t: Trial, name: str) -> Iterator[Guess]:
    norm = t.remember(norm_of)
    if norm is None:
        return
    said = "epsilon is added to the root, not under it"
    outside = replace(norm, outside=not norm.outside)
    m = int(np.prod([t.x.shape[a] for a in norm.over]))
    if name == "y":
        yield said, outside.forward(t.x)
    elif name == "dx":
        for x_hat_of in (norm, outside):
            if norm.running:
                yield said, t.dy * norm.gamma * outside.scale(t.x)
            else:
                yield said, _dx(t, norm, x_hat_of, outside.scale(t.x), m, m)
    else:
        yield said, _dgamma(t, outside)


def norm_factor(t: Trial, name: str) -> Iterator[Guess]:
    """A factor of normalization's own that is left out."""
    norm = t.remember(norm_of)
    if norm is None:
        return
    s, x_hat = norm.scale(t.x), norm.x_hat(t.x)
    over = tuple(range(t.x.ndim - norm.gamma.ndim))
    if name == "dx":
        right = t.wanted("dx")
        yield "1 / sqrt(var + epsilon) is left out", right / s
        yield "1 / sqrt(var + epsilon) is taken twice", right * s
        plain = replace(norm, gamma=np.ones_like(norm.gamma))
        m = int(np.prod([t.x.shape[a] for a in norm.over]))
        if not norm.running:
            yield "gamma is left out", _dx(t, plain, norm, s, m, m)
            bare = replace(norm, epsilon=0.0)
            yield "epsilon is left out", _dx(t, norm, bare, bare.scale(t.x), m, m)
    elif name == "y":
        yield "epsilon is left out", replace(norm, epsilon=0.0).forward(t.x)
        yield "gamma is left out", x_hat + norm.beta
        yield "the root of the variance is left out", norm.gamma * x_hat * s + norm.beta
    else:
        yield "x is taken for x_hat", (t.dy * t.x).sum(axis=over)
        yield "x - mean is taken for x_hat", (t.dy * x_hat / s).sum(axis=over)
        yield "x_hat is left out", t.dy.sum(axis=over)
        yield "y is taken for x_hat", (t.dy * norm.forward(t.x)).sum(axis=over)
