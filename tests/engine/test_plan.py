"""Fused groups compute what their layers compute: outputs, and every gradient."""

import os
import subprocess
import sys
import tracemalloc

import numba
import numpy as np
import pytest
import strategies as own
from grouped import assert_same, built, run
from hypothesis import given
from hypothesis import strategies as st

import scratchnet as sn
from scratchnet.engine import plan, winograd
from scratchnet.engine.ends import CrossEntropy, Pixels
from scratchnet.engine.group import Gradients
from scratchnet.engine.threads import compiles
from scratchnet.losses import SparseCategoricalCrossentropy


# few kernels and channels, because each pair of them is compiled; many sizes and paddings
@given(
    rng=own.GENERATORS,
    n=st.sampled_from([0, 1, 2, 7, 9, 17]),
    size=st.tuples(st.integers(5, 11), st.integers(5, 11)),
    kernel=st.sampled_from([(3, 3), (2, 4)]),
    channels=st.sampled_from([1, 3]),
    filters=st.sampled_from([1, 5, 16]),
    padding=st.sampled_from(["valid", "same", 1, ((0, 2), (1, 0))]),
    use_bias=st.booleans(),
    whole=st.booleans(),
)
def test_conv_relu_pool_equals_its_layers(
    rng, n, size, kernel, channels, filters, padding, use_bias, whole
):
    layers = [sn.Conv2D(filters, kernel, 1, padding, use_bias), sn.ReLU(), sn.MaxPool2D(2)]
    layers, shape = built(layers, (*size, channels), rng, whole=whole)
    x = rng.integers(-1, 2, (n, *size, channels)).astype(float)
    if not whole:
        x += rng.normal(size=x.shape)
    dy = rng.standard_normal((n, *shape))
    groups = plan.make(layers)
    assert len(groups) == 1
    expected = run(plan.make(layers, fuse=False), x, dy)
    assert_same(run(groups, x, dy), expected)
    assert_same(run(groups, x, dy), expected)  # again, on buffers that are no longer zero


@given(
    rng=own.GENERATORS,
    n=st.sampled_from([0, 1, 7, 9, 20]),
    size=st.tuples(st.integers(4, 9), st.integers(4, 9)),
    channels=st.just(16),
    filters=st.sampled_from([8, 24]),
    padding=st.sampled_from(["valid", "same", ((0, 2), (1, 0))]),
    behind=st.sampled_from([[], [sn.ReLU], [sn.ReLU, sn.MaxPool2D]]),
    use_bias=st.booleans(),
    whole=st.booleans(),
)
def test_winograd_equals_the_layers(
    rng, n, size, channels, filters, padding, behind, use_bias, whole
):
    """Channels in whole vectors: 8 in float64."""
    layers = [sn.Conv2D(filters, 3, 1, padding, use_bias), *(kind() for kind in behind)]
    layers, shape = built(layers, (*size, channels), rng, whole=whole)
    x = rng.integers(-1, 2, (n, *size, channels)).astype(float)
    if not whole:
        x += rng.normal(size=x.shape)
    dy = rng.standard_normal((n, *shape))
    groups = plan.make(layers)
    assert len(groups) == 1
    expected = run(plan.make(layers, fuse=False), x, dy)
    assert_same(run(groups, x, dy), expected)
    assert_same(run(groups, x, dy), expected)


def test_no_change_of_a_filter_escapes_winograd(rng):
    """The transformed filters are kept, and made anew where a weight has changed: any one."""
    layers, _ = built([sn.Conv2D(16, 3, 1, "same")], (6, 6, 16), rng, dtype=np.float32)
    group = plan.make(layers)[0]
    W = layers[0].params["W"]
    winograd.filters_of(group, "u", W)
    for place in np.ndindex(W.shape):
        W[place] += 1
        found = winograd.filters_of(group, "u", W)
        if place[2:] == (0, 5) or place[:2] == (1, 1):
            anew = winograd.filters_of(plan.make(layers)[0], "u", W)
            np.testing.assert_array_equal(found, anew)
    W[:] = 0
    assert not winograd.filters_of(group, "u", W).any()


