"""Conv2D by im2col and a product, and sn's own with one method written anew."""

import numpy as np
from numpy.lib.stride_tricks import as_strided, sliding_window_view

import scratchnet as sn
from scratchnet.layers.functions import im2col

from .case import Case


class FirstImagesBias(sn.Conv2D):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["b"][:] = dy[0].sum(axis=(0, 1))
        return dx


class BiasAsIfChannelsFirst(sn.Conv2D):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["b"][:] = dy.reshape(self.filters, -1).sum(axis=1)
        return dx


class BiasPerColumn(sn.Conv2D):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["b"] = dy.sum(axis=(0, 1))
        return dx


class BiasMean(sn.Conv2D):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["b"][:] = dy.sum(axis=(1, 2)).mean(axis=0)
        return dx


class WeightsMean(sn.Conv2D):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["W"] /= len(dy)
        return dx


class FirstLayer(sn.Conv2D):
    def backward(self, dy):
        super().backward(dy)


class ByIm2col(sn.Conv2D):
    """On sn's own names, with the columns made here."""

    def columns(self, x):
        """(n * out_h * out_w, kh * kw * c)"""
        top, bottom, left, right = self.pads
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        (kh, kw), (sh, sw) = self.kernel_size, self.strides
        windows = sliding_window_view(x, (kh, kw), axis=(1, 2))[:, ::sh, ::sw]
        return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kh * kw * x.shape[3])

    def back(self, dcols, n):
        """The transpose of it: (n * out_h * out_w, kh * kw * c) -> (n, h, w, c)"""
        (h, w, c), (out_h, out_w, _) = self.input_shape, self.output_shape
        (kh, kw), (sh, sw), (top, bottom, left, right) = self.kernel_size, self.strides, self.pads
        dcols = dcols.reshape(n, out_h, out_w, kh, kw, c)
        dx = np.zeros((n, h + top + bottom, w + left + right, c), dcols.dtype)
        for u in range(kh):
            for v in range(kw):
                dx[:, u : u + sh * out_h : sh, v : v + sw * out_w : sw] += dcols[:, :, :, u, v]
        return dx[:, top : top + h, left : left + w]

    def forward(self, x, training=False):
        cols = self.columns(x)
        self.keep(x, cols)
        y = cols @ self.params["W"].reshape(-1, self.filters) + self.params["b"]
        return y.reshape(len(x), *self.output_shape)

    def backward(self, dy):
        cols, n = self.kept(dy), len(dy)
        rows = dy.reshape(-1, self.filters)
        self.grads["W"][:] = (cols.T @ rows).reshape(self.params["W"].shape)
        self.grads["b"][:] = rows.sum(axis=0)
        return self.back(rows @ self.params["W"].reshape(-1, self.filters).T, n)


class Col2imOverwrites(ByIm2col):
    def back(self, dcols, n):
        (h, w, c), (out_h, out_w, _) = self.input_shape, self.output_shape
        (kh, kw), (sh, sw), (top, bottom, left, right) = self.kernel_size, self.strides, self.pads
        dcols = dcols.reshape(n, out_h, out_w, kh, kw, c)
        dx = np.zeros((n, h + top + bottom, w + left + right, c), dcols.dtype)
        for u in range(kh):
            for v in range(kw):
                dx[:, u : u + sh * out_h : sh, v : v + sw * out_w : sw] = dcols[:, :, :, u, v]
        return dx[:, top : top + h, left : left + w]


class Col2imWithoutStride(ByIm2col):
    def back(self, dcols, n):
        (h, w, c), (out_h, out_w, _) = self.input_shape, self.output_shape
        (kh, kw), (top, bottom, left, right) = self.kernel_size, self.pads
        dcols = dcols.reshape(n, out_h, out_w, kh, kw, c)
        dx = np.zeros((n, h + top + bottom, w + left + right, c), dcols.dtype)
        for u in range(kh):
            for v in range(kw):
                dx[:, u : u + out_h, v : v + out_w] += dcols[:, :, :, u, v]
        return dx[:, top : top + h, left : left + w]


