"""Where its output, its home or its folder fails it, the command ends with one line."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from command import COMMAND, started, wait_until, write_idx
from PIL import Image

import scratchnet as sn
from scratchnet import run_folder as runs
from scratchnet.errors import InputError, WriteError

if sys.platform == "win32":
    pytest.skip("shells and devices of Unix", allow_module_level=True)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with an image, and a small data set."""
    here = tmp_path_factory.mktemp("streams")
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    write_idx(here / "data", ((x[:600], y[:600]), (x_test[:100], y_test[:100])))
    Image.fromarray(x_test[0]).save(here / "7.png")
    return here


def shell(here, line, **environment):
    """The line in a shell, with `S` for the command."""
    text = line.replace("S ", " ".join(COMMAND) + " ", 1)
    return subprocess.run(
        ["bash", "-c", text],
        cwd=here,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", ["summary resnet", "predict 7.png --json", "--help", "train -h", "explain -h"]
)
def test_a_reader_that_has_gone_is_no_error(here, words):
    done = shell(here, f"S {words} | true; echo ${{PIPESTATUS[0]}}")
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("words", "code"), [("predict 7.png", 0), ("summary", 0), ("nothing", 2)])
def test_closed_streams_change_nothing_else(here, words, code, closed):
    done = shell(here, f"S {words} {closed}")
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr
    if closed == "2>&-":  # what belongs there does not go to the other
        assert "scratchnet:" not in done.stdout and bool(done.stdout) == (code == 0)


def test_a_file_that_is_written_does_not_get_what_is_printed(here, tmp_path):
    name = tmp_path / "w.npz"
    assert shell(here, f"S export --format npz --out {name} >&- 2>&-").returncode == 0
    with np.load(name) as arrays:
        assert arrays["dense_1.b"].shape == (10,)


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full device")
@pytest.mark.parametrize("words", ["predict 7.png", "predict 7.png --json", "summary", "--help"])
def test_a_full_disk_under_any_output_is_one_line(here, words):
    done = shell(here, f"S {words} > /dev/full")
    assert (done.returncode, done.stderr) == (1, "scratchnet: No space left on device\n")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full device")
def test_a_full_disk_under_the_errors_keeps_the_exit_code(here):
    assert shell(here, "S nothing 2> /dev/full").returncode == 2
    assert shell(here, "S predict nothing.png 2> /dev/full").returncode == 1


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full device")
def test_a_full_disk_under_the_progress_costs_no_training(here, tmp_path):
    line = f"train --data data --model lenet5 --epochs 2 --out {tmp_path}/run --json"
    done = shell(here, f"S {line} 2> /dev/full")
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])["epochs"] == 2
    assert sn.load_model(tmp_path / "run").count_params() == 61_706


def test_without_a_home_it_works_all_the_same(here):
    paths = {key: os.environ[key] for key in ("PYTHONPATH", "LD_LIBRARY_PATH") if key in os.environ}
    paths["NUMBA_DISABLE_JIT"] = "1"  # there is no place for compiled kernels
    code = "import pwd; pwd.getpwuid = {}.__getitem__\nfrom scratchnet.cli import main; main()"
    command = [sys.executable, "-c", code]
    done = [
        subprocess.run([*command, *words], cwd=here, capture_output=True, text=True, env=paths)
        for words in (["predict", "7.png"], ["evaluate", "--data", "kmnist"])
    ]
    assert done[0].returncode == 0 and done[0].stdout.startswith("7.png: 7 ")
    assert done[1].returncode == 1 and "SCRATCHNET_DATA" in done[1].stderr.splitlines()[-1]
    assert all("Traceback" not in one.stderr for one in done)


