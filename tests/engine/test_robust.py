"""What no kernel may mind: how arrays lie in memory, that a batch is empty, NaN and infinity.

The kernels and the layers one by one are in test_kernels.py and test_layers.py; here are the fused
groups, the losses and whole models, and the suite once more with checked indices. Once more without
the compiler it runs in test_coverage.py.
"""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numba
import numpy as np
import pytest
from arrays import fortran, read_only, strided
from grouped import assert_same, built

import scratchnet as sn
from scratchnet.engine import functions, plan, steps, threads

TESTS = Path(__file__).parents[1]
layouts = pytest.mark.parametrize("layout", [read_only, strided, fortran])

#: one of each fused group, and the shape of an input
GROUPS = {
    "conv, relu, pool": (lambda: [sn.Conv2D(5, 3, 1, "same"), sn.ReLU(), sn.MaxPool2D(2)], 8),
    "few values a row": (lambda: [sn.Conv2D(5, 3), sn.ReLU(), sn.MaxPool2D(2)], 1),
    "whole vectors": (lambda: [sn.Conv2D(16, 3), sn.ReLU(), sn.MaxPool2D(2)], 16),
    "conv": (lambda: [sn.Conv2D(5, (2, 3), (2, 1), 1)], 2),
    "conv, relu": (lambda: [sn.Conv2D(8, 3), sn.ReLU()], 3),
    "gaps": (lambda: [sn.Conv2D(5, 2, 1, 1, dilation_rate=(2, 3)), sn.ReLU()], 2),
    "depthwise": (lambda: [sn.DepthwiseConv2D((2, 3), 2, 1, 3)], 2),
    "one a channel": (lambda: [sn.DepthwiseConv2D(3)], 5),
    "some connections": (lambda: [sn.ConnectedConv2D([[0], [1, 0], [1]], (2, 3))], 2),
    "subsampling": (lambda: [sn.Subsampling2D((2, 3))], 3),
    "transposed": (lambda: [sn.Conv2DTranspose(5, 3, 2, "same")], 2),
    "batch norm": (lambda: [sn.BatchNorm()], 3),
    "batch norm, relu": (lambda: [sn.BatchNorm(), sn.ReLU()], 3),
    "dense": (lambda: [sn.Dense(5)], 0),
    "dense, relu": (lambda: [sn.Dense(16), sn.ReLU()], 0),
    "max pool": (lambda: [sn.MaxPool2D(3, 2)], 3),
    "average pool": (lambda: [sn.AveragePool2D(2, padding=1)], 3),
    "means": (lambda: [sn.GlobalAveragePool2D()], 3),
    "maxima": (lambda: [sn.GlobalMaxPool2D()], 3),
    "frame": (lambda: [sn.ZeroPadding2D(((0, 1), (0, 2)))], 3),
    "blocks": (lambda: [sn.UpSampling2D((2, 1))], 3),
    "mixtures": (lambda: [sn.UpSampling2D((2, 3), "bilinear")], 3),
    "reshape": (lambda: [sn.Reshape((3, -1))], 3),
}
every_group = pytest.mark.parametrize("kind", GROUPS)
MODES = ["reference", "by itself", "fused"]


def group_of(kind, mode, n=3):
    """The groups of those layers with the same weights each time, an input and a dy."""
    make, channels = GROUPS[kind]
    rng = np.random.default_rng(3)
    shape = (6, 7, channels) if channels else (9,)
    layers, out_shape = built(make(), shape, rng)
    groups = plan.make(layers, fuse=mode == "fused")
    assert mode != "fused" or len(groups) == 1
    return groups, rng.standard_normal((n, *shape)), rng.standard_normal((n, *out_shape))


