"""What scratchnet promises beside any framework; the test_parity files say beside which.

Same weights, same batches. float64 within 1e-10 of the quantity's largest value; one step of
float32 within rtol 1.3e-6 and atol 1e-5; where rounding alone decides, it is said.
"""

import functools

import numpy as np
import parity
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import built_layers

import scratchnet as sn
from scratchnet.architectures import ARCHITECTURES

MODELS = sorted({*ARCHITECTURES, "vgg-bn"})
LAYERS = ["AveragePool2D", "BatchNorm", "Conv2D", "Dense", "Flatten", "GlobalAveragePool2D"]
LAYERS += ["Conv2DTranspose", "DepthwiseConv2D", "ELU", "GELU", "GlobalMaxPool2D", "LayerNorm"]
LAYERS += ["LeakyReLU", "LogSoftmax", "MaxPool2D", "ReLU", "Reshape", "SiLU", "Sigmoid", "Softmax"]
LAYERS += ["Softplus", "Tanh", "UpSampling2D", "ZeroPadding2D"]
LAYERS += ["ConnectedConv2D", "ScaledTanh", "Subsampling2D"]


def same(n):
    return sn.Conv2D(n, 3, padding="same")


#: name: layers for images of 5x6x2 that need more than a translation one by one
ODD = {
    "BatchNorm between Flatten and Dense": lambda: [
        *(sn.Conv2D(3, 2), sn.Flatten(), sn.BatchNorm(), sn.ReLU(), sn.Dense(4), sn.Softmax())
    ],
    "LayerNorm between Flatten and Dense": lambda: [
        *(sn.LayerNorm(), sn.Conv2D(3, 2), sn.LayerNorm((1, 2, 3)), sn.Flatten(), sn.LayerNorm()),
        *(sn.Tanh(), sn.Dense(4), sn.LayerNorm(), sn.Softmax()),
    ],
    "Flatten at the end": lambda: [sn.Conv2D(3, 2), sn.Flatten(), sn.BatchNorm()],
    "Softmax over channels": lambda: [same(3), sn.Softmax()],
    "LogSoftmax over channels": lambda: [same(3), sn.LogSoftmax()],
    "uneven padding": lambda: [
        sn.Conv2D(3, 2, padding="same"),
        sn.MaxPool2D(3, 1, padding=2),
        sn.AveragePool2D(2, 1, padding=((1, 0), (0, 1))),
        sn.Conv2D(2, 3, strides=2, padding="same", use_bias=False),
    ],
    "Residual": lambda: [
        same(4),
        sn.Residual([same(4), sn.BatchNorm(), sn.ReLU(), same(4)]),
        sn.BatchNorm(),
        sn.Residual([sn.Conv2D(6, 3, 2, "same"), sn.BatchNorm()], [sn.Conv2D(6, 1, 2)]),
        sn.GlobalAveragePool2D(),
        sn.Dense(4),
        sn.Softmax(),
    ],
    "Reshape from a vector to an image": lambda: [
        sn.Flatten(), sn.Dense(24), sn.ReLU(), sn.Reshape((3, -1, 2)), sn.UpSampling2D(2), same(3)
    ],
    "Reshape behind Flatten": lambda: [
        same(3), sn.Flatten(), sn.BatchNorm(), sn.Reshape((6, 5, 3)), same(2), sn.Reshape((-1,)),
        sn.Dense(3),
    ],
    "Residual in a Residual": lambda: [
        sn.Residual([same(2), sn.Residual([same(3)], [same(3)]), same(2)], [same(2)]), same(3)
    ],
    "Residual behind Flatten": lambda: [
        sn.Flatten(), sn.Residual([sn.Dense(60), sn.BatchNorm()]), sn.Dense(3)
    ],
    "Flatten in a Residual": lambda: [
        sn.Residual([sn.Flatten(), sn.Dense(60)], [sn.Flatten()]), sn.Dense(3)
    ],
}  # fmt: skip


def other_windows():
    # TensorFlow keeps a slope in float32, which holds 0.25 exactly
    return [
        sn.ZeroPadding2D(((1, 0), (0, 1))),
        sn.Conv2D(4, 3, 3),
        sn.LeakyReLU(0.25),
        sn.DepthwiseConv2D(3, 1, "same", 2, dilation_rate=2),
        sn.Conv2D(6, 3, padding="same", dilation_rate=2),
        sn.LeakyReLU(0.25),
        sn.Conv2DTranspose(3, 3, 2, "same"),
        sn.UpSampling2D(2),
        sn.GlobalMaxPool2D(),
        sn.Dense(24),
        sn.Reshape((2, 3, -1)),
        sn.Conv2DTranspose(2, (2, 3), (3, 1)),
        sn.Flatten(),
        sn.Dense(10),
        sn.Softmax(),
    ]