def test_the_plan_says_where_winograd_runs(rng):
    layers, _ = built([sn.Conv2D(16, 3), sn.Conv2D(16, 3), sn.Conv2D(16, 5)], (12, 12, 1), rng)
    said = [str(group) for group in plan.make(layers)]
    assert ["Winograd" in line for line in said] == [False, True, False]


@given(
    rng=own.GENERATORS,
    n=st.sampled_from([0, 1, 5, 6, 7, 50]),
    inputs=st.integers(1, 40),
    units=st.integers(1, 70),
    relu=st.booleans(),
    use_bias=st.booleans(),
)
def test_dense_equals_its_layers(rng, n, inputs, units, relu, use_bias):
    layers = [sn.Dense(units, use_bias), sn.ReLU()][: 1 + relu]
    layers, shape = built(layers, (inputs,), rng)
    x, dy = rng.standard_normal((n, inputs)), rng.standard_normal((n, *shape))
    groups = plan.make(layers)
    assert len(groups) == 1
    expected = run(plan.make(layers, fuse=False), x, dy)
    assert_same(run(groups, x, dy), expected)
    assert_same(run(groups, x, dy), expected)  # again, on buffers that are no longer zero


@pytest.mark.parametrize(("n", "inputs", "units"), [(5, 300, 72), (300, 20, 72), (150, 150, 8)])
def test_long_sums_are_added_up_in_parts(rng, n, inputs, units):
    layers, shape = built([sn.Dense(units), sn.ReLU()], (inputs,), rng)
    x, dy = rng.standard_normal((n, inputs)), rng.standard_normal((n, *shape))
    assert_same(run(plan.make(layers), x, dy), run(plan.make(layers, fuse=False), x, dy))


@given(
    rng=own.GENERATORS,
    n=st.sampled_from([0, 1, 4, 7, 130]),
    inputs=st.sampled_from([5, 140]),
    units=st.sampled_from([256, 300]),
    dense=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    bad=st.sampled_from([None, np.nan, np.inf, -np.inf]),
)
def test_zeros_are_passed_over_and_change_nothing(rng, n, inputs, units, dense, bad):
    layers, shape = built([sn.Dense(units), sn.ReLU()], (inputs,), rng)
    x = rng.standard_normal((n, inputs)) * (rng.random((n, inputs)) < dense)
    dy = rng.standard_normal((n, *shape))
    if bad is not None and n:  # zero times infinity is not zero
        layers[0].params["W"][rng.integers(inputs), rng.integers(units)] = bad
        dy[rng.integers(n), rng.integers(units)] = bad
    groups = plan.make(layers)
    with np.errstate(invalid="ignore"):
        expected = run(plan.make(layers, fuse=False), x, dy)
        run(groups, rng.random((8, inputs)), rng.random((8, *shape)))  # nothing of it may stay
        found = run(groups, x, dy)
    for one, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, right, rtol=1e-10, atol=1e-10)


def chain():
    return [
        sn.Conv2D(6, 5, padding=2),
        sn.ReLU(),
        sn.MaxPool2D(2),
        sn.Conv2D(40, 3),
        sn.ReLU(),
        sn.MaxPool2D(2),
        sn.Flatten(),
        sn.Dense(20),
        sn.ReLU(),
        sn.Dense(3),
    ]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-12), (np.float32, 2e-5)])
def test_a_chain_of_groups_equals_its_layers(rng, dtype, tolerance):
    layers, shape = built(chain(), (13, 15, 2), rng, dtype)
    for layer in layers:
        if layer.params:
            layer.params["W"] /= np.sqrt(layer.params["W"][..., 0].size)
    groups = plan.make(layers)
    assert [len(group.layers) for group in groups] == [3, 3, 1, 2, 1]
    for n in (9, 3):  # a smaller batch runs in the larger one's buffers
        x = rng.standard_normal((n, 13, 15, 2)).astype(dtype)
        dy = rng.standard_normal((n, *shape)).astype(dtype)
        assert_same(run(groups, x, dy), run(plan.make(layers, fuse=False), x, dy), tolerance)


