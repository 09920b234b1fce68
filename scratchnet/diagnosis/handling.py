"""Explanations about how a layer treats what it is given, whatever its numbers are.

Each is a function of a trial that returns a Finding or None. They come before the hypotheses about
numbers: a layer that writes to dy has wrong numbers, too, and the cause is the writing.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from . import windowed
from .numbers import EXACT, SAME, Array, any_nan, beside, number, same, size, worst
from .result import Finding
from .trial import FILLED, Trial, as_numbers, run, same_luck

#: so small that float32 does not see it, and float64 does
LITTLE = 1e-11
#: a change that both see, and that seldom leads over a kink
MORE = 1e-3


def raises(t: Trial) -> Finding | None:
    """An exception: shapes that do not fit are a cause, everything else is none."""
    if t.run.error is None:
        return None
    stage, error = t.run.error
    said = f"{stage} raises {type(error).__name__}: {error}"
    if stage == "backward" and _works_with_transpose(t):
        return Finding("transposed", f"{said}; with the transposed matrix it runs", stage)
    shapes = [_shape(s) for s in re.findall(r"\(([\d, ]*)\)", str(error))]
    if len(shapes) >= 2 and shapes[0] != shapes[1]:
        found, target = shapes[0], shapes[1]
        if len(target) == 1 and stage == "backward" and _part(found, t.dy.shape):
            return Finding("bias-axes", said, stage)
        if len(found) == 2 and found == target[::-1]:
            return Finding("transposed", said, stage)
        if sorted(found) == sorted(target) and len(found) > 1:
            return Finding("axes-permuted", said, stage)
    if isinstance(error, (ValueError, IndexError)) and re.search(
        r"shape|broadcast|mismatch|dimension|align|axis|axes|reshape", str(error)
    ):
        return Finding("wrong-shape", said, stage)
    return None


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(",") if part.strip())


def _part(shape: tuple[int, ...], of: tuple[int, ...]) -> bool:
    """Whether some of the axes are left of a longer shape, in order."""
    rest = iter(of)
    return 0 < len(shape) < len(of) and all(any(s == r for r in rest) for s in shape)


def _works_with_transpose(t: Trial) -> bool:
    layer = t.fresh()
    with same_luck():
        try:
            layer.forward(t.x.copy(), t.training)
            for key, W in layer.params.items():
                if W.ndim == 2:
                    layer.params[key] = W.T.copy()
            layer.backward(t.dy.copy())
        except Exception:  # noqa: BLE001
            return False
    return any(W.ndim == 2 for W in t.layer.params.values())


def returns_nothing(t: Trial) -> Finding | None:
    if t.run.error is None and "dx" in t.run.arrays and t.run.arrays["dx"] is None:
        return Finding("dx-missing", "backward returns None, expected an array", "dx")
    if t.run.error is None and t.run.arrays.get("y") is None:
        return Finding("forward-wrong", "forward returns no array of numbers", "y")
    return None


def writes_to_x(t: Trial) -> Finding | None:
    return _writes(t, "x", "x-changed")


def writes_to_dy(t: Trial) -> Finding | None:
    return _writes(t, "dy", "dy-changed")


def _writes(t: Trial, name: str, cause: str) -> Finding | None:
    if name not in t.run.changed:
        return None
    after, before = t.run.changed[name]
    count = int((after != before).sum()) if after.shape == before.shape else after.size
    said = f"{count} of {before.size} entries of {name} have changed"
    return Finding(cause, said, worst(name, after, before))


def shapes(t: Trial) -> Finding | None:
    y, wanted = t.run.arrays.get("y"), t.y_right
    if y is not None and wanted is not None and y.shape != wanted.shape:
        return _shape_of_y(t, y, wanted)
    pairs = {"dx": t.x.shape} | {key: a.shape for key, a in t.layer.params.items()}
    for name, shape in pairs.items():
        found = t.run.arrays.get(name)
        if found is None or found.shape == shape:
            continue
        said = f"the gradient {name} has the shape {found.shape}, expected {shape}"
        if len(shape) == 2 and found.shape == shape[::-1] and same(found.T, t.right[name]):
            return Finding("transposed", said, name)
        if len(shape) == 1 and any(
            same(found, t.dy.sum(axis=tuple(range(k)))) for k in range(t.dy.ndim - 1)
        ):
            return Finding("bias-axes", said, name)
        if name == "dx" and windowed.is_uncut(t, found):
            return Finding("padding-off", f"{said}; the padding's part is not cut off", name)
        if sorted(found.shape) == sorted(shape):
            return Finding("axes-permuted", said, name)
        return Finding("wrong-shape", said, name)
    return None


def _shape_of_y(t: Trial, y: Array, wanted: Array) -> Finding:
    said = f"forward gives the shape {y.shape}, expected {wanted.shape}"
    if y.ndim == wanted.ndim and y.ndim == 2 and y.shape == wanted.shape[::-1]:
        return Finding("transposed", said, "y")
    if y.ndim == wanted.ndim and sorted(y.shape) == sorted(wanted.shape):
        return Finding("axes-permuted", said, "y")
    for cause, how in windowed.output_of_another_size(t, y):
        return Finding(cause, f"{said}; it is what comes out if {how}", "y")
    return Finding("wrong-shape", said, "y")


def gradient_not_stored(t: Trial) -> Finding | None:
    for key in t.layer.params:
        if "dx" in t.run.arrays:
            found = t.run.arrays.get(key)
            if found is None:
                said = f"grads has no {key!r} after backward"
                return Finding("parameter-gradient-missing", said, key)
            if found.size and np.all(found == FILLED):
                said = f"grads[{key!r}] is after backward what it was before"
                return Finding("parameter-gradient-missing", said, key)
    return None


def adds_to_grads(t: Trial) -> Finding | None:
    """grads were filled with a number before backward, and it is still in the result."""
    if t.run.error is not None or not t.layer.params:
        return None
    empty = run(t.fresh(), t.x, t.dy, t.training, 0.0)
    for key in t.layer.params:
        first, second = empty.arrays.get(key), t.run.arrays.get(key)
        if first is None or second is None or first.shape != second.shape or same(first, second, 0):
            continue
        if t.is_random or same(second - first, np.full_like(first, FILLED)):
            said = f"grads[{key!r}] is the gradient plus the {FILLED} that stood there before"
            if same(second - first, np.full_like(first, FILLED)):
                return Finding("accumulated", said, worst(key, second, first))
    return None


def rounds_to_float32(t: Trial) -> Finding | None:
    for name in ("y", "dx"):
        dtype = t.run.dtypes.get(name)
        if dtype is not None and dtype in (np.float32, np.float16):
            return Finding("float32-inside", f"{name} is {dtype}, expected float64", name)
    if t.is_random or t.run.error is not None:
        return None
    rng = np.random.default_rng(0)
    little, much = (1 + s * rng.uniform(0.5, 1, t.x.shape) for s in (LITTLE, MORE))
    for_x = [run(t.fresh(), t.x * m, t.dy, t.training).arrays for m in (little, much)]
    little, much = (1 + s * rng.uniform(0.5, 1, t.dy.shape) for s in (LITTLE, MORE))
    for_dy = [run(t.fresh(), t.x, t.dy * m, t.training).arrays for m in (little, much)]
    for of, runs in (("x", for_x), ("dy", for_dy)):
        for name in ("y", "dx", *t.layer.params):
            found = _blind(t.run.arrays.get(name), *(r.get(name) for r in runs))
            if found:
                said = f"{name} is the same for {of} and for {of} (1 + {LITTLE}): {found}"
                return Finding("float32-inside", said, name)
    return None


def _blind(here: Any, little: Any, much: Any) -> str:
    """Whether entries that change with something do not for a little change; "" if all is well.

    Where few entries change it is by steps, at kinks, and says nothing of rounding.
    """
    if (
        here is None
        or little is None
        or much is None
        or not here.shape == little.shape == much.shape
    ):
        return ""
    with np.errstate(all="ignore"):
        moves = np.abs(much - here) > 1e-6 * np.abs(here)
        moves &= np.isfinite(here) & np.isfinite(much) & (np.abs(here) > 1e-12)
        still = moves & (little == here)
    enough = moves.sum() > max(2, 0.3 * (here != 0).sum()) and still.sum() > 0.9 * moves.sum()
    return f"{int(still.sum())} of {int(moves.sum())} entries that depend on it" if enough else ""


def differs_from_call_to_call(t: Trial) -> Finding | None:
    if t.is_random or t.run.error is not None:
        return None
    layer = t.fresh()
    kept = {key: np.array(a) for key, a in layer.buffers.items()}
    with np.errstate(all="ignore"):
        ys = []
        for _ in range(3):
            try:
                ys.append(as_numbers(layer.forward(t.x.copy(), t.training)))
            except Exception:  # noqa: BLE001
                return None
            for key, a in kept.items():
                layer.buffers[key][...] = a
    when = "training" if t.training else "evaluation"
    for later in ys[1:]:
        if not same(ys[0], later, EXACT):
            said = f"in {when}, for the same x: {beside('a later y', later, ys[0])}"
            return Finding("forward-random", said, worst("y", later, ys[0]))
    return None


def drops_in_evaluation(t: Trial) -> Finding | None:
    y = t.run.arrays.get("y")
    if t.training or y is None or y.shape != t.x.shape or not t.is_random_in_training:
        return None
    gate = t.gate(y)
    if gate is not None and (gate == 0).any() and not same(y, t.x, EXACT):
        share = float((gate == 0).mean())
        return Finding("forward-random", f"in evaluation {share:.0%} of y are 0", "y")
    return None


def changes_buffers(t: Trial) -> Finding | None:
    """Running statistics: as they are in evaluation, and with the right share in training."""
    before = {key: np.array(a) for key, a in t.layer.buffers.items()}
    after = t.run.buffers
    if not before or not after:
        return None
    if not t.training:
        for key, a in before.items():
            if not same(a, after.get(key), 0):
                said = f"in evaluation {beside(key, after[key], a)}"
                return Finding("changes-state", said, worst(key, after[key], a))
        return None
    if t.like is None or not t.follows_like:
        return None
    like = run(t.fresh_like(), t.x, None, True).buffers
    for key, mine in after.items():
        if key not in like or mine.shape != like[key].shape or same(mine, like[key], EXACT):
            continue
        return _share(t, key, before[key], mine, like[key])
    return None


def _share(t: Trial, key: str, before: Array, mine: Array, right: Array) -> Finding:
    said = f"after one forward in training {beside(key, mine, right)}"
    where = worst(key, mine, right)
    if same(mine, right, SAME / 10):
        return Finding("float32-inside", f"{said}: right to seven digits and no more", where)
    momentum = float(getattr(t.like, "momentum", 0.9))
    new = (right - momentum * before) / (1 - momentum)  # the batch's own
    for m in {t.x.size // right.size, len(t.x)} - {1}:
        if same(mine, momentum * before + (1 - momentum) * new * m / (m - 1)):
            return Finding("variance-ddof", f"{said}; the variance is divided by {m - 1}", where)
    if same(mine, (1 - momentum) * before + momentum * new):
        said += f"; the new statistics count {number(momentum)}"
    return Finding("changes-state", said, where)


def remembers_earlier_calls(t: Trial) -> Finding | None:
    """The same forward and backward, after other calls: must give what they give in a new layer."""
    if t.run.error is not None or t.run.arrays.get("dx") is None:
        return None
    for how, before in _earlier(t).items():
        layer = t.fresh()
        kept = {key: np.array(a) for key, a in layer.buffers.items()}
        with same_luck():
            try:
                before(layer)
            except Exception:  # noqa: BLE001 (what else is wrong shows elsewhere)
                continue
        for key, a in kept.items():
            layer.buffers[key][...] = a
        again = run(layer, t.x, t.dy, t.training)
        if again.error is not None:
            stage, error = again.error
            said = f"{how}, {stage} raises {type(error).__name__}: {error}"
            return Finding("stale-cache", said, stage)
        found = _remembered(t, how, again.arrays)
        if found:
            return found
    return None


def _remembered(t: Trial, how: str, again: dict[str, Any]) -> Finding | None:
    gate = t.gate(again["y"]) if t.is_random and again["y"] is not None else None
    for name in ("dx", *t.layer.params):
        called = t.called(name)
        mine, first = again.get(name), t.run.arrays.get(name)
        if gate is not None and name == "dx":
            first_gate = t.gate(t.run.arrays["y"])
            if first_gate is None or not same(first, t.dy * first_gate):
                continue
            first = t.dy * gate
        elif t.is_random:
            continue
        if mine is None or first is None or same(mine, first, EXACT):
            continue
        said = f"{how}: {beside(called, mine, first)}"
        cause = "accumulated" if _is_sum(t, name, mine, first) else "stale-cache"
        return Finding(cause, said, worst(called, mine, first))
    return None


def _is_sum(t: Trial, name: str, mine: Array, first: Array) -> bool:
    """Whether more was added: of the same call, or of the one that came before."""
    if mine.shape != first.shape:
        return False
    other = run(t.fresh(), _other(t.x), t.dy, t.training).arrays.get(name)
    more = mine - first
    return same(more, first) or (other is not None and same(more, other))


def _other(x: Array) -> Array:
    return x[::-1] * 0.7 + 0.1


def _earlier(t: Trial) -> dict[str, Callable[[Any], None]]:
    other = _other(t.x)

    def both(layer: Any) -> None:
        y = layer.forward(other.copy(), t.training)
        layer.backward(t.dy.copy() if y.shape == t.dy.shape else np.ones_like(y))

    def forward(layer: Any) -> None:
        layer.forward(other.copy(), t.training)

    def mode(layer: Any) -> None:
        layer.forward(other.copy(), not t.training)

    def same_twice(layer: Any) -> None:
        layer.forward(t.x.copy(), t.training)
        layer.backward(t.dy.copy())

    def fewer(layer: Any) -> None:
        layer.forward(other[: max(len(other) // 2, 1)].copy(), t.training)

    return {
        "after a forward and backward of the same": same_twice,
        "after a forward of another x": forward,
        "after a forward and backward of another x": both,
        f"after a forward in {'evaluation' if t.training else 'training'}": mode,
        "after a forward of fewer examples": fewer,
    }


def drops_wrongly(t: Trial) -> Finding | None:
    """A dropout in training: y must be x times a mask of 0 and 1 / (1 - rate)."""
    if not t.training or not t.is_random or t.run.error is not None:
        return None
    ys = [np.array(y) for y in _outputs(t.fresh(), t.x, 30)]
    there = t.x != 0
    found = [t.gate(y) for y in ys if y.shape == t.x.shape]
    gates = [gate for gate in found if gate is not None]
    if not gates or len(gates) < len(found):
        return _other_noise(t)
    scale = max(size(g) for g in gates)
    kept = float(np.mean([(g[there] != 0).mean() for g in gates]))
    rate = getattr(t.like, "rate", getattr(t.layer, "rate", None))
    rate = 1 - kept if rate is None else float(rate)
    said = f"y is 0 or {number(scale)} x, and {kept:.0%} are kept; the rate is {rate:.3g}"
    slack = 4 * np.sqrt(kept * (1 - kept) / sum(g.size for g in gates)) + 1e-9
    if np.isclose(scale, 1) and kept < 0.97:
        return Finding("mask-unscaled", said, "y")
    if abs(kept - (1 - rate)) > slack + 0.01:
        return Finding("forward-wrong", said, "y")
    if not np.isclose(scale, 1 / (1 - rate), rtol=0.02 if t.like is None else 1e-6):
        return Finding("mask-unscaled", said, "y")
    return None


def _outputs(layer: Any, x: Array, times: int) -> list[Any]:
    with same_luck():
        return [layer.forward(x.copy(), True) for _ in range(times)]


def _other_noise(t: Trial) -> Finding | None:
    if t.like is None:
        return None
    right = run(t.fresh_like(), t.x, None, True).arrays["y"]
    if t.gate(right) is None:
        return None
    return Finding("forward-wrong", "y is not x times a mask of zeros and one number", "y")


def overflows(t: Trial) -> Finding | None:
    """Finite numbers go in, and NaN comes out; where the right layer gives finite ones."""
    y, right = t.run.arrays.get("y"), t.y_right
    if y is None or not any_nan(y) or any_nan(t.x):
        return None
    if right is None and not np.isnan(y).any():
        return None  # an exponential may be infinite
    if right is not None and any_nan(right):
        return None
    said = f"for entries of x up to {size(t.x):.4g}, {int((~np.isfinite(y)).sum())} of {y.size} "
    return Finding("shifted-max", f"{said}entries of y are NaN or infinite", "y")
