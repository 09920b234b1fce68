"""What can be seen of a model from outside: its layers, parameters and tables."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import summary
from .flat import Flat
from .layers import Layer
from .ranges import Range, Watch
from .summary import Row

Array = NDArray[np.floating]
Shape = tuple[int, ...]


class Looking:
    """A part of Sequential: what it is made of. It is the row of layers, and their flat arrays."""

    layers: list[Layer]
    # None before the model is built; everything that reads it comes after that
    input_shape: Shape
    _flats: dict[str, Flat]
    _watch: Watch

    @property
    def built(self) -> bool:
        return self.input_shape is not None

    @property
    def flat_params(self) -> Array:
        return self._flats["params"].current()

    @property
    def flat_grads(self) -> Array:
        return self._flats["grads"].current()

    @property
    def flat_buffers(self) -> Array:
        return self._flats["buffers"].current()

    @property
    def trained_on(self) -> Range | None:
        """Dtype and range of the images that it was trained on; None where that is not known."""
        return self._watch.trained_on

    @trained_on.setter
    def trained_on(self, found: Range | None) -> None:
        self._watch = Watch(found)

    def frozen_parts(self, store: str = "params") -> list[slice]:
        """The parts of flat_params, or of flat_buffers, that no step may change."""
        return self._flats[store].frozen()

    @property
    def trainable(self) -> bool:
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = value

    def parameters(self, frozen: bool = True) -> dict[str, Array]:
        """All parameters by name, such as "conv2d.W"; views of flat_params.

        frozen    False: without those of frozen layers
        """
        found = {
            f"{layer.name}.{key}": array
            for layer in self.layers
            for key, array in layer.params.items()
        }
        still = [] if frozen else [self.flat_params[part] for part in self.frozen_parts()]
        return {
            name: array
            for name, array in found.items()
            if not any(np.may_share_memory(array, part) for part in still)
        }

    def arrays(self) -> dict[str, Array]:
        """All parameters and buffers by name, such as "conv2d.W"; the model's own memory."""
        return {
            f"{layer.name}.{key}": array
            for layer in self.layers
            for key, array in (layer.params | layer.buffers).items()
        }

    def rows(self) -> Iterator[Row]:
        """What `summary` prints, as data: one Row a layer.

        A layer made of others has no numbers of its own; these follow it, called after it:
        "residual.main.conv2d".
        """
        self._check_built("summary")
        yield from summary.rows(self)

    def count_params(self) -> int:
        """The number of learnt values, frozen ones too."""
        return sum(array.size for layer in self.layers for array in layer.params.values())

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print a table: layer, name, output shape, parameters, multiply-adds an image.

        On a terminal too narrow for it, a list. print_fn gets the whole table as one text.
        """
        self._check_built("summary")
        summary.show(self, print_fn)

    def _repr_html_(self) -> str:
        return summary.html_table(self)

    def _check_built(self, what: str) -> None:
        if not self.built:
            raise RuntimeError(f"{what}: the model has no input shape yet; build it first")