def test_wide_patches_are_worked_on_in_parts(rng):
    layers, shape = built([sn.Conv2D(8, 3), sn.ReLU(), sn.MaxPool2D(2)], (6, 6, 70), rng)
    x, dy = rng.standard_normal((2, 6, 6, 70)), rng.standard_normal((2, *shape))
    assert_same(run(plan.make(layers), x, dy), run(plan.make(layers, fuse=False), x, dy), 1e-11)


def test_a_strided_convolution_keeps_to_its_shards_memory(rng):
    """Many filters, wide rows, and a last block that overlaps the one before: nobody else's dx."""
    layers, shape = built([sn.Conv2D(70, 3, 2, "same"), sn.ReLU()], (7, 30, 70), rng)
    x, dy = rng.standard_normal((9, 7, 30, 70)), rng.standard_normal((9, *shape))
    expected, found = run(plan.make(layers, fuse=False), x, dy), []
    for threads in (1, 2, 2, 2):
        numba.set_num_threads(threads)
        found.append(run(plan.make(layers), x, dy))
        assert_same(found[-1], expected, 1e-11)
    first, *others = ([a.tobytes() for a in arrays] for arrays in found)
    assert all(other == first for other in others)


def test_same_bits_for_one_and_two_threads(rng):
    layers, shape = built(chain(), (12, 12, 1), rng, np.float32)
    x = rng.standard_normal((11, 12, 12, 1)).astype(np.float32)
    dy = rng.standard_normal((11, *shape)).astype(np.float32)
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        found.append([a.tobytes() for a in run(plan.make(layers), x, dy)])
    assert found[0] == found[1]


def test_nan_and_infinity_travel_through_forward(rng):
    layers, _ = built([sn.Conv2D(8, 3), sn.ReLU(), sn.MaxPool2D(2)], (8, 8, 1), rng)
    x = rng.standard_normal((2, 8, 8, 1))
    x[0, 4, 4], x[1, 2, 2] = np.nan, np.inf
    (fused,), single = plan.make(layers), plan.make(layers, fuse=False)
    y = x
    for group in single:
        y = group.forward(y, True)
    np.testing.assert_allclose(fused.forward(x, True), y, rtol=1e-12)  # NaN and inf in place


@given(
    rng=own.GENERATORS,
    n=st.sampled_from([0, 1, 9]),
    size=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    kernel=st.sampled_from([(1, 1), (3, 3), (2, 4)]),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    channels=st.sampled_from([1, 3, 8]),
    filters=st.sampled_from([1, 5, 16]),
    padding=st.sampled_from(["valid", "same", 1, ((0, 4), (3, 0))]),
    relu=st.booleans(),
)
def test_convolution_equals_its_layers(
    rng, n, size, kernel, strides, channels, filters, padding, relu
):
    layers = [sn.Conv2D(filters, kernel, strides, padding), sn.ReLU()][: 1 + relu]
    layers, shape = built(layers, (*size, channels), rng)
    x, dy = rng.standard_normal((n, *size, channels)), rng.standard_normal((n, *shape))
    groups = plan.make(layers)
    assert len(groups) == 1
    expected = run(plan.make(layers, fuse=False), x, dy)
    assert_same(run(groups, x, dy), expected)
    assert_same(run(groups, x, dy), expected)  # again, on buffers that are no longer zero


