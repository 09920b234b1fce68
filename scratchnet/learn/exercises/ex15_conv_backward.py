"""15. Conv2D, backward: Dense's three lines, on patches.

About 30 minutes. Lesson 6. The package's own: scratchnet/layers/conv.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#backward/conv2d_1

Forward was  y = cols @ W + b,  with W as a table (kh*kw*c, f) and y with a row for each position.
That is Dense, with patches for examples. So its backward is Dense's:

    dW     =  cols.T @ dy          (kh*kw*c, f), and then in W's shape (kh, kw, c, f)
    db     =  the sum of dy over all positions of all images
    dcols  =  dy @ W.T             the shape of cols
    dx     =  col2im(dcols)        a pixel collects the gradient of all its copies

where dy (n, out_h, out_w, f) is written as a table (n*out_h*out_w, f) first.

W is one small pattern, and yet it was used at every position: it is in the sums that its gradient
collects from all of them.

Besides self.cols, which your forward keeps, backward needs the shape of x.

    scratchnet learn check 15        scratchnet learn hint 15
"""

from ex13_conv_forward import Conv2D as Forward
from ex14_col2im import col2im


class Conv2D(Forward):
    """Your Conv2D from before, which goes backward, too."""

    def forward(self, x, training=False):
        # TODO: keep what backward will need besides self.cols
        self.x_shape = x.shape
        # END
        return super().forward(x, training)

    def backward(self, dy):
        """dy (n, out_h, out_w, f) -> dx (n, h, w, c); dW and db go into self.grads"""
        W = self.params["W"]
        # TODO: the four lines
        f = W.shape[-1]
        dy = dy.reshape(-1, f)  # (n, out_h, out_w, f) -> (n*out_h*out_w, f)
        self.grads["W"][:] = (self.cols.T @ dy).reshape(W.shape)
        self.grads["b"][:] = dy.sum(axis=0)
        dcols = dy @ W.reshape(-1, f).T  # (n*out_h*out_w, f) @ (f, kh*kw*c)
        return col2im(dcols, self.x_shape, self.kh, self.kw, self.stride, self.pad)
        # END
