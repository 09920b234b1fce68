"""scratchnet beside Keras on TensorFlow: the same weights, the same batches, the same numbers."""

import os
import warnings

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.interop import keras as to_keras

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = 'Keras and TensorFlow come with pip install "scratchnet[parity]"'
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what they say when they are loaded is theirs
    tf = pytest.importorskip("tensorflow", reason=WHY)
    keras = pytest.importorskip("keras", reason=WHY)

import parity  # noqa: E402
import parity_checks  # noqa: E402

# Keras 3 on NumPy 2, and its advice on a softmax over one class
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*softmax over axis:UserWarning"),
]


class TestKeras(parity_checks.Parity):
    kind = parity.Keras
    # TensorFlow mixes pixels in float32, and some constants are float32, whatever it is given
    rounds = {"UpSampling2D": 1e-6, "GELU": 1e-7, "LeakyReLU": 1e-7}

    def has(self, layer):
        if isinstance(layer, sn.DepthwiseConv2D) and layer.strides[0] != layer.strides[1]:
            return False
        gaps = max(getattr(layer, "dilation_rate", (1,)))
        return gaps == 1 or max(layer.strides) == 1

    def vjp(self, them, x, dy, training):
        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = them.net(x, training=training)
            total = tf.reduce_sum(y * dy)
        dx, grads = tape.gradient(total, (x, them.net.trainable_variables))
        return y.numpy(), dx.numpy(), them.grads(grads) if grads else {}


class KerasAdam(parity.EpsilonHatAdam):
    """What Keras 3 computes for the betas it is given: its bias corrections round them."""

    def update(self, params, grads, lr):
        m, v = self._memory("m", params), self._memory("v", params)
        m += (1 - self.beta_1) * (grads - m)
        v += (1 - self.beta_2) * (grads**2 - v)
        first, second = (
            1 - float(np.float32(b)) ** self.iterations for b in (self.beta_1, self.beta_2)
        )
        params -= lr * np.sqrt(second) / first * m / (np.sqrt(v) + self.epsilon)


def test_at_keras_own_settings_only_its_rounding_of_the_betas_parts_us():
    """1 - 0.999 in float32 is wrong by 1.3e-5, in a float64 network as well."""

    class Usual(parity.ScratchnetLikeKeras):
        rate, betas = float(np.float32(1e-3)), (0.9, 0.999)

    class Rounding(Usual):
        kind = KerasAdam

    class UsualKeras(parity.Keras):
        measure = Usual

    make, feed = parity.maker("mlp", "float64"), parity.batches("float64", 20, 8)
    theirs, rounding, exact = (
        [at.step(*batch) for batch in feed]
        for at in (kind(make) for kind in (UsualKeras, Rounding, Usual))
    )
    np.testing.assert_allclose(rounding, theirs, rtol=1e-10)
    assert 1e-7 < np.abs(np.array(exact) / theirs - 1).max() < 1e-2


def test_strides_and_gaps_together_are_refused_as_keras_refuses_them():
    model = sn.Sequential([sn.Conv2D(2, 2, strides=2, dilation_rate=2)], (6, 5, 1))
    with pytest.raises(sn.InputError, match="strides and dilation together"):
        to_keras.build(model)


def test_running_statistics_are_keras_own(rng):
    rows = [sn.Conv2D(3, 2), sn.BatchNorm(0.9), sn.Flatten(), sn.BatchNorm(0.5)]
    model = sn.Sequential(rows, (4, 5, 2), 0, "float64")
    net = to_keras.build(model)
    for x in rng.standard_normal((6, 7, 4, 5, 2)):
        model.forward(x, training=True)
        net(x, training=True)
    for ours, theirs in zip(to_keras.weights(model), net.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=1e-12, atol=1e-14)


def test_weights_come_back_from_a_keras_network():
    make = parity_checks.ODD["Residual"]
    model, other = (sn.Sequential(make(), (5, 6, 2), seed) for seed in (0, 1))
    to_keras.load_weights(other, to_keras.build(model))
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array, err_msg=name)


def test_the_network_can_be_saved_by_keras(tmp_path, rng):
    model = sn.Sequential(parity_checks.ODD["uneven padding"](), (5, 6, 2), 0, "float64")
    net, x = to_keras.build(model), rng.standard_normal((2, 5, 6, 2))
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    np.testing.assert_array_equal(again(x).numpy(), net(x).numpy())


def test_a_regularizer_goes_along_with_the_same_penalty():
    layers = [
        sn.Conv2D(2, 3, kernel_regularizer=sn.regularizers.L1L2(0.1, 0.2), activation="relu"),
        *(sn.Flatten(), sn.Dense(3, kernel_regularizer=0.3)),
    ]
    model = sn.Sequential(layers, (5, 4, 1), dtype="float64")
    theirs = sum(float(penalty) for penalty in to_keras.build(model).losses)
    assert theirs == pytest.approx(sn.regularizers.penalty(model.layers), rel=1e-6)
