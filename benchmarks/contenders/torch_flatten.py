"""Flatten as a view, where channels come last in memory. Imports PyTorch: loaded late.

`scratchnet.interop.torch` flattens as PyTorch does, in the order c, h, w, which is a copy if the
memory has the order h, w, c. With scratchnet's order of features there is nothing to copy.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

import scratchnet as sn
from scratchnet import layers as L  # noqa: N812


class FlattenLast(nn.Module):
    """(n, c, h, w) -> (n, h * w * c)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


def flatten_without_copies(net: nn.Sequential, model: sn.Sequential) -> None:
    """Change `interop.torch.build(model)`: each Flatten and the Dense that reads what it gives."""
    for flatten, dense in flattened(model):
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
