"""Adding a layer, as CONTRIBUTING.md says: with its registration the rest of the house works.

The layer is in a module that exists for this test alone. It comes without a kernel, so it shows
what a layer falls back to.
"""

import importlib.util
import sys

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.engine import plan, threads
from scratchnet.interop import onnx
from scratchnet.layers.registry import KINDS, LAYERS

SOURCE = '''
"""Shifted: a learnt shift of every feature, and a kink of one's own."""

import numpy as np

from scratchnet.layers import Layer, register


@register(gradient="db = sum dy where x + b > 0, slope * dy elsewhere")
class Shifted(Layer):
    """y = z where z = x + b > 0, slope * z elsewhere."""

    def __init__(self, slope=0.25):
        super().__init__()
        self.slope = slope

    def parameter_shapes(self, input_shape):
        return {"b": input_shape[-1:]}

    def forward(self, x, training=False):
        self.check_input(x)
        z = x + self.params["b"]  # (n, ..., c)
        passes = np.where(z > 0, 1, self.slope).astype(x.dtype)
        self.keep(x, passes)
        return z * passes

    def backward(self, dy):
        dx = dy * self.kept(dy)
        self.grads["b"][:] = dx.sum(axis=tuple(range(dx.ndim - 1)))
        return dx

    def config(self):
        return {"slope": self.slope}
'''


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """The layer's class, registered while the tests of this file run."""
    path = tmp_path_factory.mktemp("layer") / "shifted.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("shifted", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["shifted"] = module
    spec.loader.exec_module(module)
    yield module.Shifted
    del KINDS[module.Shifted], LAYERS["Shifted"], sys.modules["shifted"]


def network(shifted, fuse=True, dtype="float32"):
    layers = [sn.Conv2D(4, 3), shifted(0.5), sn.MaxPool2D(2), sn.Flatten(), shifted(), sn.Dense(3)]
    return sn.Sequential([*layers, sn.Softmax()], (8, 8, 1), seed=1, fuse=fuse, dtype=dtype)


def trained(shifted, **how):
    rng = np.random.default_rng(0)
    x, y = rng.random((60, 8, 8, 1)), rng.integers(0, 3, 60)
    model = network(shifted, **how)
    model.compile(sn.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    history = model.fit(x, y, epochs=3, batch_size=20, verbose=0)
    return model, x, history.history["loss"]


def test_it_learns_is_saved_and_loaded(shifted, tmp_path):
    model, x, losses = trained(shifted)
    assert losses[-1] < losses[0] and np.any(model.layers[1].params["b"])
    model.save(tmp_path / "model.safetensors")
    again = sn.load_model(tmp_path / "model.safetensors")
    assert type(again.layers[1]) is shifted and again.layers[1].slope == 0.5
    assert np.array_equal(again.predict(x), model.predict(x))


def test_a_single_image_is_predicted_as_in_a_batch(shifted):
    model, x, _ = trained(shifted)
    model.prepare()
    assert np.array_equal(model.predict(x[:1]), model.forward(x[:1]))


def test_fused_groups_around_it_change_nothing(shifted):
    (one, x, losses), (other, _, expected) = (trained(shifted, fuse=f) for f in (True, False))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    np.testing.assert_allclose(one.predict(x), other.predict(x), rtol=1e-4)


def test_the_same_bits_for_any_number_of_threads(shifted):
    numba = pytest.importorskip("numba")
    before, found = numba.get_num_threads(), []
    try:
        for number in (1, 2):
            threads.set_threads(number)
            found.append(trained(shifted)[0].flat_params.tobytes())
    finally:
        threads.set_threads(before)
    assert found[0] == found[1]


def test_of_an_unknown_layer_blas_is_held_to_one_thread(shifted):
    groups = plan.make(network(shifted).layers)
    assert [g.uses_blas for g in groups] == [type(g.layers[0]) is shifted for g in groups]


def test_its_gradient_is_checked(shifted):
    layer = shifted()
    layer.build((5,), np.random.default_rng(0), np.float64)
    rng = np.random.default_rng(1)
    assert sn.gradcheck.check_layer(layer, rng.normal(size=(4, 5)), rng=rng).passed


def test_it_is_traced_explained_drawn_and_listed(shifted, capsys):
    model, x, _ = trained(shifted)
    trace = sn.trace(model, x[0], label=1)
    assert "Shifted" in trace.table()
    found = trace.explain("shifted.b", (2,))
    assert found.gradient == pytest.approx(found.numeric, rel=1e-6, abs=1e-9)
    assert "Shifted" in str(trace.explain_output("shifted", (0, 0, 0)))
    assert sn.plots.architecture(model).axes
    model.summary()
    model.plan()
    assert capsys.readouterr().out.count("hifted") >= 4


def test_what_does_not_know_it_says_so_by_name(shifted):
    with pytest.raises(sn.InputError, match="Shifted"):
        onnx.to_onnx(network(shifted))
