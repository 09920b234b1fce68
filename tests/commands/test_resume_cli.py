"""`scratchnet train --resume`: killed at any moment, stopped, damaged, started twice."""

import json
import os
import random
import re
import signal
import subprocess
import time

import pytest
from command import good, last_json, names_in, run, started, wait_until, write_idx

import scratchnet as sn

EPOCHS, BATCHES = 3, 30  # 540 images, 18 a batch
TRAIN = ["train", "--data", "data", "--model", "lenet5", "--batch-size", 18, "--epochs", EPOCHS]
TRAIN += ["--patience", 2, "--seed", 7, "--augment", "affine"]
#: files that must have the same bits, and what is removed when a run has ended
SAME = ["model.safetensors", "metrics.csv"]
ENDED = {*SAME, "history.json", "training.png", "confusion.png", "predictions.png"}
ENDED |= {"architecture.png"}


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with small IDX data."""
    here = tmp_path_factory.mktemp("resume")
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    write_idx(here / "data", ((x[:600], y[:600]), (x_test[:100], y_test[:100])))
    return here


def result(folder):
    """All that must have the same bits at the end."""
    assert names_in(folder) == ENDED
    record = json.loads((folder / "history.json").read_text())
    assert record.pop("train_seconds") > 0
    del record["settings"]["checkpoint_every"]
    return {name: (folder / name).read_bytes() for name in SAME} | {"record": record}


@pytest.fixture(scope="module")
def uninterrupted(here):
    good(*TRAIN, "--out", "whole", cwd=here)
    return result(here / "whole")


def last_step(folder):
    steps = [
        int(found[1]) for name in names_in(folder) if (found := re.match(r"state-(\d+)", name))
    ]
    return max(steps, default=-1)


def killed_at(moment, out, here, every="1", command=None):
    """Start a run, kill -9 it some milliseconds after a step; whether it was still at work."""
    step, seconds = moment
    folder = here / out
    command = command or [*TRAIN, "--out", out, "--checkpoint-every", every]
    with started(
        *command, cwd=here, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        wait_until(
            lambda: (
                process.poll() is not None
                or ((folder / "history.json").exists() and last_step(folder) >= step)
            ),
            f"step {step}",
        )
        time.sleep(seconds)
        process.kill()
        return process.wait() == -signal.SIGKILL


# ------------------------------------------------------------------------------------- killed


def trial(number, here, uninterrupted):
    """One run killed at a random moment and resumed; whether it was killed while it wrote."""
    rng = random.Random(number)
    out = f"killed {number}"
    moment = rng.randint(-1, EPOCHS * BATCHES - 2), rng.uniform(0, 0.03)
    assert killed_at(moment, out, here)
    in_a_write = any(name.endswith(".tmp") for name in names_in(here / out))
    done = good("train", "--resume", out, cwd=here)
    assert "damaged" not in done.stderr
    assert result(here / out) == uninterrupted
    return in_a_write


def test_a_run_killed_at_a_random_moment_ends_with_the_same_bits(here, uninterrupted):
    trial(0, here, uninterrupted)


@pytest.mark.slow
def test_runs_killed_at_random_moments(here, uninterrupted):
    """As many as SCRATCHNET_KILLS says: 50 at length."""
    trials = int(os.environ.get("SCRATCHNET_KILLS", "15"))
    in_a_write = sum(trial(100 + number, here, uninterrupted) for number in range(trials))
    print(f"{trials} killed, {in_a_write} in the middle of a write; all resumed to the same bits")


@pytest.mark.slow
def test_a_run_killed_again_and_again_and_the_newest_checkpoint_damaged(here, uninterrupted):
    assert killed_at((5, 0.01), "again", here)
    for step in (20, 50):
        resume = ["train", "--resume", "again"]
        assert killed_at((step, 0.0), "again", here, command=resume)
    newest = here / "again" / max(n for n in names_in(here / "again") if n.startswith("state"))
    newest.write_bytes(newest.read_bytes()[:-1])
    done = good("train", "--resume", "again", cwd=here)
    assert [newest.name in line for line in done.stderr.splitlines()].count(True) == 1
    assert result(here / "again") == uninterrupted


# ------------------------------------------------------------------------------------ stopped


@pytest.mark.slow
def test_a_run_stopped_by_signals_goes_on_to_the_same_bits(here, uninterrupted):
    command = [*TRAIN, "--out", "stopped", "--checkpoint-every", "1"]
    folder, log = here / "stopped", here / "log"
    for number, code, step in ((signal.SIGINT, 130, 10), (signal.SIGTERM, 143, 40)):
        with open(log, "w") as err, started(*command, cwd=here, stderr=err) as process:
            wait_until(lambda at=step: folder.exists() and last_step(folder) >= at, f"step {step}")
            process.send_signal(number)
            assert process.wait(60) == code
        assert "--resume stopped goes on" in log.read_text().splitlines()[-1]
        sn.load_model(folder / "model.safetensors")
        command = ["train", "--resume", "stopped"]
    good("train", "--resume", folder, cwd=here / "data")  # the data are found all the same
    assert result(folder) == uninterrupted


@pytest.mark.slow
def test_the_second_run_in_a_folder_stops_with_one_line(here, uninterrupted):
    command = [*TRAIN, "--out", "shared", "--checkpoint-every", "1"]
    with started(
        *command, cwd=here, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        wait_until(lambda: (here / "shared/history.json").exists(), "run")
        os.kill(process.pid, signal.SIGSTOP)  # it lives, and holds the folder
        for second in (command, ["train", "--resume", "shared"]):
            done = run(*second, cwd=here)
            assert done.returncode == 1
            (line,) = done.stderr.splitlines()
            assert "shared" in line
            assert "run at work" in line
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(60) == 0
    assert result(here / "shared") == uninterrupted


# --------------------------------------------------------------------------------- settings


def test_a_finished_run_says_its_result_again(here, uninterrupted):
    before = {name: (here / "whole" / name).stat().st_mtime_ns for name in names_in(here / "whole")}
    done = good("train", "--resume", "whole", "--lr", "0.003", "--json", cwd=here)
    assert done.stderr == ""
    found = last_json(done)
    assert found["test_accuracy"] == uninterrupted["record"]["test"]["accuracy"]
    assert found["epochs"] == EPOCHS
    after = {name: (here / "whole" / name).stat().st_mtime_ns for name in names_in(here / "whole")}
    assert after == before


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"settings": {"epochs": 0}}',
        '{"settings": {"colour": 1}}',
        "[" * 10**5,
        '{"settings": {}, "epoch": [], "history": {}, "train_seconds": 0, "test": 3}',
    ],
    ids=lambda content: content[:30],
)
def test_a_record_that_is_none_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "history.json").write_text(content)
    done = run("train", "--resume", tmp_path, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "history.json" in line
    assert names_in(tmp_path) == {"history.json"}


def test_the_learning_rate_is_in_the_record_and_the_figures_in_a_table(uninterrupted):
    history = uninterrupted["record"]["history"]
    assert len(history["learning_rate"]) == EPOCHS
    head, *rows = uninterrupted["metrics.csv"].decode().splitlines()
    assert head == "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate"
    assert [float(row.split(",")[1]) for row in rows] == history["loss"]


@pytest.mark.slow
def test_patience_ends_a_run_early(here):
    done = good(*TRAIN[:9], "--epochs", 40, "--patience", 1, "--lr", 0.01, "--out", "early",
                "--json", cwd=here)  # fmt: skip
    history = json.loads((here / "early/history.json").read_text())["history"]
    losses = history["val_loss"]
    assert len(losses) < 40
    assert losses[-1] >= losses[-2] == min(losses)
    assert last_json(done)["epochs"] == len(losses)
    (x, y), _ = sn.datasets.idx.load_folder(here / "data")
    found = sn.load_model(here / "early/model.safetensors").evaluate(x[540:], y[540:], verbose=0)
    assert found[0] == pytest.approx(min(losses), rel=1e-5)
