"""The range of images: what is most likely not meant is said once; all forms of rows are taken."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest

import scratchnet as sn


@pytest.fixture(scope="module")
def digits():
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    return x[:2000], y[:2000], x_test[:300], y_test[:300]


def network():
    model = sn.Sequential(
        [sn.Conv2D(4, 5, strides=3), sn.ReLU(), sn.Flatten(), sn.Dense(10), sn.Softmax()],
        (28, 28, 1),
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def said(action):
    """The texts of the warnings that it gives."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        action()
    assert all(issubclass(one.category, sn.InputWarning) for one in caught)
    assert all("\n" not in str(one.message) and one.filename == __file__ for one in caught)
    return [str(one.message) for one in caught]


def fitted(x, y):
    model = network()
    return model, said(lambda: model.fit(x, y, verbose=0))


UNSCALED = {
    "whole numbers": (lambda x: x.astype(np.int64), 'x.astype("uint8")'),
    "floats": (lambda x: x.astype(np.float32), "x / 255"),
    "few grey levels": (lambda x: x.astype(int) // 16, 'x.astype("uint8") if they are 0 to 255'),
    "beyond bytes": (lambda x: x.astype(float) * 4, "such as x / 1020"),
}
SCALED = {
    "bytes": lambda x: x,
    "0 to 1": lambda x: x / 255,
    "black and white": lambda x: (x > 100).astype(int),
    "true and false": lambda x: x > 100,
    "variance 1": lambda x: (x / 255 - 0.13) / 0.31,
}


@pytest.mark.parametrize("form", UNSCALED)
def test_images_that_are_not_scaled_are_named_with_the_remedy_once(digits, form):
    x, y, *_ = digits
    change, remedy = UNSCALED[form]
    model, texts = fitted(change(x), y)
    assert len(texts) == 1 and remedy in texts[0]
    assert said(lambda: model.fit(change(x), y, verbose=0)) == []
    fresh = network()
    (text,) = said(lambda: (fresh.predict(change(x)), fresh.evaluate(change(x), y, verbose=0)))
    assert remedy in text


@pytest.mark.parametrize("form", SCALED)
def test_scaled_images_are_taken_without_a_word(digits, form):
    x, y, x_test, y_test = digits
    change = SCALED[form]
    model, texts = fitted(change(x), y)
    assert texts == []
    assert said(lambda: model.evaluate(change(x_test), y_test, verbose=0)) == []
    assert said(lambda: [model.predict(change(one)) for one in x_test[:20]]) == []
    assert said(lambda: model.predict(np.zeros((3, 28, 28)))) == []


def test_what_a_network_learnt_from_a_table_and_reads_from_bytes(digits):
    x, y, x_test, y_test = digits
    model, texts = fitted(x.reshape(-1, 784).astype(np.int64), y)
    assert len(texts) == 1
    assert (model.trained_on.dtype, model.trained_on.high) == ("int64", 255)
    assert said(lambda: model.predict(x_test.astype(np.int64))) == []
    (text,) = said(lambda: model.evaluate(x_test, y_test, verbose=0))
    assert "trained on numbers from 0 to 255, int64" in text and "uint8 scaled" in text
    assert said(lambda: model.predict(x_test)) == []  # once


@pytest.mark.parametrize(
    "learnt, asked",
    [("bytes", "variance 1"), ("variance 1", "0 to 1"), ("0 to 1", "floats"), ("bytes", "tiny")],
)
def test_another_range_than_in_training_is_named(digits, learnt, asked):
    x, y, x_test, _ = digits
    forms = SCALED | {"floats": UNSCALED["floats"][0], "tiny": lambda x: x / 255 / 255}
    for images in (x_test, x_test[:1]):
        model, _ = fitted(forms[learnt](x), y)
        (text,) = said(lambda model=model, images=images: model.predict(forms[asked](images)))
        assert "trained on numbers from" in text


def test_single_images_are_looked_at_now_and_then_only(digits, monkeypatch):
    model, seen = network(), []
    real = sn.ranges.Range.of
    monkeypatch.setattr(sn.ranges.Range, "of", lambda x: seen.append(len(x)) or real(x))
    for image in digits[2][:30] / 255:
        model.predict(image)
    assert 0 < len(seen) < 10
    seen.clear()
    model.predict(digits[2])
    assert seen == []  # nothing to look at


def test_the_range_is_kept_with_the_model(digits, tmp_path):
    path = tmp_path / "m.safetensors"
    model, _ = fitted(digits[0] / 255, digits[1])
    model.save(path)
    again = sn.load_model(path)
    assert again.trained_on == model.trained_on == sn.ranges.Range("float64", 0.0, 1.0)
    assert len(said(lambda: again.predict(digits[2].astype(float)))) == 1
    assert sn.architectures.pretrained().trained_on.dtype == "uint8"
    network().save(path)
    assert sn.load_model(path).trained_on is None


@pytest.mark.parametrize(
    "value",
    [0, [], {"dtype": "uint8"}, {"dtype": 1, "low": 0, "high": 1},
     {"dtype": "uint8", "low": 0, "high": float("nan")}],
)  # fmt: skip
def test_a_range_that_is_none_is_refused(value):
    with pytest.raises(sn.InputError, match="trained_on"):
        sn.ranges.Range.from_description(value)


def test_numbers_that_are_not_finite_say_nothing_and_are_not_saved(tmp_path, digits):
    model = network()
    model.trained_on = sn.ranges.Range("float32", float("nan"), float("inf"))
    assert said(lambda: model.predict(np.full((2, 28, 28), np.nan))) == []
    model.save(tmp_path / "m.safetensors")
    assert sn.load_model(tmp_path / "m.safetensors").trained_on is None


def test_other_data_than_images_may_have_any_range(rng):
    model = sn.Sequential([sn.Dense(2)], (3,))
    model.compile("sgd", "mse")
    x = rng.integers(0, 256, (20, 3))
    assert said(lambda: model.fit(x, rng.random((20, 2)), verbose=0)) == []


def test_the_visible_loop_is_told_too(digits):
    x, y, *_ = digits
    model = network()
    assert len(said(lambda: [model.loss_and_gradients(x[:9] * 1.0, y[:9]) for _ in "ab"])) == 1


def test_rows_are_images_where_the_size_fits(digits):
    x = digits[0][:5]
    model = network()
    want = model.predict(x)
    assert np.array_equal(model.predict(x.reshape(5, 784)), want)
    assert model.predict(x[0].reshape(784)) == pytest.approx(want[:1], abs=1e-6)
    assert np.array_equal(model.forward(x[0].ravel()), model.forward(x[:1]))
    colours = sn.Sequential([sn.Flatten()], (4, 4, 3))
    z = np.arange(96.0).reshape(2, 48) / 96
    assert np.allclose(colours.predict(z), z)
    square = sn.Sequential([sn.Flatten()], (1, 4, 1))
    assert square.predict(np.ones((1, 4))).shape == (1, 4)  # one image, as ever


def test_the_command_says_it_in_one_line(tmp_path, digits):
    code = """if True:
        import sys, numpy as np
        import scratchnet as sn
        from scratchnet.cli import main
        from scratchnet.cli.shared import app
        @app.command("try")
        def tries():
            sn.architectures.pretrained().predict(np.full((2, 28, 28), 255))
        sys.argv = ["scratchnet", "try"]
        main()
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("scratchnet: x: the network was trained on")
    assert json.dumps(lines)
