"""What the schemas are made of: numbers within bounds, names, images, arrays."""

import base64
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from .. import architectures
from ..metrics import finite_or_none
from .choices import OPTIMIZERS

#: the longest side of a drawing given as rows of numbers
MAX_SIDE = 1024


class Body(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(BaseModel):
    """An answer."""


Level = Annotated[float, Field(ge=0, le=255)]
Row = Annotated[list[Level], Field(min_length=1, max_length=MAX_SIDE)]
Drawn = Annotated[
    list[Row],
    Field(
        min_length=1,
        max_length=MAX_SIDE,
        description="Rows of grey levels, all of one length: ink on an even ground.",
        examples=[[[0, 0, 0, 0], [0, 255, 255, 0], [0, 0, 255, 0], [0, 0, 0, 0]]],
    ),
]
#: a 1: a bar of four pixels' width
_ONE = [[255 * (4 <= y < 24 and 12 <= x < 16) for x in range(28)] for y in range(28)]
Prepared = Annotated[
    list[Annotated[list[Level], Field(min_length=28, max_length=28)]],
    Field(
        min_length=28,
        max_length=28,
        description="28 rows of 28 grey levels in MNIST's form, light ink on black, as `pixels` in "
        "the answer of predict.",
        examples=[_ONE],
    ),
]


def _integer(value: Any) -> Any:
    """1.0 is an integer, in JSON as in mathematics."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def only_bool(value: Any) -> Any:
    if not isinstance(value, bool):  # Python takes 0 and 1 for False and True
        raise ValueError("expected true or false")
    return value


Integer = Annotated[int, BeforeValidator(_integer)]
Finite = Annotated[
    float | None,
    BeforeValidator(finite_or_none),
    Field(description="null where the number is infinite or none"),
]
Name = Annotated[str, Field(min_length=1, max_length=200)]
ModelName = Annotated[
    Name | None, Field(description="A name from /api/models.", examples=["mnist-cnn"])
]
Label = Annotated[
    Annotated[int, Field(ge=0, le=10_000), BeforeValidator(_integer)] | None,
    Field(description="The class; the one that is read when null.", examples=[1]),
]
Index = Annotated[
    list[Annotated[int, Field(ge=0, le=2**31 - 1), BeforeValidator(_integer)]],
    Field(min_length=1, max_length=4),
]
LayerName = Annotated[Name, Field(examples=["conv2d"])]
Formula = Annotated[
    str | None, Field(description="the layer's backward pass in one line, where one is known")
]
Rate = Annotated[float, Field(gt=0, le=10, examples=[0.001])]
ModelSource = Literal["shipped", "file", "run"]
RunStatus = Literal["running", "paused", "done", "stopped", "failed"]
if TYPE_CHECKING:  # type checkers know only a Literal that is written out
    OptimizerName = str
    Architecture = str
else:
    OptimizerName = Literal[tuple(OPTIMIZERS)]
    Architecture = Literal[tuple(architectures.ARCHITECTURES)]


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
