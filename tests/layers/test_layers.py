"""Every layer against its definition, and the promises that all layers make."""

import json

import numpy as np
import oracles
import pytest
from arrays import fortran, read_only, strided
from hypothesis import given
from hypothesis import strategies as st
from kinds import EXAMPLES
from strategies import GENERATORS, built_layers

import scratchnet as sn
from scratchnet.layers import LAYERS

every_layer = pytest.mark.parametrize("kind", LAYERS)
either_mode = pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
DTYPES = (np.float32, np.float64)


def example(kind, rng, dtype=np.float64, n=3):
    """The layer, built; an input and a gradient that fit."""
    layer, shape = EXAMPLES[kind][0](), EXAMPLES[kind][1]
    shapes = shape, layer.build(shape, rng, dtype)
    return layer, *(rng.standard_normal((n, *inner)).astype(dtype) for inner in shapes)


def fresh(seed=0):
    return np.random.default_rng(seed)


def built(layer, shape, seed=0, dtype=np.float64):
    layer.build(shape, fresh(seed), dtype)
    return layer


# ---- the definitions -----------------------------------------------------------------------------


def pads(layer, x, window):
    return oracles.pads_of(layer.padding, x.shape[1:3], window, layer.strides)


def conv(layer, x, dy):
    W, b = layer.params["W"], layer.params.get("b", np.zeros(layer.filters))
    span = oracles.span(W.shape[:2], layer.dilation_rate)
    where = layer.strides, pads(layer, x, span), layer.dilation_rate
    y, dx, dW, db = oracles.conv(x, W, b, dy, *where)
    return y, dx, {"W": dW, "b": db}


def depthwise_conv(layer, x, dy):
    W, b = layer.params["W"], layer.params.get("b", np.zeros(dy.shape[3]))
    span = oracles.span(W.shape[:2], layer.dilation_rate)
    where = layer.strides, pads(layer, x, span), layer.dilation_rate
    y, dx, dW, db = oracles.depthwise_conv(x, W, b, dy, *where)
    return y, dx, {"W": dW, "b": db}


def subsampling(layer, x, dy):
    y, dx, dW, db = oracles.subsampling(x, *layer.params.values(), dy, layer.pool_size)
    return y, dx, {"W": dW, "b": db}


def connected_conv(layer, x, dy):
    W, b = layer.params["W"], layer.params.get("b", np.zeros(layer.filters))
    y, dx, dW, db = oracles.connected_conv(x, W, b, dy, layer.connections)
    return y, dx, {"W": dW, "b": db}


def conv_transpose(layer, x, dy):
    W, b = layer.params["W"], layer.params.get("b", np.zeros(layer.filters))
    where = x.shape[1:3], W.shape[:2], layer.strides, layer.padding
    out, cut = oracles.transposed_size(*where)
    assert out == layer.output_shape[:2]
    y, dx, dW, db = oracles.conv_transpose(x, W, b, dy, layer.strides, cut)
    return y, dx, {"W": dW, "b": db}


def dense(layer, x, dy):
    """A convolution of images of one pixel."""
    W, b = layer.params["W"][None, None], layer.params.get("b", np.zeros(layer.units))
    x, dy = x[:, None, None], dy[:, None, None]
    y, dx, dW, db = oracles.conv(x, W, b, dy, (1, 1), (0, 0, 0, 0))
    return y[:, 0, 0], dx[:, 0, 0], {"W": dW[0, 0], "b": db}


def pool(layer, x, dy):
    oracle = oracles.max_pool if isinstance(layer, sn.MaxPool2D) else oracles.average_pool
    window = layer.pool_size
    return *oracle(x, dy, window, layer.strides, pads(layer, x, window))[:2], {}


def global_average_pool(layer, x, dy):
    y, dx = oracles.average_pool(x, dy[:, None, None], x.shape[1:3], (1, 1), (0, 0, 0, 0))
    return y[:, 0, 0], dx, {}


def global_max_pool(layer, x, dy):
    y, dx, _ = oracles.max_pool(x, dy[:, None, None], x.shape[1:3], (1, 1), (0, 0, 0, 0))
    return y[:, 0, 0], dx, {}


