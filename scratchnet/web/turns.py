"""Turns: the one lock around everything that runs kernels.

A model keeps what backward needs in its layers, so two threads may not run it at once; and Numba's
simplest threading layer aborts the process when two threads enter parallel kernels at once. So
whoever computes holds this lock, and a training gives it back after every step.
"""

import threading
from collections import deque
from typing import Self


class Turns:
    """A lock that is handed on in the order in which it was asked for.

    With a plain one, a training that releases it and at once asks again gets it back before those
    who wait have woken up, and predictions would wait for the whole training.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held = False
        self._waiting: deque[threading.Lock] = deque()

    def acquire(self) -> None:
        with self._guard:
            if not self._held:
                self._held = True
                return
            called = threading.Lock()
            called.acquire()
            self._waiting.append(called)
        called.acquire()  # until `release` calls us

    def release(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._held = False

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()
