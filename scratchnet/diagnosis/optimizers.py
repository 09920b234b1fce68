"""The diagnosis of an optimizer: the same gradients, step by step, beside a right one's steps.

A small model is given gradients of very different sizes, and the parameters are looked at after
every step. What is right comes from `like`. The rules then take the steps of an optimizer with one
mistake (`Rule` below has every setting that can be got wrong) and look whether the learner's
parameters come out.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .numbers import Array, any_nan, beside, same, size, worst
from .result import Diagnosis, Finding, right, unknown, wrong
from .trial import copied, same_luck

#: steps of a trial
STEPS = 6
#: parameters are compared by their changes, to that part of the largest
CLOSE = 1e-9
#: and to that of the parameters themselves, which is their rounding
ROUNDING = 1e-15


@dataclass
class Walk:
    """The parameters before the first and after every step; how it ended, if badly."""

    places: list[Array] = field(default_factory=list)
    error: Exception | None = None
    replaced: str = ""
    grads_changed: str = ""
    dtype: Any = None


def small_model() -> Any:
    from ..layers import Dense, Tanh
    from ..model import Sequential

    layers = [Dense(3), Tanh(), Dense(2)]
    return Sequential(layers, input_shape=(4,), seed=0, dtype=np.float64)


def gradients(start: Array, rng: np.random.Generator, small: bool) -> list[Array]:
    """A gradient for every step; small: down to where an epsilon of 1e-7 counts."""
    scale = 10.0 ** rng.uniform(-8, -5, start.size) if small else rng.uniform(0.2, 2, start.size)
    return [scale * rng.standard_normal(start.size) for _ in range(STEPS)]


def walk(optimizer: Any, grads: list[Array]) -> Walk:
    """The optimizer, a copy, steps through a model of its own."""
    model, done = small_model(), Walk()
    params, thing = model.flat_params, copied(optimizer)
    names = {name: a for name, a in model.parameters().items()}
    rng = np.random.default_rng(3)
    params[...] = rng.uniform(0.3, 1.5, params.size) * rng.choice((-1.0, 1.0), params.size)
    done.places.append(params.copy())
    for g in grads:
        model.flat_grads[...] = g
        with same_luck():
            try:
                thing.step(model)
            except Exception as error:  # noqa: BLE001
                done.error = error
                return done
        if not same(model.flat_grads, g, 0) and not done.grads_changed:
            done.grads_changed = beside("gradient", model.flat_grads, g)
        done.places.append(params.copy())
        if model.flat_params is not params:
            done.replaced = "model.flat_params is another array after the step"
        for name, a in model.parameters().items():
            if not np.shares_memory(a, names[name]) and not done.replaced:
                done.replaced = f"{name} is another array after the step"
    return done


# ---- a right optimizer with every setting that can be got wrong ------


@dataclass(frozen=True)
class Rule:
    """SGD or Adam, and each choice in it.

    kept, ahead  what v is multiplied by before the gradient is added, and in the look-ahead; None:
                 momentum
    velocity     "lr inside": v = mu v - lr g; "lr outside": v = mu v + g; "damped": (1 - mu) g
    decay_in     "step" apart from the gradient, "gradient" added to it
    count        (a, b): the number t of step k, from 0, is a k + b
    forget       what is remembered starts anew in every step
    """

    kind: str = "sgd"
    lr: float = 0.01
    sign: float = 1.0
    momentum: float = 0.0
    nesterov: bool = False
    velocity: str = "lr inside"
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    epsilon_at: str = "root"
    correct: tuple[bool, bool] = (True, True)
    count: tuple[int, int] = (1, 1)
    forget: tuple[str, ...] = ()
    shares: tuple[bool, bool] = (True, True)
    squared: bool = True
    root: bool = True
    kept: float | None = None
    ahead: float | None = None
    decay: float = 0.0
    decay_in: str = "step"
    decay_with_lr: bool = True
    once_more: int = 1
    summed: bool = False
    dtype: type = np.float64

    def walk(self, start: Array, grads: list[Array]) -> list[Array]:
        """The parameters before the first and after every step."""
        p, places = start.copy(), [start]
        memory = {"m": np.zeros_like(p), "v": np.zeros_like(p)}
        total = np.zeros_like(p)
        with np.errstate(all="ignore"):
            for k, g in enumerate(grads):
                total = total + g
                g = self.sign * (total if self.summed else g)
                for key in self.forget:
                    memory[key] = np.zeros_like(p)
                if self.decay and self.decay_in == "gradient":
                    g = g + self.decay * p
                elif self.decay:
                    p = p - (self.lr if self.decay_with_lr else 1) * self.decay * p
                step = self._adam(g, memory, k) if self.kind == "adam" else self._sgd(g, memory)
                p = p - step
                places.append(p)
        return places

    def _sgd(self, g: Array, memory: dict[str, Array]) -> Array:
        mu = self.momentum
        inside = self.lr if self.velocity == "lr inside" else 1.0
        share = 1 - mu if self.velocity == "damped" else 1.0
        outside = 1.0 if self.velocity == "lr inside" else self.lr
        kept, ahead = (mu if x is None else x for x in (self.kept, self.ahead))
        memory["v"] = v = kept * memory["v"] + share * inside * g
        return outside * (ahead * v + share * inside * g if self.nesterov else v)

    def _adam(self, g: Array, memory: dict[str, Array], k: int) -> Array:
        b1, b2 = self.beta_1, self.beta_2
        one, two = (
            (1 - b) if whole else 1.0 for b, whole in zip((b1, b2), self.shares, strict=True)
        )
        memory["m"] = b1 * memory["m"] + one * g
        memory["v"] = b2 * memory["v"] + two * (g * g if self.squared else g)
        t = self.count[0] * k + self.count[1]
        c1, c2 = (1 - b**t if on else 1.0 for b, on in zip((b1, b2), self.correct, strict=True))
        m, v = memory["m"] / c1, memory["v"] / c2
        if not self.root:
            return self.lr * m / (v + self.epsilon)
        if self.epsilon_at == "under":
            return self.lr * m / np.sqrt(v + self.epsilon)
        if self.epsilon_at == "uncorrected":  # Keras's, and the paper's epsilon hat
            return self.lr * m * np.sqrt(c2) / (np.sqrt(memory["v"]) + self.epsilon)
        if self.epsilon_at == "none":
            return self.lr * m / np.sqrt(v)
        return self.lr * m / (np.sqrt(v) + self.epsilon)


def settings_of(thing: Any) -> Iterator[Rule]:
    """Right rules with the numbers that an optimizer has as attributes."""

    def read(default: float, *names: str) -> float:
        for name in names:
            try:
                return float(getattr(thing, name))
            except (AttributeError, TypeError, ValueError):
                continue
        return default

    lr = read(0.01, "learning_rate", "lr", "rate", "eta", "alpha")
    decay = read(0.0, "weight_decay", "decay", "wd")
    b1, b2 = read(0.9, "beta_1", "beta1", "b1"), read(0.999, "beta_2", "beta2", "b2")
    epsilon = read(1e-7, "epsilon", "eps")
    base = Rule(lr=lr, decay=decay, beta_1=b1, beta_2=b2, epsilon=epsilon)
    momentum = read(0.0, "momentum", "mu")
    for decay_in in ("step", "gradient"):
        for nesterov in (False, True):
            yield replace(base, momentum=momentum, nesterov=nesterov, decay_in=decay_in)
        for at in ("root", "uncorrected", "under"):
            yield replace(base, kind="adam", epsilon_at=at, decay_in=decay_in)


# ---- mistakes ------

Variant = tuple[str, Rule]


def sign(r: Rule) -> Iterator[Variant]:
    yield "the step goes along the gradient, not against it", replace(r, sign=-1.0)
    if r.decay:
        yield "weight decay makes the parameters longer", replace(r, decay=-r.decay)


def no_bias_correction(r: Rule) -> Iterator[Variant]:
    if r.kind == "adam":
        for correct in ((False, False), (False, True), (True, False)):
            which = [key for key, on in zip("mv", correct, strict=True) if not on]
            verb = "are" if len(which) > 1 else "is"
            yield f"{' and '.join(which)} {verb} not corrected", replace(r, correct=correct)


def wrong_t(r: Rule) -> Iterator[Variant]:
    if r.kind != "adam":
        return
    yield "t starts at 0", replace(r, count=(1, 0))
    yield "t starts at 2", replace(r, count=(1, 2))
    yield "t stands still at 1", replace(r, count=(0, 1))
    for often in (2, 3, 4):
        for first in (1, often):
            yield f"t grows by {often} a step", replace(r, count=(often, first))


def epsilon_side(r: Rule) -> Iterator[Variant]:
    if r.kind == "adam":
        for at in {"root", "under", "uncorrected"} - {r.epsilon_at}:
            where = {"root": "beside the corrected root", "under": "under the root"}
            said = where.get(at, "beside the root that is not corrected")
            yield f"epsilon stands {said}", replace(r, epsilon_at=at)


def memory_lost(r: Rule) -> Iterator[Variant]:
    for forget in (("m", "v"), ("m",), ("v",)):
        verb = "start" if len(forget) > 1 else "starts"
        yield f"{' and '.join(forget)} {verb} anew in every step", replace(r, forget=forget)
    if r.kind == "adam":
        first = replace(r, forget=("m", "v"), count=(0, 1))
        yield "m, v and t start anew in every step", first


def decay_coupled(r: Rule) -> Iterator[Variant]:
    if r.decay:
        other = "gradient" if r.decay_in == "step" else "step"
        yield f"weight decay is in the {other}", replace(r, decay_in=other)


def missing_factor(r: Rule) -> Iterator[Variant]:
    if r.decay:
        yield "the decay has no learning rate", replace(r, decay_with_lr=False)
    yield "the learning rate is left out", replace(r, lr=1.0)
    if r.kind == "adam":
        for shares in ((False, True), (True, False), (False, False)):
            yield "1 - beta is left out", replace(r, shares=shares)
        yield "the gradient is not squared in v", replace(r, squared=False)
        yield "the root is left out", replace(r, root=False)
        yield "epsilon is left out", replace(r, epsilon_at="none")
    elif r.momentum:
        yield "the gradient counts 1 - momentum", replace(r, velocity="damped")
        yield "the velocity is kept whole, without momentum", replace(r, kept=1.0)
        if r.nesterov:
            yield "the look-ahead is without momentum", replace(r, ahead=1.0)
            yield "momentum is left out everywhere", replace(r, kept=1.0, ahead=1.0)


def accumulated(r: Rule) -> Iterator[Variant]:
    yield "all gradients so far are added up", replace(r, summed=True)


#: narrow before wide
HYPOTHESES: tuple[tuple[str, Callable[[Rule], Iterator[Variant]]], ...] = (
    ("sign", sign),
    ("memory-lost", memory_lost),
    ("wrong-t", wrong_t),
    ("no-bias-correction", no_bias_correction),
    ("epsilon-side", epsilon_side),
    ("decay-coupled", decay_coupled),
    ("accumulated", accumulated),
    ("missing-factor", missing_factor),
)


def float32_inside(mine: list[Array], wanted: list[Array] | None) -> Finding | None:
    """Right to the seven digits of float32, and no further, where nothing narrower fits."""
    if wanted is None or not agree(mine, wanted, 1e-5):
        return None
    where, evidence = _first_difference(mine, wanted)
    return Finding("float32-inside", f"{evidence}right to seven digits and no further", where)


def agree(a: list[Array], b: list[Array], tolerance: float = CLOSE) -> bool:
    """Whether two walks are the same, step by step."""
    if len(a) != len(b):
        return False
    return all(
        _same_step(a1 - a0, b1 - b0, size(a0), tolerance)
        for a0, a1, b0, b1 in zip(a[:-1], a[1:], b[:-1], b[1:], strict=True)
    )


def _same_step(a: Array, b: Array, of: float, tolerance: float) -> bool:
    with np.errstate(invalid="ignore"):
        alike = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.where(alike, 0, np.abs(a - b))
    return bool(np.all(apart <= tolerance * max(size(a), size(b)) + ROUNDING * of))


def of_optimizer(optimizer: Any, rng: np.random.Generator, like: Any) -> Diagnosis:
    """See `scratchnet.gradcheck.diagnose_optimizer`."""
    start = walk(optimizer, []).places[0]
    tried = 0
    for small in (False, True):
        grads = gradients(start, rng, small)
        mine = walk(optimizer, grads)
        found = _handling(mine, grads)
        if found is not None:
            return found
        fitting = _right_rules(optimizer, like, grads)
        wanted = walk(like, grads).places if like is not None else None
        if wanted is None:
            if fitting and any(agree(mine.places, r.walk(start, grads)) for r in fitting):
                tried += 1
                continue
        elif agree(mine.places, wanted):
            tried += 1
            continue
        fits = list(_explained(mine, wanted, fitting, grads))
        if fits:
            return wrong(fits)
        if wanted is None:
            return _by_itself(mine, grads)
        return _unexplained(mine, wanted)
    return right(
        f"the parameters agree after each of {STEPS} steps, for {tried} kinds of gradients"
    )


def _handling(mine: Walk, grads: list[Array]) -> Diagnosis | None:
    if mine.error is not None:
        said = f"step {len(mine.places)} raises {type(mine.error).__name__}: {mine.error}"
        if isinstance(mine.error, ZeroDivisionError):
            return wrong([Finding("wrong-t", said, "the step's number t")])
        if isinstance(mine.error, AttributeError) and "flat_params" in str(mine.error):
            return wrong([Finding("parameters-replaced", said, "flat_params")])
        if isinstance(mine.error, ValueError) and "shape" in str(mine.error):
            return wrong([Finding("wrong-shape", said, "step")])
        return unknown(f"step {len(mine.places)}", said)
    if mine.replaced:
        return wrong([Finding("parameters-replaced", mine.replaced, "flat_params")])
    if all(same(p, mine.places[0], 0) for p in mine.places):
        said = f"after {len(grads)} steps every parameter is what it was before"
        return wrong([Finding("parameters-replaced", said, "flat_params")])
    return None


def _right_rules(optimizer: Any, like: Any, grads: list[Array]) -> list[Rule]:
    """The right rules that give `like`'s steps; without like all that the attributes allow."""
    if like is None:
        return list(settings_of(optimizer))
    wanted = walk(like, grads).places
    return [r for r in settings_of(like) if agree(r.walk(wanted[0], grads), wanted)]


