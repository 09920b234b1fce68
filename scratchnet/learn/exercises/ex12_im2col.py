"""12. im2col: every patch of an image as a row.

About 40 minutes. Lesson 6. The package's own: `im2col` in scratchnet/layers/functions.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#network/conv2d

A convolution looks at an image through a small window, at every position. Write each patch that is
seen as a row, and all that is left to do is a matrix product.

Shapes    x (n, h, w, c): n images of h rows and w columns, each pixel with c channels
          the window is kh rows high and kw columns wide, and moves by `stride` pixels
          `pad` rows and columns of zeros are put around the image first, on all four sides
          out_h, out_w   how many positions there are, down and across
          cols (n * out_h * out_w, kh * kw * c)

Sizes     The padded image has h + 2 pad rows. The window's first row can be 0, stride, 2 stride,
          ..., as long as its last row is inside. How many are that?

Order     rows: image by image, in each from top to bottom, in each of those from left to right
          columns: the patch's upper row first, in it the left pixel first, in it channel 0 first

so cols[(n, i, j), (u, v, ch)] = padded[n, i * stride + u, j * stride + v, ch].

Loop over the window's places (u, v), which are few, and take whole slices of the padded array,
with a step: a[first : last : step]. `cols` has six axes until the last line,
(n, out_h, out_w, kh, kw, c), and `reshape` makes two of them.

    scratchnet learn check 12        scratchnet learn hint 12
"""

import numpy as np


def output_size(h, kh, stride, pad):
    """How many positions a window of kh has in h pixels, with padding on both sides."""
    # TODO: a whole number
    return (h + 2 * pad - kh) // stride + 1
    # END


def im2col(x, kh, kw, stride, pad):
    """(n, h, w, c) -> (n * out_h * out_w, kh * kw * c)"""
    n, h, w, c = x.shape
    out_h, out_w = output_size(h, kh, stride, pad), output_size(w, kw, stride, pad)
    # TODO: pad; fill an array (n, out_h, out_w, kh, kw, c); reshape it
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    cols = np.empty((n, out_h, out_w, kh, kw, c), x.dtype)
    for u in range(kh):
        for v in range(kw):
            rows, columns = (
                slice(u, u + stride * out_h, stride),
                slice(v, v + stride * out_w, stride),
            )
            cols[:, :, :, u, v] = padded[:, rows, columns]  # (n, out_h, out_w, c)
    return cols.reshape(n * out_h * out_w, kh * kw * c)
    # END
