"""Images a second for each kind of augmentation, beside the training that it has to feed.

    python benchmarks/augmentation.py --batch-size 128 --json augmentation.json

Batches of MNIST, 28x28 uint8 to uint8, drawing the random numbers included.
"""

import argparse
from pathlib import Path
from typing import Any

import contenders as c
import kernels as measure
import numba
import numpy as np

import scratchnet as sn
from scratchnet import kernels
from scratchnet.datasets.augmentation import PRESETS, Augmentation

KINDS = {
    "shift": Augmentation(shift=2),
    "rotation": Augmentation(rotation=15),
    "elastic alone": Augmentation(elastic=34),
    "erase alone": Augmentation(erase=0.5),
    **{f"preset {name}": make() for name, make in PRESETS.items()},
}


def rates(n: int, threads: int, seconds: float) -> dict[str, float]:
    """Images a second of each kind, and of a training step of `cnn`."""
    kernels.set_threads(threads)
    rng = np.random.default_rng(0)
    x, y = (array[:n] for array in sn.datasets.mnist.load_data()[0])
    model = c.build("cnn")
    model.compile("adam", "sparse_categorical_crossentropy")
    runs: dict[str, Any] = {
        name: lambda augment=augment: augment(x, rng) for name, augment in KINDS.items()
    }
    runs["training step of cnn"] = lambda: model.train_on_batch(x, y)
    with kernels.one_blas_thread():
        return {name: n / measure.best(run, seconds) for name, run in runs.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=c.positive, default=128)
    parser.add_argument("--seconds", type=float, default=0.5, help="for each kind")
    parser.add_argument("--json", type=Path, help="a file for all results")
    options = parser.parse_args()
    most = min(2, numba.config.NUMBA_NUM_THREADS)
    machine = c.show_machine(most)
    found = {t: rates(options.batch_size, t, options.seconds) for t in range(1, most + 1)}
    c.Watch.warn(max(measure.LOUD), "a kind")
    lines = [[name, *(f"{found[t][name]:,.0f}" for t in found)] for name in found[1]]
    heads = ("images/s", *(f"{t} thread{'s' * (t > 1)}" for t in found))
    c.show_table(f"augmentation, batch {options.batch_size}", heads, lines)
    report = {"machine": machine, "batch_size": options.batch_size, "images_per_second": found}
    c.save_json(options.json, report | {"others": max(measure.LOUD)})


if __name__ == "__main__":
    main()
