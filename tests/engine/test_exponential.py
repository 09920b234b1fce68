"""exp and log of the engine: correct to a digit, at the edges too."""

import math
from fractions import Fraction

import numpy as np
import pytest

from scratchnet.engine import exponential, steps
from scratchnet.engine.compiler import serial


@serial
def exps(x, out):
    for k in range(x.size):
        out[k] = exponential.exp(x[k])


@serial
def logs(x, out):
    for k in range(x.size):
        out[k] = exponential.log(x[k])


def of(loop, x, dtype):
    x = np.array(x, dtype)
    out = np.empty_like(x)
    loop(x, out)
    assert out.dtype == dtype
    return out


def inputs(dtype):
    rng = np.random.default_rng(1)
    far = 80 if dtype == np.float32 else 700
    return np.concatenate([rng.uniform(-far, far, 500), rng.uniform(-1, 1, 500)]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_exp_and_log_are_right_to_the_last_digits(dtype):
    x = inputs(dtype)
    wide = x.astype(np.longdouble)
    for loop, values, truth in (
        (exps, x, np.exp(wide)),
        (logs, np.abs(x), np.log(np.abs(wide))),
        (logs, np.exp(x), np.log(np.exp(x).astype(np.longdouble))),
    ):
        found = of(loop, values, dtype)
        last = np.spacing(np.abs(found)).astype(np.longdouble)
        assert np.max(np.abs(found - truth) / last) < (0.501 if dtype == np.float32 else 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning")  # NumPy's, without the compiler
def test_edges_of_exp_and_log(dtype):
    nan, inf = math.nan, math.inf
    found = of(exps, [0, -0.0, inf, -inf, 1e4, -1e4, nan], dtype)
    np.testing.assert_array_equal(found, [1, 1, inf, 0, inf, 0, nan])
    found = of(logs, [1, 0, -0.0, -1, -inf, inf, nan], dtype)
    np.testing.assert_array_equal(found, [0, -inf, -inf, nan, nan, inf, nan])
    tiny = np.finfo(dtype).smallest_subnormal
    assert of(logs, [tiny], dtype)[0] == pytest.approx(math.log(tiny), rel=1e-6)
    assert 0 < of(exps, [math.log(tiny) + 1], dtype)[0] < 5 * tiny


def test_a_power_by_squaring_is_right_to_the_last_digits():
    for base in (0.9, 0.999):
        for n in (0, 1, 2, 3, 17, 1000, 4242):
            assert steps.power(base, n) == pytest.approx(float(Fraction(base) ** n), rel=1e-14)
