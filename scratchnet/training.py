"""The training loop, what it remembers (History), and who is told about it (Callback).

The loop is the one that a reader would write by hand:

    for epoch in range(epochs):
        for x, y in batches(...):
            loss = model.loss_and_gradients(x, y)
            optimizer.step(model)

What is added here is bookkeeping: means over the epoch, validation, progress, stopping.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TextIO

import numpy as np
from numpy.typing import NDArray

from . import kernels, metrics
from .errors import InputError, is_whole

#: a batch of images and a generator in, other images of the same shape and dtype out
Augment = Callable[[NDArray, np.random.Generator], NDArray]


class History:
    """What `fit` returns: `history["loss"][i]` belongs to epoch number `epoch[i]` (from 0).

    Keys as in Keras: loss, accuracy, and with validation val_loss, val_accuracy. An epoch that was
    broken off is not in it.
    """

    def __init__(self) -> None:
        self.epoch: list[int] = []
        self.history: dict[str, list[float]] = {}

    def append(self, epoch: int, logs: dict[str, float]) -> None:
        for key in {**self.history, **logs}:  # a figure may come late, or not every time
            series = self.history.setdefault(key, [math.nan] * len(self.epoch))
            series.append(logs.get(key, math.nan))
        self.epoch.append(epoch)

    def rows(self) -> list[dict[str, float]]:
        """One dict an epoch: its number and its values."""
        columns = {"epoch": self.epoch, **self.history}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def plot(self) -> Any:
        """The curves of loss and accuracy, as a matplotlib Figure."""
        from . import plots

        return plots.training_curves(self.history, [epoch + 1 for epoch in self.epoch])

    def __repr__(self) -> str:
        last = ", ".join(f"{key} {values[-1]:.4f}" for key, values in self.history.items())
        return f"History({len(self.epoch)} epochs; last: {last})" if last else "History(0 epochs)"


class Callback:
    """Told what happens during fit. Override any of the first three; mostly nothing else is needed.

    self.model   the model; `self.model.stop_training = True` ends the training after the batch
    self.run     the Run: data, order, history so far
    """

    model: Any = None
    run: Any = None
    #: told after the others, when History has the epoch already
    runs_last = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        """epoch counts from 0; logs is empty."""

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """batch counts from 0; logs holds the means over the epoch so far."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """logs holds the epoch's means and, with validation, val_loss and val_accuracy.

        What is added to logs goes to the callbacks behind this one and into History.
        """

    def on_train_begin(self, logs: dict[str, float]) -> None:
        """Before the first epoch; logs is empty."""

    def on_train_end(self, logs: dict[str, float]) -> None:
        """After the last epoch, or when the training was stopped; logs is empty."""

    def state(self) -> dict[str, Any]:
        """What has to be remembered to go on after a crash: numbers and arrays by name."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Remember what `state` returned; comes after `on_train_begin`."""


