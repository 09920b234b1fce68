"""A question of yes or no: is the digit even? One output, its logit, and binary cross-entropy."""

import numpy as np

import scratchnet as sn


def main(images: int = 60_000, epochs: int = 4, target: float = 0.98) -> None:
    (x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()
    x_train, even_train = x_train[:images], y_train[:images] % 2 == 0  # (n,) of True and False

    model = sn.Sequential(
        [
            *(sn.Conv2D(8, 3), sn.ReLU(), sn.MaxPool2D(2)),
            *(sn.Flatten(), sn.Dense(32), sn.ReLU(), sn.Dense(1)),
        ],
        input_shape=(28, 28, 1),
        seed=0,
    )
    loss = sn.losses.BinaryCrossentropy(from_logits=True)
    model.compile(sn.Nadam(0.002), loss, metrics=["accuracy", "precision", "recall", "f1"])
    model.fit(x_train, even_train, batch_size=64, epochs=epochs)

    found = model.evaluate(x_test, y_test % 2 == 0, return_dict=True)
    logits = model.predict(x_test)[:, 0]  # above 0 is a probability above one half
    hardest = np.argsort(np.abs(logits))[:5]
    print(f"least sure of {', '.join(f'a {y_test[i]}' for i in hardest)}")
    accuracy = found["accuracy"]
    assert accuracy >= target, f"expected at least {target:.1%}, found {accuracy:.1%}"


if __name__ == "__main__":
    main()
