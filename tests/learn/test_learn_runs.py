"""The process that runs a learner's code: however it ends, the learner is told kindly."""

import sys

import pytest

from scratchnet.learn import read_exercises, runner

SLOPE = read_exercises()[0]
GOOD = SLOPE.solution()


def outcome(tmp_path, text, **options):
    (tmp_path / "ex01_slope.py").write_text(text, "utf-8")
    found = runner.check(SLOPE, tmp_path, **options)
    said = " ".join([found.outcome.message, *found.outcome.details, *found.printed])
    assert "Traceback" not in said and "scratchnet/learn" not in said, said
    return found


def inside(line):
    """The solution with that line in `descend`, and where it stands."""
    text = GOOD.replace("    for _ in range(steps):", f"    {line}\n    for _ in range(steps):")
    return text, next(n for n, at in enumerate(text.splitlines(), 1) if at.strip() == line)


#: each costs the start of a process; the plain suite has one of each sort
slow = pytest.mark.slow

ENDS = [
    ("x = [][1]", "exception", "IndexError: list index out of range"),
    ("import sys; sys.exit(0)", "exit", "ends the program"),
    pytest.param("import os; os._exit(0)", "exit", "ended by itself, with exit code 0", marks=slow),
    pytest.param("raise KeyboardInterrupt", "exit", "Ctrl-C", marks=slow),
    pytest.param("input()", "exception", "EOFError", marks=slow),
    pytest.param("bytearray(10**13)", "memory", "more memory was asked for", marks=slow),
    pytest.param(
        "descend(f, x, learning_rate, steps)",
        "exception",
        "calls itself again and again",
        marks=slow,
    ),
    ("import ctypes; ctypes.string_at(0)", "crash", "Python itself crashed"),
]


@pytest.mark.parametrize(("line", "status", "words"), ENDS, ids=str)
def test_however_it_ends_the_line_is_named(tmp_path, line, status, words):
    text, number = inside(line)
    found = outcome(tmp_path, text).outcome
    assert (found.status, found.passed) == (status, False), found
    assert words in found.message
    if "_exit" not in line:
        assert (found.file, found.line, found.function) == ("ex01_slope.py", number, "descend")
        assert found.source == line


@pytest.mark.parametrize(
    "line", ["while True: pass", pytest.param("import time; time.sleep(1e6)", marks=slow)]
)
def test_an_endless_loop_is_stopped_and_named(tmp_path, line):
    text, number = inside(line)
    found = outcome(tmp_path, text, seconds=0.5)
    assert found.outcome.status == "time" and "after 0.5 seconds" in found.outcome.message
    assert (found.outcome.file, found.outcome.line) == ("ex01_slope.py", number)
    assert found.seconds < 60


@pytest.mark.parametrize(
    ("text", "status", "words", "line"),
    [
        ("import nump\n" + GOOD, "import", "imports nump, which is not installed", 1),
        pytest.param("from math import cosinus\n", "import", "cosinus", 1, marks=slow),
        pytest.param(
            "from ex99_later import x\n",
            "import",
            "ex99_later, which is not in your folder",
            1,
            marks=slow,
        ),
        ("def slope(f, x:\n", "syntax", "Python cannot read the file", 1),
        pytest.param(
            "def slope(f, x):\nreturn 1\n", "syntax", "expected an indented block", 2, marks=slow
        ),
        pytest.param("x = 1 +\u00a02\n", "syntax", "U+00A0", 1, marks=slow),
    ],
)
def test_a_file_that_cannot_be_imported_is_told(tmp_path, text, status, words, line):
    found = outcome(tmp_path, text).outcome
    assert (found.status, found.file, found.line) == (status, "ex01_slope.py", line)
    assert words in found.message


def test_garbage_that_is_printed_is_cut_and_harms_nothing(tmp_path):
    text = (
        "import sys\n"
        "sys.stdout.buffer.write(bytes(range(256)) * 4000)\n"
        'print("\\x1b[2J", flush=True)\n' + GOOD
    )
    found = outcome(tmp_path, text)
    assert found.outcome.passed
    assert len(found.printed) <= runner.MOST_LINES + 1
    assert all(line.isprintable() for line in found.printed)
    assert found.printed[-1] == "... and more"


@slow
def test_what_is_printed_is_kept_in_order(tmp_path):
    found = outcome(tmp_path, 'print("one")\nimport sys\nprint("two", file=sys.stderr)\n' + GOOD)
    assert sorted(found.printed) == ["one", "two"] and found.outcome.passed


@slow
def test_streams_that_are_closed_and_threads_that_stay_harm_nothing(tmp_path):
    text = (
        "import sys, threading, time, atexit\n"
        "sys.stdout.close()\n"
        "sys.stderr = None\n"
        "atexit.register(time.sleep, 1e6)\n"
        "threading.Thread(target=time.sleep, args=(1e6,)).start()\n" + GOOD
    )
    assert outcome(tmp_path, text).outcome.passed


@slow
def test_files_with_names_of_pythons_own_are_not_taken_for_them(tmp_path):
    for name in ("random", "json", "typing"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit", "utf-8")
    assert outcome(tmp_path, GOOD).outcome.passed


@slow
def test_a_folder_with_any_name_will_do(tmp_path):
    folder = tmp_path / "\u00fcbung mit 'zeichen"
    folder.mkdir()
    text, number = inside("while True: pass")
    assert outcome(folder, text, seconds=0.5).outcome.line == number


def test_a_missing_file_is_told(tmp_path):
    found = runner.check(SLOPE, tmp_path).outcome
    assert found.status == "missing" and "ex01_slope.py is not in" in found.message


@slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory has a limit on Linux alone")
def test_a_list_that_grows_for_ever_is_stopped_by_its_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "MEMORY", 2**28)
    text, number = inside("while x := [x, *range(10**6)]: pass")
    found = outcome(tmp_path, text).outcome
    assert (found.status, found.line) == ("memory", number)
