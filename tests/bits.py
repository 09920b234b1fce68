"""The same bits on every processor: what is hashed, and the hashes that were recorded.

    python tests/bits.py                    compute the hashes and compare them with the recorded
    python tests/bits.py --record           record them: after a kernel has changed its sums' order
    python tests/bits.py --print [NAME...]  print them as JSON, for another program to compare

For each network, SHA-256 of the bytes of: the initial weights; probabilities in evaluation; the
gradients of one batch; and after 200 steps of Adam by `fit` the weights, running statistics and the
loss. All in float32. The processor and the threads are this process's: Numba's variables say which
(test_same_bits.py), or qemu does (emulated_arm.py).

Imports nothing but the package and NumPy, so that it runs where no test framework is.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

import scratchnet as sn

RECORDED = Path(__file__).with_name("bits.json")
NETWORKS = ("mlp", "lenet5", "cnn", "cnn-dropout", "cnn-bn", "resnet")
#: the last batch is smaller than the others: 11 images
BATCH, IMAGES, STEPS = 16, 3195, 200


def digest(*arrays):
    """SHA-256 of the arrays' bytes, the first 20 digits of it."""
    parts = [np.ascontiguousarray(array).tobytes() for array in arrays]
    return hashlib.sha256(b"".join(parts)).hexdigest()[:20]


def hashes(name, images=IMAGES):
    """Of one network; with fewer images, of fewer steps."""
    (x, y), _ = sn.datasets.mnist.load_data()
    x, y = x[:images], y[:images]
    model = sn.architectures.build(name, seed=7)
    schedule = sn.schedules.OneCycle(3e-3, steps=STEPS)
    model.compile(sn.Adam(schedule), "sparse_categorical_crossentropy")
    found = {"initial": digest(model.flat_params)}
    found["forward"] = digest(model.predict(x[:37], batch_size=16))
    model.loss_and_gradients(x[:BATCH], y[:BATCH])
    found["gradients"] = digest(model.flat_grads)
    history = model.fit(x, y, BATCH, verbose=0)
    loss = np.array(history.history["loss"])
    found["trained"] = digest(model.flat_params, model.flat_buffers, loss)
    return found


def differences(found, recorded):
    """Lines that name what is not as recorded."""
    return [
        f"{name}, {what}: expected {recorded[name][what]}, found {value}"
        for name, each in found.items()
        for what, value in each.items()
        if recorded[name].get(what) != value
    ]


def write(found):
    """Replace the recorded hashes, all at once."""
    text = json.dumps({"steps": STEPS, "batch": BATCH, "hashes": found}, indent=1) + "\n"
    handle, temporary = tempfile.mkstemp(dir=RECORDED.parent, suffix=".tmp", text=True)
    with open(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, RECORDED)


def recorded():
    return json.loads(RECORDED.read_text("utf-8"))["hashes"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NAME", help=f"of {', '.join(NETWORKS)}")
    parser.add_argument("--record", action="store_true", help=f"write them to {RECORDED.name}")
    parser.add_argument("--print", action="store_true", help="print them as JSON")
    options = parser.parse_args()
    names = options.networks or NETWORKS
    if unknown := sorted({*names} - {*NETWORKS}):
        parser.error(f"expected names of {', '.join(NETWORKS)}, found {', '.join(unknown)}")
    if options.record and options.networks:
        parser.error("--record: expected no names, since it records all networks")
    found = {}
    for name in names:
        found[name] = hashes(name)
        print(f"{name}: {found[name]}", file=sys.stderr, flush=True)
    if options.print:
        print(json.dumps(found))
    elif options.record:
        write(found)
    else:
        wrong = differences(found, recorded())
        print("\n".join(wrong) or "all as recorded")
        sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
