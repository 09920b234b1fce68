"""What went wrong in the learner's code, in plain words, with their own line.

An exception of the learner's is told without a traceback: its place is the last line of the
learner's own files that was running. The same for what ends a process: endless loops, crashes.
"""

import linecache
import re
import signal
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import printable
from .trial import Mistake

#: what a line of Python may call an array: `x`, `self.x`, `self.params["W"]`
NAME = re.compile(r"""[A-Za-z_]\w*(?:\.[A-Za-z_]\w*|\[["']\w+["']\])*""")
#: its parts: `self`, `.params`, `["W"]`
PART = re.compile(r"^\w+|\.\w+|\[[^]]+\]")
#: one frame of what `faulthandler` writes
FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)(?: in (?P<function>\S+))?')


@dataclass
class Outcome:
    """What came of one check; every value is one that JSON knows.

    status     "passed", "wrong" (an answer of it), "unwritten" (a gap), "exception", "syntax",
               "import", "exit", "time", "memory", "crash", "missing" (no such file), "broken" (the
               check itself)
    message    one line; details: lines of numbers
    cause, title, text, evidence    the diagnosis, or ""
    file, line, function, source    the place in the learner's code, or "" and 0
    steps      what passed before
    traceback  for the writer of a check
    """

    status: str
    message: str = ""
    details: list[str] = field(default_factory=list)
    cause: str = ""
    title: str = ""
    text: str = ""
    evidence: str = ""
    file: str = ""
    line: int = 0
    function: str = ""
    source: str = ""
    steps: list[str] = field(default_factory=list)
    traceback: str = ""

    @property
    def passed(self) -> bool:
        return self.status == "passed"

    def described(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Place:
    """A line in one of the learner's files."""

    file: str = ""
    line: int = 0
    function: str = ""
    source: str = ""

    def of(self) -> dict[str, Any]:
        return asdict(self)


def of_exception(error: BaseException, folder: Path, name: str) -> Outcome:
    """What a check that ended with this exception says to the learner.

    folder, name    the learner's, and the exercise's
    """
    detail = "".join(traceback.format_exception(error))
    if isinstance(error, Mistake):
        said = error.cause, error.title, error.text, error.evidence
        return Outcome("wrong", error.headline, error.details, *said)
    if isinstance(error, SyntaxError):
        return _syntax(error, folder, detail)
    own = _places(error.__traceback__, folder)
    place = own[-1] if own else Place()
    status, message, details = _said(error, place, name)
    if status == "exception":
        details = [*details, *_shapes(error.__traceback__, folder, place.source)]
    callers = [at for at in own if at.file == f"{name}.py"]
    if callers and place.file != callers[-1].file:
        at = callers[-1]
        details = [*details, f"called by {at.file}, line {at.line}:", f"    {at.source}"]
    return Outcome(status, message, details, **place.of(), traceback=detail)


def _said(error: BaseException, place: Place, name: str) -> tuple[str, str, list[str]]:
    kind, text = type(error).__name__, printable(str(error))
    if isinstance(error, NotImplementedError) and place.line:
        if place.file != f"{name}.py":
            earlier = place.file.removesuffix(".py")
            return "unwritten", f"{earlier} comes first: this exercise is built on it", []
        where = f"`{place.function}`" if place.function.isidentifier() else "this place"
        return "unwritten", f"{where} is still to be written", []
    if isinstance(error, ImportError):
        return ("import", *_import(error, text))
    if isinstance(error, (SystemExit, KeyboardInterrupt)):
        called = "exit" if isinstance(error, SystemExit) else "stopped"
        message = "the file ends the program (sys.exit, exit or quit); leave that out"
        return "exit", message if called == "exit" else "it was stopped by Ctrl-C", []
    if isinstance(error, MemoryError):
        details = [text] if text else []
        return "memory", "more memory was asked for than there is; is a shape wrong?", details
    if isinstance(error, RecursionError):
        return "exception", "a function calls itself again and again (RecursionError)", []
    apart = re.search(r"^matmul: .*\(size (\d+) is different from (\d+)\)", text)
    if apart:  # NumPy's own words for it name a gufunc signature
        rows, long = apart.groups()
        message = f"`@` does not fit: its left side has rows of {long}, its right side {rows} rows"
        return "exception", message, []
    if not place.line and isinstance(error, TypeError) and "argument" in text:
        message = "the check calls it as the file was handed out; was the first line changed?"
        return "exception", message, [f"{kind}: {text}"]
    if not place.line:
        message = "the check could not use what your code gave it"
        return "exception", message, [f"{kind}: {text}"]
    return "exception", f"{kind}: {text}" if text else kind, []


def _import(error: ImportError, text: str) -> tuple[str, list[str]]:
    name = error.name or ""
    if re.match(r"ex\d+_", name) and isinstance(error, ModuleNotFoundError):
        message = f"it imports {name}, which is not in your folder"
        return message, ["`scratchnet learn start` puts the files that are missing there"]
    if isinstance(error, ModuleNotFoundError):
        details = ["is it spelt right? the exercises need NumPy and your earlier files alone"]
        return f"it imports {printable(name)}, which is not installed", details
    return re.sub(r" \(\S+\)$", "", text), []  # without the place of NumPy's own files


def _syntax(error: SyntaxError, folder: Path, detail: str) -> Outcome:
    file = error.filename or ""
    ours = _inside(file, folder)
    details = []
    if ours and error.text and error.offset and error.offset > 0:
        line = error.text.rstrip("\n").expandtabs(1)
        shift = len(line) - len(line.lstrip())
        details = [line.strip(), " " * max(error.offset - 1 - shift, 0) + "^"]
    details.append("what is wrong may also stand a line above, such as a bracket left open")
    return Outcome(
        "syntax",
        f"Python cannot read the file: {printable(error.msg or 'invalid syntax')}",
        details,
        file=Path(file).name if ours else "",
        line=error.lineno or 0,
        traceback=detail,
    )


def _places(trace: TracebackType | None, folder: Path) -> list[Place]:
    """The lines of the learner's own that were running, the last called last."""
    return [
        Place(Path(frame.filename).name, frame.lineno or 0, frame.name, (frame.line or "").strip())
        for frame in traceback.extract_tb(trace)
        if _inside(frame.filename, folder)
    ]


def _shapes(trace: TracebackType | None, folder: Path, source: str) -> list[str]:
    """The shapes of the arrays that the learner's last line names; the line itself is not run."""
    frames = [frame for frame, _ in traceback.walk_tb(trace)]
    own = [frame for frame in frames if _inside(frame.f_code.co_filename, folder)]
    if not own:
        return []
    shown = {}
    for name in NAME.findall(source.split("#")[0]):
        text, *inside = PART.findall(name)
        value = own[-1].f_locals.get(text)
        for part in inside:
            key = part.strip(".[]\"'")
            if isinstance(value, np.ndarray):  # `self.x.T`: the shape of self.x
                break
            if isinstance(value, dict):
                value = value.get(key)
            else:  # what is stored, and never a property of the learner's, which would run
                value = getattr(value, "__dict__", {}).get(key)
            text += part
        if isinstance(value, np.ndarray):
            shown[text] = f"{text} {value.shape}"
    return [f"shapes: {', '.join(shown.values())}"] if shown else []


def place_in_dump(dump: str, folder: Path) -> Place:
    """The same, in what `faulthandler` wrote of a process that has ended."""
    for frame in FRAME.finditer(dump):
        if _inside(frame["file"], folder):
            path, line = folder / Path(frame["file"]).name, int(frame["line"])
            source = linecache.getline(str(path), line).strip()
            return Place(path.name, line, frame["function"] or "", source)
    return Place()


def _inside(file: str, folder: Path) -> bool:
    path = Path(file)
    escaped = str(folder).encode("ascii", "backslashreplace").decode()  # as faulthandler writes it
    return str(path.parent) in (str(folder), escaped)


def of_time(seconds: float, place: Place) -> Outcome:
    """It was still running when its time was over."""
    return Outcome(
        "time",
        f"it was still running after {seconds:g} seconds, and was stopped",
        [
            "an endless loop? print what its condition reads, each time round",
            "or only slow: loop over few things, and let NumPy do whole arrays",
        ],
        **place.of(),
    )


def of_end(code: int, dump: str, place: Place) -> Outcome:
    """The process ended without an answer: a crash, the system, or os._exit."""
    if code >= 0 and not dump:
        message = f"the program ended by itself, with exit code {code}, in the middle of the check"
        return Outcome("exit", message, ["os._exit does this; leave it out"], **place.of())
    name = ""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
    if name == "SIGKILL":
        message = "the system stopped it; most likely it took more memory than there is"
        return Outcome("memory", message, **place.of())
    why = f" ({name})" if name else f" (exit code {code})"
    return Outcome(
        "crash",
        f"Python itself crashed{why}, which ordinary code cannot do",
        ["ctypes, a wrong `as_strided` or a library's bug can; look at the line named here"],
        **place.of(),
    )
