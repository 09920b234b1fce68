"""The benchmark scripts run, at a tiny size, and leave what they promise."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import contenders
import numpy as np
import pytest

import scratchnet as sn

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
#: contender: the module that it cannot do without
FRAMEWORKS = {"torch": "torch", "keras": "keras", "jax": "jax"}
RAN = {"label", "compile_seconds", "deviation", "seconds", "peak_mib", "others"}


def run(script, *arguments):
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def training(path, *contenders, model="cnn"):
    sizes = ("--images", 256, "--rounds", 1, "--batch-size", 32)
    names = ("--model", model, "--contenders", *contenders)
    return run("compare_frameworks", *names, *sizes, "--json", path, "--out", path.parent)


def test_training_prints_a_table_and_leaves_json_and_a_picture(tmp_path):
    done = training(tmp_path / "all.json", "scratchnet")
    assert done.returncode == 0, done.stderr
    assert "images/s" in done.stdout and "numba" in done.stdout
    report = json.loads((tmp_path / "all.json").read_text())
    assert report["machine"].keys() >= {"cpu", "cores", "threads", "versions"}
    (one,) = report["runs"]
    found = one["contenders"]["scratchnet"]
    assert found.keys() >= RAN | {"median", "min", "max", "images_per_second", "ratio", "losses"}
    assert one["batch_size"] == 32 and found["ratio"] == 1 and one["fastest_other"] is None
    assert (tmp_path / "training-cnn-32.png").stat().st_size > 5_000


def test_inference_prints_a_table_and_leaves_json(tmp_path):
    sizes = ("--images", 200, "--rounds", 1, "--calls", 10, "--json", tmp_path / "all.json")
    done = run("compare_inference", "--contenders", "scratchnet", *sizes)
    assert done.returncode == 0, done.stderr
    assert "10,000" in done.stdout
    found = json.loads((tmp_path / "all.json").read_text())["contenders"]["scratchnet"]
    assert found.keys() >= RAN | {"median_latency", "median_p95", "median_seconds", "batch_size"}


@pytest.mark.parametrize(
    "wrong, in_float64", [(1.01, 1e-5), (1.01, 1e-9), (float("nan"),) * 2, (1.01, float("nan"))]
)
def test_losses_that_differ_end_it_before_anything_is_timed(wrong, in_float64, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    compare = importlib.import_module("compare_frameworks")

    class Field:
        workers = ("scratchnet", "torch")

        def ask(self, do, only, steps, dtype="float32", **task):
            far = {"float32": wrong, "float64": 1 + in_float64}[dtype]
            loss = {"scratchnet": [1.0] * steps, "torch": [1.0] * 5 + [far] * (steps - 5)}
            return [(only, loss[only])]

        def need_scratchnet(self):
            pass

    results = {"scratchnet": {}, "torch": {}}
    if in_float64 < 1e-6:  # it rounds otherwise, and computes the same
        compare.check(Field(), results, 32)
        assert results["torch"]["deviation"] > 1e-3 > 1e-6 > results["torch"]["deviation_float64"]
        return
    with pytest.raises(SystemExit, match="losses differ by more than 0.001: torch"):
        compare.check(Field(), results, 32)


@pytest.mark.parametrize("contender", FRAMEWORKS)
def test_a_missing_framework_is_named_with_the_extra_that_brings_it(contender, tmp_path):
    if importlib.util.find_spec(FRAMEWORKS[contender]):
        pytest.skip(f"{contender} is installed")
    done = training(tmp_path / "all.json", contender)
    assert done.returncode == 0, done.stderr
    assert 'pip install ".[bench]"' in done.stderr
    assert ".[bench]" in done.stdout  # the table's cell is folded
    (one,) = json.loads((tmp_path / "all.json").read_text())["runs"]
    assert "not installed" in one["contenders"][contender]["skipped"]


def test_a_table_prints_brackets_and_colons_as_they_are(capsys):
    cells = ['pip install ".[bench]"', "[red]", "[/bold]", ":cat:", "back\\"]
    contenders.show_table("[dim]title", ["[b]", ":dog:"], [[cell, cell] for cell in cells])
    printed = capsys.readouterr().out
    assert all(printed.count(cell) == 2 for cell in cells)
    assert all(word in printed for word in ("[dim]title", "[b]", ":dog:"))


def test_the_parent_loads_no_framework():
    code = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import compare_frameworks; "
    code += "print({'torch', 'tensorflow', 'keras', 'jax', 'onnx', 'onnxruntime'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "set()\n", done.stderr


def test_an_error_in_a_contender_s_process_is_a_reason_and_leaves_it_alive():
    worker = contenders.Worker("scratchnet", 1)
    try:
        with pytest.raises(contenders.Failed, match="KeyError: 'nothing'"):
            worker.ask("train", model="nothing", weights="", images=1, batch_size=1)
        assert worker.ask("peak_mib") > 1
    finally:
        worker.close()


@pytest.mark.parametrize("name", ["torch", "torch-channels-last"])
def test_what_makes_pytorch_faster_predicts_the_same(name, rng):
    pytest.importorskip("torch", reason='PyTorch comes with pip install "scratchnet[parity]"')
    view = "FlattenLast" if name == "torch-channels-last" else "Flatten"
    for kind, middle in (
        (view, [sn.Flatten(), sn.ReLU(), sn.Dropout(0.5)]),
        ("Flatten", [sn.Flatten(), sn.BatchNorm()]),
        ("Mean", [sn.GlobalAveragePool2D()]),
    ):
        model = sn.Sequential([sn.Conv2D(3, 2), *middle, sn.Dense(4), sn.Softmax()], (5, 6, 2))
        for array in model.arrays().values():
            array[:] = rng.uniform(0.3, 1, array.shape)
        contender, x = contenders.CONTENDERS[name](1), rng.random((5, 5, 6, 2), np.float32)
        assert type(contender.network(model)[1]).__name__ == kind
        np.testing.assert_allclose(contender.predictor(model)(x), model.predict(x), atol=1e-4)


def test_a_layer_that_has_no_translation_to_jax_is_named():
    pytest.importorskip("jax", reason='JAX comes with pip install ".[bench]"')

    class Mine(sn.ReLU):
        pass

    model = sn.Sequential([Mine(), sn.Softmax()], (3,))
    predict = contenders.CONTENDERS["jax"](1).predictor(model)
    with pytest.raises(sn.InputError, match=r"jax: expected one of Conv2D, .*, found Mine\(\)"):
        predict(np.ones((1, 3), np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["cnn-dropout", "lenet5", "mlp", "vgg-bn", "resnet", "cnn-bn"])
@pytest.mark.parametrize("contender", FRAMEWORKS)
def test_frameworks_agree_with_scratchnet(contender, model, tmp_path):
    if not importlib.util.find_spec(FRAMEWORKS[contender]):
        pytest.skip(f"{contender} is not installed")
    done = training(tmp_path / "all.json", contender, model=model)
    assert done.returncode == 0, done.stdout + done.stderr
    (one,) = json.loads((tmp_path / "all.json").read_text())["runs"]
    found = one["contenders"][contender]
    assert found["deviation"] <= 1e-3 or found["deviation_float64"] <= 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("contender", FRAMEWORKS)
def test_frameworks_compute_the_same_in_float64(contender):
    pytest.importorskip(FRAMEWORKS[contender], reason='comes with pip install ".[bench]"')
    job = {"model": "resnet", "weights": None, "images": 320, "batch_size": 32}
    losses = []
    for name in ("scratchnet", contender):
        worker = contenders.Worker(name, 2)
        try:
            worker.ask("train", **job)
            more = {"as_keras": contender == "keras"} if name == "scratchnet" else {}
            losses.append(worker.ask("check", steps=10, dtype="float64", **more))
            last = worker.ask("check", steps=1)  # float32 is float32 again
            assert last[0] == np.float32(last[0])
        finally:
            worker.close()
    np.testing.assert_allclose(*losses, rtol=1e-7 if contender == "keras" else 1e-10)


@pytest.mark.parametrize(
    "script, arguments, said",
    [
        ("compare_frameworks", ("--model", "nothing"), "nothing"),
        ("compare_frameworks", ("--contenders", "onnxruntime"), "onnxruntime"),
        ("compare_frameworks", ("--batch-size", "0"), "positive"),
        ("compare_frameworks", ("--images", "60001"), "60,001"),
        ("compare_inference", ("--images", "10001"), "10,001"),
        ("scaling", ("--sweeps", "colour"), "colour"),
        ("kernels", ("--batch-size", "-1"), "positive"),
        ("parity", ("--models", "nothing"), "nothing"),
        ("parity", ("--steps", "60001"), "60,000"),
    ],
)
def test_wrong_arguments_end_with_2_and_one_line(script, arguments, said):
    done = run(script, *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
