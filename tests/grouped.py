"""Layers and the groups of kernels that run them, side by side."""

import numpy as np

from scratchnet.engine.group import Gradients


def run(groups, x, dy):
    """Outputs, dx and a copy of all gradients after one pass through groups of layers."""
    y = x
    for group in groups:
        y = group.forward(y, True)
    y = y.copy()
    for group in groups:  # what an earlier pass left there must not matter
        for slot in getattr(group, "gradients", Gradients()).slots:
            slot.fill(np.nan)
    dx = dy
    for group in reversed(groups):
        dx = group.backward(dx, True)
    layers = [layer for group in groups for layer in group.layers]
    grads = [grad.copy() for layer in layers for grad in layer.grads.values()]
    return [y, dx.copy(), *grads]


def built(layers, shape, rng, dtype=np.float64, whole=False):
    for number, layer in enumerate(layers):
        layer.name = f"{type(layer).__name__} {number}"
        shape = layer.build(shape, rng, dtype)
        for param in layer.params.values():
            # whole numbers make ties between positions and sums that are exactly zero
            param[:] = rng.integers(-2, 3, param.shape) if whole else rng.normal(size=param.shape)
    return layers, shape


def assert_same(found, expected, tolerance=1e-12):
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        scale = max(1.0, float(np.abs(b).max(initial=0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale)
