"""What can go wrong: every error is answered as {"error": "one line"}."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match

from ..errors import InputError
from . import schemas as s
from .fields import shown
from .limits import RefusedError

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


class MissingError(InputError):
    """What was asked for is not there: a model, a training, a layer, a class, an index."""


class ConflictError(Exception):
    """What was asked does not go with the state of a training."""


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the description of a path: what can go wrong."""
    return {status: {"model": s.Problem, "description": PROBLEMS[status]} for status in statuses}


def post_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same for a path that waits for its turn and may have a body."""
    return problems(*statuses, 408, 413, 503)


def answer_errors(app: FastAPI, routers: Sequence[APIRouter]) -> None:
    """Answer the exceptions that leave a handler, each with its status.

    routers   all routes of the application: a wrong method is answered with the right ones
    """

    @app.exception_handler(InputError)
    async def input_error(request: Request, error: InputError) -> JSONResponse:
        return _problem(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def not_as_described(request: Request, error: RequestValidationError) -> JSONResponse:
        return _problem(422, _first_mistake(error))

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        headers = error.headers
        if error.status_code == 405:  # Starlette names the methods of the first route alone
            headers = {"allow": ", ".join(sorted(_methods(app, routers, request)))}
        return _problem(error.status_code, str(error.detail), headers)

    @app.exception_handler(MissingError)
    async def missing(request: Request, error: MissingError) -> JSONResponse:
        return _problem(404, str(error))

    @app.exception_handler(ConflictError)
    async def conflict(request: Request, error: ConflictError) -> JSONResponse:
        return _problem(409, str(error))

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> JSONResponse:
        return _problem(error.status, error.line, error.headers)

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        # Starlette raises it again after this answer, so that it stands in the log
        return _problem(500, "an error inside the server; its log says more")


def _problem(status: int, line: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": str(InputError(line))}, status, headers)


def _first_mistake(error: RequestValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}, found {shown(first.get('input'))}"


def _methods(app: FastAPI, routers: Sequence[APIRouter], request: Request) -> set[str]:
    """The methods of all routes with the request's path."""
    # an application may keep its routers whole, and then has no methods for their routes
    routes = [*app.routes, *(route for router in routers for route in router.routes)]
    fitting = [route for route in routes if route.matches(request.scope)[0] != Match.NONE]
    return {method for route in fitting for method in getattr(route, "methods", None) or ()}