@given(
    rng=own.GENERATORS,
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
    n=st.sampled_from([0, 1, 2, 30]),
    relu=st.booleans(),
    training=st.booleans(),
)
def test_batch_norm_equals_its_layers(rng, shape, n, relu, training):
    x, dy = rng.normal(3, 2, (n, *shape)), rng.standard_normal((n, *shape))
    found = []
    for fuse in (True, False):
        layers = [sn.BatchNorm(momentum=0.9), sn.ReLU()][: 1 + relu]
        layers, _ = built(layers, shape, np.random.default_rng(0))
        groups = plan.make(layers, fuse)
        y = x
        for group in groups:
            y = group.forward(y, training)
        dx = dy
        for group in reversed(groups):
            dx = group.backward(dx, True)
        found.append([y, dx, *layers[0].grads.values(), *layers[0].buffers.values()])
    assert_same(*found, tolerance=1e-11)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "make",
    [
        lambda: sn.MaxPool2D((3, 2), padding=1),
        lambda: sn.MaxPool2D(2, strides=1),
        lambda: sn.AveragePool2D(3, strides=2, padding="same"),
        lambda: sn.GlobalAveragePool2D(),
        lambda: sn.Conv2DTranspose(3, (2, 3), (1, 2), ((1, 0), (0, 2))),
        lambda: sn.DepthwiseConv2D(3, (2, 1), "same"),
        lambda: sn.DepthwiseConv2D((2, 3), 1, ((1, 0), (0, 2)), 3, dilation_rate=(1, 2)),
        lambda: sn.ConnectedConv2D([[0, 4], [1], [2, 3]], (2, 3)),
        lambda: sn.Subsampling2D((2, 4)),
        lambda: sn.ScaledTanh(),
        lambda: sn.GlobalMaxPool2D(),
        lambda: sn.ZeroPadding2D(((1, 2), (0, 3))),
        lambda: sn.ZeroPadding2D(0),
        lambda: sn.UpSampling2D((2, 3)),
        lambda: sn.UpSampling2D((3, 2), "bilinear"),
        lambda: sn.Reshape((6, -1)),
        lambda: sn.ReLU(),
        lambda: sn.LeakyReLU(0.2),
        lambda: sn.ELU(0.7),
        sn.Sigmoid,
        sn.Tanh,
        sn.Softplus,
        sn.SiLU,
        sn.GELU,
        lambda: sn.GELU("tanh"),
        sn.LogSoftmax,
        lambda: sn.Dropout(0.3),
        lambda: sn.Dropout(0.0),
        lambda: sn.GaussianNoise(0.3),
        lambda: sn.GaussianNoise(0.0),
    ],
)
def test_layers_with_a_group_to_themselves_equal_their_layers(make, training):
    found = []
    for fuse in (True, False):
        layers, shape = built([make()], (7, 6, 5), np.random.default_rng(1))
        groups, rng = plan.make(layers, fuse), np.random.default_rng(2)
        for n in (9, 4, 0):  # a smaller batch runs in the larger one's buffers
            x = rng.integers(-2, 3, (n, 7, 6, 5)).astype(np.float64)
            found.append(groups[0].forward(x, training).copy())
            found.append(groups[0].backward(rng.standard_normal((n, *shape)), True).copy())
        assert isinstance(groups[0], plan.Single) != fuse
    assert_same(found[:6], found[6:])


@given(
    rng=own.GENERATORS,
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple),
    n=st.sampled_from([0, 1, 2, 30]),
    whole=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_layer_norm_equals_its_layer(rng, shape, n, whole, dtype):
    axis = tuple(range(-len(shape), 0)) if whole else -1
    layers, _ = built([sn.LayerNorm(axis)], shape, rng, dtype)
    x, dy = (rng.normal(1, 2, (n, *shape)).astype(dtype) for _ in range(2))
    expected = run(plan.make(layers, fuse=False), x, dy)
    (group,) = plan.make(layers)
    for _ in range(2):  # again, on buffers that are no longer zero
        assert_same(run([group], x, dy), expected, 1e-11 if dtype is np.float64 else 1e-4)


def test_layer_norm_has_the_same_bits_for_one_and_two_threads(rng):
    layers, shape = built([sn.LayerNorm(), sn.LayerNorm((1, 2, 3))], (7, 5, 9), rng, np.float32)
    x, dy = (rng.standard_normal((11, *shape)).astype(np.float32) for _ in range(2))
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        found.append([a.tobytes() for a in run(plan.make(layers), x, dy)])
    assert found[0] == found[1]


