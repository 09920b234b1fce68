"""Training: what can be trained, and the runs, each started, watched, paused and stopped."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Response
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from .. import saved_runs
from .. import schemas as s
from ..bodies import Route
from ..problems import ConflictError, post_problems, problems
from ..state import State
from ..trainings import Training

router = APIRouter(route_class=Route)


class _Live(StreamingResponse):
    """Events, and one of the places for those who listen while they are sent.

    It is taken here, where it is sure to be given back: of a handler's answer nothing may be sent.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[str], place: AbstractContextManager[None]) -> None:
        super().__init__(events)
        self.place = place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self.place:
            await super().__call__(scope, receive, send)


#: how long an answer waits for the batch that runs
SECONDS_TO_STOP = 10


async def _named(state: State, name: str) -> Training:
    return state.trainings.get(name)


#: a handler's parameter of this type is the training that the path names
Named = Annotated[Training, Depends(_named)]


@router.get("/api/architectures")
async def choices(state: State) -> s.Choices:
    """What a run can be made of."""
    return state.choices


@router.post("/api/runs", status_code=201, responses=post_problems(409))
async def start_run(state: State, settings: Annotated[s.RunSettings, Body()]) -> s.RunState:
    """Start a training. One at a time."""
    return state.trainings.start(settings).describe()


@router.get("/api/runs")
async def all_runs(state: State) -> list[s.RunState]:
    """All runs that are remembered, oldest first."""
    return [training.describe() for training in state.trainings.all.values()]


@router.get("/api/runs/{name}", responses=problems(404))
async def one_run(training: Named) -> s.RunState:
    """Where a run stands."""
    return training.describe()


@router.delete("/api/runs/{name}", status_code=204, responses=post_problems(404))
async def delete_run(state: State, training: Named) -> Response:
    """Stop a run, and forget it and its model. What is kept in the folder of runs stays there.

    Where the batch that runs takes long, the run is gone at once, and ends when it can; until then
    no other is started.
    """
    await training.stopped(SECONDS_TO_STOP)
    state.trainings.forget(training.id)
    return Response(status_code=204)


@router.post("/api/runs/{name}/pause", responses=post_problems(404, 409))
async def pause_run(training: Named) -> s.RunState:
    """Pause after the batch that runs."""
    training.pause()
    return training.describe()


@router.post("/api/runs/{name}/resume", responses=post_problems(404, 409))
async def resume_run(training: Named) -> s.RunState:
    """Go on."""
    training.resume()
    return training.describe()


@router.post("/api/runs/{name}/stop", responses=post_problems(404, 409))
async def stop_run(training: Named) -> s.RunState:
    """End after the batch that runs; what was learnt until then is kept as a model."""
    if training.has_ended:
        raise ConflictError(
            f"{training.id}: expected a run that goes on, found it {training.status}"
        )
    await training.stopped(SECONDS_TO_STOP)
    return training.describe()


@router.post("/api/runs/{name}/title", responses=post_problems(404))
async def rename_run(state: State, training: Named, query: s.RenameQuery) -> s.RunState:
    """Call it, and its model, by another name."""
    await state.work(state.trainings.rename, training, query.title)
    return training.describe()


@router.post("/api/runs/{name}/digit", responses=post_problems(404, 409))
async def watch_digit(training: Named, query: s.WatchQuery) -> s.RunState:
    """From now on the events tell what the network makes of this digit, too, while it learns."""
    training.watch(query.pixels)
    return training.describe()


@router.get(
    "/api/runs/{name}/folder",
    response_class=Response,
    responses={200: {"content": {"application/zip": {}}}, **problems(404, 409)},
)
async def run_folder(state: State, training: Named) -> Response:
    """What was trained, as a ZIP file: the model, history.json, and the curves as a picture.

    Of a run that is kept in a folder also its state: `scratchnet train --resume` goes on with it.
    """
    model = state.trainings.model_of(training)
    content = await state.work(saved_runs.zipped, training.record, model, training.saved)
    return _download(content, "application/zip", f"{training.id}.zip")


@router.get(
    "/api/runs/{name}/model",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, **problems(404, 409)},
)
async def run_model(state: State, training: Named) -> Response:
    """The model's file: `scratchnet predict --model`, `sn.load_model` and others read it."""
    model = state.trainings.model_of(training)
    content = await state.work(saved_runs.model_file, model)
    return _download(content, "application/octet-stream", f"{training.id}.safetensors")


def _download(content: bytes, kind: str, name: str) -> Response:
    # a run of the command may lie in a folder of any name
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    headers = {"content-disposition": f'attachment; filename="{plain}"'}
    return Response(content, media_type=kind, headers=headers)


@router.get(
    "/api/runs/{name}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {}}}, **problems(404, 503)},
)
async def run_events(state: State, training: Named) -> StreamingResponse:
    """Events as they happen: state, progress, epoch, filters, digit."""
    events = training.events(state.closing.is_set)
    return _Live(events, state.trainings.listening())
