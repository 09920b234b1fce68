"""What a check is written with: each step passes, or raises a Mistake that says what is wrong.

    def check(learner, trial):
        x = trial.rng.standard_normal((3, 4))
        layer = learner.Dense(4, 2, trial.rng)
        trial.layer(layer, x, like=right)

`learner` is the learner's file: `learner.Dense` is what it calls so. A step compares with an
oracle, with numeric gradients, or with the same call once more; where it fails, the diagnosis of
`gradcheck` is asked which mistake it is.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import gradcheck
from ..text import index_text
from .shown import array_lines, compared, kind, number

Array = NDArray[np.floating]


class Mistake(Exception):  # noqa: N818 - the learner's, and no error of the program
    """What is wrong, for the learner to read.

    headline   one line
    details    lines of numbers
    cause      the diagnosis' short name for it; "known" for one of a check's own `traps`; or ""
    title, text, evidence   the diagnosis: a line, a paragraph, a line; or ""
    """

    def __init__(
        self,
        headline: str,
        details: tuple[str, ...] | list[str] = (),
        *,
        cause: str = "",
        title: str = "",
        text: str = "",
        evidence: str = "",
    ) -> None:
        super().__init__(headline)
        self.headline, self.details = headline, list(details)
        self.cause, self.title, self.text, self.evidence = cause, title, text, evidence

    def of(self, name: str, called: str) -> "Mistake":
        """The same, with an argument called what the learner's file calls it."""
        self.headline = self.headline.replace(name, called)
        self.details = [line.replace(name, called) for line in self.details]
        self.evidence = self.evidence.replace(name, called)
        return self


