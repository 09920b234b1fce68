"""Cores: how many threads the loops use, and BLAS held to one beside them.

Light: Numba is loaded when something here is called.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..errors import InputError


def set_threads(number: int | str) -> None:
    """How many threads the kernels use, from now on; results have the same bits for any number.

    The environment variable SCRATCHNET_THREADS sets it from the start.
    """
    import numba

    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if not str(number).isdecimal() or not 1 <= int(number) <= most:
        raise InputError(f"threads: expected a whole number from 1 to {most}, found {number!r}")
    numba.set_num_threads(int(number))


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the kernels inside the block on the calling thread: waking another takes longer."""
    import numba

    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)


class _Blas:
    """The limit on BLAS's threads, set by the first who asks for it and given back by the last.

    The setting is the process's, not the thread's: a Python thread that is done must not give BLAS
    all cores again while another still computes.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.held = 0
        self.controller: Any = None
        self.limit: Any = None

    def hold(self) -> None:
        with self.lock:
            if self.held == 0:
                if self.controller is None:
                    from threadpoolctl import ThreadpoolController

                    self.controller = ThreadpoolController()
                self.limit = self.controller.limit(limits=1, user_api="blas")
                self.limit.__enter__()
            self.held += 1

    def release(self) -> None:
        with self.lock:
            self.held -= 1
            if self.held == 0:
                self.limit.__exit__(None, None, None)


_blas = _Blas()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold NumPy's BLAS to one thread inside the block, and give the caller's setting back.

    BLAS and Numba each keep a pool of threads, and an idle BLAS thread spins for a while before it
    sleeps: with two such pools on the same cores a training step takes many times as long.
    """
    _blas.hold()
    try:
        yield
    finally:
        _blas.release()


_on_compiling: Callable[[], None] | None = None


def on_compiling(call: Callable[[], None] | None) -> None:
    """Have `call` called once, when the first loop is compiled because the cache lacks it."""
    global _on_compiling
    _on_compiling = call


def compiling() -> None:
    """Call what `on_compiling` was given, the first time."""
    global _on_compiling
    if _on_compiling:
        call, _on_compiling = _on_compiling, None
        call()
