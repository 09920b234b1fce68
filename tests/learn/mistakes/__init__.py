"""Seeded mistakes, as learners make them, and right layers that look unusual: the judge's file.

It was written before the diagnosis was, by somebody who did not know how it would work. It stays as
it is, whatever a diagnosis makes of it; test_mistakes.py proves that every mistake is one and that
what is right is right.

MISTAKES   a diagnosis must find the first of a case's `causes` (or another of them, for the reason
           in its `note`)
UNNAMED    wrong, and none of CAUSES fits: "wrong, cause unknown" is the right answer
RIGHT      right: no cause may be named

    layer, x, _, like = prepared(case, seed=0)      room "layer": built, in float64
    loss, y_pred, y_true, like = prepared(case, 0)  room "loss"
    optimizer, _, _, like = prepared(case, 0)       room "optimizer"; step(model) is its protocol

Every class derives from one that is right, and differs from it in what the case's `said` says.
"""

from . import activations, columns, conv, dense, losses, norm, optimizers, paths, pool
from .case import CAUSES, KINKED, Case, model_of, prepared

__all__ = ["CAUSES", "KINKED", "MISTAKES", "RIGHT", "UNNAMED", "Case", "model_of", "prepared"]

ROOMS = dense, paths, activations, conv, columns, pool, norm, losses, optimizers

MISTAKES: list[Case] = [case for room in ROOMS for case in room.MISTAKES]
UNNAMED: list[Case] = [case for room in ROOMS for case in room.UNNAMED]
RIGHT: list[Case] = [case for room in ROOMS for case in room.RIGHT]
