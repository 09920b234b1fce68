"""Hypotheses about windows on images: paddings, strides, overlaps and ties."""

import itertools
from collections.abc import Iterator

import numpy as np

from . import windows
from .hypotheses import Guess
from .numbers import Array, same
from .trial import Trial
from .windows import Window


def window_of(t: Trial) -> Window | None:
    """The window with which the right numbers come out here; None if there is none."""
    y = t.y_right if t.y_right is not None else t.run.arrays.get("y")
    for thing in (t.like, t.layer):
        w = windows.of_layer(thing, t.x, y)
        if w is None or y is None:
            continue
        for kind in ("conv",) if w.kind == "conv" else ("max", "average"):
            changed = w._replace(kind=kind)
            with np.errstate(all="ignore"):
                if same(_output(t, changed, t.x, y.shape[1:3]), y):
                    return changed
    return None


def kernel_of(t: Trial) -> Array | None:
    return next((a for a in t.layer.params.values() if a.ndim == 4), None)


def dpatches_of(t: Trial) -> Array | None:
    """The gradient of each window's values."""
    w = t.remember(window_of)
    return None if w is None else windows.dpatches(w, t.x, kernel_of(t), t.dy)


def _output(t: Trial, w: Window, x: Array, out: windows.Pair | None = None) -> Array:
    b = next((a for a in t.layer.params.values() if a.ndim == 1), None)
    return windows.forward(w, x, kernel_of(t), b, out or t.dy.shape[1:3])


def is_uncut(t: Trial, dx: Array) -> bool:
    """Whether dx is larger than x, and right where the image lies in it."""
    w = t.remember(window_of)
    if w is None or dx.ndim != 4:
        return False
    return same(w.cut(dx, t.x.shape), t.wanted("dx"))


def output_of_another_size(t: Trial, y: Array) -> Iterator[tuple[str, str]]:
    """Causes for which forward gives just this y, of the wrong shape."""
    w = t.remember(window_of)
    if w is None or y.ndim != 4:
        return
    out = y.shape[1:3]
    for strides in _other_strides(w):
        if same(_output(t, w._replace(strides=strides), t.x, out), y):
            yield "stride-forgotten", f"the windows' strides are {strides}, not {w.strides}"
    for pads, changed in _other_pads(w):
        if same(_output(t, changed, t.x, out), y):
            yield "padding-off", f"the padding at the top and the left is {pads[::2]}"


def overlap_overwritten(t: Trial, name: str) -> Iterator[Guess]:
    w, patches = t.remember(window_of), t.remember(dpatches_of)
    if name != "dx" or w is None or patches is None:
        return
    for which in ("last", "first"):
        said = f"of the windows that share a pixel the {which} alone counts"
        yield said, w.cut(w.put_back(patches, t.x.shape, which), t.x.shape)
        sparse = w.put_back(patches, t.x.shape, which, only_nonzero=True)
        yield said, w.cut(sparse, t.x.shape)


def padding_off(t: Trial, name: str) -> Iterator[Guess]:
    w, patches = t.remember(window_of), t.remember(dpatches_of)
    if w is None or patches is None:
        return
    if name == "dx":
        yield from _cut_elsewhere(t, w, patches)
    for pads, changed in _other_pads(w):
        said = f"the padding (top, bottom, left, right) is {pads}, not {w.pads}"
        yield from ((said, a) for a in _made(t, changed, name))
    if name == "y":
        yield from _padded_with_values(t, w)
    if w.kind == "average":
        yield from _counted(t, w, patches, name)


def _cut_elsewhere(t: Trial, w: Window, patches: Array) -> Iterator[Guess]:
    wide = (max(w.size) + 1,) * 2
    padded = np.pad(w.put_back(patches, t.x.shape), ((0, 0), wide, wide, (0, 0)))
    top, left = w.pads[0] + wide[0], w.pads[2] + wide[0]
    for up, side in itertools.product(range(-wide[0], wide[0] + 1), repeat=2):
        cut = w.cut(padded, t.x.shape, (top + up, left + side))
        if (up, side) != (0, 0) and cut.shape == t.x.shape and cut.any():
            yield f"dx is cut out {up} rows and {side} columns off", cut


def _other_pads(w: Window) -> Iterator[tuple[tuple[int, ...], Window]]:
    """Paddings of at most the window's size at the top and the left; the rest follows."""
    total = w.pads[0] + w.pads[1], w.pads[2] + w.pads[3]
    for top in range(max(w.size[0], total[0] + 1)):
        for left in range(max(w.size[1], total[1] + 1)):
            pads = top, max(total[0] - top, 0), left, max(total[1] - left, 0)
            if (top, left) != (w.pads[0], w.pads[2]):
                yield pads, w._replace(pads=pads)


