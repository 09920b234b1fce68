"""`scratchnet learn`: exercises in a folder of the reader's own, and the lessons."""

import difflib
import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import printable
from ..learn import exercise as exercises_
from ..learn import notebooks, runner, workplace
from ..learn.exercise import Exercise, read_exercises
from ..learn.workplace import Workplace
from . import learn_report as report
from .shared import JsonOption, app, command, examples

#: seconds between two looks at the files
POLL = 0.25
ORDER = ("start", "next", "check", "hint", "solution", "progress", "reset", "lessons")


class OrFolder(TyperGroup):
    """`learn` and `learn DIR` are `learn start` and `learn start DIR`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        first = args[0] if args else ""
        if first not in ("-h", "--help", *self.commands):
            near = difflib.get_close_matches(first, self.commands, 1)
            if near and not os.path.exists(first):  # and not a folder of that name
                raise typer.BadParameter(
                    f"expected {', '.join(ORDER)} or a folder, found {printable(first)}; is "
                    f"{near[0]} meant? (./{printable(first)} would be a folder)"
                )
            args = ["start", *args]
        return super().parse_args(ctx, args)


learn = typer.Typer(
    cls=OrFolder,
    help="Write the layers yourself, in small steps, each checked. `learn` alone, or with a "
    "folder's name, puts the exercises there.",
    short_help="Exercises: write the layers yourself, each checked; and the lessons.",
    epilog=examples("learn", "learn check --watch", "learn hint", "learn lessons"),
)
app.add_typer(learn, name="learn")

ExercisesOption = Annotated[
    Path | None,
    typer.Option(
        "--exercises",
        metavar="DIR",
        help="A folder of exercises of your own, instead of those of the package.",
        show_default=False,
    ),
]
DirOption = Annotated[
    Path | None,
    typer.Option(
        "--dir",
        metavar="DIR",
        help="The folder with the learner's files.",
        show_default=f"this one, or ./{workplace.USUAL}",
    ),
]
NameArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="An exercise: its file, its name or the beginning of it, or its number.",
        show_default="the next",
    ),
]


def _exercises(folder: Path | None) -> tuple[Exercise, ...]:
    return read_exercises(exercises_.OURS if folder is None else folder)


def _place(folder: Path | None, exercises: Path | None) -> Workplace:
    return workplace.found(folder, _exercises(exercises))


def _chosen(place: Workplace, name: str | None) -> Exercise:
    """The one that is named, or the next; or the last, where all have passed."""
    if name is not None:
        return exercises_.find(place.exercises, name)
    return place.next() or place.exercises[-1]


@command("learn", "learn my-exercises", into=learn)
def start(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="A folder, which may be there already.")
    ] = workplace.USUAL,
    exercises: ExercisesOption = None,
) -> None:
    """Put the exercises into a folder; what is there already stays as it is."""
    chosen = _exercises(exercises)
    if folder == workplace.USUAL and any(Path(f"{e.name}.py").is_file() for e in chosen):
        folder = Path()  # in the middle of it: not one more inside
    place = Workplace(folder, chosen)
    made = place.make()
    report.show(report.of_start(place, len(made)))


@command("learn next", into=learn)
def next(  # noqa: A001 - the command's name
    dir_: DirOption = None, exercises: ExercisesOption = None
) -> None:
    """Say which exercise is next."""
    report.show(report.of_next(_place(dir_, exercises)))


@command(
    "learn check",
    "learn check 4 --watch",
    "learn check --all --dir somebodys-folder --json",
    into=learn,
)
def check(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Exercises: file, name or the beginning of it, or number.",
            show_default="the next",
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="All exercises.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Check again whenever a file is saved.")
    ] = False,
    dir_: DirOption = None,
    exercises: ExercisesOption = None,
    time_limit: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            metavar="SECONDS",
            help="For each exercise, in the place of its own.",
            show_default=False,
        ),
    ] = None,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="For who writes a check: where it stopped.")
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Check what you have written, and say what is wrong.

    The code runs in a process of its own with a time limit, with your rights: it is no sandbox.
    Exit code 0 if all that was checked has passed, else 1.
    """
    if all_ and names:
        raise typer.BadParameter("expected exercises or --all, found both")
    if watch and (json_ or all_ or len(names or []) > 1):
        raise typer.BadParameter("--watch: expected one exercise at most, and no --all or --json")
    place = _place(dir_, exercises)
    if watch:
        _watch(place, names[0] if names else None, time_limit)
        return
    chosen = [_chosen(place, name) for name in names or ()] or [_chosen(place, None)]
    if all_:
        chosen = list(place.exercises)
    found = []
    for exercise in chosen:
        found.append(_checked(place, exercise, time_limit))
        if not json_:
            report.show(report.of_check(found[-1], brief=len(chosen) > 1))
            if traceback and found[-1].outcome.traceback:
                print(found[-1].outcome.traceback)
    failed = [one.exercise.name for one in found if not one.outcome.passed]
    if json_:
        counts = {"passed": not failed, "count": len(found), "passed_count": 0}
        counts["passed_count"] = len(found) - len(failed)
        print(json.dumps({**counts, "exercises": [one.described() for one in found]}))
    else:
        report.show(report.of_checks(found, place))
    if failed:
        raise typer.Exit(1)