def passed(groups, x, dy, mode="fused", training=True):
    """Output, dx and all gradients, as copies."""
    with sn.use_backend("reference" if mode == "reference" else "numba"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # inf - inf, where a test asks for it
        y = x
        for group in groups:
            y = group.forward(y, training)
        y, dx = y.copy(), dy
        for group in reversed(groups):
            dx = group.backward(dx, True)
    grads = [grad.copy() for group in groups for at in group.layers for grad in at.grads.values()]
    return [y, dx.copy(), *grads]


def model_of(fuse=True, dtype=np.float64):
    layers = [
        *[sn.Conv2D(5, 3), sn.ReLU(), sn.MaxPool2D(2)],
        *[sn.Conv2D(4, 3, padding="same"), sn.BatchNorm(), sn.ReLU(), sn.AveragePool2D(2)],
        *[sn.Flatten(), sn.Dense(6), sn.ReLU(), sn.Dense(3), sn.Softmax()],
    ]
    model = sn.Sequential(layers, (12, 10, 2), dtype=dtype, fuse=fuse)
    model.compile("sgd", "sparse_categorical_crossentropy", ["accuracy"])
    return model


# ---- memory --------------------------------------------------------------------------------------


@every_group
@layouts
def test_layout_does_not_matter_to_a_fused_group(kind, layout):
    groups, x, dy = group_of(kind, "fused")
    expected = passed(groups, x, dy)
    x, dy = layout(x), layout(dy)
    kept = x.copy(), dy.copy()
    assert_same(passed(groups, x, dy), expected)
    np.testing.assert_array_equal(x, kept[0])
    np.testing.assert_array_equal(dy, kept[1])


@layouts
@pytest.mark.parametrize("kind", sorted({*sn.losses.LOSSES} - {"mse"}))
@pytest.mark.parametrize("from_logits", [True, False])
def test_layout_does_not_matter_to_a_loss(rng, kind, layout, from_logits):
    loss, labels = sn.losses.get(kind), np.array([2, 0, 1, 1])
    if from_logits and "crossentropy" in kind:
        loss = sn.losses.LOSSES[kind](from_logits)
    y_pred = rng.uniform(0.1, 0.9, (4, 5, 3) if kind == "ctc" else (4, 3))
    y_true = labels if "sparse" in kind else rng.dirichlet(np.ones(3), 4)
    y_true = np.eye(3)[labels] if "hinge" in kind else y_true
    y_true = np.array([[1, 2], [1, 1], [2, 0], [0, 0]]) if kind == "ctc" else y_true
    expected = loss.forward(y_pred, y_true), loss.backward()
    found = loss.forward(layout(y_pred), layout(y_true)), loss.backward()
    assert found[0] == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-14)


@layouts
@pytest.mark.parametrize("fuse", [True, False])
def test_layout_does_not_matter_to_a_model(backend, rng, layout, fuse):
    x, y, dy = rng.standard_normal((7, 12, 10, 2)), np.arange(7) % 3, rng.standard_normal((7, 3))
    found = []
    for lay in (np.copy, layout):
        model = model_of(fuse)
        outputs = [model.predict(lay(x), batch_size=3), model.forward(lay(x), training=True)]
        outputs += [model.backward(lay(dy)), model.flat_grads.copy()]
        model.fit(lay(x), lay(y), batch_size=3, epochs=2, verbose=0)
        outputs += [model.flat_params, np.array(model.evaluate(lay(x), lay(y), verbose=0))]
        found.append(outputs)
    assert_same(found[1], found[0])


@layouts
def test_layout_of_uint8_images_does_not_matter(rng, layout):
    model = sn.architectures.build("cnn-small")
    x = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(model.predict(layout(x)), model.predict(x))


# ---- nothing -------------------------------------------------------------------------------------


@every_group
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("training", [True, False])
def test_an_empty_batch_goes_through_every_group(kind, mode, training):
    groups, x, dy = group_of(kind, mode, n=0)
    y, dx, *grads = passed(groups, x, dy, mode, training)
    assert y.shape == dy.shape and dx.shape == x.shape
    assert not any(np.any(grad) for grad in grads)


