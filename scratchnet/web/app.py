"""The application: REST API, live events, and the page's files.

Handlers do no work themselves: they hand it to a few threads, so that the event loop stays free to
refuse (see limits.py) and to tell (see runs.py). Preparing an image needs no lock; whatever runs
kernels takes its turn (see turns.py).

What names something that is not there (a model, a layer, a class, an index) is answered with 404,
and a body that is not as schemas.py says with 422.
"""

import asyncio
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import Body, FastAPI, File, Form, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as HTTPError
from starlette.routing import Match

from .. import __version__, architectures, datasets, kernels, pictures
from ..errors import InputError
from ..microscope import heat_maps
from ..microscope.trace import Trace
from ..model import Sequential
from . import inside, limits, reading, runs
from . import schemas as s
from .turns import Turns

STATIC = Path(__file__).parent / "static"
#: preparing an image takes longer than reading it, and two cores are the least there is
THREADS = max(2, os.cpu_count() or 1)

FILE = f"{', '.join(limits.FORMATS)}; at most {limits.MAX_PIXELS:,} pixels"
PROBLEMS = {
    400: "The Host is not ours, or the body cannot be read.",
    403: "The Origin is not ours.",
    404: "No such model, run, layer, parameter, class or index.",
    408: "The body did not come in time.",
    409: "Does not go with the state of the run.",
    413: "Too large.",
    415: "Another format.",
    422: "Not as described.",
    503: "Too many at once; Retry-After says when to ask again.",
}

log = logging.getLogger("scratchnet")


class Models:
    """All models by name, in order; the first one answers where none is named."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[Sequential, str]] = {}
        self.default = ""

    def add(self, name: str, model: Sequential, source: str) -> None:
        self.default = self.default or name
        self.found[name] = model, source

    def remove(self, name: str) -> None:
        self.found.pop(name, None)

    def get(self, name: str | None) -> Sequential:
        found = self.found.get(self.default if name is None else name)
        if found is None:
            raise HTTPException(
                404, f"model: expected one of {', '.join(self.found)}, found {name!r}"
            )
        return found[0]

    def list(self) -> list[s.ModelInfo]:
        return [
            s.ModelInfo(
                name=name,
                source=source,
                classes=list(model.class_names),
                input_shape=list(model.input_shape),
                layers=[
                    s.LayerInfo(**{**vars(row), "output_shape": list(row.output_shape)})
                    for row in model.rows()
                ],
            )
            for name, (model, source) in list(self.found.items())
        ]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the description of a path: what can go wrong."""
    return {status: {"model": s.Problem, "description": PROBLEMS[status]} for status in statuses}


