"""One training: what it remembers (History), where it stands (Run), what watches it (Callback)."""

import inspect
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import metrics, showing
from .errors import InputError

#: examples
MOST_LOOKED_AT = 64
#: bytes of a memory-mapped array that are read to tell it from others; of more, so many rows
MOST_READ, SAMPLED = 2**30, 1000
#: rows of the table that a notebook shows
MOST_EPOCHS = 20
#: x, y, and the arguments of `train_on_batch` that say how much each example counts
Taken = tuple[NDArray, NDArray, dict[str, Any]]


class History:
    """What `fit` returns: `history["loss"][i]` belongs to epoch number `epoch[i]` (from 0).

    Keys as in Keras: loss, the metrics' names, and both with val_ before them where there is
    validation. An epoch that was broken off is not in it.
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
        series = {"epoch": self.epoch, **self.history}
        return [dict(zip(series, row, strict=True)) for row in zip(*series.values(), strict=True)]

    def plot(self) -> Any:
        """The curves of loss and accuracy, as a matplotlib Figure."""
        from . import plots

        return plots.training_curves(self.history, [epoch + 1 for epoch in self.epoch])

    def _repr_html_(self) -> str:
        keys = list(self.history)
        rows = [
            (f"{epoch + 1}", *(showing.figure(key, self.history[key][i]) for key in keys))
            for i, epoch in enumerate(self.epoch)
        ]
        if len(rows) > MOST_EPOCHS:
            rows = [*rows[: MOST_EPOCHS // 2], ("...",), *rows[-MOST_EPOCHS // 2 :]]
        return showing.table(("epoch", *keys), rows, left=0)

    def __repr__(self) -> str:
        last = ", ".join(f"{key} {values[-1]:.4f}" for key, values in self.history.items())
        return f"History({len(self.epoch)} epochs; last: {last})" if last else "History(0 epochs)"


class Callback:
    """Called when something happens in fit. Mostly one of the first three methods is enough.

    self.model   the model; `self.model.stop_training = True` ends the training after the batch
    self.run     the Run: data, order, history so far
    """

    model: Any = None
    run: Any = None
    #: called after the others at the end of an epoch, when History has the epoch already
    runs_last = False
    #: writes files and changes nothing else: of processes that share a training, one calls it
    writes = False
    #: looks on, and remembers nothing: a backup leaves it out, so that a training goes on without
    looks_on = False

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        """epoch counts from 0; logs is empty."""

    def on_batch_begin(self, batch: int, logs: dict[str, float]) -> None:
        """Before a batch is taken; batch counts from 0, logs is empty."""
        self.on_train_batch_begin(batch, logs)

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """batch counts from 0; logs holds the figures over the epoch so far."""
        self.on_train_batch_end(batch, logs)

    # Keras's newer names of the two

    def on_train_batch_begin(self, batch: int, logs: dict[str, float]) -> None: ...

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None: ...

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """logs holds the epoch's figures and, with validation, val_loss, val_accuracy, ....

        What is added to logs goes to the callbacks after this one and into History.
        """

    def on_train_begin(self, logs: dict[str, float]) -> None:
        """Before the first epoch; logs is empty."""

    def on_train_end(self, logs: dict[str, float]) -> None:
        """After the last epoch, or when the training was stopped; logs is empty."""

    def state(self) -> dict[str, Any]:
        """What has to be remembered to go on after a crash: numbers and arrays by name."""
        return {}

    def __repr__(self) -> str:
        """With those of the constructor's arguments that it keeps by their names."""
        names = inspect.signature(type(self)).parameters
        kept = {name: vars(self)[name] for name in names if name in vars(self)}
        plain = {k: v for k, v in kept.items() if isinstance(v, (str, int, float, type(None)))}
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in plain.items())})"

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise InputError unless `load_state` can take that state; changes nothing."""

    def load_state(self, state: dict[str, Any]) -> None:
        """Remember what `state` returned; comes after `on_train_begin`."""


class Means:
    """The loss's running mean over the images seen, as Keras reports it, and the metrics.

    names    metrics as `compile` takes them
    binary   the model has one output that is a yes or a no: what "accuracy" means, see metrics
    read     (y_pred, what) -> what a metric reads of the outputs, see metrics.READS; the outputs as
             they are without it
    """

    def __init__(
        self,
        names: Sequence[metrics.Chosen],
        binary: bool = False,
        read: Callable[[NDArray, str], NDArray] | None = None,
    ) -> None:
        self.names, self.binary, self.read = names, binary, read
        self.images = 0
        self.loss = 0.0
        self.metrics = metrics.fresh(names, binary)

    def again(self) -> "Means":
        """The same, with nothing seen."""
        return Means(self.names, self.binary, self.read)

    def add(self, loss: float, y_pred: NDArray, y_true: NDArray) -> None:
        self.images += len(y_pred)
        self.loss += loss * len(y_pred)
        for metric in self.metrics:
            found = y_pred
            if self.read is not None and metric.reads != "ranks":
                found = self.read(y_pred, metric.reads)
            metric.update_state(y_true, found)

    def logs(self) -> dict[str, float]:
        logs = {"loss": self.loss / max(self.images, 1)}
        return logs | {metric.name: float(metric.result()) for metric in self.metrics}

    # ---- to go on after a crash ----------------------------------------------------------------

    @property
    def _accuracy(self) -> metrics.Metric | None:
        """The one metric that files of every version know, in a place of its own."""
        kinds = metrics.Accuracy, metrics.BinaryAccuracy
        found = [one for one in self.metrics if one.name == "accuracy" and type(one) in kinds]
        return found[0] if found else None

    @property
    def correct(self) -> int:
        """Of the images seen, by the accuracy; 0 where that is no metric."""
        return int(self._accuracy.counts.get("total", 0)) if self._accuracy else 0

    def state(self) -> dict[str, Any]:
        """All that was counted, in values that JSON knows."""
        others = {one.name: one.state() for one in self.metrics if one is not self._accuracy}
        counted = {"images": self.images, "loss": self.loss, "correct": self.correct}
        return {**counted, "metrics": others} if others else counted

    def load_state(self, state: dict[str, Any]) -> None:
        """Take over what `state` returned; raises InputError where a metric can't."""
        found = state.get("metrics", {})
        others = [one for one in self.metrics if one is not self._accuracy]
        if not isinstance(found, dict) or found.keys() != {one.name for one in others}:
            names = ", ".join(one.name for one in others) or "none"
            raise InputError(f"means: expected the metrics {names}, found others")
        for one in others:
            one.load_state(found[one.name])
        if self._accuracy:
            self._accuracy.counts = {"total": state["correct"], "count": state["images"]}
        self.images, self.loss = state["images"], state["loss"]


