"""The parts of a loop, handed out while it runs: each once, a slow worker's to the others."""

import numpy as np
import pytest
from numba import prange

from scratchnet import kernels
from scratchnet.engine import threads
from scratchnet.engine.compiler import in_place
from scratchnet.engine.simd import take
from scratchnet.engine.turns import APART, begin, next_part

LONG = 1 << 28


@in_place
def note(turns, parts, times, order):
    """times (parts,) += 1 for each part that is done; order (parts,): how many were begun before"""
    begin(turns)
    clock = np.zeros(1, np.int64)
    for worker in prange(len(turns)):
        part = next_part(turns, worker, parts)
        while part >= 0:
            times[part] += 1
            order[part] = take(clock, 0)
            part = next_part(turns, worker, parts)


@in_place
def wait_for_the_others(turns, parts, done, looks):
    """Part 0 ends when all other parts have; done (1,) counts them and its looks at it (1,)."""
    begin(turns)
    for worker in prange(len(turns)):
        part = next_part(turns, worker, parts)
        while part >= 0:
            if part > 0:
                take(done, 0)
            else:
                looked = 0
                while looked < LONG and take(done, 0) - looked < parts - 1:
                    looked += 1
                looks[0] = looked
            part = next_part(turns, worker, parts)


@pytest.mark.parametrize("workers", [1, 2, 3, 48])
@pytest.mark.parametrize("parts", [0, 1, 5, 48, 1000])
def test_every_part_is_done_once(workers, parts):
    turns = np.full((workers, APART), 7, np.int64)  # as the loop before left it
    times, order = np.zeros(parts, np.int64), np.zeros(parts, np.int64)
    note(turns, parts, times, order)
    np.testing.assert_array_equal(times, 1)
    np.testing.assert_array_equal(np.sort(order), np.arange(parts))


def test_one_worker_does_all_in_their_order():
    times, order = np.zeros(20, np.int64), np.zeros(20, np.int64)
    note(np.zeros((1, APART), np.int64), 20, times, order)
    np.testing.assert_array_equal(order, np.arange(20))


@pytest.mark.skipif(not threads.compiles(), reason="without the compiler there is one thread")
def test_others_do_what_a_slow_worker_has_not_begun():
    before = threads.threads()
    kernels.set_threads(2)
    try:
        done, looks = np.zeros(1, np.int64), np.zeros(1, np.int64)
        # it would wait for ever, did nobody else do parts 1 to 19, which are its own
        wait_for_the_others(np.zeros((2, APART), np.int64), 40, done, looks)
    finally:
        kernels.set_threads(before)
    assert looks[0] < LONG
    assert done[0] == 39 + looks[0] + 1
