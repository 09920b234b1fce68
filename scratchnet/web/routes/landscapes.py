"""The landscape: all of a network in one answer."""

from fastapi import APIRouter

from .. import landscape
from .. import schemas as s
from ..bodies import Route
from ..problems import post_problems
from ..state import State

router = APIRouter(route_class=Route)


@router.post("/api/landscape", responses=post_problems(404))
async def landscape_(state: State, query: s.TraceQuery) -> landscape.LandscapeAnswer:
    """All maps and their gradients at half precision, and which values reach which."""
    model = state.models.get(query.model)
    return await state.work(landscape.landscape, state.turns, model, query)
