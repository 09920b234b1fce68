"""`scratchnet warmup`: compile all kernels now."""

import time

import numpy as np

from .. import architectures, line_reader
from ..microscope.trace import trace
from .shared import command


@command("warmup")
def warmup() -> None:
    """Compile all kernels of all architectures now, so that nothing else has to wait for them."""
    started = time.perf_counter()
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (64, 28, 28), dtype=np.uint8), rng.integers(0, 10, 64)
    for name in architectures.ARCHITECTURES:
        net = architectures.build(name)
        net.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        net.fit(x, y, verbose=0)
        net.predict(x[:1])
        net.prepare()
        trace(net, x[0], 0)  # layer by layer, in float64
        print(f"{name}: ready")
    reader = line_reader.shipped()
    reader.read([np.zeros((reader.height, 1), np.uint8)])
    print("line reader: ready")
    print(f"{time.perf_counter() - started:.1f} s")
