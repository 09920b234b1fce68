"""What the REST API takes and gives: exact shapes, limits and examples.

The models refuse what they do not name, and numbers given as texts: a typing mistake in a request
is an error, not a default silently taken.
"""

import base64
import math
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag

from .. import architectures

#: the longest side of a drawing given as rows of numbers
MAX_SIDE = 1024
#: of the sums that make one number, so many terms are sent
TERMS = 50


class Body(BaseModel):
    """A request."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Answer(BaseModel):
    """An answer."""

    model_config = ConfigDict(populate_by_name=True)


# ---- numbers, images, arrays ---------------------------------------------------------------------

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


def _whole(value: Any) -> Any:
    """1.0 is a whole number, in JSON as in mathematics."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _true_or_false(value: Any) -> Any:
    if not isinstance(value, bool):  # Python takes 0 and 1 for False and True
        raise ValueError("expected true or false")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Finite = Annotated[
    float | None,
    BeforeValidator(lambda x: x if x is not None and math.isfinite(x) else None),
    Field(description="null where the number is infinite or none"),
]
Name = Annotated[str, Field(min_length=1, max_length=200)]
ModelName = Annotated[
    Name | None, Field(description="A name from /api/models.", examples=["mnist-cnn"])
]
Label = Annotated[
    Annotated[int, Field(ge=0, le=10_000), BeforeValidator(_whole)] | None,
    Field(description="The class; the one that is read when null.", examples=[1]),
]
Index = Annotated[
    list[Annotated[int, Field(ge=0, le=2**31 - 1), BeforeValidator(_whole)]],
    Field(min_length=1, max_length=4),
]
LayerName = Annotated[Name, Field(examples=["conv2d"])]
Rate = Annotated[float, Field(gt=0, le=10, examples=[0.001])]
OptimizerName = Literal["sgd", "momentum", "adam", "adamw"]
Architecture = Literal[tuple(architectures.ARCHITECTURES)]  # type: ignore[valid-type]


class Array(Answer):
    """Numbers of any number of axes: their shape, and base64 of little-endian float32."""

    shape: list[int]
    data: str

    @classmethod
    def of(cls, array: NDArray) -> "Array":
        with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite
            values = np.ascontiguousarray(array, dtype="<f4")
        return cls.model_construct(
            shape=list(array.shape), data=base64.b64encode(values).decode("ascii")
        )


class Problem(Answer):
    """Every error, whatever its status."""

    error: str = Field(description="One line.")


class Health(Answer):
    status: Literal["ok"]
    version: str


# ---- models --------------------------------------------------------------------------------------


class LayerInfo(Answer):
    name: str
    kind: str
    output_shape: list[int]
    parameters: int
    multiply_adds: int


class ModelInfo(Answer):
    name: str
    source: Literal["shipped", "file", "run"]
    classes: list[str]
    input_shape: list[int]
    layers: list[LayerInfo]


# ---- predict and sequence ------------------------------------------------------------------------


class DrawingQuery(Body):
    pixels: Drawn
    prepared: Annotated[Literal[False], BeforeValidator(_true_or_false)] = False
    steps: bool = Field(False, description="Whether to send pictures of the preparation.")
    model: ModelName = None


class PreparedQuery(Body):
    pixels: Prepared
    prepared: Annotated[Literal[True], BeforeValidator(_true_or_false)]
    steps: bool = Field(False, description="There are none for an image that is prepared.")
    model: ModelName = None


def _kind(value: Any) -> str:
    prepared = value.get("prepared") if isinstance(value, dict) else None
    return "prepared" if prepared is True else "drawing"


PredictQuery = Annotated[
    Annotated[DrawingQuery, Tag("drawing")] | Annotated[PreparedQuery, Tag("prepared")],
    Discriminator(_kind),
]


class StepPicture(Answer):
    name: str
    caption: str
    png: str = Field(description="data:image/png;base64,...")


class Prediction(Answer):
    """Where there is no digit to be found, all is null but `message`, which says why."""

    digit: int | None = None
    class_: str | None = Field(None, alias="class")
    confidence: float | None = None
    probabilities: list[float] | None = None
    pixels: list[list[int]] | None = Field(None, description="28 x 28: what the network saw.")
    steps: list[StepPicture] | None = None
    message: str | None = None


class SequenceQuery(Body):
    pixels: Drawn
    model: ModelName = None


class SequenceDigit(Answer):
    digit: int
    class_: str = Field(alias="class")
    confidence: float
    box: list[int] = Field(description="left, top, width, height in pixels")
    line: int


class Sequence(Answer):
    """Where there is no digit to be found, `number` is empty and `message` says why."""

    number: str
    lines: list[str]
    digits: list[SequenceDigit]
    width: int | None = Field(None, description="of the picture, upright, in pixels")
    height: int | None = None
    message: str | None = None


