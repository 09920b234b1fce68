"""A folder of your own images, with one sub-folder for each class.

    letters/a/1.png  letters/a/2.jpg  letters/b/scan.png  ...

The sub-folders' names are the classes' names. Where there are the two sub-folders `train` and
`test`, each of them holds the classes; otherwise a sixth of every class, as in MNIST, is held out
for the test. Which images that are, and the order of all, follows from their names alone: the same
folder gives the same arrays on every machine.

A picture of 28 x 28 is taken as it is, in grey. Any other goes through `pictures.prepare`, as it
does in `scratchnet predict`, so that the network learns from what it will be shown.
"""

import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import pictures
from ..errors import InputError
from ..pictures.formats import open_image
from .idx import Split

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
TEST_SHARE = 6  # one image in so many
MOST_CLASSES = 256  # labels are bytes

_Found = tuple[Path, int]  # an image and its label


def load_images(folder: str | os.PathLike) -> tuple[Split, Split, tuple[str, ...]]:
    """((x_train, y_train), (x_test, y_test), class_names): images (n, 28, 28), all uint8."""
    folder = Path(folder)
    if {"train", "test"} == {path.name for path in _sub_folders(folder)}:
        names = _class_names(folder / "train")
        foreign = {path.name for path in _sub_folders(folder / "test")} - set(names)
        if foreign:
            raise InputError(
                f"{folder / 'test'}: expected the classes of train, found {min(foreign)} as well"
            )
        train, test = _find(folder / "train", names), _find(folder / "test", names)
    else:
        names = _class_names(folder)
        train, test = _parted(_find(folder, names))
    for part, found in (("train", train), ("test", test)):
        missing = set(range(len(names))) - {label for _, label in found}
        if missing and (part == "train" or not found):
            raise InputError(
                f"{folder}: expected images to {part} with in every class, "
                f"found too few of {names[min(missing)]}"
            )
    return _read(train), _read(test), names


def _parted(found: list[_Found]) -> tuple[list[_Found], list[_Found]]:
    """The first sixth of each class, and at least one image, is held out for the test."""
    sizes = Counter(label for _, label in found)
    seen: Counter[int] = Counter()
    train: list[_Found] = []
    test: list[_Found] = []
    for path, label in found:
        held_out = seen[label] < max(1, sizes[label] // TEST_SHARE)
        (test if held_out else train).append((path, label))
        seen[label] += 1
    return train, test


def _class_names(folder: Path) -> tuple[str, ...]:
    names = tuple(path.name for path in _sub_folders(folder))
    if not 2 <= len(names) <= MOST_CLASSES:
        raise InputError(
            f"{folder}: expected IDX files, or 2 to {MOST_CLASSES} sub-folders of images, one for "
            f"each class, found {len(names)} sub-folders"
        )
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{folder / name}: expected a class's name in UTF-8, found {name!r}"
            ) from None
    return names


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(path for path in _entries(folder) if path.is_dir())


def _entries(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise InputError(f"{folder}: expected a readable folder: {error.strerror}") from None


def _find(folder: Path, names: tuple[str, ...]) -> list[_Found]:
    """All images in the classes' sub-folders, with their labels, in an order without pattern."""
    found = [
        (path, label)
        for label, name in enumerate(names)
        if (folder / name).is_dir()
        for path in _entries(folder / name)
        if path.suffix.lower() in SUFFIXES
    ]
    # `validation_split` takes the last part, which must not be a single class
    return sorted(found, key=lambda entry: _sum_of_name(entry[0]))


def _sum_of_name(path: Path) -> bytes:
    return hashlib.sha256(os.fsencode(f"{path.parent.name}/{path.name}")).digest()


def _read(found: list[_Found]) -> Split:
    x = np.stack([_picture(path) for path, _ in found])
    return x, np.array([label for _, label in found], dtype=np.uint8)


def _picture(path: Path) -> NDArray[np.uint8]:
    if not path.is_file() and path.exists() and not path.is_dir():
        raise InputError(f"{path}: expected an image file, found a pipe or a device")
    try:
        with open_image(path) as image:
            if image.size == (pictures.SIDE, pictures.SIDE):
                return np.asarray(image.convert("L"))
    except Exception:  # Pillow's readers raise anything; `prepare` will say what is wrong
        pass
    return pictures.prepare(path).image
