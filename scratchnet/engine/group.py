"""What all groups share: buffers, the memory of gradients, and how arrays are brought into form."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers import Layer, kind_of
from ..layers.base import Ran
from ..layers.window import Pads
from .compiler import parallel, serial
from .functions import relu_backward_into
from .memory import SHARDS, SLACK, VECTOR_BYTES, flat_with_slack, flat_zeros, lanes
from .simd import load, store, transpose_four, zeros
from .sums import Share, tree_sum
from .target import ONE
from .threads import threads
from .turns import APART, own_parts

Array = NDArray[np.floating]

#: of one group's buffers: batches of many sizes need as many
MOST_VIEWS = 200
#: of a matrix, that are transposed at a time
ROWS = 64


class Buffers:
    """Arrays that are kept from one step to the next."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.memory: dict[str, NDArray] = {}
        # a step asks for some forty arrays, and each for those that the step before it had
        self._views: dict[tuple, NDArray] = {}

    def buffer(self, name: str, shape: tuple[int, ...], dtype: Any = None) -> NDArray:
        """An array of that shape with slack after it; the same memory again while it fits."""
        asked = name, shape, dtype
        view = self._views.get(asked)
        if view is None:
            view = self._views[asked] = self._view(name, shape, np.dtype(dtype or self.dtype))
        return view

    def _view(self, name: str, shape: tuple[int, ...], dtype: np.dtype) -> NDArray:
        size, flat = math.prod(shape), self.memory.get(name)
        grows = flat is None or flat.size < size + SLACK or flat.dtype != dtype
        if grows or len(self._views) >= MOST_VIEWS:
            self._views.clear()  # some are of the memory before
        if flat is None or grows:
            flat = self.memory[name] = flat_zeros(size, dtype)
        return flat[:size].reshape(shape)

    def contiguous(self, name: str, a: NDArray) -> NDArray:
        """a itself if it is that, or a copy."""
        if a.flags.c_contiguous:
            return a
        out = self.buffer(name, a.shape, a.dtype)
        out[:] = a
        return out


class Gradients:
    """Memory for the gradients between groups, which a backward pass needs for a moment each.

    What is taken is valid until the group before the taker has had its turn: a user's layer
    that wants to keep its dy copies it.

    All groups of a model share it: two arrays in turn instead of one for each group, and a third
    and a fourth while a Residual goes back along both its rows. What is so small stays in the
    processor's caches.

    share   which part of the batch the groups compute
    """

    def __init__(self) -> None:
        self.share = Share()
        self.slots: list[NDArray] = []
        self.held: list[NDArray] = []

    def take(self, shape: tuple[int, ...], dtype: Any, *keep: NDArray) -> NDArray:
        """An array that shares no memory with `keep` and with what is held; slack after it."""
        size, keep = math.prod(shape), (*keep, *self.held)
        free = [
            number
            for number, slot in enumerate(self.slots)
            if slot.dtype == dtype and not any(np.may_share_memory(slot, other) for other in keep)
        ]
        fits = [number for number in free if self.slots[number].size >= size + SLACK]
        if fits:
            slot = self.slots[fits[0]]
        else:
            slot = flat_zeros(size, dtype)
            if free:
                self.slots[free[0]] = slot
            else:
                self.slots.append(slot)
        return slot[:size].reshape(shape)

    @contextmanager
    def holding(self, array: NDArray) -> Iterator[None]:
        """Inside, no other array takes its memory."""
        self.held.append(array)
        try:
            yield
        finally:
            self.held.pop()


class Single:
    """A layer that runs by itself, as it is written in layers/."""

    only_kernels = False
    sums_whole = False

    def __init__(self, layer: Layer) -> None:
        self.layers = [layer]
        self.uses_blas = any(kind_of(leaf).uses_blas for leaf in layer.leaves())

    def forward(self, x: Array, training: bool) -> Array:
        return self.layers[0].forward(x, training)

    def backward(self, dy: Array, need_dx: bool = True) -> Array:
        return self.layers[0].backward(dy)

    def by_themselves(self) -> Iterator[Layer]:
        """The layers that keep in themselves what backward needs, and not in the group."""
        yield from self.layers[0].leaves()

    def inner(self) -> "Iterator[Single | Group]":
        yield self

    def __repr__(self) -> str:
        return f"{self.layers[0].name}: by itself"


class DryRun(list):
    """As a group's `record`: its calls are noted and not made, so that nothing is compiled."""


