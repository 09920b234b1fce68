"""The parts of a loop, handed out while it runs: each once, a slow worker's to the others."""

from contextlib import contextmanager

import numpy as np
import pytest

from scratchnet import kernels
from scratchnet.engine import threads
from scratchnet.engine.compiler import by_turns, parallel
from scratchnet.engine.simd import take
from scratchnet.engine.turns import APART, next_part, own_parts

LONG = 1 << 28


@contextmanager
def number_of_threads(count):
    before = threads.threads()
    kernels.set_threads(count)
    try:
        yield
    finally:
        kernels.set_threads(before)


@by_turns
def note(worker, parts, times, order, clock, turns):
    """times (parts,) += 1 for each part that is done; order (parts,): how many were begun before"""
    part = next_part(turns, worker, parts)
    while part >= 0:
        times[part] += 1
        order[part] = take(clock, 0)
        part = next_part(turns, worker, parts)


@by_turns
def wait_for_the_others(worker, parts, done, looks, turns):
    """Part 0 ends when all other parts have; done (1,) counts them and its looks at it (1,)."""
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


@parallel
def refuse(worker, numbers):
    for part in own_parts(worker, len(numbers)):
        if numbers[part] < 0:
            raise ValueError("negative")
        numbers[part] = 7


@parallel
def note_shares(worker, parts, times, of):
    """times (parts,) += 1 for each part that is done; of (1,): how many workers there are."""
    of[0] = worker.of
    for part in own_parts(worker, parts):
        times[part] += 1


@pytest.mark.parametrize("workers", [1, 2, 3, 48])
@pytest.mark.parametrize("parts", [0, 1, 5, 48, 1000])
def test_every_part_is_done_once(workers, parts):
    turns = np.full((workers, APART), 7, np.int64)  # as the loop before left it
    times, order = np.zeros(parts, np.int64), np.zeros(parts, np.int64)
    note(parts, times, order, np.zeros(1, np.int64), turns)
    np.testing.assert_array_equal(times, 1)
    np.testing.assert_array_equal(np.sort(order), np.arange(parts))


def test_one_worker_does_all_in_their_order():
    times, order = np.zeros(20, np.int64), np.zeros(20, np.int64)
    note(20, times, order, np.zeros(1, np.int64), np.zeros((1, APART), np.int64))
    np.testing.assert_array_equal(order, np.arange(20))


@pytest.mark.skipif(not threads.compiles(), reason="without the compiler there is one thread")
def test_others_do_what_a_slow_worker_has_not_begun():
    done, looks = np.zeros(1, np.int64), np.zeros(1, np.int64)
    with number_of_threads(2):
        # it would wait for ever, did nobody else do parts 1 to 19, which are its own
        wait_for_the_others(40, done, looks, np.zeros((2, APART), np.int64))
    assert looks[0] < LONG
    assert done[0] == 39 + looks[0] + 1


@pytest.mark.parametrize("parts", [0, 1, 2, 5, 1000])
@pytest.mark.parametrize("count", [1, 2])
def test_equal_shares_are_all_of_it(parts, count):
    times, of = np.zeros(parts, np.int64), np.zeros(1, np.int64)
    with number_of_threads(count):
        note_shares(parts, times, of)
        assert threads.threads() == count
    np.testing.assert_array_equal(times, 1)
    assert of[0] == (count if threads.compiles() else 1)


@pytest.mark.skipif(not threads.compiles(), reason="without the compiler there is one thread")
def test_a_loop_with_scratch_for_fewer_workers_leaves_the_number_of_threads():
    times, order = np.zeros(9, np.int64), np.zeros(9, np.int64)
    with number_of_threads(2):
        note(9, times, order, np.zeros(1, np.int64), np.zeros((1, APART), np.int64))
        assert threads.threads() == 2
    np.testing.assert_array_equal(times, 1)


@pytest.mark.parametrize("place", [0, 9])
def test_what_a_loop_raises_is_not_lost(place):
    numbers = np.zeros(10, np.int64)
    refuse(numbers)
    assert (numbers == 7).all()
    numbers[place] = -1
    said = "negative" if not threads.compiles() else "refuse: NUMBA_DISABLE_JIT=1 shows"
    with pytest.raises((RuntimeError, ValueError), match=said):
        refuse(numbers)
