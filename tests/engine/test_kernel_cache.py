"""Compiled kernels are kept per user: found again, safe to share, and not needed.

What cannot be used, because it is damaged or may be somebody else's, is compiled anew: one line
says so, and the numbers are right.
"""

import errno
import os
import platform
import re
import resource
import shutil
import subprocess
import sys

import numba
import numpy as np
import pytest
from command import COMMAND

from scratchnet.engine import cache, compiler, threads

pytestmark = pytest.mark.skipif(
    not threads.compiles(), reason="without the compiler there is nothing to keep"
)
CODE = """
import numpy as np
from scratchnet import kernels
kernels.on_compiling(lambda: print("compiling"))
print(kernels.relu(np.array([-1.0, 2.0], np.float32)))
"""


def start(place, code=CODE, limit=None, **variables):
    """A process that runs one kernel, its cache below that folder; no file longer than `limit`."""
    hidden = ("NUMBA_CACHE_DIR", "NUMBA_DISABLE_JIT")
    kept = {key: value for key, value in os.environ.items() if key not in hidden}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**kept, "XDG_CACHE_HOME": str(place), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=limit and (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))),
    )


def output(process, *words):
    """The lines on stdout; on stderr there is one line with these words, or nothing without any."""
    text, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    lines = errors.splitlines()
    assert len(lines) == bool(words), errors
    assert all(word in line for line in lines for word in ("expected", "found", *words)), errors
    return text.split("\n")[:-1]


# ---- whole processes -----------------------------------------------------------------------------


@pytest.mark.slow
def test_of_processes_that_start_at_once_one_compiles_and_the_next_compiles_nothing(tmp_path):
    found = [output(process) for process in [start(tmp_path) for _ in range(3)]]
    assert sorted(found) == [["[0. 2.]"], ["[0. 2.]"], ["compiling", "[0. 2.]"]]
    assert output(start(tmp_path)) == ["[0. 2.]"]


def test_a_cold_cache_is_announced_once(tmp_path):
    assert output(start(tmp_path)) == ["compiling", "[0. 2.]"]


@pytest.mark.slow
def test_without_a_folder_to_write_to_kernels_are_compiled_anew(tmp_path):
    place = tmp_path / "taken"
    place.write_text("a file where the cache's folder should be")
    for _ in range(2):
        assert output(start(place), str(place)) == ["compiling", "[0. 2.]"]
    assert place.is_file()


@pytest.mark.slow
def test_a_disk_that_is_full_costs_a_line_and_leaves_nothing_half_written(tmp_path):
    for _ in range(2):
        assert output(start(tmp_path, limit=1000), "kernels-") == ["compiling", "[0. 2.]"]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if path.suffix != cache.LOCK]


@pytest.mark.slow
def test_a_command_with_every_file_damaged_answers_as_ever(tmp_path):
    picture = tmp_path / "seven.png"
    drawn = "from PIL import Image, ImageDraw; i = Image.new('L', (90, 90), 255)\n"
    drawn += "ImageDraw.Draw(i).line([20, 20, 65, 20, 35, 75], 0, 7, 'curve')\n"
    subprocess.run([sys.executable, "-c", f"{drawn}i.save({str(picture)!r})"], check=True)
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kept")}

    def predict():
        command = [*COMMAND, "predict", picture, "--json"]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr.splitlines()

    expected, _ = predict()
    assert predict() == (expected, [])
    files = [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
    for number, path in enumerate(files):  # some empty, the others with a changed byte
        path.write_bytes(path.read_bytes()[:-1] + b"!" if number % 3 else b"")
    found, (line, announced) = predict()
    assert found == expected
    assert re.match("scratchnet: .*expected a compiled kernel, found .*; compiling anew$", line)
    assert "compiling kernels" in announced
    assert predict() == (expected, [])


@pytest.mark.slow
def test_checked_indices_are_another_kernel(tmp_path):
    output(start(tmp_path))
    assert output(start(tmp_path, NUMBA_BOUNDSCHECK="1")) == ["compiling", "[0. 2.]"]
    assert output(start(tmp_path, NUMBA_BOUNDSCHECK="1")) == ["[0. 2.]"]


@pytest.mark.slow
@pytest.mark.skipif(
    platform.machine().lower() not in ("x86_64", "amd64"), reason="names a processor of this kind"
)
def test_kernels_for_another_processor_are_others(tmp_path):
    output(start(tmp_path))
    old = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "+sse2"}
    assert output(start(tmp_path, **old)) == ["compiling", "[0. 2.]"]


