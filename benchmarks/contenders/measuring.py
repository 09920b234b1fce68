"""What is measured in a contender's process, and what keeps the numbers honest."""

import ctypes
import gc
import os
import sys
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

from .networks import build, data
from .registry import CONTENDERS

LEAST = 0.3  # seconds: foreign load shows in ticks of 10 ms


class Watch:
    """`others`: how many processors other programs kept busy since the start, on Linux.

    One busy program beside a benchmark makes its numbers several times too large, and not evenly.
    """

    def __init__(self) -> None:
        self.start = self.now()

    def now(self) -> tuple[float, float, float]:
        """Seconds on the clock, of all processors, of this process."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        except OSError:
            return time.perf_counter(), 0.0, 0.0
        user, nice, system, _, _, *rest = map(int, fields)  # two of them idle
        busy = (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
        return time.perf_counter(), busy, sum(os.times()[:2])

    @property
    def others(self) -> float:
        seconds, busy, own = (b - a for a, b in zip(self.start, self.now(), strict=True))
        return max(busy - own, 0) / seconds if seconds > 0.2 else 0.0

    @staticmethod
    def warn(others: float, what: str) -> None:
        if others > 0.1:
            print(f"NOT QUIET: other programs used up to {others:.1f} processors while {what} ran")


class Desk:
    """What a contender's process does when it is asked to: one method a command."""

    def __init__(self, name: str, threads: int) -> None:
        self.kind, self.threads, self.whole = CONTENDERS[name], threads, 0.0

    def train(self, model: str, weights: str, images: int, batch_size: int) -> float:
        """Prepare for training; the seconds of the first steps of each shape of batch."""
        self.job = model, weights, batch_size
        self.data = data(model, images)
        self.contender = self.kind(self.threads)
        self.contender.train(build(model, weights=weights), *self.data, batch_size)
        start = time.perf_counter()
        for x, y in (*self.contender.batches[:3], *self.contender.batches[-1:] * 2):
            float(self.contender.step(x, y))
        return time.perf_counter() - start

    def check(self, steps: int, as_keras: bool = False, dtype: str = "float32") -> list[float]:
        """The losses of the first steps from the initial weights, without dropout.

        as_keras   for scratchnet alone: as if its Adam were Keras's
        dtype      of weights, images and sums
        """
        model, weights, batch_size = self.job
        fresh: Any = self.kind(self.threads)
        x, y = (part[: steps * batch_size] for part in self.data)
        network = build(model, dropout=False, weights=weights, dtype=dtype)
        with fresh.wide() if dtype == "float64" else nullcontext():
            fresh.train(network, x.astype(dtype), y, batch_size)
            if as_keras:
                fresh.as_keras()
            count = len(fresh.batches)
            return [float(fresh.step(*fresh.batches[i % count])) for i in range(steps)]

    def epoch(self) -> float:
        start = time.perf_counter()
        self.contender.epoch()
        return time.perf_counter() - start

    def predictor(self, model: str, weights: str, images: int, batch_sizes: list[int]) -> Any:
        """Prepare for inference: compile seconds, the fastest batch size, some probabilities."""
        self.x = data(model, images, test=True)[0]
        self.predict = self.kind(self.threads).predictor(build(model, weights=weights))
        start = time.perf_counter()
        for size in (1, *batch_sizes):
            for _ in range(3):
                self.predict(self.x[:size])
        seconds = time.perf_counter() - start
        best = min(batch_sizes, key=lambda size: self.throughput(size))
        return {
            "seconds": seconds,
            "batch_size": best,
            "probs": self.predict(self.x[:500]).tolist(),
        }

    def latency(self, calls: int) -> tuple[float, float]:
        """Median and 95th percentile of the seconds for one image; at least `calls` calls."""
        times, watched = list[float](), 0.0
        while len(times) < calls + 20 or watched < LEAST:
            image = self.x[len(times) % len(self.x)][None]
            start = time.perf_counter()
            self.predict(image)
            times.append(time.perf_counter() - start)
            watched += times[-1]
        return float(np.median(times[20:])), float(np.quantile(times[20:], 0.95))

    def throughput(self, batch_size: int) -> float:
        """Seconds an image, over all images in whole batches, and again until LEAST is over."""
        whole, passes, start = len(self.x) // batch_size * batch_size, 0, time.perf_counter()
        while passes == 0 or time.perf_counter() - start < LEAST:
            for i in range(0, whole, batch_size):
                self.predict(self.x[i : i + batch_size])
            passes += 1
        return (time.perf_counter() - start) / (passes * whole)

    def ready(self) -> None:
        """From here on memory counts: what the checks needed is given back first."""
        self.whole = max(self.whole, peak_mib())
        give_back()

    def peaks_mib(self) -> tuple[float, float]:
        """The peak since `ready`; and since the process began."""
        found = peak_mib()
        return found, max(self.whole, found)


def peak_mib() -> float:
    """The most memory that the process had at once; on Linux since the last `give_back`."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(s.split()[1]) for s in lines if s.startswith("VmHWM")) / 1024
    except OSError:
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def give_back() -> None:
    """Give free memory to the system, and let the peak begin anew, both where Linux can."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
