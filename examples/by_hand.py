"""A network without a model class: layers called in a row, and backward in reverse.

This is everything that happens in training. What `Sequential` adds is convenience.
"""

import numpy as np

import scratchnet as sn


def main(images: int = 60_000, epochs: int = 1, target: float = 0.95) -> None:
    (x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()
    x_train, y_train = x_train[:images], y_train[:images]
    rng = np.random.default_rng(0)

    layers = [
        sn.Conv2D(8, 5, strides=2),
        sn.ReLU(),
        sn.MaxPool2D(2),
        sn.Flatten(),
        sn.Dense(32),
        sn.ReLU(),
        sn.Dense(10),
    ]
    shape = (28, 28, 1)
    for layer in layers:
        shape = layer.build(shape, rng)

    def logits_of(x: np.ndarray) -> np.ndarray:
        y = (x / np.float32(255)).reshape(-1, 28, 28, 1)  # (n, 28, 28) -> (n, 28, 28, 1)
        for layer in layers:
            y = layer.forward(y)
        return y

    learning_rate = 0.1
    for epoch in range(epochs):
        for x, labels in sn.batches(x_train, y_train, batch_size=32, rng=rng):
            logits = logits_of(x)  # (n, 10)

            # softmax and cross-entropy, and their gradient with respect to the logits
            probs = sn.layers.softmax(logits)
            rows = np.arange(len(labels))
            loss = -np.log(probs[rows, labels]).mean()
            dy = probs
            dy[rows, labels] -= 1
            dy /= len(labels)

            for layer in reversed(layers):
                dy = layer.backward(dy)

            for layer in layers:
                for name in layer.params:
                    layer.params[name] -= learning_rate * layer.grads[name]
        print(f"epoch {epoch + 1}: loss of the last batch {loss:.4f}")

    accuracy = np.mean(logits_of(x_test).argmax(axis=1) == y_test)
    print(f"test accuracy {accuracy:.2%}")
    assert accuracy >= target, f"expected at least {target:.1%}, found {accuracy:.1%}"


if __name__ == "__main__":
    main()
