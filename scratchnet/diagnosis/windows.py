"""Windows on images, written once more so that each setting can be got wrong on purpose.

A hypothesis such as "the stride was forgotten" is tried by doing just that: the same convolution or
pooling with another stride, and a look whether the learner's numbers come out.
"""

from typing import Any, Literal, NamedTuple

import numpy as np

from ..layers.window import pads_for
from .numbers import Array

Pair = tuple[int, int]
How = Literal["add", "last", "first"]


class Window(NamedTuple):
    """kind "conv", "max" or "average"; size, strides; zeros at the top and at the left."""

    kind: str
    size: Pair
    strides: Pair
    pads: tuple[int, int, int, int]

    def patches(self, x: Array, out: Pair, fill: float = 0.0) -> Array:
        """x (n, h, w, c) -> (n, out_h, out_w, kh, kw, c); beyond the image there is `fill`."""
        (kh, kw), (sh, sw) = self.size, self.strides
        padded = self._padded(x, out, fill)
        rows = np.arange(out[0])[:, None] * sh + np.arange(kh)  # (out_h, kh)
        columns = np.arange(out[1])[:, None] * sw + np.arange(kw)  # (out_w, kw)
        return padded[:, rows[:, None, :, None], columns[None, :, None, :]]

    def _reach(self, shape: tuple[int, ...], out: Pair) -> Pair:
        """The padded image's size: at least as far as the last window reaches."""
        (kh, kw), (sh, sw), (top, bottom, left, right) = self.size, self.strides, self.pads
        return (
            max(shape[1] + max(top, 0) + max(bottom, 0), (out[0] - 1) * sh + kh),
            max(shape[2] + max(left, 0) + max(right, 0), (out[1] - 1) * sw + kw),
        )

    def _padded(self, x: Array, out: Pair, fill: float) -> Array:
        n, h, w, c = x.shape
        top, left = max(self.pads[0], 0), max(self.pads[2], 0)
        high, wide = self._reach(x.shape, out)
        padded = np.full((n, high, wide, c), fill)
        padded[:, top : top + h, left : left + w] = x
        return padded

    def put_back(
        self,
        patches: Array,
        shape: tuple[int, ...],
        how: How = "add",
        only_nonzero: bool = False,
    ) -> Array:
        """The gradient of patches, to where they came from; uncut, with the padding around it.

        "last", "first": a later (an earlier) window replaces what the others left; only_nonzero:
        where it has something to leave.
        """
        n, out_h, out_w, kh, kw, c = patches.shape
        (sh, sw), (high, wide) = self.strides, self._reach(shape, (out_h, out_w))
        dx = np.zeros((n, high, wide, c))
        places = [(i, j) for i in range(out_h) for j in range(out_w)]
        for i, j in places if how != "first" else places[::-1]:
            part = dx[:, i * sh : i * sh + kh, j * sw : j * sw + kw]
            new = patches[:, i, j]
            if how == "add":
                part += new
            else:
                part[...] = np.where(new == 0, part, new) if only_nonzero else new
        return dx

    def cut(self, padded: Array, shape: tuple[int, ...], at: Pair | None = None) -> Array:
        """The image's part of a padded one, from row and column `at`."""
        top, left = at if at is not None else (self.pads[0], self.pads[2])
        return padded[:, top : top + shape[1], left : left + shape[2]]


def of_layer(thing: Any, x: Array, y: Array | None) -> Window | None:
    """The window of a convolution or a pooling, from the attributes that it has."""
    if x.ndim != 4 or y is None or y.ndim != 4 or thing is None:
        return None
    shapes = [np.shape(a) for a in thing.params.values() if np.ndim(a) == 4]
    size = shapes[0][:2] if shapes else getattr(thing, "pool_size", None)
    if size is None or (shapes and shapes[0][2] != x.shape[3]):
        return None
    size = _pair(size)
    strides = _pair(getattr(thing, "strides", None) or (size if not shapes else 1))
    try:
        pads = pads_for(getattr(thing, "padding", "valid"), x.shape[1:3], size, strides)
    except Exception:  # noqa: BLE001 (a padding in a learner's own words)
        return None
    kind = "conv" if shapes else "max"  # or "average": who asks tries both
    return Window(kind, size, strides, tuple(getattr(thing, "pads", pads)))


def _pair(value: Any) -> Pair:
    first, second = value if isinstance(value, (tuple, list)) else (value, value)
    return int(first), int(second)


def forward(window: Window, x: Array, W: Array | None, b: Array | None, out: Pair) -> Array:
    """The output, (n, out_h, out_w, filters)."""
    if window.kind == "max":
        return window.patches(x, out, -np.inf).max(axis=(3, 4))
    if W is None:
        inside = window.patches(np.ones_like(x), out).sum(axis=(3, 4))
        return window.patches(x, out).sum(axis=(3, 4)) / np.maximum(inside, 1)
    y = np.tensordot(window.patches(x, out), W, 3)  # over kh, kw, c
    return y if b is None else y + b


def dpatches(window: Window, x: Array, W: Array | None, dy: Array, ties: str = "first") -> Array:
    """The gradient of each window's values, (n, out_h, out_w, kh, kw, c)."""
    out = dy.shape[1:3]
    if W is not None:
        return np.tensordot(dy, W, (3, 3))  # over the filters: (n, out_h, out_w, kh, kw, c)
    spread = dy[:, :, :, None, None]
    if window.kind == "average":
        inside = window.patches(np.ones_like(x), out)
        return inside * (spread / np.maximum(inside.sum(axis=(3, 4), keepdims=True), 1))
    patches = window.patches(x, out, -np.inf)
    n, oh, ow, kh, kw, c = patches.shape
    flat = patches.reshape(n, oh, ow, kh * kw, c)
    best = flat == flat.max(axis=3, keepdims=True)
    if ties == "first":
        best &= np.cumsum(best, axis=3) == 1
    elif ties == "last":
        best &= np.cumsum(best[:, :, :, ::-1], axis=3)[:, :, :, ::-1] == 1
    shares = best / best.sum(axis=3, keepdims=True) if ties == "shared" else best
    return shares.reshape(patches.shape) * spread


def kernel_gradient(window: Window, x: Array, dy: Array) -> Array:
    """The gradient of the kernel, (kh, kw, c, filters)."""
    return np.tensordot(window.patches(x, dy.shape[1:3]), dy, ((0, 1, 2), (0, 1, 2)))
