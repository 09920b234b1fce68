"""More optimizers: RMSprop, Adagrad, Nadam and Lion, each beside what it changes of the others.

optimizers.py has what all share (learning rate, clipping, weight decay, averages), SGD and Adam.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import check_flag, check_number
from .optimizer_steps import adagrad_step, lion_step, nadam_step, rmsprop_step
from .optimizers import Adam, LearningRate, Optimizer

Array = NDArray[np.floating]

#: Nadam's momentum warms up by 0.96 a step; after so many steps nothing is left to warm up
WARM_UP = 0.96
WARM = 1000


class RMSprop(Optimizer):
    """Each parameter's gradient by its usual size, a root mean square of the last steps.

        v <- rho v + (1 - rho) g^2
        parameters <- parameters - lr g / sqrt(v + epsilon)

    centered   take the mean off, so that the root is of the gradient's variance:
               mean <- rho mean + (1 - rho) g, and v - mean^2 in the place of v
    momentum   velocity <- momentum * velocity + lr g / sqrt(...), which is then the step

    Edges     epsilon stands under the root, as in Graves and in Keras; PyTorch adds it to the root,
              the same where gradients are far above it. A variance that rounding makes negative
              counts as 0. v starts at 0 without a correction, so the first steps are longer, by up
              to 1 / sqrt(1 - rho).
    Source    Hinton, Srivastava and Swersky 2012, lecture 6e; centered and with momentum Graves
              2013, "Generating Sequences With Recurrent Neural Networks", equations 38 to 45.

    shared: what every Optimizer takes, see there
    """

    decays_in_update = True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.rho = check_number("rho", rho, least=0, below=1)
        self.momentum = check_number("momentum", momentum, least=0, below=1)
        self.epsilon = check_number("epsilon", epsilon, above=0)
        self.centered = check_flag("centered", centered)
        more = {"mean": self.centered, "velocity": self.momentum > 0}
        self.remembers = ("v", *(key for key, there in more.items() if there))

    def update(self, params: Array, grads: Array, lr: float) -> None:
        v, none = self._memory("v", params), params[:0]
        mean = self._memory("mean", params) if self.centered else none
        velocity = self._memory("velocity", params) if self.momentum else none
        rmsprop_step(
            params,
            grads,
            v,
            mean,
            velocity,
            lr,
            self.rho,
            self.momentum,
            self.epsilon,
            self.decay_of_all,
        )

    def config(self) -> dict[str, Any]:
        own = {"rho": self.rho, "momentum": self.momentum, "epsilon": self.epsilon}
        return {**super().config(), **own, "centered": self.centered}


class Adagrad(Optimizer):
    """Each parameter's gradient by the root of all its squares so far: steps that only get shorter.

        total <- total + g^2, from initial_accumulator_value
        parameters <- parameters - lr g / sqrt(total + epsilon)

    Rare features, whose gradient is mostly 0, keep long steps. Learning rates are larger than
    Adam's: 0.05 or so.
    Edges     epsilon stands under the root, as in Keras; PyTorch adds it to the root and starts
              from 0 by default.
    Source    Duchi, Hazan and Singer 2011, "Adaptive Subgradient Methods for Online Learning and
              Stochastic Optimization", figure 1 with diagonal matrices.

    shared: what every Optimizer takes, see there
    """

    remembers, decays_in_update = ("total",), True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        start = check_number("initial_accumulator_value", initial_accumulator_value, least=0)
        self.initial_accumulator_value = start
        self.epsilon = check_number("epsilon", epsilon, above=0)

    def update(self, params: Array, grads: Array, lr: float) -> None:
        total = self._memory("total", params, self.initial_accumulator_value)
        adagrad_step(params, grads, total, lr, self.epsilon, self.decay_of_all)

    def config(self) -> dict[str, Any]:
        own = {"initial_accumulator_value": self.initial_accumulator_value}
        return {**super().config(), **own, "epsilon": self.epsilon}


class Nadam(Adam):
    """Adam with Nesterov's look-ahead: it goes by the m that the next step will begin with.

        m <- beta_1 m + (1 - beta_1) g,  v <- beta_2 v + (1 - beta_2) g^2,  as in Adam
        mu_t = beta_1 (1 - 0.96^t / 2)                a momentum that warms up to beta_1
        m_hat = mu_(t+1) m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) g / (1 - mu_1 ... mu_t)
        parameters <- parameters - lr m_hat / (sqrt(v_hat) + epsilon)

    Edges     Keras's numbers; PyTorch's NAdam is the same with momentum_decay=1, and warms up 250
              times as slowly by default.
    Source    Dozat 2016, "Incorporating Nesterov Momentum into Adam", algorithm 2, with the
              schedule of its section on the momentum.

    shared: what every Optimizer takes, see there
    """

    def update(self, params: Array, grads: Array, lr: float) -> None:
        m, v, t = self._memory("m", params), self._memory("v", params), self.iterations
        (mu, product), (mu_next, product_next) = self._momentum(t), self._momentum(t + 1)
        nadam_step(
            params,
            grads,
            m,
            v,
            lr,
            self.beta_1,
            self.beta_2,
            self.epsilon,
            t,
            mu_next / (1 - product_next),
            (1 - mu) / (1 - product),
            self.decay_of_all,
        )

    def _momentum(self, t: int) -> tuple[float, float]:
        """mu_t, and mu_1 ... mu_t: beta_1^t times factors of which all but WARM are 1."""
        warming = 1 - WARM_UP ** np.arange(1, min(t, WARM) + 1) / 2
        mu = self.beta_1 * (1 - WARM_UP**t / 2)
        return mu, float(self.beta_1**t * np.prod(warming))


class Lion(Optimizer):
    """Every parameter moves by the learning rate, up or down: by the sign of a momentum alone.

        parameters <- parameters - lr sign(beta_1 m + (1 - beta_1) g)
        m <- beta_2 m + (1 - beta_2) g

    Two betas: the step looks more at the newest gradient than the memory does. Learning rates are
    three to ten times smaller than Adam's, and weight decay as many times larger.
    Edges     sign(0) = 0.
    Source    Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", algorithm 2.

    shared: what every Optimizer takes, see there
    """

    remembers, decays_in_update = ("m",), True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.beta_1 = check_number("beta_1", beta_1, least=0, below=1)
        self.beta_2 = check_number("beta_2", beta_2, least=0, below=1)

    def update(self, params: Array, grads: Array, lr: float) -> None:
        m = self._memory("m", params)
        lion_step(params, grads, m, lr, self.beta_1, self.beta_2, self.decay_of_all)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "beta_1": self.beta_1, "beta_2": self.beta_2}
