"""Who does what: the parts of a loop, shared out among those that run it.

In equal shares, where the parts are many and take equally long:

    @parallel
    def loop(worker, ...):
        for shard in own_parts(worker, SHARDS):
            ...

Or handed out while the loop runs. One that is cut into as many parts as there are threads takes as
long as the slowest of them: of a laptop's cores, some are built to be slow, and any core is where
another program runs on it. So there are many parts. A thread does its own, which lie side by side,
in their order; and when it has done them, it goes on with what the others have not begun. Who
computes a part does not matter to the part's bits.

    @by_turns
    def loop(worker, ..., turns):                         turns: Group.turns
        part = next_part(turns, worker, parts)
        while part >= 0:
            ...
            part = next_part(turns, worker, parts)
"""

from .compiler import inner
from .memory import SHARDS
from .simd import take

#: of int64 in a cache line: two threads' counters in one would wait for each other
APART = 8


@inner
def parts_for(worker, n):
    """Into how many parts to cut n things: one for a worker alone, else so many that there is
    something left to hand out."""
    return min(n, SHARDS if worker.of > 1 else 1)


@inner
def part_of(part, parts, n):
    """Of n things in so many parts, those of one: a range."""
    return range(part * n // parts, (part + 1) * n // parts)


@inner
def own_parts(worker, parts):
    """The numbers of the parts, of so many, that this worker does: a range."""
    return part_of(worker.number, worker.of, parts)


@inner
def next_part(turns, worker, parts):
    """The number of the part that this worker does next, of so many; -1 where all are given away.

    turns (workers, APART): how many of each worker's own parts have been asked for
    """
    workers = len(turns)
    for k in range(workers):
        owner = (worker.number + k) % workers
        first, end = owner * parts // workers, (owner + 1) * parts // workers
        if turns[owner, 0] < end - first:  # may be out of date: what is taken says it for certain
            part = first + take(turns, owner * APART)
            if part < end:
                return part
    return -1