def agree(dtype, ours, theirs, without=(), most=1e-10):
    """Dictionaries of arrays within the tolerances; `most` is float64's."""
    theirs = {name: array for name, array in theirs.items() if name not in without}
    assert ours.keys() >= theirs.keys() and theirs
    for name, array in theirs.items():
        assert array.dtype == ours[name].dtype == dtype, name
        assert array.shape == ours[name].shape, name
        if dtype == "float32":
            np.testing.assert_allclose(array, ours[name], 1.3e-6, 1e-5, err_msg=name)
    if dtype == "float64":
        assert parity.deviation(ours, theirs) <= most


def has_batchnorm(name):
    layers = parity.c.MODELS[name](10)
    return any(isinstance(leaf, sn.BatchNorm) for layer in layers for leaf in layer.leaves())


def smooth(layers):
    """The layers without what bends or chooses: no ReLU, the mean for the maximum."""
    rows = []
    for layer in layers:
        if isinstance(layer, sn.MaxPool2D):
            layer = sn.AveragePool2D(**layer.config())
        elif isinstance(layer, sn.Residual):
            layer = sn.Residual(smooth(layer.main), smooth(layer.shortcut))
        if not isinstance(layer, (sn.ReLU, sn.Dropout)):
            rows.append(layer)
    return rows


@functools.cache
def adrift(name):
    """Arrays that Adam moves by rounding alone, see benchmarks/parity.py."""
    return parity.adrift(parity.maker(name, "float64"))