def post_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for a path that waits for its turn and may have a body."""
    return problems(*statuses, 408, 413, 503)


def create_app(
    models: Mapping[str, Sequential] | None = None,
    hosts: Iterable[str] = (),
    data: Callable[[], Any] = datasets.mnist.load_data,
    pending: int = limits.MAX_PENDING,
) -> FastAPI:
    """The application, which still has to be served.

    models    classifiers of 28 x 28 x 1 images by name, before the shipped one
    hosts     names, besides this machine's own, under which it may be asked for
    data      what runs train on: a function that returns ((x, y), (x_test, y_test))
    pending   so many requests at once; one more is answered with 503

    `app.state.closing`, an Event, ends all live streams when it is set.
    """
    turns, registry = Turns(), Models()
    for name, model in (models or {}).items():
        registry.add(name, model, "file")
    registry.add("mnist-cnn", architectures.pretrained(), "shipped")
    training = runs.Runs(
        turns, data, lambda name, model: registry.add(name, model, "run"), registry.remove
    )
    pool = ThreadPoolExecutor(THREADS, "scratchnet", initializer=runs.use_asked_threads)
    closing = threading.Event()

    async def work(do: Callable[..., Any], *arguments: Any) -> Any:
        """Do it on a thread of the pool; not at all if the client has left before its turn."""
        return await asyncio.get_running_loop().run_in_executor(pool, do, *arguments)

    def warm_up() -> None:
        """Whatever is loaded or compiled when first used, so that the first to ask needs not wait.

        Kernels that only a training needs are left to the first one: they are many.
        """
        bar = np.zeros((28, 28), np.uint8)
        bar[4:24, 12:16] = 255
        image = pictures.prepare(bar).image
        with turns:
            for model, _ in registry.found.values():
                model.prepare()
                label = int(model.predict(image).argmax())
                heat_maps.saliency(model, image)
                heat_maps.occlusion(model, image)
                Trace(model, image, label).step("adam")

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        # held by all threads at all times, or an answer's last bits would depend on who else asks
        with kernels.one_blas_thread():
            await work(warm_up)
            yield
            closing.set()
            await work(training.close)
            pool.shutdown(cancel_futures=True)

    app = FastAPI(
        title="scratchnet",
        version=__version__,
        summary="Reads handwritten digits, shows how, and trains.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=problems(400, 403, 422),
    )
    app.state.closing = closing
    app.add_middleware(limits.Gate, hosts=hosts, pending=pending)
    _answer_errors(app)

    # ---- models ------------------------------------------------------------------------------

    @app.get("/api/health")
    async def health() -> s.Health:
        """Whether the server answers."""
        return s.Health(status="ok", version=__version__)

    @app.get("/api/models")
    async def models_() -> list[s.ModelInfo]:
        """All models that can be asked, the default one first."""
        return registry.list()

    # ---- reading -----------------------------------------------------------------------------

    @app.post("/api/predict", responses=post_problems(404))
    async def predict(query: s.PredictQuery) -> s.Prediction:
        """The digit in a drawing, or in an image that is in MNIST's form already."""
        model = registry.get(query.model)
        return await work(reading.predict, turns, model, query)

    @app.post("/api/predict/file", responses=post_problems(404, 415))
    async def predict_file(
        image: Annotated[bytes, File(description=FILE)],
        steps: Annotated[bool, Form()] = False,
        model: Annotated[s.Name | None, Form()] = None,
    ) -> s.Prediction:
        """The digit in a photo or drawing."""
        net = registry.get(model)
        return await work(reading.predict_file, turns, net, image, steps)

    @app.post("/api/sequence", responses=post_problems(404))
    async def sequence(query: s.SequenceQuery) -> s.Sequence:
        """All digits in a drawing, line by line."""
        model = registry.get(query.model)
        return await work(reading.sequence, turns, model, query.pixels)

    @app.post("/api/sequence/file", responses=post_problems(404, 415))
    async def sequence_file(
        image: Annotated[bytes, File(description=FILE)],
        model: Annotated[s.Name | None, Form()] = None,
    ) -> s.Sequence:
        """All digits in a photo or drawing, line by line."""
        net = registry.get(model)
        return await work(reading.sequence_file, turns, net, image)

    # ---- seeing inside -----------------------------------------------------------------------

    @app.post("/api/trace", responses=post_problems(404))
    async def trace_(query: s.TraceQuery) -> s.TraceAnswer:
        """One forward and one backward pass, with every array."""
        return await work(inside.trace, turns, registry.get(query.model), query)

    @app.post("/api/trace/output", responses=post_problems(404))
    async def trace_output(query: s.OutputQuery) -> s.OutputAnswer:
        """The arithmetic that makes one value of a layer's output."""
        return await work(inside.output, turns, registry.get(query.model), query)

    @app.post("/api/trace/parameter", responses=post_problems(404))
    async def trace_parameter(query: s.ParameterQuery) -> s.ParameterAnswer:
        """One entry of a parameter's gradient: its terms, and a numeric derivative beside it."""
        return await work(inside.parameter, turns, registry.get(query.model), query)

    @app.post("/api/trace/step", responses=post_problems(404))
    async def trace_step(query: s.StepQuery) -> s.StepAnswer:
        """What one step of an optimizer on this image alone would change. Nothing is kept."""
        return await work(inside.step, turns, registry.get(query.model), query)

    @app.post("/api/explain", responses=post_problems(404))
    async def explain_(query: s.ExplainQuery) -> s.ExplainAnswer:
        """Which pixels speak for a class."""
        return await work(inside.explain, turns, registry.get(query.model), query)

    # ---- training ----------------------------------------------------------------------------

    @app.get("/api/architectures")
    async def choices() -> s.Choices:
        """What a run can be made of."""
        return training_choices

    @app.post("/api/runs", status_code=201, responses=post_problems(409))
    async def start_run(settings: Annotated[s.RunSettings, Body()]) -> s.RunState:
        """Start a training. One at a time."""
        return training.start(settings).describe()

    @app.get("/api/runs")
    async def all_runs() -> list[s.RunState]:
        """All runs that are remembered, oldest first."""
        return [run.describe() for run in training.all.values()]

    def found(name: str) -> runs.Run:
        if name not in training.all:
            raise HTTPException(404, f"run: expected one of /api/runs, found {name!r}")
        return training.all[name]

    @app.get("/api/runs/{name}", responses=problems(404))
    async def one_run(name: str) -> s.RunState:
        """Where a run stands."""
        return found(name).describe()

    @app.delete("/api/runs/{name}", status_code=204, responses=post_problems(404))
    async def delete_run(name: str) -> Response:
        """Stop a run, and forget it and its model."""
        run = found(name)
        await work(run.stop, 10)
        if name in training.all:  # nobody else was faster
            training.forget(name)
        return Response(status_code=204)

    @app.post("/api/runs/{name}/pause", responses=post_problems(404, 409))
    async def pause_run(name: str) -> s.RunState:
        """Pause after the batch that runs."""
        found(name).pause()
        return found(name).describe()

    @app.post("/api/runs/{name}/resume", responses=post_problems(404, 409))
    async def resume_run(name: str) -> s.RunState:
        """Go on."""
        found(name).resume()
        return found(name).describe()

    @app.post("/api/runs/{name}/stop", responses=post_problems(404, 409))
    async def stop_run(name: str) -> s.RunState:
        """End after the batch that runs; what was learnt until then is kept as a model."""
        run = found(name)
        if run.has_ended:
            raise runs.ConflictError(f"{name}: expected a run that goes on, found it {run.state}")
        await work(run.stop, 10)
        return run.describe()

    @app.get(
        "/api/runs/{name}/events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}}, **problems(404, 503)},
    )
    async def run_events(name: str) -> StreamingResponse:
        """Events as they happen: state, progress, epoch, filters."""
        run = found(name)
        if training.listeners >= runs.MAX_LISTENERS:
            raise limits.RefusedError(503, "too many live streams", **{"retry-after": "5"})
        return StreamingResponse(run.events(closing.is_set), media_type="text/event-stream")

    # ---- the page ----------------------------------------------------------------------------

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(STATIC / "docs.html")

    app.mount("/static", StaticFiles(directory=STATIC))
    training_choices = _choices()
    return app


