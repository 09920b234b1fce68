"""`scratchnet learn`, as a learner and a teacher use it."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import good, last_json, run, started
from typer.testing import CliRunner

from scratchnet.cli import app
from scratchnet.errors import InputError
from scratchnet.learn import notebooks, read_exercises, workplace

ROOT = Path(__file__).parents[2]
EXERCISES = {e.name: e for e in read_exercises()}
#: the keys of one exercise in the report for a teacher; these stay
KEYS = {"name", "title", "passed", "status", "message", "details", "steps", "printed", "seconds"}
KEYS |= {"cause", "title_of_cause", "text", "evidence", "file", "line", "function", "source"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to work in, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def learn(*words, code=0):
    """The command in this process; what it prints."""
    done = CliRunner().invoke(app, ["learn", *map(str, words)])
    assert done.exit_code == code, (done.output, done.exception)
    assert max(map(len, done.output.splitlines()), default=0) <= 80
    return " ".join(done.output.split())


def write(folder, name, text=None):
    (folder / f"{name}.py").write_text(EXERCISES[name].solution() if text is None else text)


def test_a_learner_begins_and_goes_on(here):
    said = learn()
    assert "22 exercises were put into scratchnet-exercises" in said
    assert "cd scratchnet-exercises" in said and "next: scratchnet-exercises/ex01_slope.py" in said
    folder = here / "scratchnet-exercises"
    assert {path.name for path in folder.iterdir()} == {f"{name}.py" for name in EXERCISES}
    said = learn("check", code=1)
    assert "ex01_slope: not written yet" in said and "ex01_slope.py, line 28, in slope" in said
    write(folder, "ex01_slope")
    said = learn("check")
    assert "ex01_slope: passed" in said and "next: scratchnet-exercises/ex02_numeric" in said
    assert "next: scratchnet-exercises/ex02_numeric_gradient.py" in learn("next")
    said = learn("progress")
    assert "1 of 22 have passed; about 10 hours to go" in said
    # what is changed after it has passed has to pass again
    write(folder, "ex01_slope", EXERCISES["ex01_slope"].solution() + "# a thought\n")
    assert "next: scratchnet-exercises/ex01_slope.py" in learn("next")
    assert "changed: it had passed" in learn("progress")
    report = json.loads(CliRunner().invoke(app, ["learn", "progress", "--json"]).output)
    assert (report["count"], report["passed_count"]) == (22, 0)
    assert report["exercises"][0] == {
        "name": "ex01_slope",
        "title": "A slope, and a step down",
        "minutes": 10,
        "lesson": 1,
        "passed": False,
    }


def test_work_is_never_overwritten(here):
    learn("mine")
    write(here / "mine", "ex01_slope", "my work\n")
    (here / "mine" / "ex02_numeric_gradient.py").unlink()
    assert "1 exercise was put into mine; what was there is left alone" in learn("mine")
    assert "mine has all exercises; what was there is left alone" in learn("start", "mine")
    assert (here / "mine" / "ex01_slope.py").read_text() == "my work\n"
    said = learn("reset", "1", "--dir", "mine")
    assert "ex01_slope.before-1.txt" in said
    assert (here / "mine" / "ex01_slope.before-1.txt").read_text() == "my work\n"
    assert (here / "mine" / "ex01_slope.py").read_text() == EXERCISES["ex01_slope"].with_gaps()
    learn("reset", "1", "--dir", "mine")
    assert (here / "mine" / "ex01_slope.before-1.txt").read_text() == "my work\n"


def test_inside_the_folder_it_makes_no_folder_in_the_folder(here, monkeypatch):
    learn("mine")
    monkeypatch.chdir(here / "mine")
    Path("ex02_numeric_gradient.py").unlink()
    assert "1 exercise was put into this folder; what was there is left alone" in learn()
    assert Path("ex02_numeric_gradient.py").is_file() and not Path(workplace.USUAL).exists()


def test_hints_come_one_by_one_and_then_the_solution_is_named(here):
    learn()
    first, second, third, fourth = (learn("hint", "4") for _ in range(4))
    assert "hint 1 of 3" in first and "hint 2 of 3" not in first
    assert "hint 2 of 3" in second and "hint 3 of 3" not in second
    assert "hint 3 of 3" in third and "`scratchnet learn solution 4`" in third
    assert fourth == third
    assert "hint 3 of 3" in learn("hint", "5", "--all")
    done = CliRunner().invoke(app, ["learn", "solution", "4"])
    assert done.output == EXERCISES["ex04_dense_backward"].solution()


def test_what_is_seen_and_passed_elsewhere_outlives_a_check_that_watches(here):
    learn()
    folder, every = here / "scratchnet-exercises", tuple(EXERCISES.values())
    watching = workplace.Workplace(folder, every)
    learn("hint", "1")
    elsewhere = workplace.Workplace(folder, every)
    elsewhere.note(every[4], passed=True)
    watching.note(every[0], passed=False)
    assert "hint 2 of 3" in learn("hint", "1")
    assert workplace.Workplace(folder, every).has_passed(every[4])


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", '{"passed": 3}', '{"passed": {}, "hints": {"a": []}}']
)
def test_a_damaged_memory_costs_no_more_than_the_marks(here, damage):
    learn()
    (here / "scratchnet-exercises" / workplace.STATE).write_text(damage)
    assert "0 of 22 have passed" in learn("progress")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("chekc", 2, "is check meant?"),
        ("check", 1, "`scratchnet learn` makes one"),
        ("next --dir none", 1, "none: expected a folder of exercises"),
        ("start note.txt", 1, "note.txt: expected a folder, found a file"),
        ("check --exercises none", 1, "none: expected a folder of exercises, found none"),
        ("check 1 --all", 2, "expected exercises or --all, found both"),
        ("check --watch --json", 2, "--watch: expected one exercise at most"),
        ("check --time-limit 0", 2, "--time-limit"),
        ("lessons note.txt --copy-only", 1, "note.txt: expected a folder, found a file"),
    ],
)
def test_wrong_use_is_one_line(here, words, code, said):
    (here / "note.txt").write_text("a note")
    done = CliRunner().invoke(app, ["learn", *words.split()])
    told = str(done.exception) if isinstance(done.exception, InputError) else done.output
    assert done.exit_code == code and said in re.sub(r"[\s│]+", " ", told)
    assert [path.name for path in here.iterdir()] == ["note.txt"]


def test_an_unknown_exercise_is_told(here):
    learn()
    done = CliRunner().invoke(app, ["learn", "check", "99"])
    assert isinstance(done.exception, InputError)
    assert "99: expected an exercise, such as ex01_slope, " in str(done.exception)


# ---- a teacher -----------------------------------------------------------------------------------

EXERCISE = """def double(x):
    # TODO: twice x
    return 2 * x
    # END
