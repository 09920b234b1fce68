"""activation="relu": a name in the constructor, a layer of its own in the model."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.layers.named import ACTIVATIONS

KINDS = {
    **{"relu": "ReLU()", "leaky_relu": "LeakyReLU(slope=0.2)", "elu": "ELU(alpha=1.0)"},
    **{"gelu": "GELU(approximate='none')", "silu": "SiLU()", "swish": "SiLU()"},
    **{"softplus": "Softplus()", "sigmoid": "Sigmoid()", "tanh": "Tanh()"},
    **{"softmax": "Softmax()", "log_softmax": "LogSoftmax()"},
}


def names(model):
    return [layer.name for layer in model.layers]


@pytest.mark.parametrize("name", KINDS)
def test_every_name_appends_its_layer(name):
    model = sn.Sequential([sn.Dense(8, activation=name), sn.Dense(2)], (4,))
    assert [repr(layer) for layer in model.layers][1] == KINDS[name]
    assert len(model.layers) == 3


def test_no_name_is_left_out():
    assert KINDS.keys() == ACTIVATIONS.keys()


def test_a_network_as_keras_users_write_it_is_the_explicit_one(rng, tmp_path):
    short = [
        sn.Conv2D(4, 3, activation="relu"), sn.MaxPool2D(2), sn.Conv2D(4, 2, activation="relu"),
        sn.Flatten(), sn.Dense(5, activation="tanh"), sn.Dense(3, activation="softmax"),
    ]  # fmt: skip
    long = [
        sn.Conv2D(4, 3), sn.ReLU(), sn.MaxPool2D(2), sn.Conv2D(4, 2), sn.ReLU(),
        sn.Flatten(), sn.Dense(5), sn.Tanh(), sn.Dense(3), sn.Softmax(),
    ]  # fmt: skip
    x, y = rng.random((9, 8, 8, 1)), np.arange(9) % 3
    outputs = []
    for layers in (short, long):
        model = sn.Sequential(layers, (8, 8, 1), seed=3)
        assert names(model) == [
            *("conv2d", "relu", "maxpool2d", "conv2d_1", "relu_1", "flatten"),
            *("dense", "tanh", "dense_1", "softmax"),
        ]
        model.compile("adam", "sparse_categorical_crossentropy")
        model.train_on_batch(x, y)
        outputs.append(model.predict(x))
        model.save(tmp_path / "model.safetensors")
        again = sn.load_model(tmp_path / "model.safetensors")
        assert names(again) == names(model)
        np.testing.assert_array_equal(again.predict(x), outputs[-1])
    np.testing.assert_array_equal(*outputs)


def test_the_visible_layer_is_in_the_summary_and_the_layer_says_no_more_of_it(capsys):
    model = sn.Sequential([sn.Dense(8, activation="gelu")], (4,))
    model.summary()
    assert "GELU" in capsys.readouterr().out
    assert model.layers[0].activation is None
    assert "activation" not in model.layers[0].config()
    assert len(sn.Sequential(model.layers).layers) == 2  # and is not appended again


def test_it_follows_in_add_and_in_both_rows_of_a_residual(rng):
    model = sn.Sequential()
    model.add(sn.Conv2D(2, 3, padding=1, activation="silu"))
    block = sn.Residual(
        [sn.Conv2D(2, 3, padding=1, activation="relu"), sn.Conv2D(2, 1)],
        [sn.Conv2D(2, 1, activation="tanh")],
    )
    model.add(block)
    model.build((5, 5, 1))
    assert names(model) == ["conv2d", "silu", "residual"]
    assert [*block.inner()] == ["main.conv2d", "main.relu", "main.conv2d_1"] + [
        "shortcut.conv2d", "shortcut.tanh"
    ]  # fmt: skip
    assert model.predict(rng.random((2, 5, 5, 1))).shape == (2, 5, 5, 2)


@pytest.mark.parametrize("make", [sn.Dense, lambda units, **how: sn.Conv2D(units, 3, **how)])
@pytest.mark.parametrize("bad", ["rleu", "ReLU", "", 3, True, sn.ReLU, ["relu"]])
def test_an_unknown_name_is_an_error_that_lists_the_known_ones(make, bad):
    with pytest.raises(sn.InputError) as error:
        make(8, activation=bad)
    assert all(name in str(error.value) for name in (*KINDS, "linear"))


@pytest.mark.parametrize("none", [None, "linear"])
def test_linear_appends_nothing(none):
    assert len(sn.Sequential([sn.Dense(8, activation=none)], (4,)).layers) == 1


def test_a_layer_alone_does_not_leave_it_out_silently(rng):
    with pytest.raises(sn.InputError, match="expected a place in a Sequential"):
        sn.Dense(3, activation="relu").build((4,), rng)


def test_until_a_model_has_it_it_is_copied_and_described_with_the_layer():
    layer = sn.Dense(3, activation="relu")
    for other in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        sn.Dense.from_config(layer.config()),
    ):
        assert repr(other) == repr(layer) and "activation='relu'" in repr(layer)
        assert len(sn.Sequential([other], (4,)).layers) == 2


def test_a_list_whose_activations_went_into_another_model_is_warned_of():
    rows = [sn.Dense(4, activation="relu"), sn.Dense(2, activation="softmax")]
    first = sn.Sequential(rows, (3,))
    assert len(first.layers) == 4
    with pytest.warns(sn.InputWarning, match="ReLU was appended after dense in another model"):
        sn.Sequential(rows, (3,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sn.Sequential(first.layers[:-1], (3,))  # for the logits
        sn.Sequential([first.layers[0], sn.Tanh(), *first.layers[2:]], (3,))
