"""Residual: the sum of two rows of layers; inner layers inside files, tables, plans and streams."""

import copy

import numpy as np
import oracles
import pytest
from grouped import assert_same, built, run
from hypothesis import given
from hypothesis import strategies as st
from strategies import GENERATORS

import scratchnet as sn
from scratchnet import checkpoint
from scratchnet.engine import plan
from scratchnet.gradcheck import check_model


def block(filters, strides=1, identity=False, dropout=0.0):
    """conv-BN-ReLU-conv-BN beside the identity or a 1x1 convolution, as He et al. draw it."""
    main = [
        sn.Conv2D(filters, 3, strides, padding=1, use_bias=False),
        sn.BatchNorm(),
        sn.ReLU(),
        sn.Dropout(dropout),
        sn.Conv2D(filters, 3, padding=1, use_bias=False),
        sn.BatchNorm(),
    ]
    return sn.Residual(main, [] if identity else [sn.Conv2D(filters, 1, strides)])


def network(dtype=np.float32, fuse=True, dropout=0.2):
    layers = [sn.Conv2D(4, 3), block(4, identity=True), sn.ReLU(), block(6, 2, dropout=dropout)]
    layers += [sn.ReLU(), sn.GlobalAveragePool2D(), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential(layers, (9, 8, 2), seed=1, dtype=dtype, fuse=fuse)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


@pytest.fixture
def batch(rng):
    return rng.standard_normal((7, 9, 8, 2)), rng.integers(0, 3, 7)


@given(rng=GENERATORS, n=st.integers(0, 3), identity=st.booleans())
def test_output_is_the_sum_of_both_rows(backend, rng, n, identity):
    shortcut = [] if identity else [sn.Conv2D(3, 1, 1)]
    layer = sn.Residual([sn.Conv2D(3, 3, padding=1)], shortcut)
    layer.build((4, 5, 3), rng, np.float64)
    x, dy = rng.standard_normal((2, n, 4, 5, 3))
    y, dx = layer.forward(x), layer.backward(dy)
    terms = []
    for row, pads in ((layer.main, (1, 1, 1, 1)), (layer.shortcut, (0, 0, 0, 0))):
        if row:
            W, b = row[0].params.values()
            terms.append(oracles.conv(x, W, b, dy, (1, 1), pads)[:2])
        else:
            terms.append((x, dy))
    np.testing.assert_allclose(y, terms[0][0] + terms[1][0], atol=1e-12)
    np.testing.assert_allclose(dx, terms[0][1] + terms[1][1], atol=1e-12)


@given(
    rng=GENERATORS,
    n=st.sampled_from([0, 1, 5, 9]),
    size=st.tuples(st.integers(3, 7), st.integers(3, 7)),
    filters=st.sampled_from([3, 16]),
    strides=st.sampled_from([1, 2]),
    identity=st.booleans(),
    last=st.sampled_from([None, sn.ReLU, sn.Dropout]),
)
def test_fused_rows_equal_their_layers(rng, n, size, filters, strides, identity, last):
    identity = identity and strides == 1
    found = []
    for fuse in (True, False):
        layer = block(filters, strides, identity)
        if last is not None:  # a row whose last group needs its own output, or hands on its input
            layer.main.append(last() if last is sn.ReLU else last(0.5))
            layer.main[-1].name = "last"
        after = [sn.ReLU(), sn.Conv2D(2, 3, padding=1)]
        layers, shape = built([layer, *after], (*size, filters), np.random.default_rng(3))
        groups = plan.make(layers, fuse)
        draws = copy.deepcopy(rng)
        for count in (n, n // 2, n):  # again, on buffers that are no longer zero
            x = draws.standard_normal((count, *size, filters))
            dy = draws.standard_normal((count, *shape))
            kept = x.copy(), dy.copy()
            found.append([*run(groups, x, dy), *layer.buffers.values()])
            found[-1] = [a.copy() for a in found[-1]]
            np.testing.assert_array_equal(x, kept[0])
            np.testing.assert_array_equal(dy, kept[1])
    for fused, single in zip(found[:3], found[3:], strict=True):
        assert_same(fused, single, 1e-10)


def test_training_is_the_same_with_and_without_fusion(batch):
    models = [network(np.float64, fuse) for fuse in (True, False)]
    for _ in range(3):
        losses = [model.train_on_batch(*batch)[0] for model in models]
        assert losses[0] == pytest.approx(losses[1], abs=1e-9)
    weights = [model.flat_params for model in models]
    np.testing.assert_allclose(*weights, atol=1e-7)
    assert losses[0] > 0


def test_every_gradient_of_a_residual_network_is_right(backend, rng):
    layers = [block(2, identity=True), sn.AveragePool2D(2), sn.Residual([sn.Residual([sn.Conv2D(
        2, 1)])]), sn.Flatten(), sn.Dense(3), sn.Softmax()]  # fmt: skip
    model = sn.Sequential(layers, (5, 4, 2), seed=5, dtype=np.float64)
    model.compile("sgd", "sparse_categorical_crossentropy")
    checks = check_model(model, rng.standard_normal((6, 5, 4, 2)), rng.integers(0, 3, 6))
    assert max(check.error for check in checks) <= 1e-6
    names = {check.name for check in checks}
    assert {"residual.main.conv2d_1.W", "residual_1.main.residual.main.conv2d.b"} <= names
    assert len(names - {"x"}) == 2 * (1 + 2) + 2 + 2  # parameters


def test_inner_arrays_are_views_of_the_models_flat_memory(batch):
    model = network()
    leaves = [leaf for layer in model.layers for leaf in layer.leaves()]
    assert model.count_params() == sum(a.size for leaf in leaves for a in leaf.params.values())
    model.loss_and_gradients(*batch)
    for leaf in leaves:
        for store, flat in (("params", model.flat_params), ("grads", model.flat_grads)):
            assert all(np.shares_memory(a, flat) for a in getattr(leaf, store).values())
        assert all(np.any(grad) for grad in leaf.grads.values())
    inner = model.layers[1].main[0]
    model.flat_params[:] = 7
    assert np.all(inner.params["W"] == 7) and np.all(model.layers[1].params["main.conv2d.W"] == 7)


def test_a_deep_copy_learns_the_same_on_memory_of_its_own(batch):
    model = network()
    model.optimizer = sn.Adam(use_ema=True)
    model.train_on_batch(*batch)
    again = copy.deepcopy(model)
    kept = {name: array.copy() for name, array in again.arrays().items()}
    for _ in range(2):
        model.fit(*batch, verbose=0)
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, kept[name])
    for _ in range(2):
        again.fit(*batch, verbose=0)
    for name, array in again.arrays().items():
        np.testing.assert_array_equal(array, model.arrays()[name])
        assert not np.shares_memory(array, model.arrays()[name])


def test_saved_and_loaded_it_is_the_same_network(batch, tmp_path):
    x, y = batch
    model = network()
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.safetensors")
    again = sn.load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    assert again.arrays().keys() == model.arrays().keys()
    assert "residual_1.main.batchnorm.running_mean" in again.arrays()
    assert repr(again.layers) == repr(model.layers)
    assert [leaf.name for leaf in again.layers[3].leaves()] == [
        leaf.name for leaf in model.layers[3].leaves()
    ]
    again.fit(x, y, verbose=0)  # the loaded one goes on learning, inner layers too
    inner = "residual.main.conv2d.W"
    assert np.abs(again.arrays()[inner] - model.arrays()[inner]).max() > 0


def test_a_layer_of_the_users_own_inside_cannot_be_saved(tmp_path):
    class Own(sn.ReLU):
        pass

    model = sn.Sequential([sn.Residual([Own()])], (3,))
    with pytest.raises(sn.InputError, match="found Own"):
        model.save(tmp_path / "model.safetensors")


def entry(kind, **config):
    return {"kind": kind, "name": "inner", "config": config}


def nested(depth):
    inner = entry("ReLU")
    for _ in range(depth):
        inner = entry("Residual", layers=[inner], shortcut=[])
    return inner


HUGE = entry("MaxPool2D", pool_size=10**9, strides=10**9, padding=5 * 10**8 - 1)
BACK = entry("MaxPool2D", pool_size=1, strides=1, padding=10**9)


@pytest.mark.parametrize(
    "inner",
    [
        nested(300),
        entry("Residual", layers=[BACK, HUGE], shortcut=[]),
        entry("Residual", layers=[entry("Evil")], shortcut=[]),
        entry("Residual", layers=[]),
        entry("Residual", layers=[entry("ReLU"), entry("ReLU")], shortcut=[]),
        entry("Residual", layers=[entry("Conv2D", filters=2**40, kernel_size=1)], shortcut=[]),
    ],
    ids=["deep", "huge inside", "unknown kind", "no shortcut", "same names", "other shape"],
)
def test_a_file_that_means_harm_is_refused_in_one_line(inner, tmp_path):
    path = tmp_path / "model.safetensors"
    shape = {"version": 1, "input_shape": (5, 5, 1), "dtype": "float32"}
    checkpoint.save(path, shape | {"layers": [inner]}, {"a": np.zeros(1, np.float32)})
    with pytest.raises(sn.InputError, match="model.safetensors: ") as caught:
        sn.load_model(path)
    assert "\n" not in str(caught.value)


def test_dropout_inside_draws_from_the_models_seed(batch):
    runs = [network(dropout=0.5).forward(batch[0], training=True) for _ in range(2)]
    np.testing.assert_array_equal(*runs)
    assert np.abs(runs[0] - network().forward(batch[0], training=True)).max() > 0


def test_summary_and_plan_show_the_inner_layers(capsys):
    model = network()
    rows = {row.name: row for row in model.rows()}
    assert rows["residual_1"].parameters == rows["residual_1"].multiply_adds == 0
    assert rows["residual_1.shortcut.conv2d"].kind == "Conv2D"
    assert sum(row.parameters for row in rows.values()) == model.count_params()
    adds = sum(row.multiply_adds for row in rows.values())
    assert adds == sum(layer.multiply_adds() for layer in model.layers)
    model.summary()
    model.plan()
    text = capsys.readouterr().out
    for line in ("- Conv2D 6 3x3", "- shortcut: Conv2D 6 1x1", "main: batchnorm + relu: fused"):
        assert line in text
    assert "- shortcut: Conv2D 6 1x1" in model._repr_html_()


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: sn.Residual([sn.Conv2D(4, 3)]), r"\(3, 3, 4\).*\(5, 5, 2\)"),
        (lambda: sn.Residual([sn.Conv2D(2, 1)], [sn.Conv2D(2, 1, 2)]), r"\(5, 5, 2\).*\(3, 3, 2\)"),
        (lambda: sn.Residual([]), "at least one layer"),
        (lambda: sn.Residual(["relu"]), "expected a layer, found 'relu'"),
        (lambda: sn.Residual([sn.Conv2D(2, 3), sn.Flatten(), sn.Conv2D(2, 3)]), "images"),
    ],
)
def test_rows_that_do_not_fit_are_refused(make, words):
    with pytest.raises(sn.InputError, match=words) as caught:
        sn.Sequential([make()], (5, 5, 2))
    assert "\n" not in str(caught.value)


def test_a_layer_stands_in_one_place_only():
    relu = sn.ReLU()
    for make in (
        lambda: sn.Residual([relu, relu]),
        lambda: sn.Residual([relu], [relu]),
        lambda: sn.Sequential([relu, sn.Residual([relu])]),
    ):
        with pytest.raises(sn.InputError, match="twice"):
            make()


def test_a_wrong_input_or_dy_is_refused():
    layer = sn.Residual([sn.ReLU()])
    layer.build((3,), np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        layer.backward(np.ones((2, 3)))
    with pytest.raises(sn.InputError, match=r"\(n, 3\).*\(2, 4\)"):
        layer.forward(np.ones((2, 4)))
    layer.forward(np.ones((2, 3)))
    with pytest.raises(sn.InputError, match=r"dy \(2, 3\)"):
        layer.backward(np.ones((3, 3)))