class Learner:
    """The learner's file; a name that it has not is a Mistake."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._module, name)
        except AttributeError:
            raise Mistake(
                f"expected `{name}` in your file, found nothing of that name; was it renamed?"
            ) from None


class Trial:
    """The steps of a check, and what they share.

    rng      for inputs; the same numbers at every check
    passed   what has passed so far, in words
    now      what is being tried: it is told with an exception of the learner's code
    """

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.passed: list[str] = []
        self.now = ""
        self._asked: set[str] = set()

    def file(self, name: str) -> "Learner":
        """Another of the learner's files, such as `ex04_dense_backward`."""
        return Learner(importlib.import_module(name))

    # ---- values ------------------------------------------------------------------------------

    def that(self, condition: Any, otherwise: str, details: list[str] | None = None) -> None:
        """A Mistake with the text `otherwise`, unless the condition holds."""
        if not condition:
            raise Mistake(otherwise, details or [])

    def done(self, step: str) -> None:
        """Note that a step has passed."""
        if step not in self.passed:
            self.passed.append(step)

    def same(
        self,
        what: str,
        found: Any,
        expected: Any,
        *,
        given: Mapping[str, Any] | None = None,
        traps: Mapping[str, Any] | None = None,
        tolerance: float = 1e-9,
    ) -> None:
        """Compare a value or an array of the learner's with the right one.

        given    what the learner's code was called with, to be shown
        traps    {what the mistake is: what comes out of it}: the known mistakes, which are named
                 where the numbers are theirs
        """
        expected = np.asarray(expected)
        shown = [line for key, value in (given or {}).items() for line in array_lines(key, value)]
        self.now = ""
        values = self.array(what, found, expected.shape, shown)
        if _close(values, expected, tolerance):
            self.done(what)
            return
        for mistake, value in (traps or {}).items():
            if _close(values, np.asarray(value), tolerance):
                raise Mistake(
                    f"{what}: wrong values",
                    [*shown, *compared(values, expected)],
                    cause="known",
                    title=mistake,
                    evidence="your values are the ones that this mistake gives",
                )
        if not np.isfinite(values).all():
            odd = int((~np.isfinite(values)).sum())
            shown = [*shown, f"{odd:,} of your values are infinite or not a number (nan)"]
        raise Mistake(f"{what}: wrong values", [*shown, *compared(values, expected)])

    def array(
        self, what: str, found: Any, shape: tuple[int, ...], shown: list[str] | None = None
    ) -> Array:
        """The learner's value as an array, if it is one of numbers and of that shape."""
        if found is None:
            raise Mistake(f"{what}: found None; is there a `return`?", shown or [])
        wanted = f"an array of shape {shape}" if shape else "a number"
        wrong = Mistake(f"{what}: expected {wanted}, found {kind(found)}", shown or [])
        try:
            values = np.asarray(found)
        except ValueError:  # rows of different lengths
            raise wrong from None
        if values.dtype.kind not in "fiub":
            raise wrong
        if values.shape != shape:
            if len(shape) == 2 and values.T.shape == shape:
                raise Mistake(
                    f"{wrong.headline}: turned round, its transpose would fit", shown or []
                )
            if len(shape) > 2 and sorted(values.shape) == sorted(shape):
                raise Mistake(f"{wrong.headline}: is it the order of the axes?", shown or [])
            raise wrong
        return values.astype(np.float64)

    @contextmanager
    def untouched(self, **arrays: Array) -> Iterator[None]:
        """What happens inside must not write to these arrays."""
        kept = {name: a.copy() for name, a in arrays.items()}
        yield
        for name, a in arrays.items():
            if not np.array_equal(a, kept[name], equal_nan=True):
                raise Mistake(
                    f"`{name}` has other values after the call than before: it belongs to the "
                    "caller, who may need it again; make a new array (`y = x + 1`, not `x += 1`)"
                )

    # ---- layers, losses, optimizers ----------------------------------------------------------

    def layer(
        self,
        layer: Any,
        x: Array,
        like: Any = None,
        *,
        training: bool = True,
        backward: bool = True,
        repeats: bool = True,
        what: str = "",
    ) -> None:
        """Forward against a right layer, backward against numeric gradients, both twice.

        like       a built float64 layer of the package with the same arrays in it; or None
        backward   False: forward alone
        repeats    False: two forward passes of the same x differ, because it draws at random
        what       in words, for messages: "stride 2"
        """
        name, after = type(layer).__name__, f", {what}" if what else ""
        if hasattr(layer, "layers"):
            layer = Whole(layer)
        else:
            self._check_parts(layer, name)

        def judged() -> tuple[Any, Array, np.random.Generator]:
            whole = layer if backward or like is None else ForwardAlone(layer, like)
            return whole, x.copy(), self._fresh()

        try:
            self._forward(layer, x, like, training, repeats, f"{name}.forward{after}")
            if backward:
                self._backward(layer, x, training, f"{name}.backward{after}")
        except Mistake as mistake:
            raise _named(mistake, "diagnose", *judged(), like=like) from None
        self._ask(name, "diagnose", *judged(), like=like)

    def loss(self, loss: Any, y_pred: Array, y_true: NDArray, like: Any) -> None:
        """A loss's value against a right one's, its gradient against numeric ones."""
        name, called = type(loss).__name__, _first_argument(loss.forward)
        self.now = f"{name}, with {called} of shape {y_pred.shape}"
        try:
            loss.forward(y_pred[::-1], y_true[::-1])  # nothing of it may be left over
            with self.untouched(**{called: y_pred, "labels": y_true}):
                found = loss.forward(y_pred, y_true)
            self.same(f"{name}.forward", found, like.forward(y_pred, y_true))
            with self.untouched(**{called: y_pred, "labels": y_true}):
                self.array(f"{name}.backward", loss.backward(), y_pred.shape)
            found = gradcheck.check_loss(loss, y_pred, y_true)
            if not found.passed:
                raise _wrong_gradient(f"{name}.backward", found)
            self.done(f"{name}.backward")
        except Mistake as mistake:
            judged = loss, y_pred.copy(), y_true, self._fresh()
            named = _named(mistake, "diagnose_loss", *judged, like=like)
            raise named.of("y_pred", called) from None
        self._ask(name, "diagnose_loss", loss, y_pred.copy(), y_true, self._fresh(), like=like)

    def optimizer(
        self, make: Callable[[], Any], like: Callable[[], Any], steps: int = 5, what: str = ""
    ) -> None:
        """Step for step the same parameters as with a right one, whose memory is its own.

        make, like   functions that make a new one
        """
        optimizer = make()
        name = type(optimizer).__name__ + (f", {what}" if what else "")
        try:
            self._steps(optimizer, like(), steps, name)
            # a second one, after the first has been used: nothing may be left over from it
            self._steps(make(), like(), steps, f"{name}, a second one")
        except Mistake as mistake:
            judged = make(), self._fresh()
            raise _named(mistake, "diagnose_optimizer", *judged, like=like()) from None
        self._ask(
            type(optimizer).__name__, "diagnose_optimizer", make(), self._fresh(), like=like()
        )

    def right(self, layer: Any, learner: Any, input_shape: tuple[int, ...]) -> Any:
        """A layer of the package, built in float64 with copies of the learner's arrays."""
        layer.build(input_shape, np.random.default_rng(0), np.float64)
        self._check_parts(learner, type(learner).__name__)
        for part in ("params", "buffers"):
            for name, array in getattr(layer, part).items():
                given = getattr(learner, part).get(name)
                what = f'{type(learner).__name__}: self.{part}["{name}"]'
                array[:] = self.array(what, given, array.shape)
        return layer

    def _fresh(self) -> np.random.Generator:
        """For the diagnosis, which must not change what comes after."""
        return np.random.default_rng(0)

    def _ask(self, name: str, engine: str, *args: Any, like: Any) -> None:
        """All steps have passed; the diagnosis tries inputs where mistakes hide, ties and such.

        Once for each kind: it takes as long as the steps.
        """
        if name in self._asked:
            return
        self._asked.add(name)
        hidden = _named(Mistake(f"{name}: one thing is still wrong"), engine, *args, like=like)
        if hidden.cause:
            raise hidden

    def _check_parts(self, layer: Any, name: str) -> None:
        for part in ("params", "grads", "buffers"):
            found = getattr(layer, part, None)
            if not isinstance(found, dict):
                raise Mistake(f"{name}: expected a dict `self.{part}`, found {kind(found)}")
        if layer.params.keys() != layer.grads.keys():
            raise Mistake(
                f"{name}: expected the same names in params and grads, found "
                f"{sorted(layer.params)} and {sorted(layer.grads)}"
            )

    def _forward(
        self, layer: Any, x: Array, like: Any, training: bool, repeats: bool, step: str
    ) -> None:
        # others come before it, so that what is left over from them shows
        for given in (-x, x[: max(1, len(x) - 1)], x) if repeats else (x,):
            self.now = f"{step}, with x of shape {given.shape}"
            with self.untouched(x=given):
                y = layer.forward(given, training)
            if like is None:
                if y is None:
                    self.array(step, y, given.shape)
                continue
            self.same(step, y, like.forward(given, training), given={"x": given})
            for key, right in like.buffers.items():
                self.same(f'{step}, self.buffers["{key}"]', layer.buffers.get(key), right)

    def _backward(self, layer: Any, x: Array, training: bool, step: str) -> None:
        y = layer.forward(x, training)
        dy = self.rng.standard_normal(np.shape(y))
        before = {key: id(a) for key, a in layer.grads.items()}
        self.now = f"{step}, with x of shape {x.shape} and dy of shape {dy.shape}"
        with self.untouched(dy=dy):
            dx = layer.backward(dy)
        self.array(f"{step}: dx, which it returns", dx, x.shape)
        for key, param in layer.params.items():
            grad = layer.grads.get(key)
            self.array(f'{step}: self.grads["{key}"]', grad, param.shape)
            if id(grad) != before[key]:
                raise Mistake(
                    f'{step}: self.grads["{key}"] is another array than before; write into the '
                    f'one that is there, self.grads["{key}"][:] = ..., for others hold it'
                )
        report = gradcheck.check_layer(layer, x, self.rng, training)
        for check in report:
            if not check.passed:
                raise _wrong_gradient(step, check)
        self.done(f"{step}: {', '.join(f'd{check.name}' for check in report)}")

    def _steps(self, optimizer: Any, right: Any, steps: int, name: str) -> None:
        start = self.rng.standard_normal(6)
        mine, theirs = Flat(start), Flat(start)
        for step in range(1, steps + 1):
            gradient = self.rng.standard_normal(6) * (1 if step % 2 else 3)
            for model in (mine, theirs):
                model.flat_grads[:] = gradient
            params = mine.flat_params
            with self.untouched(flat_grads=mine.flat_grads):
                optimizer.step(mine)
            if mine.flat_params is not params:
                raise Mistake(
                    f"{name}: model.flat_params is another array after the step; the layers hold "
                    "the old one and learn nothing: change it in place, `params -= ...`"
                )
            right.step(theirs)
            right_steps = "step 1 is" if step == 2 else f"steps 1 to {step - 1} are"
            before = f"{right_steps} right, " if step > 1 else ""
            after = f"{name}: {before}the parameters after step {step}"
            self.same(after, params, theirs.flat_params, given={"gradient": gradient})
        self.passed = [text for text in self.passed if "after step" not in text]
        self.done(f"{name}: {steps} steps")


