"""fit: what it remembers, which examples it sees when, whom it tells, what it shows and refuses."""

import io
import os
import pty
import re
import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError

# -------------------------------------------------------------------------------------------- tools


def numbered(n=10, classes=3):
    """n examples that carry their own number, so that the order in which they come can be seen."""
    return np.arange(n, dtype=np.float32)[:, None], np.arange(n) % classes


def model_of(rate=0.01, metrics=("accuracy",), seed=0):
    model = sn.Sequential([sn.Dense(3), sn.Softmax()], input_shape=(1,), seed=seed)
    model.compile(sn.SGD(rate), "sparse_categorical_crossentropy", list(metrics))
    return model


def watched(model):
    """The list that collects, batch by batch, the numbers of the examples the model trains on."""
    seen, train = [], model.train_on_batch

    def train_on_batch(x, y):
        assert np.array_equal(x[:, 0] % 3, y)  # example and label stay together
        seen.append(x[:, 0].astype(int).tolist())
        return train(x, y)

    model.train_on_batch = train_on_batch
    return seen


class Recorder(sn.Callback):
    def __init__(self):
        self.calls = []

    def on_epoch_begin(self, epoch, logs):
        self.calls.append(("begin", epoch, dict(logs)))

    def on_batch_end(self, batch, logs):
        self.calls.append(("batch", batch, dict(logs)))

    def on_epoch_end(self, epoch, logs):
        self.calls.append(("end", epoch, dict(logs)))


@contextmanager
def refused(*words):
    with pytest.raises(InputError) as caught:
        yield
    assert "\n" not in str(caught.value)
    assert all(str(word) in str(caught.value) for word in words), str(caught.value)


# ------------------------------------------------------------------------------------------ history


@pytest.mark.parametrize("metrics", [(), ("accuracy",)])
@pytest.mark.parametrize("validation", [{}, {"validation_split": 0.3}])
def test_history_has_keras_keys_and_a_value_an_epoch(metrics, validation):
    history = model_of(metrics=metrics).fit(*numbered(), epochs=3, verbose=0, **validation)
    names = ["loss", *metrics]
    names += [f"val_{name}" for name in names] if validation else []
    assert list(history.history) == names
    assert all(len(values) == 3 for values in history.history.values())
    assert all(type(value) is float for values in history.history.values() for value in values)
    assert history.epoch == [0, 1, 2]
    assert "3 epochs" in repr(history)


def test_initial_epoch_is_where_the_counting_goes_on():
    assert model_of().fit(*numbered(), epochs=5, initial_epoch=3, verbose=0).epoch == [3, 4]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 32])
def test_the_last_smaller_batch_counts_by_its_size(batch_size):
    """With a learning rate of 0 the means over an epoch are the loss and accuracy of the whole."""
    (x, y), model = numbered(), model_of(rate=0)
    history = model.fit(x, y, batch_size, verbose=0).history
    probabilities = model.predict(x)[np.arange(10), y]
    assert history["loss"][0] == pytest.approx(-np.log(probabilities).mean(), rel=1e-5)
    assert history["accuracy"][0] == (model.predict(x).argmax(axis=1) == y).mean()
    found = model.evaluate(x, y, batch_size, verbose=0)
    assert found == pytest.approx([history["loss"][0], history["accuracy"][0]], rel=1e-6)


# ----------------------------------------------------------------------------------- which examples


@pytest.mark.parametrize("labels", [np.uint8, ">i4", np.float64])
def test_a_batch_larger_than_all_there_is_takes_all(labels):
    (x, y), model = numbered(), model_of()
    history = model.fit(x, y.astype(labels), batch_size=10**12, epochs=2, verbose=0)
    assert len(history.epoch) == 2 and model.optimizer.iterations == 2


def test_validation_split_holds_out_the_last_part_unshuffled():
    (x, y), model = numbered(), model_of(rate=0)
    seen = watched(model)
    history = model.fit(x, y, 4, epochs=2, validation_split=0.3, verbose=0).history
    assert {number for batch in seen for number in batch} == set(range(7))
    held = model.evaluate(x[7:], y[7:], verbose=0)
    assert [history["val_loss"][0], history["val_accuracy"][0]] == pytest.approx(held, rel=1e-6)


