"""One file for a model: named arrays and a description, written whole or not at all.

The format is safetensors: a length, a JSON header with each array's name, type, shape and place,
then the bytes. Nothing in it can be executed, its reader checks every size against the file before
it takes memory, and other tools open it. The description is JSON text in the header's metadata, and
beside it stands a checksum of everything: safetensors would not notice a changed number.

This module knows files, not models; what the description means is model_files.py's business.
"""

import contextlib
import hashlib
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import files
from .errors import InputError, WriteError

#: the key under which safetensors metadata holds the description
DESCRIPTION = "scratchnet"
#: the key of the checksum; files of older versions have none
CHECKSUM = "sha256"


#: how the name of a temporary file ends
LEFTOVER = re.compile(r"\.[a-z0-9_]{8}\.tmp$")


def write_atomically(path: str | os.PathLike, content: bytes) -> None:
    """Write a file so that, whatever happens, its name holds the old content or the new one.

    A temporary file in the same folder, flushed to disk, takes over the name in one step.
    """
    path = Path(path)
    if files.is_device(path):
        raise WriteError(f"{path}: cannot write there: Windows keeps this name for a device")
    try:
        handle, temporary = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
        )
    except OSError as error:
        raise WriteError(f"{path}: cannot write there: {error.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        files.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):  # the folder may be gone
            files.remove(temporary)
        raise WriteError(f"{path}: cannot write there: {error.strerror}") from None
    except BaseException:
        with contextlib.suppress(OSError):
            files.remove(temporary)
        raise
    # some file systems cannot sync a folder, and some folders cannot be opened; the file is safe
    with contextlib.suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(folder: str | os.PathLike, name: str = "*") -> None:
    """Delete what `write_atomically` left when it was killed, of files whose name has that form.

    Only for a folder in which nothing else writes now.
    """
    for path in Path(folder).glob(f".{name}.*.tmp"):
        # the rest of the name is mkstemp's: a user's own ".my.notes.tmp" stays
        if LEFTOVER.search(path.name) and path.is_file():
            with contextlib.suppress(OSError):  # it does no harm
                files.remove(path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def save(path: str | os.PathLike, description: dict[str, Any], arrays: dict[str, NDArray]) -> None:
    """Write arrays and description to one file, atomically."""
    from safetensors.numpy import save as to_bytes

    # safetensors writes the memory as it lies: an array that is not contiguous would be scrambled
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps(description, default=lambda numbers: numbers.tolist())  # NumPy's
    metadata = {DESCRIPTION: text, CHECKSUM: _checksum(text, whole)}
    write_atomically(path, _in_order(to_bytes(whole, metadata=metadata)))


def _in_order(content: bytes) -> bytes:
    """The same safetensors with sorted metadata: the library's order changes from call to call."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers after it lie where they may
    return len(text).to_bytes(8, "little") + text + content[start:]


def _checksum(text: str, arrays: dict[str, NDArray]) -> str:
    """SHA-256 of the description, and of every array's name, form and content."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def load(path: str | os.PathLike) -> tuple[dict[str, Any], dict[str, NDArray]]:
    """Description and arrays of a file that `save` wrote, or an InputError that names the file."""
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    try:
        if not path.is_file():
            kind = "a folder" if path.is_dir() else "no such file"
            raise InputError(f"{path}: expected a model file, found {kind}")
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            text = metadata.get(DESCRIPTION)
            if text is None:
                raise InputError(
                    f"{path}: expected a scratchnet model, found safetensors of something else"
                )
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        # the last two: number formats that safetensors knows and NumPy does not
        reason = " ".join(str(error).split())
        raise InputError(
            f"{path}: expected a scratchnet model, found a damaged or foreign file ({reason})"
        ) from None
    if CHECKSUM in metadata and metadata[CHECKSUM] != _checksum(text, arrays):
        raise InputError(
            f"{path}: expected the content that was saved, found a damaged file "
            "(its checksum is another)"
        )
    try:
        description = json.loads(text)
    except (ValueError, RecursionError):
        description = None
    if not isinstance(description, dict):
        raise InputError(f"{path}: expected a model description in JSON, found something else")
    return description, arrays
