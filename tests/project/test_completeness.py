"""Every kind of layer has everything: what one lacks is listed here by name, with the reason.

A new layer is its file, its registration and its test. This goes through all registered kinds and
asks what the rest of the house knows of each. What is found missing must stand in GAPS; what stands
there and is not missing any more must go.
"""

import inspect
import re

import numpy as np
import pytest
from kinds import EXAMPLES

import scratchnet as sn
from scratchnet.engine import plan
from scratchnet.interop import onnx
from scratchnet.layers.registry import KINDS
from scratchnet.microscope.input_sums import is_spelled_out

#: (kind, what it lacks): why
GAPS = {
    (
        "GaussianNoise",
        "is_read_from_onnx",
    ): "in inference it does nothing, and no operator says more",
    ("ScaledTanh", "is_read_from_onnx"): "goes out as Mul, Tanh, Mul; products alone are not read",
    ("LayerNorm", "names_the_axes_of_its_parameters"): "as many as are normalized together",
    ("Residual", "is_read_from_onnx"): "files of rows of layers are read, not of branches",
}

SECTIONS = ("Shapes", "Forward", "Backward", "Cache", "Source")


def network(kind):
    """The kind's example as a model for its example's input."""
    make, shape = EXAMPLES[kind.__name__]
    return sn.Sequential([make()], shape, dtype="float64")


def traced(kind):
    """A model with the layer in it, which ends in classes, and an example for it."""
    make, shape = EXAMPLES[kind.__name__]
    layer, end = make(), []
    if len(layer.shape_after(shape)) > 1:
        end = [sn.Flatten()]
    model = sn.Sequential([layer, *end, sn.Dense(3), sn.Softmax()], shape)
    return model, np.random.default_rng(0).random(shape)


def has_a_derivation(kind):
    text = inspect.getdoc(kind)
    return all(re.search(rf"^{section} ", text, re.MULTILINE) for section in SECTIONS)


def has_a_line_on_its_gradient(kind):
    return bool(KINDS[kind].gradient)


def runs_in_a_group(kind):
    groups = plan.make(network(kind).layers)
    return not isinstance(groups[0], plan.Single)


def has_its_arithmetic_written_out(kind):
    model, x = traced(kind)
    trace = sn.trace(model, x, label=1)
    name = model.layers[0].name
    at = (0,) * len(model.layers[0].output_shape)
    return trace.explain_output(name, at).sum is not None


def has_its_gradients_written_out(kind):
    model, x = traced(kind)
    trace = sn.trace(model, x, label=1)
    inner = [t for t in trace.layers[:1] if t.params]
    return all(
        trace.explain(f"{t.name}.{key}", (0,) * a.ndim).sum is not None
        for t in inner
        for key, a in t.params.items()
    )


def has_its_dx_written_out(kind):
    make, shape = EXAMPLES[kind.__name__]
    return is_spelled_out(make()) or kind is sn.Residual  # of which the microscope says it


def names_the_axes_of_its_parameters(kind):
    layer = network(kind).layers[0]
    own = {} if layer.inner() else {key: a.ndim for key, a in layer.params.items()}
    return own == {key: len(axes) for key, axes in KINDS[kind].axes.items()}


def is_written_to_onnx(kind):
    return bool(onnx.to_onnx(network(kind)).graph.node)


def is_read_from_onnx(kind):
    model = network(kind)
    again = onnx.from_onnx(onnx.to_onnx(model))
    x = np.random.default_rng(1).random((2, *model.input_shape))
    return np.allclose(again.predict(x), model.predict(x))


def is_drawn_by_name(kind):
    texts = [text.get_text() for text in sn.plots.architecture(traced(kind)[0]).axes[0].texts]
    return any(text.startswith(kind.__name__.replace("2D", "")) for text in texts)


def keeps_what_it_needs_by_keep(kind):
    return "self.keep(" in inspect.getsource(kind.forward)


CHECKS = [
    has_a_derivation,
    has_a_line_on_its_gradient,
    runs_in_a_group,
    has_its_arithmetic_written_out,
    has_its_gradients_written_out,
    has_its_dx_written_out,
    names_the_axes_of_its_parameters,
    is_written_to_onnx,
    is_read_from_onnx,
    is_drawn_by_name,
    keeps_what_it_needs_by_keep,
]


def holds(check, kind):
    try:
        return bool(check(kind))
    except sn.InputError:  # refused by name
        return False


def test_there_is_an_example_of_every_kind():
    ours = {kind.__name__ for kind in KINDS if kind.__module__.startswith("scratchnet.")}
    assert ours == EXAMPLES.keys()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", EXAMPLES)
def test_nothing_is_missing_but_what_is_listed(name, check):
    kind = getattr(sn, name)
    assert holds(check, kind) == ((name, check.__name__) not in GAPS)
