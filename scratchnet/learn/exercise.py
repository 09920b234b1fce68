"""What an exercise is: a Python file with its solution in it, and the file that checks it.

A folder of exercises has two files for each, and nothing else is needed:

    ex03_dense_forward.py         what the learner gets, with the solution between two marks
    check_ex03_dense_forward.py   title, minutes, hints, and `check(learner, trial)`

The names, in alphabetical order, are the order of the exercises. The marks are comments:

    # TODO: what is to be written here, in a line or in several;
    #     those that go on are indented like this one
    y = x @ W + b
    # END

The learner's file has the first comment and, in the place of what follows it up to the second,
`raise NotImplementedError`. So a solution is never out of step with its exercise, and can be run.
"""

import ast
import hashlib
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import InputError, is_whole, printable

OURS = Path(__file__).parent / "exercises"
PREFIX = "check_"
GAP = re.compile(r"(?P<indent> *)# TODO: ?(?P<text>.*)")
GOES_ON, END = "#     ", "# END"
#: of an exercise's name: it must be one that Python can import, for the later ones import it
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Exercise:
    """One exercise, as its two files say.

    name      of the file, without `.py`
    title, minutes, hints    what is shown; how long it takes, about; from a nudge to nearly all
    lesson    the number of the lesson that explains it, or None
    read      the file of the package that does the same, such as "layers/dense.py", or ""
    seconds   the check may take that long
    """

    name: str
    folder: Path
    title: str
    minutes: int
    hints: tuple[str, ...]
    lesson: int | None = None
    read: str = ""
    seconds: float = 20.0

    @property
    def file(self) -> Path:
        return self.folder / f"{self.name}.py"

    @property
    def check_file(self) -> Path:
        return self.folder / f"{PREFIX}{self.name}.py"

    def solution(self) -> str:
        """The file with the solution, without the marks."""
        return _without_marks(self.file.read_text("utf-8"))

    def with_gaps(self) -> str:
        """The file as the learner gets it."""
        return _with_gaps(self.file.read_text("utf-8"), str(self.file))

    def check_module(self) -> ModuleType:
        """The file that checks it, imported."""
        return _imported(self.check_file)


def read_exercises(folder: Path = OURS) -> tuple[Exercise, ...]:
    """The exercises of a folder, in order; InputError where it is not one, or one is not whole."""
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of exercises, found none")
    checks = sorted(folder.glob(f"{PREFIX}*.py"))
    if not checks:
        raise InputError(
            f"{folder}: expected exercises, files NAME.py with {PREFIX}NAME.py; found none"
        )
    return tuple(_read(path) for path in checks)


def _read(check: Path) -> Exercise:
    name = check.stem.removeprefix(PREFIX)
    file = check.with_name(f"{name}.py")
    if not NAME.fullmatch(name):
        raise InputError(
            f"{check}: expected a name of small letters, digits and _, that begins with a letter; "
            f"found {printable(name)}"
        )
    if not file.is_file():
        raise InputError(f"{file}: expected the exercise of {check.name}, found no such file")
    said = _said(check)
    title: Any = said.get("TITLE")
    minutes: Any = said.get("MINUTES")
    hints, lesson = said.get("HINTS", ()), said.get("LESSON")
    read, seconds = said.get("READ", ""), said.get("SECONDS", Exercise.seconds)
    for key, good, wanted in (
        ("TITLE", isinstance(title, str) and title != "", "a text"),
        ("MINUTES", is_whole(minutes, 1), "a whole number above 0"),
        ("HINTS", _texts(hints), "a tuple of texts"),
        ("LESSON", lesson is None or is_whole(lesson, 1), "a whole number above 0"),
        ("READ", isinstance(read, str), "a text"),
        ("SECONDS", isinstance(seconds, (int, float)) and seconds > 0, "a number above 0"),
        ("check", said.get("check") is not None, "a function check(learner, trial)"),
    ):
        if not good:
            raise InputError(f"{check}: {key}: expected {wanted}, found {said.get(key)!r}")
    gaps = _with_gaps(file.read_text("utf-8"), str(file))
    if gaps.count("NotImplementedError") < 1:
        raise InputError(f"{file}: expected a gap, from `# TODO:` to `# END`; found none")
    return Exercise(name, check.parent, title, minutes, tuple(hints), lesson, read, float(seconds))


def _said(check: Path) -> dict[str, Any]:
    """The constants at the top of a check's file, which is not run for that."""
    try:
        tree = ast.parse(check.read_text("utf-8"))
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{check}: expected a Python file, found {error}") from None
    found: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "check":
            found["check"] = node.name
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            key = node.targets[0].id
            if key in ("TITLE", "MINUTES", "HINTS", "LESSON", "READ", "SECONDS"):
                try:
                    found[key] = ast.literal_eval(node.value)
                except ValueError:
                    raise InputError(
                        f"{check}: {key}: expected a constant, found {ast.unparse(node.value)}"
                    ) from None
    return found


def _texts(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and all(isinstance(text, str) for text in value)


def _without_marks(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() != END]
    return "\n".join(line.replace("# TODO: ", "# ", 1) for line in lines) + "\n"


def _with_gaps(text: str, name: str) -> str:
    kept: list[str] = []
    indent: str | None = None  # of the gap that we are in
    asked = False  # in its comment
    for line in text.splitlines():
        if indent is not None and line.strip() == END:
            kept.append(f"{indent}raise NotImplementedError")
            indent = None
        elif indent is not None:
            asked = asked and line.startswith(indent + GOES_ON)
            kept += [line] if asked else []
        else:
            kept.append(line)
            if gap := GAP.match(line):
                indent, asked = gap["indent"], True
    if indent is not None:
        raise InputError(f"{name}: expected {END} after every `# TODO:`, found none for the last")
    return "\n".join(kept) + "\n"


def _imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # for a file that ends in .py
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def fingerprint(text: str) -> str:
    """Of a file's text, whatever its line endings are."""
    return hashlib.sha256("\n".join(text.splitlines()).encode()).hexdigest()


def find(exercises: Sequence[Exercise], asked: str) -> Exercise:
    """The exercise that is meant: by name, file, beginning of the name, or number."""
    word = Path(asked).name.removesuffix(".py").lower()
    numbered = {int(number[0]): e for e in exercises if (number := re.findall(r"\d+", e.name))}
    if word.isdecimal() and int(word) in numbered:
        return numbered[int(word)]
    exact = [e for e in exercises if e.name == word]
    found = exact or [e for e in exercises if word and e.name.startswith(word)]
    found = found or [e for e in exercises if word and word in e.name]
    if len(found) == 1:
        return found[0]
    known = [e.name for e in found or exercises]
    some = ", ".join(known[:6]) + (", ..." if len(known) > 6 else "")
    raise InputError(f"{printable(asked)}: expected an exercise, such as {some}")
