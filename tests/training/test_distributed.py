"""Several processes that share a training, as threads with a communicator of their own: the bits of
one process, who writes, who stops, what is refused. With MPI itself: tests/commands/test_mpi.py.
"""

import hashlib
import os
import subprocess
import sys

import loopback
import numpy as np
import pytest

import scratchnet as sn
from scratchnet import distributed, kernels
from scratchnet.callbacks import BackupAndRestore, CSVLogger, DivergedError, ModelCheckpoint
from scratchnet.datasets.augmentation import PRESETS
from scratchnet.distributed import parts_of
from scratchnet.engine import threads
from scratchnet.engine.memory import cut
from scratchnet.engine.threads import compiles
from scratchnet.errors import InputError

needs_engine = pytest.mark.skipif(
    not compiles() or kernels.backend() != "numba", reason="the bits are the compiled kernels'"
)
#: they take longest to compile
BATCH_NORM = ["cnn-bn", "resnet"]
(X, Y), _ = sn.datasets.mnist.load_data()
X, Y = X[:50].copy(), Y[:50].copy()


def digest(model, history=None):
    arrays = [model.flat_params, model.flat_buffers]
    arrays += [np.array(history.history[key]) for key in sorted(history.history)] if history else []
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def trained(name, *, augment=None, callbacks=(), x=X, y=Y, epochs=1, loss=None, **fit):
    """A network after one epoch of two batches, the second smaller, and what tells its bits."""
    model = sn.architectures.build(name, seed=5)
    loss = loss or sn.losses.SparseCategoricalCrossentropy(label_smoothing=0.1)
    rate = sn.Adam(1e-3, global_clipnorm=0.5, use_ema=True, ema_momentum=0.9)
    model.compile(rate, loss, ["accuracy"])
    given = {"validation_split": 0.2, "augment": augment, "callbacks": callbacks, "verbose": 0}
    history = model.fit(x, y, 24, epochs=epochs, **{**given, **fit})
    return model, digest(model, history)


def same_for_all(size, work, **how):
    (first, *others) = loopback.run(size, work, **how)
    assert all(other == first for other in others)
    return first


# ---- how a batch is cut --------------------------------------------------------------------------


def test_halves_are_cut_as_if_they_stood_alone():
    for n in range(70):
        starts = [cut(n, 32, number) for number in range(33)]
        sizes = np.diff(starts)
        assert starts[0] == 0 and starts[-1] == n and sizes.max() - sizes.min() <= 1
        for size in distributed.SAME_BITS:
            for first, end in zip(*(parts_of(n, size)[i:] for i in (0, 1)), strict=False):
                mine = [first + cut(end - first, 32 // size, i) for i in range(32 // size)]
                assert {*mine} <= {*starts}


def test_parts_are_added_in_one_tree(rng):
    from scratchnet.engine.sums import tree_sum

    def tree(parts):
        half = len(parts) // 2
        return parts[0] if half == 0 else tree(parts[:half]) + tree(parts[half:])

    for shape in ((8, 3), (32, 700), (1, 5)):
        parts = rng.random(shape, np.float32)
        expected = tree(parts)
        few = distributed.add_in_tree(parts.copy())
        found = tree_sum(parts.copy(), np.empty(shape[1:], np.float32))
        assert found.tobytes() == expected.tobytes() == few.tobytes()
    by_lot = tree_sum(parts := rng.random((16, 1100), np.float32), np.empty((4, 1100), "f4"), 4)
    again = np.random.default_rng(20240229)
    for shape in ((8, 3), (32, 700), (1, 5)):
        again.random(shape, np.float32)
    kept = again.random((16, 1100), np.float32)
    assert by_lot.tobytes() == np.stack([tree(kept[i : i + 4]) for i in (0, 4, 8, 12)]).tobytes()
    assert parts.shape == kept.shape


@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937])
def test_numbers_of_others_are_passed_over_as_if_they_were_drawn(bits):
    from scratchnet.engine.share import skip

    for before in (0, 1, 2):
        for count in (0, 1, 2, 3, 1000, 1001):
            one, other = (np.random.Generator(bits(3)) for _ in range(2))
            for rng in (one, other):
                rng.random(before, np.float32)
            skip(one, count)
            other.random(count, np.float32)
            assert one.random(5, np.float32).tobytes() == other.random(5, np.float32).tobytes()
            assert one.random() == other.random()


