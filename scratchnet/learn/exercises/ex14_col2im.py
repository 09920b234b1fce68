"""14. col2im: the way back from the patches to the image.

About 30 minutes. Lesson 6. The package's own: `col2im` in scratchnet/layers/functions.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#network/backward/maxpool2d

im2col copies a pixel into every patch that has it in it; with a 3 x 3 window and stride 1 that is
up to nine times. If a number is copied into nine places, and each place reports how the loss
changes with it, then the loss changes with the number by the sum of the nine: the chain rule again.

Shapes    dcols (n * out_h * out_w, kh * kw * c) -> dx (n, h, w, c)
col2im    dx[n, row, column, ch] = the sum of all entries of dcols into which im2col copied
          x[n, row, column, ch]

Go the way of im2col backward, line by line:

    im2col                                      col2im
    pad                                         cut the padding off, at the end
    cols[:, :, :, u, v] = padded[...]           padded[...] += dcols[:, :, :, u, v]
    reshape to two axes                         reshape to six axes, at the beginning

Mind the `+=`. With `=` each pixel would keep the last window's share alone. And what im2col copied
from the padding belongs to no pixel.

A question: col2im(im2col(x)), 3 x 3 window, stride 1, no padding. How many times x is the pixel in
the middle of a large image, and how many times the one in the corner?

    scratchnet learn check 14        scratchnet learn hint 14
"""

import numpy as np
from ex12_im2col import output_size


def col2im(dcols, x_shape, kh, kw, stride, pad):
    """(n * out_h * out_w, kh * kw * c) -> (n, h, w, c), which is x_shape"""
    n, h, w, c = x_shape
    out_h, out_w = output_size(h, kh, stride, pad), output_size(w, kw, stride, pad)
    # TODO: six axes; zeros for the padded image; add for each (u, v); cut the padding off
    dcols = dcols.reshape(n, out_h, out_w, kh, kw, c)
    padded = np.zeros((n, h + 2 * pad, w + 2 * pad, c), dcols.dtype)
    for u in range(kh):
        for v in range(kw):
            rows, columns = (
                slice(u, u + stride * out_h, stride),
                slice(v, v + stride * out_w, stride),
            )
            padded[:, rows, columns] += dcols[:, :, :, u, v]
    return padded[:, pad : pad + h, pad : pad + w]
    # END
