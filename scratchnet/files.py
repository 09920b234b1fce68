"""Files that another program holds open for a moment, and names that Windows keeps for devices.

Windows neither replaces nor deletes a file that is open, and virus scanners and indexers open every
new one. They let go of it soon, so there it is tried again for a second. Elsewhere an open file is
no hindrance, and a refusal is final.
"""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

WINDOWS = os.name == "nt"
#: how long it is tried, and how long to wait in between
SECONDS, PAUSE = 1.0, 0.02

#: with any ending: NUL.png is the same device as NUL
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.I)


def replace(source: str | os.PathLike, target: str | os.PathLike) -> None:
    """Give the file the other one's name, in one step; that one is gone then."""
    _insist(lambda: os.replace(source, target))


def remove(path: str | os.PathLike) -> None:
    """Delete the file; nothing where there is none."""
    _insist(lambda: Path(path).unlink(missing_ok=True))


def is_device(path: str | os.PathLike) -> bool:
    """Whether Windows takes the name for a device, and this is Windows."""
    return WINDOWS and _DEVICE.fullmatch(Path(path).name) is not None


def _insist(do: Callable[[], object]) -> None:
    end = time.monotonic() + (SECONDS if WINDOWS else 0)
    while True:
        try:
            do()
            return
        except PermissionError:
            if time.monotonic() >= end:
                raise
        time.sleep(PAUSE)