@given(
    rng=own.GENERATORS,
    n=st.integers(0, 6),
    k=st.integers(1, 12),
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    labels_dtype=st.sampled_from([np.uint8, np.int32, np.int64, ">i4"]),
    odd=st.sampled_from([None, 1e4, -np.inf, np.inf, np.nan]),
)
def test_cross_entropy_in_one_pass_equals_the_loss(rng, n, k, smoothing, dtype, labels_dtype, odd):
    logits = (3 * rng.standard_normal((n, k + 2))).astype(dtype)[:, :k]  # rows with a gap, too
    labels = rng.integers(0, k, n).astype(labels_dtype)
    if odd is not None and n:
        logits[rng.integers(n), rng.integers(k)] = odd
    loss = SparseCategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    fused = standing_for(loss, dtype)
    with np.errstate(all="ignore"):
        found, expected = [
            (one.forward(logits, labels), one.backward().copy()) for one in (fused, loss)
        ]
    tolerance = 1e-12 if dtype is np.float64 else 3e-6
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    assert found[1].dtype == dtype and type(found[0]) is float


def standing_for(loss, dtype):
    fused = CrossEntropy(dtype)
    fused.loss = loss
    return fused


@pytest.mark.parametrize(
    "labels", [[0, 1, 3], [0, -1, 1], [0.5, 1, 1], [[0], [1], [2]], [0, 1], ["a", "b", "c"]]
)
def test_other_labels_are_the_losss_affair(labels, rng):
    logits = rng.standard_normal((3, 3))
    loss = SparseCategoricalCrossentropy(from_logits=True)
    fused = standing_for(loss, np.float64)
    said = []
    for one in (loss, fused):
        try:
            said.append((one.forward(logits, np.array(labels)), one.backward().tolist()))
        except sn.InputError as error:
            said.append(str(error))
    assert said[0] == said[1]


def test_every_byte_becomes_its_part_of_255():
    bytes_ = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    for dtype in (np.float32, np.float64):
        found = Pixels(dtype).forward(bytes_[:, ::2])
        np.testing.assert_array_equal(found, np.divide(bytes_[:, ::2], 255, dtype=dtype))


def test_gradients_share_memory_but_not_what_is_still_needed():
    memory = Gradients()
    first = memory.take((10,), np.float32)
    second = memory.take((3, 2), np.float32, first)
    assert not np.may_share_memory(first, second)
    assert np.may_share_memory(memory.take((4,), np.float32, second), first)
    with memory.holding(first):
        third = memory.take((4,), np.float32, second[1:])
        assert not np.may_share_memory(third, first) and not np.may_share_memory(third, second)
    assert len(memory.slots) == 3
    memory.take((5000,), np.float32)  # instead of one that is too small
    assert len(memory.slots) == 3


class Peaks(sn.Callback):
    """The most memory that was allocated during each batch, and freed again."""

    def __init__(self):
        self.bytes = []

    def on_epoch_begin(self, epoch, logs):
        tracemalloc.reset_peak()
        self.before = tracemalloc.get_traced_memory()[0]

    def on_batch_end(self, batch, logs):
        self.bytes.append(tracemalloc.get_traced_memory()[1] - self.before)
        self.on_epoch_begin(0, {})


@pytest.mark.skipif(not compiles(), reason="takes hours without the compiler")
@pytest.mark.parametrize(
    "name",
    [
        *("cnn", "cnn-dropout", "mlp"),
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("lenet5", "lenet5-1998", "cnn-bn", "resnet")
        ),
    ],
)
def test_a_step_allocates_no_arrays(name, rng):
    """But some of a few channels or classes; NumPy tells tracemalloc of all its memory."""
    x, y = rng.integers(0, 256, (128, 28, 28), dtype=np.uint8), rng.integers(0, 10, 128)
    model, peaks = sn.architectures.build(name), Peaks()
    optimizer = sn.Adam(global_clipnorm=1.0)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    model.fit(x, y, batch_size=32, verbose=0)
    tracemalloc.start()
    try:
        model.fit(x, y, batch_size=32, verbose=0, callbacks=[peaks])
    finally:
        tracemalloc.stop()
    # the first one makes the Run's buffers; a batch of images as bytes is 25,088
    assert max(peaks.bytes[1:]) < 20_480


