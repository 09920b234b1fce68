"""The diagnosis beside the judge's file: mistakes are named, and right layers are left in peace.

python tests/learn/test_diagnosis.py            the table: each cause, how often it was named
python tests/learn/test_diagnosis.py WORD       what is said of the cases whose name has the word
"""

import dataclasses
import json
import sys
from collections import Counter

import numpy as np
import pytest
from mistakes import CAUSES, MISTAKES, RIGHT, UNNAMED, prepared

import scratchnet as sn
from scratchnet import diagnosis

#: of all mistakes so many must be named by the first of their causes
LEAST = 0.9
FIRST_OF_EACH_CAUSE = list({case.causes[0]: case for case in reversed(MISTAKES)}.values())


def diagnosed(case, seed=0):
    thing, x, y, like = prepared(case, seed)
    rng = np.random.default_rng(seed)
    if case.room == "layer":
        return sn.gradcheck.diagnose(thing, x, rng, like)
    if case.room == "loss":
        return sn.gradcheck.diagnose_loss(thing, x, y, rng, like)
    return sn.gradcheck.diagnose_optimizer(thing, rng, like)


def judged(seed=0):
    """Lines of a table, and how many of each kind of case came out as they should."""
    counts = Counter()
    for case in MISTAKES:
        found, cause = diagnosed(case, seed).cause, case.causes[0]
        named = {"cases": 1, "first": found == cause, "any": found in case.causes}
        for key, value in named.items():
            counts[cause, key] += value
            counts[case.room, key] += value
            counts["all mistakes", key] += value
    for name, cases in (("right", RIGHT), ("unnamed", UNNAMED)):
        for case in cases:
            found = diagnosed(case, seed)
            counts[name, "cases"] += 1
            counts[name, "first"] += found.passed if name == "right" else is_unknown(found)
            counts[name, "any"] += found.cause is None
    rows = ["layer", "loss", "optimizer", *CAUSES, "all mistakes", "right", "unnamed"]
    lines = [f"{'':28}{'first':>6}{'any':>6}{'of':>6}"]
    for row in rows:
        first, any_of, cases = (counts[row, key] for key in ("first", "any", "cases"))
        lines.append(f"{row:28}{first:6}{any_of:6}{cases:6}")
    return lines, counts


def is_unknown(found):
    return not found.passed and found.cause is None


@pytest.mark.parametrize("case", FIRST_OF_EACH_CAUSE, ids=str)
def test_of_each_cause_one_mistake_is_named(case):
    found = diagnosed(case)
    assert not found.passed
    assert found.cause in case.causes
    assert found.evidence
    assert found.text == diagnosis.CAUSES[found.cause].text


@pytest.mark.parametrize("case", RIGHT[::16], ids=str)
def test_right_ones_pass(case):
    found = diagnosed(case)
    assert found.passed, str(found)
    assert found.cause is None


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0])
def test_nine_of_ten_mistakes_are_named_and_nothing_right_is(seed):
    lines, counts = judged(seed)
    print(*lines, sep="\n")
    assert counts["all mistakes", "first"] >= LEAST * len(MISTAKES)
    assert counts["right", "first"] == len(RIGHT)
    assert counts["unnamed", "first"] == len(UNNAMED)


def test_every_cause_of_the_judge_has_a_paragraph():
    assert CAUSES.keys() == diagnosis.CAUSES.keys()
    for cause in diagnosis.CAUSES.values():
        assert "By hand:" in cause.text
        assert len(cause.text) > 150
        assert not cause.title.endswith(".")


# ---- what is handed back ------


class Averaged(sn.Dense):
    """dW is a mean over the batch."""

    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["W"] /= len(dy)
        return dx


class Raises(sn.Dense):
    def backward(self, dy):
        raise KeyError("<b>cols</b>")


def built(kind, *args, shape=(5,)):
    layer = kind(*args)
    layer.build(shape, np.random.default_rng(2), np.float64)
    return layer


def x_of(*shape):
    return np.random.default_rng(3).standard_normal(shape)


@pytest.mark.parametrize("like", [None, built(sn.Dense, 3)], ids=["alone", "beside a right one"])
def test_a_diagnosis_names_cause_place_and_numbers(like):
    layer, x = built(Averaged, 3), x_of(7, 5)
    found = sn.gradcheck.diagnose(layer, x, np.random.default_rng(0), like)
    assert (found.passed, found.cause) == (False, "batch-mean")
    assert found.where.startswith("dW[")
    assert "divided by the 7 examples" in found.evidence
    assert "missing-factor" in found.others
    assert found.title in str(found)
    assert found.where in str(found)
    assert "By hand" in " ".join(str(found).split())
    assert json.loads(json.dumps(found.to_dict()))["cause"] == "batch-mean"
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.cause = None


def test_what_is_diagnosed_stays_as_it_is():
    layer, like, x = built(sn.BatchNorm), built(sn.BatchNorm), x_of(6, 5)
    kept = [a.copy() for a in (x, *layer.params.values(), *layer.buffers.values())]
    theirs = [a.copy() for a in (*like.params.values(), *like.buffers.values())]
    assert sn.gradcheck.diagnose(layer, x, np.random.default_rng(0), like).passed
    for before, after in zip(
        kept, (x, *layer.params.values(), *layer.buffers.values()), strict=True
    ):
        assert np.array_equal(before, after)
    for before, after in zip(theirs, (*like.params.values(), *like.buffers.values()), strict=True):
        assert np.array_equal(before, after)