class Parity:
    """kind: the framework's class in benchmarks/parity.py."""

    kind = None
    #: layers that the framework computes less exactly, and how exactly
    rounds: dict[str, float] = {}

    def vjp(self, them, x, dy, training):
        """y, dx and the gradients of <y, dy>."""
        raise NotImplementedError

    def has(self, layer):
        """Whether the framework has the layer with these settings."""
        return True

    def both(self, make):
        return self.kind.measure(make), self.kind(make)

    @pytest.mark.parametrize("dtype", ["float64", "float32"])
    @pytest.mark.parametrize("name", MODELS)
    def test_an_architecture_agrees_over_one_step(self, name, dtype):
        make, ((x, y),) = parity.maker(name, dtype), parity.batches(dtype, 1, 16)
        us, them = self.both(make)
        agree(dtype, {"probs": us.forward(x)}, {"probs": them.forward(x)})
        if dtype == "float32" and has_batchnorm(name):
            return  # the next test
        agree(dtype, us.gradients(x, y, training=False), them.gradients(x, y, training=False))
        ours, theirs = (at.gradients(x, y) for at in self.both(make))
        agree(dtype, ours, theirs)
        loss, their_loss = us.step(x, y), them.step(x, y)
        assert their_loss == pytest.approx(loss, rel=1.3e-6 if dtype == "float32" else 1e-10)
        ends = us.arrays(), them.arrays()
        for key, g in ours.items() if dtype == "float32" else ():
            # where a gradient is not far above epsilon, Adam's first step is up to lr / epsilon, or
            # 10,000, times as steep, and makes 1e-5 of a rounding of 1e-9
            for arrays in ends:
                arrays[key][np.abs(g) < 10 * parity.EPSILON] = 0
        agree(dtype, *ends, without=() if dtype == "float32" else adrift(name))

    @pytest.mark.parametrize("name", [*filter(has_batchnorm, MODELS)])
    def test_gradients_through_batchnorm_agree_in_float32_without_kinks(self, name):
        """With ReLU and max pooling the tolerance is out of reach: convolutions (Winograd's) and
        the batch's statistics round differently, of a million values before a ReLU a few change
        sign by it, and each of those changes gradients by up to 1e-2. Without them it holds, as it
        does in float64 with them."""

        def make(dtype="float32"):
            return sn.Sequential(smooth(parity.c.MODELS[name](10)), (28, 28, 1), 0, dtype)

        ((x, y),) = parity.batches("float32", 1, 16)
        for training in (True, False):
            ours, theirs = (at.gradients(x, y, training=training) for at in self.both(make))
            without = parity.adrift(lambda: make("float64")) if training else ()
            agree("float32", ours, theirs, without)

    @pytest.mark.parametrize("name", MODELS)
    def test_100_steps_of_adam_agree_in_float64(self, name):
        us, them = self.both(parity.maker(name, "float64"))
        feed = parity.batches("float64", 100, 4)
        losses = [[at.step(*batch) for batch in feed] for at in (us, them)]
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-10)
        agree("float64", us.arrays(), them.arrays(), without=adrift(name))

    def test_100_steps_of_adam_through_smooth_layers_agree_in_float64(self):
        def make():
            gelu = sn.SiLU if "GELU" in self.rounds else sn.GELU
            rows = [
                *(sn.Conv2D(4, 3, 2), sn.LayerNorm(), gelu(), sn.Conv2D(4, 3, 2), sn.SiLU()),
                *(sn.Flatten(), sn.LayerNorm(), sn.Dense(16), sn.Tanh(), sn.Dense(16), sn.ELU()),
                *(sn.Dense(16), sn.Softplus(), sn.Dense(16), sn.Sigmoid(), sn.Dense(10)),
            ]
            return sn.Sequential([*rows, sn.Softmax()], (28, 28, 1), 0, "float64")

        us, them = self.both(make)
        feed = parity.batches("float64", 100, 4)
        losses = [[at.step(*batch) for batch in feed] for at in (us, them)]
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-10)
        agree("float64", us.arrays(), them.arrays(), without=parity.adrift(make))

    def test_20_steps_through_other_windows_agree_in_float64(self):
        def make():
            return sn.Sequential(other_windows(), (28, 28, 1), 0, "float64")

        us, them = self.both(make)
        feed = parity.batches("float64", 20, 4)
        losses = [[at.step(*batch) for batch in feed] for at in (us, them)]
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-10)
        agree("float64", us.arrays(), them.arrays())

    @pytest.mark.parametrize("rows", ODD.values(), ids=ODD)
    def test_a_network_that_needs_more_agrees(self, rows, rng):
        def make():
            model, values = sn.Sequential(rows(), (5, 6, 2), 0, "float64"), np.random.default_rng(1)
            for array in model.arrays().values():
                array[:] = values.uniform(0.3, 1, array.shape)
            return model

        self.one_pass(make, rng.standard_normal((3, 5, 6, 2)), rng)

    @pytest.mark.parametrize("kind", LAYERS)
    @settings(suppress_health_check=[HealthCheck.filter_too_much])  # Keras has few strides
    @given(data=st.data())
    def test_a_layer_agrees_whatever_its_settings(self, kind, data):
        layer, x = data.draw(built_layers(kind))
        assume(self.has(layer))

        def make():
            model = sn.Sequential([type(layer)(**layer.config())], x.shape[1:], 0, "float64")
            for array, value in zip(
                model.arrays().values(), (layer.params | layer.buffers).values(), strict=True
            ):
                array[:] = value
            return model

        self.one_pass(make, x, np.random.default_rng(0), self.rounds.get(kind, 1e-10))

    def one_pass(self, make, x, rng, most=1e-10):
        """Forward and backward in both modes, with a random dy."""
        for training in (False, True):
            us, them = self.both(make)
            y = us.forward(x, training)
            dy = rng.standard_normal(y.shape)
            dx = us.model.backward(dy)
            theirs, their_dx, grads = self.vjp(them, x, dy, training)
            agree("float64", {"y": y, "dx": dx}, {"y": theirs, "dx": their_dx}, most=most)
            if us.model.count_params():
                agree("float64", us.grads(), grads, most=most)

    def test_noise_stays_in_the_network_with_its_deviation(self):
        model = sn.Sequential([sn.GaussianNoise(0.25)], (1000,))
        x = np.ones((1, 1000), np.float32)
        them = self.kind(lambda: model)
        np.testing.assert_array_equal(them.forward(x), x)
        assert 0.2 < (them.forward(x, training=True) - x).std() < 0.3

    def test_dropout_stays_in_the_network_with_its_rate(self):
        model = sn.Sequential([sn.Dropout(0.25)], (1000,))
        x = np.ones((1, 1000), np.float32)
        them = self.kind(lambda: model)
        np.testing.assert_array_equal(them.forward(x), x)
        y = them.forward(x, training=True)
        assert set(np.unique(y)) == {0, np.float32(1 / 0.75)} and 0.15 < (y == 0).mean() < 0.35
