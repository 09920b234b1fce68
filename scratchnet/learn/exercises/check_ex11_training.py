"""Batches, both passes of a network, the loop against one written here; then digits are learnt."""

import numpy as np

import scratchnet as sn

TITLE = "Training"
MINUTES = 45
LESSON = 5
READ = "training.py"
SECONDS = 90
HINTS = (
    "forward: x = layer.forward(x, training) for each layer, and return x after the loop. "
    "backward: the same with dy, for layer in reversed(self.layers), and return dy.",
    "batches: order = rng.permutation(len(x)) once, then for start in range(0, len(x), size): the "
    "places order[start : start + size], of x and of y. A slice beyond the end is just shorter.",
    "train: in the inner loop total += len(some_y) * loss.forward(...), then "
    "network.backward(loss.backward()), then optimizer.step(network). After it, append "
    "total / len(y).",
)


class Spy:
    """A layer that lets everything through and notes how it was called."""

    def __init__(self):
        self.params, self.grads, self.buffers = {}, {}, {}
        self.calls = []

    def forward(self, x, training=False):
        self.calls.append(("forward", len(x), training))
        return x

    def backward(self, dy):
        self.calls.append(("backward", len(dy)))
        return dy


def check(learner, trial):
    _batches(learner, trial)
    rng, Dense, ReLU = trial.rng, *_layers(trial)
    network = learner.Network([Dense(5, 4, rng), ReLU(), Dense(4, 3, rng)])
    x = rng.standard_normal((6, 5))
    right = np.maximum(x @ network.layers[0].params["W"], 0) @ network.layers[2].params["W"]
    trial.same("Network.forward", network.forward(x), right)
    trial.layer(network, x)
    _loop(learner, trial)
    _digits(learner, trial)


def _layers(trial):
    return trial.file("ex04_dense_backward").Dense, trial.file("ex05_relu").ReLU


def _batches(learner, trial):
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    epochs = []
    for _ in range(2):
        found = list(learner.batches(x, y, 4, trial.rng))
        sizes = [len(some) for some, _ in found]
        trial.that(
            sizes == [4, 4, 2],
            f"batches: 10 examples, 4 at a time: expected batches of 4, 4 and 2, found {sizes}",
        )
        order = np.concatenate([labels for _, labels in found])
        trial.that(
            sorted(order) == list(range(10)),
            f"batches: expected every example once in an epoch, found the labels {order.tolist()}",
        )
        images = np.concatenate([some for some, _ in found])
        trial.that(
            np.array_equal(images[:, 0], 2 * order),
            "batches: an image has another image's label; both must be taken in the same order",
        )
        epochs.append(order.tolist())
    trial.that(epochs[0] != list(range(10)), "batches: the examples come in their old order")
    trial.that(epochs[0] != epochs[1], "batches: two epochs have the same order")
    trial.done("batches")


def _loop(learner, trial):
    spy, Dense = Spy(), trial.file("ex04_dense_backward").Dense
    Loss, SGD = trial.file("ex07_softmax_loss").SoftmaxCrossEntropy, trial.file("ex08_sgd").SGD
    network = learner.Network([spy, Dense(3, 2, trial.rng)])
    x, y = trial.rng.standard_normal((7, 3)), trial.rng.integers(0, 2, 7)
    learner.train(network, Loss(), SGD(0.1), x, y, 2, 3, trial.rng)
    forward = [call for call in spy.calls if call[0] == "forward"]
    backward = [call for call in spy.calls if call[0] == "backward"]
    trial.that(
        [n for _, n, _ in forward] == [3, 3, 1] * 2 and len(backward) == 6,
        "train: 7 examples, 3 at a time, 2 epochs: expected 6 batches, each once forward and once "
        f"backward; found {len(forward)} forward and {len(backward)} backward",
    )
    trial.that(
        all(training is True for *_, training in forward),
        "train: expected forward with training=True, which dropout and BatchNorm need later",
    )
    # all examples in one batch: their order does not matter, and the numbers are known
    mine, theirs = Dense(3, 2, trial.rng), Dense(3, 2, trial.rng)
    for name in mine.params:
        theirs.params[name][:] = mine.params[name]
    network = learner.Network([mine])
    found = learner.train(network, Loss(), SGD(0.5), x, y, 4, 7, trial.rng)
    right, expected = sn.losses.SparseCategoricalCrossentropy(from_logits=True), []
    for _ in range(4):
        expected.append(right.forward(x @ theirs.params["W"] + theirs.params["b"], y))
        dy = right.backward()
        theirs.params["W"] -= 0.5 * x.T @ dy
        theirs.params["b"] -= 0.5 * dy.sum(axis=0)
    traps = {
        "the parameters stay as they are: is there a step?": [expected[0]] * 4,
        "the loss is added up over the examples; its mean is asked for": 7 * np.array(expected),
    }
    trial.same("train: the loss of 4 epochs", found, np.array(expected), traps=traps)
    trial.same("train: W after 4 epochs", mine.params["W"], theirs.params["W"])
    # a smaller last batch, and a rate of 0: the mean over the examples is that of all at once
    found = learner.train(network, Loss(), SGD(0.0), x, y, 1, 3, trial.rng)
    right = right.forward(network.forward(x), y)
    trial.same("train: the mean loss with a smaller last batch", found, np.array([right]))


def _digits(learner, trial):
    Dense, ReLU = _layers(trial)
    Loss, Adam = trial.file("ex07_softmax_loss").SoftmaxCrossEntropy, trial.file("ex10_adam").Adam
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    x, y = x[:6000].reshape(-1, 784) / 255, y[:6000].astype(int)
    x_test, y_test = x_test[:2000].reshape(-1, 784) / 255, y_test[:2000]
    network = learner.Network([Dense(784, 32, trial.rng), ReLU(), Dense(32, 10, trial.rng)])
    learner.train(network, Loss(), Adam(0.003), x, y, 3, 32, trial.rng)
    accuracy = (network.forward(x_test).argmax(axis=1) == y_test).mean()
    trial.that(
        accuracy >= 0.85, f"expected at least 85 % of the digits right, found {accuracy:.1%}"
    )
    trial.done(f"digits read after 3 epochs: {accuracy:.1%}")