@pytest.mark.parametrize("name", PRESETS)
def test_a_part_is_augmented_as_in_the_whole_batch(name):
    augment, whole = PRESETS[name](), np.random.default_rng(1)
    expected = augment(X[:9], whole)
    for first, end in ((0, 4), (4, 9), (9, 9)):
        rng = np.random.default_rng(1)
        assert np.array_equal(augment.part(X[first:end], rng, 9, first), expected[first:end])
        assert rng.bit_generator.state == whole.bit_generator.state


# ---- the same bits -------------------------------------------------------------------------------


@needs_engine
@pytest.mark.parametrize(
    "name", ["cnn", "cnn-dropout", *(pytest.param(n, marks=pytest.mark.slow) for n in BATCH_NORM)]
)
def test_any_number_of_ranks_ends_with_the_bits_of_one(name):
    augment = PRESETS["affine"]() if name == "cnn-dropout" else None
    _, alone = trained(name, augment=augment)
    for size in (2, 8):
        assert same_for_all(size, lambda _: trained(name, augment=augment)[1]) == alone, size


KINDS = {
    "strides, gaps and channels each by itself": lambda: [
        sn.Conv2D(4, 3, strides=2),
        sn.LayerNorm(),
        sn.GELU(),
        sn.Conv2D(3, 3, dilation_rate=2, padding="same"),
        sn.DepthwiseConv2D(3),
        sn.GaussianNoise(0.1),
        sn.Conv2DTranspose(2, 2),
        sn.BatchNorm(),
        sn.Flatten(),
        sn.Dense(10),
    ],
    "1998": lambda: [
        sn.Conv2D(6, 5),
        sn.ScaledTanh(),
        sn.Subsampling2D(2),
        sn.AveragePool2D(2),
        sn.Flatten(),
        sn.Dense(7, kernel_regularizer="l2"),
        sn.Dense(10),
    ],
}


@needs_engine
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [24, 70])
def test_so_it_is_for_other_layers(kind, batch):
    x = np.random.default_rng(0).random((80, 14, 14, 2), np.float32)
    y = np.arange(80) % 10

    def work(_=None):
        model = sn.Sequential(KINDS[kind](), x.shape[1:], seed=1)
        model.compile("sgd", sn.losses.SparseCategoricalCrossentropy(from_logits=True))
        history = model.fit(x, y, batch, verbose=0, class_weight={3: 2.0})
        return digest(model, history)

    alone = work()
    for size in (2, 4, 8):
        assert same_for_all(size, work) == alone, size


@needs_engine
def test_ranks_without_images_take_part():
    alone = trained("cnn-bn", x=X[:5], y=Y[:5])[1]
    assert same_for_all(8, lambda _: trained("cnn-bn", x=X[:5], y=Y[:5])[1]) == alone