class Col2imCutsOneTooFew(ByIm2col):
    def back(self, dcols, n):
        (h, w, c), (out_h, out_w, _) = self.input_shape, self.output_shape
        (kh, kw), (sh, sw), (top, bottom, left, right) = self.kernel_size, self.strides, self.pads
        dcols = dcols.reshape(n, out_h, out_w, kh, kw, c)
        dx = np.zeros((n, h + top + bottom, w + left + right, c), dcols.dtype)
        for u in range(kh):
            for v in range(kw):
                dx[:, u : u + sh * out_h : sh, v : v + sw * out_w : sw] += dcols[:, :, :, u, v]
        return dx[:, top - 1 : top - 1 + h, left - 1 : left - 1 + w]


class ChannelsBeforeWindow(ByIm2col):
    def columns(self, x):
        top, bottom, left, right = self.pads
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        (kh, kw), (sh, sw) = self.kernel_size, self.strides
        windows = sliding_window_view(x, (kh, kw), axis=(1, 2))[:, ::sh, ::sw]
        return windows.reshape(-1, kh * kw * x.shape[3])  # (n, out_h, out_w, c, kh, kw) before it

    def back(self, dcols, n):
        kh, kw = self.kernel_size
        dcols = dcols.reshape(-1, self.input_shape[2], kh, kw).transpose(0, 2, 3, 1)
        return super().back(dcols, n)


class WeightsReshapedNotTransposed(ByIm2col):
    def backward(self, dy):
        super().backward(dy)
        return self.back(
            dy.reshape(-1, self.filters) @ self.params["W"].reshape(self.filters, -1), len(dy)
        )


class DWFiltersFirst(ByIm2col):
    def backward(self, dy):
        dx = super().backward(dy)
        rows = dy.reshape(-1, self.filters)
        self.grads["W"][:] = (rows.T @ self.kept(dy)).reshape(self.params["W"].shape)
        return dx


class ColumnsOnce(ByIm2col):
    def forward(self, x, training=False):
        y = super().forward(x, training)
        if getattr(self, "_cols", None) is None:
            self._cols = self.cache
        self.keep(x, self._cols)
        return y


class WindowTransposed(ByIm2col):
    """The window's rows and columns are exchanged in im2col; a square one has the same size."""

    def columns(self, x):
        (kh, kw), c = self.kernel_size, x.shape[3]
        windows = sliding_window_view(x, (kh, kw), axis=(2, 1))
        return windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, kh * kw * c)

    def back(self, dcols, n):
        kh, kw = self.kernel_size
        dcols = dcols.reshape(-1, kh, kw, self.input_shape[2]).transpose(0, 2, 1, 3)
        return super().back(dcols, n)


# ---- right, and unusual --------------------------------------------------------------------------


class ByEinsum(ByIm2col):
    def forward(self, x, training=False):
        cols = self.columns(x).reshape(len(x), *self.output_shape[:2], *self.params["W"].shape[:3])
        self.keep(x, cols)
        return np.einsum("nijuvc,uvcf->nijf", cols, self.params["W"]) + self.params["b"]

    def backward(self, dy):
        np.einsum("nijuvc,nijf->uvcf", self.kept(dy), dy, out=self.grads["W"])
        np.einsum("nijf->f", dy, out=self.grads["b"])
        return self.back(np.einsum("nijf,uvcf->nijuvc", dy, self.params["W"]), len(dy))


class ByStrides(ByIm2col):
    def columns(self, x):
        top, bottom, left, right = self.pads
        x = np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))
        n, (out_h, out_w, _), (a, b, c, d) = len(x), self.output_shape, x.strides
        (kh, kw), (sh, sw) = self.kernel_size, self.strides
        shape = n, out_h, out_w, kh, kw, x.shape[3]
        windows = as_strided(x, shape, (a, b * sh, c * sw, b, c, d), writeable=False)
        return windows.reshape(n * out_h * out_w, -1)


class OneBufferForColumns(ByIm2col):
    """The columns of every forward in one array, which is filled anew each time."""

    def columns(self, x):
        cols = im2col(x, self.kernel_size, self.strides, self.pads)
        if getattr(self, "_cols", None) is None or self._cols.shape != cols.shape:
            self._cols = np.empty_like(cols)
        self._cols[:] = cols
        return self._cols