@pytest.mark.slow
def test_names_that_are_not_utf8_or_not_ascii_are_printed_with_escapes(here, tmp_path):
    image = os.fsencode(tmp_path) + b"/caf\xe9.png"
    shutil.copy(here / "7.png", image)
    command = [os.fsencode(word) for word in COMMAND]
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for more in ([], [b"--json"]):
        done = subprocess.run([*command, b"predict", image, *more], capture_output=True, env=env)
        assert done.returncode == 0 and done.stderr == b""
        assert done.stdout.isascii()
    model = sn.Sequential([sn.Flatten(), sn.Dense(2), sn.Softmax()], input_shape=(28, 28, 1))
    model.class_names = ["größe", "手"]
    model.save(tmp_path / "m.safetensors")
    done = shell(
        here, f"S predict 7.png --model {tmp_path}/m.safetensors", PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0 and done.stderr == ""
    assert "gr\\xf6\\xdfe" in done.stdout and "\\u624b" in done.stdout


@pytest.mark.slow
def test_a_western_windows_console_gets_frames_and_escapes_for_foreign_names(here, tmp_path):
    shutil.copy(here / "7.png", tmp_path / "手.png")
    env = {**os.environ, "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0", "COLUMNS": "80"}
    done = [
        subprocess.run([*COMMAND, *words], cwd=tmp_path, capture_output=True, env=env)
        for words in (["predict", "手.png"], ["summary"])
    ]
    assert [one.returncode for one in done] == [0, 0]
    assert done[0].stdout.decode("cp1252").startswith("\\u624b.png: 7 ")
    table = done[1].stdout.decode("cp1252")
    assert "| Conv2D 32 3x3 |" in table and "\\u" not in table


@pytest.mark.slow
@pytest.mark.parametrize("then", ["nothing", "a file"])
def test_a_run_whose_folder_goes_away_keeps_its_model(here, tmp_path, then):
    log, out = tmp_path / "log", tmp_path / "out"
    args = ["train", "--data", here / "data", "--model", "lenet5", "--epochs", 10**6, "--out", out]
    with open(log, "w") as err, started(*args, cwd=tmp_path, stderr=err) as process:
        wait_until(lambda: "epoch       2/" in log.read_text(), "second epoch")
        os.rename(out, tmp_path / "gone")
        if then == "a file":
            out.write_text("")
        assert process.wait(60) == 1
    lines = log.read_text().splitlines()
    assert "Traceback" not in log.read_text()
    assert lines[-1].startswith(f"scratchnet: {out}") and "cannot write there" in lines[-1]
    place = tmp_path / ("out-rescued" if then == "a file" else "out")
    assert lines[-1].endswith(f"the model so far and its history are kept in {place}")
    assert sn.load_model(place).count_params() == 61_706
    history = json.loads((place / "history.json").read_text())
    assert len(history["epoch"]) >= 1


def test_where_nothing_can_be_kept_it_says_so(tmp_path, monkeypatch):
    def full(*_):
        raise WriteError("x: cannot write there: No space left on device")

    model = sn.Sequential([sn.Dense(2)], input_shape=(3,))
    monkeypatch.setattr(runs, "save_record", full)
    monkeypatch.setattr(runs.tempfile, "mkdtemp", lambda prefix: str(tmp_path / "t"))
    with (
        pytest.raises(InputError, match="No space left on device; the model could not be kept"),
        runs.rescued(tmp_path / "out", model, {}),
    ):
        full()


def test_a_folder_that_goes_while_it_is_read_costs_no_model_either(tmp_path):
    model = sn.Sequential([sn.Dense(2)], input_shape=(3,))
    with (
        pytest.raises(InputError, match="gone: cannot write there: No such file.* are kept in"),
        runs.rescued(tmp_path / "out", model, {"history": {}}),
    ):
        list((tmp_path / "gone").iterdir())
    assert sn.load_model(tmp_path / "out").count_params() == 8
    with pytest.raises(BrokenPipeError), runs.rescued(tmp_path / "out", model, {"history": {}}):
        raise BrokenPipeError(32, "Broken pipe")
