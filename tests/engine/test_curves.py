"""Groups of activations: the same bits always, in one pass, in memory that is kept."""

import tracemalloc

import numba
import numpy as np
import pytest
from grouped import built, run

import scratchnet as sn
from scratchnet import kernels
from scratchnet.engine import curves, plan
from scratchnet.engine.threads import compiles

needs_compiler = pytest.mark.skipif(
    not compiles() or kernels.backend() != "numba", reason="needs compiled kernels"
)


def every_one():
    return [
        *(sn.Tanh(), sn.ELU(0.5), sn.GELU(), sn.SiLU(), sn.GELU("tanh"), sn.Softplus()),
        *(sn.LogSoftmax(), sn.Sigmoid()),
    ]


def test_every_curve_has_a_loop_of_its_own():
    """The cache of compiled loops knows them by their names."""
    found = [loops(layer) for layer in every_one() if type(layer) in curves.CURVES]
    names = [getattr(loop, "py_func", loop).__qualname__ for pair in found for loop in pair]
    assert len(names) == len(set(names)) == 2 * 7


def loops(layer):
    return curves.CURVES[type(layer)](layer)[0][:2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_for_one_and_two_threads(rng, dtype):
    before, found = numba.get_num_threads(), []
    layers, shape = built(every_one(), (7, 5, 3), rng, dtype)
    x = (3 * rng.standard_normal((11, 7, 5, 3))).astype(dtype)
    dy = rng.standard_normal((11, *shape)).astype(dtype)
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            found.append([a.tobytes() for a in run(plan.make(layers), x, dy)])
    finally:
        numba.set_num_threads(before)
    assert found[0] == found[1]


@needs_compiler
def test_one_image_is_predicted_with_the_same_bits(rng):
    layers = [
        sn.Conv2D(4, 3),
        sn.LayerNorm(),
        *every_one(),
        sn.Flatten(),
        sn.Dense(3),
        sn.LogSoftmax(),
    ]
    model = sn.Sequential(layers, (6, 6, 1), seed=1)
    model.prepare()
    for x in rng.random((3, 1, 6, 6, 1)):
        np.testing.assert_array_equal(model.predict(x), model.forward(x))
    assert len(model._runner.one_image.segments) == 1


@needs_compiler
def test_a_step_allocates_no_arrays(rng):
    layers = [sn.Dense(500), sn.LayerNorm(), *every_one(), sn.Dense(3)]
    model = sn.Sequential(layers, (64,), seed=1)
    model.compile("adam", "mse")
    x, y = rng.random((32, 64)).astype(np.float32), rng.random((32, 3)).astype(np.float32)
    for _ in range(2):
        model.train_on_batch(x, y)
    tracemalloc.start()
    try:
        model.train_on_batch(x, y)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        model.train_on_batch(x, y)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 16_384  # the outputs of one activation are 64,000


def test_the_plan_shows_them(capsys):
    sn.Sequential([sn.Dense(3), sn.GELU()], (4,)).plan()
    assert "gelu: fused, one pass" in capsys.readouterr().out
