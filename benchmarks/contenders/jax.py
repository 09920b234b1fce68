"""JAX: one jitted function for a step, and one for a prediction."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

import scratchnet as sn

from .base import BETAS, EPSILON, LR, Contender
from .networks import Array


class Jax(Contender):
    label, modules = "JAX jit", ("jax",)

    def train(self, model: sn.Sequential, x: Array, y: NDArray, batch_size: int) -> None:
        import jax
        import jax.numpy as jnp

        from .jax_network import Network

        net, tree = Network(model), jax.tree.map
        update = jax.jit(update_of(net), donate_argnums=0)
        zeros = tree(jnp.zeros_like, net.params), tree(jnp.zeros_like, net.params)
        t, key = jnp.zeros((), jnp.int32), jax.random.key(0)
        self.state = (net.params, net.stats, *zeros, t, key)

        def step(x: Any, y: Any) -> Any:
            self.state, loss = update(self.state, x, y)
            return loss

        self.step = step
        self.cut(x, y, batch_size)
        self.batches = [(jnp.array(x), jnp.array(y)) for x, y in self.batches]

    def wide(self) -> AbstractContextManager[Any]:
        import jax

        return jax.enable_x64(True)

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        import jax

        from .jax_network import Network

        net = Network(model)
        run = jax.jit(lambda params, stats, x: jax.nn.softmax(net.logits(params, stats, x)[0]))
        return lambda x: np.asarray(run(net.params, net.stats, x))


def update_of(net: Any) -> Callable:
    """(state, x, y) -> the state after a step of Adam, and the loss before it.

    net      a jax_network.Network
    state    parameters, running statistics, Adam's m, v, t, a random key
    """
    import jax
    import jax.numpy as jnp

    (b1, b2), tree = BETAS, jax.tree.map

    def loss_of(params: Any, stats: Any, x: Any, y: Any, key: Any) -> tuple[Any, Any]:
        logits, stats = net.logits(params, stats, x, key)
        picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
        return -picked.mean(), stats

    def update(state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        params, stats, m, v, t, key = state
        drawn = jax.random.fold_in(key, t)
        (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(params, stats, x, y, drawn)
        t = t + 1
        m = tree(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
        v = tree(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
        rate, root = LR / (1 - b1**t), jnp.sqrt(1 - b2**t)
        params = tree(lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + EPSILON), params, m, v)
        return (params, stats, m, v, t, key), loss

    return update