class Group(Buffers):
    """Layers that one fused kernel covers.

    forward keeps what backward needs; backward writes the layers' grads and returns dx, or None
    where it is not needed.
    """

    #: what runs them, in a few words for `model.plan()`
    kernel = ""
    uses_blas = False
    #: whether forward is calls of loops alone, so that a row of them can be prepared (single.py)
    only_kernels = False
    #: where `call` notes what it calls, while somebody wants to know
    record: list[tuple[Any, tuple]] | None = None
    #: whether backward leaves the gradients of the whole batch, wherever that is computed
    sums_whole = False

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        self.layers = list(layers)
        self.params, self.grads = layers[0].params, layers[0].grads
        super().__init__(next((p.dtype for p in self.params.values()), np.float32))
        self.lane = lanes(self.dtype)
        self._slack: dict[str, tuple[Array, Array | None]] = {}
        self.gradients = gradients
        self._workers = 1

    def forward(self, x: Array, training: bool) -> Array:
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def by_themselves(self) -> Iterator[Layer]:
        """See `Single`; most groups have none in them."""
        yield from ()

    def inner(self) -> "Iterator[Single | Group]":
        """The groups that this one is made of; most are one."""
        yield self

    def begin(self, x: Array) -> None:
        """Check the input; and note in the layers that they did not run themselves."""
        self.layers[0].check_input(x)
        self._workers = min(threads(), SHARDS)  # asked once: Numba takes a while to answer
        for layer in self.layers:
            layer.ran_inside(Ran.FUSED)

    def call(self, loop: Any, *arguments: Any) -> None:
        """Run a compiled loop."""
        if self.record is not None:
            self.record.append((loop, arguments))
            if isinstance(self.record, DryRun):
                return
        loop(*arguments)

    def contiguous(self, name: str, a: Array) -> Array:
        """a in the group's dtype and contiguous: itself if it is that, or a copy."""
        if a.dtype == self.dtype:
            return super().contiguous(name, a)
        out = self.buffer(name, a.shape)
        out[:] = a
        return out

    @property
    def share(self) -> Share:
        return self.gradients.share

    def shards(self, n: int) -> int:
        """Into how many parts a sum over n images is cut."""
        return self.gradients.share.shards(n)

    def workers(self) -> int:
        """How many threads work at the same time, each in scratch of its own."""
        return self._workers

    def turns(self) -> Array:
        """For loops whose parts are handed out while they run: see turns.py."""
        return self.buffer("turns", (self.workers(), APART), np.int64)

    def total(self, name: str, parts: Array) -> Array:
        """The sum of the shards' parts, along the first axis; the parts change."""
        out = self.buffer(f"{name} in all", parts.shape[1:], parts.dtype)
        return tree_sum(parts, out, 1, self.call)

    def totals(self, name: str, parts: Array, lots: int) -> Array:
        """The same for each lot: (lots, ...); the parts themselves where each is a lot."""
        if len(parts) == lots:
            return parts
        out = self.buffer(f"{name} by lot", (lots, *parts.shape[1:]), parts.dtype)
        return tree_sum(parts, out, lots, self.call)

    def dx(self, shape: tuple[int, ...], *keep: Array) -> Array:
        """Memory for what backward returns; keep: what it reads meanwhile."""
        return self.gradients.take(shape, self.dtype, *keep)

    def flat(self, name: str, x: Array) -> Array:
        """x as flat memory with slack after it: its own if it has that, or a copy."""
        root = self.with_slack(name, x) if x.dtype == self.dtype else None
        if root is None:
            self.buffer(name, x.shape)[:] = x
            root = self.memory[name]
        return root

    def with_slack(self, name: str, x: Array) -> Array | None:
        """`flat_with_slack`; where x is the array that it was before, it is not asked again."""
        known = self._slack.get(name)
        if known is None or known[0] is not x:
            known = self._slack[name] = x, flat_with_slack(x)
        return known[1]

    def framed(self, x: Array, pads: Pads) -> Array:
        """x (n, h, w, c) in a frame of zeros; x itself if the frame has no width."""
        if not any(pads):
            return x
        n, h, w, c = x.shape
        top, bottom, left, right = pads
        high, run = top + h + bottom, (left + w + right) * c
        out = self.buffer("x", (n, high, left + w + right, c))
        x, to = self.contiguous("unframed", x).reshape(-1), out.reshape(-1)
        self.call(frame, x, n, h, w * c, top, left * c, high, run, to)
        return out

    def columns(self, name: str, a: Array, width: int) -> Array:
        """a (m, k) with zero columns added up to `width`; a itself if it has as many."""
        if a.shape[1] == width:
            return self.contiguous(name, a)
        return self.tiled(name, a, width, width).reshape(len(a), width)

    def tiled(self, name: str, a: Array, width: int, step: int) -> Array:
        """a (m, k) with as many columns as `width` says, in tiles: (width / step, m, step)."""
        m, k = a.shape
        out = self.buffer(name, (width // step, m, step))
        flat = self.contiguous(f"{name} in one", a).reshape(-1)
        self.call(columns, flat, m, k, self.memory[name], width, step)
        return out

    def transposed(self, name: str, a: Array, width: int) -> Array:
        """a (m, k) as (k, width), with zero columns added up to `width`."""
        m, k = a.shape
        out = self.buffer(name, (k, width))
        flat = self.contiguous(f"{name} in one", a).reshape(-1)
        self.call(transpose, flat, m, k, out.reshape(-1), width)
        return out

    def narrow(self, name: str, a: Array, width: int) -> Array:
        """The first `width` entries of a's last axis, contiguous; a itself if it has no more."""
        if a.shape[-1] == width:
            return a
        out = self.tiled(name, a.reshape(-1, a.shape[-1]), width, width)
        return out.reshape(*a.shape[:-1], width)

    def where_alive(self, dy: Array, y: Array) -> Array:
        """dy where y > 0, zero elsewhere: the gradient before a ReLU."""
        flat = self.contiguous("dy in one", dy).reshape(-1)
        alive = self.contiguous("y in one", y).reshape(-1)
        out = self.dx(dy.shape, flat)
        self.call(relu_backward_into, flat, alive, out.reshape(-1))
        return out

    def bias(self, width: int) -> Array:
        b = self.params.get("b")
        if b is not None and b.size == width and b.flags.c_contiguous:
            return b
        if b is None:
            return self.buffer("bias", (width,))  # of zeros: nothing writes there
        return self.columns("bias", b.reshape(1, -1), width).reshape(-1)

    def __repr__(self) -> str:
        return f"{' + '.join(str(layer.name) for layer in self.layers)}: fused, {self.kernel}"


@parallel
def frame(worker, x, n, h, run, top, left, out_h, out_run, out):
    """out (n, out_h, out_run) <- x (n, h, run) from row `top` and place `left` on, zero around."""
    for shard in own_parts(worker, SHARDS):
        for image in range(shard * n // SHARDS, (shard + 1) * n // SHARDS):
            for i in range(out_h):
                row = out[(image * out_h + i) * out_run : (image * out_h + i + 1) * out_run]
                row[:] = 0
                if top <= i < top + h:
                    at = (image * h + i - top) * run
                    source, inner = x[at : at + run], row[left : left + run]
                    for k in range(run):
                        inner[k] = source[k]


@serial  # little work, most often for weights
def columns(a, m, k, out, width, step):
    """out (width / step, m, step) <- a (m, k), with zero columns added or columns left out.

    In whole vectors: what a row has too much, the next one overwrites; the last has slack after it.
    """
    lane = VECTOR_BYTES // a.itemsize
    for j in range(0, width, step):
        count, to = max(0, min(step, k - j)), j * m
        for at in range(j, j + m * k, k):
            s = 0  # not a range: how many steps it has would be a division for every row
            while s < count:
                if at + s + lane <= a.size:
                    store(out, to + s, load(ONE, a, at + s))
                else:
                    for r in range(s, count):
                        out[to + r] = a[at + r]
                s += lane
            s = count
            while s < step:
                store(out, to + s, zeros(ONE, a))
                s += lane
            to += step


@parallel
def transpose(worker, a, m, k, out, width):
    """out (k, width) <- a (m, k), its columns as rows; out's columns from m on stay as they are."""
    for shard in own_parts(worker, SHARDS):
        first, end = shard * k // SHARDS // 4 * 4, (shard + 1) * k // SHARDS // 4 * 4
        for top in range(0, m - m % 4, ROWS):  # as many cache lines of a as are read once more
            for j in range(first, end, 4):
                for i in range(top, min(top + ROWS, m - m % 4), 4):
                    transpose_four(a, i * k + j, k, out, j * width + i, width)
        for j in range(first, end if shard + 1 < SHARDS else k):
            for i in range(m - m % 4 if j < k - k % 4 else 0, m):
                out[j * width + i] = a[i * k + j]
