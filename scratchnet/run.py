"""One training: what it remembers (History), where it stands (Run), what watches it (Callback)."""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import metrics

#: examples
MOST_LOOKED_AT = 64
#: bytes of a memory-mapped array that are read to tell it from others; of more, so many rows
MOST_READ, SAMPLED = 2**30, 1000


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
        series = {"epoch": self.epoch, **self.history}
        return [dict(zip(series, row, strict=True)) for row in zip(*series.values(), strict=True)]

    def plot(self) -> Any:
        """The curves of loss and accuracy, as a matplotlib Figure."""
        from . import plots

        return plots.training_curves(self.history, [epoch + 1 for epoch in self.epoch])

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

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        """epoch counts from 0; logs is empty."""

    def on_batch_begin(self, batch: int, logs: dict[str, float]) -> None:
        """Before a batch is taken; batch counts from 0, logs is empty."""
        self.on_train_batch_begin(batch, logs)

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """batch counts from 0; logs holds the means over the epoch so far."""
        self.on_train_batch_end(batch, logs)

    # Keras's newer names of the two

    def on_train_batch_begin(self, batch: int, logs: dict[str, float]) -> None: ...

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None: ...

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """logs holds the epoch's means and, with validation, val_loss and val_accuracy.

        What is added to logs goes to the callbacks after this one and into History.
        """

    def on_train_begin(self, logs: dict[str, float]) -> None:
        """Before the first epoch; logs is empty."""

    def on_train_end(self, logs: dict[str, float]) -> None:
        """After the last epoch, or when the training was stopped; logs is empty."""

    def state(self) -> dict[str, Any]:
        """What has to be remembered to go on after a crash: numbers and arrays by name."""
        return {}

    def check_state(self, state: dict[str, Any]) -> None:
        """Raise InputError unless `load_state` can take that state; changes nothing."""

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


def checksum(a: NDArray) -> int:
    """CRC-32 of an array's bytes; of a large one in a file, of rows spread over all of it."""
    if isinstance(a, np.memmap) and a.nbytes > MOST_READ and len(a) > SAMPLED:
        a = a[np.linspace(0, len(a) - 1, SAMPLED).astype(np.int64)]
    return zlib.crc32(np.ascontiguousarray(a).data)


def order_of(images: int, rng: np.random.Generator | None) -> NDArray[np.int64]:
    """In which order an epoch takes the examples: drawn from rng, or as they stand without one."""
    return np.arange(images) if rng is None else rng.permutation(images)


@dataclass
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
    steps       batches in an epoch, where that is not all there are
    started     the epoch with which this call began to count
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
    steps: int | None = None
    started: int = 0
    _memory: dict[str, NDArray] = field(default_factory=dict, repr=False)

    @property
    def batches(self) -> int:
        """In one epoch."""
        return self.steps or -(-len(self.x) // self.batch_size)

    @property
    def images(self) -> int | None:
        """How many examples an epoch has; None where that is not known."""
        return min(len(self.x), self.batches * self.batch_size)

    @property
    def items(self) -> int:
        """Of how many things `order` is the order."""
        return len(self.x)

    def some(self) -> NDArray:
        """The first examples, whatever the order."""
        return self.x[:MOST_LOOKED_AT]

    def identity(self) -> dict[str, Any]:
        """What tells this data from other data, for a backup."""
        found = {"examples": len(self.x)}
        if self.steps:
            found["source"] = self.steps
        return found | {f"checksum of {name}": checksum(getattr(self, name)) for name in "xy"}

    def take(self, batch: int) -> tuple[NDArray, NDArray]:
        """The examples of that batch of the epoch; valid until the next one is taken."""
        assert self.order is not None  # the epoch has begun
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

    def begin_epoch(self, rng: np.random.Generator | None) -> None:
        """Choose the order of the examples, unless the epoch had begun before a crash."""
        if self.order is None:
            self.order = order_of(len(self.x), rng)

    def end_epoch(self, logs: dict[str, float]) -> None:
        """Into History, and on to the next one."""
        self.history.append(self.epoch, logs)
        self.epoch, self.batch, self.order = self.epoch + 1, 0, None
        self.means = Means(self.means.names)
