"""The training loop in the open: gradients, then a step, batch after batch."""

import numpy as np

import scratchnet as sn


def main(images: int = 60_000, epochs: int = 2, target: float = 0.98) -> None:
    (x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()
    x_train, y_train = x_train[:images], y_train[:images]

    model = sn.architectures.build("cnn", seed=0)
    model.compile(loss="sparse_categorical_crossentropy")
    optimizer = sn.Adam(learning_rate=0.002)
    rng = np.random.default_rng(0)

    for epoch in range(epochs):
        losses = []
        for x, y in sn.batches(x_train, y_train, batch_size=128, rng=rng):
            loss = model.loss_and_gradients(x, y)
            optimizer.step(model)
            losses.append(loss)
        largest = max(abs(layer.grads["W"]).max() for layer in model.layers if layer.grads)
        print(f"epoch {epoch + 1}: mean loss {np.mean(losses):.4f}, largest dW {largest:.4f}")

    accuracy = np.mean(model.predict(x_test, batch_size=256).argmax(axis=1) == y_test)
    print(f"test accuracy {accuracy:.2%}")
    assert accuracy >= target, f"expected at least {target:.1%}, found {accuracy:.1%}"


if __name__ == "__main__":
    main()
