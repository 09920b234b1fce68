"""Weights as plain arrays, the command `scratchnet export`, and libraries that are not there."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import scratchnet as sn
from scratchnet import InputError, cli
from scratchnet.engine import threads
from scratchnet.interop import need, onnx, weights

WRITERS = {".safetensors": weights.save_safetensors, ".npz": weights.save_npz}


def make(seed=0, dtype=np.float32):
    layers = [sn.Conv2D(3, 2), sn.BatchNorm(), sn.Flatten(), sn.Dense(4)]
    model = sn.Sequential(layers, (4, 5, 2), dtype=dtype)
    rng = np.random.default_rng(seed)
    for array in model.arrays().values():
        array[:] = rng.uniform(1, 2, array.shape)
    return model


def write(path, arrays):
    """Arrays by name as somebody else would store them."""
    save_file(arrays, path) if path.suffix == ".safetensors" else np.savez(path, **arrays)


# ------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("ending", WRITERS)
def test_weights_come_back_and_other_tools_read_them(ending, tmp_path):
    model, other = make(1), make(2)
    path = tmp_path / f"net{ending}"
    WRITERS[ending](model, path)
    arrays = load_file(path) if ending == ".safetensors" else dict(np.load(path))
    assert arrays.keys() == {
        "conv2d.W", "conv2d.b", "dense.W", "dense.b", "batchnorm.gamma", "batchnorm.beta",
        "batchnorm.running_mean", "batchnorm.running_var",
    }  # fmt: skip
    weights.load_weights(other, path)
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(arrays[name], array, strict=True)
        np.testing.assert_array_equal(other.arrays()[name], array, strict=True)
    assert np.shares_memory(other.layers[0].params["W"], other.flat_params)


@pytest.mark.parametrize("ending", WRITERS)
def test_an_array_that_is_not_contiguous_is_written_as_it_reads(ending, tmp_path):
    model = make(1)
    dense = model.layers[3]
    dense.params["W"] = np.asfortranarray(dense.params["W"])
    WRITERS[ending](model, tmp_path / f"net{ending}")
    other = make(2)
    weights.load_weights(other, tmp_path / f"net{ending}")
    np.testing.assert_array_equal(other.layers[3].params["W"], dense.params["W"])


def test_a_saved_model_holds_weights_too_and_float64_becomes_float32(tmp_path):
    model, other = make(1, np.float64), make(2)
    model.save(tmp_path / "model.safetensors")
    weights.load_weights(other, tmp_path / "model.safetensors")
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array.astype(np.float32), strict=True)


WRONG = {
    "missing": (lambda a: a.pop("dense.b"), "expected an array 'dense.b', found none"),
    "unexpected": (lambda a: a.update(extra=np.ones(1)), "found 'extra' as well"),
    "shape": (lambda a: a.update({"dense.W": a["dense.W"].T.copy()}),
              r"dense.W: expected shape \(36, 4\), found \(4, 36\)"),
    "numbers": (lambda a: a.update({"dense.b": np.ones(4, np.int32)}),
                "dense.b: expected floating-point numbers, found int32"),
}  # fmt: skip


@pytest.mark.parametrize("ending", WRITERS)
@pytest.mark.parametrize("what", WRONG)
def test_weights_that_do_not_fit_leave_the_model_as_it_is(what, ending, tmp_path):
    change, message = WRONG[what]
    arrays = {name: array.copy() for name, array in make(1).arrays().items()}
    change(arrays)
    path, model = tmp_path / f"net{ending}", make(2)
    write(path, arrays)
    with pytest.raises(InputError, match=f"net{ending}: .*{message}"):
        weights.load_weights(model, path)
    np.testing.assert_array_equal(model.flat_params, make(2).flat_params)


def test_files_that_hold_no_weights(tmp_path):
    model = make()
    for ending in WRITERS:
        with pytest.raises(InputError, match="cannot read it: No such file"):
            weights.load_weights(model, tmp_path / f"none{ending}")
        for content in (b"", b"<html>", bytes(100)):
            (tmp_path / f"bad{ending}").write_bytes(content)
            with pytest.raises(InputError, match="damaged or foreign file"):
                weights.load_weights(model, tmp_path / f"bad{ending}")
    with pytest.raises(InputError, match="expected a name in .safetensors or .npz"):
        weights.load_weights(model, tmp_path / "net.pt")
    with pytest.raises(InputError, match="expected a model with an input shape"):
        weights.load_weights(sn.Sequential([sn.ReLU()]), tmp_path / "net.npz")


def test_an_npz_that_runs_code_or_fills_the_memory_is_refused(tmp_path):
    model = make()
    arrays = dict(model.arrays())
    np.savez(tmp_path / "pickled.npz", **arrays | {"dense.b": np.array([print], object)})
    with pytest.raises(InputError, match="damaged or foreign file"):
        weights.load_weights(model, tmp_path / "pickled.npz")
    np.savez_compressed(tmp_path / "bomb.npz", **arrays | {"dense.b": np.zeros(10**6)})
    with pytest.raises(InputError, match=r"dense.b: expected shape \(4,\), found 8000128 bytes"):
        weights.load_weights(model, tmp_path / "bomb.npz")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        for name in arrays:
            archive.writestr(f"{name}.npy", "no array")
    with pytest.raises(InputError, match="damaged or foreign file"):
        weights.load_weights(model, tmp_path / "text.npz")


# ------------------------------------------------------------------------------- missing libraries


def test_a_library_that_is_missing_is_named_with_its_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    message = r'onnx: not installed; pip install "scratchnet\[interop\]" brings it'
    for call in (
        lambda: onnx.save(make(), tmp_path / "net.onnx"),
        lambda: onnx.load(tmp_path / "net.onnx"),
        lambda: need("onnx"),
    ):
        with pytest.raises(InputError, match=message):
            call()


# ------------------------------------------------------------------------------------- the command


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """The command in this process, in a folder of its own: exit code, standard output, errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(threads, "_on_compiling", None)  # the command sets it; give it back after

    def call(*args):
        monkeypatch.setattr(sys, "argv", ["scratchnet", "export", *args])
        with pytest.raises(SystemExit) as done:
            cli.main()
        return done.value.code or 0, *capsys.readouterr()

    return call


