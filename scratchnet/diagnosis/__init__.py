"""What is wrong with a learner's layer, loss or optimizer: explanations, tried on its numbers.

    causes.py       what may be named, with a paragraph for each
    result.py       what a diagnosis says
    layers.py       of a layer: the tables of explanations, and their order. Begin here
    trial.py        a layer at one input: what it gives, and what is right there
    handling.py     explanations about how it treats what it is given
    hypotheses.py   explanations of wrong numbers: for any layer
    windowed.py     the same for windows on images (windows.py); normalized.py for normalization
    losses.py, optimizers.py   the same for these

It knows nothing of the learner's source: an explanation is a rule about numbers.
"""

from .causes import CAUSES, Cause
from .layers import of_layer
from .losses import of_loss
from .optimizers import of_optimizer
from .result import Diagnosis

__all__ = ["CAUSES", "Cause", "Diagnosis", "of_layer", "of_loss", "of_optimizer"]
