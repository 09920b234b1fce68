"""scratchnet itself."""

import math
from collections.abc import Callable

import numpy as np
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

    def as_keras(self) -> None:
        """Steps as Keras's Adam makes them.

        Its epsilon beside sqrt(v) is a larger one beside sqrt(v_hat), and its bias corrections are
        those of betas rounded to float32: 1.3e-5 of 1 - 0.999, which is a rate as much larger.
        """
        model, adam = self.model, self.model.optimizer

        def rate(t: int, beta_1: float, beta_2: float) -> float:
            return math.sqrt(1 - beta_2**t) / (1 - beta_1**t)

        def step(x: Array, y: NDArray) -> float:
            t = adam.iterations + 1
            adam.epsilon = EPSILON / math.sqrt(1 - BETAS[1] ** t)
            kept = rate(t, *map(float, np.float32(BETAS))) / rate(t, *BETAS)
            adam.learning_rate = LR * kept
            return model.train_on_batch(x, y)[0]

        self.step = step

    def epoch(self) -> None:
        self.model.fit(*self.data, batch_size=self.batch_size, shuffle=False, verbose=0)

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        return lambda x: model.predict(x, batch_size=len(x))
