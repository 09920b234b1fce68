"""Weights alone, as plain arrays by name: safetensors and NumPy's npz, out and in.

The names are those of `Sequential.arrays`: "conv2d.W", "conv2d.b", "batchnorm.running_mean". The
architecture is not in such a file; to keep both, `Sequential.save` is the way. A file that `save`
wrote is safetensors too, so `load_weights` reads it as well.
"""

import io
import stat
import warnings
import zipfile
from collections.abc import Callable, Set
from os import PathLike
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoint import write_atomically
from ..errors import InputError
from ..model import Sequential

#: what may stand in an npz file before the numbers: a magic word, version, type and shape
NPY_HEADER = 2**16


def save_safetensors(model: Sequential, path: str | PathLike) -> None:
    """Write the model's arrays as safetensors, atomically."""
    from safetensors.numpy import save

    # safetensors writes the memory as it lies: an array that is not contiguous would be scrambled
    arrays = {name: np.ascontiguousarray(array) for name, array in model.arrays().items()}
    write_atomically(path, save(arrays))


def save_npz(model: Sequential, path: str | PathLike) -> None:
    """Write the model's arrays as a compressed npz archive, atomically."""
    content = io.BytesIO()
    arrays: dict[str, Any] = dict(model.arrays())
    np.savez_compressed(content, **arrays)
    write_atomically(path, content.getvalue())


def load_weights(model: Sequential, path: str | PathLike) -> None:
    """Fill a built model with the arrays of a .safetensors or .npz file, in place.

    It must hold an array for each of the model's, of the same name and shape, and no others;
    otherwise the model stays as it is. Floats of any size are taken, in the model's dtype.
    """
    path, ours = Path(path), model.arrays()
    if not model.built:
        raise InputError("load_weights: expected a model with an input shape; build it first")
    if path.suffix not in READERS:
        raise InputError(f"{path}: expected a name in {' or '.join(READERS)}")
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            found = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise InputError(f"expected a file, found {found}")
        arrays = READERS[path.suffix](path, ours)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror or error}") from None
    for name, array in ours.items():
        array[:] = arrays[name]


def _check_names(found: Set[str], ours: dict[str, NDArray]) -> None:
    for missing in sorted(ours.keys() - found):
        raise InputError(f"expected an array {missing!r}, found none of that name")
    for unexpected in sorted(found - ours.keys()):
        name = _short(repr(unexpected))  # from a file, and as long as it likes
        raise InputError(f"expected the arrays of the model alone, found {name} as well")


def _check(name: str, ours: NDArray, shape: tuple[int, ...], dtype: Any = None) -> None:
    if shape != ours.shape:
        raise InputError(f"{name}: expected shape {ours.shape}, found {shape}")
    if dtype is not None and dtype.kind != "f":
        raise InputError(f"{name}: expected floating-point numbers, found {dtype}")


def _read_safetensors(path: Path, ours: dict[str, NDArray]) -> dict[str, NDArray]:
    from safetensors import safe_open

    arrays = {}
    try:
        with safe_open(path, framework="numpy") as file:
            _check_names(set(file.keys()), ours)
            for name, array in ours.items():  # the header alone, before memory is taken
                _check(name, array, tuple(file.get_slice(name).get_shape()))
            for name, array in ours.items():
                arrays[name] = file.get_tensor(name)
                _check(name, array, arrays[name].shape, arrays[name].dtype)
    except (InputError, OSError):
        raise
    except Exception as error:  # of damage, and of number formats that NumPy does not know
        raise InputError(
            f"expected safetensors, found a damaged or foreign file ({_one_line(error)})"
        ) from None
    return arrays


def _read_npz(path: Path, ours: dict[str, NDArray]) -> dict[str, NDArray]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            _check_names(set(members), ours)
            for name, array in ours.items():  # before memory is taken: a small file may hold much
                size = members[name].file_size
                if size > 8 * array.size + NPY_HEADER:
                    raise InputError(f"{name}: expected shape {array.shape}, found {size} bytes")
                if members[name].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise ValueError(f"{name} is packed in a way that NumPy does not use")
            arrays = {}
            for name, array in ours.items():
                with archive.open(members[name]) as file:
                    arrays[name] = _read_npy(file, name, array)
            return arrays
    except (InputError, OSError):
        raise
    except Exception as error:  # zipfile, zlib and NumPy's reader of headers raise anything
        raise InputError(
            f"expected npz, found a damaged or foreign file ({_one_line(error)})"
        ) from None


def _read_npy(file: IO[bytes], name: str, ours: NDArray) -> NDArray:
    """One array. NumPy's own reader would take the memory that the header asks for."""
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"{name} has version {version} of NumPy's format")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a header as Python 2 wrote it
        shape, is_fortran, dtype = readers[version](file)
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python's objects")
    _check(name, ours, shape, dtype)
    size = ours.size * dtype.itemsize
    content = file.read(size + 1)
    if len(content) != size:
        found = "more" if len(content) > size else len(content)
        raise ValueError(f"{name}: expected {size} bytes, found {found}")
    return np.frombuffer(content, dtype).reshape(shape, order="F" if is_fortran else "C")


def _one_line(error: Exception) -> str:
    return _short(" ".join(str(error).split()) or type(error).__name__)


def _short(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:199]}…"


READERS: dict[str, Callable[[Path, dict[str, NDArray]], dict[str, NDArray]]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}
