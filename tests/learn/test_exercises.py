"""The exercises by themselves: their solutions pass, their gaps and common mistakes are told."""

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from mistakes import MISTAKES as MISTAKEN
from mistakes import RIGHT, prepared

import scratchnet as sn
from scratchnet.errors import InputError
from scratchnet.learn import Mistake, Trial, exercise, read_exercises
from scratchnet.learn.told import of_exception
from scratchnet.learn.trial import Learner

ROOT = Path(__file__).parents[2]
EXERCISES = {e.name: e for e in read_exercises()}
#: which train on MNIST or load it; the walk through all of them runs these (test_learn_walk.py)
LONG = {"ex11_training", "ex21_grad_cam", "ex22_mnist"}
SHORT = [name for name in EXERCISES if name not in LONG]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with all solutions, from which this process imports."""
    for e in EXERCISES.values():
        (tmp_path / f"{e.name}.py").write_text(e.solution(), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with sn.use_backend("reference"):
        yield tmp_path.resolve()
    for name in EXERCISES:
        sys.modules.pop(name, None)


def checked(name, folder):
    """What comes of a check in this process."""
    importlib.invalidate_caches()
    trial = Trial()
    try:
        module = importlib.import_module(name)
        EXERCISES[name].check_module().check(Learner(module), trial)
    except Exception as error:
        outcome = of_exception(error, folder, name)
        assert isinstance(error, (Mistake, NotImplementedError)) or outcome.line, error
        return outcome
    assert trial.passed
    return None


def changed(path, old, new):
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def test_there_are_about_twenty():
    assert list(EXERCISES) == sorted(EXERCISES)
    assert len(EXERCISES) == 22
    assert [int(name[2:4]) for name in EXERCISES] == list(range(1, 23))


@pytest.mark.parametrize("name", EXERCISES)
def test_what_a_learner_gets_says_what_to_do(name):
    e = EXERCISES[name]
    text = e.with_gaps()
    compile(text, name, "exec")
    assert f'"""{int(name[2:4])}. ' in text and "# TODO: " in text and "# END" not in text
    assert text.count("raise NotImplementedError") == e.file.read_text("utf-8").count("# END")
    assert f"Lesson {e.lesson}. " in text and f"learn check {int(name[2:4])} " in text
    about = "an hour" if e.minutes == 60 else f"{e.minutes} minutes"
    assert f"About {about}. " in text
    assert (ROOT / "scratchnet" / e.read).is_file() and f"scratchnet/{e.read}" in text
    assert 2 <= len(e.hints) <= 3
    assert max(map(len, text.splitlines())) <= 100
    assert "TODO" not in e.solution() and "NotImplemented" not in e.solution()


@pytest.mark.parametrize("name", SHORT)
def test_the_solution_passes(name, folder):
    assert checked(name, folder) is None


@pytest.mark.parametrize("name", SHORT)
def test_a_gap_is_told_as_one(name, folder):
    (folder / f"{name}.py").write_text(EXERCISES[name].with_gaps(), "utf-8")
    told = checked(name, folder)
    assert told.status == "unwritten" and "still to be written" in told.message
    assert told.file == f"{name}.py" and told.source == "raise NotImplementedError"


def test_a_gap_in_an_earlier_one_names_that(folder):
    e = EXERCISES["ex12_im2col"]
    (folder / "ex12_im2col.py").write_text(e.with_gaps(), "utf-8")
    told = checked("ex15_conv_backward", folder)
    assert told.status == "unwritten" and told.message.startswith("ex12_im2col comes first")


