"""Files from the internet: from the first mirror that gives the right one, checked and kept.

A file is complete when its SHA-256 sum is the expected one; until then it is called NAME.part, and
the next attempt, on this mirror or another, goes on where the last one ended (HTTP range requests,
RFC 9110, section 14). pooch looks after the sums and puts the complete file in its place; the
transfer is written out here, because pooch's own starts anew every time. A mirror may send
anything, as slowly as it likes and without an end: none of it holds up the next one for long.

Files are kept in $SCRATCHNET_DATA or, without it, in the user's cache folder. There NAME.part,
NAME.whole, NAME.new and NAME.lock belong to this module too.
"""

import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .. import files
from ..errors import InputError

TIMEOUT = 20.0  # seconds without a connection, or without a byte
SPAN, LEAST = 60.0, 60_000  # seconds, and the bytes that must come in them
MOST_SECONDS = 3 * 3600.0  # for one mirror; the next attempt goes on with what it gave
MOST_BYTES = 1 << 30  # the largest file of the catalogue has 0.56e9
PIECE = 1 << 16  # bytes

#: called with a line that says what is being fetched; the command sends it to standard error
announce: Callable[[str], None] | None = None


class UnavailableError(Exception):
    """No mirror gave the file; the text says why each did not."""


class _MirrorError(Exception):
    """Why this mirror did not give the file, in a few words."""


def folder() -> Path:
    """Where downloaded files are kept."""
    from platformdirs import user_cache_path

    chosen = os.environ.get("SCRATCHNET_DATA")
    if chosen:
        return Path(chosen)
    try:
        return user_cache_path("scratchnet", appauthor=False) / "datasets"
    except RuntimeError:
        raise InputError("SCRATCHNET_DATA: expected it or a home folder, found neither") from None


def fetch(name: str, sha256: str, urls: Iterable[str], folder: Path) -> Path:
    """The path of the file `name` in `folder`, downloaded from one of `urls` if it is not there.

    What is there already is checked, too. UnavailableError where no mirror gives the file;
    InputError where it cannot be written.
    """
    path = folder / name
    failures = []
    try:
        if _is_right(path, sha256):  # the folder may be one that cannot be written to
            return path
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if _is_right(path, sha256):
                return path
            for url in urls:
                try:
                    return _from_mirror(url, path, sha256)
                except _MirrorError as reason:
                    failures.append(f"{urlsplit(url).netloc}: {reason}")
    except OSError as error:  # the disk; what goes wrong on the network is a _MirrorError
        raise InputError(f"{path}: cannot write there: {error.strerror or error}") from None
    raise UnavailableError("; ".join(failures))


