"""All parameters of a model as one array, of which every layer's are views; likewise the gradients.

So the optimizer is one pass over memory, a checkpoint one block. A layer may stand in several
models (a pretrained base under a new head, a part of a network trained by itself), and then each of
them has room for it in its block. The layer's own arrays are views of one of these blocks at a
time, of the model that asked last for its own: what is asked for takes in what lies elsewhere,
value by value. There is one place where a weight is, `layer.params["W"]`, and so nothing can drift
apart.

Also here: which parts of a block are frozen, and that models which share layers do not train at the
same time.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from .engine.memory import flat_zeros
from .errors import InputError
from .layers import Layer

Array = NDArray[np.floating]


class Place(NamedTuple):
    """Where one array belongs.

    arrays, key   whose it is: `arrays[key]` of the innermost layer that has it
    outer         the same for the layer in the row, which may be made of others
    view          its part of the block, from `start` to `stop`
    owners        numbers of the layers, among those watched, that must not be frozen
    """

    arrays: dict[str, Array]
    key: str
    outer: tuple[dict[str, Array], str]
    view: Array
    start: int
    stop: int
    owners: tuple[int, ...]


class Flat:
    """The arrays of all layers' `store` ("params", "grads" or "buffers") in one block.

    layers    in order, built; the block is theirs as the row is now
    """

    def __init__(self, layers: Sequence[Layer], store: str, dtype: DTypeLike) -> None:
        self.layers, self.store = list(layers), store
        self.watched: list[Layer] = []
        found = [(layer, key, a) for layer in layers for key, a in getattr(layer, store).items()]
        size = sum(array.size for _, _, array in found)
        self.block: Array = flat_zeros(size, dtype)[:size]
        self.places: list[Place] = []
        start = 0
        for layer, key, array in found:
            view = self.block[start : start + array.size].reshape(array.shape)
            self.places.append(self._place(layer, key, array, view, start))
            start += array.size
        self._flags: list[bool] = []
        self._frozen: list[slice] = []
        self.current()

    def _place(self, layer: Layer, key: str, array: Array, view: Array, start: int) -> Place:
        outer = getattr(layer, self.store), key
        arrays, inner_key, owners = *outer, [layer]
        for leaf in layer.leaves():
            for name, inner in getattr(leaf, self.store).items():
                if inner is array and leaf is not layer:
                    arrays, inner_key, owners = getattr(leaf, self.store), name, [leaf, layer]
        for owner in owners:
            if not any(owner is other for other in self.watched):
                self.watched.append(owner)
        numbers = tuple(
            number
            for number, other in enumerate(self.watched)
            if any(other is owner for owner in owners)
        )
        return Place(arrays, inner_key, outer, view, start, start + array.size, numbers)

    def current(self) -> Array:
        """The block, with every array in it as it is now."""
        for place in self.places:
            if place.arrays[place.key] is not place.view:
                self._take_in(place)
        return self.block

    def _take_in(self, place: Place) -> None:
        array = place.arrays[place.key]
        if array.shape != place.view.shape:
            raise InputError(
                f"{place.key}: expected an array {place.view.shape}, found {array.shape}"
            )
        place.view[...] = array
        outer, key = place.outer
        outer[key] = place.view
        place.arrays[place.key] = place.view

    def frozen(self) -> list[slice]:
        """The parts of the block that belong to frozen layers; neighbours are one part."""
        flags = [layer.trainable for layer in self.watched]
        if flags != self._flags:
            self._flags, self._frozen = flags, []
            for place in self.places:
                if all(flags[number] for number in place.owners):
                    continue
                if self._frozen and self._frozen[-1].stop == place.start:
                    self._frozen[-1] = slice(self._frozen[-1].start, place.stop)
                else:
                    self._frozen.append(slice(place.start, place.stop))
        return self._frozen


#: whose arrays a thread trains now: by the layers' flags, which twins share
_trained: dict[int, int] = {}
_lock = threading.Lock()


@contextmanager
def training_alone(layers: Sequence[Layer], held: Any) -> Iterator[None]:
    """Inside, no other thread may come in with any of these layers: it gets a RuntimeError.

    held    the model's own lock, which the caller has and which is released at the end
    """
    mine = threading.get_ident()
    wanted = {id(leaf._flags) for layer in layers for leaf in layer.leaves()}
    with _lock:
        if any(_trained.get(one, mine) != mine for one in wanted):
            held.release()
            raise RuntimeError("Sequential: fit is running in another thread, of a layer in here")
        new = wanted - _trained.keys()
        _trained.update(dict.fromkeys(new, mine))
    try:
        yield
    finally:
        with _lock:
            for one in new:
                del _trained[one]
        held.release()
