"""Losses against their definitions, at the limits of the numbers, and with wrong labels."""

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import GENERATORS

import scratchnet as sn
from scratchnet.losses import (
    LOSSES,
    CategoricalCrossentropy,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)
from scratchnet.metrics import confusion_matrix, correct, finite_or_none, rms

SIZES = st.integers(1, 5)
CROSS_ENTROPIES = [SparseCategoricalCrossentropy, CategoricalCrossentropy]
both = pytest.mark.parametrize("make", CROSS_ENTROPIES)
either_input = pytest.mark.parametrize("from_logits", [True, False], ids=["logits", "probs"])


def labels_for(make, labels, k):
    return labels if make is SparseCategoricalCrossentropy else np.eye(k)[labels]


def softmax_layer(k):
    layer = sn.Softmax()
    layer.build((k,), np.random.default_rng(0), np.float64)
    return layer


def assert_close(found, expected, tolerance=1e-12):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@both
@given(rng=GENERATORS, n=SIZES, k=SIZES)
def test_cross_entropy_of_probabilities_equals_its_definition(make, rng, n, k):
    probs, labels = rng.dirichlet(np.ones(k), n) + 1e-6, rng.integers(0, k, n)
    loss = make()
    found = loss(probs, labels_for(make, labels, k)), loss.backward()
    assert_close(found, oracles.cross_entropy(probs, np.eye(k)[labels]))


@both
@given(rng=GENERATORS, n=SIZES, k=SIZES, smoothing=st.sampled_from([0.0, 0.1, 1.0]))
def test_folding_softmax_into_the_loss_changes_nothing(make, rng, n, k, smoothing):
    # not so far apart that a probability is below 1e-7, where a loss of probabilities takes 1e-7
    logits, labels = np.clip(3 * rng.standard_normal((n, k)), -7, 7), rng.integers(0, k, n)
    y_true = labels_for(make, labels, k)
    folded, separate, softmax = make(True, smoothing), make(False, smoothing), softmax_layer(k)
    found = folded(logits, y_true), folded.backward()
    expected = separate(softmax.forward(logits), y_true), softmax.backward(separate.backward())
    assert_close(found, expected, 1e-10)
    targets = (1 - smoothing) * np.eye(k)[labels] + smoothing / k
    assert_close(found[:1], oracles.cross_entropy(softmax.cache, targets)[:1])


@both
@either_input
def test_label_smoothing_moves_the_best_answer_away_from_certainty(make, from_logits, rng):
    """With s = 0.2 and 4 classes the best probabilities are 0.85 and three times 0.05."""
    loss, y_true = make(from_logits, 0.2), labels_for(make, np.array([2]), 4)
    best = np.array([[0.05, 0.05, 0.85, 0.05]])
    y_pred = np.log(best) if from_logits else best
    assert loss(y_pred, y_true) == pytest.approx(-0.85 * np.log(0.85) - 0.15 * np.log(0.05))
    gradient = loss.backward()
    np.testing.assert_allclose(gradient, gradient.mean() if not from_logits else 0, atol=1e-12)
    surer = np.array([[0.01, 0.01, 0.97, 0.01]])
    assert loss(np.log(surer) if from_logits else surer, y_true) > loss(y_pred, y_true)
    assert make(from_logits)(np.log(surer) if from_logits else surer, y_true) < 0.1


@both
def test_a_model_folds_softmax_into_a_smoothed_loss_and_saves_it(make, rng, tmp_path):
    x, labels = rng.standard_normal((6, 5)), rng.integers(0, 3, 6)
    y_true, gradients, values = labels_for(make, labels, 3), [], []
    for last, from_logits in (([sn.Softmax()], False), ([], True)):
        model = sn.Sequential([sn.Dense(3), *last], (5,), dtype=np.float64)
        model.compile("sgd", make(from_logits, 0.1))
        values.append(model.loss_and_gradients(x, y_true))
        gradients.append(model.flat_grads)
    assert values[0] == values[1]
    np.testing.assert_array_equal(*gradients)
    model.save(tmp_path / "m")
    assert sn.load_model(tmp_path / "m").loss.config() == model.loss.config()


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan, "some"])
@both
def test_label_smoothing_is_a_part(make, value):
    with pytest.raises(sn.InputError, match="label_smoothing"):
        make(label_smoothing=value)


