"""What the REST API takes and gives: exact shapes, limits and examples.

The models refuse what they do not name, and numbers given as texts: a typing mistake in a request
is an error, not a default silently taken.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from .fields import (
    Answer,
    Architecture,
    Array,
    Body,
    Drawn,
    Finite,
    Formula,
    Index,
    Integer,
    Label,
    LayerName,
    ModelName,
    ModelSource,
    Name,
    OptimizerName,
    Prepared,
    Rate,
    RunStatus,
    Text,
    only_bool,
)

#: of the sums that make one number, so many terms are sent
TERMS = 50


class Problem(Answer):
    """Every error, whatever its status."""

    error: str = Field(description="One line.")


class Health(Answer):
    status: Literal["ok"]
    version: str


# ---- models --------------------------------------------------------------------------------------


class LayerInfo(Answer):
    name: Text
    kind: Text
    formula: Formula = None
    output_shape: list[int]
    parameters: int
    multiply_adds: int


class ModelInfo(Answer):
    name: Text
    source: ModelSource
    classes: list[Text]
    input_shape: list[int]
    layers: list[LayerInfo]


class UntrainedQuery(Body):
    architecture: Architecture


# ---- predict and sequence ------------------------------------------------------------------------


class DrawingQuery(Body):
    pixels: Drawn
    prepared: Annotated[Literal[False], BeforeValidator(only_bool)] = False
    steps: bool = Field(default=False, description="Whether to send pictures of the preparation.")
    model: ModelName = None


class PreparedQuery(Body):
    pixels: Prepared
    prepared: Annotated[Literal[True], BeforeValidator(only_bool)]
    steps: bool = Field(default=False, description="There are none for an image that is prepared.")
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
    """Where there is no digit to be found, all is null but `message`, which says why.

    Where there is ink, but no single digit, `digit` is null, and `reason` and `message` say why.
    """

    digit: int | None = None
    class_: Text | None = Field(default=None, serialization_alias="class")
    confidence: Finite = None
    probabilities: list[Finite] | None = None
    pixels: list[list[int]] | None = Field(
        default=None, description="28 x 28: what the network saw."
    )
    steps: list[StepPicture] | None = None
    several: bool = Field(default=False, description="Whether there are several digits.")
    reason: str | None = Field(default=None, description="Why no digit is named.")
    message: str | None = None


class SequenceQuery(Body):
    pixels: Drawn
    model: ModelName = None


class SequenceDigit(Answer):
    digit: int
    class_: Text = Field(serialization_alias="class")
    confidence: Finite
    box: list[int] = Field(description="left, top, width, height in pixels")
    line: int


class Sequence(Answer):
    """Where there is no digit to be found, `number` is empty and `message` says why."""

    number: Text
    lines: list[Text]
    text: Text = Field(default="", description="all lines, with the signs between the digits")
    digits: list[SequenceDigit]
    width: int | None = Field(default=None, description="of the picture, upright, in pixels")
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
    learning_rate: Rate | None = Field(
        default=None, description="The optimizer's usual one when null."
    )


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
    name: Text
    kind: Text
    formula: Formula = None
    input: Text | None = Field(description="the layer whose output it takes; null for the image")
    input_shape: list[int]
    output_shape: list[int]
    output: Array
    dy: Array | None = Field(description="null for a Softmax that is folded into the loss")
    dx: Array | None
    rms: Sizes
    dead: Finite = Field(description="of a ReLU: the share of outputs that are 0")
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
    window: list[int] | None = Field(
        default=None,
        description="rows and columns of the window of the input that the terms come from; null "
        "for a layer without one",
    )


class ParameterAnswer(SumAnswer):
    """`value` is the parameter's; `analytic` is `total`, by the backward pass."""

    analytic: Finite
    numeric: Finite
    relative_error: Finite
    step: Finite
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
        default=None, description="The last convolution when null.", examples=["conv2d_1"]
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
    batch_size: Integer = Field(default=128, ge=1, le=1024)
    epochs: Integer = Field(default=3, ge=1, le=100)
    images: Integer = Field(
        default=20_000, ge=100, le=55_000, description="How many of MNIST to train on."
    )
    seed: Integer = Field(default=0, ge=0, le=2**31 - 1)


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
    state: RunStatus
    settings: RunSettings
    epoch: int = Field(description="From 0.")
    batch: int = Field(description="How many of the epoch are done.")
    batches: int
    history: dict[str, list[Finite]]
    model: str | None
    error: str | None
