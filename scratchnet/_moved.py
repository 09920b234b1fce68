"""Old paths of modules that have moved: they go on working.

    import scratchnet.imaging                        # finds scratchnet.pictures
    from scratchnet.imaging import prepare

To move a module: one line in MOVED, and in tests/project/test_old_paths.py the names it had. Within
the package everything imports from the new place; type checkers, too, know only that one.
"""

import sys
from importlib import import_module
from types import ModuleType

#: old path -> new path, both within the package. Each new module is loaded by `import scratchnet`:
#: do not list one here that should wait until it is used.
MOVED = {
    "imaging": "pictures",
    "kernels.memory": "engine.memory",
    "sequences": "pictures.sequences",
    "trace": "microscope.trace",
    "arithmetic": "microscope.arithmetic",
    "explain": "microscope.heat_maps",
}

#: the same for modules that are loaded when they are asked for, as attributes of the package
LATE = {"plan": "engine.plan"}


def keep_old_paths() -> None:
    """Enter the new modules in `sys.modules` under their old names as well.

    Python looks there first. What it finds it takes as already imported, so it neither loads a
    second copy nor sets an attribute of the package: `scratchnet.x` stays what `__init__` made it,
    even where a function has the name of an old module.
    """
    for old, new in MOVED.items():
        sys.modules[f"{__package__}.{old}"] = import_module(f"{__package__}.{new}")


def late(name: str) -> ModuleType:
    """The module that had that name in the package; the package's own `__getattr__`."""
    if name not in LATE:
        raise AttributeError(f"module {__package__!r} has no attribute {name!r}")
    return import_module(f"{__package__}.{LATE[name]}")
