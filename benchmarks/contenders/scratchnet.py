"""scratchnet itself."""

import math
from collections.abc import Callable

from numpy.typing import NDArray

import scratchnet as sn

from .base import BETAS, EPSILON, LR, Contender
from .networks import Array


class Scratchnet(Contender):
    label, modules = "scratchnet", ("numba",)

    def train(self, model: sn.Sequential, x: Array, y: NDArray, batch_size: int) -> None:
        model.compile(sn.Adam(LR, *BETAS, EPSILON), "sparse_categorical_crossentropy")
        self.model, self.data, self.batch_size = model, (x, y), batch_size
        self.step = lambda x, y: model.train_on_batch(x, y)[0]
        self.cut(x, y, batch_size)

    def as_epsilon_hat(self) -> None:
        """Steps as Keras's Adam makes them: epsilon beside sqrt(v) is a larger one beside v_hat."""
        model, adam = self.model, self.model.optimizer

        def step(x: Array, y: NDArray) -> float:
            adam.epsilon = EPSILON / math.sqrt(1 - BETAS[1] ** (adam.iterations + 1))
            return model.train_on_batch(x, y)[0]

        self.step = step

    def epoch(self) -> None:
        self.model.fit(*self.data, batch_size=self.batch_size, shuffle=False, verbose=0)

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        return lambda x: model.predict(x, batch_size=len(x))
