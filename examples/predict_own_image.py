"""Read a digit in an image of your own: `python predict_own_image.py photo.jpg`.

Without a file it draws one, dark on a grey sheet, far from the middle: what a phone would see.
"""

import sys
from pathlib import Path

from PIL import Image, ImageDraw

import scratchnet as sn


def draw_a_seven() -> Image.Image:
    sheet = Image.new("RGB", (640, 480), (214, 210, 200))
    pen = ImageDraw.Draw(sheet)
    pen.line([(330, 90), (470, 84), (395, 300)], fill=(40, 44, 70), width=16, joint="curve")
    return sheet


def main(source: str | None = None, expected: int | None = 7, out: str = "steps.png") -> None:
    prepared = sn.pictures.prepare(source or draw_a_seven())  # .image is (28, 28), light on black
    model = sn.architectures.pretrained()
    probabilities = model.predict(prepared.image)[0]  # (10,)

    digit = int(probabilities.argmax())
    print(f"this is a {digit}, with {probabilities[digit]:.1%} confidence")
    sn.plots.save(sn.plots.image_steps(prepared.steps, probabilities), out)
    print(f"how it was prepared: {Path(out).resolve()}")
    assert expected in (None, digit), f"expected a {expected}, found a {digit}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1], expected=None)
    else:
        main()
