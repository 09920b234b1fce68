"""How partial sums over a batch are made, and added up: the same bits however many share the work.

A gradient is a sum over images. Floating-point sums depend on their order, so the order is fixed: a
batch is cut by halving (memory.cut), each part is summed by itself, and the parts are added in the
tree of these halves, ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)). Who computes a part, a thread or a
process, does not matter to it. A process that has the images of one branch computes the branch.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .compiler import inner, parallel, serial
from .memory import LARGE_BATCH, LOTS, PARTS_OF_A_LOT, cut
from .turns import own_parts

#: elements whose parts are added while they are in the first cache
BLOCK = 256
#: with fewer elements in all, one thread is done before another has begun
FEW = 1 << 14

#: as part of the loops
first_of = inner(cut)


class Share:
    """Of the batch that is trained on, the part that is computed here: all of it, alone.

    distributed.py has another, whose batch lies in several processes; it is told each batch's size.
    """

    #: of LOTS, those here
    lots = LOTS

    def whole(self, n: int) -> int:
        """How many images the whole batch has, n of which are here."""
        return n

    def shards(self, n: int) -> int:
        """How many parts the images here, n, are cut into."""
        return self.lots * (PARTS_OF_A_LOT if self.whole(n) >= LARGE_BATCH else 1)

    def counts(self, n: int) -> NDArray[np.int64]:
        """How many images each shard of the whole batch has, n of which are here."""
        return images_of_parts(n, self.shards(n))

    def all_of(self, parts: NDArray) -> NDArray:
        """The shards' parts (shards, ...) of the whole batch, from those of the shards here."""
        return parts

    def draw(self, rng: np.random.Generator, out: NDArray[np.float32]) -> None:
        """out (n, ...) <- numbers from 0 to 1, for the images here."""
        rng.random(dtype=np.float32, out=out)

    def draw_normal(self, rng: np.random.Generator, out: NDArray[np.float32]) -> None:
        """out (n, ...) <- numbers of the standard normal distribution, for the images here."""
        rng.standard_normal(dtype=np.float32, out=out)


def images_of_parts(n: int, parts: int) -> NDArray[np.int64]:
    """How many of n images are in each part."""
    return np.diff([cut(n, parts, number) for number in range(parts + 1)])


def tree_sum(parts: NDArray, out: NDArray, trees: int = 1, call: Any = None) -> NDArray:
    """out <- the sum of parts (1, 2, 4, 8, ...; ...) along the first axis, in the tree.

    trees   that many sums (trees, ...), each of as many parts as lie side by side
    call    how the loop is called: Group.call

    parts are contiguous, and change; so is out.
    """
    loop = add_few if parts.size < FEW else add_up
    given = parts.reshape(-1), len(parts) // trees, trees, out.reshape(-1)
    if call is None:
        loop(*given)
    else:
        call(loop, *given)
    return out


@inner
def _add_block(parts, count, trees, out, number):
    """Block `number` of out (trees, size), of the blocks of one tree after those of another."""
    size = out.size // trees
    blocks = (size + BLOCK - 1) // BLOCK
    tree, block = number // blocks, number % blocks
    first, end = block * BLOCK, min((block + 1) * BLOCK, size)
    start, step = tree * count * size + first, 1
    while step < count:
        for part in range(0, count, 2 * step):
            at, other = start + part * size, start + (part + step) * size
            a, b = parts[at : at + end - first], parts[other : other + end - first]
            for k in range(end - first):
                a[k] += b[k]
        step *= 2
    a, total = parts[start : start + end - first], out[tree * size + first : tree * size + end]
    for k in range(end - first):
        total[k] = a[k]


@parallel
def add_up(worker, parts, count, trees, out):
    """out (trees, size) <- the sums of parts (trees, count, size) in the tree; parts is changed."""
    for number in own_parts(worker, trees * ((out.size // trees + BLOCK - 1) // BLOCK)):
        _add_block(parts, count, trees, out, number)


@serial
def add_few(parts, count, trees, out):
    """The same on one thread."""
    for number in range(trees * ((out.size // trees + BLOCK - 1) // BLOCK)):
        _add_block(parts, count, trees, out, number)
