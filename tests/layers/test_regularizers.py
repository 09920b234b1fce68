"""Penalties on weights: in the loss that is shown, in the gradients, in the file."""

import numba
import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import GENERATORS

import scratchnet as sn
from scratchnet import regularizers
from scratchnet.engine import steps
from scratchnet.gradcheck import check_model
from scratchnet.regularizers import L1, L1L2, L2, penalize

PRICES = st.floats(0, 2)


@given(rng=GENERATORS, size=st.integers(0, 40), l1=PRICES, l2=PRICES)
def test_penalty_and_gradient_are_their_definition(backend, rng, size, l1, l2):
    W, dW = rng.normal(size=(2, size))
    W[: size // 4] = 0  # the kink of |W|
    before, given_W = dW.copy(), W.copy()
    expected, gradient = oracles.l1_l2(W, l1, l2)
    price = L1L2(l1, l2)
    assert price.add_gradient(W, dW) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    np.testing.assert_allclose(dW, before + gradient, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(W, given_W)
    assert price.penalty(W) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2]])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_layout_and_dtype(layout, dtype, rng):
    W, dW = (layout(rng.normal(size=(7, 5)).astype(dtype)) for _ in range(2))
    found = []
    for function in (penalize.__wrapped__, steps.penalize):
        grads = layout(dW.copy())
        found.append((function(W, grads, 0.1, 0.3), grads))
    (value, grads), (other, others) = found
    assert others.dtype == dtype and np.any(others != dW)
    assert value == pytest.approx(other, rel=1e-12)
    np.testing.assert_allclose(grads, others, rtol=1e-6)


def test_same_bits_for_one_and_two_threads(rng):
    W, found, before = rng.normal(size=(300, 70)).astype(np.float32), [], numba.get_num_threads()
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            dW = np.ones_like(W)
            found.append((steps.penalize(W, dW, 0.1, 0.3), dW.tobytes()))
    finally:
        numba.set_num_threads(before)
    assert found[0] == found[1]


# ---- in a model ----------------------------------------------------------------------------------


