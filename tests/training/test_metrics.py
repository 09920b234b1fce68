"""Metrics: counted over all batches, by name in History, watched, saved and gone on with."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import GENERATORS

import scratchnet as sn
from scratchnet import metrics
from scratchnet.callbacks import BackupAndRestore, EarlyStopping, ModelCheckpoint


def worst(y_true, y_pred):
    """One number a batch."""
    return np.abs(y_true - y_pred.argmax(axis=1)).max()


def distance(y_true, y_pred):
    """One number an example."""
    return np.abs(y_true - y_pred.argmax(axis=1))


def counted(metric, y_true, y_pred, sizes=(3, 7, 1)):
    """The figure after batches of these sizes and the rest."""
    metric.reset_state()
    edges = np.cumsum(sizes)
    for y, p in zip(np.split(y_true, edges), np.split(y_pred, edges), strict=True):
        metric.update_state(y, p)
    return metric.result()


def of_class(true, predicted, k):
    """Precision, recall and F1 of a class, by their definitions."""
    both = sum(t == p == k for t, p in zip(true, predicted, strict=True))
    claimed, there = sum(p == k for p in predicted), sum(t == k for t in true)
    precision, recall = both / claimed if claimed else 0, both / there if there else 0
    f1 = 2 * precision * recall / (precision + recall) if both else 0
    return precision, recall, f1


KINDS = metrics.Precision, metrics.Recall, metrics.F1


@given(rng=GENERATORS, n=st.integers(1, 40), k=st.integers(2, 6))
def test_precision_recall_and_f1_are_those_of_all_examples_together(rng, n, k):
    y_pred, y_true = rng.random((n, k)), rng.integers(0, k, n)
    predicted = y_pred.argmax(axis=1)
    seen = sorted({*y_true, *predicted})
    macro = np.mean([of_class(y_true, predicted, c) for c in seen], axis=0)
    for kind, figure in zip(KINDS, macro, strict=True):
        for written in (y_true, y_true[:, None], np.eye(k)[y_true]):
            assert counted(kind(), written, y_pred) == pytest.approx(figure, rel=1e-12)
        assert counted(kind("micro"), y_true, y_pred) == pytest.approx(np.mean(predicted == y_true))
        if k == 2:
            of_one = of_class(y_true, predicted, 1)[KINDS.index(kind)]
            assert counted(kind("binary"), y_true, y_pred) == pytest.approx(of_one)


@given(rng=GENERATORS, n=st.integers(1, 30), threshold=st.sampled_from([0.2, 0.5]))
def test_of_one_output_the_threshold_decides(rng, n, threshold):
    y_pred, y_true = rng.random((n, 1)), rng.integers(0, 2, n)
    predicted = (y_pred[:, 0] > threshold).astype(int)
    for kind, figure in zip(KINDS, of_class(y_true, predicted, 1), strict=True):
        for written in (y_true, y_true[:, None], y_true.astype(float)):
            assert counted(kind(threshold=threshold), written, y_pred) == pytest.approx(figure)
    right = counted(metrics.BinaryAccuracy(threshold), y_true, y_pred)
    assert right == pytest.approx(np.mean(predicted == y_true))


@given(rng=GENERATORS, n=st.integers(1, 30), k=st.integers(1, 6), best=st.integers(1, 6))
def test_top_k_is_the_part_with_their_class_among_the_k_largest(rng, n, k, best):
    y_pred, y_true = rng.permuted(np.tile(np.arange(6.0), (n, 1)), axis=1)[:, :k], None
    y_true = rng.integers(0, k, n)
    if best > k:
        with pytest.raises(sn.InputError, match=f"k of at most {k}"):
            counted(metrics.TopK(best), y_true, y_pred)
        return
    expected = np.mean(
        [t in np.argsort(p)[::-1][:best] for t, p in zip(y_true, y_pred, strict=True)]
    )
    assert counted(metrics.TopK(best), y_true, y_pred) == pytest.approx(expected)


def test_top_k_of_numbers_that_are_none_is_wrong():
    y_pred = np.array([[np.nan, 1.0, 2.0], [0.0, 0.0, 0.0]])
    assert counted(metrics.TopK(2), np.array([0, 2]), y_pred, ()) == 0.5


@given(rng=GENERATORS, n=st.integers(1, 30))
def test_means_of_differences_and_of_functions_weigh_the_last_batch_by_its_size(rng, n):
    y_pred, y_true = rng.standard_normal((2, n))
    mae, mse = metrics.MeanAbsoluteError(), metrics.MeanSquaredError()
    for pred in (y_pred, y_pred[:, None]):
        assert counted(mae, y_true, pred) == pytest.approx(np.mean(np.abs(y_pred - y_true)))
        assert counted(mse, y_true, pred) == pytest.approx(np.mean((y_pred - y_true) ** 2))
    for function in (
        lambda t, p: (p - t) ** 3,
        lambda t, p: np.mean((p - t) ** 3) if len(t) else 0,
    ):
        found = counted(metrics.FunctionMetric(function), y_true, y_pred)
        assert found == pytest.approx(np.mean((y_pred - y_true) ** 3))


# ---- in a training -------------------------------------------------------------------------------


def examples(n=50, k=4):
    rng = np.random.default_rng(5)
    return rng.standard_normal((n, 3)), rng.integers(0, k, n)


def model_of(chosen, loss="sparse_categorical_crossentropy", end=(4, True), fuse=True):
    units, softmax = end
    layers = [sn.Dense(8), sn.ReLU(), sn.Dense(units), *([sn.Softmax()] if softmax else [])]
    model = sn.Sequential(layers, (3,), fuse=fuse)
    model.compile("sgd", loss, chosen)
    return model


ALL = ["accuracy", metrics.TopK(2), "precision", "recall", metrics.F1("micro"), worst, distance]


@pytest.mark.parametrize("fuse", [True, False])
def test_every_figure_is_in_history_and_that_of_the_probabilities(fuse):
    (x, y), total = examples(), metrics.FunctionMetric(lambda t, p: p.sum(axis=1))
    total.name = "total"
    model = model_of([*ALL, total], fuse=fuse)
    names = [
        "accuracy",
        "top_2_accuracy",
        "precision",
        "recall",
        "f1",
        "worst",
        "distance",
        "total",
    ]
    data = x[:17], y[:17]
    history = model.fit(x, y, 8, epochs=2, verbose=0, validation_data=data).history
    assert list(history) == ["loss", *names, "val_loss", *(f"val_{name}" for name in names)]
    np.testing.assert_allclose(history["total"], 1, rtol=1e-6)  # not of the logits
    probs, one = model.predict(data[0]), model.evaluate(*data, 8, 0, return_dict=True)
    assert list(one) == ["loss", *names] and one == {key: history[f"val_{key}"][-1] for key in one}
    assert [*one.values()] == model.evaluate(*data, 8, 0)
    macro = np.mean([of_class(data[1], probs.argmax(axis=1), k) for k in range(4)], axis=0)
    assert one["precision"] == pytest.approx(macro[0]) and one["recall"] == pytest.approx(macro[1])
    assert one["f1"] == one["accuracy"] == np.mean(probs.argmax(axis=1) == data[1])
    apart = np.abs(data[1] - probs.argmax(axis=1))
    assert one["distance"] == pytest.approx(apart.mean())
    assert one["worst"] == pytest.approx(
        (8 * apart[:8].max() + 8 * apart[8:16].max() + apart[16]) / 17
    )


@pytest.mark.parametrize("end", [[], [sn.Sigmoid]])
def test_figures_of_yes_and_no_are_those_of_probabilities_from_logits_too(end):
    (x, y), names = examples(k=2), ["accuracy", "precision", "recall", "f1"]
    model = sn.Sequential([sn.Dense(1), *(make() for make in end)], (3,))
    model.compile("sgd", sn.losses.BinaryCrossentropy(from_logits=not end), [*names, "mae"])
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    out = model.predict(x)[:, 0]
    predicted = (out > (0.5 if end else 0)).astype(int)
    expected = np.mean(predicted == y), *of_class(y, predicted, 1)
    np.testing.assert_allclose([found[name] for name in names], expected)
    assert found["mae"] == pytest.approx(np.abs(out - y).mean(), rel=1e-6)  # of what predict gives


def test_one_output_of_one_class_is_no_yes_or_no():
    model = sn.Sequential([sn.Dense(1), sn.Softmax()], (3,))
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    assert model.evaluate(np.ones((4, 3)), np.zeros(4, int), verbose=0) == [0, 1]


def test_figures_on_the_progress_line(capsys):
    x, y = examples()
    model_of(["top_k_accuracy", "recall"], end=(6, True)).fit(x, y, 25, verbose=2)
    line = capsys.readouterr().out
    assert "top_k_accuracy " in line and " %" in line and "recall 0." in line


@pytest.mark.parametrize("monitor, grows", [("val_recall", True), ("mae", False), ("f1", True)])
def test_stopping_and_saving_know_which_way_is_good(monitor, grows, tmp_path):
    x, y = examples(k=2)
    model = sn.Sequential([sn.Dense(1)], (3,))
    model.compile("sgd", "mse", ["recall", "f1", "mae"])
    stop = EarlyStopping(monitor, patience=50)
    keep = ModelCheckpoint(tmp_path / "best", monitor, save_best_only=True)
    history = model.fit(x, y, epochs=9, verbose=0, validation_split=0.2, callbacks=[stop, keep])
    best = max if grows else min
    assert stop.best.value == keep.best.value == best(history.history[monitor])


def test_of_a_function_nobody_knows_which_way_is_good():
    x, y = examples()
    model = model_of([distance])
    with pytest.raises(sn.InputError, match='"min" or "max", found "auto".*distance'):
        model.fit(x, y, verbose=0, callbacks=[EarlyStopping("distance")])
    model.fit(x, y, verbose=0, callbacks=[EarlyStopping("distance", mode="min")])


class Crash(sn.Callback):
    def on_batch_end(self, batch, logs):
        if self.run.epoch == 1 and batch == 3:
            raise KeyboardInterrupt


class Seen(metrics.Metric):
    """One of a user's own."""

    def update_state(self, y_true, y_pred):
        self.add(rows=len(y_true), classes=np.bincount(y_true, minlength=4))

    def result(self):
        return self.counts["rows"] + self.counts["classes"].max() / 100


