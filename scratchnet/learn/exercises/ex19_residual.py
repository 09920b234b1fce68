"""19. Residual: a way around.

About 15 minutes. Lesson 9. The package's own: scratchnet/layers/residual.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#network/model=resnet/residual

A block of layers, F, and a way past it:

Forward   y = F(x) + x                      so F(x) must have x's shape
Backward  x is used twice, so it collects the gradient of both uses, and a sum hands its gradient on
          to both of its terms:

              dx  =  (dy, back through F)  +  dy

However small the first term has become after many layers, dy itself arrives. So the first layers of
a deep network learn, too.

The block has no arrays of its own: those of the inner layers stay with them.

    scratchnet learn check 19        scratchnet learn hint 19
"""


class Residual:
    def __init__(self, layers):
        self.layers = layers
        self.params, self.grads, self.buffers = {}, {}, {}

    def forward(self, x, training=False):
        # TODO: through the inner layers, and x added
        y = x
        for layer in self.layers:
            y = layer.forward(y, training)
        return y + x
        # END

    def backward(self, dy):
        # TODO: back through the inner layers, and dy added
        dx = dy
        for layer in reversed(self.layers):
            dx = layer.backward(dx)
        return dx + dy
        # END
