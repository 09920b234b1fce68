"""Callbacks that set the learning rate, and functions as callbacks."""

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.callbacks import (
    BackupAndRestore,
    LambdaCallback,
    LearningRateScheduler,
    ReduceLROnPlateau,
)


class Says(sn.Callback):
    """Puts figures into the logs, one an epoch."""

    def __init__(self, figures, name="figure"):
        self.figures, self.name = figures, name

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.figures[epoch]


class CrashAt(sn.Callback):
    def __init__(self, step):
        self.step, self.seen = step, 0

    def on_batch_end(self, batch, logs):
        self.seen += 1
        if self.seen == self.step:
            raise KeyboardInterrupt


def fit(callbacks, epochs, optimizer=None):
    model = sn.Sequential([sn.Dense(2)], (3,))
    model.compile(optimizer or sn.SGD(1.0), "mse")
    x = np.random.default_rng(0).random((12, 3))
    history = model.fit(x, x[:, :2], batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks)
    return history.history, model


def keras_plateau(figures, factor, patience, cooldown, min_delta, min_lr, sign=-1):
    """Keras's documentation as code: the rate that each epoch runs with, from 1."""
    rate, best, wait, cooling, rates = 1.0, None, 0, 0, []
    for figure in figures:
        rates.append(rate)
        if cooling > 0:
            cooling -= 1
            wait = 0
        if best is None or sign * (figure - best) > min_delta:
            best, wait = figure, 0
        elif cooling == 0:
            wait += 1
            if wait >= patience and rate > min_lr:
                rate = max(rate * factor, min_lr)
                cooling, wait = cooldown, 0
    return rates


@pytest.mark.parametrize("seed", range(6))
def test_the_rate_falls_on_a_plateau_as_in_keras(seed):
    rng = np.random.default_rng(seed)
    figures = list(np.round(rng.random(25) ** 2 + 1 / np.arange(1, 26), 2))
    factor, patience = (0.5, 0.1)[seed % 2], int(rng.integers(1, 4))
    cooldown, min_lr = int(rng.integers(0, 3)), (0.0, 0.02)[seed % 2]
    mode = ("min", "max")[seed // 3]
    callback = ReduceLROnPlateau(
        "figure", factor, patience, mode=mode, cooldown=cooldown, min_lr=min_lr, min_delta=0.01
    )
    history, _ = fit([Says(figures), callback], len(figures))
    sign = 1 if mode == "max" else -1
    want = keras_plateau(figures, factor, patience, cooldown, 0.01, min_lr, sign)
    assert history["learning_rate"] == pytest.approx(want)
    assert len(set(want)) > 1


@pytest.mark.parametrize("schedule", [lambda e: 0.5**e, lambda e, rate: rate * (0.5 if e else 1)])
def test_a_function_of_the_epoch_sets_the_rate(schedule, capsys):
    history, model = fit([LearningRateScheduler(schedule, verbose=1)], 4)
    assert history["learning_rate"] == [1, 0.5, 0.25, 0.125]
    assert float(model.optimizer.learning_rate(99)) == 0.125
    assert "epoch 2: learning rate 0.5, before 1" in capsys.readouterr().out
    plain, one = fit([], 1, sn.SGD(0.25))
    other, two = fit([LearningRateScheduler(lambda e: 0.25)], 1, sn.SGD(7.0))
    assert np.array_equal(one.flat_params, two.flat_params)
    assert plain["loss"] == other["loss"]


MAKE = {
    "plateau": lambda: ReduceLROnPlateau("figure", 0.5, 2, cooldown=1),
    "scheduler": lambda: LearningRateScheduler(lambda epoch, rate: rate * 0.7),
}


@pytest.mark.parametrize("kind", MAKE)
@pytest.mark.parametrize("crash", [2, 3, 7, 12, 16])
def test_a_training_resumes_with_the_rate_it_had(tmp_path, kind, crash):
    figures = [1, 2, 2, 2, 0, 3, 3, 3, 3]

    def trained(folder, step):
        callbacks = [Says(figures), MAKE[kind](), CrashAt(step)]
        return fit([*callbacks, BackupAndRestore(folder, save_freq=1)], 9)

    history, model = trained(tmp_path / "a", None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", crash)
    again, other = trained(tmp_path / "b", None)
    assert again == history
    assert np.array_equal(other.flat_params, model.flat_params)


@pytest.mark.parametrize("kind", MAKE)
def test_a_state_that_cannot_be_is_refused(kind):
    callback = MAKE[kind]()
    good = {"best": 0.5, "wait": 1, "cooling": 0, "rate": 0.1, "epoch": 3}
    callback.check_state(good)
    for key in ("wait", "cooling", "rate") if kind == "plateau" else ("epoch", "rate"):
        with pytest.raises(InputError):
            callback.check_state(good | {key: "no"})
        with pytest.raises(InputError):
            callback.check_state({name: value for name, value in good.items() if name != key})


def test_a_rate_that_changes_by_itself_is_refused():
    for make in MAKE.values():
        with pytest.raises(InputError, match="expected an optimizer with a constant learning rate"):
            fit([Says([1]), make()], 1, sn.SGD(sn.schedules.Cosine(0.1, 10)))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: ReduceLROnPlateau(factor=1.0), "factor"),
        (lambda: ReduceLROnPlateau(patience=-1), "patience"),
        (lambda: ReduceLROnPlateau(cooldown=0.5), "cooldown"),
        (lambda: ReduceLROnPlateau(min_lr=-1), "min_lr"),
        (lambda: ReduceLROnPlateau(mode="up"), "mode"),
        (lambda: LearningRateScheduler(0.1), "schedule: expected a function"),
        (lambda: LambdaCallback(on_epoch_end=3), "on_epoch_end: expected a function"),
    ],
)
def test_wrong_arguments_are_named(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_what_the_function_returns_is_checked():
    for rate in (None, "fast", -1, float("nan")):
        with pytest.raises(InputError, match="learning_rate"):
            fit([LearningRateScheduler(lambda e, r, found=rate: found)], 1)
    with pytest.raises(InputError, match="monitor: expected one of loss"):
        fit([ReduceLROnPlateau()], 1)  # there is no validation


def test_functions_are_called_when_something_happens():
    seen = []
    names = ["on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end"]
    names += ["on_batch_begin", "on_train_batch_end"]

    def noting(name):
        return lambda *arguments: seen.append((name, arguments[:-1], sorted(arguments[-1])))

    fit([LambdaCallback(on_batch_end=None, **{name: noting(name) for name in names})], 2)
    epoch = [("on_batch_begin", (0,), []), ("on_train_batch_end", (0,), ["loss"])]
    assert seen[0] == ("on_train_begin", (), []) and seen[-1] == ("on_train_end", (), [])
    assert seen[1] == ("on_epoch_begin", (0,), []) and seen[2:4] == epoch
    assert seen[8] == ("on_epoch_end", (0,), ["loss"]) and len(seen) == 2 + 2 * 8
    with pytest.raises(TypeError, match="'on_epoch_ends'"):
        LambdaCallback(on_epoch_ends=print)


def test_methods_by_keras_newer_names_are_called():
    class Mine(sn.Callback):
        count = 0

        def on_train_batch_end(self, batch, logs):
            self.count += logs["loss"] > 0

    mine = Mine()
    fit([mine], 2)
    assert mine.count == 6