"""
CHECK = """TITLE = "Double"
MINUTES = 5


def check(learner, trial):
    trial.same("double(2)", learner.double(2.0), 4.0, traps={"the square": 5.0})
"""


@pytest.fixture
def teacher(here):
    folder = here / "of-a-teacher"
    folder.mkdir()
    (folder / "t01_double.py").write_text(EXERCISE)
    (folder / "check_t01_double.py").write_text(CHECK)
    return folder


def test_a_teacher_hands_out_exercises_and_gets_a_report(here, teacher):
    learn("mine", "--exercises", teacher)
    (here / "mine" / "t01_double.py").write_text("def double(x):\n    print('hm')\n    return 5\n")
    words = ["learn", "check", "--all", "--dir", "mine", "--exercises", teacher.name, "--json"]
    done = run(*words, cwd=here)
    assert done.returncode == 1 and done.stderr == ""
    report = last_json(done)
    (one,) = report.pop("exercises")
    assert report == {"passed": False, "count": 1, "passed_count": 0}
    assert one.keys() == KEYS and one["title_of_cause"] == "the square"
    assert (one["name"], one["status"], one["passed"]) == ("t01_double", "wrong", False)
    assert (one["cause"], one["printed"]) == ("known", ["hm"])
    (here / "mine" / "t01_double.py").write_text("def double(x):\n    return x + x\n")
    done = CliRunner().invoke(app, words)
    report = json.loads(done.output.splitlines()[-1])
    assert done.exit_code == 0 and report["passed"] is True
    assert report["exercises"][0]["steps"] == ["double(2)"]


def test_what_is_to_be_typed_next_names_the_teachers_folder(here, teacher):
    said = learn("mine", "--exercises", teacher.name)
    assert f"check --watch --exercises {teacher}".replace(" ", "") in said.replace(" ", "")
    done = CliRunner().invoke(app, ["learn", "solution", "t01", "--exercises", teacher.name])
    assert "return 2 * x" in done.output


@pytest.mark.slow
def test_a_check_that_is_wrong_itself_says_so_to_its_writer(here, teacher):
    learn("mine", "--exercises", teacher)
    (here / "mine" / "t01_double.py").write_text("def double(x):\n    return x + x\n")
    check = teacher / "check_t01_double.py"
    check.write_text(CHECK.replace("trial.same", "trial.sane"))
    where = ["--dir", "mine", "--exercises", teacher]
    said = learn("check", *where, code=1)
    assert "AttributeError" in said and "is the check wrong? See --traceback" in said
    done = CliRunner().invoke(app, ["learn", "check", "--traceback", *map(str, where)])
    assert "check_t01_double.py" in done.output and "trial.sane" in done.output
    check.write_text("import nothing_of_this_name\n" + CHECK)
    said = learn("check", *where, code=1)
    assert "the check itself failed" in said and "nothing_of_this_name" in said


def test_the_exercise_on_the_teachers_page_is_one(here):
    text = (ROOT / ".github/docs/teaching.md").read_text("utf-8")
    file, check = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    folder = here / "of-a-teacher"
    folder.mkdir()
    (folder / "t01_leaky.py").write_text(file)
    (folder / "check_t01_leaky.py").write_text(check)
    where = ["--exercises", folder]
    learn("mine", *where)
    assert "about 10 minutes; lesson 3" in learn("next", "--dir", "mine", *where)
    done = CliRunner().invoke(app, ["learn", "solution", "--dir", "mine", *map(str, where)])
    (here / "mine" / "t01_leaky.py").write_text(done.output)
    assert "t01_leaky: passed" in learn("check", "--dir", "mine", *where)


# ---- watching ------------------------------------------------------------------------------------


def test_watch_checks_again_when_a_file_is_saved(here):
    learn()
    folder = here / "scratchnet-exercises"
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with started("learn", "check", "--watch", cwd=folder, stdout=subprocess.PIPE, text=True,
                 env=environment) as process:  # fmt: skip

        def wait_for(words):
            seen = ""
            until = time.monotonic() + 60
            while words not in seen:
                line = process.stdout.readline()
                assert line and time.monotonic() < until, seen
                seen += line
            return seen

        assert "ex01_slope: not written yet" in wait_for("waiting until ex01_slope.py is saved")
        write(folder, "ex01_slope", "def slope(")
        assert "not Python yet" in wait_for("waiting until ex01_slope.py is saved")
        write(folder, "ex01_slope")
        seen = wait_for("waiting until ex02_numeric_gradient.py is saved")
        assert "ex01_slope: passed" in seen and "ex02_numeric_gradient: not written yet" in seen


# ---- lessons -------------------------------------------------------------------------------------


@pytest.fixture
def two_lessons(here, monkeypatch):
    folder = here / "in-the-package"
    folder.mkdir()
    for name in ("01_one.ipynb", "02_two.ipynb"):
        (folder / name).write_text("{}")
    monkeypatch.setattr(notebooks, "PLACES", (here / "none", folder))


def test_lessons_are_copied_and_jupyter_is_opened_on_the_copy(here, two_lessons, monkeypatch):
    assert "2 lessons were copied to mine" in learn("lessons", "mine", "--copy-only")
    (here / "mine" / "01_one.ipynb").write_text("my notes")
    (here / "mine" / "02_two.ipynb").unlink()
    calls = []
    monkeypatch.setattr(notebooks.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(notebooks.subprocess, "call", lambda words: calls.append(words) or 0)
    said = learn("lessons", "mine", "--no-browser", "--allow-root")
    assert "1 lesson was copied to mine; 1 notebook was there already and left alone" in said
    assert (here / "mine" / "01_one.ipynb").read_text() == "my notes"
    options = ["--no-browser", "--allow-root"]
    assert calls == [[sys.executable, "-m", "jupyterlab", *options, "mine"]]


def test_without_jupyter_a_line_says_what_to_install(here, two_lessons, monkeypatch):
    monkeypatch.setattr(notebooks.importlib.util, "find_spec", lambda name: None)
    done = CliRunner().invoke(app, ["learn", "lessons", "mine"])
    assert 'pip install ".[learn]"' in str(done.exception)
    assert not (here / "mine").exists()


def test_what_a_lesson_links_to_comes_with_its_copy(here):
    notebooks.copy_lessons(here / "mine")
    links = [
        link
        for lesson in (here / "mine").glob("*.ipynb")
        for link in re.findall(r"\]\((?!https?:|#|attachment:)([^)]+)\)", lesson.read_text("utf-8"))
    ]
    assert len(links) > 10
    assert [link for link in links if not (here / "mine" / link).exists()] == []


def test_without_notebooks_a_line_says_where_they_should_be(here, monkeypatch):
    monkeypatch.setattr(notebooks, "PLACES", (here / "none",) * 2)
    with pytest.raises(InputError, match="expected notebooks in"):
        notebooks.lessons()


# ---- all of it -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_walk_through_all_exercises_with_the_solutions(here):
    good("learn", cwd=here)
    for name in EXERCISES:
        write(here / "scratchnet-exercises", name)
    done = run("learn", "check", "--all", "--json", cwd=here)
    report = last_json(done)
    assert [one for one in report["exercises"] if not one["passed"]] == []
    assert (done.returncode, report["passed_count"], report["count"]) == (0, 22, 22)
    assert all(one["steps"] and not one["printed"] for one in report["exercises"])
    (accuracy,) = (s for s in report["exercises"][-1]["steps"] if s.startswith("test digits"))
    assert float(re.findall(r"[\d.]+", accuracy)[0]) >= 97
    assert "all 22 exercises have passed" in good("learn", "next", cwd=here).stdout


@pytest.mark.slow
def test_a_walk_through_all_exercises_untouched(here):
    good("learn", cwd=here)
    done = run("learn", "check", "--all", cwd=here)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    blocks = re.split(r"^(ex\d\d_\w+): ", done.stdout, flags=re.MULTILINE)[1:]
    told = dict(zip(blocks[::2], blocks[1::2], strict=True))
    assert told.keys() == EXERCISES.keys()
    for text in told.values():
        assert text.startswith("not written yet\n")
        assert "is still to be written" in text or "comes first: this exercise is built" in text
        assert "raise NotImplementedError" in text and "Help: lesson" in text
    assert done.stdout.endswith("0 of 22 have passed\n")


def test_the_help_names_everything(here):
    done = CliRunner().invoke(app, ["learn", "--help"])
    for name in ("start", "next", "check", "hint", "solution", "progress", "reset", "lessons"):
        assert name in done.output
