"""What the operations of simd.py mean, in NumPy: they stand for them with NUMBA_DISABLE_JIT=1.

A tile is an array (count, lanes).
"""

import numpy as np

from .memory import lanes


def zeros(like, a):
    return np.zeros((len(like), lanes(a.dtype)), a.dtype)


def load(like, a, i):
    return a[i : i + len(like) * lanes(a.dtype)].reshape(len(like), -1).copy()


def prefetch(a, i):
    pass


def transpose_four(a, i, row, out, o, line):
    for _ in range(4):
        out[o : o + 4 * line : line][:4] = a[i : i + 4]
        i, o = i + row, o + 1


def load_rows(like, rows, a, i, distance):
    width = len(like) // len(rows) * lanes(a.dtype)
    values = [a[at : at + width] for at in range(i, i + len(rows) * distance, distance)]
    return np.concatenate(values).reshape(len(like), -1)


def store(a, i, tile):
    a[i : i + tile.size] = tile.reshape(-1)


def add_at(acc, a, i, places, k):
    for vector, place in zip(acc, places[k : k + len(acc)], strict=True):
        a[i + place : i + place + vector.size] += vector


def repeat(rows, tile):
    return np.concatenate([tile] * len(rows))


def relu(tile):
    return np.maximum(tile, 0)


def fma(acc, s, t):
    return acc + s * t


def add(a, b):
    return a + b


def sub(a, b):
    return a - b


def mul(a, b):
    return a * b


def mul_add(a, b, c):
    return a * b + c


def wide(a):
    return a.astype(np.float64).reshape(-1, lanes(np.float64))


def add_wide(a, i, tile):
    a[i : i + tile.size] += tile.reshape(-1)


def neg(a):
    return -a


def scale(s, a):
    return s * a


def has_nan(tile):
    return bool(np.isnan(tile).any())


def where_positive(values, gate):
    return np.where(gate <= 0, gate.dtype.type(0), values)


def _rows(acc, rows, a, i, distance):
    width = acc.size // len(rows)
    return [slice(at, at + width) for at in range(i, i + len(rows) * distance, distance)]


def fma_rows(acc, rows, s, a, i, distance):
    values = [a[row] for row in _rows(acc, rows, a, i, distance)]
    return acc + s * np.concatenate(values).reshape(acc.shape)


def _patch(rows, run, a, i, distance):
    return np.concatenate([a[i + u * distance :][: len(run)] for u in range(len(rows))])


def fma_patch(acc, rows, run, a, i, distance, t):
    numbers = _patch(rows, run, a, i, distance)
    return acc + (numbers[:, None, None] * t).reshape(acc.shape)


def fma_taps(acc, taps, a, i, w, j, distance):
    for k in range(len(taps)):
        at = j + k * distance
        acc = acc + a[i + k] * w[at : at + acc.size].reshape(acc.shape)
    return acc


def dot_patch(acc, rows, run, a, i, distance, t):
    tiles = t.reshape(-1, *acc.shape)
    for number, tile in zip(_patch(rows, run, a, i, distance), tiles, strict=True):
        acc = acc + number * tile
    return acc


def store_rows(acc, rows, a, i, distance):
    for row, values in zip(
        _rows(acc, rows, a, i, distance), np.split(acc.reshape(-1), len(rows)), strict=True
    ):
        a[row] = values


def add_rows(acc, rows, a, i, distance):
    for row, values in zip(
        _rows(acc, rows, a, i, distance), np.split(acc.reshape(-1), len(rows)), strict=True
    ):
        a[row] += values


def load_where(like, a, code, i, number):
    at = slice(i, i + len(like) * lanes(a.dtype))
    return np.where(code[at] == number, a[at], a.dtype.type(0)).reshape(len(like), -1)


def load_unless(like, a, code, i, number):
    at = slice(i, i + len(like) * lanes(a.dtype))
    return np.where(code[at] == number, a.dtype.type(0), a[at]).reshape(len(like), -1)


def bits_where(like, a, code, i, number):
    return sum(1 << k for k, which in enumerate(code[i : i + lanes(a.dtype)]) if which == number)


def bits_set(a, i):
    return np.packbits(a[i : i + 64] != 0, bitorder="little").view(np.int64)[0]


def take(counters, i):
    found = int(counters.reshape(-1)[i])
    counters.reshape(-1)[i] += 1
    return found


def lowest_bit(bits):
    return (int(bits) & -int(bits)).bit_length() - 1


def without_lowest(bits):
    unsigned = int(bits) & (1 << 64) - 1
    return unsigned & (unsigned - 1)


def store_largest(a0, a1, a2, a3, y, code, i):
    four = np.stack([tile.reshape(-1) for tile in (a0, a1, a2, a3)])
    largest, which = four.max(axis=0), four.argmax(axis=0)
    y[i : i + largest.size] = np.maximum(largest, 0)
    code[i : i + largest.size] = np.where(largest > 0, which, 4)
