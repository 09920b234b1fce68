"""Trainings in the background: started, watched, paused and stopped from elsewhere.

A training is a thread in `model.fit`, with a Callback that after every step gives the kernels to
those who wait (see turns.py), pauses or stops if it was asked to, and sends the listeners its
progress (see events.py).
"""

import asyncio
import json
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import architectures, kernels, metrics, recipes, run_folder
from ..errors import InputError
from ..layers import kind_of
from ..microscope.inputs import copied, one_example
from ..model import Sequential
from ..run_folder import OPTIMIZERS
from ..training import Callback, batches
from . import saved_runs
from .choices import about_recipe, recipe_settings, usual_rate
from .events import Listener, as_text
from .fields import Array, Pixels, RunStatus
from .keeping import as_the_command_s, kept_in
from .limits import RefusedError
from .problems import ConflictError, MissingError
from .saved_runs import Record, about
from .schemas import ArchitectureInfo, Choices, RecipeInfo, RunSettings, RunState
from .turns import Turns

#: seconds between two messages of a kind
PROGRESS_EVERY, FILTERS_EVERY = 0.1, 1.0
#: silence after which a comment is sent, and a look taken whether the server ends
HEARTBEAT = 0.5
KEPT = 8
MAX_LISTENERS = 16

ENDED = ("done", "stopped", "failed")
#: returns ((x, y), (x_test, y_test)), as datasets.mnist.load_data does
Data = Callable[[], Any]
log = logging.getLogger("scratchnet")


