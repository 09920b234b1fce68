"""Files from the internet: from the first mirror that gives the right one, checked and kept.

A file is complete when its SHA-256 sum is the expected one; until then it is called NAME.part, and
the next attempt, on this mirror or another, goes on where the last one ended (HTTP range requests,
RFC 9110, section 14). pooch looks after the cache and the sums; the transfer is written out here,
because pooch's own starts anew every time.

Files are kept in $SCRATCHNET_DATA or, without it, in the user's cache folder.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import InputError

TIMEOUT = 20.0  # seconds without a connection, or without a byte
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
    return Path(chosen) if chosen else user_cache_path("scratchnet", appauthor=False) / "datasets"


def fetch(name: str, sha256: str, urls: Iterable[str], folder: Path) -> Path:
    """The path of the file `name` in `folder`, downloaded from one of `urls` if it is not there.

    What is there already is checked, too. UnavailableError where no mirror gives the file;
    InputError where it cannot be written.
    """
    import pooch

    path = folder / name
    failures = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if path.exists() and pooch.file_hash(str(path)) == sha256:
                return path
            for url in urls:
                try:
                    return _from_mirror(url, path, sha256)
                except _MirrorError as reason:
                    failures.append(f"{urlsplit(url).netloc}: {reason}")
    except OSError as error:  # the disk; what goes wrong on the network is a _MirrorError
        raise InputError(f"{path}: cannot write there: {error.strerror or error}") from None
    raise UnavailableError("; ".join(failures))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time: a second one waits, then finds the file that the first one left."""
    with open(path.with_name(f"{path.name}.lock"), "w") as lock:
        with suppress(ImportError):  # not on Windows; there a wrong sum shows a clash
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _from_mirror(url: str, path: Path, sha256: str) -> Path:
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # `announce` says what pooch would
    transfer = _Transfer(path.with_name(f"{path.name}.part"))
    try:
        for last in (False, True):
            try:
                return Path(
                    pooch.retrieve(url, sha256, path.name, path.parent, downloader=transfer)
                )
            except ValueError:  # the sum differs, and pooch has removed the file
                # the start may have come from another mirror: once more, from the beginning
                if last or not transfer.resumed:
                    raise _MirrorError("a file with another SHA-256 sum") from None
    finally:
        logger.setLevel(level)
    raise AssertionError("unreachable: the loop returns or raises")


class _Transfer:
    """A downloader for pooch: one URL into one file, going on with the part that is there."""

    def __init__(self, part: Path) -> None:
        self.part = part
        self.resumed = False

    def __call__(self, url: str, output: str, _pooch: object) -> None:
        import requests
        import urllib3

        try:
            self._receive(url)
        except requests.exceptions.SSLError:
            raise _MirrorError("no trusted connection") from None
        except (requests.exceptions.Timeout, urllib3.exceptions.ReadTimeoutError):
            raise _MirrorError(f"silent for {TIMEOUT:g} s") from None
        except requests.exceptions.ConnectionError:
            raise _MirrorError("no connection") from None
        except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
            raise _MirrorError(f"broken off ({type(error).__name__})") from None
        os.replace(self.part, output)

    def _receive(self, url: str) -> None:
        import requests

        start = self.part.stat().st_size if self.part.exists() else 0
        self.resumed = start > 0
        # "identity": the bytes of a .gz file themselves, not what is in it
        headers = {"Accept-Encoding": "identity", "User-Agent": "scratchnet"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if response.status_code == 416:  # nothing after `start`: the part may be the whole
                return
            if response.status_code not in (200, 206):
                raise _MirrorError(f"HTTP {response.status_code}")
            if response.headers.get("Content-Type", "").startswith("text/html"):
                raise _MirrorError("an HTML page")
            if response.status_code == 200:  # the whole, asked for or not
                start, self.resumed = 0, False
            elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
                raise _MirrorError("another part than asked for")
            length = response.headers.get("Content-Length", "")
            size = start + int(length) if length.isdecimal() else None
            if announce:
                announce(_line(self.part.stem, start, size, url))
            with open(self.part, "ab" if start else "wb") as file:
                # not iter_content, which unpacks what a server calls gzip-encoded
                for piece in response.raw.stream(PIECE, decode_content=False):
                    file.write(piece)
                received = file.tell()
        if size is not None and received != size:
            raise _MirrorError(f"ended after {received:,} of {size:,} bytes")


def _line(name: str, start: int, size: int | None, url: str) -> str:
    amount = "" if size is None else f", {(size - start) / 1e6:.1f} MB"
    verb = "going on with" if start else "downloading"
    return f"{verb} {name}{amount} from {urlsplit(url).netloc}"
