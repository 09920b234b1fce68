"""The learning-rate finder: what it finds, and that nothing is left of it."""

import copy

import numpy as np
import pytest
from figures import check_text_layout, strings

import scratchnet as sn
from scratchnet import InputError


@pytest.fixture
def data(rng):
    x = rng.random((80, 5), dtype=np.float32)
    return x, x @ rng.standard_normal((5, 2)).astype(np.float32)


def network(optimizer=None):
    layers = [sn.Dense(8), sn.BatchNorm(), sn.ReLU(), sn.Dropout(0.1), sn.Dense(2)]
    model = sn.Sequential(layers, (5,))
    model.compile(optimizer or sn.SGD(0.1, 0.9), "mse")
    return model


def everything(model):
    return {
        **{name: array.copy() for name, array in model.arrays().items()},
        "grads": model.flat_grads.copy(),
        **{f"optimizer {k}": copy.copy(v) for k, v in model.optimizer.memory.items()},
        "iterations": model.optimizer.iterations,
        "rate": float(model.optimizer.learning_rate(0)),
        "random": str([rng.bit_generator.state for rng in model.generators().values()]),
        "trained on": model.trained_on,
    }


@pytest.mark.parametrize("ema", [False, True])
def test_model_optimizer_and_random_streams_are_as_before(data, ema):
    model = network(sn.Adam(0.01, use_ema=ema))
    model.fit(*data, verbose=0)
    before, optimizer = everything(model), model.optimizer
    found = sn.find_learning_rate(model, *data)
    after = everything(model)
    assert model.optimizer is optimizer and before.keys() == after.keys()
    for key, value in before.items():
        assert np.array_equal(value, after[key]), key
    assert len(found.rates) == len(found.losses) == len(found.smoothed) > 20
    again = sn.find_learning_rate(model, *data)
    assert again.losses == found.losses
    other = network(sn.Adam(0.01, use_ema=ema))
    other.fit(*data, verbose=0)
    for one in (model, other):
        one.fit(*data, verbose=0)
    assert np.array_equal(model.flat_params, other.flat_params)


def test_the_losses_are_those_of_steps_by_hand(data):
    x, y = data
    model, hand = (sn.Sequential([sn.Dense(2)], (5,)) for _ in "ab")
    model.compile(sn.SGD(0.5), "mse")
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 80, 8)]
    found = sn.find_learning_rate(model, batches, lowest=1e-3, highest=0.1, steps=15)
    W, b = (hand.layers[0].params[key].astype(float) for key in "Wb")
    for i, (rate, loss) in enumerate(zip(found.rates, found.losses, strict=True)):
        assert rate == pytest.approx(1e-3 * 100 ** (i / 14))
        x_, y_ = batches[i % 10]
        difference = x_ @ W + b - y_
        assert loss == pytest.approx((difference**2).mean(), rel=1e-4)
        dz = 2 * difference / difference.size
        W, b = W - rate * x_.T @ dz, b - rate * dz.sum(axis=0)


def test_the_suggestion_is_where_the_loss_of_a_parabola_falls_fastest():
    """For y = w with L = w^2, w <- (1 - 2 rate) w: it falls fastest below the rate 1/2."""
    model = sn.Sequential([sn.Dense(1, use_bias=False)], (1,))
    model.compile("sgd", "mse")
    model.layers[0].params["W"][...] = 1
    x, y = np.ones((4, 1)), np.zeros((4, 1))
    found = sn.find_learning_rate(model, x, y, lowest=1e-4, highest=100, steps=120)
    assert 0.005 < found.suggestion < 0.5
    assert found.rates[-1] < 100  # it ended where the loss exploded: above 1
    assert found.losses[-1] > 1 > min(found.losses)


def test_a_loss_that_does_not_fall_suggests_nothing():
    model = sn.Sequential([sn.Dense(1)], (1,))
    model.compile("sgd", "mse")
    x = np.zeros((4, 1))
    found = sn.find_learning_rate(model, x, x, steps=12)
    assert found.suggestion is None and "suggestion none" in repr(found)
    check_text_layout(found.plot())


def test_the_picture_marks_the_suggestion(data):
    found = sn.find_learning_rate(network(), *data)
    figure = found.plot()
    check_text_layout(figure)
    assert figure.axes[0].get_xscale() == "log"
    assert any(f"falls fastest: {found.suggestion:.2g}" in text for text in strings(figure))
    for rates, losses in (([], []), ([0, 1], [1, 1]), ([1, 2], [1])):
        with pytest.raises(InputError, match="rates: expected numbers above 0"):
            sn.plots.learning_rates(rates, losses)


@pytest.mark.parametrize(
    "how, words",
    [({"lowest": 0}, "lowest"), ({"highest": 1e-9}, "highest"), ({"steps": 3}, "steps"),
     ({"batch_size": 0}, "batch_size")],
)  # fmt: skip
def test_wrong_arguments_are_named(data, how, words):
    with pytest.raises(InputError, match=words):
        sn.find_learning_rate(network(), *data, **how)


def test_numbers_that_are_not_finite_and_models_that_are_not_compiled_are_refused(data):
    model = network()
    before = model.flat_params.copy()
    with pytest.raises(InputError, match="a loss that is finite at first"):
        sn.find_learning_rate(model, data[0] * np.nan, data[1])
    assert np.array_equal(model.flat_params, before)
    with pytest.raises(RuntimeError, match="compile"):
        sn.find_learning_rate(sn.Sequential([sn.Dense(2)], (5,)), *data)
