"""Machine code kept between processes: used again only if it is whole, and this user's.

One file holds one loop as compiled for one row of argument types:

    SHA-256 of the rest | pickle of (key, what Numba needs to load the loop)

Numba's own cache hands whatever it finds to pickle and to LLVM: a damaged file ends the process
there, or runs with wrong instructions, and whoever can write to the folder can have any program
run. So the digest is compared before anything else looks at the content, and a folder or file is
used only if it belongs to this user, or to root, and others cannot write to it. What cannot be used
is compiled anew, and one line on stderr says why. There is no index, as Numba has: a file's name
follows from its key, and processes that write at once have nothing to agree on. What one of them
compiles the others wait for, instead of doing the same.
"""

import contextlib
import functools
import hashlib
import os
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps

from ..errors import InputError
from ..files import remove, replace

config: Any = numba.config  # it makes its attributes as it is loaded; mypy does not see them

DIGEST = hashlib.sha256().digest_size
SUFFIX, TEMPORARY, LOCK = ".kernel", ".tmp", ".lock"
STALE = 3600  # seconds after which a temporary file must be one that a killed process left
#: files to lock, for all loops: who compiles one, holds one
LOCKS = 32
PATIENCE = 120  # seconds: no loop takes so long, and to compile it twice is better than to wait
SETTINGS = ("BOUNDSCHECK", "DEBUGINFO_DEFAULT", "LOOP_VECTORIZE", "SLP_VECTORIZE")


class KernelCache(FunctionCache):
    """What Numba asks for one loop's machine code; `options` are those it is compiled with."""

    def __init__(self, loop: Callable[..., Any], options: dict[str, Any]) -> None:
        self._py_func = loop
        self._name = repr(loop)
        code = loop.__code__
        name = f"{Path(code.co_filename).stem}.{loop.__qualname__}-{code.co_firstlineno}-"
        self._start = "".join(c if c.isalnum() or c in "._-" else "-" for c in name)
        # of the versions, and of Numba's settings, what the machine code depends on
        versions = numba.__version__, llvmlite.__version__, sys.version_info[:2]
        settings = [str(getattr(config, name, None)) for name in SETTINGS]
        level = os.environ.get("NUMBA_OPT", "")  # compiler.py changes config.OPT while it compiles
        # as text: Numba empties the dictionary
        given = repr(sorted(options.items()))
        source = _digest_of_source(code.co_filename)
        self._fixed = (self._start, source, *versions, *settings, level, given)
        self._enabled = source is not None

    @property
    def cache_path(self) -> str:
        return str(folder() or "")

    def flush(self) -> None:
        """Delete what is kept of this loop."""
        place = folder()
        for path in place.glob(f"{self._start}*{SUFFIX}") if place else ():
            remove(path)

    def load_overload(self, sig: Any, target_context: Any) -> CompileResult | None:
        """The loop for these types, if it was kept."""
        target_context.refresh()
        place = folder() if self._enabled else None
        if place is None:
            return None
        key = self._key(sig, target_context.codegen())
        path = place / self._file(key)
        data = _read(path)
        if data is None:
            return None
        try:
            kept, reduced = pickle.loads(data)
            # the name is made of the types' names, and two types may have one name
            return CompileResult._rebuild(target_context, *reduced) if kept == key else None
        except Exception as error:  # whole, and yet not what this Numba can load
            _say(f"{path}: expected a compiled kernel, found {_one_line(error)}")
            return None

    def place_of(self, sig: Any, target_context: Any) -> Path | None:
        """Where the loop for these types is kept, or would be; None if nowhere."""
        target_context.refresh()
        place = folder() if self._enabled else None
        return place and place / self._file(self._key(sig, target_context.codegen()))

    @contextlib.contextmanager
    def alone(self, sig: Any, target_context: Any) -> Iterator[None]:
        """Inside, no other process compiles the loop for these types; for loops of which none calls
        another, or two processes might wait for each other."""
        path = self.place_of(sig, target_context)
        if path is None or path.exists():
            yield
            return
        from filelock import FileLock, Timeout

        number = int(hashlib.sha256(path.name.encode()).hexdigest()[:8], 16) % LOCKS
        with contextlib.ExitStack() as stack:
            # on a disk that knows no locks, each compiles for itself
            with contextlib.suppress(OSError, NotImplementedError, Timeout):
                stack.enter_context(FileLock(path.parent / f"{number}{LOCK}", PATIENCE))
            yield

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the loop, if it can be kept and there is a place for it."""
        place = folder() if self._enabled else None
        if place is None or data.lifted or data.library.has_dynamic_globals:
            return
        key = self._key(sig, data.codegen)
        _write(place / self._file(key), dumps((key, data._reduce())))

    def _key(self, sig: Any, codegen: Any) -> tuple[Any, ...]:
        """The types, the processor, and what is the same for all of them."""
        return (self._index_key(sig, codegen), self._fixed)

    def _file(self, key: tuple[Any, ...]) -> str:
        return f"{self._start}{hashlib.sha256(repr(key).encode()).hexdigest()[:32]}{SUFFIX}"


@functools.cache
def _digest_of_source(path: str) -> str | None:
    """Of the file that a loop is in; "" for the engine's, which name the folder; None if none."""
    if Path(path).parent == Path(__file__).parent:
        return ""
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:  # typed in, or made by a program
        return None