def flatten(layer, x, dy):
    _, h, w, c = x.shape
    return *oracles.placed(x, dy, lambda n, i, j, k: (n, (i * w + j) * c + k)), {}


def reshape(layer, x, dy):
    """Value number m of the input is value number m of the output."""

    def place(n, *at):
        m, back = 0, []
        for number, size in zip(at, x.shape[1:], strict=True):
            m = m * size + number
        for size in reversed(dy.shape[1:]):
            back.insert(0, m % size)
            m //= size
        return n, *back

    return *oracles.placed(x, dy, place), {}


def zero_padding(layer, x, dy):
    top, _, left, _ = oracles.pads_of(layer.padding, None, None, None)
    return *oracles.placed(x, dy, lambda n, i, j, k: (n, top + i, left + j, k)), {}


def up_sampling(layer, x, dy):
    return *oracles.up_sampling(x, dy, layer.size, layer.interpolation), {}


def batch_norm(layer, x, dy, training=False):
    statistics = oracles.moments(x) if training else layer.buffers.values()
    y, dx, dgamma, dbeta = oracles.batch_norm(
        x, dy, *layer.params.values(), *statistics, layer.epsilon, training
    )
    return y, dx, {"gamma": dgamma, "beta": dbeta}


def layer_norm(layer, x, dy):
    y, dx, dgamma, dbeta = oracles.layer_norm(x, dy, *layer.params.values(), layer.epsilon)
    return y, dx, {"gamma": dgamma, "beta": dbeta}


def residual(layer, x, dy):
    """Both rows by the oracles of their layers: forward for the inputs, then backward."""
    y, dx, grads = 0, 0, {}
    for where, row in (("main", layer.main), ("shortcut", layer.shortcut)):
        inputs, back = [x], dy
        for inner in row:
            nothing = np.zeros((len(x), *inner.output_shape))
            inputs.append(ORACLES[type(inner).__name__](inner, inputs[-1], nothing)[0])
        for inner, at in zip(reversed(row), reversed(inputs[:-1]), strict=True):
            _, back, found = ORACLES[type(inner).__name__](inner, at, back)
            grads |= {f"{where}.{inner.name}.{key}": grad for key, grad in found.items()}
        y, dx = y + inputs[-1], dx + back
    return y, dx, grads


ORACLES = {
    "Conv2D": conv,
    "ConnectedConv2D": connected_conv,
    "Subsampling2D": subsampling,
    "ScaledTanh": lambda layer, x, dy: (*oracles.scaled_tanh(x, dy), {}),
    "Conv2DTranspose": conv_transpose,
    "DepthwiseConv2D": depthwise_conv,
    "MaxPool2D": pool,
    "AveragePool2D": pool,
    "GlobalAveragePool2D": global_average_pool,
    "GlobalMaxPool2D": global_max_pool,
    "ZeroPadding2D": zero_padding,
    "UpSampling2D": up_sampling,
    "Dense": dense,
    "Flatten": flatten,
    "Reshape": reshape,
    "ReLU": lambda layer, x, dy: (*oracles.relu(x, dy), {}),
    "LeakyReLU": lambda layer, x, dy: (*oracles.relu(x, dy, layer.slope), {}),
    "ELU": lambda layer, x, dy: (*oracles.elu(x, dy, layer.alpha), {}),
    "Sigmoid": lambda layer, x, dy: (*oracles.sigmoid(x, dy), {}),
    "Tanh": lambda layer, x, dy: (*oracles.tanh(x, dy), {}),
    "Softplus": lambda layer, x, dy: (*oracles.softplus(x, dy), {}),
    "SiLU": lambda layer, x, dy: (*oracles.silu(x, dy), {}),
    "GELU": lambda layer, x, dy: (*oracles.gelu(x, dy, layer.approximate == "tanh"), {}),
    "LogSoftmax": lambda layer, x, dy: (*oracles.log_softmax(x, dy), {}),
    "Softmax": lambda layer, x, dy: (*oracles.softmax(x, dy), {}),
    "Dropout": lambda layer, x, dy: (x, dy, {}),
    "GaussianNoise": lambda layer, x, dy: (x, dy, {}),
    "BatchNorm": batch_norm,
    "LayerNorm": layer_norm,
    "Residual": residual,
}


