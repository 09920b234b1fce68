"""What an array would be if a certain mistake had been made: one small function for each mistake.

A hypothesis is asked about one array that is wrong, "y", "dx" or a parameter's gradient, and yields
pairs: what was done, in words that complete "it is what comes out if ...", and the array that comes
out then. If the learner's array is the same to rounding, the hypothesis fits. So a hypothesis is a
rule about numbers: it makes the mistake itself, and never looks at the learner's source.

This file has those that know nothing of a layer but x, dy, y and its parameters.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from .numbers import SAME, Array, distance, factor, number, same, size
from .trial import Trial

Guess = tuple[str, Array]


def sign(t: Trial, name: str) -> Iterator[Guess]:
    yield "every sign is turned", -t.wanted(name)


def batch_mean(t: Trial, name: str) -> Iterator[Guess]:
    right, n = t.wanted(name), len(t.x)
    places = t.dy.size // max(t.dy.shape[-1], 1) if t.dy.ndim else 1
    for count, of in ((n, "examples"), (places, "examples times positions")):
        if count > 1:
            yield f"it is divided by the {count} {of}", right / count
            yield f"it is multiplied by the {count} {of}", right * count


def divided_twice(t: Trial, name: str) -> Iterator[Guess]:
    """By a number that forward divides by, which a constant input does not show: an area."""
    for count in t.areas if not t.layer.params else ():
        yield f"it is divided by {count} once more", t.wanted(name) / count


def missing_factor(t: Trial, name: str) -> Iterator[Guess]:
    mine, right = t.mine(name), t.wanted(name)
    c = factor(mine, right)
    if c is not None:
        yield f"it is multiplied by {number(c)}", c * right
    yield from _factor_of_channels(t, name)
    yield from _factor_of_a_part(mine, right)
    yield from _factor_of_entries(t, name)


def _factor_of_entries(t: Trial, name: str) -> Iterator[Guess]:
    """Each entry off by an array that occurs in formulas: dy, x, y, 1 - y, 1 + y."""
    mine, right, y = t.mine(name), t.wanted(name), t.run.arrays["y"]
    arrays = {"dy": t.dy, "x": t.x, "y": y, "(1 - y)": 1 - y, "(1 + y)": 1 + y}
    for of, a in arrays.items():
        if name != "dx" or a.shape != right.shape or not np.all(a != 0):
            continue
        yield f"{of} is left out", right / a
        yield f"{of} is multiplied by once more", right * a
        off = np.abs(mine - right) > 1e-9 * size(right)
        if 2 < off.sum() < mine.size:
            yield f"{of} is left out of {int(off.sum())} entries", np.where(off, right / a, right)


def _factor_of_channels(t: Trial, name: str) -> Iterator[Guess]:
    right = t.wanted(name)
    for key, a in t.layer.params.items():
        if a.shape == right.shape[-1:] and np.all(a != 0):
            yield f"{key} is left out", right / a
            yield f"{key} is multiplied by once more", right * a
        if key != name and name != "y" and a.ndim == 2 and a.shape[0] == a.shape[1]:
            yield f"{key} is left out", t.gradient(name, t.dy, **{key: np.eye(len(a))})
        if key != name and name != "y":
            with_ones = t.gradient(name, t.dy, **{key: np.ones_like(a)})
            yield f"{key} is taken for 1", with_ones


def _factor_of_a_part(mine: Array, right: Array) -> Iterator[Guess]:
    """Some entries are right, and all others off by one factor, which is not 0."""
    if mine.shape != right.shape or not np.isfinite(mine).all():
        return
    with np.errstate(all="ignore"):
        off = (np.abs(mine - right) > 1e-4 * np.abs(right)) & (right != 0)
        ratio = np.where(off, mine / right, 1.0)
    values = ratio[off]
    if (
        2 < values.size < mine.size
        and values[0] > 0
        and same(values, np.full_like(values, values[0]))
    ):
        part = f"{values.size} of {mine.size} entries are multiplied by {number(values[0])}"
        yield part, np.where(off, right * values[0], right)


def transposed(t: Trial, name: str) -> Iterator[Guess]:
    right = t.wanted(name)
    if right.ndim == 2:
        yield "rows and columns have changed places", right.T
    for key, W in t.layer.params.items():
        if W.ndim in (2, 4) and W.shape[-1] == W.shape[-2] and key != name:
            swapped = np.swapaxes(W, -1, -2)
            yield f"{key} is taken for its transpose", t.otherwise(name, **{key: swapped})
    for key, W in t.layer.params.items():
        for how, array in _matrices_transposed(right if key == name else W):
            if key == name:
                yield f"it is transposed {how}", array
            elif name == "y" or t.follows_like:
                yield f"{key} is transposed {how}", t.otherwise(name, **{key: array})


def _matrices_transposed(W: Array) -> Iterator[Guess]:
    """A kernel is used as a matrix: some axes are its rows, the rest its columns."""
    for split in range(1, W.ndim if W.ndim > 2 else 0):
        rows = int(np.prod(W.shape[:split]))
        matrix = W.reshape(rows, -1)
        how = f"as a matrix {matrix.shape}"
        yield how, matrix.T.reshape(W.shape)
        yield f"{how} read in another order", matrix.reshape(matrix.shape[::-1]).T.reshape(W.shape)
    if W.ndim == 4 and W.shape[0] == W.shape[1]:
        yield "in its window", W.swapaxes(0, 1)


def kernel_flipped(t: Trial, name: str) -> Iterator[Guess]:
    right = t.wanted(name)
    kinds = {(0, 1): "by 180 degrees", (0,): "upside down", (1,): "left to right"}
    for key, W in t.layer.params.items():
        if W.ndim != 4:
            continue
        for axes, how in kinds.items():
            if key == name:
                yield f"the kernel's gradient is turned {how}", np.flip(right, axes)
            else:
                flipped = np.flip(W, axes)
                yield f"the kernel is turned {how}", t.otherwise(name, **{key: flipped})


def axes_permuted(t: Trial, name: str) -> Iterator[Guess]:
    right = t.wanted(name)
    bases = [right] + [right.reshape(s) for s in (t.x.shape, t.dy.shape) if _fits(right, s)]
    for base in bases:
        for how, array in _permuted(base):
            yield f"its {how}", array.reshape(right.shape)
    if name == "y":
        for key, W in t.layer.params.items():
            for how, array in _permuted(W):
                yield f"{key}'s {how}", t.otherwise(name, **{key: array})
        return
    for how, array in _permuted(t.dy):
        yield f"dy's {how}", t.gradient(name, array)
    if t.follows_like:  # at other places numeric gradients take long
        for key, W in t.layer.params.items():
            for how, array in _permuted(W) if key != name else ():
                yield f"{key}'s {how}", t.gradient(name, t.dy, **{key: array})
        for how, array in _permuted(t.x) if name != "dx" else ():
            yield f"x's {how}", t.gradient(name, t.dy, array)


def _fits(a: Array, shape: tuple[int, ...]) -> bool:
    return a.shape != shape and a.size == int(np.prod(shape))


def _permuted(a: Array) -> Iterator[Guess]:
    """The array with its axes in every other order, read as if they were in this one."""
    for order in itertools.permutations(range(a.ndim)):
        if order != tuple(range(a.ndim)):
            yield f"axes are in the order {order}", a.transpose(order).reshape(a.shape)
            shape = [a.shape[i] for i in order]
            back = np.argsort(order)
            yield (
                f"shape is taken for {tuple(shape)} and then transposed by {tuple(back.tolist())}",
                a.reshape(shape).transpose(back),
            )


def overwritten(t: Trial, name: str) -> Iterator[Guess]:
    """A parameter: one example or position alone; dx: one of two ways."""
    if name == "y":
        return
    if name != "dx":
        ends = (("last", -1), ("first", 0))
        # the first example alone is a choice of axes, where a sum of dy is meant: see bias_axes
        for which, at in ends if t.wanted(name).ndim > 1 else ends[:1]:
            for how, keep in (
                (f"the {which} example alone counts", (slice(at, None) if at else slice(1),)),
                (f"the {which} position alone counts", (slice(None), at, at)),
                (f"the {which} position of the {which} example alone counts", (at, at, at)),
            ):
                if len(keep) < max(t.dy.ndim, 2) and len(t.x) > 1:
                    part = np.zeros_like(t.dy)
                    part[keep] = t.dy[keep]
                    yield how, t.gradient(name, part)
        return
    right = t.wanted(name)
    for how, way in t.ways().items():
        yield f"only the way through {how} counts", way
    if t.goes_past:
        yield "only the way past the layers counts (dx = dy)", t.dy
        yield "the way past the layers is left out (dx without + dy)", right - t.dy


def bias_axes(t: Trial, name: str) -> Iterator[Guess]:
    """Sums of dy over every choice of axes, for a parameter whose gradient is a sum of dy."""
    right, mine = t.wanted(name), t.mine(name)
    if name in ("y", "dx") or right.ndim != 1 or t.dy.ndim < 2:
        return
    for of, terms in t.added_up(name):
        for how, array in _permuted(terms):
            every = tuple(range(terms.ndim - 1))
            yield f"{of}'s {how} before it is added up", array.sum(axis=every)
        axes = range(terms.ndim)
        for count in range(terms.ndim + 1):
            for over in itertools.combinations(axes, count):
                total = terms.sum(axis=over)
                how = f"{of} is added up over the axes {over}" if over else f"{of} is not added up"
                if total.ndim == 0:
                    yield how, np.full_like(right, total)
                elif (
                    total.shape == mine.shape
                    and count != terms.ndim - 1
                    or over != tuple(axes)[:-1]
                    and total.shape == right.shape
                ):
                    yield how, total
                elif total.shape[-1:] == right.shape:
                    every = tuple(range(total.ndim - 1))
                    yield f"{how}, and of the rest the first is taken", total[(0,) * len(every)]
                    yield f"{how}, and of the rest the last is taken", total[(-1,) * len(every)]
                    if every:
                        yield f"{how}, and over the rest is a mean", total.mean(axis=every)


def mask_unused(t: Trial, name: str) -> Iterator[Guess]:
    """dx = dy times a constant, where some of x did not pass; or another mask of the same kind."""
    right, mine = t.wanted(name), t.mine(name)
    if name != "dx" or not t.is_elementwise or t.dy.shape != right.shape:
        return
    with np.errstate(all="ignore"):
        gate, used = right / t.dy, mine / t.dy
    kinds = np.unique(np.round(gate, 9))
    if len(kinds) != 2:
        return
    c = factor(mine, t.dy)
    if c is not None and any(np.isclose(abs(c), [*np.abs(kinds), 1])):
        yield f"dx is {number(c)} dy everywhere", c * t.dy
    found = np.unique(np.round(used, 9))
    if len(found) == 2 and 0 in found and 0 in kinds and np.isclose(found[1], kinds[1]):
        agree = int((np.isclose(used, gate)).sum())
        if 0.05 * mine.size < agree < 0.95 * mine.size:
            yield f"another mask is used (it agrees in {agree} of {mine.size} entries)", mine


def mask_unscaled(t: Trial, name: str) -> Iterator[Guess]:
    right = t.wanted(name)
    if name != "dx" or not t.is_elementwise or t.dy.shape != right.shape:
        return
    with np.errstate(all="ignore"):
        gate = right / t.dy
    scale = size(gate)
    if scale > 1 + 1e-9 and same(gate[gate != 0], np.full(int((gate != 0).sum()), scale)):
        yield f"the mask is 0 and 1, not 0 and {number(scale)}", right / scale


def mask_of_dy(t: Trial, name: str) -> Iterator[Guess]:
    if name == "dx" and t.dy.shape == t.wanted(name).shape:
        yield "dx is dy where dy > 0", t.dy * (t.dy > 0)
        yield "dx is dy where dy < 0", t.dy * (t.dy < 0)
        x, right = t.x, t.wanted(name)
        with np.errstate(all="ignore"):
            low = right[x < 0] / t.dy[x < 0]
        if low.size and np.isfinite(low).all() and same(low, np.full_like(low, low.mean())):
            yield "the slope is chosen by dy's sign", np.where(t.dy > 0, t.dy, low.mean() * t.dy)
        yield "the gate is open where x and dy are positive", right * (t.dy > 0)


def derivative_of_output(t: Trial, name: str) -> Iterator[Guess]:
    right = t.wanted(name)
    y = t.run.arrays["y"]
    if name != "dx" or t.dy.shape != right.shape or y is None or y.shape != t.x.shape:
        return
    yield "the derivative is taken at y in place of x", t.gradient(name, t.dy, y)
    for place, a in (("x", t.x), ("dy", t.dy)):
        yield f"v (1 - v) is taken with {place} for v", t.dy * a * (1 - a)
        yield f"1 - v^2 is taken with {place} for v", t.dy * (1 - a * a)
    total = (t.dy * t.x).sum(axis=-1, keepdims=True)
    yield "softmax's formula is taken with x for y", t.x * (t.dy - total)


def diagonal_only(t: Trial, name: str) -> Iterator[Guess]:
    right = t.wanted(name)
    if name != "dx" or t.dy.shape != right.shape or t.is_elementwise or right.ndim < 2:
        return
    diagonal = np.zeros_like(right)
    for k in range(right.shape[-1]):
        part = np.zeros_like(t.dy)
        part[..., k] = t.dy[..., k]
        diagonal[..., k] = t.gradient("dx", part)[..., k]
    yield "dx[i] is dy[i] dy[i]/dx[i] alone", diagonal


def float32_inside(t: Trial, name: str) -> Iterator[Guess]:
    """Right to the seven digits of float32, and no further, where nothing narrower fits."""
    mine, right = t.mine(name), t.wanted(name)
    apart = distance(mine, right)
    if (t.follows_like or name == "y") and apart < SAME / 2:
        yield f"it is rounded to seven digits (it is right to {apart:.0e})", mine
