"""The diagnosis of a loss: forward gives one number L, backward dL/dy_pred.

What is right comes from `like`, or, for backward, from the loss's own forward by central
differences. The rules are of two kinds, as for layers: how it treats what it is given, and what its
gradient would be after a certain mistake.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import handling
from .numbers import EXACT, SAME, Array, beside, distance, factor, number, same, size, worst
from .result import Diagnosis, Finding, right, unknown, wrong
from .trial import STEP, as_numbers, copied, same_luck

Guess = tuple[str, Array]


class LossTrial:
    """A loss at one pair of predictions and targets.

    value, gradient    the learner's;  value_right, gradient_right   what they should be
    """

    def __init__(self, loss: Any, like: Any, x: Array, y: NDArray[Any], probe: str = "") -> None:
        self.loss, self.like, self.x, self.y, self.probe = loss, like, x, y, probe
        self.error: tuple[str, Exception] | None = None
        self.value: Any = None
        self.gradient: Any = None
        self.dtype: Any = None
        self.changed = ""
        self._try(copied(loss))

    def _try(self, loss: Any) -> None:
        given, targets, stage = self.x.copy(), np.array(self.y), "forward"
        with same_luck():
            try:
                self.value = as_numbers(loss.forward(given, targets))
                after_forward, stage = given.copy(), "backward"
                gradient = loss.backward()
            except Exception as error:  # noqa: BLE001
                self.error = stage, error
                return
        self.gradient, self.dtype = as_numbers(gradient), getattr(gradient, "dtype", None)
        if not same(after_forward, self.x, 0):
            self.changed = beside("y_pred", after_forward, self.x)
        elif not same(targets, self.y, 0):
            self.changed = beside("y_true", targets, self.y)

    def at(self, x: Array) -> tuple[Any, Any]:
        """Value and gradient of the learner's loss at other predictions."""
        other = LossTrial(self.loss, self.like, x, self.y)
        return other.value, other.gradient

    @cached_property
    def _like(self) -> tuple[Any, Any]:
        if self.like is None:
            return None, None
        like = copied(self.like)
        with np.errstate(all="ignore"):
            return as_numbers(like.forward(self.x.copy(), self.y)), as_numbers(like.backward())

    @property
    def value_right(self) -> Any:
        return self._like[0]

    @cached_property
    def follows_like(self) -> bool:
        return self.like is not None and same(self.value, self.value_right, EXACT)

    @cached_property
    def gradient_right(self) -> Array:
        """`like`'s, whatever the learner's forward is; without like that of the own forward."""
        return self._like[1] if self.like is not None else self.numeric

    @cached_property
    def numeric(self) -> Array:
        loss, x = copied(self.loss), self.x.copy()
        slopes = np.zeros_like(x)
        with same_luck():
            for index in np.ndindex(x.shape):
                kept = x[index]
                x[index] = kept + STEP
                above = float(loss.forward(x.copy(), self.y))
                x[index] = kept - STEP
                slopes[index] = (above - float(loss.forward(x.copy(), self.y))) / (2 * STEP)
                x[index] = kept
        return slopes

    @property
    def tolerance(self) -> float:
        return EXACT if self.like is not None else SAME

    @property
    def wrong_value(self) -> bool:
        return self.like is not None and not same(self.value, self.value_right, EXACT)

    @property
    def wrong_gradient(self) -> bool:
        return not same(self.gradient, self.gradient_right, self.tolerance)

    @property
    def counts(self) -> dict[int, str]:
        """Numbers that a mean may divide by."""
        of_row = self.x.size // max(len(self.x), 1)
        found = {self.x.size: "entries", len(self.x): "examples"}
        return {count: of for count, of in found.items() if count > 1} | (
            {of_row: "outputs"} if of_row > 1 and of_row not in found else {}
        )


# ---- how it treats what it is given ------


