"""dx explained: every entry is its sum of dy times slope, and its numeric derivative."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from kinds import EXAMPLES
from own_layers import bent, registered
from strategies import GENERATORS
from test_trace import all_kinds, image

import scratchnet as sn
from scratchnet.microscope.input_sums import is_spelled_out
from scratchnet.microscope.layer_trace import every_trace

pytestmark = pytest.mark.filterwarnings("error")


def index_in(rng, shape):
    return tuple(int(rng.integers(size)) for size in shape)


def holds(trace, t, index):
    """The explanation is right in all its parts; returns it."""
    found = trace.explain_input(t.name, index)
    assert found.value == t.input[index] and found.gradient == t.dx[index]
    largest = max(float(np.abs(t.dx).max()), 1e-3)
    assert found.sum.total == pytest.approx(found.gradient, abs=1e-9 * largest), str(found)
    if not found.kink:
        assert found.numeric == pytest.approx(found.gradient, abs=5e-6 * largest), str(found)
    for term in found.sum.terms:
        if term.source is not None and found.sum.first == "dy":
            assert term.x == t.dy[term.source]
    return found


def with_random_arrays(model, rng):
    for layer in model.layers:
        for key, array in (layer.params | layer.buffers).items():
            array[:] = rng.uniform(0.3, 1, array.shape)
            array *= 1 if "running_var" in key else rng.choice([-1, 1], array.shape)
    return model


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_kind_has_its_dx_spelled_out(name, training, rng):
    make, shape = EXAMPLES[name]
    layer, end = make(), []
    assert is_spelled_out(layer) or name == "Residual"
    if len(layer.shape_after(shape)) > 1:
        end = [sn.Flatten()]
    # twice, so that what reaches it is not a row of equals
    row = [layer, *end, sn.Dense(4), sn.Tanh(), sn.Dense(3), sn.Softmax()]
    model = with_random_arrays(sn.Sequential(row, shape, dtype="float64"), rng)
    trace = sn.trace(model, rng.uniform(-1, 1, shape), 1, training)
    for _ in range(4):
        holds(trace, trace[0], index_in(rng, shape))


@settings(max_examples=5)
@given(GENERATORS)
def test_in_a_network_of_all_kinds(rng):
    model = all_kinds(rng, dropout=0.3)
    trace = sn.trace(model, image(rng, model), int(rng.integers(4)), bool(rng.integers(2)))
    for t in trace.layers:
        holds(trace, t, index_in(rng, t.input.shape))


@pytest.mark.parametrize("training", [False, True])
def test_inside_a_residual_and_of_it(rng, training):
    main = [sn.Conv2D(3, 3, padding="same"), sn.BatchNorm(), sn.Tanh(), sn.Dropout(0.2)]
    blocks = sn.Residual(main, [sn.Conv2D(3, 1)]), sn.Residual([sn.Conv2D(3, 3, padding=1)])
    row = [*blocks, sn.Flatten(), sn.Dense(3)]
    model = sn.Sequential(row, (4, 5, 2), dtype=np.float64)
    trace = sn.trace(model, image(rng, model), 0, training)
    for t in every_trace(trace.layers):
        for _ in range(2):
            holds(trace, t, index_in(rng, t.input.shape))
    past = trace.explain_input("residual_1", (1, 2, 0)).sum
    (source,) = [term for term in past.terms if term.source]
    assert source.source == (1, 2, 0) and source.x == trace["residual_1"].dy[1, 2, 0]


def test_the_window_of_dy_and_the_filter_turned_round(rng):
    model = sn.Sequential(
        [sn.Conv2D(4, (3, 2)), sn.Flatten(), sn.Dense(3)], (6, 7, 2), dtype=np.float64
    )
    trace = sn.trace(model, image(rng, model), 0)
    t = trace["conv2d"]
    found = trace.explain_input("conv2d", (3, 4, 1)).sum
    np.testing.assert_array_equal(found.grid("x"), t.dy[1:4, 3:5])
    np.testing.assert_array_equal(found.grid("factor"), t.params["W"][::-1, ::-1, 1])
    corner = trace.explain_input("conv2d", (0, 0, 0)).sum  # only one window has it
    assert sum(term.source is not None for term in corner.terms) == 4
    assert corner.grid("x").shape == (3, 2, 4)


ENDS = {
    "softmax": (sn.Softmax, 3, "sparse_categorical_crossentropy"),
    "smoothed": (
        sn.Softmax,
        3,
        sn.losses.SparseCategoricalCrossentropy(label_smoothing=0.2),
    ),
    "not folded": (sn.Softmax, 3, "mse"),
    "yes or no": (sn.Sigmoid, 1, "binary_crossentropy"),
    "several": (sn.Sigmoid, 3, sn.losses.BinaryCrossentropy(label_smoothing=0.1)),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_last_layer_that_may_be_one_with_the_loss(end, rng):
    make, units, loss = ENDS[end]
    model = sn.Sequential([sn.Dense(units), make()], (4,), dtype="float64")
    model.compile("sgd", loss)
    trace = sn.trace(model, rng.uniform(-1, 1, 4), 0)
    for j in range(units):
        found = holds(trace, trace[-1], (j,))
        assert ("target" in found.sum.formula) == (trace[-1].dy is None)
    holds(trace, trace[0], (2,))


def test_the_slopes_of_a_layer_of_ones_own_are_measured(rng):
    kind = bent(np.sin, np.cos)
    with registered(kind):
        row = [sn.Dense(4), kind(), sn.Dense(3), sn.Softmax()]
        model = sn.Sequential(row, (5,), dtype="float64")
        trace = sn.trace(model, rng.uniform(-1, 1, 5), 2)
        found = trace.explain_input("bent", 1)
        (term,) = found.sum.terms
        assert term.factor == pytest.approx(np.cos(trace["bent"].input[1]), abs=1e-8)
        assert found.sum.total == pytest.approx(found.gradient, rel=1e-6)
        assert found.numeric == pytest.approx(found.gradient, rel=1e-5)
        assert "measured" in str(found)


def test_a_wrong_backward_is_seen(rng):
    class Wrong(sn.Dense):
        def backward(self, dy):
            return 1.1 * super().backward(dy)

    model = sn.Sequential([Wrong(4), sn.Dense(3)], (5,), dtype="float64")
    found = sn.trace(model, rng.uniform(-1, 1, 5), 2).explain_input(0, 1)
    assert not found.kink and not found.agrees and found.verdict == "they differ"
    assert found.gradient == pytest.approx(1.1 * found.numeric, rel=1e-5)
    assert found.sum.total == pytest.approx(found.numeric, rel=1e-5)


def test_a_kink_is_named():
    picture = np.zeros((28, 28))
    picture[8:20, 14] = 1
    trace = sn.trace(sn.architectures.build("cnn-small"), picture, 1)
    # over the black background, where the biases are 0, ReLU's x is exactly 0
    found = trace.explain_input("relu", (1, 1, 0))
    assert found.value == 0 and found.gradient == 0
    away = [trace.explain_input("relu", (i, 1, k)) for i in (1, 9) for k in range(8)]
    assert any(one.kink and "changes within the step" in one.verdict for one in away)
    assert all(one.kink or one.agrees for one in away)


def test_nothing_of_the_trace_changes_and_it_is_shown(rng):
    model = all_kinds(rng)
    trace = sn.trace(model, image(rng, model), 2, training=True)
    before = {name: g.copy() for name, g in trace.gradients.items()}
    buffers = {k: v.copy() for k, v in trace.model.arrays().items()}
    found = trace.explain_input("conv2d_1", (1, 2, 0))
    assert trace.explain_input("conv2d_1", (1, 2, 0)) == found
    for name, g in trace.gradients.items():
        np.testing.assert_array_equal(g, before[name])
    for name, a in trace.model.arrays().items():
        np.testing.assert_array_equal(a, buffers[name])
    assert "forward" not in vars(trace["conv2d_1"].layer)
    json.dumps(found.to_dict(5))
    text, page = str(found), found._repr_html_()
    assert "dL/dx[1, 2, 0] = sum of dy" in text and "numeric derivative" in text
    assert "dL/dx" in page and "numeric derivative" in page
    assert "InputExplained(conv2d_1, dx[1, 2, 0]" in repr(found)


@pytest.mark.parametrize(
    ("layer", "index", "message"),
    [
        ("conv9", (0, 0, 0), "layer: expected one of"),
        ("conv2d", (0, 0), r"conv2d: expected an index within \(9, 8, 2\)"),
        ("conv2d", (9, 0, 0), "found"),
        ("dense", -1, "found -1"),
    ],
)
def test_bad_input_is_one_line(layer, index, message, rng):
    model = all_kinds(rng)
    trace = sn.trace(model, image(rng, model), 0)
    with pytest.raises(sn.InputError, match=message):
        trace.explain_input(layer, index)


@pytest.mark.slow
def test_200_random_places_over_all_architectures():
    """dx and dW of random places: backward, its sum, and the numeric derivative are one number."""
    rng = np.random.default_rng(17)
    _, (x, y) = sn.datasets.mnist.load_data()
    names = list(sn.architectures.ARCHITECTURES)
    kinks = 0
    for number, name in enumerate(names):
        model = with_small_biases(sn.architectures.build(name, seed=number), rng)
        trace = sn.trace(model, x[number], int(y[number + 1]))
        every = list(every_trace(trace.layers))
        for _ in range(-(-100 // len(names))):
            t = every[rng.integers(len(every))]
            kinks += holds(trace, t, index_in(rng, t.input.shape)).kink
            key = list(trace.gradients)[rng.integers(len(trace.gradients))]
            g = trace.gradients[key]
            found = trace.explain(key, index_in(rng, g.shape))
            kinks += found.kink
            near = max(float(np.abs(g).max()), 1e-3)
            assert found.sum.total == pytest.approx(found.gradient, abs=1e-9 * near)
            assert found.kink or found.numeric == pytest.approx(found.gradient, abs=5e-6 * near)
    assert kinks < 40  # mostly ties of a maximum among units that are dead


def with_small_biases(model, rng):
    """As after a few steps of training: over a black background no ReLU is exactly at its kink."""
    for key, array in model.parameters().items():
        if key.endswith((".b", ".beta")):
            array += rng.uniform(-0.05, 0.05, array.shape).astype(array.dtype)
    return model
