"""What scratchnet has and PyTorch has not, as modules. Imports PyTorch: loaded late."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from ..layers.lenet import AMPLITUDE, SLOPE


class Residual(nn.Module):
    """main(x) + shortcut(x); an empty row is the identity."""

    def __init__(self, main: nn.Sequential, shortcut: nn.Sequential) -> None:
        super().__init__()
        self.main, self.shortcut = main, shortcut

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.main(x) + self.shortcut(x)


class PaddedAveragePool2d(nn.Module):
    """Average pooling with any padding, which is not counted; PyTorch's own pads evenly only.

    edges    (left, right, top, bottom), as functional.pad has them
    """

    def __init__(
        self, size: tuple[int, int], strides: tuple[int, int], edges: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.window, self.edges = (size, strides), edges

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = (functional.pad(a, self.edges) for a in (x, torch.ones_like(x[:1, :1])))
        mean, counted = (functional.avg_pool2d(a, *self.window) for a in padded)
        return mean / counted


class ReshapeLast(nn.Module):
    """Another shape for values counted with channels last; images go in and out channels first.

    shape   of the output, channels last, without the batch axis
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
        y = last.reshape(len(x), *self.shape)
        return y.permute(0, 3, 1, 2) if y.ndim == 4 else y


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of images (n, c, h, w), at each place by itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class GaussianNoise(nn.Module):
    """Normally distributed noise, added in training."""

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = stddev

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.stddev * torch.randn_like(x) if self.training else x


class Reorder(nn.Module):
    """Features (n, d) in the order of `columns`; not part of the state_dict."""

    columns: torch.Tensor

    def __init__(self, columns: NDArray[np.intp]) -> None:
        super().__init__()
        self.register_buffer("columns", torch.as_tensor(columns), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x[:, self.columns]


class ScaledTanh(nn.Module):
    """1.7159 tanh(2/3 x)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return AMPLITUDE * torch.tanh(SLOPE * x)


class Subsampling2d(nn.Module):
    """The sums of windows side by side, times one weight a channel, plus a bias."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        sums = functional.avg_pool2d(x, self.size, divisor_override=1)
        return sums * self.weight[:, None, None] + self.bias[:, None, None]


class ConnectedConv2d(nn.Module):
    """A convolution with one window (kh, kw) for each entry of a table, and zeros elsewhere."""

    reads: torch.Tensor
    makes: torch.Tensor

    def __init__(self, connections: list[list[int]], size: tuple[int, int], use_bias: bool) -> None:
        super().__init__()
        self.filters = len(connections)
        reads = [c for row in connections for c in row]
        makes = [f for f, row in enumerate(connections) for _ in row]
        self.register_buffer("reads", torch.tensor(reads), persistent=False)
        self.register_buffer("makes", torch.tensor(makes), persistent=False)
        self.weight = nn.Parameter(torch.zeros(len(reads), *size))
        self.bias = nn.Parameter(torch.zeros(self.filters)) if use_bias else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        full = self.weight.new_zeros(self.filters, x.shape[1], *self.weight.shape[1:])
        full = full.index_put((self.makes, self.reads), self.weight)
        return functional.conv2d(x, full, self.bias)
