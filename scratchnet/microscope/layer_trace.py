"""What went through one layer in a forward and a backward pass over one example."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import showing
from ..engine import threads
from ..errors import InputError
from ..frozen import frozen
from ..layers import Layer, MaxPool2D, kind_of
from ..text import shape_text
from .inputs import every_layer
from .stepping import DIRECTIONS, Steps, watched

Array = NDArray[np.floating]
#: what a layer was given and returned, without the batch axis: "input", "output", "dy" and "dx"
Passed = dict[str, Array]


@dataclass(repr=False)
class LayerTrace:
    """What went through one layer; arrays without the batch axis, and in float64.

    name, kind       "conv2d_1", "Conv2D"; for a layer inside another "residual.main.conv2d"
    input, output    x and y, which are other names for them: trace["relu"].x
    dy, dx           dL/dy and dL/dx; dy is None for a Softmax that is folded into the loss
    params, grads    the same keys and shapes in both: {"W": ..., "b": ...}
    rms              the root of the mean square of each array: a norm divided by the root of the
                     size, so that layers compare. Keys "input", "output", "dy", "dx", and "params"
                     and "grads" over all of the layer's parameters; None where there is nothing.
    dead             for a ReLU, and others that make every negative number 0: the share of outputs
                     that are 0, where no gradient passes
    slope            for a layer where y[i] depends on x[i] alone, dy/dx at every place, by its own
                     backward pass: what dy is multiplied with
    sources          for a MaxPool2D, (out_h, out_w, c, 2): row and column of the input that each
                     output was copied from, where its dy goes
    inside           the traces of the layers that a compound layer is made of
    training         whether it ran as in training
    """

    name: str
    kind: str
    layer: Layer = field(repr=False)
    input: Array
    output: Array
    dy: Array | None
    dx: Array
    params: dict[str, Array] = field(default_factory=dict)
    grads: dict[str, Array] = field(default_factory=dict)
    rms: dict[str, float | None] = field(default_factory=dict)
    dead: float | None = None
    slope: Array | None = None
    sources: NDArray[np.int64] | None = None
    inside: list["LayerTrace"] = field(default_factory=list)
    training: bool = False

    @property
    def x(self) -> Array:
        """The input, by the name that it has in the layer's derivation."""
        return self.input

    @property
    def y(self) -> Array:
        """The output likewise."""
        return self.output

    def rows(self) -> dict[str, list["LayerTrace"]]:
        """What is inside, by row: {"main": [...], "shortcut": [...]}; empty rows are left out."""
        found: dict[str, list[LayerTrace]] = {}
        for inner in self.inside:
            found.setdefault(inner.name.removeprefix(self.name).split(".")[1], []).append(inner)
        return found

    def steps(self, direction: str = "forward") -> Steps:
        """The layer's own code, run once more on this example: each line, and what it made.

        direction   "forward" or "backward"
        """
        if direction not in DIRECTIONS:
            raise InputError(
                f"direction: expected one of {', '.join(DIRECTIONS)}, found {direction!r}"
            )
        if direction == "backward" and self.dy is None:
            raise InputError(
                f"{self.name}.backward: expected a layer that has run backward; this one and the "
                "loss are one, and its gradient is the loss's"
            )
        x = self.input[None]
        kept = {key: gradient.copy() for key, gradient in self.grads.items()}
        try:
            with frozen(self.layer), threads.one_blas_thread():
                if direction == "forward":
                    return watched(self.layer, self.name, direction, x, self.training)
                self.layer.forward(x, self.training)
                assert self.dy is not None
                for gradient in self.grads.values():  # so that it is seen what writes them
                    gradient[...] = 0
                return watched(self.layer, self.name, direction, self.dy[None], self.training)
        finally:
            for key, gradient in kept.items():
                self.grads[key][...] = gradient

    def __repr__(self) -> str:
        shapes = f"{shape_text(self.input.shape)} -> {shape_text(self.output.shape)}"
        size = self.rms.get("dy")
        return f"LayerTrace({self.name}: {shapes}" + (f", rms dy {size:.3g})" if size else ")")

    def _repr_html_(self) -> str:
        """Each array's shape and size, and a picture of those that went through."""
        passed = {"x": self.input, "y": self.output, "dy": self.dy, "dx": self.dx}
        there = {name: a for name, a in passed.items() if a is not None}
        own = {name: a for key, a in self.params.items() for name, a in self._beside(key, a)}
        rows = []
        for name, a in (there | own).items():
            numbers = (root_mean_square(a) or 0.0, a.min(), a.max()) if a.size else ()
            rows.append((name, shape_text(a.shape), *(f"{value:.3g}" for value in numbers)))
        dead = "" if self.dead is None else f", {100 * self.dead:.1f} % of y is 0"
        found = showing.heading(f"{self.name} ({self.kind}){dead}")
        found += showing.table(("array", "shape", "rms", "min", "max"), rows, left=2)
        side = 180 if any(a.ndim == 3 and a.shape[2] > 3 for a in there.values()) else showing.SIDE
        return found + showing.pictures(there.items(), side)

    def _beside(self, key: str, a: Array) -> Iterator[tuple[str, Array]]:
        """A parameter, and its gradient."""
        yield key, a
        if key in self.grads:
            yield f"d{key}", self.grads[key]

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary; arrays stay arrays."""
        fields = {key: value for key, value in vars(self).items() if key != "layer"}
        return {
            **fields,
            "config": self.layer.config(),
            "inside": [inner.to_dict() for inner in self.inside],
        }


def layer_trace(
    layer: Layer, name: str, passed: dict[int, Passed], training: bool = False
) -> LayerTrace:
    """The trace of a layer that has run, from what `listening` heard."""
    arrays = passed[id(layer)]
    dy = arrays.get("dy")
    rms = {key: root_mean_square(arrays.get(key)) for key in ("input", "output", "dy", "dx")}
    rms["params"] = root_mean_square(*layer.params.values())
    rms["grads"] = root_mean_square(*layer.grads.values())
    slope = None if dy is None else _slope(layer, arrays["input"], dy)
    return LayerTrace(
        name,
        type(layer).__name__,
        layer,
        arrays["input"],
        arrays["output"],
        dy,
        arrays["dx"],
        dict(layer.params),
        dict(layer.grads),
        rms,
        slope=slope,
        dead=_dead(layer, arrays["output"]),
        sources=_sources(layer) if type(layer) is MaxPool2D else None,
        inside=[
            layer_trace(inner, f"{name}.{key}", passed, training)
            for key, inner in layer.inner().items()
        ],
        training=training,
    )


def every_trace(layers: Sequence[LayerTrace]) -> Iterator[LayerTrace]:
    """All traces, and after each those inside it."""
    for t in layers:
        yield t
        yield from every_trace(t.inside)


@contextmanager
def listening(layers: Sequence[Layer]) -> Iterator[dict[int, Passed]]:
    """Inside the block, note what every layer is given and returns: by the layer's id."""
    every = list(every_layer(layers))
    passed: dict[int, Passed] = {id(layer): {} for layer in every}
    for layer in every:
        _listen(layer, passed[id(layer)])
    try:
        yield passed
    finally:
        for layer in every:
            del vars(layer)["forward"], vars(layer)["backward"]


