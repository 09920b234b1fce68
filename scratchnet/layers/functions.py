"""The loops that the layers leave to a kernel, in NumPy: patches, pooling, ReLU, sums over rows.

Written to be read: everything works on whole arrays, in the dtype it is given, and makes as many
copies as clarity asks for. Each function is also the specification of its compiled twin in
engine/functions.py, which computes the same and runs instead of it while the backend is "numba"
(see backend.py).

Shapes    images (n, h, w, c); window (kh, kw); strides (sh, sw); pads (top, bottom, left, right);
          dilation (dh, dw), from a pixel of the window to the next; out_h, out_w as `output_size`
          gives them
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ..backend import runs_twin
from .window import BatchShape, Pads, Pair, output_size, spread, winner_dtype

Array = NDArray[np.floating]

__all__ = [
    "average_pool",
    "average_pool_backward",
    "col2im",
    "im2col",
    "max_pool",
    "max_pool_backward",
    "relu",
    "relu_backward",
    "sum_rows",
]


def _pad(x: Array, pads: Pads, value: float = 0.0) -> Array:
    top, bottom, left, right = pads
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def _windows(x: Array, window: Pair, strides: Pair, dilation: Pair = (1, 1)) -> Array:
    """Every window of the padded x, as a view (n, out_h, out_w, c, kh, kw)."""
    (sh, sw), (dh, dw) = strides, dilation
    views = sliding_window_view(x, spread(window, dilation), axis=(1, 2))
    return views[:, ::sh, ::sw, :, ::dh, ::dw]


def _add_windows(
    values: Array, x_shape: BatchShape, strides: Pair, pads: Pads, dilation: Pair = (1, 1)
) -> Array:
    """The transpose of `_windows`: add (n, out_h, out_w, kh, kw, c) back onto the image."""
    n, h, w, c = x_shape
    top, bottom, left, right = pads
    (sh, sw), (dh, dw) = strides, dilation
    _, out_h, out_w, kh, kw, _ = values.shape
    padded = np.zeros((n, h + top + bottom, w + left + right, c), values.dtype)
    for u in range(kh):
        for v in range(kw):
            row, column = u * dh, v * dw
            rows, columns = (
                slice(row, row + sh * out_h, sh),
                slice(column, column + sw * out_w, sw),
            )
            padded[:, rows, columns] += values[:, :, :, u, v]
    return padded[:, top : top + h, left : left + w].copy()


@runs_twin("functions")
def im2col(x: Array, window: Pair, strides: Pair, pads: Pads, dilation: Pair = (1, 1)) -> Array:
    """One row for each window position: (n, h, w, c) -> (n * out_h * out_w, kh * kw * c)."""
    # (n, out_h, out_w, c, kh, kw)
    windows = _windows(_pad(x, pads), window, strides, dilation)
    kh, kw = window
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kh * kw * x.shape[3])


@runs_twin("functions")
def col2im(
    dcols: Array,
    x_shape: BatchShape,
    window: Pair,
    strides: Pair,
    pads: Pads,
    dilation: Pair = (1, 1),
) -> Array:
    """The transpose of im2col: each pixel gets the sum over all windows that contain it."""
    n, h, w, c = x_shape
    out_h, out_w = output_size((h, w), spread(window, dilation), strides, pads)
    values = dcols.reshape(n, out_h, out_w, *window, c)
    return _add_windows(values, x_shape, strides, pads, dilation)


@runs_twin("functions")
def max_pool(x: Array, window: Pair, strides: Pair, pads: Pads) -> tuple[Array, NDArray]:
    """The largest value of each window, and which it was: y, winner, both (n, out_h, out_w, c).

    `winner` counts the window row by row: u * kw + v. The first of equals wins, and a NaN beats
    every number. Padding never wins: it is below everything.
    """
    windows = _windows(_pad(x, pads, -np.inf), window, strides)  # (n, out_h, out_w, c, kh, kw)
    flat = windows.reshape(
        *windows.shape[:4], window[0] * window[1]
    )  # (n, out_h, out_w, c, kh * kw)
    if pads != (0, 0, 0, 0):
        # a window of nothing but -inf must still name a pixel of the image, not one of the padding
        real = _windows(_pad(np.ones_like(x), pads), window, strides).reshape(flat.shape) > 0
        winner = np.where(flat.max(axis=-1) > -np.inf, flat.argmax(axis=-1), real.argmax(axis=-1))
        winner = np.where(np.isnan(flat).any(axis=-1), flat.argmax(axis=-1), winner)
    else:
        winner = flat.argmax(axis=-1)
    y = np.take_along_axis(flat, winner[..., None], axis=-1)[..., 0]
    return y, winner.astype(winner_dtype(window))


@runs_twin("functions")
def max_pool_backward(
    dy: Array, winner: NDArray, x_shape: BatchShape, window: Pair, strides: Pair, pads: Pads
) -> Array:
    """Each window's gradient goes to its winner, whole; windows that share a winner add up."""
    kh, kw = window
    here = winner[..., None] == np.arange(kh * kw)  # (n, out_h, out_w, c, kh * kw)
    values = np.where(here, dy[..., None], dy.dtype.type(0))
    values = values.swapaxes(3, 4).reshape(*dy.shape[:3], kh, kw, dy.shape[3])
    return _add_windows(values, x_shape, strides, pads)


def _counts(x_shape: BatchShape, window: Pair, strides: Pair, pads: Pads) -> NDArray:
    """How many real pixels each window holds: (1, out_h, out_w, 1)."""
    ones = np.ones((1, x_shape[1], x_shape[2], 1))
    return _windows(_pad(ones, pads), window, strides).sum(axis=(-2, -1))


@runs_twin("functions")
def average_pool(x: Array, window: Pair, strides: Pair, pads: Pads) -> Array:
    """The mean over each window's real pixels, padding not counted: (n, out_h, out_w, c)."""
    total = _windows(_pad(x, pads), window, strides).sum(axis=(-2, -1))
    return total / _counts(x.shape, window, strides, pads).astype(x.dtype)


@runs_twin("functions")
def average_pool_backward(
    dy: Array, x_shape: BatchShape, window: Pair, strides: Pair, pads: Pads
) -> Array:
    """Each window's gradient is shared equally among the pixels that it averaged."""
    share = dy / _counts(x_shape, window, strides, pads).astype(dy.dtype)
    kh, kw = window
    values = np.broadcast_to(share[:, :, :, None, None], (*dy.shape[:3], kh, kw, dy.shape[3]))
    return _add_windows(values, x_shape, strides, pads)


@runs_twin("functions")
def relu(x: Array) -> Array:
    """max(x, 0) of any shape; NaN stays NaN."""
    return np.maximum(x, x.dtype.type(0))


@runs_twin("functions")
def relu_backward(dy: Array, y: Array) -> Array:
    """dy where the unit was alive (y > 0), zero elsewhere."""
    return np.where(y > 0, dy, dy.dtype.type(0))


@runs_twin("functions")
def sum_rows(a: Array) -> Array:
    """(m, k) -> (k,): the sum over the rows, as a bias's gradient needs it."""
    return a.sum(axis=0)
