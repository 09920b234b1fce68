"""Augmentation: what it does to an image, its bounds, its bits, and training with it."""

import inspect
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from backends import AUGMENTING, compiled, reference
from figures import check_text_layout, strings
from hypothesis import given
from hypothesis import strategies as st
from strategies import BATCHES, GENERATORS

import scratchnet as sn
from scratchnet import kernels, plots
from scratchnet.datasets.augmentation import PRESETS, Augmentation, inverse_maps, smooth, warp

EVERYTHING = Augmentation(15, 2, 0.12, 0.2, elastic=34, erase=0.5)
DTYPES = [np.uint8, np.float32, np.float64]
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def images(rng, *shape, dtype=np.uint8):
    x = rng.integers(0, 256, shape)
    return x.astype(dtype) if dtype == np.uint8 else (x / 255).astype(dtype)


def warped(x, degrees=0.0, shift=(0.0, 0.0), scale=1.0, shear=0.0):
    """All images (n, h, w, c) through the same map."""
    n, h, w, _ = x.shape
    each = [np.full(n, value) for value in (degrees, scale, shear)]
    maps = inverse_maps((h, w), each[0], np.tile(shift, (n, 1)), *each[1:])
    return warp(x, maps)


def hat_sum(x, maps, field):
    """Bilinear interpolation as a sum over all pixels: each counts by its distance, up to 1."""
    n, h, w, _ = x.shape
    i, j = np.mgrid[:h, :w]
    at = np.einsum("nrk,kij->nijr", maps.astype(float), [i, j, np.ones((h, w))]) + field
    down = np.maximum(0, 1 - abs(at[..., 0, None] - np.arange(h)))  # (n, i, j, source row)
    right = np.maximum(0, 1 - abs(at[..., 1, None] - np.arange(w)))
    return np.einsum("nijp,nijq,npqc->nijc", down, right, x.astype(float))


@st.composite
def warps(draw):
    """Arguments of `warp`: images of any dtype, maps that keep some of them in view, a field."""
    rng, n = draw(GENERATORS), draw(BATCHES)
    h, w, c = (draw(st.integers(1, most)) for most in (9, 9, 3))
    x = images(rng, n, h, w, c, dtype=draw(st.sampled_from(DTYPES)))
    uniform = rng.uniform(-1, 1, (5, n))
    shift = 4 * uniform[1:3].T
    maps = inverse_maps((h, w), 180 * uniform[0], shift, 1 + 0.7 * uniform[3], uniform[4])
    field = rng.normal(0, 2, (n, h, w, 2)).astype(np.float32)
    return x, maps, field


# ---- kernels -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", AUGMENTING)
def test_both_backends_have_the_kernel_with_the_same_parameters(name):
    found = [inspect.signature(getattr(module, name)) for module in (compiled, reference)]
    assert found[0].parameters.keys() == found[1].parameters.keys()


@given(arguments=warps(), bent=st.booleans())
def test_compiled_warp_is_the_reference_bit_for_bit(arguments, bent):
    x, maps, field = arguments
    field = field if bent else None
    found, expected = compiled.warp(x, maps, field), reference.warp(x, maps, field)
    assert found.dtype == expected.dtype == x.dtype and found.shape == x.shape
    np.testing.assert_array_equal(found, expected)


@given(arguments=warps())
def test_warp_is_bilinear_interpolation(backend, arguments):
    x, maps, field = arguments
    expected = hat_sum(*arguments)
    tolerance = 0.51 if x.dtype == np.uint8 else 1e-4  # rounded; positions are float32
    np.testing.assert_allclose(warp(*arguments), expected, rtol=0, atol=tolerance)


