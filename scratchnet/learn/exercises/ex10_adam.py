"""10. Adam: a step size for every parameter.

About 30 minutes. Lesson 5. The package's own: `Adam` in scratchnet/optimizers.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#guide/step

g is the gradient, t the number of the step: 1, 2, 3, ... All operations are entry by entry.

    m  <-  beta_1 * m + (1 - beta_1) * g              a running mean of the gradient
    v  <-  beta_2 * v + (1 - beta_2) * g^2            a running mean of its square
    m_hat = m / (1 - beta_1^t)
    v_hat = v / (1 - beta_2^t)
    params  <-  params - learning_rate * m_hat / (sqrt(v_hat) + epsilon)

m and v begin at zero and are too small at first. Dividing by 1 - beta^t makes up for that: work out
m_hat at t = 1, and you will see how exactly. So the first step is nearly the learning rate, for
every parameter, whatever the size of its gradient.

m and v themselves stay uncorrected from step to step; m_hat and v_hat are made anew each time.

Source: Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1.

    scratchnet learn check 10        scratchnet learn hint 10
"""

import numpy as np


class Adam:
    def __init__(self, learning_rate=0.001, beta_1=0.9, beta_2=0.999, epsilon=1e-7):
        self.learning_rate = learning_rate
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon
        self.m = self.v = None  # until the first step
        self.t = 0

    def step(self, model):
        params, grads = model.flat_params, model.flat_grads
        # TODO: m and v at the first step; count the step; then the lines above, params in place
        if self.m is None:
            self.m, self.v = np.zeros_like(params), np.zeros_like(params)
        self.t += 1
        self.m = self.beta_1 * self.m + (1 - self.beta_1) * grads
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * grads**2
        m_hat = self.m / (1 - self.beta_1**self.t)
        v_hat = self.v / (1 - self.beta_2**self.t)
        params -= self.learning_rate * m_hat / (np.sqrt(v_hat) + self.epsilon)
        # END
