"""Windows that slide over an image: their size, strides and padding, and how often they fit."""

from typing import Any

import numpy as np

from ..errors import InputError, is_whole, shown
from .base import Footprint

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]  # top, bottom, left, right
BatchShape = tuple[int, int, int, int]  # n, h, w, c


def pair(value: Any, name: str) -> Pair:
    """3 -> (3, 3); (3, 5) -> (3, 5). Anything but one or two positive whole numbers raises."""
    values = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(values) != 2 or not all(is_whole(v, 1) for v in values):
        raise InputError(
            f"{name}: expected a positive whole number or a pair of them, found {shown(value)}"
        )
    return int(values[0]), int(values[1])


def plain(padding: Any) -> Any:
    """Padding as it was written, in Python's own numbers."""
    if is_whole(padding):
        return int(padding)
    return tuple(plain(p) for p in padding) if isinstance(padding, (tuple, list)) else padding


def pads_for(padding: Any, size: Pair, window: Pair, strides: Pair) -> Pads:
    """(top, bottom, left, right) zeros around an image of `size`.

    padding "valid": none. "same": out = ceil(size / stride), the odd zero at the bottom and right,
    as TensorFlow does. A whole number p: p on every side. A pair (ph, pw), or a pair of pairs
    ((top, bottom), (left, right)): as written.
    """
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        pads = []
        for extent, k, s in zip(size, window, strides, strict=True):
            total = max((-(-extent // s) - 1) * s + k - extent, 0)
            pads += [total // 2, total - total // 2]
        return pads[0], pads[1], pads[2], pads[3]
    sides: list[int] = []
    try:
        for p in (padding, padding) if is_whole(padding) else padding:
            sides += [p, p] if is_whole(p) else list(p)
    except TypeError:
        sides = []
    if isinstance(padding, str) or len(sides) != 4 or not all(is_whole(p, 0) for p in sides):
        raise InputError(
            'padding: expected "valid", "same", a whole number, (ph, pw) or '
            f"((top, bottom), (left, right)), none below 0, found {shown(padding)}"
        )
    return sides[0], sides[1], sides[2], sides[3]


def checked_padding(padding: Any, owner: str) -> Any:
    """Padding as it was written, in Python's own numbers, if `pads_for` understands it."""
    try:
        pads_for(padding, (1, 1), (1, 1), (1, 1))
    except InputError as error:
        raise InputError(f"{owner} {error}") from None
    return plain(padding)


def spread(window: Pair, dilation: Pair) -> Pair:
    """How many pixels a dilated window spans, the gaps included: (k - 1) * d + 1."""
    (kh, kw), (dh, dw) = window, dilation
    return (kh - 1) * dh + 1, (kw - 1) * dw + 1


def window_footprint(
    before: tuple[int, ...],
    after: tuple[int, ...],
    window: Pair,
    strides: Pair,
    padding: Any,
    dilation: Pair = (1, 1),
) -> Footprint:
    """The `Layer.footprint` of a window from shape (h, w, c) to (out_h, out_w, channels)."""
    h, w, c = before
    top, bottom, left, right = pads_for(padding, (h, w), spread(window, dilation), strides)
    padded = (h + top + bottom) * (w + left + right) * c
    out_h, out_w, channels = after
    # NumPy loops over the window's places: one costs as much as some hundred values
    reads = window[0] * window[1] * max(out_h * out_w * c, 512)
    return Footprint(padded + out_h * out_w * channels, reads)


def fitted(
    layer: object, size: Pair, window: Pair, strides: Pair, padding: Any
) -> tuple[Pads, Pair]:
    """The padding in numbers and the output's height and width; raises where no window fits."""
    pads = pads_for(padding, size, window, strides)
    out_h, out_w = output_size(size, window, strides, pads)
    if out_h < 1 or out_w < 1:
        raise InputError(
            f"{layer}: a window of {window[0]}x{window[1]} does not fit into an image of "
            f"{size[0]}x{size[1]}"
        )
    return pads, (out_h, out_w)


def output_size(size: Pair, window: Pair, strides: Pair, pads: Pads) -> Pair:
    """How often the window fits: floor((size + pads - window) / stride) + 1, along each axis.

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", eq. 6.
    """
    top, bottom, left, right = pads
    (h, w), (kh, kw), (sh, sw) = size, window, strides
    return (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1


def winner_dtype(window: Pair) -> type:
    """A byte says which value of a window won, unless the window is larger than 16x16."""
    return np.uint8 if window[0] * window[1] <= 256 else np.int32