class Means:
    """Running means of loss and accuracy over the images seen, as Keras reports them."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.images = 0
        self.loss = 0.0
        self.correct = 0

    def add(self, loss: float, y_pred: NDArray, y_true: NDArray) -> None:
        self.images += len(y_pred)
        self.loss += loss * len(y_pred)
        if "accuracy" in self.names:
            self.correct += metrics.correct(y_pred, y_true)

    def logs(self) -> dict[str, float]:
        images = max(self.images, 1)
        logs = {"loss": self.loss / images}
        if "accuracy" in self.names:
            logs["accuracy"] = self.correct / images
        return logs


def batches(
    x: NDArray, y: NDArray, batch_size: int, rng: np.random.Generator | None = None
) -> Iterator[tuple[NDArray, NDArray]]:
    """One epoch of (x, y) batches, in an order drawn from rng, or as they stand without one.

    The last batch holds what is left and may be smaller.
    """
    order = _order(len(x), rng)
    for start in range(0, len(x), batch_size):
        chosen = order[start : start + batch_size]
        yield x[chosen], y[chosen]


def _order(images: int, rng: np.random.Generator | None) -> NDArray[np.int64]:
    return np.arange(images) if rng is None else rng.permutation(images)


@dataclass
class Run:
    """One call of fit and where it stands. With the model, all that going on needs.

    x, y      what is trained on, without the part held out
    callbacks that were given to fit
    epoch     the one that runs, or comes next
    batch     how many batches of it are done
    order     of its examples; None where it has not begun
    means     over its batches so far
    history   of the epochs before it
    """

    x: NDArray
    y: NDArray
    batch_size: int
    callbacks: Sequence[Callback]
    epoch: int
    means: Means
    batch: int = 0
    order: NDArray[np.int64] | None = None
    history: History = field(default_factory=History)
    _memory: dict[str, NDArray] = field(default_factory=dict, repr=False)

    @property
    def batches(self) -> int:
        """In one epoch."""
        return -(-len(self.x) // self.batch_size)

    def take(self, batch: int) -> tuple[NDArray, NDArray]:
        """The examples of that batch of the epoch; valid until the next one is taken."""
        chosen = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        return self._taken("x", chosen), self._taken("y", chosen)

    def _taken(self, name: str, chosen: NDArray[np.int64]) -> NDArray:
        source = getattr(self, name)
        if not source.flags.c_contiguous:
            return source[chosen]  # take() would copy all of it
        if name not in self._memory:
            size = min(self.batch_size, len(source))
            self._memory[name] = np.empty((size, *source.shape[1:]), source.dtype)
        # "clip" goes straight into `out`, the default by way of a copy; no index is out of bounds
        return source.take(chosen, axis=0, out=self._memory[name][: len(chosen)], mode="clip")

    def end_epoch(self, logs: dict[str, float]) -> None:
        self.history.append(self.epoch, logs)
        self.epoch, self.batch, self.order = self.epoch + 1, 0, None
        self.means = Means(self.means.names)


def fit(
    model: Any,
    x: NDArray,
    y: NDArray,
    *,
    batch_size: int = 32,
    epochs: int = 1,
    verbose: str | int = "auto",
    callbacks: Sequence[Callback] = (),
    validation_split: float = 0.0,
    validation_data: tuple[NDArray, NDArray] | None = None,
    shuffle: bool = True,
    initial_epoch: int = 0,
    progress_file: TextIO | None = None,
    augment: Augment | None = None,
) -> History:
    """The loop behind `Sequential.fit`; see there for the arguments."""
    x, y = paired(x, y)
    check_count("batch_size", batch_size, 1)
    check_count("epochs", epochs, 0)
    check_count("initial_epoch", initial_epoch, 0)
    if not (augment is None or callable(augment)):
        raise InputError(f"augment: expected a function of (x, rng), found {augment!r}")
    if validation_data is not None:
        validation_data = paired(*validation_data)
    elif validation_split:
        if not 0 < validation_split < 1:
            raise InputError(
                f"validation_split: expected a fraction from 0 to below 1, found {validation_split}"
            )
        at = math.floor(len(x) * (1 - validation_split))  # the last part, as in Keras
        if not 0 < at < len(x):
            raise InputError(
                f"validation_split {validation_split} of {len(x)} examples leaves none on one side"
            )
        validation_data = x[at:], y[at:]
        x, y = x[:at], y[:at]

    if not model.built:
        model(x[:1])  # callbacks may want to see the parameters before the first batch
    run = Run(x, y, batch_size, callbacks, initial_epoch, Means(model.metrics))
    first = [callback for callback in callbacks if not callback.runs_last]
    last = [callback for callback in callbacks if callback.runs_last]
    rng = model.shuffle_rng if shuffle else None
    model.stop_training = False
    bar = Progress(len(x), batch_size, epochs, verbose, progress_file)
    with kernels.one_blas_thread(), bar as progress:
        everyone = (progress, *first, *last)
        for callback in everyone:
            callback.model, callback.run = model, run
        for callback in everyone:
            callback.on_train_begin({})
        while run.epoch < epochs and not model.stop_training:
            epoch = run.epoch
            if run.order is None:
                run.order = _order(len(x), rng)
            for callback in everyone:
                callback.on_epoch_begin(epoch, {})
            for batch in range(run.batch, run.batches):
                x_batch, y_batch = run.take(batch)
                if augment is not None:
                    x_batch = augment(x_batch, model.augment_rng)
                run.means.add(*model.train_on_batch(x_batch, y_batch), y_batch)
                run.batch = batch + 1
                logs = run.means.logs()
                for callback in everyone:
                    callback.on_batch_end(batch, logs)
                if model.stop_training:
                    break
            if run.batch < run.batches:
                break  # stopped in the middle of an epoch
            logs = run.means.logs()
            model.optimizer.use_average(model)  # until the next epoch's first batch
            if validation_data is not None:
                found = model.evaluate(
                    *validation_data, batch_size=batch_size, verbose=0, return_dict=True
                )
                logs |= {f"val_{key}": value for key, value in found.items()}
            for callback in (progress, *first):
                callback.on_epoch_end(epoch, logs)
            run.end_epoch(logs)
            for callback in last:
                callback.on_epoch_end(epoch, logs)
        model.optimizer.use_average(model)
        for callback in everyone:
            callback.on_train_end({})
    return run.history


class Progress(Callback):
    """A bar on a terminal, a line an epoch elsewhere; nothing with verbose 0.

    verbose: "auto" or 1 choose by the file, 2 asks for lines.
    """

    def __init__(
        self, images: int, batch_size: int, epochs: int, verbose: str | int, file: TextIO | None
    ) -> None:
        if verbose not in ("auto", 0, 1, 2):
            raise InputError(f'verbose: expected "auto", 0, 1 or 2, found {verbose!r}')
        self.images, self.batch_size, self.epochs = images, batch_size, epochs
        self.file = file or sys.stdout
        self.lines = verbose != 0
        self.bar: Any = None
        if verbose in ("auto", 1) and self.file.isatty():
            self.bar = _bar(self.file)

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.bar:
            self.bar.stop()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        self.started = time.perf_counter()
        self.before = self.run.batch * self.batch_size  # where an epoch goes on after a crash
        self.title = f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}"
        if self.bar:
            self.task = self.bar.add_task(self.title, total=self.images, figures="", speed="")

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if self.bar:
            done = min((batch + 1) * self.batch_size, self.images)
            seconds = time.perf_counter() - self.started
            speed = f"{(done - self.before) / seconds:,.0f} images/s"
            self.bar.update(self.task, completed=done, figures=figures(logs), speed=speed)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        seconds = time.perf_counter() - self.started
        line = f"{self.title}  {figures(logs)}  {seconds:.1f} s"
        if self.bar:
            self.bar.remove_task(self.task)
            self.bar.console.print(line, highlight=False)
        elif self.lines:
            print(line, file=self.file, flush=True)


def figures(logs: dict[str, float]) -> str:
    """{"loss": 0.1, "accuracy": 0.98} -> "loss 0.1000  accuracy 98.00 %"."""
    return "  ".join(
        f"{key} {100 * value:.2f} %" if key.endswith("accuracy") else f"{key} {value:.4f}"
        for key, value in logs.items()
    )


def _bar(file: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[figures]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=Console(file=file),
        expand=True,
        refresh_per_second=8,
    )


def paired(x: Any, y: Any) -> tuple[NDArray, NDArray]:
    """x and y as arrays of the same length, or an error that names both lengths."""
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise InputError(f"x and y: expected one label an example, found {x.shape} and {y.shape}")
    if len(x) == 0:
        raise InputError(f"x: expected at least one example, found {x.shape}")
    return x, y


def check_count(name: str, value: Any, least: int) -> None:
    """Raise unless value is a whole number, at least `least`."""
    if not is_whole(value, least):
        raise InputError(f"{name}: expected a whole number, at least {least}, found {value!r}")
