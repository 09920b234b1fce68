"""The networks by name: sizes counted by hand, and that each one learns."""

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.architectures import ARCHITECTURES, build


def conv(size, channels, filters):
    return (size * size * channels + 1) * filters


def conv_norm(size, channels, filters):
    return size * size * channels * filters + 2 * filters


def dense(inputs, units):
    return (inputs + 1) * units


PARAMETERS = {
    "cnn": conv(3, 1, 32) + conv(3, 32, 64) + dense(5 * 5 * 64, 64) + dense(64, 10),
    "cnn-small": conv(3, 1, 32) + dense(13 * 13 * 32, 64) + dense(64, 10),
    "cnn-dropout": conv(3, 1, 32) + conv(3, 32, 64) + dense(5 * 5 * 64, 10),
    "mlp": dense(784, 784) + dense(784, 10),
    "lenet5": conv(5, 1, 6) + conv(5, 6, 16) + dense(400, 120) + dense(120, 84) + dense(84, 10),
    # before the output, each layer as the paper counts it: 60,000 trainable parameters
    "lenet5-1998": 156 + 12 + 1_516 + 32 + 48_120 + 10_164 + dense(84, 10),
    "cnn-bn": conv_norm(3, 1, 32)
    + conv_norm(3, 32, 48)
    + conv_norm(3, 48, 96)
    + conv_norm(3, 96, 96)
    + conv_norm(3, 96, 192)
    + dense(192, 10),
    "resnet": conv_norm(3, 1, 16)
    + 2 * conv_norm(3, 16, 16)
    + sum(conv_norm(3, a, b) for a, b in [(16, 32), (32, 32), (32, 64), (64, 64)])
    + conv_norm(1, 16, 32)
    + conv_norm(1, 32, 64)
    + dense(64, 10),
}


def test_every_architecture_is_counted_here_and_cnn_as_published():
    assert PARAMETERS.keys() == ARCHITECTURES.keys()
    assert PARAMETERS["cnn"] == 121_930
    assert PARAMETERS["cnn-dropout"] == 34_826  # as Keras prints for its example


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "resnet")) for name in PARAMETERS],
)
def test_an_architecture_has_its_size_and_learns_from_a_batch(name):
    x = np.random.default_rng(0).integers(0, 256, (16, 28, 28), np.uint8)
    y = np.arange(16) % 10
    model = build(name)
    assert model.count_params() == PARAMETERS[name]
    assert model.output_shape == (10,)
    model.compile("adam", "sparse_categorical_crossentropy")
    before = model.evaluate(x, y, verbose=0)
    model.train_on_batch(x, y)
    assert model.evaluate(x, y, verbose=0) < before


@pytest.mark.parametrize(("name", "millions"), [("cnn-bn", 18.3), ("resnet", 9.3)])
def test_the_accurate_ones_cost_what_they_may_and_fill_vectors(name, millions):
    model = build(name)
    adds = sum(row.multiply_adds for row in model.rows())
    assert round(adds / 1e6, 1) == millions
    convolutions = [leaf for at in model.layers for leaf in at.leaves() if hasattr(leaf, "filters")]
    assert all(conv.filters % 16 == 0 for conv in convolutions)  # whole vectors
    assert all(not conv.use_bias for conv in convolutions)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_seed_decides_the_weights(name):
    weights = [build(name, seed=seed).flat_params for seed in (1, 1, 2)]
    assert np.array_equal(weights[0], weights[1])
    assert not np.array_equal(weights[0], weights[2])


@pytest.mark.parametrize("name", ["densenet", "CNN"])
def test_an_unknown_name_is_answered_with_the_known_ones(name):
    with pytest.raises(InputError) as caught:
        sn.architectures.build(name)
    assert "\n" not in str(caught.value)
    assert all(word in str(caught.value) for word in (*PARAMETERS, repr(name)))
