"""6. Sigmoid, without an overflow.

About 20 minutes. Lesson 3. The package's own: scratchnet/layers/smooth.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#network/relu

Shapes    x of any shape -> y of the same, between 0 and 1
Forward   y = 1 / (1 + e^-x)
Backward  dy/dx = y (1 - y): the derivative is made of the output alone. Derive it:
          write y = (1 + e^-x)^-1, differentiate, and find y and 1 - y in what comes out.
          dx = dy * y * (1 - y)

The formula is right, and yet np.exp(1000) is infinite: for x = -1000 the e^-x overflows, with a
warning, and in longer formulas with nan. Multiply above and below by e^x:

    1 / (1 + e^-x)  =  e^x / (1 + e^x)

The left form is safe for x >= 0, the right one for x < 0. Both have an e to the power of -|x| in
them, which is at most 1. Use that: compute z = e^(-|x|) once, and choose.

    scratchnet learn check 6        scratchnet learn hint 6
"""

import numpy as np


class Sigmoid:
    def __init__(self):
        self.params, self.grads, self.buffers = {}, {}, {}

    def forward(self, x, training=False):
        # TODO: y, with no e to a positive power; and keep what backward will need
        z = np.exp(-np.abs(x))
        self.y = np.where(x >= 0, 1, z) / (1 + z)
        return self.y
        # END

    def backward(self, dy):
        # TODO: dx
        return dy * self.y * (1 - self.y)
        # END
