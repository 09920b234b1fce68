"""Make the weights of the reader of numbers that ships with the package.

`python train_line_reader.py FILE` draws lines of MNIST's training digits, trains `line_reader` on
them with CTC, and writes it to FILE: with the same version the same bits.
"""

import sys

import numpy as np

import scratchnet as sn
from scratchnet.datasets import lines


def read(model: sn.Sequential, images: np.ndarray) -> list[str]:
    """What the model reads in each line."""
    probs = np.maximum(model.predict(images, batch_size=64), 1e-7)
    return ["".join(lines.SIGNS[k] for k in sn.ctc.greedy(np.log(p), lines.BLANK)) for p in probs]


def share_read(model: sn.Sequential, x: np.ndarray, y: np.ndarray, count: int) -> float:
    """The share of `count` lines of digits x with labels y that are read without a mistake."""
    images, labels = lines.LineMaker(x, y)(count, np.random.default_rng(1))
    written = ["".join(lines.SIGNS[k] for k in row) for row in labels]
    return float(np.mean([a == b for a, b in zip(read(model, images), written, strict=True)]))


def main(
    out: str, batches: int = 6000, batch_size: int = 16, target: float = 0.7, checked: int = 1000
) -> None:
    (x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()
    maker = lines.LineMaker(x_train, y_train)

    layers = sn.architectures.line_reader(len(lines.SIGNS))
    model = sn.Sequential(layers, (lines.HEIGHT, lines.WIDTH, 1), seed=0)
    model.class_names = lines.SIGNS
    model.compile(
        sn.Adam(sn.schedules.OneCycle(peak=3e-3, steps=batches)),
        sn.losses.CTC(blank=lines.BLANK),
    )
    epochs = min(batches, 20)
    model.fit(
        lines.batches(maker, batch_size, batches, seed=0),
        steps_per_epoch=batches // epochs,
        epochs=epochs,
    )
    right = share_read(model, x_test, y_test, checked)
    print(f"lines without a mistake: {right:.1%}")
    assert right >= target, f"expected at least {target:.1%} of the lines, found {right:.1%}"
    model.save(out)


if __name__ == "__main__":
    main(sys.argv[1])
