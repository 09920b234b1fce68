"""Connectionist temporal classification: a row of labels read from a row of frames, unsegmented.

A network looks at a line of writing frame by frame and gives each frame t probabilities y[t, k]
over the labels and one more class, the *blank*, for "nothing new here". A *path* names one class a
frame. It stands for the labels that are left when classes repeated without a break are written once
and blanks are left out: `3 3 _ 3 7 7` stands for 3 3 7. So nobody has to say where in the line a
label is: the probability of the labels l is that of all their paths together,

    p(l) = sum over paths pi of l of  prod_t y[t, pi[t]]                        (eqs. 2 and 3)

and the loss is -log p(l).

**Forward and backward.** There are too many paths to go through, but they share their parts. Put a
blank around and between the labels: the states l' = _ l1 _ l2 _ ... of which there are
u = 2 len(l) + 1. A path of l goes through l' from one of its first two states to one of its last
two; from frame to frame it stays, goes on by one state, or by two, where that leaves out a blank
between two labels that differ (between equal ones the blank is what keeps them apart). So with

    alpha[t, s] = y[t, l'[s]] (alpha[t-1, s] + alpha[t-1, s-1] + alpha[t-1, s-2] if allowed)
    beta[t, s]  = the same backwards, without y[t, l'[s]] itself

alpha[t, s] is the probability of all beginnings that are at s in frame t, beta[t, s] that of all
ends from there, and for any t

    p(l) = sum_s alpha[t, s] beta[t, s]                                         (eq. 14)

(The paper's beta has the factor y[t, l'[s]] in it, and its eq. 14 divides by it.)

**The gradient.** Every path has exactly one factor y[t, k] of frame t, so p(l) is linear in them,
and the paths with y[t, k] in them are those that are at a state of k in frame t:

    dp/dy[t, k] = 1/y[t, k] sum over s with l'[s] = k of alpha[t, s] beta[t, s]  (eq. 15)

Divided by p(l), the sum is the share of the paths that are at k in frame t, here called the
*occupancy* g[t, k]; its row t adds up to 1. So

    d(-log p)/dy[t, k] = -g[t, k] / y[t, k]

and through a softmax, whose derivative is dy[k]/dz[j] = y[k] (1[k = j] - y[j]),

    d(-log p)/dz[t, j] = sum_k -g[t, k] / y[t, k] y[t, k] (1[k = j] - y[t, j]) = y[t, j] - g[t, j]

(eq. 16): probabilities less what they should be, as for every cross-entropy.

Products of a hundred probabilities are no number any more, so all of it is done with logarithms,
in float64 whatever the dtype of what goes in and comes out.

Source: A. Graves, S. Fernandez, F. Gomez, J. Schmidhuber, "Connectionist Temporal Classification",
ICML 2006; the equations' numbers are its.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .backend import runs_twin
from .errors import InputError, is_whole

Array = NDArray[np.floating]
Whole = NDArray[np.integer]


@runs_twin("ctc")
def ctc_loss(
    log_probs: Array, labels: Whole, label_lengths: Whole, frames: Whole, blank: int
) -> tuple[Array, Array]:
    """-log p(l) of each example, (n,), and the occupancy g, (n, t, k).

    log_probs (n, t, k): of each frame's classes; labels (n, s), of which the first label_lengths
    (n,) count; frames (n,): how many of the t count. Frames behind them have the occupancy 0. Where
    no path stands for the labels, the loss is infinite and the occupancy 0.
    """
    losses, occupancy = np.zeros(len(log_probs), log_probs.dtype), np.zeros_like(log_probs)
    for i, log_y in enumerate(log_probs):
        states = states_of(labels[i, : label_lengths[i]], blank)
        if frames[i] == 0:
            losses[i] = 0 if len(states) == 1 else np.inf
            continue
        log_y = log_y[: frames[i], states].astype(
            np.float64
        )  # (t, u): each state's, frame by frame
        jumps = may_jump(states)
        with np.errstate(invalid="ignore"):  # what is no number goes on into the loss
            alpha, beta = forward_variables(log_y, jumps), backward_variables(log_y, jumps)
            log_p = np.logaddexp.reduce(alpha[-1, -2:])
        losses[i] = -log_p
        if log_p > -np.inf:
            share = np.exp(alpha + beta - log_p)  # (t, u)
            np.add.at(occupancy[i, : frames[i]].T, states, share.T.astype(log_probs.dtype))
        elif np.isnan(log_p):
            occupancy[i, : frames[i]] = np.nan
    return losses, occupancy


def states_of(labels: Whole, blank: int) -> Whole:
    """l', (2 s + 1,): the labels (s,) with a blank around and between them."""
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    return states


