"""The learner's own layers, in a network that they chose, on MNIST's test images."""

import numpy as np

import scratchnet as sn

TITLE = "A network of your own reads digits"
MINUTES = 60
LESSON = 8
READ = "architectures.py"
SECONDS = 240
HINTS = (
    "A list of layers in this order: Conv2D(1, 16, 5, 5, 2, 0, rng), ReLU(), MaxPool2D(2, 2), "
    "Flatten(), Dense(576, 10, rng).",
    "fit: train(network, SoftmaxCrossEntropy(), Adam(0.005), x, y, 1, 32, rng). If it does not "
    "learn, try a smaller rate; if it learns and is too slow, fewer images.",
    "Too slow? Look for loops over images, or over single pixels: everything but the window's "
    "places, or the positions, should be whole arrays.",
)
LEAST = 0.97


def check(learner, trial):
    network = learner.build(trial.rng)
    layers = _leaves(network)
    kinds = {type(layer).__name__ for layer in layers}
    trial.that(
        {"Conv2D", "MaxPool2D"} <= kinds,
        f"build: expected your own Conv2D and MaxPool2D in the network, found {sorted(kinds)}",
    )
    theirs = [k for k in layers if type(k).__module__.split(".")[0] == "scratchnet"]
    trial.that(not theirs, "build: expected layers of your own alone, found some of scratchnet's")
    x = trial.rng.uniform(0, 1, (2, 28, 28, 1))
    scores = trial.array("the scores of two images", network.forward(x), (2, 10))
    trial.that(
        not np.allclose(scores.sum(axis=1), 1),
        "build: expected scores, found rows that add up to 1; the softmax is in your loss",
    )
    trial.that(network.flat_params.size > 0, "build: expected a Network, with flat_params")
    trial.done("build")
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    x, y = x.reshape(-1, 28, 28, 1) / np.float32(255), y.astype(int)
    learner.fit(network, x, y, trial.rng)
    trial.done("fit")
    right = 0
    for first in range(0, len(x_test), 500):
        some = x_test[first : first + 500].reshape(-1, 28, 28, 1) / np.float32(255)
        right += int((network.forward(some).argmax(axis=1) == y_test[first : first + 500]).sum())
    trial.that(
        right >= LEAST * len(x_test),
        f"expected at least {LEAST:.0%} of the test digits right, found {right / len(x_test):.2%}",
        ["more epochs or images? a larger or smaller learning rate? another filter or two?"],
    )
    trial.done(f"test digits right: {right / len(x_test):.2%}")


def _leaves(network):
    inner = getattr(network, "layers", None)
    return [network] if inner is None else [leaf for part in inner for leaf in _leaves(part)]
