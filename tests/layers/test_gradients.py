"""Every backward pass against numeric derivatives; and that the check itself catches mistakes."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import GENERATORS, away_from_zero, built_layers

import scratchnet as sn
from scratchnet import cli
from scratchnet.gradcheck import (
    check_layer,
    check_layers,
    check_loss,
    check_model,
    compare,
    numeric_gradient,
)
from scratchnet.layers import LAYERS

TOLERANCE = {"ReLU": 1e-6, "MaxPool2D": 1e-6}  # the layers with kinks; 1e-7 for the smooth ones
# training is another function
MODES = dict.fromkeys(("Dropout", "BatchNorm", "GaussianNoise", "Residual"), (True, False))
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
@pytest.mark.parametrize("kind", [kind for kind in sn.losses.LOSSES if "crossentropy" in kind])
@given(
    rng=GENERATORS, n=st.integers(1, 4), k=st.integers(1, 5), smoothing=st.sampled_from([0, 0.3])
)
def test_gradient_of_loss_is_right(kind, from_logits, rng, n, k, smoothing):
    make = sn.losses.LOSSES[kind]
    y_pred = away_from_zero(rng, (n, k))
    loss = make(from_logits, smoothing)
    if not from_logits:
        y_pred = rng.uniform(0.1, 0.9, (n, k))  # the formula holds for rows of any sum
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
    assert {check.name for check in checks} == parameters | {"x"}
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


# ---- kinks and ties ------------------------------------------------------------------------------


def relu_at(x, **how):
    layer = sn.ReLU()
    layer.build(x.shape[1:], np.random.default_rng(0), np.float64)
    (check,) = check_layer(layer, x, np.random.default_rng(1), **how)
    return check


def test_kinks_are_counted_apart_and_not_as_mistakes():
    x = np.array([[0.0, 1.0, -1.0, 3e-6, -3e-6, 0.0]])  # at the kink, away from it, within a step
    check = relu_at(x)
    assert (check.checked, check.kinks, check.wrong, check.passed) == (6, 4, 0, True)
    assert check.error < 1e-7 and check.index in ((0, 1), (0, 2))
    assert "4" in str(sn.gradcheck.Report([check])).splitlines()[1].split()


def test_an_array_of_nothing_but_kinks_passes_with_no_error():
    check = relu_at(np.zeros((2, 3)))
    assert (check.kinks, check.passed, check.error) == (6, True, 0)


def test_ties_of_a_maximum_are_kinks(rng):
    layer = sn.MaxPool2D(2)
    layer.build((4, 4, 2), rng, np.float64)
    (check,) = check_layer(layer, np.zeros((1, 4, 4, 2)), rng)
    assert (check.checked, check.kinks, check.wrong) == (32, 32, 0)


@pytest.mark.parametrize("factor", [-1, 2, 1.01])
def test_a_kink_is_no_excuse_for_a_value_that_no_side_has(rng, factor):
    class Wrong(sn.ReLU):
        def backward(self, dy):
            return np.where(self.cache == 0, factor * dy, dy)  # as if all inputs were 0

    layer = Wrong()
    layer.build((3,), rng, np.float64)
    (check,) = check_layer(layer, np.zeros((2, 3)), rng)
    assert (check.kinks, check.wrong) == (0, 6)


# ---- samples, directions, reports ----------------------------------------------------------------


def dense(rng, units=30, inputs=40):
    layer = sn.Dense(units)
    layer.build((inputs,), rng, np.float64)
    return layer, rng.standard_normal((3, inputs))


def test_samples_and_directions_say_how_much_they_looked_at(rng):
    report = check_layer(*dense(rng), rng, entries=7, directions=3)
    assert [(c.name, c.along, c.checked) for c in report] == [
        (name, along, 3 if along else 7) for name in ("x", "W", "b") for along in (False, True)
    ]
    assert report.passed and report.worst.error <= 1e-7
    assert "7 of 1,200" in str(report) and "3 directions" in str(report)


@pytest.mark.parametrize("wrong", ["x", "W", "b"])
@pytest.mark.parametrize("change", [np.negative, lambda g: np.roll(g, 1), lambda g: g * 1.001])
def test_a_direction_finds_a_mistake_anywhere(rng, wrong, change):
    layer = Spoiled(wrong, change)
    layer.build((5,), rng, np.float64)
    report = check_layer(layer, rng.standard_normal((4, 5)), rng, entries=0, directions=2)
    assert [check.name for check in report if not check.passed] == [wrong]


def test_one_wrong_entry_in_a_large_array_is_found_along_a_direction(rng):
    layer, x = dense(rng)
    plain = layer.backward

    def backward(dy):
        dx = plain(dy)
        layer.grads["W"][17, 5] += 1
        return dx

    layer.backward = backward
    report = check_layer(layer, x, rng, entries=0, directions=2)
    assert [check.name for check in report if not check.passed] == ["W"]


def test_a_direction_through_a_kink_is_counted_apart():
    check = relu_at(np.array([[0.0, 1.0, 2.0]]), entries=0, directions=4)
    assert (check.checked, check.kinks, check.wrong) == (4, 4, 0)


@pytest.mark.parametrize(
    "how", [{"entries": -1}, {"entries": 2.5}, {"directions": -1}, {"entries": 0}]
)
def test_a_check_of_nothing_is_refused(rng, how):
    with pytest.raises(sn.InputError, match="entries|directions"):
        check_layer(*dense(rng), rng, **how)


def test_the_table_names_the_worst_entry_with_both_values(rng):
    layer = Spoiled("W", put(9, 2, 1))
    layer.build((3,), rng, np.float64)
    report = check_layer(layer, rng.standard_normal((4, 3)), rng).named("third")
    assert not report.passed and report.worst.name == "third.W"
    head, x, W, b = str(report).splitlines()
    assert all(word in head for word in ("analytic", "numeric", "error", "kinks", "worst at"))
    assert x.endswith("ok") and b.endswith("ok") and W.endswith("WRONG: 1")
    assert "third.W" in W and "[2, 1]" in W and "+9.000000e+00" in W
    assert f"{report.worst.numeric:+.6e}" in W


def test_rows_are_json_also_where_a_gradient_is_not_a_number(rng):
    layer = Spoiled("W", put(np.nan, 1, 2))
    layer.build((3,), rng, np.float64)
    rows = check_layer(layer, rng.standard_normal((4, 3)), rng).rows()
    W = json.loads(json.dumps(rows, allow_nan=False))[1]
    assert (W["name"], W["index"], W["analytic"], W["passed"]) == ("W", [1, 2], None, False)


def test_a_report_of_nothing_has_no_worst():
    with pytest.raises(sn.InputError, match="at least one"):
        _ = sn.gradcheck.Report().worst


def test_each_layer_of_a_model_is_checked_by_itself(rng):
    layers = [sn.Conv2D(3, 3), sn.BatchNorm(), sn.ReLU(), sn.Dropout(0.3), sn.Flatten()]
    model = sn.Sequential([*layers, Spoiled("b", np.negative)], (6, 5, 2), dtype=np.float64)
    report = check_layers(model, rng, entries=5, directions=1)
    assert {check.name for check in report if not check.passed} == {"spoiled.b"}
    names = {"conv2d.W", "conv2d.x", "batchnorm.gamma", "batchnorm.x", "relu.x", "dropout.x"}
    assert names < {check.name for check in report}


def test_random_streams_of_layers_within_a_layer_are_held_still(rng):
    class Both(sn.Layer):
        """Two Dropouts in a list: nothing but the protocol to be seen from outside."""

        def __init__(self):
            super().__init__()
            self.inner = [sn.Dropout(0.5), sn.Dropout(0.3)]

        def initialize(self, rng):
            for layer in self.inner:
                layer.build(self.input_shape, rng, np.float64)

        def forward(self, x, training=False):
            self.cache = ()
            return self.inner[1](self.inner[0](x, training), training)

        def backward(self, dy):
            return self.inner[0].backward(self.inner[1].backward(dy))

    layer = Both()
    layer.build((7,), rng, np.float64)
    assert check_layer(layer, rng.standard_normal((4, 7)), rng).passed


def test_a_read_only_input_is_checked_too(rng):
    layer, x = dense(rng, 2, 3)
    x.setflags(write=False)
    assert check_layer(layer, x, rng).passed
    assert check_loss(sn.losses.MeanSquaredError(), x, np.zeros(x.shape)).passed


def test_numeric_gradient_and_compare_by_hand():
    a = np.array([[1.0, -2.0], [3.0, 0.5]])
    kept = a.copy()
    numeric = numeric_gradient(lambda: float((a**3).sum()), a)
    np.testing.assert_array_equal(a, kept)
    assert compare("a", 3 * a**2, numeric).passed
    check = compare("a", 3 * a**2 * [[1, 1], [1, 2]], numeric)
    assert (check.index, check.wrong, check.checked) == ((1, 1), 1, 4)
    assert compare("none", np.zeros((0, 2)), np.zeros((0, 2))).passed


# ---- the command ---------------------------------------------------------------------------------


def command(monkeypatch, *arguments):
    """The exit code of `scratchnet gradcheck ...`."""
    monkeypatch.setattr(sys, "argv", ["scratchnet", "gradcheck", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code or 0


def test_the_command_prints_a_table_of_every_gradient(monkeypatch, capsys):
    assert command(monkeypatch) == 0
    out = capsys.readouterr().out
    assert [name for name in ("x", "W", "b") if f"conv2d_1.{name}" not in out] == []
    assert all(word in out for word in ("whole.dense_1.b", "softmax.x", "loss.y_pred", "of cnn"))
    assert "WRONG" not in out and "20 of 18,432" in out


def test_the_command_names_a_wrong_gradient_and_fails(monkeypatch, capsys):
    right = sn.Dense.backward

    def backward(layer, dy):
        dx = right(layer, dy)
        layer.grads["b"][:] *= 0.5
        return dx

    monkeypatch.setattr(sn.Dense, "backward", backward)
    assert command(monkeypatch, "--model", "mlp", "--json", "--entries", "3") == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out.splitlines()[-1])
    wrong = {check["name"] for check in found["checks"] if not check["passed"]}
    # a fused kernel does not call the layer's backward: on it the whole network is right
    wrong -= {"whole.dense.b", "whole.dense_1.b"}
    assert (found["model"], found["passed"], wrong) == ("mlp", False, {"dense.b", "dense_1.b"})
    assert "dense.b, dense_1.b" in captured.err and "Traceback" not in captured.err


@pytest.mark.parametrize("line", [["--model", "nope"], ["--entries", "0"], ["--seed", "-1"]])
def test_wrong_usage_of_the_command_is_one_line(monkeypatch, capsys, line):
    assert command(monkeypatch, *line) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sn.architectures.ARCHITECTURES)
def test_every_architecture_passes_the_command(monkeypatch, capsys, name):
    assert command(monkeypatch, "--model", name, "--seed", "1") == 0, capsys.readouterr().out


# ---- what is seen only once ----------------------------------------------------------------------


class Adds(sn.Dense):
    """The classic: += where = belongs."""

    def backward(self, dy):
        old = {key: grad.copy() for key, grad in self.grads.items()}
        dx = super().backward(dy)
        for key, grad in old.items():
            self.grads[key] += grad
        return dx


class Remembers(sn.Dense):
    """Right the first time only."""

    times = 0

    def backward(self, dy):
        self.times += 1
        return super().backward(dy) * self.times


class Writes(sn.Dense):
    """dx in dy's memory: right, but the layer after it may still need its dy."""

    def backward(self, dy):
        dx = super().backward(dy)
        dy *= 0
        return dx


