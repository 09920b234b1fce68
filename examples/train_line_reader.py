"""Make the weights of the reader of numbers that ships with the package.

`python train_line_reader.py FILE` draws lines of MNIST's training digits, trains `line_reader` on
them with CTC, and writes it to FILE: with the same version the same bits. It takes some forty
minutes of one processor's time.
"""

import sys
from collections.abc import Callable, Iterator

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


def travelling(step: int) -> float:
    """Adam's learning rate: up in 500 steps, then the same, and slowly down from 10,000 on."""
    return 2e-3 * min((step + 1) / 500, 1, 2 * (1 - step / 20_000))


def train(
    model: sn.Sequential,
    rate: Callable[[int], float],
    made: Iterator[tuple[np.ndarray, np.ndarray]],
    batches: int,
) -> None:
    """So many batches of lines, by an Adam that begins anew."""
    model.compile(sn.Adam(rate), sn.losses.CTC(blank=lines.BLANK))
    epochs = min(batches, 10)
    model.fit(made, steps_per_epoch=batches // epochs, epochs=epochs)


def settling_rate(batches: int) -> Callable[[int], float]:
    """One that falls to 0: small steps, to come to rest."""
    return lambda step: 1.5e-3 * min((step + 1) / 100, 1 - step / batches)


def main(
    out: str,
    rounds: int = 2,
    batches: int = 16_000,
    settling: int = 4000,
    batch_size: int = 16,
    target: float = 0.78,
    checked: int = 1000,
) -> None:
    (x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()
    maker = lines.LineMaker(x_train, y_train)

    layers = sn.architectures.line_reader(len(lines.SIGNS))
    model = sn.Sequential(layers, (lines.HEIGHT, lines.WIDTH, 1), seed=0)
    model.class_names = lines.SIGNS
    # at rest and off again: each round ends in a better place (Loshchilov and Hutter 2017, SGDR)
    for k in range(rounds):
        train(model, travelling, lines.batches(maker, batch_size, batches, 2 * k), batches)
        settled = lines.batches(maker, batch_size, settling, 2 * k + 1)
        train(model, settling_rate(settling), settled, settling)
    right = share_read(model, x_test, y_test, checked)
    print(f"lines without a mistake: {right:.1%}")
    assert right >= target, f"expected at least {target:.1%} of the lines, found {right:.1%}"
    model.compile(sn.Adam(), sn.losses.CTC(blank=lines.BLANK))  # a file holds no rate of our own
    model.save(out)


if __name__ == "__main__":
    main(sys.argv[1])
