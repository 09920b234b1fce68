"""Residual: a row of layers that learns what to add to its input."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike

from ..errors import InputError, shown
from .base import Array, Footprint, Layer, Shape, join, shapes_along
from .registry import described, from_description, register

__all__ = ["Residual"]


def _twins(row: list[Layer], shape: Shape) -> list[Layer]:
    """The row for an input of another shape, with the same arrays."""
    found = []
    for layer in row:
        found.append(layer.twin(shape))
        shape = found[-1].output_shape
    return found


class InnerArrays(dict):
    """The params, grads or buffers of several layers as one dict: {"main.conv2d.W": array, ...}.

    An array that is put in goes into the layer that owns it as well: a model moves the arrays of
    all its layers into one flat memory that way. They may move without it, too, where an inner
    layer stands in another model as well: `seen` takes over where they are now.
    """

    def __init__(self, inner: dict[str, Layer], store: str) -> None:
        self.owners = {
            f"{name}.{key}": (getattr(layer, store), key)
            for name, layer in inner.items()
            for key in getattr(layer, store)
        }
        super().__init__({name: arrays[key] for name, (arrays, key) in self.owners.items()})

    def __setitem__(self, name: str, array: Array) -> None:
        arrays, key = self.owners[name]
        arrays[key] = array
        super().__setitem__(name, array)

    def seen(self) -> Self:
        for name, (arrays, key) in self.owners.items():
            if isinstance(arrays, InnerArrays):
                arrays.seen()
            super().__setitem__(name, arrays[key])
        return self


@register(
    gradient="dy goes down both ways, through the layers and past them, and dx is the sum",
    uses_blas=False,
)
class Residual(Layer):
    """A shortcut around a row of layers.

    layers    the main row, F
    shortcut  the other row, S; empty for the identity. Where the main row changes the shape, a
              Conv2D with a 1x1 window and the same strides brings x to the same one.

    Shapes    x (n, ...) -> y (n, ...): both rows must end in the same shape
    Forward   y = F(x) + S(x)
    Backward  x is used twice, so it collects the gradient of both uses; a sum hands its gradient
              on to each of its terms unchanged:

                  dL/dF = dy,   dL/dS = dy,   dx = dF/dx^T dy + dS/dx^T dy

              that is, dy goes through both rows, and the two dx are added. With the identity for S
              that is dx = dF/dx^T dy + dy: however small the gradient becomes in the main row, dy
              itself reaches the layers before. In a row of such blocks it reaches the first one,
              and so deep networks learn.
    Cache     nothing; the inner layers keep their own.
    Edges     there is no activation after the sum: put a ReLU() after the block.
              `params`, `grads` and `buffers` are those of the inner layers, called after them:
              "main.conv2d.W", "shortcut.conv2d.W".
    Source    He et al. 2016, "Deep Residual Learning for Image Recognition", eqs. 1 and 2; the
              gradient: He et al. 2016, "Identity Mappings in Deep Residual Networks", eq. 5.
    """

    def __init__(self, layers: Sequence[Layer], shortcut: Sequence[Layer] = ()) -> None:
        super().__init__()
        self.main: list[Layer] = []
        self.shortcut: list[Layer] = []
        for row, given in ((self.main, layers), (self.shortcut, shortcut)):
            for layer in given:
                join(row, layer, "Residual", beside=[*self.main, *self.shortcut])
        if not self.main:
            raise InputError("Residual: expected at least one layer, found none")

    @property
    def trainable(self) -> bool:
        return any(layer.trainable for layer in (*self.main, *self.shortcut))

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in (*self.main, *self.shortcut):
            layer.trainable = value

    @property
    def learns(self) -> bool:
        return any(layer.learns for layer in (*self.main, *self.shortcut))

    def __getstate__(self) -> dict[str, Any]:
        """Without the arrays: they are those of the inner layers."""
        stores = ("_stores",)
        return {key: value for key, value in super().__getstate__().items() if key not in stores}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._collect()

    # the inner layers' arrays, as they are now; what Layer sets in their place is none of them

    @property
    def params(self) -> dict[str, Array]:
        return self._store("params")

    @params.setter
    def params(self, arrays: dict[str, Array]) -> None: ...

    @property
    def grads(self) -> dict[str, Array]:
        return self._store("grads")

    @grads.setter
    def grads(self, arrays: dict[str, Array]) -> None: ...

    @property
    def buffers(self) -> dict[str, Array]:
        return self._store("buffers")

    @buffers.setter
    def buffers(self, arrays: dict[str, Array]) -> None: ...

    def inner(self) -> dict[str, Layer]:
        return {f"main.{layer.name}": layer for layer in self.main} | {
            f"shortcut.{layer.name}": layer for layer in self.shortcut
        }

    def shape_after(self, input_shape: Shape) -> Shape:
        main, shortcut = (
            [input_shape, *(after for _, _, after in shapes_along(row, input_shape))][-1]
            for row in (self.main, self.shortcut)
        )
        if main != shortcut:
            raise InputError(
                "Residual: expected both rows to end in the same shape, "
                f"found {main} for the layers and {shortcut} for the shortcut"
            )
        return main

    def footprint(self, input_shape: Shape) -> Footprint:
        rows = [shapes_along(row, input_shape) for row in (self.main, self.shortcut)]
        inner = [layer.footprint(before) for row in rows for layer, before, _ in row]
        total = super().footprint(input_shape).values + sum(part.values for part in inner)
        return Footprint(total, max(part.reads for part in inner))

    def _inner_shapes(self, method: str, input_shape: Shape) -> dict[str, Shape]:
        steps = [*shapes_along(self.main, input_shape), *shapes_along(self.shortcut, input_shape)]
        return {
            f"{name}.{key}": shape
            for name, (layer, before, _) in zip(self.inner(), steps, strict=True)
            for key, shape in getattr(layer, method)(before).items()
        }

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return self._inner_shapes("parameter_shapes", input_shape)

    def buffer_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return self._inner_shapes("buffer_shapes", input_shape)

    def build(
        self, input_shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Shape:
        again = self.input_shape is not None
        output_shape = self.shape_after(tuple(input_shape))
        for row in (self.main, self.shortcut):
            shape = tuple(input_shape)
            for i, layer in enumerate(row):
                if again:  # asked for: all of it anew
                    layer.build(shape, rng, dtype)
                else:  # inner layers that are built already keep their weights
                    row[i] = layer.joined(shape, rng, dtype)
                shape = row[i].output_shape
        self.input_shape, self.output_shape = tuple(input_shape), output_shape
        self._collect()
        self.cache = None
        return self.output_shape

    def twin(self, input_shape: Shape | None = None) -> Self:
        new = copy.copy(self)
        new.main, new.shortcut = (
            list(row) if input_shape is None else _twins(row, tuple(input_shape))
            for row in (self.main, self.shortcut)
        )
        if input_shape is not None:
            new.input_shape = tuple(input_shape)
            new.output_shape = self.shape_after(new.input_shape)
        new._collect()
        return new

    def _collect(self) -> None:
        """Take the inner layers' arrays as one's own."""
        inner = self.inner()
        self._stores = {name: InnerArrays(inner, name) for name in ("params", "grads", "buffers")}

    def _store(self, name: str) -> dict[str, Array]:
        return self._stores[name].seen() if "_stores" in vars(self) else {}

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        main = shortcut = x
        for layer in self.main:
            main = layer.forward(main, training)
        for layer in self.shortcut:
            shortcut = layer.forward(shortcut, training)
        self.keep(x, ())
        return main + shortcut

    def backward(self, dy: Array) -> Array:
        self.kept(dy)
        main = shortcut = dy
        for layer in reversed(self.main):
            main = layer.backward(main)
        for layer in reversed(self.shortcut):
            shortcut = layer.backward(shortcut)
        return main + shortcut

    def multiply_adds(self) -> int:
        return sum(layer.multiply_adds() for layer in self.inner().values())

    def config(self) -> dict[str, Any]:
        return {
            "layers": [described(layer) for layer in self.main],
            "shortcut": [described(layer) for layer in self.shortcut],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        rows = config["layers"], config.get("shortcut", [])
        if config.keys() - {"layers", "shortcut"} or not all(isinstance(r, list) for r in rows):
            raise InputError(f"Residual: expected lists of layers, found {shown(config)}")
        main, shortcut = ([from_description(entry) for entry in row] for row in rows)
        return cls(main, shortcut)

    def __repr__(self) -> str:
        return f"Residual({self.main}" + (f", shortcut={self.shortcut})" if self.shortcut else ")")
