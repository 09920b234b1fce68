"""What scratchnet has and Keras has not, as layers. Imports Keras: loaded late."""

from typing import Any

import keras
import numpy as np
from keras import ops

from ..layers.lenet import AMPLITUDE, SLOPE


@keras.saving.register_keras_serializable("scratchnet")
class PaddedPooling2D(keras.layers.Layer):
    """Max or average pooling with any padding, which never wins and is not counted.

    edges    ((top, bottom), (left, right))
    """

    def __init__(
        self, largest: bool, size: tuple, strides: tuple, edges: tuple, **how: Any
    ) -> None:
        super().__init__(**how)
        self.config: dict[str, Any] = {"largest": largest, "size": size}
        self.config |= {"strides": strides, "edges": edges}

    def call(self, x: Any) -> Any:
        size, edges = self.config["size"], ((0, 0), *self.config["edges"], (0, 0))
        window = {"strides": self.config["strides"], "data_format": "channels_last"}
        if self.config["largest"]:
            low = ops.pad(x, edges, constant_values=-float("inf"))
            return ops.max_pool(low, size, **window)
        padded = (ops.pad(a, edges) for a in (x, ops.ones_like(x[:1, :, :, :1])))
        mean, counted = (ops.average_pool(a, size, **window) for a in padded)
        return mean / counted

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | self.config


@keras.saving.register_keras_serializable("scratchnet")
class ScaledTanh(keras.layers.Layer):
    """1.7159 tanh(2/3 x)."""

    def call(self, x: Any) -> Any:
        return AMPLITUDE * ops.tanh(SLOPE * x)


@keras.saving.register_keras_serializable("scratchnet")
class Subsampling2D(keras.layers.Layer):
    """The sums of windows side by side, times one weight a channel, plus a bias."""

    def __init__(self, size: tuple, **how: Any) -> None:
        super().__init__(**how)
        self.size = tuple(size)

    def build(self, shape: tuple) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        self.bias = self.add_weight(shape=(shape[-1],), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        mean = ops.average_pool(x, self.size, self.size, data_format="channels_last")
        return mean * (self.size[0] * self.size[1]) * self.scale + self.bias

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"size": self.size}


@keras.saving.register_keras_serializable("scratchnet")
class ConnectedConv2D(keras.layers.Layer):
    """A convolution with one window (kh, kw) for each entry of a table, and zeros elsewhere."""

    def __init__(self, connections: list, size: tuple, use_bias: bool, **how: Any) -> None:
        super().__init__(**how)
        self.connections, self.size, self.use_bias = connections, tuple(size), use_bias

    def build(self, shape: tuple) -> None:
        pairs = [(c, f) for f, row in enumerate(self.connections) for c in row]
        self.places = np.zeros((len(pairs), shape[-1], len(self.connections)), self.dtype)
        for number, pair in enumerate(pairs):
            self.places[number, *pair] = 1
        self.kernel = self.add_weight(shape=(*self.size, len(pairs)), name="kernel")
        if self.use_bias:
            filters = (len(self.connections),)
            self.bias = self.add_weight(shape=filters, initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        full = ops.einsum("uvk,kcf->uvcf", self.kernel, self.places)
        y = ops.conv(x, full, 1, "valid", data_format="channels_last")
        return y + self.bias if self.use_bias else y

    def get_config(self) -> dict[str, Any]:
        own = {"connections": self.connections, "size": self.size, "use_bias": self.use_bias}
        return super().get_config() | own
