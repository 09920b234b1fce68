"""MaxPool2D against the package's own and numeric gradients; overlapping windows, and ties."""

import numpy as np

import scratchnet as sn

TITLE = "MaxPool2D"
MINUTES = 40
LESSON = 7
READ = "layers/pool.py"
HINTS = (
    "Loop over the positions i and j. x[:, top : top + size, left : left + size] is one window of "
    "all images; reshape it to (n, size * size, c), take max and argmax over axis 1.",
    "backward: winner = self.winners[:, i, j] is (n, c). Its row in the image is i * stride + "
    "winner // size, its column j * stride + winner % size.",
    "To add to one pixel of each image and channel: dx[image, row, column, channel] += dy[:, i, j] "
    "with image = np.arange(n)[:, None] and channel = np.arange(c). No pair comes twice in it.",
)


def check(learner, trial):
    for n, h, w, c, size, stride in (
        (2, 4, 6, 2, 2, 2),
        (1, 5, 5, 1, 3, 2),
        (2, 4, 4, 3, 2, 1),
        (1, 7, 5, 2, 2, 3),
    ):
        # all values are different, and far from one another
        x = trial.rng.permutation(n * h * w * c).reshape(n, h, w, c) / 7.0
        layer = learner.MaxPool2D(size, stride)
        right = trial.right(sn.MaxPool2D(size, strides=stride), layer, (h, w, c))
        trial.layer(layer, x, right, what=f"size {size}, stride {stride}")
    x, dy = np.zeros((1, 2, 4, 1)), np.array([3.0, 5.0]).reshape(1, 1, 2, 1)
    layer = learner.MaxPool2D(2, 2)
    layer.forward(x)
    first, last, every = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    first[0, 0, 0, 0], first[0, 0, 2, 0] = 3, 5
    last[0, 1, 1, 0], last[0, 1, 3, 0] = 3, 5
    every[0, :, :2], every[0, :, 2:] = 3, 5
    traps = {
        "the last of equals wins; the first one should": last,
        "all of equals get the gradient; only the first should": every,
        "the gradient is shared among equals; the first should get all": every / 4,
    }
    trial.same("MaxPool2D.backward where all are equal", layer.backward(dy), first, traps=traps)
