"""A run's folder belongs to one process, however that one or an earlier one ends."""

import os
import shutil
import subprocess
import sys

import filelock
import pytest

from scratchnet import InputError
from scratchnet import run_folder as runs

PATHS = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
HOLD = """
from pathlib import Path
from scratchnet import run_folder as runs
with runs.in_folder(Path("run")):
    print("mine", flush=True)
    input()
"""


def refused(folder, words):
    with pytest.raises(InputError) as caught, runs.in_folder(folder):
        pytest.fail("the folder was given away")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_second_run_is_refused_and_the_lock_goes_with_the_first(tmp_path):
    folder = tmp_path / "run"
    with runs.in_folder(folder):
        assert (folder / runs.LOCK_FILE).is_file()
        refused(folder, "expected a folder without a run at work, found one in it")
    assert list(folder.iterdir()) == []
    with runs.in_folder(folder):
        pass


@pytest.mark.parametrize("end", ["kill", "terminate", "communicate"])
def test_a_process_that_has_ended_holds_nothing(tmp_path, end):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        cwd=tmp_path,
        env=PATHS,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "mine\n"
    refused(tmp_path / "run", "a run at work")
    getattr(process, end)(*["\n"] if end == "communicate" else [])
    process.wait()
    process.stdout.close()
    process.stdin.close()
    with runs.in_folder(tmp_path / "run"):
        pass
    assert list((tmp_path / "run").iterdir()) == []


def removed(folder):
    (folder / runs.LOCK_FILE).unlink()


def replaced(folder):
    removed(folder)
    (folder / runs.LOCK_FILE).mkdir()


def renamed(folder):
    folder.rename(folder.with_name("elsewhere"))


@pytest.mark.parametrize("change", [removed, replaced, renamed, shutil.rmtree])
def test_what_others_do_to_the_lock_meanwhile_ends_in_no_error(tmp_path, change):
    with runs.in_folder(tmp_path / "run"):
        change(tmp_path / "run")
    assert (tmp_path / "run" / runs.LOCK_FILE).is_dir() == (change is replaced)


def test_a_lock_of_another_run_is_not_deleted(tmp_path):
    """The folder was cleared while a run was at work, and a second one has begun in it."""
    path = tmp_path / runs.LOCK_FILE
    with runs.in_folder(tmp_path):
        path.unlink()
        other = filelock.FileLock(path)
        other.acquire(timeout=0)
    refused(tmp_path, "a run at work")
    other.release()


def test_a_folder_in_place_of_the_lock_is_named(tmp_path):
    (tmp_path / runs.LOCK_FILE).mkdir()
    refused(tmp_path, f"{tmp_path / runs.LOCK_FILE}: cannot write there: Is a directory")
