"""Compiled kernels are kept per user: found again, safe to share, and not needed."""

import os
import subprocess
import sys

CODE = """
import numpy as np
from scratchnet import kernels
kernels.on_compiling(lambda: print("compiling"))
print(kernels.relu(np.array([-1.0, 2.0], np.float32)))
"""


def start(cache):
    """A process that runs one kernel, its cache below that folder."""
    hidden = ("NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT")
    variables = {key: value for key, value in os.environ.items() if key not in hidden}
    variables["XDG_CACHE_HOME"] = str(cache)
    return subprocess.Popen(
        [sys.executable, "-c", CODE], env=variables, stdout=subprocess.PIPE, text=True
    )


def output(process):
    text, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return text.split("\n")[:-1]


def test_processes_that_start_at_once_share_a_cache_and_the_next_compiles_nothing(tmp_path):
    for process in [start(tmp_path) for _ in range(3)]:
        assert output(process)[-1] == "[0. 2.]"
    assert output(start(tmp_path)) == ["[0. 2.]"]


def test_a_cold_cache_is_announced_once(tmp_path):
    assert output(start(tmp_path)) == ["compiling", "[0. 2.]"]


def test_without_a_folder_to_write_to_kernels_are_compiled_anew(tmp_path):
    place = tmp_path / "taken"
    place.write_text("a file where the cache's folder should be")
    for _ in range(2):
        assert output(start(place)) == ["compiling", "[0. 2.]"]
    assert place.is_file()
