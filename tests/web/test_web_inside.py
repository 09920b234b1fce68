"""Looking inside, on the page and by the API: dx, running code, what if, and runs that stay."""

import io
import json
import re
import zipfile

import numpy as np
import pytest
import typer.testing
from browsing import needs_chromium, sample, shown_number
from playwright.sync_api import expect
from serving import ONE, array, events, good, is_problem, process, served

import scratchnet as sn
from scratchnet import kernels
from scratchnet.cli import app
from scratchnet.engine.threads import compiles
from scratchnet.web import saved_runs
from scratchnet.web.app import create_app

pytestmark = needs_chromium

# --------------------------------------------------------------------------------------- by the API


@pytest.fixture(scope="module")
def few():
    (x, y), (x_test, y_test) = sn.datasets.mnist.load_data()
    return (x[:700], y[:700]), (x_test[:100], y_test[:100])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def server(few, folder):
    with served(create_app(data=lambda: few, runs=folder)) as client:
        yield client


@pytest.fixture(scope="module")
def trace():
    return sn.trace(sn.architectures.pretrained(), np.array(ONE, np.uint8), 7)


def asked(server, path, **body):
    return good(server.post(path, json={"pixels": ONE, "label": 7, **body}))


def test_dx_is_the_library_s(server, trace):
    found = asked(server, "/api/trace/input", layer="conv2d_1", index=[4, 5, 6])
    want = trace.explain_input("conv2d_1", (4, 5, 6))
    assert (found["analytic"], found["numeric"]) == (want.gradient, want.numeric)
    assert found["first"] == "dy" and found["agrees"] == want.agrees
    assert found["verdict"] == want.verdict and found["text"] == want.text()
    np.testing.assert_array_equal(array(found["window"]), want.sum.grid("x").astype("<f4"))
    assert array(found["filter"]).shape == (3, 3, 64) and found["area"] == [2, 3, 3, 3]
    at = asked(server, "/api/trace/input", layer="dense", index=[7])
    assert at["window"] is None and at["area"] is None and len(at["terms"]) == 50
    for layer, index in (("conv9", [0]), ("conv2d", [28, 0, 0]), ("dense", [0, 0])):
        body = {"pixels": ONE, "layer": layer, "index": index}
        is_problem(server.post("/api/trace/input", json=body), 404)


def test_x_stands_beside_dy(server, trace):
    body = {"layer": "conv2d", "parameter": "W", "index": [0, 1, 0, 5]}
    found = asked(server, "/api/trace/parameter", **body)
    x, dy, both = (array(found[key]) for key in ("x", "dy", "map"))
    np.testing.assert_array_equal(dy, trace["conv2d"].dy[..., 5].astype("<f4"))
    np.testing.assert_array_equal(x, trace.x[:26, 1:27, 0].astype("<f4"))
    np.testing.assert_allclose(both, x * dy, rtol=1e-6)


def test_what_the_page_says_of_rules_comes_from_the_layers(server, trace):
    found = asked(server, "/api/trace")
    assert (found["loss_formula"], found["loss_gradient"]) == trace.loss_in_a_line
    assert found["one_hot"] == trace.one_hot.tolist()
    np.testing.assert_array_equal(array(found["x"]), trace.x.astype("<f4"))
    layers = {layer["name"]: layer for layer in found["layers"]}
    slope = array(layers["relu"]["slope"])
    np.testing.assert_array_equal(slope, trace["relu"].input > 0)
    assert layers["conv2d"]["slope"] is None
    assert layers["dense"]["parameters"][0]["axes"] == ["input", "unit"]


def test_the_code_is_the_library_s_steps(server, trace):
    found = asked(server, "/api/trace/code", layer="conv2d_1", direction="backward")
    want = trace["conv2d_1"].steps("backward")
    assert found["file"] == "layers/conv.py" and not found["cut"]
    assert [step["line"] for step in found["steps"]] == [step.line for step in want]
    (function,) = found["functions"]
    assert function["lines"][0].strip().startswith("def backward")
    made = {m["name"]: m for step in found["steps"] for m in step["made"]}
    np.testing.assert_array_equal(
        array(made['self.grads["W"]']["value"]), trace["conv2d_1"].grads["W"].astype("<f4")
    )
    assert made["n"]["text"] == "= 1" and made["n"]["value"] is None
    big = asked(server, "/api/trace/code", layer="dense", direction="backward")
    made = {m["name"]: m for step in big["steps"] for m in step["made"]}['self.grads["W"]']
    assert made["shape"] == [1600, 64] and made["every"] == [4, 1]
    np.testing.assert_array_equal(
        array(made["value"]), trace["dense"].grads["W"][::4].astype("<f4")
    )
    body = {"pixels": ONE, "layer": "softmax", "direction": "backward"}
    assert "loss" in is_problem(server.post("/api/trace/code", json=body), 404)


