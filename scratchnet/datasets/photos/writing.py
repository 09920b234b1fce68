"""Ink as a pen leaves it: digits from MNIST's images, letters and marks from strokes of our own.

Everything here is *coverage*, float32 (h, w) from 0 (paper) to 1 (ink). An image of 28 x 28 pixels
is blurred when it is only enlarged; here it gets the sharp edge that a pen has. `traced` goes
further: it thins the digit to its middle line and draws that line with a pen of any width.

Pillow, which resizes and turns, is imported when first used.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...backend import runs_twin

Ink = NDArray[np.float32]

FINE = 4  # strokes are thinned and widened on a grid this much finer than MNIST's
BOX = 20  # MNIST's digits fit into a box of 20 pixels

#: marks that are no digits, as polylines in a box of 1 x 1 (x to the right, y down)
MARKS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    ",": (((0.12, 0.9), (0.14, 1.0), (0.04, 1.17)),),
    "-": (((0.0, 0.52), (0.42, 0.5)),),
    "+": (((0.0, 0.52), (0.56, 0.5)), ((0.28, 0.24), (0.29, 0.8))),
}

_C = ((0.85, 0.2), (0.6, 0.02), (0.25, 0.1), (0.05, 0.45), (0.12, 0.8), (0.45, 1.0), (0.85, 0.82))
#: letters that look like no digit; left out are B, D, G, I, J, L, O, Q, S, Z and most small ones
LETTERS: dict[str, tuple[tuple[tuple[float, float], ...], ...]] = {
    "A": (((0.0, 1.0), (0.42, 0.0), (0.85, 1.0)), ((0.16, 0.65), (0.68, 0.63))),
    "C": (_C,),
    "E": (((0.7, 0.0), (0.05, 0.03), (0.0, 1.0), (0.72, 0.97)), ((0.02, 0.5), (0.6, 0.48))),
    "F": (((0.75, 0.0), (0.05, 0.03), (0.0, 1.0)), ((0.02, 0.5), (0.6, 0.46))),
    "H": (((0.0, 0.0), (0.02, 1.0)), ((0.7, 0.0), (0.72, 1.0)), ((0.0, 0.5), (0.7, 0.48))),
    "K": (((0.0, 0.0), (0.02, 1.0)), ((0.7, 0.0), (0.03, 0.55), (0.72, 1.0))),
    "M": (((0.0, 1.0), (0.1, 0.0), (0.48, 0.62), (0.86, 0.0), (0.98, 1.0)),),
    "N": (((0.0, 1.0), (0.03, 0.0), (0.7, 1.0), (0.73, 0.0)),),
    "P": (((0.02, 0.0), (0.0, 1.0)), ((0.02, 0.03), (0.6, 0.1), (0.62, 0.42), (0.02, 0.55))),
    "R": (
        ((0.02, 0.0), (0.0, 1.0)),
        ((0.02, 0.03), (0.6, 0.08), (0.6, 0.42), (0.05, 0.52), (0.72, 1.0)),
    ),
    "T": (((0.0, 0.02), (0.85, 0.0)), ((0.42, 0.0), (0.44, 1.0))),
    "U": (((0.0, 0.0), (0.03, 0.7), (0.2, 0.98), (0.5, 0.97), (0.68, 0.7), (0.7, 0.0)),),
    "V": (((0.0, 0.0), (0.4, 1.0), (0.8, 0.0)),),
    "W": (((0.0, 0.0), (0.24, 1.0), (0.5, 0.3), (0.76, 1.0), (1.0, 0.0)),),
    "X": (((0.0, 0.0), (0.72, 1.0)), ((0.72, 0.02), (0.0, 0.98))),
    "Y": (((0.0, 0.0), (0.38, 0.5)), ((0.8, 0.0), (0.38, 0.5), (0.36, 1.0))),
    "a": (
        ((0.62, 0.2), (0.3, 0.08), (0.02, 0.45), (0.1, 0.9), (0.4, 0.95), (0.62, 0.5)),
        ((0.64, 0.1), (0.62, 0.85), (0.8, 1.0)),
    ),
    "h": (((0.0, 0.0), (0.02, 1.0)), ((0.02, 0.6), (0.3, 0.42), (0.52, 0.55), (0.55, 1.0))),
    "k": (((0.0, 0.0), (0.02, 1.0)), ((0.5, 0.38), (0.03, 0.7), (0.55, 1.0))),
    "m": (
        ((0.0, 0.1), (0.02, 1.0)),
        ((0.02, 0.4), (0.25, 0.1), (0.42, 0.3), (0.45, 1.0)),
        ((0.45, 0.4), (0.68, 0.1), (0.86, 0.3), (0.9, 1.0)),
    ),
    "n": (((0.0, 0.1), (0.02, 1.0)), ((0.02, 0.4), (0.3, 0.1), (0.6, 0.25), (0.65, 1.0))),
    "t": (((0.3, 0.0), (0.3, 0.8), (0.45, 1.0), (0.65, 0.9)), ((0.0, 0.32), (0.62, 0.3))),
    "u": (((0.0, 0.1), (0.03, 0.8), (0.3, 1.0), (0.58, 0.75)), ((0.6, 0.1), (0.65, 1.0))),
    "w": (((0.0, 0.1), (0.2, 1.0), (0.42, 0.3), (0.64, 1.0), (0.86, 0.1)),),
}


def resized(ink: Ink, shape: tuple[int, int]) -> Ink:
    """Coverage in another shape (h, w), smoothly, from 0 to 1."""
    from PIL import Image

    image = Image.fromarray(np.asarray(ink, np.float32))
    large = image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(large).clip(0, 1)


def trimmed(ink: Ink) -> Ink:
    """Without the empty rows and columns around the ink."""
    rows, columns = (np.flatnonzero((ink > 0.02).any(axis=axis)) for axis in (1, 0))
    return ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def sharpened(ink: Ink, edge: float) -> Ink:
    """A blurred edge, of which a pixel is worth 1 / `edge`, made about two pixels wide."""
    return ((ink - 0.5) * max(1.0, edge / 2) + 0.5).clip(0, 1).astype(np.float32)


def inked(digit: NDArray[np.uint8], height: int, thicker: float = 0.0) -> Ink:
    """An image in MNIST's form as ink of that height in pixels (or width, if it is wider).

    thicker   by how many of MNIST's pixels the pen is wider than the one that wrote it
    """
    fine = _fine(digit)
    if thicker:
        fine = widened(fine, thicker / 2 * FINE)
    fine = trimmed(fine)
    scale = height / max(fine.shape)
    shape = max(1, round(fine.shape[0] * scale)), max(1, round(fine.shape[1] * scale))
    return sharpened(resized(fine, shape), FINE * scale)


def traced(digit: NDArray[np.uint8], height: int, pen: float) -> Ink:
    """The middle line of an image in MNIST's form, drawn with a pen of that width in pixels."""
    return retraced(_fine(digit), height, pen, dots=False)


