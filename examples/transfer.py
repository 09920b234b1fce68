"""Transfer learning: a network that knows 0 to 4 learns 5 to 9 from a handful of examples.

What its convolutions have learnt, strokes and their ends and crossings, is good for other figures
as well. So a new last layer learns on top of them while they are frozen, from 20 images of each
figure, and reads far more than a network that begins from nothing with the same images.
"""

import numpy as np

import scratchnet as sn


def main(images: int = 60_000, epochs: int = 2, examples: int = 20, target: float = 0.89) -> None:
    (x_train, y_train), (x_test, y_test) = sn.datasets.mnist.load_data()
    x_train, y_train = x_train[:images], y_train[:images]
    known, known_test = y_train < 5, y_test < 5

    base = sn.architectures.build("cnn", classes=5, seed=0)
    base.compile(sn.Adam(0.002), "sparse_categorical_crossentropy", metrics=["accuracy"])
    base.fit(x_train[known], y_train[known], batch_size=128, epochs=epochs, verbose=2)
    _, before = base.evaluate(x_test[known_test], y_test[known_test], verbose=0)

    # up to Flatten: the base's own layers, with its weights
    network = sn.Sequential(base.layers[:-4] + [sn.Dense(5), sn.Softmax()], (28, 28, 1), seed=1)
    for layer in network.layers[:-2]:
        layer.trainable = False
    network.summary()
    beginner = sn.architectures.build("cnn", classes=5, seed=1)

    # the new figures are classes 0 to 4 of the new network
    chosen = np.concatenate([np.flatnonzero(y_train == k)[:examples] for k in range(5, 10)])
    x, y = x_train[chosen], y_train[chosen] - 5
    found = []
    for name, model in (("frozen base", network), ("from nothing", beginner)):
        model.compile(sn.Adam(0.002), "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, batch_size=10, epochs=20, verbose=0)
        _, accuracy = model.evaluate(x_test[~known_test], y_test[~known_test] - 5, verbose=0)
        print(f"5 to 9 after {len(x)} images, {name}: {accuracy:.2%}")
        found.append(accuracy)

    _, after = base.evaluate(x_test[known_test], y_test[known_test], verbose=0)
    print(f"0 to 4 with the base, before and after: {before:.2%}, {after:.2%}")
    assert after == before, "expected the base to stay as it was"
    assert found[0] >= target, f"expected at least {target:.1%}, found {found[0]:.1%}"


if __name__ == "__main__":
    main()
