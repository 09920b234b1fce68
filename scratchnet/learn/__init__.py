"""Exercises: the layers, written by the reader, in small steps, each checked.

`scratchnet learn` copies the files of exercises/ into a folder of the reader's own, with gaps where
the code is to be written; `scratchnet learn check` runs what was written, in a process of its own.

    exercise.py     what an exercise is, and how a folder of them is read
    trial.py        what a check is written with: compare, check gradients, say what is wrong
    shown.py        arrays and places in words
    told.py         what went wrong in the learner's code, in plain words, with the line
    child.py        the process that runs the learner's code
    runner.py       starts it, ends it when its time is over, and says what came of it
    workplace.py    the learner's folder: its files, what has passed, hints seen
    notebooks.py    the lessons

The learner's code runs with the rights of whoever starts the check. The process of its own is for
its crashes and endless loops; it is **not a sandbox**, and keeps nobody from reading or deleting
files. A teacher who runs the code of others does so in a container or under an account that has
nothing to lose.
"""

from .exercise import Exercise, read_exercises
from .trial import Mistake, Trial

__all__ = ["Exercise", "Mistake", "Trial", "read_exercises"]
