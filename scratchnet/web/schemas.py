"""What the REST API takes and gives: exact shapes, limits and examples.

The models refuse what they do not name, and numbers given as texts: a typing mistake in a request
is an error, not a default silently taken.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from .choices import recipe_settings
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
    RecipeName,
    RunStatus,
    Text,
    Title,
    integer,
    only_bool,
)

#: of the sums that make one number, so many terms are sent
TERMS = 50
#: of a training that the page starts
MOST_EPOCHS = 100


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
    title: Text = Field(description="what to call it")
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


class InputQuery(TraceQuery):
    layer: LayerName
    index: Index = Field(
        description="of the layer's input: [row, column, map] or [number]", examples=[[12, 9, 0]]
    )


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
    axes: list[str] = Field(description="what each axis counts")
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
    slope: Array | None = Field(
        description="of an activation: dy/dx at every place, what dy is multiplied with"
    )
    winners: Array | None = Field(
        description="of max pooling: row and column of the input that each output came from"
    )
    parameters: list[ParameterTrace] = Field(description="of a compound layer: none of its own")


class TraceAnswer(Answer):
    label: int
    digit: int = Field(description="What is read.")
    loss: Finite
    loss_formula: str = Field(description="the loss in one line, or nothing where none is written")
    loss_gradient: str = Field(description="its gradient likewise")
    one_hot: list[Finite] = Field(description="what the loss compares the probabilities with")
    x: Array = Field(description="the image as the network takes it")
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
    first: str = Field(description="what the first is called: x, or dy where the sum makes a dx")
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


class ComparedAnswer(SumAnswer):
    """`analytic` is `total`, by the backward pass; `numeric` is beside it."""

    analytic: Finite
    numeric: Finite
    relative_error: Finite
    agrees: bool = Field(description="whether they are equal as far as `numeric` can tell")
    verdict: str = Field(description="the same in words")
    kink: bool = Field(description="whether a ReLU or a maximum changes within the step")
    step: Finite


class ParameterAnswer(ComparedAnswer):
    """`value` is the parameter's."""

    map: Array | None = Field(description="x * dy, by the output's place")
    x: Array | None = Field(description="the x that the parameter meets at each place")
    dy: Array | None = Field(description="and the dy there")


class InputAnswer(ComparedAnswer):
    """`value` is x's."""

    window: Array | None = Field(description="the dy that reach it, where they are a window")
    filter: Array | None = Field(description="their slopes: a convolution's filter turned round")
    area: list[int] | None = Field(
        description="where the window lies in dy: first row and column, which may be below 0, "
        "height, width; null where it has gaps"
    )


class CodeQuery(TraceQuery):
    layer: LayerName
    direction: Literal["forward", "backward"] = "forward"


class Made(Answer):
    """What a line made: an array, or a number as text."""

    name: Text
    text: Text = Field(description="shape and range, or the number")
    shape: list[int] | None = None
    value: Array | None = Field(
        default=None, description="without the batch of one; of a large array every `every`-th"
    )
    every: list[int] | None = Field(default=None, description="along each axis of `value`")


class Line(Answer):
    """One statement that has run; `line` and `end` number its lines in the file."""

    function: Text
    line: int
    end: int
    depth: int
    made: list[Made]


class SourceText(Answer):
    name: Text
    first: int = Field(description="the number of its first line in the file")
    lines: list[Text]


class CodeAnswer(Answer):
    layer: Text
    direction: str
    file: Text
    functions: list[SourceText]
    steps: list[Line]
    cut: bool = Field(description="whether more lines ran than are here")


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


# ---- what if -------------------------------------------------------------------------------------


class SwitchOff(Body):
    """A filter or unit: all its weights become 0."""

    kind: Literal["off"]
    layer: LayerName
    unit: Integer = Field(ge=0, le=2**31 - 1, examples=[3])


class SetWeight(Body):
    kind: Literal["set"]
    layer: LayerName
    parameter: Name = Field(examples=["W"])
    index: Index = Field(examples=[[0, 1, 0, 5]])
    value: float = Field(ge=-1e6, le=1e6)


class Paint(Body):
    """Another image."""

    kind: Literal["paint"]
    pixels: Prepared


