"""The kernels of `reference` as Numba loops: the same names, signatures and results.

Each public function allocates its result and calls the loop of the same name with an underscore.
The loops are plain Python, each jitted by a line of its own. They run in parallel over images, or
over a fixed number of shards, and each iteration writes memory that it alone owns: the result has
the same bits for any number of threads.

What shapes the loops, found by measuring:
- `row = a[i, j]` before an inner loop and `row[k]` in it: Numba checks an index that might be
  negative for wrap-around, and that check keeps a loop from being vectorised.
- Images are seen as (n, h, w * c): with channels last, the pixels of one row of a window are one
  contiguous run of kw * c values.
- No fastmath flag that assumes the absence of NaN: a NaN travels through and is seen.
"""

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import prange
from numba.core import event
from numpy.typing import NDArray

from . import set_threads, told
from .geometry import Pads, Pair, Shape, output_size, winner_dtype
from .memory import SHARDS

Array = NDArray[np.floating]

# GNU OpenMP's threads spin for milliseconds when a parallel loop is over. Here the next one comes
# within 100 microseconds, and to wake a thread that sleeps takes half as long as that; but where
# another program wants the core, a training step with the default takes many times as long. Read
# by the library when Numba first runs in parallel.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

if "SCRATCHNET_THREADS" in os.environ:
    set_threads(os.environ["SCRATCHNET_THREADS"])


@functools.cache
def _cache_folder() -> str:
    """Where machine code is kept: per user, and per content of all kernel files; "" for nowhere.

    Numba looks at the file of each kernel alone; a change of what it calls in another file, as an
    upgrade brings, would go unseen. So would it in the folder of the sources, which is where Numba
    goes when this one cannot be written: better compile anew in every process.
    """
    from platformdirs import user_cache_dir

    sources = sorted(Path(__file__).parent.glob("*.py"))
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    folder = Path(user_cache_dir("scratchnet", appauthor=False)) / f"kernels-{content[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ""
    return str(folder) if os.access(folder, os.W_OK | os.X_OK) else ""


class _Compiling(event.Listener):
    """Tells once, through `kernels.told`, that something is compiled and not found in the cache.

    And sees to it that our kernels, not the user's own, are compiled at LLVM's level 2 where
    NUMBA_OPT says nothing else: its level 3, Numba's default, takes a sixth longer and makes them
    no faster.
    """

    def __init__(self) -> None:
        self.levels: list[Any] = []

    def on_start(self, event: event.Event) -> None:
        told()
        self.levels.append(numba.config.OPT)
        module = str(event.data["dispatcher"].py_func.__module__)  # None for what exec made
        ours = module.startswith(f"{__package__}.")
        if ours and "NUMBA_OPT" not in os.environ:
            numba.config.OPT = type(numba.config.OPT)(2)

    def on_end(self, event: event.Event) -> None:
        numba.config.OPT = self.levels.pop()


event.register("numba:compile", _Compiling())