# ---- one loop ------------------------------------------------------------------------------------


def double(x):
    for i in range(len(x)):
        x[i] *= 2


def triple(x):
    for i in range(len(x)):
        x[i] *= 3


class Kept:
    """A cache of its own, in `folder`; calls in it begin as in a new process."""

    def __init__(self, folder, monkeypatch):
        self.base, self.monkeypatch = folder, monkeypatch
        monkeypatch.setattr(numba.config, "CACHE_DIR", str(folder))
        cache.folder.cache_clear()
        self.folder = cache.folder()

    def run(self, loop=double, dtype=np.float64):
        """Whether the loop came from the cache; its result must be right."""
        cache.folder.cache_clear()
        self.monkeypatch.setattr(cache, "_said", [])
        compiled = numba.njit(loop)
        compiled._cache = cache.KernelCache(loop, {})
        found, wanted = np.arange(4, dtype=dtype), np.arange(4, dtype=dtype)
        compiled(found)
        loop(wanted)
        np.testing.assert_array_equal(found, wanted)
        return bool(compiled.stats.cache_hits)

    def file(self, loop=double):
        (path,) = self.folder.glob(f"*{loop.__name__}*.kernel")
        return path


@pytest.fixture
def kept(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(threads, "_on_compiling", None)  # a command run in this process set it
    yield Kept(tmp_path / "cache", monkeypatch)
    cache.folder.cache_clear()


def said(capfd, *words):
    """What came on stderr is one line with these words, or nothing without any."""
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == bool(words), lines
    assert all(word in line for line in lines for word in ("expected", "found", *words)), lines


def test_a_loop_is_kept_for_each_type_it_is_called_with(kept, capfd):
    assert not kept.run() and kept.run()
    assert not kept.run(dtype=np.int64) and kept.run(dtype=np.int64)
    assert kept.run() and not kept.run(triple) and kept.run(triple)
    assert kept.folder.stat().st_mode & 0o777 == 0o700
    assert len(list(kept.folder.iterdir())) == 3
    said(capfd)


def flipped(position):
    def damage(path):
        content = bytearray(path.read_bytes())
        content[position] ^= 4
        path.write_bytes(content)

    return damage


def cut(length):
    return lambda path: path.write_bytes(path.read_bytes()[:length])


DAMAGES = {
    **{f"bit at {position}": flipped(position) for position in (0, 31, 32, 40, 500, -2000, -1)},
    **{f"first {length} bytes": cut(length) for length in (0, 1, 32, 33, 1000, -1)},
    "text": lambda path: path.write_text("no kernel"),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "Numba's": lambda path: path.write_bytes(path.read_bytes()[cache.DIGEST :]),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_never_loaded_and_replaced(kept, capfd, damage):
    kept.run()
    damage(kept.file())
    assert not kept.run()
    said(capfd, str(kept.file()), "damaged", "compiling anew")
    assert kept.run()
    said(capfd)


def test_a_folder_in_place_of_a_file_is_passed_over(kept, capfd):
    kept.run()
    path = kept.file()
    path.unlink()
    path.mkdir()
    for _ in range(2):
        assert not kept.run()
        said(capfd, str(path))
    assert [entry.name for entry in kept.folder.iterdir()] == [path.name]


def test_a_file_under_the_name_of_another_is_not_taken_for_it(kept, capfd):
    kept.run()
    kept.run(triple)
    shutil.copy(kept.file(triple), kept.file(double))
    assert not kept.run(double) and kept.run(double)
    said(capfd)


def test_what_is_whole_but_cannot_be_loaded_is_compiled_anew(kept, capfd):
    kept.run()
    cache._write(kept.file(), b"no pickle")
    assert not kept.run()
    said(capfd, str(kept.file()))
    assert kept.run()


def test_a_folder_that_goes_while_it_is_in_use_is_made_again(kept, capfd):
    kept.run()
    compiled = numba.njit(double)
    compiled._cache = cache.KernelCache(double, {})
    compiled(np.zeros(3))
    assert compiled.stats.cache_hits
    shutil.rmtree(kept.base)
    compiled(np.zeros(3, np.float32))
    assert kept.run(dtype=np.float32) and not kept.run()
    assert kept.folder.stat().st_mode & 0o777 == 0o700
    said(capfd)


FAILURES = {
    "a full disk": (os, "replace", errno.ENOSPC),
    "a folder that is read-only": (cache.tempfile, "mkstemp", errno.EROFS),
    "no permission": (cache.tempfile, "mkstemp", errno.EACCES),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_what_cannot_be_written_is_done_without(kept, capfd, monkeypatch, failure):
    kept.run()
    module, name, number = failure

    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(module, name, fail)
        assert not kept.run(triple)
        said(capfd, os.strerror(number))
        assert kept.run(double)  # it can be read all the same
        said(capfd)
    assert len(list(kept.folder.iterdir())) == 1
    assert not kept.run(triple)


def test_a_file_that_cannot_be_read_is_compiled_anew(kept, capfd, monkeypatch):
    kept.run()
    with monkeypatch.context() as patch:
        patch.setattr(cache, "open", lambda *args: os.listdir("/proc/1/no such"), raising=False)
        patch.setattr(cache, "_write", lambda *args: None)
        assert not kept.run()
    said(capfd)  # it is not there
    os.chmod(kept.file(), 0)
    assert kept.run() == (os.geteuid() == 0)  # root may read anything
    said(capfd, *([] if os.geteuid() == 0 else [str(kept.file())]))


def test_what_others_may_write_to_is_not_trusted(kept, capfd):
    kept.run()
    for path, mode in ((kept.file(), 0o620), (kept.folder, 0o707), (kept.folder, 0o770)):
        before = path.stat().st_mode & 0o777
        os.chmod(path, mode)
        assert not kept.run()
        said(capfd, str(path), f"{mode:o}", "compiling anew")
        os.chmod(path, before)
    assert kept.run()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_belongs_to_another_user_is_not_trusted(kept, capfd):
    kept.run()
    for path in (kept.file(), kept.folder):
        os.chown(path, 12345, -1)
        assert not kept.run()
        said(capfd, str(path), "12345")
        os.chown(path, 0, -1)
    link = kept.folder.with_name("elsewhere")
    kept.folder.rename(link)
    kept.folder.symlink_to(link)
    assert kept.run()
    os.chown(kept.folder, 12345, -1, follow_symlinks=False)
    assert not kept.run()
    said(capfd, str(kept.folder), "12345")


def test_what_killed_processes_left_is_removed_but_not_what_others_write_now(kept):
    for name, age in (("old.tmp", 2 * cache.STALE), ("new.tmp", 0)):
        (kept.folder / name).write_bytes(b"")
        then = cache.time.time() - age
        os.utime(kept.folder / name, (then, then))
    cache._remove_leftovers.cache_clear()
    kept.run()
    assert {path.name for path in kept.folder.glob("*.tmp")} == {"new.tmp"}


def test_where_nothing_can_be_locked_each_compiles_for_itself(kept, monkeypatch):
    asked = []

    def refuse(*args, **kwargs):
        asked.append(args)
        raise NotImplementedError("no locks on this disk")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    found = np.arange(4.0)
    compiler.serial(double)(found)
    np.testing.assert_array_equal(found, 2 * np.arange(4.0))
    assert len(asked) == 1


def test_a_user_without_a_home_has_no_cache(monkeypatch, capfd):
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    monkeypatch.setattr(cache, "_said", [])
    cache.folder.cache_clear()
    assert cache.folder() is None
    cache.folder.cache_clear()
    said(capfd, "home folder")


# ---- the environment -----------------------------------------------------------------------------

VARIABLES = {
    "NUMBA_NUM_THREADS": ["abc", "0", "1000000"],
    "NUMBA_OPT": ["fast"],
    "NUMBA_THREADING_LAYER": ["nonsense"],
    "NUMBA_THREADING_LAYER_PRIORITY": ["omp"],
    "NUMBA_CPU_FEATURES": ["junk"],
    "SCRATCHNET_THREADS": ["abc", "9" * 5000],
    "SCRATCHNET_BACKEND": ["cuda"],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, vs in VARIABLES.items() for v in vs])
def test_a_variable_without_a_meaning_is_named_in_one_line(tmp_path, name, value):
    code = "import sys; from scratchnet import cli; sys.argv = ['scratchnet', 'gradcheck']\n"
    env = {**os.environ, name: value}
    done = subprocess.run(
        [sys.executable, "-c", f"{code}cli.main()"], capture_output=True, text=True, env=env
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert re.match(f"scratchnet: {name}: expected .*, found ", line), line
