"""What if: a filter is switched off, a weight is another, the image too, and what follows from it.

    w = sn.what_if(model, x, label=8)
    w.off("conv2d", 5)                       # filter 5 of the first convolution
    w.set("dense_1.W", (12, 8), -1.0)        # one weight
    w.paint(other_image)
    w.learn(3, "sgd")                        # three steps of an optimizer on this example alone
    print(w)                                 # loss and probabilities, before and now
    w.undo()                                 # the last of them

Everything happens on a copy; the model itself stays as it is. `w.before` and `w.now` are traces.

`fool` goes the other way round: the network stays, and the image follows the gradient until it is
read as another class.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import optimizers, showing
from ..errors import InputError, check_number, is_whole
from ..layers import ConnectedConv2D, Conv2DTranspose, DepthwiseConv2D, Layer
from ..model import Sequential
from ..optimizers import Optimizer
from ..text import columns, index_text
from .arithmetic import checked_index
from .inputs import copied, one_example
from .layer_trace import every_trace
from .trace import Trace

__all__ = ["Fooled", "WhatIf", "fool", "what_if"]

Array = NDArray[np.floating]

#: of `learn` at once, and of `fool`
MOST_STEPS = 1000


def what_if(model: Sequential, x: Any, label: int) -> "WhatIf":
    """A copy of the model to try things on, and one example to see what follows.

    x   one example, as `trace` takes it
    """
    return WhatIf(model, x, label)


@dataclass(frozen=True)
class _State:
    """What one change after another leaves: the copy, the image, and what was done in words."""

    model: Sequential
    x: Array
    done: str = ""
    losses: list[float] = field(default_factory=list)


class WhatIf:
    """What `what_if` returns.

    before, now   traces, of the model as it was given and as it is after all changes
    changes       what was done, in words, the oldest first
    losses        of the last `learn`: before the first step and after each
    """

    def __init__(self, model: Sequential, x: Any, label: int) -> None:
        self.before = self.now = Trace(model, x, label)
        self._states = [_State(self.before.model, self.before.x)]

    @property
    def changes(self) -> list[str]:
        return [state.done for state in self._states[1:]]

    @property
    def losses(self) -> list[float]:
        return self._states[-1].losses

    # ---- what can be done --------------------------------------------------------------------

    def off(self, layer: str | int, unit: int) -> "WhatIf":
        """Switch a filter or unit off: all its parameters become 0, and so does what it says.

        unit   its number: of a convolution's output map, of a Dense unit, of a norm's channel

        A later `learn` may move these weights again.
        """
        t = self.now[layer]
        model = self._copy()
        found = _layer(model, t.name)
        places = _parameters_of(found, t.name, unit)
        for key, place in places.items():
            found.params[key][place] = 0
        return self._after(model, self.now.x, f"{t.name}: unit {unit} off")

    def set(self, parameter: str, index: int | Sequence[int], value: float) -> "WhatIf":
        """Give one weight another value: set("conv2d.W", (0, 1, 0, 5), 0.5)."""
        known = self.now.parameters
        if parameter not in known:
            raise InputError(
                f"parameter: expected one of {', '.join(known) or 'none'}, found {parameter!r}"
            )
        place = checked_index(index, known[parameter].shape, parameter)
        number = check_number("value", value)
        model = self._copy()
        model.parameters()[parameter][place] = number
        was = float(known[parameter][place])
        return self._after(
            model, self.now.x, f"{parameter}{index_text(place)}: {was:.4g} becomes {number:.4g}"
        )

    def paint(self, x: Any) -> "WhatIf":
        """Look at another image instead; it is still of the same label."""
        other = one_example(self.now.model, x)[0]
        changed = int(np.count_nonzero(other != self.now.x))
        values = "value" if changed == 1 else "values"
        return self._after(self._copy(), other, f"image: {changed} {values} painted over")

    def learn(self, steps: int = 1, optimizer: str | Optimizer = "sgd") -> "WhatIf":
        """Take so many steps of the optimizer on this example alone, as it is now."""
        if not is_whole(steps, 1) or steps > MOST_STEPS:
            raise InputError(
                f"steps: expected a whole number from 1 to {MOST_STEPS:,}, found {steps!r}"
            )
        chosen = copy.deepcopy(optimizers.get(optimizer))
        chosen.use_ema, chosen.memory, chosen.iterations = False, {}, 0
        trace = Trace(self.now.model, self.now.x, self.now.label)  # on a copy of its own
        losses = [trace.loss]
        for _ in range(int(steps)):
            chosen.step(trace.model)
            losses.append(trace.run_again())
        many = "1 step" if steps == 1 else f"{steps} steps"
        name = f"{type(chosen).__name__}, learning rate {chosen.learning_rate(0):g}"
        return self._after(trace.model, self.now.x, f"{many} of {name}", losses)

    def undo(self) -> "WhatIf":
        """Take the last change back; nothing where there is none."""
        if len(self._states) > 1:
            self._states.pop()
            state = self._states[-1]
            is_first = len(self._states) == 1
            self.now = self.before if is_first else Trace(state.model, state.x, self.before.label)
        return self

    def _copy(self) -> Sequential:
        return copied(self.now.model)

    def _after(
        self, model: Sequential, x: Array, done: str, losses: list[float] | None = None
    ) -> "WhatIf":
        self.now = Trace(model, x, self.before.label)
        self._states.append(_State(model, x, done, losses or []))
        return self

    # ---- looking at it -----------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """A dictionary for each layer: how far its output, and dL/d(output), have moved.

        The root of the mean square of the difference, and of what it was before.
        """
        return [
            {
                "layer": now.name,
                "output": _rms(was.output),
                "output_moved": _rms(now.output - was.output),
                "dy": None if was.dy is None else _rms(was.dy),
                "dy_moved": None if was.dy is None or now.dy is None else _rms(now.dy - was.dy),
            }
            for was, now in zip(
                every_trace(self.before.layers), every_trace(self.now.layers), strict=True
            )
        ]

    def text(self) -> str:
        """What was done, and loss and probabilities before and now."""
        before, now = self.before, self.now
        rows = [("", "before", "now"), ("loss", f"{before.loss:.6g}", f"{now.loss:.6g}")]
        for k, (p, q) in enumerate(zip(before.probabilities, now.probabilities, strict=True)):
            mark = " (label)" if k == before.label else ""
            rows.append((f"p({k}){mark}", f"{p:.6g}", f"{q:.6g}"))
        done = [f"{number}. {change}" for number, change in enumerate(self.changes, 1)]
        return "\n".join([*(done or ["nothing changed yet"]), *columns(rows)])

    __str__ = text

    def __repr__(self) -> str:
        losses = f"{self.before.loss:.6g} -> {self.now.loss:.6g}"
        count = len(self.changes)
        return f"WhatIf({count} change{'s' * (count != 1)}: loss {losses})"

    def _repr_html_(self) -> str:
        found = showing.heading("; ".join(self.changes) or "nothing changed yet")
        before, now = self.before, self.now
        rows: list[tuple[str, ...]] = [("loss", f"{before.loss:.6g}", "", f"{now.loss:.6g}", "")]
        for k, (p, q) in enumerate(zip(before.probabilities, now.probabilities, strict=True)):
            mark = " (label)" if k == before.label else ""
            bars = showing.bar(p, 80), showing.bar(q, 80)
            rows.append((f"p({k}){mark}", f"{p:.6g}", bars[0], f"{q:.6g}", bars[1]))
        return found + showing.table(("", "before", "", "now", ""), rows)


def _rms(a: Array) -> float:
    return float(np.sqrt(np.square(a).mean())) if a.size else 0.0


def _layer(model: Sequential, name: str) -> Layer:
    """A layer of the model by its name in a trace, "residual.main.conv2d" too."""
    found = {layer.name: layer for layer in model.layers}
    for layer in model.layers:
        found |= _inner(layer)
    return found[name]


def _inner(layer: Layer, before: str = "") -> dict[str, Layer]:
    found: dict[str, Layer] = {}
    for key, inner in layer.inner().items():
        name = f"{before or layer.name}.{key}"
        found |= {name: inner} | _inner(inner, name)
    return found


def _parameters_of(layer: Layer, name: str, unit: int) -> dict[str, Any]:
    """Where in each parameter that belong to one unit of the layer's output: {"W": index, ...}."""
    count = layer.output_shape[-1]
    own = {key: a for key, a in layer.params.items() if not layer.inner()}
    if not own:
        raise InputError(f"{name}: expected a layer with weights of its own, found {layer}")
    if not is_whole(unit, 0) or unit >= count:
        raise InputError(
            f"{name} unit: expected a whole number from 0 to {count - 1}, found {unit!r}"
        )
    special: dict[type[Layer], Any] = {
        DepthwiseConv2D: lambda one: (..., *divmod(unit, one.depth_multiplier)),
        ConnectedConv2D: lambda one: (..., one.makes == unit),
        Conv2DTranspose: lambda one: (slice(None), slice(None), unit),
    }
    places: dict[str, Any] = {}
    for key, a in own.items():
        if type(layer) in special and key == "W":
            places[key] = special[type(layer)](layer)
        elif a.shape[-1] == count:
            places[key] = (..., unit)
        else:
            raise InputError(
                f"{name}: expected parameters whose last axis counts the {count} units, "
                f"found {key} {a.shape}"
            )
    return places


