"""The diagnosis of a layer: probes, and the table of explanations.

To add a cause: a paragraph in causes.py, a rule, and a line in one of the tables here.

Order is what decides where several explanations fit. HANDLING comes first, because what is broken
there makes the numbers wrong as a consequence. In HYPOTHESES narrow comes before wide: a rule that
knows what a window or a mask is, before "some number times the right one" or "some order of axes",
which fit much. An explanation that accounts for all arrays that are wrong goes before one that
accounts for some of them.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from . import handling, hypotheses, normalized, windowed
from .numbers import SAME, Array, beside, distance, worst
from .result import Diagnosis, Finding, right, unknown, wrong
from .trial import Trial, copied

Handling = Callable[[Trial], Finding | None]


class Hypothesis(NamedTuple):
    """cause   its short name
    rule    yields what the array would be
    wide    it tries much, which takes long; only where nothing narrower accounts for all
    """

    cause: str
    rule: Callable[[Trial, str], Iterator[hypotheses.Guess]]
    wide: bool = False


#: broken contracts, the most fundamental first
HANDLING: tuple[Handling, ...] = (
    handling.raises,
    handling.returns_nothing,
    handling.writes_to_x,
    handling.writes_to_dy,
    handling.shapes,
    handling.overflows,
    handling.drops_in_evaluation,
    handling.differs_from_call_to_call,
    handling.gradient_not_stored,
    handling.adds_to_grads,
    handling.remembers_earlier_calls,
    handling.changes_buffers,
    handling.rounds_to_float32,
    handling.drops_wrongly,
)

#: wrong numbers, the narrowest first
HYPOTHESES: tuple[Hypothesis, ...] = (
    Hypothesis("last-tie", windowed.last_tie),
    Hypothesis("all-ties", windowed.all_ties),
    Hypothesis("mask-of-dy", hypotheses.mask_of_dy),
    Hypothesis("mask-unscaled", hypotheses.mask_unscaled),
    Hypothesis("mask-unused", hypotheses.mask_unused),
    Hypothesis("mask-unused", windowed.window_mask_unused),
    Hypothesis("sign", hypotheses.sign),
    Hypothesis("variance-ddof", normalized.variance_ddof),
    Hypothesis("epsilon-side", normalized.epsilon_side),
    Hypothesis("batchnorm-term", normalized.batchnorm_term),
    Hypothesis("derivative-of-output", hypotheses.derivative_of_output),
    Hypothesis("diagonal-only", hypotheses.diagonal_only),
    Hypothesis("divided-twice", hypotheses.divided_twice),
    Hypothesis("divided-twice", normalized.divided_twice),
    Hypothesis("batch-mean", hypotheses.batch_mean),
    Hypothesis("overwritten", hypotheses.overwritten),
    Hypothesis("overwritten", windowed.overlap_overwritten),
    Hypothesis("bias-axes", hypotheses.bias_axes),
    Hypothesis("padding-off", windowed.padding_off, wide=True),
    Hypothesis("stride-forgotten", windowed.stride_forgotten, wide=True),
    Hypothesis("transposed", hypotheses.transposed, wide=True),
    Hypothesis("kernel-flipped", hypotheses.kernel_flipped, wide=True),
    Hypothesis("missing-factor", normalized.norm_factor),
    Hypothesis("missing-factor", hypotheses.missing_factor),
    Hypothesis("axes-permuted", windowed.winner_turned),
    Hypothesis("axes-permuted", hypotheses.axes_permuted, wide=True),
    Hypothesis("float32-inside", hypotheses.float32_inside),
)


def of_layer(layer: Any, x: Array, rng: np.random.Generator, like: Any) -> Diagnosis:
    """See `scratchnet.gradcheck.diagnose`."""
    # a stream of its own: x may come from one of the same seed, and dy must not be equal to x
    rng = np.random.default_rng(int(rng.integers(2**62)))
    layer = copied(layer)
    for store in ("params", "grads", "buffers"):  # a learner's layer may have no such thing
        if not isinstance(getattr(layer, store, None), dict):
            setattr(layer, store, {})
    for key, a in layer.params.items():
        if not isinstance(a, np.ndarray):
            return unknown(key, f"params[{key!r}] is a {type(a).__name__}, expected an array")
        if a.dtype != np.float64:
            said = f"params[{key!r}] is {a.dtype}, though the layer was built in float64"
            return wrong([Finding("float32-inside", said, key)])
    open_question: Diagnosis | None = None
    compared = 0
    for trial in _trials(layer, x, rng, like):
        found = [f for f in (rule(trial) for rule in HANDLING) if f is not None]
        if found:
            return wrong(found[:1])
        if trial.run.error is not None:
            open_question = open_question or _raised(trial)
            continue
        if trial.probe and like is None:
            continue
        names = trial.wrong
        if not names:
            compared += 1
            continue
        found = explained(trial, names)
        if names == ["y"] and not found:
            pair = trial.mine("y"), trial.y_right
            found = [Finding("forward-wrong", beside("y", *pair), worst("y", *pair))]
        serious = trial.wrong_beyond_kinks
        if found and (serious or found[0].cause in ("last-tie", "all-ties")):
            return wrong(found)
        if serious:  # what explains another input would not explain this one
            return open_question or _unexplained(trial, serious)
    if open_question is not None:
        return open_question
    return right(f"all arrays agree, at {compared} inputs")


def _trials(layer: Any, x: Array, rng: np.random.Generator, like: Any) -> Iterator[Trial]:
    """The input that was given, in training and evaluation; then inputs where mistakes hide."""
    x = np.array(x, dtype=np.float64)
    first = Trial(layer, like, x, rng, True)
    yield first
    yield Trial(layer, like, x, rng, False, before=first)
    yield Trial(layer, like, 1000 * x, rng, True, "large values")
    if like is not None:
        yield Trial(layer, like, np.round(x), rng, True, "few different values")
        yield Trial(layer, like, -np.abs(x) - 0.1, rng, True, "negative values")


def explained(t: Trial, names: list[str]) -> list[Finding]:
    """All hypotheses that fit, those first that account for the most arrays."""
    found: list[tuple[int, Finding]] = []
    for hypothesis in HYPOTHESES:
        if hypothesis.wide and any(count == len(names) for count, _ in found):
            continue
        fits = [f for f in (_fit(t, name, hypothesis) for name in names) if f is not None]
        if fits:
            found.append((len(fits), fits[0]))
    return [finding for _, finding in sorted(found, key=lambda pair: -pair[0])]


def _fit(t: Trial, name: str, hypothesis: Hypothesis) -> Finding | None:
    mine, wanted = t.mine(name), t.wanted(name)
    if mine is None or wanted is None or not np.isfinite(mine).all():
        return None
    with np.errstate(all="ignore"):
        try:
            for said, guess in hypothesis.rule(t, name):
                apart = distance(guess, mine)
                # a fit must be closer than what is right, too, where that is not far away
                if apart <= SAME and apart < 0.1 * distance(wanted, mine):
                    evidence = (
                        f"{beside(t.called(name), mine, wanted)}; it is what comes out if {said}"
                    )
                    evidence += f" (to {apart:.0e})" if apart else " (exactly)"
                    return Finding(hypothesis.cause, evidence, worst(t.called(name), mine, wanted))
        except (ValueError, IndexError, KeyError, TypeError, AttributeError):
            return None  # a hypothesis that makes no sense for these shapes
    return None


def _unexplained(t: Trial, names: list[str]) -> Diagnosis:
    name = max(names, key=t.error_of)
    mine, wanted = t.run.arrays.get(name), t.wanted(name)
    more = f" (with {t.probe})" if t.probe else ""
    if mine is None:
        return unknown(t.called(name), f"{t.called(name)} is no array of numbers{more}")
    return unknown(worst(t.called(name), mine, wanted), beside(t.called(name), mine, wanted) + more)


def _raised(t: Trial) -> Diagnosis:
    stage, error = t.run.error or ("", None)
    return unknown(stage, f"{stage} raises {type(error).__name__}: {error}")
