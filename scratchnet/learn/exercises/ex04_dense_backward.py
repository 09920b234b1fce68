"""4. Dense, backward: the chain rule through a matrix product.

About 30 minutes. Lesson 2. The package's own: scratchnet/layers/dense.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#backward/dense

L is the loss, one number, at the end of the network. Whoever calls `backward` knows how L depends
on this layer's output, and hands in

    dy[n, j] = dL/dy[n, j]            the shape of y

and wants to know how L depends on the layer's input, and on its parameters:

    dx[n, i] = dL/dx[n, i]            the shape of x; it is returned
    dW[i, j] = dL/dW[i, j]            into self.grads["W"]
    db[j]    = dL/db[j]               into self.grads["b"]

Derive them. Each W[i, j] is in the sums of all n examples,  y[n, j] = ... + x[n, i] W[i, j] + ...,
and by the chain rule every one of them counts:

    dL/dW[i, j]  =  sum over n of  dy[n, j] * (how y[n, j] changes with W[i, j])

Do the same for b[j] and for x[n, i] (in which outputs is it?), then write the three sums as matrix
products. The shapes nearly force them.

- `backward` needs x: keep it in `forward`.
- Overwrite the arrays in self.grads, `self.grads["W"][:] = ...`; do not put new ones in their
  place, for others hold the old ones. Do not add to them either: each call is a new gradient.
- Nothing here is divided by n. The loss does that, later, and once.

    scratchnet learn check 4        scratchnet learn hint 4
"""

from ex03_dense_forward import Dense as Forward


class Dense(Forward):
    """Your Dense from before, which goes backward, too."""

    def forward(self, x, training=False):
        # TODO: keep what backward will need
        self.x = x
        # END
        return super().forward(x, training)

    def backward(self, dy):
        """dy (n, units) -> dx (n, d); dW and db go into self.grads"""
        # TODO: three products or sums
        self.grads["W"][:] = self.x.T @ dy  # (d, n) @ (n, units) -> (d, units)
        self.grads["b"][:] = dy.sum(axis=0)  # (n, units) -> (units,)
        return dy @ self.params["W"].T  # (n, units) @ (units, d) -> (n, d)
        # END
