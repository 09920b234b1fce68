"""What every kernel computes, in NumPy: the specification that `compiled` is tested against.

Written to be read. Everything works on whole arrays, in the dtype it is given, and makes as many
copies as clarity asks for.

Shapes    images (n, h, w, c); window (kh, kw); strides (sh, sw); pads (top, bottom, left, right);
          out_h, out_w as `geometry.output_size` gives them
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .geometry import Pads, Pair, Shape, output_size, winner_dtype

Array = NDArray[np.floating]


def _pad(x: Array, pads: Pads, value: float = 0.0) -> Array:
    top, bottom, left, right = pads
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)


def _windows(x: Array, window: Pair, strides: Pair) -> Array:
    """Every window of the padded x, as a view (n, out_h, out_w, c, kh, kw)."""
    sh, sw = strides
    return sliding_window_view(x, window, axis=(1, 2))[:, ::sh, ::sw]


def _add_windows(values: Array, x_shape: Shape, strides: Pair, pads: Pads) -> Array:
    """The transpose of `_windows`: add (n, out_h, out_w, kh, kw, c) back onto the image."""
    n, h, w, c = x_shape
    top, bottom, left, right = pads
    sh, sw = strides
    _, out_h, out_w, kh, kw, _ = values.shape
    padded = np.zeros((n, h + top + bottom, w + left + right, c), values.dtype)
    for u in range(kh):
        for v in range(kw):
            rows, columns = slice(u, u + sh * out_h, sh), slice(v, v + sw * out_w, sw)
            padded[:, rows, columns] += values[:, :, :, u, v]
    return padded[:, top : top + h, left : left + w].copy()


def im2col(x: Array, window: Pair, strides: Pair, pads: Pads) -> Array:
    """One row for each window position: (n, h, w, c) -> (n * out_h * out_w, kh * kw * c)."""
    windows = _windows(_pad(x, pads), window, strides)  # (n, out_h, out_w, c, kh, kw)
    kh, kw = window
    return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kh * kw * x.shape[3])


def col2im(dcols: Array, x_shape: Shape, window: Pair, strides: Pair, pads: Pads) -> Array:
    """The transpose of im2col: each pixel gets the sum over all windows that contain it."""
    n, h, w, c = x_shape
    out_h, out_w = output_size((h, w), window, strides, pads)
    return _add_windows(dcols.reshape(n, out_h, out_w, *window, c), x_shape, strides, pads)


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


def max_pool_backward(
    dy: Array, winner: NDArray, x_shape: Shape, window: Pair, strides: Pair, pads: Pads
) -> Array:
    """Each window's gradient goes to its winner, whole; windows that share a winner add up."""
    kh, kw = window
    here = winner[..., None] == np.arange(kh * kw)  # (n, out_h, out_w, c, kh * kw)
    values = np.where(here, dy[..., None], dy.dtype.type(0))
    values = values.swapaxes(3, 4).reshape(*dy.shape[:3], kh, kw, dy.shape[3])
    return _add_windows(values, x_shape, strides, pads)


def _counts(x_shape: Shape, window: Pair, strides: Pair, pads: Pads) -> NDArray:
    """How many real pixels each window holds: (1, out_h, out_w, 1)."""
    ones = np.ones((1, x_shape[1], x_shape[2], 1))
    return _windows(_pad(ones, pads), window, strides).sum(axis=(-2, -1))


def average_pool(x: Array, window: Pair, strides: Pair, pads: Pads) -> Array:
    """The mean over each window's real pixels, padding not counted: (n, out_h, out_w, c)."""
    total = _windows(_pad(x, pads), window, strides).sum(axis=(-2, -1))
    return total / _counts(x.shape, window, strides, pads).astype(x.dtype)


def average_pool_backward(
    dy: Array, x_shape: Shape, window: Pair, strides: Pair, pads: Pads
) -> Array:
    """Each window's gradient is shared equally among the pixels that it averaged."""
    share = dy / _counts(x_shape, window, strides, pads).astype(dy.dtype)
    kh, kw = window
    values = np.broadcast_to(share[:, :, :, None, None], (*dy.shape[:3], kh, kw, dy.shape[3]))
    return _add_windows(values, x_shape, strides, pads)


