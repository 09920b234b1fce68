"""Reading digits: a picture in, one digit or all of them as an answer."""

import base64
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..line_reader import LineReader, for_classes
from ..model import Sequential
from ..pictures import look, sequences
from ..pictures.answers import shipped_judge
from ..pictures.steps import Classifier
from . import schemas as s
from .fields import Pixels
from .limits import checked_image
from .turns import Turns


def predict(
    turns: Turns, model: Sequential, query: s.DrawingQuery | s.PreparedQuery
) -> s.Prediction:
    if not query.prepared:
        return _found(turns, model, query.pixels, query.steps)
    return _read(turns, model, query.pixels, [] if query.steps else None)


def predict_file(turns: Turns, model: Sequential, content: bytes, steps: bool) -> s.Prediction:
    return _found(turns, model, checked_image(content), steps)


def _found(turns: Turns, model: Sequential, picture: Any, steps: bool) -> s.Prediction:
    of_digits = model.class_names == tuple("0123456789")
    try:
        judge = _InTurn(turns, shipped_judge())
        answer = look(picture, _InTurn(turns, model), judge, of_digits)
    except InputError as error:  # an empty canvas is no mistake of whoever is drawing
        return s.Prediction(message=_why(error))
    pictures = [
        s.StepPicture(name=step.name, caption=step.caption, png=_png(step.image))
        for step in answer.prepared.steps
        if steps
    ]
    if pictures and isinstance(picture, np.ndarray):  # whoever drew it has seen no array
        height, width = picture.shape
        pictures[0].caption = f"the drawing, {width} x {height} pixels"
    prediction = _prediction(
        model, answer.prepared.image, answer.probabilities, pictures if steps else None
    )
    if answer.reason is None:
        return prediction
    nothing = {"digit": None, "class_": None, "confidence": None}
    why = {"several": answer.several, "reason": answer.reason, "message": answer.reason}
    return prediction.model_copy(update={**nothing, **why})


def _read(
    turns: Turns, model: Sequential, pixels: NDArray, steps: list[s.StepPicture] | None
) -> s.Prediction:
    with turns:
        probabilities = model.predict(pixels)[0]
    return _prediction(model, pixels, probabilities, steps)


def _prediction(
    model: Sequential, pixels: NDArray, probabilities: NDArray, steps: list[s.StepPicture] | None
) -> s.Prediction:
    digit = int(probabilities.argmax())
    return s.Prediction(
        digit=digit,
        class_=model.class_names[digit],
        confidence=float(probabilities[digit]),
        probabilities=probabilities.tolist(),
        pixels=pixels.tolist(),
        steps=steps,
    )


def sequence(turns: Turns, model: Sequential, pixels: Pixels) -> s.Sequence:
    return _sequence(turns, model, pixels)


def sequence_file(turns: Turns, model: Sequential, content: bytes) -> s.Sequence:
    return _sequence(turns, model, checked_image(content))


class _InTurn:
    """A model that takes its turn for each batch: finding the digits takes longer than reading."""

    def __init__(self, turns: Turns, model: Classifier) -> None:
        self.turns, self.model = turns, model

    def predict(self, x: NDArray, batch_size: int) -> NDArray:
        with self.turns:
            return self.model.predict(x, batch_size)


class _LinesInTurn:
    """A reader of whole lines that takes its turn, likewise."""

    def __init__(self, turns: Turns, reader: LineReader) -> None:
        self.turns, self.reader = turns, reader
        self.height, self.signs, self.blank = reader.height, reader.signs, reader.blank

    def read(self, lines: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.floating]]:
        with self.turns:
            return self.reader.read(lines)


def _sequence(turns: Turns, model: Sequential, picture: Any) -> s.Sequence:
    try:
        reader = for_classes(model.class_names)
        in_turn = None if reader is None else _LinesInTurn(turns, reader)
        judge = None if reader is None else _InTurn(turns, shipped_judge())
        reading = sequences.read(picture, _InTurn(turns, model), judge, in_turn)
    except InputError as error:
        return s.Sequence(number="", lines=[], digits=[], message=_why(error))
    height, width = (round(reading.scale * side) for side in reading.picture.shape[:2])
    names = model.class_names
    digits = [
        s.SequenceDigit(
            digit=digit.label,
            class_=names[digit.label],
            confidence=digit.confidence,
            box=[left, top, right - left, bottom - top],
            line=number,
        )
        for number, line in enumerate(reading.lines)
        for digit in line
        for left, top, right, bottom in [digit.box]
    ]
    lines = ["".join(names[digit.label] for digit in line) for line in reading.lines]
    return s.Sequence(
        number="".join(lines),
        lines=lines,
        text="\n".join(reading.texts(names)),
        digits=digits,
        width=width,
        height=height,
    )


def _why(error: InputError) -> str:
    """Without the name of what was read: the client knows what it sent."""
    return str(error).partition(": ")[2]


def _png(image: NDArray[np.uint8]) -> str:
    from PIL import Image

    file = BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
