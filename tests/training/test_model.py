"""Sequential as a user meets it: Keras's lines, the visible loop, inputs, memory, and errors."""

import hashlib
import os
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import scratchnet as sn
from scratchnet import InputError, losses

# -------------------------------------------------------------------------------------------- tools

KERAS_LINES = """
import scratchnet as sn
(x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()          # uint8, as in Keras
model = sn.Sequential([
    sn.Conv2D(32, 3), sn.ReLU(), sn.MaxPool2D(2),
    sn.Conv2D(64, 3), sn.ReLU(), sn.MaxPool2D(2),
    sn.Flatten(), sn.Dense(64), sn.ReLU(), sn.Dense(10), sn.Softmax()],
    input_shape=(28, 28, 1), seed=0)
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x_train, y_train, epochs=5, batch_size=128, validation_split=0.3)
test_loss, test_acc = model.evaluate(x_test, y_test)
predictions = model.predict(x_test)
"""


@pytest.fixture(scope="module")
def digits():
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    return (x[:1000], y[:1000]), (x_test[:200], y_test[:200])


@pytest.fixture
def rng_():
    return np.random.default_rng(5)


@contextmanager
def refused(*words, kind=InputError):
    with pytest.raises(kind) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def tiny(seed=0, dtype=np.float32, compiled=True, **compile_args):
    """A network of every kind of layer that trains in a blink."""
    layers = [sn.Conv2D(4, 5, strides=3), sn.BatchNorm(), sn.ReLU(), sn.MaxPool2D(2)]
    layers += [sn.Flatten(), sn.Dropout(0.2), sn.Dense(10), sn.Softmax()]
    model = sn.Sequential(layers, input_shape=(28, 28, 1), seed=seed, dtype=dtype)
    if compiled:
        defaults = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
        model.compile(**(defaults | compile_args))
    return model


def digest(model):
    return hashlib.sha256(b"".join(a.tobytes() for a in model.arrays().values())).hexdigest()


# ----------------------------------------------------------------------------------------- training


def test_the_lines_of_a_keras_user_run_as_they_are(digits, monkeypatch):
    monkeypatch.setattr(sn.datasets.mnist, "load_data", lambda: digits)
    names = {}
    exec(KERAS_LINES, names)
    assert names["test_acc"] > 0.5
    assert names["test_loss"] < 1.8
    assert names["predictions"].shape == (200, 10)
    right = (names["predictions"].argmax(axis=1) == digits[1][1]).mean()
    assert right == pytest.approx(names["test_acc"])
    assert set(names["history"].history) == {"loss", "accuracy", "val_loss", "val_accuracy"}


def test_the_visible_loop_learns(digits):
    (x, y), _ = digits
    model, optimizer = tiny(), sn.Adam(0.01)
    epochs = [
        [(model.loss_and_gradients(*batch), optimizer.step(model))[0] for batch in one]
        for one in (list(sn.batches(x, y, 50, np.random.default_rng(i))) for i in range(4))
    ]
    assert np.mean(epochs[-1]) < 0.5 * np.mean(epochs[0])
    assert optimizer.iterations == 4 * 20


def test_layers_see_the_flat_memory_before_and_after_training_and_loading(digits, tmp_path):
    (x, y), _ = digits
    model = tiny()

    def check(model):
        for store, flat in (("params", model.flat_params), ("grads", model.flat_grads)):
            arrays = [a for layer in model.layers for a in getattr(layer, store).values()]
            assert all(np.shares_memory(array, flat) for array in arrays)
            assert np.array_equal(np.concatenate([a.ravel() for a in arrays]), flat)

    check(model)
    model.fit(x[:64], y[:64], verbose=0)
    check(model)
    assert np.abs(model.flat_grads).max() > 0
    model.save(tmp_path / "m.safetensors")
    loaded = sn.load_model(tmp_path / "m.safetensors")
    check(loaded)
    loaded.flat_params[:] = 0
    assert np.all(loaded.layers[0].params["W"] == 0)


def test_same_seed_same_bits_other_seed_others(digits):
    (x, y), _ = digits

    def trained(seed):
        model = tiny(seed)
        model.fit(x[:300], y[:300], epochs=2, verbose=0)
        return digest(model)

    assert trained(0) == trained(0)
    assert trained(0) != trained(1)


