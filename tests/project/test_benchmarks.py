"""The benchmark scripts run, at a tiny size, and leave what they promise."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import contenders
import numpy as np
import pytest
from contenders import isa, process

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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
        peak, whole = worker.ask("peaks_mib")
        assert 1 < peak <= whole
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


# ---- one instruction set, and the README's table -------------------------------------------------


def test_an_instruction_set_that_the_processor_lacks_ends_it_in_one_line():
    if "avx512vl" in isa.features():
        pytest.skip("this processor has AVX-512")
    done = run("compare_frameworks", "--isa", "avx512", "--contenders", "scratchnet")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("--isa avx512: expected a processor with avx512vl, found")


def test_all_contenders_are_held_to_one_instruction_set(monkeypatch, capsys):
    monkeypatch.setattr(isa, "features", lambda: ["avx2", "fma", "avx512f", "avx512vl"])
    monkeypatch.setattr(isa, "numpy_dispatches", lambda: ["X86_V3", "X86_V4", "AVX512_ICL"])
    assert isa.held("native") == isa.held("avx512") == {}
    env = process.environment(2, None, "avx2")
    assert env["NUMBA_CPU_NAME"] == "haswell" and env["ATEN_CPU_CAPABILITY"] == "avx2"
    assert env["ONEDNN_MAX_CPU_ISA"] == "AVX2" and env["XLA_FLAGS"] == "--xla_cpu_max_isa=AVX2"
    assert env["NPY_DISABLE_CPU_FEATURES"] == "X86_V4 AVX512_ICL"
    assert isa.warn("avx2", ["scratchnet", "onnxruntime"]).keys() == {"onnxruntime"}
    assert "onnxruntime is not held to avx2" in capsys.readouterr().out
    monkeypatch.setattr(isa, "features", lambda: ["avx2", "fma"])  # there is nothing to hold
    assert isa.warn("avx2", ["onnxruntime"]) == {}


def test_what_a_process_is_held_to_is_what_its_kernels_are_compiled_for():
    if "avx2" not in isa.features():
        pytest.skip("this processor has no AVX2")
    code = "from scratchnet import kernels; print(kernels.instructions())"
    env = os.environ | process.environment(1, None, "avx2")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.stdout.strip() == "AVX2", done.stderr


def written(folder, name, ratio, kind="training", **more):
    machine = {"cpu": "a processor", "cores": 2, "threads": 2, "python": "3.11", "versions": {}}
    ran = {
        "scratchnet": {"label": "scratchnet", "peak_mib": 150.0, "others": 0.0},
        "torch": {"label": "PyTorch eager", "peak_mib": 450.0, "others": 0.0},
        "jax": {"label": "JAX jit", "skipped": "jax is not installed"},
        "onnxruntime": {"label": "ONNX Runtime", "peak_mib": 100.0, "others": 0.0, **more},
    }
    for key, seconds in (("median", 2.0), ("median_latency", 20.0), ("median_seconds", 0.1)):
        ran["scratchnet"][key] = seconds
        ran["torch"][key] = 1.5 * ratio * seconds
        ran["onnxruntime"][key] = ratio * seconds
    found = {"machine": machine}
    if kind == "training":
        found["runs"] = [{"contenders": ran}]
    else:
        found |= {"contenders": ran, "fastest_other": {}}
    (folder / f"{name}.json").write_text(json.dumps(found))


def test_the_table_is_printed_from_the_results(tmp_path):
    written(tmp_path, "avx512-cnn-128", 3.0)
    written(tmp_path, "avx2-cnn-128", 2.0, not_held="MLAS asks", others=0.4)
    written(tmp_path, "avx512-cnn-inference", 1.5, kind="inference")
    (tmp_path / "avx2-mlp-128.json").write_text('{"machine": {')  # stopped while it was written
    done = run("readme_table", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].count("|") == 10 and "scratchnet, avx2" in lines[0]
    (row,) = (line for line in lines if line.startswith("| `cnn`, 128 |"))
    first = "| 2 s | 6 s, ONNX Runtime | 3.00 | 150 / 450 "
    assert row == f"| `cnn`, 128 {first}| 2 s | 4 s, ONNX Runtime* | 2.00 | 150 / 450 |"
    assert "| one image through `cnn` | 20 us | 30 us, ONNX Runtime | 1.50 | 150 / 450 | -" in (
        done.stdout
    )
    assert "mlp" not in done.stdout and "* not held to avx2: ONNX Runtime: MLAS" in done.stdout
    assert "NOT QUIET: cnn-128, avx2: ONNX Runtime" in done.stdout
    assert "left out, cnn-128, avx2: JAX jit: jax is not installed" in done.stdout


def test_a_folder_without_results_is_named(tmp_path):
    done = run("readme_table", tmp_path / "nowhere")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "nowhere: expected results, found none" in line


@pytest.mark.slow
def test_the_table_s_rows_are_measured_once(tmp_path):
    which = ("--isa", "native", "--rows", "mlp-128", "cnn-inference")
    sizes = ("--images", 256, "--rounds", 1, "--contenders", "scratchnet")
    done = run("readme_table", tmp_path, "--measure", *which, *sizes)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n| ") == 3 and "one image through" in done.stdout
    again = run("readme_table", tmp_path, "--measure", *which, *sizes)
    assert again.stdout == done.stdout and again.stderr == ""


@pytest.mark.slow
def test_kernels_have_a_share_of_peak_for_each_instruction_set(tmp_path):
    asked = ["native", "avx2"] if "avx2" in isa.features() else ["native"]
    sizes = ("--models", "mlp", "--batch-size", 32, "--seconds", 0.02, "--isa", *asked)
    path = tmp_path / "all.json"
    done = run("kernels", *sizes, "--json", path, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(path.read_text())["isas"]
    assert [*found] == asked
    for report in found.values():
        assert report["peaks"].keys() == {"fma", "sgemm", "copy"}
        rows = report["networks"]["mlp"]
        assert len(rows) >= 4 and all(row["of_peak"] > 0 for row in rows)
        assert {row["bound"] for row in rows} <= {"arithmetic", "memory"}
    assert (tmp_path / "kernels-mlp.png").stat().st_size > 10_000


def test_an_epoch_on_a_cluster_is_predicted_and_drawn(tmp_path):
    import cluster

    costs = cluster.Costs(step=1e-3, image=1e-4, gradient=1_000_000, outputs=40)
    slow, fast = (1e-3, 1e6), (0.0, 1e15)
    alone = cluster.predicted(costs, 1, 64, slow, 0.4)
    assert alone.sent == 0 and alone.whole == alone.compute == pytest.approx(7.4e-3)
    four = cluster.predicted(costs, 4, 64, slow, 0.0)
    # 2 * 3 messages and 2 * 3/4 of the gradient; 3 messages and 3/4 of the outputs
    assert four.compute == pytest.approx(2.6e-3)
    assert four.sent == pytest.approx(6e-3 + 1.5 + 3e-3 + 48 * 40 / 1e6)
    assert four.whole == pytest.approx(four.compute + four.sent)
    assert cluster.predicted(costs, 4, 64, fast, 0.4).whole == pytest.approx(four.compute)
    assert cluster.predicted(costs, 4, 64, fast, 0.4, cores=2).compute == 2 * four.compute
    found = {}
    for kind, weak in (("strong", False), ("weak", True)):
        rows = {"a": cluster.series(costs, 64, slow, 0.4, weak)}
        found[kind] = rows | {"b": cluster.series(costs, 64, fast, 0.4, weak)}
    assert [row["ranks"] for row in found["strong"]["a"]] == [1, 2, 4, 8, 16, 32, 64]
    assert cluster.overtaken(found["strong"]["a"])["ranks"] == 2
    assert cluster.overtaken(found["weak"]["b"]) is None
    cluster.draw(tmp_path / "cluster.png", {"predicted": found}, "a title")
    assert (tmp_path / "cluster.png").stat().st_size > 10_000


def test_a_loop_takes_as_long_as_the_thread_with_most_to_do():
    import shards

    parts = np.array([1.0, 2.0, 3.0, 4.0])
    assert [shards.longest(parts, threads) for threads in (1, 2, 3, 4, 8)] == [10, 7, 7, 4, 4]
    parts = np.array([5.0, 1.0, 1.0, 1.0])  # the second thread does what the first has not begun
    assert [shards.longest(parts, 2, handed_out) for handed_out in (False, True)] == [6, 5]
    shares = np.full(32, 1 / 32)
    counted = shards.parts_of(("conv", "conv_relu_pool", 0), 6.4, shares, 128, 4)
    assert counted.shape == (128,) and counted.sum() == pytest.approx(6.4)
    assert shards.parts_of(("conv", "sum_rows_into", 0), 3.2, shares, 128, 4).shape == (32,)
    assert shards.parts_of(("dense", "product", 25), 1.0, shares, 128, 4).shape == (25,)
