"""The application: REST API, live events, and the page's files, put together.

What names something that is not there (a model, a layer, a class, an index) is answered with 404,
and a body that is not as schemas.py says with 422.
"""

import mimetypes
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles

from .. import __version__, datasets, kernels
from ..model import Sequential
from . import limits
from .problems import answer_errors, problems
from .routes import ROUTERS
from .routes.pages import STATIC
from .state import ServerState
from .trainings import Data


def create_app(
    models: Mapping[str, Sequential] | None = None,
    hosts: Iterable[str] = (),
    data: Data = datasets.mnist.load_data,
    pending: int = limits.MAX_PENDING,
    runs: Path | None = None,
) -> FastAPI:
    """The application, which still has to be served.

    models    classifiers of 28 x 28 x 1 images by name, before the shipped one
    hosts     names, besides this machine's own, under which it may be asked for
    data      what runs train on: a function that returns ((x, y), (x_test, y_test))
    runs      a folder to keep them in, and to find those of another time
    pending   so many requests at once; one more is answered with 503

    `app.state.closing`, an Event, ends all live streams when it is set.
    """
    # where Windows' registry says text/plain, no browser would run the page's scripts
    mimetypes.add_type("text/javascript", ".js")
    state = ServerState(models or {}, data, runs)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        limits.silence_pillow()
        # held by all threads at all times, or an answer's last bits would depend on who else asks
        with kernels.one_blas_thread():
            await state.work(state.warm_up)
            yield
            await state.close()

    app = FastAPI(
        title="scratchnet",
        version=__version__,
        summary="Reads handwritten digits, shows how, and trains.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses=problems(400, 403, 422),
    )
    app.state.server, app.state.closing = state, state.closing
    app.add_middleware(limits.Gate, hosts=hosts, pending=pending)
    answer_errors(app, ROUTERS)
    for router in ROUTERS:
        app.include_router(router)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app
