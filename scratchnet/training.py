"""The training loop.

It is the one that a reader would write by hand:

    for epoch in range(epochs):
        for x, y in batches(...):
            loss = model.loss_and_gradients(x, y)
            optimizer.step(model)

The outer loop is `fit`, the inner one `_train_epoch`, and the last two lines are the model's
`train_on_batch`. What is added is bookkeeping: means over the epoch, validation, callbacks,
stopping. Run (run.py) knows where the training stands, so that it can go on after a crash.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from . import sources
from .engine import threads
from .errors import InputError, is_whole
from .progress import Progress, figures
from .run import Callback, History, Means, Run, order_of
from .sources import SourceRun, Steps, check_names

__all__ = [
    "Augment",
    "Callback",
    "History",
    "Means",
    "Progress",
    "Run",
    "batches",
    "check_count",
    "figures",
    "fit",
    "paired",
]

#: a batch of images and a generator in, other images of the same shape and dtype out
Augment = Callable[[NDArray, np.random.Generator], NDArray]
#: examples and their labels
Data = tuple[NDArray, NDArray]
#: the same, or a source of batches
HeldOut = Data | tuple[sources.Source]


def batches(
    x: NDArray, y: NDArray, batch_size: int, rng: np.random.Generator | None = None
) -> Iterator[Data]:
    """One epoch of (x, y) batches, in an order drawn from rng, or as they stand without one.

    The last batch holds what is left and may be smaller.
    """
    order = order_of(len(x), rng)
    for start in range(0, len(x), batch_size):
        chosen = order[start : start + batch_size]
        yield x[chosen], y[chosen]


def batches_of(x: Any, y: Any, batch_size: int, steps: int | None = None) -> Iterator[Data]:
    """The batches of one evaluation, of arrays or of a source of batches."""
    if y is None:
        return sources.one_pass(x, steps)
    return batches(*paired(x, y), batch_size)


def fit(
    model: Any,
    x: Any,
    y: NDArray | None,
    *,
    batch_size: int = 32,
    epochs: int = 1,
    callbacks: Sequence[Callback] = (),
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    initial_epoch: int = 0,
    augment: Augment | None = None,
    progress: Progress | None = None,
    **steps: Unpack[Steps],
) -> History:
    """What `Sequential.fit` calls; see there for the arguments."""
    check_names(steps)
    check_count("batch_size", batch_size, 1)
    check_count("epochs", epochs, 0)
    check_count("initial_epoch", initial_epoch, 0)
    if not (augment is None or callable(augment)):
        raise InputError(f"augment: expected a function of (x, rng), found {augment!r}")
    validation = held_out_of(validation_data, steps.get("validation_steps"))
    run, held_out = _begun(
        model, x, y, batch_size, steps.get("steps_per_epoch"), validation_split, validation
    )
    run.epoch = run.started = initial_epoch
    run.epochs, run.callbacks = epochs, callbacks
    if not model.built:
        model(run.some()[:1])  # callbacks may want to see the parameters before the first batch
    model.look_at(run.some())
    run.augment = augment
    progress = Progress() if progress is None else progress
    first = [progress, *(callback for callback in callbacks if not callback.runs_last)]
    last = [callback for callback in callbacks if callback.runs_last]
    everyone = [*first, *last]
    model.stop_training = False
    with threads.one_blas_thread(), progress:
        for callback in everyone:
            callback.model, callback.run = model, run
        for callback in everyone:
            callback.on_train_begin({})
        while run.epoch < epochs and not model.stop_training:
            epoch = run.epoch
            run.begin_epoch(model.shuffle_rng if shuffle else None)
            for callback in everyone:
                callback.on_epoch_begin(epoch, {})
            _train_epoch(model, run, everyone, augment)
            if run.batches is None or run.batch < run.batches:
                break  # stopped in the middle of the epoch
            model.optimizer.use_average(model)  # until the next epoch's first batch
            logs = run.means.logs() | _validate(model, held_out, batch_size)
            for callback in first:
                callback.on_epoch_end(epoch, logs)
            run.end_epoch(logs)
            for callback in last:
                callback.on_epoch_end(epoch, logs)
        model.optimizer.use_average(model)
        for callback in everyone:
            callback.on_train_end({})
    return run.history


def _begun(
    model: Any,
    x: Any,
    y: NDArray | None,
    batch_size: int,
    steps: int | None,
    validation_split: float,
    validation: HeldOut | None,
) -> tuple[Run, HeldOut | None]:
    """The Run of arrays or of a source of batches, and what is held out."""
    means = Means(model.metrics)
    if y is None:
        if validation_split:
            raise InputError("validation_split: expected arrays x and y for it, found batches")
        source: Any = sources.of(x, steps)
        return SourceRun(source, source.first()[1], batch_size, (), 0, means), validation
    (x, y), held_out = _split(*paired(x, y), validation_split, validation)
    run = Run(x, y, batch_size, (), 0, means)
    run.steps = sources.steps_of(len(x), batch_size, steps) if steps is not None else None
    return run, held_out


def _train_epoch(
    model: Any, run: Run, callbacks: Sequence[Callback], augment: Augment | None
) -> None:
    """Every batch that the epoch has left, unless a callback stops the training."""
    for batch in itertools.count(run.batch):
        if run.batches is not None and batch >= run.batches:
            return
        for callback in callbacks:
            callback.on_batch_begin(batch, {})
        taken = run.take(batch)
        if taken is None:
            return
        x, y = taken
        if augment is not None:
            x = augment(x, model.augment_rng)
        loss, outputs = model.train_on_batch(x, y)
        run.means.add(loss, outputs, y)
        run.batch = batch + 1
        logs = run.means.logs()
        for callback in callbacks:
            callback.on_batch_end(batch, logs)
        if model.stop_training:
            return


def held_out_of(data: Any, steps: int | None) -> HeldOut | None:
    """What is validated on: (x, y), or a source of batches, which goes on from time to time."""
    if data is None:
        return None
    if isinstance(data, (tuple, list)) and len(data) == 2 and not isinstance(data[0], tuple):
        return paired(*data)
    return (sources.of(data, steps),)


def _validate(model: Any, held_out: HeldOut | None, batch_size: int) -> dict[str, float]:
    """The figures of the held out examples, with Keras's names; none where nothing is held out."""
    if held_out is None:
        return {}
    found = model.evaluate(*held_out, batch_size=batch_size, verbose=0, return_dict=True)
    return {f"val_{key}": value for key, value in found.items()}