def test_the_same_bits_whatever_the_number_of_threads():
    script = """if True:
        import hashlib, numba, scratchnet as sn
        (x, y), _ = sn.datasets.mnist.load_data()
        for threads in (1, 2, 4):
            numba.set_num_threads(threads)
            model = sn.architectures.build("cnn-dropout")
            model.compile("adam", "sparse_categorical_crossentropy")
            model.fit(x[:150], y[:150], epochs=2, verbose=0)
            print(hashlib.sha256(model.flat_params.tobytes()).hexdigest())
    """
    env = {**os.environ, "NUMBA_NUM_THREADS": "4"}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 3
    assert len(set(done.stdout.split())) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_fit_gives_the_blas_threads_back(digits, fails):
    (x, y), _ = digits

    def blas():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    with threadpool_limits(2, user_api="blas"):
        before = blas()
        if fails:
            with refused("labels"):
                tiny().fit(x[:32], y[:32] + 10, verbose=0)
        else:
            tiny().fit(x[:32], y[:32], verbose=0)
        assert before
        assert blas() == before


@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"])
def test_folded_softmax_has_the_gradient_of_the_two_separate_steps(rng_, loss):
    layers = [sn.Dense(7), sn.ReLU(), sn.Dense(5), sn.Softmax()]
    model = sn.Sequential(layers, input_shape=(6,), dtype=np.float64)
    model.compile("sgd", loss)
    x, y = rng_.normal(size=(9, 6)), rng_.integers(0, 5, 9)
    y = np.eye(5)[y] if loss == "categorical_crossentropy" else y
    value, folded = model.loss_and_gradients(x, y), model.flat_grads.copy()

    model.flat_grads[:] = np.nan
    by_hand, out = losses.get(loss), x
    for layer in layers:
        out = layer.forward(out, training=True)
    assert by_hand.forward(out, y) == pytest.approx(value, rel=1e-12)
    dy = by_hand.backward()
    for layer in reversed(layers):
        dy = layer.backward(dy)
    np.testing.assert_allclose(model.flat_grads, folded, rtol=1e-12, atol=1e-12)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(value, rel=1e-12)


def test_one_hot_labels_train_as_whole_numbers_do(digits):
    (x, y), _ = digits
    sparse, one_hot = tiny(), tiny(loss="categorical_crossentropy")
    a = sparse.fit(x[:200], y[:200], epochs=2, verbose=0).history
    b = one_hot.fit(x[:200], np.eye(10)[y[:200]], epochs=2, verbose=0).history
    assert a["accuracy"] == b["accuracy"]
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)


def test_regression_with_mse_finds_the_line(rng_):
    x = rng_.normal(size=(200, 3))
    model = sn.Sequential([sn.Dense(1)], input_shape=(3,))
    model.compile(sn.SGD(0.1), "mse")
    history = model.fit(x, x @ [[1.0], [-2.0], [0.5]] + 3, epochs=20, verbose=0).history
    assert history["loss"][-1] < 1e-6
    np.testing.assert_allclose(model.layers[0].params["W"].ravel(), [1, -2, 0.5], atol=1e-3)
    np.testing.assert_allclose(model.layers[0].params["b"], 3, atol=1e-3)


# ------------------------------------------------------------------------------------------ in, out


@pytest.mark.parametrize(
    "form",
    {
        "uint8": lambda x: x,
        "float/255": lambda x: x.astype(np.float32) / 255,
        "with channel": lambda x: x[..., None],
        "lists": lambda x: (x.astype(np.float32) / 255).tolist(),
        "float64": lambda x: x / 255,
        "one image": lambda x: x[0],
    }.items(),
    ids=lambda form: form[0],
)
@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "layers"])
def test_every_form_of_images_gives_the_same_answer(digits, form, fuse):
    x, model = digits[1][0][:5], tiny()
    model.fuse = fuse
    found = model.predict(form[1](x))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, model.predict(x)[: len(found)], atol=1e-6)
    assert len(found) == (1 if form[0] == "one image" else 5)


@pytest.mark.parametrize("shape", [(3, 27, 28), (3, 28, 28, 3), (3, 783), (28,), ()])
@pytest.mark.parametrize("method", ["predict", "forward"])
def test_a_wrong_shape_is_named_with_the_right_one(shape, method):
    with refused("expected", "28, 28, 1", "found"):
        getattr(tiny(), method)(np.zeros(shape))


def test_a_float64_model_stays_float64(digits):
    (x, y), _ = digits
    model = tiny(dtype=np.float64)
    model.fit(x[:64], y[:64], verbose=0)
    assert model.predict(x[:2]).dtype == model.forward(x[:2], True).dtype == np.float64
    arrays = [*model.arrays().values(), *model.optimizer.memory.values()]
    assert {a.dtype for a in (*arrays, model.flat_params, model.flat_grads)} == {np.dtype("f8")}


