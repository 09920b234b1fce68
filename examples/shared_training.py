"""What an all-reduce does, on one gradient; then a training that several processes share.

By itself, python examples/shared_training.py, or on four processes, after pip install ".[mpi]":
mpiexec -n 4 python examples/shared_training.py. What the first part does by hand, every process
does for itself; in the second part they share. The page .github/docs/distributed.md explains both.
"""

import hashlib

import numpy as np

import scratchnet as sn


def main(images: int = 60_000, epochs: int = 1, target: float = 0.97) -> None:
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    x, y = x[:images], y[:images]
    model = sn.architectures.build("cnn", seed=0)
    model.compile(sn.Adam(0.002), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.loss_and_gradients(x[:128], y[:128])
    whole = model.flat_grads.copy()
    # one process plays four ranks; a rank's gradient is that of its images, here 32 of 128
    quarters = []
    for start in range(0, 128, 32):
        model.loss_and_gradients(x[start : start + 32], y[start : start + 32])
        quarters.append(model.flat_grads / 4)  # the loss divides by 32, not by 128
    # first step: rank r gets everybody's numbers for piece r, pieces[q][r] of rank q, and adds them
    pieces = [np.array_split(quarter, 4) for quarter in quarters]
    added = [sum(piece[r] for piece in pieces) for r in range(4)]
    # second step: all get all. Added in another order than fit adds, so the last digits may differ
    difference = np.abs(np.concatenate(added) - whole).max()
    with sn.distributed.join() as world:
        model.fit(x, y, batch_size=128, epochs=epochs, verbose=2)
        if world.rank == 0:
            print(f"four quarters' gradients add up to the whole but for {difference:.1e}")
            _, accuracy = model.evaluate(x_test, y_test, verbose=0)
            bits = hashlib.sha256(model.flat_params.tobytes()).hexdigest()[:16]
            print(f"{world.size} processes, test accuracy {accuracy:.2%}, weights {bits}")
            assert accuracy >= target, f"expected at least {target:.0%}, found {accuracy:.2%}"


if __name__ == "__main__":
    main()
