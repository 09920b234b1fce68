"""What used to spoil a training without a word: each is one line that says what to do instead."""

import warnings

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.callbacks import DivergedError, StopOnNaN
from scratchnet.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
)

X = np.random.default_rng(0).random((12, 4), np.float32)
Y = np.arange(12) % 3


def drop():
    return sn.Dropout(0.2)


def once(*ends, units=3):
    """Makes a row of layers that ends so, anew at each call."""
    return lambda: [sn.Dense(units), *(make() for make in ends)]


ENDS = {
    "no Softmax": (once(), "sparse_categorical_crossentropy", r"Dense \(dense\); add Softmax\(\)"),
    "no Softmax, one-hot": (once(), "categorical_crossentropy", r"from_logits=True\)$"),
    "ReLU": (once(sn.ReLU), "sparse_categorical_crossentropy", "probabilities, found .*ReLU"),
    "BatchNorm": (once(sn.BatchNorm), "categorical_crossentropy", "found .*BatchNorm"),
    "Dropout behind scores": (once(drop), "categorical_crossentropy", r"Dense \(dense\)"),
    "divergence of scores": (once(), "kl_divergence", r"add Softmax\(\) at its end$"),
    "Softmax with from_logits": (
        once(sn.Softmax),
        SparseCategoricalCrossentropy(from_logits=True),
        r"expected logits, found .* Softmax \(softmax\); leave out one",
    ),
    "Softmax and Dropout with from_logits": (
        once(sn.Softmax, drop),
        CategoricalCrossentropy(from_logits=True),
        "expected logits",
    ),
    "two Softmaxes": (once(sn.Softmax, sn.Softmax), "mse", "one Softmax .* found two in a row"),
    "Sigmoid": (once(sn.Sigmoid), "sparse_categorical_crossentropy", r"end it in Softmax\(\)"),
    "Sigmoid, logits": (
        once(sn.Sigmoid),
        CategoricalCrossentropy(from_logits=True),
        "binary_crossentropy where several",
    ),
    "yes or no of scores": (once(), "binary_crossentropy", r"add Sigmoid\(\) at its end, or"),
    "Sigmoid with from_logits": (once(sn.Sigmoid), BinaryCrossentropy(True), "expected logits"),
    "Softmax over one": (
        once(sn.Softmax, units=1),
        "binary_crossentropy",
        r"always 1; end it in Sigmoid\(\)",
    ),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_loss_that_does_not_suit_the_end_is_refused_before_anything_is_learnt(case):
    make, loss, text = ENDS[case]
    y = np.eye(3)[Y]
    model = sn.Sequential(make(), (4,))
    with pytest.raises(sn.InputError, match=text):
        model.compile("sgd", loss)
    assert model.loss is None and model.optimizer is None
    for learn in ("fit", "train_on_batch", "loss_and_gradients"):
        model = sn.Sequential(make())
        model.compile("sgd", loss)  # not built yet: layers may follow
        with pytest.raises(sn.InputError, match=text):
            getattr(model, learn)(X, y)


@pytest.mark.parametrize(
    "make, loss",
    [
        (once(), SparseCategoricalCrossentropy(from_logits=True)),
        (once(sn.Softmax), "sparse_categorical_crossentropy"),
        (once(sn.Softmax, drop), "sparse_categorical_crossentropy"),
        (once(sn.Softmax, sn.Flatten), "sparse_categorical_crossentropy"),
        (once(sn.Softmax, lambda: sn.Dense(3), sn.Softmax), "sparse_categorical_crossentropy"),
        (once(), "categorical_hinge"),
        (once(sn.ReLU, sn.Softmax), "sparse_categorical_crossentropy"),
    ],
)
def test_what_is_meant_trains_without_a_word(make, loss):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = sn.Sequential(make(), (4,))
        model.compile("sgd", loss)
        model.fit(X, Y, verbose=0)


class Own(sn.Softmax):
    """Something of a user's own that is a Softmax by name of its parent alone."""


class OwnLoss(SparseCategoricalCrossentropy):
    def forward(self, y_pred, y_true):
        return super().forward(y_pred, np.asarray(y_true) - 1)


class OwnDense(sn.Dense):
    pass


def test_layers_and_losses_of_ones_own_run_as_they_are():
    for layers, loss, y in (
        ([sn.Dense(3), Own()], SparseCategoricalCrossentropy(from_logits=True), Y),
        ([sn.Dense(3), sn.Softmax(), Own()], "sparse_categorical_crossentropy", Y),
        ([sn.Dense(3)], OwnLoss(), Y + 1),
        ([OwnDense(3)], "mse", np.eye(3)[Y]),
        ([sn.Dense(3), OwnDense(3)], "sparse_categorical_crossentropy", Y),
    ):
        model = sn.Sequential(layers, (4,))
        model.compile(sn.SGD(0.0), loss)
        model.fit(X, y, verbose=0)


def test_a_file_with_a_loss_that_does_not_suit_can_be_read_and_predicts(tmp_path):
    model = sn.Sequential([sn.Dense(3)], (4,))
    model.optimizer, model.loss = sn.SGD(), SparseCategoricalCrossentropy()  # as once it could be
    model.save(tmp_path / "m")
    again = sn.load_model(tmp_path / "m")
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    with pytest.raises(sn.InputError, match="expected probabilities"):
        again.fit(X, Y, verbose=0)


def softmax_model(loss, units=3):
    model = sn.Sequential([sn.Dense(units), sn.Softmax()], (4,))
    model.compile("sgd", loss, ["accuracy"])
    return model


@pytest.mark.parametrize(
    "loss, y, text",
    [
        ("sparse_categorical_crossentropy", np.eye(3)[Y], r"go with categorical_crossentropy"),
        ("categorical_crossentropy", Y, "go with sparse_categorical_crossentropy"),
        ("categorical_crossentropy", Y[:, None], "go with sparse_categorical_crossentropy"),
        ("sparse_categorical_crossentropy", Y + 1, r"from 0 to 2, found 3; .* from 1 .* y - 1"),
        ("categorical_hinge", Y + 1, "found 3"),
        ("sparse_categorical_crossentropy", 255 * Y, "found 510; the model has 3 outputs"),
    ],
)
def test_labels_that_do_not_suit_the_loss_are_refused_before_the_first_step(loss, y, text):
    model = softmax_model(loss)
    before = model.flat_params.copy()
    for data in ({}, {"validation_data": (X, y)}):
        labels = y if not data else np.eye(3)[Y] if loss == "categorical_crossentropy" else Y
        with pytest.raises(sn.InputError, match=text):
            model.fit(X, labels, 1, verbose=0, **data)
    np.testing.assert_array_equal(model.flat_params, before)
    with pytest.raises(sn.InputError, match=text):
        model.evaluate(X, y, verbose=0)
    with pytest.raises(sn.InputError, match=text):
        model.train_on_batch(X, y)


def test_rows_that_are_no_distributions_and_bytes_as_targets_are_warned_of():
    model = softmax_model("categorical_crossentropy")
    with pytest.warns(UserWarning, match=r"rows that add up to 1 .* Sigmoid\(\)") as said:
        model.fit(X, np.minimum(np.eye(3)[Y] + np.eye(3)[Y - 1], 1), verbose=0)
    assert len(said) == 1 and said[0].filename == __file__
    images = np.zeros((5, 4, 4), np.uint8)
    model = sn.Sequential([sn.Conv2D(1, 3, padding="same")], (4, 4, 1))
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match=r"y: .* give y / 255") as said:
        model.fit(images, images, verbose=0)
    assert said[0].filename == __file__
    model.fit(images, images / 255, verbose=0)


