"""Training runs in the background: started, watched, paused and stopped from elsewhere.

A run is a thread in `model.fit`, with a Callback that after every step gives the kernels to those
who wait (see turns.py), does as it was told (pause, stop), and tells the listeners how it goes.
"""

import asyncio
import json
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import architectures, kernels, optimizers
from ..callbacks import StopOnNaN
from ..errors import InputError
from ..layers import Conv2D
from ..model import Sequential
from ..training import Callback, batches
from .schemas import Array, RunSettings, RunState
from .turns import Turns

#: seconds between two messages of a kind
PROGRESS_EVERY, FILTERS_EVERY = 0.1, 1.0
#: silence after which a comment is sent, and a look taken whether the server ends
HEARTBEAT = 0.5
VALIDATION = 5000
KEPT = 8
MAX_LISTENERS = 16

ENDED = ("done", "stopped", "failed")
log = logging.getLogger("scratchnet")

#: name: how to make it, and its usual learning rate
OPTIMIZERS: dict[str, tuple[Callable[[float], optimizers.Optimizer], float]] = {
    "sgd": (optimizers.SGD, 0.1),
    "momentum": (partial(optimizers.SGD, momentum=0.9), 0.02),
    "adam": (optimizers.Adam, 0.001),
    "adamw": (optimizers.AdamW, 0.001),
}


class ConflictError(Exception):
    """What was asked does not go with the state of a run."""


