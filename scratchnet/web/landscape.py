"""The whole network on one example, as compactly as a picture needs it: forward, backward, reach.

Half the bytes of /api/trace a number, and no parameters: what a page draws in one view.
"""

import base64
import inspect
from collections.abc import Iterator
from functools import cache
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..layers import Residual
from ..layers.registry import gradient_of
from ..microscope.layer_trace import LayerTrace
from ..microscope.reach import Reach, as_image, each_its_own, reaches
from ..model import Sequential
from . import schemas as s
from .fields import Answer, Finite, Formula, Text
from .inspection import traced
from .turns import Turns

#: a row of channels that is longer is sent as "all"
MOST_CHANNELS = 4096


class Half(Answer):
    """Numbers of any number of axes, each a half-precision number times `scale`."""

    shape: list[int]
    scale: Finite = Field(description="the largest absolute value")
    half: str = Field(description="base64 of little-endian float16")

    @classmethod
    def of(cls, array: NDArray) -> "Half":
        finite = np.where(np.isfinite(array), array, 0)
        scale = float(np.abs(finite).max(initial=0.0))
        values = np.asarray(array / scale if scale else array, dtype="<f2")
        data = base64.b64encode(np.ascontiguousarray(values).data).decode("ascii")
        return cls.model_construct(shape=list(array.shape), scale=scale, half=data)


class ReachAnswer(Answer):
    """Which values of the inputs each value of the output sees, axis by axis.

    A span is [first, last, step]; a vector is an image of one place.
    """

    rows: list[list[int]] = Field(description="for each row of the output a span of the input's")
    columns: list[list[int]]
    channels: str | list[list[int]] = Field(description='"all", "same", or lists of channels')
    in_order: bool = Field(description="the same values counted anew, as Flatten does")


class Node(Answer):
    """One layer. A compound one comes after what it is made of, as the sum of its rows."""

    name: Text
    kind: Text
    about: Text = Field(description="what it is, in its own words")
    rule: Text = Field(description="its forward pass, in its own words; empty if it says none")
    backward: Formula = None
    inputs: list[Text] = Field(description="whose outputs it takes; an empty name is the image")
    block: Text = Field(description="the compound layer it is in; empty outside of one")
    row: Text = Field(description='its row there: "main", "shortcut"; empty outside of one')
    parameters: int
    y: Half
    dy: Half | None = Field(description="dL/dy; null for a Softmax that is folded into the loss")
    rms: Finite = Field(description="the root of the mean square of y")
    rms_dy: Finite
    reach: ReachAnswer
    winners: str | None = Field(
        description="of max pooling, for each output the place in the input's map that it came "
        "from, row * width + column: base64 of little-endian int32"
    )


class LandscapeAnswer(Answer):
    label: int
    digit: int = Field(description="What is read.")
    loss: Finite
    probabilities: list[Finite]
    image: Half
    dimage: Half = Field(description="dL/dx of the image")
    nodes: list[Node] = Field(description="in the order in which they run")


#: by model: what reaches what stays the same while a network learns
_known: WeakKeyDictionary[Sequential, dict[str, Reach]] = WeakKeyDictionary()


def known_reaches(model: Sequential) -> dict[str, Reach]:
    """Of every layer by its name; asked of the layers once for each model."""
    if model not in _known:
        _known[model] = reaches(model)
    return _known[model]


def landscape(turns: Turns, model: Sequential, query: s.TraceQuery) -> LandscapeAnswer:
    with turns:
        found, digit = traced(model, query)
        reach = known_reaches(model)
    return LandscapeAnswer.model_construct(
        label=found.label,
        digit=digit,
        loss=found.loss if np.isfinite(found.loss) else None,
        probabilities=[p if np.isfinite(p) else None for p in found.probabilities.tolist()],
        image=Half.of(found.x),
        dimage=Half.of(found.layers[0].dx),
        nodes=list(_nodes(found.layers, "", reach)),
    )


def _nodes(
    layers: list[LayerTrace], before: str, reach: dict[str, Reach], block: str = "", row: str = ""
) -> Iterator[Node]:
    """Every layer as it runs; of a compound one first its rows, then where they meet."""
    for t in layers:
        ends = []
        rows = t.rows()
        for name, inner in rows.items():
            yield from _nodes(inner, before, reach, t.name, name)
            ends.append(inner[-1].name)
        if type(t.layer) is Residual and "shortcut" not in rows:
            ends.append(before)  # past the row
        yield _node(t, ends or [before], _where_rows_meet(t) if ends else reach[t.name], block, row)
        before = t.name


def _node(t: LayerTrace, inputs: list[str], reach: Reach, block: str, row: str) -> Node:
    about, rule = _said(inspect.getdoc(t.layer) or t.kind)
    return Node(
        name=t.name,
        kind=t.kind,
        about=about,
        rule=rule,
        backward=gradient_of(t.kind),
        inputs=inputs,
        block=block,
        row=row,
        parameters=0 if t.inside else sum(a.size for a in t.params.values()),
        y=Half.of(t.output),
        dy=None if t.dy is None else Half.of(t.dy),
        rms=t.rms["output"],
        rms_dy=t.rms["dy"],
        reach=_sent(reach),
        winners=None if t.sources is None else _winners(t),
    )


def _where_rows_meet(t: LayerTrace) -> Reach:
    """Each value is a sum of those at its own place at the end of every row."""
    return each_its_own(as_image(t.output.shape) or (1, 1, 1))


def _sent(reach: Reach) -> ReachAnswer:
    channels = reach.channels
    if not isinstance(channels, str):
        long = sum(map(len, channels)) > MOST_CHANNELS
        channels = "all" if long else [list(row) for row in channels]
    return ReachAnswer.model_construct(
        rows=[list(span) for span in reach.rows],
        columns=[list(span) for span in reach.columns],
        channels=channels,
        in_order=reach.in_order,
    )


def _winners(t: LayerTrace) -> str:
    assert t.sources is not None
    places = t.sources[..., 0] * t.input.shape[1] + t.sources[..., 1]
    return base64.b64encode(places.astype("<i4").tobytes()).decode("ascii")


@cache
def _said(derivation: str) -> tuple[str, str]:
    """The first sentence of a layer's derivation, and the paragraph on its forward pass."""
    lines = derivation.splitlines()
    about = lines[0]
    start = next((i for i, line in enumerate(lines) if line.startswith("Forward ")), None)
    if start is None:
        return about, ""
    said = [lines[start].removeprefix("Forward")]
    for line in lines[start + 1 :]:
        if not line.startswith("  ") or not line.strip():
            break
        said.append(line)
    return about, " ".join(" ".join(said).split())
