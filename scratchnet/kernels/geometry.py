"""Where a sliding window stands: shared by convolution and pooling, layers and kernels."""

import numpy as np

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
Shape = tuple[int, int, int, int]


def output_size(size: Pair, window: Pair, strides: Pair, pads: Pads) -> Pair:
    """How often the window fits: floor((size + pads - window) / stride) + 1, along each axis.

    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning", eq. 6.
    """
    top, bottom, left, right = pads
    (h, w), (kh, kw), (sh, sw) = size, window, strides
    return (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1


def winner_dtype(window: Pair) -> type:
    """A byte says which value of a window won, unless the window is larger than 16x16."""
    return np.uint8 if window[0] * window[1] <= 256 else np.int32
