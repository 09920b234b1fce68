"""Files beside other programs, as on Windows: held open for a moment, or named as a device."""

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from scratchnet import checkpoint, files
from scratchnet.errors import WriteError


@pytest.fixture
def windows(monkeypatch):
    """Its rules for files, and what holds one open: `held(seconds)` is a file like that."""
    monkeypatch.setattr(files, "WINDOWS", True)
    free = {}

    def guarded(real, at):
        def call(*paths, **more):
            if time.monotonic() < free.get(Path(paths[at]).name, 0):
                raise PermissionError(errno.EACCES, "The process cannot access the file", paths[at])
            return real(*paths, **more)

        return call

    monkeypatch.setattr(os, "replace", guarded(os.replace, 1))
    monkeypatch.setattr(Path, "unlink", guarded(Path.unlink, 0))
    return lambda path, seconds: free.__setitem__(path.name, time.monotonic() + seconds)


def test_a_file_that_is_open_for_a_moment_is_written_and_deleted(tmp_path, windows):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    windows(path, 0.15)
    checkpoint.write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    windows(path, 0.15)
    files.remove(path)
    files.remove(path)  # gone already
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_stays_open_is_one_line_and_keeps_its_content(tmp_path, windows, monkeypatch):
    monkeypatch.setattr(files, "SECONDS", 0.1)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    windows(path, 60)
    with pytest.raises(WriteError, match="model.safetensors: cannot write there: The process"):
        checkpoint.write_atomically(path, b"new")
    assert [name.name for name in tmp_path.iterdir()] == ["model.safetensors"]
    assert path.read_bytes() == b"old"
    checkpoint.remove_leftovers(tmp_path)


def test_elsewhere_a_refusal_is_final(tmp_path, monkeypatch):
    asked = []

    def refuse(*paths):
        asked.append(paths)
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(files, "WINDOWS", False)
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WriteError, match="Permission denied"):
        checkpoint.write_atomically(tmp_path / "x", b"")
    assert len(asked) == 1


@pytest.mark.parametrize("name", ["NUL", "nul.png", "Con", "COM1.safetensors", "aux .svg", "lpt9"])
def test_the_name_of_a_device_is_refused_on_windows_alone(tmp_path, name, windows, monkeypatch):
    with pytest.raises(WriteError, match="Windows keeps this name for a device"):
        checkpoint.write_atomically(tmp_path / name, b"x")
    monkeypatch.setattr(files, "WINDOWS", False)
    checkpoint.write_atomically(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"


@pytest.mark.parametrize("name", ["null.png", "console", "com.png", "lpt10", "a.nul", ".con"])
def test_other_names_are_files_everywhere(tmp_path, name, windows):
    checkpoint.write_atomically(tmp_path / name, b"x")
    assert (tmp_path / name).read_bytes() == b"x"


def test_a_reader_sees_the_old_content_or_the_new_one(tmp_path):
    """Open while it is replaced, and read again and again meanwhile."""
    path = tmp_path / "state"
    contents = {bytes([number]) * 70_000 for number in range(30)}
    path.write_bytes(min(contents))
    seen, done = set(), threading.Event()

    def read():
        while not done.is_set():
            seen.add(path.read_bytes())

    thread = threading.Thread(target=read)
    thread.start()
    with open(path, "rb") as held:
        for content in sorted(contents):
            checkpoint.write_atomically(path, content)
        assert held.read() == min(contents)
    done.set()
    thread.join()
    assert seen <= contents and path.read_bytes() == max(contents)