def _listen(layer: Layer, arrays: Passed) -> None:
    forward, backward = layer.forward, layer.backward

    def heard_forward(x: Array, training: bool = False) -> Array:
        y = forward(x, training)
        arrays["input"], arrays["output"] = x[0], y[0]
        return y

    def heard_backward(dy: Array) -> Array:
        dx = backward(dy)
        arrays["dy"], arrays["dx"] = dy[0], dx[0]
        return dx

    # the instance's own come before the class's
    vars(layer).update(forward=heard_forward, backward=heard_backward)


def root_mean_square(*arrays: Array | None) -> float | None:
    """Over all entries of all arrays together; None where there are none."""
    there = [a for a in arrays if a is not None]
    size = sum(a.size for a in there)
    return math.sqrt(sum(float(np.square(a).sum()) for a in there) / size) if size else None


def _dead(layer: Layer, output: Array) -> float | None:
    """The share of outputs that are 0; None for a layer that lets negative numbers through."""
    if kind_of(layer).formula is None:
        return None
    lets_through = layer.forward(np.full((1, *layer.input_shape), -1.0)).any()
    return None if lets_through else float(np.mean(output == 0))


def _slope(layer: Layer, x: Array, dy: Array) -> Array | None:
    """dy/dx at every place: what comes back for a dy of 1; None where y[i] is not of x[i] alone."""
    if kind_of(layer).formula is None or layer.params:
        return None
    with frozen(layer):
        layer.forward(x[None])
        return layer.backward(np.ones((1, *dy.shape)))[0]


def _sources(layer: MaxPool2D) -> NDArray[np.int64]:
    """Row and column of the winner of each window, from what the layer keeps for backward."""
    u, v = np.divmod(layer.cache[0].astype(np.int64), layer.pool_size[1])
    i, j = np.indices(u.shape[:2])
    rows = i[..., None] * layer.strides[0] + u - layer.pads[0]
    places = j[..., None] * layer.strides[1] + v - layer.pads[2]
    return np.stack([rows, places], axis=-1)