def _jit(loop: Callable, parallel: bool = True, inner: bool | None = None) -> Any:
    """Compile at the first call, and keep the machine code where there is a folder for it.

    inner: called by other loops only, never from Python; so it is with every loop that is not
    parallel, unless said otherwise.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    if parallel:
        # only prange: Numba would look for parallelism in every `a[:] = 0` as well, for seconds
        others = ("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil")
        options["parallel"] = {**dict.fromkeys((*others, "fusion"), False), "prange": True}
    elif inner is not False:
        options |= {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    elsewhere = numba.config.CACHE_DIR
    folder = elsewhere or _cache_folder()
    numba.config.CACHE_DIR = folder
    try:
        return numba.njit(cache=bool(folder), **options)(loop)
    finally:
        numba.config.CACHE_DIR = elsewhere


def _contiguous(a: Array) -> Array:
    """The array as the loops want it: contiguous, last axis fastest."""
    return np.ascontiguousarray(a)


def im2col(x: Array, window: Pair, strides: Pair, pads: Pads) -> Array:
    """One row for each window position: (n, h, w, c) -> (n * out_h * out_w, kh * kw * c)."""
    n, h, w, c = x.shape
    out_h, out_w = output_size((h, w), window, strides, pads)
    cols = np.empty((n, out_h, out_w, window[0], window[1] * c), x.dtype)
    _im2col(_contiguous(x).reshape(n, h, w * c), cols, c, strides, pads[0], pads[2])
    return cols.reshape(n * out_h * out_w, window[0] * window[1] * c)


def _im2col(x, cols, c, strides, top, left):
    n, h, wc = x.shape
    _, out_h, out_w, kh, run = cols.shape
    sh, sw = strides
    for image in prange(n):
        for i in range(out_h):
            for u in range(kh):
                y = i * sh + u - top
                for j in range(out_w):
                    out = cols[image, i, j, u]
                    start = (j * sw - left) * c
                    if y < 0 or y >= h:
                        for k in range(run):
                            out[k] = 0
                    elif start >= 0 and start + run <= wc:
                        source = x[image, y, start : start + run]
                        for k in range(run):
                            out[k] = source[k]
                    else:  # the window overhangs the left or right edge
                        for k in range(run):
                            at = start + k
                            out[k] = x[image, y, at] if 0 <= at < wc else 0


_im2col = _jit(_im2col)


def col2im(dcols: Array, x_shape: Shape, window: Pair, strides: Pair, pads: Pads) -> Array:
    """The transpose of im2col: each pixel gets the sum over all windows that contain it."""
    n, h, w, c = x_shape
    out_h, out_w = output_size((h, w), window, strides, pads)
    dx = np.empty((n, h, w * c), dcols.dtype)
    rows = _contiguous(dcols).reshape(n, out_h, out_w, window[0], window[1] * c)
    _col2im(rows, dx, c, strides, pads[0], pads[2])
    return dx.reshape(x_shape)


def _col2im(dcols, dx, c, strides, top, left):
    n, h, wc = dx.shape
    _, out_h, out_w, kh, run = dcols.shape
    sh, sw = strides
    for image in prange(n):
        dx[image] = 0
        for i in range(out_h):
            for u in range(kh):
                y = i * sh + u - top
                if y < 0 or y >= h:
                    continue
                for j in range(out_w):
                    source = dcols[image, i, j, u]
                    start = (j * sw - left) * c
                    if start >= 0 and start + run <= wc:
                        out = dx[image, y, start : start + run]
                        for k in range(run):
                            out[k] += source[k]
                    else:
                        for k in range(run):
                            at = start + k
                            if 0 <= at < wc:
                                dx[image, y, at] += source[k]


_col2im = _jit(_col2im)


def max_pool(x: Array, window: Pair, strides: Pair, pads: Pads) -> tuple[Array, NDArray]:
    """The largest value of each window, and which it was: y, winner, both (n, out_h, out_w, c)."""
    n, h, w, c = x.shape
    out_h, out_w = output_size((h, w), window, strides, pads)
    y = np.empty((n, out_h, out_w, c), x.dtype)
    winner = np.empty((n, out_h, out_w, c), winner_dtype(window))
    _max_pool(_contiguous(x), y, winner, window, strides, pads[0], pads[2])
    return y, winner


def _max_pool(x, y, winner, window, strides, top, left):
    n, h, w, c = x.shape
    _, out_h, out_w, _ = y.shape
    kh, kw = window
    sh, sw = strides
    for image in prange(n):
        for i in range(out_h):
            for j in range(out_w):
                best = y[image, i, j]
                which = winner[image, i, j]
                first = True
                for u in range(max(0, top - i * sh), min(kh, h + top - i * sh)):
                    for v in range(max(0, left - j * sw), min(kw, w + left - j * sw)):
                        pixel = x[image, i * sh + u - top, j * sw + v - left]
                        number = u * kw + v
                        if first:
                            first = False
                            for k in range(c):
                                best[k] = pixel[k]
                                which[k] = number
                        else:
                            for k in range(c):
                                a, b = pixel[k], best[k]
                                # the second half: the first NaN beats every number
                                if a > b or (a != a and b == b):
                                    best[k] = a
                                    which[k] = number


_max_pool = _jit(_max_pool)


def max_pool_backward(
    dy: Array, winner: NDArray, x_shape: Shape, window: Pair, strides: Pair, pads: Pads
) -> Array:
    """Each window's gradient goes to its winner, whole; windows that share a winner add up."""
    dx = np.empty(x_shape, dy.dtype)
    _max_pool_backward(_contiguous(dy), winner, dx, window[1], strides, pads[0], pads[2])
    return dx


