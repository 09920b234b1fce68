"""Cores: how many threads the loops use, and BLAS held to one beside them.

Light: Numba is loaded when something here is called.
"""

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


_controller: Any = None
_blas_is_held = False


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold NumPy's BLAS to one thread inside the block, and give the caller's setting back.

    BLAS and Numba each keep a pool of threads, and an idle BLAS thread spins for a while before it
    sleeps: with two such pools on the same cores a training step takes many times as long.
    """
    global _controller, _blas_is_held
    if _blas_is_held:
        yield
        return
    if _controller is None:
        from threadpoolctl import ThreadpoolController

        _controller = ThreadpoolController()
    with _controller.limit(limits=1, user_api="blas"):
        _blas_is_held = True
        try:
            yield
        finally:
            _blas_is_held = False


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
