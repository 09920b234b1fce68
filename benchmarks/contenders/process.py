"""A process for each contender, and the parent that asks them in turn.

A message is a line of JSON: {"do": a method of `measuring.Desk`, ...its arguments} goes in,
{"answer": ..., "others": ...} or {"error": "Kind: text"} comes out.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .isa import held, warn
from .measuring import Desk, Watch
from .registry import CONTENDERS

TIMED = ("epoch", "latency", "throughput")
EXTRA = 'pip install ".[bench]"'


# ---- the child ---------------------------------------------------------------------------------


def serve(name: str, threads: int) -> None:
    """Obey the lines on standard input until it closes; answers go where output went."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints goes to the log
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    desk = Desk(name, threads)
    for line in sys.stdin:
        task = json.loads(line)
        watch = Watch()
        try:
            reply = {"answer": getattr(desk, task.pop("do"))(**task)}
            reply["others"] = watch.others
        except Exception as error:
            text = (str(error).strip() or "no message").splitlines()[0]
            reply = {"error": f"{type(error).__name__}: {text}"}
        print(json.dumps(reply), file=answers, flush=True)


# ---- the parent --------------------------------------------------------------------------------


class Failed(RuntimeError):  # noqa: N818 - an outcome to be shown in the table
    """A contender's process reported an error, or ended."""


class Worker:
    """The parent's end of a contender's process."""

    def __init__(
        self, name: str, threads: int, caches: str | None = None, isa: str = "native"
    ) -> None:
        self.others = 0.0  # processors that other programs kept busy while this one was timed
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `close`
        self.process = subprocess.Popen(
            # -P: the current folder stays out of sys.path, as for the scripts
            [sys.executable, "-P", "-m", __package__, name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | environment(threads, caches, isa),
        )

    def ask(self, do: str, **task: Any) -> Any:
        try:
            print(json.dumps({"do": do} | task), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.log.seek(0)
            last = (self.log.read().strip() or "nothing in its log").splitlines()[-1]
            raise Failed(f"its process ended with {self.process.wait()}: {last}")
        reply = json.loads(line)
        if "error" in reply:
            raise Failed(reply["error"])
        self.others = max(self.others, reply["others"]) if do in TIMED else self.others
        return reply["answer"]

    def close(self) -> None:
        try:
            self.process.communicate(timeout=5)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            self.process.wait()
        self.log.close()


def environment(threads: int, caches: str | None, isa: str) -> dict[str, str]:
    """What the process of a contender gets beside the parent's variables.

    caches    an empty folder, to compile anew
    isa       what they are held to, see isa.py
    """
    path = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    pools = ("OMP", "MKL", "OPENBLAS", "NUMBA")
    env = {f"{pool}_NUM_THREADS": str(threads) for pool in pools}
    env |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2", "NPROC": str(threads)}
    env |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
    env |= {"PYTHONPATH": os.pathsep.join(filter(None, path))}
    if caches is not None:
        env |= {"NUMBA_CACHE_DIR": caches, "TORCHINDUCTOR_CACHE_DIR": caches}
    return env | held(isa)


class Field:
    """The contenders that take part. One that fails drops out, and the reason is kept."""

    def __init__(
        self, names: Sequence[str], threads: int, cold: bool = False, isa: str = "native"
    ) -> None:
        self.free = warn(isa, list(names))
        self.workers: dict[str, Worker] = {}
        self.reasons: dict[str, str] = {}
        self.stack = ExitStack()
        caches = self.stack.enter_context(tempfile.TemporaryDirectory()) if cold else None
        for name in names:
            missing = [m for m in CONTENDERS[name].modules if not importlib.util.find_spec(m)]
            if missing:
                self.reasons[name] = f"{missing[0]} is not installed: {EXTRA}"
                print(f"{name} is left out: {self.reasons[name]}", file=sys.stderr)
            else:
                self.workers[name] = Worker(name, threads, caches, isa)
                self.stack.callback(self.workers[name].close)

    def __enter__(self) -> "Field":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stack.close()

    def need_scratchnet(self) -> None:
        """All are compared with it: without it the program ends."""
        if "scratchnet" not in self.workers:
            sys.exit(f"scratchnet failed: {self.reasons['scratchnet']}")

    def ready(self) -> None:
        """All is prepared and checked: what the contenders do next is measured."""
        for _ in self.ask("ready"):
            pass

    def finish(self, results: dict[str, Any]) -> None:
        """Peak memory, foreign load and the reasons of those that dropped out, into the results."""
        for name, (peak, whole) in self.ask("peaks_mib"):
            results[name] |= {"peak_mib": peak, "peak_mib_of_all": whole}
            results[name]["others"] = self.workers[name].others
            Watch.warn(self.workers[name].others, name)
        for name, reason in self.free.items():
            results[name]["not_held"] = reason
        for name, reason in self.reasons.items():
            results[name]["skipped"] = reason

    def ask(self, do: str, only: str | None = None, **task: Any) -> Iterator[tuple[str, Any]]:
        """Every contender's answer, one after the other."""
        for name in [only] if only else list(self.workers):
            try:
                yield name, self.workers[name].ask(do, **task)
            except Failed as error:
                self.reasons[name] = str(error)
                self.workers.pop(name)
                print(f"{name} drops out: {error}", file=sys.stderr)
