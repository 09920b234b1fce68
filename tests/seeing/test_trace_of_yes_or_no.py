"""Traces of models with one output: the label 0 or 1 is what the loss compares it with."""

import numpy as np
import pytest

import scratchnet as sn


@pytest.fixture(params=["sigmoid", "logits", "no loss of classes"])
def model(request):
    end = [sn.Sigmoid()] if request.param == "sigmoid" else []
    model = sn.Sequential([sn.Dense(6), sn.ReLU(), sn.Dense(1), *end], (5,))
    binary = sn.losses.BinaryCrossentropy(from_logits=not end)
    model.compile("sgd", "mse" if request.param == "no loss of classes" else binary)
    return model


@pytest.mark.parametrize("label", [0, 1])
def test_loss_and_gradients_are_those_of_the_label(model, label, rng):
    x = rng.standard_normal(5)
    trace = sn.trace(model, x, label)
    loss = model.loss_and_gradients(x[None], np.array([label]))
    assert trace.loss == pytest.approx(loss, rel=1e-5)
    np.testing.assert_allclose(
        np.concatenate([g.ravel() for g in trace.gradients.values()]),
        model.flat_grads,
        rtol=1e-3,
        atol=1e-6,
    )
    explained = trace.explain("dense.W", (0, 0))
    assert explained.gradient == pytest.approx(explained.numeric, rel=1e-5, abs=1e-8)
    (row,) = trace.loss_rows()
    assert row["one_hot"] == label
    assert trace.step("rmsprop").after.loss < trace.loss


def test_the_probability_is_that_of_the_label(rng):
    model = sn.Sequential([sn.Dense(1)], (5,))
    model.compile("sgd", sn.losses.BinaryCrossentropy(from_logits=True))
    x = rng.standard_normal(5)
    z = float(model.predict(x[None])[0, 0])
    p = 1 / (1 + np.exp(-z))
    for label, probability in ((0, 1 - p), (1, p)):
        trace = sn.trace(model, x, label)
        assert trace.probabilities[0] == pytest.approx(p, rel=1e-6)
        assert f"label {label}: " in repr(trace) and f"read as {int(p > 0.5)}" in repr(trace)
        assert float(repr(trace).split("probability ")[1].split(";")[0]) == pytest.approx(
            probability, rel=1e-4
        )
    with pytest.raises(sn.InputError, match="from 0 to 1, found 2"):
        sn.trace(model, x, 2)
