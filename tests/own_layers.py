"""Layers of one's own, registered while a test runs."""

from contextlib import contextmanager

import scratchnet as sn
from scratchnet.layers.registry import KINDS, LAYERS, register


def bent(f, slope):
    """A kind of layer with y = f(x) for each number by itself, and f's derivative."""

    class Bent(sn.Layer):
        def forward(self, x, training=False):
            self.check_input(x)
            self.keep(x, x)
            return f(x)

        def backward(self, dy):
            return dy * slope(self.kept(dy))

    return Bent


@contextmanager
def registered(kind, **known):
    register(**known)(kind)
    try:
        yield kind
    finally:
        del KINDS[kind], LAYERS[kind.__name__]