def test_no_layer_is_left_out():
    assert ORACLES.keys() == EXAMPLES.keys() == LAYERS.keys()


def check_against(oracle, layer, x, rng, training=False):
    y = layer.forward(x, training)
    dy = rng.standard_normal(y.shape)
    expected_y, expected_dx, expected_grads = oracle(layer, x, dy)
    close = {"rtol": 1e-9, "atol": 1e-9}
    assert y.shape == (len(x), *layer.output_shape)
    np.testing.assert_allclose(y, expected_y, **close)
    np.testing.assert_allclose(layer.backward(dy), expected_dx, **close)
    for key, grad in layer.grads.items():
        np.testing.assert_allclose(grad, expected_grads[key], **close)


@every_layer
@given(data=st.data())
def test_layer_equals_its_definition(backend, kind, data):
    check_against(ORACLES[kind], *data.draw(built_layers(kind)), data.draw(GENERATORS))


@given(drawn=built_layers("BatchNorm"), rng=GENERATORS)
def test_batch_norm_in_training_equals_its_definition(drawn, rng):
    check_against(lambda *given: batch_norm(*given, training=True), *drawn, rng, training=True)


def test_same_padding_counts_the_gaps_and_files_name_them_only_where_there_are_some():
    dilated = built(sn.Conv2D(1, 3, padding="same", dilation_rate=(2, 3)), (9, 8, 1))
    assert dilated.pads == (2, 2, 3, 3) and dilated.output_shape == (9, 8, 1)
    assert dilated.config()["dilation_rate"] == (2, 3)
    assert "dilation_rate" not in sn.Conv2D(1, 3).config()


@pytest.mark.parametrize("make", [sn.MaxPool2D, sn.AveragePool2D])
def test_pool_strides_default_to_the_window(make, rng):
    assert make((2, 3)).build((6, 7, 1), rng) == (3, 2, 1)


@pytest.mark.parametrize("make", [lambda *a: sn.Conv2D(1, *a), sn.MaxPool2D, sn.AveragePool2D])
def test_same_padding_puts_the_odd_zero_at_the_bottom_and_right(make):
    assert built(make(2, 1, "same"), (3, 4, 1)).pads == (0, 1, 0, 1)
    assert built(make((4, 3), (2, 3), "same"), (5, 7, 1)).pads == (1, 2, 1, 1)


# ---- the protocol --------------------------------------------------------------------------------


@every_layer
def test_forward_needs_a_build_and_backward_a_forward(kind, rng):
    layer, x, dy = example(kind, rng)
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        layer.backward(dy)
    with pytest.raises(RuntimeError, match="build"):
        EXAMPLES[kind][0]().forward(x)


@every_layer
def test_a_wrong_shape_is_named_with_the_right_one(kind, rng):
    layer, x, dy = example(kind, rng)
    for wrong in (x[..., :1], x[0]):
        with pytest.raises(sn.InputError) as error:
            layer.forward(wrong)
        expected = ", ".join(map(str, x.shape[1:]))
        assert f"expected input (n, {expected}), found {wrong.shape}" in str(error.value)
    layer.forward(x)
    with pytest.raises(sn.InputError, match="expected dy"):
        layer.backward(dy[..., :1])


@every_layer
def test_a_gradient_for_another_batch_size_is_refused(kind, rng):
    layer, x, dy = example(kind, rng)
    layer.forward(x)
    with pytest.raises(sn.InputError, match="dy"):
        layer.backward(dy[:2])


@every_layer
@either_mode
@pytest.mark.parametrize("layout", [read_only, strided, fortran])
def test_layout_does_not_matter_and_inputs_are_left_as_they_are(
    backend, kind, training, layout, rng
):
    results = []
    for lay in (np.copy, layout):
        layer, x, dy = example(kind, fresh())
        x, dy = lay(x), lay(dy)
        kept = x.copy(), dy.copy()
        results.append([layer.forward(x, training), layer.backward(dy), *layer.grads.values()])
        np.testing.assert_array_equal(x, kept[0])
        np.testing.assert_array_equal(dy, kept[1])
    for plain, other in zip(*results, strict=True):
        np.testing.assert_allclose(plain, other, rtol=1e-12, atol=1e-12)