# ---- the folder ----------------------------------------------------------------------------------


@functools.cache
def folder() -> Path | None:
    """Where machine code is kept: per user and content of the engine's files; None if nowhere.

    By content, since a loop may call others, in other files, which an upgrade changes. With
    NUMBA_CACHE_DIR the folder is in that one.
    """
    from platformdirs import user_cache_dir

    sources = sorted(Path(__file__).parent.glob("*.py"))
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    try:
        chosen = config.CACHE_DIR or user_cache_dir("scratchnet", appauthor=False)
    except RuntimeError:
        _say("kernel cache: expected a home folder or NUMBA_CACHE_DIR, found neither")
        return None
    path = Path(chosen, f"kernels-{content[:16]}").absolute()
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # of a link, too, it counts whose it is
        wrong = _distrust(path.stat()) or _distrust(path.lstat(), is_link=path.is_symlink())
    except OSError as error:
        wrong = _one_line(error)
    if wrong:
        _say(f"{path}: expected a folder of your own to keep kernels in, found {wrong}")
        return None
    return path


def _distrust(status: os.stat_result, is_link: bool = False) -> str:
    """Why what is there may be another user's work; "" if it is not."""
    if os.name != "posix":  # Windows keeps other users out of a profile by itself
        return ""
    if status.st_uid not in (0, os.geteuid()):
        return f"one of another user (number {status.st_uid})"
    if status.st_mode & 0o022 and not is_link:
        return f"one that others may write to (mode {status.st_mode & 0o777:o})"
    return ""


# ---- one file ------------------------------------------------------------------------------------


def _read(path: Path) -> bytes | None:
    """The pickle in a file; None if there is no file, or not as it was written."""
    try:
        with open(path, "rb") as file:
            wrong = _distrust(os.fstat(file.fileno()))
            content = b"" if wrong else file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        wrong = _one_line(error)
    else:
        if not wrong and hashlib.sha256(content[DIGEST:]).digest() == content[:DIGEST]:
            return content[DIGEST:]
    _say(f"{path}: expected a compiled kernel, found {wrong or 'a damaged file'}")
    return None


def _write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; one that cannot be written is done without."""
    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # it may have been deleted
        _remove_leftovers(path.parent)
        handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=TEMPORARY)
        with open(handle, "wb") as file:
            file.write(hashlib.sha256(data).digest())
            file.write(data)
        replace(temporary, path)
        temporary = None
    except OSError as error:
        # Windows replaces no file that another process reads, which then is as good as this one
        if os.name != "nt" or not path.is_file():
            _say(f"{path}: expected to keep a compiled kernel there, found {_one_line(error)}")
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                remove(temporary)


@functools.cache
def _remove_leftovers(place: Path) -> None:
    """Delete the temporary files of processes that were killed; once."""
    for path in place.glob(f"*{TEMPORARY}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < time.time() - STALE:
                path.unlink()


_said: list[str] = []


def _say(line: str) -> None:
    """Print the first such line on stderr, which may be closed; the others mean the same."""
    if not _said and sys.stderr is not None:
        _said.append(line)
        with contextlib.suppress(OSError, ValueError):
            print(f"scratchnet: {InputError(f'{line}; compiling anew')}", file=sys.stderr)


def _one_line(error: Exception) -> str:
    text = (getattr(error, "strerror", None) or str(error)).strip().partition("\n")[0]
    return text or type(error).__name__
