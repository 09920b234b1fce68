"""A sigmoid layer for tests of what is trained with one: the library's own where it has one."""

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.layers.registry import LAYERS

if hasattr(sn, "Sigmoid"):
    Sigmoid = sn.Sigmoid
else:

    class Sigmoid(sn.layers.Layer):
        def forward(self, x, training=False):
            self.check_input(x)
            y = 1 / (1 + np.exp(-x))
            self.keep(x, y)
            return y

        def backward(self, dy):
            y = self.kept(dy)
            return dy * y * (1 - y)


@pytest.fixture(autouse=True)
def sigmoid_is_known(monkeypatch):
    """For the tests of a file that imports it."""
    monkeypatch.setitem(LAYERS, "Sigmoid", Sigmoid)
