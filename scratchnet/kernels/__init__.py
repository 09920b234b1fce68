"""The optimiser's room: loops over arrays, behind names that both backends share.

`reference` says in NumPy what every kernel computes; `compiled` computes the same with Numba. A
layer writes `kernels.im2col(x, ...)` and gets the active backend's. Numba is loaded at the first
such call and not at `import scratchnet`, which stays light.
"""

import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from ..errors import InputError

#: every kernel; each backend has all of them, with the same signatures (a test holds this)
KERNELS = (
    "im2col",
    "col2im",
    "max_pool",
    "max_pool_backward",
    "average_pool",
    "average_pool_backward",
    "relu",
    "relu_backward",
    "sum_rows",
    "sgd_step",
    "adam_step",
    "average_step",
)

BACKENDS = {"reference": ".reference", "numba": ".compiled"}

#: kernels of augmentation, which the backend "numba" has in a file that is loaded for them alone
AUGMENTING = ("warp", "smooth")

_active = os.environ.get("SCRATCHNET_BACKEND", "numba")
_modules: dict[str, ModuleType] = {}


def backend() -> str:
    """The active backend's name: "numba" unless said otherwise here or in SCRATCHNET_BACKEND."""
    return _active


def _select(name: str) -> None:
    global _active
    if name not in BACKENDS:
        raise InputError(f"kernel backend: expected one of {sorted(BACKENDS)}, found {name!r}")
    _active = name


class use_backend:  # noqa: N801 - called like a function, as in `with use_backend("reference"):`
    """Switch every kernel to "reference" or "numba": from now on, or inside a `with` block."""

    def __init__(self, name: str) -> None:
        self._before = _active
        _select(name)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        _select(self._before)


def __getattr__(name: str) -> Any:
    if name not in KERNELS + AUGMENTING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _active not in BACKENDS:
        raise InputError(
            f"SCRATCHNET_BACKEND: expected one of {sorted(BACKENDS)}, found {_active!r}"
        )
    home = BACKENDS[_active]
    if name in AUGMENTING and _active == "numba":
        home = ".augment"
    if home not in _modules:
        _modules[home] = importlib.import_module(home, __name__)
    return getattr(_modules[home], name)


def compiles() -> bool:
    """Whether Numba compiles: not with NUMBA_DISABLE_JIT=1."""
    import numba

    return not numba.config.DISABLE_JIT


def set_threads(number: int | str) -> None:
    """How many threads the kernels use, from now on; results have the same bits for any number.

    The environment variable SCRATCHNET_THREADS sets it from the start.
    """
    import numba

    most = numba.config.NUMBA_NUM_THREADS
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


#: called once, when the first kernel is compiled because the cache does not hold it
announce: Callable[[], None] | None = None


def told() -> None:
    """Call `announce`, the first time."""
    global announce
    if announce:
        call, announce = announce, None
        call()


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
