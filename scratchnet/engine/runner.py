"""What one Python thread needs to run a model: groups of its own, and their memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers import Layer
from ..losses import SparseCategoricalCrossentropy
from . import plan, single
from .ends import CrossEntropy, Pixels
from .group import Array, Group, Single


class Runner:
    """Groups and buffers for a row of built layers.

    Several threads may run one model at once, each with a Runner of its own; the weights are the
    model's. A Runner belongs to the layers that the row had when it was made.

    ran, out_shape   the groups of the last forward, None if nothing is kept for backward; and the
                     shape of what came out of them
    token            tells this runner's forward from that of another model with the same layers
    """

    def __init__(self, layers: Sequence[Layer], input_shape: tuple[int, ...], dtype: Any) -> None:
        self.layers = list(layers)
        self.input_shape, self.dtype = input_shape, np.dtype(dtype)
        self.ran: list[Single | Group] | None = None
        self.token = object()
        self.out_shape: tuple[int, ...] = ()
        self.one_image: single.OneImage | None = None
        self.single_images = 0
        self._grouped: list[Single | Group] | None = None
        self._pixels = Pixels(dtype)
        self._cross_entropy = CrossEntropy(dtype)

    def groups(self, fuse: bool) -> list[Single | Group]:
        """The layers as the plan groups them, or each by itself."""
        if not fuse:
            return plan.make(self.layers, fuse=False)
        if self._grouped is None:
            self._grouped = plan.make(self.layers)
        return self._grouped

    def pixels(self, x: NDArray[np.uint8]) -> Array:
        """Bytes as numbers from 0 to 1."""
        return self._pixels.forward(x)

    def cross_entropy(self, loss: SparseCategoricalCrossentropy) -> CrossEntropy:
        """The loss from logits, in one loop."""
        self._cross_entropy.loss = loss
        return self._cross_entropy

    def prepared(self) -> single.OneImage | None:
        """The groups prepared for single images, if they are, and as they are now."""
        one = self.one_image
        return one if one is not None and one.fits(self.groups(fuse=True)) else None

    def is_time_to_prepare(self) -> bool:
        """Whether so many single images have come that preparing for more is worth its time."""
        self.single_images += 1
        return self.single_images >= single.PREPARE_AT

    def prepare(self) -> single.OneImage | None:
        """Prepare the groups for single images, where that can be done."""
        groups = self.groups(fuse=True)
        arrays = [array for layer in self.layers for array in layer.params.values()]
        in_order = all(array.flags.c_contiguous for array in arrays)
        if not (in_order and single.can_be_prepared(groups)):
            return None
        self.one_image = single.OneImage(groups, self.input_shape, self.dtype)
        return self.one_image
