"""What the schemas are made of: numbers within bounds, names, images, arrays."""

import base64
import reprlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
)

from .. import architectures, recipes
from ..metrics import finite_or_none
from ..run_folder import OPTIMIZERS

#: the longest side of a drawing given as numbers
MAX_SIDE = 1024


class Body(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(BaseModel):
    """An answer."""


#: a drawing, or an image in MNIST's form, as the validators give it: uint8, (height, width)
Pixels = NDArray[np.uint8]


def drawing(value: Any) -> Pixels:
    """A drawing of either form as an array; ValueError at the first mistake.

    Rows of grey levels, or {"width", "height", "data": base64}.
    """
    if isinstance(value, np.ndarray):  # checked before, by bodies.py
        return value
    if isinstance(value, dict):
        return _packed(value)
    if not isinstance(value, list):
        raise ValueError(f"pixels: expected {_FORMS}, found {shown(value)}")
    if not 1 <= len(value) <= MAX_SIDE:
        expected = "at least 1 row" if not value else f"at most {MAX_SIDE} rows"
        raise ValueError(f"pixels: expected {expected}, found {len(value)}")
    rows = []  # row by row: one long call would keep the interpreter from answering others
    for number, row in enumerate(value):
        _check_row(number, row)
        if len(row) != len(value[0]):
            raise ValueError(
                f"pixels: expected rows of {len(value[0])} numbers as the first one, "
                f"found {len(row)} in row {number}"
            )
        rows.append(np.rint(np.array(row, np.float32)).astype(np.uint8))
    return np.stack(rows)


_FORMS = 'rows of numbers or {"width", "height", "data"}'


def _check_row(number: int, row: Any) -> None:
    place = f"pixels.{number}"
    if not isinstance(row, list):
        raise ValueError(f"{place}: expected a row of numbers, found {shown(row)}")
    if not 1 <= len(row) <= MAX_SIDE:
        expected = "at least 1 number" if not row else f"at most {MAX_SIDE} numbers"
        raise ValueError(f"{place}: expected {expected}, found {len(row)}")
    if set(map(type, row)) <= {int, float} and all(map(_is_level, row)):
        return
    wrong = next(
        i for i, level in enumerate(row) if type(level) not in (int, float) or not _is_level(level)
    )
    raise ValueError(f"{place}.{wrong}: expected a number from 0 to 255, found {shown(row[wrong])}")


def _is_level(level: float) -> bool:
    return 0 <= level <= 255  # not for NaN


def _packed(value: dict[Any, Any]) -> Pixels:
    if value.keys() != {"width", "height", "data"}:
        raise ValueError(f"pixels: expected width, height and data, found {shown(list(value))}")
    sides = [integer(value[key]) for key in ("height", "width")]
    for key, side in zip(("height", "width"), sides, strict=True):
        if type(side) is not int or not 1 <= side <= MAX_SIDE:
            raise ValueError(f"pixels.{key}: expected 1 to {MAX_SIDE}, found {shown(value[key])}")
    data, size = value["data"], sides[0] * sides[1]
    if not isinstance(data, str):
        raise ValueError(f"pixels.data: expected base64, found {shown(data)}")
    try:
        content = base64.b64decode(data, validate=True)
    except ValueError:  # binascii's too
        raise ValueError(f"pixels.data: expected base64, found {shown(data)}") from None
    if len(content) != size:
        raise ValueError(f"pixels.data: expected {size:,} bytes, found {len(content):,}")
    return np.frombuffer(content, np.uint8).reshape(sides)


def _prepared(value: Any) -> Pixels:
    found = drawing(value)
    if found.shape != (28, 28):
        raise ValueError(
            f"pixels: expected 28 rows of 28 numbers, found {' x '.join(map(str, found.shape))}"
        )
    return found


def shown(value: Any) -> str:
    """A value's beginning, for a message; quick for a value of any size."""
    found = _short.repr(value)
    return found if len(found) <= 60 else f"{found[:60]}..."


_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60
_short.maxlevel = 3


def _rows(least: int, most: int) -> dict[str, Any]:
    level = {"type": "number", "minimum": 0, "maximum": 255}
    many = {"minItems": least, "maxItems": most, "type": "array"}
    return {**many, "items": {**many, "items": level}}


def _schema(
    rows: dict[str, Any], side: dict[str, Any], data: dict[str, Any], text: str, example: Any
) -> WithJsonSchema:
    packed = {
        "type": "object",
        "properties": {"width": side, "height": side, "data": data},
        "required": ["width", "height", "data"],
        "additionalProperties": False,
    }
    return WithJsonSchema({"anyOf": [rows, packed], "description": text, "examples": [example]})


#: a 1: a bar of four pixels' width
_ONE = [[255 * (4 <= y < 24 and 12 <= x < 16) for x in range(28)] for y in range(28)]
_PACKED = "or the same as an object, which is shorter: `data` is base64 of width x height bytes, "
Drawn = Annotated[
    Pixels,
    PlainValidator(drawing),
    _schema(
        _rows(1, MAX_SIDE),
        {"type": "integer", "minimum": 1, "maximum": MAX_SIDE},
        {"type": "string", "pattern": "^[A-Za-z0-9+/]*={0,2}$", "contentEncoding": "base64"},
        "Rows of grey levels from 0 to 255, all of one length (other rows are refused with 422): "
        f"ink on an even ground; {_PACKED}row by row.",
        [[0, 0, 0, 0], [0, 255, 255, 0], [0, 0, 255, 0], [0, 0, 0, 0]],
    ),
]
Prepared = Annotated[
    Pixels,
    PlainValidator(_prepared),
    _schema(
        _rows(28, 28),
        {"type": "integer", "const": 28},
        # of 784 bytes the last stands alone in two characters
        {"type": "string", "pattern": "^[A-Za-z0-9+/]{1045}[AQgw]==$", "contentEncoding": "base64"},
        "28 rows of 28 grey levels in MNIST's form, light ink on black, as `pixels` in the answer "
        f"of predict; {_PACKED}row by row.",
        _ONE,
    ),
]


def integer(value: Any) -> Any:
    """1.0 is an integer, in JSON as in mathematics."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def only_bool(value: Any) -> Any:
    if not isinstance(value, bool):  # Python takes 0 and 1 for False and True
        raise ValueError("expected true or false")
    return value


Integer = Annotated[int, BeforeValidator(integer)]
Finite = Annotated[
    float | None,
    BeforeValidator(finite_or_none),
    Field(description="null where the number is infinite or none"),
]


def _encodable(value: Any) -> Any:
    """A text of a model file with "?" for what is no character: half of a surrogate pair."""
    return value.encode(errors="replace").decode() if isinstance(value, str) else value


#: in an answer: a text that stands in a model file, or is the name of one
Text = Annotated[str, BeforeValidator(_encodable)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Title = Annotated[Name, AfterValidator(_encodable)]
ModelName = Annotated[
    Name | None, Field(description="A name from /api/models.", examples=["mnist-cnn"])
]
Label = Annotated[
    Annotated[int, Field(ge=0, le=10_000), BeforeValidator(integer)] | None,
    Field(description="The class; the one that is read when null.", examples=[1]),
]
Index = Annotated[
    list[Annotated[int, Field(ge=0, le=2**31 - 1), BeforeValidator(integer)]],
    Field(min_length=1, max_length=4),
]
LayerName = Annotated[Name, Field(examples=["conv2d"])]
Formula = Annotated[
    str | None, Field(description="the layer's backward pass in one line, where one is known")
]
Rate = Annotated[float, Field(gt=0, le=10, examples=[0.001])]
ModelSource = Literal["shipped", "file", "run", "untrained"]
RunStatus = Literal["running", "paused", "done", "stopped", "failed"]
if TYPE_CHECKING:  # type checkers know only a Literal that is written out
    OptimizerName = str
    Architecture = str
    RecipeName = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]
    Architecture = Literal[tuple(architectures.ARCHITECTURES)]
    RecipeName = Literal[tuple(recipes.RECIPES)]


class Array(Answer):
    """Numbers of any number of axes: their shape, and base64 of little-endian float32."""

    shape: list[int]
    data: str

    @classmethod
    def of(cls, array: NDArray) -> "Array":
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite
            values = np.ascontiguousarray(array, dtype="<f4")
        return cls.model_construct(
            shape=list(array.shape), data=base64.b64encode(values.data).decode("ascii")
        )
