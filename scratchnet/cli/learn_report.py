"""What `scratchnet learn` prints: lines with a style each, wrapped to the terminal."""

import re
import shlex
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import printable
from ..learn.exercise import OURS, Exercise
from ..learn.runner import Checked
from ..learn.told import Outcome
from ..learn.workplace import Workplace
from ..text import Table, room

#: columns where the output goes to no terminal, and the most on a wide one: longer lines read badly
WIDTH = 80
#: passed steps that are listed one by one
MOST_STEPS = 5

#: (indent, text, style); where a text with the style "as is" is too long, its next line is indented
Line = tuple[int, str, str]


def width() -> int:
    """Columns to keep within."""
    return min(room() or WIDTH, WIDTH)


def show(lines: Iterator[Line]) -> None:
    """Print the lines; colours where the terminal has them."""
    from rich.console import Console
    from rich.text import Text

    console = Console(markup=False, emoji=False, highlight=False, soft_wrap=True)
    for indent, text, style in lines:
        within, inside = max(width() - indent, 20), ""
        if style == "as is":
            style, inside = "", " " * (len(text) - len(text.lstrip()) + 2)
        parts = [text]
        if len(text) > within:
            parts = textwrap.wrap(text, within, subsequent_indent=inside, break_on_hyphens=False)
        for part in parts:
            console.print(Text((" " * indent + part).rstrip(), style))


def show_code(code: str) -> None:
    """Print Python code, with colours on a terminal."""
    if not sys.stdout.isatty():
        print(code, end="")
        return
    from rich.console import Console
    from rich.syntax import Syntax

    console = Console(markup=False, emoji=False)
    console.print(Syntax(code, "python", theme="ansi_dark", background_color="default"))


def of_progress(place: Workplace) -> Iterator[Line]:
    """All exercises with their marks, and how many have passed."""
    marks = [_mark(place, exercise) for exercise in place.exercises]
    rows = [
        (mark, exercise.name, exercise.title, str(exercise.minutes))
        for mark, exercise in zip(marks, place.exercises, strict=True)
    ]
    lines = Table("", ("", "", "", "min"), rows, left=3).aligned(room())
    if len(lines) != len(rows) + 1:  # too narrow for columns
        lines = ["", *(f"{title}, {minutes} min  {mark}" for mark, _, title, minutes in rows)]
    yield 0, lines[0], "as is"
    styles = {"passed": "green", "changed": "yellow"}
    for mark, line in zip(marks, lines[1:], strict=True):
        yield 0, line, styles.get(mark, "as is")
    yield 0, "", ""
    left = sum(e.minutes for e in place.exercises if not place.has_passed(e))
    more = f"; about {_time(left)} to go" if left else ""
    yield 0, f"{marks.count('passed')} of {len(marks)} have passed{more}", "bold"
    if "changed" in marks:
        yield 0, "changed: it had passed, and the file is another now; check it again", ""


def _mark(place: Workplace, exercise: Exercise) -> str:
    if place.has_passed(exercise):
        return "passed"
    if place.has_changed(exercise):
        return "changed"
    return "begun" if place.has_begun(exercise) else ""


def of_start(place: Workplace, made: int) -> Iterator[Line]:
    """After the exercises were put into a folder."""
    there = len(place.exercises) - made
    folder = "this folder" if place.folder == Path() else printable(str(place.folder))
    found = (
        f"{_many(made, 'exercise')} put into {folder}" if made else f"{folder} has all exercises"
    )
    if there:
        found += "; what was there is left alone"
    yield 0, found, "bold"
    yield 0, "", ""
    yield 0, "Open the first in your editor, write what it asks for, save it, and check it:", ""
    yield 0, "", ""
    if place.folder != Path():
        yield 4, f"cd {folder}", "as is"
    yield 4, f"scratchnet learn check --watch{_options(place.exercises[0])}", "as is"
    yield 0, "", ""
    yield from of_next(place)


def of_next(place: Workplace) -> Iterator[Line]:
    """Which is next."""
    exercise = place.next()
    if exercise is None:
        yield 0, f"all {len(place.exercises)} exercises have passed", "bold green"
        return
    yield 0, f"next: {printable(str(place.path(exercise)))}", "bold"
    about = f"{exercise.title}; about {_time(exercise.minutes)}"
    yield 2, about + (f"; lesson {exercise.lesson}" if exercise.lesson else ""), ""


def of_waiting(path: Path) -> Iterator[Line]:
    """While nothing is saved."""
    yield 0, f"waiting until {printable(path.name)} is saved; Ctrl-C ends", "dim"
    yield 0, "", ""


