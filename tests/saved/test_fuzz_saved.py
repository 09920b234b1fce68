"""Files with a right checksum and any content: they load, or are refused in one line, soon.

SCRATCHNET_FUZZ_INPUTS sets how many inputs each test tries; without it, a time budget ends it.
"""

import copy
import os
import random
import resource
import time

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError, checkpoint
from scratchnet.callbacks import BackupAndRestore, EarlyStopping

INPUTS = int(os.environ.get("SCRATCHNET_FUZZ_INPUTS", "0"))
BUDGET = 40  # seconds for each test without it
LONGEST = 5  # seconds for one input
VALUES = [
    None,
    True,
    "",
    "x",
    "same",
    "\ud800",
    "a" * 30_000,
    [],
    {},
    [1],
    [1, 2, 3],
    [[1, 2], [3]],
]
VALUES += [-1, 0, 1, 2, 3, 1.5, 255, 10_001, 20_000, 2**31 - 1, 2**63, 10**400, -(10**30)]
VALUES += [float("nan"), float("inf"), "float64", "Conv2D", "Residual", {"kind": "ReLU"}]


def places(thing, path=()):
    """The paths to all that is in it."""
    inside = thing.items() if isinstance(thing, dict) else enumerate(thing)
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


def mutated(rng, thing):
    """A copy in which one to three places hold something else, are gone, or are there twice."""
    thing = copy.deepcopy(thing)
    for _ in range(rng.choice([1, 1, 2, 3])):
        *path, last = rng.choice(list(places(thing)) or [("x",)])
        inner = thing
        for key in path:
            inner = inner[key]
        what = rng.randrange(8)
        if what == 0 and last in (inner if isinstance(inner, dict) else range(len(inner))):
            del inner[last]
        elif what == 1 and isinstance(inner, list):
            inner.insert(last, copy.deepcopy(inner[last]))
        elif what == 2:
            inner[last] = [inner.get(last)] if isinstance(inner, dict) else [inner[last]]
        else:
            inner[last] = copy.deepcopy(rng.choice(VALUES))
    return thing


def tried(use):
    """Call use(rng) again and again; each must end soon, well or with one line."""
    rng, started, number, refused = random.Random(7), time.monotonic(), 0, 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    while number < INPUTS if INPUTS else time.monotonic() - started < BUDGET:
        begin = time.monotonic()
        try:
            use(rng)
        except InputError as error:
            refused += 1
            assert len(str(error).splitlines()) == 1, number
            assert len(str(error)) < 5000, number
        assert time.monotonic() - begin < LONGEST, number
        number += 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert grown < 2**20, f"{grown} KiB more"
    print(f"{number} inputs, {refused} refused")
    assert 0 < refused < number


def network():
    layers = [sn.Conv2D(2, 3, padding="same"), sn.BatchNorm(), sn.ReLU(), sn.MaxPool2D(2)]
    layers += [sn.Residual([sn.Conv2D(2, 1), sn.ReLU()], [sn.AveragePool2D(1)]), sn.Flatten()]
    layers += [sn.Dropout(0.5), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential(layers, input_shape=(6, 6, 1), seed=1)
    model.class_names = ["a", "b", "c"]
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["description", "bytes"])
def test_model_files(tmp_path, kind):
    path = tmp_path / "model"
    network().save(path)
    content, (description, arrays) = path.read_bytes(), checkpoint.load(path)

    def use(rng):
        if kind == "bytes":
            damaged = bytearray(content)
            for _ in range(rng.choice([0, 1, 1, 4])):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            path.write_bytes(damaged)
        else:
            path.write_bytes(_file(mutated(rng, description), arrays))
        model = sn.load_model(path)
        if np.prod(model.input_shape) < 10_000:
            model.predict(np.zeros((1, *model.input_shape), np.uint8))

    with sn.use_backend("reference"):
        tried(use)


@pytest.mark.slow
def test_training_states(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (20, 6, 6), np.uint8)

    def fit(model, epochs):
        watching = [EarlyStopping("loss", restore_best_weights=True), BackupAndRestore(tmp_path, 2)]
        model.fit(x, np.arange(20) % 3, 4, epochs, verbose=0, callbacks=watching)

    with sn.use_backend("reference"):
        fit(network(), 1)
        for extra in sorted(tmp_path.iterdir())[1:]:
            extra.unlink()
        (path,) = tmp_path.iterdir()  # in the middle of the first epoch
        description, arrays = checkpoint.load(path)

        def use(rng):
            for old in tmp_path.iterdir():
                old.unlink()
            changed = dict(arrays)
            if rng.random() < 0.3:
                name = rng.choice(sorted(changed))
                odd = [np.zeros(3), np.zeros((0,), np.int64), changed[name][..., :1]]
                changed[name] = rng.choice([*odd, changed[name].astype(np.float64)])
                path.write_bytes(_file(description, changed))
            else:
                path.write_bytes(_file(mutated(rng, description), changed))
            fit(network(), 0)

        tried(use)


def _file(description, arrays):
    """The content that `checkpoint.save` would write, without waiting for the disk."""
    written = []
    real = checkpoint.write_atomically
    try:
        checkpoint.write_atomically = lambda path, content: written.append(content)
        checkpoint.save("", description, arrays)
    finally:
        checkpoint.write_atomically = real
    return written[0]