@pytest.mark.parametrize("first", ["predict", "fit", "forward", "evaluate"])
def test_without_an_input_shape_the_model_is_built_by_the_first_data(digits, first):
    (x, y), _ = digits
    model = sn.Sequential([sn.Flatten(), sn.Dense(10), sn.Softmax()])
    model.compile("adam", "sparse_categorical_crossentropy")
    assert not model.built
    getattr(model, first)(*((x[:8], y[:8]) if first in ("fit", "evaluate") else (x[:8],)))
    assert model.input_shape == (28, 28, 1)
    assert model.output_shape == (10,)
    assert model.count_params() == 7850


def test_predictions_are_distributions_and_do_not_depend_on_the_batch_size(digits):
    x, model = digits[1][0][:50], tiny()
    whole = model.predict(x)
    np.testing.assert_allclose(whole.sum(axis=1), 1, atol=1e-6)
    for size in (1, 7, 50, 1000):
        np.testing.assert_allclose(model.predict(x, batch_size=size), whole, atol=1e-6)
    np.testing.assert_allclose(model(x), whole, atol=1e-6)


def test_no_images_give_no_predictions():
    assert tiny().predict(np.zeros((0, 28, 28), np.uint8)).shape == (0, 10)


def test_evaluate_returns_what_keras_does(digits, capsys):
    (x, y), model = digits[1], tiny()
    loss, accuracy = pair = model.evaluate(x, y, verbose=0)
    assert isinstance(pair, list)
    assert model.evaluate(x, y, verbose=0, return_dict=True) == {"loss": loss, "accuracy": accuracy}
    assert accuracy == (model.predict(x).argmax(axis=1) == y).mean()
    model.compile("adam", "sparse_categorical_crossentropy")
    assert model.evaluate(x, y, batch_size=33, verbose=0) == pytest.approx(loss, rel=1e-6)
    assert capsys.readouterr().out == ""
    model.evaluate(x, y)
    assert f"loss {loss:.4f}" in capsys.readouterr().out


# ----------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize("method", ["fit", "evaluate", "loss_and_gradients", "train_on_batch"])
def test_learning_before_compile_says_what_to_do(digits, method):
    (x, y), _ = digits
    with refused("compile(", kind=RuntimeError):
        getattr(tiny(compiled=False), method)(x[:4], y[:4])


def test_layers_that_cannot_join_a_model_are_refused():
    with refused("before", kind=RuntimeError):
        tiny().add(sn.ReLU())
    layer = sn.ReLU()
    with refused("twice"):
        sn.Sequential([layer, layer])
    named = [sn.Dense(2), sn.Dense(3)]
    named[0].name = named[1].name = "same"
    with refused("'same'", "twice"):
        sn.Sequential(named)
    with refused("expected a layer", "relu"):
        sn.Sequential(["relu"])
    with refused("already built", kind=RuntimeError):
        tiny().build((28, 28, 1))


@pytest.mark.parametrize("use", ["build", "forward", "predict", "fit", "evaluate"])
def test_a_model_without_layers_is_refused(use):
    model, x, y = sn.Sequential(), np.zeros((4, 3)), np.zeros(4, int)
    model.compile("adam", "sparse_categorical_crossentropy")
    arguments = {"build": ((3,),), "fit": (x, y), "evaluate": (x, y)}.get(use, (x,))
    with refused("at least one layer"):
        getattr(model, use)(*arguments)


# ------------------------------------------------------------------------------------------ summary


def test_summary_shows_each_layer_its_output_and_the_totals(capsys):
    model = sn.Sequential([sn.Conv2D(32, 3), sn.Flatten(), sn.Dense(10)], input_shape=(28, 28, 1))
    dense = 26 * 26 * 32 * 10
    words = ["28 x 28 x 1", "Conv2D 32 3x3", "26 x 26 x 32", "320", "194,688", "Flatten", "21632"]
    words += ["Dense 10", f"{dense + 10:,}", f"{320 + dense + 10:,}"]
    texts = []
    model.summary(print_fn=texts.append)
    model.summary()
    texts = ["".join(texts), capsys.readouterr().out, model._repr_html_()]
    for text in texts:
        assert [word for word in words if word not in text] == []
    assert all(f"{194_688 + dense:,}" in text for text in texts[:2])
    row = next(model.rows())
    assert (row.kind, row.output_shape) == ("Conv2D", (26, 26, 32))
    assert (row.parameters, row.multiply_adds) == (320, 194_688)


def test_the_notebook_view_escapes_what_a_layer_is_called():
    odd = type("A<script>", (sn.ReLU,), {})
    for model in (sn.Sequential([odd()]), sn.Sequential([odd()], input_shape=(3,))):
        assert "A&lt;script&gt;" in model._repr_html_()
        assert "<script>" not in model._repr_html_()