@needs_engine
def test_all_begin_with_what_the_first_rank_has():
    def work(world):
        model = sn.architectures.build("mlp", seed=world.rank)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(X, Y, 25, verbose=0)
        return digest(model)

    model = sn.architectures.build("mlp", seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(X, Y, 25, verbose=0)
    assert same_for_all(2, work) == digest(model)


@needs_engine
def test_an_augmentation_of_one_s_own_gets_the_whole_batch():
    def mixed(x, rng):
        return x[rng.permutation(len(x))]

    alone = trained("mlp", augment=mixed)[1]
    assert same_for_all(4, lambda _: trained("mlp", augment=mixed)[1]) == alone


@needs_engine
def test_batches_that_come_one_by_one_are_shared():
    def pages():
        for start in (0, 20, 40):
            yield X[start : start + 20], Y[start : start + 20]

    def work(_=None):
        model = sn.architectures.build("mlp", seed=1)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(list(pages()), verbose=0, validation_data=(X[:7], Y[:7]))
        return digest(model)

    assert same_for_all(2, work) == work()


# ---- each its part -------------------------------------------------------------------------------


@needs_engine
def test_a_rank_reads_its_own_images_only(monkeypatch):
    taken, plain = [], sn.training.Run._taken

    def noted(run, name, chosen):
        taken.append((run.rank, name, len(chosen)))
        return plain(run, name, chosen)

    monkeypatch.setattr(sn.training.Run, "_taken", noted)
    loopback.run(4, lambda _: trained("mlp", validation_split=0.0, x=X[:24], y=Y[:24]))
    assert {found for found in taken if found[1] == "x"} == {(rank, "x", 6) for rank in range(4)}


@needs_engine
def test_the_gradient_goes_in_stretches_that_begin_before_the_end_of_backward():
    def work(world):
        trained("cnn", validation_split=0.0, x=X[:24], y=Y[:24])
        collecting, distributing = world.halves
        rooms = {key: room.ctypes.data for key, room in world._rooms.items()}
        trained("cnn", validation_split=0.0, x=X[:24], y=Y[:24])
        assert rooms == {key: room.ctypes.data for key, room in world._rooms.items()}
        return collecting.asked, distributing.asked

    for collecting, distributing in loopback.run(2, work):
        assert collecting == ["Ialltoallv"] * 6  # in a step dense layers, a convolution, the other
        assert distributing == ["Iallgatherv"] * 6


@needs_engine
def test_the_first_rank_alone_writes(tmp_path, capsys):
    def work(world):
        folder = tmp_path / str(world.rank)
        folder.mkdir()
        writers = [
            CSVLogger(folder / "log.csv"),
            ModelCheckpoint(folder / "model"),
            BackupAndRestore(folder / "states"),
        ]
        return trained("mlp", callbacks=writers, verbose=2)[1]

    same_for_all(2, work)
    assert {path.name for path in (tmp_path / "0").iterdir()} == {"log.csv", "model", "states"}
    assert not list((tmp_path / "1").iterdir())
    assert capsys.readouterr().out.count("epoch 1/1") == 1


class StopsIn(sn.Callback):
    """Wants to stop in one rank, after the first batch."""

    def __init__(self, rank):
        self.rank = rank

    def on_batch_end(self, batch, logs):
        if self.run.rank == self.rank and self.run.epoch == 1 and batch == 0:
            self.model.stop_training = True


class Goes(StopsIn):
    def on_batch_end(self, batch, logs): ...


@needs_engine
def test_one_rank_stops_all_and_any_number_goes_on_to_the_same_bits(tmp_path):
    def work(rank, folder):
        Goes.__name__ = StopsIn.__name__
        callbacks = [(Goes if rank is None else StopsIn)(rank), BackupAndRestore(folder)]
        return trained("cnn-bn", callbacks=callbacks, epochs=2)[1]

    alone = work(None, tmp_path / "never stopped")
    for name, size in (("2", 2), ("1", 1)):
        stopped = same_for_all(4, lambda _, name=name: work(2, tmp_path / name))
        assert stopped != alone
        assert same_for_all(size, lambda _, name=name: work(None, tmp_path / name)) == alone


# ---- what goes wrong -----------------------------------------------------------------------------


@needs_engine
def test_a_nan_is_named_with_its_rank():
    x = (X / 255).astype(np.float32)
    x[30:] = np.nan

    def fit(_):
        model = sn.architectures.build("mlp", seed=1)
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, Y, 50, shuffle=False, verbose=0, callbacks=[sn.callbacks.StopOnNaN()])

    with pytest.raises(DivergedError, match="no longer finite in rank 1 of 2;"):
        loopback.run(2, fit)


@needs_engine
def test_an_error_in_one_rank_ends_all():
    class Fails(sn.Callback):
        def on_batch_begin(self, batch, logs):
            if self.run.rank == 1:
                raise ValueError("of my own")

    with pytest.raises(ValueError, match="of my own"):
        loopback.run(4, lambda _: trained("mlp", callbacks=[Fails()]))


def test_a_number_without_the_same_bits_is_refused():
    with pytest.raises(InputError, match="expected 1, 2, 4 or 8 processes, found 3"):
        loopback.run(3, lambda world: None)


