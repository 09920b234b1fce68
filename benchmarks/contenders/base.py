"""What a contender is: something that trains a network, or predicts with it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from numpy.typing import NDArray

import scratchnet as sn

from .networks import Array

#: Adam's, for all
LR, BETAS, EPSILON = 1e-3, (0.9, 0.999), 1e-7


class Contender:
    """train(...), then step(x, y) for each of `batches`; or predictor(...).

    label          its name in tables and pictures
    modules        what has to be installed
    adam_of_keras  its Adam is Keras's: epsilon beside the uncorrected root, betas rounded
    """

    label = ""
    modules: tuple[str, ...] = ()
    trains = infers = True
    adam_of_keras = False
    batches: list[tuple[Any, Any]]
    step: Callable[[Any, Any], Any]

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def train(self, model: sn.Sequential, x: Array, y: NDArray, batch_size: int) -> None:
        """Set `step`, which returns the loss in the framework's own form, and `batches`.

        The model ends in Softmax, which the frameworks have in the loss.
        """
        raise NotImplementedError

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        """A function from images (n, h, w, c) to probabilities (n, 10), both in NumPy."""
        raise NotImplementedError

    def wide(self) -> AbstractContextManager[Any]:
        """Within it the framework computes in float64 what it is given in float64."""
        return nullcontext()

    def epoch(self) -> None:
        for x, y in self.batches:
            loss = self.step(x, y)
        float(loss)  # waits where steps are only queued

    def cut(self, x: Any, y: Any, batch_size: int) -> None:
        starts = range(0, len(x), batch_size)
        self.batches = [(x[i : i + batch_size], y[i : i + batch_size]) for i in starts]
