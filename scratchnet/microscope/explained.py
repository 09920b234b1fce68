"""What the microscope answers about one number, and about one optimizer step."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..text import columns, index_text
from .sums import Sum

if TYPE_CHECKING:
    from .trace import Trace

Array = NDArray[np.floating]


@dataclass(frozen=True)
class GradientExplained:
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

    def text(self, most: int = 10) -> str:
        lines = [f"{self.parameter}{index_text(self.index)} = {self.value:+.6g}"]
        if self.sum is not None:
            lines.append(self.sum.text(most))
        lines.append(f"backward pass       {self.gradient:+.10g}")
        lines.append(f"numeric derivative  {self.numeric:+.10g}   (step {self.step:g})")
        if self.kink:
            lines.append(f"a kink: the slope is {self.left:+.6g} below and {self.right:+.6g} above")
        return "\n".join(lines)

    __str__ = text

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        return {**vars(self), "sum": None if self.sum is None else self.sum.to_dict(most)}


@dataclass(frozen=True)
class OutputExplained:
    """One value of a layer's output, and the sum that makes it."""

    layer: str
    index: tuple[int, ...]
    value: float
    sum: Sum

    def text(self, most: int = 10) -> str:
        return f"{self.layer}: {self.sum.text(most)}"

    __str__ = text

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        return {**vars(self), "sum": self.sum.to_dict(most)}


@dataclass(frozen=True)
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

    def to_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer,
            "loss": [self.before.loss, self.after.loss],
            "probabilities": [self.before.probabilities, self.after.probabilities],
            "changes": self.changes,
        }