@pytest.mark.parametrize(
    ("layers", "groups"),
    [
        ([sn.Conv2D(4, 3, strides=2), sn.ReLU(), sn.MaxPool2D(2)], [2, 1]),
        ([sn.Conv2D(4, 3), sn.ReLU(), sn.MaxPool2D(3)], [2, 1]),
        ([sn.Conv2D(4, 3), sn.ReLU(), sn.MaxPool2D(2, strides=1)], [2, 1]),
        ([sn.Conv2D(4, 3), sn.ReLU(), sn.MaxPool2D(2, padding="same")], [2, 1]),
        ([sn.Conv2D(4, 3), sn.MaxPool2D(2), sn.ReLU()], [1, 1, 1]),
        ([sn.Conv2D(4, 3, dilation_rate=2), sn.ReLU(), sn.MaxPool2D(2)], [2, 1]),
        ([sn.Conv2D(4, 3), sn.ReLU(), sn.AveragePool2D(2)], [2, 1]),
        ([sn.Conv2D(4, 3), sn.BatchNorm(), sn.ReLU()], [1, 2]),
    ],
)
def test_what_a_kernel_does_not_cover_stays_out_of_its_group(layers, groups):
    built(layers, (11, 11, 1), np.random.default_rng(0))
    assert [len(group.layers) for group in plan.make(layers)] == groups


def test_a_users_own_layer_is_never_replaced():
    class Doubled(sn.Dense):
        def forward(self, x, training=False):
            return 2 * super().forward(x, training)

    model = sn.Sequential([Doubled(3)], input_shape=(4,))
    x = np.ones((1, 4), np.float32)
    np.testing.assert_allclose(model.forward(x), 2 * x @ model.layers[0].params["W"], rtol=1e-6)


def test_model_trains_alike_with_and_without_fusion(rng):
    x = rng.integers(0, 256, (40, 12, 12), dtype=np.uint8)
    y = rng.integers(0, 10, 40)
    weights = []
    for fuse in (True, False):
        model = sn.Sequential([*chain()[:-1], sn.Dense(10), sn.Softmax()], (12, 12, 1), fuse=fuse)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=16, epochs=2, verbose=0)
        weights.append(model.flat_params)
    assert np.abs(weights[0] - weights[1]).max() < 1e-4


def test_plan_is_printed_and_can_be_turned_off(capsys):
    model = sn.architectures.build("cnn")
    model.plan()
    assert "conv2d + relu + maxpool2d: fused" in capsys.readouterr().out
    model.fuse = False
    model.plan()
    assert "fused" not in capsys.readouterr().out


def test_outputs_belong_to_the_caller(rng):
    model = sn.Sequential([sn.Dense(4), sn.ReLU()], input_shape=(3,))
    x = rng.standard_normal((2, 3)).astype(np.float32)
    first = model.forward(x)
    kept = first.copy()
    model.forward(-x)
    np.testing.assert_array_equal(first, kept)


def test_the_kernels_mean_the_same_without_the_compiler():
    script = """if True:
        import numpy as np, scratchnet as sn
        rng = np.random.default_rng(0)
        x, y = rng.random((2, 9, 8, 4)), rng.integers(0, 3, 2)
        found = []
        for fuse in (True, False):
            layers = [
                sn.Conv2D(5, 3, padding="same"), sn.ReLU(), sn.MaxPool2D(2),
                sn.Conv2D(3, 3, strides=2, padding=1), sn.BatchNorm(), sn.ReLU(),
                sn.Flatten(), sn.Dense(4), sn.ReLU(), sn.Dense(3), sn.Softmax(),
            ]
            model = sn.Sequential(layers, (9, 8, 4), dtype="float64", fuse=fuse)
            model.compile(loss="sparse_categorical_crossentropy")
            model.loss_and_gradients(x, y)
            found.append(model.flat_grads)
        assert abs(found[0]).max() > 0.01
        print(abs(found[0] - found[1]).max() < 1e-12)
    """
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (4, 2), (4, 3, 1), ()])
def test_a_dy_of_another_shape_never_reaches_a_kernel(shape, rng):
    model = sn.Sequential([*chain()], input_shape=(12, 12, 1))
    model.forward(rng.standard_normal((4, 12, 12, 1)))
    with pytest.raises(sn.InputError, match=r"expected dy \(4, 3\)"):
        model.backward(np.ones(shape, np.float32))