def raises(t: LossTrial) -> Finding | None:
    if t.error is None:
        return None
    stage, error = t.error
    said = f"{stage} raises {type(error).__name__}: {error}"
    if isinstance(error, (ValueError, IndexError)) and "shape" in str(error):
        return Finding("wrong-shape", said, stage)
    return None


def returns_nothing(t: LossTrial) -> Finding | None:
    if t.error is None and t.gradient is None:
        return Finding("dx-missing", "backward returns None, expected an array", "dy_pred")
    return None


def writes(t: LossTrial) -> Finding | None:
    return Finding("x-changed", f"forward writes: {t.changed}", "y_pred") if t.changed else None


def shapes(t: LossTrial) -> Finding | None:
    if t.value is not None and t.value.ndim:
        return Finding("wrong-shape", f"L has the shape {t.value.shape}, expected a number", "L")
    if t.gradient is not None and t.gradient.shape != t.x.shape:
        said = f"the gradient has the shape {t.gradient.shape}, expected {t.x.shape}"
        return Finding("wrong-shape", said, "dy_pred")
    return None


def overflows(t: LossTrial) -> Finding | None:
    """At scores that are large: all by the same amount (exp overflows), or far apart (log 0)."""
    if t.like is None or t.error is not None:
        return None
    big = size(t.x)
    said = f"for predictions up to {big:.4g} L is {float(t.value):.6g}, expected "
    said += f"{float(t.value_right):.6g}"
    finite = np.isfinite(t.value_right) and np.isfinite(t.gradient_right).all()
    broken = not np.isfinite(t.value) or not np.isfinite(t.gradient).all()
    if not (finite and broken):
        return None
    if t.probe == "all scores large":
        return Finding("shifted-max", said, "L")
    return Finding("clipped", said, "L")


def stuck(t: LossTrial) -> Finding | None:
    """For a prediction that is surely wrong, a loss or gradient that no longer follows it."""
    if t.like is None or t.probe not in ("surely wrong", "given") or t.error is not None:
        return None
    if t.probe == "given" and not (t.x == 0).any() and size(t.x) < 20:
        return None
    value, right = float(t.value), float(t.value_right)
    if same(value, right, SAME) and same(t.gradient, t.gradient_right, SAME):
        return None
    small = LossTrial(t.loss, t.like, _calm(t.x), t.y)
    if small.wrong_value or small.wrong_gradient:
        return None  # wrong everywhere, not only here
    said = f"where a prediction is surely wrong, L is {value:.6g}, expected {right:.6g}; "
    return Finding("clipped", said + beside("dy_pred", t.gradient, t.gradient_right), "L")


def _calm(x: Array) -> Array:
    """The same kind of predictions, none of them sure."""
    if _probabilities(x):
        flat = 0.5 * x + 0.5 / x.shape[-1] if x.shape[-1] > 1 else 0.25 + 0.5 * x
        return flat
    return x / max(size(x), 1)


def _probabilities(x: Array) -> bool:
    return bool((x >= 0).all() and (x <= 1).all())


def differs_from_call_to_call(t: LossTrial) -> Finding | None:
    loss, values = copied(t.loss), []
    with np.errstate(all="ignore"):
        for _ in range(3):
            values.append(float(loss.forward(t.x.copy(), t.y)))
    for later in values[1:]:
        if not same(later, values[0], EXACT) and np.isfinite(later):
            said = f"the same predictions give L = {values[0]:.6g} and then {later:.6g}"
            cause = "accumulated" if same(later, 2 * values[0]) else "forward-random"
            return Finding(cause, said, "L")
    return None


def remembers_earlier_calls(t: LossTrial) -> Finding | None:
    loss, other = copied(t.loss), _calm(t.x)[::-1].copy()
    with same_luck():
        try:
            loss.forward(other, t.y[::-1])
            before = as_numbers(loss.backward())
            loss.forward(t.x.copy(), t.y)
            again = as_numbers(loss.backward())
            twice = as_numbers(loss.backward())
        except Exception:  # noqa: BLE001
            return None
    for later, how in ((again, "after another forward and backward"), (twice, "a second time")):
        if later is None or same(later, t.gradient, EXACT):
            continue
        said = f"{how}: {beside('dy_pred', later, t.gradient)}"
        more = later - t.gradient if later.shape == t.gradient.shape else None
        added = more is not None and (same(more, before) or same(more, t.gradient))
        cause = "accumulated" if added else "stale-cache"
        return Finding(cause, said, worst("dy_pred", later, t.gradient))
    return None