def test_a_training_that_crashed_goes_on_with_the_same_figures(tmp_path):
    def trained(folder, *more):
        model = model_of([*ALL, Seen("seen")])
        return model.fit(
            *examples(), 8, 3, verbose=0, callbacks=[*more, BackupAndRestore(folder, 1)]
        )

    class Calm(sn.Callback):
        pass

    Calm.__name__ = "Crash"
    expected = trained(tmp_path / "whole", Calm()).history
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "broken", Crash())
    assert trained(tmp_path / "broken", Calm()).history == expected
    assert expected["seen"][0] > 50


@pytest.mark.parametrize(
    "state", [[], {"true": "a"}, {"true": [[1]]}, {"true": [True]}, {"true": [1, None]}, None]
)
def test_a_state_that_is_none_is_refused(state):
    with pytest.raises(sn.InputError, match="metric recall"):
        metrics.Recall().load_state(state)


def test_metrics_are_saved_but_for_your_own(tmp_path):
    model = model_of([*ALL[:5], metrics.BinaryAccuracy(0.3), worst, Seen("seen")])
    with pytest.warns(UserWarning, match="metric (worst|seen) is your own.*left out") as said:
        model.save(tmp_path / "m")
    assert len(said) == 2
    again = sn.load_model(tmp_path / "m")
    entries = metrics.described(again.metrics)
    assert entries == json.loads(json.dumps(metrics.described(model.metrics[:6])))
    assert [metrics.get(metric).name for metric in again.metrics][-2:] == ["f1", "binary_accuracy"]
    assert again.metrics[1].k == 2 and again.metrics[4].average == "micro"


