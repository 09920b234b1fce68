"""What a row of groups needs compiled, and its compiling: shared with other processes.

A first training waits for its loops to be compiled, most of them one after the other. Here they are
known before anything runs: the groups go forward and back without making their calls, and what they
would have called, with arguments of which types, is the work. Processes that do the same come to
the same list, and each takes from it what none has taken; the cache of compiled loops is theirs in
common.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import typeof
from numba.core.dispatcher import Dispatcher

from .group import DryRun, Group, Single
from .launch import Parallel
from .threads import compiles

config: Any = numba.config  # it makes its attributes as it is loaded; mypy does not see them


class Job(NamedTuple):
    """A loop to be compiled for arguments of those types."""

    loop: Any
    types: tuple[Any, ...]

    @property
    def name(self) -> str:
        """The same in all processes, and of no other job."""
        return str(self.place and self.place.name)

    @property
    def place(self) -> Path | None:
        """Its file in the cache; None if there is no cache."""
        return self.loop._cache.place_of(self.types, self.loop.targetctx)

    @property
    def size(self) -> int:
        """Of its source and of all that it calls: which one takes longest."""
        seen: set[Any] = set()

        def length(loop: Any) -> int:
            if loop in seen:
                return 0
            seen.add(loop)
            code, names = loop.py_func.__code__, loop.py_func.__globals__
            called = (names.get(name) for name in code.co_names)
            return len(code.co_code) + sum(length(c) for c in called if isinstance(c, Dispatcher))

        return length(self.loop)

    def run(self) -> None:
        self.loop.compile(self.types)


class Call(NamedTuple):
    """A call that has its loops compiled."""

    name: str
    run: Callable[[], Any]


def jobs(groups: Sequence[Single | Group], input_shape: tuple[int, ...], n: int) -> list[Job]:
    """What a training step needs that is not compiled yet, the longest first.

    groups   of a model that is used for nothing else: their state is overwritten
    n        the batch
    """
    if not compiles():
        return []
    record = DryRun()
    Group.record = record
    try:
        x: Any = np.zeros((n, *input_shape), _dtype_of(groups))
        for group in groups:
            x = group.forward(x, True)
        dy: Any = np.zeros_like(x)
        learn = [i for i, group in enumerate(groups) if any(one.learns for one in group.layers)]
        for i in range(len(groups) - 1, min(learn, default=len(groups)) - 1, -1):
            dy = groups[i].backward(dy, i > min(learn))
    finally:
        Group.record = None
    found = dict.fromkeys(_job(loop, arguments) for loop, arguments in record)
    missing = [job for job in found if job.place and not job.place.exists()]
    return sorted(missing, key=lambda job: -job.size)


def _job(loop: Any, arguments: tuple[Any, ...]) -> Job:
    if isinstance(loop, Parallel):
        loop, arguments = loop.entry, (False, *arguments)
    return Job(loop, tuple(map(typeof, arguments)))


def cores() -> int:
    """How many threads Numba uses: this process may not be meant to take more."""
    return int(config.NUMBA_NUM_THREADS)


def _dtype_of(groups: Sequence[Single | Group]) -> Any:
    parameters = (p for group in groups for layer in group.layers for p in layer.params.values())
    return next((p.dtype for p in parameters), np.float32)


def work(found: Sequence[Job | Call], claims: Path, told: Callable[[int], None]) -> None:
    """Do what no other process has claimed, until all is claimed.

    claims   a folder that the processes share, empty to begin with
    told     is called with the number of the job that is next, from 0 on
    """
    for number, job in enumerate(found):
        try:
            os.close(os.open(claims / job.name, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        told(number)
        job.run()
