"""sample_weight and class_weight: the loss is sum(w l) / n, wherever examples come in."""

import threading

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.callbacks import BackupAndRestore

N, K = 20, 3
RNG = np.random.default_rng(4)
X, Y = RNG.standard_normal((N, 5)), RNG.integers(0, K, N)
W = RNG.uniform(0, 3, N)
BY_CLASS = {0: 0.5, 2: 4}


def model_of(loss="sparse_categorical_crossentropy", end=sn.Softmax, units=K, fuse=True):
    layers = [sn.Dense(6), sn.ReLU(), sn.Dense(units), *([end()] if end else [])]
    model = sn.Sequential(layers, (5,), fuse=fuse, dtype=np.float64)
    model.compile(sn.SGD(0.1), loss)
    return model


CASES = {
    "sparse, folded": ({}, Y),
    "sparse, by layers": ({"fuse": False}, Y),
    "sparse logits": (
        {"loss": sn.losses.SparseCategoricalCrossentropy(True), "end": None},
        Y[:, None],
    ),
    "one-hot": ({"loss": "categorical_crossentropy"}, np.eye(K)[Y]),
    "binary": ({"loss": "binary_crossentropy", "end": sn.Sigmoid, "units": 1}, Y % 2),
    "mse": ({"loss": "mse", "end": None, "units": 1}, Y / 2),
}


@pytest.mark.parametrize("case", CASES)
def test_loss_and_gradients_are_the_weighted_sum_of_those_of_single_examples(case):
    settings, y = CASES[case]
    model = model_of(**settings)
    losses, gradients = [], []
    for i in range(N):
        losses.append(model.loss_and_gradients(X[i : i + 1], y[i : i + 1]))
        gradients.append(model.flat_grads.copy())
    found = model.loss_and_gradients(X, y, sample_weight=W)
    assert found == pytest.approx(np.dot(W, losses) / N, rel=1e-12)
    np.testing.assert_allclose(model.flat_grads, W @ np.array(gradients) / N, rtol=1e-9, atol=1e-14)
    assert model.evaluate(X, y, 7, 0, sample_weight=W[:, None]) == pytest.approx(found)


@pytest.mark.parametrize("case", ["sparse, folded", "sparse logits", "one-hot", "binary"])
def test_weights_of_classes_are_weights_of_their_examples(case):
    settings, y = CASES[case]
    labels = np.asarray(y).argmax(axis=1) if case == "one-hot" else np.asarray(y).reshape(-1)
    by_class = {0: 0.5, 1: 4.0} if case == "binary" else BY_CLASS
    weights = np.array([by_class.get(label, 1) for label in labels])
    found = []
    for given in ({"class_weight": by_class}, {"sample_weight": weights}):
        model = model_of(**settings)
        out = [model.train_on_batch(X, y, **given)[0], model.loss_and_gradients(X, y, **given)]
        history = model.fit(X, y, 6, 2, verbose=0, **given).history
        found.append((out, history, model.flat_params.tobytes()))
    assert found[0] == found[1]
    plain = model_of(**settings).fit(X, y, 6, 2, verbose=0).history
    assert plain["loss"] != found[0][1]["loss"]


def test_weights_go_with_their_examples_through_shuffling_and_the_split():
    seen = []

    class Loss(sn.losses.MeanSquaredError):
        def forward(self, y_pred, y_true, sample_weight=None):
            seen.append((np.array(y_true), sample_weight))
            return super().forward(y_pred, y_true, sample_weight)

    model = model_of(Loss(), None, 1)
    model.optimizer.learning_rate = 1e-4
    numbers = np.arange(N, dtype=float)
    model.fit(X, numbers, 6, 2, verbose=0, sample_weight=numbers * 2, validation_split=0.25)
    assert len(seen) == 2 * (3 + 1) and all((2 * y == w).all() for y, w in seen)
    seen.clear()
    other = X[:8], numbers[:8], numbers[:8] * 2
    model.fit(X, numbers, 8, verbose=0, class_weight={0: 3, 1: 5}, validation_data=other)
    assert len(seen) == 3 + 1 and (2 * seen[-1][0] == seen[-1][1]).all()
    for y, w in seen[:-1]:
        np.testing.assert_array_equal(w, np.where(y == 0, 3, np.where(y == 1, 5, 1)))


