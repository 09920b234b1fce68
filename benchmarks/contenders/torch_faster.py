"""What PyTorch does faster in another way than `interop.torch` builds it. Loaded late.

Global average pooling   the mean is one operation; AdaptiveAvgPool2d(1) with its Flatten is the
                         same mean with views around it, and a copy in its backward pass.
Flatten                  PyTorch's order of features is c, h, w: a copy where channels come last in
                         memory. In scratchnet's order, h, w, c, there is nothing to copy.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

import scratchnet as sn
from scratchnet import layers as L  # noqa: N812


class Mean(nn.Module):
    """(n, c, h, w) -> (n, c)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))


class FlattenLast(nn.Module):
    """(n, c, h, w) -> (n, h * w * c)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def make_faster(net: nn.Sequential, model: sn.Sequential, channels_last: bool) -> None:
    """Change `interop.torch.build(model)`, in which module number i is layer number i.

    channels_last    how images are going to lie in memory
    """
    for number, layer in enumerate(model.layers):
        if isinstance(layer, L.GlobalAveragePool2D):
            net[number] = Mean()
    for flatten, dense in flattened(model) if channels_last else ():
        net[flatten] = FlattenLast()
        W = np.ascontiguousarray(model.layers[dense].params["W"].T)
        with torch.no_grad():
            net[dense].weight.copy_(torch.from_numpy(W))


def flattened(model: sn.Sequential) -> Iterator[tuple[int, int]]:
    """Places of a Flatten and of its Dense, nothing between them that looks at single features."""
    start = None
    for number, layer in enumerate(model.layers):
        if isinstance(layer, L.Flatten) and len(layer.input_shape) == 3:
            start = number
        elif start is not None and isinstance(layer, L.Dense):
            yield start, number
            start = None
        elif not isinstance(layer, (L.ReLU, L.Dropout)):
            start = None
