"""Server-sent events: messages from any thread to the clients that listen."""

import asyncio
from contextlib import suppress

#: an event's name, and its data as JSON
Message = tuple[str, str]


class Listener:
    """What one client has not read yet.

    Of the messages with the same key only the newest is kept: a slow client misses some progress,
    and memory stays bounded by the number of keys.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.news = asyncio.Event()
        self.messages: dict[str, Message] = {}

    def send(self, key: str, event: str, data: str) -> None:
        """From any thread."""

        def put() -> None:
            self.messages.pop(key, None)  # it goes to the end: order is that of the newest
            self.messages[key] = event, data
            self.news.set()

        with suppress(RuntimeError):  # the loop has ended, and with it the client
            self.loop.call_soon_threadsafe(put)

    async def wait(self, seconds: float) -> list[Message]:
        """All messages so far; after that many seconds perhaps none."""
        try:
            async with asyncio.timeout(seconds):
                await self.news.wait()
        except TimeoutError:
            return []
        return self.take()

    def take(self) -> list[Message]:
        self.news.clear()
        found = list(self.messages.values())
        self.messages.clear()
        return found


def as_text(event: str, data: str) -> str:
    return f"event: {event}\ndata: {data}\n\n"
