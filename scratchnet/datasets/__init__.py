"""Images to learn from: `load(NAME or FOLDER)` gives any set that this package knows of.

`mnist.load_data()` gives MNIST, which ships with the package, as Keras does; `idx` reads four files
of your own in MNIST's format; `folder` your own images; `catalogue` names what can be downloaded;
`augmentation` makes more out of what there is.
"""

from . import augmentation, catalogue, download, folder, idx, mnist
from .catalogue import NAMES, Dataset, load

__all__ = [
    "NAMES",
    "Dataset",
    "augmentation",
    "catalogue",
    "download",
    "folder",
    "idx",
    "load",
    "mnist",
]
