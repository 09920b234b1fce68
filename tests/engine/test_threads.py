"""Python threads, processes, copies: one model used from many places gives the same numbers."""

import copy
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.engine.threads import compiles

ROWS = {
    "pooled": lambda: [sn.Conv2D(8, 3), sn.ReLU(), sn.MaxPool2D(2), sn.Flatten(), sn.Dense(10)],
    "by itself": lambda: [sn.Flatten(), sn.Dense(9), Doubled(), sn.ReLU(), sn.Dense(10)],
    "residual": lambda: [
        sn.Conv2D(4, 3),
        sn.Residual([sn.BatchNorm(), sn.Conv2D(4, 3, padding=1)]),
        sn.Flatten(),
        sn.Dense(10),
    ],
}


class Doubled(sn.Layer):
    """A layer that no group runs."""

    def forward(self, x, training=False):
        self.check_input(x)
        self.cache = x
        return 2 * x

    def backward(self, dy):
        return 2 * dy * (self.kept(dy) == self.cache)


def network(name="pooled", fuse=True):
    model = sn.Sequential([*ROWS[name](), sn.Softmax()], (12, 12, 1), seed=1, fuse=fuse)
    model.compile(sn.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    return model


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.random((60, 12, 12, 1)).astype(np.float32), rng.integers(0, 10, 60)


def at_once(work, count=4):
    """work(number) in that many threads at once; the first error is raised here."""
    errors, start = [], threading.Barrier(count)

    def run(number):
        try:
            start.wait()
            work(number)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    pool = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in pool:
            thread.start()
        for thread in pool:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    if errors:
        raise errors[0]


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "layers"])
@pytest.mark.parametrize("name", ROWS)
def test_several_threads_predict_with_one_model(name, fuse, data):
    model, (x, y) = network(name, fuse), data
    right, single = model.predict(x), model.predict(x[:1])
    loss = model.evaluate(x, y, verbose=0)

    def work(number):
        rng = np.random.default_rng(number)
        for _ in range(25):
            first, n = rng.integers(30), rng.integers(2, 30)
            np.testing.assert_allclose(
                model.predict(x[first : first + n]), right[first : first + n], rtol=1e-5
            )
            assert np.array_equal(model.predict(x[:1]), single)
        assert model.evaluate(x, y, verbose=0) == loss

    at_once(work)


def test_several_threads_predict_prepared_single_images(data):
    model, (x, _) = network(), data
    right = [model.predict(one[None]) for one in x]

    def work(number):
        model.prepare()
        for _ in range(5):
            for one, expected in zip(x, right, strict=True):
                assert np.array_equal(model.predict(one[None]), expected)

    at_once(work)


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "layers"])
def test_predictions_in_another_thread_leave_a_training_as_it_is(fuse, data):
    expected, (x, y) = network("by itself", fuse), data
    expected.fit(x, y, epochs=6, batch_size=20, verbose=0)
    model, done = network("by itself", fuse), threading.Event()

    def work(number):
        if number == 0:
            model.fit(x, y, epochs=6, batch_size=20, verbose=0)
            done.set()
        while not done.is_set():
            assert np.isfinite(model.predict(x[number:])).all()

    at_once(work, 3)
    assert np.array_equal(model.flat_params, expected.flat_params)


def test_a_second_training_at_once_is_refused(data):
    model, (x, y) = network(), data
    seen = []

    class Second(sn.Callback):
        def on_epoch_end(self, epoch, logs):
            def fit():
                with pytest.raises(RuntimeError, match="another thread"):
                    model.fit(x, y, verbose=0)
                seen.append(epoch)

            thread = threading.Thread(target=fit)
            thread.start()
            thread.join()

    model.fit(x, y, verbose=0, callbacks=[Second()])
    assert seen == [0]


def test_backward_belongs_to_the_forward_of_the_same_thread(data):
    model, (x, _) = network(), data
    model.forward(x[:7])
    thread = threading.Thread(target=model.forward, args=(x[:5],))
    thread.start()
    thread.join()
    assert model.backward(np.ones((7, 10))).shape == (7, 12, 12, 1)


CODE = """
import sys, threading, numpy as np, scratchnet as sn
x = np.random.default_rng(0).random((64, 28, 28))
shared, wrong = sn.architectures.build("cnn-small"), []
right = shared.predict(x)
single = [shared.predict(x[i : i + 1]) for i in range(5)]
def work(model):
    model.prepare()
    for k in range(20):
        one = model.predict(x[k % 5][None])
        same = np.array_equal(model.predict(x), right) and np.array_equal(one, single[k % 5])
        wrong.append(not same)
own = [sn.architectures.build("cnn-small") for _ in range(2)]
pool = [threading.Thread(target=work, args=(model,)) for model in (shared, shared, *own)]
[t.start() for t in pool]; [t.join() for t in pool]
import numba
print(numba.threading_layer(), sum(wrong), len(wrong))
"""


