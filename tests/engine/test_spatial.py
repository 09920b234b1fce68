"""Groups for padding, enlarging, reshaping and other windows: memory, threads, one image."""

import tracemalloc

import numba
import numpy as np
import pytest
from spatial import ROWS

import scratchnet as sn
from scratchnet.engine import plan
from scratchnet.engine.threads import compiles

every_row = pytest.mark.parametrize("make, shape", ROWS.values(), ids=ROWS)


def passes(model, x, dy):
    y = model.forward(x, training=True)
    return [y.copy(), model.backward(dy).copy(), model.flat_grads.copy()]


def step(groups, y, dy):
    for group in groups:
        y = group.forward(y, True)
    for group in reversed(groups):
        dy = group.backward(dy, True)


@every_row
@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 2e-5)])
def test_a_row_in_groups_equals_its_layers(make, shape, dtype, tolerance, rng):
    model = sn.Sequential(make(), shape, seed=1, dtype=dtype)
    assert not any(isinstance(group, plan.Single) for group in plan.make(model.layers))
    for n in (9, 1, 4, 0):
        x, dy = (rng.standard_normal((n, *s)).astype(dtype) for s in (shape, model.output_shape))
        model.fuse = True
        fused = passes(model, x, dy)
        again = passes(model, x, dy)
        model.fuse = False
        for one, two, right in zip(fused, again, passes(model, x, dy), strict=True):
            np.testing.assert_array_equal(one, two)
            assert one.dtype == right.dtype
            scale = max(1.0, float(np.abs(right).max(initial=0)))
            np.testing.assert_allclose(one, right, rtol=0, atol=tolerance * scale)


@every_row
@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "by itself"])
def test_the_same_bits_for_one_and_two_threads(make, shape, fuse, rng):
    x = rng.standard_normal((11, *shape)).astype(np.float32)
    found = []
    for threads in (1, 2):
        numba.set_num_threads(threads)
        model = sn.Sequential(make(), shape, seed=1, fuse=fuse)
        dy = np.random.default_rng(2).standard_normal((11, *model.output_shape))
        found.append([a.tobytes() for a in passes(model, x, dy.astype(np.float32))])
    assert found[0] == found[1]


@pytest.mark.skipif(not compiles(), reason="needs the compiler")
@every_row
def test_a_step_allocates_no_arrays(make, shape, rng):
    """Images large enough that one of them would be seen."""
    shape = tuple(4 * size for size in shape[:2]) + shape[2:]
    model, n = sn.Sequential(make(), shape), 128
    x = rng.standard_normal((n, *shape)).astype(np.float32)
    dy = rng.standard_normal((n, *model.output_shape)).astype(np.float32)
    groups = plan.make(model.layers)
    for _ in range(2):
        step(groups, x, dy)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        step(groups, x, dy)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < x.nbytes / 4


@pytest.mark.skipif(not compiles(), reason="needs the compiler")
@every_row
def test_one_image_prepared_is_the_same_image(make, shape, rng):
    model = sn.Sequential(make(), shape, seed=3)
    x = rng.standard_normal((4, *shape)).astype(np.float32)
    expected = model.predict(x)
    model.prepare()
    for number, image in enumerate(x):
        found = model.predict(image[None])
        np.testing.assert_allclose(found[0], expected[number], rtol=1e-5, atol=1e-6)
