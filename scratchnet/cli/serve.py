"""`scratchnet serve`: the page to draw on, and the REST API behind it."""

import errno
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from ..errors import InputError
from ..model import Sequential
from ..run_folder import STOPPING
from .shared import command, load_reader

NEEDED = {"fastapi", "python_multipart", "uvicorn"}
OPEN_TO_ALL = (
    "listens beyond this machine: anybody on the network may read the models and start, stop and "
    "delete trainings"
)
#: for what is still being computed when the server is asked to end
SECONDS_TO_END = 5


@command("serve --open", "serve my-run other-run --port 8080", "serve --runs my-runs")
def serve(
    models: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[MODEL...]",
            help="Model files, or folders of runs, to offer; the default one first.",
            show_default="the shipped weights",
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free one.")] = 8000,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Folder to keep trainings in; those in it are offered again.",
            show_default="they end with the server",
        ),
    ] = None,
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open the page.")] = False,
) -> None:
    """Serve the page to draw on, and the REST API behind it, until Ctrl-C."""
    _check_extra()
    import uvicorn

    from ..web.connections import Connection

    logging.basicConfig(format="scratchnet: %(message)s", stream=sys.stderr)
    folder = _folder(runs)
    named = _named(models or [])
    listening = _listen(host, port)
    address = _address(host, listening)
    application = _application(named, host, folder)
    config = uvicorn.Config(
        application,
        http=Connection,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )

    class Server(uvicorn.Server):
        """Prints its address when it answers; a signal also ends the live streams."""

        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            _say(f"scratchnet serves {address} (Ctrl-C ends it)", sys.stdout)
            if not _is_own(listening):
                _say(f"scratchnet: warning: {OPEN_TO_ALL}", sys.stderr)
            if open_:
                import webbrowser

                webbrowser.open(address)

        def handle_exit(self, number: int, frame: Any) -> None:
            application.state.closing.set()
            super().handle_exit(number, frame)

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn's own raises the signal again at the end; here a signal is the good end
            before = {number: signal.signal(number, self.handle_exit) for number in STOPPING}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    Server(config).run(sockets=[listening])


def _folder(runs: Path | None) -> Path | None:
    """The folder of runs, if one is asked for, ready to be written to."""
    from ..web.saved_runs import checked

    return None if runs is None else checked(runs)


def _application(models: dict[str, Sequential], host: str, runs: Path | None) -> Any:
    from ..web.app import create_app

    return create_app(models, hosts=[host], runs=runs)


def _check_extra() -> None:
    from importlib.util import find_spec

    missing = sorted(name for name in NEEDED if find_spec(name) is None)
    if missing:
        raise InputError(
            f"serve: expected {', '.join(missing)} to be installed; "
            'pip install "scratchnet[serve]" does it'
        )


def _named(paths: list[Path]) -> dict[str, Sequential]:
    """The models by their files' names; of equal names the later ones get a number."""
    found: dict[str, Sequential] = {}
    for path in paths:
        # a run's folder may be called "."
        first = path.resolve().name if path.is_dir() else path.stem
        name, number = first, 2
        while name in (*found, "mnist-cnn"):
            name, number = f"{first}-{number}", number + 1
        found[name] = load_reader(path)
    return found


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens there, or an error in one line."""
    try:
        place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)[0]
    except (socket.gaierror, UnicodeError):
        raise InputError(f"--host: expected an address of this machine, found {host!r}") from None
    # with its protocol named: only then does asyncio send small answers without delay (TCP_NODELAY)
    listening = socket.socket(*place[:3])
    # on Windows SO_REUSEADDR lets two servers have one port
    option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
    try:
        listening.setsockopt(socket.SOL_SOCKET, option, 1)
        listening.bind(place[4])
        listening.listen(128)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"--port: expected a free port, found {port} in use") from None
        raise InputError(f"{host} port {port}: {error.strerror or error}") from None
    return listening


def _is_own(listening: socket.socket) -> bool:
    """Whether only this machine reaches it."""
    place = listening.getsockname()[0].partition("%")[0]
    return ipaddress.ip_address(place).is_loopback


def _say(line: str, file: TextIO) -> None:
    with suppress(OSError, ValueError):  # it is closed, or full: the server serves all the same
        print(line, file=file, flush=True)


def _address(host: str, listening: socket.socket) -> str:
    inside = f"[{host}]" if ":" in host else host
    return f"http://{inside}:{listening.getsockname()[1]}"
