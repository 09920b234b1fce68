"""16. MaxPool2D: the largest of each window, and nothing for the others.

About 40 minutes. Lesson 7. The package's own: scratchnet/layers/pool.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#backward/maxpool2d

Shapes    x (n, h, w, c) -> y (n, out_h, out_w, c); the window has `size` rows and columns and moves
          by `stride`; out_h = (h - size) // stride + 1, and out_w likewise
Forward   y[n, i, j, ch] = the largest x in the window at row i * stride, column j * stride, of the
          channel ch. Each channel by itself.
Backward  Moving the largest pixel a little moves y by as much; moving any other moves y not at all.
          So the whole dy goes to the winner, and the others get 0.
          Where windows overlap, a pixel may win several times: its gradients add up.
          Where two are equally large, the first wins: the upper row, and in it the left one. Only
          one of them gets the gradient.

With the patch of one position for all images and channels as an array (n, size*size, c), argmax
over its middle axis says which place has won. NumPy's argmax takes the first of equals, and place k
is in row k // size, column k % size of the window.

    scratchnet learn check 16        scratchnet learn hint 16
"""

import numpy as np


class MaxPool2D:
    def __init__(self, size=2, stride=2):
        self.size, self.stride = size, stride
        self.params, self.grads, self.buffers = {}, {}, {}

    def forward(self, x, training=False):
        """x (n, h, w, c) -> y (n, out_h, out_w, c)"""
        # TODO: y; keep the winners, and the shape of x
        n, h, w, c = x.shape
        out_h, out_w = (h - self.size) // self.stride + 1, (w - self.size) // self.stride + 1
        y = np.empty((n, out_h, out_w, c), x.dtype)
        self.winners = np.empty((n, out_h, out_w, c), int)
        self.x_shape = x.shape
        for i in range(out_h):
            for j in range(out_w):
                top, left = i * self.stride, j * self.stride
                patch = x[:, top : top + self.size, left : left + self.size]
                patch = patch.reshape(n, self.size * self.size, c)
                self.winners[:, i, j] = patch.argmax(axis=1)
                y[:, i, j] = patch.max(axis=1)
        return y
        # END

    def backward(self, dy):
        """dy (n, out_h, out_w, c) -> dx (n, h, w, c)"""
        # TODO: zeros, and each dy added where its winner is
        dx = np.zeros(self.x_shape, dy.dtype)
        n, out_h, out_w, c = dy.shape
        image, channel = np.arange(n)[:, None], np.arange(c)  # (n, 1) and (c,): all pairs
        for i in range(out_h):
            for j in range(out_w):
                winner = self.winners[:, i, j]  # (n, c)
                row = i * self.stride + winner // self.size
                column = j * self.stride + winner % self.size
                dx[image, row, column, channel] += dy[:, i, j]
        return dx
        # END
