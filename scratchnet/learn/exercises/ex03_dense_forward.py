"""3. Dense, forward: every output is a weighted sum of every input.

About 10 minutes. Lesson 2. The package's own: scratchnet/layers/dense.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#forward/dense

Shapes    x (n, d): n examples, each of d numbers;  W (d, units);  b (units,);  y (n, units)
Forward   y[n, j]  =  sum over i of  x[n, i] W[i, j]  +  b[j]

One matrix product does all the sums at once. Which of the two arrays has to stand first, if an
array of shape (n, units) is to come out? NumPy adds b to every row by itself.

What every layer here has: `params`, the arrays that it learns; `grads`, one of the same shape for
each, for the exercise after this; `buffers`, other arrays that it keeps, mostly none. The
constructors are written already.

Do not change x: it belongs to the caller. (`y += b` is fine, if y is an array that you have made.)

    scratchnet learn check 3        scratchnet learn hint 3
"""

import numpy as np


class Dense:
    def __init__(self, d, units, rng):
        limit = np.sqrt(6 / (d + units))  # Glorot and Bengio 2010, eq. 16
        self.params = {"W": rng.uniform(-limit, limit, (d, units)), "b": np.zeros(units)}
        self.grads = {name: np.zeros_like(array) for name, array in self.params.items()}
        self.buffers = {}

    def forward(self, x, training=False):
        """x (n, d) -> y (n, units)"""
        W, b = self.params["W"], self.params["b"]
        # TODO: return y, in one line
        return x @ W + b  # (n, d) @ (d, units) -> (n, units)
        # END
