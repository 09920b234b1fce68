"""What the microscope works on: a copy of the model, one example, one label."""

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import InputError, is_whole
from ..layers import Layer
from ..model import Sequential

Array = NDArray[np.floating]


def copied(model: Sequential, dtype: DTypeLike | None = None, fuse: bool = False) -> Sequential:
    """The model again in other memory: layers, parameters, buffers, random streams, loss."""
    if not isinstance(model, Sequential) or not model.built:
        raise InputError(f"model: expected a built Sequential, found {model!r}")
    layers = [copy.deepcopy(layer) for layer in model.layers]
    found = Sequential(layers, dtype=model.dtype if dtype is None else dtype, fuse=fuse)
    shape = model.input_shape
    for layer in layers:  # anew, in that dtype
        shape = layer.build(shape, found.init_rng, found.dtype)
    found.build(model.input_shape)
    for array, original in zip(found.arrays().values(), model.arrays().values(), strict=True):
        array[...] = original
    for rng, original_rng in zip(_streams(layers), _streams(model.layers), strict=True):
        rng.bit_generator.state = original_rng.bit_generator.state
    found.loss = copy.copy(model.loss)
    found._class_names = model._class_names  # they were checked when they were given
    return found


def one_example(model: Sequential, x: Any) -> Array:
    """x as a batch of one, as the model's first layer takes it; raises unless it is one example."""
    x = np.asarray(x)
    batch = model._input(x[None] if x.shape == model.input_shape else x)
    if len(batch) != 1:
        raise InputError(f"x: expected one example, found {len(batch)}")
    return batch


def checked_label(label: Any, model: Sequential, classes: int | None = None) -> int:
    """The label as a number of a class, or an error. classes: as many as outputs, unless given."""
    if len(model.output_shape) != 1:
        raise InputError(
            f"model: expected a classifier with output (k,), found output {model.output_shape}"
        )
    (k,) = model.output_shape if classes is None else (classes,)
    if not is_whole(label, 0) or label >= k:
        raise InputError(f"label: expected a whole number from 0 to {k - 1}, found {label!r}")
    return int(label)


def _streams(layers: Sequence[Layer]) -> list[np.random.Generator]:
    """The random streams of all layers, in order."""
    every = (getattr(layer, "rng", None) for layer in every_layer(layers))
    return [rng for rng in every if rng is not None]


def every_layer(layers: Sequence[Layer]) -> Iterator[Layer]:
    """All layers, and after each those that it is made of."""
    for layer in layers:
        yield layer
        yield from every_layer(list(layer.inner().values()))
