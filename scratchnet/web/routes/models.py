"""Whether the server answers, and which models it has."""

from fastapi import APIRouter

from ... import __version__
from .. import schemas as s
from ..bodies import Route
from ..problems import post_problems
from ..state import State

router = APIRouter(route_class=Route)


@router.get("/api/health")
async def health() -> s.Health:
    """Whether the server answers."""
    return s.Health(status="ok", version=__version__)


@router.get("/api/models")
async def models_(state: State) -> list[s.ModelInfo]:
    """All models that can be asked, the default one first."""
    return state.models.describe()


@router.post("/api/models", responses=post_problems())
async def untrained_model(state: State, query: s.UntrainedQuery) -> s.ModelInfo:
    """An architecture before any training: from now on a model like the others."""
    return await state.work(state.models.untrained, state.turns, query.architecture)
