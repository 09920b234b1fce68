"""Read whole numbers: five test digits side by side on paper, `python read_numbers.py 500`.

The pictures are composed of MNIST's test images: a different size and height for every digit, with
clear space between them, dark on a sheet that is brighter on one side.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import scratchnet as sn


def compose(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A sheet (h, w) uint8 with these digits, (n, 28, 28), from left to right."""
    inks = []
    for image in images:
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        digit = Image.fromarray(image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
        scale = rng.uniform(2.7, 3.3)
        size = round(scale * digit.width), round(scale * digit.height)
        inks.append(np.asarray(digit.resize(size, Image.Resampling.BICUBIC)) / 255)
    gaps = rng.integers(10, 25, len(inks))
    height, width = 140, sum(ink.shape[1] for ink in inks) + int(gaps.sum()) + 60
    sheet = np.zeros((height, width))
    left = 30
    for ink, gap in zip(inks, gaps, strict=True):
        top = (height - ink.shape[0]) // 2 + rng.integers(-6, 7)
        sheet[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
        left += ink.shape[1] + int(gap)
    paper = np.linspace(*rng.uniform(190, 245, 2), width) + rng.normal(0, 2, sheet.shape)
    return (paper * (1 - 0.8 * sheet)).clip(0, 255).astype(np.uint8)


def main(numbers: int = 500, target: float = 0.94, out: str = "number.png") -> None:
    _, (x_test, y_test) = sn.datasets.mnist.load_data()
    model = sn.architectures.pretrained()
    rng = np.random.default_rng(0)

    right = 0
    for _ in range(numbers):
        chosen = rng.choice(len(x_test), 5, replace=False)
        reading = sn.pictures.sequences.read(compose(x_test[chosen], rng), model)
        found = [[digit.label for digit in line] for line in reading.lines]
        right += found == [y_test[chosen].tolist()]

    print(f"{right} of {numbers} five-digit numbers read right ({right / numbers:.1%})")
    sn.plots.save(sn.plots.digit_boxes(reading), out)
    print(f"the last one: {Path(out).resolve()}")
    assert right >= target * numbers, f"expected at least {target:.0%} of them"


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
