"""The microscope on padding, enlarging, reshaping and windows of other kinds."""

import numpy as np
import pytest
from hypothesis import given, settings
from spatial import ROWS
from strategies import GENERATORS

import scratchnet as sn
from scratchnet.microscope import heat_maps

every_row = pytest.mark.parametrize("make, shape", ROWS.values(), ids=ROWS)


def traced(make, shape, rng):
    layers = make()
    end = [] if isinstance(layers[-1], sn.Dense) else [sn.Flatten(), sn.Dense(4)]
    model = sn.Sequential([*layers, *end, sn.Softmax()], shape, dtype="float64", fuse=False)
    for array in model.arrays().values():
        array[:] = rng.uniform(0.3, 1, array.shape)
    model.flat_params[:] *= rng.choice([-1, 1], model.flat_params.size)
    return sn.trace(model, rng.uniform(0, 1, shape), 2)


@every_row
@settings(max_examples=5)  # of each row of layers
@given(rng=GENERATORS)
def test_every_output_is_its_sum(make, shape, rng):
    trace = traced(make, shape, rng)
    for layer in trace.layers:
        index = tuple(int(rng.integers(size)) for size in layer.output.shape)
        explained = trace.explain_output(layer.name, index)
        assert explained.value == layer.output[index]
        assert explained.sum.total == pytest.approx(explained.value, rel=1e-9, abs=1e-12)
        assert explained.sum.text() and explained.sum.grid("x").size
        for term in explained.sum.terms:
            if term.source is not None:
                assert term.x == layer.input[term.source]


@every_row
@settings(max_examples=5)  # of each row of layers
@given(rng=GENERATORS)
def test_every_gradient_is_its_sum_and_its_numeric_derivative(make, shape, rng):
    trace = traced(make, shape, rng)
    for name, gradient in trace.gradients.items():
        index = tuple(int(rng.integers(size)) for size in gradient.shape)
        explained = trace.explain(name, index)
        assert explained.gradient == gradient[index]
        largest = max(np.abs(gradient).max(), 1e-3)
        assert explained.sum.total == pytest.approx(explained.gradient, abs=1e-12 * largest)
        if not explained.kink:
            assert explained.numeric == pytest.approx(explained.gradient, abs=2e-6 * largest)


#: layers after which every pixel of a map is a mean over pixels of the image, none of them padding
LOOKING = {
    "framed": lambda: [sn.ZeroPadding2D(((3, 0), (1, 2))), sn.Conv2D(1, 3)],
    "gaps": lambda: [sn.Conv2D(1, (3, 2), 2, ((2, 0), (0, 1)), dilation_rate=(2, 3))],
    "depthwise": lambda: [sn.DepthwiseConv2D(3, 2, ((1, 0), (0, 1)), 1, False)],
    "transposed": lambda: [sn.AveragePool2D(2), sn.Conv2DTranspose(1, 4, 2, ((1, 1), (0, 2)))],
    "enlarged": lambda: [sn.AveragePool2D(2), sn.UpSampling2D(2, "bilinear"), sn.Conv2D(1, 1)],
}


@pytest.mark.parametrize("make", LOOKING.values(), ids=LOOKING)
def test_a_map_lies_over_what_its_pixels_see(make):
    """The mean place of the pixels that a map's depend on, by their gradients.

    Of two by two: next to each other they see unevenly where an image was made larger.
    """
    size = 16
    model = sn.Sequential(make(), (size, size, 1), dtype="float64")
    for layer in model.layers:
        for key, array in layer.params.items():
            array[:] = 1 if key == "W" else 0
    h, w, _ = model.output_shape
    model.forward(np.ones((1, size, size, 1)))
    for at in [(h // 2, w // 2), (h // 2 - 1, w // 2 + 1)]:
        dy = np.zeros((1, h, w, 1))
        dy[0, at[0] : at[0] + 2, at[1] : at[1] + 2] = 1
        seen = np.abs(model.backward(dy)[0, ..., 0])
        for axis in (0, 1):
            weights = seen.sum(axis=1 - axis) / seen.sum()
            centres = heat_maps._centres(model, len(model.layers), axis)[at[axis] + 1 :][:2]
            assert centres.mean() == pytest.approx(np.arange(size) @ weights, abs=0.01)
