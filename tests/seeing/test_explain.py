"""Explanations of a reading, their pictures, and the command that makes them."""

import json
import subprocess
import sys

import numpy as np
import pytest
from figures import check_text_layout, strings
from matplotlib.figure import Figure
from own_layers import bent, registered
from PIL import Image

import scratchnet as sn
from scratchnet import explain, plots
from scratchnet.cli import main
from scratchnet.engine import threads

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def eight():
    """The shipped network, and a test image of an 8 that it reads."""
    _, (x, y) = sn.datasets.mnist.load_data()
    return sn.architectures.pretrained(), x[y == 8][0]


def spot_finder(**conv):
    """The score of class 0 grows with the largest pixel in a map; class 1 is always 0."""
    layers = [sn.Conv2D(1, **conv), sn.ReLU(), sn.MaxPool2D(2), sn.Conv2D(1, 3), sn.ReLU()]
    model = sn.Sequential([*layers, sn.GlobalAveragePool2D(), sn.Dense(2)], (21, 21, 1))
    for layer in model.layers:
        for array in layer.params.values():
            array[:] = 0
    for name in (0, 3):
        W = model.layers[name].params["W"]
        W[W.shape[0] // 2, W.shape[1] // 2] = 1  # hands the middle pixel on
    model.layers[-1].params["W"][0, 0] = 50
    return model


@pytest.mark.parametrize(
    "conv",
    [
        {"kernel_size": 3},
        {"kernel_size": 5, "padding": "same"},
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": ((2, 1), (2, 1))},
    ],
    ids=str,
)
@pytest.mark.parametrize("spot", [(10, 10), (7, 12), (9, 14)])
def test_gradcam_lies_over_what_it_saw(conv, spot):
    x = np.zeros((21, 21))
    x[spot] = 1
    cam = explain.gradcam(spot_finder(**conv), x, 0)
    assert cam.shape == (21, 21) and cam.min() == 0 < cam.max()
    weights = cam / cam.sum()
    rows, columns = (np.arange(21) * weights.sum(axis=1 - axis) for axis in (0, 1))
    assert abs(rows.sum() - spot[0]) <= 0.75 and abs(columns.sum() - spot[1]) <= 0.75  # pooling


def test_gradcam_is_the_papers_formula(eight):
    model, image = eight
    trace = sn.trace(model, image, 8)
    A = trace["relu_1"].output
    net = explain.copied(model, np.float64)
    y = image[None, :, :, None] / 255
    for layer in net.layers[:-1]:
        y = layer.forward(y)
    dy = np.eye(10)[[8]]
    for layer in reversed(net.layers[5:-1]):
        dy = layer.backward(dy)
    expected = np.maximum((A * dy[0].mean(axis=(0, 1))).sum(axis=2), 0)
    found = explain.gradcam(model, image, 8, enlarge=False)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_array_equal(found, explain.gradcam(model, image, enlarge=False))
    assert explain.gradcam(model, image, 3, "conv2d").shape == (28, 28)
    assert explain.gradcam(model, image, 3, "maxpool2d", enlarge=False).shape == (13, 13)


def test_saliency_is_the_slope_of_the_score(eight):
    model, image = eight
    found = explain.saliency(model, image, 8)
    net, x = explain.copied(model, np.float64), image[None, :, :, None] / 255
    for i, j in [(14, 14), (8, 12), (20, 9), (0, 0)]:
        scores = []
        for step in (1e-6, -1e-6):
            moved = x.copy()
            moved[0, i, j] += step
            for layer in net.layers[:-1]:
                moved = layer.forward(moved)
            scores.append(moved[0, 8])
        assert found[i, j] == pytest.approx(abs(scores[0] - scores[1]) / 2e-6, rel=1e-4, abs=1e-7)


def test_saliency_takes_the_largest_of_the_channels(rng):
    model = sn.Sequential([sn.Flatten(), sn.Dense(2)], (4, 5, 3))
    W = model.layers[1].params["W"].reshape(4, 5, 3, 2)
    found = explain.saliency(model, rng.uniform(0, 1, (4, 5, 3)), 1)
    np.testing.assert_allclose(found, np.abs(W[..., 1]).max(axis=2), rtol=1e-6)


@pytest.mark.parametrize("size", [1, 4, 7])
def test_occlusion_is_the_probability_that_a_square_takes_away(eight, size):
    model, image = eight
    found = explain.occlusion(model, image, 8, size)
    before = model.predict(image)[0, 8]
    for i, j in [(0, 0), (14, 11), (27, 3), (13, 27)]:
        covered = image.copy()
        for row in range(28):
            for column in range(28):
                inside = 0 <= row - i + (size - 1) // 2 < size
                if inside and 0 <= column - j + (size - 1) // 2 < size:
                    covered[row, column] = 0
        assert found[i, j] == pytest.approx(before - model.predict(covered)[0, 8], abs=1e-5)
    assert found[0, 0] == pytest.approx(0, abs=1e-6)  # nothing is there


def test_occlusion_of_scores_is_of_their_probabilities():
    x = np.zeros((21, 21))
    x[10, 10] = 1
    model = spot_finder(kernel_size=3)
    model.compile("sgd", sn.losses.SparseCategoricalCrossentropy(from_logits=True))
    drop = explain.occlusion(model, x, 0, 3)
    before = sn.layers.softmax(model.predict(x))[0, 0]
    assert drop[10, 10] == pytest.approx(before - 0.5, abs=1e-6)
    assert np.count_nonzero(drop) == 9


def test_explanations_leave_the_model_as_it_is(eight):
    model, image = eight
    batch, dy = np.stack([image, image.T]), np.ones((2, 10), np.float32)
    model.forward(batch)
    expected = model.backward(dy)
    model.forward(batch)
    for method in (explain.gradcam, explain.saliency, explain.occlusion, explain.feature_maps):
        method(model, image)
    np.testing.assert_array_equal(model.backward(dy), expected)
    explain.filters(model)[:] = 0
    assert model.layers[0].params["W"].any()


def test_maps_and_filters(eight):
    model, image = eight
    trace = sn.trace(model, image, 8)
    for layer, expected in ((None, "relu_1"), ("conv2d", "relu"), ("maxpool2d", "maxpool2d")):
        found = explain.feature_maps(model, image, layer)
        np.testing.assert_allclose(found, trace[expected].output, rtol=1e-9)
    assert explain.filters(model).shape == (3, 3, 1, 32)
    assert explain.filters(model, "conv2d_1").shape == (3, 3, 32, 64)


@pytest.mark.parametrize("pointwise", [False, True])
def test_maps_are_taken_after_the_activation_whichever_it_is(eight, pointwise):
    kind = bent(lambda x: np.where(x > 0, x, x / 4), lambda x: np.where(x > 0, 1, 0.25))
    with registered(kind, pointwise=pointwise) as kind:
        layers = [sn.Conv2D(2, 3), sn.BatchNorm(), sn.Dropout(0.5), kind(), sn.MaxPool2D(2)]
        model = sn.Sequential([*layers, sn.Flatten(), sn.Dense(3)], (28, 28, 1))
        found = explain.feature_maps(model, eight[1])
        trace = sn.trace(model, eight[1], 0)
    last = "bent" if pointwise else "dropout"
    np.testing.assert_array_equal(found, trace[last].output)


def test_softmax_over_the_maps_is_no_activation_of_each(eight):
    layers = [sn.Conv2D(2, 3), sn.Softmax(), sn.Flatten(), sn.Dense(3)]
    model = sn.Sequential(layers, (28, 28, 1))
    trace = sn.trace(model, eight[1], 0)
    found = explain.feature_maps(model, eight[1])
    np.testing.assert_array_equal(found, trace["conv2d"].output)


MLP = sn.architectures.build("mlp")
BLANK = np.zeros((28, 28), np.uint8)
CNN = sn.architectures.build("cnn-small")
REFUSED = [
    (lambda: explain.gradcam(MLP, BLANK), "expected one with a convolution"),
    (lambda: explain.gradcam(CNN, BLANK, layer="dense"), "one of conv2d, relu, maxpool2d, found"),
    (lambda: explain.gradcam(CNN, BLANK, 10), "label: expected a whole number from 0 to 9"),
    (lambda: explain.saliency(CNN, BLANK, "8"), "label"),
    (lambda: explain.saliency(CNN, BLANK[:20]), r"expected shape \(n, 28, 28, 1\)"),
    (lambda: explain.occlusion(CNN, BLANK, size=0), "size: expected a whole number from 1 to 28"),
    (lambda: explain.occlusion(CNN, np.stack([BLANK, BLANK])), "one example, found 2"),
    (lambda: explain.saliency(sn.Sequential([sn.Dense(2)], (5,)), np.zeros(5)), "takes images"),
    (lambda: explain.feature_maps(MLP, BLANK), "convolution"),
    (lambda: explain.filters(CNN, "relu"), "expected one of conv2d, found 'relu'"),
    (lambda: explain.filters(MLP), "expected one of none"),
    (lambda: explain.gradcam(sn.Sequential([sn.Conv2D(2, 3)]), BLANK), "built Sequential"),
    (lambda: plots.heat(BLANK, np.zeros((3, 3))), r"heat: expected values of shape \(28, 28\)"),
    (lambda: plots.heat("8.png", BLANK), "image: expected"),
    (lambda: plots.filters(BLANK), "filters: expected numbers with 4 axes"),
    (lambda: plots.feature_maps(np.zeros((3, 3, 0))), "feature maps: expected"),
    (lambda: plots.histograms({}), "at least one array"),
    (lambda: plots.histograms({"W": ["a"]}), "W: expected numbers"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_one_line_that_says_what_was_found(call, message):
    with pytest.raises(sn.InputError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


# ---- pictures ------------------------------------------------------------------------------------


def pictures(model, image):
    rng = np.random.default_rng(0)
    trace = sn.trace(model, image, 3)
    yield plots.heat(image, explain.gradcam(model, image), "Grad-CAM", "evidence")
    yield plots.heat(image, rng.standard_normal((28, 28)), "signed")
    yield plots.heat(BLANK, np.zeros((28, 28)), "nothing")
    yield plots.filters(explain.filters(model), "Filters")
    yield plots.filters(explain.filters(model, "conv2d_1"), "Filters")
    yield plots.filters(np.zeros((5, 1, 1, 7)), "one column, nothing in it")
    yield plots.feature_maps(explain.feature_maps(model, image), "Maps")
    yield plots.feature_maps(trace["relu"].dy, "Gradients")
    yield plots.feature_maps(np.ones((2, 9, 1)), "one wide map")
    yield plots.histograms(trace.parameters, "Parameters")
    yield plots.histograms(trace.gradients, "Gradients", "gradient", log=True)
    yield plots.histograms({"zeros": np.zeros(9), "one": np.ones(1)}, "edges", log=True)
    yield trace.plot()
    yield sn.trace(MLP, image, 0).plot()
    vectors = sn.Sequential([sn.Dense(3), sn.Softmax()], (5,))
    yield sn.trace(vectors, np.ones(5), 0).plot()
    colour = sn.Sequential([sn.Conv2D(2, 3), sn.Flatten(), sn.Dense(20)], (6, 6, 3))
    yield sn.trace(colour, np.ones((6, 6, 3)), 0).plot()


def test_nothing_in_a_picture_is_cut_off_or_covered(eight):
    for figure in pictures(*eight):
        assert isinstance(figure, Figure)
        check_text_layout(figure)


def test_the_callers_axes_are_drawn_into(eight):
    model, image = eight
    figure = Figure(layout="constrained")
    axes = figure.subplots(2, 2).ravel()
    drawn = [
        plots.heat(image, explain.saliency(model, image), "Saliency", ax=axes[0]),
        plots.filters(explain.filters(model), "Filters", axes[1]),
        plots.feature_maps(explain.feature_maps(model, image), "Maps", axes[2]),
        plots.histograms({"W": np.arange(5.0)}, "Values", ax=axes[3]),
    ]
    assert all(found is figure for found in drawn)
    assert [ax.get_title(loc="left") for ax in axes] == ["Saliency", "Filters", "Maps", "Values"]


def test_a_trace_is_drawn_layer_by_layer(eight):
    model, image = eight
    trace = sn.trace(model, image, 3)
    found = strings(trace.plot())
    for layer in trace.layers:
        assert (layer.name in found) == (layer.kind != "Flatten")
    assert f"rms {trace['dense'].rms['dy']:.2g}" in found
    assert found.count("3") == 3  # the class, in the scores, their gradient and the probabilities


# ---- the command ---------------------------------------------------------------------------------


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """The command, in this process: (exit code, stdout, lines on stderr)."""

    def run(*args):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(threads, "_on_compiling", None)
        monkeypatch.setattr(sys, "argv", ["scratchnet", "explain", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return ended.value.code or 0, written.out, written.err.splitlines()

    return run


@pytest.fixture(scope="module")
def folder(eight, tmp_path_factory):
    folder = tmp_path_factory.mktemp("explain")
    Image.fromarray(eight[1]).save(folder / "8.png")
    return folder


@pytest.mark.parametrize(
    ("method", "more", "shape"),
    [
        ("gradcam", ["--label", 3, "--layer", "conv2d"], (28, 28)),
        ("occlusion", [], (28, 28)),
        ("features", ["--layer", "maxpool2d"], (13, 13, 32)),
        ("filters", [], (3, 3, 1, 32)),
    ],
)
def test_the_command_draws_and_says_what_it_drew(folder, run, method, more, shape):
    out = folder / f"{method}.png"
    code, stdout, errors = run("8.png", "--method", method, "--out", out, "--json", *more)
    assert code == 0, errors
    found = json.loads(stdout.splitlines()[-1])
    assert (found["method"], found["digit"]) == (method, 8)
    assert found["label"] == (3 if more[:1] == ["--label"] else 8)
    assert np.shape(found["values"]) == shape and np.any(found["values"])
    with Image.open(out) as picture:
        assert picture.width > 300


def test_the_command_prints_the_trace(folder, run):
    code, stdout, errors = run("8.png", "--method", "trace", "--label", 3, "--out", "trace.svg")
    assert code == 0, errors
    for text in ("8.png: 8", "label 3", "conv2d_1", "one_hot", "trace.svg"):
        assert text in stdout
    assert (folder / "trace.svg").read_text().startswith("<?xml")


def test_the_command_as_a_process(folder):
    command = [sys.executable, "-m", "scratchnet", "explain", "8.png", "--method", "trace"]
    command += ["--out", "t.png", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [row["layer"] for row in found["layers"]][:2] == ["conv2d", "relu"]
    assert len(found["classes"]) == 10


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("8.png", 2, ["--out"]),
        ("8.png --out a.png --method guess", 2, ["guess", "gradcam"]),
        ("8.png --out a.png --method saliency --layer conv2d", 2, ["--layer", "gradcam"]),
        ("8.png --out a.png --label 10", 2, ["label", "0 to 9", "10"]),
        ("8.png --out a.png --layer conv9", 2, ["conv9", "conv2d_1"]),
        ("8.png --out a.doc", 2, ["a.doc", ".png"]),
        ("9.png --out a.png", 1, ["9.png", "no such file"]),
        ("8.png --out a.png --model 8.png", 1, ["8.png", "model"]),
    ],
)
def test_the_command_refuses_in_one_line(folder, run, line, code, words):
    found, _, lines = run(*line.split())
    assert found == code and len(lines) == 1, lines
    assert lines[0].startswith("scratchnet: ") and [w for w in words if w not in lines[0]] == []
    assert not (folder / "a.png").exists() and not (folder / "a.doc").exists()