def test_export_writes_all_formats(run, tmp_path):
    pytest.importorskip("onnx", reason='needs onnx: pip install "scratchnet[interop]"')
    model = make(3)
    model.save(tmp_path / "net.safetensors")
    for format_, name in (
        ("onnx", "net.onnx"),
        ("safetensors", "net-weights.safetensors"),
        ("npz", "net-weights.npz"),
    ):
        code, out, err = run("net.safetensors", "--format", format_, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == {"format": format_, "file": name}
    back, x = onnx.load(tmp_path / "net.onnx"), np.ones((2, 4, 5, 2))
    np.testing.assert_array_equal(back.predict(x), model.predict(x))
    for name in ("net-weights.safetensors", "net-weights.npz"):
        other = make(4)
        weights.load_weights(other, tmp_path / name)
        np.testing.assert_array_equal(other.flat_params, model.flat_params)


def test_export_without_a_model_takes_the_shipped_weights(tmp_path):
    command = [
        sys.executable,
        "-m",
        "scratchnet",
        "export",
        "--format",
        "npz",
        "--out",
        "digits.npz",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "digits.npz\n")
    shipped = sn.architectures.pretrained().arrays()
    assert {name: a.shape for name, a in np.load(tmp_path / "digits.npz").items()} == {
        name: a.shape for name, a in shipped.items()
    }


def test_export_refuses_in_one_line(run, tmp_path):
    make().save(tmp_path / "net.safetensors")
    content = (tmp_path / "net.safetensors").read_bytes()
    for args, code, message in (
        (["none.safetensors", "--format", "npz"], 1, "expected a model file, found no such file"),
        (["net.safetensors", "--format", "h5"], 2, "--format"),
        (["net.safetensors"], 2, "--format"),
        (["--format", "npz", "--out", "no/where.npz"], 1, "cannot write there"),
        (["net.safetensors", "--format", "safetensors", "--out", "net.safetensors"], 2,
         "expected another file than the model itself"),
    ):  # fmt: skip
        found, out, err = run(*args)
        assert (found, out) == (code, "")
        assert message in err
        assert len(err.splitlines()) == 1
    assert (tmp_path / "net.safetensors").read_bytes() == content