def _padded_with_values(t: Trial, w: Window) -> Iterator[Guess]:
    top, bottom, left, right = w.pads
    x, bare = t.x, w._replace(pads=(0, 0, 0, 0))
    if not any(w.pads):
        return
    sides = (0, 0), (top, bottom), (left, right), (0, 0)
    for how in ("edge", "reflect", "symmetric", "wrap"):
        yield f"the padding is of the kind {how!r}", _output(t, bare, np.pad(x, sides, how))
    for value in (0.0, 1.0, -1.0, float(x.min()), float(x.max()), float(x.mean())):
        padded = np.pad(x, sides, constant_values=value)
        yield f"the padding is {value:.4g}", _output(t, bare, padded)


def _counted(t: Trial, w: Window, patches: Array, name: str) -> Iterator[Guess]:
    """A mean that counts the padding, or that does not where it should."""
    inside = w.patches(np.ones_like(t.x), t.dy.shape[1:3]).sum(axis=(3, 4))
    share = inside / (w.size[0] * w.size[1])
    if name == "y":
        yield "the padding is counted in the mean", t.wanted("y") * share
    elif name == "dx":
        patches = patches * share[:, :, :, None, None]
        yield "the padding is counted in the mean", w.cut(w.put_back(patches, t.x.shape), t.x.shape)


def stride_forgotten(t: Trial, name: str) -> Iterator[Guess]:
    w = t.remember(window_of)
    if w is None:
        return
    for strides in _other_strides(w):
        for array in _made(t, w._replace(strides=strides), name):
            yield f"the windows' strides are {strides}, not {w.strides}", array


def _other_strides(w: Window) -> list[windows.Pair]:
    (sh, sw), (kh, kw) = w.strides, w.size
    others = {(1, 1), (sw, sh), (sh, sh), (sw, sw), (1, sw), (sh, 1), (kh, kw), (kw, kh)}
    return sorted(others - {w.strides})


def _made(t: Trial, w: Window, name: str) -> Iterator[Array]:
    """The array, made with another window."""
    if name == "y":
        yield _output(t, w, t.x)
    elif name == "dx":
        own, right = windows.dpatches(w, t.x, kernel_of(t), t.dy), t.remember(window_of)
        for patches in (own, t.remember(dpatches_of)):
            if patches is not None and right is not None:
                padded = w.put_back(patches, t.x.shape)
                yield w.cut(padded, t.x.shape)
                yield w.cut(padded, t.x.shape, (right.pads[0], right.pads[2]))
    elif kernel_of(t) is not None and t.wanted(name).ndim == 4:
        yield windows.kernel_gradient(w, t.x, t.dy)


def all_ties(t: Trial, name: str) -> Iterator[Guess]:
    yield from _ties(t, name, "all", "every one of several equal maxima gets the whole dy")


def last_tie(t: Trial, name: str) -> Iterator[Guess]:
    yield from _ties(t, name, "last", "the last of several equal maxima gets dy")


def _ties(t: Trial, name: str, ties: str, said: str) -> Iterator[Guess]:
    w = t.remember(window_of)
    if name == "dx" and w is not None and w.kind == "max":
        patches = windows.dpatches(w, t.x, None, t.dy, ties)
        yield said, w.cut(w.put_back(patches, t.x.shape), t.x.shape)


def winner_turned(t: Trial, name: str) -> Iterator[Guess]:
    w = t.remember(window_of)
    if name == "dx" and w is not None and w.kind == "max" and w.size[0] == w.size[1]:
        turned = windows.dpatches(w, t.x, None, t.dy).swapaxes(3, 4)
        dx = w.cut(w.put_back(turned, t.x.shape), t.x.shape)
        yield "the winner's row and column in its window are swapped", dx


def window_mask_unused(t: Trial, name: str) -> Iterator[Guess]:
    w = t.remember(window_of)
    if name == "dx" and w is not None and w.kind == "max":
        patches = np.ones((*t.dy.shape[:3], *w.size, 1)) * t.dy[:, :, :, None, None]
        for share, how in ((1, "dy"), (w.size[0] * w.size[1], "dy / the window's size")):
            spread = w.cut(w.put_back(patches / share, t.x.shape), t.x.shape)
            yield f"every value of a window gets {how}", spread
