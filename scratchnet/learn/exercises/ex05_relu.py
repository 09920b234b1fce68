"""5. ReLU: what is negative becomes zero.

About 10 minutes. Lesson 3. The package's own: scratchnet/layers/activations.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#network/backward/relu

Shapes    x of any shape -> y of the same
Forward   y = x where x > 0, and 0 elsewhere
Backward  dx = dy where x > 0, and 0 elsewhere: where the output does not move, no gradient comes
          back. At x = 0 the function has a kink and no derivative; take 0 there, as everybody does.

Two layers of sums are only one layer of sums. It is this bend between them that lets a network
learn more than straight lines.

A question before you write it: backward needs to know where x was positive. Is it enough to keep y?

    scratchnet learn check 5        scratchnet learn hint 5
"""

import numpy as np


class ReLU:
    def __init__(self):
        self.params, self.grads, self.buffers = {}, {}, {}

    def forward(self, x, training=False):
        # TODO: y; and keep what backward will need
        self.y = np.maximum(x, 0)
        return self.y
        # END

    def backward(self, dy):
        # TODO: dx, a new array
        return np.where(self.y > 0, dy, 0)
        # END
