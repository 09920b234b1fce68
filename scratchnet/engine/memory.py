"""Arrays as the fused kernels want them: in whole vectors, aligned, with slack after the end."""

import numpy as np
from numpy.typing import DTypeLike, NDArray

#: a kernel's work is split into this many parts: as many for each of 2, 4, 6, 8, 12 or 16 threads
SHARDS = 48
#: a batch is cut into so many parts whose gradients are added in a tree, whatever the number of
#: threads and processes: as many processes may share a batch
LOTS = 8
#: and each of these, of so large a batch, into as many again
LARGE_BATCH, PARTS_OF_A_LOT = 64, 4
#: a vector's length: AVX-512's; LLVM splits it in two or four where the processor has less
VECTOR_BYTES = 64
#: elements after the end of an array that is read in whole vectors
SLACK = 1024


def cut(n: int, parts: int, number: int) -> int:
    """Where part `number` begins of n things in a row, cut into 1, 2, 4, 8, ... parts.

    Halves are cut into halves, the first half the larger one: so each half is cut as if it stood
    alone, which is what lets several processes cut a batch as one would.
    """
    start = 0
    while parts > 1:
        parts >>= 1
        half = (n + 1) >> 1
        if number >= parts:
            number -= parts
            start += half
            n -= half
        else:
            n = half
    return start + n * number


def lanes(dtype: DTypeLike) -> int:
    """How many values of that dtype one vector holds: 16 of float32, 8 of float64."""
    return VECTOR_BYTES // np.dtype(dtype).itemsize


def padded(size: int, dtype: DTypeLike) -> int:
    """size, rounded up to whole vectors."""
    return -(-size // lanes(dtype)) * lanes(dtype)


def flat_zeros(size: int, dtype: DTypeLike) -> NDArray:
    """(size + SLACK,) zeros that start where a vector may: a load across two cache lines is two."""
    dtype = np.dtype(dtype)
    raw = np.zeros(size + SLACK + VECTOR_BYTES // dtype.itemsize, dtype)
    start = -raw.ctypes.data % VECTOR_BYTES // dtype.itemsize
    return raw[start : start + size + SLACK]


def flat_with_slack(x: NDArray) -> NDArray | None:
    """The flat memory of an array that starts one made by `flat_zeros`; else None."""
    root = x.base
    if not (isinstance(root, np.ndarray) and root.ndim == 1 and root.dtype == x.dtype):
        return None
    start = (x.ctypes.data - root.ctypes.data) // x.itemsize
    whole = x.flags.c_contiguous and root.flags.c_contiguous
    return root[start:] if whole and root.size - start >= x.size + SLACK else None
