"""Exact resume: whatever ended a training, going on gives the bits of one that was never ended."""

import contextlib
import copy
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError, checkpoint
from scratchnet.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateLogger,
    ModelCheckpoint,
    StopOnNaN,
)
from scratchnet.run_folder import stopped_by_signals

IMAGES = 60  # 54 to train on: 7 batches of 8, the last one smaller
STEPS = 4 * 7

# -------------------------------------------------------------------------------------------- tools


class CrashError(Exception):
    pass


class CrashAt(Callback):
    """Raises after so many batches or epochs, or stops in order; stands before the backup."""

    def __init__(self, batches=None, epochs=None, stop=None):
        self.batches, self.epochs, self.stop = batches, epochs, stop

    def on_batch_end(self, batch, logs):
        self.model.stop_training |= batch + 1 == self.stop
        self.batches = self.batches and self.batches - 1
        if self.batches == 0:
            raise CrashError

    def on_epoch_end(self, epoch, logs):
        self.epochs = self.epochs and self.epochs - 1
        if self.epochs == 0:
            raise CrashError


def examples():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (IMAGES, 6, 6), np.uint8), rng.integers(0, 3, IMAGES)


def brightness(x, rng):
    """An augmentation that draws, and that spawns streams as well."""
    (inner,) = rng.spawn(1)
    factor = rng.random((len(x), 1, 1)) * inner.random()
    return (x * factor).astype(np.uint8)


OPTIMIZERS = {
    "adam": lambda: sn.Adam(sn.schedules.OneCycle(0.02, STEPS)),
    "adamw": lambda: sn.AdamW(sn.schedules.Cosine(0.02, STEPS)),
    "nesterov": lambda: sn.SGD(sn.schedules.StepDecay(0.1, 9), momentum=0.9, nesterov=True),
    "sgd": lambda: sn.SGD(0.1),
    "rmsprop": lambda: sn.RMSprop(0.01, momentum=0.5, centered=True, weight_decay=0.1),
    "adagrad": lambda: sn.Adagrad(0.05),
    "nadam": lambda: sn.Nadam(0.01),
    "lion": lambda: sn.Lion(0.003, use_ema=True),
    "averaged": lambda: sn.AdamW(0.02, use_ema=True, ema_momentum=0.8, global_clipnorm=0.5),
}


