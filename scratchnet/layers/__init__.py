"""The student's room: one kind of layer a file, each with its derivation, forward and backward.

Start with dense.py, then activations.py and pool.py; conv.py is dense.py on patches. The loops that
they share are in functions.py. registry.py says what a new kind of layer has to tell.

Each file says in `__all__` which kinds of layers it has; they are names here, and of `scratchnet`.
"""

from . import (
    activations,
    conv,
    conv_transpose,
    dense,
    depthwise,
    dropout,
    lenet,
    noise,
    normalization,
    padding,
    pool,
    reshape,
    residual,
    smooth,
    upsampling,
)
from .activations import *
from .activations import softmax as softmax
from .base import Layer
from .conv import *
from .conv_transpose import *
from .dense import *
from .depthwise import *
from .dropout import *
from .lenet import *
from .noise import *
from .normalization import *
from .padding import *
from .pool import *
from .registry import LAYERS as LAYERS
from .registry import described as described
from .registry import from_description as from_description
from .registry import kind_of as kind_of
from .registry import register as register
from .reshape import *
from .residual import *
from .smooth import *
from .upsampling import *

__all__ = ["Layer"]
__all__ += activations.__all__
__all__ += conv.__all__
__all__ += conv_transpose.__all__
__all__ += dense.__all__
__all__ += depthwise.__all__
__all__ += dropout.__all__
__all__ += lenet.__all__
__all__ += noise.__all__
__all__ += normalization.__all__
__all__ += padding.__all__
__all__ += pool.__all__
__all__ += reshape.__all__
__all__ += residual.__all__
__all__ += smooth.__all__
__all__ += upsampling.__all__