@pytest.mark.parametrize("fuse", [True, False])
def test_an_empty_batch_after_a_full_one_leaves_nothing_of_it(backend, rng, fuse):
    model = model_of(fuse)
    model.loss_and_gradients(rng.standard_normal((4, 12, 10, 2)), np.array([0, 1, 2, 0]))
    assert np.any(model.flat_grads)
    statistics = [a.copy() for at in model.layers for a in at.buffers.values()]
    nothing = np.zeros((0, 12, 10, 2))
    assert model.loss_and_gradients(nothing, np.zeros(0, int)) == 0
    assert not np.any(model.flat_grads)
    assert model.predict(nothing).shape == model.forward(nothing).shape == (0, 3)
    assert model.backward(np.zeros((0, 3))).shape == nothing.shape
    kept = [a for at in model.layers for a in at.buffers.values()]
    assert_same(kept, statistics, 0)


# ---- NaN and infinity ----------------------------------------------------------------------------


def assert_same_oddities(found, expected):
    """NaN and infinities in the same places, and the same numbers elsewhere."""
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@every_group
def test_an_input_of_another_dtype_is_taken(kind):
    """As behind a user's layer that returns float32 in a float64 model."""
    groups, x, dy = group_of(kind, "fused")
    x, dy = x.astype(np.float32), dy.astype(np.float32)
    expected = passed(group_of(kind, "by itself")[0], x.astype(float), dy.astype(float))
    for a, b in zip(passed(groups, x, dy), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


ODD = {"NaN": np.nan, "+inf": np.inf, "-inf": -np.inf}
every_odd = pytest.mark.parametrize("odd", ODD.values(), ids=ODD)


@every_group
@every_odd
@pytest.mark.parametrize("training", [True, False])
def test_nan_and_infinity_go_forward_as_in_the_reference(kind, odd, training):
    outputs = []
    for mode in MODES:
        groups, x, dy = group_of(kind, mode)
        x[0].flat[[0, 17 % x[0].size]] = odd
        x[2].flat[-1] = odd
        outputs.append(passed(groups, x, dy, mode, training)[0])
    assert not np.isfinite(outputs[0]).all() or odd == -np.inf  # the ReLU stops a -inf
    for other in outputs[1:]:
        assert_same_oddities([other], outputs[:1])


@every_group
@every_odd
def test_nan_and_infinity_go_backward_as_in_the_reference(kind, odd):
    found = []
    for mode in MODES:
        groups, x, dy = group_of(kind, mode)
        dy[0].flat[:5] = odd
        found.append(passed(groups, x, dy, mode))
    expected, by_itself, fused = found
    assert not all(np.isfinite(a).all() for a in expected)
    assert_same_oddities(by_itself, expected)
    # A fused group may spoil a little more: it multiplies by zeros, 0 * NaN is NaN, where the
    # reference does not look. But it hides nothing, and leaves the other images as they are.
    for a, b in zip(fused, expected, strict=True):
        assert not np.isfinite(a[~np.isfinite(b)]).any()
    if "batch norm" not in kind:
        assert_same_oddities([fused[1][1:]], [expected[1][1:]])
        assert np.isfinite(fused[1][1:]).all()


@every_odd
@pytest.mark.parametrize("where", ["image", "weights"])
@pytest.mark.parametrize("fuse", [True, False])
def test_a_bad_number_anywhere_is_seen_in_the_loss_and_the_gradients(
    backend, rng, odd, where, fuse
):
    model, x = model_of(fuse), rng.standard_normal((4, 12, 10, 2))
    if where == "image":
        x[1, 5, 5, 0] = odd
    else:
        model.layers[3].params["W"][1, 1, 0, 0] = odd
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        value = model.loss_and_gradients(x, np.array([0, 1, 2, 0]))
    assert not np.isfinite(value)
    assert not np.isfinite(model.layers[-2].grads["W"]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_and_max_pool_keep_nan_and_pass_infinities_on(backend, dtype):
    x = np.array([np.nan, np.inf, -np.inf, -1, 0, 2, -0.0, 1], dtype).reshape(1, 2, 4, 1)
    relu, pool = sn.ReLU(), sn.MaxPool2D(2)
    for layer in (relu, pool):
        layer.build((2, 4, 1), np.random.default_rng(0), dtype)
    y = relu.forward(x).ravel()
    np.testing.assert_array_equal(y, np.array([np.nan, np.inf, 0, 0, 0, 2, 0, 1], dtype))
    np.testing.assert_array_equal(relu.backward(np.ones_like(x)).ravel(), [0, 1, 0, 0, 0, 1, 0, 1])
    np.testing.assert_array_equal(pool.forward(x).ravel(), [np.nan, 1])
    dx = pool.backward(np.ones((1, 1, 2, 1), dtype)).ravel()
    np.testing.assert_array_equal(dx, [1, 0, 0, 0, 0, 0, 0, 1])  # to the NaN: it is what came out


@every_odd
def test_a_bad_score_spoils_its_row_of_a_softmax_and_no_other(odd):
    layer = sn.Softmax()
    layer.build((3,), np.random.default_rng(0), np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        y = layer.forward(np.array([[1.0, odd, 2.0], [1.0, 2.0, 3.0]]))
    assert np.isfinite(y[1]).all()
    assert y[0, 1] == 0 if odd == -np.inf else np.isnan(y[0]).any()


@every_odd
def test_a_bad_value_spoils_its_channel_of_a_batch_norm_and_no_other(backend, rng, odd):
    for fuse in (True, False):
        model = sn.Sequential([sn.BatchNorm(), sn.ReLU()], (4, 2), dtype=np.float64, fuse=fuse)
        x = rng.standard_normal((3, 4, 2))
        x[1, 2, 0] = odd
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            y = model.forward(x, training=True)
        assert np.isnan(y[..., 0]).any() and np.isfinite(y[..., 1]).all()
        statistics = model.layers[0].buffers
        assert np.isfinite([a[1] for a in statistics.values()]).all()
        assert not np.isfinite([a[0] for a in statistics.values()]).any()


# ---- without the compiler, with checked indices --------------------------------------------------


def suite(files, tmp_path, *options, **environment):
    """Those test files in a process of their own; kernels compiled there stay there."""
    paths = [str(path) for name in files for path in TESTS.glob(f"*/{name}")]
    arguments = ["-q", "-x", "-p", "no:cacheprovider", "--hypothesis-profile=few", *options]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n0", *arguments, *paths],
        cwd=TESTS.parent,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


@pytest.mark.slow
def test_the_suite_passes_with_checked_indices(tmp_path):
    # not test_plan.py: its many shapes are many compilations; every fused group is here, too
    files = ["test_kernels.py", "test_layers.py", "test_robust.py"]
    suite(files, tmp_path, "-k", "not threads and not without", NUMBA_BOUNDSCHECK="1")


def test_without_the_compiler_a_fused_network_is_the_same(tmp_path):
    """The quick part of what test_coverage.py runs."""
    name = "test_nan_and_infinity_go_forward or test_layout_does_not_matter_to_a_fused_group"
    suite(["test_robust.py"], tmp_path, "-k", name, NUMBA_DISABLE_JIT="1")


@pytest.mark.skipif(not threads.compiles(), reason="nothing is compiled")
def test_a_loop_is_not_compiled_again_for_read_only_arrays():
    x = np.array([[-1.0, 2.0]], np.float32)
    assert np.array_equal(functions.relu(read_only(x)), functions.relu(x))
    loops = {kinds[1]: loop for kinds, loop in functions.relu_into.entry.overloads.items()}
    assert len({id(loop) for kind, loop in loops.items() if kind.dtype == numba.float32}) == 1
    assert {kind.mutable for kind in loops} == {True, False}


@pytest.mark.skipif(not threads.compiles(), reason="NumPy refuses it, too, with words of its own")
def test_parameters_that_are_read_only_are_not_written_to():
    params, grads = read_only(np.ones(3, np.float32)), np.ones(3, np.float32)
    with pytest.raises(numba.TypingError, match="readonly"):
        steps.sgd_step(params, grads, np.zeros(3, np.float32), 0.1, 0.9, False)
    assert (params == 1).all()
