"""18. BatchNorm, backward: three ways from x to y.

About an hour. Lesson 9. The package's own: scratchnet/layers/normalization.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#backward/model=cnn-bn/batchnorm

y = gamma * x_hat + beta, so gamma's and beta's gradients, and the gradient that arrives at x_hat:

    dgamma  =  sum of dy * x_hat          dbeta  =  sum of dy          dx_hat  =  dy * gamma

The sums are over all axes but the last, as the means are: m values for each channel.

In training x reaches x_hat = (x - mu) / sqrt(var + epsilon) in three ways: directly, through mu,
and through var, for both are made of all the m values. Each way has its term. With
s = 1 / sqrt(var + epsilon), for each channel:

    dvar  =  sum of  dx_hat * (x - mu) * (-1/2) * s^3
    dmu   =  sum of  dx_hat * (-s)                        (through var nothing comes: the x - mu
                                                           add up to 0)
    dx    =  dx_hat * s  +  dvar * 2 (x - mu) / m  +  dmu / m

Write it so, or put it together on paper first, with x - mu = x_hat / s:

    dx    =  s * (dx_hat  -  mean of dx_hat  -  x_hat * mean of (dx_hat * x_hat))

In evaluation mu and var are fixed numbers, and only the first way is left: dx = dx_hat * s.

Your forward keeps self.x_hat, self.s and self.training.

    scratchnet learn check 18        scratchnet learn hint 18
"""

from ex17_batchnorm_forward import BatchNorm as Forward


class BatchNorm(Forward):
    """Your BatchNorm from before, which goes backward, too."""

    def backward(self, dy):
        # TODO: dgamma and dbeta into self.grads; dx, in training and in evaluation
        axes = tuple(range(dy.ndim - 1))  # all but the last
        self.grads["gamma"][:] = (dy * self.x_hat).sum(axis=axes)
        self.grads["beta"][:] = dy.sum(axis=axes)
        dx_hat = dy * self.params["gamma"]
        if not self.training:
            return dx_hat * self.s
        along = (dx_hat * self.x_hat).mean(axis=axes)
        return self.s * (dx_hat - dx_hat.mean(axis=axes) - self.x_hat * along)
        # END
