"""Nothing grows out of hand: arguments of a function, lines of a function and of a file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("scratchnet", "benchmarks", "examples")
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
#: the most of each
ARGUMENTS, FUNCTION, FILE = 12, 70, 620


def functions(path):
    """(name, arguments without self, lines) of every function in a file."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = node.args
            names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            count = len([name for name in names if name not in ("self", "cls")])
            yield node.name, count, node.end_lineno - node.lineno + 1


def longest():
    """For a look: the largest of each kind, as (size, where)."""
    found = [(path.relative_to(ROOT).as_posix(), *f) for path in FILES for f in functions(path)]
    files = [(len(path.read_text().splitlines()), str(path.relative_to(ROOT))) for path in FILES]
    arguments = sorted(((count, f"{file}:{name}") for file, name, count, _ in found), reverse=True)
    lines = sorted(((lines, f"{file}:{name}") for file, name, _, lines in found), reverse=True)
    return arguments[:12], lines[:12], sorted(files, reverse=True)[:12]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_sizes_stay_within_bounds(path):
    assert len(path.read_text().splitlines()) <= FILE
    for name, arguments, lines in functions(path):
        assert arguments <= ARGUMENTS, (name, arguments)
        assert lines <= FUNCTION, (name, lines)


if __name__ == "__main__":
    for kind in longest():
        print(*(f"{size:5} {where}" for size, where in kind), "", sep="\n")
