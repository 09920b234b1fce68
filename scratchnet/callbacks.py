"""What can watch a training and act on it: give a list of these to `fit(callbacks=[...])`.

Their names and arguments are Keras's where Keras has them. Your own is a class with up to three
methods, see `Callback`.
"""

import csv
import inspect
import io
import json
import math
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .backup import BackupAndRestore
from .checkpoint import write_atomically
from .errors import InputError, check_number, is_whole
from .metrics import Metric, finite_or_none
from .run import Callback
from .schedules import Constant
from .training_state import check_arrays, check_real, check_whole

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "DivergedError",
    "EarlyStopping",
    "JSONLinesLogger",
    "LambdaCallback",
    "LearningRateLogger",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "StopOnNaN",
]


#: what LambdaCallback takes
_WHAT = ("train", "epoch", "batch", "train_batch")
LAMBDAS = [f"on_{what}_{when}" for what in _WHAT for when in ("begin", "end")]


class Best:
    """The best value of one figure so far.

    monitor    "loss", a metric's name, either with "val_" before it, or what another callback adds
               to logs
    mode       "min", "max", or "auto": metrics know which way is good, an accuracy shall grow,
               anything else shall fall. Of a function nobody knows, and "auto" is an error.
    min_delta  what is better by no more than this is not better
    """

    def __init__(self, monitor: str, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise InputError(f'mode: expected "auto", "min" or "max", found {mode!r}')
        self.monitor, self.mode = monitor, mode
        self.sign = 1 if mode == "max" or mode == "auto" and "acc" in monitor else -1
        self.min_delta = check_number("min_delta", min_delta, least=0)
        self.value: float | None = None

    def ask(self, metrics: Sequence[Metric]) -> None:
        """Where the mode is "auto": let the metric, if it is one, say which way is good."""
        for metric in metrics:
            if self.mode == "auto" and metric.name == self.monitor.removeprefix("val_"):
                if metric.higher_is_better is None:
                    raise InputError(
                        f'mode: expected "min" or "max", found "auto", and {metric.name} does not '
                        "say which way is good"
                    )
                self.sign = 1 if metric.higher_is_better else -1

    def beaten(self, logs: dict[str, float]) -> bool:
        """Whether the figure in logs is the best so far; then it becomes the one to beat."""
        if self.monitor not in logs:
            raise InputError(f"monitor: expected one of {', '.join(logs)}, found {self.monitor!r}")
        value = logs[self.monitor]
        first = self.value is None and not math.isnan(value)
        better = first or (
            self.value is not None and self.sign * (value - self.value) > self.min_delta
        )
        if better:
            self.value = value
        return better


def _check_best(value: Any) -> None:
    if value is not None:
        check_real("best", value)


class EarlyStopping(Callback):
    """Stop when a figure has not become better for `patience` epochs in a row; 0 means 1, too.

    monitor, min_delta, mode   see `Best`
    restore_best_weights       at the end, the weights are those of the best epoch, not the last
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        *,
        mode: str = "auto",
        restore_best_weights: bool = False,
    ) -> None:
        if not is_whole(patience, 0):
            raise InputError(f"patience: expected a number of epochs, found {patience!r}")
        self.arguments = monitor, mode, min_delta
        self.patience = int(patience)
        self.restore_best_weights = restore_best_weights
        self.best = Best(*self.arguments)

    def on_train_begin(self, logs: dict[str, float]) -> None:
        self.best = Best(*self.arguments)
        self.best.ask(self.run.means.metrics)
        self.wait = 0  # epochs since the best one
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self.weights: dict[str, NDArray] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.best.beaten(logs):
            self.wait, self.best_epoch = 0, epoch
            if self.restore_best_weights:
                self.weights = {key: array.copy() for key, array in self.model.arrays().items()}
            return
        self.wait += 1
        if self.wait >= max(self.patience, 1):
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float]) -> None:
        for key, array in self.model.arrays().items():
            if key in self.weights:
                array[...] = self.weights[key]

    def state(self) -> dict[str, Any]:
        return {
            "best": self.best.value,
            "wait": self.wait,
            "best_epoch": self.best_epoch,
            "stopped_epoch": self.stopped_epoch,
            **self.weights,
        }

    def check_state(self, state: dict[str, Any]) -> None:
        rest = dict(state)
        _check_best(rest.pop("best", ""))
        check_whole("wait", rest.pop("wait", None))
        for key in ("best_epoch", "stopped_epoch"):
            if (value := rest.pop(key, "")) is not None:
                check_whole(key, value)
        if rest:
            check_arrays("best weights", rest, self.model.arrays())

    def load_state(self, state: dict[str, Any]) -> None:
        rest = dict(state)
        self.best.value = rest.pop("best")
        self.wait = rest.pop("wait")
        self.best_epoch = rest.pop("best_epoch")
        self.stopped_epoch = rest.pop("stopped_epoch")
        self.weights = rest
        if self.stopped_epoch is not None:
            self.model.stop_training = True


class ModelCheckpoint(Callback):
    """Save the model after every epoch, or after those that are the best so far.

    filepath         may name figures: "{epoch:02d}-{val_loss:.2f}.safetensors", epoch from 1
    monitor, mode    see `Best`; used with save_best_only
    """

    writes = True

    def __init__(
        self,
        filepath: str | PathLike,
        monitor: str = "val_loss",
        *,
        save_best_only: bool = False,
        mode: str = "auto",
    ) -> None:
        self.filepath = str(filepath)
        self.best = Best(monitor, mode)
        self.save_best_only = save_best_only

    def on_train_begin(self, logs: dict[str, float]) -> None:
        if self.save_best_only:
            self.best.ask(self.run.means.metrics)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if self.save_best_only and not self.best.beaten(logs):
            return
        try:
            path = self.filepath.format(epoch=epoch + 1, **logs)
        except (LookupError, ValueError) as error:
            names = ", ".join(["epoch", *logs])
            raise InputError(
                f"filepath {self.filepath}: expected names of {names} in it, found {error}"
            ) from None
        self.model.save(path)

    def state(self) -> dict[str, Any]:
        return {"best": self.best.value}

    def check_state(self, state: dict[str, Any]) -> None:
        _check_best(state.get("best", ""))

    def load_state(self, state: dict[str, Any]) -> None:
        self.best.value = state["best"]


class LearningRateLogger(Callback):
    """Add `learning_rate` to logs and History: the rate of the epoch's last step."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        optimizer = self.model.optimizer
        logs["learning_rate"] = float(optimizer.learning_rate(optimizer.iterations - 1))


class _Rate(Callback):
    """What sets the optimizer's learning rate, which has to be a plain number for that."""

    verbose: int
    #: of this training, what it was set to last; None before that
    rate: float | None = None

    def on_train_begin(self, logs: dict[str, float]) -> None:
        self.rate = None
        self._rate()

    def _rate(self) -> float:
        found = self.model.optimizer.learning_rate
        schedule = getattr(found, "schedule", found)
        if not isinstance(schedule, Constant):
            raise InputError(
                f"{type(self).__name__}: expected an optimizer with a constant learning rate, "
                f"found {schedule!r}, which changes by itself"
            )
        return float(schedule(0))

    def _set(self, rate: Any, epoch: int) -> None:
        before, rate = self._rate(), check_number("learning_rate", rate, least=0)
        self.model.optimizer.learning_rate = Constant(rate)
        self.rate = rate
        if self.verbose and rate != before:
            print(f"epoch {epoch + 1}: learning rate {rate:.6g}, before {before:.6g}")

    def _check_rate(self, value: Any) -> None:
        if value is not None:
            check_number("learning_rate", value, least=0)

    def _restore(self, rate: float | None) -> None:
        self.rate = rate
        if rate is not None:
            self.model.optimizer.learning_rate = Constant(rate)


class LearningRateScheduler(_Rate):
    """Set the learning rate at the beginning of every epoch.

    schedule   (epoch, rate) -> rate, or epoch -> rate; epoch counts from 0, `rate` is the present
    verbose    1: print a line where it changes

    The rate is `learning_rate` in logs and History. (Schedules by steps: see schedules.py.)
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):
            raise InputError(f"schedule: expected a function, found {schedule!r}")
        self.schedule, self.verbose = schedule, verbose
        self.resumed: int | None = None

    def on_train_begin(self, logs: dict[str, float]) -> None:
        super().on_train_begin(logs)
        self.epoch, self.resumed = -1, None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        if epoch != self.resumed:  # or it was set before the crash
            rate = self._rate()
            self._set(self.schedule(*(epoch, rate)[: self._takes()]), epoch)
        self.epoch = epoch

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs["learning_rate"] = self._rate()

    def _takes(self) -> int:
        """How many of (epoch, rate) the function takes."""
        try:
            inspect.signature(self.schedule).bind(0, 0.0)
        except TypeError:
            return 1
        except ValueError:  # written in C: it does not say
            return 2
        return 2

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "rate": self.rate}

    def check_state(self, state: dict[str, Any]) -> None:
        check_whole("epoch", state.get("epoch"), least=-1)
        self._check_rate(state.get("rate", ""))

    def load_state(self, state: dict[str, Any]) -> None:
        self.epoch = self.resumed = state["epoch"]
        self._restore(state["rate"])


class ReduceLROnPlateau(_Rate):
    """Multiply the learning rate where a figure has not become better for `patience` epochs.

    monitor, mode, min_delta   see `Best`
    factor     below 1: rate <- max(rate * factor, min_lr)
    cooldown   as many epochs after that, nothing is counted
    verbose    1: print a line where it changes

    The rate is `learning_rate` in logs and History.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        for name, value in (("patience", patience), ("cooldown", cooldown)):
            if not is_whole(value, 0):
                raise InputError(f"{name}: expected a number of epochs, found {value!r}")
        self.factor = check_number("factor", factor, above=0, below=1)
        self.min_lr = check_number("min_lr", min_lr, least=0)
        self.patience, self.cooldown = int(patience), int(cooldown)
        self.verbose = verbose
        self.arguments = monitor, mode, min_delta
        self.best = Best(*self.arguments)

    def on_train_begin(self, logs: dict[str, float]) -> None:
        super().on_train_begin(logs)
        self.best = Best(*self.arguments)
        self.best.ask(self.run.means.metrics)
        self.wait = self.cooling = 0

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        better, rate = self.best.beaten(logs), self._rate()
        logs["learning_rate"] = rate
        if self.cooling:
            self.cooling, self.wait = self.cooling - 1, 0
        if better:
            self.wait = 0
        elif not self.cooling:
            self.wait += 1
            if self.wait >= self.patience and rate > self.min_lr:
                self._set(max(rate * self.factor, self.min_lr), epoch)
                self.cooling, self.wait = self.cooldown, 0

    def state(self) -> dict[str, Any]:
        counts = {"wait": self.wait, "cooling": self.cooling}
        return {"best": self.best.value, "rate": self.rate, **counts}

    def check_state(self, state: dict[str, Any]) -> None:
        _check_best(state.get("best", ""))
        self._check_rate(state.get("rate", ""))
        for key in ("wait", "cooling"):
            check_whole(key, state.get(key))

    def load_state(self, state: dict[str, Any]) -> None:
        self.best.value, self.wait, self.cooling = state["best"], state["wait"], state["cooling"]
        self._restore(state["rate"])


class LambdaCallback(Callback):
    """Functions that are called when something happens in fit.

    on_train_begin, on_train_end      (logs)
    on_epoch_begin, on_epoch_end      (epoch, logs), epoch from 0
    on_train_batch_begin, on_train_batch_end    (batch, logs), batch from 0; or without "train_"

    See `Callback` for what logs holds.
    """

    def __init__(self, **functions: Callable[..., Any] | None) -> None:
        for name, function in functions.items():
            if name not in LAMBDAS:
                raise TypeError(f"LambdaCallback() got an unexpected keyword argument {name!r}")
            if not (function is None or callable(function)):
                raise InputError(f"{name}: expected a function, found {function!r}")
            if function is not None:
                setattr(self, name, function)


class _Logger(Callback):
    """Keeps a file equal to History.

    It is written anew after every epoch, whole or not at all: so it has no epoch twice, and none is
    missing, where a training was killed and went on.
    """

    runs_last = writes = True

    def __init__(self, filename: str | PathLike) -> None:
        self.path = Path(filename)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        write_atomically(self.path, self.text(self.run.history.rows()).encode())

    def on_train_end(self, logs: dict[str, float]) -> None:
        if rows := self.run.history.rows():
            write_atomically(self.path, self.text(rows).encode())

    def text(self, rows: list[dict[str, float]]) -> str:
        raise NotImplementedError(f"{type(self).__name__} has no text")


class CSVLogger(_Logger):
    """Write History to a CSV file: names first, then a line an epoch, numbered from 0."""

    def __init__(self, filename: str | PathLike, separator: str = ",") -> None:
        super().__init__(filename)
        self.separator = separator

    def text(self, rows: list[dict[str, float]]) -> str:
        file = io.StringIO()
        writer = csv.DictWriter(file, rows[0], delimiter=self.separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return file.getvalue()


class JSONLinesLogger(_Logger):
    """Write History to a file: one JSON object a line, one line an epoch, numbered from 0.

    JSON has no NaN and no infinities: null stands for them.
    """

    def text(self, rows: list[dict[str, float]]) -> str:
        return "".join(f"{json.dumps(row)}\n" for row in finite_or_none(rows))


class DivergedError(InputError):
    """The training left the finite numbers. The model has the weights of the last good step."""


class StopOnNaN(Callback):
    """End the training with `DivergedError` as soon as a loss, gradient or parameter is not finite.

    The message names the step, and the layer where it began: in backward order the first one with
    such a gradient, or in forward order the first with such a parameter. Parameters, buffers and
    what the optimizer remembers are put back to what they were before the step, so that the
    training can go on with better data or a smaller learning rate. It costs a copy of them a step,
    and two passes over memory (a sum of squares is finite only if all its terms are).
    """

    def on_train_begin(self, logs: dict[str, float]) -> None:
        self.watched = [self.model.flat_params, self.model.flat_buffers]
        self.good = [array.copy() for array in self.watched]
        self.good_state: dict[str, Any] = {}
        self._keep_state()

    def _keep_state(self) -> None:
        """Copy what the optimizer remembers, into the arrays of the last copy where they fit."""
        state = self.model.optimizer.state()
        self.good_state = {
            key: _copied(value, self.good_state.get(key)) for key, value in state.items()
        }

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        params, grads = self.model.flat_params, self.model.flat_grads
        if _finite(params) and _finite(grads) and math.isfinite(logs["loss"]):
            for kept, array in zip(self.good, self.watched, strict=True):
                np.copyto(kept, array)
            self._keep_state()
            return
        what, step = self._where(), self.model.optimizer.iterations
        whose = self.run.whose()
        self.model.optimizer.load_state(self.good_state)
        for kept, array in zip(self.good, self.watched, strict=True):
            np.copyto(array, kept)
        raise DivergedError(
            f"the training diverged in step {step} "
            f"(epoch {self.run.epoch + 1}, batch {batch + 1}): {what} no longer finite{whose}; "
            "the model keeps the weights of the step before"
        )

    def _where(self) -> str:
        layers = self.model.layers
        for kind, stores in (
            ("gradient", [(layer, layer.grads) for layer in reversed(layers)]),
            ("parameter", [(layer, layer.params) for layer in layers]),
        ):
            for layer, arrays in stores:
                for key, array in arrays.items():
                    if not np.isfinite(array).all():
                        return f"the {kind} {key} of layer {layer.name} is"
        return "the loss is"


def _copied(value: Any, into: Any) -> Any:
    """A copy of an array, in the memory of an earlier copy if it is of that form."""
    if not isinstance(value, np.ndarray):
        return value
    if not isinstance(into, np.ndarray) or into.shape != value.shape or into.dtype != value.dtype:
        return value.copy()
    np.copyto(into, value)
    return into


def _finite(a: NDArray) -> bool:
    """Whether all numbers are. The sum of squares may overflow, so it only says yes for sure."""
    with np.errstate(all="ignore"):
        return math.isfinite(float(a @ a)) or bool(np.isfinite(a).all())
