"""Conv2D by loops, over output positions or over the kernel."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import scratchnet as sn

from .case import Case, Plain


class MyConv(Plain):
    """By loops over output positions. pads (top, bottom, left, right)."""

    def __init__(self, filters, kernel, strides=(1, 1), pads=(0, 0, 0, 0)):
        super().__init__()
        self.filters, self.kernel, self.strides, self.pads = filters, kernel, strides, pads

    def build(self, input_shape, rng, dtype=np.float32):
        h, w, c = self.input_shape = tuple(input_shape)
        (kh, kw), (sh, sw), (top, bottom, left, right) = self.kernel, self.strides, self.pads
        out_h, out_w = (h + top + bottom - kh) // sh + 1, (w + left + right - kw) // sw + 1
        self.output_shape = out_h, out_w, self.filters
        self.add("W", (kh, kw, c, self.filters), rng, dtype)
        self.add("b", (self.filters,), rng, dtype)
        return self.output_shape

    def padded(self, x):
        top, bottom, left, right = self.pads
        return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)))

    def cut(self, dx):
        h, w, _ = self.input_shape
        top, _, left, _ = self.pads
        return dx[:, top : top + h, left : left + w]

    def places(self):
        """i, j and the window of rows and columns that y[i, j] sees."""
        (kh, kw), (sh, sw) = self.kernel, self.strides
        for i in range(self.output_shape[0]):
            for j in range(self.output_shape[1]):
                yield i, j, slice(i * sh, i * sh + kh), slice(j * sw, j * sw + kw)

    def forward(self, x, training=False):
        self.cache = x = self.padded(x)
        W, b = self.params["W"], self.params["b"]
        y = np.zeros((len(x), *self.output_shape), x.dtype)
        for i, j, rows, columns in self.places():
            y[:, i, j] = np.tensordot(x[:, rows, columns], W, 3) + b
        return y

    def backward(self, dy):
        x, W = self.cache, self.params["W"]
        dW, dx = np.zeros_like(W), np.zeros_like(x)
        for i, j, rows, columns in self.places():
            dW += np.tensordot(x[:, rows, columns], dy[:, i, j], (0, 0))
            dx[:, rows, columns] += np.tensordot(dy[:, i, j], W, (1, 3))
        self.grads["W"][:] = dW
        self.grads["b"][:] = dy.sum(axis=(0, 1, 2))
        return self.cut(dx)


class PatchesOverwritten(MyConv):
    def backward(self, dy):
        super().backward(dy)
        dx = np.zeros_like(self.cache)
        for i, j, rows, columns in self.places():
            dx[:, rows, columns] = np.tensordot(dy[:, i, j], self.params["W"], (1, 3))
        return self.cut(dx)


class LastPlaceOnly(MyConv):
    def backward(self, dy):
        dx = super().backward(dy)
        for i, j, rows, columns in self.places():
            self.grads["W"][:] = np.tensordot(self.cache[:, rows, columns], dy[:, i, j], (0, 0))
        return dx


class LastImageOnly(MyConv):
    def backward(self, dy):
        dx = super().backward(dy)
        for image, g in zip(self.cache, dy, strict=True):
            dW = np.zeros_like(self.params["W"])
            for i, j, rows, columns in self.places():
                dW += np.multiply.outer(image[rows, columns], g[i, j])
            self.grads["W"][:] = dW
        return dx


class StrideForgottenInDx(MyConv):
    def backward(self, dy):
        super().backward(dy)
        kh, kw = self.kernel
        dx = np.zeros_like(self.cache)
        for i, j, _, _ in self.places():
            dx[:, i : i + kh, j : j + kw] += np.tensordot(dy[:, i, j], self.params["W"], (1, 3))
        return self.cut(dx)


class StrideForgottenInDW(MyConv):
    def backward(self, dy):
        dx = super().backward(dy)
        kh, kw = self.kernel
        dW = np.zeros_like(self.params["W"])
        for i, j, _, _ in self.places():
            dW += np.tensordot(self.cache[:, i : i + kh, j : j + kw], dy[:, i, j], (0, 0))
        self.grads["W"][:] = dW
        return dx


class StrideForgottenInForward(MyConv):
    """The output has the size that it should, and all windows are next to each other."""

    def places(self):
        kh, kw = self.kernel
        for i, j, _, _ in super().places():
            yield i, j, slice(i, i + kh), slice(j, j + kw)


class PaddingNotCutOff(MyConv):
    """Cut to the right size, at the wrong end."""

    def cut(self, dx):
        h, w, _ = self.input_shape
        return dx[:, :h, :w]


class PaddingLeftInDx(MyConv):
    def cut(self, dx):
        return dx


class PaddingAllAtTheTop(MyConv):
    def padded(self, x):
        top, bottom, left, right = self.pads
        return np.pad(x, ((0, 0), (top + bottom, 0), (left + right, 0), (0, 0)))

    def cut(self, dx):
        top, bottom, left, right = self.pads
        return dx[:, top + bottom :, left + right :]


class PaddingByEdge(MyConv):
    """Padded with what is at the edge."""

    def padded(self, x):
        top, bottom, left, right = self.pads
        return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), mode="edge")


class FloatBuffer(MyConv):
    def forward(self, x, training=False):
        self.cache = x = self.padded(x)
        y = np.zeros((len(x), *self.output_shape), np.float32)
        for i, j, rows, columns in self.places():
            y[:, i, j] = np.tensordot(x[:, rows, columns], self.params["W"], 3) + self.params["b"]
        return y


class AddsToDW(MyConv):
    def backward(self, dy):
        x, W = self.cache, self.params["W"]
        dx = np.zeros_like(x)
        for i, j, rows, columns in self.places():
            self.grads["W"] += np.tensordot(x[:, rows, columns], dy[:, i, j], (0, 0))
            dx[:, rows, columns] += np.tensordot(dy[:, i, j], W, (1, 3))
        self.grads["b"][:] = dy.sum(axis=(0, 1, 2))
        return self.cut(dx)


class TurnedInForward(MyConv):
    """A convolution as mathematicians have it, forward and backward."""

    def forward(self, x, training=False):
        turned = self.params["W"][::-1, ::-1]
        self.cache = x = self.padded(x)
        y = np.zeros((len(x), *self.output_shape), x.dtype)
        for i, j, rows, columns in self.places():
            y[:, i, j] = np.tensordot(x[:, rows, columns], turned, 3) + self.params["b"]
        return y

    def backward(self, dy):
        x, W = self.cache, self.params["W"][::-1, ::-1]
        dW, dx = np.zeros_like(W), np.zeros_like(x)
        for i, j, rows, columns in self.places():
            dW += np.tensordot(x[:, rows, columns], dy[:, i, j], (0, 0))
            dx[:, rows, columns] += np.tensordot(dy[:, i, j], W, (1, 3))
        self.grads["W"][:] = dW[::-1, ::-1]
        self.grads["b"][:] = dy.sum(axis=(0, 1, 2))
        return self.cut(dx)


class FullConv(MyConv):
    """Stride 1: dx is dy, padded by the kernel less one, under the kernel turned by 180 degrees."""

    def turned(self, W):
        return W[::-1, ::-1]

    def backward(self, dy):
        super().backward(dy)
        kh, kw = self.kernel
        wide = np.pad(dy, ((0, 0), (kh - 1, kh - 1), (kw - 1, kw - 1), (0, 0)))
        windows = sliding_window_view(wide, (kh, kw), axis=(1, 2))  # (n, h, w, f, kh, kw)
        return self.cut(np.einsum("nijfuv,uvcf->nijc", windows, self.turned(self.params["W"])))


class NotTurnedInDx(FullConv):
    def turned(self, W):
        return W


class BiasGradientForgotten(MyConv):
    def backward(self, dy):
        x, W = self.cache, self.params["W"]
        dW, dx = np.zeros_like(W), np.zeros_like(x)
        for i, j, rows, columns in self.places():
            dW += np.tensordot(x[:, rows, columns], dy[:, i, j], (0, 0))
            dx[:, rows, columns] += np.tensordot(dy[:, i, j], W, (1, 3))
        self.grads["W"][:] = dW
        return self.cut(dx)


class OnePlaceTooFew(MyConv):
    """out_h = (h - kh) // stride, without the + 1."""

    def build(self, input_shape, rng, dtype=np.float32):
        out_h, out_w, filters = super().build(input_shape, rng, dtype)
        self.output_shape = out_h - 1, out_w - 1, filters
        return self.output_shape