def _max_pool_backward(dy, winner, dx, kw, strides, top, left):
    n, out_h, out_w, c = dy.shape
    sh, sw = strides
    for image in prange(n):
        dx[image] = 0
        for i in range(out_h):
            for j in range(out_w):
                grad = dy[image, i, j]
                which = winner[image, i, j]
                for k in range(c):
                    u, v = divmod(int(which[k]), kw)
                    dx[image, i * sh + u - top, j * sw + v - left, k] += grad[k]


_max_pool_backward = _jit(_max_pool_backward)


def average_pool(x: Array, window: Pair, strides: Pair, pads: Pads) -> Array:
    """The mean over each window's real pixels, padding not counted: (n, out_h, out_w, c)."""
    n, h, w, c = x.shape
    out_h, out_w = output_size((h, w), window, strides, pads)
    y = np.empty((n, out_h, out_w, c), x.dtype)
    _average_pool(_contiguous(x), y, window, strides, pads[0], pads[2])
    return y


def _average_pool(x, y, window, strides, top, left):
    n, h, w, c = x.shape
    _, out_h, out_w, _ = y.shape
    kh, kw = window
    sh, sw = strides
    for image in prange(n):
        for i in range(out_h):
            u0, u1 = max(0, top - i * sh), min(kh, h + top - i * sh)
            for j in range(out_w):
                v0, v1 = max(0, left - j * sw), min(kw, w + left - j * sw)
                total = y[image, i, j]
                total[:] = 0
                for u in range(u0, u1):
                    for v in range(v0, v1):
                        pixel = x[image, i * sh + u - top, j * sw + v - left]
                        for k in range(c):
                            total[k] += pixel[k]
                count = (u1 - u0) * (v1 - v0)
                for k in range(c):
                    total[k] /= count


_average_pool = _jit(_average_pool)


def average_pool_backward(
    dy: Array, x_shape: Shape, window: Pair, strides: Pair, pads: Pads
) -> Array:
    """Each window's gradient is shared equally among the pixels that it averaged."""
    dx = np.empty(x_shape, dy.dtype)
    _average_pool_backward(_contiguous(dy), dx, window, strides, pads[0], pads[2])
    return dx


def _average_pool_backward(dy, dx, window, strides, top, left):
    n, h, w, c = dx.shape
    _, out_h, out_w, _ = dy.shape
    kh, kw = window
    sh, sw = strides
    for image in prange(n):
        dx[image] = 0
        for i in range(out_h):
            u0, u1 = max(0, top - i * sh), min(kh, h + top - i * sh)
            for j in range(out_w):
                v0, v1 = max(0, left - j * sw), min(kw, w + left - j * sw)
                count = (u1 - u0) * (v1 - v0)
                grad = dy[image, i, j]
                for u in range(u0, u1):
                    for v in range(v0, v1):
                        pixel = dx[image, i * sh + u - top, j * sw + v - left]
                        for k in range(c):
                            pixel[k] += grad[k] / count


_average_pool_backward = _jit(_average_pool_backward)


def relu(x: Array) -> Array:
    """max(x, 0) of any shape; NaN stays NaN."""
    y = np.empty(x.shape, x.dtype)
    _relu(_contiguous(x).reshape(-1), y.reshape(-1))
    return y


def _relu(x, y):
    zero = x.dtype.type(0)
    for part in prange(SHARDS):
        start, stop = part * x.size // SHARDS, (part + 1) * x.size // SHARDS
        source, out = x[start:stop], y[start:stop]
        for k in range(stop - start):
            out[k] = zero if source[k] <= zero else source[k]


_relu = _jit(_relu)


