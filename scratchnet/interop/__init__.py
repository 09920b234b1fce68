"""Networks and weights to and from other tools: one module for each, loaded when it is asked for.

The libraries of those tools are no part of a plain installation; `need` gets one or says how to.
"""

import importlib
from types import ModuleType

from ..errors import InputError


def need(library: str, extra: str = "interop") -> ModuleType:
    """The module `library`, or an InputError that names the extra which installs it."""
    try:
        return importlib.import_module(library)
    except ImportError:
        raise InputError(
            f'{library}: not installed; pip install "scratchnet[{extra}]" brings it'
        ) from None