@every_layer
@either_mode
def test_gradients_are_written_over_in_place_not_added_up(backend, kind, training, rng):
    layer, x, dy = example(kind, rng)
    arrays = dict(layer.grads)
    layer.forward(x, training)
    first = [layer.backward(dy), *(grad.copy() for grad in layer.grads.values())]
    second = [layer.backward(dy), *layer.grads.values()]
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert all(layer.grads[key] is arrays[key] for key in arrays)
    assert all(np.any(grad) for grad in layer.grads.values())


@every_layer
@either_mode
@pytest.mark.parametrize("dtype", DTYPES)
def test_dtype_goes_through_unchanged(backend, kind, training, dtype, rng):
    layer, x, dy = example(kind, rng, dtype)
    found = [layer.forward(x, training), layer.backward(dy)]
    found += [*layer.params.values(), *layer.grads.values(), *layer.buffers.values()]
    assert {a.dtype for a in found} == {np.dtype(dtype)}


@every_layer
@either_mode
def test_empty_batch_gives_an_empty_output_and_zero_gradients(backend, kind, training, rng):
    layer, x, dy = example(kind, rng, n=0)
    buffers = {key: a.copy() for key, a in layer.buffers.items()}
    assert layer.forward(x, training).shape == (0, *layer.output_shape)
    assert layer.backward(dy).shape == x.shape
    assert not any(np.any(grad) for grad in layer.grads.values())
    for key, kept in buffers.items():
        np.testing.assert_array_equal(layer.buffers[key], kept)


TWO = np.int64(2)


@pytest.mark.parametrize(
    "make, shape",
    [
        *EXAMPLES.values(),
        (lambda: sn.Conv2D(TWO, TWO, TWO, TWO), (5, 4, 2)),
        (lambda: sn.MaxPool2D((TWO, TWO), TWO, ((0, TWO - 1), (0, 1))), (5, 4, 2)),
        (lambda: sn.Conv2D(3, 2, dilation_rate=(TWO, 3)), (5, 4, 2)),
    ],
    ids=[*EXAMPLES, "Conv2D of NumPy's", "MaxPool2D of NumPy's", "Conv2D with gaps"],
)
def test_config_survives_json_and_makes_the_same_layer(make, shape, rng):
    layer, x = built(make(), shape), rng.standard_normal((2, *shape))
    config = json.loads(json.dumps(layer.config()))
    again = built(type(layer).from_config(config), shape)
    np.testing.assert_array_equal(again.forward(x), layer.forward(x))