def _split(
    x: NDArray, y: NDArray, validation_split: float, validation_data: HeldOut | None
) -> tuple[Data, HeldOut | None]:
    """What is trained on, and what is held out: the last part, as in Keras, or data of its own."""
    if validation_data is not None:
        return (x, y), validation_data
    if not validation_split:
        return (x, y), None
    if not 0 < validation_split < 1:
        raise InputError(
            f"validation_split: expected a fraction from 0 to below 1, found {validation_split}"
        )
    start = math.floor(len(x) * (1 - validation_split))
    if not 0 < start < len(x):
        raise InputError(
            f"validation_split {validation_split} of {len(x)} examples leaves none on one side"
        )
    return (x[:start], y[:start]), (x[start:], y[start:])


def paired(x: Any, y: Any) -> tuple[NDArray, NDArray]:
    """x and y as arrays of the same length, or an error that names both lengths."""
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise InputError(f"x and y: expected one label an example, found {x.shape} and {y.shape}")
    if len(x) == 0:
        raise InputError(f"x: expected at least one example, found {x.shape}")
    return x, y


def check_count(name: str, value: Any, least: int) -> None:
    """Raise unless value is an integer, at least `least`."""
    if not is_whole(value, least):
        raise InputError(f"{name}: expected a whole number, at least {least}, found {value!r}")
