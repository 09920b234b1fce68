"""Which backend computes: NumPy, written to be read, or Numba, written to be fast.

A function of the student's room says in NumPy what it computes. `@runs_twin("functions")` lets the
function of the same name in engine/functions.py, its compiled twin, take the call while the backend
is "numba", which it is unless the user says otherwise. Tests hold the two equal. Numba is loaded at
the first such call and not at `import scratchnet`, which stays light.
"""

import functools
import importlib
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from .errors import InputError

BACKENDS = ("numba", "reference")

_active = os.environ.get("SCRATCHNET_BACKEND", "numba")

P = ParamSpec("P")
R = TypeVar("R")


def backend() -> str:
    """The active backend's name: "numba" unless said otherwise here or in SCRATCHNET_BACKEND."""
    return _active


def _select(name: str) -> None:
    global _active
    if name not in BACKENDS:
        raise InputError(f"kernel backend: expected one of {sorted(BACKENDS)}, found {name!r}")
    _active = name


class use_backend:  # noqa: N801 - called like a function, as in `with use_backend("reference"):`
    """Switch every function to "reference" or "numba": from now on, or inside a `with` block."""

    def __init__(self, name: str) -> None:
        self._before = _active
        _select(name)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        _select(self._before)


def runs_twin(home: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: with the backend "numba" the function of that name in engine/`home` runs.

    The NumPy function itself stays there as `function.__wrapped__`.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        twin: Callable[P, R] | None = None

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            nonlocal twin
            if _active == "reference":
                return function(*args, **kwargs)
            if twin is None:
                if _active not in BACKENDS:
                    raise InputError(
                        f"SCRATCHNET_BACKEND: expected one of {sorted(BACKENDS)}, found {_active!r}"
                    )
                module = importlib.import_module(f".engine.{home}", __package__)
                twin = getattr(module, function.__name__)
            return twin(*args, **kwargs)

        return run

    return decorate
