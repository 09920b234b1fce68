"""What is around the paper: a black frame, a scanner's strip, a table, cut off.

Only what runs straight along a whole side and ends at once is taken for a frame. A table that is
seen aslant stays; `strokes` leaves out what it becomes.
"""

import numpy as np
from numpy.typing import NDArray

from .paper import SMALL_SIDE

FRAME_SHARE = 0.15  # a frame is at most this share of the side wide
FRAME_CONTRAST = 50.0  # grey levels between it and the middle of the picture
FRAME_SPREAD = 30.0  # by how much its own levels vary
EDGE_PIXELS = 6  # within so many rows a frame has ended


def without_frame(pixels: NDArray) -> tuple[NDArray, tuple[int, int], str]:
    """The picture within its frame; how much was cut off at the left and top; a sentence.

    pixels (h, w) or (h, w, 3). The sentence is empty where there is no frame.
    """
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    h, w = grey.shape
    if min(h, w) <= SMALL_SIDE:
        return pixels, (0, 0), ""
    middle = float(np.median(grey[h // 4 : -(h // 4), w // 4 : -(w // 4)]))
    # from each side inward: rows from the top and the bottom, columns from the left and the right
    views = {"top": grey, "bottom": grey[::-1], "left": grey.T, "right": grey[:, ::-1].T}
    cut = {side: _depth(view, middle) for side, view in views.items()}
    if not any(cut.values()):
        return pixels, (0, 0), ""
    inside = pixels[cut["top"] : h - cut["bottom"], cut["left"] : w - cut["right"]]
    said = ", ".join(f"{depth} pixels at the {side}" for side, depth in cut.items() if depth)
    return inside, (cut["left"], cut["top"]), f"; frame cut off: {said}"


def _depth(rows: NDArray, middle: float) -> int:
    """How many rows from the first on are a frame."""
    level = float(np.median(rows[0]))
    if abs(level - middle) < FRAME_CONTRAST:
        return 0
    most = int(FRAME_SHARE * len(rows))
    same = (np.abs(rows[: most + EDGE_PIXELS + 1] - level) < FRAME_SPREAD).mean(axis=1)
    ends = np.flatnonzero(same < 0.9)
    if not len(ends) or not 0 < ends[0] <= most:
        return 0
    # A frame ends for the whole row at once; the paper around a digit ends where the digit is.
    over = np.flatnonzero(same[ends[0] : ends[0] + EDGE_PIXELS] < 0.35)
    return int(ends[0] + over[0]) + 1 if len(over) else 0
