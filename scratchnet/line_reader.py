"""Lines of any width read by one network: `shipped()` reads numbers.

    sn.sequences.read("page.jpg", model, reader=sn.line_reader.shipped())

The network is convolutions all along, so its weights fit every width; a `Sequential` is built for
one. Here a line is filled up with paper to the next of a few widths, and there is a Sequential for
each of them, made when it is first needed, of the same layers with the same memory.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .architectures import pretrained_line_reader
from .errors import InputError
from .model import Sequential

Array = NDArray[np.floating]

#: pixels by which the widths differ, and the widest line
STEP, WIDEST = 64, 2048
DIGITS = tuple("0123456789")


class LineReader:
    """A network whose outputs are frames (t, classes), for lines of its height and any width.

    signs   what the classes are called; the last one, with an empty name, is CTC's blank
    """

    def __init__(self, model: Sequential) -> None:
        if len(model.input_shape) != 3 or model.input_shape[2] != 1 or len(model.output_shape) != 2:
            raise InputError(
                "line reader: expected a model from lines (height, width, 1) to frames (frames, "
                f"classes), found one from {model.input_shape} to {model.output_shape}"
            )
        self.model = model
        self.height: int = model.input_shape[0]
        self.signs = model.class_names
        self.blank = len(self.signs) - 1
        self._by_width = {model.input_shape[1]: model}

    def at(self, width: int) -> Sequential:
        """The network for lines of that width in pixels, which the microscope opens as any other.

        Its weights are the same arrays as those of `model`.
        """
        if width not in self._by_width:
            model = Sequential(self.model.layers, (self.height, width, 1))
            model.class_names, model.trained_on = self.signs, self.model.trained_on
            if self.model.loss is not None:
                model.compile("sgd", self.model.loss)
            self._by_width[width] = model
        return self._by_width[width]

    def read(self, lines: Sequence[NDArray[np.uint8]]) -> list[Array]:
        """Of each line (height, width), light ink on 0: log-probabilities (frames, classes)."""
        found: dict[int, Array] = {}
        by_width: dict[int, list[int]] = {}
        for n, line in enumerate(lines):
            if line.ndim != 2 or len(line) != self.height or not 0 < line.shape[1] <= WIDEST:
                raise InputError(
                    f"line: expected {self.height} rows of 1 to {WIDEST} pixels, found {line.shape}"
                )
            by_width.setdefault(-(-line.shape[1] // STEP) * STEP, []).append(n)
        for width, members in by_width.items():
            filled = np.zeros((len(members), self.height, width), np.uint8)
            for row, n in zip(filled, members, strict=True):
                row[:, : lines[n].shape[1]] = lines[n]
            probs = self.at(width).predict(filled, batch_size=16)
            log_probs = np.log(np.maximum(probs, np.finfo(probs.dtype).tiny))
            found |= dict(zip(members, log_probs, strict=True))
        return [found[n] for n in range(len(lines))]


@cache
def shipped() -> LineReader:
    """The reader of numbers whose weights ship with the package; one for the whole process."""
    return LineReader(pretrained_line_reader())


def for_classes(names: Sequence[str]) -> LineReader | None:
    """The shipped reader beside a model whose classes are the ten digits; None beside others."""
    return shipped() if tuple(names) == DIGITS else None
