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
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from . import distributed, ending, regularizers, sources
from .engine import threads
from .errors import InputError, is_whole
from .progress import Progress, figures
from .run import Callback, History, Means, Run, Taken, order_of, sampled
from .sources import Batch, Further, SourceRun
from .targets import check_names, checked_weights, example_weights

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
#: so many times the loss of the first batch, or 1 if that is less: no good training comes there
DIVERGED = 1000.0
#: examples and their labels
Data = tuple[NDArray, NDArray]
#: the same, and how much each counts, or None; or a source of batches, None and None
HeldOut = Batch | tuple[sources.Source, None, None]


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


def batches_of(
    x: Any,
    y: Any,
    batch_size: int,
    steps: int | None = None,
    sample_weight: Any = None,
    rows: Callable[[int], slice] = slice,
) -> Iterator[Batch]:
    """The batches of one evaluation, of arrays or of a source of batches: (x, y, weights).

    rows   of a batch's x, those of n that are wanted
    """
    if y is None:
        sources.refuse_weights(sample_weight)
        for some, labels, counts in sources.one_pass(x, steps):
            yield some[rows(len(some))], labels, counts
        return
    x, y = paired(x, y)
    weights = checked_weights(sample_weight, len(x))
    number = sources.steps_of(len(x), batch_size, steps, "steps")
    order = order_of(len(x), None)
    for start in itertools.islice(range(0, len(x), batch_size), number):
        chosen = order[start : start + batch_size]
        yield x[chosen[rows(len(chosen))]], *_part((y, y, weights), chosen)[1:]


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
    **further: Unpack[Further],
) -> History:
    """What `Sequential.fit` calls; see there for the arguments."""
    check_names(further, Further, "fit")
    check_count("batch_size", batch_size, 1)
    check_count("epochs", epochs, 0)
    check_count("initial_epoch", initial_epoch, 0)
    if not (augment is None or callable(augment)):
        raise InputError(f"augment: expected a function of (x, rng), found {augment!r}")
    held_out = _held_out(validation_data, batch_size, further.get("validation_steps"))
    run, held_out = _begun(model, x, y, batch_size, validation_split, held_out, further)
    run.epoch = run.started = initial_epoch
    run.epochs, run.callbacks, run.augment = epochs, callbacks, augment
    model.stop_training = False
    if (world := distributed.current()) is not None:
        run.shared = distributed.Shared(model, world)
        run.shared.begin(run)
    if run.rank > 0:
        progress = Progress(verbose=0)
    progress = Progress() if progress is None else progress
    first, last = _in_order(run, progress)
    everyone = [*first, *last]
    with threads.one_blas_thread(), progress:
        for callback in everyone:
            callback.model, callback.run = model, run
        for callback in everyone:
            callback.on_train_begin({})
        if held_out is not None:
            sources.go_on(held_out[0], run.epoch - run.started)
        while run.epoch < epochs and not model.stop_training:
            epoch = run.epoch
            run.begin_epoch(model.shuffle_rng if shuffle else None)
            for callback in everyone:
                callback.on_epoch_begin(epoch, {})
            _train_epoch(model, run, everyone, augment)
            if run.batches is None or run.batch < run.batches:
                break  # stopped in the middle of the epoch
            model.optimizer.use_average(model)  # until the next epoch's first batch
            logs = run.means.logs() | _validate(model, held_out, batch_size, run.shared)
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


def _begun(
    model: Any,
    x: Any,
    y: NDArray | None,
    batch_size: int,
    validation_split: float,
    held_out: HeldOut | None,
    further: Further,
) -> tuple[Run, HeldOut | None]:
    """The Run of arrays or of a source of batches, and what is held out; labels are checked."""
    run: Run
    sample_weight, class_weight = further.get("sample_weight"), further.get("class_weight")
    if y is None:
        if validation_split:
            raise InputError("validation_split: expected arrays x and y for it, found batches")
        sources.refuse_weights(sample_weight)
        source: Any = sources.of(x, further.get("steps_per_epoch"))
        x, y, weights = source.first()  # of which the model, labels and weights are checked
        means = _means(model, x)
        run = SourceRun(source, y, batch_size, (), 0, means, class_weight=class_weight)
        example_weights(y, model.output_shape, weights, class_weight)
    else:
        x, y = paired(x, y)
        data = x, y, checked_weights(sample_weight, len(x))
        (x, y, weights), held_out = _split(data, validation_split, held_out)
        run = Run(x, y, batch_size, (), 0, _means(model, x))
        run.steps = sources.steps_of(len(x), batch_size, further.get("steps_per_epoch"))
        run.weights = example_weights(y, model.output_shape, weights, class_weight)
    ending.check(model.layers, model.loss)
    ending.check_targets(run.seen()["y"], model.layers, model.loss, run.means.metrics)
    if held_out is not None:
        ending.check_targets(_labels(held_out), model.layers, model.loss, run.means.metrics)
    model.look_at(run.some())
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
        loss, outputs = _step(model, run, taken, augment)
        run.means.add(loss, outputs, taken[1])
        run.batch = batch + 1
        logs = run.means.logs()
        for callback in callbacks:
            callback.on_batch_end(batch, logs)
        run.first_loss = loss if run.first_loss is None else run.first_loss
        lost = not loss <= DIVERGED * max(run.first_loss, 1.0)  # also where it is NaN
        if lost and not run.warned:  # none of the callbacks has ended the training
            where = f"the loss is {loss:g} in epoch {run.epoch + 1}, batch {batch + 1}"
            after = f", after {run.first_loss:g}" if math.isfinite(loss) else ""
            after += run.whose()
            _warn(where + after, run, model)
        if model.stop_training:
            return


