"""The judge that ships: digits are named, and what is none is said to be none, on every path."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scratchnet as sn
from scratchnet.datasets.photos import writing
from scratchnet.pictures import look


@pytest.fixture(scope="module")
def model():
    return sn.architectures.pretrained()


@pytest.fixture(scope="module")
def digits():
    return sn.datasets.mnist.load_data()[1]


def drawing(strokes, seed=0):
    """Dark strokes of a thick pen on light paper, in a box of 1 x 1."""
    ink = writing.drawn(strokes, 200, 18, np.random.default_rng(seed))
    return np.rint(235 - 200 * np.pad(ink, 60)).astype(np.uint8)


def scribble(seed):
    return drawing([np.random.default_rng(seed).random((14, 2)).tolist()])


def test_letters_and_scribbles_are_said_to_be_no_digit(model):
    answers = [look(drawing(writing.LETTERS[letter]), model) for letter in "AEHKMRTW"]
    none = [a for a in answers if a.digit is None and not a.several and "no digit" in a.reason]
    assert len(none) >= 6
    assert sum(look(scribble(seed), model).digit is None for seed in range(20)) >= 13


def test_test_digits_are_named(model, digits):
    """As drawings: 28 x 28 pixels of light ink, as they come."""
    x, y = digits
    answers = [look(image, model) for image in x[:100]]
    assert sum(answer.digit == label for answer, label in zip(answers, y, strict=False)) >= 97
    assert sum(answer.digit is None for answer in answers) <= 1


def test_touching_digits_are_several(model, digits):
    x, _ = digits
    said = []
    for k in range(0, 20, 2):
        inks = [writing.inked(x[k + n], 120) for n in (0, 1)]
        tops = [130 - len(ink) for ink in inks]
        ink = writing.in_a_row(inks, [-3], True, tops)
        said.append(look(235 - 200 * np.pad(ink, 50), model).several)
    assert sum(said) >= 7


def test_without_the_judge_every_shape_is_a_digit(model):
    answer = look(drawing(writing.LETTERS["A"]), model, judge=None)
    assert answer.digit is not None and answer.reason is None


def test_models_of_other_signs_are_not_judged(model):
    answer = look(drawing(writing.LETTERS["A"]), model, of_digits=False)
    assert answer.digit is not None and answer.reason is None


def test_the_command_says_that_a_letter_is_no_digit(tmp_path):
    Image.fromarray(drawing(writing.LETTERS["A"])).save(tmp_path / "a.png")
    command = [sys.executable, "-m", "scratchnet", "predict", "a.png"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert told.returncode == 0 and "no digit" in told.stdout and told.stderr == ""
    done = subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True)
    (found,) = json.loads(done.stdout)
    assert (found["digit"], found["class"], found["confidence"]) == (None, None, None)
    assert not found["several"] and "no digit" in found["reason"]


def test_the_judge_names_its_classes():
    judge = sn.architectures.judge()
    assert judge.class_names == (*"0123456789", "no digit", "several digits")
    assert judge.output_shape == (12,)


def test_all_weights_together_are_small():
    folder = Path(sn.__file__).parent / "weights"
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 4_000_000
