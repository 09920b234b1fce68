"""Images to learn from. `mnist.load_data()` gives the whole of MNIST, which ships with the package;
`idx.load_folder(DIR)` reads four files of your own in MNIST's format. `augmentation` makes more out
of what there is.
"""

from . import augmentation, idx, mnist

__all__ = ["augmentation", "idx", "mnist"]
