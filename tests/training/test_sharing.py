"""Layers in several models at once: weights stay and are shared; every model goes on as ever."""

import copy
import pickle
import threading

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.backend import backend

FUSE = pytest.mark.parametrize("fuse", [True, False], ids=["fused", "layers"])


@pytest.fixture
def data(rng):
    x = rng.random((48, 8, 8, 1), dtype=np.float32)
    return x, rng.integers(0, 3, len(x))


def network(fuse=True, seed=0, optimizer="adam"):
    main = [sn.Conv2D(4, 3, padding="same"), sn.BatchNorm(), sn.ReLU()]
    layers = [sn.Conv2D(4, 3), sn.BatchNorm(), sn.ReLU(), sn.Residual(main), sn.Flatten()]
    layers += [sn.Dropout(0.3), sn.Dense(3), sn.Softmax()]
    return compiled(sn.Sequential(layers, (8, 8, 1), seed, fuse=fuse), optimizer)


def compiled(model, optimizer="adam"):
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def with_new_head(base, fuse=True):
    return compiled(
        sn.Sequential(base.layers[:-2] + [sn.Dense(3), sn.Softmax()], (8, 8, 1), fuse=fuse)
    )


def weights(model):
    return {name: array.copy() for name, array in model.arrays().items()}


def is_whole(model):
    """Whether all arrays are in the model's own blocks, and the blocks hold nothing else."""
    for store, block in (
        ("params", model.flat_params),
        ("grads", model.flat_grads),
        ("buffers", model.flat_buffers),
    ):
        arrays = [a for layer in model.layers for a in getattr(layer, store).values()]
        leaves = [
            a
            for layer in model.layers
            for leaf in layer.leaves()
            for a in getattr(leaf, store).values()
        ]
        if not all(
            a is b and np.shares_memory(a, block) for a, b in zip(arrays, leaves, strict=True)
        ):
            return False
        if not np.array_equal(np.concatenate([a.ravel() for a in arrays]), block):
            return False
    return True


def test_the_pretrained_network_under_a_new_head_keeps_what_it_knows():
    (x, y), _ = sn.datasets.mnist.load_data()
    base = sn.architectures.pretrained()
    before = base.predict(x[:200])
    head = [sn.Dense(26), sn.Softmax()]
    new = sn.Sequential(base.layers[:-2] + head, input_shape=(28, 28, 1))
    assert np.array_equal(base.predict(x[:200]), before)
    assert (before.argmax(axis=1) == y[:200]).mean() > 0.98
    assert all(a is b for a, b in zip(new.layers[:-2], base.layers, strict=False))
    features = sn.Sequential(base.layers[:-2], (28, 28, 1)).predict(x[:20])
    W, b = (head[0].params[key] for key in "Wb")
    logits = features @ W + b
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert new.predict(x[:20]) == pytest.approx(exp / exp.sum(axis=1, keepdims=True), abs=1e-5)


@FUSE
def test_what_one_model_learns_the_other_knows(data, fuse):
    x, y = data
    base = network(fuse)
    base.fit(x, y, verbose=0)
    new = with_new_head(base, fuse)
    for learner in (new, base, new):
        before = weights(base), weights(new)
        learner.fit(x, y, verbose=0)
        assert is_whole(learner)
        shared = before[0].keys() & before[1].keys() - {"dense.W", "dense.b"}
        assert len(shared) == 12
        after = weights(base), weights(new)
        assert all(np.array_equal(after[0][name], after[1][name]) for name in shared)
        assert not any(np.array_equal(after[0][name], before[0][name]) for name in shared)
        own = after[learner is base], before[learner is base]  # the other one's head
        assert np.array_equal(own[0]["dense.W"], own[1]["dense.W"])


