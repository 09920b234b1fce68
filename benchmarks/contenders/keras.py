"""Keras on TensorFlow, with and without XLA."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

import scratchnet as sn
from scratchnet.interop import keras as to_keras

from .base import BETAS, EPSILON, LR, Contender
from .networks import Array


class Keras(Contender):
    """Keras's layers and optimizer in a tf.function written here: faster than its fit."""

    label, modules, xla = "Keras on TensorFlow", ("tensorflow", "keras"), False
    adam_of_keras = True

    def network(self, model: sn.Sequential) -> Any:
        """The equal keras.Sequential, Softmax included."""
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(self.threads)
        tf.config.threading.set_inter_op_parallelism_threads(self.threads)
        return to_keras.build(model)

    def train(self, model: sn.Sequential, x: Array, y: NDArray, batch_size: int) -> None:
        import keras
        import tensorflow as tf

        whole = self.network(model)
        net = keras.Model(whole.inputs[0], whole.layers[-1].input)  # the loss has the Softmax
        loss_of = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, dtype=model.dtype.name
        )
        adam = keras.optimizers.Adam(LR, *BETAS, EPSILON)
        adam.build(net.trainable_variables)

        @tf.function(jit_compile=self.xla)
        def step(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = loss_of(y, net(x, training=True))
            adam.apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
            return loss

        self.step = step
        self.cut(x, y, batch_size)
        self.batches = [(tf.constant(x), tf.constant(y)) for x, y in self.batches]

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        import tensorflow as tf

        net = self.network(model)
        run = tf.function(lambda x: net(x, training=False), jit_compile=self.xla)
        return lambda x: run(tf.constant(x)).numpy()


class KerasXla(Keras):
    label, xla = "Keras, jit_compile=True", True
