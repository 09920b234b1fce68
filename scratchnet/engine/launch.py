"""Entering a parallel loop: from several Python threads at once, and in a process after a fork.

Numba hands the parts of a loop to one of three threading layers. TBB and OpenMP may be entered by
several Python threads at once; "workqueue", which is all there is on some machines, aborts the
process then. A process that was forked after the threads were started, be it by a loop of ours, by
`set_threads` or by a user's own loop, is ended by GNU's OpenMP, and with TBB waits for ever where
another thread was in a loop at the fork. Both are met here, since every parallel loop is called
through `Parallel`.
"""

import os
import threading
from typing import Any

import numba
from numba.core.compiler_lock import global_compiler_lock

from . import threads
from .spread import named_as


class _Layer:
    """What is known of Numba's threading layer.

    name       None until the first parallel loop has run, which decides it
    is_forked  whether this process was forked from one that had started OpenMP or TBB
    is_free    whether it is known that nothing has to be minded: most calls see this alone
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.is_forked = threads.forked_with in ("omp", "tbb")
        self.is_free = False
        self.lock = threading.Lock()

    def found(self, name: str) -> None:
        self.name, self.is_free = name, name != "workqueue" and not self.is_forked

    def after_fork(self) -> None:
        """In the child."""
        self.is_forked = threads.forked_with in ("omp", "tbb")
        self.is_free = self.is_free and not self.is_forked
        self.lock = threading.Lock()  # the parent's may have been held


_layer = _Layer()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_layer.after_fork)
    # a fork waits until no other thread compiles: in the child nobody would give the lock back
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )


class Parallel:
    """A loop on all threads, compiled; called like a function.

    inner      Numba's dispatcher of the loop, whose first argument is a Worker
    entry      and of what spread.py makes for it, whose first says whether it runs alone
    by_turns   see compiler.by_turns
    """

    def __init__(self, inner: Any, entry: Any, by_turns: bool) -> None:
        self.inner, self.entry, self.by_turns = inner, entry, by_turns
        named_as(inner.py_func, self)

    def __call__(self, *arguments: Any) -> None:
        if _layer.is_free:
            self.entry(False, *arguments)
        elif _layer.is_forked:
            self.entry(True, *arguments)  # the same parts one after the other: the same bits
        elif _layer.name == "workqueue":
            with _layer.lock:
                self.entry(False, *arguments)
        elif _layer.name is None:
            with _layer.lock:
                self.entry(False, *arguments)
                _layer.found(numba.threading_layer())  # type: ignore[attr-defined]
        else:
            self.entry(False, *arguments)