class Whole:
    """Something made of layers, in `.layers`, as one layer: with all their arrays by name."""

    def __init__(self, made: Any) -> None:
        self.made, self.forward, self.backward = made, made.forward, made.backward
        self.params, self.grads, self.buffers = (
            {
                f"{number}.{name}": array
                for number, leaf in enumerate(_leaves(made))
                for name, array in getattr(leaf, part).items()
            }
            for part in ("params", "grads", "buffers")
        )


def _leaves(layer: Any) -> list[Any]:
    inner = getattr(layer, "layers", None)
    return [layer] if inner is None else [leaf for part in inner for leaf in _leaves(part)]


class ForwardAlone:
    """The learner's forward with the right backward, for a diagnosis of forward."""

    def __init__(self, layer: Any, like: Any) -> None:
        self.layer, self.like = layer, like
        self.params, self.grads, self.buffers = layer.params, layer.grads, layer.buffers

    def forward(self, x: Array, training: bool = False) -> Any:
        for mine, theirs in ((self.params, self.like.params), (self.buffers, self.like.buffers)):
            for name, array in theirs.items():
                array[:] = mine[name]
        self.like.forward(x, training)
        return self.layer.forward(x, training)

    def backward(self, dy: Array) -> Array:
        dx = self.like.backward(dy)
        for name, grad in self.grads.items():
            grad[:] = self.like.grads[name]
        return dx


