"""Connectionist temporal classification as a Numba loop: the twin of ctc.py's `ctc_loss`.

The examples are shared out among the threads, and each has memory of its own: the same bits for any
number of them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .compiler import inner, parallel
from .exponential import exp, log
from .turns import own_parts

Array = NDArray[np.floating]
NONE = -np.inf


class Targets(NamedTuple):
    """What is to be read, and in how many frames.

    labels    (n, s); lengths (n,) of them count       frames   (n,) of log_probs count
    blank     its class
    """

    labels: NDArray[np.int64]
    lengths: NDArray[np.int64]
    frames: NDArray[np.int64]
    blank: int


def ctc_loss(
    log_probs: Array,
    labels: NDArray[np.integer],
    label_lengths: NDArray[np.integer],
    frames: NDArray[np.integer],
    blank: int,
) -> tuple[Array, Array]:
    """-log p(l) of each example, (n,), and the occupancy g, (n, t, k)."""
    n, t, k = log_probs.shape
    rows, lengths, counts = (
        np.ascontiguousarray(a, np.int64) for a in (labels, label_lengths, frames)
    )
    targets = Targets(rows, lengths, counts, int(blank))
    losses, occupancy = np.empty(n, log_probs.dtype), np.empty((n, t, k), log_probs.dtype)
    alpha, beta = np.empty((2, n, t, 2 * labels.shape[1] + 1))
    ctc_into(np.ascontiguousarray(log_probs), targets, alpha, beta, losses, occupancy)
    return losses, occupancy


@parallel
def ctc_into(worker, log_probs, targets, alpha, beta, losses, occupancy):
    for i in own_parts(worker, len(log_probs)):
        g, t = occupancy[i], targets.frames[i]
        g[:] = 0
        labels, blank = targets.labels[i, : targets.lengths[i]], targets.blank
        u = 2 * len(labels) + 1
        if t == 0:
            losses[i] = 0 if u == 1 else np.inf
            continue
        y, a, b = log_probs[i], alpha[i], beta[i]
        walk_forward(y, labels, blank, t, a)
        walk_backward(y, labels, blank, t, b)
        log_p = log_sum(a[t - 1, u - 1], a[t - 1, u - 2] if u > 1 else NONE, NONE)
        losses[i] = -log_p
        if log_p == NONE:
            continue
        for frame in range(t):
            for s in range(u):
                k = labels[s // 2] if s % 2 else blank
                g[frame, k] += exp(a[frame, s] + b[frame, s] - log_p)
        if log_p != log_p:
            g[:t] = np.nan


@inner
def log_sum(a, b, c):
    """log(e^a + e^b + e^c), without a power that overflows; NaN where there is one."""
    most = a
    if b > most:
        most = b
    if c > most:
        most = c
    if a == NONE and b == NONE and c == NONE:
        return NONE
    return most + log(exp(a - most) + exp(b - most) + exp(c - most))


@inner
def may_jump(labels, s):
    """Whether state s may follow s - 2: both are labels, and two that differ."""
    return s % 2 == 1 and s > 1 and labels[s // 2] != labels[s // 2 - 1]


@inner
def walk_forward(y, labels, blank, frames, a):
    u = 2 * len(labels) + 1
    for s in range(u):
        a[0, s] = NONE
    a[0, 0] = y[0, blank]
    if u > 1:
        a[0, 1] = y[0, labels[0]]
    for t in range(1, frames):
        for s in range(u):
            one = a[t - 1, s - 1] if s > 0 else NONE
            two = a[t - 1, s - 2] if may_jump(labels, s) else NONE
            k = labels[s // 2] if s % 2 else blank
            a[t, s] = log_sum(a[t - 1, s], one, two) + y[t, k]


@inner
def walk_backward(y, labels, blank, frames, b):
    u = 2 * len(labels) + 1
    for s in range(u):
        b[frames - 1, s] = 0.0 if s >= u - 2 else NONE
    for t in range(frames - 2, -1, -1):
        for s in range(u):
            here = b[t + 1, s] + y[t + 1, labels[s // 2] if s % 2 else blank]
            one, two = NONE, NONE
            if s + 1 < u:
                k = labels[(s + 1) // 2] if (s + 1) % 2 else blank
                one = b[t + 1, s + 1] + y[t + 1, k]
            if s + 2 < u and may_jump(labels, s + 2):
                two = b[t + 1, s + 2] + y[t + 1, labels[(s + 2) // 2]]
            b[t, s] = log_sum(here, one, two)
