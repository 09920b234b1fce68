"""How loops become machine code: three decorators, and the cache in which it is kept."""

import os
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event

from .cache import KernelCache
from .launch import Parallel
from .threads import compiles, compiling, heed_environment

config: Any = numba.config  # it makes its attributes as it is loaded; mypy does not see them

# GNU OpenMP's threads spin for milliseconds when a parallel loop is over. Here the next one comes
# within 100 microseconds, and to wake a thread that sleeps takes half as long as that; but where
# another program wants the core, a training step with the default takes many times as long. Read
# by the library when Numba first runs in parallel.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

heed_environment()


class _Compiling(event.Listener):
    """Calls `threads.compiling` when something is compiled and not found in the cache.

    And sees to it that our loops, not the user's own, are compiled at LLVM's level 2 where
    NUMBA_OPT says nothing else: its level 3, Numba's default, takes a sixth longer and makes them
    no faster.
    """

    def __init__(self) -> None:
        self.levels: list[Any] = []

    def on_start(self, event: event.Event) -> None:
        compiling()
        self.levels.append(config.OPT)
        module = str(event.data["dispatcher"].py_func.__module__)  # None for what exec made
        ours = module.startswith(f"{__package__}.")
        if ours and "NUMBA_OPT" not in os.environ:
            config.OPT = type(config.OPT)(2)

    def on_end(self, event: event.Event) -> None:
        config.OPT = self.levels.pop()


event.register("numba:compile", _Compiling())


def parallel(loop: Callable[..., Any]) -> Any:
    """For a loop over `prange`, called from Python: its parts run on all threads."""
    # only prange: Numba would look for parallelism in every `a[:] = 0` as well, for seconds
    others = ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil")
    found = _compiled(loop, parallel={**dict.fromkeys((*others, "fusion"), False), "prange": True})
    return Parallel(found) if compiles() else found


def serial(loop: Callable[..., Any]) -> Any:
    """For a loop that is called from Python and runs on the calling thread alone."""
    return _compiled(loop)


def inner(loop: Callable[..., Any]) -> Any:
    """For a loop that other loops call, never Python: without a wrapper for it to compile."""
    return _compiled(loop, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _compiled(loop: Callable[..., Any], **options: Any) -> Any:
    """Compile at the first call, or load what another process compiled.

    The plain loop stays there as `py_func`; with NUMBA_DISABLE_JIT=1 it is what comes back.
    """
    compiled = numba.njit(nogil=True, error_model="numpy", **options)(loop)
    if compiles():
        compiled._cache = KernelCache(loop, options)
    return compiled
