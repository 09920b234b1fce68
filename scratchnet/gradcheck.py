"""Is a backward pass right? Compare its gradients with what happens when a number is nudged.

    print(sn.gradcheck.check_layer(layer, x, rng))

The derivative of f at a is close to (f(a + h) - f(a - h)) / 2h. That needs nothing but the forward
pass, so it can judge the backward pass: numeric against analytic. Entry by entry it says where a
mistake is; along a random direction, all entries at once, it says in two calls of f whether there
is one.

Done in float64: with h = 1e-5 the formula's own error is of the order h^2 = 1e-10 of the third
derivative, and the rounding of f about 1e-16 |f| / h = 1e-11 |f|.

**Kinks and ties.** Where f bends (ReLU at 0, two equal maxima) there is no derivative, and the
formula gives the mean of the slopes on both sides. So a disagreement is looked at again, with a
step a hundred times smaller. It is a kink, and counted apart, if the two now agree (the bend was
within the first step but not at a), or if the analytic value lies between the slopes to the left
and to the right (the bend is at a, and any value between is as good as another). Where several
bends meet at a, as over a black background while all biases are 0, even that may fail: relu(a) -
relu(-a) is a straight line, and ReLU'(0) = 0 gives it the slope 0. So the last question is asked at
points nearby, where nothing is exactly 0 or equal: if the two agree there, the rule is right, and
the point was a kink. Everything else is a mistake.

**Seen twice.** Gradients are NaN before the backward pass, so that one which is added to and not
overwritten shows; and a second pass, with dy in another order in memory, must give the same numbers
and leave dy as it is.

**What is wrong.** `diagnose(layer, x, rng)` goes on from there: it tries explanations against the
numbers and names the one that fits. See diagnosis/.

Source: Goodfellow, Bengio and Courville 2016, section 11.5; LeVeque 2007, section 1.2; for values
between the slopes (subgradients) Clarke 1983, section 1.2.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import showing
from .errors import InputError, is_whole
from .frozen import frozen
from .text import Table, index_text, shape_text

if TYPE_CHECKING:
    from .diagnosis import Diagnosis

Array = NDArray[np.floating]

STEP = 1e-5
#: a disagreement is looked at again with a step so much smaller
CLOSER = 100
#: what `passed` asks for; a mistake is seldom below 1e-2, rounding seldom above 1e-8
TOLERANCE = 1e-6
#: how far away the points nearby are, as a part of an array's largest number
NEARBY = 1e-2


@dataclass(frozen=True)
class Check:
    """How one array's gradient compares: its worst entry, kinks left out.

    index       of that entry; for a check along random directions the direction's number
    error       |analytic - numeric| there, divided by the largest entry of the whole gradient (or
                by 1e-8 if all are smaller), so that rounding in tiny entries does not count as a
                mistake. Along directions: by the largest of the slopes, or by the root of the
                gradient's mean square, which is what they are like on average
    checked     how many entries, or directions, were compared
    wrong       how many of them are off by more than the tolerance
    kinks       how many are off because f has no derivative there
    """

    name: str
    shape: tuple[int, ...]
    index: tuple[int, ...]
    analytic: float
    numeric: float
    error: float
    checked: int = 0
    wrong: int = 0
    kinks: int = 0
    along: bool = False

    @property
    def passed(self) -> bool:
        return self.wrong == 0


class Report(tuple[Check, ...]):
    """The checks of one layer, loss or model. Printing it gives a table."""

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self)

    @property
    def worst(self) -> Check:
        """The check with the largest error."""
        if not self:
            raise InputError("gradient check: expected at least one gradient, found none")
        return max(self, key=lambda check: check.error)

    def named(self, owner: str) -> "Report":
        """The same with `owner.` before every name."""
        return Report(replace(check, name=f"{owner}.{check.name}") for check in self)

    def rows(self) -> list[dict[str, Any]]:
        """Each check as a dictionary of values that JSON knows; NaN and infinity are None."""
        return [
            {key: None if _is_odd(value) else value for key, value in asdict(check).items()}
            | {"passed": check.passed}
            for check in self
        ]

    def table(self) -> Table:
        """A line for each check."""
        head = ("gradient of", "shape", "checked", "worst at", "analytic", "numeric", "error")
        lines = []
        for check in self:
            of = "directions" if check.along else f"of {math.prod(check.shape):,}"
            where = ""  # there are kinks alone
            if check.index:
                where = f"direction {check.index[0]}" if check.along else index_text(check.index)
            lines.append(
                (
                    check.name,
                    shape_text(check.shape),
                    f"{check.checked:,} {of}",
                    where,
                    f"{check.analytic:+.6e}",
                    f"{check.numeric:+.6e}",
                    f"{check.error:.1e}",
                    str(check.kinks),
                    "ok" if check.passed else f"WRONG: {check.wrong:,}",
                )
            )
        return Table("", (*head, "kinks", ""), lines, left=len(head) + 2)

    def text(self, width: int | None = None) -> str:
        """The table; where it is wider than that, a list of the same."""
        return "\n".join(self.table().aligned(width))

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        if not self:
            return "Report(no checks)"
        wrong = [check.name for check in self if not check.passed]
        found = f"WRONG: {', '.join(wrong)}" if wrong else "all right"
        worst = f"worst error {self.worst.error:.1e}, of {self.worst.name}"
        return showing.shortened(f"Report({len(self)} checks, {found}; {worst})")

    def _repr_html_(self) -> str:
        return self.table()._repr_html_() if self else showing.escaped(repr(self))


def numeric_gradient(f: Callable[[], float], a: Array, step: float = STEP) -> Array:
    """df/da by central differences, for a function f() that reads the float64 array a.

    Each entry of a is changed in place and put back: 2 * a.size calls of f.
    """
    gradient = np.zeros_like(a)
    for index in np.ndindex(a.shape):
        gradient[index] = _slope(f, a, index, step)
    return gradient


def compare(name: str, analytic: Array, numeric: Array, tolerance: float = TOLERANCE) -> Check:
    """The worst entry of two gradients of the same shape."""
    if analytic.shape != numeric.shape:
        raise InputError(f"{name}: expected a gradient {numeric.shape}, found {analytic.shape}")
    scale = _scale(analytic, numeric)
    compared = [
        (index, float(analytic[index]), float(numeric[index]))
        for index in np.ndindex(numeric.shape)
    ]
    return _worst(name, numeric.shape, compared, scale, tolerance, lambda index, value: False)


def check_layer(
    layer: Any,
    x: Array,
    rng: np.random.Generator,
    training: bool = True,
    step: float = STEP,
    *,
    entries: int | None = None,
    directions: int = 0,
    tolerance: float = TOLERANCE,
) -> Report:
    """Compare a built float64 layer's dx, and the gradient of each parameter, at the input x.

    entries      at most so many random entries of each array, one by one; None: all
    directions   so many random directions besides, each through all entries of an array

    The loss is sum(y * dy) for a random dy: its derivative by y is dy, and a random one shows
    mistakes that a constant one hides (BatchNorm's gradient is zero for it, and a permutation of
    the outputs goes unseen). Anything with the layers' protocol will do.
    """
    x = _float64(x).copy()
    with frozen(layer) as rewind:
        dy = rng.standard_normal(layer.forward(x, training).shape)

        def f() -> float:
            rewind()
            return float((layer.forward(x, training) * dy).sum())

        used = [dy.copy(), dy.copy(order="F")]

        def gradients(dy: Array = used[0]) -> dict[str, Array]:
            f()
            for grad in layer.grads.values():
                grad.fill(np.nan)
            found = {"x": layer.backward(dy).copy()}
            return found | {key: grad.copy() for key, grad in layer.grads.items()}

        analytic = gradients()
        second = gradients(used[1])
        look = _Look(f, gradients, step, entries, directions, tolerance, rng)
        report = look.at_all({"x": x, **layer.params}, analytic)
        return Report([*report, *_second(analytic, second, dy, used[1])])


def check_loss(
    loss: Any, y_pred: Array, y_true: NDArray, step: float = STEP, tolerance: float = TOLERANCE
) -> Check:
    """Compare a loss's dL/dy_pred at float64 predictions."""
    y_pred = _float64(y_pred).copy()
    loss.forward(y_pred, y_true)
    analytic = loss.backward().copy()

    def f() -> float:
        return loss.forward(y_pred, y_true)

    def gradients() -> dict[str, Array]:
        f()
        return {"y_pred": loss.backward().copy()}

    look = _Look(f, gradients, step, None, 0, tolerance, np.random.default_rng(0))
    return look.at_all({"y_pred": y_pred}, {"y_pred": analytic})[0]


