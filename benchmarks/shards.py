"""How busy 1 to 16 threads are in a training step of `cnn`: simulated from times measured here.

    python benchmarks/shards.py

Each loop of a step is timed on one thread, in its processor time, which other programs leave as it
is; and again on the images of every shard by itself. Loops that add up a gradient are shared shard
by shard; the others image by image, or by the blocks of their result. A thread's part is the sum of
its shards' or images' times; where these are handed out (engine/turns.py), a thread that has done
its own goes on with what the others have not begun. A loop takes as long as the thread with most to
do. Busy is what all threads work, divided by threads times what the loops take. Beside it: the same
with all that runs on one thread (small loops, NumPy, Python, here also the optimizer).
"""

import argparse
import time
from collections import defaultdict
from typing import Any

import contenders as c
import numpy as np

import scratchnet as sn
from scratchnet.engine.compiler import Parallel
from scratchnet.engine.dense import PIECES
from scratchnet.engine.group import Group
from scratchnet.engine.memory import SHARDS
from scratchnet.engine.sums import Share, images_of_parts

THREADS = (1, 2, 4, 6, 8, 12, 16)
#: loops whose parts are shards of a sum
SUMS = {f"conv_relu_pool_{kind}weights" for kind in ("", "few_", "held_")} | {"sum_rows_into"}
#: loops cut by images, or by rows or windows of them
IMAGES = {f"conv_relu_pool{kind}" for kind in ("", "_pairs", "_held", "_inputs")}
PRODUCTS = {"product", "product_by_lots"}
#: loops whose parts are handed out while they run; of the others each thread has its own
HANDED_OUT = (SUMS - {"sum_rows_into"}) | IMAGES | PRODUCTS
#: loops cut by the blocks of their result
BLOCKS = {"add_up", "list_terms", "filters", "transpose"}


class Timed:
    """While it is entered, every loop that a group calls is timed: seconds by group, name, units"""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, int], float] = defaultdict(float)

    def __enter__(self) -> "Timed":
        self.plain, found = Group.call, self.found

        def call(group: Any, loop: Any, *arguments: Any) -> None:
            start = time.thread_time()
            self.plain(group, loop, *arguments)
            seconds = time.thread_time() - start
            name = loop.__name__ if isinstance(loop, Parallel) else "serial"
            found[str(group.layers[0].name), name, units(name, arguments)] += seconds

        Group.call = call  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: object) -> None:
        Group.call = self.plain  # type: ignore[method-assign]


def units(name: str, arguments: tuple[Any, ...]) -> int:
    """Into how many equal pieces a product can be cut; 0 for other loops."""
    if name not in PRODUCTS:
        return 0
    sizes, block = arguments[:2]
    if sizes.width >= sizes.m:
        return int(sizes.width * arguments[2].itemsize // (64 * len(block.tile)))
    return int(-(-sizes.m // len(block.rows)))


def step(model: sn.Sequential, x: np.ndarray, y: np.ndarray, times: int) -> dict[Any, float]:
    """The least time of each loop in a step, and of the whole step."""
    best: dict[Any, float] = {}
    for _ in range(times):
        start = time.thread_time()
        with Timed() as watch:
            model.train_on_batch(x, y)
        whole = time.thread_time() - start
        for key, seconds in {**watch.found, "step": whole}.items():
            best[key] = min(best.get(key, np.inf), seconds)
    return best


def longest(parts: np.ndarray, threads: int, handed_out: bool = False) -> float:
    """The most that a thread has to do, of parts shared in order, or handed out as in turns.py."""
    cuts = [thread * len(parts) // threads for thread in range(threads + 1)]
    own = [list(parts[a:b]) for a, b in zip(cuts, cuts[1:], strict=False)]
    if not handed_out:
        return max(sum(row) for row in own)
    busy = np.zeros(threads)
    for _ in parts:
        first = int(busy.argmin())  # free first; its own parts, then the next one's
        row = next(row for row in own[first:] + own[:first] if row)
        busy[first] += row.pop(0)
    return float(busy.max())


def parts_of(key: Any, seconds: float, shares: np.ndarray, batch: int, threads: int) -> np.ndarray:
    """The times of the parts that a loop is cut into."""
    _, name, pieces = key
    if name in SUMS:
        return seconds * shares
    if name in IMAGES:
        counts = images_of_parts(batch, len(shares))
        return seconds * np.repeat(shares / np.maximum(counts, 1), counts)
    number = pieces or (SHARDS if name not in BLOCKS else 4 * SHARDS)
    return np.full(number, seconds / number)


def simulate(batch: int, times: int) -> list[list[Any]]:
    """A row for each number of threads: busy in loops, busy in all, images a second."""
    (x, y), _ = sn.datasets.mnist.load_data()
    sn.kernels.set_threads(1)
    model = sn.architectures.build("cnn", seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x[:4096], y[:4096], batch, verbose=0)  # as many units are dead as in a training
    whole = step(model, x[:batch], y[:batch], times)
    shards = Share().shards(batch)
    starts = np.cumsum([0, *images_of_parts(batch, shards)])
    each = [step(model, x[a:b], y[a:b], times) for a, b in zip(starts, starts[1:], strict=False)]
    shares = {}
    for key in whole:
        if key != "step" and key[1] in SUMS | IMAGES:
            found = np.array([sum(t for k, t in one.items() if k[:2] == key[:2]) for one in each])
            shares[key] = found / found.sum()
    total = whole.pop("step")
    inside = {key: seconds for key, seconds in whole.items() if key[1] != "serial"}
    rest = total - sum(inside.values())
    even, rows = np.full(shards, 1 / shards), []
    for threads in THREADS:
        takes = 0.0
        for key, s in inside.items():
            parts = parts_of(key, s, shares.get(key, even), batch, threads)
            if key[1] in PRODUCTS:  # tiles, in a few pieces for each thread
                parts = np.array([piece.sum() for piece in np.array_split(parts, PIECES * threads)])
            takes += longest(parts, threads, key[1] in HANDED_OUT)
        work = sum(inside.values())
        loops, everything = work / (threads * takes), total / (threads * (takes + rest))
        rate = batch / (takes + rest)
        rows.append([threads, f"{loops:.0%}", f"{everything:.0%}", f"{rate:,.0f}"])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--times", type=int, default=20, help="each step is timed so often")
    options = parser.parse_args()
    c.show_machine(1)
    heads = ("threads", "busy in loops", "with the rest", "images/s")
    for batch in options.batches:
        rows = simulate(batch, options.times)
        c.show_table(f"cnn, {batch} images a step, simulated", heads, rows)


if __name__ == "__main__":
    main()