def test_what_if_is_the_library_s_and_changes_nothing(server, trace):
    before = asked(server, "/api/trace")
    changes = [
        {"kind": "off", "layer": "conv2d", "unit": 3},
        {"kind": "set", "layer": "dense", "parameter": "W", "index": [3, 4], "value": 2},
        {"kind": "learn", "steps": 2, "learning_rate": 0.01},
        {"kind": "paint", "pixels": np.roll(ONE, 2, axis=1).tolist()},
    ]
    found = asked(server, "/api/what-if", changes=changes, look="relu")
    w = sn.what_if(sn.architectures.pretrained(), np.array(ONE, np.uint8), 7)
    w.off("conv2d", 3).set("dense.W", (3, 4), 2).learn(2, sn.SGD(0.01))
    w.paint(np.roll(np.array(ONE, np.uint8), 2, axis=1))
    assert found["now"] == {"loss": w.now.loss, "probabilities": w.now.probabilities.tolist()}
    assert found["before"]["loss"] == w.before.loss and found["changes"] == w.changes
    np.testing.assert_array_equal(array(found["output_now"]), w.now["relu"].output.astype("<f4"))
    assert [row["layer"] for row in found["moved"]] == [row["layer"] for row in w.rows()]
    assert asked(server, "/api/trace") == before
    nothing = asked(server, "/api/what-if", changes=[])
    assert nothing["before"] == nothing["now"] and nothing["look"] == "conv2d"
    for change in ({"kind": "off", "layer": "relu", "unit": 0}, {**changes[1], "index": [9999, 0]}):
        is_problem(server.post("/api/what-if", json={"pixels": ONE, "changes": [change]}), 404)


def test_an_image_that_fools_is_read_so_by_predict(server):
    found = good(server.post("/api/fool", json={"pixels": ONE, "target": 7}))
    assert found["succeeded"] and found["digit"] == 7 and found["steps"] == len(found["path"]) - 1
    body = {"pixels": found["pixels"], "prepared": True}
    assert good(server.post("/api/predict", json=body))["digit"] == 7
    is_problem(server.post("/api/fool", json={"pixels": ONE, "target": 10}), 404)


# ---------------------------------------------------------------------------------- runs that stay


def run_to_its_end(server, **settings):
    settings = {"architecture": "mlp", "images": 500, "epochs": 1, **settings}
    run = good(server.post("/api/runs", json=settings), 201)["id"]
    return run, list(events(server, run))


def test_a_run_is_kept_and_there_again_after_a_restart(server, few, folder):
    run, heard = run_to_its_end(server, title="my first")
    last = heard[-1][1]
    assert (last["title"], last["about"], last["note"]) == ("my first", "mlp with adam", None)
    assert last["saved"] == str(folder / run)
    renamed = good(server.post(f"/api/runs/{run}/title", json={"title": "é 1"}))
    assert renamed["title"] == "é 1"
    titles = {m["name"]: m["title"] for m in good(server.get("/api/models"))}
    assert titles[run] == "é 1" and titles["mnist-cnn"] == "mnist-cnn"

    body = {"pixels": ONE, "prepared": True, "model": run}
    answer = good(server.post("/api/predict", json=body))
    model = server.get(f"/api/runs/{run}/model")
    assert model.headers["content-disposition"] == f'attachment; filename="{run}.safetensors"'
    assert model.content == (folder / run / "model.safetensors").read_bytes()
    with zipfile.ZipFile(io.BytesIO(server.get(f"/api/runs/{run}/folder").content)) as archive:
        names = {name.removeprefix(f"{run}/") for name in archive.namelist()}
        pair = {"state-0000000004.safetensors"}  # 500 images, 128 a batch
        files = {"model.safetensors", "history.json", "metrics.csv", "training.png"}
        assert names == files | pair
        record = json.loads(archive.read(f"{run}/history.json"))
    assert record["history"] == last["history"] and record["page"]["title"] == "é 1"

    (folder / "broken").mkdir()
    (folder / "broken" / "model.safetensors").write_bytes(b"x")
    with served(create_app(data=lambda: few, runs=folder)) as again:
        (found,) = [r for r in good(again.get("/api/runs")) if r["id"] == run]
        assert found["title"] == "é 1" and found["state"] == "done"
        assert found["history"] == last["history"] and found["settings"] == last["settings"]
        assert good(again.post("/api/predict", json=body)) == answer
        assert list(events(again, run))[-1][1]["model"] == run
        is_problem(again.post(f"/api/runs/{run}/digit", json={"pixels": ONE}), 409)
        assert again.delete(f"/api/runs/{run}").status_code == 204
    assert (folder / run / "model.safetensors").exists()  # only the server forgot it


