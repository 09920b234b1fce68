"""The source of a layer, stepped on a digit, as an answer: lines, and what each of them made."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..microscope.stepping import Steps, described
from ..model import Sequential
from . import schemas as s
from .fields import Array
from .inspection import asked_about, traced
from .turns import Turns

#: values of one array that are sent
MOST_SENT = 2**15


def code(turns: Turns, model: Sequential, query: s.CodeQuery) -> s.CodeAnswer:
    with turns, asked_about():
        found, _ = traced(model, query)
        steps = found[query.layer].steps(query.direction)
    return answer_of(steps)


def answer_of(steps: Steps) -> s.CodeAnswer:
    return s.CodeAnswer(
        layer=steps.layer,
        direction=steps.direction,
        file=steps.file,
        functions=[
            s.SourceText(name=name, first=first, lines=lines)
            for name, (first, lines) in steps.functions.items()
        ],
        steps=[
            s.Line(
                function=step.function,
                line=step.line,
                end=step.end,
                depth=step.depth,
                made=[_made(name, value) for name, value in step.made.items()],
            )
            for step in steps
        ],
        cut=steps.cut,
    )


def _made(name: str, value: Any) -> s.Made:
    text = described(value)
    if not isinstance(value, np.ndarray):
        return s.Made(name=name, text=text)
    found = s.Made(name=name, text=text, shape=list(value.shape))
    if value.size > 1 and value.dtype.kind in "fiub":
        a = value[0] if value.ndim > 1 and len(value) == 1 else value
        found.every = _every(a)
        found.value = Array.of(a[tuple(slice(None, None, step) for step in found.every)])
    return found


def _every(a: NDArray) -> list[int]:
    """How many values to go on along each axis, so that no more than MOST_SENT are left."""
    every = [1] * a.ndim
    while (
        math.prod(-(-size // step) for size, step in zip(a.shape, every, strict=True)) > MOST_SENT
    ):
        every[max(range(a.ndim), key=lambda axis: -(-a.shape[axis] // every[axis]))] *= 2
    return every
