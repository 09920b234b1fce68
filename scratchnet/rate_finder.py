"""Find a learning rate: train for a moment with a rate that grows, and look at the loss.

    found = sn.find_learning_rate(model, x, y)
    found.plot()                                 # loss over rate, as a matplotlib Figure
    model.compile(sn.Adam(found.suggestion), ...)

Where the rate is far too small the loss hardly moves; then it falls, the faster the larger the
rate; then steps become too long, and it rises and explodes. A good rate lies where the loss falls
most steeply, well before it rises. One short run over a few powers of ten shows all of that, and
afterwards the model and its optimizer are as they were.

Source: Smith 2017, "Cyclical Learning Rates for Training Neural Networks", section 3.3.
"""

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import training
from .engine import threads
from .errors import InputError, check_number, is_whole
from .flat import training_alone
from .schedules import Constant

#: of the smoothed loss: how much of it the losses before have
SMOOTHING = 0.9
#: as many times the lowest loss end the search
EXPLODED = 4.0
#: losses without which nothing can be said
FEWEST = 10


@dataclass(repr=False)
class LearningRates:
    """What `find_learning_rate` returns.

    rates       the rate of each step, growing
    losses      the batch's loss before each step
    smoothed    the losses' moving average, as if it had begun long before (like Adam's m_hat)
    suggestion  the rate at which the smoothed loss falls most steeply, over the logarithm of the
                rate; None where it does not fall
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    suggestion: float | None

    def plot(self) -> Any:
        """The losses over the rates, as a matplotlib Figure."""
        from . import plots

        return plots.learning_rates(self.rates, self.losses, self.smoothed, self.suggestion)

    def _repr_png_(self) -> Any:
        return self.plot()._repr_png_()

    def __repr__(self) -> str:
        best = "none" if self.suggestion is None else f"{self.suggestion:.3g}"
        span = f"{self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        return f"LearningRates({len(self.rates)} steps from {span}; suggestion {best})"


def find_learning_rate(
    model: Any,
    x: Any,
    y: NDArray | None = None,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    batch_size: int = 32,
) -> LearningRates:
    """Train with rates from `lowest` to `highest`, each a constant times the one before.

    x, y         what to train on; or batches as `fit` takes them. They begin anew where they end
    steps        at most so many, one a batch; the search ends where the loss explodes

    Weights, running statistics, gradients, the optimizer with its memory and all random streams are
    put back afterwards. Needs a compiled model; raises InputError where the loss is not finite from
    the beginning.
    """
    check_number("lowest", lowest, above=0)
    check_number("highest", highest, above=lowest)
    training.check_count("batch_size", batch_size, 1)
    if not is_whole(steps, FEWEST):
        raise InputError(f"steps: expected a whole number, at least {FEWEST}, found {steps!r}")
    model._compiled_loss()
    data = _batches(x, y, batch_size)
    first = next(data)
    if not model.built:
        model(first[0][:1])
    if not model._training.acquire(blocking=False):
        raise RuntimeError("Sequential: fit is running in another thread")
    with training_alone(model.layers, model._training), threads.one_blas_thread():
        kept = _kept(model)
        try:
            losses = _losses(model, itertools.chain([first], data), lowest, highest, steps)
        finally:
            _put_back(model, kept)
    rates = [_rate(lowest, highest, steps, step) for step in range(len(losses))]
    smoothed = _smoothed(losses)
    return LearningRates(rates, losses, smoothed, _steepest(rates, smoothed))


def _rate(lowest: float, highest: float, steps: int, step: int) -> float:
    return lowest * (highest / lowest) ** (step / (steps - 1))


def _losses(
    model: Any, data: Iterator[Any], lowest: float, highest: float, steps: int
) -> list[float]:
    """The loss before each step, until it explodes."""
    losses: list[float] = []
    with np.errstate(all="ignore"):
        for step in range(steps):
            model.optimizer.learning_rate = Constant(_rate(lowest, highest, steps, step))
            x, y, weights = next(data)
            weighted = {} if weights is None else {"sample_weight": weights}
            loss = float(model.train_on_batch(x, y, **weighted)[0])
            if not math.isfinite(loss):
                break
            losses.append(loss)
            smoothed = _smoothed(losses)
            if step >= FEWEST and smoothed[-1] > EXPLODED * min(smoothed):
                break
    if not losses:
        raise InputError("find_learning_rate: expected a loss that is finite at first, found none")
    return losses


def _batches(x: Any, y: NDArray | None, batch_size: int) -> Iterator[Any]:
    """Batches without end; those of arrays in an order of its own."""
    rng = np.random.default_rng(0)
    if y is not None:
        x, y = training.paired(x, y)
    while True:
        if y is None:
            yield from training.batches_of(x, None, batch_size)
        else:
            yield from ((*batch, None) for batch in training.batches(x, y, batch_size, rng))


def _kept(model: Any) -> dict[str, Any]:
    blocks = model.flat_params, model.flat_grads, model.flat_buffers
    kept = {
        "blocks": [block.copy() for block in blocks],
        "random": {key: rng.bit_generator.state for key, rng in model.generators().items()},
        "optimizer": model.optimizer,
        "watch": model._watch,
    }
    model.optimizer = copy.deepcopy(model.optimizer)
    model._watch = copy.deepcopy(model._watch)
    return kept


def _put_back(model: Any, kept: dict[str, Any]) -> None:
    model.optimizer, model._watch = kept["optimizer"], kept["watch"]
    blocks = model.flat_params, model.flat_grads, model.flat_buffers
    for block, values in zip(blocks, kept["blocks"], strict=True):
        block[...] = values
    for key, rng in model.generators().items():
        rng.bit_generator.state = kept["random"][key]


def _smoothed(losses: list[float]) -> list[float]:
    average, found = 0.0, []
    for t, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        found.append(average / (1 - SMOOTHING**t))
    return found


def _steepest(rates: list[float], smoothed: list[float]) -> float | None:
    """Where the smoothed loss falls most steeply before it is lowest."""
    end = int(np.argmin(smoothed)) + 1
    if end < 3:
        return None
    slopes = np.gradient(np.array(smoothed[:end]), np.log(rates[:end]))
    at = int(np.argmin(slopes))
    return rates[at] if slopes[at] < 0 else None