def test_weights_of_one_change_no_bit():
    found = []
    for given in ({}, {"sample_weight": np.ones(N)}, {"class_weight": {}}):
        model = model_of()
        model.fuse = False  # with weights the loss has no loop of its own, see engine/ends.py
        history = model.fit(X, Y, 6, 3, verbose=0, **given).history
        found.append((history, model.flat_params.tobytes()))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(
    "given, text",
    [
        ({"sample_weight": W[:-1]}, r"shape \(20,\), found float64 \(19,\)"),
        ({"sample_weight": -W}, "none below 0"),
        ({"sample_weight": np.full(N, np.nan)}, "finite"),
        ({"sample_weight": {0: 1}}, "a number an example"),
        ({"class_weight": {3: 1}}, "classes from 0 to 2, found 3"),
        ({"class_weight": {"0": 1}}, "classes from 0 to 2, found '0'"),
        ({"class_weight": {0: -1}}, "class_weight of 0: expected a number at least 0"),
        ({"class_weight": [1, 2, 3]}, r"a dict such as .*found \[1, 2, 3\]"),
        ({"class_weight": "balanced"}, "a dict such as"),
        ({"class_weight": {}, "sample_weight": W}, "found both"),
        ({"validation_data": (X, Y, W[:3])}, "sample_weight"),
        ({"validation_data": (X, Y, W, W)}, "found 4 parts"),
    ],
)
def test_wrong_weights_are_refused(given, text):
    with pytest.raises(InputError, match=text):
        model_of().fit(X, Y, verbose=0, **given)


def test_class_weights_want_classes():
    with pytest.raises(InputError, match="class_weight: expected labels"):
        model_of("mse", None, 1).fit(X, Y / 2, verbose=0, class_weight={0: 2})


def test_other_keywords_are_the_usual_mistake():
    model = model_of()
    for call in (model.fit, model.train_on_batch, model.loss_and_gradients):
        with pytest.raises(TypeError, match="unexpected keyword argument 'epoch'"):
            call(X, Y, epoch=3)


def test_a_loss_of_ones_own_without_weights_says_so():
    class Own(sn.losses.Loss):
        def forward(self, y_pred, y_true):
            self.cache = y_pred
            return 1.0

        def backward(self):
            return np.zeros_like(self.cache)

    model = model_of(Own())
    model.fit(X, Y, verbose=0)
    with pytest.raises(InputError, match="forward takes sample_weight, found Own"):
        model.fit(X, Y, verbose=0, sample_weight=W)


def test_a_training_goes_on_with_its_weights_alone(tmp_path):
    def fit(weights, epochs):
        model = model_of()
        callbacks = [BackupAndRestore(tmp_path)]
        model.fit(X, Y, 6, epochs, verbose=0, sample_weight=weights, callbacks=callbacks)
        return model.flat_params.copy()

    fit(W, 1)
    for other in (None, W + 1):
        with pytest.raises(InputError, match="checksum of weights"):
            fit(other, 2)
    found = fit(W, 2)
    whole = model_of()
    whole.fit(X, Y, 6, 2, verbose=0, sample_weight=W)
    np.testing.assert_array_equal(found, whole.flat_params)


def test_another_thread_may_evaluate_with_other_weights_between_forward_and_backward():
    model = model_of("mse", None, 1)
    expected = model.loss_and_gradients(X, Y), model.flat_grads.copy()
    backward = sn.losses.MeanSquaredError.backward

    def disturbed(loss):
        other = threading.Thread(
            target=lambda: model.evaluate(X[:3], Y[:3], verbose=0, sample_weight=W[:3])
        )
        other.start()
        other.join()
        return backward(loss)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sn.losses.MeanSquaredError, "backward", disturbed)
        found = model.loss_and_gradients(X, Y), model.flat_grads.copy()
    assert found[0] == expected[0]
    np.testing.assert_array_equal(found[1], expected[1])
