"""All sets of images by name, and your own by their folder: `load` gives any of them.

Sources
  MNIST           LeCun, Cortes and Burges (CC BY-SA 3.0); ships with the package
  Fashion-MNIST   Xiao, Rasul and Vollgraf, arXiv:1708.07747 (MIT)
  KMNIST          Clanuwat et al., arXiv:1812.01718 (CC BY-SA 4.0)
  EMNIST          Cohen, Afshar, Tapson and van Schaik, arXiv:1702.05373 (NIST, public domain)
"""

import os
import shutil
import string
import warnings
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .. import files, showing
from ..errors import InputError, InputWarning
from . import download, folder, idx, mnist, table

DIGITS = tuple(string.digits)


@dataclass(frozen=True, repr=False)
class Dataset:
    """Images to train on and to test with, and what their classes are called.

    x_train, x_test   (n, h, w) uint8, light on 0
    y_train, y_test   (n,) uint8, a number below len(class_names)
    """

    x_train: NDArray[np.uint8]
    y_train: NDArray[np.uint8]
    x_test: NDArray[np.uint8]
    y_test: NDArray[np.uint8]
    class_names: tuple[str, ...]

    def __repr__(self) -> str:
        numbers = f"{len(self.x_train):,} images to train on, {len(self.x_test):,} to test with"
        size = " x ".join(map(str, self.x_train.shape[1:]))
        return f"Dataset({numbers}, of {size}, {len(self.class_names)} classes)"

    def _repr_html_(self) -> str:
        """The first training images, each over the name of its class."""
        first = zip(self.y_train[: showing.MOST_PICTURES], self.x_train, strict=False)
        named = [(self.class_names[label], image) for label, image in first]
        return showing.heading(repr(self)) + showing.pictures(named, side=48)

    def arrays(self) -> tuple[NDArray[np.uint8], ...]:
        """x_train, y_train, x_test, y_test."""
        return self.x_train, self.y_train, self.x_test, self.y_test


@dataclass(frozen=True)
class Online:
    """A set on the internet: four IDX files, each by itself or all of them inside a zip.

    files         name and SHA-256 of the files, in the order of `idx.FILES`
    mirrors       where they are by themselves; a name is appended
    archives      URL, SHA-256 and name of zips with these files, for when no mirror gives them
    transposed    the images are stored with rows and columns exchanged
    first_label   the number of the first class
    """

    files: dict[str, str]
    mirrors: tuple[str, ...]
    class_names: tuple[str, ...]
    archives: tuple[tuple[str, str, str], ...] = ()
    transposed: bool = False
    first_label: int = 0


def _named(names: Iterable[str], *sums: str) -> dict[str, str]:
    return {f"{name}.gz": sha256 for name, sha256 in zip(names, sums, strict=True)}


def _emnist(
    split: str, sums: tuple[str, ...], class_names: tuple[str, ...], first_label: int = 0
) -> Online:
    return Online(
        _named((f"emnist-{split}-{name.replace('t10k', 'test')}" for name in idx.FILES), *sums),
        # 30 to 70 MB instead of the 536 MB of the zip with all splits
        (
            "https://media.githubusercontent.com/media/aurelienduarte/emnist/"
            "845f29ee8fb6be30e60b115f638f0eab08bfe469/gzip/",
        ),
        class_names,
        (
            (
                "https://biometrics.nist.gov/cs_links/EMNIST/gzip.zip",
                "fb9bb67e33772a9cc0b895e4ecf36d2cf35be8b709693c3564cea2a019fcda8e",
                "emnist-nist.zip",
            ),
            (
                "https://rds.westernsydney.edu.au/Institutes/MARCS/BENS/EMNIST/emnist-gzip.zip",
                "909a2a39c5e86bdd7662425e9b9c4a49bb582bf8d0edad427f3c3a9d0c6f7259",
                "emnist-wsu.zip",
            ),
        ),
        transposed=True,
        first_label=first_label,
    )


