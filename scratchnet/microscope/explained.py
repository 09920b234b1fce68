"""What the microscope answers about one number, and about one optimizer step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import showing
from ..text import columns, index_text
from .sums import Sum

if TYPE_CHECKING:
    from .trace import Trace

Array = NDArray[np.floating]


#: analytic and numeric derivative agree where they differ by less than this share of the larger...
AGREE = 1e-4
#: ... or by no more than the rounding of the numeric one: 1e-16 of the loss, divided by 2 steps
ROUNDING = 1e-8


class Compared:
    """What an analytic derivative has beside it: the numeric one, and whether they agree."""

    value: float
    gradient: float
    numeric: float
    left: float
    right: float
    kink: bool
    step: float
    sum: Sum | None

    @property
    def relative_error(self) -> float:
        """The difference, as a share of the larger of the two."""
        largest = max(abs(self.gradient), abs(self.numeric))
        return abs(self.gradient - self.numeric) / largest if largest else 0.0

    @property
    def agrees(self) -> bool:
        """Whether the two are equal as far as a numeric derivative can tell."""
        near = abs(self.gradient - self.numeric) < ROUNDING
        return bool(near or self.relative_error < AGREE)

    @property
    def verdict(self) -> str:
        """In words."""
        if self.kink and not self.agrees:
            return "they differ: a ReLU or a maximum changes within the step"
        if not self.agrees:
            return "they differ"
        if self.relative_error < AGREE:
            return "they agree"
        return "they agree as far as rounding lets see"

    def text(self, most: int = 10) -> str:
        """What was asked about, its sum with that many terms, and both derivatives: lines."""
        lines = [self._title()]
        lines += [] if self.sum is None else [self.sum.text(most)]
        lines.append(f"backward pass       {self.gradient:+.10g}")
        lines.append(f"numeric derivative  {self.numeric:+.10g}   (step {self.step:g})")
        if self.kink:
            lines.append(f"a kink: the slope is {self.left:+.6g} below and {self.right:+.6g} above")
        return "\n".join(lines)

    __str__ = text

    def __repr__(self) -> str:
        kink = ", a kink" if self.kink else ""
        found = f"backward {self.gradient:+.6g}, numeric {self.numeric:+.6g}{kink}"
        return f"{type(self).__name__}({self._names()[1]}: {found})"

    def _repr_html_(self) -> str:
        rows = [
            ("backward pass", f"{self.gradient:+.10g}"),
            ("numeric derivative", f"{self.numeric:+.10g}"),
        ]
        if self.kink:
            rows.append(("a kink: the slope below", f"{self.left:+.6g}"))
            rows.append(("and above", f"{self.right:+.6g}"))
        found = showing.heading(self._title())
        found += "" if self.sum is None else self.sum.html()
        return found + showing.table(("", ""), rows)

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        return {**vars(self), "sum": None if self.sum is None else self.sum.to_dict(most)}

    def _title(self) -> str:
        return f"{self._names()[0]} = {self.value:+.6g}"

    def _names(self) -> tuple[str, str]:
        """Of the number that was asked about, and of its gradient."""
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class GradientExplained(Compared):
    """One entry of a parameter's gradient: what backward computed, its sum, and the numeric one.

    value      of the parameter there
    gradient   what the backward pass left in the layer's grads
    numeric    (L(value + step) - L(value - step)) / (2 step), through the whole model
    left       the slope below value, (L(value) - L(value - step)) / step
    right      the slope above it; numeric is the mean of both
    kink       whether gradient and numeric differ because the slope jumps: a ReLU or a maximum
               switches within the step. So it is with fresh biases of 0 over an empty background:
               there ReLU's input is exactly 0, and its derivative taken as 0.
    sum        the terms; None for a kind of layer that arithmetic.py does not spell out
    """

    parameter: str
    index: tuple[int, ...]
    value: float
    gradient: float
    numeric: float
    left: float
    right: float
    kink: bool
    step: float
    sum: Sum | None

    def _names(self) -> tuple[str, str]:
        name = f"{self.parameter}{index_text(self.index)}"
        return name, name


@dataclass(frozen=True, repr=False)
class InputExplained(Compared):
    """One entry of a layer's dx: what its backward pass computed, its sum, and the numeric one.

    value      of the layer's x there
    gradient   what the backward pass returned
    numeric, left, right, kink, step   as in GradientExplained, with x in a parameter's place:
               this layer's input alone is moved, not what else the layer before feeds
    sum        the dy that reach it, each times its slope. Of a convolution `sum.grid("x")` is the
               window of dy and `sum.grid("factor")` the filter turned round, (kh, kw, filters)
    """

    layer: str
    index: tuple[int, ...]
    value: float
    gradient: float
    numeric: float
    left: float
    right: float
    kink: bool
    step: float
    sum: Sum

    def _names(self) -> tuple[str, str]:
        index = index_text(self.index)
        return f"{self.layer}, x{index}", f"{self.layer}, dx{index}"


@dataclass(frozen=True, repr=False)
class OutputExplained:
    """One value of a layer's output, and the sum that makes it."""

    layer: str
    index: tuple[int, ...]
    value: float
    sum: Sum

    def text(self, most: int = 10) -> str:
        return f"{self.layer}: {self.sum.text(most)}"

    __str__ = text

    def __repr__(self) -> str:
        return f"OutputExplained({self.layer}{index_text(self.index)} = {self.value:+.6g})"

    def _repr_html_(self) -> str:
        named = f"{self.layer}, output {index_text(self.index)} = {self.value:+.6g}"
        return showing.heading(named) + self.sum.html()

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        return {**vars(self), "sum": self.sum.to_dict(most)}