def sampled(a: NDArray) -> NDArray:
    """The array; of a large one in a file, rows spread over all of it."""
    if a.nbytes > MOST_READ and len(a) > SAMPLED and _in_a_file(a):
        return a[np.linspace(0, len(a) - 1, SAMPLED).astype(np.int64)]
    return a


def _in_a_file(a: Any) -> bool:
    while a is not None and not isinstance(a, np.memmap):
        a = getattr(a, "base", None)  # np.asarray makes a plain view
    return a is not None


def checksum(a: NDArray | None) -> int | None:
    """CRC-32 of the bytes of what `sampled` gives."""
    return None if a is None else zlib.crc32(np.ascontiguousarray(sampled(a)).data)


def order_of(images: int, rng: np.random.Generator | None) -> NDArray[np.int64]:
    """In which order an epoch takes the examples: drawn from rng, or as they stand without one."""
    return np.arange(images) if rng is None else rng.permutation(images)


@dataclass(repr=False)
class Run:
    """One call of fit and where it stands. Together with the model it is enough to go on later.

    x, y        what is trained on, without the part held out
    callbacks   that were given to fit
    epoch       the one that runs, or comes next
    means       over its batches so far
    epochs      how many there are, those before the first one here included
    batch       how many batches of the epoch are done
    order       of its examples; None where it has not begun
    history     of the epochs before it
    augment     what changes the examples, or None
    weights     (n,), how much each example counts, or None
    warned      of numbers that are no longer finite, or far too large
    first_loss  of the first batch that was trained on, since when this call began
    steps       batches in an epoch, where that is not all there are
    started     the epoch with which this call began to count
    shared      how other processes take part (distributed.Shared); None where none do
    """

    x: NDArray
    y: NDArray
    batch_size: int
    callbacks: Sequence[Callback]
    epoch: int
    means: Means
    epochs: int = 1
    batch: int = 0
    order: NDArray[np.int64] | None = None
    history: History = field(default_factory=History)
    augment: Any = None
    weights: NDArray | None = None
    warned: bool = False
    first_loss: float | None = None
    steps: int | None = None
    started: int = 0
    shared: Any = None
    _memory: dict[str, NDArray] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        done = f"epoch {self.epoch} of {self.epochs}, batch {self.batch} of {self.batches}"
        of = getattr(self.x, "shape", type(self.x).__name__)  # a source of batches has none
        return f"{type(self).__name__}({of}, {done})"

    @property
    def rank(self) -> int:
        """Which of the processes that share the training this is; 0 alone."""
        return 0 if self.shared is None else int(self.shared.world.rank)

    @property
    def remembered(self) -> list[Callback]:
        """The callbacks that belong to the training, and that a backup keeps the state of."""
        return [callback for callback in self.callbacks if not callback.looks_on]

    def whose(self) -> str:
        """In which of the processes numbers are no longer finite, as part of a sentence; "" alone.

        All of them ask together.
        """
        return "" if self.shared is None else str(self.shared.world.whose())

    def rows(self, n: int) -> slice:
        """Which images of a batch of n this process reads."""
        return slice(n) if self.shared is None else self.shared.rows(n, self.augment)

    @property
    def batches(self) -> int | None:
        """In one epoch; None where that is not known."""
        return self.steps or -(-len(self.x) // self.batch_size)

    @property
    def images(self) -> int | None:
        """How many examples an epoch has; None where that is not known."""
        return min(len(self.x), (self.steps or len(self.x)) * self.batch_size)

    @property
    def items(self) -> int:
        """Of how many things `order` is the order."""
        return len(self.x)

    def some(self) -> NDArray:
        """The first examples, whatever the order."""
        return self.x[:MOST_LOOKED_AT]

    def identity(self) -> dict[str, Any]:
        """What tells this data from other data, for a backup."""
        found = {"examples": len(self.x), "source": self.steps}
        data = {"x": self.x, "y": self.y, "weights": self.weights}
        return found | {f"checksum of {name}": checksum(array) for name, array in data.items()}

    def seen(self) -> dict[str, NDArray]:
        """x and y, as far as they can be looked through."""
        return {"x": sampled(self.x), "y": sampled(self.y)}

    def take(self, batch: int) -> Taken | None:
        """The examples of that batch of the epoch, valid until the next one is taken.

        Of x those that `rows` says. None where the epoch turns out to be over.
        """
        assert self.order is not None  # the epoch has begun
        chosen = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        weights = {} if self.weights is None else {"sample_weight": self.weights[chosen]}
        x = self._taken("x", chosen[self.rows(len(chosen))])
        return x, self._taken("y", chosen), weights

    def _taken(self, name: str, chosen: NDArray[np.int64]) -> NDArray:
        source = getattr(self, name)
        if not source.flags.c_contiguous:
            return source[chosen]  # take() would copy all of it
        if name not in self._memory:
            size = min(self.batch_size, len(source))
            self._memory[name] = np.empty((size, *source.shape[1:]), source.dtype)
        # "clip" goes straight into `out`, the default by way of a copy; no index is out of bounds
        return source.take(chosen, axis=0, out=self._memory[name][: len(chosen)], mode="clip")

    def begin_epoch(self, rng: np.random.Generator | None) -> None:
        """Choose the order of the examples, unless the epoch had begun before a crash."""
        if self.order is None:
            self.order = order_of(len(self.x), rng)

    def end_epoch(self, logs: dict[str, float]) -> None:
        """Into History, and on to the next one."""
        self.history.append(self.epoch, logs)
        self.epoch, self.batch, self.order = self.epoch + 1, 0, None
        self.means = self.means.again()
