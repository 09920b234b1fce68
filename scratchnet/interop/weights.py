"""Weights alone, as plain arrays by name: safetensors and NumPy's npz, out and in.

The names are those of `Sequential.arrays`: "conv2d.W", "conv2d.b", "batchnorm.running_mean". The
architecture is not in such a file; to keep both, `Sequential.save` is the way. A file that `save`
wrote is safetensors too, so `load_weights` reads it as well.
"""

import io
import zipfile
from collections.abc import Callable, Set
from os import PathLike
from pathlib import Path
from typing import Any

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
    content, arrays = io.BytesIO(), dict[str, Any](model.arrays())
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
        arrays = READERS[path.suffix](path, ours)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot read it: {error.strerror or error}") from None
    for name, array in ours.items():
        if arrays[name].shape != array.shape:
            raise InputError(
                f"{path}: {name}: expected shape {array.shape}, found {arrays[name].shape}"
            )
        if arrays[name].dtype.kind != "f":
            raise InputError(
                f"{path}: {name}: expected floating-point numbers, found {arrays[name].dtype}"
            )
    for name, array in ours.items():
        array[:] = arrays[name]


def _check_names(found: Set[str], ours: dict[str, NDArray]) -> None:
    for missing in sorted(ours.keys() - found):
        raise InputError(f"expected an array {missing!r}, found none of that name")
    for unexpected in sorted(found - ours.keys()):
        raise InputError(f"expected the arrays of the model alone, found {unexpected!r} as well")


def _read_safetensors(path: Path, ours: dict[str, NDArray]) -> dict[str, NDArray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(path.read_bytes())
    except (SafetensorError, TypeError, AttributeError, KeyError) as error:
        # the last three: number formats that safetensors knows and NumPy does not
        reason = " ".join(str(error).split())
        raise InputError(
            f"expected safetensors, found a damaged or foreign file ({reason})"
        ) from None
    _check_names(arrays.keys(), ours)
    return arrays


def _read_npz(path: Path, ours: dict[str, NDArray]) -> dict[str, NDArray]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            _check_names(members.keys(), ours)
            for name, array in ours.items():  # before memory is taken: a small file may hold much
                size = members[name].file_size
                if size > 8 * array.size + NPY_HEADER:
                    raise InputError(f"{name}: expected shape {array.shape}, found {size} bytes")
            arrays = {}
            for name in ours:
                with archive.open(members[name]) as file:
                    arrays[name] = np.lib.format.read_array(file, allow_pickle=False)
            return arrays
    except InputError:
        raise
    except (zipfile.BadZipFile, ValueError, LookupError, EOFError, NotImplementedError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"expected npz, found a damaged or foreign file ({reason})") from None


READERS: dict[str, Callable[[Path, dict[str, NDArray]], dict[str, NDArray]]] = {
    ".safetensors": _read_safetensors,
    ".npz": _read_npz,
}