def test_accuracy_of_rows_with_several_classes_is_warned_of_and_binary_accuracy_is_right():
    y = (np.random.default_rng(2).random((12, 3)) > 0.5).astype(int)
    model = sn.Sequential([sn.Dense(3), sn.Sigmoid()], (4,))
    model.compile("sgd", "binary_crossentropy", ["accuracy"])
    with pytest.warns(UserWarning, match='"binary_accuracy" asks for each') as said:
        model.fit(X, y, verbose=0)
    assert said[0].filename == __file__
    model.compile("sgd", "binary_crossentropy", ["binary_accuracy"])
    model.fit(X, y, verbose=0)
    accuracy = model.evaluate(X, y, verbose=0)[1]
    assert accuracy == pytest.approx(np.mean((model.predict(X) > 0.5) == y))


# ---- numbers that are no longer finite -----------------------------------------------------------


def regression(rate):
    model = sn.Sequential([sn.Dense(1)], (4,))
    model.compile(sn.SGD(rate), "mse")
    return model


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_a_training_that_diverges_says_so_once_and_goes_on_to_its_end():
    model = regression(1e6)
    with pytest.warns(RuntimeWarning, match="the training has diverged") as said:
        history = model.fit(X, Y, 2, epochs=5, verbose=0)
    (one,) = [warning for warning in said if "diverged" in str(warning.message)]
    assert one.filename == __file__
    text = str(one.message)
    assert "epoch 2, batch" in text or "epoch 1, batch" in text
    assert "smaller learning rate than 1e+06" in text and "StopOnNaN" in text
    assert len(history.epoch) == 5 and np.isnan(history.history["loss"][-1])


