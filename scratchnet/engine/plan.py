"""Which groups run which layers: decided once for a model by one table, and printable.

The layers own the parameters and the mathematics. The plan looks at their row and finds what the
table below covers; every other layer runs by itself. A group has the layers' own protocol and
computes the same numbers, only without writing to memory what is never read.

A group keeps its buffers from step to step, so that training allocates no arrays. What it returns
is such a buffer: valid until its next forward.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..layers import (
    AveragePool2D,
    BatchNorm,
    ConnectedConv2D,
    Conv2D,
    Conv2DTranspose,
    Dense,
    DepthwiseConv2D,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAveragePool2D,
    GlobalMaxPool2D,
    Layer,
    LayerNorm,
    LeakyReLU,
    LogSoftmax,
    MaxPool2D,
    ReLU,
    Reshape,
    Residual,
    ScaledTanh,
    Softmax,
    Subsampling2D,
    UpSampling2D,
    ZeroPadding2D,
)
from . import winograd
from .conv import ConvRelu
from .conv_pool import ConvReluPool
from .curves import CURVES, CurveGroup
from .dense import DenseRelu
from .depthwise import DepthwiseGroup
from .elementwise import (
    DropoutGroup,
    FlattenGroup,
    GaussianNoiseGroup,
    LeakyReLUGroup,
    LogSoftmaxGroup,
    ReLUGroup,
    SoftmaxGroup,
)
from .group import Gradients, Group, Single
from .lenet import ConnectedGroup, ScaledTanhGroup, SubsamplingGroup
from .normalization import BatchNormRelu, LayerNormGroup
from .patches import ConvPatches, ConvTransposeGroup
from .placing import ReshapeGroup, UpSamplingGroup, ZeroPaddingGroup
from .pooling import GlobalAverageGroup, GlobalMaxGroup, PoolGroup
from .residual import ResidualGroup


class Rule(NamedTuple):
    """Layers of exactly these kinds, one after the other, run in that group.

    kinds   a subclass may compute something else, and is not meant
    when    what else must hold of the layers, which are built
    """

    kinds: tuple[type[Layer], ...]
    group: Callable[[Sequence[Layer], Gradients], Group]
    when: Callable[..., bool] = lambda *layers: True


def _pools_in_place(conv: Conv2D, relu: ReLU, pool: MaxPool2D) -> bool:
    """Whether 2x2 windows side by side follow a convolution with stride 1."""
    side_by_side = pool.pool_size == pool.strides == (2, 2) and not any(pool.pads)
    return side_by_side and conv.strides == (1, 1) and _without_gaps(conv)


def _without_gaps(conv: Conv2D, relu: ReLU | None = None) -> bool:
    """Whether the rows of a window are contiguous in memory."""
    return conv.dilation_rate == (1, 1)


def _winograd(conv: Conv2D, relu: ReLU | None = None) -> bool:
    return winograd.fits(conv) and _without_gaps(conv)


def _learns(block: Residual, relu: ReLU | None = None) -> bool:
    return bool(block.params)


def _residual(layers: Sequence[Layer], gradients: Gradients) -> ResidualGroup:
    return ResidualGroup(layers, gradients, functools.partial(make, gradients=gradients))


#: the first that matches is taken
TABLE = (
    Rule((Conv2D, ReLU, MaxPool2D), ConvReluPool, _pools_in_place),
    Rule((Conv2D, ReLU), winograd.ConvReluWinograd, _winograd),
    Rule((Conv2D,), winograd.ConvReluWinograd, _winograd),
    Rule((Conv2D, ReLU), ConvRelu, _without_gaps),
    Rule((Conv2D,), ConvRelu, _without_gaps),
    Rule((Conv2D, ReLU), ConvPatches),
    Rule((Conv2D,), ConvPatches),
    Rule((Conv2DTranspose,), ConvTransposeGroup),
    Rule((DepthwiseConv2D,), DepthwiseGroup),
    Rule((ConnectedConv2D,), ConnectedGroup),
    Rule((Dense, ReLU), DenseRelu),
    Rule((Dense,), DenseRelu),
    Rule((BatchNorm, ReLU), BatchNormRelu),
    Rule((BatchNorm,), BatchNormRelu),
    Rule((LayerNorm,), LayerNormGroup),
    Rule((Residual, ReLU), _residual, _learns),
    Rule((Residual,), _residual, _learns),
    Rule((MaxPool2D,), PoolGroup),
    Rule((AveragePool2D,), PoolGroup),
    Rule((GlobalAveragePool2D,), GlobalAverageGroup),
    Rule((GlobalMaxPool2D,), GlobalMaxGroup),
    Rule((Subsampling2D,), SubsamplingGroup),
    Rule((ZeroPadding2D,), ZeroPaddingGroup),
    Rule((UpSampling2D,), UpSamplingGroup),
    Rule((ReLU,), ReLUGroup),
    Rule((LeakyReLU,), LeakyReLUGroup),
    Rule((ScaledTanh,), ScaledTanhGroup),
    Rule((Dropout,), DropoutGroup),
    Rule((GaussianNoise,), GaussianNoiseGroup),
    Rule((Softmax,), SoftmaxGroup),
    Rule((LogSoftmax,), LogSoftmaxGroup),
    *(Rule((kind,), CurveGroup) for kind in CURVES),
    Rule((Flatten,), FlattenGroup),
    Rule((Reshape,), ReshapeGroup),
)


def make(
    layers: Sequence[Layer], fuse: bool = True, gradients: Gradients | None = None
) -> list[Single | Group]:
    """The layers in groups, in order.

    fuse        False: every layer by itself
    gradients   the memory that the groups share; their own unless given
    """
    gradients = gradients or Gradients()
    groups: list[Single | Group] = []
    rest = list(layers)
    while rest:
        rule = _rule_for(rest) if fuse else None
        count = len(rule.kinds) if rule else 1
        groups.append(rule.group(rest[:count], gradients) if rule else Single(rest[0]))
        del rest[:count]
    return groups


def _rule_for(layers: Sequence[Layer]) -> Rule | None:
    """The first rule that the row of layers begins with, if any."""
    for rule in TABLE:
        first = layers[: len(rule.kinds)]
        if tuple(map(type, first)) == rule.kinds and rule.when(*first):
            return rule
    return None
