"""Make the weights of the judge: the network that says what is no digit, or several.

`python train_shipped_judge.py FILE` writes them to FILE. Letters come from the free fonts of
Debian's packages; the command names those that are not there, for `apt install`.
With the same fonts, the same versions and the same kind of processor it makes the same bits, in
some five minutes of one processor's time.
"""

import sys

import numpy as np

import scratchnet as sn
from scratchnet.datasets.photos import judging

NAMES = [*"0123456789", "no digit", "several digits"]


def in_parts(count, part, kind, make):
    """What `make(start, stop, rng)` returns for parts of range(count), put together."""
    parts = []
    for k, start in enumerate(range(0, count, part)):
        stop = min(start + part, count)
        parts.append(make(start, stop, np.random.default_rng([0, k, kind])))
        print(f"{stop:,} of {count:,} images made", flush=True)
    return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def images_for(x, y, others, printed, pages):
    """MNIST's digits rewritten with other pens, digits of fonts; what is none; empty pages."""

    def papers(a, b, rng):
        found = np.repeat(judging.papers(b - a, rng), 4, axis=0)
        return found, np.full(len(found), judging.NOT_A_DIGIT)

    sets = [
        in_parts(len(x), 5000, 0, lambda a, b, rng: (judging.rewritten(x[a:b], rng), y[a:b])),
        in_parts(others, 5000, 1, lambda a, b, rng: judging.others(x, b - a, rng)),
        in_parts(printed, 2000, 2, lambda a, b, rng: judging.printed(b - a, rng)),
        in_parts(pages, 150, 3, papers),
    ]
    return tuple(np.concatenate(arrays) for arrays in zip(*sets, strict=True))


def main(
    out: str,
    images: int = 55_000,
    others: int = 40_000,
    printed: int = 8_000,
    pages: int = 300,
    epochs: int = 8,
    momentum: float = 0.999,
    target: float = 0.9,
) -> None:
    (x, y), _ = sn.datasets.mnist.load_data()
    held_x = x[55_000:]
    x, y = images_for(x[:images], y[:images].astype(np.int64), others, printed, pages)

    model = sn.architectures.build("cnn", classes=len(NAMES), seed=0)
    model.class_names = NAMES
    batch_size = 128
    rate = sn.schedules.OneCycle(3e-3, steps=epochs * -(-len(x) // batch_size))
    decay = {"weight_decay": 0.01, "exclude_from_weight_decay": ("b",)}
    optimizer = sn.AdamW(rate, **decay, use_ema=True, ema_momentum=momentum)
    model.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    moved = sn.datasets.augmentation.Augmentation(rotation=12, scale=0.1, shear=0.2, shift=1)
    model.fit(x, y, batch_size, epochs, augment=moved)

    rng = np.random.default_rng(5)
    none, labels = judging.others(held_x, max(200, others // 40), rng)
    kept = model.predict(held_x)[:, :10].sum(axis=1) > 0.5
    found = model.predict(none)[:, 10:].sum(axis=1) > 0.5
    several = model.predict(none[labels == judging.SEVERAL]).argmax(axis=1) == judging.SEVERAL
    print(f"of held-out digits {kept.mean():.2%} are taken for one digit")
    print(f"of other things {found.mean():.2%} are not, of several digits {several.mean():.2%}")
    assert found.mean() >= target, f"expected at least {target:.1%}, found {found.mean():.1%}"
    model.save(out)


if __name__ == "__main__":
    main(sys.argv[1])