def retraced(ink: Ink, height: int, pen: float, dots: bool = True) -> Ink:
    """The middle line of ink, which has paper around it, drawn anew with another pen.

    dots   whether what is thinned to a single point is kept: a j has one, a digit has specks
    """
    mask = ink > 0.5
    line = thinned(mask)
    if not line.any():  # of a dot of 2 x 2 pixels nothing is left
        line = mask
    rows, columns = np.nonzero(line)
    sides = max(np.ptp(rows), np.ptp(columns)) + 1
    scale = (height - pen) / sides
    canvas = np.zeros([round(np.ptp(k) * scale + pen) + 5 for k in (rows, columns)], np.float32)
    top, left = rows.min(), columns.min()
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):  # between neighbours, as many as are needed
        joined = _moved_back(line, dy, dx) & line
        r, c = np.nonzero(joined)
        for t in np.linspace(0, 1, int(np.ceil(scale)) + 1):
            y = np.rint((r + t * dy - top) * scale + pen / 2 + 2).astype(int)
            x = np.rint((c + t * dx - left) * scale + pen / 2 + 2).astype(int)
            inside = (y >= 0) & (y < canvas.shape[0]) & (x >= 0) & (x < canvas.shape[1])
            canvas[y[inside], x[inside]] = 1
    if dots or not canvas.any():
        places = ((at - at.min()) * scale + pen / 2 + 2 for at in (rows, columns))
        y, x = (np.rint(place).astype(int) for place in places)
        canvas[y, x] = 1
    return trimmed(_soft(widened(canvas, max(0.0, (pen - 1) / 2))))


def drawn(
    strokes: Sequence[Sequence[tuple[float, float]]],
    height: int,
    pen: float,
    rng: np.random.Generator,
    wobble: float = 0.03,
) -> Ink:
    """Polylines in a box of 1 x 1, drawn by a hand that is not quite sure."""
    from PIL import Image, ImageDraw

    fine = 2
    side, margin = fine * height, fine * (round(pen) + height // 4)
    image = Image.new("L", (round(1.1 * side) + 2 * margin, round(1.25 * side) + 2 * margin))
    pencil = ImageDraw.Draw(image)
    slant, width = rng.uniform(-0.15, 0.15), max(1, round(fine * pen))
    for stroke in strokes:
        points = _rounded(np.array(stroke) + rng.normal(0, wobble, (len(stroke), 2)))
        at = [(margin + side * (x - slant * y), margin + side * y) for x, y in points]
        pencil.line(at, fill=255, width=width, joint="curve")
        for x, y in (at[0], at[-1]):
            pencil.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=255)
    image = image.resize((image.width // fine, image.height // fine), Image.Resampling.BOX)
    return trimmed(np.asarray(image, np.float32) / np.float32(255))


def _rounded(points: NDArray) -> NDArray:
    """A polyline with its corners cut twice (G. Chaikin 1974), its ends where they were."""
    for _ in range(2):
        if len(points) < 3:
            break
        a, b = points[:-1], points[1:]
        cut = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut[1:-1], points[-1:]])
    return points


