"""MaxPool2D, AveragePool2D and global pooling."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import scratchnet as sn

from .case import Case, Plain, constant, negative, plateaus


class MyPool(Plain):
    """Window, strides, pads (top, bottom, left, right)."""

    def __init__(self, window, strides=None, pads=(0, 0, 0, 0)):
        super().__init__()
        self.window, self.strides, self.pads = window, strides or window, pads

    def build(self, input_shape, rng, dtype=np.float32):
        h, w, c = self.input_shape = tuple(input_shape)
        (kh, kw), (sh, sw), (top, bottom, left, right) = self.window, self.strides, self.pads
        out_h, out_w = (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1
        self.output_shape = out_h, out_w, c
        return self.output_shape

    def padded(self, x, value):
        top, bottom, left, right = self.pads
        sides = (0, 0), (top, bottom), (left, right), (0, 0)
        return np.pad(x, sides, constant_values=value)

    def cut(self, dx):
        h, w, _ = self.input_shape
        return dx[:, self.pads[0] : self.pads[0] + h, self.pads[2] : self.pads[2] + w]

    def places(self, strides=None):
        (kh, kw), (sh, sw) = self.window, strides or self.strides
        for i in range(self.output_shape[0]):
            for j in range(self.output_shape[1]):
                yield i, j, slice(i * sh, i * sh + kh), slice(j * sw, j * sw + kw)


class MyMaxPool(MyPool):
    """Loops; the first maximum gets the gradient."""

    def forward(self, x, training=False):
        self.cache = x = self.padded(x, -np.inf)
        y = np.zeros((len(x), *self.output_shape), x.dtype)
        for i, j, rows, columns in self.places():
            y[:, i, j] = x[:, rows, columns].max(axis=(1, 2))
        return y

    def winners(self, window):
        """(n, kh, kw, c): 1 at the first maximum of each channel, 0 elsewhere."""
        n, kh, kw, c = window.shape
        first = window.reshape(n, kh * kw, c).argmax(axis=1)
        return (np.arange(kh * kw)[:, None] == first[:, None]).reshape(window.shape)

    def backward(self, dy):
        x = self.cache
        dx = np.zeros(x.shape, dy.dtype)
        for i, j, rows, columns in self.places():
            dx[:, rows, columns] += self.winners(x[:, rows, columns]) * dy[:, None, None, i, j]
        return self.cut(dx)


class EveryMaximum(MyMaxPool):
    def winners(self, window):
        return window == window.max(axis=(1, 2), keepdims=True)


class LastMaximum(MyMaxPool):
    """As a loop with >= finds it."""

    def winners(self, window):
        found = np.zeros(window.shape)
        for n in range(window.shape[0]):
            for c in range(window.shape[3]):
                best, where = -np.inf, (0, 0)
                for u in range(window.shape[1]):
                    for v in range(window.shape[2]):
                        if window[n, u, v, c] >= best:
                            best, where = window[n, u, v, c], (u, v)
                found[n, *where, c] = 1
        return found


class MaximumOverwrites(MyMaxPool):
    def backward(self, dy):
        x = self.cache
        dx = np.zeros(x.shape, dy.dtype)
        for i, j, rows, columns in self.places():
            dx[:, rows, columns] = self.winners(x[:, rows, columns]) * dy[:, None, None, i, j]
        return self.cut(dx)


class WindowForStride(MyMaxPool):
    """Backward takes the windows for side by side, as with the default strides."""

    def backward(self, dy):
        x = self.cache
        dx = np.zeros(x.shape, dy.dtype)
        steps = zip(self.places(), self.places((1, 1)), strict=True)
        for (i, j, rows, columns), (_, _, into_rows, into_columns) in steps:
            part = self.winners(x[:, rows, columns]) * dy[:, None, None, i, j]
            dx[:, into_rows, into_columns] += part
        return self.cut(dx)


class PaddedWithZeros(MyMaxPool):
    def forward(self, x, training=False):
        self.cache = x = self.padded(x, 0)
        y = np.zeros((len(x), *self.output_shape), x.dtype)
        for i, j, rows, columns in self.places():
            y[:, i, j] = x[:, rows, columns].max(axis=(1, 2))
        return y


class CutAtTheWrongEnd(MyMaxPool):
    def cut(self, dx):
        h, w, _ = self.input_shape
        return dx[:, :h, :w]


class WholeWindow(MyMaxPool):
    """The gradient goes to all of the window: the mask of winners is made and not used."""

    def backward(self, dy):
        dx = np.zeros(self.cache.shape, dy.dtype)
        for i, j, rows, columns in self.places():
            dx[:, rows, columns] += dy[:, None, None, i, j]
        return self.cut(dx)


class OneMaximumForAllChannels(MyMaxPool):
    """argmax over the whole window, channels included."""

    def winners(self, window):
        n = len(window)
        first = window.reshape(n, -1).argmax(axis=1)
        found = np.zeros((n, window[0].size))
        found[np.arange(n), first] = 1
        return found.reshape(window.shape)


class MaximaOfTheFirstBatch(MyMaxPool):
    def forward(self, x, training=False):
        if self.cache is None:
            self.cache = self.padded(x, -np.inf)
        kept = self.cache
        y = super().forward(x, training)
        if kept.shape == self.cache.shape:
            self.cache = kept
        return y


class MyAveragePool(MyPool):
    def counts(self):
        """(out_h, out_w): the image's pixels in each window."""
        ones = self.padded(np.ones((1, *self.input_shape[:2], 1)), 0)[0, :, :, 0]
        found = np.zeros(self.output_shape[:2])
        for i, j, rows, columns in self.places():
            found[i, j] = ones[rows, columns].sum()
        return found

    def forward(self, x, training=False):
        x = self.padded(x, 0)
        y = np.zeros((len(x), *self.output_shape), x.dtype)
        for i, j, rows, columns in self.places():
            y[:, i, j] = x[:, rows, columns].sum(axis=(1, 2))
        return y / self.counts()[:, :, None]

    def share(self, dy):
        return dy / self.counts()[:, :, None]

    def backward(self, dy):
        n, share = len(dy), self.share(dy)
        dx = self.padded(np.zeros((n, *self.input_shape), dy.dtype), 0)
        for i, j, rows, columns in self.places():
            dx[:, rows, columns] += share[:, None, None, i, j]
        return self.cut(dx)


