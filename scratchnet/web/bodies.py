"""JSON bodies: read within limits, stopping at the first mistake, and off the event loop if long.

Python's own reader builds every value of a body before anyone looks at it, and holds the
interpreter meanwhile: a few megabytes of brackets take gigabytes and many seconds. Here containers
are read one by one, so that lists too long or too deep end the reading where they are found; only
a flat list of numbers goes to Python's reader in one piece. `pixels` becomes an array here, which
leaves little to the check against the schema.
"""

import json
import re
from typing import Any

from fastapi import HTTPException, Request
from fastapi.routing import APIRoute

from ..errors import InputError
from .fields import MAX_SIDE, drawing

#: bytes; a body that is shorter is read at once, without a thread
SHORT = 16 * 2**10
MAX_DEPTH = 8
#: lists and objects in one body, and the strings' quotation marks: twice what a drawing needs
MAX_CONTAINERS = MAX_QUOTES = 2 * MAX_SIDE
BLANK = re.compile(r"[ \t\n\r]*")

_python = json.JSONDecoder()


def read_json(body: bytes) -> Any:
    """What the body says, with `pixels` as an array; InputError with one line if it is wrong."""
    try:
        text = body.decode(json.detect_encoding(body))
        value = _Reader(text).all()
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"body: expected JSON in UTF-8, found {error.reason}") from None
    except json.JSONDecodeError as error:
        raise InputError(f"body: expected JSON, found {error.msg} at {error.pos}") from None
    except ValueError as error:  # an integer with thousands of digits
        raise InputError(f"body: expected shorter numbers: {error}") from None
    if isinstance(value, dict) and "pixels" in value:
        try:
            value["pixels"] = drawing(value["pixels"])
        except ValueError as error:
            raise InputError(f"body.{error}") from None
    return value


class _Reader:
    """One text, read container by container."""

    def __init__(self, text: str) -> None:
        self.text = text
        containers, quotes = text.count("[") + text.count("{"), text.count('"')
        if containers > MAX_CONTAINERS:
            raise InputError(
                f"body: expected at most {MAX_CONTAINERS:,} lists and objects, found {containers:,}"
            )
        if quotes > MAX_QUOTES:
            raise InputError(
                f"body: expected at most {MAX_QUOTES:,} quotation marks, found {quotes:,}"
            )

    def all(self) -> Any:
        value, end = self.value(self.skip(0), 0)
        if end != len(self.text):
            raise json.JSONDecodeError("Extra data", self.text, end)
        return value

    def skip(self, i: int) -> int:
        """The next place that is not blank."""
        found = BLANK.match(self.text, i)
        return found.end() if found else i

    def value(self, i: int, depth: int) -> tuple[Any, int]:
        """The value that begins at i, and where the next thing after it begins."""
        start = self.text[i : i + 1]
        if start in ("[", "{") and depth == MAX_DEPTH:
            raise InputError(f"body: expected JSON at most {MAX_DEPTH} deep, found more at {i}")
        if start == "{":
            return self.members(i + 1, depth + 1)
        if start == "[" and not self.is_flat(i):
            return self.items(i + 1, depth + 1)
        value, end = _python.raw_decode(self.text, i)
        return value, self.skip(end)

    def is_flat(self, i: int) -> bool:
        """Whether the list at i holds neither containers nor strings; InputError if too long."""
        end = self.text.find("]", i)
        if end < 0 or any(self.text.find(mark, i + 1, end) >= 0 for mark in '[{"'):
            return False
        if self.text.count(",", i, end) >= MAX_SIDE:
            raise InputError(_too_long(i))
        return True

    def items(self, i: int, depth: int) -> tuple[list[Any], int]:
        found: list[Any] = []
        i = self.skip(i)
        if self.text[i : i + 1] == "]":
            return found, self.skip(i + 1)
        while True:
            if len(found) == MAX_SIDE:
                raise InputError(_too_long(i))
            value, i = self.value(i, depth)
            found.append(value)
            if self.is_last(i, "]"):
                return found, self.skip(i + 1)
            i = self.skip(i + 1)

    def members(self, i: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        i = self.skip(i)
        if self.text[i : i + 1] == "}":
            return found, self.skip(i + 1)
        while True:
            if self.text[i : i + 1] != '"':
                raise json.JSONDecodeError("Expecting a name in double quotes", self.text, i)
            key, i = self.value(i, depth)
            if self.text[i : i + 1] != ":":
                raise json.JSONDecodeError("Expecting ':'", self.text, i)
            found[key], i = self.value(self.skip(i + 1), depth)
            if self.is_last(i, "}"):
                return found, self.skip(i + 1)
            i = self.skip(i + 1)

    def is_last(self, i: int, end: str) -> bool:
        """Whether the container ends at i; else there is a comma."""
        mark = self.text[i : i + 1]
        if mark not in (end, ",") or not mark:
            raise json.JSONDecodeError(f"Expecting ',' or '{end}'", self.text, i)
        return mark == end


def _too_long(i: int) -> str:
    return f"body: expected lists of at most {MAX_SIDE} items, found a longer one at {i}"


class _Asked(Request):
    """A request whose JSON is read here."""

    async def json(self) -> Any:
        body = await self.body()
        try:
            if len(body) <= SHORT:
                return read_json(body)
            return await self.app.state.server.work(read_json, body)
        except InputError as error:
            raise HTTPException(422, str(error)) from None


class Route(APIRoute):
    """A path whose JSON bodies are read within limits."""

    def get_route_handler(self) -> Any:
        answer = super().get_route_handler()

        async def asked(request: Request) -> Any:
            return await answer(_Asked(request.scope, request.receive))

        return asked
