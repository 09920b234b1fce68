"""A run of training: its settings, its folder, what it remembers there, and what stops it."""

import json
import math
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from numpy.typing import NDArray

from . import architectures, callbacks, files, metrics, optimizers, recipes
from .backup import BackupAndRestore
from .callbacks import Callback
from .checkpoint import remove_leftovers, write_atomically
from .datasets.augmentation import PRESETS
from .errors import InputError, WriteError, check_number
from .model import Sequential
from .model_files import MODEL_FILE
from .optimizers import SGD, Optimizer
from .training import Augment, check_count

HISTORY_FILE = "history.json"
METRICS_FILE = "metrics.csv"
LOCK_FILE = ".lock"
#: the signals that ask the command to end. Windows has no SIGTERM from outside, but Ctrl-Break, and
#: a console that is closed
STOPPING: tuple[int, ...] = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)
#: epochs, or images a batch; more is a mistake
MOST_COUNT = 10**9
#: name: how to make it; the library's own, and SGD with momentum under a name of its own
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "momentum": partial(SGD, momentum=0.9),
    **{name: kind for name, kind in optimizers.OPTIMIZERS.items() if kind is not SGD},
}
#: settings that only the page's runs have; files of the command's don't name them
OF_THE_PAGE = ("optimizer", "images")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What decides a run's result; stored in its folder, and the same when it goes on.

    Checked wherever they come from, and named as the command's options. Two are the page's:

    optimizer   one of OPTIMIZERS at the constant rate `lr`, in place of the recipe's
    images      so many of those that are not held out are trained on; None for all
    """

    recipe: str = "standard"
    model: str
    epochs: int
    batch_size: int
    lr: float
    seed: int = 0
    data: str = "mnist"
    validation_split: float = 0.1
    augment: str
    patience: int | None = None
    checkpoint_every: str | None = None
    optimizer: str | None = None
    images: int | None = None

    @classmethod
    def chosen(cls, **given: Any) -> Self:
        """The settings given, and the recipe's in place of those that are None or left out."""
        chosen = given.get("recipe", cls.recipe)
        if chosen not in recipes.RECIPES:
            known = ", ".join(recipes.RECIPES)
            raise InputError(f"--recipe: expected one of {known}, found {chosen!r}")
        recipe = recipes.RECIPES[chosen]
        for name, value in (
            ("model", recipe.architecture),
            ("epochs", recipe.epochs),
            ("batch_size", recipe.batch_size),
            ("lr", recipe.lr),
            ("augment", recipe.augment),
        ):
            if given.get(name) is None:
                given[name] = value
        return cls(**given)

    def __post_init__(self) -> None:
        if self.model not in architectures.ARCHITECTURES:
            known = ", ".join(architectures.ARCHITECTURES)
            raise InputError(f"--model: expected one of {known}, found {self.model!r}")
        for option, count in (("--epochs", self.epochs), ("--batch-size", self.batch_size)):
            check_count(option, count, 1)
            check_number(option, count, most=MOST_COUNT)
        check_number("--lr", self.lr, above=0)
        check_count("--seed", self.seed, 0)
        if not isinstance(self.data, str):
            raise InputError(f"--data: expected a name or a folder, found {self.data!r}")
        check_number("--validation-split", self.validation_split, least=0, below=1)
        self.augmentation()
        if self.patience is not None:
            check_count("--patience", self.patience, 1)
            if not self.validation_split:
                raise InputError("--patience: expected a --validation-split with it, found 0")
        if self.optimizer is not None and self.optimizer not in OPTIMIZERS:
            known = ", ".join(OPTIMIZERS)
            raise InputError(f"optimizer: expected one of {known}, found {self.optimizer!r}")
        if self.images is not None:
            check_count("images", self.images, 1)
        self.backup("")

    def augmentation(self) -> Augment | None:
        """The function that changes the training images."""
        if self.augment not in ("none", *PRESETS):
            known = ", ".join(["none", *PRESETS])
            raise InputError(f"--augment: expected one of {known}, found {self.augment!r}")
        return self.changed_recipe().augmentation()

    def changed_recipe(self) -> recipes.Recipe:
        """The recipe with what these settings change."""
        recipe = recipes.RECIPES[self.recipe]
        own = self.augment == recipe.augment
        return replace(
            recipe,
            architecture=self.model,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            augment=self.augment,
            augment_changes=recipe.augment_changes if own else {},
        )

    def compile(self, model: Sequential, images: int) -> None:
        """Give the model its loss, and an optimizer for a training set of so many images."""
        if self.optimizer is None:
            self.changed_recipe().compile(model, images)
        else:
            optimizer = OPTIMIZERS[self.optimizer](self.lr)
            model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])

    def kept(self, images: int) -> tuple[int, int]:
        """Of so many images: how many are trained on, and where those held out begin."""
        start = math.floor(images * (1 - self.validation_split))
        return start if self.images is None else min(start, self.images), start

    def parts(
        self, x: NDArray, y: NDArray
    ) -> tuple[tuple[NDArray, NDArray], tuple[NDArray, NDArray] | None]:
        """The images and labels to train on, and those held out, if any are."""
        most, start = self.kept(len(x))
        return (x[:most], y[:most]), (x[start:], y[start:]) if start < len(x) else None

    def watched(
        self, folder: Path, record: dict[str, Any], stop: "Stop"
    ) -> tuple[list[Callback], list[Callback]]:
        """The callbacks of a run, in their order: those that train, and those that keep it.

        A state goes on only among the same ones.
        """
        first: list[Callback] = [callbacks.LearningRateLogger(), callbacks.StopOnNaN()]
        if self.patience is not None:
            first.append(callbacks.EarlyStopping(patience=self.patience, restore_best_weights=True))
        logger = callbacks.CSVLogger(folder / METRICS_FILE)
        return first, [logger, Recorder(folder, record), stop, self.backup(folder)]

    def stored(self) -> dict[str, Any]:
        """As they stand in the record."""
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in OF_THE_PAGE or value is not None
        }

    def backup(self, folder: str | os.PathLike) -> BackupAndRestore:
        """The callback that saves the run's state: every epoch, and as `checkpoint_every` says."""
        if self.checkpoint_every is None:
            return BackupAndRestore(folder)
        found = re.fullmatch(r"([1-9]\d{0,8})(s?)", str(self.checkpoint_every))
        if not found:
            raise InputError(
                "--checkpoint-every: expected a number of batches such as 100, or of seconds such "
                f"as 30s, found {self.checkpoint_every!r}"
            )
        number, unit = int(found[1]), found[2]
        return (
            BackupAndRestore(folder, seconds=number) if unit else BackupAndRestore(folder, number)
        )


