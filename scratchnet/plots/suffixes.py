"""As what a picture can be written; known before matplotlib is loaded."""

import os
from pathlib import Path

from ..errors import InputError

#: by suffix; the same figure gives the same bytes: no date in them, no random ids
METADATA: dict[str, dict[str, None]] = {
    ".png": {},
    ".svg": {"Date": None},
    ".pdf": {"CreationDate": None},
}


def check_suffix(path: str | os.PathLike[str]) -> str:
    """The path's suffix, in small letters; raises where no picture is written with it."""
    suffix = Path(path).suffix.lower()
    if suffix not in METADATA:
        raise InputError(f"{path}: expected .png, .svg or .pdf, found {suffix or 'no suffix'}")
    return suffix
