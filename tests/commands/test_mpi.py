"""`mpiexec -n N scratchnet train`, with MPI itself. In threads: tests/training/test_distributed.py.

As root no flag is needed with MPICH, which the extra `mpi` brings; Open MPI wants
OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 in the environment.
"""

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import time

import kill_trials
import pytest

mpi = importlib.util.find_spec("mpi4py") is not None and shutil.which("mpiexec") is not None
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not mpi, reason='no mpiexec: pip install ".[mpi]"'),
]
TRAIN = kill_trials.TRAIN


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    here = tmp_path_factory.mktemp("mpi")
    kill_trials.data(here)
    return here


@pytest.fixture(scope="module")
def alone(here):
    kill_trials.whole(1, "alone", here)
    return kill_trials.result(here / "alone")


def lines(text):
    """What is said on stderr, without mpiexec's own lines."""
    return [line for line in text.splitlines() if line.startswith("scratchnet:")]


def run(command, here):
    start = time.monotonic()
    given = {"cwd": here, "capture_output": True, "text": True, "stdin": subprocess.DEVNULL}
    done = subprocess.run(command, timeout=300, **given)
    return done, time.monotonic() - start


def test_two_ranks_leave_what_one_leaves(here, alone):
    done = kill_trials.whole(2, "two", here, *TRAIN, "--out", "two", "--json")
    assert kill_trials.result(here / "two") == alone
    assert done.stdout.count("results in") == 1
    assert json.loads(done.stdout.splitlines()[-1])["epochs"] == 2
    assert "2 processes (" in done.stderr and done.stderr.count("epoch 1/2") == 1


@pytest.mark.parametrize("seed", [0, 1])
def test_a_rank_killed_at_a_random_moment_ends_all_and_others_go_on(here, alone, seed):
    print(kill_trials.trial(seed, here, alone))


def test_sigterm_stops_all_after_a_batch_and_saves(here, alone):
    process, _ = kill_trials.running(2, "stopped", here, 3, here / "log")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert len(said := lines((here / "log").read_text())) == 1
    assert "--resume" in said[0] and "stopped after" in said[0]
    kill_trials.whole(1, "stopped", here, "train", "--resume", "stopped")
    assert kill_trials.result(here / "stopped") == alone


FAILS = """
import sys, time
import numpy as np
import scratchnet as sn
class Fails(sn.Callback):
    def on_batch_end(self, batch, logs):
        if self.run.rank == 1 and batch == 2:
            raise {error}
with sn.distributed.join() as world:
    model = sn.Sequential([sn.Flatten(), sn.Dense(10), sn.Softmax()], (28, 28, 1), seed=0)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x = np.zeros((96, 28, 28, 1), np.uint8)
    model.fit(x, np.zeros(96, int), 8, verbose=0, epochs=3, callbacks=[Fails()])
"""


@pytest.mark.parametrize(
    ("error", "told"),
    [("sn.InputError('of mine')", "of mine"), ("OSError('no disk')", "OSError('no disk')")],
)
def test_an_error_in_one_rank_is_one_line_and_ends_all(here, error, told):
    script = here / "fails.py"
    script.write_text(FAILS.format(error=error))
    done, seconds = run(["mpiexec", "-n", "2", sys.executable, str(script)], here)
    assert done.returncode == 1 and seconds < 120
    assert lines(done.stderr) == [f"scratchnet: rank 1 of 2: {told}"]


def test_what_all_find_wrong_is_said_once(here):
    done, _ = run(kill_trials.ranks(3, *TRAIN, "--out", "three"), here)
    assert done.returncode == 1 and not (here / "three").exists()
    (line,) = lines(done.stderr)
    assert line.startswith("scratchnet: rank 0 of 3: mpiexec: expected 1, 2, 4 or 8 processes")
    done, _ = run(kill_trials.ranks(2, "train", "--epochs", "none"), here)
    assert done.returncode == 2 and len(lines(done.stderr)) == 1
