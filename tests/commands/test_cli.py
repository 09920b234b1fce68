"""The command, as a process: what it prints where, what it leaves behind, how it ends."""

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
import typer
from command import COMMAND, good, last_json, names_in, run, started, wait_until, write_idx
from PIL import Image
from rich.markup import render

import scratchnet as sn
from scratchnet.cli import app, evaluate, gradcheck, serve
from scratchnet.cli.shared import ORDER
from scratchnet.datasets.idx import FILES

RUN = {"model.safetensors", "history.json", "training.png", "confusion.png", "predictions.png"}
RUN |= {"architecture.png", "metrics.csv"}

# -------------------------------------------------------------------------------------------- tools


def check_png(path):
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width > 200


@pytest.fixture(scope="module")
def mnist():
    return sn.datasets.mnist.load_data()


@pytest.fixture(scope="module")
def here(mnist, tmp_path_factory):
    """A folder with small IDX data, a trained run of two epochs, pictures, and files gone wrong."""
    here = tmp_path_factory.mktemp("cli")
    (x, y), (x_test, y_test) = mnist
    small = (x[:600], y[:600]), (x_test[:100], y_test[:100])
    write_idx(here / "data", small)
    write_idx(here / "unlike", ((x[:60], y[:60]), (x_test[:20, :20], y_test[:20])))
    for name, content in {"cut": x[:9].tobytes(), "html": b"<html>404 Not Found</html>"}.items():
        write_idx(here / name, small)
        (here / name / FILES[0]).write_bytes(content)
    with open(here / "cut" / FILES[0], "wb") as file:
        file.write((here / "data" / FILES[0]).read_bytes()[:-100])

    here.joinpath("result").write_text(
        json.dumps(
            vars(good("train", "--model", "lenet5", "--epochs", "2", "--batch-size", "32", "--data",
                      "data", "--out", "run", "--json", cwd=here))
        )
    )  # fmt: skip
    model = (here / "run/model.safetensors").read_bytes()
    (here / "half.safetensors").write_bytes(model[: len(model) // 2])
    sn.Sequential([sn.Dense(10)], input_shape=(5,)).save(here / "vectors.safetensors")
    (here / "note.txt").write_text("not an image\n")
    Image.new("L", (100, 100), 255).save(here / "blank.png")
    for i in range(20):
        Image.fromarray(x_test[i]).save(here / f"{i}.png")
    return here


@pytest.fixture(scope="module")
def trained(here):
    """The finished process that wrote here/run."""
    return subprocess.CompletedProcess(**json.loads((here / "result").read_text()))


# -------------------------------------------------------------------------------------------- train


def test_train_leaves_a_whole_run(here, trained):
    assert names_in(here / "run") == RUN
    for name in RUN:
        if name.endswith(".png"):
            check_png(here / "run" / name)
    history = json.loads((here / "run/history.json").read_text())
    names = {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert set(history["history"]) == names
    assert all(len(values) == 2 for values in history["history"].values())
    assert history["settings"]["model"] == "lenet5"
    loaded = sn.load_model(here / "run/model.safetensors")
    assert loaded.count_params() == 61_706


def test_train_json_is_the_last_line_and_progress_goes_to_stderr(here, trained, mnist):
    found = last_json(trained)
    assert set(found) == {"test_accuracy", "test_loss", "epochs", "train_seconds", "model"}
    assert found["epochs"] == 2
    assert "epoch" not in "".join(trained.stdout.splitlines()[:-1])
    assert "epoch 1/2  loss" in trained.stderr
    assert "epoch 2/2  loss" in trained.stderr
    assert trained.stdout.isascii()
    x, y = mnist[1][0][:100], mnist[1][1][:100]
    loss, accuracy = sn.load_model(here / found["model"]).evaluate(x, y, verbose=0)
    assert found["test_accuracy"] == pytest.approx(accuracy)
    assert found["test_loss"] == pytest.approx(loss, rel=1e-4)
    assert accuracy > 0.3


def test_a_training_that_diverges_ends_with_one_clear_line(here, tmp_path):
    done = run("train", "--model", "lenet5", "--epochs", 1, "--lr", "1e8", "--data", here / "data",
               "--out", "out", "--json", cwd=tmp_path)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("scratchnet: ")
    assert "--lr" in done.stderr.splitlines()[-1]
    assert "Warning" not in done.stderr
    assert not re.search(r"\bNaN\b", (tmp_path / "out/history.json").read_text())  # no such JSON


def test_test_images_of_another_size_are_refused_before_the_training(here, tmp_path):
    data = here / "unlike"
    done = run("train", "--model", "lenet5", "--data", data, "--out", "out", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("scratchnet: ")
    assert "epoch 1/" not in done.stderr


def check_stopped(folder, epochs):
    names = {name for name in names_in(folder) if not name.startswith("state-")}
    assert names - {"metrics.csv"} == {"model.safetensors", "history.json"}
    assert len(names_in(folder)) > len(names)  # something to go on from
    history = json.loads((folder / "history.json").read_text())
    assert history["epoch"] == list(range(len(history["epoch"])))
    assert len(history["epoch"]) >= epochs
    assert sn.load_model(folder / "model.safetensors").predict(np.zeros((28, 28))).shape == (1, 10)


def test_ctrl_c_in_the_first_epoch_saves_what_there_is(tmp_path):
    ours, theirs = pty.openpty()  # a terminal, for its bar moves within an epoch
    shown = bytearray()

    def has_started():
        shown.extend(os.read(ours, 4096))
        return b"images/s" in shown

    env = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    args = ["train", "--out", "out"]
    with started(*args, cwd=tmp_path, stdout=subprocess.PIPE, stderr=theirs, env=env) as process:
        os.close(theirs)
        wait_until(has_started, "bar")
        process.send_signal(signal.SIGINT)
        try:
            while piece := os.read(ours, 4096):
                shown.extend(piece)
        except OSError:
            pass  # the other end is closed: the process has ended
        assert process.communicate(timeout=60)[0] == b""
    os.close(ours)
    assert process.returncode == 130
    assert b"Traceback" not in shown
    assert b"stopped after 0 of 5 epochs" in shown
    (last,) = re.findall(rb"\n?epoch 1/5  loss [^\r\n]*stopped in batch [\d,]+\r", shown)
    # the last bar was wiped off with the ^C beside it, and left room for that
    assert b"\x1b[2K" in shown[: shown.index(last)].rpartition(b"left")[2]
    bars = re.findall(rb"epoch 1/5 [^\r\n]*left", shown)
    widths = [len(re.sub("\x1b\\[[\\d;?]*[a-zA-Z]", "", bar.decode())) for bar in bars]
    assert max(widths) <= 97
    check_stopped(tmp_path / "out", epochs=0)


def test_sigterm_later_on_saves_what_there_is_in_a_folder_of_its_own(here, tmp_path):
    args = ["train", "--data", here / "data", "--model", "lenet5", "--epochs", 10**6]
    log = tmp_path / "log"
    with open(log, "w") as err, started(*args, cwd=tmp_path, stderr=err) as process:
        wait_until(lambda: re.search(r"epoch +2/", log.read_text()), "second epoch")
        process.terminate()
        assert process.wait(60) == 143
    lines = log.read_text().splitlines()
    assert lines[-1].startswith("scratchnet: stopped after")
    assert "Traceback" not in "".join(lines)
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("lenet5-")
    check_stopped(folder, epochs=2)


# -------------------------------------------------------------------------------- evaluate, predict


@pytest.mark.parametrize(("model", "least"), [(["run/model.safetensors"], 0.3), ([], 0.95)])
def test_evaluate_tells_accuracy_loss_and_confusion(here, model, least):
    found = last_json(good("evaluate", *model, "--data", "data", "--json", cwd=here))
    matrix = np.array(found["confusion_matrix"])
    assert matrix.shape == (10, 10)
    assert matrix.sum() == found["images"] == 100
    assert matrix.trace() == pytest.approx(100 * found["accuracy"])
    assert found["accuracy"] >= least
    assert 0 < found["loss"] < 3
    plain = good("evaluate", *model, "--data", "data", cwd=here)
    assert f"{100 * found['accuracy']:.2f} %" in plain.stdout
    assert plain.stderr == ""


def test_names_of_classes_are_no_markup_in_the_table_of_confusions(capsys):
    names = ["[red]", "[/bold]", ":cat:", "back\\"]
    evaluate._print_confusion(np.diag([7, 0, 1, 2]), names)
    found = re.findall(r"\S+", capsys.readouterr().out)
    assert all(found.count(name) == 2 for name in names)  # a row and a column each


def test_the_shipped_weights_read_mnist(here, mnist):
    done = good("predict", *(f"{i}.png" for i in range(20)), "--json", cwd=here)
    found = last_json(done)
    keys = {"path", "digit", "class", "confidence", "probabilities", "several", "reason"}
    assert all(set(e) == keys and e["class"] == str(e["digit"]) for e in found)
    assert [entry["path"] for entry in found] == [f"{i}.png" for i in range(20)]
    assert sum(f["digit"] == y for f, y in zip(found, mnist[1][1][:20], strict=True)) >= 18
    for entry in found:
        assert sum(entry["probabilities"]) == pytest.approx(1, abs=1e-5)
        assert entry["probabilities"][entry["digit"]] == entry["confidence"]
        assert entry["confidence"] == max(entry["probabilities"])
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("json_", [True, False])
def test_a_bad_image_does_not_keep_the_others_from_an_answer(here, json_):
    images = ["0.png", "note.txt", "1.png", "blank.png"]
    model = ["--model", "run/model.safetensors"]
    done = run("predict", *images, *model, *["--json"] * json_, cwd=here)
    assert done.returncode == 1
    assert [line.split(":")[:2] for line in done.stderr.splitlines()] == [
        ["scratchnet", " note.txt"],
        ["scratchnet", " blank.png"],
    ]
    lines = done.stdout.splitlines()
    answered = [e["path"] for e in last_json(done)] if json_ else [at.split(":")[0] for at in lines]
    assert answered == ["0.png", "1.png"]


def test_predict_draws_the_steps_to_an_answer(here, tmp_path):
    model = ["--model", here / "run/model.safetensors"]
    done = good("predict", here / "0.png", *model, "--show-steps", "steps.png", cwd=tmp_path)
    assert re.search(r"0\.png: \d  \d+\.\d %", done.stdout)
    check_png(tmp_path / "steps.png")
    assert names_in(tmp_path) == {"steps.png"}


@pytest.mark.slow
def test_a_run_s_folder_is_taken_wherever_a_model_is(here, tmp_path):
    file = "run/model.safetensors"
    one, other = (good("evaluate", model, "--data", "data", cwd=here) for model in ("run", file))
    assert one.stdout == other.stdout
    (found,) = last_json(good("predict", "0.png", "--model", "run", "--json", cwd=here))
    assert last_json(good("predict", "0.png", "--model", file, "--json", cwd=here)) == [found]
    done = good("explain", "0.png", "--model", "run", "--out", tmp_path / "why.png", cwd=here)
    assert done.stdout.startswith(f"0.png: {found['digit']} ")
    out = tmp_path / "weights.npz"
    good("export", "run", "--format", "npz", "--out", out, cwd=here)
    model = sn.load_model(here / "run")
    with np.load(out) as arrays:
        assert all((arrays[name] == array).all() for name, array in model.arrays().items())
    assert serve._named([here / "run", here / file]).keys() == {"run", "model"}


def test_a_default_export_of_a_run_stands_in_its_folder(here, tmp_path):
    shutil.copytree(here / "run", tmp_path / "a.run")
    done = good("export", "a.run", "--format", "npz", cwd=tmp_path)
    assert done.stdout == "a.run/model-weights.npz\n"
    assert (tmp_path / "a.run/model-weights.npz").stat().st_size > 10_000


def test_train_says_what_to_do_next(here, trained):
    assert trained.stdout.splitlines()[-2] == "next: scratchnet predict IMAGE --model run"
    assert "results in run" in trained.stdout


def test_gradcheck_ends_with_a_verdict_on_a_run_too(here, tmp_path):
    done = good("gradcheck", "--model", "run", "--entries", 2, cwd=here)
    end = " ".join(done.stdout.rpartition("\n\n")[2].split())  # folded to the terminal's width
    parts = (
        r"PASSED: all \d+ gradients of run agree .* tolerance of 1e-06; .* directions: .* kinks, "
    )
    assert re.match(parts, end)
    found = last_json(good("gradcheck", "--model", "run", "--entries", 2, "--json", cwd=here))
    assert found.keys() == {"model", "passed", "tolerance", "checks"} and found["passed"]


def test_gradcheck_takes_a_model_that_is_no_classifier(tmp_path):
    model = sn.Sequential([sn.Dense(3), sn.ReLU(), sn.Dense(2)], input_shape=(4,))
    model.compile("sgd", "mse")
    model.save(tmp_path / "m.safetensors")
    done = good("gradcheck", "--model", "m.safetensors", cwd=tmp_path)
    assert "PASSED" in done.stdout


def test_gradcheck_fails_with_the_names_of_what_is_wrong():
    right = sn.gradcheck.Check("dense.W", (2,), (0,), 1.0, 1.0, 0.0, 2)
    wrong = sn.gradcheck.Check("dense.b", (2,), (0,), 1.0, 8.0, 0.9, 2, wrong=1, kinks=1)
    report = sn.gradcheck.Report([right, wrong])
    verdict, _, kinks = gradcheck._verdict("m", report)
    assert verdict.startswith("FAILED: 1 of 2 gradients of m ")
    assert verdict.endswith("1e-06: dense.b") and kinks.startswith("kinks, 1 here")


# ------------------------------------------------------------------------------------- small things


@pytest.mark.parametrize("what", [[], ["cnn"], ["mlp"], ["run/model.safetensors"]])
def test_summary_of_a_name_a_file_or_the_default(here, what):
    totals = {"mlp": "623,290", "run/model.safetensors": "61,706"}
    assert totals.get(what[0] if what else "", "121,930") in good("summary", *what, cwd=here).stdout


def test_version_and_help(tmp_path):
    assert good("--version", cwd=tmp_path).stdout == f"scratchnet {sn.__version__}\n"
    options = {"train": "--epochs", "evaluate": "--data", "predict": "--json", "summary": "cnn"}
    for command, word in options.items():
        assert word in good(command, "--help", cwd=tmp_path).stdout
    assert all(command in good("--help", cwd=tmp_path).stdout for command in options)
    assert names_in(tmp_path) == set()


@pytest.mark.slow
@pytest.mark.parametrize("columns", ["40", "80"])
def test_h_is_help_everywhere_at_any_width_and_shows_defaults(columns, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", columns)
    names = list(typer.main.get_command(app).commands)
    texts = {name: good(*name.split(), "-h", cwd=tmp_path).stdout for name in ["", *names]}
    for name, text in texts.items():
        assert "…" not in text and "Examples:" in text
        assert f"scratchnet {name}".strip() in text.partition("Examples:")[2]
        assert max(map(len, text.partition("Examples:")[0].splitlines())) <= max(int(columns), 64)
    words = " ".join(re.sub("[│╭╰─╮╯]", " ", texts["train"]).split())
    for default in ("5; --recipe fast: 3, resnet: 10, best: 16", "0.003;", "(128;", "(mnist)"):
        assert default in words
    places = [texts[""].find(f"\n{start}{name} ") for name in ORDER for start in ("  ", "│ ")]
    places = [place for place in places if place >= 0]
    assert len(places) == len(ORDER) and places == sorted(places)


def test_nothing_in_a_help_text_is_taken_for_markup():
    command = typer.main.get_command(app)
    texts = [command.help, command.epilog]
    for word in command.commands.values():
        texts += [
            word.help,
            word.short_help,
            word.epilog,
            *(getattr(param, "help", None) for param in word.params),
        ]
    assert len(texts) > 20
    for text in filter(None, texts):
        assert render(text).plain == text


def test_without_a_command_the_help_is_shown_as_wrong_usage(tmp_path):
    done = run(cwd=tmp_path)
    assert done.returncode == 2
    assert "train" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    command = " ".join(COMMAND) + " summary | head -n 1 >/dev/null; echo ${PIPESTATUS[0]}"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("0\n", "")


# ---------------------------------------------------------------------------------------- bad input

TRAIN = "train --model lenet5 --epochs 1 --data {here}/data"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("train --model densenet", 2, ["--model", "cnn-small", "densenet"]),
        ("train --epochs 0", 2, ["--epochs", "1"]),
        ("train --epochs -1", 2, ["--epochs", "1"]),
        ("train --epochs x", 2, ["--epochs", "integer"]),
        ("train --lr nan", 2, ["--lr", "above 0", "nan"]),
        ("train --lr 0", 2, ["--lr", "above 0", "found 0"]),
        ("train --lr -1", 2, ["--lr", "above 0", "-1"]),
        ("train --lr inf", 2, ["--lr", "inf"]),
        ("train --batch-size 0", 2, ["--batch-size", "1"]),
        ("train --seed -1", 2, ["--seed", "0"]),
        ("train --validation-split 1", 2, ["--validation-split", "below 1", "found 1"]),
        ("train --data missing --out out", 1, ["missing", "folder"]),
        ("train --data missing", 1, ["missing", "folder"]),
        ("train --data {here}/cut", 1, [FILES[0], "expected 470,416", "found 470,316"]),
        ("train --data {here}/html", 1, [FILES[0], "expected an IDX file", "html"]),
        (f"{TRAIN} --validation-split 0.999", 2, ["validation", "0.999"]),
        (f"{TRAIN} --out {{here}}/note.txt", 1, ["note.txt", "folder"]),
        (f"{TRAIN} --out {{here}}/note.txt/sub", 1, ["note.txt/sub", "folder"]),
        (f"{TRAIN} --out {{here}}/run", 1, ["run", "model.safetensors"]),
        (f"{TRAIN} --out {'x' * 300}", 1, ["xxx", "folder"]),
        (f"{TRAIN} --patience 0", 2, ["--patience", "1"]),
        (f"{TRAIN} --patience 3 --validation-split 0", 2, ["--patience", "--validation-split"]),
        (f"{TRAIN} --augment mirror", 2, ["--augment", "none, affine, elastic", "mirror"]),
        (f"{TRAIN} --checkpoint-every 3h", 2, ["--checkpoint-every", "30s", "3h"]),
        (f"{TRAIN} --checkpoint-every 0", 2, ["--checkpoint-every", "found '0'"]),
        ("train --resume missing", 1, ["missing", "history.json"]),
        ("train --resume {here}/data", 1, ["data", "history.json"]),
        ("train --resume {here}/run --out out", 2, ["--out", "--resume"]),
        ("train --resume {here}/run --lr 0.5", 2, ["--lr 0.5", "0.003", "run"]),
        ("train --resume {here}/run --model cnn", 2, ["--model cnn", "lenet5"]),
        ("evaluate missing.safetensors", 1, ["missing.safetensors", "no such file"]),
        ("evaluate {here}/half.safetensors", 1, ["half.safetensors", "damaged"]),
        ("evaluate {here}/note.txt", 1, ["note.txt", "foreign"]),
        ("evaluate {here}/data", 1, ["data", "a folder without model.safetensors"]),
        (f"evaluate {'x' * 300}", 1, ["xxx"]),
        (f"summary {'x' * 300}", 1, ["xxx"]),
        ("evaluate {here}/vectors.safetensors --data {here}/data", 1, ["(n, 5)", "28"]),
        ("evaluate {model} --data {here}/unlike", 1, ["unlike", "(28, 28)", "(20, 28)"]),
        ("predict {here}/0.png --model {here}/vectors.safetensors", 1, ["28 x 28", "(5,)"]),
        ("predict {here}/0.png --model {here}/half.safetensors", 1, ["half.safetensors"]),
        ("predict {here}/note.txt --model {model}", 1, ["note.txt", "image"]),
        ("predict {here}/nothing.png --model {model}", 1, ["nothing.png", "no such file"]),
        ("predict {here}/blank.png --model {model}", 1, ["blank.png"]),
        ("predict", 2, ["IMAGE"]),
        ("predict {here}/0.png {here}/1.png --show-steps s.png", 2, ["--show-steps", "one image"]),
        ("predict {here}/0.png --model {model} --show-steps no/s.png", 1, ["no/s.png"]),
        ("predict {here}/0.png --model {model} --show-steps s.doc", 2, ["s.doc", ".png"]),
        ("predict {here}/0.png --sequence --show s.gif", 2, ["--show", "s.gif", ".png"]),
        ("explain {here}/0.png --out x.gif", 2, ["--out", "x.gif", ".png"]),
        ("explain {here}/0.png --out x.png --label 12", 2, ["--label", "0 to 9", "12"]),
        ("explain {here}/0.png --out x.png --label -1", 2, ["--label", "0 to 9", "-1"]),
        ("explain {here}/0.png --out x.png --layer conv9", 2, ["--layer", "conv2d_1", "conv9"]),
        ("explain {here}/nothing.png --out x.png", 1, ["nothing.png", "no such file"]),
        ("explain {here}/0.png --out no/x.png", 1, ["no/x.png"]),
        ("explain {here}/0.png --out x.png --model {here}/data", 1, ["data", "model.safetensors"]),
        ("export --format h5", 2, ["--format", "h5"]),
        ("export {model} --format npz --out {model}", 2, ["--out", "another file"]),
        ("export {here}/run --format safetensors --out {model}", 2, ["--out", "another file"]),
        ("export {here}/data --format npz", 1, ["data", "model.safetensors"]),
        ("gradcheck --model nothing", 2, ["--model", "run's folder", "cnn-small", "nothing"]),
        ("gradcheck --entries 0", 2, ["--entries", "1"]),
        ("gradcheck --model {here}/half.safetensors", 1, ["half.safetensors", "damaged"]),
        ("serve --port 70000", 2, ["--port", "65535"]),
        ("serve {here}/data", 1, ["data", "model.safetensors"]),
        ("warmup now", 2, ["now"]),
        ("summary densenet", 1, ["densenet", "cnn-small"]),
        ("train --colour red", 2, ["--colour"]),
        ("paint", 2, ["paint"]),
    ],
    ids=lambda value: value.replace("{here}/", "")[:60] if isinstance(value, str) else None,
)
def test_bad_input_is_one_line_and_leaves_nothing(here, trained, tmp_path, line, code, words):
    args = line.format(here=here, model=here / "run/model.safetensors").split()
    before = names_in(here)
    done = run(*args, cwd=tmp_path)
    lines = done.stderr.splitlines()
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    if "training lenet5" in lines[0]:  # the status line of a training that was about to begin
        lines = lines[1:]
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("scratchnet: ")
    assert [word for word in words if word not in lines[0]] == []
    assert names_in(tmp_path) == set()
    assert names_in(here) == before


def test_warmup_trains_every_architecture_for_a_moment(monkeypatch, capsys):
    from scratchnet import architectures, cli

    monkeypatch.setattr(architectures, "ARCHITECTURES", {"mlp": architectures.mlp})
    monkeypatch.setattr(sys, "argv", ["scratchnet", "warmup"])
    # what the command tells the package of itself stays with this test
    monkeypatch.setattr(cli.kernels, "on_compiling", lambda call: None)
    monkeypatch.setattr(cli.datasets.download, "announce", print)
    with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    *ready, seconds = capsys.readouterr().out.splitlines()
    assert ready == ["mlp: ready", "line reader: ready"] and seconds.endswith(" s")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's full device")
def test_a_full_disk_under_the_output_is_one_line(tmp_path):
    with open("/dev/full", "w") as full:
        command = [*COMMAND, "summary", "--json"]
        done = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "scratchnet: No space left on device\n"