def rounds_to_float32(t: LossTrial) -> Finding | None:
    if t.dtype is not None and t.dtype in (np.float32, np.float16):
        return Finding("float32-inside", f"the gradient is {t.dtype}", "dy_pred")
    rng = np.random.default_rng(0)
    little, much = (
        t.at(t.x * (1 + s * rng.uniform(0.5, 1, t.x.shape)))
        for s in (handling.LITTLE, handling.MORE)
    )
    found = handling._blind(t.gradient, little[1], much[1])
    if found:
        return Finding("float32-inside", f"a change in the 11th digit is not seen: {found}", "")
    return None


HANDLING: tuple[Callable[[LossTrial], Finding | None], ...] = (
    raises,
    returns_nothing,
    writes,
    shapes,
    overflows,
    stuck,
    differs_from_call_to_call,
    remembers_earlier_calls,
    rounds_to_float32,
)


# ---- what its gradient would be ------


def sign(t: LossTrial) -> Iterator[Guess]:
    yield "every sign is turned", -t.gradient_right


def divided_twice(t: LossTrial) -> Iterator[Guess]:
    for count, of in t.counts.items():
        yield f"it is divided by the {count} {of} once more", t.gradient_right / count


def batch_mean(t: LossTrial) -> Iterator[Guess]:
    for count, of in t.counts.items():
        yield f"it is not divided by the {count} {of}", t.gradient_right * count


def diagonal_only(t: LossTrial) -> Iterator[Guess]:
    """Only the true class gets a gradient; or each class that of a sigmoid of its own."""
    right = t.gradient_right
    if t.x.ndim != 2 or np.ndim(t.y) != 1:
        return
    hot = np.zeros_like(right)
    hot[np.arange(len(right)), np.asarray(t.y, int)] = 1
    yield "only the true class's entry is there", right * hot
    probs = right * len(right) + hot
    yield "softmax is taken for a sigmoid", (probs - hot) * probs * (1 - probs) / len(right)
    yield "each score has a sigmoid of its own", (1 / (1 + np.exp(-t.x)) - hot) / len(right)


def overwritten(t: LossTrial) -> Iterator[Guess]:
    for at, which in ((-1, "last"), (0, "first")):
        part = np.zeros_like(t.gradient_right)
        part[at] = t.gradient_right[at]
        yield f"the {which} example alone counts", part


def derivative_of_output(t: LossTrial) -> Iterator[Guess]:
    """p (1 - p), or its inverse, with what is given taken for probabilities, or for scores."""
    right, x = t.gradient_right, t.x
    with np.errstate(all="ignore"):
        s = 1 / (1 + np.exp(-x))
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        soft = e / e.sum(axis=-1, keepdims=True)
        for p, of in ((s, "their sigmoid"), (soft, "their softmax")):
            yield f"p (1 - p) of {of} is multiplied by", right * p * (1 - p)
            yield f"it is divided by p (1 - p) of {of}", right / (p * (1 - p))


def missing_factor(t: LossTrial) -> Iterator[Guess]:
    c = factor(t.gradient, t.gradient_right)
    if c is not None:
        yield f"it is multiplied by {number(c)}", c * t.gradient_right
    if np.all(t.x != 0):
        yield "1 / p is left out, with the prediction for p", t.gradient_right * t.x
        yield "p is left out, with the prediction for p", t.gradient_right / t.x
    if np.all((t.x > 0) & (t.x < 1)):
        each = t.x * (1 - t.x)
        yield "1 / (p (1 - p)) is left out, with the prediction for p", t.gradient_right * each
        yield "p (1 - p) is left out, with the prediction for p", t.gradient_right / each