def relu_backward(dy: Array, y: Array) -> Array:
    """dy where the unit was alive (y > 0), zero elsewhere."""
    dx = np.empty(dy.shape, dy.dtype)
    _relu_backward(_contiguous(dy).reshape(-1), _contiguous(y).reshape(-1), dx.reshape(-1))
    return dx


def _relu_backward(dy, y, dx):
    zero = dy.dtype.type(0)
    for part in prange(SHARDS):
        start, stop = part * dy.size // SHARDS, (part + 1) * dy.size // SHARDS
        grad, alive, out = dy[start:stop], y[start:stop], dx[start:stop]
        for k in range(stop - start):
            out[k] = grad[k] if alive[k] > zero else zero


_relu_backward = _jit(_relu_backward)


def sum_rows(a: Array) -> Array:
    """(m, k) -> (k,): the sum over the rows, as a bias's gradient needs it."""
    parts = np.empty((SHARDS, a.shape[1]), a.dtype)
    _sum_rows(_contiguous(a), parts)
    return parts.sum(axis=0)


def _sum_rows(a, parts):
    m, width = a.shape
    for part in prange(SHARDS):
        total = parts[part]
        total[:] = 0
        for i in range(part * m // SHARDS, (part + 1) * m // SHARDS):
            row = a[i]
            for k in range(width):
                total[k] += row[k]


_sum_rows = _jit(_sum_rows)


def sgd_step(
    params: Array, grads: Array, velocity: Array, lr: float, momentum: float, nesterov: bool
) -> None:
    """One step of gradient descent with momentum, in place; all arrays flat, (size,)."""
    number = params.dtype.type  # Python's float would make the loop compute in float64
    _sgd_step(params, grads, velocity, number(lr), number(momentum), bool(nesterov))


def _sgd_step(params, grads, velocity, lr, momentum, nesterov):
    for part in prange(SHARDS):
        start, stop = part * params.size // SHARDS, (part + 1) * params.size // SHARDS
        p, g, vel = params[start:stop], grads[start:stop], velocity[start:stop]
        for k in range(stop - start):
            vel[k] = momentum * vel[k] - lr * g[k]
            p[k] += momentum * vel[k] - lr * g[k] if nesterov else vel[k]


_sgd_step = _jit(_sgd_step)


def adam_step(
    params: Array,
    grads: Array,
    m: Array,
    v: Array,
    lr: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    t: int,
    weight_decay: float,
) -> None:
    """Step number t (from 1) of Adam, in place; all arrays flat, (size,)."""
    number = params.dtype.type
    _adam_step(
        params,
        grads,
        m,
        v,
        number(lr),
        number(beta_1),
        number(1 - beta_1),
        number(beta_2),
        number(1 - beta_2),
        number(epsilon),
        number(1 - beta_1**t),
        number(1 - beta_2**t),
        number(1 - lr * weight_decay),
    )


def _adam_step(params, grads, m, v, lr, b1, c1, b2, c2, eps, correct_1, correct_2, keep):
    for part in prange(SHARDS):
        start, stop = part * params.size // SHARDS, (part + 1) * params.size // SHARDS
        p, g = params[start:stop], grads[start:stop]
        first, second = m[start:stop], v[start:stop]
        for k in range(stop - start):
            first[k] = b1 * first[k] + c1 * g[k]
            second[k] = b2 * second[k] + c2 * g[k] * g[k]
            step = lr * (first[k] / correct_1) / (np.sqrt(second[k] / correct_2) + eps)
            p[k] = p[k] * keep - step


_adam_step = _jit(_adam_step)


def average_step(average: Array, values: Array, momentum: float) -> None:
    """average <- momentum * average + (1 - momentum) * values, in place; both flat, (size,)."""
    number = average.dtype.type
    _average_step(average, _contiguous(values), number(momentum), number(1 - momentum))


def _average_step(average, values, momentum, rest):
    for part in prange(SHARDS):
        start, stop = part * average.size // SHARDS, (part + 1) * average.size // SHARDS
        a, new = average[start:stop], values[start:stop]
        for k in range(stop - start):
            a[k] = momentum * a[k] + rest * new[k]


_average_step = _jit(_average_step)
