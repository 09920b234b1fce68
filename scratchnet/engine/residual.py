"""A Residual, and the ReLU after it: groups inside both rows, and their sum."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

from ..layers import Layer, Residual
from .compiler import parallel
from .group import Array, Gradients, Group, Single
from .memory import SHARDS
from .turns import own_parts


class ResidualGroup(Group):
    """A Residual, and the ReLU after it if there is one.

    The sum is in a buffer of its own, not in one of the inner groups: the main row may need its
    output in backward, and with the identity for a shortcut x and dy belong to the neighbours.

    make    groups a row of layers, in the same memory of gradients (plan.make)
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        gradients: Gradients,
        make: Callable[[Sequence[Layer]], list[Single | Group]],
    ) -> None:
        super().__init__(layers, gradients)
        block = layers[0]
        assert isinstance(block, Residual)
        self.relu = len(layers) > 1
        self.main, self.shortcut = make(block.main), make(block.shortcut)
        self.uses_blas = any(group.uses_blas for group in (*self.main, *self.shortcut))

    def by_themselves(self) -> Iterator[Layer]:
        for group in (*self.main, *self.shortcut):
            yield from group.by_themselves()

    def inner(self) -> Iterator[Single | Group]:
        for group in (*self.main, *self.shortcut):
            yield from group.inner()

    def forward(self, x: Array, training: bool) -> Array:
        self.begin(x)
        main = shortcut = x
        for group in self.main:
            main = group.forward(main, training)
        for group in self.shortcut:
            shortcut = group.forward(shortcut, training)
        self.y = self._sum(main, shortcut, self.relu, self.buffer("y", main.shape))
        return self.y

    def backward(self, dy: Array, need_dx: bool = True) -> Array | None:
        if self.relu:
            dy = self.where_alive(dy, self.y)
        with self.gradients.holding(dy):
            main = _backward(self.main, dy, need_dx)
            with nullcontext() if main is None else self.gradients.holding(main):
                shortcut = _backward(self.shortcut, dy, need_dx)
        if main is None or shortcut is None:
            return None
        return self._sum(main, shortcut, False, self.dx(main.shape, main, shortcut))

    def _sum(self, a: Array, b: Array, relu: bool, out: Array) -> Array:
        flat = self.contiguous("a", a).reshape(-1)
        other = self.contiguous("b", b).reshape(-1)
        self.call(add, flat, other, relu, out.reshape(-1))
        return out

    def __str__(self) -> str:
        rows = (("main", self.main), ("shortcut", self.shortcut))
        inner = [f"\n  {where}: {group}" for where, row in rows for group in row]
        names = " + ".join(str(layer.name) for layer in self.layers)
        return f"{names}: the sum of" + "".join(inner)


def _backward(row: Sequence[Single | Group], dy: Array, need_dx: bool) -> Array | None:
    """dy back through a row; None where its input's gradient is not needed.

    Then it goes no further back than the first layer that learns.
    """
    learn = [i for i, group in enumerate(row) if any(layer.learns for layer in group.layers)]
    first = 0 if need_dx else min(learn, default=len(row))
    for number in range(len(row) - 1, first - 1, -1):
        dx = row[number].backward(dy, need_dx or number > first)
        if dx is None:
            return None
        dy = dx
    return dy if need_dx else None


@parallel
def add(worker, a, b, relu, y):
    """y = a + b, and ReLU if asked for."""
    zero = y.dtype.type(0)
    for shard in own_parts(worker, SHARDS):
        first, last = shard * y.size // SHARDS, (shard + 1) * y.size // SHARDS
        one, other, out = a[first:last], b[first:last], y[first:last]
        if relu:
            for k in range(last - first):
                value = one[k] + other[k]
                out[k] = zero if value <= zero else value
        else:
            for k in range(last - first):
                out[k] = one[k] + other[k]
