"""A layer is tried at one input: what it gives, and what is right there.

Every trial works on copies, so that the layer handed in stays as it is: `fresh()` is the layer as
it was, its random streams and buffers included. What is right comes from `like`, another layer
that is known to be right, with the same parameters; where there is none it comes from the layer's
own forward pass, entry by entry, by central differences.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from ..frozen import frozen
from .numbers import EXACT, SAME, Array, distance, same, size

#: what grads are filled with before backward: a number that no gradient has by chance
FILLED = 7.0625
STEP = 1e-5

Made = TypeVar("Made")


@dataclass
class Run:
    """One forward and one backward pass: what came out, or how far it went.

    arrays   "y", "dx" and every parameter's gradient under its name; what is not an array, or is
             missing, is None
    error    the exception, and in which of the two it was raised: ("forward", ...)
    changed  of "x", "dy" and the parameters those that are not what they were
    """

    arrays: dict[str, Any] = field(default_factory=dict)
    error: tuple[str, Exception] | None = None
    changed: dict[str, tuple[Array, Array]] = field(default_factory=dict)
    buffers: dict[str, Array] = field(default_factory=dict)
    dtypes: dict[str, Any] = field(default_factory=dict)


@contextmanager
def same_luck(seed: int = 0) -> Iterator[None]:
    """NumPy's global random numbers begin anew, and go on afterwards as if nothing was."""
    kept = np.random.get_state()  # noqa: NPY002
    np.random.seed(seed)  # noqa: NPY002
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        np.random.set_state(kept)  # noqa: NPY002


def copied(layer: Any) -> Any:
    """A copy, or the thing itself where it can't be copied."""
    try:
        return copy.deepcopy(layer)
    except Exception:  # noqa: BLE001 (a learner's object may hold anything)
        return layer


def as_numbers(value: Any) -> Any:
    """A copy in float64 if it is an array of numbers, else None."""
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return None if value is None else array


def run(layer: Any, x: Array, dy: Array | None, training: bool, fill: float = FILLED) -> Run:
    """Forward and, with a dy, backward; nothing that they raise gets out."""
    done, given = Run(), x.copy()
    params = {key: a.copy() for key, a in layer.params.items()}
    with same_luck():
        try:
            y = layer.forward(given, training)
        except Exception as error:  # noqa: BLE001
            done.error = "forward", error
            return done
        done.arrays["y"], done.dtypes["y"] = as_numbers(y), getattr(y, "dtype", None)
        done.buffers = {key: np.array(a) for key, a in layer.buffers.items()}
        if not same(given, x, 0):
            done.changed["x"] = given.copy(), x
        if dy is None or done.arrays["y"] is None or done.arrays["y"].shape != dy.shape:
            return done
        for grad in layer.grads.values():
            if isinstance(grad, np.ndarray) and grad.flags.writeable:
                grad.fill(fill)
        used = dy.copy()
        try:
            dx = layer.backward(used)
        except Exception as error:  # noqa: BLE001
            done.error = "backward", error
            return done
    done.arrays["dx"], done.dtypes["dx"] = as_numbers(dx), getattr(dx, "dtype", None)
    for key in params:
        done.arrays[key] = as_numbers(layer.grads.get(key))
    if not same(used, dy, 0):
        done.changed["dy"] = used, dy
    for key, a in params.items():
        if not same(layer.params.get(key), a, 0):
            done.changed[key] = np.asarray(layer.params.get(key)), a
    return done


