"""Layers, losses, optimizers and schedules of one's own: saved, loaded, and refused by name."""

from dataclasses import dataclass

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError, registering
from scratchnet.layers.registry import KINDS, LAYERS


class Scale(sn.Layer):
    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = factor

    def parameter_shapes(self, input_shape):
        return {"shift": input_shape}

    def forward(self, x, training=False):
        self.check_input(x)
        self.keep(x, ())
        return x * x.dtype.type(self.factor) + self.params["shift"]

    def backward(self, dy):
        self.kept(dy)
        self.grads["shift"][:] = dy.sum(axis=0)
        return dy * dy.dtype.type(self.factor)

    def config(self):
        return {"factor": self.factor}


class Fourth(sn.losses.Loss):
    def __init__(self, weight=1.0):
        super().__init__()
        self.weight = weight

    def forward(self, y_pred, y_true):
        self.cache = y_pred - y_true
        return float(self.weight * (self.cache**4).mean())

    def backward(self):
        difference = self.kept()
        return self.weight * 4 * difference**3 / difference.size

    def config(self):
        return {"weight": self.weight}


class Sign(sn.optimizers.Optimizer):
    def __init__(self, learning_rate=0.01, bend=1.0, **shared):
        super().__init__(learning_rate, **shared)
        self.bend = bend

    def update(self, params, grads, lr):
        last = self._memory("last", params)
        params -= (lr * self.bend * np.sign(grads + 0 * last)).astype(params.dtype)
        last[:] = grads

    def config(self):
        return {**super().config(), "bend": self.bend}