#: exercise, what a learner might have written instead, words of what is said to it
MISTAKES = [
    ("ex01_slope", "(f(x + h) - f(x - h)) / (2 * h)", "(f(x + h) - f(x)) / h", "one side only"),
    ("ex01_slope", "/ (2 * h)", "/ h", "whole width"),
    ("ex01_slope", "x - learning_rate", "x + learning_rate", "uphill"),
    ("ex01_slope", "    return x\n", "        return x\n", "inside the loop"),
    ("ex02_numeric_gradient", "        a[index] = kept\n", "", "put back exactly"),
    ("ex02_numeric_gradient", "    return gradient\n", "", "is there a `return`?"),
    ("ex02_numeric_gradient", "(above - below) / (2 * h)", "(above - f()) / h", "one side alone"),
    ("ex03_dense_forward", "x @ W + b", "x @ W", "b is not added"),
    ("ex03_dense_forward", "return x @ W + b", "x += 1; return (x - 1) @ W + b", "the caller"),
    ("ex03_dense_forward", "class Dense", "class Dens", "expected `Dense` in your file"),
    ("ex04_dense_backward", "self.x.T @ dy", "-self.x.T @ dy", "the sign is the other one"),
    ("ex04_dense_backward", '["W"][:] = ', '["W"] = ', "another array than before"),
    ("ex04_dense_backward", '["b"][:] = ', '["b"][:] += ', "added to what an earlier call left"),
    ("ex04_dense_backward", "return dy @", "return self.x + 0 * dy @", "dx is not the slope"),
    ("ex04_dense_backward", '["W"].T', '["W"]', 'rows of 2, its right side 4 rows shapes'),
    ("ex04_dense_backward", "self.x.T @ dy", "dy.T @ self.x", "dy (3, 2), self.x (3, 4)"),
    ("ex05_relu", "self.y > 0", "self.y >= 0", "the mask of forward is not used"),
    ("ex06_sigmoid", "np.where(x >= 0, 1, z) / (1 + z)", "1 / (1 + np.exp(-x))", "overflow"),
    ("ex07_softmax_loss", "e / e.sum(axis=1, keepdims=True)", "e / e.sum()", "sum of all rows"),
    ("ex07_softmax_loss", "return dlogits / n", "return dlogits", "not divided by the 3 examples"),
    ("ex07_softmax_loss", "return dlogits / n", "return -dlogits / n", "trial, dlogits[0, 1] is"),
    ("ex07_softmax_loss", ".mean()", ".sum()", "not divided by the 3 examples"),
    ("ex08_sgd", "params -= ", "params = params - ", "own array is not changed"),
    ("ex08_sgd", "params -= ", "model.flat_params = params - ", "in place"),
    ("ex09_momentum", "self.learning_rate * grads", "grads", "the learning rate is left out"),
    ("ex09_momentum", "if self.velocity is None", "if True", "starts anew"),
    ("ex10_adam", "self.m / (1 - self.beta_1**self.t)", "self.m", "not corrected for their start"),
    ("ex10_adam", "grads**2", "grads", "the gradient is not squared in v"),
    ("ex12_im2col", "// stride + 1", "// stride", "the 1 is missing"),
    ("ex12_im2col", "(h + 2 * pad", "(h + pad", "counts on both sides"),
    ("ex12_im2col", "cols.reshape", "cols.swapaxes(3, 4).reshape", ""),
    ("ex13_conv_forward", "W.reshape(-1, f)", "W[::-1, ::-1].reshape(-1, f)", "turned round"),
    ("ex13_conv_forward", "W.reshape(-1, f)", "W.reshape(f, -1).T", "last axis is its filters"),
    ("ex14_col2im", "+= dcols", "= dcols", "`=` where `+=` belongs"),
    ("ex14_col2im", "return padded[:, pad : pad + h, pad : pad + w]", "return padded", "still on"),
    ("ex14_col2im", "[:, pad : pad + h, pad : pad + w]", "[:, :h, :w]", "on the right alone"),
    ("ex15_conv_backward", "dy.sum(axis=0)", "dy[0]", "summed over the wrong axes"),
    ("ex16_max_pool", "column, channel] += dy", "column, channel] = dy", "= where += belongs"),
    ("ex16_max_pool", "winner // self.size\n                column = j * self.stride + winner %",
     "winner % self.size\n                column = j * self.stride + winner //", "are swapped"),
    ("ex17_batchnorm_forward", "mean[:] = self", "mean = self", "running_mean"),
    ("ex18_batchnorm_backward", " - self.x_hat * along", "", "a term is missing"),
    ("ex18_batchnorm_backward", "if not self.training", "if False", "are taken in evaluation"),
    ("ex19_residual", "return y + x", "return y", "x is not added"),
    ("ex19_residual", "return dx + dy", "return dx", "without + dy"),
    ("ex20_dropout", " < keep) / keep", " < keep)", "x / keep"),
    ("ex20_dropout", "return dy * self.mask", "return dy", "the mask is not used"),
    ("ex20_dropout", "return dy * self.mask", "self.forward(dy, 1); return dy * self.mask",
     "other values than forward did"),
]  # fmt: skip


#: the diagnosis takes a moment; the plain suite has every third
SOME = [case if k % 3 == 0 else pytest.param(*case, marks=pytest.mark.slow)
        for k, case in enumerate(MISTAKES)]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new", "words"), SOME)
def test_a_mistake_is_found_and_told(name, old, new, words, folder):
    changed(folder / f"{name}.py", old, new)
    with np.errstate(invalid="ignore"):  # in the learner's process a warning is a line, no error
        told = checked(name, folder)
    assert told is not None
    said = " ".join([told.message, *told.details, told.title, told.text, told.evidence])
    assert words in said, said
    assert "Traceback" not in said


@pytest.mark.slow
def test_a_trial_finds_what_was_put_in_on_purpose_and_nothing_else():
    """Every fifth of the mistakes, and of the right layers, by which the diagnosis is judged."""
    missed, named, told = [], 0, []
    with sn.use_backend("reference"):
        for case in MISTAKEN[::5]:
            mistake = tried(case)
            missed += [] if mistake else [case.name]
            named += mistake is not None and mistake.cause in case.causes
        for case in RIGHT[::5]:
            # new arrays in grads are refused here; what draws at random has no y to compare with
            if case.like is not None and "dropout" not in case.name and "new-grad" not in case.name:
                told += [(case.name, mistake)] if (mistake := tried(case)) else []
    assert missed == [] and told == []
    assert named >= 0.9 * len(MISTAKEN[::5])