def _checked(place: Workplace, exercise: Exercise, seconds: float | None) -> runner.Checked:
    found = runner.check(exercise, place.folder, seconds)
    place.note(exercise, found.outcome.passed)
    return found


def _watch(place: Workplace, name: str | None, seconds: float | None) -> None:
    """Check, wait until something is saved, check again; on to the next when it has passed."""
    if name is not None:
        exercises_.find(place.exercises, name)  # a wrong name is refused at once
    while name is not None or place.next() is not None:
        exercise = _chosen(place, name)
        before = workplace.saved(place.folder)
        found = _checked(place, exercise, seconds)
        report.show(report.of_check(found))
        if found.outcome.passed and name is None:
            continue
        report.show(report.of_waiting(place.path(exercise)))
        while workplace.saved(place.folder) == before:
            time.sleep(POLL)
    report.show(report.of_next(place))


@command("learn hint", "learn hint 4 --all", into=learn)
def hint(
    name: NameArgument = None,
    all_: Annotated[bool, typer.Option("--all", help="All hints of the exercise.")] = False,
    dir_: DirOption = None,
    exercises: ExercisesOption = None,
) -> None:
    """Show a hint, and one more each time."""
    place = _place(dir_, exercises)
    exercise = _chosen(place, name)
    many = len(exercise.hints) if all_ else place.hint(exercise)
    report.show(report.of_hints(exercise, many))


@command("learn solution 4", into=learn)
def solution(
    name: NameArgument = None, dir_: DirOption = None, exercises: ExercisesOption = None
) -> None:
    """Print the file of an exercise with its solution."""
    if name is not None:  # for that no folder of a learner's is needed
        chosen = exercises_.find(_exercises(exercises), name)
    else:
        chosen = _chosen(_place(dir_, exercises), None)
    report.show_code(chosen.solution())


@command("learn progress", into=learn)
def progress(
    dir_: DirOption = None, exercises: ExercisesOption = None, json_: JsonOption = False
) -> None:
    """List the exercises, and which have passed."""
    place = _place(dir_, exercises)
    if json_:
        rows = [
            {"name": e.name, "title": e.title, "minutes": e.minutes, "lesson": e.lesson}
            | {"passed": place.has_passed(e)}
            for e in place.exercises
        ]
        done = sum(row["passed"] is True for row in rows)
        print(json.dumps({"count": len(rows), "passed_count": done, "exercises": rows}))
        return
    report.show(report.of_progress(place))


@command("learn reset 4", into=learn)
def reset(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An exercise.")],
    dir_: DirOption = None,
    exercises: ExercisesOption = None,
) -> None:
    """Begin an exercise anew; what you had written is kept beside it."""
    place = _place(dir_, exercises)
    exercise = exercises_.find(place.exercises, name)
    report.show(report.of_reset(place.path(exercise), place.reset(exercise)))


@command("learn lessons", "learn lessons my-lessons --copy-only", into=learn)
def lessons(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="For the copies.")
    ] = notebooks.USUAL,
    copy_only: Annotated[
        bool, typer.Option("--copy-only", help="Copy the notebooks; do not open Jupyter.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open a browser as well.")
    ] = True,
    allow_root: Annotated[
        bool, typer.Option("--allow-root", help="Jupyter's own option, for containers.")
    ] = False,
) -> None:
    """Copy the lessons, which are notebooks, to a folder, and open JupyterLab on it."""
    if not copy_only:
        notebooks.check_jupyter()
    copied, kept = notebooks.copy_lessons(folder)
    report.show(report.of_lessons(folder, len(copied), len(kept)))
    if not copy_only and (code := notebooks.open_jupyter(folder, browser, allow_root)):
        raise typer.Exit(code)