@given(n=BATCHES, h=st.integers(1, 9), w=st.integers(1, 9), r=st.integers(0, 12), rng=GENERATORS)
def test_smooth_convolves_both_ways(backend, n, h, w, r, rng):
    noise = rng.integers(0, 256, (n, h, w, 2), np.uint8)
    half = rng.random(r + 1)
    taps = np.concatenate([half[:0:-1], half]).astype(np.float32)
    found = smooth(noise, taps)

    def along(axis, a):
        return np.apply_along_axis(lambda line: np.convolve(line, taps)[r : r + len(line)], axis, a)

    values = noise / 127.5 - 1
    expected = along(2, along(1, values)) if n else values
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@every_dtype
def test_identity_and_whole_pixels_are_exact(backend, rng, dtype):
    x = images(rng, 3, 11, 8, 2, dtype=dtype)
    np.testing.assert_array_equal(warped(x), x)
    for down, right in [(2, 0), (0, -3), (-1, 4), (10, 0), (11, 8), (99, 0)]:
        margins = np.pad(x, ((0, 0), (100, 100), (100, 100), (0, 0)))
        expected = margins[:, 100 - down : 111 - down, 100 - right : 108 - right]
        np.testing.assert_array_equal(warped(x, shift=(down, right)), expected)


@every_dtype
@pytest.mark.parametrize("size", [1, 2, 9, 28])
@pytest.mark.parametrize("turns", [-2, -1, 0, 1, 2])
def test_quarter_turns_are_exact_and_counter_clockwise(backend, rng, dtype, size, turns):
    x = images(rng, 2, size, size, 1, dtype=dtype)
    np.testing.assert_array_equal(warped(x, 90 * turns), np.rot90(x, turns, axes=(1, 2)))


@given(rng=GENERATORS, h=st.integers(1, 40), w=st.integers(1, 40))
def test_inverse_maps_undo_what_their_docstring_says(rng, h, w):
    degrees, scale, shear = rng.uniform([-180, 0.5, -1], [180, 1.5, 1])
    shift, centre, q = rng.uniform(-9, 9, 2), np.array([h - 1, w - 1]) / 2, rng.uniform(0, 40, 2)
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    forward = scale * np.array([[cos, -sin], [sin, cos]]) @ np.array([[1, 0], [shear, 1]])
    (back,) = inverse_maps((h, w), [degrees], [shift], [scale], [shear])
    p = back.astype(float) @ [*q, 1]
    np.testing.assert_allclose(forward @ (p - centre) + shift + centre, q, atol=1e-3)


def test_without_the_jit_the_loops_give_the_same(tmp_path, rng):
    x, path = images(rng, 3, 7, 6, 2), tmp_path / "found"
    code = """if True:
        import pickle, sys, types
        import numpy as np
        from scratchnet.datasets.augmentation import Augmentation
        from scratchnet.engine import augment
        assert isinstance(augment._warp, types.FunctionType), "the JIT is on"
        x, how = pickle.load(sys.stdin.buffer)
        pickle.dump(Augmentation(**how)(x, np.random.default_rng(5)), open(sys.argv[1], "wb"))"""
    how = {"rotation": 30, "shift": 1, "elastic": 20, "erase": 0.5}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(path)],
        input=pickle.dumps((x, how)),
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    expected = Augmentation(**how)(x, np.random.default_rng(5))
    np.testing.assert_array_equal(pickle.loads(path.read_bytes()), expected)


# ---- what an Augmentation does -------------------------------------------------------------------


@every_dtype
def test_nothing_asked_for_is_the_same_bits_in_another_array(rng, dtype):
    x = images(rng, 5, 9, 7, dtype=dtype)
    y = Augmentation()(x, rng)
    assert y.dtype == dtype and not np.shares_memory(x, y)
    np.testing.assert_array_equal(y, x)


def spot(down, right, n=300):
    """A smooth spot so far from the centre of 61 x 61 pixels."""
    i, j = np.mgrid[-30:31, -30:31]
    one = np.exp(-((i - down) ** 2 + (j - right) ** 2) / 8)
    return np.repeat(one[None], n, axis=0)


