"""What can be seen of a model and put into it: weights, layers by name, activations."""

import pickle

import numpy as np
import pytest
from own_layers import bent

import scratchnet as sn
from scratchnet import InputError

FUSE = pytest.mark.parametrize("fuse", [True, False], ids=["fused", "layers"])


def network(fuse=True, seed=0):
    block = sn.Residual([sn.Conv2D(4, 3, 2, padding="same"), sn.BatchNorm()], [sn.Conv2D(4, 1, 2)])
    layers = [sn.Conv2D(3, 3), sn.ReLU(), sn.MaxPool2D(2), block, sn.ReLU(), sn.Flatten()]
    layers += [sn.Dropout(0.5), sn.Dense(5), sn.ReLU(), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential(layers, (10, 10, 1), seed=seed, fuse=fuse)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@pytest.fixture
def x(rng):
    return rng.random((9, 10, 10, 1), dtype=np.float32)


# ------------------------------------------------------------------------------------------ weights


def test_weights_come_in_keras_order_and_are_copies():
    model = network()
    weights = model.get_weights()
    shapes = [(3, 3, 1, 3), (3,), (3, 3, 3, 4), (4,), (4,), (4,), (4,), (4,), (1, 1, 3, 4), (4,)]
    shapes += [(16, 5), (5,), (5, 3), (3,)]
    assert [array.shape for array in weights] == shapes
    norm = model.layers[3].main[1]
    assert np.array_equal(weights[4], norm.params["gamma"])
    assert np.array_equal(weights[7], norm.buffers["running_var"])
    weights[0][...] = 7
    assert not np.any(model.layers[0].params["W"] == 7)
    assert model.layers[0].get_weights()[0].shape == (3, 3, 1, 3)
    assert [layer.count_params() for layer in model.layers][:4] == [30, 0, 0, 112 + 8 + 16]
    assert model.count_params() == sum(layer.count_params() for layer in model.layers)


def test_weights_that_are_set_are_those_of_the_other_model(x):
    model, other = network(seed=1), network(seed=2)
    model.fit(x, np.arange(9) % 3, verbose=0)
    assert not np.allclose(other.predict(x), model.predict(x))
    other.set_weights(model.get_weights())
    assert np.array_equal(other.predict(x), model.predict(x))
    assert all(np.shares_memory(a, other.flat_params) for a in other.parameters().values())
    other.layers[0].set_weights([np.zeros((3, 3, 1, 3)), np.ones(3)])
    assert np.all(other.forward(x[:0]).shape == (0, 3)) and not other.layers[0].params["W"].any()


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda w: w[:-1], "expected 14 arrays of weights, found 13"),
        (lambda w: [*w[:-1], np.zeros(4)], r"numbers \(3,\) as weights number 13, found .*\(4,\)"),
        (lambda w: [*w[:-1], np.array(["a", "b", "c"])], "weights number 13"),
    ],
)
def test_weights_that_do_not_fit_change_nothing(change, words):
    model = network()
    before = model.get_weights()
    with pytest.raises(InputError, match=words):
        model.set_weights(change([array + 1 for array in before]))
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_before_it_is_built_a_model_has_no_weights():
    model = sn.Sequential([sn.Dense(3)])
    for ask in (model.get_weights, lambda: model.set_weights([]), model.layers[0].count_params):
        with pytest.raises(RuntimeError, match="buil"):
            ask()


# ------------------------------------------------------------------------------------------- layers


def test_layers_are_found_by_name_and_by_number():
    model = network()
    assert model.get_layer("conv2d") is model.get_layer(index=0) is model.layers[0]
    assert model.get_layer(index=-1) is model.layers[-1]
    assert model.get_layer("residual.main.batchnorm") is model.layers[3].main[1]
    for ask, words in (
        ({}, "a name or an index"),
        ({"name": "relu", "index": 1}, "a name or an index"),
        ({"name": "rlu"}, "expected one of conv2d, relu, .*found 'rlu'"),
        ({"index": 11}, "below 11"),
        ({"index": 1.0}, "below 11"),
    ):
        with pytest.raises(InputError, match=words):
            model.get_layer(**ask)


