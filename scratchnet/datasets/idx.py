"""IDX, the file format of MNIST: a header of big-endian numbers, then the bytes of one array.

    00 00 | type (08: unsigned byte) | number of axes | size of each axis, 4 bytes each | data

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", file formats.
"""

import gzip
import math
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]

UNSIGNED_BYTE = 0x08

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read_bytes(path: str | os.PathLike) -> bytes:
    """A file's content, unpacked if it is gzip, by its first bytes and not by its name."""
    path = Path(path)
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: expected a readable IDX file, found: {reason}") from None
    except (EOFError, zlib.error):
        raise InputError(
            f"{path}: expected a whole gzip file, found a truncated or damaged one"
        ) from None


def read(path: str | os.PathLike, axes: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file with that many axes."""
    return parse(read_bytes(path), path, axes)


def parse(content: bytes, path: str | os.PathLike, axes: int) -> NDArray[np.uint8]:
    """The array in an IDX file's content; `path` is for the error message."""
    header = 4 + 4 * axes
    if len(content) < header or content[:2] != b"\0\0":
        raise InputError(f"{path}: expected an IDX file, found {_looks_like(content)}")
    if content[2] != UNSIGNED_BYTE or content[3] != axes:
        raise InputError(
            f"{path}: expected IDX of unsigned bytes (type 0x08) with {axes} axes, "
            f"found type 0x{content[2]:02x} with {content[3]}"
        )
    shape = struct.unpack(f">{axes}I", content[4:header])
    expected = header + math.prod(shape)
    if len(content) != expected:
        raise InputError(
            f"{path}: expected {expected:,} bytes for an array of {shape}, found {len(content):,}"
        )
    # a copy: an array over `bytes` would be read-only
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def load_folder(folder: str | os.PathLike) -> tuple[Split, Split]:
    """((x_train, y_train), (x_test, y_test)) from four IDX files named as MNIST's, plain or .gz.

    Images (n, h, w) and labels (n,), both uint8.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: expected a folder of IDX files, found no folder there")
    paths = []
    for name in FILES:
        found = [path for path in (folder / name, folder / f"{name}.gz") if os.path.isfile(path)]
        if not found:
            raise InputError(f"{folder}: expected {name} or {name}.gz in it, found neither")
        paths.append(found[0])
    train = pair_up(read(paths[0], 3), read(paths[1], 1), folder)
    test = pair_up(read(paths[2], 3), read(paths[3], 1), folder)
    sizes = [x.shape[1:] for x, _ in (train, test)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"{folder}: expected images of one size, found {sizes[0]} and {sizes[1]} (test)"
        )
    return train, test


def pair_up(x: NDArray[np.uint8], y: NDArray[np.uint8], folder: str | os.PathLike) -> Split:
    """Images and labels of one split, after a look at whether they belong together."""
    if len(x) != len(y):
        raise InputError(
            f"{folder}: expected as many labels as images, found {len(y)} for {len(x)}"
        )
    if x.size == 0:
        raise InputError(f"{folder}: expected at least one image, found an array of {x.shape}")
    return x, y


def _looks_like(content: bytes) -> str:
    if not content:
        return "an empty file"
    return f"a file that starts with {content[:8]!r}"
