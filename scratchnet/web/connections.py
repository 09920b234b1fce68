"""Connections: the whole of a request's head has to come within a time."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

#: from the connection, or the first byte of the next request, to the end of its headers
HEAD_SECONDS = 20.0


class Connection(H11Protocol):
    """uvicorn's own with a time limit: that one limits only the silence between two requests."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._answers():
            self._forget()
        elif self._limit is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: Any) -> None:
        self._forget()  # the connection goes on under another protocol
        super().handle_websocket_upgrade(event)

    def _answers(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._limit = self.loop.call_later(HEAD_SECONDS, self._end)

    def _forget(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _end(self) -> None:
        self._limit = None
        if not self._answers():
            self.transport.close()
