"""`look`: the digit in a picture, or why there is none to be named.

What is no picture of ink at all is an InputError, as from `prepare`. But where there is ink, and
it is several digits or something else, that is an answer: it has no digit, and a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import local
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .pixels import Source
from .steps import MORE, NONE, Classifier, Prepared, prepare

SEVERAL = "several digits side by side; read them as a number"
NO_DIGIT = "the ink has the shape of no digit"
SURELY_OTHER = 0.97  # probability of the two from which on no digit is named
RATHER_ONE = 0.9  # of the digits, from which on parts side by side are one
SURELY_NONE = 0.9  # of no digit, from which on they are none

_OF_THIS_THREAD = local()


@dataclass(frozen=True)
class Answer:
    """What was read.

    digit           the most probable class, or None where no single digit is to be named
    several         whether there are several digits
    reason          why `digit` is None; None where it is not
    probabilities   (classes,) of the model, whatever the ink is
    prepared        the image as the model saw it, and how it came about
    """

    digit: int | None
    several: bool
    reason: str | None
    probabilities: NDArray[np.floating]
    prepared: Prepared


def look(
    source: Source,
    model: Classifier,
    judge: Classifier | Literal["shipped"] | None = "shipped",
    of_digits: bool = True,
) -> Answer:
    """The digit in a picture, given as to `prepare`; InputError where there is no ink.

    model       a classifier of images in MNIST's form
    judge       one of twelve classes: the ten digits, no digit, several; `architectures.judge()`
                unless another is given. With None only digits that stand apart are told from one.
    of_digits   whether the classes are the ten digits: of other signs the judge knows nothing, and
                they may have parts side by side
    """
    known = _judge(judge) if of_digits else None
    prepared = prepare(source, model, known)
    image = prepared.image[None]
    probabilities = model.predict(image, batch_size=1)[0]
    reason = _reason(image, prepared.several, known) if of_digits else None
    digit = int(probabilities.argmax()) if reason is None else None
    return Answer(digit, reason == SEVERAL, reason, probabilities, prepared)


def _judge(judge: Classifier | Literal["shipped"] | None) -> Classifier | None:
    return shipped_judge() if isinstance(judge, str) else judge


def shipped_judge() -> Classifier:
    """`architectures.judge()`, loaded once for each thread: two may not run one model at once."""
    if not hasattr(_OF_THIS_THREAD, "judge"):
        from .. import architectures

        _OF_THIS_THREAD.judge = architectures.judge()
    found: Classifier = _OF_THIS_THREAD.judge
    return found


def _reason(image: NDArray, apart: bool, judge: Classifier | None) -> str | None:
    """Why the image (1, 28, 28) is not one digit, or None.

    apart   whether its strokes stand side by side. So do those of an H drawn with gaps, and of a
            digit that a dry pen wrote: where there is a judge, it has a say.
    """
    if judge is None:
        return SEVERAL if apart else None
    judged = judge.predict(image, batch_size=1)[0]
    other = judged[NONE] + judged[MORE]
    if other < (1 - RATHER_ONE if apart else SURELY_OTHER):
        return None
    is_none = judged[NONE] > (SURELY_NONE if apart else judged[MORE])
    return NO_DIGIT if is_none else SEVERAL