def turned(ink: Ink, degrees: float) -> Ink:
    """Turned counter-clockwise, on a canvas that is large enough."""
    from PIL import Image

    image = Image.fromarray(ink).rotate(degrees, Image.Resampling.BICUBIC, expand=True)
    return np.asarray(image).clip(0, 1)


@runs_twin("writing")
def widened(ink: Ink, radius: float) -> Ink:
    """The largest value within a disc around every pixel: as a pen wider by twice the radius."""
    reach = int(radius)
    if reach < 1 and radius < 0.5:
        return ink
    reach = max(1, reach)
    padded = np.pad(ink, reach)
    wide = padded.copy()
    h, w = padded.shape
    for dy in range(-reach, reach + 1):
        half = int(np.sqrt(max(0.0, radius * radius - dy * dy)))
        row = padded.copy()
        for dx in range(1, half + 1):
            np.maximum(row[:, dx:], padded[:, :-dx], out=row[:, dx:])
            np.maximum(row[:, :-dx], padded[:, dx:], out=row[:, :-dx])
        target, source = slice(max(0, dy), h + min(0, dy)), slice(max(0, -dy), h + min(0, -dy))
        np.maximum(wide[target], row[source], out=wide[target])
    return wide


@runs_twin("writing")
def thinned(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The middle lines of strokes, one pixel wide.

    T. Zhang and C. Suen, "A fast parallel algorithm for thinning digital patterns", CACM 27 (1984):
    pixels at the edge go, from one side and the other in turn, unless the line would break.
    """
    line = np.pad(mask, 1)
    while True:
        before = line.sum()
        for side in (0, 1):
            p = [_moved_back(line, dy, dx) for dy, dx in _RING]
            neighbours = np.sum(p, axis=0)
            rises = np.sum([~a & b for a, b in zip(p, p[1:] + p[:1], strict=True)], axis=0)
            n, e, s, w = p[0], p[2], p[4], p[6]
            ends = ~(n & e & s) & ~(e & s & w) if side == 0 else ~(n & e & w) & ~(n & s & w)
            line = line & ~(line & (neighbours >= 2) & (neighbours <= 6) & (rises == 1) & ends)
        if line.sum() == before:
            return line[1:-1, 1:-1]


#: the eight neighbours in a ring, from the one above clockwise
_RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def _moved_back(image: NDArray, dy: int, dx: int) -> NDArray:
    """At (i, j) what the image has at (i + dy, j + dx); nothing beyond the border."""
    h, w = image.shape
    moved = np.zeros_like(image)
    moved[max(0, -dy) : h - max(0, dy), max(0, -dx) : w - max(0, dx)] = image[
        max(0, dy) : h + min(0, dy), max(0, dx) : w + min(0, dx)
    ]
    return moved


def _fine(digit: NDArray[np.uint8]) -> Ink:
    """The 28 x 28 pixels on a grid FINE times as fine, with a sharp edge."""
    side = FINE * len(digit)
    return sharpened(resized(digit.astype(np.float32) / np.float32(255), (side, side)), FINE)


def _soft(ink: Ink) -> Ink:
    """Averaged over 3 x 3 pixels: the edge of what was drawn in whole pixels."""
    padded = np.pad(ink, 2)
    down = padded[:-2] + padded[1:-1] + padded[2:]
    return (down[:, :-2] + down[:, 1:-1] + down[:, 2:]) / np.float32(9)


# ---- several in a row ----------------------------------------------------------------------------


def gap_between(left: Ink, right: Ink) -> int:
    """Columns of paper between two inks of equal height, where they are nearest: in their rows."""
    a, b = left > 0.5, right > 0.5
    rows = a.any(axis=1) & b.any(axis=1)
    if not rows.any():
        return 0
    behind = a[rows, ::-1].argmax(axis=1)
    return int((behind + b[rows].argmax(axis=1)).min())


def in_a_row(inks: Sequence[Ink], gaps: Sequence[int], fitted: bool, tops: Sequence[int]) -> Ink:
    """Inks side by side on one canvas.

    gaps     columns of paper after each but the last; below 0 they overlap
    fitted   gaps are counted where the two are nearest, not between their boxes
    tops     the row in which each begins
    """
    height = max(top + len(ink) for top, ink in zip(tops, inks, strict=True))
    rows = [
        np.pad(ink, ((top, height - top - len(ink)), (0, 0)))
        for top, ink in zip(tops, inks, strict=True)
    ]
    canvas = np.zeros((height, sum(row.shape[1] + 80 for row in rows)), np.float32)
    left = 40
    for k, row in enumerate(rows):
        if k:
            left += gaps[k - 1]
            if fitted:
                left -= gap_between(rows[k - 1], row)
        place = canvas[:, left : left + row.shape[1]]
        np.maximum(place, row[:, : place.shape[1]], out=place)
        left += row.shape[1]
    return trimmed(canvas)