def test_a_constant_channel_has_no_negative_variance():
    model = sn.Sequential([sn.BatchNorm(epsilon=1e-12)], input_shape=(2,))
    x = np.tile(np.array([0.1, 7.3], np.float32), (1000, 1))
    y = model.forward(x, training=True)
    assert (
        np.isfinite(y).all() and np.abs(model.layers[0].buffers["running_var"] - 0.99).max() < 1e-6
    )


def test_backward_takes_any_dtype_and_returns_the_models(rng):
    model = sn.Sequential([*chain()], input_shape=(12, 12, 1))
    model.forward(rng.standard_normal((4, 12, 12, 1)))
    assert model.backward(np.ones((4, 3))).dtype == np.float32


@pytest.mark.parametrize("outlier", [0, 30, 1e3, 1e4, 1e8])
@pytest.mark.parametrize("where", [0, 77, -1])
def test_an_outlier_costs_the_moments_no_digits(outlier, where, rng):
    x = rng.standard_normal((40, 9, 9, 3)).astype(np.float32)
    x.reshape(-1, 3)[where] = outlier
    model = sn.Sequential([sn.BatchNorm(momentum=0)], (9, 9, 3))
    model.forward(x, training=True)
    exact = x.reshape(-1, 3).astype(np.float64)
    buffers = model.layers[0].buffers
    np.testing.assert_allclose(buffers["running_var"], exact.var(axis=0), rtol=1e-6)
    np.testing.assert_allclose(buffers["running_mean"], exact.mean(axis=0), rtol=1e-6, atol=1e-7)


def slow(make):  # compiles more of the same in float64
    return pytest.param(make, marks=pytest.mark.slow)


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("bad", ["x", "dy"])
@pytest.mark.parametrize(
    "make",
    [
        slow(lambda: [sn.Conv2D(8, 3), sn.ReLU(), sn.MaxPool2D(2)]),
        slow(lambda: [sn.Conv2D(16, 3, padding=1), sn.ReLU()]),
        slow(lambda: [sn.Conv2D(5, 3, strides=2)]),
        lambda: [sn.BatchNorm(), sn.ReLU()],
        lambda: [sn.BatchNorm()],
        slow(lambda: [sn.Residual([sn.BatchNorm(), sn.Conv2D(16, 3, padding=1)]), sn.ReLU()]),
        lambda: [sn.MaxPool2D(2)],
        lambda: [sn.AveragePool2D(2)],
        slow(
            lambda: [sn.GlobalAveragePool2D(), sn.Dense(300), sn.ReLU(), sn.Dense(4), sn.Softmax()]
        ),
        lambda: [sn.Flatten(), sn.Dropout(0.5), sn.Dense(20)],
    ],
)
def test_one_bad_image_spoils_what_its_layers_say_and_nothing_else(make, bad, training, rng):
    """Fused or not, NaN is in the same images: nobody computes 0 * NaN for somebody else."""
    x, found = rng.standard_normal((5, 6, 6, 16)), []
    for fuse in (True, False):
        model = sn.Sequential(make(), (6, 6, 16), seed=2, dtype="float64", fuse=fuse)
        inputs, dy = x.copy(), rng.standard_normal((5, *model.output_shape))
        (inputs if bad == "x" else dy)[2].flat[::3] = np.nan
        y = model.forward(inputs, training)
        dx = model.backward(dy)
        found.append([np.isnan(a).reshape(5, -1).any(axis=1).tolist() for a in (y, dx)])
    assert found[0] == found[1]


