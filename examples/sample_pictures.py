"""Make the sample photo and the sample page in `pictures/`: `python sample_pictures.py FOLDER`.

MNIST's test digits, drawn as a phone would see them: blue ink on paper, with the light from one
side, a soft shadow, the grain of the paper, and the sheet held not quite straight. In the end both
are read, as the command would read them.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

import scratchnet as sn

INK = np.array([34, 48, 105])
PAPER = np.array([232, 227, 214])
PHOTO = 5  # the digit
PAGE = ["31415", "2718", "1618"]


def pen(digit: np.ndarray, height: int) -> np.ndarray:
    """A digit (28, 28) as strokes with sharp edges: how much ink, 0 to 1, that many pixels high."""
    rows, columns = (np.flatnonzero(digit.any(axis=axis)) for axis in (1, 0))
    cut = Image.fromarray(
        np.pad(digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], 1)  # room to fade out
    )
    size = max(round(height * cut.width / cut.height), 8), height
    large = np.asarray(cut.resize(size, Image.Resampling.BICUBIC), float) / 255
    return ((1 / (1 + np.exp(-9 * (large - 0.45)))) - 0.02).clip(0)


def photographed(ink: np.ndarray, angle: float, rng: np.random.Generator) -> Image.Image:
    """A sheet with that ink, (h, w) from 0 to 1, as a photo of it."""
    height, width = ink.shape
    turned = Image.fromarray((255 * ink).astype(np.uint8)).rotate(angle, Image.Resampling.BICUBIC)
    ink = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.8)), float) / 255
    down, right = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    light = 1.04 - 0.16 * right - 0.12 * down - 0.1 / (1 + np.exp(-12 * (right + down - 1.55)))
    grain = Image.fromarray(rng.normal(128, 20, (height // 2, width // 2)).astype(np.uint8))
    light += (np.asarray(grain.resize((width, height)), float) - 128) / 2500
    sheet = PAPER + ink[..., None] * (INK - PAPER)  # (h, w, 3)
    return Image.fromarray((sheet * light[..., None]).clip(0, 255).astype(np.uint8))


def photo(digit: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """One digit on a sheet, off its middle."""
    sheet, drawn = np.zeros((480, 640)), pen(digit, 190)
    sheet[120 : 120 + drawn.shape[0], 250 : 250 + drawn.shape[1]] = drawn
    return photographed(sheet, 4, rng)


def page(digits: dict[int, Iterator[np.ndarray]], rng: np.random.Generator) -> Image.Image:
    """Several lines of numbers."""
    sheet = np.zeros((640, 800))
    for number, line in enumerate(PAGE):
        left = 90 + int(rng.integers(0, 30))
        for digit in map(int, line):
            drawn = pen(next(digits[digit]), int(rng.integers(84, 98)))
            top = 90 + 170 * number + int(rng.integers(-5, 6))
            sheet[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
            left += drawn.shape[1] + int(rng.integers(26, 40))
    return photographed(sheet, -1.5, rng)


def main(folder: str = "pictures") -> None:
    rng, place = np.random.default_rng(0), Path(folder)
    _, (x_test, y_test) = sn.datasets.mnist.load_data()
    model = sn.architectures.pretrained()
    sure = model.predict(x_test)[np.arange(len(y_test)), y_test]
    order = np.argsort(-sure, kind="stable")  # of each kind, those written clearly come first
    digits = {k: iter(x_test[order[y_test[order] == k]]) for k in range(10)}

    place.mkdir(exist_ok=True)
    photo(next(digits[PHOTO]), rng).save(place / "photo.jpg", quality=85)
    page(digits, rng).save(place / "page.jpg", quality=80)

    read = int(model.predict(sn.pictures.prepare(place / "photo.jpg").image).argmax())
    reading = sn.pictures.sequences.read(place / "page.jpg", model)
    lines = ["".join(str(digit.label) for digit in line) for line in reading.lines]
    print(f"{place.resolve()}: photo.jpg, read as {read}; page.jpg, read as {', '.join(lines)}")
    assert read == PHOTO, f"expected a {PHOTO}, found a {read}"
    assert lines == PAGE, f"expected {PAGE}, found {lines}"


if __name__ == "__main__":
    main(*sys.argv[1:])