class Trial:
    """A layer at one input x, in training or evaluation; all that explanations ask about.

    run        what the layer does;  right   what it should do
    """

    run: Run

    def __init__(
        self,
        layer: Any,
        like: Any,
        x: Array,
        rng: np.random.Generator,
        training: bool,
        probe: str = "",
        before: "Trial | None" = None,
    ) -> None:
        """before: another trial, whose slopes hold here, too, if both give the same y."""
        self.layer, self.like, self.x, self.training, self.probe = layer, like, x, training, probe
        self._made: dict[Any, Any] = {}
        first = run(self.fresh(), x, None, training)
        y = first.arrays.get("y")
        if like is not None:
            y = run(self.fresh_like(), x, None, training).arrays.get("y", y)
        #: dy/dx and dy/dW of the layer's own forward, as far as they were asked for
        self.jacobians: dict[str, Array] = {}
        self.dy = rng.standard_normal(() if y is None else y.shape)
        if before is not None and same(before.run.arrays.get("y"), first.arrays.get("y"), 0):
            self.dy, self.jacobians = before.dy, before.jacobians
        self.run = run(self.fresh(), x, self.dy, training)

    def fresh(self) -> Any:
        return copied(self.layer)

    def fresh_like(self, **params: Array) -> Any:
        """The layer that is right, with this one's parameters and buffers (or others)."""
        like = copied(self.like)
        for store in ("params", "buffers"):
            mine, theirs = getattr(self.layer, store), getattr(like, store)
            for key, other in zip(theirs, mine, strict=False):
                source = mine[key] if key in mine else mine[other]
                if np.shape(source) == theirs[key].shape:
                    theirs[key][...] = source
        for key, a in params.items():
            like.params[key][...] = a
        return like

    # ---- what is right ------------------------------------------------------------------------

    @cached_property
    def is_random(self) -> bool:
        """Whether it may differ from call to call here: the right one does, or a generator of its
        own draws (put back to where it was, it gives the same)."""
        if not self.training:
            return False
        thing = self.fresh() if self.like is None else self.fresh_like()
        with same_luck():
            try:
                first, second = (np.array(thing.forward(self.x.copy(), True)) for _ in range(2))
            except Exception:  # noqa: BLE001
                return False
        if self.like is not None or same(first, second, 0):
            return not same(first, second, 0)
        again = run(self.fresh(), self.x, None, True).arrays.get("y")
        return same(first, again, 0) or self.gate(first) is not None

    @cached_property
    def is_random_in_training(self) -> bool:
        thing = self.fresh() if self.like is None else self.fresh_like()
        with same_luck():
            try:
                first, second = (np.array(thing.forward(self.x.copy(), True)) for _ in range(2))
            except Exception:  # noqa: BLE001
                return False
        return not same(first, second, 0)

    def gate(self, y: Array) -> Array | None:
        """y / x, if y is x times a mask of zeros and one other number; else None."""
        if y.shape != self.x.shape or not size(self.x):
            return None
        with np.errstate(all="ignore"):
            ratio = np.where(self.x == 0, 0, y / self.x)
        kept = ratio[(ratio != 0) & (self.x != 0)]
        return ratio if kept.size and same(kept, np.full_like(kept, kept[0]), EXACT) else None

    @cached_property
    def y_right(self) -> Array | None:
        """What forward should give; None where nobody knows (there is no like)."""
        if self.like is None or self.is_random:
            return None
        return run(self.fresh_like(), self.x, None, self.training).arrays["y"]

    @cached_property
    def right(self) -> dict[str, Array]:
        """What backward should give, by the name of the array."""
        return self.truth(self.dy)

    @cached_property
    def follows_like(self) -> bool:
        """Whether the right layer's gradients are right for this one: both give the same y."""
        y = self.run.arrays.get("y")
        return self.like is not None and not self.is_random and same(y, self.y_right, EXACT)

    def truth(self, dy: Array, x: Array | None = None, **params: Array) -> dict[str, Array]:
        """The right gradients for another dy, and at other places."""
        place = self.x if x is None else x
        if self.is_random:
            gate = self.gate(self.run.arrays["y"])
            if gate is not None:
                return {"dx": dy * self._gate_at_zeros(gate)}
        elif self.follows_like:
            found = run(self.fresh_like(**params), place, dy, self.training, 0.0)
            order = dict(zip(self.layer.params, self.like.params, strict=False))
            keys = {k: k if k in self.like.params else order.get(k, k) for k in self.layer.params}
            arrays = {mine: found.arrays.get(theirs) for mine, theirs in keys.items()}
            return {"dx": found.arrays["dx"], **{k: a for k, a in arrays.items() if a is not None}}
        names = ("dx", *self.layer.params)
        return {name: self.gradient(name, dy, x, **params) for name in names}

    def gradient(self, name: str, dy: Array, x: Array | None = None, **params: Array) -> Array:
        """One of the arrays of `truth`, without the work for the others."""
        if self.is_random and self.gate(self.run.arrays["y"]) is not None or self.follows_like:
            return self.truth(dy, x, **params)[name]
        if x is None and not params:
            if name not in self.jacobians:
                self.jacobians[name] = self._jacobian(name, self.x, {})
            jacobian = self.jacobians[name]
        else:
            jacobian = self._jacobian(name, self.x if x is None else x, params)
        return np.tensordot(dy, jacobian, dy.ndim)

    def _gate_at_zeros(self, gate: Array) -> Array:
        """The gate, where x is 0 as dx has it: y does not say whether a 0 was dropped."""
        dx = self.run.arrays.get("dx")
        if dx is None or dx.shape != gate.shape or np.all(self.x != 0):
            return gate
        with np.errstate(all="ignore"):
            passed = np.isclose(dx / self.dy, size(gate), rtol=EXACT)
        return np.where((self.x == 0) & passed, size(gate), gate)

    def _jacobian(self, name: str, x: Array, params: dict[str, Array]) -> Array:
        """dy/dx or dy/dW of the layer's own forward, by central differences."""
        layer, x = self.fresh(), x.copy()
        for key, a in params.items():
            layer.params[key][...] = a
        a = x if name == "dx" else layer.params[name]
        slopes = np.empty((a.size, *self.dy.shape))
        with same_luck(), rewound(layer, self.training) as forward:
            for k, index in enumerate(np.ndindex(a.shape)):
                kept = a[index]
                a[index] = kept + STEP
                above = forward(x)
                a[index] = kept - STEP
                slopes[k] = (above - forward(x)) / (2 * STEP)
                a[index] = kept
        return np.moveaxis(slopes, 0, -1).reshape(*self.dy.shape, *a.shape)

    def slopes_beside(self, name: str, step: float = 1e-7) -> tuple[Array, Array]:
        """For each entry of x or a parameter: the loss's slopes to the left and to the right."""
        layer, x = self.fresh(), self.x.copy()
        a = x if name == "dx" else layer.params[name]
        left, right = np.empty(a.shape), np.empty(a.shape)
        with same_luck(), rewound(layer, self.training) as forward:
            here = forward(x)
            for index in np.ndindex(a.shape):
                kept = a[index]
                a[index] = kept - step
                left[index] = ((here - forward(x)) * self.dy).sum() / step
                a[index] = kept + step
                right[index] = ((forward(x) - here) * self.dy).sum() / step
                a[index] = kept
        return left, right

    # ---- what hypotheses ask ------------------------------------------------------------------

    def mine(self, name: str) -> Array:
        """The learner's array."""
        return self.run.arrays[name]

    def wanted(self, name: str) -> Array:
        """The right one."""
        return self.y_right if name == "y" and self.y_right is not None else self.right[name]

    def called(self, name: str) -> str:
        """For a reader: the gradient of W is dW."""
        return name if name in ("y", "dx") else f"d{name}"

    def otherwise(self, name: str, **params: Array) -> Array:
        """The array that the right layer gives with other parameters."""
        if name == "y":
            return run(self.fresh_like(**params), self.x, None, self.training).arrays["y"]
        return self.gradient(name, self.dy, **params)

    def remember(self, make: Callable[["Trial"], Made]) -> Made:
        """make(self), computed once."""
        if make not in self._made:
            self._made[make] = make(self)
        return self._made[make]

    @cached_property
    def is_elementwise(self) -> bool:
        """Whether dx[i] depends on dy[i] alone."""
        if self.dy.shape != self.x.shape:
            return False
        part = np.where(np.arange(self.dy.size).reshape(self.dy.shape) % 2, self.dy, 0)
        if self.dy.ndim > 1 and self.dy.shape[-1] > 1:
            part = np.where(np.arange(self.dy.shape[-1]) % 2, self.dy, 0)
            part[::2] = self.dy[::2] - part[::2]
        return same(self.gradient("dx", part), np.where(part == self.dy, self.right["dx"], 0))

    @cached_property
    def goes_past(self) -> bool:
        """Whether x also goes past what the layer computes: with all parameters 0, dx is dy."""
        params = self.layer.params
        if self.dy.shape != self.x.shape or not params or self.is_random:
            return False
        zeros = {key: np.zeros_like(a) for key, a in params.items()}
        return same(self.gradient("dx", self.dy, **zeros), self.dy)

    @cached_property
    def areas(self) -> list[int]:
        """How many values one output is made of, where that is a whole part of x."""
        found = {self.x.size // self.dy.size} if self.dy.size else set()
        size_of = getattr(self.layer, "pool_size", getattr(self.like, "pool_size", None))
        if size_of is not None:
            found.add(int(np.prod(np.broadcast_to(size_of, 2))))
        return sorted(count for count in found if count > 1)

    def ways(self) -> dict[str, Array]:
        """dx by each of the rows of a layer that has two (a residual block), as `like` has them."""
        if not self.follows_like or not hasattr(self.like, "main"):
            return {}
        like, found = self.fresh_like(), dict[str, Array]()
        with same_luck():
            like.forward(self.x.copy(), self.training)
            for row in ("main", "shortcut"):
                dx = self.dy.copy()
                for layer in reversed(getattr(like, row)):
                    dx = layer.backward(dx)
                found[f"its {row} row"] = np.array(dx)
        return found

    def added_up(self, name: str) -> list[tuple[str, Array]]:
        """Arrays of dy's shape whose sum over all axes but the last is the right gradient."""
        right = self.wanted(name)
        before = tuple(range(self.dy.ndim - 1))
        found = []
        for of, terms in (("dy", self.dy), ("dy x", self._times(self.x))):
            if terms is not None and same(terms.sum(axis=before), right):
                found.append((of, terms))
        return found

    def _times(self, other: Array) -> Array | None:
        return self.dy * other if other.shape == self.dy.shape else None

    # ---- what is wrong ------------------------------------------------------------------------

    @property
    def tolerance(self) -> float:
        return EXACT if self.follows_like else SAME

    @cached_property
    def wrong(self) -> list[str]:
        """The names of the arrays that are not right: "y" alone, or "dx", parameters'."""
        y = self.run.arrays.get("y")
        if self.y_right is not None and not same(y, self.y_right, EXACT):
            return ["y"]
        found = []
        for name, right in self.right.items():
            if not same(self.run.arrays.get(name), right, self.tolerance):
                found.append(name)
        return found

    @cached_property
    def wrong_beyond_kinks(self) -> list[str]:
        """The same without those that are off at kinks alone, by a value between both slopes."""
        found = []
        if self.wrong == ["y"]:
            return self.wrong
        for name in self.wrong:
            mine, right = self.run.arrays.get(name), self.right.get(name)
            if mine is None or right is None or mine.shape != right.shape:
                found.append(name)
                continue
            try:
                left, above = self.slopes_beside(name)
            except Exception:  # noqa: BLE001
                found.append(name)
                continue
            slack = 1e-5 * max(size(right), size(mine), 1e-8)
            low, high = np.minimum(left, above) - slack, np.maximum(left, above) + slack
            off = np.abs(mine - right) > slack / 10
            kinked = np.abs(left - above) > slack
            if bool((off & ~(kinked & (low <= mine) & (mine <= high))).any()):
                found.append(name)
        return found

    def error_of(self, name: str) -> float:
        right = self.y_right if name == "y" else self.right[name]
        return distance(self.run.arrays.get(name), right)


@contextmanager
def rewound(layer: Any, training: bool) -> Iterator[Callable[[Array], Array]]:
    """forward, from the same random numbers and buffers every time."""
    with frozen(layer) as rewind:

        def forward(x: Array) -> Array:
            rewind()
            np.random.seed(0)  # noqa: NPY002
            return np.array(layer.forward(x.copy(), training), dtype=np.float64)

        yield forward
