"""The command, run as its users run it: in a process of its own."""

import json
import struct
import subprocess
import sys
import time
from contextlib import contextmanager

from scratchnet.datasets.idx import FILES

COMMAND = [sys.executable, "-m", "scratchnet"]


def run(*args, cwd):
    return subprocess.run([*COMMAND, *map(str, args)], cwd=cwd, capture_output=True, text=True)


def good(*args, cwd):
    done = run(*args, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def last_json(done):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(done.stdout.splitlines()[-1], parse_constant=refuse)


def write_idx(folder, splits):
    folder.mkdir()
    for name, array in zip(FILES, [a for split in splits for a in split], strict=True):
        head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
        (folder / name).write_bytes(head + array.tobytes())


def names_in(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def wait_until(condition, what):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until, f"no {what} in a minute"
        time.sleep(0.02)


@contextmanager
def started(*args, **settings):
    """The command, running; whatever happens inside, it does not outlive the block."""
    with subprocess.Popen([*COMMAND, *map(str, args)], **settings) as process:
        try:
            yield process
        finally:
            process.kill()
