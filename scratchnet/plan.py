"""Which kernels run which layers: decided once for a model, and printable.

The layers own the parameters and the mathematics. The plan looks at their row and finds runs that
one fused kernel covers; every other layer runs by itself. A group has the layers' own protocol and
computes the same numbers, only without writing to memory what nobody reads:

    Conv2D, ReLU, MaxPool2D    stride 1, any kernel, channels and padding; 2x2 pooling
    Conv2D, with or without ReLU, BatchNorm and Dense likewise; 3x3 convolutions with stride 1 and
    channels in whole vectors with 2.25 times fewer multiplications (see kernels/winograd.py)
    Residual, with or without ReLU    both its rows in groups of their own
    pooling, means, dropout, Softmax  each by itself, in buffers that are kept

A group keeps its buffers from step to step, so that training allocates no arrays. What it returns
is such a buffer: valid until its next forward. The groups are in groups/.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .groups.alone import Dropped, Means, Pool, SoftmaxRows
from .groups.base import Array, Gradients, Group, Single
from .groups.convolution import ConvRelu, ConvReluPool, ConvReluWinograd, fits_winograd
from .groups.dense import DenseRelu
from .groups.normalization import BatchNormRelu
from .kernels.memory import flat_zeros
from .layers import (
    AveragePool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    GlobalAveragePool2D,
    Layer,
    MaxPool2D,
    ReLU,
    Residual,
    Softmax,
)

#: the single image at which a row of kernels is prepared for it (see OneImage): that takes as long
#: as some hundred images, and a few seconds where its kernels are not in the cache
PREPARE_AT = 100


class ResidualGroup(Group):
    """A Residual, and the ReLU behind it if there is one: groups inside both rows.

    The sum is in a buffer of its own, not in one of the inner groups: the main row may need its
    output in backward, and with the identity for a shortcut x and dy belong to the neighbours.
    """

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.relu = len(layers) > 1
        self.main, self.shortcut = (
            make(row, gradients=gradients) for row in (layers[0].main, layers[0].shortcut)
        )
        self.uses_blas = any(group.uses_blas for group in (*self.main, *self.shortcut))

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        main = shortcut = x
        for group in self.main:
            main = group.forward(main, training)
        for group in self.shortcut:
            shortcut = group.forward(shortcut, training)
        self.y = self.sum(main, shortcut, self.relu, self.buffer("y", main.shape))
        return self.y

    def backward(self, dy: Array, need_dx: bool) -> Array | None:
        if self.relu:
            dy = self.where_alive(dy, self.y)
        with self.gradients.holding(dy):
            main = self._back(self.main, dy, need_dx)
            with self.gradients.holding(main) if need_dx else nullcontext():
                shortcut = self._back(self.shortcut, dy, need_dx)
        if not need_dx:
            return None
        return self.sum(main, shortcut, False, self.dx(main.shape, main, shortcut))

    def sum(self, a: Array, b: Array, relu: bool, out: Array) -> Array:
        flat = self.contiguous("a", a).reshape(-1)
        other = self.contiguous("b", b).reshape(-1)
        self.fused.add(flat, other, relu, out.reshape(-1))
        return out

    @staticmethod
    def _back(row: list[Any], dy: Array, need_dx: bool) -> Array | None:
        for number in range(len(row) - 1, -1, -1):
            dy = row[number].backward(dy, need_dx or number > 0)
        return dy

    def __str__(self) -> str:
        rows = (("main", self.main), ("shortcut", self.shortcut))
        inner = [f"\n  {where}: {group}" for where, row in rows for group in row]
        names = " + ".join(str(layer.name) for layer in self.layers)
        return f"{names}: the sum of" + "".join(inner)


class OneImage:
    """The groups for a single image in inference, as one native function (kernels/prepared.py).

    For groups that are `only_kernels`: whatever else forward did would be done once, here.
    """

    def __init__(self, groups: Sequence[Any], shape: tuple[int, ...], dtype: Any) -> None:
        from .kernels import fused
        from .kernels.prepared import Record

        self.groups = groups
        self.record, size = Record(), math.prod(shape)
        self.bytes = np.zeros((1, *shape), np.uint8)
        self.x = self.y = flat_zeros(size, dtype)[:size].reshape(1, *shape)
        self.record.listen(fused).pixels(self.bytes.reshape(-1), self.x.reshape(-1))
        for group in groups:
            self.y = group.recorded(self.y, self.record)
        self.runs: dict[bool, Callable[[], int]] = {}
        stores = [layer.params for group in groups for layer in group.layers]
        self.params = [(store, key, store[key]) for store in stores for key in store]

    def fits(self, groups: Sequence[Any]) -> bool:
        """Whether these are the groups, and their parameters the arrays, that were recorded."""
        for store, key, array in self.params:
            if store[key] is not array:
                return False
        return groups is self.groups

    def predict(self, x: NDArray) -> Array | None:
        """The output for x (1, ...), bytes or numbers; None if a kernel failed."""
        from_bytes = x.dtype == np.uint8
        if from_bytes:
            self.bytes[:] = x
        else:
            self.x[:] = x
        if from_bytes not in self.runs:
            self.runs[from_bytes] = self.record.prepare(0 if from_bytes else 1)
        return None if self.runs[from_bytes]() else self.y.copy()


#: layers that have a kernel of their own, which takes a ReLU behind them along
WITH_RELU: dict[type[Layer], type[Group]] = {
    Dense: DenseRelu,
    Conv2D: ConvRelu,
    BatchNorm: BatchNormRelu,
    Residual: ResidualGroup,
}


#: layers whose kernel takes nothing along
ALONE: dict[type[Layer], type[Group]] = {
    MaxPool2D: Pool,
    AveragePool2D: Pool,
    GlobalAveragePool2D: Means,
    Dropout: Dropped,
    Softmax: SoftmaxRows,
}


def make(
    layers: Sequence[Layer], fuse: bool = True, gradients: Gradients | None = None
) -> list[Single | Group]:
    """The layers in groups, in order: the longest fused kernel that covers what comes next.

    gradients: the memory that they share; their own unless given.
    """
    gradients = gradients or Gradients()
    groups: list[Single | Group] = []
    rest = list(layers)
    while rest:
        kind, count = _next(rest) if fuse else (None, 1)
        groups.append(kind(rest[:count], gradients) if kind else Single(rest[0]))
        del rest[:count]
    return groups


def _next(layers: Sequence[Layer]) -> tuple[type[Group] | None, int]:
    """The group that the row starts with, if any, and how many layers it covers."""
    first = type(layers[0])
    if _conv_relu_pool(layers):
        return ConvReluPool, 3
    if first in ALONE:
        return ALONE[first], 1
    kind = WITH_RELU.get(first)
    if kind is ConvRelu and fits_winograd(layers[0]):
        kind = ConvReluWinograd
    if kind is ResidualGroup and not layers[0].params:
        kind = None
    return kind, 2 if kind and _is(layers, first, ReLU) else 1


def can_be_prepared(groups: Sequence[Single | Group]) -> bool:
    """Whether OneImage can hold them."""
    return all(group.only_kernels for group in groups) and kernels.compiles()


def _is(layers: Sequence[Layer], *kinds: type[Layer]) -> bool:
    """Whether the row starts with exactly these kinds; a subclass may compute something else."""
    return [type(layer) for layer in layers[: len(kinds)]] == list(kinds)


def _conv_relu_pool(layers: Sequence[Layer]) -> bool:
    if not _is(layers, Conv2D, ReLU, MaxPool2D):
        return False
    conv, _, pool = layers[:3]
    return (
        conv.strides == (1, 1)
        and pool.pool_size == pool.strides == (2, 2)
        and pool.pads == (0, 0, 0, 0)
    )