def relu(x: Array) -> Array:
    """max(x, 0) of any shape; NaN stays NaN."""
    return np.maximum(x, x.dtype.type(0))


def relu_backward(dy: Array, y: Array) -> Array:
    """dy where the unit was alive (y > 0), zero elsewhere."""
    return np.where(y > 0, dy, dy.dtype.type(0))


def sum_rows(a: Array) -> Array:
    """(m, k) -> (k,): the sum over the rows, as a bias's gradient needs it."""
    return a.sum(axis=0)


def sgd_step(
    params: Array, grads: Array, velocity: Array, lr: float, momentum: float, nesterov: bool
) -> None:
    """One step of gradient descent with momentum, in place; all arrays flat, (size,).

    velocity <- momentum * velocity - lr * grads, and params += velocity; with Nesterov's look-ahead
    params += momentum * velocity - lr * grads. Source: Sutskever et al. 2013, eqs. 1 to 4.
    """
    velocity *= momentum
    velocity -= lr * grads
    params += momentum * velocity - lr * grads if nesterov else velocity


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
    """Step number t (from 1) of Adam, in place; all arrays flat, (size,).

    weight_decay > 0 shrinks the parameters by lr * weight_decay first (AdamW).
    Source: Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2.
    """
    params *= 1 - lr * weight_decay
    m *= beta_1
    m += (1 - beta_1) * grads
    v *= beta_2
    v += (1 - beta_2) * grads**2
    m_hat = m / (1 - beta_1**t)
    v_hat = v / (1 - beta_2**t)
    params -= lr * m_hat / (np.sqrt(v_hat) + epsilon)


def average_step(average: Array, values: Array, momentum: float) -> None:
    """average <- momentum * average + (1 - momentum) * values, in place; both flat, (size,)."""
    average *= momentum
    average += (1 - momentum) * values


def warp(x: NDArray, maps: Array, field: Array | None = None) -> NDArray:
    """Images seen through maps: y[n, i, j] is x[n] at maps[n] @ (i, j, 1) + field[n, i, j].

    x and y (n, h, w, c), uint8 (rounded) or floating; maps (n, 2, 3) and field (n, h, w, 2), both
    float32, to rows and columns. Bilinear between four pixels; around the image all is zero.
    """
    n, h, w, _ = x.shape
    i, j = np.arange(h, dtype=np.float32)[:, None], np.arange(w, dtype=np.float32)
    m = maps[..., None, None]  # (n, 2, 3, 1, 1)
    at = m[:, :, 0] * i + m[:, :, 2] + m[:, :, 1] * j  # (n, 2, h, w)
    if field is not None:
        at = at + field.transpose(0, 3, 1, 2)
    # one row of zeros before the image, two behind: every position has four neighbours
    framed = _pad(x.astype(np.result_type(x, np.float32), copy=False), (1, 2, 1, 2))
    at = np.clip(at, -1, np.float32([h, w])[:, None, None]) + np.float32(1)
    corner = at.astype(int)  # (n, 2, h, w)
    down, right = (at - corner.astype(np.float32)).swapaxes(0, 1)[..., None]  # (n, h, w, 1) each
    u, v, image = corner[:, 0], corner[:, 1], np.arange(n)[:, None, None]
    upper = framed[image, u, v] + right * (framed[image, u, v + 1] - framed[image, u, v])
    u = u + 1
    lower = framed[image, u, v] + right * (framed[image, u, v + 1] - framed[image, u, v])
    y = upper + down * (lower - upper)
    return np.floor(y + np.float32(0.5)).astype(np.uint8) if x.dtype == np.uint8 else y


def smooth(noise: NDArray[np.uint8], taps: Array) -> Array:
    """noise, 0 to 255 for -1 to 1, convolved with symmetric taps along h and w; zero outside.

    noise and the result (n, h, w, 2); taps (2 r + 1,) float32, and so is the result. A Gaussian's
    values as taps give a Gaussian blur: in two dimensions it is the product of two in one.
    """
    r = len(taps) // 2
    values = (noise.astype(np.float32) - np.float32(127.5)) / np.float32(127.5)
    down = sliding_window_view(_pad(values, (r, r, 0, 0)), len(taps), axis=1) @ taps
    return sliding_window_view(_pad(down, (0, 0, r, r)), len(taps), axis=2) @ taps