ONLINE = {
    "fashion-mnist": Online(
        _named(
            idx.FILES,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        ),
        (
            "https://fashion-mnist.s3.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
        ),
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
    "kmnist": Online(
        _named(
            idx.FILES,
            "51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            "e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            "edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            "20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ),
        (
            "https://codh.rois.ac.jp/kmnist/dataset/kmnist/",
            "https://media.githubusercontent.com/media/namanlab/CVCNN_Paper/"
            "0f30b9c852904dc63a7902c1d2a2f5c61d0547e4/data/KMNIST/raw/",
        ),
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    ),
    "emnist-letters": _emnist(
        "letters",
        (
            "6288f418a917e007bf5fddb823a2dc7a5c6a35031401b93292a539cb12bd881f",
            "9759af91ea6bccdf07a6040fd085861f2ec88e37f7c3f5760f6feb57106fbe5c",
            "50f0e93d75b99b463e9760b8345866f22587fa2c2fba472730a5ba09c693412d",
            "924955c31fe7fd809b7303b5c0141282955f4b8390c74cdfd5d80435e0f4b4cb",
        ),
        tuple(string.ascii_uppercase),
        first_label=1,
    ),
    "emnist-balanced": _emnist(
        "balanced",
        (
            "74295e75e4e9fa2c102147460ee7eb763653d5132d883a84fb88932bfb8d2db4",
            "b46d41e5156a0a8aaaa4d18979fdd1588850fa8571018acffd5d93b325a7d6ed",
            "117fc12b015e37ea98bfb2cbba3f77c3782c056cdbd219b87abfc8661d7135db",
            "a67cac948379b67270b9a4d0a01c8ec661598accf2f2b1964340b7c83cb175cd",
        ),
        # small letters that look like their capitals are with these (figure 2 of the paper)
        (*DIGITS, *string.ascii_uppercase, *"abdefghnqrt"),
    ),
    "emnist-digits": _emnist(
        "digits",
        (
            "f7c95004d14d81af89522e67d8f0c781dfb3bd544181c81bfe1eb6b41c35b726",
            "6638a6ff5fe2eefd9cca2471995b46c82986b8e4b2a70d2f5ce8e05d7edb319e",
            "20ebe43509264f7639d37c835a3f0b009e90b29e00a099a03101abe1644a3f63",
            "bad1834c45d5988e270b99d43b13edc3fd898f658ffbc2caf2846ef27f7b05b0",
        ),
        DIGITS,
    ),
}

NAMES = ("mnist", *ONLINE)


def load(source: str | os.PathLike) -> Dataset:
    """The set of images of that name, or in that folder.

    source   one of NAMES: "mnist" is there, the others are downloaded once (see download.py); or
             a folder with four IDX files named as MNIST's; or a folder with one sub-folder of
             images for each class (see folder.py); or a CSV file, as Kaggle has them, with the one
             to test with beside it (see table.py)
    """
    if source == "mnist":
        return _joined(*mnist.load_data(), DIGITS)
    if source in ONLINE:
        return _from_internet(str(source))
    path = Path(source)
    if table.is_table(path):
        train, test, said = table.load_pair(path)
        if said:
            warnings.warn(said, InputWarning, stacklevel=2)
        return _joined(train, test, _numbered(train, test))
    if not os.path.isdir(path):
        raise InputError(
            f"{source}: expected a folder, a CSV file or one of {', '.join(NAMES)}, found neither"
        )
    if any(os.path.exists(path / f"{name}{end}") for name in idx.FILES for end in ("", ".gz")):
        train, test = idx.load_folder(path)
        return _joined(train, test, _numbered(train, test))
    return _joined(*folder.load_images(path))


def _numbered(train: idx.Split, test: idx.Split) -> tuple[str, ...]:
    """The names of classes that have none: 0 to the highest label."""
    return tuple(map(str, range(int(max(train[1].max(), test[1].max())) + 1)))


def _joined(train: idx.Split, test: idx.Split, class_names: tuple[str, ...]) -> Dataset:
    return Dataset(*train, *test, class_names)


def _from_internet(name: str) -> Dataset:
    online = ONLINE[name]
    where = download.folder() / ("emnist" if online.archives else name)  # its splits share a zip
    paths = _files(name, where)
    x_train, y_train, x_test, y_test = map(idx.read, paths, (3, 1, 3, 1))
    if online.transposed:
        x_train, x_test = (np.ascontiguousarray(x.swapaxes(1, 2)) for x in (x_train, x_test))
    return _joined(
        idx.pair_up(x_train, y_train - np.uint8(online.first_label), where),
        idx.pair_up(x_test, y_test - np.uint8(online.first_label), where),
        online.class_names,
    )


def _files(name: str, where: Path) -> list[Path]:
    """The set's four files in the cache, however they got there."""
    online = ONLINE[name]
    try:
        return [
            download.fetch(file, sha256, [mirror + file for mirror in online.mirrors], where)
            for file, sha256 in online.files.items()
        ]
    except download.UnavailableError as error:
        failures = [str(error)]
    for url, sha256, kept_as in online.archives:
        try:
            archive = download.fetch(kept_as, sha256, [url], where)
        except download.UnavailableError as error:
            failures.append(str(error))
        else:
            return [_extract(archive, file, online.files[file], where) for file in online.files]
    raise InputError(
        f"{name}: expected a mirror to download it from, found none ({'; '.join(failures)}); "
        f"try again later, or put {', '.join(online.files)} into {where}"
    )


def _extract(archive: Path, name: str, sha256: str, where: Path) -> Path:
    """One file of a zip, found by its name; the folders in the zip do not matter."""
    import pooch

    part, path = where / f"{name}.zip.part", where / name
    try:
        with zipfile.ZipFile(archive) as opened:
            entry = next(e for e in opened.infolist() if e.filename.rpartition("/")[2] == name)
            if entry.file_size > download.MOST_BYTES:
                raise InputError(
                    f"{archive}: expected {name} of at most {download.MOST_BYTES:,} bytes, "
                    f"found {entry.file_size:,}"
                )
            with opened.open(entry) as packed, open(part, "wb") as file:
                shutil.copyfileobj(packed, file)
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: cannot write there: {error.strerror or error}") from None
    except Exception:  # zipfile and what it unpacks with raise anything on a damaged file
        files.remove(part)
        raise InputError(f"{archive}: expected a zip with {name} in it, found another") from None
    if pooch.file_hash(str(part)) != sha256:
        files.remove(part)
        raise InputError(f"{archive}: expected {name} with SHA-256 {sha256}, found another")
    files.replace(part, path)
    return path
