"""`prepare`: the image of one digit through all stages into MNIST's form, each one kept for show.

read -> grey -> polarity -> flattened -> ink -> cropped -> thickened -> scaled -> centred
"""

from dataclasses import dataclass

from numpy.typing import NDArray

from .. import showing
from ..errors import InputError
from .arrays import to_uint8
from .form import centre, crop, scale_to_box, thicken
from .grey import to_grey
from .ink import find_ink
from .paper import flatten, ink_is_dark
from .pixels import Source, name_of, read_pixels


@dataclass(frozen=True, repr=False)
class Step:
    """One stage: its name, one sentence on what was done, and a uint8 picture of the result."""

    name: str
    caption: str
    image: NDArray  # (h, w) or (h, w, 3), uint8, to be shown with 0 as black and 255 as white

    def __repr__(self) -> str:
        return f"Step({self.name!r}, {showing.shortened(self.caption)!r}, {self.image.shape})"

    def _repr_html_(self) -> str:
        return showing.pictures([(f"{self.name}: {self.caption}", self.image)], side=200)


@dataclass(frozen=True, repr=False)
class Prepared:
    """A digit in MNIST's form, (28, 28) uint8 with light ink on 0, and how it got there."""

    image: NDArray
    steps: tuple[Step, ...]

    def __repr__(self) -> str:
        return f"Prepared({' -> '.join(step.name for step in self.steps)}; {self.image.shape})"

    def _repr_html_(self) -> str:
        return showing.pictures((step.name, step.image) for step in self.steps)


def prepare(source: Source) -> Prepared:
    """Bring the image of one handwritten digit into MNIST's form.

    `source` is a path, a file opened in binary mode, a Pillow image, or an array: (h, w),
    (h, w, 1), (h, w, 3) or (h, w, 4), of uint8, uint16, bool or float in [0, 1] or [0, 255].
    Raises InputError, with one line, for whatever is no image of a digit.
    """
    steps: list[Step] = []

    def keep(step: str, caption: str, image: NDArray) -> None:
        steps.append(Step(step, caption, to_uint8(image)))

    name = name_of(source)
    try:
        pixels, caption, _ = read_pixels(source)
        keep("read", caption, pixels)

        grey, caption = to_grey(pixels)
        keep("grey", caption, grey)

        is_dark_ink = ink_is_dark(grey)
        light = 255 - grey if is_dark_ink else grey
        caption = "dark ink on light: inverted" if is_dark_ink else "light ink on dark: kept"
        keep("polarity", caption, light)

        flat, unevenness, caption = flatten(light, is_dark_ink)
        keep("flattened", caption, flat)

        ink, caption = find_ink(flat, unevenness)
        keep("ink", caption, 255 * ink)

        ink, caption = crop(ink)
        keep("cropped", caption, 255 * ink)

        ink, caption = thicken(ink)
        keep("thickened", caption, 255 * ink)

        digit, caption = scale_to_box(ink)
        keep("scaled", caption, digit)

        digit, caption = centre(digit)
        keep("centred", caption, digit)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return Prepared(steps[-1].image, tuple(steps))
