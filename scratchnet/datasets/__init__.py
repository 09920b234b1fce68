"""Images to learn from: `load(NAME, FOLDER or FILE.csv)` gives any set that this package knows of.

`mnist.load_data()` gives MNIST, which ships with the package, as Keras does; `idx` reads four files
of your own in MNIST's format; `folder` your own images; `load_csv` a table of pixels as Kaggle has
them; `lines` writes numbers with MNIST's digits; `catalogue` names what can be downloaded;
`augmentation` makes more out of what there is.
"""

from . import augmentation, catalogue, download, folder, idx, lines, mnist, table
from .catalogue import NAMES, Dataset, load
from .table import load_csv

__all__ = [
    "NAMES",
    "Dataset",
    "augmentation",
    "catalogue",
    "download",
    "folder",
    "idx",
    "lines",
    "load",
    "load_csv",
    "mnist",
    "table",
]
