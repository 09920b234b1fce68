"""2. The gradient of a function of many numbers, measured.

About 15 minutes. Lesson 1. The package's own: `numeric_gradient` in scratchnet/gradcheck.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#guide/weight

A loss depends on every weight of a network. Its gradient is an array with one slope for each of
them: how much the loss changes when that one number is nudged and all the others stay.

    a            an array of any shape, of float64
    f            a function without arguments that reads a and returns a number
    gradient     the same shape;  gradient[i] = (f() with a[i] + h  -  f() with a[i] - h) / (2 h)

f reads `a` itself, so change an entry of `a` in place, call f(), and put the entry back to exactly
what it was before you go on to the next: write down its old value first.

With this you can check every backward pass that you write from here on. `learn check` does so, too.

    for index in np.ndindex(a.shape):       runs through the places of an array of any shape;
        a[index]                            a[index] is the number there

    scratchnet learn check 2        scratchnet learn hint 2
"""

import numpy as np


def numeric_gradient(f, a, h=1e-5):
    """df/da, an array of a's shape; a is as before when it returns."""
    # TODO: an array for the result, then one slope for every place
    gradient = np.zeros_like(a)
    for index in np.ndindex(a.shape):
        kept = a[index]
        a[index] = kept + h
        above = f()
        a[index] = kept - h
        below = f()
        a[index] = kept
        gradient[index] = (above - below) / (2 * h)
    return gradient
    # END
