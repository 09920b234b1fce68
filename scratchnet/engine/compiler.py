"""How loops become machine code: five decorators, and the cache in which it is kept."""

import gc
import os
from collections.abc import Callable
from typing import Any

import numba
from numba.core import event, types
from numba.core.sigutils import normalize_signature

from . import spread
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
    no faster. And that meanwhile nobody looks for garbage among the compiler's hundred thousands of
    small objects, which takes a tenth of the time.
    """

    def __init__(self) -> None:
        self.levels: list[Any] = []
        self.collected = False

    def on_start(self, event: event.Event) -> None:
        compiling()
        if not self.levels:
            self.collected = gc.isenabled()
            gc.disable()
        self.levels.append(config.OPT)
        module = str(event.data["dispatcher"].py_func.__module__)  # None for what exec made
        ours = module.startswith(f"{__package__}.")
        if ours and "NUMBA_OPT" not in os.environ:
            config.OPT = type(config.OPT)(2)

    def on_end(self, event: event.Event) -> None:
        config.OPT = self.levels.pop()
        if self.collected and not self.levels:
            gc.enable()


event.register("numba:compile", _Compiling())


def parallel(loop: Callable[..., Any]) -> Any:
    """For a loop whose first argument is a `Worker`: called from Python without it, on all threads.

    It writes into what it is given to write into, which is new memory; see `in_place` else.
    """
    return _on_all_threads(loop, _takes_read_only)


def by_turns(loop: Callable[..., Any]) -> Any:
    """As `parallel`, for a loop whose parts are handed out while it runs: see turns.py.

    Its last argument counts what has been handed out, and is set to zero first.
    """
    return _on_all_threads(loop, _takes_read_only, by_turns=True)


def in_place(loop: Callable[..., Any]) -> Any:
    """As `parallel`, for a loop that changes its caller's arrays: those may not be read-only."""
    return _on_all_threads(loop, lambda compiled: compiled)


def _on_all_threads(
    loop: Callable[..., Any], adapted: Callable[[Any], Any], by_turns: bool = False
) -> Any:
    if not compiles():
        return spread.plain(loop, by_turns)
    compiled = inner(loop)
    entry = _compiled(spread.entry(loop, compiled, by_turns), known_as=loop)
    return Parallel(compiled, _beside_threads(adapted(_once(entry))), by_turns)


def _beside_threads(compiled: Any) -> Any:
    """The same loop, compiled or loaded when Numba's threads are there for it to call."""
    compile_now = compiled.compile

    def compile(signature: Any) -> Any:
        numba.get_num_threads()  # starts them
        return compile_now(signature)

    compiled.compile = compile
    return compiled


def serial(loop: Callable[..., Any]) -> Any:
    """For a loop that is called from Python and runs on the calling thread alone."""
    return _takes_read_only(_once(_compiled(loop)))


def inner(loop: Callable[..., Any]) -> Any:
    """For a loop that other loops call, never Python: without a wrapper for it to compile.

    And without Numba's memory: it may take parts of the arrays it is given, but make none, and so
    nothing is counted. The same holds for the loops on all threads: scratch is an argument.
    """
    return _compiled(loop, no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)


def _compiled(
    loop: Callable[..., Any], known_as: Callable[..., Any] | None = None, **options: Any
) -> Any:
    """Compile at the first call, or load what another process compiled.

    The plain loop stays there as `py_func`; with NUMBA_DISABLE_JIT=1 it is what comes back.
    known_as: the loop that another, made for it, is kept in the cache under the name of.
    """
    compiled = numba.njit(nogil=True, error_model="numpy", **options)(loop)
    if compiles():
        compiled._cache = KernelCache(known_as or loop, options)
    return compiled


def _once(compiled: Any) -> Any:
    """The same loop, compiled by one process while others that need it wait for that."""
    if compiles():
        compile_now = compiled.compile

        def compile(signature: Any) -> Any:
            kinds, _ = normalize_signature(signature)
            with compiled._cache.alone(kinds, compiled.targetctx):
                return compile_now(signature)

        compiled.compile = compile
    return compiled


def _takes_read_only(compiled: Any) -> Any:
    """The same loop, not compiled once more for arrays that are read-only.

    Numba gives those a type of their own, and so twice the time to whoever reads images from a
    file that is mapped into memory. To the machine they are the same. Here the loop is compiled, or
    taken from the cache, as if they could be written to, and entered under both types.
    """
    if not compiles():
        return compiled
    compile_as_given = compiled.compile

    def compile(signature: Any) -> Any:
        kinds, returns = normalize_signature(signature)
        as_writable = tuple(writable(kind) for kind in kinds)
        if as_writable == tuple(kinds) or returns is not None:
            return compile_as_given(signature)
        entry = compile_as_given(as_writable)
        if kinds not in compiled.overloads:
            compiled.overloads[kinds] = compiled.overloads[as_writable]
            compiled._insert([kind._code for kind in kinds], entry, False)
        return entry

    compiled.compile = compile
    return compiled


def writable(kind: Any) -> Any:
    """A type of Numba's, where it is that of a read-only array as that of another."""
    return kind.copy(readonly=False) if isinstance(kind, types.Array) else kind
