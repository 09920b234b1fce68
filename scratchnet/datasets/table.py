"""Images in a CSV file, a line each: the label, then the pixels row by row, 0 to 255.

    label,pixel0,pixel1,...,pixel783
    1,0,0,188,...

That is how Kaggle gives MNIST and its relatives. The header may be missing; the label may be the
last column if the header says so; a line of pixels alone is an image without a label. The images
are square, of any size: 784 pixels are 28 x 28. The file may be packed with gzip or in a zip (seen
by its first bytes).

A piece of the file at a time is read as one array of bytes, and all its numbers are found at once:
where a field ends, its last three bytes are the digits. What is not so plain (blanks, quotes,
"7.0", a mistake) is read again line by line, and a mistake named by its line.
"""

import gzip
import math
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, shown
from .idx import MOST_UNPACKED, Split

#: bytes of text that are read at once; a line may be as long as MOST_LINE
PIECE, MOST_LINE = 1 << 20, 1 << 23
#: what the header may call the label
LABELS = {"label", "labels", "class", "target", "digit", "y"}
NEWLINE = ord("\n")
#: one image in so many is held out where there is no file to test with
TEST_SHARE = 6
ENDINGS = (".csv", ".csv.gz", ".csv.zip", ".zip")

Rows = NDArray[np.uint8]


def load_csv(path: str | os.PathLike) -> tuple[Rows, Rows | None]:
    """x (n, side, side) and y (n,), both uint8, of a CSV file; y is None where it has no labels.

    Of a zip with several files, the one with "train" in its name. InputError, with the line's
    number, where a row is no image.
    """
    path = Path(path)
    rows, label = _read(path, _member(path, "train"))
    pixels = rows if label is None else np.delete(rows, label, axis=1)
    side = math.isqrt(pixels.shape[1])
    y = None if label is None else rows[:, label].copy()
    return np.ascontiguousarray(pixels).reshape(-1, side, side), y


def load_pair(path: str | os.PathLike) -> tuple[Split, Split, str]:
    """((x_train, y_train), (x_test, y_test)) of a CSV file and the one beside it, and what to say.

    Beside "train.csv" that is "test.csv", beside "letters_train.csv.gz" "letters_test.csv.gz", also
    inside one zip; either may be named. Where there is none, or one without labels, as Kaggle's, a
    sixth of every class is held out: its first images. What was done for want of labels is said in
    the text, which is empty otherwise.
    """
    path = Path(path)
    first, second = _files_of(path)
    train = _labelled(first)
    if second is None:
        return (*_parted(*train, first[0]), "")
    x, y = _images(second)
    if y is None:
        text = (
            f"{second[0]}: no labels in it, so nothing can be tested with it; a sixth of "
            f"{first[0].name} is held out instead"
        )
        return (*_parted(*train, first[0]), text)
    if x.shape[1:] != train[0].shape[1:]:
        sizes = f"{train[0].shape[1:]} and {x.shape[1:]} (test)"
        raise InputError(f"{path}: expected images of one size, found {sizes}")
    return train, (x, y), ""


def _files_of(path: Path) -> tuple[tuple[Path, str | None], tuple[Path, str | None] | None]:
    """The file to train on, and the one to test with: each a path, and the name inside a zip."""
    member = _member(path, "train")
    if member is not None:
        beside = _exchanged(member, "train", "test")
        others = _names(path)
        return (path, member), (path, beside) if beside in others and beside != member else None
    for one, other in (("train", "test"), ("test", "train")):
        beside_it = path.with_name(_exchanged(path.name, one, other))
        if beside_it != path and beside_it.is_file():
            pair = (path, None), (beside_it, None)
            return pair if one == "train" else pair[::-1]
    return (path, None), None


def _exchanged(name: str, one: str, other: str) -> str:
    """The name with its last "train" turned into "test", or the other way."""
    start, found, end = name.rpartition(one)
    return f"{start}{other}{end}" if found else name


def _images(file: tuple[Path, str | None]) -> tuple[Rows, Rows | None]:
    path, member = file
    if member is None:
        return load_csv(path)
    rows, label = _read(path, member)
    pixels = rows if label is None else np.delete(rows, label, axis=1)
    side = math.isqrt(pixels.shape[1])
    return pixels.reshape(-1, side, side), None if label is None else rows[:, label].copy()


