"""Runs on several ranks, one of which is killed at a random moment; resumed with another number.

    python tests/kill_trials.py --trials 30

Each trial starts `mpiexec -n R scratchnet train`, kills a random rank, and expects all to be gone
within seconds, with an exit code that is not 0; then `--resume` with another number of ranks must
end with the bits of a run by one process that was never stopped. Prints a line a trial.
"""

import argparse
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from command import COMMAND, names_in, write_idx

import scratchnet as sn

EPOCHS, BATCHES = 2, 15  # 270 images, 18 a batch
TRAIN = ["train", "--data", "data", "--model", "lenet5", "--batch-size", 18, "--epochs", EPOCHS]
TRAIN += ["--patience", 2, "--seed", 7, "--augment", "affine"]
#: seconds in which all ranks must be gone
GONE = 10


def ranks(number, *args):
    """The command, on so many ranks; by itself for one."""
    before = [shutil.which("mpiexec") or "mpiexec", "-n", str(number)] if number > 1 else []
    return [*before, *COMMAND, *map(str, args)]


def data(here):
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    write_idx(here / "data", ((x[:300], y[:300]), (x_test[:50], y_test[:50])))


def whole(number, out, here, *more):
    """Train to the end."""
    command = ranks(number, *(more or (*TRAIN, "--out", out)))
    given = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    done = subprocess.run(command, cwd=here, **given)
    assert done.returncode == 0, done.stderr
    return done


def result(folder):
    """What must have the same bits."""
    record = json.loads((folder / "history.json").read_text())
    del record["train_seconds"], record["settings"]["checkpoint_every"]
    files = {name: (folder / name).read_bytes() for name in ("model.safetensors", "metrics.csv")}
    return files | {"record": record}


def last_step(folder):
    found = [re.match(r"state-(\d+)", name) for name in names_in(folder)] if folder.exists() else []
    return max((int(one[1]) for one in found if one), default=-1)


def processes(line):
    """The ranks' process numbers, as the command says them."""
    return [int(number) for number in re.search(r"processes \(([\d, ]+)\)", line)[1].split(",")]


def running(number, out, here, step, log):
    """Start a run and wait until it has passed that step: the launcher, and its ranks' numbers."""
    command = ranks(number, *TRAIN, "--out", out, "--checkpoint-every", "1")
    with open(log, "w") as file:
        given = {"stdin": subprocess.DEVNULL, "stdout": file, "stderr": file}
        process = subprocess.Popen(command, cwd=here, **given)
    until = time.monotonic() + 300
    while last_step(here / out) < step:
        assert process.poll() is None and time.monotonic() < until, log.read_text()
        time.sleep(0.01)
    return process, processes(log.read_text())


def trial(seed, here, expected):
    """One run, killed and resumed; what it was, in words."""
    rng = random.Random(seed)
    number, then = rng.sample([1, 2, 4], 2)
    number = 2 if number == 1 else number
    step, out = rng.randint(1, EPOCHS * BATCHES - 3), f"killed {seed}"
    process, pids = running(number, out, here, step, here / "log")
    time.sleep(rng.uniform(0, 0.03))
    victim, start = rng.randrange(number), time.monotonic()
    try:
        subprocess.run(["kill", "-KILL", str(pids[victim])], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        process.wait(60)
        return f"trial {seed}: had ended before it was killed"
    code = process.wait(60)
    seconds = time.monotonic() - start
    assert code != 0 and seconds < GONE, (code, seconds)
    said = (here / "log").read_text()
    named = [rank for rank, pid in enumerate(pids) if f"PID {pid}" in said]
    assert named and "(signal 9)" in said, said
    whole(then, out, here, "train", "--resume", out)
    assert result(here / out) == expected
    shutil.rmtree(here / out)
    return (
        f"trial {seed}: rank {victim} of {number} killed after step {step}, all gone in "
        f"{seconds:.1f} s with code {code}, rank {named[0]} named; the same bits by {then}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=30)
    parser.add_argument("--first", type=int, default=0, help="its number; each draws from its own")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        data(here)
        whole(1, "whole", here)
        expected = result(here / "whole")
        for seed in range(options.first, options.first + options.trials):
            print(trial(seed, here, expected), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
