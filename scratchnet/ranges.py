"""In which range the numbers of a network's input lie, and a warning where that cannot be meant.

uint8 images are scaled to 0..1; other numbers are taken as they are. So the same images as whole
numbers of another kind (a CSV file gives int64) reach the network 255 times as large: a network
learns from them worse, and reads images scaled otherwise than those it learnt from as good as not
at all. Nothing of that raises an error, and so it is said here, once.

Images are looked at, inputs of three axes; other data may have any range. Only a few examples are,
so that it costs nothing that matters: the first batch of a training, and of a prediction.
"""

import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, InputWarning, check_number, shown

#: as many examples are looked at, at most
EXAMPLES = 64
#: floats beyond this are not scaled to 0..1 or to a variance of 1
FAR = 10.0
#: as many times as long, or a fraction of it, is another range
TIMES, FRACTION = 8.0, 1 / 40
#: so many single images of one kind are looked at, which come one by one
SINGLES = 8
#: NumPy's number of uint8
BYTES = np.dtype(np.uint8).num


@dataclass(frozen=True)
class Range:
    """What the numbers of some images are.

    dtype       NumPy's name of it
    low, high   the least and the largest, as they go into the network: uint8's from 0 to 1
    """

    dtype: str
    low: float
    high: float

    @classmethod
    def of(cls, x: NDArray) -> "Range":
        """That of the first examples of x."""
        x = x[:EXAMPLES]
        scale = 255 if x.dtype == np.uint8 else 1
        low, high = (float(x.min()) / scale, float(x.max()) / scale) if x.size else (0.0, 0.0)
        return cls(x.dtype.name, low, high)

    @classmethod
    def from_description(cls, found: Any) -> "Range":
        """What `description` wrote down, or an InputError."""
        if not isinstance(found, dict) or found.keys() != {"dtype", "low", "high"}:
            raise InputError(f"trained_on: expected dtype, low and high, found {shown(found)}")
        if not isinstance(found["dtype"], str) or len(found["dtype"]) > 100:
            raise InputError(f"trained_on: expected a dtype, found {shown(found['dtype'])}")
        low, high = (check_number(f"trained_on {key}", found[key]) for key in ("low", "high"))
        return cls(found["dtype"], low, high)

    def description(self) -> dict[str, Any] | None:
        """In values that JSON knows; None where the numbers were not finite."""
        return asdict(self) if np.isfinite([self.low, self.high]).all() else None

    @property
    def size(self) -> float:
        return max(abs(self.low), abs(self.high))

    def __str__(self) -> str:
        scaled = ", uint8 scaled" if self.dtype == "uint8" else f", {self.dtype}"
        return f"{self.low:.4g} to {self.high:.4g}{scaled}"

    def unscaled(self) -> str:
        """What to do with numbers that look as if they should be scaled; "" if they do not."""
        whole = np.dtype(self.dtype).kind in "ui"
        if self.dtype == "uint8" or not self.size > (1 if whole else FAR):
            return ""
        like_bytes = self.low >= 0 and 100 < self.high <= 255
        remedy = "x / 255" if like_bytes else f"such as x / {self.size:.4g}"
        if whole and self.low >= 0 and self.high <= 255:
            remedy = f'x.astype("uint8") if they are 0 to 255, or {remedy}'
        return (
            f"x: numbers from {self} go into the network as they are; it works best with 0 to 1, "
            f"to which uint8 images are scaled and these are not: use {remedy}"
        )

    def unlike(self, trained: "Range") -> str:
        """In what way these numbers are others than those of a training; "" where they are not."""
        larger = self.size > TIMES * max(trained.size, 1e-3)
        smaller = 0 < self.size < FRACTION * trained.size
        signed = trained.low < -0.05 * trained.size
        shifted = self.low >= 0 if signed else self.low < -0.1 * self.size
        if not (larger or smaller or shifted and self.low < self.high):
            return ""
        return (
            f"x: the network was trained on numbers from {trained}; these are from {self}, and "
            "what it says of them means little: bring them into the same range"
        )


class Watch:
    """What a model knows of its inputs' range, and what it has said of it.

    trained_on    the range of what it was trained on; None where that is not known
    """

    def __init__(self, trained_on: Range | None = None) -> None:
        self.trained_on = trained_on
        self.noted = False
        self.said: set[str] = set()  # which of the two warnings; each comes once
        self.looked: dict[int, int] = {}

    def train(self, x: NDArray) -> None:
        """Look at the first batch of a training and remember it; x has its batch axis."""
        self.noted = True
        if x.ndim != 4 or not len(x):
            return
        found = Range.of(x)
        self._say(found)
        self.trained_on = found

    def predict(self, x: NDArray) -> None:
        """Look at a batch that the network is asked about."""
        kind = x.dtype.num  # first what nearly all calls end with: one image takes 19 µs in all
        if kind == BYTES and (self.trained_on is None or self.trained_on.dtype == "uint8"):
            return
        if x.ndim != 4 or self._kind() in self.said:
            return
        if len(x) < 2:
            self.looked[kind] = looked = self.looked.get(kind, 0) + 1
            if looked > SINGLES or not len(x):
                return
        self._say(Range.of(x))

    def _kind(self) -> str:
        """Which warning is possible now."""
        return "unscaled" if self.trained_on is None else "unlike"

    def _say(self, found: Range) -> None:
        if not np.isfinite(found.size):  # which is seen in the loss
            return
        text = found.unscaled() if self.trained_on is None else found.unlike(self.trained_on)
        if text and self._kind() not in self.said:
            self.said.add(self._kind())
            warnings.warn(text, InputWarning, stacklevel=_level_of_the_caller())


def _level_of_the_caller() -> int:
    """How many calls up the first frame outside the package is, as `warnings.warn` counts."""
    package = str(Path(__file__).parent)
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        level, frame = level + 1, frame.f_back
    return level
