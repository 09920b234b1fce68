"""How loops become machine code: three decorators, and the cache in which it is kept."""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from .launch import Parallel
from .threads import compiling, set_threads

config: Any = numba.config  # it makes its attributes as it is loaded; mypy does not see them

# GNU OpenMP's threads spin for milliseconds when a parallel loop is over. Here the next one comes
# within 100 microseconds, and to wake a thread that sleeps takes half as long as that; but where
# another program wants the core, a training step with the default takes many times as long. Read
# by the library when Numba first runs in parallel.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

if "SCRATCHNET_THREADS" in os.environ:
    set_threads(os.environ["SCRATCHNET_THREADS"])


def compiles() -> bool:
    """Whether Numba compiles: not with NUMBA_DISABLE_JIT=1."""
    return not config.DISABLE_JIT


@functools.cache
def _cache_folder() -> str:
    """Where machine code is kept: per user, and per content of the engine's files; "" for nowhere.

    Numba looks at the file of each loop alone; a change of what it calls in another file, as an
    upgrade brings, would go unseen. So would it in the folder of the sources, which is where Numba
    goes when this one cannot be written: better compile anew in every process.
    """
    from platformdirs import user_cache_dir

    sources = sorted(Path(__file__).parent.glob("*.py"))
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    folder = Path(user_cache_dir("scratchnet", appauthor=False)) / f"kernels-{content[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ""
    return str(folder) if os.access(folder, os.W_OK | os.X_OK) else ""


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
    """Compile at the first call, and keep the machine code where there is a folder for it.

    The plain loop stays there as `py_func`; with NUMBA_DISABLE_JIT=1 it is what comes back.
    """
    elsewhere = config.CACHE_DIR
    folder = elsewhere or _cache_folder()
    config.CACHE_DIR = folder
    try:
        return numba.njit(cache=bool(folder), nogil=True, error_model="numpy", **options)(loop)
    finally:
        config.CACHE_DIR = elsewhere
