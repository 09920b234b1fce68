"""Learning rates that change while training: step number (from 0) -> learning rate.

A step is one batch. An optimizer takes a plain number or one of these as its `learning_rate`.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

from .errors import check_number


@dataclass(frozen=True)
class Schedule:
    """Called with the number of steps done so far, returns the rate for the next one."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            check_number(f"{type(self).__name__} {name}", value, least=0)

    def __call__(self, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} has no rate")

    def config(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate all along."""

    rate: float

    def __call__(self, step: int) -> float:
        return self.rate


@dataclass(frozen=True)
class StepDecay(Schedule):
    """rate * factor^(step // every): multiplied by `factor` after each `every` steps."""

    rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("StepDecay every", self.every, least=1)

    def __call__(self, step: int) -> float:
        return self.rate * self.factor ** (step // self.every)


@dataclass(frozen=True)
class Cosine(Schedule):
    """From `rate` to `rate * floor` along half a cosine, over `steps` steps; then it stays there.

    Source: Loshchilov and Hutter 2017, eq. 5, without restarts.
    """

    rate: float
    steps: int
    floor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("Cosine steps", self.steps, least=1)

    def __call__(self, step: int) -> float:
        return _half_cosine(self.rate, self.rate * self.floor, step / self.steps)


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to `peak` and down to almost nothing, both along half a cosine, over `steps` steps.

    The first `warmup` part of the steps rises from peak / start_divisor; the rest falls to
    peak / start_divisor / final_divisor at the last step. Large steps in the middle travel far, and
    small ones at the end settle.
    Source: Smith and Topin 2018, "Super-Convergence"; the numbers are PyTorch's OneCycleLR's.
    """

    peak: float
    steps: int
    warmup: float = 0.3
    start_divisor: float = 25.0
    final_divisor: float = 1e4

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("OneCycle steps", self.steps, least=1)
        check_number("OneCycle warmup", self.warmup, least=0, most=1)
        check_number("OneCycle start_divisor", self.start_divisor, above=0)
        check_number("OneCycle final_divisor", self.final_divisor, above=0)

    def __call__(self, step: int) -> float:
        start = self.peak / self.start_divisor
        top = self.warmup * self.steps - 1  # the step with the highest rate
        if step < top:
            return _half_cosine(start, self.peak, step / top)
        falling = max(self.steps - 1 - top, 1)
        return _half_cosine(self.peak, start / self.final_divisor, (step - top) / falling)


def _half_cosine(start: float, end: float, part: float) -> float:
    part = min(max(part, 0.0), 1.0)
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


SCHEDULES: dict[str, type[Schedule]] = {
    kind.__name__: kind for kind in (Constant, StepDecay, Cosine, OneCycle)
}