def check_model(
    model: Any,
    x: Array,
    y: NDArray,
    step: float = STEP,
    *,
    entries: int | None = None,
    directions: int = 0,
    tolerance: float = TOLERANCE,
    rng: np.random.Generator | None = None,
) -> Report:
    """Compare a compiled float64 model's gradients, from its loss: the input's, every parameter's.

    With the kernels that train it, fused ones too. What is frozen is left out: its gradients are
    not computed where no layer before it learns. entries and directions as in `check_layer`; rng
    draws them.
    """
    x, learn = _float64(x).copy(), model.parameters(frozen=False)
    with frozen(*model.layers) as rewind:

        def f() -> float:
            rewind()
            return model.loss_and_gradients(x, y)

        def gradients() -> dict[str, Array]:
            rewind()
            model.loss.forward(model.forward(x, training=True), y)
            found = {"x": model.backward(model.loss.backward()).reshape(x.shape)}
            model.flat_grads.fill(np.nan)
            f()
            for layer in model.layers:
                for key, grad in layer.grads.items():
                    found[f"{layer.name}.{key}"] = grad.copy()
            return {name: found[name] for name in ("x", *learn)}

        rng = np.random.default_rng(0) if rng is None else rng
        look = _Look(f, gradients, step, entries, directions, tolerance, rng)
        return look.at_all({"x": x, **learn}, gradients())


