"""Learning rates that change while training: step number (from 0) -> learning rate.

A step is one batch. An optimizer takes as its `learning_rate` a plain number, one of these, or any
function of the step: `lambda step: 0.1 / (1 + step)`.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from .errors import InputError, check_number, shown


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
    return end + (start - end) * (1 + _cos_pi(part)) / 2


def _cos_pi(part: float) -> float:
    """cos(pi part) for a part from 0 to 1, by Taylor's series: the same digits on every system.

    The C library's last digit is not. From 1/2 on it is -cos(pi (1 - part)).
    """
    near = min(part, 1 - part)
    square, found = (math.pi * near) * (math.pi * near), 1.0
    for n in range(22, 0, -2):
        found = 1 - square / (n * (n - 1)) * found
    return found if part <= 0.5 else -found


@dataclass(frozen=True)
class Function(Schedule):
    """A plain function of the step, as a schedule; what it returns is checked at every step.

    A file can't hold a function. A saved model keeps the rate of the moment in its place, and a
    training state the function's name: the script that goes on hands the function in again.
    """

    function: Callable[[int], float]

    def __post_init__(self) -> None:
        try:
            self(0)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                "learning_rate: expected a function of the step, from 0, that returns a number; "
                f"{self.name}(0) raised {type(error).__name__}: {error}"
            ) from None

    @property
    def name(self) -> str:
        return str(getattr(self.function, "__qualname__", type(self.function).__qualname__))

    def __call__(self, step: int) -> float:
        return check_number(f"learning_rate: {self.name}({step})", self.function(step), least=0)

    def config(self) -> dict[str, Any]:
        return {"function": self.name}


def of(learning_rate: Any) -> Schedule:
    """A number, a schedule or a function of the step, as a schedule; or raise InputError."""
    if isinstance(learning_rate, Rate):
        return learning_rate.schedule
    if isinstance(learning_rate, Schedule):
        return learning_rate
    if callable(learning_rate):
        return Function(learning_rate)
    try:
        return Constant(check_number("", learning_rate, least=0))
    except InputError:
        raise InputError(
            "learning_rate: expected a number at least 0, a schedule, or a function of the step, "
            f"found {shown(learning_rate)}"
        ) from None


class Rate(float):
    """What `optimizer.learning_rate` gives: the rate of the next step, as a number.

    It is also what the schedule is: called with a step it returns that step's rate, and it has the
    schedule's attributes. `*=` and the like would end a schedule that changes by itself, without a
    word; they are for constant rates.
    """

    schedule: Schedule

    def __new__(cls, schedule: Schedule, step: int) -> "Rate":
        rate = super().__new__(cls, schedule(step))
        rate.schedule = schedule
        return rate

    def __call__(self, step: int) -> float:
        return self.schedule(step)

    def __getattr__(self, name: str) -> Any:
        if name == "schedule":  # in a copy that is being made
            raise AttributeError(name)
        return getattr(self.schedule, name)

    def __reduce__(self) -> tuple[Any, ...]:
        return float, (float(self),)

    def _changed(self, name: str, by: float) -> float:
        if not isinstance(self.schedule, Constant):
            raise InputError(
                f"learning_rate: expected a constant rate to change, found {self.schedule!r}, "
                "which changes by itself; assign a number or another schedule"
            )
        return float(getattr(float(self), name)(by))

    def __imul__(self, by: float) -> float:
        return self._changed("__mul__", by)

    def __itruediv__(self, by: float) -> float:
        return self._changed("__truediv__", by)

    def __iadd__(self, by: float) -> float:
        return self._changed("__add__", by)

    def __isub__(self, by: float) -> float:
        return self._changed("__sub__", by)


SCHEDULES: dict[str, type[Schedule]] = {
    kind.__name__: kind for kind in (Constant, StepDecay, Cosine, OneCycle)
}
