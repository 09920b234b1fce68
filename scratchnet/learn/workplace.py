"""The learner's folder: the files of the exercises, what has passed, and which hints were seen.

What is remembered stands in one small file, STATE. It can be deleted at any time; only `progress`
and `next` ask it. A file that was changed after it passed counts as not passed.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..checkpoint import write_atomically
from ..errors import InputError, printable
from .exercise import Exercise, fingerprint

STATE = ".scratchnet-learn.json"
#: the folder that `start` makes when none is named
USUAL = Path("scratchnet-exercises")


class Workplace:
    """A learner's folder, with the exercises that it is for."""

    def __init__(self, folder: Path, exercises: Sequence[Exercise]) -> None:
        self.folder, self.exercises = folder, exercises
        self._passed, self._hints = self._remembered()
        self._kept = True  # until the folder refuses to be written to

    # ---- files -------------------------------------------------------------------------------

    def path(self, exercise: Exercise) -> Path:
        return self.folder / f"{exercise.name}.py"

    def make(self) -> list[Path]:
        """Write the files that are missing, and return them; what is there stays as it is."""
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"{self.folder}: expected a folder, found a file")
        self.folder.mkdir(parents=True, exist_ok=True)
        made = []
        for exercise in self.exercises:
            if not self.path(exercise).exists():
                self._write(exercise)
                made.append(self.path(exercise))
        return made

    def _write(self, exercise: Exercise) -> None:
        # "x": never over a file that has come there in the meantime
        with open(self.path(exercise), "x", encoding="utf-8", newline="\n") as file:
            file.write(exercise.with_gaps())

    def reset(self, exercise: Exercise) -> Path | None:
        """Begin an exercise anew; what was written is kept under the name that is returned."""
        path, kept, number = self.path(exercise), None, 1
        if path.exists():
            while (there := path.with_name(f"{exercise.name}.before-{number}.txt")).exists():
                number += 1
            kept = path.rename(there)
        self._write(exercise)
        self._refresh()
        self._passed.pop(exercise.name, None)
        self._remember()
        return kept

    # ---- what is remembered ------------------------------------------------------------------

    def has_passed(self, exercise: Exercise) -> bool:
        """Whether its file is the one that passed."""
        return self._passed.get(exercise.name) == self._fingerprint(exercise) != ""

    def has_changed(self, exercise: Exercise) -> bool:
        """Whether it has passed, and was changed since."""
        return exercise.name in self._passed and not self.has_passed(exercise)

    def has_begun(self, exercise: Exercise) -> bool:
        """Whether its file is there and is not as it was handed out."""
        return self._fingerprint(exercise) not in ("", fingerprint(exercise.with_gaps()))

    def next(self) -> Exercise | None:
        """The first that has not passed, or None."""
        return next((e for e in self.exercises if not self.has_passed(e)), None)

    def note(self, exercise: Exercise, passed: bool) -> None:
        """Remember what came of a check."""
        self._refresh()
        if passed:
            self._passed[exercise.name] = self._fingerprint(exercise)
        else:
            self._passed.pop(exercise.name, None)
        self._remember()

    def hint(self, exercise: Exercise) -> int:
        """How many hints are to be shown now: one more than the last time."""
        self._refresh()
        seen = min(self._hints.get(exercise.name, 0) + 1, len(exercise.hints))
        self._hints[exercise.name] = seen
        self._remember()
        return seen

    def _fingerprint(self, exercise: Exercise) -> str:
        try:
            return fingerprint(self.path(exercise).read_text("utf-8", "replace"))
        except OSError:
            return ""

    def _remembered(self) -> tuple[dict[str, str], dict[str, int]]:
        try:
            found: Any = json.loads((self.folder / STATE).read_text("utf-8"))
            passed = {str(k): str(v) for k, v in found["passed"].items()}
            hints = {str(k): max(int(v), 0) for k, v in found["hints"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            return {}, {}  # none yet, or damaged: nothing is lost but the marks
        return passed, hints

    def _refresh(self) -> None:
        """Read again what is remembered: `check --watch` stays, and others write meanwhile."""
        if self._kept:
            self._passed, self._hints = self._remembered()

    def _remember(self) -> None:
        state = {"passed": self._passed, "hints": self._hints}
        try:
            write_atomically(self.folder / STATE, json.dumps(state, indent=1).encode())
        except (OSError, InputError):
            self._kept = False  # a folder that may only be read, as when a teacher checks


def found(folder: Path | None, exercises: Sequence[Exercise]) -> Workplace:
    """The learner's folder: the one that is named, this one, or the usual one inside of it."""
    names = [f"{exercise.name}.py" for exercise in exercises]
    for place in [folder] if folder is not None else [Path(), USUAL]:
        if any((place / name).is_file() for name in names):
            return Workplace(place, exercises)
    here = printable(str(folder if folder is not None else Path().resolve()))
    some = names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]}"
    raise InputError(
        f"{here}: expected a folder of exercises, found none of {some}; "
        "`scratchnet learn` makes one"
    )


def saved(folder: Path) -> dict[str, tuple[int, int]]:
    """When each Python file of a folder was saved, and its size: what --watch looks at."""
    found = {}
    for path in folder.glob("*.py"):
        try:
            stat = path.stat()
        except OSError:
            continue  # an editor that saves by way of another file
        found[path.name] = stat.st_mtime_ns, stat.st_size
    return found