def test_a_buffer_is_the_same_memory_until_it_must_grow():
    from scratchnet.engine.group import MOST_VIEWS, Buffers

    buffers = Buffers("float32")
    small = buffers.buffer("a", (3, 4))
    assert buffers.buffer("a", (3, 4)) is small and small.dtype == np.float32
    assert np.shares_memory(buffers.buffer("a", (12,)), small)
    large = buffers.buffer("a", (4000, 3))
    again = buffers.buffer("a", (3, 4))  # not the memory that was too small
    assert np.shares_memory(again, large) and not np.shares_memory(again, small)
    other = buffers.buffer("a", (3, 4), np.float64)
    assert other.dtype == np.float64 and not np.shares_memory(other, large)
    assert buffers.buffer("a", (3, 4)).dtype == np.float32
    for size in range(2 * MOST_VIEWS):
        assert buffers.buffer("b", (size,)).shape == (size,)
    assert len(buffers._views) <= MOST_VIEWS + 1


@pytest.mark.parametrize("m, k", [(1, 1), (1, 9), (7, 3), (64, 16), (65, 8), (200, 33)])
def test_a_transposed_matrix_has_zero_columns_after_it(m, k, rng):
    from scratchnet.engine.dense import DenseRelu
    from scratchnet.engine.group import Gradients

    dense = sn.Dense(2)
    dense.build((3,), rng)
    group, a = DenseRelu([dense], Gradients()), rng.random((m, k), np.float32)
    for order in (a, np.asfortranarray(a)):
        found = group.transposed("w", order, m + 5)
        np.testing.assert_array_equal(found[:, :m], a.T)
        assert not found[:, m:].any()


@pytest.mark.parametrize("rows", [1, 2, 4])
@pytest.mark.parametrize(("m", "k"), [(64, 64), (67, 130), (130, 70), (3, 200), (200, 9)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_terms_are_marked_that_are_not_all_zero(m, k, rows, dtype, rng):
    from scratchnet.engine import dense

    a = (rng.standard_normal((m, k)) * (rng.random((m, k)) < 0.2)).astype(dtype)
    a[-1, -1] = -0.0  # counts as something
    some = (a != 0) | np.signbit(a)
    every = -(-m // rows)
    wanted = np.zeros((every, k), bool)
    for block in range(every):
        wanted[block] = some[block * rows : (block + 1) * rows].any(axis=0)
    for flat, strides in ((a.reshape(-1), (k, 1)), (a.T.copy().reshape(-1), (1, m))):
        if (k if strides[1] == 1 else m) < 64:
            continue  # too short to be marked
        marks = np.full((1 + every, -(-k // 64)), 77)
        sizes = dense.Sizes(m, k, 0, *strides, 0, 0)
        dense.mark_terms(flat.view(f"i{flat.itemsize}"), sizes, rows, marks)
        found = np.unpackbits(marks.view(np.uint8), axis=1, bitorder="little")[:, :k]
        assert found[0].all()
        np.testing.assert_array_equal(found[1:], wanted)


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 3, 9, 40])
def test_a_dense_layer_of_any_width_sums_as_it_is_written(n):
    """Tiles that overlap, rows that do not fill one, lots without images, and infinities."""
    rng = np.random.default_rng(n)
    for d, units in ((1, 80), (2, 300), (7, 112), (33, 300), (130, 70)):
        x = (rng.standard_normal((n, d)) * (rng.random((n, d)) < 0.4)).astype(np.float32)
        dy = rng.standard_normal((n, units)).astype(np.float32)
        for odd in (False, True):
            layer = sn.Dense(units)
            model = sn.Sequential([layer], input_shape=(d,), seed=0)
            if odd:
                layer.params["W"][d // 2, 1], dy[n // 2, units - 1] = np.inf, np.inf
            (group,) = model.groups()
            W = layer.params["W"].astype(np.float64)
            with np.errstate(invalid="ignore"):
                expected = x @ W, x.T.astype(np.float64) @ dy, dy @ W.T
                found = group.forward(x, True), layer.grads["W"], group.backward(dy)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