@pytest.mark.skipif(not compiles(), reason="there are no threads without the compiler")
@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_threads_with_one_model_and_with_their_own_on_every_threading_layer(layer, monkeypatch):
    monkeypatch.setenv("NUMBA_THREADING_LAYER", layer)
    monkeypatch.setenv("SCRATCHNET_THREADS", "2")
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == [layer, "0", "80"], done.stderr


# ---- processes and copies ------------------------------------------------------------------------

FORKED = """
import multiprocessing, sys, threading, numpy as np, scratchnet as sn
model, x = sn.architectures.build("cnn-small"), np.random.default_rng(0).random((64, 28, 28))
right = np.load(sys.argv[2])
def child(number):
    return all(np.array_equal(model.predict(x[:n]), right[:n]) for n in (64, 1))
def forked():
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map_async(child, range(4)).get(timeout=120))
if sys.argv[1] == "threads were set":
    sn.kernels.set_threads(1)
else:
    model.predict(x[:2])
if sys.argv[1] == "prepared":
    model.prepare()
if sys.argv[1] == "another thread trains":
    go, other = threading.Event(), sn.architectures.build("cnn-small", seed=1)
    other.compile("adam", "sparse_categorical_crossentropy")
    def train():
        while not go.is_set():
            other.fit(x, np.arange(64) % 10, verbose=0)
    thread = threading.Thread(target=train)
    thread.start()
    for _ in range(5):
        forked()
    go.set()
    thread.join()
forked()
"""
WAYS = ["ran", "prepared", "threads were set"]
slow_way = pytest.param("another thread trains", marks=pytest.mark.slow)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("how", [*WAYS, slow_way])
def test_a_process_that_was_forked_after_kernels_ran(how, monkeypatch, tmp_path):
    monkeypatch.setenv("SCRATCHNET_THREADS", "2")
    x = np.random.default_rng(0).random((64, 28, 28))
    np.save(tmp_path / "right.npy", sn.architectures.build("cnn-small").predict(x))
    command = [sys.executable, "-W", "ignore", "-c", FORKED, how, tmp_path / "right.npy"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert lines == ["[True, True, True, True]"] * (6 if how == slow_way.values[0] else 1), (
        done.stderr
    )


@pytest.mark.parametrize("ran", [True, False], ids=["ran", "new"])
@pytest.mark.parametrize("name", ["pooled", "residual"])
def test_a_pickled_model_goes_on_as_the_model_itself(name, ran, data):
    model, (x, y) = network(name), data
    if ran:
        model.fit(x, y, verbose=0)
        model.prepare()
    again = pickle.loads(pickle.dumps(model))
    assert np.shares_memory(again.flat_params, again.layers[0].params["W"])
    for one in (model, again):
        one.fit(x, y, epochs=2, verbose=0)
    assert np.array_equal(model.flat_params, again.flat_params)
    assert np.array_equal(model.flat_buffers, again.flat_buffers)
    assert np.array_equal(model.predict(x), again.predict(x))
    assert not np.shares_memory(model.flat_params, again.flat_params)


def test_a_shallow_copy_has_the_same_weights_and_a_deep_one_its_own(data):
    model, (x, y) = network("residual"), data
    model.fit(x, y, verbose=0)
    shallow, deep, before = copy.copy(model), copy.deepcopy(model), model.predict(x)
    model.fit(x, y, verbose=0)
    assert np.array_equal(shallow.predict(x), model.predict(x))
    assert np.array_equal(deep.predict(x), before)
    assert np.shares_memory(model.flat_params, model.layers[0].params["W"])


def spawned(model, x):
    return model.predict(x)


@pytest.mark.slow
def test_a_model_goes_to_a_process_that_was_spawned(data):
    model, (x, _) = network(), data
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply_async(spawned, (model, x)).get(timeout=120)
    assert np.array_equal(found, model.predict(x))


# ---- a changed row of layers ---------------------------------------------------------------------


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "layers"])
def test_a_layer_taken_away_is_seen(fuse, data):
    model, (x, y) = network(fuse=fuse), data
    probs = model.predict(x)
    model.layers.pop()
    logits = model.predict(x)
    np.testing.assert_allclose(sn.layers.softmax(logits), probs, rtol=1e-5)
    model.compile("sgd", sn.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, verbose=0)
    model.layers.pop()
    model.predict(x)
    assert model.flat_params.size == sum(p.size for p in model.parameters().values())


def test_a_layer_that_does_not_fit_the_row_is_refused(data):
    model, (x, _) = network(), data
    model.layers.append(sn.Dense(3))
    with pytest.raises(sn.InputError, match="not built"):
        model.predict(x)
    model.layers[-1:] = []
    model.predict(x)
    del model.layers[0]
    with pytest.raises(sn.InputError, match="expected relu to be built for input"):
        model.predict(x)