def _is_right(path: Path, sha256: str) -> bool:
    import pooch

    return path.exists() and pooch.file_hash(str(path)) == sha256


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time: a second one waits, then finds the file that the first one left."""
    from filelock import FileLock, Timeout

    lock = FileLock(_beside(path, "lock"))
    try:
        lock.acquire(timeout=0.1)
    except Timeout:
        if announce:
            announce(f"waiting for another process that downloads {path.name}")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f"{path.name}.{ending}")


def _from_mirror(url: str, path: Path, sha256: str) -> Path:
    import pooch

    # pooch's temporary files go into a folder where nothing else is: a process that was killed may
    # have left some
    place = _beside(path, "new")
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # `announce` says what pooch would
    transfer = _Transfer(path, sha256)
    try:
        for last in (False, True):
            shutil.rmtree(place, ignore_errors=True)
            try:
                done = pooch.retrieve(url, sha256, path.name, place, downloader=transfer)
                files.replace(done, path)
                files.remove(_beside(path, "part"))
                return path
            except ValueError:  # the sum differs, and pooch has removed the file
                # the start may have come from another mirror: once more, from the beginning
                if last or not transfer.resumed:
                    raise _MirrorError("a file with another SHA-256 sum") from None
    finally:
        logger.setLevel(level)
        shutil.rmtree(place, ignore_errors=True)
        files.remove(_beside(path, "whole"))
    raise AssertionError("unreachable: the loop returns or raises")


class _Transfer:
    """A downloader for pooch: one URL into one file, going on with the part that is there."""

    def __init__(self, path: Path, sha256: str) -> None:
        self.name, self.sha256 = path.name, sha256
        self.part, self.whole = _beside(path, "part"), _beside(path, "whole")
        self.resumed = False  # whether the file that was handed over is made of two answers

    def __call__(self, url: str, output: str, _pooch: object) -> None:
        start = self.part.stat().st_size if self.part.exists() else 0
        received = self._receive(url, start)
        if received is None:  # nothing comes after the part: it is the whole, or no part of it
            received = self.part if _is_right(self.part, self.sha256) else self._receive(url, 0)
        if received is None:
            raise _MirrorError("HTTP 416")
        files.replace(received, output)

    def _receive(self, url: str, start: int) -> Path | None:
        """The complete file, or what claims to be it; None if nothing comes after `start`."""
        # "identity": the bytes of a .gz file themselves, not what is in it
        headers = {"Accept-Encoding": "identity", "User-Agent": "scratchnet"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with _Connection(url, headers) as connection:
            response = connection.receive()
            if response.status_code == 416:
                return None
            if response.status_code not in (200, 206):
                raise _MirrorError(f"HTTP {response.status_code}")
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise _MirrorError("an HTML page")
            if response.status_code == 200:  # the whole, asked for or not
                start = 0
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise _MirrorError("another part than asked for")
            length = response.headers.get("Content-Length", "")
            size = start + int(length[:20]) if length.isdecimal() else None
            if size is not None and size > MOST_BYTES:
                raise _MirrorError(f"{size:,} bytes, more than any file of the catalogue")
            if announce:
                announce(_line(self.name, start, size, url))
            # a part that is there stays until a whole file proves to be the right one
            into = self.part if start or not self.part.exists() else self.whole
            self.resumed = start > 0
            self._write(connection, into, start, size)
            return into

    def _write(self, connection: "_Connection", into: Path, start: int, size: int | None) -> None:
        received = start
        with open(into, "ab" if start else "wb") as file:
            while piece := connection.receive():
                received += len(piece)
                if received > MOST_BYTES:
                    break
                file.write(piece)
        if received > MOST_BYTES:
            files.remove(into)
            raise _MirrorError(f"more than {MOST_BYTES:,} bytes")
        if size is not None and received != size:
            raise _MirrorError(f"ended after {received:,} of {size:,} bytes")


class _Connection:
    """One request and its answer, received by a thread, so that the caller can stop waiting.

    A time-out of the socket begins anew with every byte, also within the headers. A thread whose
    caller has left ends with its connection, or with the process.
    """

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.pieces: queue.Queue[Any] = queue.Queue(8)
        self.over = threading.Event()
        self.end = time.monotonic() + MOST_SECONDS
        self.due, self.bytes = time.monotonic() + SPAN, 0
        threading.Thread(target=self._run, args=(url, headers), daemon=True).start()

    def __enter__(self) -> "_Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()

    def receive(self) -> Any:
        """What came next: first the response, then pieces of its body, and b"" at its end."""
        piece = None
        while piece is None:
            now = time.monotonic()
            if now >= self.end:
                raise _MirrorError(f"not done after {MOST_SECONDS:g} s")
            if now >= self.due:
                if self.bytes < LEAST and self.pieces.empty():
                    raise _MirrorError(f"fewer than {LEAST:,} bytes in {SPAN:g} s")
                self.due, self.bytes = now + SPAN, 0
            with suppress(queue.Empty):
                piece = self.pieces.get(timeout=min(self.due, self.end) - now)
        if isinstance(piece, Exception):
            raise _MirrorError(_why(piece)) from None
        self.bytes += len(piece) if isinstance(piece, bytes) else 0
        return piece

    def _run(self, url: str, headers: dict[str, str]) -> None:
        import requests

        try:
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                self._put(response)
                # not iter_content, which unpacks what a server calls gzip-encoded
                while piece := response.raw.read1(PIECE, decode_content=False):
                    self._put(piece)
                    if self.over.is_set():
                        return
                self._put(b"")
        except Exception as error:
            self._put(error)

    def _put(self, piece: Any) -> None:
        while not self.over.is_set():
            with suppress(queue.Full):
                self.pieces.put(piece, timeout=0.2)
                return


def _why(error: Exception) -> str:
    """What went wrong on the network, in a few words."""
    import requests
    import urllib3

    if isinstance(error, requests.exceptions.SSLError | urllib3.exceptions.SSLError):
        return "no trusted connection"
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.ReadTimeoutError):
        return f"silent for {TIMEOUT:g} s"
    if isinstance(error, requests.exceptions.ConnectionError):
        return "no connection"
    return f"broken off ({type(error).__name__})"


def _line(name: str, start: int, size: int | None, url: str) -> str:
    amount = "" if size is None else f", {(size - start) / 1e6:.1f} MB"
    verb = "going on with" if start else "downloading"
    return f"{verb} {name}{amount} from {urlsplit(url).netloc}"
