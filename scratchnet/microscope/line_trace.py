"""The trace of a network that reads lines: frames of classes, and CTC's loss."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ctc, showing
from ..errors import InputError, is_whole, shown
from ..losses import CTC
from .trace import Array, Trace


class LineTrace(Trace):
    """A Trace of a model from a line to frames (t, k) that is trained with CTC.

    label           the labels in the line, as numbers (n,)
    probabilities, logits   (t, k), of each frame
    one_hot         (t, k), what the loss compares the probabilities with: CTC's occupancy, the
                    share of the labels' paths that are at each class in each frame (see ctc.py).
                    The gradient at the logits is the difference of both.
    """

    def _checked(self, label: Any) -> tuple[int, ...]:
        loss, (_, k) = self.model.loss, self.model.output_shape
        if not isinstance(loss, CTC):
            raise InputError(
                "model: expected a classifier with output (k,), or frames (t, k) and the loss CTC, "
                f"found output {self.model.output_shape} and the loss {loss}"
            )
        names = self.model.class_names
        if isinstance(label, str) and all(sign in names for sign in label):
            label = [names.index(sign) for sign in label]
        if isinstance(label, str) or not np.iterable(label):
            raise InputError(f"label: expected what is in the line, found {shown(label)}")
        labels = tuple(label)
        if not all(is_whole(one, 0) and one < k for one in labels):
            raise InputError(f"label: expected classes from 0 to {k - 1}, found {shown(label)}")
        self._blank = loss.blank % k
        return tuple(int(one) for one in labels)

    def _wanted(self) -> Array:
        return np.zeros(self.model.output_shape)  # known when the frames are: see _run

    def _run(self, batch: Array) -> None:
        super()._run(batch)
        assert isinstance(self._loss, CTC)
        _, occupancy, _ = self._loss.kept()
        self.one_hot = occupancy[0].copy()

    def _target(self) -> NDArray:
        return np.array([self.label], int).reshape(1, -1)

    def loss_rows(self) -> list[dict[str, Any]]:
        """A dictionary for each frame: its most probable class, how probable that is and by CTC
        should be, and the gradient there."""
        end = self.layers[-1]
        gradient = end.dx if end.dy is None else end.dy
        best = self.probabilities.argmax(axis=1)
        return [
            {
                "class": self._name(int(k)),
                "frame": t,
                "probability": float(self.probabilities[t, k]),
                "occupancy": float(self.one_hot[t, k]),
                "gradient": float(gradient[t, k]),
            }
            for t, k in enumerate(best)
        ]

    def _name(self, k: int) -> str:
        return "blank" if k == self._blank else self.model.class_names[k]

    def _text(self, labels: Any) -> str:
        return "".join(self.model.class_names[k] for k in labels)

    def _caption(self) -> str:
        read = ctc.greedy(np.log(np.maximum(self.probabilities, 1e-300)), self._blank)
        return (
            f"label {self._text(self.label)!r}: loss {self.loss:.6g}, probability "
            f"{np.exp(-self.loss):.6g}; read as {self._text(read)!r}"
        )

    def _repr_html_(self) -> str:
        """The line, each frame's probability beside the occupancy, and the table of the layers."""
        head, body = self._cells()
        rows = self.loss_rows()
        cells = [
            (
                *(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()),
                showing.bar(row["probability"]),
            )
            for row in rows
        ]
        found = showing.heading(self._caption()) + showing.pictures([("x", self.x)])
        found += showing.table((*rows[0], ""), cells)
        return found + showing.table(head, body, left=3)
