"""13. Conv2D, forward: the same few weights at every position.

About 20 minutes. Lesson 6. The package's own: scratchnet/layers/conv.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#forward/conv2d

Shapes    x (n, h, w, c) -> y (n, out_h, out_w, f), with f filters
          W (kh, kw, c, f): a small pattern for each filter;  b (f,)
Forward   y[n, i, j, f] = b[f] + sum over u, v, ch of
                          padded[n, i * stride + u, j * stride + v, ch] * W[u, v, ch, f]

The sum is a dot product of a patch with a pattern. Your im2col has the patches as rows, in the
order (u, v, ch), which is the order of W's first three axes. So

    y  =  cols @ (W as a table of kh * kw * c rows)  +  b

and what comes out has one row for each position of each image: give it its shape back.

backward, two exercises on, needs cols: keep it in self.cols.

    scratchnet learn check 13        scratchnet learn hint 13
"""

import numpy as np
from ex12_im2col import im2col, output_size


class Conv2D:
    def __init__(self, c, filters, kh, kw, stride, pad, rng):
        self.kh, self.kw, self.stride, self.pad = kh, kw, stride, pad
        limit = np.sqrt(6 / (kh * kw * (c + filters)))
        W = rng.uniform(-limit, limit, (kh, kw, c, filters))
        self.params = {"W": W, "b": np.zeros(filters)}
        self.grads = {name: np.zeros_like(array) for name, array in self.params.items()}
        self.buffers = {}

    def forward(self, x, training=False):
        """x (n, h, w, c) -> y (n, out_h, out_w, f)"""
        n, h, w, _ = x.shape
        out_h = output_size(h, self.kh, self.stride, self.pad)
        out_w = output_size(w, self.kw, self.stride, self.pad)
        W, b = self.params["W"], self.params["b"]
        # TODO: the patches, a product, a reshape; keep the patches in self.cols
        f = W.shape[-1]
        self.cols = im2col(x, self.kh, self.kw, self.stride, self.pad)
        y = self.cols @ W.reshape(-1, f) + b  # (n*out_h*out_w, kh*kw*c) @ (kh*kw*c, f)
        return y.reshape(n, out_h, out_w, f)
        # END
