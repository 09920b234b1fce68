"""The activations where the general tests do not look: huge inputs, NaN, digits, golden values."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnet as sn
from scratchnet.engine import plan
from scratchnet.layers.special import erfc

MAKE = {
    "ELU": lambda: sn.ELU(0.7),
    "Sigmoid": sn.Sigmoid,
    "Tanh": sn.Tanh,
    "Softplus": sn.Softplus,
    "SiLU": sn.SiLU,
    "GELU": sn.GELU,
    "GELU tanh": lambda: sn.GELU("tanh"),
}
every_one = pytest.mark.parametrize("name", MAKE)
either_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64])
either_way = pytest.mark.parametrize("fuse", [True, False], ids=["group", "layer"])

AT = [-30.0, -5.0, -1.0, -0.1, 0.0, 0.1, 1.0, 5.0, 30.0]
DY = np.linspace(1, 2, 9)
#: y and dx of PyTorch 2 in float64, for x = AT and dy = DY
GOLDEN = {
    "ELU": (
        [-0.7, -0.695283437101, -0.44248439118, -0.0666138073748, 0.0, 0.1, 1.0, 5.0, 30.0],
        [6.55033607819e-14, 0.00530613326178, 0.321894511025, 0.87090601486, 1.05, 1.625, 1.75,
         1.875, 2.0],
    ),
    "Sigmoid": (
        [9.35762296884e-14, 0.00669285092428, 0.26894142137, 0.475020812521, 0.5, 0.524979187479,
         0.73105857863, 0.993307149076, 1.0],
        [9.35762296884e-14, 0.00747906375464, 0.245764916552, 0.342892055265, 0.375, 0.405236065313,
         0.344070883173, 0.0124651062577, 1.86961557347e-13],
    ),
    "Tanh": (
        [-1.0, -0.999909204263, -0.761594155956, -0.099667994625, 0.0, 0.099667994625,
         0.761594155956, 0.999909204263, 1.0],
        [0.0, 0.000204281134812, 0.524967927018, 1.36134114992, 1.5, 1.60885772263, 0.734955097825,
         0.00034046855802, 0.0],
    ),
    "Softplus": (
        [9.35762296884e-14, 0.00671534848912, 0.313261687518, 0.644396660074, 0.69314718056,
         0.744396660074, 1.31326168752, 5.00671534849, 30.0],
        [9.35762296884e-14, 0.00752945728982, 0.336176776712, 0.653153617216, 0.75, 0.853091179653,
         1.2793525126, 1.86245090452, 2.0],
    ),
    "SiLU": (
        [-2.80728689065e-12, -0.0334642546214, -0.26894142137, -0.0475020812521, 0.0,
         0.0524979187479, 0.73105857863, 4.96653574538, 30.0],
        [-2.71371066096e-12, -0.0298658614834, 0.0904118601606, 0.61886441169, 0.75, 0.893614786185,
         1.62342339578, 1.92477643581, 2.00000000001],
    ),
    "GELU": (
        [0.0, -1.43325785934e-06, -0.158655253931, -0.0460172162723, 0.0, 0.0539827837277,
         0.841344746069, 4.99999856674, 30.0],
        [0.0, -8.04031425203e-06, -0.104144338235, 0.578155748466, 0.75, 0.94172502454,
         1.89580207353, 1.87501340052, 2.0],
    ),
    "GELU tanh": (
        [0.0, -2.29179619726e-07, -0.158808009392, -0.0460172489546, 0.0, 0.0539827510454,
         0.841191990608, 4.99999977082, 30.0],
        [0.0, -1.73965723645e-06, -0.103705104807, 0.578157539751, 0.75, 0.941722907567,
         1.89518714673, 1.87500289943, 2.0],
    ),
}  # fmt: skip


def passed(make, x, dy, fuse):
    """y and dx of the layer by itself, or of its group."""
    layer = make()
    layer.build(x.shape[1:], np.random.default_rng(0), x.dtype)
    (group,) = plan.make([layer], fuse)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        return group.forward(x, True).copy(), group.backward(dy, True).copy()


@either_way
@every_one
def test_the_values_are_pytorchs(backend, name, fuse):
    y, dx = passed(MAKE[name], np.array([AT]), DY[None], fuse)
    np.testing.assert_allclose(y[0], GOLDEN[name][0], rtol=1e-11, atol=1e-16)
    np.testing.assert_allclose(dx[0], GOLDEN[name][1], rtol=1e-11, atol=1e-14)


@either_way
@either_dtype
@every_one
def test_no_input_is_too_large(name, dtype, fuse):
    """What is far away is a limit, without a warning; what is NaN stays that, alone."""
    most = np.finfo(dtype).max
    x = np.array([[-np.inf, -most, -1e5, -200.0, 200.0, 1e5, most, np.inf, np.nan]], dtype)
    y, dx = passed(MAKE[name], x, np.ones_like(x), fuse)
    left = {"ELU": -0.7, "Tanh": -1.0}.get(name, 0.0)
    bounded = name in ("Sigmoid", "Tanh")
    np.testing.assert_allclose(y[0, :4], left, rtol=1e-6, atol=1e-80)
    np.testing.assert_array_equal(y[0, 4:8], 1 if bounded else x[0, 4:8])
    np.testing.assert_allclose(dx[0, :4], 0, atol=1e-7)
    np.testing.assert_allclose(dx[0, 4:8], 0 if bounded else 1, atol=1e-7)
    assert np.isnan(y[0, 8]) and np.isnan(dx[0, 8])
    assert y.dtype == dx.dtype == dtype


@either_way
@every_one
def test_float32_has_the_digits_of_float64(name, fuse):
    """Relative to y itself, also where it is tiny, but for what rounding x makes of exp(x)."""
    x = np.linspace(-9, 9, 500, dtype=np.float32)[None]
    ones = np.ones_like(x)
    (y, dx), (exact_y, exact_dx) = (
        passed(MAKE[name], x.astype(dtype), ones.astype(dtype), fuse)
        for dtype in (np.float32, np.float64)
    )
    np.testing.assert_allclose(y, exact_y, rtol=3e-5 if name.startswith("GELU") else 2e-6)
    np.testing.assert_allclose(dx, exact_dx, rtol=1e-6, atol=5e-7)


# ---- the complementary error function ------------------------------------------------------------


@given(st.lists(st.floats(-40, 26.5), min_size=1, max_size=30))
def test_erfc_is_right_to_the_last_digits(backend, values):
    exact = np.array([math.erfc(value) for value in values])
    found = erfc(np.array(values))
    assert (np.abs(found - exact) <= 8 * np.spacing(exact)).all()
    narrow = np.array(values, np.float32)
    exact = np.array([math.erfc(value) for value in narrow])
    found = erfc(narrow)
    # below the smallest normal number float32 has fewer digits
    assert (np.abs(found - exact) <= 4 * np.spacing(exact.astype(np.float32)) + 1e-44).all()


@either_dtype
def test_erfc_at_the_ends_and_where_its_formulas_meet(backend, dtype):
    ends = np.array([-np.inf, -30, 0, 30, np.inf, np.nan], dtype)
    np.testing.assert_array_equal(erfc(ends), np.array([2, 2, 1, 0, 0, np.nan], dtype))
    for place in (0.46875, 4.0):
        around = [math.nextafter(place, way) for way in (0, place, 9)]
        for sign in (1, -1):
            values = sign * np.array(around)
            exact = [math.erfc(value) for value in values]
            np.testing.assert_allclose(erfc(values), exact, rtol=1e-15)
    assert erfc(np.zeros((2, 0, 3), dtype)).shape == (2, 0, 3)
    assert erfc(ends).dtype == dtype


# ---- settings, and a model that ends in one ------------------------------------------------------


@pytest.mark.parametrize("given, kept", [(False, "none"), (True, "tanh"), ("none",) * 2])
def test_gelu_takes_keras_word_and_pytorchs(given, kept):
    assert sn.GELU(given).config() == {"approximate": kept}


@pytest.mark.parametrize(
    "make", [lambda: sn.GELU("erf"), lambda: sn.GELU(2), lambda: sn.GELU(None), lambda: sn.ELU(-1)]
)
def test_a_wrong_setting_is_named(make):
    with pytest.raises(sn.InputError, match="expected"):
        make()


def test_the_two_gelus_are_near_each_other_and_not_the_same(rng):
    x = rng.normal(size=(4, 50))
    dy = np.ones_like(x)
    (exact, _), (fitted, _) = (passed(MAKE[n], x, dy, True) for n in ("GELU", "GELU tanh"))
    assert 1e-5 < np.abs(exact - fitted).max() < 1e-3


@pytest.mark.parametrize("fuse", [True, False])
@pytest.mark.parametrize("last", [sn.Sigmoid, sn.LogSoftmax, sn.Softplus])
def test_a_model_may_end_in_any_of_them(last, fuse, rng, tmp_path):
    layers = [sn.Conv2D(3, 3), sn.GELU(), sn.Flatten(), sn.Dense(4), sn.Tanh(), sn.Dense(3), last()]
    model = sn.Sequential(layers, (6, 6, 1), fuse=fuse)
    model.compile("adam", "mse")
    x, y = rng.random((16, 6, 6, 1)), rng.random((16, 3))
    first = model.train_on_batch(x, y)[0]
    for _ in range(30):
        value = model.train_on_batch(x, y)[0]
    assert value < first
    model.save(tmp_path / "model.safetensors")
    again = sn.load_model(tmp_path / "model.safetensors")
    assert [repr(layer) for layer in again.layers] == [repr(layer) for layer in layers]
    again.fuse = fuse
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_log_softmax_is_the_logarithm_and_does_not_underflow(rng):
    x = np.array([[0.0, 2000.0, -3000.0], [1.0, 1.0, 1.0]])
    y, dx = passed(sn.LogSoftmax, x, np.eye(2, 3), True)
    np.testing.assert_allclose(y, [[-2000, 0, -5000], [-math.log(3)] * 3], rtol=1e-12)
    np.testing.assert_allclose(dx, [[1, -1, 0], [-1 / 3, 2 / 3, -1 / 3]], atol=1e-12)