def may_jump(states: Whole) -> NDArray[np.bool_]:
    """Whether state s (of u) may follow s - 2: both are labels, and two that differ."""
    jumps = np.zeros(len(states), bool)
    jumps[3::2] = states[3::2] != states[1:-2:2]
    return jumps


def forward_variables(log_y: Array, jumps: NDArray[np.bool_]) -> Array:
    """log alpha (t, u), from the states' log-probabilities (t, u)."""
    alpha = np.full(log_y.shape, -np.inf)
    alpha[0, :2] = log_y[0, :2]
    for t in range(1, len(log_y)):
        reached = alpha[t - 1].copy()
        reached[1:] = np.logaddexp(reached[1:], alpha[t - 1, :-1])
        reached[jumps] = np.logaddexp(reached[jumps], alpha[t - 1, :-2][jumps[2:]])
        alpha[t] = log_y[t] + reached
    return alpha


def backward_variables(log_y: Array, jumps: NDArray[np.bool_]) -> Array:
    """log beta (t, u), from the states' log-probabilities (t, u)."""
    beta = np.full(log_y.shape, -np.inf)
    beta[-1, -2:] = 0
    for t in range(len(log_y) - 2, -1, -1):
        after = beta[t + 1] + log_y[t + 1]
        beta[t] = after
        beta[t, :-1] = np.logaddexp(beta[t, :-1], after[1:])
        from_here = np.flatnonzero(jumps) - 2
        beta[t, from_here] = np.logaddexp(beta[t, from_here], after[from_here + 2])
    return beta


def frames_needed(labels: Whole) -> int:
    """The fewest frames that labels (s,) fit into: one each, and a blank between equal ones."""
    return len(labels) + int((labels[1:] == labels[:-1]).sum())


# ---- reading: from probabilities to labels -------------------------------------------------------


def greedy(log_probs: Array, blank: int = 0) -> list[int]:
    """The labels of the most probable path of (t, k): not always the most probable labels."""
    path = _frames(log_probs, blank).argmax(axis=1)
    begins = np.concatenate([[True], path[1:] != path[:-1]]) if len(path) else np.zeros(0, bool)
    return [int(k) for k in path[begins] if k != blank % log_probs.shape[1]]


class Found(NamedTuple):
    """Labels, and log p(l): the natural logarithm of their probability, as far as it was seen."""

    labels: tuple[int, ...]
    log_p: float


