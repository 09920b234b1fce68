"""9. Momentum: steps that remember where they were going.

About 15 minutes. Lesson 5. The package's own: `SGD` in scratchnet/optimizers.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#guide/step

In a long, narrow valley the gradient points across, from wall to wall, and plain steps zigzag. A
velocity collects the steps: what goes back and forth cancels, what goes along adds up.

    velocity  <-  momentum * velocity - learning_rate * grads         at first all zero
    params    <-  params + velocity

The velocity has the shape of the parameters, which is not known before the first step: make it
there. It belongs to this optimizer: keep it in self.

A question: the gradient is the same g in every step. How large do the steps become, if momentum is
0.9?

    scratchnet learn check 9        scratchnet learn hint 9
"""

import numpy as np


class Momentum:
    def __init__(self, learning_rate=0.1, momentum=0.9):
        self.learning_rate, self.momentum = learning_rate, momentum
        self.velocity = None  # until the first step

    def step(self, model):
        params, grads = model.flat_params, model.flat_grads
        # TODO: the velocity at the first step, then the two lines above; params in place
        if self.velocity is None:
            self.velocity = np.zeros_like(params)
        self.velocity = self.momentum * self.velocity - self.learning_rate * grads
        params += self.velocity
        # END