def places(y):
    """Where the spot's centre of mass is, from the images' centre: rows and columns."""
    i, j = np.mgrid[-30:31, -30:31]
    mass = y.sum(axis=(1, 2))
    return (y * i).sum(axis=(1, 2)) / mass, (y * j).sum(axis=(1, 2)) / mass


def assert_fills(values, least, most):
    """Nothing outside, and the draws reach nearly to both bounds."""
    slack = 0.05 * (most - least)
    assert least - 0.02 * (most - least) <= values.min() < least + slack
    assert most + 0.02 * (most - least) >= values.max() > most - slack


def test_rotation_turns_by_up_to_so_many_degrees(rng):
    down, right = places(Augmentation(rotation=15)(spot(0, 20), rng))
    assert_fills(np.rad2deg(np.arctan2(-down, right)), -15, 15)
    np.testing.assert_allclose(np.hypot(down, right), 20, atol=0.1)


def test_shift_moves_by_up_to_so_many_pixels_each_way(rng):
    down, right = places(Augmentation(shift=3)(spot(0, 0), rng))
    assert_fills(down, -3, 3)
    assert_fills(right, -3, 3)
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.2


def test_scale_is_a_fraction_of_the_distance_from_the_centre(rng):
    down, right = places(Augmentation(scale=0.2)(spot(10, 10), rng))
    assert_fills(down / 10, 0.8, 1.2)
    np.testing.assert_allclose(down, right, atol=0.05)


def test_shear_moves_rows_sideways_in_proportion(rng):
    down, right = places(Augmentation(shear=0.3)(spot(20, 0), rng))
    assert_fills(right / 20, -0.3, 0.3)
    np.testing.assert_allclose(down, 20, atol=0.1)


def test_elastic_moves_pixels_by_as_much_as_the_docstring_says():
    """A ramp tells how far each pixel came: its value is the column it came from."""
    x = np.tile(np.arange(57.0), (400, 57, 1))
    moved = Augmentation(elastic=34)(x, np.random.default_rng(0))[:, 28, 28] - 28
    assert moved.std() == pytest.approx(1.4, abs=0.15)
    assert abs(moved.mean()) < 0.2
    neighbours = Augmentation(elastic=34)(x, np.random.default_rng(0))[:, 28, 29] - 29
    assert np.corrcoef(moved, neighbours)[0, 1] > 0.9


@pytest.mark.parametrize("shape", [(28, 28), (10, 40, 3), (33, 6)])
@pytest.mark.parametrize("bounds", [(0.02, 0.2), (0.1, 0.5), (1.0, 1.0)])
def test_erase_blanks_one_rectangle_of_an_area_within_bounds(shape, bounds):
    x = np.ones((500, *shape), np.float32)
    y = Augmentation(erase=0.4, erase_area=bounds)(x, np.random.default_rng(3))
    erased = (y.reshape(500, *shape[:2], -1) == 0).all(axis=3)
    assert ((y == 0) | (y == 1)).all()
    hit = erased.any(axis=(1, 2))
    assert 0.3 < hit.mean() < 0.5
    h, w = shape[:2]
    for one in erased[hit]:
        rows, columns = one.any(axis=1), one.any(axis=0)
        assert one.sum() == rows.sum() * columns.sum()  # a full rectangle
        assert np.ptp(np.flatnonzero(rows)) == rows.sum() - 1
        assert np.ptp(np.flatnonzero(columns)) == columns.sum() - 1
        slack = max(h, w) / 2 / (h * w)  # whole pixels
        assert bounds[0] - slack <= one.mean() <= bounds[1] + slack


def test_erased_rectangles_reach_every_pixel():
    x = np.ones((3000, 12, 12), np.float32)
    y = Augmentation(erase=1)(x, np.random.default_rng(0))
    assert (y == 0).any(axis=0).all()


# ---- bits, dtypes, layouts -----------------------------------------------------------------------


