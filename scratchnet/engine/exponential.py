"""exp and log from sums, products and bits alone: the same digits on every processor.

The C library's differ in the last digit from one system to the next, and on one system by what the
processor has. What is here is rounded as IEEE 754 says, in an order that no compiler may change, so
it is equal everywhere, and Softmax and its loss with it.

    exp(x) = 2^k exp(r),         k whole, |r| <= log(2) / 2        Taylor's series of exp(r)
    log(x) = k log(2) + log(m),  x = 2^k m, sqrt(1/2) <= m < sqrt(2)
             log(m) = 2 (s + s^3/3 + s^5/5 + ...),  s = (m - 1) / (m + 1), |s| <= 0.172

Both compute in float64, whatever dtype they are given: float32 results are off by at most 0.501 of
a last digit, float64 results by at most 2. log(2) is two numbers, of which the first has zeros at
its end, so that k times it is exact. Source: Muller 2016, "Elementary Functions", 11.1 (reduction)
and 3.2 (series); Brent and Zimmermann 2010, "Modern Computer Arithmetic", 4.2.
"""

import math

import numpy as np

from .compiler import inner

LOG2_HIGH = float.fromhex("0x1.62e42fefa0000p-1")  # 20 zeros at its end: k has 11 bits
LOG2_LOW = float.fromhex("0x1.cf79abc9e3b3ap-40")
PER_LOG2 = 1 / math.log(2)
LEAST, MOST = -746.0, 710.0  # beyond them float64 has only 0 and infinity
ROOT, ONE = 0x3FE6A09E667F3BCD, 1023 << 52  # the bits of sqrt(1/2); of 1.0
TINY = 2.0**-1022  # smaller numbers have no exponent of their own
E2, E3, E4, E5, E6, E7, E8, E9, E10, E11, E12, E13 = (1 / math.factorial(n) for n in range(2, 14))
L3, L5, L7, L9, L11, L13, L15, L17, L19, L21, L23 = (2 / n for n in range(3, 24, 2))


@inner
def exp(x):
    """e^x in x's dtype; NaN stays NaN."""
    wide = np.float64(x)
    within = MOST if wide > MOST else (wide if wide > LEAST else LEAST)
    k = np.floor(within * PER_LOG2 + 0.5)
    r = (within - k * LOG2_HIGH) - k * LOG2_LOW
    # pairs of pairs: short chains, which the processor computes side by side
    r2 = r * r
    r4 = r2 * r2
    low = (E2 + r * E3) + r2 * (E4 + r * E5)
    middle = (E6 + r * E7) + r2 * (E8 + r * E9)
    high = (E10 + r * E11) + r2 * (E12 + r * E13)
    series = 1.0 + (r + r2 * (low + r4 * (middle + r4 * high)))
    # 2^k in two factors, since 2^-1074 and 2^1024 are none of their own
    whole = np.int32(k)
    half = whole >> 1
    first = np.int64((np.int64(half) + 1023) << 52).view(np.float64)
    second = np.int64((np.int64(whole - half) + 1023) << 52).view(np.float64)
    found = series * first * second
    return type(x)(found if wide == wide else wide)


@inner
def log(x):
    """The natural logarithm in x's dtype: -inf for 0, NaN for less and for NaN."""
    wide = np.float64(x)
    if wide == 0:
        return type(x)(-np.inf)
    if not 0 < wide < np.inf:
        return type(x)(np.nan if wide < 0 else wide)
    shift = 54 if wide < TINY else 0
    scaled = np.float64(wide * (2.0**54 if shift else 1.0))
    bits = scaled.view(np.int64)
    k = (bits - ROOT) >> 52  # rounds down: m is at least sqrt(1/2)
    m = np.int64(bits - (k << 52)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    z2 = z * z
    z4 = z2 * z2
    low = (L3 + z * L5) + z2 * (L7 + z * L9)
    middle = (L11 + z * L13) + z2 * (L15 + z * L17)
    high = (L19 + z * L21) + z2 * L23
    series = z * (low + z4 * (middle + z4 * high))
    exponent = np.float64(k - shift)
    return type(x)(exponent * LOG2_HIGH + (2.0 * s + (s * series + exponent * LOG2_LOW)))
