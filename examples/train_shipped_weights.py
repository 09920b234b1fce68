"""Make the weights that ship with the package: `cnn` on all 60,000 training images.

`python train_shipped_weights.py FILE` writes them to FILE: on the same machine and with the same
version the same bits. The shipped file was made with an earlier version of the kernels.
"""

import sys

import scratchnet as sn


def main(out: str, images: int = 60_000, epochs: int = 12, target: float = 0.99) -> None:
    (x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()
    x_train, y_train = x_train[:images], y_train[:images]

    model = sn.architectures.build("cnn", seed=0)
    batch_size = 128
    steps = epochs * -(-len(x_train) // batch_size)
    model.compile(
        sn.Adam(sn.schedules.OneCycle(peak=3e-3, steps=steps)),
        "sparse_categorical_crossentropy",
        ["accuracy"],
    )
    model.fit(x_train, y_train, batch_size, epochs)
    _, test_accuracy = model.evaluate(x_test, y_test)
    assert test_accuracy >= target, f"expected at least {target:.1%}, found {test_accuracy:.1%}"
    model.save(out)


if __name__ == "__main__":
    main(sys.argv[1])
