"""Batches that come one by one, together with weights of examples, metrics and checks of labels."""

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError, run
from scratchnet.callbacks import BackupAndRestore

RNG = np.random.default_rng(7)
X = RNG.integers(0, 256, (60, 4, 4, 1), np.uint8)
Y, W = RNG.integers(0, 3, 60), RNG.uniform(0, 3, 60)
BY_CLASS = {0: 0.5, 2: 4.0}


def network(end=True):
    layers = [sn.Flatten(), sn.Dropout(0.2), sn.Dense(3), *([sn.Softmax()] if end else [])]
    model = sn.Sequential(layers, seed=1)
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy", "f1"])
    return model


def once(*data, size=10):
    for i in range(0, len(data[0]), size):
        yield tuple(a[i : i + size] for a in data)


def endless(*data):
    while True:
        yield from once(*data)


class Pages:
    """As little as a Keras-like Sequence has."""

    def __init__(self, batches):
        self.batches = [*batches]

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, i):
        return self.batches[i]


FORMS = {
    "row": (lambda *data: Pages(once(*data)), {}),
    "list": (lambda *data: [*once(*data)], {}),
    "generator": (endless, {"steps_per_epoch": 6}),
}


def fitted(*data, **how):
    model = network()
    settings = {"epochs": 3, "batch_size": 10, "shuffle": False, "verbose": 0}
    history = model.fit(*data, **settings | how).history
    return history, model.flat_params.tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_batches_with_weights_train_as_the_arrays_do(form):
    make, how = FORMS[form]
    want = fitted(X, Y, sample_weight=W, validation_data=(X, Y, W))
    assert fitted(make(X, Y, W), **how, validation_data=(X, Y, W)) == want
    again = {"validation_steps": 6} if how else {}
    assert fitted(make(X, Y, W), **how, validation_data=make(X, Y, W), **again) == want
    assert fitted(X, Y, sample_weight=W, validation_data=make(X, Y, W), **again) == want
    plain = fitted(make(X, Y), **how, validation_data=(X, Y))
    assert plain[0]["val_loss"] != want[0]["val_loss"] and plain[1] != want[1]


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_classes_go_with_batches(form):
    make, how = FORMS[form]
    want = fitted(X, Y, class_weight=BY_CLASS)
    assert fitted(make(X, Y), **how, class_weight=BY_CLASS) == want != fitted(X, Y)
    assert fitted(make(X, Y), **how, class_weight={}) == fitted(X, Y, class_weight={})


def test_batches_are_shuffled_with_their_weights():
    seen = []

    class Loss(sn.losses.MeanSquaredError):
        def forward(self, y_pred, y_true, sample_weight=None):
            seen.append((np.array(y_true), sample_weight))
            return super().forward(y_pred, y_true, sample_weight)

    model = sn.Sequential([sn.Flatten(), sn.Dense(1)])
    model.compile(sn.SGD(1e-6), Loss())
    numbers = np.arange(60.0)
    model.fit(Pages(once(X, numbers, 2 * numbers)), epochs=2, verbose=0)
    assert len(seen) == 12 and all((2 * y == w).all() for y, w in seen)
    assert [y[0] for y, _ in seen[:6]] != sorted(y[0] for y, _ in seen[:6])


def test_evaluation_takes_weights_and_steps_in_every_form():
    model = network()
    want = model.evaluate(X, Y, 10, 0, sample_weight=W)
    assert model.evaluate(Pages(once(X, Y, W)), verbose=0) == want
    assert model.evaluate(endless(X, Y, W), steps=6, verbose=0) == want
    half = model.evaluate(X[:20], Y[:20], 10, 0, sample_weight=W[:20])
    assert model.evaluate(endless(X, Y, W), steps=2, verbose=0) == half != want
    assert model.evaluate(X, Y, 10, 0, sample_weight=W, steps=2) == half
    with pytest.raises(InputError, match="steps: expected 1 to 6, found 7"):
        model.evaluate(X, Y, 10, 0, steps=7)
    part = fitted(X, Y, validation_data=(X[:20], Y[:20], W[:20]))
    assert fitted(X, Y, validation_data=(X, Y, W), validation_steps=2) == part


@pytest.mark.parametrize(
    "given, text",
    [
        ({"sample_weight": W}, r"expected it in the batches, \(x, y, sample_weight\)"),
        ({"class_weight": {3: 1}}, "classes from 0 to 2, found 3"),
        ({"class_weight": {}, "x": (X, Y, W)}, "found both"),
        ({"x": (X, Y, -W)}, "none below 0"),
        ({"x": (X, Y, W[:, None, None])}, "sample_weight: expected a number an example"),
        ({"x": (X, Y + 1)}, r"from 0 to 2, found 3; .* y - 1"),
        ({"x": (X, np.eye(3)[Y])}, "one-hot labels go with categorical_crossentropy"),
        ({"validation_data": [*once(X, Y + 1)]}, r"from 0 to 2, found 3; .* y - 1"),
        ({"validation_data": (X, Y, W, W)}, "found 4 parts"),
        ({"validation_data": ()}, "found 0 parts"),
        ({"validation_data": X}, "expected labels for x"),
        ({"validation_data": (X, Y), "validation_steps": 3}, "validation_steps: .* 1 to 2"),
    ],
)
def test_what_is_wrong_with_a_source_is_said_before_anything_is_learnt(given, text):
    model, how = network(), dict(given)
    source = Pages(once(*how.pop("x", (X, Y))))
    with pytest.raises(InputError, match=text):
        model.fit(source, verbose=0, **how)
    assert not model.optimizer.iterations


