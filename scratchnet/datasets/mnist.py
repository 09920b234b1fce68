"""MNIST: 60,000 and 10,000 handwritten digits, 28x28, in full inside the package.

The files are the canonical ones, byte for byte, and are checked against their SHA-256 sums at every
load (a twentieth of a second).

Source: LeCun, Cortes and Burges, "The MNIST database of handwritten digits" (CC BY-SA 3.0).
"""

import hashlib
import os
from importlib.resources import files

from ..errors import InputError
from . import idx
from .idx import FILES, Split, pair_up

#: of the uncompressed files
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


def load_data() -> tuple[Split, Split]:
    """((x_train, y_train), (x_test, y_test)), as Keras has it.

    x (60000, 28, 28) and (10000, 28, 28), y (60000,) and (10000,), all uint8; light ink on black.
    """
    folder = str(files(__package__) / "files")
    arrays = []
    for name in FILES:
        path = os.path.join(folder, f"{name}.gz")
        array = idx.read(path, axes=3 if "images" in name else 1)
        digest = hashlib.sha256(idx.header(array.shape))
        digest.update(array.data)
        if digest.hexdigest() != SHA256[name]:
            raise InputError(
                f"{path}: expected SHA-256 {SHA256[name]}, found another; reinstall scratchnet"
            )
        arrays.append(array)
    x_train, y_train, x_test, y_test = arrays
    return pair_up(x_train, y_train, str(folder)), pair_up(x_test, y_test, str(folder))
