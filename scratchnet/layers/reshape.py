"""Flatten: an image becomes a vector, so that a Dense layer can read it; Reshape, any shape."""

import math
from collections.abc import Sequence
from typing import Any

from ..errors import InputError, is_whole, shown
from .base import Array, Layer, Shape
from .registry import register

__all__ = ["Flatten", "Reshape"]

#: of a Reshape's output, without the batch's
MOST_AXES = 8


@register(gradient="dx is dy in the shape of x again", uses_blas=False)
class Flatten(Layer):
    """All axes but the batch's become one.

    Shapes    x (n, h, w, c) -> y (n, h*w*c), in row-major order: channels vary fastest
    Forward   y = x, seen with another shape
    Backward  dx = dy, seen with x's shape
    Cache     nothing.
    Source    none is needed: only the way of counting the values changes.
    """

    def shape_after(self, input_shape: Shape) -> Shape:
        return (math.prod(input_shape),)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        self.keep(x, ())
        return x.reshape(len(x), *self.output_shape)  # (n, h, w, c) -> (n, h*w*c)

    def backward(self, dy: Array) -> Array:
        self.kept(dy)
        return dy.reshape(len(dy), *self.input_shape)  # (n, h*w*c) -> (n, h, w, c)


@register(gradient="dx is dy in the shape of x again", uses_blas=False)
class Reshape(Layer):
    """The same values in another shape: a vector becomes an image, for instance.

    target_shape   the output's, without the batch axis; one -1 in it stands for what is left over

    Shapes    x (n, ...) -> y (n, *target_shape), in row-major order: channels vary fastest
    Forward   y = x, seen with another shape
    Backward  dx = dy, seen with x's shape
    Cache     nothing.
    Edges     a shape for another number of values raises when the layer is built.
    Source    none is needed: only the way of counting the values changes.
    """

    def __init__(self, target_shape: Sequence[int]) -> None:
        super().__init__()
        sizes = target_shape if isinstance(target_shape, (tuple, list)) else ()
        if not 0 < len(sizes) <= MOST_AXES or not all(is_whole(s, -1) and s for s in sizes):
            raise InputError(
                f"Reshape target_shape: expected 1 to {MOST_AXES} positive whole numbers, one of "
                f"them perhaps -1, found {shown(target_shape)}"
            )
        self.target_shape = tuple(int(size) for size in sizes)
        if self.target_shape.count(-1) > 1:
            raise InputError(
                f"Reshape target_shape: expected at most one -1, found {shown(target_shape)}"
            )

    def shape_after(self, input_shape: Shape) -> Shape:
        values, given = math.prod(input_shape), [s for s in self.target_shape if s != -1]
        rest, over = divmod(values, math.prod(given))
        if over or (rest != 1 and len(given) == len(self.target_shape)):
            raise InputError(f"{self}: expected as many values as it has, found {input_shape}")
        return tuple(rest if size == -1 else size for size in self.target_shape)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        self.keep(x, ())
        return x.reshape(len(x), *self.output_shape)  # (n, ...) -> (n, *target_shape)

    def backward(self, dy: Array) -> Array:
        self.kept(dy)
        return dy.reshape(len(dy), *self.input_shape)  # (n, *target_shape) -> (n, ...)

    def config(self) -> dict[str, Any]:
        return {"target_shape": self.target_shape}