#: narrow before wide
HYPOTHESES: tuple[tuple[str, Callable[[LossTrial], Iterator[Guess]]], ...] = (
    ("sign", sign),
    ("divided-twice", divided_twice),
    ("batch-mean", batch_mean),
    ("diagonal-only", diagonal_only),
    ("overwritten", overwritten),
    ("derivative-of-output", derivative_of_output),
    ("missing-factor", missing_factor),
)


def _value_finding(t: LossTrial) -> Finding:
    """L itself is wrong: by a number, or by more than that."""
    value, wanted = float(t.value), float(t.value_right)
    said = f"L is {value:.6g}, expected {wanted:.6g}"
    c = value / wanted if wanted else 0.0
    for count, of in t.counts.items():
        if same(c, count):
            return Finding("batch-mean", f"{said}: not divided by the {count} {of}", "L")
        if same(c, 1 / count):
            return Finding("divided-twice", f"{said}: divided by the {count} {of} once more", "L")
    if same(c, -1):
        return Finding("sign", said, "L")
    others = (t.loss, t.like, 0.5 * t.x + 0.25 if _probabilities(t.x) else 0.7 * t.x + 0.1, t.y)
    other = LossTrial(*others)
    if other.error is None and same(other.value, c * other.value_right) and c:
        return Finding("missing-factor", f"{said}: multiplied by {number(c)}", "L")
    return Finding("forward-wrong", said, "L")


def _probes(loss: Any, x: Array, y: NDArray[Any], like: Any) -> Iterator[LossTrial]:
    """What was given, and where logarithms and exponentials break."""
    x = np.array(x, dtype=np.float64)
    yield LossTrial(loss, like, x, y, "given")
    if like is None:
        return
    yield LossTrial(loss, like, x[:1], y[:1], "one example")
    if getattr(like, "from_logits", False):
        yield LossTrial(loss, like, x + 1000, y, "all scores large")
        yield LossTrial(loss, like, 3000 * x, y, "surely wrong")
    elif hasattr(like, "from_logits") and _probabilities(x):
        sure = np.round(x) if x.shape[-1] == 1 else np.eye(x.shape[-1])[x.argmin(axis=-1)]
        yield LossTrial(loss, like, sure, y, "probabilities of 0 and 1")


def of_loss(loss: Any, x: Array, y: NDArray[Any], rng: np.random.Generator, like: Any) -> Diagnosis:
    """See `scratchnet.gradcheck.diagnose_loss`."""
    compared = 0
    for t in _probes(loss, x, y, like):
        with np.errstate(all="ignore"):
            found = next((f for f in (rule(t) for rule in HANDLING) if f is not None), None)
            if found is not None:
                return wrong([found])
            if t.error is not None:
                stage, error = t.error
                return unknown(stage, f"{stage} raises {type(error).__name__}: {error}")
            if t.probe == "probabilities of 0 and 1":
                continue  # how far to clip is a matter of taste
            fits = _explained(t) if t.wrong_gradient else []
            if t.wrong_value:
                return wrong([_value_finding(t), *fits])
            if fits:
                return wrong(fits)
            if t.wrong_gradient:
                here = worst("dy_pred", t.gradient, t.gradient_right)
                return unknown(here, beside("dy_pred", t.gradient, t.gradient_right))
        compared += 1
    return right(f"L and its gradient agree, for {compared} pairs of predictions and targets")


def _explained(t: LossTrial) -> list[Finding]:
    found = []
    for cause, rule in HYPOTHESES:
        for said, guess in rule(t):
            if same(guess, t.gradient) and not same(guess, t.gradient_right, t.tolerance):
                apart = distance(guess, t.gradient)
                evidence = beside("dy_pred", t.gradient, t.gradient_right)
                evidence += f"; it is what comes out if {said} (to {apart:.0e})"
                found.append(
                    Finding(cause, evidence, worst("dy_pred", t.gradient, t.gradient_right))
                )
                break
    return found