class FirstChannelOnly(MyConv):
    """The loop over channels is missing in dx: the first gets all there is."""

    def backward(self, dy):
        dx = super().backward(dy).copy()
        dx[..., 1:] = 0
        return dx


# ---- right, and unusual --------------------------------------------------------------------------


class ByFourier(MyConv):
    """As products of Fourier transforms, stride 1; dx and dW likewise."""

    def forward(self, x, training=False):
        self.cache = x = self.padded(x)
        self.size = x.shape[1:3]
        self.fx = np.fft.rfft2(x, axes=(1, 2))
        self.fw = np.fft.rfft2(self.params["W"], self.size, axes=(0, 1))
        y = self.inverse(np.einsum("nijc,ijcf->nijf", self.fx, self.fw.conj()), (1, 2))
        return y[:, : self.output_shape[0], : self.output_shape[1]] + self.params["b"]

    def inverse(self, a, axes):
        return np.fft.irfft2(a, self.size, axes=axes)

    def backward(self, dy):
        fdy = np.fft.rfft2(dy, self.size, axes=(1, 2))
        dW = self.inverse(np.einsum("nijc,nijf->ijcf", self.fx, fdy.conj()), (0, 1))
        self.grads["W"][:] = dW[: self.kernel[0], : self.kernel[1]]
        self.grads["b"][:] = dy.sum(axis=(0, 1, 2))
        return self.cut(self.inverse(np.einsum("nijf,ijcf->nijc", fdy, self.fw), (1, 2)))