# ---- trace and explain ---------------------------------------------------------------------------


class ImageQuery(Body):
    """An image in MNIST's form, and a model."""

    pixels: Prepared
    model: ModelName = None


class TraceQuery(ImageQuery):
    label: Label = None


class OutputQuery(ImageQuery):
    layer: LayerName
    index: Index = Field(description="[row, column, channel] or [unit]", examples=[[12, 9, 5]])


class ParameterQuery(TraceQuery):
    layer: LayerName
    parameter: Name = Field(examples=["W"])
    index: Index = Field(examples=[[0, 1, 0, 5]])


class StepQuery(TraceQuery):
    optimizer: OptimizerName = "sgd"
    learning_rate: Rate | None = Field(None, description="The optimizer's usual one when null.")


class Sizes(Answer):
    """Roots of the mean squares."""

    x: Finite
    y: Finite
    dy: Finite
    dx: Finite


class ParameterTrace(Answer):
    name: str
    shape: list[int]
    value: Array
    gradient: Array
    rms: Finite
    gradient_rms: Finite


class LayerAnswer(Answer):
    name: str
    kind: str
    input: str | None = Field(description="the layer whose output it takes; null for the image")
    input_shape: list[int]
    output_shape: list[int]
    output: Array
    dy: Array | None = Field(description="null for a Softmax that is folded into the loss")
    dx: Array | None
    rms: Sizes
    dead: float | None = Field(description="of a ReLU: the share of outputs that are 0")
    winners: Array | None = Field(
        description="of max pooling: row and column of the input that each output came from"
    )
    parameters: list[ParameterTrace] = Field(description="of a compound layer: none of its own")


class TraceAnswer(Answer):
    label: int
    digit: int = Field(description="What is read.")
    loss: Finite
    probabilities: list[Finite]
    dlogits: list[Finite]
    layers: list[LayerAnswer] = Field(
        description="In the order in which they run: what a compound layer is made of before it."
    )


class Term(Answer):
    at: list[int]
    source: list[int] | None = Field(description="the index in the layer's input")
    x: Finite
    factor: Finite
    product: Finite


class Others(Answer):
    count: int
    sum: Finite


class SumAnswer(Answer):
    """A number as a sum of products: the largest terms one by one, the others together."""

    value: Finite
    formula: str
    bias: Finite
    factor: str = Field(description="what the second number of a term is called")
    terms: list[Term] = Field(max_length=TERMS)
    others: Others
    total: Finite
    text: str


class OutputAnswer(SumAnswer):
    patch: Array | None
    filter: Array | None


class ParameterAnswer(SumAnswer):
    """`value` is the parameter's; `analytic` is `total`, by the backward pass."""

    analytic: Finite
    numeric: Finite
    relative_error: Finite
    step: float
    map: Array | None


class Moment(Answer):
    loss: Finite
    probabilities: list[Finite]


class Change(Answer):
    layer: str
    parameter: str
    rms_change: Finite


class StepAnswer(Answer):
    optimizer: str
    before: Moment
    after: Moment
    changes: list[Change]


class GradcamQuery(TraceQuery):
    method: Literal["gradcam"]
    layer: Name | None = Field(
        None, description="The last convolution when null.", examples=["conv2d_1"]
    )


class MapQuery(TraceQuery):
    method: Literal["saliency", "occlusion"]


ExplainQuery = Annotated[GradcamQuery | MapQuery, Discriminator("method")]


class ExplainAnswer(Answer):
    """`map` is divided by its largest absolute value, `largest`; below 0 speaks against."""

    method: str
    label: int
    layer: str | None
    map: Array
    largest: Finite


# ---- training ------------------------------------------------------------------------------------


class RunSettings(Body):
    architecture: Architecture = "cnn"
    optimizer: OptimizerName = "adam"
    learning_rate: Rate = 0.001
    batch_size: Whole = Field(128, ge=1, le=1024)
    epochs: Whole = Field(3, ge=1, le=100)
    images: Whole = Field(20_000, ge=100, le=55_000, description="How many of MNIST to train on.")
    seed: Whole = Field(0, ge=0, le=2**31 - 1)


class ArchitectureInfo(Answer):
    name: str
    parameters: int
    multiply_adds: int


class Choices(Answer):
    """What a run can be made of."""

    architectures: list[ArchitectureInfo]
    optimizers: list[OptimizerName]
    learning_rates: dict[str, float] = Field(description="The usual one of each optimizer.")
    defaults: RunSettings


class RunState(Answer):
    id: str
    state: Literal["running", "paused", "done", "stopped", "failed"]
    settings: RunSettings
    epoch: int = Field(description="From 0.")
    batch: int = Field(description="How many of the epoch are done.")
    batches: int
    history: dict[str, list[Finite]]
    model: str | None
    error: str | None
