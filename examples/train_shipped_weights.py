"""Make the weights of the reader that ships with the package: `cnn` on MNIST, as pens write it.

`python train_shipped_weights.py FILE` writes them to FILE: with the same versions, on the same kind
of processor, the same bits. Of the 60,000 training images 55,000 are learnt from, each as it is and
rewritten with another pen, some of them turned. The others are photographed, and the temperature
that makes the confidence of what is read in them true is put into the last layer's weights. It
takes some five minutes of one processor's time.
"""

import sys

import numpy as np

import scratchnet as sn
from scratchnet.datasets.photos import judging

LEARNT = 55_000
PART, PHOTOGRAPHED = 5000, 300  # images that one generator rewrites, and photographs


def rewritten(x):
    parts = [
        judging.rewritten(x[start : start + PART], np.random.default_rng([0, k, 0]))
        for k, start in enumerate(range(0, len(x), PART))
    ]
    return np.concatenate(parts)


def calibrated(model, x, y):
    """Cool the model to be as sure as it is right of photographs of the digits x."""
    seen, labels = [], []
    for k, start in enumerate(range(0, len(x), PHOTOGRAPHED)):
        part = slice(start, start + PHOTOGRAPHED)
        images, which = judging.photographed(x[part], np.random.default_rng([0, k, 4]))
        seen.append(images)
        labels.append(y[part][which])
    read, labels = model.predict(np.concatenate(seen)), np.concatenate(labels)
    temperature = sn.calibration.fitted_temperature(read, labels)
    sn.calibration.set_temperature(model, temperature)
    right = (read.argmax(axis=1) == labels).mean()
    print(f"of {len(read)} photographs {right:.2%} are read; temperature {temperature:.3f}")


def main(
    out: str,
    images: int = LEARNT,
    epochs: int = 12,
    photographs: int = 900,
    momentum: float = 0.999,
    target: float = 0.994,
) -> None:
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    held_x, held_y = x[LEARNT : LEARNT + photographs], y[LEARNT : LEARNT + photographs]
    x, y = np.concatenate([x[:images], rewritten(x[:images])]), np.tile(y[:images], 2)

    model = sn.architectures.build("cnn", seed=0)
    batch_size = 128
    rate = sn.schedules.OneCycle(3e-3, steps=epochs * -(-len(x) // batch_size))
    decay = {"weight_decay": 0.01, "exclude_from_weight_decay": ("b",)}
    optimizer = sn.AdamW(rate, **decay, use_ema=True, ema_momentum=momentum)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    moved = sn.datasets.augmentation.Augmentation(rotation=12, scale=0.1, shear=0.2, shift=1)
    model.fit(x, y, batch_size, epochs, augment=moved)

    calibrated(model, held_x, held_y)
    _, test_accuracy = model.evaluate(x_test, y_test)
    assert test_accuracy >= target, f"expected at least {target:.1%}, found {test_accuracy:.1%}"
    model.save(out)


if __name__ == "__main__":
    main(sys.argv[1])