def test_a_source_is_no_remedy_for_a_loss_that_does_not_suit():
    with pytest.raises(InputError, match=r"add Softmax\(\)"):
        network(end=False).fit(Pages(once(X, Y)), verbose=0)
    with pytest.raises(InputError, match="beside them|in the batches"):
        network().evaluate(Pages(once(X, Y)), verbose=0, sample_weight=W)


def test_a_later_batch_of_wrong_labels_is_refused_when_it_comes():
    model = network()
    labels = np.where(np.arange(60) == 35, 3, Y)
    with pytest.raises(InputError, match="from 0 to 2, found 3"):
        model.fit(once(X, labels), verbose=0)
    assert model.optimizer.iterations == 3


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid")
def test_of_a_batch_with_nan_the_data_are_named():
    model = sn.Sequential([sn.Flatten(), sn.Dense(1)])
    model.compile(sn.SGD(0.01), "mse")
    x = X / 255
    x[35] = np.nan
    with pytest.warns(RuntimeWarning, match="batch 4; it takes x without NaN") as said:
        model.fit(once(x, Y), verbose=0)
    assert [one.filename for one in said if "diverged" in str(one.message)] == [__file__]


# ---- going on after a crash ----------------------------------------------------------------------


class Crashes(sn.Callback):
    def __init__(self, at):
        self.at = at

    def on_batch_end(self, batch, logs):
        self.at -= 1
        if self.at == 0:
            raise KeyboardInterrupt


def saved(folder, form, at=0, data=(X, Y, W), **more):
    """History and the file of a training whose epochs are not the data's length."""
    model = network()
    make, how = FORMS[form]
    # streams that go on where an epoch, or a validation, ended
    how = {"steps_per_epoch": 5} if how else {}
    held_out = {"validation_data": endless(X, Y, W), "validation_steps": 4}
    callbacks = [Crashes(at), BackupAndRestore(folder / "backup", save_freq=1)]
    settings = {"epochs": 3, "verbose": 0, "callbacks": callbacks}
    history = model.fit(make(*data), **settings | how | held_out | more)
    model.save(folder / "model.safetensors")
    return history.history, (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at", [2, 5, 8, 11])
def test_weighted_batches_resume_with_the_same_file(tmp_path, form, at):
    (whole := tmp_path / "whole").mkdir()
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path, form, at)
    assert saved(tmp_path, form) == saved(whole, form)


def test_a_training_goes_on_with_its_source_and_weights_alone(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        saved(tmp_path, "generator", 8, (X, Y), class_weight=BY_CLASS)
    for form, how, text in (
        ("generator", {}, "checksum of weights"),
        ("generator", {"class_weight": {0: 2}}, "checksum of weights"),
        ("generator", {"class_weight": BY_CLASS, "steps_per_epoch": 4}, "source"),
        ("row", {"class_weight": BY_CLASS}, "source"),
    ):
        with pytest.raises(InputError, match=text):
            saved(tmp_path, form, 0, (X, Y), **how)
    saved(tmp_path, "generator", 0, (X, Y), class_weight=dict(reversed(BY_CLASS.items())))
    (other := tmp_path / "other").mkdir()
    saved(other, "row", data=(X, Y))
    with pytest.raises(InputError, match="with source .*with weights"):
        saved(other, "row")


def test_steps_of_arrays_belong_to_their_training(tmp_path):
    callbacks = [BackupAndRestore(tmp_path)]
    fitted(X, Y, callbacks=callbacks, epochs=1)
    with pytest.raises(InputError, match="source 2, found None"):
        fitted(X, Y, callbacks=callbacks, steps_per_epoch=2)


def test_the_range_of_a_source_is_remembered_as_that_of_arrays():
    ranges = []
    for data in ((X, Y), (Pages(once(X, Y, W)),), (endless(X, Y),)):
        model = network()
        model.fit(*data, steps_per_epoch=1, shuffle=False, verbose=0)
        ranges.append(model.trained_on)
    assert ranges[1] == ranges[2] and {found.dtype for found in ranges} == {"uint8"}


# ---- elsewhere -----------------------------------------------------------------------------------


def test_a_large_array_in_a_file_is_sampled_through_views_too(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", X)
    mapped = np.asarray(np.load(tmp_path / "x.npy", mmap_mode="r"))[:50]
    assert run.sampled(mapped) is mapped
    monkeypatch.setattr(run, "MOST_READ", 100)
    monkeypatch.setattr(run, "SAMPLED", 3)
    np.testing.assert_array_equal(run.sampled(mapped), X[[0, 24, 49]])
    assert run.sampled(X) is X


def test_the_rate_finder_takes_batches_with_weights():
    rates = {"lowest": 1e-6, "highest": 1e-5, "steps": 12}
    plain = sn.find_learning_rate(network(), Pages(once(X, Y)), **rates)
    twice = sn.find_learning_rate(network(), Pages(once(X, Y, np.full(60, 2.0))), **rates)
    assert twice.losses == pytest.approx([2 * loss for loss in plain.losses], rel=1e-3)
