"""Backward through a convolution, ReLU and 2x2 max pooling: loops over what carries a gradient.

That is one position in four at most, of each channel, and none where the unit is dead. The weights'
gradient is summed in one of three ways: from lists of the live positions; where a window has few
values, patch by patch; and where registers hold all sums, in them. The inputs' is spread from each
position's live channels.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compiler import by_turns, inner, serial
from .conv import copy_inside
from .group import Array
from .memory import VECTOR_BYTES
from .simd import (
    add,
    add_rows,
    bits_where,
    fma,
    fma_patch,
    fma_rows,
    load,
    load_unless,
    load_where,
    lowest_bit,
    store,
    without_lowest,
    zeros,
)
from .sums import first_of
from .target import ONE
from .turns import next_part

#: what the code says of a window whose largest value was not positive
DEAD = 4


class Part(NamedTuple):
    """How much of a patch is worked on at a time, where its rows are whole vectors.

    tile    all of that, in vectors
    rows    how many rows of the window
    across  how many vectors of each row
    """

    tile: tuple[int, ...]
    rows: tuple[int, ...]
    across: tuple[int, ...]


class Held(NamedTuple):
    """A window's weights, all of them in registers: tuples as long as

    rows, run    the window's rows, and the values in each
    weights      the vectors of all weights of a tile
    """

    rows: tuple[int, ...]
    run: tuple[int, ...]
    weights: tuple[int, ...]


class Patches(NamedTuple):
    """What lies under all four windows of a pooling window, where a row does not fill a vector.

    rows, run   kh + 1 rows of `run` values, run = (kw + 1) * c
    size        of all, in whole vectors
    filters     without those that fill up a vector
    """

    rows: int
    run: int
    size: int
    filters: int


class Live(NamedTuple):
    """Lists of an image's windows, the first two (shards, windows + 1).

    places, values   where the live ones of a filter start in the image, and their gradients
    corners          where all pooling windows start in it
    offsets          and from there the windows of the four positions, and what a dead one reads
    """

    places: NDArray[np.int64]
    values: Array
    corners: NDArray[np.int64]
    offsets: NDArray[np.int64]


# ---- the weights --------------------------------------------------------------------------------


@inner
def _list_live(g, dy, code, at, live, places, values):
    """Where the live windows of one filter start in an image, and their dy; returns how many.

    at: of the image's first window and that filter, in dy and code
    """
    count = 0
    for window in range(live.corners.size):
        q = code[at]
        # written always, counted only if alive, and looked up: no branch to mispredict
        places[count] = live.corners[window] + live.offsets[q]
        values[count] = dy[at]
        count += q < DEAD
        at += g.fp
    return count


@inner
def _add_alive(db, f, dy, code, window):
    """db[f:] += one vector of a window's dy, where it is alive."""
    store(db, f, add(load(ONE, db, f), load_unless(ONE, dy, code, window + f, DEAD)))


