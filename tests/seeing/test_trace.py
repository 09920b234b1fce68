"""The microscope: its numbers are the model's, its sums the gradients, and it changes nothing."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from own_layers import bent, registered
from strategies import GENERATORS

import scratchnet as sn
from scratchnet.microscope.trace import Trace


def all_kinds(rng, dtype=np.float64, softmax=True, dropout=0.0):
    """A model with every kind of layer, odd windows and paddings, and random parameters."""
    layers = [
        sn.Conv2D(3, (3, 2), strides=(2, 1), padding=((1, 0), (2, 1))),
        sn.BatchNorm(),
        sn.ReLU(),
        sn.MaxPool2D((2, 3), strides=1, padding="same"),
        sn.Conv2D(4, 2, padding="same", use_bias=False),
        sn.AveragePool2D(2),
        sn.Dropout(dropout),
        sn.Conv2D(5, 1),
        sn.ReLU(),
        sn.MaxPool2D(2, padding=1, strides=1),
        sn.Flatten(),
        sn.Dense(6),
        sn.BatchNorm(),
        sn.ReLU(),
        sn.Dense(4, use_bias=False),
    ]
    end = [sn.Softmax()] if softmax else []
    fuse = dtype == np.float32
    model = sn.Sequential(layers + end, (9, 8, 2), dtype=dtype, fuse=fuse)
    for layer in model.layers:
        for key, array in (layer.params | layer.buffers).items():
            array[:] = rng.uniform(0.3, 1, array.shape)
            array *= 1 if key == "running_var" else rng.choice([-1, 1], array.shape)
    return model


def image(rng, model):
    return rng.uniform(0, 1, model.input_shape)


def gradients_of(model):
    return {f"{at.name}.{key}": g for at in model.layers for key, g in at.grads.items()}


@pytest.mark.parametrize("name", sn.losses.LOSSES)
def test_every_loss_says_in_a_line_what_it_is(name):
    formula, gradient = sn.losses.get(name).in_a_line()
    assert formula.startswith("L = ") and gradient.startswith("d") and " = " in gradient


def test_the_loss_of_a_trace_in_a_line(rng):
    model = all_kinds(rng)
    assert sn.trace(model, image(rng, model), 1).loss_in_a_line == (
        "L = −log p[label]",
        "dlogits = p − one-hot",
    )
    model.compile("sgd", sn.losses.SparseCategoricalCrossentropy(label_smoothing=0.1))
    assert sn.trace(model, image(rng, model), 1).loss_in_a_line[1] == "dlogits = p − t"

    class Own(sn.losses.Loss):
        def forward(self, y_pred, y_true):
            self.cache = y_pred
            return float(y_pred.sum())

        def backward(self):
            return np.ones_like(self.kept())

    model.compile("sgd", Own())
    assert sn.trace(model, image(rng, model), 1).loss_in_a_line == ("", "")


@given(GENERATORS, st.booleans(), st.booleans())
def test_it_has_the_numbers_of_forward_and_backward(rng, softmax, training):
    model = all_kinds(rng, softmax=softmax)
    loss = sn.losses.SparseCategoricalCrossentropy(from_logits=not softmax)
    model.compile("sgd", loss)
    x = image(rng, model)
    trace = sn.trace(model, x, 2, training)
    value = model.loss_and_gradients(x[None], np.array([2]), training)
    assert trace.loss == pytest.approx(value, rel=1e-9)
    for name, gradient in gradients_of(model).items():
        np.testing.assert_allclose(trace.gradients[name], gradient, rtol=1e-9, atol=1e-12)


def test_inputs_outputs_and_gradients_are_handed_from_layer_to_layer(rng):
    model = all_kinds(rng)
    x = image(rng, model)
    trace = sn.trace(model, x, 1)
    np.testing.assert_array_equal(trace[0].input, x)
    for before, after in zip(trace.layers, trace.layers[1:], strict=False):
        np.testing.assert_array_equal(before.output, after.input)
        np.testing.assert_array_equal(before.dy, after.dx)
    np.testing.assert_allclose(trace.layers[-1].output, model.forward(x[None])[0], rtol=1e-12)
    loss = sn.losses.SparseCategoricalCrossentropy()
    loss.forward(model.forward(x[None]), np.array([1]))
    np.testing.assert_allclose(trace[0].dx, model.backward(loss.backward())[0], rtol=1e-9)


def test_a_last_softmax_is_folded_into_the_loss(rng):
    model = all_kinds(rng)
    trace = sn.trace(model, image(rng, model), 3)
    last, scores = trace["softmax"], trace["dense_1"]
    np.testing.assert_array_equal(last.output, trace.probabilities)
    np.testing.assert_allclose(scores.dy, trace.probabilities - [0, 0, 0, 1], atol=1e-15)
    np.testing.assert_array_equal(last.dx, scores.dy)
    assert last.dy is None
    rows = trace.loss_rows()
    assert [row["one_hot"] for row in rows] == [0, 0, 0, 1]
    for row in rows:
        assert row["gradient"] == pytest.approx(row["probability"] - row["one_hot"], abs=1e-15)
        assert row["logit"] == scores.output[row["class"]]
    assert trace.loss == pytest.approx(-np.log(trace.probabilities[3]))


@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy"])
def test_the_models_own_loss_is_traced(rng, loss):
    model = all_kinds(rng)
    model.compile("sgd", loss)
    x = image(rng, model)
    trace = sn.trace(model, x, 0)
    value = model.loss_and_gradients(x[None], np.eye(4)[:1], training=False)
    assert trace.loss == pytest.approx(value)
    np.testing.assert_allclose(trace.gradients["dense.W"], model.layers[11].grads["W"], rtol=1e-9)
    explained = trace.explain("dense.W", (1, 2))
    assert explained.gradient == pytest.approx(explained.numeric, rel=1e-5, abs=1e-9)


@given(GENERATORS, st.booleans())
def test_every_gradient_is_its_sum_and_its_numeric_derivative(rng, training):
    model = all_kinds(rng, dropout=0.3)
    trace = sn.trace(model, image(rng, model), int(rng.integers(4)), training)
    for name, gradient in trace.gradients.items():
        index = tuple(int(rng.integers(size)) for size in gradient.shape)
        explained = trace.explain(name, index)
        assert explained.value == trace.parameters[name][index]
        assert explained.gradient == gradient[index]
        largest = max(np.abs(gradient).max(), 1e-3)
        assert explained.sum.total == pytest.approx(explained.gradient, abs=1e-12 * largest)
        if not explained.kink:
            assert explained.numeric == pytest.approx(explained.gradient, abs=2e-6 * largest)


def test_a_kink_is_named_and_a_mistake_is_not():
    picture = np.zeros((28, 28))
    picture[8:20, 14] = 1
    model = sn.architectures.build("cnn-small")  # its biases are 0, and so is the background
    found = [sn.trace(model, picture, 1).explain("conv2d.b", k) for k in range(32)]
    kinks = [explained for explained in found if explained.kink]
    assert kinks and "a kink: the slope" in str(kinks[0])
    for explained in found:
        low, high = sorted((explained.left, explained.right))
        assert low - 1e-6 <= explained.gradient <= high + 1e-6

    trace = sn.trace(model, picture, 1)
    trace.gradients["dense.W"][:] += 0.1
    assert not trace.explain("dense.W", (0, 0)).kink


def test_a_sure_answer_has_a_numeric_derivative_too(rng):
    """Its loss is about 1e-10: in 1 + 1e-10 most digits of a difference would be lost."""
    _, (x, y) = sn.datasets.mnist.load_data()
    model = sn.architectures.pretrained()
    sn.calibration.set_temperature(model, 0.6)
    trace = sn.trace(model, x[y == 8][0], 8)
    assert 0 < trace.loss < 1e-8
    for name, gradient in trace.gradients.items():
        for _ in range(5):
            explained = trace.explain(name, [int(rng.integers(size)) for size in gradient.shape])
            error = abs(explained.numeric - explained.gradient)
            assert not explained.kink and error <= 2e-6 * np.abs(gradient).max()


def test_terms_name_where_each_number_stands(rng):
    model = all_kinds(rng)
    trace = sn.trace(model, image(rng, model), 0)
    at = trace["conv2d"]
    terms = trace.explain("conv2d.W", (1, 0, 1, 2)).sum.terms
    assert len(terms) == np.prod(at.output.shape[:2])
    for term in terms:
        i, j = term.position
        row, column = 2 * i, j - 2  # strides (2, 1), one row above and two columns to the left
        assert term.factor == at.dy[i, j, 2]
        if 0 <= row < 9 and 0 <= column < 8:
            assert term.source == (row, column, 1) and term.x == at.input[term.source]
        else:
            assert term.source is None and term.x == 0
    sizes = [abs(term.product) for term in terms]
    assert sizes == sorted(sizes, reverse=True)


def test_a_shortened_sum_keeps_its_total(rng):
    model = all_kinds(rng)
    found = sn.trace(model, image(rng, model), 0).explain("conv2d.b", 1).sum
    shown = found.to_dict(3)
    assert len(shown["terms"]) == 3 and shown["more"] == len(found.terms) - 3
    products = sum(term["product"] for term in shown["terms"])
    assert products + shown["rest"] == pytest.approx(shown["total"])
    text = found.text(3)
    assert f"{shown['more']:,} more" in text and f"{found.total:+.10g}" in text
    np.testing.assert_allclose(np.nansum(found.grid("product")), found.total)


@given(GENERATORS, st.booleans())
def test_every_output_is_its_sum(rng, training):
    model = all_kinds(rng, dropout=0.5)
    trace = sn.trace(model, image(rng, model), 0, training)
    for layer in trace.layers:
        index = tuple(int(rng.integers(size)) for size in layer.output.shape)
        explained = trace.explain_output(layer.name, index)
        assert explained.value == layer.output[index]
        assert explained.sum.total == pytest.approx(explained.value, rel=1e-9, abs=1e-12)
        for term in explained.sum.terms:
            if term.source is not None:
                assert term.x == layer.input[term.source]


def test_the_patch_and_the_filter_of_an_output(rng):
    model = all_kinds(rng)
    trace = sn.trace(model, image(rng, model), 0)
    found = trace.explain_output("conv2d", (2, 4, 1)).sum
    np.testing.assert_array_equal(found.grid("x"), trace.x[3:6, 2:4])
    np.testing.assert_array_equal(found.grid("factor"), trace["conv2d"].params["W"][..., 1])
    assert found.constant == trace["conv2d"].params["b"][1]


@given(GENERATORS)
def test_pooling_says_where_each_value_came_from(rng):
    model = all_kinds(rng)
    trace = sn.trace(model, image(rng, model), 0)
    for name in ("maxpool2d", "maxpool2d_1"):
        at = trace[name]
        rows, columns = at.sources[..., 0], at.sources[..., 1]
        channels = np.arange(at.output.shape[2])
        np.testing.assert_array_equal(at.input[rows, columns, channels], at.output)
        gathered = np.zeros_like(at.input)
        np.add.at(gathered, (rows, columns, np.broadcast_to(channels, rows.shape)), at.dy)
        np.testing.assert_allclose(gathered, at.dx, atol=1e-15)


def test_sizes_and_dead_units(rng):
    model = all_kinds(rng)
    trace = sn.trace(model, image(rng, model), 0)
    at = trace["relu"]
    assert at.dead == np.mean(at.output == 0) and trace["dense"].dead is None
    assert at.rms["dy"] == pytest.approx(np.linalg.norm(at.dy) / np.sqrt(at.dy.size))
    dense = trace["dense"]
    together = np.concatenate([dense.grads["W"].ravel(), dense.grads["b"]])
    assert dense.rms["grads"] == pytest.approx(np.sqrt(np.mean(together**2)))
    assert trace["flatten"].rms["params"] is None
    assert [row["layer"] for row in trace.rows()] == [at.name for at in trace.layers]


@pytest.mark.parametrize("training", [False, True])
def test_the_model_stays_as_it_is(rng, training):
    model, twin = (all_kinds(np.random.default_rng(1), np.float32, dropout=0.5) for _ in "12")
    model.compile("adam", "sparse_categorical_crossentropy")
    x = rng.uniform(0, 1, (3, 9, 8, 2)).astype(np.float32)
    dy = rng.standard_normal((3, 4)).astype(np.float32)
    model.forward(x, training=True), twin.forward(x, training=True)
    trace = sn.trace(model, x[0], 1, training)
    trace.explain("conv2d.W", (0, 0, 0, 0))
    trace.explain_output("conv2d", (0, 0, 0))
    trace.step("adam")
    np.testing.assert_array_equal(model.backward(dy), twin.backward(dy))
    np.testing.assert_array_equal(model.flat_grads, twin.flat_grads)
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(array, twin.arrays()[name])
    np.testing.assert_array_equal(model.forward(x, training=True), twin.forward(x, training=True))


def test_a_trace_outlives_a_change_of_the_model(rng):
    model = all_kinds(rng)
    trace = sn.trace(model, image(rng, model), 1)
    before = trace.explain("dense.W", (0, 0))
    model.flat_params[:] = 0
    assert trace.explain("dense.W", (0, 0)) == before


def test_one_step_of_gradient_descent(rng):
    model = all_kinds(rng)
    trace = sn.trace(model, image(rng, model), 1)
    step = trace.step(sn.SGD(0.01))
    for name, change in step.changes.items():
        np.testing.assert_allclose(change, -0.01 * trace.gradients[name], atol=1e-12)
    assert step.before is trace and step.after.loss < trace.loss
    assert step.after.probabilities[1] > trace.probabilities[1]
    assert f"{trace.loss:.6g}" in str(step) and "learning rate 0.01" in str(step)
    assert step.after.step(sn.SGD(0.01)).after.loss < step.after.loss


def test_an_optimizer_steps_on_with_its_memory_and_keeps_it(rng):
    model = all_kinds(rng, np.float32)
    optimizer = sn.SGD(0.01, momentum=0.9, use_ema=True)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    x = image(rng, model)
    model.train_on_batch(x[None], np.array([0]))
    velocity, trace = optimizer.memory["velocity"].copy(), sn.trace(model, x, 1)
    changes = trace.step(optimizer).changes
    flat = np.concatenate([change.ravel() for change in changes.values()])
    gradient = np.concatenate([g.ravel() for g in trace.gradients.values()])
    np.testing.assert_allclose(flat, 0.9 * velocity - 0.01 * gradient, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(optimizer.memory["velocity"], velocity)
    assert optimizer.iterations == 1 and "average" in optimizer.memory


def test_a_layer_of_ones_own_is_traced_and_its_gradient_checked(rng):
    class Scale(sn.Layer):
        def parameter_shapes(self, input_shape):
            return {"scale": input_shape}

        def initialize(self, rng):
            self.params["scale"][:] = 2

        def forward(self, x, training=False):
            self.check_input(x)
            self.cache = x
            return x * self.params["scale"]

        def backward(self, dy):
            x = self.kept(dy)
            self.grads["scale"][:] = (dy * x).sum(axis=0)
            return dy * self.params["scale"]

    model = sn.Sequential([sn.Flatten(), Scale(), sn.Dense(3)], (2, 2, 1))
    trace = sn.trace(model, rng.uniform(0, 1, (2, 2)), 2)
    explained = trace.explain("scale.scale", 3)
    assert explained.sum is None
    assert explained.numeric == pytest.approx(explained.gradient, rel=1e-6)
    before = {name: gradient.copy() for name, gradient in trace.gradients.items()}
    found = trace.explain_output("scale", 2)
    assert "Scale's own arithmetic is not written out" in str(found)
    assert found.value == trace["scale"].output[2]
    (term,) = found.sum.terms  # the others have no slope
    assert (term.source, term.x, term.factor) == ((2,), trace.x[1, 0, 0], 2)
    assert found.sum.total == pytest.approx(found.value) and found.sum.constant == 0
    for name, gradient in trace.gradients.items():
        np.testing.assert_array_equal(gradient, before[name])


def test_a_random_layer_of_ones_own_is_explained_by_its_value_alone():
    class Noise(sn.Dropout):
        def forward(self, x, training=False):
            self.keep(x, (None,))
            return x + self.rng.standard_normal(x.shape)

    model = sn.Sequential([sn.Flatten(), Noise(0.5), sn.Dense(3)], (2, 2, 1))
    trace = sn.trace(model, np.ones((2, 2)), 0)
    trace["noise"].layer.rng.standard_normal()  # as if another layer had drawn from its stream
    found = trace.explain_output("noise", 1)
    assert found.sum.terms == [] and found.sum.total == found.value == trace["noise"].output[1]


FORMULAS = {
    "1 / (1 + exp(-{x}))": (lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-abs(x)) / 4, False),
    "{x} if {x} > 0 else {x} / 4": (
        lambda x: np.where(x > 0, x, x / 4), lambda x: np.where(x > 0, 1, 0.25), False,
    ),
    "max({x}, 0) ** 2": (lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0), True),
}  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_layer_with_a_formula_is_explained_by_it(formula):
    f, slope, cuts = FORMULAS[formula]
    values = np.array([-2, -0.5, 0, 1e-310, 3]).reshape(5, 1)
    with registered(bent(f, slope), formula=formula) as kind:
        model = sn.Sequential([kind(), sn.Flatten(), sn.Dense(3)], (5, 1), dtype=np.float64)
        trace = sn.trace(model, values, 0)
        for i in range(5):
            found = trace.explain_output("bent", (i, 0))
            assert found.sum.formula == f"y[{i}, 0] = {formula}".replace("{x}", f"x[{i}, 0]")
            assert found.value == f(values)[i, 0]
            assert found.sum.total == pytest.approx(found.value, rel=1e-14)
            (term,) = found.sum.terms
            assert (term.source, term.x) == ((i, 0), values[i, 0])
        assert trace["bent"].dead == (np.mean(f(values) == 0) if cuts else None)


def test_past_a_residual_without_a_shortcut_goes_its_input(rng):
    block = sn.Residual([sn.Conv2D(2, 3, padding="same")])
    model = sn.Sequential([block, sn.Flatten(), sn.Dense(3)], (4, 5, 2), dtype=np.float64)
    trace = sn.trace(model, image(rng, model), 0)
    explained = trace.explain_output("residual", (3, 0, 1))
    assert explained.sum.total == pytest.approx(explained.value)
    (source,) = [term for term in explained.sum.terms if term.source]
    assert source.source == (3, 0, 1) and source.x == trace.x[3, 0, 1]


@pytest.mark.parametrize("training", [False, True])
def test_layers_inside_a_layer_are_traced_and_explained_too(rng, training):
    main = [sn.Conv2D(3, 3, padding="same"), sn.BatchNorm(), sn.ReLU(), sn.Dropout(0.2)]
    block = sn.Residual(main, [sn.Conv2D(3, 1)])
    model = sn.Sequential([block, sn.Flatten(), sn.Dense(3)], (4, 5, 2), dtype=np.float64)
    trace = sn.trace(model, image(rng, model), 0, training)
    outer = trace["residual"]
    assert [t.name for t in outer.inside][:2] == ["residual.main.conv2d", "residual.main.batchnorm"]
    last, shortcut = trace["residual.main.dropout"], trace["residual.shortcut.conv2d"]
    np.testing.assert_array_equal(outer.output, last.output + shortcut.output)
    np.testing.assert_allclose(outer.dx, outer.inside[0].dx + shortcut.dx)
    assert [row["layer"] for row in trace.rows()][1] == "residual.main.conv2d"
    assert trace.explain_output("residual.shortcut.conv2d", (0, 0, 1)).sum.total == pytest.approx(
        shortcut.output[0, 0, 1]
    )
    summed = trace.explain_output("residual", (1, 2, 0)).sum
    assert summed.total == pytest.approx(outer.output[1, 2, 0])
    assert {term.x for term in summed.terms} == {last.output[1, 2, 0], shortcut.output[1, 2, 0]}
    for name, gradient in trace.gradients.items():
        index = tuple(int(rng.integers(size)) for size in gradient.shape)
        explained = trace.explain(name, index)
        assert explained.sum.total == pytest.approx(gradient[index], abs=1e-12)
        assert explained.kink or explained.numeric == pytest.approx(gradient[index], abs=1e-6)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (1, 28, 28, 1), (1, 28, 28)])
def test_one_image_in_every_form_that_predict_takes(shape):
    model = sn.architectures.build("cnn-small")
    picture = np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)
    trace = sn.trace(model, picture.reshape(shape), np.int64(3))
    assert trace.x.shape == (28, 28, 1) and trace.x.max() <= 1
    np.testing.assert_allclose(trace.probabilities, model.predict(picture)[0], rtol=1e-4, atol=1e-6)


def test_what_is_shown(rng):
    model = all_kinds(rng)
    trace = sn.trace(model, image(rng, model), 2)
    table, page = trace.table(), trace._repr_html_()
    for text in ("label 2", "conv2d_1", "MaxPool2D", "one_hot", f"{trace.loss:.6g}"):
        assert text in table
    classes = len(trace.probabilities)
    assert page.count("<tr>") == len(trace.layers) + 1 + classes + 1 and "conv2d_1" in page
    assert "numeric derivative" in str(trace.explain("batchnorm.gamma", 1))
    assert "Trace(16 layers" in repr(trace)
    plain = trace.to_dict()
    assert plain["layers"][0]["output"].shape == trace[0].output.shape
    json.dumps([trace.rows(), trace.loss_rows(), trace.explain("dense.b", 0).to_dict()])
    json.dumps(trace.explain_output("conv2d", (0, 0, 0)).to_dict())


def built():
    return sn.Sequential([sn.Flatten(), sn.Dense(3)], (2, 2, 1))


X = np.zeros((2, 2))
REFUSED = [
    (lambda: sn.trace(sn.Sequential([sn.Dense(3)]), X, 0), "expected a built Sequential"),
    (lambda: sn.trace("model", X, 0), "expected a built Sequential, found 'model'"),
    (lambda: sn.trace(built(), X, 3), "label: expected a whole number from 0 to 2, found 3"),
    (lambda: sn.trace(built(), X, -1), "found -1"),
    (lambda: sn.trace(built(), X, 1.5), "found 1.5"),
    (lambda: sn.trace(built(), X, True), "found True"),
    (lambda: sn.trace(built(), X, None), "found None"),
    (lambda: sn.trace(built(), np.zeros((3, 2)), 0), r"expected shape \(n, 2, 2, 1\)"),
    (lambda: sn.trace(built(), np.zeros((5, 2, 2)), 0), "expected one example, found 5"),
    (lambda: sn.trace(built(), "digit.png", 0), "array of numbers"),
    (lambda: sn.trace(sn.Sequential([sn.ReLU()], (2, 2, 1)), X, 0), r"found output \(2, 2, 1\)"),
    (lambda: sn.trace(built(), X, 0)["conv"], "expected one of flatten, dense, found 'conv'"),
    (lambda: sn.trace(built(), X, 0)[2], "found 2"),
    (lambda: sn.trace(built(), X, 0).explain("W", (0, 0)), "expected one of dense.W, dense.b"),
    (
        lambda: sn.trace(built(), X, 0).explain("dense.W", (4, 0)),
        r"within \(4, 3\), found \(4, 0\)",
    ),
    (lambda: sn.trace(built(), X, 0).explain("dense.W", 1), r"within \(4, 3\), found 1"),
    (lambda: sn.trace(built(), X, 0).explain("dense.W", (0, -1)), "found"),
    (lambda: sn.trace(built(), X, 0).explain_output("dense", (0, 0)), r"within \(3,\)"),
    (lambda: sn.trace(built(), X, 0).step("newton"), "optimizer: expected one of"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_one_line_that_says_what_was_found(call, message):
    with pytest.raises(sn.InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_the_function_and_its_module_live_side_by_side():
    assert callable(sn.trace) and sn.Trace is Trace
    assert isinstance(sn.trace(built(), X, 0), Trace)
