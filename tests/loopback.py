"""A communicator of threads: what distributed.py asks of mpi4py's, without MPI.

    results = loopback.run(4, lambda world: ...)

Every rank is a thread with a World of its own. What one sends the others copy, once all are there.
A rank that raises ends the others, whose calls raise `Ended`; `run` raises the first one's error.
"""

import contextvars
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from scratchnet import distributed

SECONDS = 120


class Ended(BaseException):
    """Another rank has failed."""


class _Room:
    """Where the ranks of one communicator meet: everybody's part of call number 0, 1, 2, ..."""

    def __init__(self, size):
        self.size, self.parts, self.read = size, {}, {}
        self.change = threading.Condition()
        self.ended = False

    def put(self, number, rank, part):
        with self.change:
            self.parts.setdefault(number, {})[rank] = part
            self.change.notify_all()

    def is_there(self, number):
        return self.ended or len(self.parts.get(number, ())) == self.size

    def take(self, number):
        with self.change:
            assert self.change.wait_for(lambda: self.is_there(number), SECONDS), "a rank is missing"
            if self.ended:
                raise Ended
            parts = [self.parts[number][rank] for rank in range(self.size)]
            self.read[number] = self.read.get(number, 0) + 1
            if self.read[number] == self.size:
                del self.parts[number], self.read[number]
            return parts

    def end(self):
        with self.change:
            self.ended = True
            self.change.notify_all()


class _Request:
    def __init__(self, comm, number, done):
        self.comm, self.number, self.done, self.is_done = comm, number, done, False

    def Test(self):
        if not self.is_done and self.comm.room.is_there(self.number):
            self.Wait()
        return self.is_done

    def Wait(self):
        if not self.is_done:
            self.done(self.comm.room.take(self.number))
            self.is_done = True


class Comm:
    """One rank's end of a communicator; rooms: those of it and of all made from it, by their path.

    asked    names of the methods that were called
    """

    def __init__(self, rank, size, rooms, path=()):
        self.rank, self.rooms, self.path, self.calls, self.children = rank, rooms, path, 0, 0
        with rooms["lock"]:
            self.room = rooms.setdefault(path, _Room(size))
        self.asked = []

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.room.size

    def Dup(self):
        self.children += 1
        return Comm(self.rank, self.room.size, self.rooms, (*self.path, self.children))

    def _begin(self, name, part, done):
        self.asked.append(name)
        self.room.put(self.calls, self.rank, part)
        self.calls += 1
        return _Request(self, self.calls - 1, done)

    def _together(self, name, part):
        found = []
        self._begin(name, part, found.extend).Wait()
        return found

    def bcast(self, value, root):
        return pickle.loads(self._together("bcast", pickle.dumps(value))[root])

    def allgather(self, value):
        return [pickle.loads(part) for part in self._together("allgather", pickle.dumps(value))]

    def Ibarrier(self):
        return self._begin("Ibarrier", None, lambda parts: None)

    def Allgather(self, sent, received):
        parts = self._together("Allgather", sent.copy())
        received.reshape(-1)[:] = np.concatenate([part.reshape(-1) for part in parts])

    def Allgatherv(self, sent, received):
        self.Iallgatherv(sent, received).Wait()

    def Iallgatherv(self, sent, received):
        array, counts = received
        assert sent.size == counts[self.rank] and sum(counts) == array.size

        def done(parts):
            array.reshape(-1)[:] = np.concatenate([part.reshape(-1) for part in parts])

        return self._begin("Iallgatherv", sent.copy(), done)

    def Ialltoallv(self, sent, received):
        (array, counts), (into, many) = sent, received
        assert sum(counts) == array.size and many == [into.size // len(many)] * len(many)
        cuts = np.cumsum([0, *counts])
        pieces = [array[a:b].copy() for a, b in zip(cuts, cuts[1:], strict=False)]

        def done(parts):
            into[:] = np.concatenate([part[self.rank] for part in parts])

        return self._begin("Ialltoallv", pieces, done)

    def Abort(self, code):
        for path, room in self.rooms.items():
            if path != "lock":
                room.end()
        raise Ended


def run(size, work, same_bits=True):
    """What `work(world)` returns in each of `size` ranks, in their order."""
    rooms = {"lock": threading.Lock()}
    errors = []

    def rank(number):
        comm = Comm(number, size, rooms)
        try:
            with distributed.within(distributed.World(comm, same_bits)) as world:
                return work(world)
        except Ended:
            return None
        except BaseException as error:
            errors.append(error)
            with rooms["lock"]:
                for path, room in rooms.items():
                    if path != "lock":
                        room.end()
            return None

    with ThreadPoolExecutor(size) as pool:
        jobs = [pool.submit(contextvars.Context().run, rank, number) for number in range(size)]
        found = [job.result() for job in jobs]
    if errors:
        raise errors[0]
    return found
