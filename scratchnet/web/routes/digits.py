"""Reading digits: one, or all in a picture, from a drawing or a file."""

from typing import Annotated

from fastapi import APIRouter, File, Form

from .. import limits, reading
from .. import schemas as s
from ..bodies import Route
from ..fields import Name
from ..problems import post_problems
from ..state import State

router = APIRouter(route_class=Route)

Image = Annotated[
    bytes,
    File(
        description="One image, as a part with a file name (of several the last counts), judged by "
        f"its content: {', '.join(limits.FORMATS)}; at most {limits.MAX_PIXELS:,} pixels. "
        "Anything else is refused with 415, a damaged image with 422, more pixels with 413."
    ),
]
FormSteps = Annotated[
    bool, Form(description="Whether to send pictures of the preparation: true or false.")
]
FormName = Annotated[
    Name | None, Form(description="A name from /api/models, as a part without a file name.")
]


@router.post("/api/predict", responses=post_problems(404))
async def predict(state: State, query: s.PredictQuery) -> s.Prediction:
    """The digit in a drawing, or in an image that is in MNIST's form already."""
    model = state.models.get(query.model)
    return await state.work(reading.predict, state.turns, model, query)


@router.post("/api/predict/file", responses=post_problems(404, 415))
async def predict_file(
    state: State, image: Image, steps: FormSteps = False, model: FormName = None
) -> s.Prediction:
    """The digit in a photo or drawing."""
    net = state.models.get(model)
    return await state.work(reading.predict_file, state.turns, net, image, steps)


@router.post("/api/sequence", responses=post_problems(404))
async def sequence(state: State, query: s.SequenceQuery) -> s.Sequence:
    """All digits in a drawing, line by line."""
    model = state.models.get(query.model)
    return await state.work(reading.sequence, state.turns, model, query.pixels)


@router.post("/api/sequence/file", responses=post_problems(404, 415))
async def sequence_file(state: State, image: Image, model: FormName = None) -> s.Sequence:
    """All digits in a photo or drawing, line by line."""
    net = state.models.get(model)
    return await state.work(reading.sequence_file, state.turns, net, image)