K = (3, 2)
X = (3, 6, 7, 2)


def conv():
    return sn.Conv2D(4, K)


def strided():
    return sn.Conv2D(4, K, strides=(2, 3))


def uneven():
    return sn.Conv2D(4, K, padding=((1, 1), (0, 1)))


def strided_around():
    return sn.Conv2D(4, (3, 3), strides=2, padding=1)


# fmt: off
MISTAKES = [
    Case(
        "conv-col2im-overwrites", "col2im is im2col with both sides of = exchanged.",
        Col2imOverwrites, (4, K, 1, ((1, 1), (0, 1))), X, uneven, ("overwritten",),
    ),
    Case(
        "conv-col2im-without-stride", "col2im adds at u : u + out_h.",
        Col2imWithoutStride, (4, (3, 3), 2, 1), X, strided_around, ("stride-forgotten",),
    ),
    Case(
        "conv-col2im-cuts-one-too-few", "dx[:, p-1 : p-1+h], as Python counts from 0.",
        Col2imCutsOneTooFew, (4, (3, 3), 2, 1), X, strided_around, ("padding-off",),
    ),
    Case(
        "conv-first-images-bias", "db = dy[0].sum(axis=(0, 1))",
        FirstImagesBias, (4, K), X, conv, ("bias-axes",),
    ),
    Case(
        "conv-bias-as-if-channels-first", "db = dy.reshape(filters, -1).sum(axis=1)",
        BiasAsIfChannelsFirst, (4, K), X, conv, ("bias-axes", "axes-permuted"),
        "summed over the wrong axes, because dy was taken for channels-first",
    ),
    Case(
        "conv-bias-per-column", "db = dy.sum(axis=(0, 1))",
        BiasPerColumn, (4, K), X, conv, ("bias-axes", "wrong-shape"),
        "one axis too few; that its shape is wrong is true as well",
    ),
    Case(
        "conv-bias-mean", "Summed over the positions, averaged over the batch.",
        BiasMean, (4, K), X, conv, ("batch-mean",),
    ),
    Case(
        "conv-weights-mean", "dW divided by the batch size.",
        WeightsMean, (4, K, (2, 3)), (5, 6, 7, 2), strided, ("batch-mean",),
    ),
    Case(
        "conv-weights-mean-alone", "dW divided by the batch size.",
        WeightsMean, (4, K), (5, 5, 4, 2), None, ("batch-mean",),
    ),
    Case(
        "conv-first-layer", "The first layer need not return anything.",
        FirstLayer, (4, K), X, conv, ("dx-missing",),
    ),
    Case(
        "conv-channels-before-window", "im2col's rows go c, u, v.",
        ChannelsBeforeWindow, (4, K), X, conv, ("axes-permuted",),
    ),
    Case(
        "conv-weights-reshaped", "dcols = dy @ W.reshape(filters, -1)",
        WeightsReshapedNotTransposed, (4, K), X, conv, ("transposed", "axes-permuted"),
        "a reshape in the place of the transpose",
    ),
    Case(
        "conv-dW-filters-first", "dW = (dy.T @ cols).reshape(W.shape)",
        DWFiltersFirst, (4, K), X, conv, ("transposed", "axes-permuted"),
        "the transpose, poured into the right shape",
    ),
    Case(
        "conv-columns-once", "cols are made once and kept in self._cols.",
        ColumnsOnce, (4, K), X, conv, ("stale-cache",),
    ),
    Case(
        "conv-window-transposed", "Rows and columns of the window exchanged in im2col.",
        WindowTransposed, (4, (3, 3)), X, lambda: sn.Conv2D(4, (3, 3)),
        ("transposed", "axes-permuted"), "the kernel's first two axes exchanged",
    ),
]

UNNAMED = []

RIGHT = [
    Case("conv-im2col", "a product", ByIm2col, (4, (3, 3), 2, 1), X, strided_around),
    Case("conv-einsum", "einsum", ByEinsum, (4, K), X, conv),
    Case("conv-as-strided", "as_strided", ByStrides, (4, (3, 3), 2, 1), X, strided_around),
    Case("conv-one-buffer", "one array for all columns", OneBufferForColumns, (4, K), X, conv),
]
# fmt: on