def check_layers(
    model: Any,
    rng: np.random.Generator,
    n: int = 4,
    step: float = STEP,
    *,
    entries: int | None = 20,
    directions: int = 2,
    tolerance: float = TOLERANCE,
) -> Report:
    """Each layer of a built float64 model by itself, at n random inputs.

    Names are "layer.array"; a layer whose gradient is wrong is the one that is named, whatever
    stands before and after it.
    """
    checks: list[Check] = []
    for layer in model.layers:
        x = rng.standard_normal((n, *layer.input_shape))
        found = check_layer(
            layer, x, rng, step=step, entries=entries, directions=directions, tolerance=tolerance
        )
        checks += found.named(layer.name)
    return Report(checks)


def diagnose(layer: Any, x: Array, rng: np.random.Generator, like: Any = None) -> "Diagnosis":
    """What is wrong with a layer, in words: the explanation that fits its numbers.

        print(sn.gradcheck.diagnose(MyDense(3), x, rng, like=sn.Dense(3)))

    layer   anything with the layers' protocol, built in float64; it is copied and stays as it is
    x       (n, ...), an input for it. Inputs where mistakes hide (ties, large values, evaluation)
            are tried besides
    rng     draws dy
    like    a right layer, built for the same input in float64; the parameters are copied into a
            copy of it. Without one backward is judged by the layer's own forward, so that a forward
            which computes something else goes unseen

    What the layer raises is part of the diagnosis. A right layer is `passed` and has no cause; one
    that is wrong in a way that no explanation fits has none either, and says where it is worst.
    """
    from .diagnosis import of_layer

    return of_layer(layer, x, rng, like)


def diagnose_loss(
    loss: Any, x: Array, y: NDArray, rng: np.random.Generator, like: Any = None
) -> "Diagnosis":
    """What is wrong with a loss: forward(x, y) -> L, backward() -> dL/dx. See `diagnose`.

    x       predictions in float64;  y   their targets
    like    a right loss; without one backward is judged by the loss's own forward
    """
    from .diagnosis import of_loss

    return of_loss(loss, x, y, rng, like)


def diagnose_optimizer(optimizer: Any, rng: np.random.Generator, like: Any = None) -> "Diagnosis":
    """What is wrong with an optimizer: step(model). See `diagnose`.

    It is copied, and makes steps in a small float64 model whose gradients are drawn from rng.
    like    a right optimizer with the same settings. Without one its steps are compared with those
            of SGD and Adam with the settings that it has as attributes, such as `momentum`
    """
    from .diagnosis import of_optimizer

    return of_optimizer(optimizer, rng, like)


