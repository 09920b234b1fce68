"""17. BatchNorm, forward: each channel with mean 0 and variance 1.

About 30 minutes. Lesson 9. The package's own: scratchnet/layers/normalization.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#forward/model=cnn-bn/batchnorm

Shapes    x (n, c), or images (n, h, w, c) -> y of the same shape; gamma, beta (c,)
          Everything is done for each channel, the last axis, by itself. Means are taken over all
          other axes: m = n values of a channel, or m = n * h * w.

Training  mu    = mean of x                                       (c,)
          var   = mean of (x - mu)^2                              (c,), divided by m
          x_hat = (x - mu) / sqrt(var + epsilon)
          y     = gamma * x_hat + beta

          and, because a single image has no batch to take a mean of, remember for later

          running_mean  <-  momentum * running_mean + (1 - momentum) * mu
          running_var   <-  momentum * running_var  + (1 - momentum) * var

          These are in self.buffers. Write into the arrays that are there: `array[:] = ...`.

Else      (training is False) the same formula with running_mean and running_var in the place of mu
          and var; they stay as they are.

Source: Ioffe and Szegedy 2015, "Batch Normalization", algorithm 1.

    scratchnet learn check 17        scratchnet learn hint 17
"""

import numpy as np


class BatchNorm:
    def __init__(self, c, momentum=0.9, epsilon=1e-3):
        self.momentum, self.epsilon = momentum, epsilon
        self.params = {"gamma": np.ones(c), "beta": np.zeros(c)}
        self.grads = {name: np.zeros_like(array) for name, array in self.params.items()}
        self.buffers = {"running_mean": np.zeros(c), "running_var": np.ones(c)}

    def forward(self, x, training=False):
        gamma, beta = self.params["gamma"], self.params["beta"]
        # TODO: statistics, of the batch or the kept ones; x_hat; y. Keep x_hat in self.x_hat, the
        #     factor 1 / sqrt(var + epsilon) in self.s and `training` in self.training
        axes = tuple(range(x.ndim - 1))  # all but the last
        mean, var = self.buffers["running_mean"], self.buffers["running_var"]
        if training:
            mu, variance = x.mean(axis=axes), x.var(axis=axes)
            mean[:] = self.momentum * mean + (1 - self.momentum) * mu
            var[:] = self.momentum * var + (1 - self.momentum) * variance
        else:
            mu, variance = mean, var
        self.s = 1 / np.sqrt(variance + self.epsilon)
        self.x_hat = (x - mu) * self.s
        self.training = training
        return gamma * self.x_hat + beta
        # END