@given(rng=GENERATORS, n=SIZES, k=SIZES)
def test_cross_entropy_takes_distributions(rng, n, k):
    probs, y_true = rng.dirichlet(np.ones(k), n) + 1e-6, rng.dirichlet(np.ones(k), n)
    loss = CategoricalCrossentropy()
    assert_close((loss(probs, y_true), loss.backward()), oracles.cross_entropy(probs, y_true))


@given(rng=GENERATORS, shape=st.lists(SIZES, min_size=1, max_size=3).map(tuple))
def test_mean_squared_error_equals_its_definition(rng, shape):
    y_pred, y_true = rng.standard_normal((2, *shape))
    loss = MeanSquaredError()
    expected = oracles.mean_squared_error(y_pred, y_true)
    assert_close((loss(y_pred, y_true), loss.backward()), expected)


@either_input
@given(rng=GENERATORS, n=SIZES, k=SIZES)
def test_one_hot_columns_and_plain_labels_are_the_same_labels(from_logits, rng, n, k):
    y_pred, labels = rng.uniform(0.01, 1, (n, k)), rng.integers(0, k, n)
    sparse, one_hot = (make(from_logits) for make in CROSS_ENTROPIES)
    expected = one_hot(y_pred, np.eye(k)[labels]), one_hot.backward()
    for written in (labels, labels[:, None], labels.astype(np.uint8), labels.astype(float)):
        assert_close((sparse(y_pred, written), sparse.backward()), expected)


@both
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logits_of_1e4_are_exact_when_folded_where_separate_steps_saturate(make, dtype):
    logits = np.array([[1e4, -1e4, 0.0], [1e4, 0.0, -1e4]], dtype)
    y_true = labels_for(make, np.array([1, 0]), 3)
    folded, separate = make(from_logits=True), make()
    assert folded(logits, y_true) == pytest.approx(1e4)  # (20000 + 0) / 2
    np.testing.assert_array_equal(folded.backward(), [[0.5, -0.5, 0], [0, 0, 0]])
    saturated = separate(softmax_layer(3).forward(logits), y_true)
    assert saturated == pytest.approx(-np.log(1e-7) / 2, rel=1e-6)
    assert np.all(np.isfinite(separate.backward()))


@both
def test_a_probability_of_0_still_has_a_finite_gradient_that_teaches(make):
    loss = make()
    assert np.isfinite(loss(np.array([[1.0, 0.0]]), labels_for(make, np.array([1]), 2)))
    assert loss.backward()[0, 1] == pytest.approx(-1e7)


@pytest.mark.parametrize("kind", LOSSES)
def test_loss_is_a_python_float_and_its_gradient_keeps_the_dtype(kind, rng):
    shape = (4, 5, 3) if kind == "ctc" else (4, 3)
    loss, y_pred = sn.losses.get(kind), rng.uniform(0.1, 1, shape).astype(np.float32)
    kept = y_pred.copy()
    y_pred.setflags(write=False)
    y_true = np.array([0, 2, 1, 1]) if "sparse" in kind else np.eye(3)[[0, 2, 1, 1]]
    y_true = np.array([[1, 2], [1, 1], [2, 0], [0, 0]]) if kind == "ctc" else y_true
    assert type(loss(y_pred, y_true)) is float
    assert loss.backward().dtype == np.float32
    np.testing.assert_array_equal(y_pred, kept)


@pytest.mark.parametrize("loss", [make(flag) for make in CROSS_ENTROPIES for flag in (True, False)]
                         + [MeanSquaredError()])  # fmt: skip
def test_empty_batch_has_loss_0(loss):
    sparse = isinstance(loss, SparseCategoricalCrossentropy)
    assert loss(np.zeros((0, 3)), np.zeros(0 if sparse else (0, 3))) == 0
    assert loss.backward().shape == (0, 3)