@needs_engine
def test_any_number_is_taken_if_asked_for():
    work = lambda _: trained("cnn-bn")  # noqa: E731
    (model, first), *others = loopback.run(3, work, same_bits=False)
    assert all(other == first for _, other in others)
    np.testing.assert_allclose(model.flat_params, trained("cnn-bn")[0].flat_params, atol=2e-3)


class Halved(sn.ReLU):
    """A layer of one's own, which no group runs."""

    def forward(self, x, training=False):
        return super().forward(x, training) / 2

    def backward(self, dy):
        return super().backward(dy) / 2


@needs_engine
def test_a_layer_that_runs_by_itself_is_refused_or_asked_for():
    def work(_):
        model = sn.Sequential([sn.Flatten(), sn.Dense(8), Halved(), sn.Dense(10)], (28, 28, 1))
        model.compile("sgd", sn.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(X, Y, 25, verbose=0)
        return digest(model)

    with pytest.raises(InputError, match="halved: expected a layer that the engine runs"):
        loopback.run(2, work)
    same_for_all(2, work, same_bits=False)


@needs_engine
def test_other_data_in_another_rank_is_refused():
    with pytest.raises(InputError, match="examples: expected the same in all processes, found"):
        loopback.run(2, lambda world: trained("mlp", x=X[world.rank :], y=Y[world.rank :]))


# ---- processes -----------------------------------------------------------------------------------


def test_without_a_launcher_nothing_is_imported_and_fit_is_as_ever():
    code = (
        "import sys, scratchnet as sn\n"
        "with sn.distributed.join() as world:\n"
        "    assert sn.distributed.current() is None\n"
        "print(world.rank, world.size, 'mpi4py' in sys.modules, 'numba' in sys.modules)"
    )
    clean = {k: v for k, v in os.environ.items() if k not in distributed.SIZES + distributed.RANKS}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=clean)
    assert done.stdout.split() == ["0", "1", "False", "False"], done.stderr


@pytest.mark.parametrize(
    ("said", "rank"),
    [
        ({}, None),
        ({"PMI_SIZE": "1", "PMI_RANK": "0"}, None),
        ({"PMI_SIZE": "4", "PMI_RANK": "3"}, 3),
        ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", "PMIX_RANK": "1"}, 1),
        ({"PMIX_RANK": "2"}, 2),
    ],
)
def test_what_launchers_say_is_understood(said, rank, monkeypatch):
    for name in distributed.SIZES + distributed.RANKS:
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert distributed.launched() == (rank is not None)
    assert distributed.launched_as() == (rank or 0)


def test_without_mpi4py_the_extra_is_named_and_open_mpi_is_told_from_mpich(monkeypatch):
    said = {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "0", "MPI4PY_MPIABI": ""}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MPI4PY_MPIABI")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(InputError, match=r"scratchnet\[mpi\]"), distributed.join():
        pass
    assert os.environ["MPI4PY_MPIABI"] == "openmpi"


@pytest.mark.parametrize(
    ("cores", "number", "of", "mine"),
    [(8, 1, 2, [4, 5, 6, 7]), (5, 1, 2, [2, 3]), (2, 0, 4, None), (4, 0, 1, None)],
)
def test_processes_of_a_machine_share_its_cores(cores, number, of, mine, monkeypatch):
    bound, said = [], []
    monkeypatch.delenv("SCRATCHNET_THREADS", raising=False)
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, to: bound.append(to), raising=False)
    monkeypatch.setattr(threads, "set_threads", said.append)
    monkeypatch.setitem(sys.modules, "numba", type("N", (), {"config": type("C", (), {})}))
    sys.modules["numba"].config.NUMBA_NUM_THREADS = 64
    threads.bind(number, of)
    assert bound == ([mine] if mine else [])
    assert said == ([] if of == 1 else [len(mine) if mine else 1])


def test_threads_that_were_asked_for_stay(monkeypatch):
    monkeypatch.setenv("SCRATCHNET_THREADS", "2")
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: pytest.fail("bound"), raising=False)
    threads.bind(0, 2)