BAD = {
    "filters": (lambda v: sn.Conv2D(v, 3), (0, -1, True, 2.0, "8", None)),
    "units": (lambda v: sn.Dense(v), (0, -1, True, 2.0, "8", None)),
    "kernel_size": (lambda v: sn.Conv2D(2, v), (0, -1, True, 3.0, "33", (3, 0), (1, 2, 3), None)),
    "strides": (lambda v: sn.Conv2D(2, 3, v), (0, -1, True, 1.0, (1, -1), None)),
    "dilation_rate": (
        lambda v: sn.Conv2D(2, 2, dilation_rate=v),
        (0, -1, True, 1.0, (1, -1), (6, 1), (1, 5), None),
    ),
    "transposed": (lambda v: sn.Conv2DTranspose(v, 3), (0, True, 2.0, None)),
    "transposed kernel": (lambda v: sn.Conv2DTranspose(2, v), (0, 1.5, (1, 2, 3), None)),
    "transposed padding": (
        lambda v: sn.Conv2DTranspose(2, 3, padding=v),
        ("sme", -1, 4, ((8, 0), 0), (0, (3, 4)), None),
    ),
    "depth_multiplier": (
        lambda v: sn.DepthwiseConv2D(3, depth_multiplier=v),
        (0, -1, True, 2.0, None),
    ),
    "depthwise": (lambda v: sn.DepthwiseConv2D(v), (0, 7, (1, 6), 1.5, None)),
    "connections": (
        lambda v: sn.ConnectedConv2D(v, 3),
        ((), [[]], [0, 1], [[0, 2]], [[1, 1]], [[-1]], [[0.0]], "01", [["0"]], None),
    ),
    "connected kernel": (lambda v: sn.ConnectedConv2D([[0, 1]], v), (0, 7, 1.5, None)),
    "subsampled": (lambda v: sn.Subsampling2D(v), (0, 7, True, 2.0, None)),
    "pool_size": (lambda v: sn.MaxPool2D(v), (0, -1, True, 2.0, (2, 2, 2))),
    "pool strides": (lambda v: sn.AveragePool2D(2, v), (0, -1, True, 2.0)),
    "padding": (
        lambda v: sn.Conv2D(2, 3, padding=v),
        ("sme", "abcd", -1, True, 1.0, None, (1, -1), ((0, 1),), (1, 2, 3), (1, 0.5)),
    ),
    "pool padding": (
        lambda v: sn.MaxPool2D((2, 3), padding=v),
        ("sme", -1, 2, (2, 0), (0, 3), (1, (3, 0))),
    ),
    "too large": (lambda v: v, (sn.Conv2D(2, 7), sn.MaxPool2D((1, 6)), sn.AveragePool2D(8))),
    "initializer": (lambda v: sn.Conv2D(2, 3, kernel_initializer=v), ("glorot", None)),
    "zero padding": (
        lambda v: sn.ZeroPadding2D(v),
        ("same", "valid", -1, True, 1.5, None, (1, -1), ((0, 1),), (1, 2, 3)),
    ),
    "size": (lambda v: sn.UpSampling2D(v), (0, -1, True, 2.0, (2, 2, 2), None)),
    "interpolation": (lambda v: sn.UpSampling2D(2, v), ("bicubic", 1, None)),
    "target_shape": (
        lambda v: sn.Reshape(v),
        ((), 60, (0, -1), (-1, -1), (-2, 30), (61,), (7, -1), (60.0,), "60", (1,) * 9, None),
    ),
    "rate": (lambda v: sn.Dropout(v), (1, 1.5, -0.1, np.nan, True, "half", None)),
    "stddev": (lambda v: sn.GaussianNoise(v), (-0.1, np.nan, np.inf, "half", None)),
    "momentum": (lambda v: sn.BatchNorm(v), (-0.1, 1.1, np.nan)),
    "axis": (lambda v: sn.LayerNorm(v), (0, 1, -4, "1", None, True, (), 1.0, (1, 3), (-1, -3))),
    "layer epsilon": (lambda v: sn.LayerNorm(epsilon=v), (0, -1, np.nan, np.inf)),
    "epsilon": (lambda v: sn.BatchNorm(epsilon=v), (0, -1, np.nan, np.inf)),
}


@pytest.mark.parametrize(
    "make, value",
    [
        pytest.param(make, value, id=f"{name} {value}")
        for name, (make, values) in BAD.items()
        for value in values
    ],
)
def test_a_bad_argument_is_an_input_error_at_the_latest_when_built(make, value, rng):
    with pytest.raises(sn.InputError, match="expected|does not fit"):
        make(value).build((6, 5, 2), rng)


@pytest.mark.parametrize(
    "kind",
    [
        "Conv2D",
        "MaxPool2D",
        "GlobalAveragePool2D",
        "GlobalMaxPool2D",
        "ZeroPadding2D",
        "UpSampling2D",
        "Dense",
    ],
)
def test_an_input_with_the_wrong_number_of_axes_is_refused_when_built(kind, rng):
    with pytest.raises(sn.InputError, match=r"expected .* found shape \(6, 5\)"):
        EXAMPLES[kind][0]().build((6, 5), rng)


# ---- dropout, batch normalization, softmax -------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.8])
def test_dropout_drops_at_its_rate_and_keeps_the_mean(rate):
    layer, x = built(sn.Dropout(rate), (1000,)), np.ones((200, 1000))
    y = layer.forward(x, training=True)
    assert set(np.unique(y)) == {0, 1 / (1 - rate)}
    assert (y == 0).mean() == pytest.approx(rate, abs=0.006)  # five standard deviations and more
    assert y.mean() == pytest.approx(1, rel=0.03)
    np.testing.assert_array_equal(layer.backward(x), y)  # the mask again


