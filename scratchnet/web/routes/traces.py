"""Seeing inside: every array of both passes, the arithmetic of one number, heat maps."""

from fastapi import APIRouter

from .. import inspection, running_code
from .. import schemas as s
from ..bodies import Route
from ..problems import post_problems
from ..state import State

router = APIRouter(route_class=Route)


@router.post("/api/trace", responses=post_problems(404))
async def trace_(state: State, query: s.TraceQuery) -> s.TraceAnswer:
    """One forward and one backward pass, with every array."""
    model = state.models.get(query.model)
    return await state.work(inspection.passes, state.turns, model, query)


@router.post("/api/trace/output", responses=post_problems(404))
async def trace_output(state: State, query: s.OutputQuery) -> s.OutputAnswer:
    """The arithmetic that makes one value of a layer's output."""
    model = state.models.get(query.model)
    return await state.work(inspection.output, state.turns, model, query)


@router.post("/api/trace/parameter", responses=post_problems(404))
async def trace_parameter(state: State, query: s.ParameterQuery) -> s.ParameterAnswer:
    """One entry of a parameter's gradient: its terms, and a numeric derivative beside it."""
    model = state.models.get(query.model)
    return await state.work(inspection.parameter, state.turns, model, query)


@router.post("/api/trace/input", responses=post_problems(404))
async def trace_input(state: State, query: s.InputQuery) -> s.InputAnswer:
    """One entry of a layer's dx: the dy that reach it, and a numeric derivative beside the sum."""
    model = state.models.get(query.model)
    return await state.work(inspection.entry_of_dx, state.turns, model, query)


@router.post("/api/trace/code", responses=post_problems(404))
async def trace_code(state: State, query: s.CodeQuery) -> s.CodeAnswer:
    """The layer's own source, run on this image: its lines in order, and what each of them made."""
    model = state.models.get(query.model)
    return await state.work(running_code.code, state.turns, model, query)


@router.post("/api/trace/step", responses=post_problems(404))
async def trace_step(state: State, query: s.StepQuery) -> s.StepAnswer:
    """What one step of an optimizer on this image alone would change. Nothing is kept."""
    model = state.models.get(query.model)
    return await state.work(inspection.optimizer_step, state.turns, model, query)


@router.post("/api/explain", responses=post_problems(404))
async def explain_(state: State, query: s.ExplainQuery) -> s.ExplainAnswer:
    """Which pixels speak for a class."""
    model = state.models.get(query.model)
    return await state.work(inspection.heat_map, state.turns, model, query)