@pytest.mark.parametrize(
    "chosen, text",
    [
        (["acuracy"], "accuracy, .*found 'acuracy'"),
        ("accuracy", "a list such as"),
        (5, "a list such as"),
        ([metrics.Recall], "found <class"),
        (["recall", metrics.Recall()], "names of their own, found 'recall'"),
        ([metrics.Recall(name="loss")], "names of their own, found 'loss'"),
        ([None], "found None"),
    ],
)
def test_what_is_no_metric_is_refused_and_changes_nothing(chosen, text):
    model = model_of(["recall"])
    with pytest.raises(sn.InputError, match=f"metrics: expected .*{text}"):
        model.compile("adam", "mse", chosen)
    assert model.metrics == ["recall"] and type(model.optimizer) is sn.SGD


def test_bad_settings_and_bad_results_are_refused():
    for make in (
        lambda: metrics.TopK(0),
        lambda: metrics.F1("weighted"),
        lambda: metrics.Precision(threshold="a"),
        lambda: metrics.Recall(name=""),
    ):
        with pytest.raises(sn.InputError, match="expected"):
            make()
    x, y = examples()
    for function in (lambda t, p: "good", lambda t, p: p[:1], lambda t, p: None):
        with pytest.raises(sn.InputError, match="metric <lambda>: expected a number"):
            model_of([function]).evaluate(x, y, verbose=0)
    with pytest.raises(sn.InputError, match="one class an example"):
        model_of(["recall"], "mse").evaluate(x, np.ones((50, 4)), verbose=0)