def _explained(
    mine: Walk, wanted: list[Array] | None, rules: list[Rule], grads: list[Array]
) -> Iterator[Finding]:
    start = mine.places[0]
    for cause, hypothesis in HYPOTHESES:
        found = None
        for rule in rules:
            for said, changed in hypothesis(rule):
                places = changed.walk(start, grads)
                if wanted is not None and agree(places, wanted):
                    continue
                if agree(mine.places, places):
                    where, evidence = _first_difference(mine.places, wanted)
                    found = Finding(cause, f"{evidence}it is what comes out if {said}", where)
                    break
            if found:
                yield found
                break
    rounded = float32_inside(mine.places, wanted)
    if rounded:
        yield rounded


def _first_difference(mine: list[Array], wanted: list[Array] | None) -> tuple[str, str]:
    if wanted is None:
        return "", ""
    for k in range(1, len(mine)):
        a, b = mine[k] - mine[k - 1], wanted[k] - wanted[k - 1]
        if not _same_step(a, b, size(wanted[k]), CLOSE):
            name = f"step {k}, change of parameter "
            return worst(name, a, b), f"{beside(name, a, b)}; "
    return "", ""


def _by_itself(mine: Walk, grads: list[Array]) -> Diagnosis:
    """No optimizer beside it: what is wrong in any."""
    first = mine.places[1] - mine.places[0]
    if any_nan(first):
        return unknown("step 1", "the parameters are NaN or infinite after the first step")
    if float((first * grads[0]).sum()) > 0:
        said = "the first step goes along the gradient, uphill"
        return wrong([Finding("sign", said, "step 1")])
    return right("the first step goes downhill; there is no right optimizer to compare it with")


def _unexplained(mine: Walk, wanted: list[Array]) -> Diagnosis:
    where, evidence = _first_difference(mine.places, wanted)
    return unknown(where, evidence.rstrip("; "))