def test_validation_data_are_evaluated_and_take_precedence():
    (x, y), model = numbered(), model_of(rate=0)
    seen = watched(model)
    history = model.fit(x, y, validation_split=0.5, validation_data=(x[:2], y[:2]), verbose=0)
    assert sorted(sum(seen, [])) == list(range(10))
    found = model.evaluate(x[:2], y[:2], verbose=0)
    assert history.history["val_loss"] == [pytest.approx(found[0], rel=1e-6)]


def test_every_epoch_sees_every_example_once_in_an_order_of_its_own():
    def orders(seed):
        model = model_of(seed=seed)
        seen = watched(model)
        model.fit(*numbered(20), batch_size=6, epochs=2, verbose=0)
        assert [len(batch) for batch in seen] == [6, 6, 6, 2] * 2
        return sum(seen[:4], []), sum(seen[4:], [])

    first, second = orders(0)
    assert sorted(first) == sorted(second) == list(range(20))
    assert len({tuple(first), tuple(second), tuple(range(20))}) == 3
    assert orders(0) == (first, second)
    assert orders(1) != (first, second)


def test_without_shuffle_the_examples_come_as_they_stand():
    model = model_of()
    seen = watched(model)
    model.fit(*numbered(7), batch_size=3, shuffle=False, verbose=0)
    assert seen == [[0, 1, 2], [3, 4, 5], [6]]


# ---------------------------------------------------------------------------------------- callbacks


def test_callbacks_are_told_everything_in_order():
    model, recorder = model_of(), Recorder()
    held_out = {"validation_split": 0.2, "callbacks": [recorder], "verbose": 0}
    history = model.fit(*numbered(), 4, epochs=2, **held_out)
    one_epoch = ["begin", "batch", "batch", "end"]
    assert [call[0] for call in recorder.calls] == one_epoch * 2
    assert [call[1] for call in recorder.calls] == [0, 0, 1, 0, 1, 0, 1, 1]
    assert recorder.model is model
    for kind, _, logs in recorder.calls:
        assert (
            list(logs)
            == {
                "begin": [],
                "batch": ["loss", "accuracy"],
                "end": ["loss", "accuracy", "val_loss", "val_accuracy"],
            }[kind]
        )
    ends = [logs for kind, _, logs in recorder.calls if kind == "end"]
    assert {key: [logs[key] for logs in ends] for key in ends[0]} == history.history
    last_batch = [logs for kind, number, logs in recorder.calls if (kind, number) == ("batch", 1)]
    assert [logs["loss"] for logs in last_batch] == history.history["loss"]


@pytest.mark.parametrize(
    ("when", "number", "trained", "kept"),
    [("batch", 1, 2, []), ("batch", 3, 4, [0]), ("end", 1, 8, [0, 1])],
)
def test_stop_training_ends_after_the_batch_and_keeps_whole_epochs(when, number, trained, kept):
    class Stop(sn.Callback):
        def on_batch_end(self, batch, logs):
            self.model.stop_training |= (when, number) == ("batch", batch)

        def on_epoch_end(self, epoch, logs):
            self.model.stop_training |= (when, number) == ("end", epoch)

    model = model_of()
    seen = watched(model)
    history = model.fit(*numbered(16), 4, epochs=5, callbacks=[Stop()], verbose=0)
    assert len(seen) == trained
    assert history.epoch == kept
    again = model.fit(*numbered(16), 4, epochs=1, verbose=0)  # a stop is not for ever
    assert again.epoch == [0]


# ----------------------------------------------------------------------------------------- progress


@pytest.mark.parametrize("verbose", ["auto", 1, 2])
def test_lines_where_there_is_no_terminal(verbose, capsys):
    file = io.StringIO()
    history = model_of().fit(
        *numbered(), epochs=12, validation_split=0.2, verbose=verbose, progress_file=file
    )
    lines = file.getvalue().splitlines()
    assert len(lines) == 12
    assert all(line.isprintable() for line in lines)  # no cursor movements in a log file
    for number in (0, 11):
        values = {key: values[number] for key, values in history.history.items()}
        assert f"{number + 1:>2}/12" in lines[number]
        assert f"loss {values['loss']:.4f}" in lines[number]
        assert f"val_accuracy {100 * values['val_accuracy']:.2f} %" in lines[number]
    assert capsys.readouterr().out == ""
    model_of().fit(*numbered(), verbose=verbose)
    assert "epoch 1/1" in capsys.readouterr().out