def beam(log_probs: Array, width: int = 16, blank: int = 0) -> list[Found]:
    """The most probable labels of (t, k) and up to width - 1 others, by prefix beam search.

    Of the beginnings of labels, the `width` most probable are kept from frame to frame, each with
    the probability of its paths that end in a blank and of those that end in its last label: the
    same label again makes a longer prefix in the first case and changes nothing in the second.
    With a width that all prefixes fit into the answer is exact.

    Source: A. Hannun, A. Maas, D. Jurafsky, A. Ng, "First-Pass Large Vocabulary Continuous Speech
    Recognition using Bi-Directional Recurrent DNNs", 2014, algorithm 1, without a language model.
    """
    log_y = _frames(log_probs, blank).astype(np.float64)
    if not is_whole(width, 1):
        raise InputError(f"width: expected a whole number from 1 on, found {width!r}")
    blank %= log_y.shape[1]
    #: prefix: log-probabilities of its paths that end in a blank, and in its last label
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -np.inf)}
    for row in log_y.tolist():
        grown: dict[tuple[int, ...], tuple[float, float]] = {}

        def add(prefix: tuple[int, ...], blank_end: float, label_end: float) -> None:
            if blank_end == label_end == -np.inf:
                return
            a, b = grown.get(prefix, (-np.inf, -np.inf))  # noqa: B023 - called in this turn alone
            grown[prefix] = _sum(a, blank_end), _sum(b, label_end)  # noqa: B023

        for prefix, (blank_end, label_end) in kept.items():
            either = _sum(blank_end, label_end)
            add(prefix, either + row[blank], -np.inf)
            for k, log_p in enumerate(row):
                if k == blank or log_p == -np.inf:
                    continue
                if prefix and k == prefix[-1]:
                    add(prefix, -np.inf, label_end + log_p)
                    add((*prefix, k), -np.inf, blank_end + log_p)
                else:
                    add((*prefix, k), -np.inf, either + log_p)
        best = sorted(grown, key=lambda prefix: -_sum(*grown[prefix]))[:width]  # noqa: B023
        kept = {prefix: grown[prefix] for prefix in best}
    found = [Found(prefix, _sum(*ends)) for prefix, ends in kept.items()]
    return sorted(found, key=lambda one: -one.log_p)


def align(log_probs: Array, labels: Sequence[int], blank: int = 0) -> list[tuple[int, int]]:
    """For each label the frames (start, stop) that it has on its most probable path through (t, k).

    The same walk as forward_variables, with the largest in place of the sum (Viterbi's algorithm),
    and back along what was largest. InputError where the labels need more frames than there are.
    """
    log_y = _frames(log_probs, blank).astype(np.float64)
    wanted = np.asarray(labels, int).reshape(-1)
    if frames_needed(wanted) > len(log_y):
        raise InputError(
            f"labels: expected at most as many as {len(log_y)} frames can hold, found labels that "
            f"need {frames_needed(wanted)}"
        )
    if not len(log_y):
        return []
    states = states_of(wanted, blank % log_y.shape[1])
    jumps = may_jump(states)
    best = np.full((len(log_y), len(states)), -np.inf)
    came = np.zeros(best.shape, np.int8)  # by how many states
    best[0, :2] = log_y[0, states[:2]]
    for t in range(1, len(log_y)):
        ways = np.full((3, len(states)), -np.inf)
        ways[0] = best[t - 1]
        ways[1, 1:] = best[t - 1, :-1]
        ways[2, jumps] = best[t - 1, :-2][jumps[2:]]
        came[t] = ways.argmax(axis=0)
        best[t] = ways.max(axis=0) + log_y[t, states]
    s = len(states) - 1
    if len(states) > 1 and best[-1, -2] > best[-1, -1]:
        s -= 1
    path = np.empty(len(log_y), int)
    for t in range(len(log_y) - 1, -1, -1):
        path[t] = s
        s -= came[t, s]
    places = [np.flatnonzero(path == 2 * k + 1) for k in range(len(wanted))]
    return [(int(at[0]), int(at[-1]) + 1) for at in places]


def _sum(a: float, b: float) -> float:
    """log(e^a + e^b)"""
    return float(np.logaddexp(a, b))


def _frames(log_probs: Array, blank: int) -> Array:
    log_probs = np.asarray(log_probs)
    if log_probs.ndim != 2 or log_probs.shape[1] == 0 or log_probs.dtype.kind != "f":
        raise InputError(
            "log_probs: expected frames and classes (t, k), found "
            f"{log_probs.dtype} {log_probs.shape}"
        )
    check_blank(blank, log_probs.shape[1])
    return log_probs


def check_blank(blank: int, classes: int) -> int:
    """The blank's class, 0 .. classes - 1, of one that may be counted from the end; or an error."""
    if not is_whole(blank, -classes) or blank >= classes:
        raise InputError(f"blank: expected one of {classes} classes, found {blank!r}")
    return int(blank) % classes