class Training(Callback):
    """One training: settings, where it stands, who listens.

    model    trained in place; used here alone until the training has ended
    record   what is remembered of it, and kept in its folder
    saved    that folder; None where there is none
    folder   where it is to be kept, if it is
    note     what is amiss, though the training is not: it could not be saved
    """

    looks_on = True  # for a backup: whether anybody watches is no part of the training

    def __init__(self, settings: RunSettings, turns: Turns, runs: Path | None = None) -> None:
        self.id = f"run-{secrets.token_hex(4)}"
        self.settings: RunSettings | None = settings
        self.record = Record(self.id, settings.title or self.id, settings, about(settings))
        self.folder = None if runs is None else runs / self.id
        self.saved: Path | None = None
        self.note: str | None = None
        self.watched: Pixels | None = None
        self._start_training(turns)

    @classmethod
    def ended(cls, record: Record, model: Sequential, folder: Path, turns: Turns) -> "Training":
        """A training of another time, found in its folder."""
        found = cls.__new__(cls)
        found.id, found.settings, found.record = record.name, record.settings, record
        found.folder = found.saved = folder
        found.note = found.watched = None
        found._start_training(turns)
        found.model = model
        found.status = "stopped" if record.state == "stopped" else "done"
        found.history = record.history
        found.epoch = max(map(len, record.history.values()), default=0)
        return found

    def _start_training(self, turns: Turns) -> None:
        """Nothing has happened yet."""
        self.turns = turns
        self.status: RunStatus = "running"
        self.error: str | None = None
        self.epoch = self.batch = self.batches = 0
        self.history: dict[str, list[float | None]] = {}
        self.listeners: set[Listener] = set()
        self._go = threading.Event()  # cleared while paused
        self._go.set()
        self._stopping = False
        self._guard = threading.Lock()  # around the status
        self._last = dict.fromkeys(("progress", "filters"), -math.inf)
        self._thread: threading.Thread | None = None

    # ---- from outside ------------------------------------------------------------------------

    def start(self, data: Data, done: Callable[["Training"], None]) -> None:
        """Train on what `data()` returns; `done(self)` is called when a model has come of it."""
        self._thread = threading.Thread(
            target=self._train, args=(data, done), name=self.id, daemon=True
        )
        self._thread.start()

    def pause(self) -> None:
        self._become("paused")
        self._go.clear()

    def resume(self) -> None:
        self._become("running")
        self._go.set()

    def watch(self, pixels: Pixels) -> None:
        """Send the maps of this digit, too, from now on."""
        if self.has_ended:
            raise ConflictError(f"{self.id}: expected a run that goes on, found it {self.status}")
        self.watched = pixels
        self._last["filters"] = -math.inf

    def stop(self, wait: float | None = None) -> None:
        """End after the batch that runs. wait: seconds to wait for that."""
        self._stopping = True
        self._go.set()
        if wait is not None and self._thread is not None:
            self._thread.join(wait)

    async def stopped(self, seconds: float) -> None:
        """The same from the event loop: no thread is kept waiting."""
        self.stop()
        end = time.monotonic() + seconds
        while not self.has_ended and time.monotonic() < end:
            await asyncio.sleep(0.01)

    @property
    def has_ended(self) -> bool:
        return self.status in ENDED

    def describe(self) -> RunState:
        return RunState(
            id=self.id,
            title=self.record.title,
            about=self.record.about,
            state=self.status,
            settings=self.settings,
            saved=None if self.saved is None else str(self.saved),
            note=self.note,
            epoch=self.epoch,
            batch=self.batch,
            batches=self.batches,
            history={key: list(values) for key, values in self.history.items()},
            model=self.id if self.status in ("done", "stopped") else None,
            error=self.error,
        )

    async def events(self, closing: Callable[[], bool]) -> AsyncIterator[str]:
        """Server-sent events, from the state now until the training or the server ends."""
        listener = Listener()
        self.listeners.add(listener)
        try:
            now = self.describe()
            yield as_text("state", now.model_dump_json())
            ended = now.state in ENDED
            while not (ended or closing()):
                messages = await listener.wait(HEARTBEAT)
                ended = self.has_ended
                if ended:
                    await asyncio.sleep(0)  # what was sent before the end comes before it
                    messages = [m for m in messages + listener.take() if m[0] != "state"]
                    messages.append(("state", self.describe().model_dump_json()))
                yield "".join(as_text(*message) for message in messages) or ": still here\n\n"
        finally:
            self.listeners.discard(listener)

    # ---- the thread --------------------------------------------------------------------------

    def _train(self, data: Data, done: Callable[["Training"], None]) -> None:
        ended: RunStatus = "failed"
        try:
            use_asked_threads()
            (x, y), _ = data()
            settings = as_the_command_s(self._asked, len(x))
            (x, y), self.held_out = settings.parts(x, y)
            keep = kept_in(
                self.folder, settings, self.record.of_page(), self._others_turn, self.not_saved
            )
            with self.turns, np.errstate(all="ignore"), keep as (first, last):
                net, begun = self._network(settings, x, y), time.monotonic()
                net.fit(
                    x,
                    y,
                    settings.batch_size,
                    settings.epochs,
                    verbose=0,
                    callbacks=[*first, self, *last],
                    augment=settings.augmentation(),
                )
            self.record.command = settings.stored()
            ended = "stopped" if self._stopping else "done"
            self.record.state, self.record.history = ended, self.history
            self.record.seconds = time.monotonic() - begun
            done(self)
        except InputError as error:
            self.error = str(error)
        except Exception:
            log.exception("%s failed", self.id)
            self.error = "an error inside the server ended the training; its log says more"
        finally:
            with self._guard:
                self.status = ended
            self._send_state()

    def not_saved(self, error: Exception) -> None:
        """The training goes on all the same."""
        log.warning("%s: %s", self.id, error)
        self.note = f"it is not saved: {error}"

    @property
    def _asked(self) -> RunSettings:
        assert self.settings is not None, "only a run of the command has none, and it has ended"
        return self.settings

    def _network(self, settings: run_folder.Settings, x: NDArray, y: NDArray) -> Sequential:
        """The network, compiled."""
        held = () if self.held_out is None else self.held_out[1]
        classes = int(max(y.max(), *held)) + 1
        net = architectures.build(settings.model, (*x.shape[1:], 1), classes, settings.seed)
        net.class_names = tuple(map(str, range(classes)))  # in the model's file, as the command's
        settings.compile(net, len(x))
        return net

    @contextmanager
    def _others_turn(self) -> Iterator[None]:
        """Others may run kernels inside."""
        self.turns.release()
        try:
            yield
        finally:
            self.turns.acquire()

    def on_train_begin(self, logs: dict[str, float]) -> None:
        self.batches = self.run.batches
        self.model.stop_training = self._stopping
        self._send_state()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        self.epoch, self.batch = epoch, 0
        self._since, self._seen = time.monotonic(), 0

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.batch = batch + 1
        self._seen += self._asked.batch_size
        if self._is_time("progress", PROGRESS_EVERY) or self.batch == self.batches:
            self._send("progress", self._progress(logs))
        if self._is_time("filters", FILTERS_EVERY):
            self._send_filters()
        with self._others_turn():
            if not (self._go.is_set() or self._stopping):
                self._go.wait()
                self._since, self._seen = time.monotonic(), 0
        self.model.stop_training = self.model.stop_training or self._stopping

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs |= self._validate()
        for key, value in logs.items():
            self.history.setdefault(key, []).append(value)
        self._send("epoch", {"epoch": epoch, **logs}, key=f"epoch {epoch}")
        self._send_filters()

    def _validate(self) -> dict[str, float]:
        """Loss and accuracy on the images held out; others have their turn between the batches."""
        if self.held_out is None:
            return {}
        sums = dict.fromkeys(("loss", "accuracy"), 0.0)
        for x, y in batches(*self.held_out, 500):
            found = self.model.evaluate(x, y, len(x), verbose=0, return_dict=True)
            for key, value in found.items():
                sums[key] += value * len(x)
            with self._others_turn():
                pass
        return {f"val_{key}": value / len(self.held_out[1]) for key, value in sums.items()}

    def _progress(self, logs: dict[str, float]) -> dict[str, Any]:
        seconds = max(time.monotonic() - self._since, 1e-9)
        norms = {
            layer.name: metrics.rms(*layer.grads.values())
            for layer in self.model.layers
            if layer.grads
        }
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "batches": self.batches,
            **logs,
            "images_per_second": self._seen / seconds,
            "gradient_norms": norms,
        }

    # ---- messages ----------------------------------------------------------------------------

    def _become(self, status: RunStatus) -> None:
        with self._guard:
            if self.has_ended or self._stopping:
                found = self.status if self.has_ended else "stopping"
                raise ConflictError(f"{self.id}: expected a run that goes on, found it {found}")
            self.status = status
        self._send_state()

    def _is_time(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if not self.listeners or now - self._last[what] < every:
            return False
        self._last[what] = now
        return True

    def _send_filters(self) -> None:
        """The weights of the first layer with filters, (kh, kw, c, f)."""
        for layer in self.model.layers:
            weights = layer.params.get("W")
            if weights is not None and weights.ndim == 4:
                value = Array.of(weights).model_dump()
                self._send("filters", {"layer": layer.name, "value": value})
                break
        if self.watched is not None and self.listeners:
            self._send("digit", self._maps_of(self.watched))

    def _maps_of(self, pixels: Pixels) -> dict[str, Any]:
        """What the network makes of a digit now: how it reads it, and its first layer with maps."""
        probabilities = self.model.predict(pixels)[0].tolist()
        inputs = copied(self.model)
        x = one_example(inputs, pixels)
        for layer in inputs.layers:
            x = layer.forward(x)
            if layer.output_shape[-1] > 1 and x.ndim == 4 and not kind_of(layer).pointwise:
                maps = {"layer": layer.name, "value": Array.of(x[0]).model_dump()}
                return {"probabilities": probabilities, **maps}
        return {"probabilities": probabilities, "layer": None, "value": None}

    def _send_state(self) -> None:
        for listener in list(self.listeners):
            listener.send("state", "state", self.describe().model_dump_json())

    def _send(self, event: str, data: dict[str, Any], key: str | None = None) -> None:
        if self.listeners:
            text = json.dumps(metrics.finite_or_none(data), allow_nan=False)
            for listener in list(self.listeners):
                listener.send(key or event, event, text)


class Trainings:
    """All trainings: one at a time goes on, and the last KEPT ended ones are remembered.

    data       what to train on
    on_model   called with a training and its model when it has ended well
    on_gone    called with the id of a training that is forgotten
    folder     of runs: each that has ended is kept there, and those of another time are found in it
    taken      names of models that are there already

    A training that is forgotten while a batch runs, or kernels compile, ends after that; its model
    is not kept, and no other training starts before.
    """

    def __init__(
        self,
        turns: Turns,
        data: Data,
        on_model: Callable[["Training", Sequential], None],
        on_gone: Callable[[str], None],
        folder: Path | None = None,
        taken: Collection[str] = (),
    ) -> None:
        self.folder = folder
        self.turns, self.data = turns, data
        self.on_model, self.on_gone = on_model, on_gone
        self.all: dict[str, Training] = {}
        self._ending: list[Training] = []  # forgotten, and not ended yet
        self.listeners = 0
        self._guard = threading.Lock()  # around all three, and what is called as they change
        for path, record, model in [] if folder is None else saved_runs.found_in(folder, KEPT):
            while record.name in taken:  # by a model that is none of ours
                record.name += "-run"
            training = Training.ended(record, model, path, turns)
            self.all[training.id] = training
            on_model(training, model)

    def get(self, name: str) -> Training:
        if name not in self.all:
            raise MissingError(f"run: expected one of /api/runs, found {name!r}")
        return self.all[name]

    def start(self, settings: RunSettings) -> Training:
        with self._guard:
            self._ending = [other for other in self._ending if not other.has_ended]
            for other in self._ending:
                raise ConflictError(f"{other.id}: deleted, but still stopping; try again later")
            for other in self.all.values():
                if not other.has_ended:
                    raise ConflictError(f"{other.id}: still {other.status}; stop it first")
            training = Training(settings, self.turns, self.folder)
            for old in list(self.all)[: max(0, len(self.all) + 1 - KEPT)]:
                self._forget(old)
            self.all[training.id] = training
        training.start(self.data, self._ended)
        return training

    def _ended(self, training: Training) -> None:
        """In the training's thread: its model is kept unless it was deleted meanwhile."""
        if training.id in self.all and training.folder is not None:
            self._save(training, training.folder)
        with self._guard:
            if training.id in self.all:
                self.on_model(training, training.model)

    def _save(self, training: Training, folder: Path) -> None:
        try:
            saved_runs.write(folder, training.record, training.model)
            training.saved, training.note = folder, None
        except (InputError, OSError) as error:
            training.not_saved(error)

    def title_of(self, name: str) -> str:
        """What a model is called: as the training that it came of, or as it is named."""
        training = self.all.get(name)
        return name if training is None else training.record.title

    def rename(self, training: Training, title: str) -> None:
        """Call a training, and the model that came of it, by another name, in its folder, too."""
        training.record.title = title
        if training.saved is not None:
            try:
                saved_runs.retitle(training.saved, title)
            except (InputError, OSError) as error:
                log.warning("%s: %s", training.id, error)
                training.note = f"its name is not saved: {error}"

    def model_of(self, training: Training) -> Sequential:
        """The model that came of it; ConflictError while it goes on, or where none has come."""
        if training.status not in ("done", "stopped"):
            raise ConflictError(
                f"{training.id}: expected a run that has ended well, found it {training.status}"
            )
        return training.model

    def forget(self, name: str) -> None:
        """Nothing where it is forgotten already, by another request."""
        with self._guard:
            self._forget(name)

    def _forget(self, name: str) -> None:
        gone = self.all.pop(name, None)
        if gone is not None:
            if not gone.has_ended:
                self._ending.append(gone)
            self.on_gone(name)

    def close(self) -> None:
        for training in (*self.all.values(), *self._ending):
            training.stop(wait=10)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Inside, one more client listens; RefusedError where there are too many."""
        with self._guard:
            if self.listeners >= MAX_LISTENERS:
                raise RefusedError(503, "too many live streams", **{"retry-after": "5"})
            self.listeners += 1
        try:
            yield
        finally:
            with self._guard:
                self.listeners -= 1


def choices() -> Choices:
    """What a training can be made of."""
    rows = []
    for name in architectures.ARCHITECTURES:
        net = architectures.build(name)
        adds = sum(row.multiply_adds for row in net.rows())
        rows.append(ArchitectureInfo(name=name, parameters=net.count_params(), multiply_adds=adds))
    return Choices(
        architectures=rows,
        optimizers=list(OPTIMIZERS),
        recipes=[
            RecipeInfo(name=name, about=about_recipe(name), **(recipe_settings(name) or {}))
            for name in recipes.RECIPES
        ],
        learning_rates={name: usual_rate(name) for name in OPTIMIZERS},
        defaults=RunSettings(),
    )


def use_asked_threads() -> None:
    """SCRATCHNET_THREADS also for this thread: Numba keeps that number for each thread."""
    if "SCRATCHNET_THREADS" in os.environ:
        kernels.set_threads(os.environ["SCRATCHNET_THREADS"])