def _labelled(file: tuple[Path, str | None]) -> Split:
    x, y = _images(file)
    if y is None:
        raise InputError(
            f"{file[0]}: expected a label, then the pixels, in every line, found pixels alone"
        )
    return x, y


def _parted(x: Rows, y: Rows, path: Path) -> tuple[Split, Split]:
    """The first sixth of each class, and at least one image, is held out for the test."""
    seen, held_out = np.zeros(256, np.int64), np.zeros(len(y), bool)
    sizes = np.bincount(y, minlength=256)
    for i, label in enumerate(y):
        held_out[i] = seen[label] < max(1, sizes[label] // TEST_SHARE)
        seen[label] += 1
    if held_out.all():
        raise InputError(f"{path}: expected two images of some class, found one of each")
    return (x[~held_out], y[~held_out]), (x[held_out], y[held_out])


# ---- what is in the file -------------------------------------------------------------------------


def _names(path: Path) -> list[str]:
    """The CSV files in a zip; none where it is no zip."""
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as archive:
        every = archive.namelist()
    return [name for name in every if name.lower().endswith(".csv") and "__MACOSX" not in name]


def _member(path: Path, part: str) -> str | None:
    """Which file of a zip is meant; None where the path is none."""
    try:
        if not zipfile.is_zipfile(path):
            return None
        names = _names(path)
    except OSError as error:
        raise InputError(f"{path}: expected a readable file: {error.strerror}") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise InputError(f"{path}: expected a zip, found a damaged one ({error})") from None
    named = [name for name in names if part in name.rpartition("/")[2]]
    found = names if len(names) == 1 else named
    if len(found) != 1:
        listed = ", ".join(names) or "none"
        raise InputError(
            f"{path}: expected one CSV file in it, or one named {part}, found {listed}"
        )
    return found[0]


def _read(path: Path, member: str | None) -> tuple[Rows, int | None]:
    """All rows as numbers (n, columns), and which column is the label, if any is."""
    try:
        with ExitStack() as opened:
            file: IO[bytes] = opened.enter_context(open(path, "rb"))
            if member is not None:
                archive = opened.enter_context(zipfile.ZipFile(file))
                file = opened.enter_context(archive.open(member))
            else:
                start = file.read(2)
                file.seek(0)
                if start == b"\x1f\x8b":
                    file = opened.enter_context(gzip.open(file))  # type: ignore[arg-type]
            return _Table(path, file).rows()
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"{path}: expected a readable CSV file, found: {reason}") from None
    except (EOFError, zlib.error, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{path}: expected a whole file, found a damaged one ({error})") from None


class _Table:
    """One file while it is read.

    line      the number of the line that comes next, from 1
    columns   how many there are in every line; 0 before the first
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self.path, self.file = path, file
        self.line, self.columns, self.label = 1, 0, None  # type: tuple[int, int, int | None]
        self.separator = ","

    def rows(self) -> tuple[Rows, int | None]:
        found, size = [], 0
        for text in self._pieces():
            if not self.columns:
                text = self._begin(text)
            part = self._numbers(text)
            size += part.size
            if size > MOST_UNPACKED:
                raise InputError(f"{self.path}: expected at most {MOST_UNPACKED:,} numbers")
            found.append(part)
        if not size:
            raise InputError(f"{self.path}: expected a line for each image, found none")
        return np.concatenate(found), self.label

    def _pieces(self) -> Iterator[bytes]:
        """The text in whole lines, each with its end."""
        rest, first = b"", True
        while piece := self.file.read(PIECE):
            if first:
                piece, first = piece.removeprefix(b"\xef\xbb\xbf"), False
            rest += piece
            whole, newline, after = rest.rpartition(b"\n")
            if len(after) > MOST_LINE:
                raise InputError(
                    f"{self.path}: expected lines of at most {MOST_LINE:,} bytes, found more"
                )
            if newline:
                yield whole + newline
                rest = after
        if rest.strip():
            yield rest + b"\n"

    def _begin(self, text: bytes) -> bytes:
        """See what the first line says of the others; the text without a header."""
        head = text[: text.index(b"\n")].decode("utf-8", "replace").strip()
        if "," not in head:
            self.separator = next((s for s in ";\t" if s in head), ",")
        fields = [field.strip().strip('"').lower() for field in head.split(self.separator)]
        self.columns = len(fields)
        named = not all(_number(field) is not None for field in fields)
        if named and fields[0] not in LABELS:  # or it is a line of numbers with a mistake in it
            named = _number(fields[0]) is None and _number(fields[-1]) is None
        if fields == [str(i) for i in range(self.columns)] and self.columns > 256:
            named, fields[0] = True, "label"  # as pandas numbers columns
        pixels = self.columns - 1
        if named:
            marked = [i for i in (0, self.columns - 1) if fields[i] in LABELS]
            self.label = marked[0] if marked else None
            pixels = self.columns - len(marked[:1])
            text, self.line = text[text.index(b"\n") + 1 :], 2
            if not marked and not _is_square(pixels) and _is_square(pixels - 1):
                self.label, pixels = 0, pixels - 1  # a label under another name
        elif _is_square(self.columns):
            pixels = self.columns
        else:
            self.label = 0
        if not _is_square(pixels):
            raise InputError(
                f"{self.path}, line 1: expected a label and the pixels of a square image, such as "
                f"28 x 28 = 784, found {self.columns:,} columns"
            )
        return text

    def _numbers(self, text: bytes) -> Rows:
        """The numbers of whole lines (lines, columns)."""
        plain = self._plain(np.frombuffer(text, np.uint8))
        if plain is None:
            return self._line_by_line(text)
        self.line += len(plain)
        return plain

    def _plain(self, a: Rows) -> Rows | None:
        """The same where every field is one to three digits, and nothing else is there; or None."""
        if a.size and (a == 13).any():  # lines as Windows ends them
            a = a[a != 13]
        is_end = (a == ord(self.separator)) | (a == NEWLINE)
        ends = np.flatnonzero(is_end)
        if ends.size % self.columns:
            return None
        lines = ends[self.columns - 1 :: self.columns]
        if np.count_nonzero(a == NEWLINE) != len(lines) or not (a[lines] == NEWLINE).all():
            return None
        digits = a - np.uint8(48)  # others become 10 and more
        lengths = np.diff(ends, prepend=-1) - 1
        if not (is_end | (digits < 10)).all() or not ((lengths > 0) & (lengths < 4)).all():
            return None
        digits[is_end] = 0
        values = digits[ends - 1].astype(np.uint16)
        for place, factor in ((2, 10), (3, 100)):
            longer = np.flatnonzero(lengths >= place)
            values[longer] += np.uint16(factor) * digits[ends[longer] - place]
        if (values > 255).any():
            return None
        return values.astype(np.uint8).reshape(-1, self.columns)

    def _line_by_line(self, text: bytes) -> Rows:
        found = []
        for line in text.decode("utf-8", "replace").split("\n")[:-1]:
            if line.strip():
                found.append(self._row(line))
            self.line += 1
        return np.array(found, np.uint8).reshape(-1, self.columns)

    def _row(self, line: str) -> list[int]:
        fields = [field.strip().strip('"').strip() for field in line.split(self.separator)]
        where = f"{self.path}, line {self.line:,}"
        if len(fields) != self.columns:
            raise InputError(
                f"{where}: expected {self.columns:,} columns, as in the first line, "
                f"found {len(fields):,}"
            )
        row = []
        for column, field in enumerate(fields, 1):
            value = _number(field)
            if value is None or not 0 <= value <= 255 or value != int(value):
                what = "label" if column - 1 == self.label else "pixel"
                raise InputError(
                    f"{where}, column {column:,}: expected a whole number from 0 to 255 for a "
                    f"{what}, found {shown(field, 40)}"
                )
            row.append(int(value))
        return row


def _number(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _is_square(number: int) -> bool:
    return number > 1 and math.isqrt(number) ** 2 == number


def is_table(path: str | os.PathLike) -> bool:
    """Whether a path is that of a file which may be a table, by its name."""
    return os.path.isfile(path) and os.fspath(path).lower().endswith(ENDINGS)