class Flat:
    """Parameters and gradients without a network: what an optimizer needs of a model."""

    def __init__(self, params: Array) -> None:
        self.flat_params, self.flat_grads = params.copy(), np.zeros_like(params)
        self.flat_buffers = np.zeros(0)

    def parameters(self, frozen: bool = True) -> dict[str, Array]:
        half = len(self.flat_params) // 2
        return {"W": self.flat_params[:half], "b": self.flat_params[half:]}


def _first_argument(function: Callable[..., Any]) -> str:
    """What a function calls its first argument."""
    try:
        return next(iter(inspect.signature(function).parameters), "y_pred")
    except (TypeError, ValueError):
        return "y_pred"


def _close(found: Array, expected: Array, tolerance: float) -> bool:
    if found.shape != expected.shape:
        return False
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    return bool(np.allclose(found, expected, rtol=0, atol=tolerance * scale))


def _wrong_gradient(name: str, check: gradcheck.Check) -> Mistake:
    """One failed line of the gradient check, in words."""
    if "written to" in check.name:
        return Mistake(f"{name}: dy has other values after the call; it belongs to the caller")
    if "second time" in check.name:
        array = check.name.split(",")[0]
        return Mistake(
            f"{name}: d{array} differs when backward is called a second time with the same dy",
            [f"first {number(check.analytic)}, then {number(check.numeric)}"],
        )
    at = index_text(check.index) if check.shape else ""
    details = [
        f"wrong in {check.wrong:,} of {check.checked:,} places, most at d{check.name}{at}:",
        f"your backward says {number(check.analytic)}, "
        f"nudging {check.name}{at} says {number(check.numeric)}",
    ]
    if np.isnan(check.analytic):
        details.append("nan stood there before the call, so that what is not overwritten shows")
    return Mistake(f"{name}: d{check.name} is not the slope of the loss", details)


def _named(mistake: Mistake, engine: str, *args: Any, like: Any) -> Mistake:
    """The mistake with the diagnosis' name for it, where it has one."""
    try:
        found = getattr(gradcheck, engine)(*args, like=like)
        cause = "" if found.passed else found.cause or ""
        if not cause:
            return mistake
        # its dy is another than the one whose numbers stand above: the two must not look like one
        evidence = f"in another trial, {found.evidence}"
        said = {"title": found.title, "text": found.text, "evidence": evidence}
    except Exception:  # the learner's code in another place: what was found first stands
        return mistake
    return Mistake(mistake.headline, mistake.details, cause=cause, **said)