class _Look:
    """Compares gradients of f(), a function that reads some arrays, with differences of f."""

    def __init__(
        self,
        f: Callable[[], float],
        gradients: Callable[[], dict[str, Array]],
        step: float,
        entries: int | None,
        directions: int,
        tolerance: float,
        rng: np.random.Generator,
    ) -> None:
        if entries is not None and not is_whole(entries, 0):
            raise InputError(f"entries: expected a whole number or None, found {entries!r}")
        if not is_whole(directions, 0) or entries == directions == 0:
            raise InputError(
                f"directions: expected a whole number, above 0 where entries is 0, "
                f"found {directions!r}"
            )
        self.f, self.gradients, self.step, self.rng = f, gradients, step, rng
        self.arrays: dict[str, Array] = {}
        self.entries, self.directions, self.tolerance = entries, directions, tolerance

    def at_all(self, arrays: dict[str, Array], analytic: dict[str, Array]) -> Report:
        checks = []
        self.arrays = arrays
        for name, a in arrays.items():
            _float64(a)
            if analytic[name].shape != a.shape:
                raise InputError(
                    f"{name}: expected a gradient {a.shape}, found {analytic[name].shape}"
                )
            if self.entries != 0:
                checks.append(self.at_entries(name, a, analytic[name]))
            if self.directions:
                checks.append(self.along_directions(name, a, analytic[name]))
        return Report(checks)

    def at_entries(self, name: str, a: Array, analytic: Array) -> Check:
        chosen = np.arange(a.size)
        if self.entries is not None and self.entries < a.size:
            chosen = np.sort(self.rng.choice(a.size, self.entries, replace=False))
        indices = [tuple(int(i) for i in np.unravel_index(k, a.shape)) for k in chosen]
        step = self._step_for(a)
        found = [
            (index, float(analytic[index]), _slope(self.f, a, index, step)) for index in indices
        ]
        scale = _scale(analytic, np.array([numeric for *_, numeric in found]))
        scale = max(scale, self._rounding(step))

        def kinked(index: tuple[int, ...], value: float) -> bool:
            sides = _sides(self.f, a, index, step / CLOSER)
            if self._between(value, sides, scale):
                return True
            return self._right_nearby(
                lambda found: float(found[name][index]),
                lambda: _slope(self.f, a, index, step / CLOSER),
                scale,
            )

        return _worst(name, a.shape, found, scale, self.tolerance, kinked)

    def along_directions(self, name: str, a: Array, analytic: Array) -> Check:
        """Directions of random signs: every entry weighs the same, and moves by the same."""
        root, step = math.sqrt(max(a.size, 1)), self._step_for(a)
        signs = [self.rng.choice((-1.0, 1.0), a.shape) / root for _ in range(self.directions)]
        part = np.zeros(())  # how far along; what _slope nudges

        def moved(direction: Array) -> Callable[[], float]:
            def f() -> float:
                here = a.copy()
                a[...] = here + part * direction
                value = self.f()
                a[...] = here
                return value

            return f

        found = [
            ((k,), float((analytic * d).sum()), _slope(moved(d), part, (), step))
            for k, d in enumerate(signs)
        ]
        usual = float(np.sqrt(np.square(analytic).mean())) if a.size else 0.0
        slopes = np.array([(mine, numeric) for _, mine, numeric in found])
        scale = max(_scale(slopes), usual if math.isfinite(usual) else 0.0, self._rounding(step))

        def kinked(index: tuple[int, ...], value: float) -> bool:
            direction = signs[index[0]]
            sides = _sides(moved(direction), part, (), step / CLOSER)
            if self._between(value, sides, scale):
                return True
            return self._right_nearby(
                lambda found: float((found[name] * direction).sum()),
                lambda: _slope(moved(direction), part, (), step / CLOSER),
                scale,
            )

        check = _worst(name, a.shape, found, scale, self.tolerance, kinked)
        return replace(check, along=True)

    def _step_for(self, a: Array) -> float:
        """The step for an array of such numbers: beside 1e6, one of 1e-5 is lost in rounding."""
        size = float(np.sqrt(np.square(a).mean())) if a.size else 0.0
        return self.step * (max(size, 0.01) if 0 < size < math.inf else 1.0)

    def _rounding(self, step: float) -> float:
        """Slopes of that size are needed, or f's own rounding is more than the tolerance."""
        noise = np.finfo(np.float64).eps * abs(self.f()) / step / self.tolerance
        return float(noise) if math.isfinite(noise) else 0.0

    def _right_nearby(
        self,
        analytic: Callable[[dict[str, Array]], float],
        numeric: Callable[[], float],
        scale: float,
    ) -> bool:
        """Whether the two agree at some points nearby, at every one of them."""
        kept = {name: a.copy() for name, a in self.arrays.items()}
        try:
            for _ in range(8):
                for name, a in self.arrays.items():
                    size = NEARBY * max(float(np.abs(kept[name]).max(initial=0)), 0.01)
                    a[...] = kept[name] + size * self.rng.uniform(-1, 1, a.shape)
                error = abs(analytic(self.gradients()) - numeric())
                if not error <= CLOSER * self.tolerance * scale:
                    return False
            return True
        finally:
            for name, a in self.arrays.items():
                a[...] = kept[name]

    def _between(self, value: float, sides: tuple[float, float], scale: float) -> bool:
        """Whether value agrees with the mean of both slopes, or lies between them."""
        slack = self.tolerance * scale
        return min(sides) - slack <= value <= max(sides) + slack