def tried(case):
    trial = Trial()
    thing, x, y, like = prepared(case, 0)
    try:
        if case.room == "layer":
            trial.layer(thing, x, like and trial.right(like, thing, case.shape[1:]))
        elif case.room == "loss":
            trial.loss(thing, x, y, like)
        else:
            trial.optimizer(lambda: prepared(case, 0)[0], lambda: prepared(case, 0)[3])
    except Mistake as mistake:
        return mistake
    except Exception as error:  # the learner's line is told
        return Mistake(str(error), cause=case.causes[0])
    return None


# ---- a teacher's folder --------------------------------------------------------------------------

EXERCISE = """def double(x):
    # TODO: twice x;
    #     in one line
    return 2 * x
    # END
"""
CHECK = """TITLE = "Double"
MINUTES = 5


def check(learner, trial):
    trial.same("double(2)", learner.double(2.0), 4.0)
"""


def own(folder, exercise=EXERCISE, check=CHECK, name="t01_double"):
    folder.mkdir(exist_ok=True)
    if exercise is not None:
        (folder / f"{name}.py").write_text(exercise, "utf-8")
    (folder / f"check_{name}.py").write_text(check, "utf-8")
    return folder


def test_a_teachers_exercise_is_two_files(tmp_path):
    (mine,) = read_exercises(own(tmp_path / "mine"))
    assert (mine.name, mine.title, mine.minutes, mine.hints) == ("t01_double", "Double", 5, ())
    assert mine.with_gaps().splitlines()[1:] == [
        "    # TODO: twice x;",
        "    #     in one line",
        "    raise NotImplementedError",
    ]
    assert "return 2 * x" in mine.solution() and "# twice x;" in mine.solution()


@pytest.mark.parametrize(
    ("exercise_text", "check_text", "words"),
    [
        (None, CHECK, "t01_double.py: expected the exercise"),
        (EXERCISE.replace("# END", ""), CHECK, "expected # END"),
        ("x = 1\n", CHECK, "expected a gap"),
        (EXERCISE, CHECK.replace('"Double"', "3"), "TITLE: expected a text, found 3"),
        (EXERCISE, CHECK.replace("MINUTES = 5", ""), "MINUTES: expected a whole number"),
        (EXERCISE, CHECK.replace("5", "4 + 1"), "MINUTES: expected a constant, found 4 + 1"),
        (EXERCISE, CHECK.replace("def check", "def test"), "a function check(learner, trial)"),
        (EXERCISE, CHECK + ")", "expected a Python file"),
        (EXERCISE, CHECK + "HINTS = 'one'", "HINTS: expected a tuple of texts"),
    ],
)
def test_a_teachers_mistake_is_one_line(tmp_path, exercise_text, check_text, words):
    with pytest.raises(InputError, match=re.escape(words)):
        read_exercises(own(tmp_path / "mine", exercise_text, check_text))


def test_a_folder_without_exercises_is_told(tmp_path):
    with pytest.raises(InputError, match=r"NAME\.py with check_NAME\.py"):
        read_exercises(tmp_path)
    with pytest.raises(InputError, match="expected a folder of exercises"):
        read_exercises(tmp_path / "none")
    with pytest.raises(InputError, match="small letters"):
        read_exercises(own(tmp_path, name="T 1"))


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("4", "ex04_dense_backward"),
        ("04", "ex04_dense_backward"),
        ("ex04", "ex04_dense_backward"),
        ("some/where/ex04_dense_backward.py", "ex04_dense_backward"),
        ("adam", "ex10_adam"),
    ],
)
def test_an_exercise_is_found_by_what_one_types(asked, found):
    assert exercise.find(list(EXERCISES.values()), asked).name == found


@pytest.mark.parametrize("asked", ["99", "dense", "", "ex", "transformer"])
def test_what_is_no_exercise_or_several_is_told(asked):
    with pytest.raises(InputError, match="expected an exercise, such as"):
        exercise.find(list(EXERCISES.values()), asked)


# ---- the steps of a trial ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (None, "found None; is there a `return`?"),
        ("4", "expected an array of shape (2,), found a str"),
        ([[1.0], [2.0, 3.0]], "expected an array of shape (2,), found a list"),
        ([1.0, 2.0, 3.0], "expected an array of shape (2,), found a list"),
        ([1.0, float("nan")], "1 of your values are infinite"),
    ],
)
def test_what_is_no_such_array_is_told(found, words):
    with pytest.raises(Mistake) as caught:
        Trial().same("y", found, [1.0, 2.0])
    assert words in " ".join([caught.value.headline, *caught.value.details])


def test_a_turned_array_is_told():
    import numpy as np

    with pytest.raises(Mistake, match="transpose"):
        Trial().same("y", np.ones((2, 3)), np.ones((3, 2)))
