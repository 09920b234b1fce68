"""Starts the process that checks an exercise, ends it in time, and says what came of it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ..errors import printable
from . import child
from .exercise import Exercise
from .told import Outcome, of_end, of_time, place_in_dump

#: how BLAS is told to use one thread: on a busy machine several wait for one another, and a network
#: as small as these gains nothing by them
ONE_THREAD = (
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
#: bytes that the learner's code may take besides what Python and NumPy take
MEMORY = 4 * 2**30
#: seconds to start in, on a slow machine, and to end in
START = 60.0
#: lines and bytes of what the learner's code prints that are kept
MOST_LINES, MOST_BYTES = 12, 16_384


@dataclass(frozen=True)
class Checked:
    """One check of one exercise.

    printed   what the learner's code printed, cut after some lines
    seconds   that it took, start included
    """

    exercise: Exercise
    outcome: Outcome
    printed: list[str]
    seconds: float

    def described(self) -> dict[str, Any]:
        """For JSON; these keys stay."""
        e = self.exercise
        about = {"name": e.name, "title": e.title, "passed": self.outcome.passed}
        shown = self.outcome.described()
        shown.pop("traceback")
        shown["title_of_cause"] = shown.pop("title")
        return {**about, **shown, "printed": self.printed, "seconds": round(self.seconds, 2)}


def check(exercise: Exercise, folder: Path, seconds: float | None = None) -> Checked:
    """Run the learner's file of that exercise against its check, in a process of its own.

    folder    the learner's
    seconds   that it may take; the exercise's own limit if left out
    """
    start = time.monotonic()
    folder = folder.resolve()
    if not (folder / f"{exercise.name}.py").is_file():
        message = f"{exercise.name}.py is not in {printable(str(folder))}"
        missing = Outcome("missing", message, ["`scratchnet learn start` puts it there again"])
        return Checked(exercise, missing, [], 0.0)
    limit = exercise.seconds if seconds is None else seconds
    with tempfile.TemporaryDirectory(prefix="scratchnet-learn-") as place:
        job = {
            "name": exercise.name,
            "folder": str(folder),
            "check": str(exercise.check_file.resolve()),
            "result": str(Path(place, "result.json")),
            "faults": str(Path(place, "faults.txt")),
            "seconds": limit,
            "memory": MEMORY,
        }
        Path(place, "job.json").write_text(json.dumps(job), "utf-8")
        code, printed = _run(Path(place, "job.json"), folder, limit + START)
        outcome = _read(job, code, folder, limit)
    return Checked(exercise, outcome, printed, time.monotonic() - start)


def _run(job: Path, folder: Path, limit: float) -> tuple[int | None, list[str]]:
    """The process' exit code, None where it had to be ended, and what it printed."""
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH", "")])]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",  # a file saved twice in a second would be taken for the old
        "PYTHONIOENCODING": "utf-8:backslashreplace",
        "SCRATCHNET_BACKEND": "reference",  # nothing to compile
        **dict.fromkeys(ONE_THREAD, "1"),
    }
    process = subprocess.Popen(
        # -P: the learner's `random.py` must not be taken for Python's
        [sys.executable, "-P", child.__file__, str(job)],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    kept = bytearray()
    reader = threading.Thread(target=_keep_first, args=(process.stdout, kept), daemon=True)
    reader.start()
    try:
        code: int | None = process.wait(limit)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        _end(process)
        reader.join(2)
        if not reader.is_alive():  # or something that it started holds the stream open
            process.stdout.close()
    return code, _lines(bytes(kept))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it and what it has started."""
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    except (ProcessLookupError, PermissionError):
        pass  # it has ended, and so have its children
    process.wait()


def _keep_first(stream: IO[bytes], kept: bytearray) -> None:
    """Read to the end, so that the process is never held up, and keep the beginning."""
    while chunk := stream.read1(65_536):  # type: ignore[attr-defined]
        kept += chunk[: max(MOST_BYTES + 1 - len(kept), 0)]


def _lines(printed: bytes) -> list[str]:
    lines = [printable(line) for line in printed.decode("utf-8", "replace").splitlines()]
    shown = [line[:200] for line in lines[:MOST_LINES]]
    cut = len(lines) > MOST_LINES or len(printed) > MOST_BYTES
    return [*shown, "... and more"] if cut else shown


def _read(job: dict[str, Any], code: int | None, folder: Path, limit: float) -> Outcome:
    try:
        return Outcome(**json.loads(Path(job["result"]).read_text("utf-8")))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError):
        return Outcome("broken", "what came of the check cannot be read")
    try:
        dump = Path(job["faults"]).read_text("utf-8", "replace")
    except OSError:
        dump = ""
    place = place_in_dump(dump, folder)
    if code is None or dump.startswith("Timeout"):
        return of_time(limit, place)
    return of_end(code, dump, place)