class NotShared(MyAveragePool):
    def share(self, dy):
        return dy


class SharedTwice(MyAveragePool):
    def share(self, dy):
        return dy / self.counts()[:, :, None] / (self.window[0] * self.window[1])


class AverageOverwrites(MyAveragePool):
    def backward(self, dy):
        n, share = len(dy), self.share(dy)
        dx = self.padded(np.zeros((n, *self.input_shape), dy.dtype), 0)
        for i, j, rows, columns in self.places():
            dx[:, rows, columns] = share[:, None, None, i, j]
        return self.cut(dx)


class PaddingCounted(MyAveragePool):
    def counts(self):
        return np.full(self.output_shape[:2], self.window[0] * self.window[1])


class AverageWithoutStride(MyAveragePool):
    def backward(self, dy):
        n, share = len(dy), self.share(dy)
        dx = self.padded(np.zeros((n, *self.input_shape), dy.dtype), 0)
        for i, j, rows, columns in self.places((1, 1)):
            dx[:, rows, columns] += share[:, None, None, i, j]
        return self.cut(dx)


class MyGlobalAverage(sn.GlobalAveragePool2D):
    def forward(self, x, training=False):
        self.keep(x, x.shape)
        return x.mean(axis=(1, 2))

    def backward(self, dy):
        n, h, w, c = self.kept(dy)
        return np.zeros((n, h, w, c)) + dy[:, None, None] / (h * w)


class GlobalByBatch(MyGlobalAverage):
    def backward(self, dy):
        return super().backward(dy) / len(dy)


class GlobalNotShared(MyGlobalAverage):
    def backward(self, dy):
        n, h, w, c = self.kept(dy)
        return np.zeros((n, h, w, c)) + dy[:, None, None]


class GlobalKeepsAxes(MyGlobalAverage):
    """y is (n, 1, 1, c)."""

    def shape_after(self, input_shape):
        return (1, 1, input_shape[2])

    def forward(self, x, training=False):
        return super().forward(x, training)[:, None, None]

    def backward(self, dy):
        n, h, w, c = self.kept(dy)
        return np.zeros((n, h, w, c)) + dy / (h * w)


# ---- right, and unusual --------------------------------------------------------------------------


