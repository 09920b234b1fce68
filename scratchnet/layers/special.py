"""The complementary error function in NumPy, which has none. GELU needs it."""

import math

import numpy as np
from numpy.typing import NDArray

from ..backend import runs_twin

Array = NDArray[np.floating]

#: numerators and denominators of three quotients, the highest power first
NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2,
     3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3,
     2.84423683343917062e3),
)  # fmt: skip
MIDDLE = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0,
     6.61191906371416295e1, 2.98635138197400131e2, 8.81952221241769090e2,
     1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
     1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3,
     3.43936767414372164e3, 1.23033935480374942e3),
)  # fmt: skip
FAR = (
    (1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
     1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4),
    (1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1,
     6.05183413124413191e-2, 2.33520497626869185e-3),
)  # fmt: skip

#: where one quotient takes over from another
FIRST, SECOND = 0.46875, 4.0
#: from here on erfc is 0 in float64
END = 30.0


def _quotient(of: tuple[tuple[float, ...], tuple[float, ...]], z: Array) -> Array:
    return np.polyval(of[0], z) / np.polyval(of[1], z)


@runs_twin("functions")
def erfc(x: Array) -> Array:
    """2 / sqrt(pi) times the integral of exp(-t^2) from x to infinity; that is 1 - erf(x).

    To the last few digits of x's dtype, relative to erfc itself, however small that is: 1 - erf(x)
    would have none left. NaN stays NaN.

    For a = |x| three formulas, with quotients R of polynomials that were fitted to the function:

        a <= 0.46875    1 - x R(x^2)
        a <= 4          exp(-a^2) R(a)
        above           exp(-a^2) / a * (1 / sqrt(pi) - R(1 / a^2) / a^2)

    The last two are for positive x; erfc(-a) = 2 - erfc(a). All is computed in float64. Rounding
    a^2 would cost digits of exp(-a^2), so a is split into s, whose square is exact, and the rest:
    a^2 = s^2 + (a - s)(a + s).

    Source    Cody 1969, "Rational Chebyshev approximations for the error function", Mathematics of
              Computation 23, pages 631 to 637; the coefficients are his.
    """
    wide = x.astype(np.float64)
    a = np.minimum(np.abs(wide), END)

    inner = np.clip(wide, -FIRST, FIRST)
    near = 1 - inner * _quotient(NEAR, inner * inner)

    outer = np.maximum(a, SECOND)
    far = 1 / (outer * outer)
    far = (1 / math.sqrt(math.pi) - far * _quotient(FAR, far)) / outer
    between = _quotient(MIDDLE, np.clip(a, FIRST, SECOND))
    s = np.trunc(a * 16) / 16
    tail = np.exp(-s * s) * np.exp(-(a - s) * (a + s)) * np.where(a <= SECOND, between, far)

    y = np.where(a <= FIRST, near, np.where(wide > 0, tail, 2 - tail))
    return y.astype(x.dtype)
