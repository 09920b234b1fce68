"""The networks that are compared, and what they are trained on."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import scratchnet as sn
from scratchnet import layers as L  # noqa: N812
from scratchnet.architectures import ARCHITECTURES

Array = NDArray[np.float32]


def vgg_bn(classes: int) -> list[L.Layer]:
    """Four 3x3 convolutions, each with BatchNorm and ReLU: nothing that pooling could fuse with."""
    rows: list[L.Layer] = []
    for filters in (32, 32, 64, 64):
        if len(rows) == 6:
            rows.append(L.MaxPool2D(2))
        rows += [L.Conv2D(filters, 3, padding="same"), L.BatchNorm(), L.ReLU()]
    return [*rows, L.GlobalAveragePool2D(), L.Dense(classes), L.Softmax()]


MODELS = {"vgg-bn": vgg_bn, "vgg-bn-32": vgg_bn} | ARCHITECTURES


def build(
    name: str, dropout: bool = True, weights: str | None = None, dtype: str = "float32"
) -> sn.Sequential:
    """The network by name: 28x28x1 images, or 32x32x3 where the name ends in -32."""
    rows = MODELS[name](10)
    for leaf in (leaf for layer in rows for leaf in layer.leaves()):
        if isinstance(leaf, L.Dropout) and not dropout:
            leaf.rate = 0.0
    model = sn.Sequential(
        rows, (32, 32, 3) if name.endswith("-32") else (28, 28, 1), seed=0, dtype=dtype
    )
    if weights is not None:
        with np.load(weights) as stored:
            for key, array in model.arrays().items():
                array[:] = stored[key]
    return model


def save_weights(model: sn.Sequential, folder: str) -> str:
    """The path of a file from which `build` reads them."""
    path = str(Path(folder) / "weights.npz")
    np.savez(path, **model.arrays())
    return path


def data(name: str, images: int, seed: int = 0, test: bool = False) -> tuple[Array, NDArray]:
    """x (n, h, w, c) float32 in 0..1, y (n,) int64, in the order in which all see them.

    MNIST; for the 32x32x3 networks, ten random pictures under noise.
    """
    rng = np.random.default_rng((seed, test))
    if name.endswith("-32"):
        y = rng.integers(0, 10, images)
        x = rng.random((images, 32, 32, 3), np.float32)
        x += np.random.default_rng(seed).random((10, 32, 32, 3), np.float32)[y]
        return np.multiply(x, np.float32(0.5), out=x), y
    x, y = sn.datasets.mnist.load_data()[test]
    order = rng.permutation(min(images, len(x)))
    return np.divide(x[order, :, :, None], 255, dtype=np.float32), y[order].astype(np.int64)
