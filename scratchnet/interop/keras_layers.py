"""What scratchnet has and Keras has not, as layers. Imports Keras: loaded late."""

from typing import Any

import keras
from keras import ops


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