# -------------------------------------------------------------------------------------- activations


@FUSE
def test_activations_of_a_batch_are_what_the_next_layers_get(x, fuse):
    model = network(fuse)
    y = np.arange(9) % 3
    model.fit(x, y, verbose=0)
    every = model.activations(x, batch_size=4)
    names = [layer.name for layer in model.layers]
    inner = ["residual.main.conv2d", "residual.main.batchnorm", "residual.shortcut.conv2d"]
    assert every.keys() == {*names, *inner}
    for i, name in enumerate(names):
        part = sn.Sequential(model.layers[: i + 1], (10, 10, 1), fuse=False)
        assert every[name] == pytest.approx(part.predict(x), rel=1e-5, abs=1e-6)
    assert every["softmax"] == pytest.approx(model.predict(x), rel=1e-4, abs=1e-6)
    assert every["residual"] == pytest.approx(every[inner[1]] + every[inner[2]], abs=1e-6)
    assert np.array_equal(model.activations(x, "relu_1", batch_size=4), every["relu_1"])
    some = model.activations(x[0, :, :, 0], ["relu", "dense"])
    assert some.keys() == {"relu", "dense"} and some["relu"].shape == (1, 8, 8, 3)
    trace = sn.trace(model, x[2], label=1)
    assert trace["relu_1"].y == pytest.approx(every["relu_1"][2], abs=1e-5)
    assert trace["relu"].x is trace["relu"].input and trace["relu"].y is trace["relu"].output


def test_bytes_are_scaled_for_activations_too():
    model = sn.Sequential([sn.Flatten(), sn.Dense(2)], (4, 4, 1))
    x = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
    assert model.activations(x, "flatten") == pytest.approx(x.reshape(3, 16) / 255)
    assert model.activations(x[:0], "dense").shape == (0, 2)


def test_activations_change_nothing_and_keep_nothing(x):
    model = network(fuse=False)
    before = model.get_weights()
    model.forward(x)
    model.activations(x)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert all(leaf.cache is None for layer in model.layers for leaf in layer.leaves())
    with pytest.raises(RuntimeError, match="forward"):
        model.backward(np.ones((9, 3), np.float32))


def test_a_layer_that_is_not_there_is_named(x):
    model = network()
    with pytest.raises(InputError, match="expected one of conv2d, .*found 'relu_9'"):
        model.activations(x, "relu_9")
    with pytest.raises(InputError, match="batch_size"):
        model.activations(x, "relu", batch_size=0)

    class Pair(bent(np.tanh, lambda x: 1 - np.tanh(x) ** 2)):
        def __init__(self):
            super().__init__()
            self.first = sn.ReLU()
            self.first.name = "first"

        def inner(self):
            return {"first": self.first}

    own = sn.Sequential([Pair()], (3,))
    with pytest.raises(InputError, match="of the row or of a Residual, found pair.first"):
        own.activations(np.ones((2, 3)), "pair.first")
    assert own.activations(np.ones((2, 3))).keys() == {"pair"}


def test_pickles_train_on_with_the_same_bits(x):
    y = np.arange(9) % 3
    model = network()
    model.fit(x, y, verbose=0)
    again = pickle.loads(pickle.dumps(model))
    for one in (model, again):
        one.fit(x, y, verbose=0)
    assert np.array_equal(model.flat_params, again.flat_params)
    assert np.array_equal(
        pickle.loads(pickle.dumps(model.layers[0])).params["W"], model.layers[0].params["W"]
    )


@pytest.mark.parametrize("store", ["params", "grads", "buffers"])
def test_flat_arrays_are_assigned_by_value(store):
    model = sn.Sequential([sn.Dense(3), sn.BatchNorm(), sn.Softmax()], (4,))
    flat = getattr(model, f"flat_{store}")
    setattr(model, f"flat_{store}", np.arange(flat.size))
    assert getattr(model, f"flat_{store}") is flat and flat[1] == 1
    exec(f"model.flat_{store} += 1")
    assert getattr(model, f"flat_{store}") is flat and flat[1] == 2