@pytest.mark.skipif(
    not compiles() or kernels.backend() != "numba", reason="the bits are the compiled kernels'"
)
def test_the_command_goes_on_with_a_kept_run_to_the_same_bits(tmp_path, monkeypatch):
    """After one epoch of the page another by the command: as two of the page, or of the library."""
    data = sn.datasets.mnist.load_data()
    settings = {"optimizer": "momentum", "learning_rate": 0.05, "batch_size": 50, "images": 400}
    with served(create_app(data=lambda: data, runs=tmp_path)) as client:
        run, heard = run_to_its_end(client, **settings, title="to go on")
        whole, told = run_to_its_end(client, **settings, epochs=2)
        kept = {path.name for path in (tmp_path / run).iterdir()}
        assert kept == {"model.safetensors", "history.json", "metrics.csv"} | {
            "state-0000000008.safetensors"
        }
        renamed = {"title": "it goes on"}
        assert good(client.post(f"/api/runs/{run}/title", json=renamed))["note"] is None
    monkeypatch.setattr("scratchnet.cli.train._save_pictures", lambda *_: None)  # they take seconds
    runner = typer.testing.CliRunner()
    go_on = ["train", "--resume", str(tmp_path / run)]
    ended = runner.invoke(app, [*go_on, "--epochs", "2"])
    assert ended.exit_code == 0, ended.output
    for part in ("model.safetensors", "metrics.csv"):
        assert (tmp_path / run / part).read_bytes() == (tmp_path / whole / part).read_bytes()
    record = json.loads((tmp_path / run / "history.json").read_text())
    assert record["epoch"] == [0, 1] and record["history"] == told[-1][1]["history"]
    (found,) = [record for _, record, _ in saved_runs.found_in(tmp_path, 8) if record.name == run]
    assert (
        found.title == "it goes on"
        and found.settings.epochs == 2
        and found.about == "mlp with momentum"
    )
    more = runner.invoke(app, [*go_on, "--epochs", "3"])
    assert more.exit_code == 2 and "is finished" in more.output


def test_a_training_goes_on_where_its_folder_cannot_be_written(server, folder, monkeypatch):
    monkeypatch.setattr(saved_runs, "write", lambda *_: None)

    def full(*_):
        raise sn.InputError("no space left on device")

    monkeypatch.setattr("scratchnet.backup.BackupAndRestore._save", full)
    run, heard = run_to_its_end(server)
    assert heard[-1][1]["state"] == "done" and heard[-1][1]["error"] is None


