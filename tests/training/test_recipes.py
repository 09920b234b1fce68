"""Recipes: what they promise by name, what they compile, and the script that measures them."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
from command import good, last_json, run, write_idx

import scratchnet as sn
from scratchnet.datasets.augmentation import Augmentation
from scratchnet.recipes import RECIPES, Recipe

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def digits(rng):
    return rng.integers(0, 256, (40, 28, 28), np.uint8), np.arange(40, dtype=np.uint8) % 10


def test_the_names_and_what_they_stand_for():
    assert {"fast", "standard", "best"} <= RECIPES.keys()
    assert RECIPES["fast"].epochs == min(recipe.epochs for recipe in RECIPES.values())
    assert RECIPES["standard"] == Recipe()
    assert sn.recipes.get("best") is RECIPES["best"]
    with pytest.raises(sn.InputError, match="fast, standard.*'slow'"):
        sn.recipes.get("slow")


#: their kernels take long to compile
DEEP = ("resnet", "best")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in DEEP else ()) for name in RECIPES]
)
def test_a_recipe_builds_compiles_trains_and_is_saved_with_its_settings(name, digits, tmp_path):
    recipe = replace(RECIPES[name], epochs=1, batch_size=16)
    models = []
    for _ in range(2):
        model = recipe.build(seed=3)
        recipe.compile(model, 40)
        model.fit(*digits, recipe.batch_size, verbose=0, augment=recipe.augmentation())
        models.append(model)
    np.testing.assert_array_equal(models[0].flat_params, models[1].flat_params)
    optimizer = models[0].optimizer
    assert optimizer.iterations == 3
    assert optimizer.learning_rate(2) == pytest.approx(recipe.lr / 25 / 1e4)  # down at the end
    assert type(optimizer) is (sn.AdamW if recipe.weight_decay else sn.Adam)
    assert optimizer.use_ema == (recipe.ema_momentum is not None)
    models[0].save(tmp_path / "model.safetensors")
    again = sn.load_model(tmp_path / "model.safetensors")
    assert again.optimizer.config() == optimizer.config()
    assert again.loss.config() == {"from_logits": False, "label_smoothing": recipe.label_smoothing}


def test_weight_decay_leaves_biases_and_batch_norm_alone():
    optimizer = Recipe(weight_decay=0.1).optimizer(10)
    assert optimizer.weight_decay == 0.1
    assert {"b", "gamma", "beta"} == {*optimizer.exclude_from_weight_decay}


def test_a_preset_is_taken_with_its_changes():
    assert Recipe().augmentation() is None
    affine = Recipe(augment="affine").augmentation()
    assert isinstance(affine, Augmentation) and affine.rotation > 3
    bent = Recipe(augment="affine", augment_changes={"rotation": 3, "elastic": 9}).augmentation()
    assert bent == replace(affine, rotation=3, elastic=9)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"architecture": "vgg"}, "architecture.*'vgg'"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1.5}, "batch_size"),
        ({"lr": 0}, "lr"),
        ({"warmup": 2}, "warmup"),
        ({"weight_decay": -1}, "weight_decay"),
        ({"label_smoothing": 1.1}, "label_smoothing"),
        ({"ema_momentum": "much"}, "ema_momentum"),
        ({"global_clipnorm": 0}, "global_clipnorm"),
        ({"augment": "mirror"}, "none, affine.*'mirror'"),
        ({"augment": "affine", "augment_changes": {"twist": 1}}, "twist"),
        ({"augment": "affine", "augment_changes": {"rotation": -1}}, "rotation"),
        ({"augment_changes": {"rotation": 1}}, "none"),
        ({"augment_changes": 3}, "a dict"),
    ],
)
def test_a_wrong_setting_is_named_when_the_recipe_is_made(settings, words):
    with pytest.raises(sn.InputError, match=words):
        Recipe(**settings)


# ---- the command ---------------------------------------------------------------------------------


def test_train_takes_a_recipe_and_options_that_change_it(digits, tmp_path):
    write_idx(tmp_path / "data", (digits, digits))
    how = ("--recipe", "best", "--epochs", 1, "--batch-size", 16, "--data", "data", "--json")
    done = good("train", *how, "--out", "run", cwd=tmp_path)
    model = sn.load_model(tmp_path / last_json(done)["model"])
    recipe, optimizer = RECIPES["best"], model.optimizer
    assert len(model.layers) == len(recipe.build().layers)
    assert optimizer.ema_momentum == recipe.ema_momentum
    assert optimizer.learning_rate.peak == recipe.lr
    assert optimizer.learning_rate.steps == -(-36 // 16)
    assert model.loss.label_smoothing == recipe.label_smoothing
    stored = json.loads((tmp_path / "run/history.json").read_text())["settings"]
    assert (stored["recipe"], stored["model"], stored["epochs"]) == ("best", "cnn-bn", 1)
    assert stored["augment"] == recipe.augment


def test_an_unknown_recipe_is_wrong_usage(tmp_path):
    done = run("train", "--recipe", "slow", cwd=tmp_path)
    assert done.returncode == 2 and "fast, standard" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


# ---- the script ----------------------------------------------------------------------------------


@pytest.fixture
def script(monkeypatch, digits, capsys):
    """benchmarks/accuracy.py on 40 images; calling it returns what it printed."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    accuracy = importlib.import_module("accuracy")
    monkeypatch.setattr(accuracy, "HELD_OUT", 10)

    def call(test, *arguments):
        monkeypatch.setattr(sn.datasets.mnist, "load_data", lambda: (digits, test))
        small = ("--set", "epochs=2", "batch_size=16", "ema_momentum=0.5", "--threads", 1)
        monkeypatch.setattr(sys, "argv", ["accuracy.py", *map(str, (*small, *arguments))])
        accuracy.main()
        return capsys.readouterr().out

    before = numba.get_num_threads()
    yield call
    numba.set_num_threads(before)


def test_validation_holds_out_training_images_and_never_reads_the_test_set(script, tmp_path):
    nothing = None, None
    out = script(nothing, "--validate", "--seeds", 2, "--json", tmp_path / "a.json")
    assert "30 images" in out and "of the validation images, deviation" in out
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["settings"]["epochs"] == 2 and report["on"] == "validation images"
    assert [one["seed"] for one in report["runs"]] == [0, 1]
    for one in report["runs"]:
        assert one["accuracy"] == one["history"]["val_accuracy"][-1]  # the last, not the best
        assert 0 <= one["raw_accuracy"] <= 1


def test_the_test_set_is_evaluated_once_a_run_at_its_end(script, digits, tmp_path):
    out = script(digits, "--seeds", 1, "--json", tmp_path / "a.json")
    assert "40 images" in out and "of the test images" in out
    (one,) = json.loads((tmp_path / "a.json").read_text())["runs"]
    assert "val_accuracy" not in one["history"] and "raw_accuracy" not in one


@pytest.mark.parametrize("wrong", ["speed=1", "epochs", "epochs=0", "augment_changes=3"])
def test_a_wrong_change_ends_with_2(script, digits, wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        script(digits, "--set", wrong)
    assert ended.value.code == 2