class Listener:
    """What one client has not read yet.

    Of a message with a key the newest counts: a slow client misses some progress, and memory stays
    bounded by the number of keys.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.news = asyncio.Event()
        self.messages: dict[str, tuple[str, str]] = {}

    def tell(self, key: str, event: str, data: str) -> None:
        """From any thread."""

        def put() -> None:
            self.messages.pop(key, None)  # it goes to the end: order is that of the newest
            self.messages[key] = event, data
            self.news.set()

        with suppress(RuntimeError):  # the loop has ended, and with it the client
            self.loop.call_soon_threadsafe(put)

    async def wait(self, seconds: float) -> list[tuple[str, str]]:
        """All messages so far; after that many seconds perhaps none."""
        try:
            async with asyncio.timeout(seconds):
                await self.news.wait()
        except TimeoutError:
            return []
        return self.take()

    def take(self) -> list[tuple[str, str]]:
        self.news.clear()
        found = list(self.messages.values())
        self.messages.clear()
        return found


class Run(Callback):
    """One training: settings, where it stands, who listens.

    model   trained in place; nobody else's until the run has ended
    """

    def __init__(self, settings: RunSettings, turns: Turns) -> None:
        self.id = f"run-{secrets.token_hex(4)}"
        self.settings = settings
        self.turns = turns
        self.state = "running"
        self.error: str | None = None
        self.epoch = self.batch = self.batches = 0
        self.history: dict[str, list[float]] = {}
        self.listeners: set[Listener] = set()
        self._go = threading.Event()  # cleared while paused
        self._go.set()
        self._stopping = False
        self._guard = threading.Lock()  # around the state
        self._last = dict.fromkeys(("progress", "filters"), -math.inf)
        self._thread: threading.Thread | None = None

    # ---- from outside ------------------------------------------------------------------------

    def start(self, data: Callable[[], Any], done: Callable[["Run"], None]) -> None:
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

    def stop(self, wait: float | None = None) -> None:
        """End after the batch that runs. wait: seconds to wait for that."""
        self._stopping = True
        self._go.set()
        if wait is not None and self._thread is not None:
            self._thread.join(wait)

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED

    def describe(self) -> RunState:
        return RunState(
            id=self.id,
            state=self.state,
            settings=self.settings,
            epoch=self.epoch,
            batch=self.batch,
            batches=self.batches,
            history={key: list(values) for key, values in self.history.items()},
            model=self.id if self.state in ("done", "stopped") else None,
            error=self.error,
        )

    async def events(self, closing: Callable[[], bool]) -> AsyncIterator[str]:
        """Server-sent events, from the state now until the run or the server ends."""
        listener = Listener()
        self.listeners.add(listener)
        try:
            now = self.describe()
            yield _event("state", now.model_dump_json())
            ended = now.state in ENDED
            while not (ended or closing()):
                messages = await listener.wait(HEARTBEAT)
                ended = self.has_ended
                if ended:
                    await asyncio.sleep(0)  # what was told before the end is heard before it
                    messages = [m for m in messages + listener.take() if m[0] != "state"]
                    messages.append(("state", self.describe().model_dump_json()))
                yield "".join(_event(*message) for message in messages) or ": still here\n\n"
        finally:
            self.listeners.discard(listener)

    # ---- the thread --------------------------------------------------------------------------

    def _train(self, data: Callable[[], Any], done: Callable[["Run"], None]) -> None:
        asked, ended = self.settings, "failed"
        try:
            use_asked_threads()
            (x, y), _ = data()
            held = min(VALIDATION, len(x) // 10)
            self.held_out = x[-held:], y[-held:]
            x, y = x[:-held][: asked.images], y[:-held][: asked.images]
            classes = int(max(y.max(), self.held_out[1].max())) + 1
            with self.turns, np.errstate(all="ignore"):
                net = architectures.build(
                    asked.architecture, (*x.shape[1:], 1), classes, asked.seed
                )
                make, _ = OPTIMIZERS[asked.optimizer]
                net.compile(
                    make(asked.learning_rate), "sparse_categorical_crossentropy", ["accuracy"]
                )
                callbacks = (StopOnNaN(), self)
                net.fit(x, y, asked.batch_size, asked.epochs, verbose=0, callbacks=callbacks)
            ended = "stopped" if self._stopping else "done"
            done(self)
        except InputError as error:
            self.error = str(error)
        except Exception:
            log.exception("%s failed", self.id)
            self.error = "an error inside the server ended the training; its log says more"
        finally:
            with self._guard:
                self.state = ended
            self._tell_state()

    @contextmanager
    def _others_turn(self) -> Any:
        """Others may run kernels inside."""
        self.turns.release()
        try:
            yield
        finally:
            self.turns.acquire()

    def on_train_begin(self, logs: dict[str, float]) -> None:
        self.batches = self.run.batches
        self.model.stop_training = self._stopping
        self._tell_state()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        self.epoch, self.batch = epoch, 0
        self._since, self._images = time.monotonic(), 0

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.batch = batch + 1
        self._images += self.settings.batch_size
        if self._is_time("progress", PROGRESS_EVERY) or self.batch == self.batches:
            self._tell("progress", self._progress(logs))
        if self._is_time("filters", FILTERS_EVERY):
            self._tell_filters()
        with self._others_turn():
            if not (self._go.is_set() or self._stopping):
                self._go.wait()
                self._since, self._images = time.monotonic(), 0
        self.model.stop_training = self.model.stop_training or self._stopping

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs |= self._validate()
        for key, value in logs.items():
            self.history.setdefault(key, []).append(value)
        self._tell("epoch", {"epoch": epoch, **logs}, key=f"epoch {epoch}")
        self._tell_filters()

    def _validate(self) -> dict[str, float]:
        """Loss and accuracy on the images held out; others have their turn between the batches."""
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
            layer.name: _rms(list(layer.grads.values()))
            for layer in self.model.layers
            if layer.grads
        }
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "batches": self.batches,
            **logs,
            "images_per_second": self._images / seconds,
            "gradient_norms": norms,
        }

    # ---- telling -----------------------------------------------------------------------------

    def _become(self, state: str) -> None:
        with self._guard:
            if self.has_ended or self._stopping:
                found = self.state if self.has_ended else "stopping"
                raise ConflictError(f"{self.id}: expected a run that goes on, found it {found}")
            self.state = state
        self._tell_state()

    def _is_time(self, what: str, every: float) -> bool:
        now = time.monotonic()
        if not self.listeners or now - self._last[what] < every:
            return False
        self._last[what] = now
        return True

    def _tell_filters(self) -> None:
        first = next((at for at in self.model.layers if isinstance(at, Conv2D)), None)
        if first is not None:
            weights = Array.of(first.params["W"]).model_dump()
            self._tell("filters", {"layer": first.name, "value": weights})

    def _tell_state(self) -> None:
        for listener in list(self.listeners):
            listener.tell("state", "state", self.describe().model_dump_json())

    def _tell(self, event: str, data: dict[str, Any], key: str | None = None) -> None:
        if self.listeners:
            text = json.dumps(_finite(data), allow_nan=False)
            for listener in list(self.listeners):
                listener.tell(key or event, event, text)


class Runs:
    """All runs: one at a time goes on, and the last KEPT ended ones are remembered.

    data       returns ((x, y), (x_test, y_test)), as datasets.mnist.load_data does
    on_model   called with a run's id and its model when it has ended well
    on_gone    called with the id of a run that is forgotten
    """

    def __init__(
        self,
        turns: Turns,
        data: Callable[[], Any],
        on_model: Callable[[str, Sequential], None],
        on_gone: Callable[[str], None],
    ) -> None:
        self.turns, self.data = turns, data
        self.on_model, self.on_gone = on_model, on_gone
        self.all: dict[str, Run] = {}

    def start(self, settings: RunSettings) -> Run:
        for other in self.all.values():
            if not other.has_ended:
                raise ConflictError(f"{other.id}: still {other.state}; stop it first")
        for old in list(self.all)[: max(0, len(self.all) + 1 - KEPT)]:
            self.forget(old)
        run = Run(settings, self.turns)
        self.all[run.id] = run
        run.start(self.data, lambda run: self.on_model(run.id, run.model))
        return run

    def forget(self, name: str) -> None:
        del self.all[name]
        self.on_gone(name)

    def close(self) -> None:
        for run in self.all.values():
            run.stop(wait=10)

    @property
    def listeners(self) -> int:
        return sum(len(run.listeners) for run in self.all.values())


def use_asked_threads() -> None:
    """SCRATCHNET_THREADS also for this thread: Numba keeps that number for each thread."""
    if "SCRATCHNET_THREADS" in os.environ:
        kernels.set_threads(os.environ["SCRATCHNET_THREADS"])


def _event(event: str, data: str) -> str:
    return f"event: {event}\ndata: {data}\n\n"


def _rms(arrays: list[NDArray]) -> float:
    size = sum(array.size for array in arrays)
    return math.sqrt(sum(float(np.vdot(array, array)) for array in arrays) / size)


def _finite(value: Any) -> Any:
    """NaN and infinity, which JSON does not know, as null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
