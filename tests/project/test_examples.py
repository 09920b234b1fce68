"""Every example runs, at a reduced size, and reaches the target that it sets itself."""

import importlib.util
from pathlib import Path

import pytest

from scratchnet import InputError
from scratchnet.datasets.photos import letters

EXAMPLES = Path(__file__).parents[2] / "examples"

REDUCED = {
    "keras_like": {"images": 4000, "epochs": 3, "target": 0.88},
    "visible_loop": {"images": 3000, "epochs": 2, "target": 0.85},
    "by_hand": {"images": 6000, "epochs": 1, "target": 0.8},
    "mlp": {"images": 6000, "epochs": 2, "target": 0.85},
    "odd_or_even": {"images": 5000, "epochs": 2, "target": 0.9},
    "look_inside": {"out": "trace.png"},
    "students_bug": {"images": 4000, "epochs": 2, "target": 0.8},
    "sample_pictures": {"folder": "samples"},
    "predict_own_image": {"out": "steps.png"},
    "autoencoder": {"images": 2000, "epochs": 3, "target": 3.0, "out": "pairs.png"},
    "transfer": {"images": 6000, "epochs": 2, "target": 0.8},
    "shared_training": {"images": 6000, "target": 0.85},
    "read_numbers": {"numbers": 100, "out": "number.png"},
    "train_shipped_weights": {
        "out": "w.safetensors",
        "images": 1500,
        "photographs": 20,
        "epochs": 4,
        "momentum": 0.9,
        "target": 0.8,
    },
    "train_shipped_judge": {
        "out": "j.safetensors",
        "images": 800,
        "others": 1500,
        "printed": 50,
        "pages": 10,
        "epochs": 4,
        "momentum": 0.9,
        "target": 0.05,
    },
    "train_line_reader": {
        "out": "r.safetensors",
        "batches": 3,
        "settling": 2,
        "batch_size": 4,
        "target": 0,
        "checked": 8,
    },
}


def _has_fonts():
    try:
        return bool(letters.glyphs("A"))
    except InputError:
        return False


def test_no_example_is_left_out():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(REDUCED)


#: they make what they learn from before they learn
SLOW = {"train_shipped_weights", "train_shipped_judge", "train_line_reader"}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in REDUCED]
)
def test_example_reaches_its_target(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if name == "train_shipped_judge" and not _has_fonts():
        pytest.skip("the fonts of Debian's packages are not installed")
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(**REDUCED[name])
    assert capsys.readouterr().out
    if "out" in REDUCED[name]:
        assert (tmp_path / REDUCED[name]["out"]).stat().st_size > 10_000
