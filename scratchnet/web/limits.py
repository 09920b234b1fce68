"""What requests have to pass first: who may ask, how much, and how many at once.

`Gate` wraps the whole application. It refuses, in this order and as JSON: a Host that is not ours
(a page elsewhere may point its own name at this machine), an Origin that is not ours (no page from
elsewhere may train here), a request above MAX_PENDING, a body above MAX_BODY. A body is read whole
before the application sees it, and a request whose client leaves is dropped.

Left out on purpose: accounts and TLS. The server is for one person on one machine.
"""

import asyncio
import ipaddress
import json
import warnings
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from ..errors import InputError
from ..pictures import formats

MAX_BODY = 10 * 2**20  # bytes; a large camera's JPEG
BODY_SECONDS = 30
PIECE = 64 * 2**10  # bytes that the application gets at once
MAX_PENDING = 64  # requests that are read, wait or run
MAX_PIXELS = 40_000_000
FORMATS = formats.FORMATS

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


class RefusedError(Exception):
    """A request that is not let in."""

    def __init__(self, status: int, line: str, **headers: str) -> None:
        super().__init__(line)
        self.status, self.line, self.headers = status, line, headers


class Gate:
    """An ASGI application around another.

    hosts   names and addresses, besides this machine's own, under which it may be asked for
    """

    def __init__(self, app: Any, hosts: Iterable[str] = (), pending: int = MAX_PENDING) -> None:
        self.app = app
        self.hosts = {"127.0.0.1", "localhost", "[::1]", *map(_in_url, hosts)}
        self.any_address = not self.hosts.isdisjoint({"0.0.0.0", "[::]"})
        self.most, self.pending = pending, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            self._check_host(headers)
            if scope["method"] in ("GET", "HEAD"):
                await self.app(scope, receive, send_with_headers)
            else:
                await self._with_body(scope, headers, receive, send_with_headers)
        except RefusedError as error:
            await _answer(send_with_headers, error)
            if error.status == 413:
                await _discard(receive)

    def _check_host(self, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            known = ", ".join(sorted(self.hosts))
            raise RefusedError(400, f"Host: expected one of {known}, found {host!r}")
        origin = headers.get(b"origin")
        if origin is not None:
            _, _, place = origin.decode("latin-1").partition("://")
            if place != host:
                raise RefusedError(403, f"Origin: expected http://{host}, found {origin!r}")

    def _is_ours(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        if not colon or host.endswith("]"):  # no port; an IPv6 address has colons, too
            name, port = host, "80"
        if not port.isdecimal():
            return False
        return name.lower() in self.hosts or self.any_address and _is_address(name)

    async def _with_body(self, scope: Any, headers: Any, receive: Any, send: Any) -> None:
        """Read the body, run the application with it, and drop it when the client leaves."""
        if self.pending >= self.most:
            raise RefusedError(503, "too many requests at once; try again", **{"retry-after": "1"})
        self.pending += 1
        answered = False

        async def noted_send(message: Any) -> None:
            nonlocal answered
            await send(message)
            answered = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            body = await _read(headers, receive)
            if body is None:
                return
            left = asyncio.ensure_future(receive())  # resolves when the client has gone
            work = asyncio.ensure_future(self.app(scope, _replayed(body, left), noted_send))
            try:
                await asyncio.wait({left, work}, return_when=asyncio.FIRST_COMPLETED)
                if not (work.done() or answered):  # after the answer it only closes its files
                    work.cancel()
                await asyncio.gather(work, return_exceptions=left.done())
            finally:
                left.cancel()
                work.cancel()
        finally:
            self.pending -= 1


async def _read(headers: dict[bytes, bytes], receive: Any) -> bytes | None:
    """The whole body; None where the client leaves before its end."""
    length = headers.get(b"content-length", b"0")
    if length.isdigit() and int(length) > MAX_BODY:
        raise RefusedError(413, _too_large(f"{int(length):,}"))
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > MAX_BODY:
                    raise RefusedError(413, _too_large("more"))
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        line = f"expected the whole body within {BODY_SECONDS} seconds"
        raise RefusedError(408, line, connection="close") from None


def _too_large(found: str) -> str:
    return f"expected a body of at most {MAX_BODY:,} bytes, found {found}"


async def _discard(receive: Any) -> None:
    """Take in a little of a body that was refused: a client that still sends would not read."""
    try:
        async with asyncio.timeout(2):
            while (await receive()).get("more_body"):
                pass
    except TimeoutError:
        pass


def _replayed(body: bytes, left: asyncio.Future) -> Any:
    """`receive` for the application: the body in pieces, then the client's leaving.

    Between the pieces others have their turn: a form is read on the event loop.
    """
    starts = iter(range(0, max(1, len(body)), PIECE))

    async def receive() -> Any:
        start = next(starts, None)
        if start is None:
            return await asyncio.shield(left)
        if start:
            await asyncio.sleep(0)
        end = start + PIECE
        return {"type": "http.request", "body": body[start:end], "more_body": end < len(body)}

    return receive


async def _answer(send: Any, refused: RefusedError) -> None:
    body = json.dumps({"error": str(InputError(refused.line))}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    pairs = [(k.encode(), v.encode()) for k, v in (headers | refused.headers).items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _in_url(host: str) -> str:
    """A host as it stands in a URL: IPv6 addresses in brackets."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def silence_pillow() -> None:
    """Its warning of a large image would stand in the log; `checked_image` refuses it anyway."""
    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def checked_image(content: bytes) -> Any:
    """An uploaded image, decoded after its header has shown an allowed format and size.

    RefusedError with 415 for another format, 413 for more than MAX_PIXELS pixels; InputError for an
    image that is damaged.
    """
    from PIL import Image, UnidentifiedImageError

    known = ", ".join(FORMATS)
    too_many = f"image: expected at most {MAX_PIXELS:,} pixels, found"
    try:
        image = formats.open_image(BytesIO(content))
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise RefusedError(413, f"{too_many} {width} x {height}")
        image.load()
        return image
    except RefusedError:
        raise
    except UnidentifiedImageError:
        raise RefusedError(415, f"image: expected one of {known}, found another file") from None
    except Image.DecompressionBombError:
        raise RefusedError(413, f"{too_many} more") from None
    except Exception as error:  # Pillow's readers raise anything on damaged data
        raise InputError(f"image: expected {known}, found a damaged one: {error}") from None
