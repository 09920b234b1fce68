"""What `scratchnet benchmark` measures: trainings and predictions, PyTorch taking turns with ours.

The short form of the repository's benchmarks/: three networks, one setting, a minute. Left out: the
other frameworks, memory, larger networks.
"""

import importlib.util
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from .. import architectures, datasets, kernels
from ..model import Sequential
from ..optimizers import Adam

NETWORKS = ("cnn", "lenet5", "mlp")
BATCH, EPOCH, STEPS, TOLERANCE = 128, 60_000, 10, 1e-3
#: a spread from which something else must have used the processor
SPREAD = 1.4
#: what is measured: its key in the JSON, what it says, its unit
QUANTITIES = {
    **{f"train_{name}": (f"an epoch of {name}", "s") for name in NETWORKS},
    "predict_10000": ("10,000 images through cnn", "s"),
    "predict_one": ("one image through cnn", "us"),
}


class Failed(RuntimeError):  # noqa: N818 - an outcome to be shown
    """PyTorch's process reported an error, or ended."""


class Torch:
    """PyTorch in its own process; a context manager."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-m", "scratchnet.interop.torch_speed"]
        root = str(Path(__file__).parents[2])  # of a checkout that is not installed
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self.process: subprocess.Popen[str] = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""},
        )

    def __enter__(self) -> "Torch":
        return self

    def __exit__(self, *exc: object) -> None:
        self.process.kill()
        self.process.communicate()

    def ask(self, do: str, **task: Any) -> Any:
        try:
            print(json.dumps({"do": do, **task}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline() if self.process.stdout else ""
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failed(f"its process ended with {self.process.wait()}")
        reply = json.loads(line)
        if "error" in reply:
            raise Failed(reply["error"])
        return reply["answer"]


def measure(images: int, rounds: int, torch: Torch | None, say: Callable[[str], None]) -> Any:
    """{quantity: {"scratchnet": [...], "torch": [...]}}, seconds of each round; and notes.

    images   of a training round; seconds are scaled to an epoch
    torch    PyTorch's process, or None; `Failed` if it ends on the way
    say      gets a line before each part
    """
    found: dict[str, dict[str, list[float]]] = {}
    notes: list[str] = []
    (x, y), (x_test, _) = datasets.mnist.load_data()
    x, y = np.divide(x[:images, ..., None], 255, dtype=np.float32), y[:images]
    tests = np.divide(x_test[..., None], 255, dtype=np.float32)[:images]
    for name in NETWORKS:
        say(f"training {name}")
        model = _compiled(name)
        losses = [model.train_on_batch(*part)[0] for part in _parts(x, y, STEPS)]
        model = _compiled(name)
        model.fit(x[:1000], y[:1000], BATCH, shuffle=False, verbose=0)  # compiles what is missing
        torch = _prepared(torch, name, images, losses, notes)
        row = found[f"train_{name}"] = {"scratchnet": []}
        for _ in range(rounds):
            started = time.perf_counter()
            model.fit(x, y, BATCH, shuffle=False, verbose=0)
            seconds = time.perf_counter() - started
            row["scratchnet"].append(seconds * EPOCH / len(x))
            if torch:
                row.setdefault("torch", []).append(torch.ask("epoch") * EPOCH / len(x))
        if name == "cnn":
            say("predicting")
            found |= _predictions(model, tests, rounds, torch)
    return {key: found[key] for key in QUANTITIES}, notes


def _predictions(model: Sequential, x: Any, rounds: int, torch: Torch | None) -> dict[str, Any]:
    """One image at a time in seconds; and 10,000, of which as many as there are are timed."""
    size = min(1000, len(x))
    model.predict(x[:size], batch_size=size)
    model.predict(x[:1])
    many: dict[str, list[float]] = {"scratchnet": []}
    one: dict[str, list[float]] = {"scratchnet": []}
    for _ in range(rounds):
        started = time.perf_counter()
        model.predict(x, batch_size=size)
        many["scratchnet"].append((time.perf_counter() - started) * 10_000 / len(x))
        times = []
        for call in range(300):
            image = x[call % len(x)][None]
            started = time.perf_counter()
            model.predict(image)
            times.append(time.perf_counter() - started)
        one["scratchnet"].append(float(np.median(times[20:])))
        if torch:
            many.setdefault("torch", []).append(10_000 * torch.ask("many", batch_size=size))
            one.setdefault("torch", []).append(torch.ask("one", calls=300))
    return {"predict_10000": many, "predict_one": one}


def _compiled(name: str) -> Sequential:
    model = architectures.build(name)
    model.compile(Adam(1e-3, 0.9, 0.999, 1e-7), "sparse_categorical_crossentropy")
    return model


def _parts(x: Any, y: Any, most: int) -> list[tuple[Any, Any]]:
    starts = range(0, min(most * BATCH, len(x)), BATCH)
    return [(x[i : i + BATCH], y[i : i + BATCH]) for i in starts]


def _prepared(
    torch: Torch | None, name: str, images: int, losses: list[float], notes: list[str]
) -> Torch | None:
    """PyTorch with that network, if it computes the same losses; else None, and a note says why."""
    if torch is None:
        return None
    threads = kernels.threads()
    try:
        ready = torch.ask("prepare", name=name, images=images, batch_size=BATCH, threads=threads)
    except Failed as error:
        notes.append(f"PyTorch is left out: {error}")
        return None
    pairs = zip(losses, ready["losses"], strict=False)
    far = max(abs(theirs / ours - 1) for ours, theirs in pairs)
    if not far <= TOLERANCE:
        notes.append(f"PyTorch is left out: its losses of {name} differ by {far:.1e}")
        return None
    notes.append(f"{name}: losses agree to {max(far, 1e-9):.0e}; PyTorch {ready['format']}")
    return torch


def torch_is_there() -> bool:
    return importlib.util.find_spec("torch") is not None


# ---- the machine, and what was recorded ---------------------------------------------------------


def machine(name: str | None = None) -> dict[str, Any]:
    """What the numbers depend on; name: what its owner calls it."""
    cpu = cpu_name()
    found: dict[str, Any] = {"name": name or cpu, "cpu": cpu, "cores": os.cpu_count()}
    found |= {"threads": kernels.threads(), "system": platform.system()}
    found["isa"] = kernels.instructions()
    versions = {"python": platform.python_version()}
    for package in ("scratchnet", "numpy", "numba", "torch"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return found | {"versions": versions}


def cpu_name() -> str:
    """The processor's name as its system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        pass
    if sys.platform == "darwin":
        command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.stdout.strip():
            return done.stdout.strip()
    return platform.processor() or platform.machine()


def recorded() -> dict[str, Any]:
    """The figures of the package, in the form of the command's own JSON."""
    text = (files("scratchnet") / "cli" / "benchmark.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def median(values: list[float]) -> float:
    return statistics.median(values) if values else math.nan


def busy(found: dict[str, dict[str, list[float]]]) -> bool:
    """Whether rounds differ so much that other programs must have run."""
    every = [times for row in found.values() for times in row.values()]
    return any(max(times) > SPREAD * min(times) for times in every)
