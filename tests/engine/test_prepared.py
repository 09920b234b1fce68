"""One image in inference as one native function: the same numbers as layer by layer, always."""

import copy

import numba
import numpy as np
import pytest

import scratchnet as sn
from scratchnet import kernels
from scratchnet.engine.single import PREPARE_AT
from scratchnet.engine.threads import compiles
from scratchnet.layers import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    ReLU,
    Softmax,
)

pytestmark = pytest.mark.skipif(
    not compiles() or kernels.backend() != "numba", reason="needs compiled kernels"
)

ROWS = {
    "pooled": lambda: [Conv2D(32, 3), ReLU(), MaxPool2D(2), Conv2D(64, 3), ReLU(), MaxPool2D(2)],
    "odd channels": lambda: [Conv2D(5, 3), ReLU(), MaxPool2D(2), Conv2D(7, 3), ReLU()],
    "framed": lambda: [Conv2D(16, 3, padding="same"), Conv2D(16, 5, padding="same"), ReLU()],
    "strided": lambda: [Conv2D(9, 3, strides=2), ReLU(), Conv2D(4, 2, use_bias=False)],
    "winograd": lambda: [Conv2D(16, 3, padding="same"), Conv2D(16, 3, padding="same"), ReLU()],
    "dense": lambda: [Flatten(), Dense(33), ReLU(), Dropout(0.5), Dense(17)],
}


def network(name: str, dtype: type = np.float32) -> sn.Sequential:
    end = [] if name == "dense" else [Flatten()]
    net = sn.Sequential([*ROWS[name](), *end, Dense(10), Softmax()], (20, 22, 1), 1, dtype=dtype)
    rng = np.random.default_rng(2)
    net.flat_params[:] += rng.normal(0, 0.05, net.flat_params.size)  # biases too
    for _ in range(PREPARE_AT - 1):  # the first ones go the ordinary way
        net.predict(images(1))
    assert net._runner.one_image is None
    return net


def images(n: int) -> np.ndarray:
    return np.random.default_rng(3).random((n, 20, 22, 1))


slow = {"odd channels", "framed", "winograd"}  # many kernels to compile, for the same paths
rows = [pytest.param(name, marks=[pytest.mark.slow] * (name in slow)) for name in ROWS]


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", rows)
def test_the_same_bits_as_forward(name, dtype):
    net, x = network(name, dtype), images(3)
    for one in x:
        expected = net.forward(one[None])
        assert np.array_equal(net.predict(one[None]), expected)
    assert net._runner.one_image is not None


def test_what_is_predicted_is_the_callers():
    net, x = network("pooled"), images(2)
    first = net.predict(x[:1])
    kept = first.copy()
    net.predict(x[1:])
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("name", rows)
def test_new_weights_are_seen(name):
    net, x = network(name), images(1)
    before = net.predict(x)
    net.flat_params[:] *= -0.7
    assert not np.allclose(net.predict(x), before)
    assert np.array_equal(net.predict(x), net.forward(x))


def test_an_array_put_in_a_parameters_place_is_seen():
    net, x = network("pooled"), images(1)
    net.predict(x)
    params = net.layers[0].params
    params["W"] = params["W"] + 1
    assert np.array_equal(net.predict(x), net.forward(x))


def test_larger_batches_in_between():
    net, x = network("strided"), images(40)
    alone = [net.predict(x[:1])]
    net.predict(x)
    alone.append(net.predict(x[:1]))
    assert np.array_equal(*alone)


def test_training_in_between():
    net, x = network("pooled"), images(64)
    net.compile("adam", "sparse_categorical_crossentropy")
    net.predict(x[:1])
    net.fit(x, np.arange(64) % 10, verbose=0)
    assert np.array_equal(net.predict(x[:1]), net.forward(x[:1]))


def test_a_copy_has_weights_of_its_own():
    net, x = network("pooled"), images(1)
    before = net.predict(x)
    other = copy.deepcopy(net)
    other.flat_params[:] = 0
    assert np.allclose(other.predict(x), 0.1)
    assert np.array_equal(net.predict(x), before)


def test_nothing_is_kept_for_backward():
    net, x = network("pooled"), images(1)
    net.forward(x)
    out = net.predict(x)
    assert net._runner.one_image is not None
    with pytest.raises(RuntimeError, match="forward"):
        net.backward(out)


def test_the_number_of_threads_is_given_back():
    net, x = network("pooled"), images(1)
    net.predict(x)
    before = numba.get_num_threads()
    net.predict(x)
    assert numba.get_num_threads() == before


def test_nan_travels_through():
    net, x = network("pooled"), images(1)
    assert np.isfinite(net.predict(x)).all()
    x[0, 10, 10] = np.nan
    assert np.isnan(net.predict(x)).all()


class Halved(sn.Layer):
    """A layer that no group runs."""

    def forward(self, x, training=False):
        return x / 2


@pytest.mark.parametrize("other", [BatchNorm, Halved])
def test_other_layers_run_between_what_is_prepared(other):
    layers = [Conv2D(8, 3), other(), ReLU(), Flatten(), Dense(10)]
    net = sn.Sequential(layers, (20, 22, 1), 1)
    net.prepare()
    assert len(net._runner.one_image.segments) == 2
    for x in (*images(2)[:, None], np.random.default_rng(4).integers(0, 256, (1, 20, 22), "u1")):
        assert np.array_equal(net.predict(x), net.forward(x))
    if other is BatchNorm:
        net.layers[1].buffers["running_mean"][:] = 3  # read anew, not kept from the recording
        assert np.array_equal(net.predict(x), net.forward(x))


def test_not_where_fusion_is_off():
    net, x = network("pooled"), images(1)
    net.predict(x)
    net.fuse = False
    net._runner.one_image = None
    assert np.array_equal(net.predict(x), net.forward(x))
    assert net._runner.one_image is None


def test_parameters_that_do_not_lie_in_order_are_not_prepared_for():
    net, x = network("pooled"), images(1)
    for layer in net.layers:
        for key, array in layer.params.items():
            layer.params[key] = np.asfortranarray(array)
    for _ in range(2):
        net.layers[3].params["W"] *= -1
        for _ in range(PREPARE_AT):
            found = net.predict(x)
        np.testing.assert_array_equal(found, net.forward(x))
    assert net._runner.one_image is None


def test_what_is_prepared_for_at_once():
    net, x = sn.Sequential([Flatten(), Dense(10)], (20, 22, 1), 1), images(1)
    net.prepare()
    assert net._runner.one_image is not None
    assert np.array_equal(net.predict(x), net.forward(x))
    with pytest.raises(RuntimeError, match="no input shape"):
        sn.Sequential([Dense(1)]).prepare()