@either_input
@pytest.mark.parametrize(
    "labels, text",
    [
        ([0, 3], "from 0 to 2, found 3"),
        ([-1, 0], "from 0 to 2, found -1"),
        ([0, 1, 2], r"\(2,\).*\(3,\)"),
        ([[0, 1], [1, 0]], r"\(2,\).*\(2, 2\)"),
        (1, r"\(2,\).*\(\)"),
        ([0.5, 1], "fractions"),
        ([np.nan, 1], "whole numbers"),
        ([np.inf, 1], "whole numbers"),
        (["0", "1"], "whole numbers"),
    ],
)
def test_wrong_labels_are_refused_with_what_is_wrong(from_logits, labels, text):
    with pytest.raises(sn.InputError, match=text):
        SparseCategoricalCrossentropy(from_logits)(np.full((2, 3), 1 / 3), np.array(labels))


@pytest.mark.parametrize("make", [CategoricalCrossentropy, MeanSquaredError])
@pytest.mark.parametrize("y_true", [np.zeros(2), np.zeros((2, 2)), np.full((2, 3), "a")])
def test_wrong_targets_are_refused(make, y_true):
    with pytest.raises(sn.InputError, match="expected"):
        make()(np.full((2, 3), 1 / 3), y_true)


def test_predictions_that_are_no_rows_of_classes_are_refused():
    with pytest.raises(sn.InputError, match=r"\(n, k\).*\(2, 3, 3\)"):
        SparseCategoricalCrossentropy()(np.ones((2, 3, 3)), np.array([0, 1]))


@pytest.mark.parametrize("kind", LOSSES)
def test_backward_without_a_forward_says_so(kind):
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        sn.losses.get(kind).backward()


def test_losses_are_found_by_keras_names_and_an_unknown_one_is_refused():
    assert isinstance(sn.losses.get("mse"), MeanSquaredError)
    with pytest.raises(sn.InputError, match="sparse_categorical_crossentropy.*'hings'"):
        sn.losses.get("hings")


def test_metrics_count_rows_whose_largest_value_is_at_the_label():
    y_pred = np.array([[0.9, 0.1, 0], [0.2, 0.3, 0.5], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]])
    labels = np.array([0, 2, 2, 1])
    for written in (labels, labels[:, None], np.eye(3)[labels]):
        assert correct(y_pred, written) == 2
    expected = [[1, 0, 0], [1, 0, 0], [0, 1, 1]]  # row: the true class
    np.testing.assert_array_equal(confusion_matrix(y_pred, labels), expected)


def test_one_class_has_labels_and_one_hot_rows(rng):
    probs = np.ones((5, 1))
    for y_true in (np.zeros(5, int), np.zeros((5, 1), int), np.ones((5, 1))):
        assert sn.metrics.correct(probs, y_true) == 5
    with pytest.raises(sn.InputError, match="from 0 to 0, found 2"):
        sn.metrics.correct(probs, np.full((5, 1), 2))


def test_the_root_mean_square_is_over_all_entries_of_all_arrays():
    a, b = np.array([[3.0, 4.0]]), np.array([0.0, 0.0, 5.0], np.float32)
    assert rms(a) == np.sqrt(12.5)
    assert rms(a, None, b) == np.sqrt(50 / 5)
    assert rms(np.full(4, 1e30, np.float32)) == pytest.approx(1e30)  # its square is no float32
    assert rms() is None and rms(None) is None and rms(np.empty(0)) is None


def test_what_json_does_not_know_becomes_none():
    nan, inf = float("nan"), float("inf")
    found = finite_or_none({"a": [1, nan, {"b": -inf}], "c": (2.5, np.float32(nan)), "d": "nan"})
    assert found == {"a": [1, None, {"b": None}], "c": [2.5, None], "d": "nan"}
    assert finite_or_none(inf) is None and finite_or_none(None) is None
    assert finite_or_none(True) is True and finite_or_none(0.5) == 0.5
