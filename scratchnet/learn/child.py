"""The process that runs the learner's code: `python child.py JOB.json`, started by runner.py.

What comes of it is written to a file, for what the learner's code prints is their own. Everything
that may end it is arranged for first: `faulthandler` writes down the line at which a crash or the
end of the time found it, and memory has a limit where the system knows one (Linux).
"""

import faulthandler
import importlib
import importlib.util
import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

from scratchnet.learn.told import Outcome, of_exception
from scratchnet.learn.trial import Learner, Trial


def main(job: dict[str, Any]) -> None:
    """Check one exercise and write what came of it; ends the process."""
    folder = Path(job["folder"])
    # unbuffered, and open for as long as the process lives
    faults = open(job["faults"], "w", encoding="utf-8")  # noqa: SIM115
    faulthandler.enable(faults)
    trial = Trial()
    try:
        check = _check_in(Path(job["check"]))
    except BaseException as error:
        outcome = of_exception(error, folder, job["name"])
        outcome.status, outcome.message = "broken", f"the check cannot be read: {error}"
        _end(outcome, trial, job["result"])
    _limit_memory(job["memory"])
    warnings.showwarning = _show_in_a_line
    sys.path.insert(0, str(folder))
    faulthandler.dump_traceback_later(job["seconds"], exit=True, file=faults)
    try:
        module = importlib.import_module(job["name"])
        check(Learner(module), trial)
        outcome = Outcome("passed")
    except BaseException as error:  # sys.exit as well
        outcome = of_exception(error, folder, job["name"])
        if outcome.status == "exception" and trial.now:
            outcome.details.append(f"in {trial.now}")
    faulthandler.cancel_dump_traceback_later()
    _end(outcome, trial, job["result"])


def _check_in(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # for a file that ends in .py
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.check


def _end(outcome: Outcome, trial: Trial, result: str) -> None:
    outcome.steps = trial.passed
    unfinished = f"{result}.part"
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump(outcome.described(), file)
    os.replace(unfinished, result)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):  # closed by the learner's code
            continue
    os._exit(0)  # and not the threads and the last wishes of the learner's code


def _show_in_a_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: Any = None,
    line: str | None = None,
) -> None:
    """A warning of NumPy's in a line: where, and what."""
    print(f"{Path(filename).name}, line {lineno}: {message}", file=sys.stderr)


def _limit_memory(more: int) -> None:
    """So many bytes more than it has now, where the system can be asked for it."""
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    except (ImportError, OSError, ValueError):
        return


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text("utf-8")))