def test_alternate_steps_are_those_of_one_model_whose_head_is_exchanged(data):
    """What each model and its optimizer remember is right whichever model ran between."""
    x, y = data

    def trained(sharing):
        base = network()
        heads = [[sn.Dense(3), sn.Softmax()] for _ in range(2)]
        models = []
        for head in heads:
            row = base.layers[:-2]
            rows = row if sharing else copy.deepcopy(row)
            models.append(compiled(sn.Sequential([*rows, *head], (8, 8, 1)), sn.SGD(0.1, 0.9)))
        for step in range(6):
            one, other = models[step % 2], models[1 - step % 2]
            one.train_on_batch(x, y)
            if not sharing:  # by hand, what sharing does
                for a, b in zip(one.layers[:-2], other.layers[:-2], strict=True):
                    for store in ("params", "buffers"):
                        for key, array in getattr(a, store).items():
                            getattr(b, store)[key][...] = array
                    if hasattr(a, "rng"):
                        b.rng.bit_generator.state = a.rng.bit_generator.state
        return [weights(model) for model in models]

    for one, other in zip(trained(True), trained(False), strict=True):
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_backward_is_right_or_refused_after_another_models_forward(data):
    x, _ = data
    dy = np.ones((4, 3), np.float32)

    def gradient(fuse, between):
        base = network(fuse)
        new = with_new_head(base, fuse)
        base.forward(x[:4])
        if between:
            new.forward(x[4:12])
        return base.backward(dy), base.flat_grads.copy()

    if backend() == "numba":  # the groups keep what they need, each model's its own
        for a, b in zip(gradient(True, False), gradient(True, True), strict=True):
            assert np.array_equal(a, b)
    gradient(False, False)
    with pytest.raises(RuntimeError, match="another model which shares some"):
        gradient(False, True)


def test_prepared_single_images_follow_the_shared_weights(data):
    x, y = data
    base = network()
    new = with_new_head(base)
    base.prepare()
    first = base.predict(x[:1])
    new.fit(x, y, verbose=0)
    found = base.predict(x[:1])
    assert not np.allclose(found, first)
    assert found == pytest.approx(base.predict(x[:2])[:1], abs=1e-6)


def test_copies_pickles_and_files_share_nothing_with_others(data, tmp_path):
    x, y = data
    base = network()
    new = with_new_head(base)
    new.save(tmp_path / "new.safetensors")
    others = [copy.deepcopy(new), pickle.loads(pickle.dumps(new))]
    others.append(sn.load_model(tmp_path / "new.safetensors"))
    before = new.predict(x)
    for other in others:
        assert np.array_equal(other.predict(x), before)
        other.fit(x, y, verbose=0)
        assert is_whole(other) and is_whole(new)
    assert np.array_equal(new.predict(x), before)
    twice = pickle.loads(pickle.dumps((base, new)))
    assert twice[0].layers[0] is twice[1].layers[0]
    twice[0].fit(x, y, verbose=0)
    assert np.array_equal(twice[0].layers[0].params["W"], twice[1].layers[0].params["W"])
    one = base.layers[0].copy()
    one.params["W"][...] = 0
    assert np.all(base.layers[0].params["W"] != 0)


def test_layers_of_one_name_get_another_in_the_new_row_alone():
    first = sn.Sequential([sn.Dense(5), sn.Dense(5)], (5,))
    second = sn.Sequential([sn.Dense(5), sn.Dense(5)], (5,), seed=1)
    both = sn.Sequential([*first.layers, *second.layers, sn.Dense(5)], (5,))
    assert [layer.name for layer in both.layers] == [
        "dense",
        "dense_1",
        "dense_2",
        "dense_3",
        "dense_4",
    ]
    assert [layer.name for layer in second.layers] == ["dense", "dense_1"]
    v = np.ones((2, 5), np.float32)
    assert np.array_equal(
        both.predict(v), both.layers[-1].forward(second.predict(first.predict(v)))
    )
    second.layers[0].params["W"][...] = 0
    both.layers[3].trainable = False
    assert not both.layers[2].params["W"].any() and not second.layers[1].trainable
    both.compile("adam", "mse")
    both.fit(v, np.ones((2, 5)), verbose=0)
    assert np.array_equal(both.layers[2].params["W"], second.layers[0].params["W"])
    assert second.layers[0].params["W"].any()