def model_of(optimizer="adam", seed=3):
    layers = [sn.Conv2D(4, 3), sn.BatchNorm(), sn.ReLU(), sn.MaxPool2D(2), sn.Flatten()]
    layers += [
        sn.Dropout(0.3),
        sn.GaussianNoise(0.1),
        sn.Residual([sn.Dense(16), sn.ReLU(), sn.Dropout(0.2)]),
    ]
    layers += [sn.BatchNorm(), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential(layers, input_shape=(6, 6, 1), seed=seed)
    model.compile(OPTIMIZERS[optimizer](), "sparse_categorical_crossentropy", ["accuracy"])
    return model


def trained(folder, crash=None, optimizer="adam", every=2, model=None, **settings):
    """Model and history after a training with a backup in the folder; None if it crashed."""
    model = model or model_of(optimizer)
    callbacks = [LearningRateLogger(), EarlyStopping(patience=2, restore_best_weights=True)]
    callbacks += [ModelCheckpoint(folder / "best.safetensors", save_best_only=True), StopOnNaN()]
    callbacks += [CSVLogger(folder / "metrics.csv"), crash or CrashAt()]
    callbacks += [BackupAndRestore(folder / "backup", every)]
    arguments = {"batch_size": 8, "epochs": 4, "validation_split": 0.1, "augment": brightness}
    try:
        history = model.fit(*examples(), verbose=0, callbacks=callbacks, **arguments | settings)
    except CrashError:
        return None
    return model, history


def result(folder, outcome):
    """All that must have the same bits."""
    model, history = outcome
    model.save(folder / "model.safetensors")
    names = ["model.safetensors", "best.safetensors", "metrics.csv"]
    files = {name: (folder / name).read_bytes() for name in names}
    return files | {"history": (history.epoch, history.history)}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """optimizer -> the result of a training that nothing disturbs."""
    found = {}

    def result_of(optimizer="adam"):
        if optimizer not in found:
            folder = tmp_path_factory.mktemp(optimizer)
            found[optimizer] = result(folder, trained(folder, optimizer=optimizer))
        return found[optimizer]

    return result_of


def backups(folder):
    return sorted((folder / "backup").iterdir())


# -------------------------------------------------------------------------------- the same bits


@pytest.mark.parametrize(
    "crash", [{"batches": n} for n in (1, 2, 3, 7, 8, 14, 20)] + [{"epochs": 1}]
)
def test_a_training_that_crashed_ends_with_the_same_bits(tmp_path, uninterrupted, crash):
    assert trained(tmp_path, CrashAt(**crash)) is None
    assert result(tmp_path, trained(tmp_path)) == uninterrupted()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_whatever_the_optimizer_remembers(tmp_path, uninterrupted, optimizer):
    assert trained(tmp_path, CrashAt(10), optimizer) is None
    assert result(tmp_path, trained(tmp_path, optimizer=optimizer)) == uninterrupted(optimizer)


class Halving(sn.Callback):
    def on_epoch_end(self, epoch, logs):
        self.model.optimizer.learning_rate *= 0.5


@pytest.mark.parametrize("rate", [0.1, lambda step: 0.1 / (1 + step)], ids=["changed", "function"])
def test_learning_rates_that_scripts_change_go_on_too(tmp_path, rate):
    def outcome(folder, crash):
        model = sn.Sequential([sn.Flatten(), sn.Dense(3), sn.Softmax()], (6, 6, 1))
        model.compile(sn.SGD(rate), "sparse_categorical_crossentropy")
        callbacks = [LearningRateLogger(), crash, BackupAndRestore(folder, 1)]
        callbacks += [] if callable(rate) else [Halving()]
        with contextlib.suppress(CrashError):
            found = model.fit(*examples(), 16, epochs=3, verbose=0, callbacks=callbacks)
            return found.history, model.flat_params.tobytes()

    assert outcome(tmp_path / "crashed", CrashAt(7)) is None
    expected = outcome(tmp_path / "not", CrashAt())
    assert outcome(tmp_path / "crashed", CrashAt()) == expected
    assert len(set(expected[0]["learning_rate"])) == 3


def test_crash_after_crash_after_crash(tmp_path, uninterrupted):
    for _ in range(6):
        assert trained(tmp_path, CrashAt(3)) is None
    assert result(tmp_path, trained(tmp_path)) == uninterrupted()


def test_a_training_that_ended_stays_as_it_is(tmp_path, uninterrupted):
    trained(tmp_path)
    assert result(tmp_path, trained(tmp_path, CrashAt(1))) == uninterrupted()


def test_a_model_without_a_seed_takes_over_every_random_stream(tmp_path, uninterrupted):
    """Every start has streams of its own then, and must go on with those of the first."""
    assert trained(tmp_path, CrashAt(10), model=model_of(seed=np.random.default_rng(3))) is None
    again = trained(tmp_path, model=model_of(seed=None))
    assert result(tmp_path, again) == uninterrupted()


def test_a_stop_in_the_middle_of_an_epoch_is_saved_at_once(tmp_path, uninterrupted):
    _, history = trained(tmp_path, CrashAt(stop=5), every="epoch")
    assert history.epoch == []
    assert [path.name for path in backups(tmp_path)] == ["state-0000000005.safetensors"]
    assert result(tmp_path, trained(tmp_path, every="epoch")) == uninterrupted()


def test_seconds_between_backups(tmp_path):
    backup = BackupAndRestore(tmp_path, seconds=0)
    model_of().fit(*examples(), batch_size=8, verbose=0, callbacks=[backup, CrashAt(epochs=9)])
    assert len(list(tmp_path.iterdir())) == 2
    backup.delete()
    assert list(tmp_path.iterdir()) == []


def test_early_stopping_that_came_to_its_end_does_not_go_on(tmp_path):
    def run(epochs):
        callbacks = [EarlyStopping("loss", min_delta=9, patience=2), BackupAndRestore(tmp_path)]
        model = model_of()
        return model, model.fit(*examples(), epochs=epochs, verbose=0, callbacks=callbacks)

    (first, history), (second, again) = run(5), run(9)
    assert history.epoch == again.epoch == [0, 1, 2]
    assert np.array_equal(first.flat_params, second.flat_params)


# ------------------------------------------------------------------------- killed in a write

KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    import scratchnet as sn
    from scratchnet import checkpoint
    from test_resume import trained

    left, where = int(sys.argv[1]), sys.argv[2]
    real = {{"fsync": os.fsync, "replace": os.replace, "fdopen": os.fdopen}}

    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    def replace(old, new):
        global left
        left -= Path(new).name.startswith("state-")
        if left == 0 and where == "before the rename":
            die()
        real["replace"](old, new)
        if left == 0 and where == "after the rename":
            die()

    def fdopen(handle, mode):
        file = real["fdopen"](handle, mode)
        name = os.readlink(f"/proc/self/fd/{{handle}}")
        if left == 1 and ".state-" in name and where == "half written":
            class Half:
                def __enter__(self): return self
                def __exit__(self, *error): pass
                def write(self, content):
                    file.write(content[: len(content) // 2])
                    file.flush()
                    die()
            return Half()
        return file

    checkpoint.os.replace, checkpoint.os.fdopen = replace, fdopen
    with sn.use_backend("reference"):
        trained(Path(sys.argv[3]))
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux's list of open files")
@pytest.mark.parametrize("where", ["half written", "before the rename", "after the rename"])
def test_killed_in_the_middle_of_a_write(tmp_path, where):
    script = textwrap.dedent(KILLED).format(tests=os.path.dirname(__file__))
    whole = tmp_path / "whole"
    whole.mkdir()
    with sn.use_backend("reference"):
        expected = result(whole, trained(whole))
        for number in (1, 2):  # again on top of what the first one left
            command = [sys.executable, "-c", script, str(3 * number), where, str(tmp_path)]
            done = subprocess.run(command, capture_output=True, text=True)
            assert done.returncode == -signal.SIGKILL, done.stderr
            leftovers = [path for path in backups(tmp_path) if path.name.startswith(".")]
            assert len(leftovers) == (where != "after the rename")
        assert result(tmp_path, trained(tmp_path)) == expected
    assert all(path.name.startswith("state-") for path in backups(tmp_path))


# -------------------------------------------------------------------------------------- damage


def cut(content):
    return content[: len(content) // 2]


def flipped_in_the_numbers(content):
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


def flipped_in_the_description(content):
    at = content.index(b"iterations") + 14  # inside the number of steps done
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def empty(content):
    return b""


DAMAGES = [cut, flipped_in_the_numbers, flipped_in_the_description, empty]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_backup_is_named_and_the_one_before_used(tmp_path, uninterrupted, damage, capsys):
    assert trained(tmp_path, CrashAt(10)) is None
    older, newest = backups(tmp_path)
    newest.write_bytes(damage(newest.read_bytes()))
    outcome = trained(tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert str(newest) in line
    assert "damaged" in line
    assert result(tmp_path, outcome) == uninterrupted()


def test_with_all_backups_damaged_nothing_is_trained(tmp_path):
    assert trained(tmp_path, CrashAt(10)) is None
    for path in backups(tmp_path):
        path.write_bytes(cut(path.read_bytes()))
    model = model_of()
    before = model.flat_params.copy()
    with pytest.raises(InputError, match="no backup before it is left") as caught:
        trained(tmp_path, model=model)
    assert str(backups(tmp_path)[0]) in str(caught.value)
    assert np.array_equal(model.flat_params, before)


def test_a_damaged_model_is_refused_too(tmp_path):
    path = tmp_path / "model.safetensors"
    model_of().save(path)
    path.write_bytes(flipped_in_the_numbers(path.read_bytes()))
    with pytest.raises(InputError, match="model.safetensors.*damaged"):
        sn.load_model(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 9}, "batch size 9, found 8"),
        ({"validation_split": 0.2}, "examples 48, found 54"),
        ({"optimizer": "sgd"}, "optimizer SGD, found Adam"),
        ({"model": "dense"}, "network"),
        ({"crash": Callback()}, "callbacks"),
        ({"model": model_of(seed=4)}, "seed 4, found 3"),
        ({"model": model_of("sgd")}, "optimizer SGD"),
        ({"augment": None}, "augmentation None, found brightness"),
        ({"augment": sn.datasets.augmentation.Augmentation(shift=1)}, "augmentation Augmentation"),
        ({"model": "rate"}, "optimizer settings"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_backup_of_another_training_is_refused(tmp_path, change, words):
    assert trained(tmp_path, CrashAt(10)) is None
    if change.get("model") == "rate":
        change = {"model": model_of()}
        rate = sn.schedules.OneCycle(0.01, STEPS)
        change["model"].compile(sn.Adam(rate), "sparse_categorical_crossentropy", ["accuracy"])
    elif change.get("model") == "dense":
        model = sn.Sequential([sn.Flatten(), sn.Dense(3), sn.Softmax()], input_shape=(6, 6, 1))
        model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        change = {"model": model}
    with pytest.raises(InputError, match=words) as caught:
        trained(tmp_path, **change)
    assert str(backups(tmp_path)[-1]) in str(caught.value)


def test_a_model_file_is_no_backup(tmp_path):
    model_of().save(tmp_path / "state-0000000007.safetensors")
    with pytest.raises(InputError, match="expected a training state"):
        model_of().fit(*examples(), verbose=0, callbacks=[BackupAndRestore(tmp_path)])


@pytest.mark.parametrize("save_freq", [0, -1, 1.5, "batch", None])
def test_a_wrong_frequency_is_refused(save_freq):
    with pytest.raises(InputError, match="save_freq"):
        BackupAndRestore("nowhere", save_freq)


# --------------------------------------------------------------------------------- around it


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_before_the_first_batch_is_not_lost(number):
    model = model_of()
    before = model.flat_params.copy()
    with stopped_by_signals() as stop:
        os.kill(os.getpid(), number)
        assert model.fit(*examples(), verbose=0, callbacks=[stop]).epoch == []
    assert stop.number == number
    assert np.array_equal(model.flat_params, before)
    assert signal.getsignal(number) is not None


def test_a_deep_copy_is_a_model_of_its_own(backend):
    """Its layers look into its own flat arrays, and it trains on to the same bits."""
    model = model_of()
    model.fit(*examples(), batch_size=8, verbose=0)
    twin = copy.deepcopy(model)
    assert not any(
        np.shares_memory(mine, other)
        for mine in [*twin.arrays().values(), twin.flat_grads]
        for other in [model.flat_params, model.flat_grads, *model.arrays().values()]
    )
    for layer in twin.layers:
        for params in layer.params.values():
            assert np.shares_memory(params, twin.flat_params)
    before = twin.flat_params.copy()
    model.fit(*examples(), batch_size=8, verbose=0)
    assert np.array_equal(twin.flat_params, before)
    twin.fit(*examples(), batch_size=8, verbose=0)
    assert np.array_equal(twin.flat_params, model.flat_params)
    assert not np.array_equal(twin.flat_params, before)


def test_a_deep_copy_before_the_input_shape_is_known():
    twin = copy.deepcopy(sn.Sequential([sn.Dense(3), sn.Softmax()]))
    twin.compile("sgd", "sparse_categorical_crossentropy")
    twin.fit(np.ones((4, 2)), np.arange(4) % 3, verbose=0)
    assert twin.count_params() == 9


# ----------------------------------------------------------------- whole files with other content


def rewritten(path, change):
    """The state with something else in it, and a checksum that says it is whole."""
    description, arrays = checkpoint.load(path)
    change(description, arrays)
    checkpoint.save(path, description, arrays)


def put(where, value):
    """A change: the description's value at that place; "delete" takes it away."""

    def change(description, arrays):
        *path, last = where
        for key in path:
            description = description[key]
        if value == "delete":
            del description[last]
        else:
            description[last] = value

    change.__name__ = f"{'.'.join(map(str, where))}={str(value)[:20]}"
    return change


def put_array(name, value):
    def change(description, arrays):
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value

    change.__name__ = f"{name}={value if value is None else (value.dtype, value.shape)}"
    return change


STREAM = ("random", "shuffle")
BROKEN = [
    *(put((key,), "delete") for key in ("training", "epoch", "batch", "means", "history")),
    *(put((key,), "delete") for key in ("random", "optimizer", "callbacks", "version")),
    *(put((key,), []) for key in ("training", "means", "history", "random", "optimizer")),
    *(put(("epoch",), value) for value in (-1, 10**30, "1", 1.0, True, None)),
    *(put(("batch",), value) for value in (-1, 8, 10**30, "1", 3.5)),
    *(put(("means", "images"), value) for value in (-1, 10**30, 7)),
    put(("means", "correct"), 10**6),
    put(("means", "loss"), "low"),
    put(("means", "more"), 1),
    put(("history", "epoch"), [0, 0]),
    put(("history", "epoch"), []),
    put(("history", "epoch"), ["0"]),
    put(("history", "history", "loss"), []),
    put(("history", "history", "loss"), ["x"]),
    put(("history", "history", "loss"), [10**400]),
    put(("training", "examples"), "delete"),
    put(STREAM, "delete"),
    put((*STREAM, "seed"), None),
    put((*STREAM, "seed", "pool_size"), 10**9),
    put((*STREAM, "seed", "spawn_key"), [-1]),
    put((*STREAM, "seed", "n_children_spawned"), -1),
    put((*STREAM, "state", "bit_generator"), "MT19937"),
    put((*STREAM, "state", "state", "state"), -1),
    put((*STREAM, "state", "state", "inc"), 2**200),
    put((*STREAM, "state", "has_uint32"), "x"),
    *(put(("optimizer", "iterations"), value) for value in (-1, 10**30, "1", None, "delete")),
    put(("callbacks",), []),
    put(("callbacks", 1), None),
    put(("callbacks", 1, "best"), "x"),
    put(("callbacks", 1, "wait"), -1),
    put(("callbacks", 1, "stopped_epoch"), "1"),
    put(("callbacks", 2, "best"), "delete"),
    put_array("order", None),
    put_array("order", np.zeros(54, np.int64)),
    put_array("order", np.arange(53)),
    put_array("order", np.arange(54, dtype=np.int32)),
    put_array("order", np.arange(54) - 1),
    put_array("model/dense.W", None),
    put_array("model/dense.W", np.zeros((1, 1), np.float32)),
    put_array("model/more", np.zeros(1)),
    put_array("optimizer/m", None),
    put_array("optimizer/m", np.zeros(3, np.float32)),
    put_array("optimizer/more", np.zeros(3, np.float32)),
    put_array("callback 1/dense.W", np.zeros(3, np.float32)),
    put_array("else", np.zeros(3)),
]


@pytest.mark.parametrize("change", BROKEN, ids=lambda change: change.__name__)
def test_a_state_with_broken_content_is_named_and_the_one_before_used(tmp_path, change, capsys):
    with sn.use_backend("reference"):
        assert trained(tmp_path, CrashAt(10)) is None
        older, newest = backups(tmp_path)
        rewritten(newest, change)
        assert trained(tmp_path, CrashAt(1)) is None
        (line,) = capsys.readouterr().err.splitlines()
        assert str(newest) in line
        assert "expected" in line
        assert "going on from the one before it" in line


@pytest.mark.parametrize("change", BROKEN[::5], ids=lambda change: change.__name__)
def test_a_refused_state_changes_nothing(tmp_path, change):
    with sn.use_backend("reference"):
        assert trained(tmp_path, CrashAt(10)) is None
        for path in backups(tmp_path):
            rewritten(path, change)
        model, callback = model_of(), EarlyStopping()
        before = model.flat_params.copy(), model.flat_buffers.copy(), model.generators()["init"]
        state = before[2].bit_generator.state
        with pytest.raises(InputError, match="no backup before it is left"):
            trained(tmp_path, model=model)
        assert np.array_equal(model.flat_params, before[0])
        assert np.array_equal(model.flat_buffers, before[1])
        assert model.generators()["init"].bit_generator.state == state
        assert model.optimizer.state() == {"iterations": 0}
        assert callback.best.value is None


def test_a_state_of_an_earlier_version_is_resumed(tmp_path, uninterrupted):
    assert trained(tmp_path, CrashAt(10)) is None
    for path in backups(tmp_path):
        for key in ("seed", "optimizer settings", "loss", "augmentation"):
            rewritten(path, put(("training", key), "delete"))
    assert result(tmp_path, trained(tmp_path)) == uninterrupted()
