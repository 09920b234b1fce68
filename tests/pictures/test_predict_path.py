"""What `predict` loses on the way from a picture to 28x28: at most half a point of accuracy."""

import numpy as np
import pytest
from PIL import Image

import scratchnet as sn

IMAGES = 1000


def photographed(digit, rng):
    """The digit at 280 pixels, inverted onto paper-grey, off-centre, with some noise and light."""
    side, at = 420, rng.integers(5, 135, 2)
    ink = np.zeros((side, side))
    large = Image.fromarray(digit).resize((280, 280), Image.Resampling.BICUBIC)
    ink[at[0] : at[0] + 280, at[1] : at[1] + 280] = np.asarray(large) / 255
    paper = 200 + np.linspace(-12, 12, side)[:, None] + rng.normal(0, 3, (side, side))
    return np.clip(paper * (1 - ink) + 40 * ink, 0, 255).astype(np.uint8)


@pytest.mark.slow
def test_a_photographed_digit_is_read_nearly_as_well_as_the_original(rng, tmp_path, capsys):
    _, (x, y) = sn.datasets.mnist.load_data()
    x, y = x[:IMAGES], y[:IMAGES]
    model = sn.architectures.pretrained()
    prepared = []
    for digit in x:
        Image.fromarray(photographed(digit, rng)).save(tmp_path / "digit.png")
        prepared.append(sn.pictures.prepare(tmp_path / "digit.png").image)
    original = np.mean(model.predict(x, batch_size=250).argmax(axis=1) == y)
    through = np.mean(model.predict(np.array(prepared), batch_size=250).argmax(axis=1) == y)
    with capsys.disabled():
        print(f"\noriginals {original:.2%}, through predict's path {through:.2%}")
    assert through >= original - 0.005