# ---- an image that is read as something else -----------------------------------------------------


@dataclass(frozen=True, repr=False)
class Fooled:
    """What `fool` returns.

    before, x       the image as it was and as it became, (*input_shape), scaled as the model does
    target          the class that it should be read as
    probabilities   (steps + 1, k): at the start and after each step
    succeeded       whether it is read as the target at the end
    """

    before: Array
    x: Array
    target: int
    probabilities: Array
    succeeded: bool

    @property
    def perturbation(self) -> Array:
        """What was added to the image."""
        difference: Array = self.x - self.before
        return difference

    @property
    def steps(self) -> int:
        return len(self.probabilities) - 1

    @property
    def size(self) -> float:
        """The perturbation's length: the root of the sum of its squares."""
        return float(np.linalg.norm(self.perturbation))

    def __repr__(self) -> str:
        p = self.probabilities[-1][self.target]
        read = "read as" if self.succeeded else "not read as"
        return f"Fooled({read} {self.target}, probability {p:.3g}, after {self.steps} steps)"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        shown = [("before", self.before), ("added", self.perturbation), ("now", self.x)]
        return showing.heading(repr(self)) + showing.pictures(shown)


def fool(model: Sequential, x: Any, target: int, steps: int = 100, length: float = 0.15) -> Fooled:
    """Change an image, as little as the gradient says, until it is read as the class `target`.

    steps    at most so many
    length   of one step: the root of the sum of its squares, in the model's own scale, where
             MNIST's pixels are from 0 to 1

    Every step goes down the slope of the loss with the target as label, by the image:

        x <- x - length * dL/dx / |dL/dx|,   cut to 0 .. 1

    dL/dx is what backward hands to the image: the same pass that training makes, carried one layer
    further. An image of bytes stays one: the end is rounded to whole levels, and judged so.

    Source: Szegedy et al. 2014, "Intriguing properties of neural networks", section 4; step by
    step: Kurakin, Goodfellow and Bengio 2017, "Adversarial examples in the physical world",
    section 2.2, there with the sign of the gradient in the place of its direction.
    """
    if not is_whole(steps, 1) or steps > MOST_STEPS:
        raise InputError(
            f"steps: expected a whole number from 1 to {MOST_STEPS:,}, found {steps!r}"
        )
    length = check_number("length", length, above=0)
    trace = Trace(model, x, target)
    if trace.is_binary:
        raise InputError("model: expected a class for each output, found a yes or no")
    levels = 255 if np.asarray(x).dtype == np.uint8 else None
    before = trace.x
    now = exact = before
    probabilities, slope = trace.at_image(now)
    path = [probabilities]
    while len(path) <= steps and int(path[-1].argmax()) != trace.label:
        size = float(np.linalg.norm(slope))
        if not math.isfinite(size) or size == 0:
            break  # no direction to go
        exact = np.clip(exact - length * slope / size, 0.0, 1.0)
        now = exact if levels is None else np.rint(exact * levels) / levels
        probabilities, slope = trace.at_image(now)
        path.append(probabilities)
    succeeded = int(path[-1].argmax()) == trace.label
    return Fooled(before, now, trace.label, np.array(path), succeeded)
