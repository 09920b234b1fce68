"""The microscope on a network that reads lines with CTC."""

import numpy as np
import pytest

import scratchnet as sn

SIGNS = ("4", "0", "7", "")


@pytest.fixture(scope="module")
def model():
    layers = [sn.Conv2D(3, 3, (4, 2), "same"), sn.BatchNorm(), sn.ReLU()]
    layers += [sn.Conv2D(4, (2, 3), padding=((0, 0), (1, 1))), sn.Reshape((-1, 4)), sn.Softmax()]
    made = sn.Sequential(layers, (8, 12, 1), seed=1, dtype="float64")
    made.class_names = SIGNS
    made.compile("sgd", sn.losses.CTC(blank=3))
    return made


def test_every_gradient_is_its_sum_and_its_numeric_derivative(model):
    rng = np.random.default_rng(0)
    trace = sn.trace(model, rng.random((8, 12)), "407")
    assert trace.label == (0, 1, 2) and trace.probabilities.shape == (6, 4)
    for name, gradient in trace.gradients.items():
        index = tuple(int(rng.integers(size)) for size in gradient.shape)
        explained = trace.explain(name, index)
        assert explained.sum.total == pytest.approx(gradient[index], abs=1e-10)
        assert explained.numeric == pytest.approx(gradient[index], abs=1e-6)
    at = trace.explain_output("conv2d_1", (0, 2, 1))
    assert at.sum.total == pytest.approx(at.value)


def test_the_gradient_at_the_logits_is_probabilities_less_occupancy(model):
    trace = sn.trace(model, np.random.default_rng(1).random((8, 12)), [2, 2])
    np.testing.assert_allclose(trace.one_hot.sum(axis=1), 1)
    np.testing.assert_allclose(trace[-1].dx, trace.probabilities - trace.one_hot, atol=1e-12)
    rows = trace.loss_rows()
    assert [row["frame"] for row in rows] == list(range(6))
    for row in rows:
        assert row["gradient"] == pytest.approx(row["probability"] - row["occupancy"])
    assert {row["class"] for row in rows} <= {*SIGNS, "blank"}


def test_it_shows_what_was_read_beside_the_label(model):
    trace = sn.trace(model, np.zeros((8, 12)), "40")
    assert "label '40': loss" in repr(trace) and "read as" in repr(trace)
    assert "occupancy" in trace.table() and "<table" in trace._repr_html_()
    assert trace.to_dict()["label"] == (0, 1)


def test_what_is_no_label_of_a_line_is_refused(model):
    x = np.zeros((8, 12))
    for label in ("9", 4, [1, 4], [0.5], None):
        with pytest.raises(sn.InputError, match="label: expected"):
            sn.trace(model, x, label)
    with pytest.raises(sn.InputError, match="frames can hold"):
        sn.trace(model, x, "4444")
    other = sn.Sequential([sn.Dense(4), sn.Reshape((2, 2))], (3,))
    with pytest.raises(sn.InputError, match=r"frames \(t, k\) and the loss CTC"):
        sn.trace(other, np.zeros(3), "40")