class ByReshape(MyMaxPool):
    """Windows side by side: a reshape is enough."""

    def forward(self, x, training=False):
        (n, h, w, c), (kh, kw) = x.shape, self.window
        tiles = x.reshape(n, h // kh, kh, w // kw, kw, c).transpose(0, 1, 3, 5, 2, 4)
        tiles = tiles.reshape(n, h // kh, w // kw, c, kh * kw)
        self.cache = tiles.argmax(axis=-1)
        return tiles.max(axis=-1)

    def backward(self, dy):
        n, (h, w, c), (kh, kw) = len(dy), self.input_shape, self.window
        tiles = np.zeros((*dy.shape, kh * kw), dy.dtype)
        np.put_along_axis(tiles, self.cache[..., None], dy[..., None], axis=-1)
        tiles = tiles.reshape(n, h // kh, w // kw, c, kh, kw).transpose(0, 1, 4, 2, 5, 3)
        return tiles.reshape(n, h, w, c)


class ByAddAt(MyMaxPool):
    """Notes for each output the flat index of its winner, and adds there."""

    def forward(self, x, training=False):
        (kh, kw), (sh, sw) = self.window, self.strides
        where = np.arange(x.size).reshape(x.shape)
        values, where = (
            sliding_window_view(a, (kh, kw), axis=(1, 2))[:, ::sh, ::sw].reshape(
                len(x), *self.output_shape, kh * kw
            )
            for a in (x, where)
        )
        first = values.argmax(axis=-1)[..., None]
        self.cache = np.take_along_axis(where, first, axis=-1)[..., 0]
        return np.take_along_axis(values, first, axis=-1)[..., 0]

    def backward(self, dy):
        dx = np.zeros((len(dy), *self.input_shape), dy.dtype)
        np.add.at(dx.reshape(-1), self.cache.reshape(-1), dy.reshape(-1))
        return dx


class ByRunningSums(MyAveragePool):
    """The sum of a window from four corners of a table of sums."""

    def forward(self, x, training=False):
        sums = self.padded(x, 0).cumsum(axis=1).cumsum(axis=2)
        table = np.pad(sums, ((0, 0), (1, 0), (1, 0), (0, 0)))
        y = np.zeros((len(x), *self.output_shape), x.dtype)
        for i, j, r, s in self.places():
            below = table[:, r.stop, s.stop] - table[:, r.stop, s.start]
            above = table[:, r.start, s.stop] - table[:, r.start, s.start]
            y[:, i, j] = below - above
        return y / self.counts()[:, :, None]


class GlobalByBroadcast(MyGlobalAverage):
    """Hands out a view that cannot be written to: no memory for h * w equal numbers."""

    def backward(self, dy):
        n, h, w, c = self.kept(dy)
        return np.broadcast_to((dy / (h * w))[:, None, None], (n, h, w, c))


X = (3, 6, 7, 2)
ONE = (0, 1, 1, 1)


def apart():
    return sn.MaxPool2D((2, 3))


def overlapping():
    return sn.MaxPool2D((3, 2), strides=(2, 1))


def average():
    return sn.AveragePool2D((2, 3))


def average_overlapping():
    return sn.AveragePool2D((3, 2), strides=(2, 1))


def padded_average():
    return sn.AveragePool2D((2, 3), strides=(2, 2), padding=((0, 1), (1, 1)))


def padded_max():
    return sn.MaxPool2D((2, 3), strides=(2, 2), padding=((0, 1), (1, 1)))


A, B, P = ((2, 3),), ((3, 2), (2, 1)), ((2, 3), (2, 2), ONE)

# fmt: off
MISTAKES = [
    Case(
        "maxpool-every-maximum", "mask = window == window.max()",
        EveryMaximum, A, X, apart, ("all-ties",), values=plateaus,
    ),
    Case(
        "maxpool-every-maximum-overlapping", "mask = window == window.max()",
        EveryMaximum, B, X, overlapping, ("all-ties",), values=plateaus,
    ),
    Case(
        "maxpool-last-maximum", "if value >= best: best = value",
        LastMaximum, A, X, apart, ("last-tie",), values=plateaus,
    ),
    Case(
        "maxpool-last-maximum-overlapping", "if value >= best: best = value",
        LastMaximum, B, X, overlapping, ("last-tie",), values=plateaus,
    ),
    Case(
        "maxpool-overwrites", "dx of the window = mask * dy",
        MaximumOverwrites, B, X, overlapping, ("overwritten",),
    ),
    Case(
        "maxpool-stride-forgotten", "Backward puts window (i, j) at row i, column j.",
        WindowForStride, A, X, apart, ("stride-forgotten",),
    ),
    Case(
        "maxpool-padded-with-zeros", "np.pad, and zeros are its default.",
        PaddedWithZeros, P, X, padded_max, ("padding-off", "forward-wrong"),
        "the padding's value is wrong, and shows where all of a window is negative",
        values=negative,
    ),
    Case(
        "maxpool-cut-at-the-wrong-end", "dx[:, :h, :w]",
        CutAtTheWrongEnd, P, X, padded_max, ("padding-off",),
    ),
    Case(
        "maxpool-whole-window", "All of the window gets dy.",
        WholeWindow, A, X, apart, ("mask-unused",),
    ),
    Case(
        "maxpool-first-batch-kept", "The positions are worked out once.",
        MaximaOfTheFirstBatch, A, X, apart, ("stale-cache",),
    ),
    Case(
        "averagepool-not-shared", "Every pixel of the window gets dy.",
        NotShared, A, X, average, ("missing-factor",), "the constant 1 / (kh kw)",
    ),
    Case(
        "averagepool-shared-twice", "Divided when sharing, and once more when adding.",
        SharedTwice, A, X, average, ("divided-twice",),
    ),
    Case(
        "averagepool-overwrites", "dx of the window = dy / (kh kw)",
        AverageOverwrites, B, X, average_overlapping, ("overwritten",),
    ),
    Case(
        "averagepool-padding-counted", "The mean is the sum through kh kw.",
        PaddingCounted, P, X, padded_average, ("padding-off", "forward-wrong"),
        "the padding's zeros count as pixels; PyTorch does so by default, sn and Keras don't",
    ),
    Case(
        "averagepool-stride-forgotten", "Backward puts window (i, j) at row i, column j.",
        AverageWithoutStride, A, X, average, ("stride-forgotten",),
    ),
    Case(
        "globalaverage-by-batch", "A mean: so it is divided by the batch size in backward.",
        GlobalByBatch, (), X, sn.GlobalAveragePool2D, ("batch-mean",),
    ),
    Case(
        "globalaverage-not-shared", "Every pixel gets dy.",
        GlobalNotShared, (), X, sn.GlobalAveragePool2D, ("missing-factor",),
        "the constant 1 / (h w)",
    ),
    Case(
        "globalaverage-keeps-axes", "x.mean(axis=(1, 2), keepdims=True)",
        GlobalKeepsAxes, (), X, sn.GlobalAveragePool2D, ("wrong-shape",),
    ),
]

UNNAMED = [
    Case("maxpool-one-maximum", "argmax over channels too", OneMaximumForAllChannels, A, X, apart),
]

RIGHT = [
    Case("maxpool-loops", "loops, padded with -inf", MyMaxPool, P, X, padded_max, values=negative),
    Case("maxpool-first-of-ties", "the first of ties", MyMaxPool, B, X, overlapping,
         values=plateaus),
    Case("maxpool-constant", "all ties", MyMaxPool, B, X, overlapping, values=constant),
    Case("maxpool-by-reshape", "a reshape", ByReshape, ((2, 3),), (3, 4, 6, 2), apart),
    Case("maxpool-by-reshape-ties", "a reshape", ByReshape, ((2, 3),), (3, 4, 6, 2), apart,
         values=plateaus),
    Case("maxpool-add-at", "np.add.at", ByAddAt, B, X, overlapping),
    Case("maxpool-stride-beyond-window", "gaps between the windows", MyMaxPool,
         ((2, 1), (3, 2)), X, lambda: sn.MaxPool2D((2, 1), (3, 2))),
    Case("maxpool-1x1", "y = x", MyMaxPool, ((1, 1),), X, lambda: sn.MaxPool2D(1)),
    Case("averagepool-loops", "padding not counted", MyAveragePool, P, X, padded_average),
    Case("averagepool-running-sums", "a table of sums", ByRunningSums, B, X, average_overlapping),
    Case("averagepool-alone", "nothing to compare with", MyAveragePool, B, X, None),
    Case("globalaverage-broadcast", "a read-only view", GlobalByBroadcast, (), X,
         sn.GlobalAveragePool2D),
]
# fmt: on