def network(price=None, other=None, **how):
    """With regularizers on a convolution, one in a Residual, and a Dense."""
    layers = [
        sn.Conv2D(3, 3, kernel_regularizer=price, activation="relu"),
        sn.Residual([sn.Conv2D(3, 3, padding=1, kernel_regularizer=other), sn.BatchNorm()]),
        sn.Flatten(),
        sn.Dense(4, kernel_regularizer=price),
        sn.Softmax(),
    ]
    model = sn.Sequential(layers, (6, 5, 1), seed=2, **how)
    model.compile(sn.SGD(0.1), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def kernels(model):
    return {name: W for name, W in model.parameters().items() if name.endswith(".W")}


@pytest.fixture
def batch(rng):
    return rng.normal(size=(8, 6, 5, 1)), np.arange(8) % 4


@pytest.mark.parametrize("fuse", [True, False])
def test_loss_and_gradients_are_those_without_and_the_penaltys(backend, fuse, batch):
    plain, model = (network(*of, dtype="float64", fuse=fuse) for of in ((), (0.02, L1(0.03))))
    value, expected = (m.loss_and_gradients(*batch) for m in (model, plain))
    penalty = 0.0
    for layer, of_data in zip(model.layers, plain.layers, strict=True):
        for key, grad in layer.grads.items():
            prices = {"W": (0, 0.02), "main.conv2d.W": (0.03, 0)}
            more, gradient = 0.0, 0.0
            if key in prices:
                more, gradient = oracles.l1_l2(layer.params[key], *prices[key])
            penalty += more
            np.testing.assert_allclose(grad, of_data.grads[key] + gradient, atol=1e-12)
    assert penalty > 0.1
    assert value == pytest.approx(expected + penalty, rel=1e-12)


@pytest.mark.parametrize("fuse", [True, False])
def test_the_gradient_check_of_a_model_includes_it(backend, fuse, batch):
    model = network(L1L2(0.1, 0.2), 0.3, dtype="float64", fuse=fuse)
    report = check_model(model, *batch, entries=10, directions=1)
    assert report.passed, report.worst
    names = {check.name for check in report}
    assert {"conv2d.W", "residual.main.conv2d.W", "dense.W"} < names


def test_the_shown_loss_includes_it_in_training_and_in_evaluation(batch):
    x, y = batch
    plain, model = network(), network(L2(0.5))
    penalty = sum(0.5 * np.square(kernels(model)[k]).sum() for k in ("conv2d.W", "dense.W"))
    values = [m.evaluate(x, y, batch_size=3, verbose=0, return_dict=True) for m in (model, plain)]
    assert values[0]["loss"] == pytest.approx(values[1]["loss"] + penalty, rel=1e-6)
    assert values[0]["accuracy"] == values[1]["accuracy"]
    kept = model.fit(x, y, batch_size=8, verbose=0, validation_data=(x, y)).history
    assert kept["loss"][0] == pytest.approx(plain.loss_and_gradients(x, y) + penalty, rel=1e-5)
    assert kept["val_loss"][0] == pytest.approx(model.evaluate(x, y, verbose=0)[0], rel=1e-6)
    assert kept["val_loss"][0] > penalty / 2


def test_a_step_of_sgd_is_pytorchs_with_twice_the_weight_decay(batch):
    """W <- W - lr (g + 2 l2 W): its weight_decay is 2 l2."""
    plain, model = network(dtype="float64"), network(0.05, 0.05, dtype="float64")
    plain.loss_and_gradients(*batch)
    start = {key: W.copy() for key, W in kernels(plain).items()}
    plain.optimizer.step(plain)
    model.train_on_batch(*batch)
    for key, W in kernels(model).items():
        np.testing.assert_allclose(W, kernels(plain)[key] - 0.1 * 0.1 * start[key], atol=1e-12)


def test_fused_and_unfused_train_alike(batch):
    found = []
    for fuse in (True, False):
        model = network(L1L2(0.01, 0.1), "l2", dtype="float64", fuse=fuse)
        model.fit(*batch, batch_size=4, epochs=3, verbose=0)
        found.append(model.flat_params)
    np.testing.assert_allclose(*found, atol=1e-10)


def test_it_is_saved_loaded_and_copied(batch, tmp_path):
    model = network(L1L2(0.01, 0.1), L1(0.2))
    model.save(tmp_path / "model.safetensors")
    again = sn.load_model(tmp_path / "model.safetensors")
    assert repr(again.layers[0].kernel_regularizer) == "L1L2(l1=0.01, l2=0.1)"
    assert repr(again.layers[2].main[0].kernel_regularizer) == "L1(l1=0.2)"
    assert again.loss_and_gradients(*batch) == model.loss_and_gradients(*batch)
    assert "kernel_regularizer" not in sn.Dense(3).config()  # files are as they were


# ---- how it is written ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given, expected",
    [
        (0.1, "L2(l2=0.1)"), (np.float32(0.5), "L2(l2=0.5)"), (0, "L2(l2=0.0)"),
        ("l1", "L1(l1=0.01)"), ("l2", "L2(l2=0.01)"), ("l1_l2", "L1L2(l1=0.01, l2=0.01)"),
        (L1(0.3), "L1(l1=0.3)"), ({"l2": 0.2, "l1": 0.1}, "L1L2(l1=0.1, l2=0.2)"), (None, "None"),
    ],
)  # fmt: skip
def test_the_ways_to_write_one(given, expected):
    assert repr(sn.Conv2D(2, 3, kernel_regularizer=given).kernel_regularizer) == expected


class Own(L2):
    """A subclass may compute something else, and a file could not name it."""


@pytest.mark.parametrize(
    "bad", ["l3", -0.1, np.nan, np.inf, True, [0.1], L2, Own(0.1), {}, {"l3": 1}, {"l1": "much"}]
)
@pytest.mark.parametrize("make", [sn.Dense, lambda units, **how: sn.Conv2D(units, 3, **how)])
def test_anything_else_is_named(make, bad):
    with pytest.raises(sn.InputError, match="expected a number"):
        make(2, kernel_regularizer=bad)


def test_negative_prices_are_refused():
    for make in (lambda: L1(-1), lambda: L2(-1), lambda: L1L2(0.1, -1)):
        with pytest.raises(sn.InputError, match="at least 0"):
            make()
    assert regularizers.get(None) is None
