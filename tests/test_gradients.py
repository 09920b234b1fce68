"""Every backward pass against numeric derivatives; and that the check itself catches mistakes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import GENERATORS, away_from_zero, built_layers

import scratchnet as sn
from scratchnet.gradcheck import check_layer, check_loss, check_model
from scratchnet.layers import LAYERS

TOLERANCE = {"ReLU": 1e-6, "MaxPool2D": 1e-6}  # the layers with kinks; 1e-7 for the smooth ones
# training is another function
MODES = dict.fromkeys(("Dropout", "BatchNorm", "Residual"), (True, False))
CASES = [(kind, training) for kind in LAYERS for training in MODES.get(kind, (False,))]


def worst(checks):
    return max(checks, key=lambda check: check.error)


@pytest.mark.parametrize("kind, training", CASES)
@given(data=st.data())
def test_gradients_of_layer_are_right(backend, kind, training, data):
    layer, x = data.draw(built_layers(kind))
    checks = check_layer(layer, x, data.draw(GENERATORS), training)
    assert [check.name for check in checks] == ["x", *layer.params]
    assert worst(checks).error <= TOLERANCE.get(kind, 1e-7), worst(checks)


@pytest.mark.parametrize("from_logits", [True, False], ids=["logits", "probabilities"])
@pytest.mark.parametrize("kind", sorted({*sn.losses.LOSSES} - {"mse"}))
@given(
    rng=GENERATORS, n=st.integers(1, 4), k=st.integers(1, 5), smoothing=st.sampled_from([0, 0.3])
)
def test_gradient_of_loss_is_right(kind, from_logits, rng, n, k, smoothing):
    make = sn.losses.LOSSES[kind]
    y_pred = away_from_zero(rng, (n, k))
    loss = make() if kind == "mean_squared_error" else make(from_logits, smoothing)
    if kind != "mean_squared_error" and not from_logits:
        y_pred = rng.uniform(0.1, 1, (n, k))  # the formula holds for rows of any sum
    if kind == "sparse_categorical_crossentropy":
        y_true = rng.integers(0, k, n)
    else:
        y_true = rng.dirichlet(np.ones(k), n)
    check = check_loss(loss, y_pred, y_true)
    assert check.error <= 1e-7, check


def small_cnn(*last, dtype=np.float64):
    layers = [sn.Conv2D(3, 3), sn.ReLU(), sn.MaxPool2D(2), sn.BatchNorm(), sn.Dropout(0.3)]
    return sn.Sequential([*layers, sn.Flatten(), sn.Dense(4), *last], (7, 6, 2), dtype=dtype)


@pytest.mark.parametrize(
    "last, loss",
    [
        ([sn.Softmax], sn.losses.SparseCategoricalCrossentropy()),
        ([sn.Softmax, sn.Flatten], sn.losses.SparseCategoricalCrossentropy()),
        ([], sn.losses.SparseCategoricalCrossentropy(from_logits=True)),
        ([sn.Softmax], sn.losses.SparseCategoricalCrossentropy(label_smoothing=0.1)),
        ([sn.Softmax], sn.losses.CategoricalCrossentropy()),
        ([sn.Softmax], sn.losses.MeanSquaredError()),
    ],
    ids=["folded", "unfolded", "logits", "smoothed", "one-hot", "mse"],
)
def test_gradients_of_a_whole_network_are_right(backend, rng, last, loss):
    model = small_cnn(*(make() for make in last))
    model.compile("sgd", loss)
    x, labels = rng.standard_normal((5, 7, 6, 2)), np.array([0, 3, 1, 1, 2])
    sparse = isinstance(loss, sn.losses.SparseCategoricalCrossentropy)
    checks = check_model(model, x, labels if sparse else np.eye(4)[labels])
    parameters = {"conv2d.W", "conv2d.b", "batchnorm.gamma", "batchnorm.beta", "dense.W", "dense.b"}
    assert {check.name for check in checks} == parameters
    assert worst(checks).error <= 1e-6, worst(checks)


# ---- the check itself ----------------------------------------------------------------------------


class Spoiled(sn.Dense):
    """A Dense layer of 3 units that returns change(gradient) for the one called `wrong`."""

    def __init__(self, wrong, change):
        super().__init__(3)
        self.wrong, self.change = wrong, change

    def backward(self, dy):
        dx = super().backward(dy)
        if self.wrong == "x":
            return self.change(dx)
        self.grads[self.wrong][:] = self.change(self.grads[self.wrong])
        return dx


def put(value, *index):
    """A change of the entry at index alone."""

    def change(gradient):
        gradient = gradient.copy()
        gradient[index] = value
        return gradient

    return change


@pytest.mark.parametrize(
    "wrong, change, index",
    [
        ("b", np.negative, None),
        ("x", lambda dx: dx / 2, None),
        ("W", np.transpose, None),
        ("W", np.zeros_like, None),
        ("x", lambda dx: dx[::-1], None),
        ("W", put(9, 2, 1), (2, 1)),
        ("W", put(np.nan, 1, 2), (1, 2)),
        ("x", put(np.inf, 3, 0), (3, 0)),
    ],
    ids=["sign", "factor", "transposed", "not written", "permuted", "one entry", "NaN", "inf"],
)
def test_a_wrong_gradient_is_found_where_it_is(rng, wrong, change, index):
    layer = Spoiled(wrong, change)
    layer.build((3,), rng, np.float64)
    checks = {check.name: check for check in check_layer(layer, rng.standard_normal((4, 3)), rng)}
    assert checks[wrong].error > 1e-2
    assert index is None or checks.pop(wrong).index == index
    assert all(check.error <= 1e-7 for name, check in checks.items() if name != wrong)


def test_a_wrong_layer_inside_a_model_is_named(rng):
    model = sn.Sequential(
        [sn.Dense(2), Spoiled("b", np.negative), sn.Softmax()], (3,), dtype=np.float64
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    checks = check_model(model, rng.standard_normal((4, 3)), np.array([0, 2, 1, 1]))
    assert [check.name for check in checks if check.error > 1e-7] == ["spoiled.b"]


def test_a_batch_norm_without_its_statistics_gradient_is_found(rng):
    class Constant(sn.BatchNorm):
        def backward(self, dy):
            super().backward(dy)
            return np.zeros_like(dy)  # right for a constant dy

    layer = Constant()
    layer.build((2,), rng, np.float64)
    assert check_layer(layer, rng.standard_normal((6, 2)), rng)[0].error > 0.5


def test_a_gradient_of_the_wrong_shape_is_refused(rng):
    layer = Spoiled("x", lambda dx: dx[:, :2])
    layer.build((3,), rng, np.float64)
    with pytest.raises(sn.InputError, match=r"x: .*\(4, 3\).*\(4, 2\)"):
        check_layer(layer, rng.standard_normal((4, 3)), rng)


@pytest.mark.parametrize("x_dtype, layer_dtype", [("f4", "f4"), ("f8", "f4"), ("f4", "f8")])
def test_float32_is_refused(rng, x_dtype, layer_dtype):
    layer, x = sn.Dense(2), np.ones((2, 3), x_dtype)
    layer.build((3,), rng, layer_dtype)
    with pytest.raises(sn.InputError, match="float64.*float32"):
        check_layer(layer, x, rng)


def test_float32_is_refused_for_a_loss_and_a_model():
    with pytest.raises(sn.InputError, match="float64.*float32"):
        check_loss(sn.losses.MeanSquaredError(), np.ones((2, 2), np.float32), np.zeros((2, 2)))
    model = small_cnn(sn.Softmax(), dtype=np.float32)
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(sn.InputError, match="float64.*float32"):
        check_model(model, np.ones((2, 7, 6, 2)), np.array([0, 1]))


@pytest.mark.parametrize("kind", ["Dropout", "BatchNorm"])
def test_checking_leaves_layer_and_input_as_they_were(rng, kind):
    layer, x = getattr(sn, kind)(0.5), rng.standard_normal((4, 3))
    layer.build((3,), rng, np.float64)

    def state():
        stream = layer.rng.bit_generator.state if kind == "Dropout" else None
        arrays = [x, *layer.params.values(), *layer.buffers.values()]
        return stream, [a.tobytes() for a in arrays]

    before = state()
    check_layer(layer, x, rng, training=True)
    assert state() == before
