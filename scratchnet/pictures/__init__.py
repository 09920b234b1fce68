"""Any image of one handwritten digit -> MNIST's form; and pictures of written numbers.

A network trained on MNIST has only ever seen digits prepared in one way: light ink on black, fitted
into a box of 20 x 20 pixels with the aspect ratio kept and the grey levels of anti-aliasing, then
moved so that the centre of mass lies in the middle of 28 x 28 (Y. LeCun, C. Cortes, C. Burges,
http://yann.lecun.com/exdb/mnist/). `prepare` brings a photograph, scan or drawing into that form.

One file is one stage:

    formats.py     which files are read as images
    pixels.py      any source -> upright pixels without transparency
    frame.py       a black frame, a scanner's strip or a table's edge cut off
    grey.py        colours -> one channel
    paper.py       light ink on paper that is 0 everywhere, shadows taken away
    ink.py         what is ink, with its grey levels
    lines.py       ruled lines, squares, boxes and tables taken out of the ink
    strokes.py     connected strokes, and which of them form the digit
    form.py        cropped, thickened, scaled, centred: MNIST's form
    steps.py       `prepare`: all of these in sequence, each result kept for show
    answers.py     `look`: the digit, or why none is named
    sequences.py   a picture of several digits, found and read one by one
    grouping.py    which marks are one digit
    signs.py       commas, hyphens and pluses between digits
    whole_lines.py a line read as a whole: its image, what is in it, and where
    arrays.py      small tools that the stages share

Left out on purpose: straightening a slanted or turned digit. For `prepare` one image is one digit,
upright.
"""

from ..errors import InputError
from . import sequences
from .answers import Answer, look
from .arrays import GRID_SIDE
from .form import (
    BOX,
    CENTRE,
    CORE_LEVEL,
    CORE_RANK,
    EDGE_LEVEL,
    FINE,
    MIN_CORE,
    SIDE,
    THIN_STROKE,
    USUAL_STROKE,
)
from .formats import FORMATS
from .ink import FRINGE_SHARE, MIN_CONTRAST, MIN_CONTRAST_TO_NOISE, MIN_CONTRAST_TO_SHADOW
from .paper import EVEN_SHARE, MIN_LIGHT, RING_SHARE, SMALL_SIDE
from .pixels import FULL_SCALES, MAX_PIXELS, WORK_SIDE, Source
from .steps import Prepared, Step, prepare
from .strokes import (
    FOREIGN_CONTACT,
    MAJOR_SHARE,
    MAX_STROKES,
    MIN_INK_SHARE,
    MIN_SIDE_SHARE,
    MINOR_SHARE,
    NEAR_SHARE,
)

__all__ = [
    "BOX",
    "CENTRE",
    "CORE_LEVEL",
    "CORE_RANK",
    "EDGE_LEVEL",
    "EVEN_SHARE",
    "FINE",
    "FOREIGN_CONTACT",
    "FORMATS",
    "FRINGE_SHARE",
    "FULL_SCALES",
    "GRID_SIDE",
    "MAJOR_SHARE",
    "MAX_PIXELS",
    "MAX_STROKES",
    "MINOR_SHARE",
    "MIN_CONTRAST",
    "MIN_CONTRAST_TO_NOISE",
    "MIN_CONTRAST_TO_SHADOW",
    "MIN_CORE",
    "MIN_INK_SHARE",
    "MIN_LIGHT",
    "MIN_SIDE_SHARE",
    "NEAR_SHARE",
    "RING_SHARE",
    "SIDE",
    "SMALL_SIDE",
    "THIN_STROKE",
    "USUAL_STROKE",
    "WORK_SIDE",
    "Answer",
    "InputError",
    "Prepared",
    "Source",
    "Step",
    "look",
    "prepare",
    "sequences",
]