def started_anew(folder: Path, settings: Settings, **further: Any) -> dict[str, Any]:
    """The record of a new run, in a folder (see `in_folder`) that has none in it.

    further   what else is to stand in it
    """
    for name in (MODEL_FILE, HISTORY_FILE):
        if os.path.exists(folder / name):
            raise InputError(
                f"{folder}: expected a folder for a new run, found {name} in it "
                f"(--resume {folder} goes on with a run that was stopped)"
            )
    record = {"settings": settings.stored(), "train_seconds": 0.0, "epoch": [], "history": {}}
    record |= further
    save_record(folder, record)
    return record


def found_again(folder: Path) -> tuple[Settings, dict[str, Any]]:
    """Settings and record of the run in a folder."""
    remove_leftovers(folder)
    path = folder / HISTORY_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        settings = Settings.chosen(**record["settings"])
        if not isinstance(record["history"], dict) or not isinstance(record["epoch"], list):
            raise TypeError("no history")
        for figure in ("accuracy", "loss") if "test" in record else ():
            check_number(f"test {figure}", record["test"][figure])
        record["train_seconds"] = check_number("train_seconds", record["train_seconds"], least=0)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, ValueError, LookupError, TypeError, RecursionError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: expected the record of a run, found none ({type(error).__name__}: {reason})"
        ) from None
    return settings, record


def save_record(folder: Path, record: dict[str, Any]) -> None:
    values = {**record, "history": metrics.finite_or_none(record["history"])}
    text = json.dumps(values, indent=1)
    write_atomically(folder / HISTORY_FILE, f"{text}\n".encode())


class Recorder(Callback):
    """Keeps a run's record, and the file in its folder, up to date."""

    runs_last = writes = True

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder, self.record = folder, record
        self.before = record["train_seconds"]  # of this run, before it was stopped
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        seconds = self.before + time.perf_counter() - self.started
        history = self.run.history
        self.record |= {"train_seconds": round(seconds, 3)}
        self.record |= {"epoch": history.epoch, "history": history.history}
        save_record(self.folder, self.record)

    def on_train_end(self, logs: dict[str, float]) -> None:
        self.on_epoch_end(self.run.epoch, logs)


@contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """The folder, made where there is none, belongs to this process alone, however it may end."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder to write to: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: expected a folder to write to, found one without permission")
    from filelock import FileLock, Timeout

    path = folder / LOCK_FILE
    lock = FileLock(path)
    try:
        # the system takes the lock back when the process is gone, not when the file is
        lock.acquire(timeout=0)
        mine = os.stat(path)
    except Timeout:  # held by another, or just deleted by one that has ended
        raise InputError(
            f"{folder}: expected a folder without a run at work, found one in it"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot write there: {error.strerror or error}") from None
    try:
        yield
    finally:
        with suppress(OSError):  # it may have gone, or have become another run's or a folder
            if os.path.samestat(os.stat(path), mine):
                os.unlink(path)
        lock.release()
        if os.name == "nt":  # there a file that is open cannot be deleted; here it may be another's
            with suppress(OSError):
                files.remove(path)


@contextmanager
def rescued(folder: Path, net: Sequential, record: dict[str, Any]) -> Iterator[None]:
    """Where the folder cannot be written to any more, the model is kept elsewhere, if it can be."""
    try:
        yield
    except (WriteError, OSError) as error:
        if isinstance(error, OSError):
            if error.filename is None:  # an output's, not a file's
                raise
            error = WriteError(f"{error.filename}: cannot write there: {error.strerror}")
        places = folder, folder.with_name(f"{folder.name}-rescued"), None
        for place in places:
            with suppress(OSError, InputError):
                kept = Path(tempfile.mkdtemp(prefix="scratchnet-")) if place is None else place
                kept.mkdir(parents=True, exist_ok=True)
                net.save(kept / MODEL_FILE)
                save_record(kept, record)
                said = f"the model so far and its history are kept in {kept}"
                break
        else:
            said = "the model could not be kept anywhere else"
        raise InputError(f"{error}; {said}") from None


class Stop(Callback):
    """Ends the training after the batch in which a signal came; `number` is the signal's."""

    number: int | None = None

    def on_train_begin(self, logs: dict[str, float]) -> None:
        self.model.stop_training |= self.number is not None

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.model.stop_training |= self.number is not None


@contextmanager
def stopped_by_signals() -> Iterator[Stop]:
    """Inside, the signals of STOPPING end the training, where the callback takes part in it."""
    stop = Stop()

    def note(number: int, frame: object) -> None:
        stop.number = number
        signal.signal(number, previous[number])  # the second one stops at once

    previous = {number: signal.getsignal(number) for number in STOPPING}
    try:
        for number in previous:
            signal.signal(number, note)
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
