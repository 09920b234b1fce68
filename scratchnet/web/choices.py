"""The optimizers that the page offers, and the learning rate that suits each of them."""

from collections.abc import Callable
from functools import partial

from .. import optimizers
from ..optimizers import SGD, Optimizer

#: name: how to make it; the library's own, and SGD with momentum under a name of its own
OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "sgd": SGD,
    "momentum": partial(SGD, momentum=0.9),
    **{name: kind for name, kind in optimizers.OPTIMIZERS.items() if kind is not SGD},
}
#: where the library's default, which is Keras's, learns these small networks too slowly, or jumps
LEARNING_RATES = {"sgd": 0.1, "momentum": 0.02, "adagrad": 0.05, "lion": 0.0003}


def usual_rate(name: str) -> float:
    """The learning rate of an optimizer where none is asked for."""
    return LEARNING_RATES.get(name) or OPTIMIZERS[name]().learning_rate(0)
