"""Compiling for a first training: in several processes, before it begins.

    compile_for(model, batch_size)

Only where the loops are not in the cache, and only where that saves time: a model without many, or
a processor with one core, compiles as it goes.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from . import model_files
from .engine import first_start as engine
from .errors import InputError
from .model import Sequential

#: with fewer loops to compile than this for each process, another one costs more than it saves
WORTH = 2
#: more processes find little to do
MOST = 4


def compile_for(
    model: Sequential,
    batch_size: int,
    labels: Any = np.uint8,
    told: Callable[[int, int], None] = lambda done, of: None,
) -> int:
    """Compile what the model's training needs and the cache does not have; how many loops that was.

    labels   their dtype
    told     is called with how many are begun, and of how many, whenever that changes

    The processes' own failures are nobody's: what they leave is compiled when it is first called.
    """
    with tempfile.TemporaryDirectory(prefix="scratchnet-") as folder:
        path = Path(folder, "model")
        given = [str(path), str(batch_size), np.dtype(labels).str]
        try:
            model_files.save(model, path)
            found = _jobs(*given)
        except InputError:  # layers of the user's own: their loops are compiled as they are called
            return 0
        others = min(engine.cores(), MOST, len(found) // WORTH) - 1
        if others < 1:
            return 0
        claims = Path(folder, "claims")
        claims.mkdir()
        with ExitStack() as running:
            for _ in range(others):
                running.enter_context(_another(given, claims))
            engine.work(found, claims, lambda number: told(number + 1, len(found)))
    return len(found)


@contextmanager
def _another(given: list[str], claims: Path) -> Iterator[None]:
    """A process that takes part; at the end it is waited for, or after an exception killed."""
    nowhere = subprocess.DEVNULL
    command = [sys.executable, "-m", __name__, *given, str(claims)]
    process = subprocess.Popen(command, stdin=nowhere, stdout=nowhere, stderr=nowhere)
    try:
        yield
        process.wait()
    finally:
        process.kill()
        process.wait()


def _jobs(path: str, batch_size: str, labels: str) -> list[engine.Job | engine.Call]:
    """Of a model made anew from its file: finding them out overwrites its state."""
    model, n = model_files.load(path), int(batch_size)
    loss, groups = model._loss_on(model.groups())
    found = engine.jobs(groups, model.input_shape, n)
    if not found:
        return []

    def ends() -> None:
        model._numbers(np.zeros((n, *model.input_shape), np.uint8))
        scores = np.zeros((n, *model.output_shape), model.dtype)
        loss.forward(scores, np.zeros(n, labels))

    def step() -> None:
        assert model.optimizer is not None
        model.optimizer.step(model)

    return [*found, engine.Call("step", step), engine.Call("ends", ends)]


if __name__ == "__main__":
    with suppress(Exception):
        engine.work(_jobs(*sys.argv[1:4]), Path(sys.argv[4]), lambda number: None)
