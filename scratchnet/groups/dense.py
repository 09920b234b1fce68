"""The dense layer and the ReLU behind it."""

from collections.abc import Sequence

import numpy as np

from ..kernels.memory import flat_with_slack, padded
from ..layers import Layer
from .base import Array, Gradients, Group


class DenseRelu(Group):
    """A Dense layer, and the ReLU behind it if there is one."""

    kernel = "product, bias and ReLU in one pass"
    only_kernels = True

    def __init__(self, layers: Sequence[Layer], gradients: Gradients) -> None:
        super().__init__(layers, gradients)
        self.relu = len(layers) > 1
        self.d, self.units = layers[0].input_shape[0], layers[0].units
        self.dp = padded(self.d, self.dtype)
        self.up = padded(self.units, self.dtype)

    def product(
        self,
        a: Array,
        row: int,
        col: int,
        b: Array,
        c: Array,
        k: int,
        *,
        ldb: int | None = None,
        bias: Array | None = None,
        relu: bool = False,
        sparse: bool = False,
    ) -> None:
        """c (m, width) = a (m, k) @ b (k, width), a given by its strides; + bias and ReLU.

        sparse: a may have zeros in plenty, and where it has they are passed over. ldb: how long a
        row of b is where b is flat.
        """
        m, width = c.shape
        flat, places, counts = a.reshape(-1), None, None
        if sparse and width >= self.fused.LIST_FROM and k > 0:
            blocks, parts = -(-m // 4), -(-k // self.fused.TERMS)
            places = self.buffer("places", (blocks * k,), np.int32)
            counts = self.buffer("counts", (blocks * parts,), np.int32)
            bits = flat.view(f"i{flat.itemsize}")
            self.fused.list_terms(bits, row, col, m, k, places, counts)
        self.fused.product(
            (0,) * 4,
            (0,),
            self.lane,
            flat,
            row,
            col,
            b.reshape(-1),
            b.shape[1] if ldb is None else ldb,
            c.reshape(-1),
            width,
            m,
            width,
            k,
            self.buffer("zeros", (width,)) if bias is None else bias,
            relu,
            places,
            counts,
        )

    def forward(self, x: Array, training: bool) -> Array:
        self.layers[0].check_input(x)
        self.x = self.contiguous("x", x)
        # read in whole vectors, beyond a row: into the next one, or behind the array where there
        # is room; what comes of it is in columns that nobody looks at
        b = self.params.get("b")
        behind = None if b is None else flat_with_slack(b)
        b = self.bias(self.up) if behind is None else behind
        W, ldb = flat_with_slack(self.params["W"]), self.units
        if W is None:
            W, ldb = self.columns("w", self.params["W"], self.up), self.up
        y = self.buffer("y", (len(x), self.up))
        self.product(self.x, self.d, 1, W, y, self.d, ldb=ldb, bias=b, relu=self.relu, sparse=True)
        self.y = y[:, : self.units]
        return self.y

    def backward(self, dy: Array, need_dx: bool) -> Array | None:
        n = len(dy)
        dz, db = self.buffer("dz", (n, self.up)), self.buffer("db", (self.up,))
        flat = self.contiguous("dy in one", dy).reshape(-1)
        y = self.memory["y"]
        self.fused.relu_gradient(flat, y, self.relu, n, self.units, self.up, dz.reshape(-1), db)
        whole = self.up == self.units
        dW = self.grads["W"] if whole else self.buffer("dw", (self.d, self.up))
        self.product(self.x, 1, self.d, dz, dW, n, sparse=True)  # x.T @ dz
        if not whole:
            self.grads["W"][:] = dW[:, : self.units]
        if "b" in self.grads:
            self.grads["b"][:] = db[: self.units]
        if not need_dx:
            return None
        wt = self.buffer("wt", (self.units, self.dp))
        wt[:, : self.d] = self.params["W"].T
        dx = self.dx((n, self.dp))  # dy is in dz
        self.product(dz, self.up, 1, wt, dx, self.units)  # dz @ W.T
        return dx[:, : self.d]
