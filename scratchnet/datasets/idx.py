"""IDX, the file format of MNIST: a header of big-endian numbers, then the bytes of one array.

    00 00 | type (08: unsigned byte) | number of axes | size of each axis, 4 bytes each | data

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits", file formats.
"""

import gzip
import io
import math
import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError

Split = tuple[NDArray[np.uint8], NDArray[np.uint8]]

UNSIGNED_BYTE = 0x08
PIECE = 1 << 20  # bytes read at once
MOST_UNPACKED = 1 << 31  # bytes; EMNIST's largest set has 0.55e9, and 3 MB of gzip can hold more

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def read(path: str | os.PathLike, axes: int) -> NDArray[np.uint8]:
    """The array of unsigned bytes in an IDX file with that many axes.

    The file may be packed with gzip (seen by its first bytes, not by its name).
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:
            if file.peek(2)[:2] == b"\x1f\x8b":
                with gzip.open(file) as unpacked:
                    return _array(unpacked, path, axes, most=MOST_UNPACKED)
            return _array(file, path, axes, whole=os.fstat(file.fileno()).st_size)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: expected a readable IDX file, found: {reason}") from None
    except (EOFError, zlib.error):
        raise InputError(
            f"{path}: expected a whole gzip file, found a truncated or damaged one"
        ) from None
    except MemoryError:
        raise InputError(f"{path}: expected an array that fits in memory, found more") from None


def memory_map(path: str | os.PathLike, axes: int) -> NDArray[np.uint8]:
    """The same array, left in the file: only what is looked at is read. Not packed, then.

    For sets larger than memory: `fit` reads the images of each batch when it comes.
    """
    path = Path(path)
    start = 4 + 4 * axes
    try:
        with open(path, "rb") as file:
            content, whole = file.read(start), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise InputError(f"{path}: expected a readable IDX file: {error.strerror}") from None
    if content[:2] == b"\x1f\x8b":
        raise InputError(f"{path}: expected an IDX file that is not packed, found gzip")
    if len(content) < start or content[:4] != bytes([0, 0, UNSIGNED_BYTE, axes]):
        raise InputError(
            f"{path}: expected IDX of unsigned bytes with {axes} axes, found {_looks_like(content)}"
        )
    shape = struct.unpack(f">{axes}I", content[4:])
    if whole != start + math.prod(shape) or not math.prod(shape):
        raise InputError(
            f"{path}: expected {start + math.prod(shape):,} bytes for an array of {shape}, "
            f"found {whole:,}"
        )
    return np.memmap(path, np.uint8, "r", start, shape)


def header(shape: tuple[int, ...]) -> bytes:
    """What stands before the bytes of an array of that shape."""
    return bytes([0, 0, UNSIGNED_BYTE, len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


def parse(content: bytes, path: str | os.PathLike, axes: int) -> NDArray[np.uint8]:
    """The array in an IDX file's content; `path` is for the error message."""
    return _array(io.BytesIO(content), path, axes, whole=len(content))


def _array(
    file: io.BufferedIOBase,
    path: str | os.PathLike,
    axes: int,
    whole: int | None = None,
    most: int | None = None,
) -> NDArray[np.uint8]:
    """The array in an open file: the header, then no more than it announces.

    whole   the file's length, if it is known, for the error message
    most    refuse more bytes than that
    """
    length = 4 + 4 * axes
    start = file.read(length)
    if len(start) < length or start[:2] != b"\0\0":
        raise InputError(f"{path}: expected an IDX file, found {_looks_like(start)}")
    if start[2] != UNSIGNED_BYTE or start[3] != axes:
        raise InputError(
            f"{path}: expected IDX of unsigned bytes (type 0x08) with {axes} axes, "
            f"found type 0x{start[2]:02x} with {start[3]}"
        )
    shape = struct.unpack(f">{axes}I", start[4:])
    size = math.prod(shape)
    enough = 1 + (size if most is None else min(size, most))
    # in pieces: what a header announces need not be there, and is not to take memory
    content = bytearray()
    while piece := file.read(min(PIECE, enough - len(content))):
        content += piece
    if len(content) == enough and enough <= size:
        raise InputError(f"{path}: expected at most {most:,} bytes in a gzip file, found {size:,}")
    if len(content) != size:
        found = f"{length + len(content):,}"
        if len(content) > size:
            found = f"{whole:,}" if whole else "more"
        raise InputError(
            f"{path}: expected {length + size:,} bytes for an array of {shape}, found {found}"
        )
    if math.prod(max(side, 1) for side in shape) > sys.maxsize:  # NumPy has no such array
        raise InputError(f"{path}: expected at least one image, found an array of {shape}")
    return np.frombuffer(content, np.uint8).reshape(shape)


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