def test_dropout_repeats_with_the_seed_and_only_with_it():
    x = np.ones((10, 20))
    first, same, other = (built(sn.Dropout(0.5), (20,), seed) for seed in (1, 1, 2))
    masks = [layer.forward(x, training=True) for layer in (first, same, other)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert np.any(masks[0] != masks[2])
    assert np.any(masks[0] != first.forward(x, training=True))  # a new mask each time


@pytest.mark.parametrize("rate, training", [(0.5, False), (0, True)])
def test_dropout_is_the_identity_in_evaluation_and_at_rate_0(rate, training, rng):
    layer, x = built(sn.Dropout(rate), (20,)), rng.standard_normal((10, 20))
    np.testing.assert_array_equal(layer.forward(x, training), x)
    np.testing.assert_array_equal(layer.backward(x), x)


@pytest.mark.parametrize("stddev", [0.1, 2.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_gaussian_noise_has_its_mean_and_deviation_and_follows_the_seed(stddev, dtype, rng):
    x = rng.standard_normal((200, 1000)).astype(dtype)
    first, same, other = (
        built(sn.GaussianNoise(stddev), (1000,), seed, dtype) for seed in (1, 1, 2)
    )
    y = first.forward(x, training=True)
    noise = y - x
    assert y.dtype == dtype
    assert noise.mean() == pytest.approx(0, abs=6 * stddev / 200_000**0.5)
    assert noise.std() == pytest.approx(stddev, rel=0.01)
    np.testing.assert_array_equal(y, same.forward(x, training=True))
    assert np.any(y != other.forward(x, training=True))
    assert np.any(y != first.forward(x, training=True))  # new noise each time
    np.testing.assert_array_equal(first.backward(x), x)
    np.testing.assert_array_equal(first.forward(x), x)  # in evaluation none


@pytest.mark.parametrize("shape", [(4,), (5, 6, 4)])
def test_batch_norm_in_training_gives_mean_0_and_variance_1(shape, rng):
    layer = built(sn.BatchNorm(epsilon=1e-12), shape)
    y = layer.forward(7 + 3 * rng.standard_normal((9, *shape)), training=True).reshape(-1, 4)
    np.testing.assert_allclose(y.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(y.var(axis=0), 1, rtol=1e-9)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_batch_norm_running_statistics_follow_their_formula_and_evaluation_uses_them(momentum, rng):
    layer = built(sn.BatchNorm(momentum), (3, 2))
    mean, var = np.zeros(2), np.ones(2)
    for _ in range(3):
        x = 5 + 2 * rng.standard_normal((4, 3, 2))
        layer.forward(x, training=True)
        new_mean, new_var = oracles.moments(x)
        mean = momentum * mean + (1 - momentum) * new_mean
        var = momentum * var + (1 - momentum) * new_var
    y = layer.forward(x)
    np.testing.assert_allclose(layer.buffers["running_mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(layer.buffers["running_var"], var, rtol=1e-12)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-3), rtol=1e-12)


@pytest.mark.parametrize("axis, over", [(-1, (3,)), ((-2, -1), (2, 3)), ((3, 2, 1), (1, 2, 3))])
def test_layer_norm_gives_every_example_mean_0_and_variance_1(axis, over, rng):
    layer, x = (
        built(sn.LayerNorm(axis, 1e-12), (5, 6, 4)),
        7 + 3 * rng.standard_normal((9, 5, 6, 4)),
    )
    y = layer.forward(x)
    assert layer.params["gamma"].shape == x.shape[over[0] :]
    np.testing.assert_allclose(y.mean(axis=over), 0, atol=1e-9)
    np.testing.assert_allclose(y.var(axis=over), 1, rtol=1e-9)
    np.testing.assert_array_equal(layer.forward(x[:1]), y[:1])  # whatever else is in the batch


#: PyTorch 2's in float64: x, gamma, beta, dy (see below), epsilon 1e-3 -> y, dx, dgamma
LAYER_NORM = (
    [[-1.0687015116, -0.034350755819, -0.33587688955], [0.67189781155, 1.9828089634, 2.4133022933]],
    [
        [0.68761089836, -1.030386476, 0.34277557764],
        [0.19106965371, -0.18463350544, -0.0064361482649],
    ],
    [-0.73275260586, 0.26717537791, 1.2584514858],
)


def test_layer_norm_has_pytorchs_values(backend):
    layer = built(sn.LayerNorm(epsilon=1e-3), (3,))
    layer.params["gamma"][:], layer.params["beta"][:] = [1, 2, -1], [0, 0.5, 1]
    y = layer.forward(np.array([[1.0, 2, 4], [0, 0.1, -3]]))
    dx = layer.backward(np.array([[1.0, -1, 2], [0.5, 0, 1]]))
    for found, golden in zip((y, dx, layer.grads["gamma"]), LAYER_NORM, strict=True):
        np.testing.assert_allclose(found, golden, rtol=1e-10)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_is_right_at_huge_logits_and_does_not_see_a_shift(dtype, rng):
    layer = built(sn.Softmax(), (3,), dtype=dtype)
    huge = layer.forward(np.array([[1e4, 0, -1e4], [-1e4, -1e4, -1e4]], dtype))
    np.testing.assert_allclose(huge, [[1, 0, 0], [1 / 3, 1 / 3, 1 / 3]], rtol=1e-6)
    x = rng.integers(-5, 5, (4, 3)).astype(dtype)
    np.testing.assert_array_equal(layer.forward(x + 1000), layer.forward(x))
    assert np.all(np.isfinite(layer.backward(np.ones_like(x))))


# ---- initializers --------------------------------------------------------------------------------

VARIANCES = {"glorot": lambda fan_in, fan_out: 2 / (fan_in + fan_out), "he": lambda i, o: 2 / i}


@pytest.mark.parametrize("name", sn.initializers.INITIALIZERS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_initializer_has_its_variance_and_bounds(name, dtype):
    make, shape = sn.initializers.get(name), (300, 200)
    W = make(shape, 300, 200, fresh(), dtype)
    variance = VARIANCES[name.split("_")[0]](300, 200)
    assert (W.shape, W.dtype) == (shape, dtype)
    assert W.mean() == pytest.approx(0, abs=5 * (variance / W.size) ** 0.5)
    assert W.var() == pytest.approx(variance, rel=0.03)
    limit = (3 * variance) ** 0.5
    largest = np.abs(W).max()
    assert 0.99 * limit < largest <= limit * (1 + 1e-6) if "uniform" in name else largest > limit
    np.testing.assert_array_equal(W, make(shape, 300, 200, fresh(), dtype))


@pytest.mark.parametrize("name", sn.initializers.INITIALIZERS)
def test_fans_of_layers_count_what_a_unit_sums(name):
    conv = built(sn.Conv2D(64, (5, 3), kernel_initializer=name), (9, 9, 32))
    dense = built(sn.Dense(100, kernel_initializer=name), (300,))
    variance = VARIANCES[name.split("_")[0]]
    assert conv.params["W"].var() == pytest.approx(variance(15 * 32, 15 * 64), rel=0.05)
    assert dense.params["W"].var() == pytest.approx(variance(300, 100), rel=0.05)
    assert not np.any(conv.params["b"]) and not np.any(dense.params["b"])


@pytest.mark.parametrize("window, strides", [((3, 4), (2, 1)), ((2, 3), (1, 2)), ((3, 3), (2, 2))])
def test_the_definition_of_a_transposed_convolution_cuts_the_odd_row_at_the_end(
    backend, rng, window, strides
):
    layer = sn.Conv2DTranspose(2, window, strides, "same")
    layer.build((3, 2, 2), rng, np.float64)
    x = rng.standard_normal((2, 3, 2, 2))
    y = layer.forward(x)
    dy = rng.standard_normal(y.shape)
    dx = layer.backward(dy)
    expected, expected_dx, grads = conv_transpose(layer, x, dy)
    np.testing.assert_allclose(y, expected, atol=1e-12)
    np.testing.assert_allclose(dx, expected_dx, atol=1e-12)
    for key, grad in grads.items():
        np.testing.assert_allclose(layer.grads[key], grad, atol=1e-12)