def _second(
    first: dict[str, Array], second: dict[str, Array], dy: Array, used: Array
) -> Iterator[Check]:
    """A failed check for each array of which a second backward pass makes something else, and for
    dy if it was written to."""
    for name, a in first.items():
        b = second[name]
        wrong = ~np.isclose(a, b, rtol=0, atol=1e-9 * _scale(a), equal_nan=True)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            values, title = (float(a[at]), float(b[at])), f"{name}, a second time"
            yield Check(title, a.shape, at, *values, math.inf, a.size, int(wrong.sum()))
    changed = used != dy
    if changed.any():
        at = tuple(int(i) for i in np.argwhere(changed)[0])
        values = float(dy[at]), float(used[at])
        yield Check("dy, written to", dy.shape, at, *values, math.inf, dy.size, int(changed.sum()))


def _slope(f: Callable[[], float], a: Array, index: tuple[int, ...], step: float) -> float:
    """(f(a + h) - f(a - h)) / 2h, for one entry of a."""
    kept = a[index]
    a[index] = kept + step
    above = f()
    a[index] = kept - step
    below = f()
    a[index] = kept
    return (above - below) / (2 * step)


def _sides(
    f: Callable[[], float], a: Array, index: tuple[int, ...], step: float
) -> tuple[float, float]:
    """The slopes to the left and to the right of one entry of a."""
    kept, here = a[index], f()
    a[index] = kept - step
    below = f()
    a[index] = kept + step
    above = f()
    a[index] = kept
    return (here - below) / step, (above - here) / step


def _scale(*gradients: Array) -> float:
    """The largest finite entry of all, at least 1e-8."""
    return max([1e-8, *(float(np.abs(g[np.isfinite(g)]).max(initial=0)) for g in gradients)])


def _worst(
    name: str,
    shape: tuple[int, ...],
    compared: Sequence[tuple[tuple[int, ...], float, float]],
    scale: float,
    tolerance: float,
    kinked: Callable[[tuple[int, ...], float], bool],
) -> Check:
    """One Check of all (index, analytic, numeric) of an array."""
    worst: tuple[tuple[int, ...], float, float, float] = ((), 0.0, 0.0, 0.0)
    wrong = kinks = 0
    for place, (index, analytic, numeric) in enumerate(compared):
        error = abs(analytic - numeric) / scale
        if not math.isfinite(error):
            error = math.inf  # a NaN must not pass for agreement
        if error > tolerance:
            if math.isfinite(analytic) and kinked(index, analytic):
                kinks += 1
                continue
            wrong += 1
        if error > worst[-1] or place == kinks:  # the first that is no kink
            worst = index, float(analytic), float(numeric), float(error)
    return Check(name, shape, *worst, len(compared), wrong, kinks)


def _float64(a: Array) -> Array:
    found = getattr(a, "dtype", type(a).__name__)
    if found != np.float64:
        raise InputError(f"gradient check: expected float64, found {found}")
    return a


def _is_odd(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