@dataclass(frozen=True)
class Halving(sn.schedules.Schedule):
    rate: float
    every: int = 3

    def __call__(self, step):
        return self.rate / 2 ** (step // self.every)


KIND = (Scale, Fourth, Sign, Halving)
CUSTOM = {kind.__name__: kind for kind in KIND}


@pytest.fixture
def clean():
    """Nothing registered stays so."""
    yield
    for name in [name for name in LAYERS if LAYERS[name] not in KINDS or name in CUSTOM]:
        KINDS.pop(LAYERS.pop(name), None)
    for own in registering.OWN.values():
        own.clear()


@pytest.fixture
def saved(clean, tmp_path, rng):
    """A trained model of all four kinds, its file, and examples."""
    for kind in KIND:
        assert sn.register(kind) is kind
    block = sn.Residual([Scale(0.5), sn.Dense(3)])
    model = sn.Sequential([Scale(3.0), block, sn.Dense(2)], (3,))
    model.compile(Sign(Halving(0.1, 5), bend=0.5), Fourth(2.0))
    x = rng.random((12, 3), dtype=np.float32)
    model.fit(x, rng.random((12, 2)), verbose=0)
    model.save(tmp_path / "own.safetensors")
    return model, tmp_path / "own.safetensors", x


def check(again, model, x):
    assert np.array_equal(again.predict(x), model.predict(x))
    assert [type(layer) for layer in again.layers] == [Scale, sn.Residual, sn.Dense]
    assert again.layers[0].factor == 3 and again.layers[1].main[0].factor == 0.5
    assert type(again.loss) is Fourth and again.loss.weight == 2
    assert type(again.optimizer) is Sign and again.optimizer.bend == 0.5
    assert again.optimizer.learning_rate(7) == pytest.approx(0.05)
    again.fit(x, np.zeros((12, 2)), verbose=0)


def test_registered_kinds_are_saved_and_loaded(saved):
    model, path, x = saved
    check(sn.load_model(path), model, x)


def test_kinds_by_name_are_for_one_load(saved):
    model, path, x = saved
    KINDS.pop(LAYERS.pop("Scale"))
    for own in registering.OWN.values():
        own.clear()
    check(sn.load_model(path, custom=CUSTOM), model, x)
    for left_out in CUSTOM:
        rest = {name: kind for name, kind in CUSTOM.items() if name != left_out}
        with pytest.raises(InputError) as caught:
            sn.load_model(path, custom=rest)
        text = str(caught.value)
        assert f"'{left_out}'" in text and "@sn.register" in text
        assert f'load_model(path, custom={{"{left_out}": {left_out}}})' in text
    with pytest.raises(InputError, match="'Scale'"):
        sn.load_model(path)


def test_a_training_with_them_goes_on_with_the_same_bits(clean, tmp_path, rng):
    x, y = rng.random((12, 3), dtype=np.float32), rng.random((12, 2))

    def trained(epochs, folder):
        model = sn.Sequential([Scale(), sn.Dense(2)], (3,))
        model.compile(Sign(Halving(0.1)), Fourth())
        back = sn.callbacks.BackupAndRestore(folder)
        model.fit(x, y, batch_size=4, epochs=epochs, verbose=0, callbacks=[back])
        return model.flat_params

    whole = trained(4, tmp_path / "a")
    trained(2, tmp_path / "b")
    assert np.array_equal(trained(4, tmp_path / "b"), whole)


@pytest.mark.parametrize("what", ["layer", "loss", "optimizer", "schedule"])
def test_what_is_not_registered_is_not_saved_and_the_remedy_named(clean, what, tmp_path):
    parts = {
        "layer": (Scale(), "sgd", "mse"),
        "loss": (sn.ReLU(), "sgd", Fourth()),
        "optimizer": (sn.ReLU(), Sign(), "mse"),
        "schedule": (sn.ReLU(), sn.SGD(Halving(0.1)), "mse"),
    }
    layer, optimizer, loss = parts[what]
    model = sn.Sequential([layer], (3,))
    model.compile(optimizer, loss)
    with pytest.raises(InputError, match="@sn.register"):
        model.save(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def test_what_config_leaves_out_is_found_when_saving(clean, tmp_path):
    @sn.register
    class Forgets(sn.ReLU):
        def __init__(self, slope=0.5):
            super().__init__()
            self.slope = slope

    @sn.register()
    class Inherits(sn.Dense):
        def __init__(self, width):
            super().__init__(width)

    @sn.register(pointwise=True)
    class Odd(sn.ReLU):
        def config(self):
            return {"what": object()}

    for layer, words in (
        (Forgets(), r"Forgets.config\(\) to return the constructor's arguments, slope, found none"),
        (Inherits(3), "arguments, width, found kernel_initializer, units, use_bias"),
        (Odd(), "values that JSON knows"),
    ):
        with pytest.raises(InputError, match=words):
            sn.Sequential([layer], (3,)).save(tmp_path / "m")
        del LAYERS[type(layer).__name__]


def test_names_are_taken_once_and_again_by_the_same_cell(clean):
    for taken in ("Dense", "SGD"):
        other = type(taken, (getattr(sn, taken),), {})
        if taken == "SGD":
            continue
        with pytest.raises(InputError, match=f"another name than {taken}"):
            sn.register(other)
    first, second = (type("Cell", (sn.ReLU,), {"__module__": "__main__"}) for _ in "ab")
    assert sn.register(first) is first and sn.register(second) is second
    assert LAYERS["Cell"] is second and first not in KINDS
    other = type("Cell", (sn.ReLU,), {"__module__": "elsewhere"})
    with pytest.raises(InputError, match="another name than Cell"):
        sn.register(other)
    del LAYERS["Cell"], KINDS[second]


@pytest.mark.parametrize("what", [3, dict, lambda: None, sn.Dense(2)])
def test_only_the_four_kinds_are_registered(what):
    with pytest.raises(InputError, match="register: expected a"):
        sn.register(what)
    with pytest.raises(InputError, match="nothing but the loss"):
        sn.register(formula="{x}")(Fourth)


@pytest.mark.parametrize("custom", [[Scale], {"Scale": Scale()}, {"x": dict}, {3: Scale}])
def test_custom_is_classes_by_name(custom, tmp_path):
    with pytest.raises(InputError, match="custom: expected classes by name"):
        sn.load_model(tmp_path / "none", custom=custom)
    with pytest.raises(InputError, match="another name than Dense"):
        sn.load_model(tmp_path / "none", custom={"Dense": Scale})


def test_a_registered_layer_carries_what_is_known_of_it(clean):
    sn.register(formula="{x} * factor", pointwise=True)(Scale)
    assert KINDS[Scale].pointwise and KINDS[Scale].formula == "{x} * factor"
