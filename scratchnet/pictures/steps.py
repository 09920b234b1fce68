"""`prepare`: the image of one digit through all stages into MNIST's form, each one kept for show.

read -> grey -> polarity -> flattened -> ink -> cropped -> thickened -> scaled -> centred
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .. import showing
from ..errors import InputError
from .arrays import to_uint8
from .form import centre, crop, edge_width, scale_to_box, stroke_width, thicken
from .frame import without_frame
from .grey import to_grey
from .ink import find_ink
from .paper import flatten, ink_is_dark
from .pixels import Source, name_of, read_pixels

# What is lighter than light paper and has an edge so wide, in pixels and as a part of its strokes'
# width, is a lamp's reflection. Chalk on a board may be out of focus, and so may dark ink.
LIGHT_PAPER, GLARE_EDGE, GLARE_SHARE = 128, 4.5, 0.25


class Classifier(Protocol):
    """What reads the pieces: a `Sequential`, or whatever else has its `predict`."""

    def predict(self, x: NDArray, batch_size: int) -> NDArray:
        """x (n, 28, 28) uint8 -> probabilities (n, classes)."""


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
    """A digit in MNIST's form, (28, 28) uint8 with light ink on 0, and how it got there.

    several   whether the strokes look like more than one digit, side by side
    """

    image: NDArray
    steps: tuple[Step, ...]
    several: bool = False

    def __repr__(self) -> str:
        return f"Prepared({' -> '.join(step.name for step in self.steps)}; {self.image.shape})"

    def _repr_html_(self) -> str:
        return showing.pictures((step.name, step.image) for step in self.steps)


#: the judge's classes after the ten digits
NONE, MORE = 10, 11


def prepare(
    source: Source, model: Classifier | None = None, judge: Classifier | None = None
) -> Prepared:
    """Bring the image of one handwritten digit into MNIST's form.

    `source` is a path, a file opened in binary mode, a Pillow image, or an array: (h, w),
    (h, w, 1), (h, w, 3) or (h, w, 4), of uint8, uint16, bool or float in [0, 1] or [0, 255].
    Where it is not certain whether the ink is dark or light, `model` reads both, and the one that
    it is surer of is returned; without a model it is what the paper's border says. A `judge` (see
    `look`) has a say in it: what it takes for no digit, the model may be sure of all the same.
    Raises InputError, with one line, for whatever is no image of a digit.
    """
    name = name_of(source)
    try:
        pixels, caption, _ = read_pixels(source)
        read = Step("read", caption, to_uint8(pixels))
        pixels, _, frame = without_frame(pixels)
        grey, axis, caption = to_grey(pixels)
        steps = (read, Step("grey", caption + frame, to_uint8(grey)))
        is_dark, certain = ink_is_dark(grey)
        if certain or model is None:
            return _from_grey(steps, grey, pixels, axis, is_dark)
        return _surer((model, judge), steps, grey, pixels, axis, is_dark)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def _surer(
    readers: tuple[Classifier, Classifier | None],
    steps: tuple[Step, ...],
    grey: NDArray,
    pixels: NDArray,
    axis: NDArray | None,
    is_dark: bool,
) -> Prepared:
    """The ink taken as dark and as light; of the two, the one that is more surely a digit."""
    found, errors = [], []
    for dark in (is_dark, not is_dark):
        try:
            found.append(_from_grey(steps, grey, pixels, axis, dark))
        except InputError as error:
            errors.append(error)
    if not found:
        raise errors[0]
    if errors:
        return found[0]
    model, judge = readers
    images = np.stack([one.image for one in found])
    sure = model.predict(images, batch_size=2).max(axis=1)
    if judge is not None:
        judged = judge.predict(images, batch_size=2)
        sure = sure * (1 - judged[:, NONE] - judged[:, MORE])
    return found[1] if sure[1] > sure[0] else found[0]


def _from_grey(
    steps: tuple[Step, ...],
    grey: NDArray,
    pixels: NDArray,
    axis: NDArray | None,
    is_dark_ink: bool,
) -> Prepared:
    """The stages from the polarity on, after those that both polarities share."""
    stages = list(steps)

    def keep(step: str, caption: str, image: NDArray) -> None:
        stages.append(Step(step, caption, to_uint8(image)))

    light = 255 - grey if is_dark_ink else grey
    caption = "dark ink on light: inverted" if is_dark_ink else "light ink on dark: kept"
    keep("polarity", caption, light)

    flat, unevenness, caption = flatten(light, pixels, axis, is_dark_ink)
    keep("flattened", caption, flat)

    ink, several, caption = find_ink(flat, unevenness)
    keep("ink", caption, 255 * ink)
    edge = 0.0 if is_dark_ink or np.median(grey) < LIGHT_PAPER else edge_width(ink)
    if edge > max(GLARE_EDGE, GLARE_SHARE * stroke_width(ink)):
        raise InputError(
            "expected a digit, found a blank image (a light patch without an edge, "
            f"{edge:.0f} pixels wide: glare)"
        )

    ink, caption = crop(ink)
    keep("cropped", caption, 255 * ink)

    ink, caption = thicken(ink)
    keep("thickened", caption, 255 * ink)

    digit, caption = scale_to_box(ink)
    keep("scaled", caption, digit)

    digit, caption = centre(digit)
    keep("centred", caption, digit)
    return Prepared(stages[-1].image, tuple(stages), several)