def test_same_seed_same_bits_and_other_draws_every_time(rng):
    x = images(rng, 20, 28, 28)
    one, two = np.random.default_rng(7), np.random.default_rng(7)
    first = EVERYTHING(x, one)
    np.testing.assert_array_equal(first, EVERYTHING(x, two))
    assert (first != EVERYTHING(x, one)).any()
    assert len({image.tobytes() for image in EVERYTHING(np.repeat(x[:1], 20, axis=0), one)}) == 20


@every_dtype
def test_same_bits_for_one_thread_and_two(rng, dtype):
    import numba

    x, before, found = images(rng, 50, 28, 28, dtype=dtype), numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            kernels.set_threads(threads)
            found.append(EVERYTHING(x, np.random.default_rng(1)).tobytes())
    finally:
        numba.set_num_threads(before)
    assert found[0] == found[1]


@every_dtype
@pytest.mark.parametrize(
    "shape", [(4, 28, 28), (4, 28, 28, 1), (3, 16, 20, 3), (1, 1, 1), (2, 1, 9)]
)
def test_dtype_shape_and_layout(backend, rng, dtype, shape):
    x = images(rng, *shape, dtype=dtype)
    expected = EVERYTHING(x, np.random.default_rng(2))
    assert expected.dtype == dtype and expected.shape == shape
    locked = x.copy()
    locked.setflags(write=False)
    spread = np.repeat(x, 2, axis=2)[:, :, ::2]
    for other in (locked, spread, np.asfortranarray(x)):
        np.testing.assert_array_equal(EVERYTHING(other, np.random.default_rng(2)), expected)
        np.testing.assert_array_equal(other, x)


def test_both_backends_give_nearly_the_same(rng):
    x, found = images(rng, 9, 28, 28, dtype=np.float64), []
    for name in ("reference", "numba"):
        with sn.use_backend(name):
            found.append(EVERYTHING(x, np.random.default_rng(3)))
    np.testing.assert_allclose(*found, rtol=0, atol=1e-4)


def test_an_empty_batch_stays_one(rng):
    assert EVERYTHING(np.zeros((0, 28, 28), np.uint8), rng).shape == (0, 28, 28)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"rotation": -1}, "rotation.*at least 0.*-1"),
        ({"rotation": 181}, "rotation.*at most 180.*181"),
        ({"shift": "two"}, "shift.*'two'"),
        ({"shift": float("inf")}, "shift.*inf"),
        ({"scale": 1}, "scale.*below 1.*1"),
        ({"shear": float("nan")}, "shear.*nan"),
        ({"elastic": -34}, "elastic.*-34"),
        ({"sigma": 0}, "sigma.*above 0.*0"),
        ({"erase": 1.5}, "erase.*at most 1.*1.5"),
        ({"erase_area": 0.2}, "erase_area.*two fractions.*0.2"),
        ({"erase_area": (0, 0.2)}, "erase_area.*above 0.*0"),
        ({"erase_area": (0.3, 0.2)}, "erase_area.*at least 0.3.*0.2"),
    ],
)
def test_values_out_of_bounds_are_named(how, words):
    with pytest.raises(sn.InputError, match=words):
        Augmentation(**how)


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((5, 784), np.uint8), r"\(5, 784\) of uint8"),
        (np.zeros((5, 8, 8), int), r"\(5, 8, 8\) of int64"),
        (np.zeros((28, 28)), r"\(28, 28\) of float64"),
    ],
)
def test_what_is_no_batch_of_images_is_named(rng, x, words):
    with pytest.raises(sn.InputError, match=words):
        Augmentation(shift=1)(x, rng)


def test_a_seed_is_no_generator():
    with pytest.raises(sn.InputError, match="rng.*Generator.*7"):
        Augmentation(shift=1)(np.zeros((1, 8, 8)), 7)


def test_presets_and_their_text():
    assert set(PRESETS) == {"affine", "elastic", "erase"}
    assert repr(PRESETS["affine"]()) == "Augmentation(rotation=15, shift=2, scale=0.12, shear=0.2)"
    assert eval(repr(EVERYTHING)) == EVERYTHING