def _choices() -> s.Choices:
    rows = []
    for name in architectures.ARCHITECTURES:
        net = architectures.build(name)
        adds = sum(row.multiply_adds for row in net.rows())
        rows.append(
            s.ArchitectureInfo(name=name, parameters=net.count_params(), multiply_adds=adds)
        )
    return s.Choices(
        architectures=rows,
        optimizers=list(runs.OPTIMIZERS),
        learning_rates={name: rate for name, (_, rate) in runs.OPTIMIZERS.items()},
        defaults=s.RunSettings(),
    )


def _answer_errors(app: FastAPI) -> None:
    """Every error as {"error": "one line"}."""

    def problem(status: int, line: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
        return JSONResponse({"error": str(InputError(line))}, status, headers)

    @app.exception_handler(InputError)
    async def input_error(request: Request, error: InputError) -> JSONResponse:
        return problem(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def not_as_described(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":
            return problem(422, f"body: expected JSON, found {first['ctx']['error']}")
        place = ".".join(map(str, first["loc"]))
        found = repr(first.get("input"))
        found = found if len(found) <= 60 else f"{found[:60]}..."
        return problem(422, f"{place}: {first['msg']}, found {found}")

    @app.exception_handler(HTTPError)
    async def http_error(request: Request, error: HTTPError) -> JSONResponse:
        headers = error.headers
        if error.status_code == 405:  # Starlette names the methods of the first route alone
            routes = [at for at in app.routes if at.matches(request.scope)[0] != Match.NONE]
            found = {method for at in routes for method in getattr(at, "methods", None) or ()}
            headers = {"allow": ", ".join(sorted(found))}
        return problem(error.status_code, str(error.detail), headers)

    @app.exception_handler(inside.MissingError)
    async def missing(request: Request, error: inside.MissingError) -> JSONResponse:
        return problem(404, str(error))

    @app.exception_handler(runs.ConflictError)
    async def conflict(request: Request, error: runs.ConflictError) -> JSONResponse:
        return problem(409, str(error))

    @app.exception_handler(limits.RefusedError)
    async def refused(request: Request, error: limits.RefusedError) -> JSONResponse:
        return problem(error.status, error.line, error.headers)

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        # Starlette raises it again after this answer, so that it stands in the log
        return problem(500, "an error inside the server; its log says more")