def test_a_layer_serves_at_another_size_where_its_weights_fit(rng):
    small = sn.Sequential(
        [
            sn.Conv2D(4, 3),
            sn.BatchNorm(),
            sn.ReLU(),
            sn.Residual([sn.Conv2D(4, 3, padding="same")]),
        ],
        (8, 8, 1),
    )
    large = sn.Sequential(small.layers, (12, 10, 1))
    assert (small.output_shape, large.output_shape) == ((6, 6, 4), (10, 8, 4))
    x = rng.random((2, 12, 10, 1), dtype=np.float32)
    part = large.predict(x)[:, :4, :4]  # what lies inside is the same as of the small network
    assert part[:, 1:3, 1:3] == pytest.approx(small.predict(x[:, :8, :8])[:, 1:3, 1:3], abs=1e-6)
    large.layers[0].params["W"][...] = 0
    assert not small.layers[0].params["W"].any()
    large.layers[3].main[0].params["W"][...] = 2
    assert np.all(small.layers[3].params["main.conv2d.W"] == 2)


def test_weights_that_do_not_fit_are_named():
    base = network()
    with pytest.raises(InputError, match="dense: expected inputs of shape"):
        sn.Sequential(base.layers, (12, 12, 1))
    with pytest.raises(InputError, match="float64, found one built in float32"):
        sn.Sequential(base.layers, (8, 8, 1), dtype="float64")
    assert base.layers[0].input_shape == (8, 8, 1)


def test_inner_layers_of_a_block_serve_another_model_too(data):
    x, y = data
    base = network()
    inner = base.layers[3].main
    new = sn.Sequential([sn.Residual(inner), sn.Flatten(), sn.Dense(3), sn.Softmax()], (6, 6, 4))
    assert new.layers[0].main[0] is inner[0]
    before = weights(base)
    compiled(new).fit(np.ones((4, 6, 6, 4)), y[:4], verbose=0)
    after = weights(base)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {name for name in before if name.startswith("residual.")}
    base.fit(x, y, verbose=0)
    assert is_whole(base) and is_whole(new)


def test_an_array_or_a_layer_put_in_its_place_is_taken_over(data):
    x, y = data
    model = network()
    model.layers[0].params["W"] = np.full((3, 3, 1, 4), 0.5, np.float32)
    model.fit(x, y, verbose=0)
    assert is_whole(model)
    other = sn.Dense(3)
    other.build((144,), np.random.default_rng(9))
    other.name = "other"
    model.layers[-2] = other
    before = other.params["W"].copy()
    model.fit(x, y, verbose=0)
    assert is_whole(model) and not np.array_equal(other.params["W"], before)
    model.layers[0].params["W"] = np.zeros(3, np.float32)
    with pytest.raises(InputError, match=r"W: expected an array \(3, 3, 1, 4\), found \(3,\)"):
        model.flat_params.sum()


def test_models_that_share_layers_train_one_at_a_time(data):
    x, y = data
    base = network()
    new = with_new_head(base)
    caught = []

    class Tries(sn.Callback):
        def on_batch_end(self, batch, logs):
            def fit(model):
                try:
                    model.fit(x, y, verbose=0)
                except RuntimeError as error:
                    caught.append(str(error))

            for model in (new, network()):
                thread = threading.Thread(target=fit, args=[model])
                thread.start()
                thread.join()

    base.fit(x, y, batch_size=48, verbose=0, callbacks=[Tries()])
    assert caught == ["Sequential: fit is running in another thread, of a layer in here"]
    new.fit(x, y, verbose=0)


def test_building_a_layer_by_hand_begins_anew():
    base = network()
    before = weights(base)
    for layer in base.layers:
        layer.build(layer.input_shape, np.random.default_rng(7))
    after = weights(base)
    assert not np.array_equal(before["conv2d.W"], after["conv2d.W"])
    assert not np.array_equal(before["residual.main.conv2d.W"], after["residual.main.conv2d.W"])
    assert is_whole(base)