def test_global_random_numbers_go_on_as_if_nothing_had_been():
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.random(3)  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    assert sn.gradcheck.diagnose(built(sn.ReLU), x_of(4, 5), np.random.default_rng(0)).passed
    assert np.array_equal(np.random.random(3), expected)  # noqa: NPY002


def test_an_exception_is_part_of_the_diagnosis():
    found = sn.gradcheck.diagnose(built(Raises, 3), x_of(7, 5), np.random.default_rng(0))
    assert (found.passed, found.cause, found.where) == (False, None, "backward")
    assert "KeyError" in found.evidence
    assert "<b>" not in found._repr_html_().replace("<b>Wrong</b>", "")


class Bare:
    """What a learner writes at first: two functions and nothing else."""

    def forward(self, x, training=False):
        self.x = x
        return np.maximum(x, 0)

    def backward(self, dy):
        return dy * (self.x > 0)


class BareWithoutMask(Bare):
    def backward(self, dy):
        return dy.copy()


class Unfinished(Bare):
    def forward(self, x, training=False):
        return None


class NoBackward:
    def forward(self, x, training=False):
        return x


@pytest.mark.parametrize(
    ("kind", "cause", "words"),
    [
        (BareWithoutMask, "mask-unused", "dx is 1 dy everywhere"),
        (Unfinished, "forward-wrong", "no array of numbers"),
        (NoBackward, None, "AttributeError"),
    ],
)
@pytest.mark.parametrize("like", [None, built(sn.ReLU)], ids=["alone", "beside a right one"])
def test_a_layer_may_have_nothing_but_two_functions(kind, cause, words, like):
    rng = np.random.default_rng(0)
    assert sn.gradcheck.diagnose(Bare(), x_of(4, 5), rng, like).passed
    found = sn.gradcheck.diagnose(kind(), x_of(4, 5), rng, like)
    assert (found.passed, found.cause) == (False, cause)
    assert words in found.evidence


def test_parameters_must_be_arrays_of_float64():
    rng, layer = np.random.default_rng(0), Bare()
    layer.params = {"W": [1.0, 2.0]}
    assert "a list, expected an array" in sn.gradcheck.diagnose(layer, x_of(4, 5), rng).evidence
    layer.params = {"W": np.ones(3, np.float32)}
    assert sn.gradcheck.diagnose(layer, x_of(4, 5), rng).cause == "float32-inside"


def test_an_unknown_cause_says_where_it_is_worst():
    class Odd(sn.Dense):
        def backward(self, dy):
            dx = super().backward(dy)
            dx[2, 3] += 1
            return dx

    found = sn.gradcheck.diagnose(built(Odd, 3), x_of(7, 5), np.random.default_rng(0))
    assert (found.passed, found.cause, found.where) == (False, None, "dx[2, 3]")
    assert "cause unknown, worst at dx[2, 3]" in str(found)


def test_a_right_one_is_shown_as_right():
    found = sn.gradcheck.diagnose_loss(
        sn.losses.MeanSquaredError(), x_of(4, 3), x_of(4, 3)[::-1], np.random.default_rng(0)
    )
    assert str(found).startswith("right: ")
    assert "<b>Right</b>" in found._repr_html_()


OPTIMIZERS = [sn.SGD, sn.Adam, sn.AdamW, sn.RMSprop, sn.Adagrad, sn.Nadam, sn.Lion]


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_packages_own_optimizers_pass(kind):
    for like in (None, kind()):
        found = sn.gradcheck.diagnose_optimizer(kind(), np.random.default_rng(0), like)
        assert found.passed, str(found)


# ---- mistakes on other shapes than the judge's ------


class OddZeroAtTheTop(sn.Conv2D):
    def place_window(self, input_shape):
        super().place_window(input_shape)
        top, bottom, left, right = self.pads
        self.pads = bottom, top, left, right


class Unshared(sn.AveragePool2D):
    def backward(self, dy):
        return super().backward(dy) * 6


class OneChannelsSum(sn.LayerNorm):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["beta"][:] = dy[:, :, 0].sum(axis=0)
        return dx


CONV = ((4, (2, 3), (2, 1), "same"), (7, 8, 3))


@pytest.mark.parametrize(
    ("kind", "right", "args", "shape", "cause"),
    [
        (OddZeroAtTheTop, sn.Conv2D, *CONV, "padding-off"),
        (Unshared, sn.AveragePool2D, ((2, 3),), (6, 9, 2), "missing-factor"),
        (OneChannelsSum, sn.LayerNorm, (), (3, 4, 5), "bias-axes"),
    ],
)
def test_mistakes_of_other_shapes_are_named_too(kind, right, args, shape, cause):
    layer, like = built(kind, *args, shape=shape), built(right, *args, shape=shape)
    found = sn.gradcheck.diagnose(layer, x_of(2, *shape), np.random.default_rng(0), like)
    assert found.cause == cause, str(found)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        for case in (case for case in MISTAKES + UNNAMED + RIGHT if sys.argv[1] in case.name):
            print(f"{case.name}: {case.said}\n{diagnosed(case)}\n")
    else:
        print(*judged()[0], sep="\n")
