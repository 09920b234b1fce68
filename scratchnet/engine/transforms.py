"""Winograd's small matrices, times columns of four vectors: see winograd.py for what they are.

No function holds all of a tile's 4x4 vectors: most processors have no registers for them. What is
needed twice is read twice, from the first cache.
"""

from .compiler import inner
from .simd import add, load, neg, scale, store, sub
from .target import ONE


@inner
def get(a, at, step):
    return (
        load(ONE, a, at),
        load(ONE, a, at + step),
        load(ONE, a, at + 2 * step),
        load(ONE, a, at + 3 * step),
    )


@inner
def put(a, at, step, column):
    store(a, at, column[0])
    store(a, at + step, column[1])
    store(a, at + 2 * step, column[2])
    store(a, at + 3 * step, column[3])


@inner
def sums(a, p, q, step):
    """Two columns of four vectors, added."""
    return (
        add(load(ONE, a, p), load(ONE, a, q)),
        add(load(ONE, a, p + step), load(ONE, a, q + step)),
        add(load(ONE, a, p + 2 * step), load(ONE, a, q + 2 * step)),
        add(load(ONE, a, p + 3 * step), load(ONE, a, q + 3 * step)),
    )


@inner
def differences(a, p, q, step):
    """The second of two columns subtracted from the first."""
    return (
        sub(load(ONE, a, p), load(ONE, a, q)),
        sub(load(ONE, a, p + step), load(ONE, a, q + step)),
        sub(load(ONE, a, p + 2 * step), load(ONE, a, q + 2 * step)),
        sub(load(ONE, a, p + 3 * step), load(ONE, a, q + 3 * step)),
    )


@inner
def times_bt(d):
    """B' d"""
    return sub(d[0], d[2]), add(d[1], d[2]), sub(d[2], d[1]), sub(d[1], d[3])


@inner
def times_b(p0, p1, p2, p3):
    """B p"""
    between = sub(p1, p2)
    return p0, add(between, p3), sub(add(p1, p2), p0), neg(p3)


@inner
def times_b1(a, at, step):
    """The second entry of B p, p the column a[at], a[at + step], ..."""
    between = sub(load(ONE, a, at + step), load(ONE, a, at + 2 * step))
    return add(between, load(ONE, a, at + 3 * step))


@inner
def times_b2(a, at, step):
    """The third entry of B p."""
    both = add(load(ONE, a, at + step), load(ONE, a, at + 2 * step))
    return sub(both, load(ONE, a, at))


@inner
def times_a(y0, y1):
    """A y"""
    return y0, add(y0, y1), sub(y0, y1), neg(y1)


@inner
def times_at(m):
    """A' m"""
    return add(add(m[0], m[1]), m[2]), sub(sub(m[1], m[2]), m[3])


@inner
def times_g(g0, g1, g2, half):
    """G g; half is the number, in g's dtype"""
    outer, middle = scale(half, add(g0, g2)), scale(half, g1)
    return g0, add(outer, middle), sub(outer, middle), g2


@inner
def times_gt(m, half):
    """G' m"""
    between = scale(half, add(m[1], m[2]))
    return add(m[0], between), scale(half, sub(m[1], m[2])), add(between, m[3])
