"""Optimizers: from a gradient to a step.

All parameters of a model are one flat array and so are its gradients; an optimizer is one pass over
the two, `optimizer.step(model)`. What it remembers between steps (momentum, Adam's averages) is its
own and flat, too.
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import kernels
from .errors import InputError, check_number
from .schedules import SCHEDULES, Constant, Schedule

Array = NDArray[np.floating]


class HasParameters(Protocol):
    """What a step needs of a model: its parameters and their gradients, flat and of one size."""

    flat_params: Array
    flat_grads: Array


class Optimizer:
    """learning_rate: a number, or a Schedule. `iterations` counts the steps done."""

    def __init__(self, learning_rate: float | Schedule) -> None:
        if not isinstance(learning_rate, Schedule):
            learning_rate = Constant(learning_rate)
        self.learning_rate = learning_rate
        self.iterations = 0
        self.memory: dict[str, Array] = {}

    def step(self, model: HasParameters) -> None:
        """Change the model's parameters in place, by the gradients that are in it now."""
        params, grads = model.flat_params, model.flat_grads
        if self.memory and next(iter(self.memory.values())).size != params.size:
            raise RuntimeError(
                f"{type(self).__name__}: its state belongs to a model of another size; "
                "use a new optimizer for each model"
            )
        lr = self.learning_rate(self.iterations)
        self.iterations += 1
        self.update(params, grads, lr)

    def update(self, params: Array, grads: Array, lr: float) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def _memory(self, key: str, like: Array) -> Array:
        if key not in self.memory:
            self.memory[key] = np.zeros_like(like)
        return self.memory[key]

    def state(self) -> dict[str, Array | float]:
        """All that it remembers between steps, by name; the arrays are its own, not copies."""
        return {"iterations": self.iterations, **self.memory}

    def load_state(self, state: dict[str, Array | float]) -> None:
        """Remember, instead, what `state` of an optimizer of this kind returned; it is copied."""
        self.iterations = int(state["iterations"])
        self.memory = {key: np.array(state[key]) for key in state if key != "iterations"}

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, in values that JSON knows."""
        rate = self.learning_rate
        return {"learning_rate": {"schedule": type(rate).__name__, **rate.config()}}


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's look-ahead.

    velocity <- momentum * velocity - lr * gradient;  parameters <- parameters + velocity
    Source: Polyak 1964; Nesterov 1983; in this form Sutskever et al. 2013.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(learning_rate)
        if nesterov and momentum == 0:
            raise InputError("nesterov: expected a momentum above 0 with it, found 0")
        self.momentum = check_number("momentum", momentum, least=0, below=1)
        self.nesterov = nesterov

    def update(self, params: Array, grads: Array, lr: float) -> None:
        velocity = self._memory("velocity", params)
        kernels.sgd_step(params, grads, velocity, lr, self.momentum, self.nesterov)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "momentum": self.momentum, "nesterov": self.nesterov}


class Adam(Optimizer):
    """Adam: each parameter has a step size of its own, from the history of its gradient.

        m <- beta_1 m + (1 - beta_1) g          average of the gradient: where to
        v <- beta_2 v + (1 - beta_2) g^2        average of its square: how large it usually is
        m_hat = m / (1 - beta_1^t),  v_hat = v / (1 - beta_2^t)
        parameters <- parameters - lr m_hat / (sqrt(v_hat) + epsilon)

    m and v start at zero and are too small at first; dividing by 1 - beta^t, t the step's number
    from 1, makes up for that exactly.
    Edges     epsilon stands where the paper's algorithm 1 and PyTorch have it, beside the corrected
              root. Keras and ONNX add it to the uncorrected one, the paper's "epsilon hat": the
              same after many steps.
    Source    Kingma and Ba 2015, algorithm 1.
    """

    weight_decay = 0.0

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__(learning_rate)
        self.beta_1 = check_number("beta_1", beta_1, least=0, below=1)
        self.beta_2 = check_number("beta_2", beta_2, least=0, below=1)
        self.epsilon = check_number("epsilon", epsilon, above=0)

    def update(self, params: Array, grads: Array, lr: float) -> None:
        m, v = self._memory("m", params), self._memory("v", params)
        kernels.adam_step(
            params,
            grads,
            m,
            v,
            lr,
            self.beta_1,
            self.beta_2,
            self.epsilon,
            self.iterations,
            self.weight_decay,
        )

    def config(self) -> dict[str, Any]:
        betas = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().config(), **betas}


class AdamW(Adam):
    """Adam with decoupled weight decay: before each step every parameter shrinks by lr * decay.

    Source: Loshchilov and Hutter 2019, algorithm 2.
    """

    def __init__(
        self,
        learning_rate: float | Schedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon)
        self.weight_decay = check_number("weight_decay", weight_decay, least=0)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "weight_decay": self.weight_decay}


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def get(optimizer: str | Optimizer) -> Optimizer:
    """An optimizer by its Keras name with Keras's settings, or the optimizer itself."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if optimizer not in OPTIMIZERS:
        raise InputError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, found {optimizer!r}")
    return OPTIMIZERS[optimizer]()


def from_config(name: str, config: dict[str, Any]) -> Optimizer:
    """The optimizer that `config` described; its memory starts anew."""
    rate = dict(config["learning_rate"])
    schedule = SCHEDULES[rate.pop("schedule")](**rate)
    return OPTIMIZERS[name](**{**config, "learning_rate": schedule})