class ByKernelPlaces(MyConv):
    """A loop over the kernel, in which each weight sees its part of the image."""

    def taps(self):
        (kh, kw), (sh, sw), (out_h, out_w, _) = self.kernel, self.strides, self.output_shape
        for u in reversed(range(kh)):
            for v in range(kw):
                yield u, v, slice(u, u + sh * out_h, sh), slice(v, v + sw * out_w, sw)

    def forward(self, x, training=False):
        self.cache = x = self.padded(x)
        y = np.zeros((len(x), *self.output_shape), x.dtype)
        for u, v, rows, columns in self.taps():
            y += x[:, rows, columns] @ self.params["W"][u, v]
        return y + self.params["b"]

    def backward(self, dy):
        dx = np.zeros_like(self.cache)
        for u, v, rows, columns in self.taps():
            seen = self.cache[:, rows, columns]
            self.grads["W"][u, v] = np.tensordot(seen, dy, ((0, 1, 2), (0, 1, 2)))
            dx[:, rows, columns] += dy @ self.params["W"][u, v].T
        self.grads["b"][:] = np.einsum("nijf->f", dy)
        return self.cut(dx)


class ChannelsFirstInside(MyConv):
    """Images are (n, c, h, w) inside, and so are y and dy until they are handed out."""

    def forward(self, x, training=False):
        self.cache = x = self.padded(x)
        inside = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        W = self.params["W"].transpose(3, 2, 0, 1)  # (f, c, kh, kw)
        y = np.zeros((len(x), self.filters, *self.output_shape[:2]), x.dtype)
        for i, j, rows, columns in self.places():
            y[:, :, i, j] = np.tensordot(inside[:, :, rows, columns], W, ((1, 2, 3), (1, 2, 3)))
        return y.transpose(0, 2, 3, 1) + self.params["b"]


class TurnedTwice(MyConv):
    """Turns W, and the image too: the turns cancel."""

    def forward(self, x, training=False):
        self.cache = self.padded(x)
        h, w = self.cache.shape[1:3]
        turned, W = self.cache[:, ::-1, ::-1], self.params["W"][::-1, ::-1]
        y = np.zeros((len(x), *self.output_shape), x.dtype)
        for i, j, rows, columns in self.places():
            window = turned[:, h - rows.stop : h - rows.start, w - columns.stop : w - columns.start]
            y[:, i, j] = np.tensordot(window, W, 3) + self.params["b"]
        return y


K = (3, 2)
X = (3, 6, 7, 2)


def conv():
    return sn.Conv2D(4, K)


def strided():
    return sn.Conv2D(4, K, strides=(2, 3))


def around():
    return sn.Conv2D(4, (3, 3), padding=1)


def uneven():
    return sn.Conv2D(4, K, padding=((1, 1), (0, 1)))


ONES, UNEVEN = (1, 1, 1, 1), (1, 1, 0, 1)


