"""Your own images in a folder for each class, and the names of the classes from there on."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import scratchnet as sn
from scratchnet import InputError

COMMAND = [sys.executable, "-m", "scratchnet"]
NAMES = ("cross", "ring", "stroke")


def drawing(label, rng):
    """28 x 28 with one of three signs, each a little different."""
    y, x = np.indices((28, 28)) - 13.5 + rng.normal(0, 1, (2, 1, 1))
    away = [np.minimum(abs(x - y), abs(x + y)), abs(np.hypot(x, y) - 8), abs(x)][label]
    ink = (away < 2) & (np.hypot(x, y) < 11)
    return (ink * rng.integers(180, 256)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    """12 PNGs of each of three signs."""
    rng = np.random.default_rng(0)
    for label, name in enumerate(NAMES):
        (tmp_path / "signs" / name).mkdir(parents=True)
        for i in range(12):
            Image.fromarray(drawing(label, rng)).save(tmp_path / "signs" / name / f"{i}.png")
    return tmp_path / "signs"


def as_set(x, y):
    return {(int(label), image.tobytes()) for image, label in zip(x, y, strict=True)}


def test_sub_folders_are_classes_and_a_sixth_is_held_out(folder):
    found = sn.datasets.load(folder)
    assert found.class_names == NAMES
    assert np.bincount(found.y_train).tolist() == [10, 10, 10]
    assert np.bincount(found.y_test).tolist() == [2, 2, 2]
    written = {
        (label, np.asarray(Image.open(path)).tobytes())
        for label, name in enumerate(NAMES)
        for path in (folder / name).iterdir()
    }
    train, test = as_set(found.x_train, found.y_train), as_set(found.x_test, found.y_test)
    assert train | test == written
    assert not train & test
    assert len(set(found.y_train[-6:])) > 1  # validation_split takes the end: not a single class


def test_the_same_names_give_the_same_arrays(folder, tmp_path):
    found = sn.datasets.load(folder)
    shutil.copytree(folder, tmp_path / "copy")
    again = sn.datasets.load(tmp_path / "copy")
    for a, b in zip(found.arrays(), again.arrays(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_train_and_test_sub_folders_are_kept(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "both/train")
    shutil.copytree(folder, tmp_path / "both/test")
    shutil.rmtree(tmp_path / "both/test/ring")
    (tmp_path / "both/test/cross/0.png").unlink()
    found = sn.datasets.load(tmp_path / "both")
    assert found.class_names == NAMES
    assert np.bincount(found.y_train).tolist() == [12, 12, 12]
    assert np.bincount(found.y_test).tolist() == [11, 0, 12]


def test_pictures_of_any_kind_are_prepared_as_predict_does(folder):
    rng = np.random.default_rng(1)
    sheet = np.full((120, 90, 3), 230, np.uint8)
    sheet[30:86, 20:76] -= drawing(1, rng).repeat(2, 0).repeat(2, 1)[..., None] // 2
    for name in ("scan.jpg", "other.PNG"):
        Image.fromarray(sheet).save(folder / "ring" / name)
    (folder / "ring" / "Thumbs.db").write_bytes(b"no image")
    (folder / ".hidden").mkdir()
    found = sn.datasets.load(folder)
    assert len(found.x_train) + len(found.x_test) == 38
    images = np.concatenate([found.x_train, found.x_test])
    prepared = sn.pictures.prepare(folder / "ring" / "other.PNG").image
    assert any(np.array_equal(image, prepared) for image in images)


def refused(folder, *words):
    with pytest.raises(InputError) as caught:
        sn.datasets.load(folder)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_what_is_no_folder_of_classes_is_refused(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "empty", "IDX files", "sub-folders", "found 0")
    refused(folder / "ring", "ring", "sub-folders", "found 0")
    (folder / "ring" / "bad.png").write_bytes(b"<html>")
    refused(folder, "bad.png", "HTML")
    (folder / "ring" / "bad.png").unlink()
    for path in sorted((folder / "ring").iterdir())[1:]:
        path.unlink()
    refused(folder, "too few of ring")


def test_a_class_that_was_never_trained_is_refused(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "both/train")
    shutil.copytree(folder, tmp_path / "both/test")
    (tmp_path / "both/test/zigzag").mkdir()
    refused(tmp_path / "both", "test", "zigzag")


# ------------------------------------------------------------------------------ the classes' names


def test_names_are_saved_with_the_model(tmp_path):
    model = sn.architectures.build("lenet5", classes=3)
    assert model.class_names == ("0", "1", "2")
    model.save(tmp_path / "plain")
    assert sn.load_model(tmp_path / "plain").class_names == ("0", "1", "2")
    model.class_names = ["a", "ü", "T-shirt/top"]
    model.save(tmp_path / "named")
    assert sn.load_model(tmp_path / "named").class_names == ("a", "ü", "T-shirt/top")


@pytest.mark.parametrize("names", [["a", "b"], ["a", "b", "c", "d"], ["a", "b", 3]])
def test_names_that_do_not_fit_are_refused(names):
    model = sn.architectures.build("lenet5", classes=3)
    with pytest.raises(InputError, match="expected 3 texts"):
        model.class_names = names


def run(*args, cwd):
    return subprocess.run([*COMMAND, *map(str, args)], cwd=cwd, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_learns_names_and_shows_them(folder, tmp_path):
    done = run("train", "--data", folder, "--model", "lenet5", "--epochs", 8, "--batch-size", 4,
               "--out", "run", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run/confusion.png").stat().st_size > 5000
    model = "run/model.safetensors"
    assert sn.load_model(tmp_path / model).class_names == NAMES

    image = folder / "ring" / "0.png"
    done = run("predict", image, "--model", model, "--show-steps", "s.png", "--json", cwd=tmp_path)
    (found,) = json.loads(done.stdout)
    assert found["class"] == NAMES[found["digit"]] == "ring"

    done = run("evaluate", model, "--data", folder, cwd=tmp_path)
    assert all(done.stdout.count(name) == 2 for name in NAMES)
    (folder / "ring").rename(folder / "circle")
    done = run("evaluate", model, "--data", folder, cwd=tmp_path)
    assert done.returncode == 1
    assert "expected the model's classes cross, ring, stroke, found circle, cross" in done.stderr
