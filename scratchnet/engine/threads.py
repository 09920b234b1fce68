"""Cores: how many threads the loops use, and BLAS held to one beside them.

Also what the environment says of Numba. Light: Numba is loaded when something here is called.
"""

import importlib.util
import os
import re
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import InputError

MOST_THREADS = 1024  # with far more, GNU OpenMP ends the process
LAYERS = ("default", "safe", "threadsafe", "forksafe", "tbb", "omp", "workqueue")
#: what has to be installed for a layer: one of these modules of Numba's
LIBRARIES = {"tbb": ["tbb"], "safe": ["tbb"], "omp": ["omp"], "threadsafe": ["tbb", "omp"]}

# Numba warns of a value that it cannot read, traceback included, and goes on without it; with a
# number of threads below 1 it cannot be loaded. `heed_environment` says either in one line.
_number_refused = ""
if any(name.startswith("NUMBA_") for name in os.environ):
    warnings.filterwarnings("ignore", "Environment variable 'NUMBA_", RuntimeWarning)
    _number = os.environ.get("NUMBA_NUM_THREADS", "").strip()
    if re.fullmatch("[+-]?[0-9]+", _number) and not re.fullmatch("0*[1-9][0-9]{,3}", _number):
        _number_refused = os.environ.pop("NUMBA_NUM_THREADS")

#: the threading layer that was at work when this process was forked; None where none was
forked_with: str | None = None


def _note_fork() -> None:
    """In the child, where Numba still says what its parent has started, if that has loaded it."""
    global forked_with
    numba = sys.modules.get("numba")
    with suppress(AttributeError, ValueError):  # half loaded; not started
        forked_with = numba.threading_layer() if numba else None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_fork)


def heed_environment() -> None:
    """Set the threads that SCRATCHNET_THREADS says, and check what Numba's variables say.

    InputError for a value that Numba would pass over, or that would end the process later.
    """
    if _number_refused or any(name.startswith("NUMBA_") for name in os.environ):
        _check_numba()
    if "SCRATCHNET_THREADS" in os.environ:
        _set_threads(os.environ["SCRATCHNET_THREADS"], "SCRATCHNET_THREADS")


def _check_numba() -> None:
    import numba

    config: Any = numba.config
    if _number_refused or config.NUMBA_NUM_THREADS > MOST_THREADS:
        found = _number_refused or config.NUMBA_NUM_THREADS
        raise InputError(
            f"NUMBA_NUM_THREADS: expected an integer from 1 to {MOST_THREADS}, found {found}"
        )
    for name, value, reason in _not_understood():
        wanted = "an integer" if "int()" in reason else "a value that Numba knows"
        raise InputError(f"{name}: expected {wanted}, found {value!r}")
    layer, order = config.THREADING_LAYER.lower(), config.THREADING_LAYER_PRIORITY
    if layer not in LAYERS:
        known = ", ".join(LAYERS)
        raise InputError(f"NUMBA_THREADING_LAYER: expected one of {known}, found {layer!r}")
    if layer in LIBRARIES and not any(map(_is_installed, LIBRARIES[layer])):
        raise InputError(
            f"NUMBA_THREADING_LAYER: expected a layer that is installed, found {layer!r}, which "
            f"needs {' or '.join(LIBRARIES[layer])}"
        )
    if sorted(order) != sorted(LAYERS[-3:]):
        raise InputError(
            f"NUMBA_THREADING_LAYER_PRIORITY: expected {', '.join(LAYERS[-3:])} in any order, "
            f"found {' '.join(order)!r}"
        )
    for feature in (config.CPU_FEATURES or "").split(","):  # LLVM ends the process
        if feature and feature[0] not in "+-":
            raise InputError(
                f"NUMBA_CPU_FEATURES: expected names with + or - before them, found {feature!r}"
            )


def _is_installed(library: str) -> bool:
    try:
        importlib.import_module(f"numba.np.ufunc.{library}pool")
    except ImportError:
        return False
    return True


def _not_understood() -> list[tuple[str, str, str]]:
    """Name, value and reason of the variables that Numba could not read."""
    # Numba's settings may have been changed since it was loaded, so its file is run once more,
    # apart from them
    spec = importlib.util.find_spec("numba.core.config")
    assert spec is not None and spec.loader is not None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    pattern = re.compile(
        r"Environment variable '(\w+)' is .*? value '(.*?)' could not be (.*)", re.S
    )
    found = [pattern.match(str(item.message)) for item in caught]
    return [(match[1], match[2], match[3]) for match in found if match]


def compiles() -> bool:
    """Whether Numba compiles: not with NUMBA_DISABLE_JIT=1."""
    import numba

    config: Any = numba.config
    return not config.DISABLE_JIT


def set_threads(number: int | str) -> None:
    """How many threads the kernels use, from now on; results have the same bits for any number.

    The environment variable SCRATCHNET_THREADS sets it from the start.
    """
    _set_threads(number, "threads")


def _set_threads(number: int | str, name: str) -> None:
    import numba

    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    if not re.fullmatch("[0-9]{1,9}", str(number)) or not 1 <= int(number) <= most:
        raise InputError(f"{name}: expected an integer from 1 to {most}, found {number!r}")
    numba.set_num_threads(int(number))


def bind(number: int, of: int) -> None:
    """Share this machine's cores with other processes: this is number `number` of so many.

    Each has its own cores, and as many threads. Where there are fewer cores than processes they are
    not held to any, and have one thread. SCRATCHNET_THREADS and NUMBA_NUM_THREADS go before.
    """
    if of < 2 or "SCRATCHNET_THREADS" in os.environ or "NUMBA_NUM_THREADS" in os.environ:
        return
    if hasattr(os, "sched_getaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        each = max(len(cores) // of, 1)
        if len(cores) >= of:
            os.sched_setaffinity(0, cores[number * each : (number + 1) * each])
    else:
        each = max((os.cpu_count() or 1) // of, 1)
    if "numba" in sys.modules:
        set_threads(min(each, sys.modules["numba"].config.NUMBA_NUM_THREADS))
    else:
        os.environ["NUMBA_NUM_THREADS"] = str(each)


def threads() -> int:
    """How many threads the kernels use."""
    import numba

    return numba.get_num_threads()


def instructions() -> str:
    """The widest vectors that kernels are compiled for: AVX-512, AVX2, AVX, SSE2, NEON, or "".

    The processor's, or what NUMBA_CPU_FEATURES says.
    """
    import llvmlite.binding as llvm
    import numba

    config: Any = numba.config
    if config.CPU_FEATURES is None:
        try:
            found = {name for name, has in llvm.get_host_cpu_features().items() if has}
        except RuntimeError:  # LLVM cannot say it here
            return ""
    else:
        found = {word[1:] for word in config.CPU_FEATURES.split(",") if word.startswith("+")}
    names = {"avx512f": "AVX-512", "avx2": "AVX2", "avx": "AVX", "sse2": "SSE2", "neon": "NEON"}
    return next((said for name, said in names.items() if name in found), "")


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

    def renew(self) -> None:
        self.lock = threading.Lock()

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
if hasattr(os, "register_at_fork"):  # another thread of the parent's may have had it
    os.register_at_fork(after_in_child=_blas.renew)


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
