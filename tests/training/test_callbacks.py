"""Callbacks: when they stop a training, what they write, which weights are left."""

import csv
import json
import math

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.callbacks import (
    Callback,
    CSVLogger,
    DivergedError,
    EarlyStopping,
    JSONLinesLogger,
    LearningRateLogger,
    ModelCheckpoint,
    StopOnNaN,
)

NAN = math.nan

# -------------------------------------------------------------------------------------------- tools


def examples(n=24):
    rng = np.random.default_rng(5)
    return rng.random((n, 4), np.float32), rng.integers(0, 3, n)


def model_of(optimizer=None, **settings):
    layers = [sn.Dense(5), sn.BatchNorm(), sn.ReLU(), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential(layers, input_shape=(4,), seed=1, **settings)
    model.compile(optimizer or sn.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def fit(model, callbacks, **settings):
    data = settings.pop("data", examples())
    return model.fit(*data, batch_size=8, verbose=0, callbacks=callbacks, **settings)


class Says(Callback):
    """Puts the figures of a script into logs, one an epoch, and keeps each epoch's weights."""

    def __init__(self, figures, name="figure"):
        self.figures, self.name, self.weights = figures, name, []

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.figures[epoch]
        self.weights.append({key: a.copy() for key, a in self.model.arrays().items()})


def same(weights, model):
    return all(np.array_equal(weights[key], a) for key, a in model.arrays().items())


# ----------------------------------------------------------------------------------- early stopping


@pytest.mark.parametrize(
    ("figures", "settings", "epochs", "best"),
    [
        ([3, 2, 1, 1, 1, 1], {}, 4, 2),
        ([3, 2, 1, 1, 1, 1], {"patience": 2}, 5, 2),
        ([3, 2, 2.5, 1.5, 2, 1], {"patience": 2}, 6, 5),
        ([3, 2.5, 2.2, 1.9, 1.8, 1], {"min_delta": 0.6}, 2, 0),
        ([1, 2, 3, 3, 3, 3], {"mode": "max", "patience": 1}, 4, 2),
        ([NAN, 2, NAN, 1, 2, 3], {"patience": 3}, 6, 3),
        ([NAN] * 6, {"patience": 3}, 3, None),
        ([6, 5, 4, 3, 2, 1], {}, 6, 5),
    ],
)
def test_early_stopping_stops_when_patience_is_over_with_the_best_weights(
    figures, settings, epochs, best
):
    model, says = model_of(), Says(figures)
    stopping = EarlyStopping("figure", restore_best_weights=True, **settings)
    history = fit(model, [says, stopping], epochs=6)
    assert len(history.epoch) == epochs
    assert stopping.best_epoch == best
    assert stopping.stopped_epoch == (epochs - 1 if epochs < 6 else None)
    assert same(says.weights[-1 if best is None else best], model)


def test_early_stopping_keeps_the_last_weights_unless_told_otherwise():
    model, says = model_of(), Says([1, 2, 3, 4])
    fit(model, [says, EarlyStopping("figure", patience=2)], epochs=4)
    assert len(says.weights) == 3
    assert same(says.weights[-1], model)


def test_an_accuracy_shall_grow_and_a_second_fit_starts_anew():
    model, stopping = model_of(), EarlyStopping("my_accuracy", patience=2)
    for _ in range(2):
        says = Says([0.9, 0.8, 0.95, 0.8, 0.8, 0.8], "my_accuracy")
        assert len(fit(model, [says, stopping], epochs=6).epoch) == 5


def test_the_default_monitor_is_the_validation_loss_as_in_keras():
    with pytest.raises(InputError, match="monitor: expected one of loss, accuracy, found 'val_lo"):
        fit(model_of(), [EarlyStopping()])
    assert fit(model_of(), [EarlyStopping()], validation_split=0.2).epoch == [0]


@pytest.mark.parametrize(
    "settings", [{"patience": -1}, {"patience": 1.5}, {"min_delta": -1}, {"mode": "best"}]
)
def test_wrong_arguments_are_named(settings):
    with pytest.raises(InputError, match=next(iter(settings))):
        EarlyStopping(**settings)


# ------------------------------------------------------------------------------------- saved models


def test_model_checkpoint_saves_every_epoch_under_names_with_figures(tmp_path):
    name = tmp_path / "{epoch:02d}-{figure:.1f}.safetensors"
    model, says = model_of(), Says([3, 1, 2])
    fit(model, [says, ModelCheckpoint(name)], epochs=3)
    assert sorted(path.stem for path in tmp_path.iterdir()) == ["01-3.0", "02-1.0", "03-2.0"]
    assert same(says.weights[1], sn.load_model(tmp_path / "02-1.0.safetensors"))


def test_model_checkpoint_keeps_the_best(tmp_path):
    path = tmp_path / "best.safetensors"
    says = Says([3, 1, 2])
    fit(model_of(), [says, ModelCheckpoint(path, "figure", save_best_only=True)], epochs=3)
    assert same(says.weights[1], sn.load_model(path))


def test_a_name_with_an_unknown_figure_is_refused():
    with pytest.raises(InputError, match="expected names of epoch, loss, accuracy in it, found 'x"):
        fit(model_of(), [ModelCheckpoint("{xyz}.safetensors")])


# ------------------------------------------------------------------------------------------ loggers


def test_the_learning_rate_is_that_of_the_last_step():
    schedule = sn.schedules.OneCycle(0.1, 9)
    history = fit(model_of(sn.SGD(schedule)), [LearningRateLogger()], epochs=3)
    assert history.history["learning_rate"] == [schedule(2), schedule(5), schedule(8)]


def test_the_loggers_files_are_the_history(tmp_path):
    """Wherever they stand in the list; the second fit's file is of the second fit."""
    paths = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.jsonl"
    callbacks = [CSVLogger(paths[0]), CSVLogger(paths[1], ";"), JSONLinesLogger(paths[2])]
    callbacks += [LearningRateLogger(), Says([1.0, NAN, math.inf])]
    model = model_of()
    fit(model, callbacks, epochs=2)
    history = fit(model, callbacks, epochs=3)
    rows = history.rows()
    assert [row["epoch"] for row in rows] == [0, 1, 2]
    assert list(rows[0]) == ["epoch", "loss", "accuracy", "learning_rate", "figure"]
    for path, separator in zip(paths, ",;", strict=False):
        with open(path, newline="") as file:
            found = list(csv.DictReader(file, delimiter=separator))
        assert [list(row) for row in found] == [list(row) for row in rows]
        values = [[float(value) for value in row.values()] for row in found]
        np.testing.assert_array_equal(values, [list(row.values()) for row in rows])
    lines = [
        json.loads(line, parse_constant=pytest.fail) for line in paths[2].read_text().splitlines()
    ]
    assert lines[0] == rows[0]
    assert [line["figure"] for line in lines] == [1.0, None, None]


def test_a_figure_that_comes_late_belongs_to_its_epoch():
    class Late(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 1:
                logs["late"] = 7.0

    found = fit(model_of(), [Late()], epochs=3).history["late"]
    np.testing.assert_array_equal(found, [NAN, 7, NAN])


def test_history_plots_itself():
    history = fit(model_of(), [], epochs=3, validation_split=0.3)
    titles = [ax.get_title("left") for ax in history.plot().axes]
    assert titles == ["Loss", "Accuracy"]


# -------------------------------------------------------------------------------------- not finite


class Spoils(Callback):
    """After that batch (from 0, through all epochs) writes the number into one array."""

    def __init__(self, at, store, layer, key, number):
        self.at, self.where, self.number, self.seen = at, (store, layer, key), number, -1

    def on_batch_end(self, batch, logs):
        self.seen += 1
        if self.seen == self.at:
            store, layer, key = self.where
            getattr(self.model.layers[layer], store)[key].flat[-1] = self.number


class Stops(Callback):
    """After so many batches."""

    def __init__(self, batches):
        self.left = batches

    def on_batch_end(self, batch, logs):
        self.left -= 1
        self.model.stop_training |= self.left == 0


@pytest.mark.parametrize("number", [NAN, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("store", "layer", "key", "words"),
    [
        ("grads", 0, "W", "gradient W of layer dense is"),
        ("grads", 3, "b", "gradient b of layer dense_1 is"),
        ("params", 1, "gamma", "parameter gamma of layer batchnorm is"),
    ],
)
def test_what_is_not_finite_is_named_and_the_step_undone(backend, store, layer, key, words, number):
    model, before = model_of(), model_of()
    with pytest.raises(DivergedError, match=words) as caught:
        fit(model, [Spoils(4, store, layer, key, number), StopOnNaN()], epochs=3)
    assert "step 5 (epoch 2, batch 2)" in str(caught.value)
    fit(before, [Stops(4)], epochs=3)
    assert same(before.arrays(), model)


def test_an_example_that_is_not_a_number_stops_the_training(backend):
    x, y = examples()
    x[20] = NAN
    model, before = model_of(), model_of()
    with pytest.raises(DivergedError, match="step 3 .*gradient W of layer dense_1"):
        fit(model, [StopOnNaN()], data=(x, y), shuffle=False)
    fit(before, [Stops(2)], data=(x, y), shuffle=False)
    assert same(before.arrays(), model)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_learning_rate_beyond_all_bounds_is_found_out(backend):
    with pytest.raises(DivergedError):
        fit(model_of(sn.SGD(1e30)), [StopOnNaN()], epochs=50)


def test_large_finite_numbers_are_no_divergence():
    """The square of a gradient of 1e21 is no float32."""
    model = sn.Sequential([sn.Dense(3)], input_shape=(4,))
    model.compile(sn.SGD(1e-30), sn.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.flat_params[:] = 0
    x, y = examples(8)
    fit(model, [StopOnNaN()], data=(x * np.float32(1e21), y))
    assert np.abs(model.flat_grads).max() > 1e20


def test_after_a_stop_on_nan_good_data_train_on(rng):
    x, y = rng.normal(size=(64, 6)).astype("f4"), np.arange(64) % 3
    bad = x.copy()
    bad[40] = np.nan
    models = []
    for broken in (True, False):
        model = sn.Sequential([sn.Dense(8), sn.BatchNorm(), sn.Dense(3), sn.Softmax()], (6,))
        model.compile(sn.Adam(use_ema=True), "sparse_categorical_crossentropy")
        how = {"batch_size": 8, "shuffle": False, "verbose": 0}
        if broken:
            with pytest.raises(sn.callbacks.DivergedError, match="step 6"):
                model.fit(bad, y, **how, callbacks=[sn.callbacks.StopOnNaN()])
        else:
            model.fit(x[:40], y[:40], **how)
        model.fit(x, y, **how)
        models.append(model)
    assert np.isfinite(models[0].flat_params).all()
    assert np.array_equal(models[0].flat_params, models[1].flat_params)