# fmt: off
MISTAKES = [
    Case(
        "conv-patches-overwritten", "Each patch of dx is set to what its window sends back.",
        PatchesOverwritten, (4, K), X, conv, ("overwritten",),
    ),
    Case(
        "conv-last-place-only", "dW is computed inside the loop over positions.",
        LastPlaceOnly, (4, K), X, conv, ("overwritten",),
    ),
    Case(
        "conv-last-image-only", "dW is computed inside the loop over images.",
        LastImageOnly, (4, K), X, conv, ("overwritten",),
    ),
    Case(
        "conv-stride-forgotten-in-dx", "dx[:, i:i+kh, j:j+kw] += ...",
        StrideForgottenInDx, (4, K, (2, 3)), X, strided, ("stride-forgotten",),
    ),
    Case(
        "conv-stride-forgotten-in-dW", "dW += x[:, i:i+kh, j:j+kw] times dy[:, i, j]",
        StrideForgottenInDW, (4, K, (2, 3)), X, strided, ("stride-forgotten",),
    ),
    Case(
        "conv-stride-forgotten-in-forward", "The stride is in the output's size.",
        StrideForgottenInForward, (4, K, (2, 3)), X, strided, ("stride-forgotten",),
    ),
    Case(
        "conv-padding-not-cut-off", "dx[:, :h, :w], to have x's shape again.",
        PaddingNotCutOff, (4, (3, 3), (1, 1), ONES), X, around, ("padding-off",),
    ),
    Case(
        "conv-padding-left-in-dx", "I return dx as it comes out of the loop.",
        PaddingLeftInDx, (4, (3, 3), (1, 1), ONES), X, around, ("padding-off", "wrong-shape"),
        "the padding is not cut off; that the shape is wrong is true as well",
    ),
    Case(
        "conv-padding-all-at-the-top", "np.pad with (2, 0) where (1, 1) is meant.",
        PaddingAllAtTheTop, (4, (3, 3), (1, 1), ONES), X, around, ("padding-off",),
    ),
    Case(
        "conv-padding-by-edge", "np.pad(..., mode='edge'), it looks nicer.",
        PaddingByEdge, (4, (3, 3), (1, 1), ONES), X, around, ("padding-off", "forward-wrong"),
        "padded with the wrong values, and nothing else wrong in forward",
    ),
    Case(
        "conv-float32-buffer", "y = np.zeros(..., np.float32)",
        FloatBuffer, (4, K), X, conv, ("float32-inside",),
    ),
    Case(
        "conv-adds-to-dW", "grads['W'] += ... in the loop over positions.",
        AddsToDW, (4, K), X, conv, ("accumulated",),
    ),
    Case(
        "conv-turned-in-forward", "A convolution turns its kernel, I looked it up.",
        TurnedInForward, (4, K), X, conv, ("kernel-flipped",),
    ),
    Case(
        "conv-not-turned-in-dx", "dx is a convolution of dy, padded, with W.",
        NotTurnedInDx, (4, K), X, conv, ("kernel-flipped",),
    ),
    Case(
        "conv-bias-gradient-forgotten", "dW and dx, done.",
        BiasGradientForgotten, (4, K, (1, 1), UNEVEN), X, uneven, ("parameter-gradient-missing",),
    ),
    Case(
        "conv-one-place-too-few", "out_h = (h + padding - kh) // stride",
        OnePlaceTooFew, (4, K, (1, 1), UNEVEN), X, uneven, ("wrong-shape", "padding-off"),
        "the + 1 is missing in the output's size; as if there were less padding at the end",
    ),
]

UNNAMED = [
    Case("conv-first-channel-only", "no loop over channels", FirstChannelOnly, (4, K), X, conv),
]

RIGHT = [
    Case("conv-loops", "loops over positions", MyConv, (4, K, (2, 3)), X, strided),
    Case("conv-fourier", "Fourier", ByFourier, (4, K, (1, 1), UNEVEN), X, uneven),
    Case("conv-kernel-places", "a loop over W", ByKernelPlaces, (4, K, (2, 3)), X, strided),
    Case("conv-channels-first-inside", "(n, c, h, w)", ChannelsFirstInside, (4, K), X, conv),
    Case("conv-turned-twice", "W and x turned", TurnedTwice, (4, K), X, conv),
    Case("conv-full", "dx as a convolution", FullConv, (4, K), X, conv),
    Case("conv-1x1", "a kernel of one", MyConv, (4, (1, 1)), X, lambda: sn.Conv2D(4, 1)),
    Case(
        "conv-stride-beyond-kernel", "some pixels are never seen: dx = 0 there",
        MyConv, (4, (2, 1), (3, 2)), X, lambda: sn.Conv2D(4, (2, 1), (3, 2)),
    ),
    Case(
        "conv-same-even", "an even kernel, the odd zero at the bottom",
        MyConv, (3, (2, 4), (1, 1), (0, 1, 1, 2)), X,
        lambda: sn.Conv2D(3, (2, 4), padding="same"),
    ),
    Case("conv-one-by-one", "one image, one channel", MyConv, (1, K), (1, 5, 4, 1),
         lambda: sn.Conv2D(1, K)),
    Case("conv-whole-image", "a kernel as large as the image", MyConv, (4, (5, 4)), (3, 5, 4, 2),
         lambda: sn.Conv2D(4, (5, 4))),
    Case("conv-loops-alone", "nothing to compare with", MyConv, (2, K, (2, 3)), (2, 5, 5, 2), None),
]
# fmt: on
