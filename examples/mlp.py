"""No convolution at all: one hidden layer, AdamW, and a one-cycle learning rate."""

import scratchnet as sn


def main(images: int = 60_000, epochs: int = 5, target: float = 0.975) -> None:
    (x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()
    x_train, y_train = x_train[:images], y_train[:images]

    model = sn.Sequential(
        [sn.Flatten(), sn.Dense(128, kernel_initializer="he_normal"), sn.ReLU(), sn.Dense(10)],
        input_shape=(28, 28),
        seed=0,
    )
    batch_size = 128
    steps = epochs * -(-len(x_train) // batch_size)
    model.compile(
        sn.AdamW(sn.schedules.OneCycle(peak=0.005, steps=steps), weight_decay=0.01),
        sn.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    model.fit(x_train, y_train, batch_size, epochs)

    _, test_accuracy = model.evaluate(x_test, y_test)
    assert test_accuracy >= target, f"expected at least {target:.1%}, found {test_accuracy:.1%}"


if __name__ == "__main__":
    main()
