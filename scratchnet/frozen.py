"""Running a layer again and again from the same state: random streams and running statistics."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


@contextmanager
def frozen(*layers: Any) -> Iterator[Callable[[], None]]:
    """Hand out a function that puts random streams and buffers back to where they are now.

    At the end of the block they are put back, too.
    """
    streams = [(rng, rng.bit_generator.state) for rng in _generators(layers)]
    buffers = [(array, array.copy()) for layer in layers for array in layer.buffers.values()]

    def rewind() -> None:
        for rng, state in streams:
            rng.bit_generator.state = state
        for array, kept in buffers:
            array[:] = kept

    try:
        yield rewind
    finally:
        rewind()


def _generators(thing: Any) -> list[np.random.Generator]:
    """The random generators that a layer holds, in whatever it holds: layers, lists, dicts."""
    found: list[np.random.Generator] = []
    seen, rest = {}, [thing]
    while rest:
        thing = rest.pop()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing  # kept alive, or another might get its id
        if isinstance(thing, np.random.Generator):
            found.append(thing)
        elif isinstance(thing, (list, tuple)):
            rest += thing
        elif isinstance(thing, dict):
            rest += thing.values()
        elif hasattr(thing, "__dict__") and not isinstance(thing, type):
            rest += vars(thing).values()
    return found
