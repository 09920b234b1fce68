"""11. Training: forward, loss, backward, step, and again.

About 45 minutes. Lesson 5. The package's own: scratchnet/model.py and scratchnet/training.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#guide/train

Four functions, and your layers learn to read digits. The check trains a network of your own Dense
and ReLU, with your loss and your Adam, on 6,000 digits of MNIST; it must read 85 of 100 others.

Forward    The output of each layer is the input of the next. Hand `training` on to each.
Backward   The same in reverse: each layer's dx is the dy of the layer before it.

Batches    The gradient of a few examples is nearly that of all, and costs less. So each epoch goes
           through all examples once, in a new random order, `size` at a time; the last batch is as
           small as what is left. rng.permutation(n) is 0 ... n-1 in a random order, and x[order]
           are the rows of x in that order. A label must stay with its image.

Train      for every batch: the network's output; the loss; its gradient, backward through the
           network; a step of the optimizer. The function returns a list with each epoch's mean
           loss over the *examples*: a last, smaller batch counts for less.

`Network` puts all parameters into one array, as the optimizers want it. That part is written.

    scratchnet learn check 11        scratchnet learn hint 11
"""

import numpy as np


class Network:
    def __init__(self, layers):
        self.layers = layers
        self.flat_params, self.flat_grads = one_array(layers, "params"), one_array(layers, "grads")

    def forward(self, x, training=False):
        # TODO: through all layers
        for layer in self.layers:
            x = layer.forward(x, training)
        return x
        # END

    def backward(self, dy):
        # TODO: back through all layers
        for layer in reversed(self.layers):
            dy = layer.backward(dy)
        return dy
        # END


def one_array(layers, store):
    """Move all arrays of the layers' `store` into one; the layers keep windows into it."""
    dicts = [getattr(leaf, store) for layer in layers for leaf in leaves(layer)]
    arrays = [array.ravel() for arrays in dicts for array in arrays.values()]
    flat = np.concatenate([*arrays, np.zeros(0)])
    at = 0
    for arrays in dicts:
        for name, array in arrays.items():
            arrays[name] = flat[at : at + array.size].reshape(array.shape)
            at += array.size
    return flat


def leaves(layer):
    """The layer; or, of one that is made of layers, those."""
    inner = getattr(layer, "layers", None)
    return [layer] if inner is None else [leaf for part in inner for leaf in leaves(part)]


def batches(x, y, size, rng):
    """One epoch: (x, y) of so many examples at a time, in random order, each example once."""
    # TODO: a random order, then a loop with `yield`
    order = rng.permutation(len(x))
    for start in range(0, len(x), size):
        chosen = order[start : start + size]
        yield x[chosen], y[chosen]
    # END


def train(network, loss, optimizer, x, y, epochs, size, rng):
    """So many epochs; returns the mean loss of each."""
    # TODO: for every epoch, for every batch: forward (training=True), loss, backward, step
    losses = []
    for _ in range(epochs):
        total = 0.0
        for some_x, some_y in batches(x, y, size, rng):
            total += len(some_y) * loss.forward(network.forward(some_x, training=True), some_y)
            network.backward(loss.backward())
            optimizer.step(network)
        losses.append(total / len(y))
    return losses
    # END