def test_verbose_0_is_silent(capfd):
    file = io.StringIO()
    model_of().fit(*numbered(), verbose=0, validation_split=0.5)
    model_of().fit(*numbered(), verbose=0, progress_file=file)
    assert file.getvalue() == ""
    assert capfd.readouterr() == ("", "")


def fit_on_a_terminal(monkeypatch, wait_for):
    """All that fit writes to a terminal of 100 columns; the second batch waits to see the bar."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    ours, theirs = pty.openpty()
    chunks = []

    def read():
        while True:
            try:
                chunks.append(os.read(ours, 4096))
            except OSError:  # Linux's way of saying that the other end was closed
                return

    def text():
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(chunks).decode(errors="replace"))

    class Wait(sn.Callback):
        def on_batch_end(self, batch, logs):
            until = time.monotonic() + 20
            while batch == 3 and not re.search(wait_for, text()) and time.monotonic() < until:
                time.sleep(0.02)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        with os.fdopen(theirs, "w") as file:
            model_of().fit(*numbered(40), 4, 2, callbacks=[Wait()], progress_file=file)
    finally:
        reader.join()
        os.close(ours)
    return text()


def test_a_terminal_gets_a_bar_with_figures_speed_and_time_left(monkeypatch):
    figures = r"epoch 1/2.*loss \d+\.\d{4}  accuracy \d+\.\d\d %.* [\d,]+ images/s +[\d:]+ +left"
    shown = fit_on_a_terminal(monkeypatch, figures)
    assert re.search(figures, shown), shown
    assert re.search(r"[━╸╺]{5,}", shown)
    assert re.search(r"epoch 2/2  loss \d+\.\d{4}  accuracy \d+\.\d\d %  \d+\.\d s", shown)


# ----------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"epochs": -1}, ["epochs", "-1"]),
        ({"initial_epoch": -1}, ["initial_epoch", "-1"]),
        ({"batch_size": 0}, ["batch_size", "at least 1", "found 0"]),
        ({"validation_split": 1.5}, ["validation_split", "1.5"]),
        ({"validation_split": 1}, ["validation_split", "1"]),
        ({"validation_split": float("nan")}, ["validation_split", "nan"]),
        ({"validation_split": 0.99}, ["validation_split", "0.99", "10 examples"]),
        ({"validation_data": (np.zeros((3, 1)), [0, 1])}, ["(3, 1)", "(2,)"]),
        ({"y": np.arange(9) % 3}, ["(10, 1)", "(9,)"]),
        ({"y": np.arange(10)}, ["labels", "0 to 2", "9"]),
        ({"y": np.arange(10) % 3 - 1}, ["labels", "0 to 2", "-1"]),
        ({"y": np.arange(10) / 10}, ["labels", "whole numbers", "fractions"]),
        ({"y": np.full(10, np.inf)}, ["labels"]),
        ({"y": np.zeros((10, 3), int)}, ["labels", "(10,)", "(10, 3)"]),
        ({"x": np.zeros((10, 2))}, ["expected shape (n, 1)", "found (10, 2)"]),
    ],
    ids=str,
)
def test_a_wrong_argument_is_refused_in_one_line_and_nothing_learnt(arguments, words):
    x, y = numbered()
    model = model_of()
    before = model.flat_params.copy()
    with refused(*words):
        model.fit(**{"x": x, "y": y, "verbose": 0, **arguments})
    assert np.array_equal(model.flat_params, before)


@pytest.mark.parametrize("method", ["fit", "evaluate"])
def test_no_examples_at_all_are_refused(method):
    """A loss of 0 over nothing would look like a perfect model."""
    with refused("expected", "example"):
        getattr(model_of(), method)(np.zeros((0, 1)), np.zeros(0, int), verbose=0)