@inner
def _add_all_alive(g, db, dy, code, to):
    """The same of an image's windows, one after the other; to: where they are in dy and code."""
    for f in range(0, g.fp, VECTOR_BYTES // dy.itemsize):
        acc = load(ONE, db, f)
        for window in range(to + f, to + g.out_h * g.out_w * g.fp, g.fp):
            acc = add(acc, load_unless(ONE, dy, code, window, DEAD))
        store(db, f, acc)


@inner
def _add_patches(g, part, x, start, places, values, f, dw):
    """dw[f] += sum over the list: value * patch; a patch is kh rows of runp elements.

    start: where the image is in x
    """
    tile, rows, across = part
    width = len(across) * (VECTOR_BYTES // x.itemsize)
    for u in range(0, g.kh, len(rows)):
        for v in range(0, g.runp, width):
            to = (f * g.kh + u) * g.runp + v
            acc = load(tile, dw, to)
            for slot in range(places.size):
                at = start + places[slot] + u * g.row + v
                acc = fma_rows(acc, rows, values[slot], x, at, g.row)
            store(dw, to, acc)


@by_turns
def conv_relu_pool_weights(worker, g, part, dy, code, x, live, dw, db, turns):
    """dw (shards, fp * kh * runp), db (shards, fp) <- dy, code, x: the weights' gradient.

    A patch's row is read as runp elements, whole vectors; what is read beyond the run ends up in
    columns of dw that are never read. live: scratch, the live windows of one filter and image.
    """
    fp, windows, shards = g.fp, g.out_h * g.out_w, len(dw)
    shard = next_part(turns, worker, shards)
    while shard >= 0:
        mine, sums = dw[shard], db[shard]
        places, values = live.places[shard], live.values[shard]
        mine[:] = 0
        sums[:] = 0
        for image in range(first_of(g.n, shards, shard), first_of(g.n, shards, shard + 1)):
            first = image * windows * fp
            _add_all_alive(g, sums, dy, code, first)
            for f in range(fp):
                count = _list_live(g, dy, code, first + f, live, places, values)
                given = places[:count], values[:count], f, mine
                _add_patches(g, part, x, image * g.size, *given)
        shard = next_part(turns, worker, shards)


@serial  # little work: weights of few inputs
def add_windows(total, line, right, dw):
    """dw (lots, f, kh, run) <- total (lots, f, 5, size): the four windows of each patch.

    line: how long a row of a patch is. right: from a window to the one on its right.
    """
    lots, f, kh, run = dw.shape
    for lot in range(lots):
        for filter in range(f):
            out, four = dw[lot, filter], total[lot, filter]
            for u in range(kh):
                for k in range(run):
                    at, below = u * line + k, (u + 1) * line + k
                    above = dw.dtype.type(0) + four[0, at] + four[1, at + right]
                    out[u, k] = above + four[2, below] + four[3, below + right]


@inner
def _copy_patches(g, patches, x, at, out):
    """out (out_w, size) <- what each pooling window of a row covers, kh + 1 rows.

    In whole vectors: what a row has too much, the next one overwrites.
    """
    lane = VECTOR_BYTES // x.itemsize
    for j in range(g.out_w):
        for u in range(patches.rows):
            source = at + 2 * j * g.right + u * g.row
            to = j * patches.size + u * patches.run
            k = 0  # not a range: how many steps it has would be a division every time
            while k < patches.run:
                store(out, to + k, load(ONE, x, source + k))
                k += lane


@by_turns
def conv_relu_pool_few_weights(worker, g, patches, dy, code, x, scratch, sums, db, turns):
    """The same for windows of few values: sums (shards, f * 5 * size), db (shards, fp).

    All four windows of a pooling window read one patch; which of them a filter's gradient belongs
    to decides which of its five sums the patch is added to. The fifth is of dead units, and never
    read: no branch to mispredict. scratch (shards, out_w * size + lane).
    """
    lane, fp, size, shards = VECTOR_BYTES // x.itemsize, g.fp, patches.size, len(db)
    shard = next_part(turns, worker, shards)
    while shard >= 0:
        mine, total, copies = sums[shard], db[shard], scratch[shard]
        mine[:] = 0
        total[:] = 0
        first = g.out_h * first_of(g.n, shards, shard)
        for line in range(first, g.out_h * first_of(g.n, shards, shard + 1)):
            at = line // g.out_h * g.size + 2 * (line % g.out_h) * g.row
            _copy_patches(g, patches, x, at, copies)
            for j in range(g.out_w):
                window, f = (line * g.out_w + j) * fp, 0
                while f < fp:
                    _add_alive(total, f, dy, code, window)
                    f += lane
                grad, which = dy[window : window + fp], code[window : window + fp]
                part = 0
                while part < size:
                    values = load(ONE, copies, j * size + part)
                    for f in range(patches.filters):
                        to = (f * (DEAD + 1) + np.int64(which[f])) * size + part
                        store(mine, to, fma(load(ONE, mine, to), grad[f], values))
                    part += lane
        shard = next_part(turns, worker, shards)


@inner
def _add_masked(g, held, tile, dy, code, x, at, to, dw):
    """dw (4, fp / step, kh * run, step) += one image's gradients, each times its window.

    One of a pooling window's four positions at a time, the others' gradients masked out: four times
    the arithmetic, but of whole vectors, and all sums in registers.
    at, to: where the image starts in x, and its windows in dy and code
    """
    rows, run, weights = held
    step, fp, own = len(tile) * (VECTOR_BYTES // x.itemsize), g.fp, 0
    for q in range(4):
        corner = at + (q >> 1) * g.row + (q & 1) * g.right
        for f in range(0, fp, step):
            acc, window = load(weights, dw, own), to + f
            for i in range(g.out_h):
                p = corner + 2 * i * g.row
                for _ in range(g.out_w):
                    values = load_where(tile, dy, code, window, q)
                    acc = fma_patch(acc, rows, run, x, p, g.row, values)
                    p += 2 * g.right
                    window += fp
            store(dw, own, acc)
            own += g.kh * g.run * step


@by_turns
def conv_relu_pool_held_weights(worker, g, held, tile, dy, code, x, dw, db, turns):
    """The same, where registers hold all weights of a tile: dw (shards, 4 * fp * kh * run)."""
    windows, shards = g.out_h * g.out_w * g.fp, len(db)
    shard = next_part(turns, worker, shards)
    while shard >= 0:
        mine, total = dw[shard], db[shard]
        mine[:] = 0
        total[:] = 0
        for image in range(first_of(g.n, shards, shard), first_of(g.n, shards, shard + 1)):
            to = image * windows
            _add_masked(g, held, tile, dy, code, x, image * g.size, to, mine)
            _add_all_alive(g, total, dy, code, to)
        shard = next_part(turns, worker, shards)


# ---- the inputs ---------------------------------------------------------------------------------


@inner
def _mark_live(g, dy, code, to, live):
    """live (4 * windows, words) <- for each position of the convolution its live filters, as bits.

    to: where the image's windows are in dy and code
    """
    lane, words = VECTOR_BYTES // dy.itemsize, live.shape[1]
    for window in range(g.out_h * g.out_w):
        first = to + window * g.fp
        for q in range(4):
            marks = live[4 * window + q]
            for word in range(words):
                bits = 0
                for f in range(64 * word, min(64 * (word + 1), g.fp), lane):
                    bits |= bits_where(ONE, dy, code, first + f, q) << (f - 64 * word)
                marks[word] = bits


@inner
def _spread(g, tile, dy, to, live, wt, dx):
    """dx += each live gradient times its filter, laid over the patch that it came from.

    One row of all filters at a time: that much stays in the first or second cache. A row's parts
    come last: the order in which dx is summed must not depend on how wide they are.
    """
    width, rows = len(tile) * (VECTOR_BYTES // dx.itemsize), (0,)
    for u in range(g.kh):
        for window in range(g.out_h * g.out_w):
            first, i, j = to + window * g.fp, 2 * (window // g.out_w), 2 * (window % g.out_w)
            for q in range(4):
                at = (i + (q >> 1) + u) * g.row + (j + (q & 1)) * g.right
                marks = live[4 * window + q]
                for v in range(0, g.runp, width):
                    acc, tap = zeros(tile, dx), u * g.runp + v
                    for word in range(marks.size):
                        bits = marks[word]
                        while bits != 0:
                            f = 64 * word + lowest_bit(bits)
                            weights = f * g.kh * g.runp + tap
                            acc = fma_rows(acc, rows, dy[first + f], wt, weights, g.runp)
                            bits = without_lowest(bits)
                    add_rows(acc, rows, dx, at + v, g.row)


@by_turns
def conv_relu_pool_inputs(worker, g, tile, dy, code, wt, live, image_dx, dx, inside, turns):
    """dx (n, h, w, c) <- dy, code and wt (fp, kh, runp), the weights filter by filter.

    Scratch: live int64 (workers, 4 * windows, words), image_dx (workers, size + SLACK).
    """
    windows = g.out_h * g.out_w
    mine, marks = image_dx[worker.number], live[worker.number]
    image = next_part(turns, worker, g.n)
    while image >= 0:
        mine[:] = 0
        _mark_live(g, dy, code, image * windows * g.fp, marks)
        _spread(g, tile, dy, image * windows * g.fp, marks, wt, mine)
        copy_inside(g, mine, inside, dx, image * inside.h * inside.run)
        image = next_part(turns, worker, g.n)
