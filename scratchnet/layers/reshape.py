"""Flatten: an image becomes a vector, so that a Dense layer can read it."""

import math

from .base import Array, Layer, Shape
from .registry import register

__all__ = ["Flatten"]


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
