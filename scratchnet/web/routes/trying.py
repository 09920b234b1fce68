"""What if: changes on a copy of a model, and an image that is read as something else."""

from fastapi import APIRouter

from .. import schemas as s
from .. import trying
from ..bodies import Route
from ..problems import post_problems
from ..state import State

router = APIRouter(route_class=Route)


@router.post("/api/what-if", responses=post_problems(404))
async def what_if(state: State, query: s.WhatIfQuery) -> s.WhatIfAnswer:
    """What follows from filters switched off, weights changed, pixels painted, steps taken.

    On a copy: the model stays as it is, and so do its answers.
    """
    model = state.models.get(query.model)
    return await state.work(trying.what_if, state.turns, model, query)


@router.post("/api/fool", responses=post_problems(404))
async def fool(state: State, query: s.FoolQuery) -> s.FoolAnswer:
    """The image, changed along its gradient until it is read as another class."""
    model = state.models.get(query.model)
    return await state.work(trying.fooled, state.turns, model, query)