@dataclass(frozen=True, repr=False)
class StepTrace:
    """One optimizer step on the traced example alone.

    before, after   a trace each; `.loss` and `.probabilities` are those to compare
    changes         what was added to each parameter: {"conv2d.W": array, ...}
    """

    optimizer: str
    before: "Trace"
    after: "Trace"
    changes: dict[str, Array]

    def text(self) -> str:
        before, after = self.before, self.after
        rows = [("", "before", "after"), ("loss", f"{before.loss:.6g}", f"{after.loss:.6g}")]
        for k, (p, q) in enumerate(zip(before.probabilities, after.probabilities, strict=True)):
            mark = " (label)" if k == before.label else ""
            rows.append((f"p({k}){mark}", f"{p:.6g}", f"{q:.6g}"))
        return "\n".join([self.optimizer, *columns(rows)])

    __str__ = text

    def __repr__(self) -> str:
        losses = f"{self.before.loss:.6g} -> {self.after.loss:.6g}"
        return f"StepTrace({self.optimizer}: loss {losses})"

    def _repr_html_(self) -> str:
        before, after = self.before, self.after
        rows: list[Sequence[str]] = [("loss", f"{before.loss:.6g}", "", f"{after.loss:.6g}", "")]
        for k, (p, q) in enumerate(zip(before.probabilities, after.probabilities, strict=True)):
            mark = " (label)" if k == before.label else ""
            bars = showing.bar(p, 80), showing.bar(q, 80)
            rows.append((f"p({k}){mark}", f"{p:.6g}", bars[0], f"{q:.6g}", bars[1]))
        head = ("", "before", "", "after", "")
        found = showing.table(head, rows, f"one step of {self.optimizer}")
        sizes = [
            (name, f"{_rms(before.parameters[name]):.3g}", f"{_rms(change):.3g}")
            for name, change in self.changes.items()
        ]
        return found + showing.table(("parameter", "rms", "rms of its change"), sizes)

    def to_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer,
            "loss": [self.before.loss, self.after.loss],
            "probabilities": [self.before.probabilities, self.after.probabilities],
            "changes": self.changes,
        }


def _rms(a: Array) -> float:
    return float(np.sqrt(np.square(a).mean())) if a.size else 0.0
