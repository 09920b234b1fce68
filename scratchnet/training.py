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

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from . import ending
from .engine import threads
from .errors import InputError, is_whole
from .progress import Progress, figures
from .run import Callback, History, Means, Run, order_of
from .targets import Weights, check_names, checked_weights, example_weights

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
#: the same, and how much each counts, or None
Weighted = tuple[NDArray, NDArray, NDArray | None]


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


def fit(
    model: Any,
    x: NDArray,
    y: NDArray,
    *,
    batch_size: int = 32,
    epochs: int = 1,
    callbacks: Sequence[Callback] = (),
    validation_split: float = 0.0,
    validation_data: Sequence[NDArray] | None = None,
    shuffle: bool = True,
    initial_epoch: int = 0,
    augment: Augment | None = None,
    progress: Progress | None = None,
    **weights: Unpack[Weights],
) -> History:
    """What `Sequential.fit` calls; see there for the arguments."""
    check_names(weights, "fit")
    x, y = paired(x, y)
    check_count("batch_size", batch_size, 1)
    check_count("epochs", epochs, 0)
    check_count("initial_epoch", initial_epoch, 0)
    if not (augment is None or callable(augment)):
        raise InputError(f"augment: expected a function of (x, rng), found {augment!r}")
    given = checked_weights(weights.get("sample_weight"), len(x))
    (x, y, given), held_out = _split((x, y, given), validation_split, validation_data)
    if not model.built:
        model(x[:1])  # callbacks may want to see the parameters before the first batch
    means = _means(model)
    ending.check(model.layers, model.loss)
    for _, labels, _ in filter(None, ((x, y, given), held_out)):
        ending.check_targets(labels, model.layers, model.loss, means.metrics)

    run = Run(x, y, batch_size, callbacks, initial_epoch, means, epochs)
    run.augment, class_weight = augment, weights.get("class_weight")
    run.weights = example_weights(y, model.output_shape, given, class_weight)
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
            if run.batch < run.batches:
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
    if not (run.warned or np.isfinite(model.flat_params).all()):
        _warn("the weights are no longer finite after the last step", run, model, stacklevel=4)
    return run.history


def _train_epoch(
    model: Any, run: Run, callbacks: Sequence[Callback], augment: Augment | None
) -> None:
    """Every batch that the epoch has left, unless a callback stops the training."""
    for batch in range(run.batch, run.batches):
        x, y = run.take(batch)
        if augment is not None:
            x = augment(x, model.augment_rng)
        weights = run.take_weights(batch)
        weighted = {} if weights is None else {"sample_weight": weights}
        loss, outputs = model.train_on_batch(x, y, **weighted)
        run.means.add(loss, outputs, y)
        run.batch = batch + 1
        logs = run.means.logs()
        for callback in callbacks:
            callback.on_batch_end(batch, logs)
        if not (run.warned or math.isfinite(loss)):  # none of them has ended the training
            _warn(f"the loss is {loss} in epoch {run.epoch + 1}, batch {batch + 1}", run, model)
        if model.stop_training:
            return


def evaluate(
    model: Any, x: NDArray, y: NDArray, batch_size: int, sample_weight: Any = None
) -> dict[str, float]:
    """The figures that `Sequential.evaluate` returns, by name; see there for the arguments."""
    x, y = paired(x, y)
    check_count("batch_size", batch_size, 1)
    weights = checked_weights(sample_weight, len(x))
    if not model.built:
        model(x[:1])
    means = _means(model)
    for i, (some, labels) in enumerate(batches(x, y, batch_size)):
        some = model._batch(some)
        loss, groups = model._loss_on(model.groups())
        out = model._forward(some, groups, training=False)
        counts = None if weights is None else weights[i * batch_size :][: len(some)]
        means.add(ending.loss_of(loss, out, labels, counts), out, labels)
    return means.logs()


def _means(model: Any) -> Means:
    """The loss and the metrics that `compile` chose, with nothing counted yet."""
    binary = ending.is_yes_or_no(model.layers, model.loss)
    return Means(model.metrics, binary, ending.Reader(model.layers, model.loss))


def _warn(what: str, run: Run, model: Any, stacklevel: int = 5) -> None:
    """Say once that the training has left the finite numbers, and what to do."""
    run.warned = True
    bad = [
        name
        for name, a in (("x", run.x), ("y", run.y))
        if a.dtype.kind == "f" and not np.isfinite(a).all()
    ]
    remedy = f"a smaller learning rate than {float(model.optimizer.learning_rate):g}"
    if bad:
        remedy = f"{' and '.join(bad)} without NaN and infinity, which there are"
    warnings.warn(
        f"the training has diverged: {what}; it takes {remedy}. "
        "callbacks.StopOnNaN() stops here and keeps the last good weights",
        RuntimeWarning,
        stacklevel=stacklevel,
    )


def _validate(model: Any, held_out: Weighted | None, batch_size: int) -> dict[str, float]:
    """The figures of the held out examples, with Keras's names; none where nothing is held out."""
    if held_out is None:
        return {}
    x, y, weights = held_out
    weighted = {} if weights is None else {"sample_weight": weights}
    found = model.evaluate(x, y, batch_size, verbose=0, return_dict=True, **weighted)
    return {f"val_{key}": value for key, value in found.items()}


def _split(
    data: Weighted, validation_split: float, validation_data: Sequence[NDArray] | None
) -> tuple[Weighted, Weighted | None]:
    """What is trained on, and what is held out: the last part, as in Keras, or data of its own."""
    x, y, weights = data
    if validation_data is not None:
        if len(validation_data) not in (2, 3):
            raise InputError(
                "validation_data: expected (x, y) or (x, y, sample_weight), found "
                f"{len(validation_data)} parts"
            )
        other, labels = paired(*validation_data[:2])
        given = checked_weights([*validation_data, None][2], len(other))
        return data, (other, labels, given)
    if not validation_split:
        return data, None
    if not 0 < validation_split < 1:
        raise InputError(
            f"validation_split: expected a fraction from 0 to below 1, found {validation_split}"
        )
    start = math.floor(len(x) * (1 - validation_split))
    if not 0 < start < len(x):
        raise InputError(
            f"validation_split {validation_split} of {len(x)} examples leaves none on one side"
        )
    first, last = (None, None) if weights is None else (weights[:start], weights[start:])
    return (x[:start], y[:start], first), (x[start:], y[start:], last)


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