# ---- training ------------------------------------------------------------------------------------


def model_of(seed=0):
    model = sn.Sequential([sn.Flatten(), sn.Dense(10), sn.Softmax()], (28, 28, 1), seed=seed)
    model.compile(sn.Adam(0.01), "sparse_categorical_crossentropy", ["accuracy"])
    return model


@pytest.fixture(scope="module")
def digits():
    x, y = sn.datasets.mnist.load_data()[0]
    return x[:600], y[:600]


def test_fit_hands_over_each_batch_as_it_is_in_x_with_the_models_own_stream(digits):
    model, seen = model_of(), []

    def augment(x, rng):
        assert rng is model.augment_rng and x.dtype == np.uint8 and x.shape[1:] == (28, 28)
        seen.append(len(x))
        return x

    plain = model_of()
    plain.fit(*digits, batch_size=250, verbose=0)
    model.fit(*digits, batch_size=250, verbose=0, augment=augment, validation_data=digits)
    assert seen == [250, 250, 100]  # of the training, not of the validation
    np.testing.assert_array_equal(model.flat_params, plain.flat_params)


def test_fit_with_augmentation_learns_and_repeats(digits):
    def run(seed=0, augment=EVERYTHING):
        model = model_of(seed)
        return model.fit(*digits, epochs=4, verbose=0, augment=augment).history, model.flat_params

    (history, one), (_, two), (_, plain) = run(), run(), run(augment=None)
    assert history["loss"][-1] < 0.8 * history["loss"][0]
    assert one.tobytes() == two.tobytes()
    assert one.tobytes() != plain.tobytes() and one.tobytes() != run(1)[1].tobytes()


def test_the_other_streams_are_what_they_were():
    first, second = np.random.default_rng(5).spawn(2)
    model = sn.Sequential(seed=5)
    assert model.init_rng.bit_generator.state == first.bit_generator.state
    assert model.shuffle_rng.bit_generator.state == second.bit_generator.state


def test_what_cannot_be_called_is_named(digits):
    with pytest.raises(sn.InputError, match="augment.*'affine'"):
        model_of().fit(*digits, verbose=0, augment="affine")


# ---- picture and benchmark -----------------------------------------------------------------------


@pytest.mark.parametrize(("n", "draws"), [(1, 1), (3, 2), (25, 6)])
def test_picture_shows_originals_first_and_draws_below(digits, n, draws):
    x = digits[0][:n]
    figure = plots.augmented_samples(x, EVERYTHING, np.random.default_rng(0), draws)
    shown = [ax.images[0].get_array() for ax in figure.axes]
    columns = min(n, 10)
    assert len(shown) == columns * (draws + 1)
    np.testing.assert_allclose(shown[:columns], x[:10] / 255, atol=1e-6)
    expected = EVERYTHING(x[:10], np.random.default_rng(0)) / 255
    np.testing.assert_allclose(shown[columns : 2 * columns], expected, atol=1e-6)
    assert any("rotation=15" in text for text in strings(figure))
    check_text_layout(figure)


@pytest.mark.parametrize(("x", "draws"), [(np.zeros((2, 8, 8)), 0), (np.zeros((0, 8, 8)), 1)])
def test_picture_of_nothing_is_refused(rng, x, draws):
    with pytest.raises(sn.InputError):
        plots.augmented_samples(x, EVERYTHING, rng, draws)


@pytest.mark.slow
def test_benchmark_prints_a_table_and_leaves_json(tmp_path):
    script = Path(__file__).parents[2] / "benchmarks" / "augmentation.py"
    command = [sys.executable, script, "--seconds", "0.01", "--json", tmp_path / "all.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "preset affine" in done.stdout
    found = json.loads((tmp_path / "all.json").read_text())["images_per_second"]
    assert all(rate > 0 for row in found.values() for rate in row.values())
