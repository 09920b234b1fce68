"""A rank's part of a batch that lies in several processes: see distributed.py."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .group import Gradients
from .memory import LOTS
from .sums import Share, images_of_parts


class RankShare(Share):
    """What this rank computes of a batch.

    world    gathers arrays of all ranks, and says which images are whose: distributed.World
    """

    def __init__(self, world: Any) -> None:
        self.world = world
        self.lots = max(LOTS // world.size, 1)
        self.n = 0

    @contextmanager
    def of(self, n: int, groups: Sequence[Any]) -> Iterator[None]:
        """Inside, the groups compute this rank's part of a batch of n."""
        memories = {id(m): m for m in (getattr(group, "gradients", None) for group in groups) if m}
        shared: list[Gradients] = list(memories.values())
        self.n = n
        for memory in shared:
            memory.share = self
        try:
            yield
        finally:
            for memory in shared:
                memory.share = Share()

    def whole(self, n: int) -> int:
        return self.n

    def counts(self, n: int) -> NDArray[np.int64]:
        shards, sizes = self.shards(n), np.diff(self.world.starts(self.n)).tolist()
        return np.concatenate([images_of_parts(size, shards) for size in sizes])

    def all_of(self, parts: NDArray) -> NDArray:
        return self.world.stacked("parts", parts)

    def draw(self, rng: np.random.Generator, out: NDArray[np.float32]) -> None:
        """This rank's of the batch's numbers; the others' are passed over."""
        rows = self.world.rows(self.n)
        each = out[0].size if len(out) else int(np.prod(out.shape[1:]))
        skip(rng, rows.start * each)
        rng.random(dtype=np.float32, out=out)
        skip(rng, (self.n - rows.stop) * each)

    def draw_normal(self, rng: np.random.Generator, out: NDArray[np.float32]) -> None:
        """The same, of which the batch's are drawn: a normal one takes nobody knows how many."""
        whole = self.world.room("normal", (self.n, *out.shape[1:]), np.float32)
        rng.standard_normal(dtype=np.float32, out=whole)
        out[...] = whole[self.world.rows(self.n)]


def skip(rng: np.random.Generator, count: int) -> None:
    """Leave the generator as if `count` float32 of 0 to 1 had been drawn.

    PCG64 jumps: it makes two of them from each of its 64 bits, and keeps the second in between.
    """
    bits: Any = rng.bit_generator
    if not isinstance(bits, np.random.PCG64):
        rng.random(count, dtype=np.float32)
        return
    if count and bits.state["has_uint32"]:
        rng.random(dtype=np.float32)
        count -= 1
    if count > 1:
        bits.advance(count // 2)
    if count % 2:
        rng.random(dtype=np.float32)
