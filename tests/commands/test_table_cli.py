"""--data FILE.csv: Kaggle's tables in the commands."""

import json

import numpy as np
import pytest
from command import good, last_json, names_in, run

import scratchnet as sn


def write(path, x, y=None):
    rows = x.reshape(len(x), -1) if y is None else np.c_[y, x.reshape(len(x), -1)]
    names = ["label"][: y is not None] + [f"pixel{i}" for i in range(x[0].size)]
    text = [",".join(map(str, row)) for row in (names, *rows.tolist())]
    path.write_text("\n".join(text) + "\n")


@pytest.mark.slow
def test_kaggles_files_train_and_evaluate_and_a_bad_row_is_named(tmp_path):
    (x, y), (x_test, _) = sn.datasets.mnist.load_data()
    write(tmp_path / "train.csv", x[:300], y[:300])
    write(tmp_path / "test.csv", x_test[:20])
    args = ["--model", "lenet5", "--epochs", "1", "--data", "train.csv", "--out", "run", "--json"]
    done = good("train", *args, cwd=tmp_path)
    said = [line for line in done.stderr.splitlines() if "no labels" in line]
    assert len(said) == 1 and said[0].startswith("scratchnet: ") and "test.csv" in said[0]
    assert "Warning" not in done.stderr
    settings = json.loads((tmp_path / "run/history.json").read_text())["settings"]
    assert settings["data"] == str(tmp_path / "train.csv")
    found = last_json(good("evaluate", "run/model.safetensors", *args[4:6], "--json", cwd=tmp_path))
    assert found["accuracy"] == last_json(done)["test_accuracy"]

    lines = (tmp_path / "train.csv").read_text().splitlines()
    lines[41] = lines[41].replace(",0,", ",blot,", 1)
    (tmp_path / "train.csv").write_text("\n".join(lines))
    before = names_in(tmp_path)
    done = run("train", *args[:-3], "--out", "other", cwd=tmp_path)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "train.csv, line 42, column 2: expected a whole number" in done.stderr
    assert names_in(tmp_path) == before
