"""Frozen layers: nothing of them changes, nothing is computed for them, and everybody knows."""

import copy

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError
from scratchnet.callbacks import BackupAndRestore, StopOnNaN

OPTIMIZERS = {
    "sgd": lambda: sn.SGD(0.05, 0.9, nesterov=True),
    "clipped": lambda: sn.Adam(0.01, global_clipnorm=0.01),
    "by value": lambda: sn.Adam(0.01, clipvalue=0.01),
    "adamw": lambda: sn.AdamW(0.01, weight_decay=0.1),
    "averaged": lambda: sn.AdamW(
        0.01, weight_decay=0.1, exclude_from_weight_decay=("b",), use_ema=True, ema_momentum=0.5
    ),
}
FUSE = pytest.mark.parametrize("fuse", [True, False], ids=["fused", "layers"])


@pytest.fixture
def data(rng):
    x = rng.random((48, 6, 6, 1), dtype=np.float32)
    return x, rng.integers(0, 3, len(x))


def base_layers():
    block = [sn.Conv2D(4, 3, padding="same"), sn.BatchNorm(0.5), sn.ReLU()]
    return [sn.Conv2D(4, 3), sn.BatchNorm(0.5), sn.ReLU(), sn.Residual(block), sn.Flatten()]


def network(optimizer="adam", fuse=True, dtype="float32"):
    layers = [*base_layers(), sn.Dense(5), sn.ReLU(), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential(layers, (6, 6, 1), fuse=fuse, dtype=dtype)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def freeze(model, *names):
    for layer in model.layers:
        if layer.name in names:
            layer.trainable = False


def state(model):
    """Everything that must not change, by name: arrays, and the optimizer's memory of each."""
    found = {name: array.copy() for name, array in model.arrays().items()}
    for key, memory in model.optimizer.memory.items():
        starts, blocks = 0, model.layers
        for layer in blocks:
            if not key.endswith("_buffers"):
                for name, array in layer.params.items():
                    part = memory[starts : starts + array.size]
                    found[f"{key} of {layer.name}.{name}"] = part.copy()
                    starts += array.size
    return found


def changed(before, after):
    return {name for name in before if not np.array_equal(before[name], after[name])}


# --------------------------------------------------------------------------------------- what stays


@FUSE
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_nothing_of_a_frozen_layer_changes(data, kind, fuse):
    x, y = data
    model = network(OPTIMIZERS[kind](), fuse)
    model.fit(x, y, verbose=0)
    model.layers[0].trainable = False  # after compile, and after training
    model.layers[3].main[1].trainable = False
    model.layers[5].trainable = False
    before = state(model)
    model.fit(x, y, epochs=2, verbose=0)
    frozen = ("conv2d.", "residual.main.batchnorm.", "dense.")
    still = {name for name in before if name.split(" of ")[-1].startswith(frozen)}
    assert len(still) >= 8
    moved = changed(before, state(model))
    averages = {name for name in before if name.startswith(("average", "raw"))}
    assert not (moved - averages) & still
    assert {name for name in before if "raw" not in name} - still - averages <= moved
    model.trainable = True
    model.fit(x, y, verbose=0)
    assert still & set(model.arrays()) <= changed(before, state(model))


@FUSE
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_frozen_base_is_a_function_and_the_head_learns_on_its_outputs(data, kind, fuse):
    """The right values: the same head trained by itself on what the base makes of the images."""
    x, y = data
    model = network(OPTIMIZERS[kind](), fuse)
    for layer in model.layers[:5]:
        layer.trainable = False
    features = sn.Sequential(copy.deepcopy(model.layers[:5]), (6, 6, 1), fuse=fuse).predict(x)
    head = sn.Sequential(copy.deepcopy(model.layers[5:]), (64,), fuse=fuse)
    head.compile(OPTIMIZERS[kind](), "sparse_categorical_crossentropy", metrics=["accuracy"])
    one = model.fit(x, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    other = head.fit(features, y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    assert one.history["loss"] == pytest.approx(other.history["loss"], rel=1e-4)
    for name, array in head.arrays().items():
        assert model.arrays()[name] == pytest.approx(array, rel=1e-3, abs=1e-5)


@FUSE
def test_a_frozen_batch_norm_runs_as_in_inference(data, fuse):
    x, _ = data
    norm = sn.BatchNorm()
    model = sn.Sequential([norm], (6, 6, 1), fuse=fuse)
    norm.buffers["running_mean"][:] = 3
    norm.trainable = False
    assert np.array_equal(model.forward(x, training=True), model.forward(x))
    assert norm.buffers["running_mean"] == 3 and norm.buffers["running_var"] == 1
    dx = model.backward(np.ones_like(x))
    assert dx == pytest.approx(1 / np.sqrt(1 + norm.epsilon))
    norm.trainable = True
    assert not np.allclose(model.forward(x, training=True), model.forward(x))


def test_clipping_measures_those_that_learn_alone(data):
    x, y = data
    model = network()
    freeze(model, "conv2d", "batchnorm", "residual", "dense")
    model.loss_and_gradients(x, y)
    learn = np.concatenate([g.ravel() for layer in model.layers[7:] for g in layer.grads.values()])
    model.optimizer = sn.SGD(1.0, global_clipnorm=1e-3)
    before = model.layers[7].params["W"].copy()
    model.flat_grads[: model.flat_grads.size - learn.size] = 100  # of a backward by hand
    model.optimizer.step(model)
    wanted = before - model.layers[7].grads["W"] * (1e-3 / np.linalg.norm(learn))
    assert model.layers[7].params["W"] == pytest.approx(wanted, rel=1e-5)


def test_averages_never_move_a_frozen_layer(data):
    x, y = data
    model = network(sn.Adam(0.05, use_ema=True, ema_momentum=0.9))
    model.fit(x, y, verbose=0)  # the model holds the averages now
    shown = model.layers[0].params["W"].copy()
    raw = model.optimizer.memory["raw"][: shown.size].copy()
    assert not np.allclose(raw, shown.ravel())
    model.layers[0].trainable = False
    model.fit(x, y, verbose=0)
    model.optimizer.use_raw(model)
    assert np.array_equal(model.layers[0].params["W"], shown)
    model.optimizer.use_average(model)
    assert np.array_equal(model.layers[0].params["W"], shown)
    model.optimizer.use_raw(model)
    model.layers[5].trainable = False  # with its raw weights: they stay, too
    raw = model.layers[5].params["W"].copy()
    model.fit(x, y, verbose=0)
    assert np.array_equal(model.layers[5].params["W"], raw)


def test_layers_that_are_all_frozen_learn_nothing_and_say_no_error(data, tmp_path):
    x, y = data
    model = network()
    model.trainable = False
    assert not model.trainable
    before = {name: array.copy() for name, array in model.arrays().items()}
    model.fit(x, y, verbose=0, callbacks=[BackupAndRestore(tmp_path), StopOnNaN()])
    assert not changed(before, dict(model.arrays()))
    again = network()
    again.trainable = False
    assert again.fit(
        x, y, verbose=0, callbacks=[BackupAndRestore(tmp_path), StopOnNaN()]
    ).epoch == [0]


# ----------------------------------------------------------------------------- what is not computed


@FUSE
def test_backward_stops_at_the_first_layer_that_learns(data, fuse, monkeypatch):
    x, y = data
    model = network(fuse=fuse)
    freeze(model, "conv2d", "batchnorm", "residual")
    went = []
    model.loss_and_gradients(x, y)
    for group in model.groups() if fuse else model.layers:
        kind, old = type(group), type(group).backward

        def noted(self, dy, *need, old=old):
            went.append((self, need))
            return old(self, dy, *need)

        monkeypatch.setattr(kind, "backward", noted)
    model.flat_grads[:] = 7
    model.loss_and_gradients(x, y)
    layers = [layer.name for at, _ in went for layer in (at.layers if fuse else [at])]
    assert not {"conv2d", "batchnorm", "residual", "flatten"} & set(layers)
    assert {"dense", "dense_1"} <= set(layers)
    if fuse:
        assert went[-1][1] == (False,)  # and no dx there
    assert not any(g.any() for layer in model.layers[:5] for g in layer.grads.values())
    assert model.layers[5].grads["W"].any()


def test_inside_a_residual_backward_stops_too(data, monkeypatch):
    x, y = data
    model = network()
    freeze(model, "conv2d", "batchnorm", "residual")
    model.loss_and_gradients(x, y)
    (block,) = [group for group in model.groups() if "residual" in str(group)]
    if not hasattr(block, "main"):
        pytest.skip("the layers run by themselves without the compiler")
    model.layers[3].main[1].trainable = True
    seen = []

    def noted(group, back):
        def backward(*arguments):
            seen.append(group)
            return back(*arguments)

        return backward

    for group in block.main:
        monkeypatch.setattr(group, "backward", noted(group, group.backward))
    model.loss_and_gradients(x, y)
    assert [group.layers[0].name for group in seen] == ["batchnorm"]


def test_public_backward_leaves_every_gradient(data):
    x, _ = data
    model, free = network(), network()
    freeze(model, "conv2d", "residual")
    found = []
    for at in (model, free):
        at.forward(x)
        found.append((at.backward(np.ones((len(x), 3), np.float32)), at.flat_grads.copy()))
    assert np.array_equal(found[0][0], found[1][0]) and np.array_equal(found[0][1], found[1][1])


def test_the_gradients_of_what_learns_are_checked(data):
    x, y = data
    model = network(dtype="float64")
    freeze(model, "conv2d", "dense")
    report = sn.gradcheck.check_model(model, x[:3].astype(float), y[:3])
    assert report.passed
    names = {check.name for check in report}
    assert "dense_1.W" in names and not {"dense.W", "conv2d.W"} & names


# ---------------------------------------------------------------------------------- who knows of it


def test_it_is_saved_and_loaded(tmp_path):
    model = network()
    freeze(model, "dense")
    model.layers[3].main[0].trainable = False
    model.save(tmp_path / "m.safetensors")
    for again in (sn.load_model(tmp_path / "m.safetensors"), copy.deepcopy(model)):
        leaves = [leaf for layer in again.layers for leaf in layer.leaves()]
        assert [leaf.name for leaf in leaves if not leaf.trainable] == ["conv2d", "dense"]
        assert leaves[0].trainable


def test_a_training_resumes_with_what_was_frozen_on_the_way(data, tmp_path):
    x, y = data

    class Thaws(sn.Callback):
        def on_epoch_begin(self, epoch, logs):
            if epoch == 2:
                self.model.trainable = True

    def trained(folder, crash):
        model = network()
        freeze(model, "conv2d", "residual")
        calls = []

        class Crashes(sn.Callback):
            def on_batch_end(self, batch, logs):
                calls.append(batch)
                if len(calls) == crash:
                    raise KeyboardInterrupt

        callbacks = [Thaws(), Crashes(), BackupAndRestore(folder, save_freq=1)]
        model.fit(x, y, batch_size=16, epochs=4, verbose=0, callbacks=callbacks)
        return model

    whole = trained(tmp_path / "a", None)
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "b", 8)
    again = trained(tmp_path / "b", None)
    assert np.array_equal(again.flat_params, whole.flat_params)
    assert all(leaf.trainable for layer in again.layers for leaf in layer.leaves())
    other = network()
    with pytest.raises(InputError, match="with frozen"):
        callbacks = [Thaws(), sn.Callback(), BackupAndRestore(tmp_path / "a", save_freq=1)]
        callbacks[1].__class__ = type("Crashes", (sn.Callback,), {})
        other.fit(x, y, batch_size=16, epochs=4, verbose=0, callbacks=callbacks)


def test_summary_counts_as_keras_does():
    model = network()
    freeze(model, "conv2d", "dense")
    model.layers[3].main[1].trainable = False
    texts = []
    model.summary(print_fn=texts.append)
    frozen, running = 40 + 325 + 8, 16
    learn = model.count_params() - frozen
    for text in (*texts, model._repr_html_()):
        assert f"trainable {learn:,}, non-trainable {frozen + running:,}" in " ".join(text.split())
        assert "Conv2D 4 3x3 (frozen)" in text and "Dense 5 (frozen)" in text
        assert "Dense 3 (frozen)" not in text


@pytest.mark.parametrize("value", [0, "no", None])
def test_only_true_and_false_are_taken(value):
    with pytest.raises(InputError, match="trainable: expected True or False"):
        sn.Dense(3).trainable = value


@pytest.mark.parametrize("make", [lambda: sn.Dense(3), lambda: sn.Residual([sn.Dense(3)])])
def test_a_mistyped_attribute_is_an_error_that_names_the_right_one(make):
    layer = make()
    with pytest.raises(InputError, match="found 'trainble'; is trainable meant"):
        layer.trainble = False
    sn.Sequential([layer], (3,))
    with pytest.raises(InputError, match="expected an attribute it has"):
        layer.frozen = True
    layer.name, layer._mine = "mine", 1

    class Own(sn.Dense):
        pass

    Own(3).note = "free"
    model = sn.Sequential([sn.Dense(3)])
    model.note, model.losses, model.history = "free", [], None
    for wrong, right in (("trainble", "trainable"), ("metric", "metrics"), ("classnames", "class")):
        with pytest.raises(InputError, match=f"no {wrong!r} to set; is {right}"):
            setattr(model, wrong, False)