def _step(
    model: Any, run: Run, taken: Taken, augment: Augment | None
) -> tuple[float, NDArray[np.floating]]:
    """One batch: its loss, and the outputs for all of it."""
    x, y, weights = taken
    if run.shared is not None:
        x = run.shared.augmented(augment, x, len(y))
        return run.shared.train_on_batch(x, y, weights)
    if augment is not None:
        x = augment(x, model.augment_rng)
    return model.train_on_batch(x, y, **weights)


def _in_order(run: Run, progress: Progress) -> tuple[list[Callback], list[Callback]]:
    """Who is called first, and who last when an epoch is in History."""
    called = [one for one in run.callbacks if run.rank == 0 or not one.writes]
    first = [progress, *(one for one in called if not one.runs_last)]
    agreement = [] if run.shared is None else [distributed.Agreement()]
    return [*first, *agreement], [one for one in called if one.runs_last]


def evaluate(
    model: Any,
    x: Any,
    y: NDArray | None,
    batch_size: int,
    sample_weight: Any = None,
    steps: int | None = None,
    shared: Any = None,
) -> dict[str, float]:
    """The figures that `Sequential.evaluate` returns, by name; see there for the arguments.

    shared   with whom, where several processes call it together
    """
    check_count("batch_size", batch_size, 1)
    means: Means | None = None
    price = 0.0
    rows = slice if shared is None else shared.rows
    for some, labels, weights in batches_of(x, y, batch_size, steps, sample_weight, rows):
        some = model._batch(some)
        if means is None:
            means = _means(model, some)
            price = regularizers.penalty(model.layers)
            model._watch.predict(some)
        if shared is not None:
            loss, out = shared.outputs(some, len(labels), training=False)
        else:
            loss, groups = model._loss_on(model.groups())
            out = model._forward(some, groups, training=False)
        means.add(ending.loss_of(loss, out, labels, weights) + price, out, labels)
    assert means is not None  # there is at least one batch
    return means.logs()


def _means(model: Any, x: NDArray) -> Means:
    """The loss and the metrics that `compile` chose, with nothing counted yet.

    Builds the model for x first, where it is not built; callbacks may want to see the parameters.
    """
    if not model.built:
        model(x[:1])
    binary = ending.is_yes_or_no(model.layers, model.loss)
    return Means(model.metrics, binary, ending.Reader(model.layers, model.loss))


def _warn(what: str, run: Run, model: Any, stacklevel: int = 5) -> None:
    """Say once that the training has left the numbers that mean something, and what to do."""
    run.warned = True
    bad = [
        name for name, a in run.seen().items() if a.dtype.kind == "f" and not np.isfinite(a).all()
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


def _held_out(data: Any, batch_size: int, steps: int | None) -> HeldOut | None:
    """What is validated on: arrays, or a source of batches, which goes on from time to time."""
    if data is None:
        return None
    parts = isinstance(data, tuple) or (isinstance(data, list) and len(data) in (2, 3))
    if not parts or (data and isinstance(data[0], tuple)):
        return sources.of(data, steps), None, None
    if len(data) not in (2, 3):
        raise InputError(
            "validation_data: expected (x, y), (x, y, sample_weight) or a source of batches, "
            f"found {len(data)} parts"
        )
    x, y = paired(*data[:2])
    number = sources.steps_of(len(x), batch_size, steps, "validation_steps")
    stop = None if number is None else number * batch_size
    return _part((x, y, checked_weights([*data, None][2], len(x))), slice(stop))


def _labels(held_out: HeldOut) -> NDArray:
    """What is held out to compare with; of a source, that of the first batch."""
    source: Any
    source, y, _ = held_out
    return sampled(source.first()[1] if y is None else y)


def _validate(
    model: Any, held_out: HeldOut | None, batch_size: int, shared: Any
) -> dict[str, float]:
    """The figures of the held out examples, with Keras's names; none where nothing is held out."""
    if held_out is None:
        return {}
    x, y, weights = held_out
    weighted = {} if weights is None else {"sample_weight": weights}
    if shared is not None:
        found = evaluate(model, x, y, batch_size, weights, shared=shared)
        return {f"val_{key}": value for key, value in found.items()}
    found = model.evaluate(x, y, batch_size, verbose=0, return_dict=True, **weighted)
    return {f"val_{key}": value for key, value in found.items()}


def _split(
    data: Batch, validation_split: float, held_out: HeldOut | None
) -> tuple[Batch, HeldOut | None]:
    """What is trained on, and what is held out: the last part, as in Keras, or data of its own."""
    if held_out is not None or not validation_split:
        return data, held_out
    if not 0 < validation_split < 1:
        raise InputError(
            f"validation_split: expected a fraction from 0 to below 1, found {validation_split}"
        )
    images = len(data[0])
    start = math.floor(images * (1 - validation_split))
    if not 0 < start < images:
        raise InputError(
            f"validation_split {validation_split} of {images} examples leaves none on one side"
        )
    return _part(data, slice(start)), _part(data, slice(start, None))


def _part(data: Batch, rows: slice | NDArray[np.int64]) -> Batch:
    x, y, weights = data
    return x[rows], y[rows], None if weights is None else weights[rows]


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