def test_a_run_that_cannot_be_saved_is_there_all_the_same(server, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(saved_runs, "write", full)
    run, heard = run_to_its_end(server)
    last = heard[-1][1]
    assert (last["state"], last["model"], last["saved"]) == ("done", run, None)
    assert last["note"] == "it is not saved: no space left on device" and last["error"] is None


def test_a_run_of_the_command_is_offered_too(few, tmp_path):
    net = sn.architectures.build("mlp")
    (tmp_path / "mnist-cnn").mkdir()  # a name that is taken
    net.save(tmp_path / "mnist-cnn" / "model.safetensors")
    settings = {"recipe": "standard", "model": "mlp", "epochs": 1}
    record = {"settings": settings, "train_seconds": 1.0, "epoch": [0], "history": {"loss": [0.5]}}
    (tmp_path / "mnist-cnn" / "history.json").write_text(json.dumps(record))
    with served(create_app(data=lambda: few, runs=tmp_path)) as client:
        (found,) = good(client.get("/api/runs"))
        assert (found["id"], found["title"]) == ("mnist-cnn-run", "mnist-cnn")
        assert found["settings"] is None and found["about"] == "mlp with recipe standard"
        assert found["history"] == {"loss": [0.5]} and found["model"] == "mnist-cnn-run"
        names = [m["name"] for m in good(client.get("/api/models"))]
        assert names == ["mnist-cnn", "mnist-cnn-run"]


def test_a_run_by_recipe_is_the_recipe_s(server, few):
    settings = {"recipe": "fast", "epochs": 1, "architecture": "mlp"}
    run, heard = run_to_its_end(server, **settings)
    last = heard[-1][1]
    assert last["settings"]["learning_rate"] == sn.recipes.RECIPES["fast"].lr
    assert last["about"] == "mlp with recipe fast"
    (x, y), _ = few
    recipe = sn.recipes.Recipe(architecture="mlp", epochs=1)
    net = recipe.build()
    x, y = x[:-70][:500], y[:-70][:500]
    recipe.compile(net, len(x))
    history = net.fit(x, y, recipe.batch_size, 1, verbose=0).history
    assert last["history"]["loss"] == history["loss"]
    known = {row["name"]: row for row in good(server.get("/api/architectures"))["recipes"]}
    assert known.keys() == sn.recipes.RECIPES.keys()
    assert known["best"]["architecture"] == "cnn-bn" and "affine" in known["best"]["about"]
    body = {"recipe": "worst"}
    assert "recipe" in is_problem(server.post("/api/runs", json=body), 422)


def test_a_digit_is_watched_while_a_network_learns(server):
    settings = {"architecture": "lenet5", "images": 600, "epochs": 100, "batch_size": 32}
    run = good(server.post("/api/runs", json=settings), 201)["id"]
    is_problem(server.get(f"/api/runs/{run}/model"), 409)
    good(server.post(f"/api/runs/{run}/digit", json={"pixels": ONE}))
    for kind, data in events(server, run):
        if kind == "digit":
            assert array(data["value"]).shape == (28, 28, 6) and data["layer"] == "conv2d"
            assert sum(data["probabilities"]) == pytest.approx(1, abs=1e-4)
            break
    else:
        raise AssertionError("no digit")
    assert server.delete(f"/api/runs/{run}").status_code == 204


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(sn.InputError, match="--runs .*expected a folder to write to"):
        from scratchnet.web.saved_runs import checked

        checked(tmp_path / "file" / "runs")


# ------------------------------------------------------------------------------------- on the page


def go(page, place):
    page.goto(page.url.split("#")[0] + f"#{place}")


@pytest.mark.slow
def test_any_dx_is_explained_on_the_page(visit):
    page = visit()
    sample(page, "Hard sample 8")
    rng = np.random.default_rng(3)
    trace = sn.trace(sn.architectures.pretrained(), hard_eight(page), 8)
    for name in ("conv2d_1", "maxpool2d", "dense"):
        go(page, f"backward/{name}")
        part = page.locator(f"[data-dx={name}]")
        part.wait_for()
        index = [int(rng.integers(size)) for size in trace[name].input.shape]
        for field, i in zip(part.locator("input").all(), index, strict=True):
            field.fill(str(i))
        part.get_by_role("button", name="Show").click()
        expect(part.locator(".result h3")).to_contain_text(f"dL/dx[{', '.join(map(str, index))}]")
        want = trace.explain_input(name, index)
        analytic = shown_number(part.locator(".analytic dd"))
        assert analytic == pytest.approx(want.gradient, rel=1e-5, abs=1e-12)
        numeric = shown_number(part.locator(".numeric dd"))
        assert numeric == pytest.approx(want.numeric, rel=1e-3, abs=1e-9)
    go(page, "backward/conv2d")
    page.locator("[data-step=conv2d] .through canvas").nth(1).click(position={"x": 60, "y": 60})
    part = page.locator("[data-dx=conv2d]")
    expect(part.get_by_text("filter turned round")).to_be_visible()
    expect(part.locator(".matrix")).to_have_count(3)


def hard_eight(page):
    """The digit that the page looks at."""
    kept = json.loads(page.evaluate("() => sessionStorage.getItem('digit')"))
    return np.array(kept["pixels"], np.uint8)


@pytest.mark.slow
def test_the_code_is_stepped_on_the_page(visit):
    page = visit()
    sample(page, "Sample 4")
    go(page, "backward/conv2d_1")
    part = page.locator("[data-code='conv2d_1.backward']")
    part.locator("summary").click()
    expect(part.locator(".now code")).to_contain_text("cols = self.kept(dy)")
    expect(part.locator(".made")).to_contain_text("cols (121, 288)")
    for _ in range(5):
        part.get_by_role("button", name="Next line").click()
    expect(part.locator(".now code")).to_contain_text("dW = cols.T @ dy")
    expect(part.locator(".made canvas")).to_have_count(1)
    part.get_by_role("button", name="Line before").click()
    expect(part.locator(".now code")).to_contain_text("dy = dy.reshape")


def drag(page, canvas, start, end):
    """One stroke, in a single move of the mouse."""
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + start[0], box["y"] + start[1])
    page.mouse.down()
    page.mouse.move(box["x"] + end[0], box["y"] + end[1])
    page.mouse.up()