def test_a_loss_that_is_finite_and_means_nothing_is_named_beside_the_first():
    model = sn.Sequential([sn.Dense(8), sn.ReLU(), sn.Dense(3), sn.Softmax()], (4,))
    model.compile(sn.SGD(1e6), "sparse_categorical_crossentropy")
    with pytest.warns(RuntimeWarning, match=r"the loss is [0-9.]+e\+.*batch 2, after 1\.[0-9]+;"):
        history = model.fit(X, np.arange(len(X)) % 3, 2, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_weights_that_only_the_last_step_has_spoilt_are_noticed():
    with pytest.warns(RuntimeWarning, match="weights are no longer finite after the last step"):
        regression(1e38).fit(100 * X, 1e6 * Y, verbose=0)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
@pytest.mark.parametrize("name", ["x", "y"])
def test_of_data_with_nan_the_data_are_named(name):
    x, y = X.copy(), Y.astype(np.float32)
    (x if name == "x" else y)[7] = np.nan
    with pytest.warns(RuntimeWarning, match=f"it takes {name} without NaN"):
        regression(0.01).fit(x, y, 4, verbose=0)


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_stop_on_nan_is_an_error_and_no_warning():
    with pytest.raises(DivergedError, match="the weights of the step before"):
        regression(1e38).fit(X, Y, 2, epochs=5, verbose=0, callbacks=[StopOnNaN()])


# ---- regression ----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_targets_in_one_axis_and_in_two_train_the_same(loss):
    found = []
    for y in (Y / 2, (Y / 2)[:, None]):
        model = sn.Sequential([sn.Dense(1)], (4,))
        model.compile("sgd", loss, ["mae", "mse"])
        history = model.fit(X, y, 4, 2, verbose=0, validation_data=(X, y))
        found.append((history.history, model.evaluate(X, y, verbose=0), model.flat_params.tolist()))
    assert found[0] == found[1]


def test_images_without_their_channel_are_targets_of_images_with_it():
    model = sn.Sequential([sn.Conv2D(1, 3, padding="same")], (4, 4, 1))
    model.compile("sgd", "mse")
    images = np.random.default_rng(1).random((5, 4, 4))
    assert model.loss_and_gradients(images, images) == model.loss_and_gradients(
        images, images[..., None]
    )