@pytest.mark.parametrize("wrong, word", [(Adds, "W"), (Remembers, "a second"), (Writes, "dy, wr")])
def test_a_layer_that_is_right_only_once_is_found(wrong, word, rng):
    layer = wrong(3)
    layer.build((6,), rng, np.float64)
    report = check_layer(layer, rng.normal(size=(4, 6)), rng)
    assert not report.passed
    assert any(word in check.name for check in report if not check.passed)


def test_gradients_that_are_added_to_are_found_in_a_model(rng):
    layers = [sn.Dense(4), sn.ReLU(), Adds(3), sn.Softmax()]
    model = sn.Sequential(layers, (6,), dtype="float64")
    assert not check_layers(model, rng).passed
    model.compile("sgd", "sparse_categorical_crossentropy")
    report = check_model(model, rng.normal(size=(4, 6)), np.arange(4) % 3)
    assert [check.name for check in report if not check.passed] == ["adds.W", "adds.b"]


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1, 1e3, 1e6])
def test_a_right_layer_is_right_for_inputs_of_any_size(size, rng):
    layer = sn.Dense(3)
    layer.build((6,), rng, np.float64)
    layer.params["b"][:] = rng.normal(size=3)
    assert check_layer(layer, size * rng.normal(size=(4, 6)), rng, directions=2).passed


@pytest.mark.parametrize("factor, right", [(1, True), (1.001, False)])
def test_kinks_that_meet_in_a_deeper_layer_are_no_mistakes(factor, right, rng):
    class Scaled(sn.Dense):
        def backward(self, dy):
            return super().backward(dy) * factor

    layers = [Scaled(8), sn.Dense(8), sn.ReLU(), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential([sn.Dense(5), *layers], (6,), dtype="float64")
    model.compile("sgd", "sparse_categorical_crossentropy")
    assert check_model(model, np.zeros((1, 6)), np.array([0]), rng=rng).passed == right


def test_over_a_black_background_the_fresh_network_is_right():
    (x, y), _ = sn.datasets.mnist.load_data()
    layers = [sn.Conv2D(4, 3), sn.ReLU(), sn.MaxPool2D(2), sn.Flatten(), sn.Dense(10), sn.Softmax()]
    model = sn.Sequential(layers, (28, 28, 1), dtype="float64", fuse=False)
    model.compile("sgd", "sparse_categorical_crossentropy")
    report = check_model(model, x[:1] / 255, y[:1], entries=30, rng=np.random.default_rng(0))
    assert report.passed and report[0].kinks > 10