@pytest.mark.slow
def test_what_if_on_the_page(visit):
    page = visit()
    sample(page, "Sample 3")
    page.get_by_role("link", name="What if").click()
    done, after = page.locator(".tried-done li"), page.locator(".tried-outcome .after")
    expect(after.first).to_contain_text("3, ")
    page.get_by_role("button", name="Switch off").click()
    expect(done).to_have_text("conv2d: unit 0 off")
    page.get_by_role("button", name="Take them").click()
    expect(done.nth(1)).to_contain_text("3 steps of SGD")
    loss = shown_number(after.nth(1))
    page.locator(".pixel-pad").click(position={"x": 100, "y": 100})
    expect(done.nth(2)).to_contain_text("image: 1 value painted over")
    page.get_by_role("button", name="Undo").click()
    expect(done).to_have_count(2)
    expect(after.nth(1)).to_have_text(re.compile(re.escape(f"{loss}"[:4])))
    page.get_by_role("button", name="Start over").click()
    expect(done).to_have_text("Nothing yet.")
    drag(page, page.locator(".pixel-pad"), (15, 265), (215, 265))
    expect(done).to_contain_text("image: 21 values painted over")  # a quick stroke has no holes
    page.locator("#fool select").select_option("8")
    page.get_by_role("button", name="Fool it").click()
    expect(page.locator("#fool")).to_contain_text("it is read as 8")
    page.get_by_role("button", name="Look at this image").click()
    expect(page.locator("#subject-read b")).to_have_text("8")


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_on_a_phone_nothing_sticks_out_of_these_views(visit, theme):
    page = visit(viewport={"width": 390, "height": 800}, has_touch=True, color_scheme=theme)
    sample(page, "Hard sample 5")
    go(page, "backward/conv2d_1")
    part = page.locator("[data-dx=conv2d_1]")
    part.get_by_role("button", name="Show").click()
    expect(part.locator(".matrix")).to_have_count(3)
    code = page.locator("[data-code='conv2d_1.backward']")
    code.locator("summary").click()
    expect(code.locator(".listing")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390
    go(page, "what-if")
    expect(page.locator(".tried-outcome dl")).to_be_visible()
    assert page.evaluate("() => document.documentElement.scrollWidth") == 390


@pytest.mark.slow
def test_runs_are_named_compared_and_taken_away_on_the_page(browser, tmp_path):
    net = sn.architectures.build("mlp")
    for name, loss in (("one", 0.5), ("two", 0.25)):
        (tmp_path / name).mkdir()
        net.save(tmp_path / name / "model.safetensors")
        record = {"train_seconds": 1.0, "epoch": [0], "history": {"loss": [loss]}}
        (tmp_path / name / "history.json").write_text(json.dumps(record))
    with process("--port", 0, "--runs", tmp_path) as (_, place):
        page = browser.new_page()
        page.goto(f"{place}/#train")
        compare = page.locator("#train-compare")
        compare.get_by_label("Show").select_option("loss")
        expect(compare.locator(".key li")).to_have_count(2)
        expect(compare.locator(".key")).to_contain_text("0.25")
        compare.get_by_role("checkbox", name="one").uncheck()
        expect(compare.locator(".key li")).to_have_count(1)
        kept = page.locator("#train-kept")
        expect(kept).to_contain_text(f"Kept in {tmp_path / 'two'}")
        kept.get_by_label("Name of the run").fill("the better")
        kept.get_by_role("button", name="Rename").click()
        expect(page.locator("#model")).to_contain_text("the better")
        with page.expect_download() as download:
            kept.get_by_role("link", name="Model file").click()
        assert download.value.suggested_filename == "two.safetensors"
        page.locator("#train-form [name=recipe]").select_option("best")
        expect(page.locator("#train-form [name=epochs]")).to_have_value("16")
        expect(page.locator("#recipe-about")).to_contain_text("affine augmentation")
        page.close()
