"""The MNIST CNN in the lines that a Keras user knows: build, compile, fit, evaluate, predict."""

import scratchnet as sn


def main(images: int = 60_000, epochs: int = 5, target: float = 0.985) -> None:
    (x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()
    x_train, y_train = x_train[:images], y_train[:images]

    model = sn.Sequential(
        [
            sn.Conv2D(32, 3),
            sn.ReLU(),
            sn.MaxPool2D(2),
            sn.Conv2D(64, 3),
            sn.ReLU(),
            sn.MaxPool2D(2),
            sn.Flatten(),
            sn.Dense(64),
            sn.ReLU(),
            sn.Dense(10),
            sn.Softmax(),
        ],
        input_shape=(28, 28, 1),
        seed=0,
    )
    model.summary()
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x_train, y_train, epochs=epochs, batch_size=128, validation_split=0.3)

    _, test_accuracy = model.evaluate(x_test, y_test)
    print("the first ten test digits read as", model.predict(x_test[:10]).argmax(axis=1))
    assert test_accuracy >= target, f"expected at least {target:.1%}, found {test_accuracy:.1%}"


if __name__ == "__main__":
    main()
