"""A numeric derivative beside the analytic one: the loss with one number a little lower and higher.

An entry is one number that the loss depends on: of a parameter, or of what a layer is given. Where
the slope jumps within the step, it has a kink there, and no derivative at all.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from ..engine import threads
from ..frozen import frozen
from .inputs import copied
from .layer_trace import LayerTrace, every_trace
from .sums import Index

if TYPE_CHECKING:
    from .trace import Trace

Array = NDArray[np.floating]

#: smaller than gradcheck's: among a whole network's ReLUs fewer lie within the step of their kink
STEP = 1e-6


class Entry(Protocol):
    """One number, by name and index: the same one can be found in another trace."""

    @property
    def place(self) -> Index: ...

    #: at a kink the analytic derivative is at most so many times the slopes' difference off
    reach: ClassVar[float]

    def gradient(self, trace: "Trace") -> Array:
        """The array of the analytic derivatives that the entry's is one of."""

    def losses(self, trace: "Trace", steps: tuple[float, ...]) -> list[float]:
        """The loss with the number moved by each step."""


@dataclass(frozen=True)
class OfParameter:
    """An entry of a parameter: "conv2d.W" and where in it."""

    name: str
    place: Index
    reach: ClassVar[float] = 1

    def gradient(self, trace: "Trace") -> Array:
        return trace.gradients[self.name]

    def losses(self, trace: "Trace", steps: tuple[float, ...]) -> list[float]:
        array = trace.parameters[self.name]
        kept, found = array[self.place], []
        with frozen(*trace.model.layers) as rewind, threads.one_blas_thread():
            try:
                for step in steps:
                    array[self.place] = kept + step
                    rewind()
                    found.append(trace.loss_from(0, trace.x[None]))
            finally:
                array[self.place] = kept
        return found


@dataclass(frozen=True)
class OfInput:
    """An entry of what a layer is given, by the layer's name, also of one inside another."""

    layer: str
    place: Index
    # of equals in several windows the first takes the dy of each: that need not lie between the
    # slopes to the left, where others take over, and to the right, where this one wins everywhere
    reach: ClassVar[float] = 100

    def gradient(self, trace: "Trace") -> Array:
        return trace[self.layer].dx

    def losses(self, trace: "Trace", steps: tuple[float, ...]) -> list[float]:
        t = trace[self.layer]
        outer = next(
            number
            for number, other in enumerate(trace.layers)
            if any(inner is t for inner in every_trace([other]))
        )
        # in training from the start, so that all random layers draw as they did
        start = 0 if trace.training and t.dy is not None else outer
        x, found = (trace.layers[start].input if start else trace.x)[None], []
        with frozen(*trace.model.layers) as rewind, threads.one_blas_thread():
            for step in steps:
                rewind()
                if t is trace.layers[start]:  # nothing before it, and it may not run at all
                    found.append(trace.loss_from(start, _moved(x, self.place, step)))
                    continue
                with _given_another(t, self.place, step):
                    found.append(trace.loss_from(start, x))
        return found


def _moved(x: Array, place: Index, step: float) -> Array:
    moved = x.copy()
    moved[(0, *place)] += step
    return moved


@contextmanager
def _given_another(t: LayerTrace, place: Index, step: float) -> Iterator[None]:
    """Inside, the layer's forward takes its x with one number moved; others that take it do not."""
    forward = t.layer.forward

    def of_another(x: Array, training: bool = False) -> Array:
        return forward(_moved(x, place, step), training)

    vars(t.layer)["forward"] = of_another  # the instance's own comes before the class's
    try:
        yield
    finally:
        del vars(t.layer)["forward"]


@dataclass(frozen=True)
class Numeric:
    """The numeric derivative of an entry; see explained.GradientExplained for the fields."""

    numeric: float
    left: float
    right: float
    kink: bool
    step: float = STEP


def derivative(trace: "Trace", entry: Entry) -> Numeric:
    """Central difference, both one-sided ones, and whether there is a kink between."""
    gradient = entry.gradient(trace)
    below, here, above = entry.losses(trace, (-STEP, 0.0, STEP))
    left, right = (here - below) / STEP, (above - here) / STEP
    numeric = (above - below) / (2 * STEP)
    off = abs(float(gradient[entry.place]) - numeric)
    rounding = 1e-9 * (here if trace.keeps_digits else 1 + here)
    matters = off > 1e-6 * float(np.abs(gradient).max()) + rounding
    kink = matters and (entry.reach * abs(right - left) >= off or _agrees_nearby(trace, entry))
    return Numeric(numeric, left, right, kink)


def _agrees_nearby(trace: "Trace", entry: Entry) -> bool:
    """Whether the analytic and the numeric derivative agree where nothing is exactly 0.

    Several kinks may meet at one point, as over a black background while the biases are 0, and
    then neither of the two slopes nor anything between them need be what the layers say.
    """
    rng = np.random.default_rng(0)
    for far in (0, 1e-2, 1e-2, 1e-2, 1e-2):
        model = copied(trace.model)
        model.loss = trace.model.loss
        for a in model.parameters().values():
            a += far * max(float(np.abs(a).max()), 0.01) * rng.uniform(-1, 1, a.shape)
        x = trace.x + far * rng.uniform(-1, 1, trace.x.shape)
        nearby = type(trace)(model, x, trace.label, trace.training)
        gradient = entry.gradient(nearby)
        if far == 0:  # here the numeric one says nothing, but the layers must say it again
            if gradient[entry.place] != entry.gradient(trace)[entry.place]:
                return False
            continue
        below, above = entry.losses(nearby, (-STEP, STEP))
        off = abs(float(gradient[entry.place]) - (above - below) / (2 * STEP))
        if off > 1e-4 * float(np.abs(gradient).max()) + 1e-9 * (1 + abs(nearby.loss)):
            return False
    return True