def of_hints(exercise: Exercise, many: int) -> Iterator[Line]:
    """The first so many hints."""
    total = len(exercise.hints)
    if not total:
        yield 0, f"{exercise.name} has no hints", ""
    for number, hint in enumerate(exercise.hints[:many], 1):
        yield 0, f"{exercise.name}, hint {number} of {total}", "bold"
        yield 2, hint, ""
    what = "hint" if many < total else "solution"
    shows = "one more" if many < total else "the solution"
    command = f"{what} {short(exercise)}{_options(exercise)}"
    yield 0, f"`scratchnet learn {command}` shows {shows}", "dim"


def of_reset(path: Path, kept: Path | None) -> Iterator[Line]:
    """After an exercise was begun anew."""
    where = f"; what you had written is in {printable(str(kept))}" if kept else ""
    yield 0, f"{printable(str(path))} is as it was handed out{where}", ""


def of_lessons(folder: Path, copied: int, kept: int) -> Iterator[Line]:
    """After the notebooks were copied."""
    there = f"; {_many(kept, 'notebook')} there already and left alone" if kept else ""
    yield 0, f"{_many(copied, 'lesson')} copied to {printable(str(folder))}{there}", ""


def of_check(found: Checked, brief: bool = False) -> Iterator[Line]:
    """What came of one check. brief: one line if it has passed."""
    name, outcome = found.exercise.name, found.outcome
    if outcome.passed:
        yield 0, f"{name}: passed", "bold green"
        if brief:
            return
    else:
        yield 0, f"{name}: {_verdict(outcome)}", "bold red"
    yield from _steps(outcome.steps)
    if not outcome.passed:
        yield from _wrong(outcome)
    yield from _printed(found.printed)
    if not outcome.passed:
        yield from _help(found.exercise, outcome)
    yield 0, "", ""


def of_checks(found: Sequence[Checked], place: Workplace) -> Iterator[Line]:
    """After all checks: how many have passed, or what is next."""
    passed = sum(one.outcome.passed for one in found)
    if len(found) > 1:
        yield 0, f"{passed} of {len(found)} have passed", "bold"
    elif passed:
        yield from of_next(place)


def _verdict(outcome: Outcome) -> str:
    words = {
        "unwritten": "not written yet",
        "broken": "the check itself failed",
        "missing": "no such file",
        "syntax": "not Python yet",
        "time": "stopped",
        "crash": "crashed",
    }
    return words.get(outcome.status, "not right yet")


def _steps(steps: Sequence[str]) -> Iterator[Line]:
    hidden = len(steps) - MOST_STEPS
    if hidden > 1:
        yield 2, f"ok  {hidden} steps, and then", "green"
        steps = steps[hidden:]
    for step in steps:
        yield 2, f"ok  {step}", "green"


def _wrong(outcome: Outcome) -> Iterator[Line]:
    yield 0, "", ""
    yield 2, outcome.message, "bold"
    for line in outcome.details:
        yield 4, line, "as is"
    if outcome.title:
        yield 0, "", ""
        yield 2, f"It looks like this: {outcome.title}", "bold yellow"
        if outcome.text:
            yield 4, outcome.text, ""
        if outcome.evidence:
            yield 4, f"Why we think so: {outcome.evidence}", ""
    if outcome.line:
        inside = outcome.function
        where = f"{outcome.file}, line {outcome.line}"
        yield 0, "", ""
        yield 2, where + (f", in {inside}" if inside.isidentifier() else ""), ""
        if outcome.source:
            yield 6, outcome.source, "as is"


def _printed(lines: Sequence[str]) -> Iterator[Line]:
    if lines:
        yield 0, "", ""
        yield 2, "Your code printed:", "dim"
        for line in lines:
            yield 4, line, "as is"


def _help(exercise: Exercise, outcome: Outcome) -> Iterator[Line]:
    yield 0, "", ""
    if outcome.status == "broken" or (outcome.status == "exception" and not outcome.line):
        yield (
            2,
            "If your file does not explain it, is the check wrong? See --traceback",
            "dim",
        )
    helps = []
    if exercise.lesson:
        helps.append(f"lesson {exercise.lesson}")
    if exercise.hints:
        helps.append(f"`scratchnet learn hint {short(exercise)}{_options(exercise)}`")
    if helps:
        yield 2, f"Help: {' and '.join(helps)}", "dim"


def _many(count: int, what: str) -> str:
    return f"{count} {what} was" if count == 1 else f"{count} {what}s were"


def short(exercise: Exercise) -> str:
    """What one types for it: the number in its name, or the name."""
    return next((str(int(n)) for n in re.findall(r"\d+", exercise.name)), exercise.name)


def _options(exercise: Exercise) -> str:
    """What has to be typed as well where the exercises are a teacher's."""
    if exercise.folder.resolve() == OURS.resolve():
        return ""
    return f" --exercises {shlex.quote(printable(str(exercise.folder.resolve())))}"


def _time(minutes: int) -> str:
    if minutes < 90:
        return f"{minutes} minutes"
    return f"{round(minutes / 60)} hours"
