"""The server's state: models, trainings, the threads that do the work, and whose turn it is.

Handlers do no work themselves: they hand it to a few threads, so that the event loop stays free to
refuse requests (see limits.py) and to send events (see events.py). Preparing an image needs no
lock; whatever runs kernels takes its turn (see turns.py).
"""

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, TypeVar, TypeVarTuple

import numpy as np
from fastapi import Depends, Request

from .. import architectures
from ..layers.registry import gradient_of
from ..microscope import heat_maps
from ..microscope.trace import Trace
from ..model import Sequential
from ..pictures import prepare
from . import schemas as s
from .fields import ModelSource
from .landscape import known_reaches
from .problems import MissingError
from .trainings import Data, Trainings, choices, use_asked_threads
from .turns import Turns

#: preparing an image takes longer than reading it, and two cores are the least there is
THREADS = max(2, os.cpu_count() or 1)

Ts = TypeVarTuple("Ts")
R = TypeVar("R")


class ModelRegistry:
    """All models by name, in order; the first one answers where none is named."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[Sequential, ModelSource]] = {}
        self.titles: Callable[[str], str] = str  # what a model is called, by its name
        self.default = ""

    def add(self, name: str, model: Sequential, source: ModelSource) -> None:
        self.default = self.default or name
        self.found[name] = model, source

    def remove(self, name: str) -> None:
        self.found.pop(name, None)

    def get(self, name: str | None) -> Sequential:
        found = self.found.get(self.default if name is None else name)
        if found is None:
            known = ", ".join(self.found)
            raise MissingError(f"model: expected one of {known}, found {name!r}")
        return found[0]

    def untrained(self, turns: Turns, architecture: str) -> s.ModelInfo:
        """An architecture with fresh weights; made when it is first asked for."""
        name = f"untrained-{architecture}"
        with turns:
            if name not in self.found:
                # layer by layer: fused kernels would first have to be compiled, for a few answers
                layers = architectures.ARCHITECTURES[architecture](10)
                model = Sequential(layers, (28, 28, 1), seed=0, fuse=False)
                self.add(name, model, "untrained")
        return next(found for found in self.describe() if found.name == name)

    def describe(self) -> list[s.ModelInfo]:
        return [
            s.ModelInfo(
                name=name,
                title=self.titles(name),
                source=source,
                classes=list(model.class_names),
                input_shape=list(model.input_shape or ()),
                layers=[
                    s.LayerInfo(
                        **{**vars(row), "output_shape": list(row.output_shape)},
                        formula=gradient_of(row.kind),
                    )
                    for row in model.rows()
                ],
            )
            for name, (model, source) in list(self.found.items())
        ]


class ServerState:
    """What the handlers share.

    models    classifiers of 28 x 28 x 1 images by name, before the shipped one
    data      what trainings learn from: a function that returns ((x, y), (x_test, y_test))
    runs      the folder that trainings are kept in, and found again; None: they end with the server
    """

    def __init__(
        self, models: Mapping[str, Sequential], data: Data, runs: Path | None = None
    ) -> None:
        self.turns, self.models = Turns(), ModelRegistry()
        for name, model in models.items():
            self.models.add(name, model, "file")
        self.models.add("mnist-cnn", architectures.pretrained(), "shipped")
        self.trainings = Trainings(
            self.turns,
            data,
            lambda training, model: self.models.add(training.id, model, "run"),
            self.models.remove,
            runs,
            list(self.models.found),
        )
        self.models.titles = self.trainings.title_of
        self.choices = choices()
        self.pool = ThreadPoolExecutor(THREADS, "scratchnet", initializer=use_asked_threads)
        #: ends all live streams when it is set
        self.closing = threading.Event()

    async def work(self, do: Callable[[*Ts], R], *arguments: *Ts) -> R:
        """Do it on a thread of the pool; not at all if the client has left before its turn."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, _quiet, do, *arguments)

    def warm_up(self) -> None:
        """Load and compile what is first needed, so that the first client need not wait for it.

        Kernels that only a training needs are left to the first one: they are many. So are those of
        runs that were found again, which may be several, of any architecture.
        """
        bar = np.zeros((28, 28), np.uint8)
        bar[4:24, 12:16] = 255
        image = prepare(bar).image
        with self.turns:
            architectures.judge().predict(image)
            for model, source in self.models.found.values():
                if source == "run":
                    continue
                model.prepare()
                label = int(model.predict(image).argmax())
                heat_maps.saliency(model, image)
                heat_maps.occlusion(model, image)
                Trace(model, image, label).step("adam")
                known_reaches(model)

    async def close(self) -> None:
        self.closing.set()
        await self.work(self.trainings.close)
        self.pool.shutdown(cancel_futures=True)


def _quiet(do: Callable[[*Ts], R], *arguments: *Ts) -> R:
    """Without NumPy's warnings in the log: a model may hold infinite numbers, or none."""
    with np.errstate(all="ignore"):
        return do(*arguments)


async def _state(request: Request) -> ServerState:
    found: ServerState = request.app.state.server
    return found


#: a handler's parameter of this type is the server's state
State = Annotated[ServerState, Depends(_state)]
