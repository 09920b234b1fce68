"""scratchnet: a convolutional network written out by hand, in NumPy and Numba.

import scratchnet as sn; see `Sequential` for the model and `layers` for the mathematics.
"""

from typing import TYPE_CHECKING

from . import (
    _moved,
    architectures,
    calibration,
    callbacks,
    ctc,
    datasets,
    distributed,
    gradcheck,
    initializers,
    kernels,
    layers,
    line_reader,
    losses,
    metrics,
    microscope,
    optimizers,
    pictures,
    plots,
    recipes,
    regularizers,
    schedules,
)
from .backend import use_backend
from .errors import InputError, InputWarning
from .layers import *
from .microscope import heat_maps as explain
from .microscope.stepping import steps
from .microscope.trace import Trace, trace
from .microscope.what_if import fool, what_if
from .model import Sequential, load_model
from .optimizers import SGD, Adagrad, Adam, AdamW, Lion, Nadam, RMSprop
from .pictures import sequences
from .rate_finder import find_learning_rate
from .registering import register
from .training import Callback, History, batches

__version__ = "0.1.0"


if not TYPE_CHECKING:  # or a type checker would take every name to be there

    def __getattr__(name: str) -> object:
        return _moved.late(name)


imaging, arithmetic = pictures, microscope.arithmetic  # their old names
_moved.keep_old_paths()

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Callback",
    "History",
    "InputError",
    "InputWarning",
    "Lion",
    "Nadam",
    "RMSprop",
    "Sequential",
    "Trace",
    "architectures",
    "batches",
    "calibration",
    "callbacks",
    "ctc",
    "datasets",
    "distributed",
    "explain",
    "find_learning_rate",
    "fool",
    "gradcheck",
    "imaging",
    "initializers",
    "kernels",
    "layers",
    "line_reader",
    "load_model",
    "losses",
    "metrics",
    "optimizers",
    "pictures",
    "plots",
    "recipes",
    "register",
    "regularizers",
    "schedules",
    "sequences",
    "steps",
    "trace",
    "use_backend",
    "what_if",
]
__all__ += layers.__all__  # every kind of layer
