"""`look`: the digit in a picture, or why there is none to be named.

What is no picture of ink at all is an InputError, as from `prepare`. But where there is ink, and
it is several digits or something else, that is an answer: it has no digit, and a reason.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .pixels import Source
from .steps import Classifier, Prepared, prepare

SEVERAL = "several digits side by side; read them as a number"
NO_DIGIT = "the ink has the shape of no digit"
SURELY_NONE = 0.7  # the judge's probability from which on the ink is said to be no digit


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
    judge: Classifier | None = None,
    of_digits: bool = True,
) -> Answer:
    """The digit in a picture, given as to `prepare`; InputError where there is no ink.

    model       a classifier of images in MNIST's form
    judge       one with a class more, the last one for what is no digit; without it only several
                digits side by side are told from one
    of_digits   whether the classes are the ten digits: other signs may have parts side by side
    """
    prepared = prepare(source, model)
    image = prepared.image[None]
    probabilities = model.predict(image, batch_size=1)[0]
    several = of_digits and prepared.several
    reason = SEVERAL if several else None
    if reason is None and judge is not None:
        judged = judge.predict(image, batch_size=1)[0]
        if judged[-1] > SURELY_NONE:
            reason = NO_DIGIT
    digit = None if reason else int(probabilities.argmax())
    return Answer(digit, several, reason, probabilities, prepared)
