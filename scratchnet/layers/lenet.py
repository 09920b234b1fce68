"""What LeNet-5 had in 1998 and networks of today have not: three layers for `lenet5-1998`.

ScaledTanh bends, Subsampling2D makes maps smaller and learns how, and ConnectedConv2D is a
convolution of which not every map sees every other.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import initializers
from ..errors import InputError, check_flag, is_whole, shown
from .base import Array, Footprint, Layer, Shape, image_shape
from .functions import col2im, im2col, sum_rows
from .registry import register
from .window import fitted, pair, window_footprint

__all__ = ["ConnectedConv2D", "ScaledTanh", "Subsampling2D"]

#: ScaledTanh's A and S
AMPLITUDE, SLOPE = 1.7159, 2 / 3


@register(
    gradient="dx = (S / A) · (A − y) · (A + y) · dy, with A = 1.7159 and S = 2/3",
    formula="1.7159 * tanh(2/3 * {x})",
    pointwise=True,
    uses_blas=False,
)
class ScaledTanh(Layer):
    """A tangent hyperbolic that sends 1 to 1 and -1 to -1.

    Shapes    x (n, ...) -> y, the same shape
    Forward   y = A tanh(S x), with A = 1.7159 and S = 2/3
    Backward  tanh' = 1 - tanh^2, and tanh(S x) = y / A, so

                  dy/dx = A S (1 - (y / A)^2) = (S / A) (A - y) (A + y),   dx = dy/dx * dy

              It is about 1 at x = 0 and hardly less at x = 1 and -1, where the targets of 1998
              stood: a unit that should say 1 can do so without being driven to where it is flat.
    Cache     y.
    Edges     NaN stays NaN; far out y is A or -A, and dx is 0.
    Source    LeCun, Bottou, Bengio and Haffner 1998, "Gradient-Based Learning Applied to Document
              Recognition", eq. 6 and appendix A.
    """

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        A, S = x.dtype.type(AMPLITUDE), x.dtype.type(SLOPE)
        y = A * np.tanh(S * x)
        self.keep(x, y)
        return y

    def backward(self, dy: Array) -> Array:
        y = self.kept(dy)
        A, S = y.dtype.type(AMPLITUDE), y.dtype.type(SLOPE)
        return (S / A) * (A - y) * (A + y) * dy


@register(
    gradient="dW[c] = Σ dy · (sum of the window),  db[c] = Σ dy,  and each pixel gets W[c] · dy",
    uses_blas=False,
    axes={"W": ("map",), "b": ("map",)},
)
class Subsampling2D(Layer):
    """The sum of each window, times a number that is learnt, plus another: two for each channel.

    pool_size   of the windows, which lie side by side

    Shapes    x (n, h, w, c) -> y (n, out_h, out_w, c), out_h = h // kh, out_w = w // kw
              W (c,); b (c,)
    Forward   s[n,i,j,c] = sum_{u,v} x[n, i*kh + u, j*kw + v, c],   y = W[c] * s + b[c]
    Backward  a Dense layer with one input and one output for each channel, and a sum before it:

                  dL/dW[c] = sum_{n,i,j} s dy,   dL/db[c] = sum_{n,i,j} dy
                  dL/ds = W[c] dy,   and every pixel of the window gets that whole
    Cache     s.
    Edges     rows and columns at the end that fill no window are left out, and get no gradient.
              W starts at 1 / (kh kw): the mean of the window, as AveragePool2D has it.
    Source    LeCun et al. 1998, section II.B, layers S2 and S4.
    """

    def __init__(self, pool_size: int | tuple[int, int] = 2) -> None:
        super().__init__()
        self.pool_size = self.strides = pair(pool_size, "Subsampling2D pool_size")
        self.pads = (0, 0, 0, 0)

    def shape_after(self, input_shape: Shape) -> Shape:
        h, w, c = image_shape(self, input_shape)
        _, size = fitted(self, (h, w), self.pool_size, self.pool_size, "valid")
        return (*size, c)

    def footprint(self, input_shape: Shape) -> Footprint:
        after = self.shape_after(input_shape)
        return window_footprint(input_shape, after, self.pool_size, self.pool_size, "valid")

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        return {"W": (input_shape[2],), "b": (input_shape[2],)}

    def initialize(self, rng: np.random.Generator) -> None:
        self.params["W"][:] = 1 / (self.pool_size[0] * self.pool_size[1])

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        (kh, kw), (out_h, out_w, c) = self.pool_size, self.output_shape
        windows = x[:, : out_h * kh, : out_w * kw].reshape(len(x), out_h, kh, out_w, kw, c)
        s = windows.sum(axis=(2, 4))  # (n, out_h, kh, out_w, kw, c) -> (n, out_h, out_w, c)
        self.keep(x, s)
        return self.params["W"] * s + self.params["b"]

    def backward(self, dy: Array) -> Array:
        s = self.kept(dy)
        n, ((kh, kw), (out_h, out_w, c)) = len(dy), (self.pool_size, self.output_shape)
        self.grads["W"][:] = sum_rows((s * dy).reshape(-1, c))
        self.grads["b"][:] = sum_rows(dy.reshape(-1, c))
        ds = self.params["W"] * dy
        dx = np.zeros((n, *self.input_shape), dy.dtype)
        windows = np.broadcast_to(ds[:, :, None, :, None], (n, out_h, kh, out_w, kw, c))
        dx[:, : out_h * kh, : out_w * kw] = windows.reshape(n, out_h * kh, out_w * kw, c)
        return dx

    def multiply_adds(self) -> int:
        out_h, out_w, c = self.output_shape
        return out_h * out_w * c

    def config(self) -> dict[str, Any]:
        return {"pool_size": self.pool_size}


@register(
    gradient="as Conv2D's, of the windows that there are: dW[u, v, k] = Σ x[i+u, j+v] · dy[i, j] "
    "between the two maps that k connects",
    axes={"W": ("row", "column", "connection"), "b": ("filter",)},
)
class ConnectedConv2D(Layer):
    """A convolution in which every filter sees some of the input's maps, as a table says.

    connections   for each filter, the numbers of the channels that it sees: [[0, 1], [1, 2]]

    Shapes    x (n, h, w, c) -> y (n, out_h, out_w, f), with f = len(connections)
              W (kh, kw, k), one window for each entry of the table, in its order; b (f,)
              out_h = h - kh + 1, out_w = w - kw + 1
    Forward   y[n,i,j,f] = b[f] + sum over k of f's row of the table, c being its channel:
                               sum_{u,v} x[n, i + u, j + v, c] W[u,v,k]

              With zeros where the table has no entry, the windows are weights (kh, kw, c, f) of a
              Conv2D, and the rest is as there: y = cols @ W + b.
    Backward  as in Conv2D, dW = cols.T @ dy, db = sum of dy, dx = col2im(dy @ W.T). A weight that
              is always zero is no parameter, so what dW has in those places is left out.
    Cache     cols, and W with its zeros.
    Source    LeCun et al. 1998, section II.B, layer C3 and table I: to break the symmetry, so that
              the maps are forced to extract different features, and to keep the number of
              connections within bounds.
    """

    def __init__(
        self,
        connections: Sequence[Sequence[int]],
        kernel_size: int | tuple[int, int],
        use_bias: bool = True,
        kernel_initializer: str = "glorot_uniform",
    ) -> None:
        super().__init__()
        rows = connections if isinstance(connections, (tuple, list)) else ()
        if not rows or not all(
            isinstance(row, (tuple, list)) and row and all(is_whole(c, 0) for c in row)
            for row in rows
        ):
            raise InputError(
                "ConnectedConv2D connections: expected for each filter a list of channels, found "
                f"{shown(connections)}"
            )
        self.connections = [[int(c) for c in row] for row in rows]
        if any(len(set(row)) < len(row) for row in self.connections):
            raise InputError("ConnectedConv2D connections: expected each channel once a filter")
        self.filters = len(rows)
        #: of each window: the channel that it reads, and the filter that it belongs to
        self.reads = np.array([c for row in self.connections for c in row])
        self.makes = np.array([f for f, row in enumerate(self.connections) for _ in row])
        self.kernel_size = pair(kernel_size, "ConnectedConv2D kernel_size")
        self.strides, self.pads = (1, 1), (0, 0, 0, 0)
        self.use_bias = check_flag("ConnectedConv2D use_bias", use_bias)
        self.kernel_initializer = kernel_initializer
        initializers.get(kernel_initializer)

    def shape_after(self, input_shape: Shape) -> Shape:
        h, w, c = image_shape(self, input_shape)
        most = max(map(max, self.connections))
        if most >= c:
            raise InputError(f"{self}: expected more than {most} channels, found {input_shape}")
        _, size = fitted(self, (h, w), self.kernel_size, (1, 1), "valid")
        return (*size, self.filters)

    def footprint(self, input_shape: Shape) -> Footprint:
        after, (kh, kw) = self.shape_after(input_shape), self.kernel_size
        own = window_footprint(input_shape, after, self.kernel_size, (1, 1), "valid")
        return Footprint(own.values + kh * kw * input_shape[2] * self.filters, own.reads)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        W = (*self.kernel_size, len(self.reads))
        return {"W": W, "b": (self.filters,)} if self.use_bias else {"W": W}

    def initialize(self, rng: np.random.Generator) -> None:
        W = self.params["W"]
        kh, kw, k = W.shape
        start = initializers.get(self.kernel_initializer)
        seen, makes = k / self.filters, k / self.input_shape[2]  # on the average
        W[:] = start(W.shape, kh * kw * seen, kh * kw * makes, rng, W.dtype)

    def forward(self, x: Array, training: bool = False) -> Array:
        self.check_input(x)
        n, (out_h, out_w, f), (kh, kw) = len(x), self.output_shape, self.kernel_size
        full = np.zeros((kh, kw, x.shape[3], f), x.dtype)
        full[:, :, self.reads, self.makes] = self.params["W"]
        W = full.reshape(-1, f)  # (kh*kw*c, f)

        cols = im2col(x, self.kernel_size, self.strides, self.pads)
        y = cols @ W  # (n*out_h*out_w, kh*kw*c) @ (kh*kw*c, f) -> (n*out_h*out_w, f)
        if self.use_bias:
            y += self.params["b"]

        self.keep(x, (cols, W))
        return y.reshape(n, out_h, out_w, f)

    def backward(self, dy: Array) -> Array:
        cols, W = self.kept(dy)
        n, f, (h, w, c) = len(dy), self.filters, self.input_shape
        dy = dy.reshape(-1, f)  # (n*out_h*out_w, f)

        dW = cols.T @ dy  # (kh*kw*c, n*out_h*out_w) @ (n*out_h*out_w, f) -> (kh*kw*c, f)
        dW = dW.reshape(*self.kernel_size, c, f)
        self.grads["W"][:] = dW[:, :, self.reads, self.makes]
        if self.use_bias:
            self.grads["b"][:] = sum_rows(dy)

        dcols = dy @ W.T  # (n*out_h*out_w, f) @ (f, kh*kw*c) -> (n*out_h*out_w, kh*kw*c)
        return col2im(dcols, (n, h, w, c), self.kernel_size, self.strides, self.pads)

    def multiply_adds(self) -> int:
        out_h, out_w, _ = self.output_shape
        return out_h * out_w * self.params["W"].size

    def config(self) -> dict[str, Any]:
        return {
            "connections": self.connections,
            "kernel_size": self.kernel_size,
            "use_bias": self.use_bias,
            "kernel_initializer": self.kernel_initializer,
        }