class Learn(Body):
    """Steps of an optimizer on this image alone."""

    kind: Literal["learn"]
    steps: Integer = Field(default=1, ge=1, le=10)
    optimizer: OptimizerName = "sgd"
    learning_rate: Rate | None = None


WhatIfChange = Annotated[SwitchOff | SetWeight | Paint | Learn, Discriminator("kind")]


class WhatIfQuery(TraceQuery):
    changes: list[WhatIfChange] = Field(
        max_length=24, description="All of them, the oldest first: the server remembers none."
    )
    look: LayerName | None = Field(
        default=None, description="The layer whose values are wanted; the first when null."
    )


class Moved(Answer):
    """How far a layer's values are from what they were: the root of the mean square."""

    layer: Text
    output: Finite
    output_moved: Finite
    dy: Finite
    dy_moved: Finite


class WhatIfAnswer(Answer):
    label: int
    digit: int = Field(description="What is read now.")
    changes: list[str] = Field(description="What was done, in words.")
    before: Moment
    now: Moment
    losses: list[Finite] = Field(description="of the last steps: before the first, after each")
    moved: list[Moved]
    look: Text
    output_before: Array
    output_now: Array
    dy_before: Array | None
    dy_now: Array | None


class FoolQuery(ImageQuery):
    target: Annotated[int, Field(ge=0, le=10_000), BeforeValidator(integer)] = Field(examples=[3])
    steps: Integer = Field(default=100, ge=1, le=200, description="At most so many.")


class FoolAnswer(Answer):
    target: int
    succeeded: bool = Field(description="whether the image is read as the target")
    steps: int
    length: Finite = Field(description="of what was added: the root of the sum of its squares")
    digit: int = Field(description="What is read now.")
    pixels: list[list[int]] = Field(description="28 x 28: the image now.")
    perturbation: Array = Field(description="what was added, in the model's scale")
    path: list[list[Finite]] = Field(description="the probabilities at the start, after each step")


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
    title: Title | None = Field(default=None, description="What it is to be called.")
    recipe: RecipeName | None = Field(
        default=None,
        description="Settings of the command's recipes. Those that are given as well change it; "
        "the optimizer and its schedule are the recipe's, `learning_rate` their highest.",
    )
    architecture: Architecture = "cnn"
    optimizer: OptimizerName = "adam"
    learning_rate: Rate = 0.001
    batch_size: Integer = Field(default=128, ge=1, le=1024)
    epochs: Integer = Field(default=3, ge=1, le=MOST_EPOCHS)
    images: Integer = Field(
        default=20_000, ge=100, le=55_000, description="How many of MNIST to train on."
    )
    seed: Integer = Field(default=0, ge=0, le=2**31 - 1)

    @model_validator(mode="before")
    @classmethod
    def by_recipe(cls, given: Any) -> Any:
        """What is not given is the recipe's."""
        if not isinstance(given, dict) or not isinstance(given.get("recipe"), str):
            return given
        known = recipe_settings(given["recipe"])
        return given if known is None else {**known, **given}


class ArchitectureInfo(Answer):
    name: str
    parameters: int
    multiply_adds: int


class RecipeInfo(Answer):
    """What a recipe sets of a run's settings, and in words what it brings besides."""

    name: str
    architecture: str
    learning_rate: float
    batch_size: int
    epochs: int
    about: str


class Choices(Answer):
    """What a run can be made of."""

    recipes: list[RecipeInfo]
    architectures: list[ArchitectureInfo]
    optimizers: list[OptimizerName]
    learning_rates: dict[str, float] = Field(description="The usual one of each optimizer.")
    defaults: RunSettings


class RunState(Answer):
    id: str
    title: Text
    about: Text = Field(description="The settings in a few words.")
    state: RunStatus
    settings: RunSettings | None = Field(description="null for a run of the train command")
    saved: Text | None = Field(description="the folder that it is kept in")
    note: str | None = Field(description="what is amiss, though the run is not")
    epoch: int = Field(description="From 0.")
    batch: int = Field(description="How many of the epoch are done.")
    batches: int
    history: dict[str, list[Finite]]
    model: str | None
    error: str | None


class RenameQuery(Body):
    title: Title


class WatchQuery(Body):
    """The digit whose maps are wanted while a run learns."""

    pixels: Prepared
