"""20. Dropout: forget some of it, so that no unit can be relied on.

About 20 minutes. Lesson 10. The package's own: scratchnet/layers/dropout.py
On the page, with `scratchnet serve` running:
http://127.0.0.1:8000/#network/model=cnn-dropout/dropout

Shapes    x of any shape -> y of the same
Training  each value is kept with the probability keep = 1 - rate, and otherwise becomes 0. What is
          kept is divided by keep, so that on average y is x:

              mask  =  1 / keep with probability keep, else 0          a new one each time
              y     =  x * mask

Else      y = x: all units are there, and need no scaling, as it was done in training.
Backward  the mask is a constant factor: dx = dy * mask, the **same** mask; in evaluation dx = dy.

Random numbers come from self.rng: self.rng.random(x.shape) are as many numbers between 0 and 1.

    scratchnet learn check 20        scratchnet learn hint 20
"""


class Dropout:
    def __init__(self, rate, rng):
        self.rate, self.rng = rate, rng
        self.params, self.grads, self.buffers = {}, {}, {}

    def forward(self, x, training=False):
        # TODO: y; keep the mask (1 in evaluation)
        self.mask = 1.0
        if training:
            keep = 1 - self.rate
            self.mask = (self.rng.random(x.shape) < keep) / keep
        return x * self.mask
        # END

    def backward(self, dy):
        # TODO: dx
        return dy * self.mask
        # END
