"""The pictures: what stands in them, that nothing is cut off, and that a bad input says so."""

import os
import subprocess
import sys

import matplotlib
import matplotlib.text
import numpy as np
import pytest
from figures import check_text_layout, strings
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch

import scratchnet as sn
from scratchnet import plots
from scratchnet.pictures import Step
from scratchnet.pictures.sequences import Digit, Reading

pytestmark = pytest.mark.filterwarnings("error")  # matplotlib warns when a layout fails


@pytest.fixture(autouse=True)
def no_traces():
    """No picture opens a pyplot window or changes the global style."""
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def deep():
    """Several rows, and every kind of layer."""
    layers = [sn.BatchNorm()]
    for filters in (32, 32, 64, 64, 128):
        layers += [sn.Conv2D(filters, 3, padding="same"), sn.BatchNorm(), sn.ReLU()]
    layers += [sn.AveragePool2D(2), sn.Dropout(0.25), sn.Conv2D(512, 3, strides=2), sn.ReLU()]
    layers += [sn.GlobalAveragePool2D(), sn.Dense(128), sn.ReLU(), sn.Dense(10), sn.Softmax()]
    return sn.Sequential(layers, (32, 32, 3))


MODELS = [deep(), *map(sn.architectures.build, sn.architectures.ARCHITECTURES)]
HISTORY = {"loss": [0.2, 0.06, 0.04], "accuracy": [0.93, 0.98, 0.99], "lr": [1e-3, 1e-3, 1e-4]}
HISTORY |= {"val_loss": [0.08, 0.06, 0.05], "val_accuracy": [0.97, 0.98, 0.985]}
CLOTHES = ["T-shirt/top", "Trouser", "Pull$over$", "Dress", "Coat", "Sandal", "Shirt", "Sneaker"]
CLOTHES += ["Bag", "a boot that reaches over the ankle"]


def predictions(n=60, mistakes=8):
    """Images, probabilities (n, 10) and labels of which the first `mistakes` are missed."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, n)
    guess = np.where(np.arange(n) < mistakes, (labels + 1) % 10, labels)
    confidence = rng.uniform(0.55, 0.999, n)
    probs = np.repeat((1 - confidence)[:, None] / 9, 10, axis=1)
    probs[np.arange(n), guess] = confidence
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), probs, labels


def test_importing_the_package_does_not_import_matplotlib():
    code = "import sys, scratchnet.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_curves_show_both_series_in_both_panels():
    figure = plots.training_curves(HISTORY, test={"accuracy": 0.9897, "loss": 0.0361})
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("mean loss per image", "accuracy (%)")
    for ax, result in ((loss, "test 0.0361"), (accuracy, "test 98.97 %")):
        assert ax.get_xlabel() == "epoch"
        legend = [text.get_text() for text in ax.get_legend().get_texts()]
        assert legend == ["training", "validation", result]
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [93, 98, 99])
    check_text_layout(figure)


@pytest.mark.parametrize("keys", [["loss"], ["val_accuracy"], ["loss", "val_loss"]])
def test_a_missing_quantity_leaves_no_empty_panel(keys):
    figure = plots.training_curves({key: HISTORY[key] for key in keys})
    assert [len(ax.lines) for ax in figure.axes] == [len(keys)]


@pytest.mark.parametrize("length", [1, 2, 8, 40])
def test_curves_of_any_length_have_whole_epochs(length):
    loss = np.linspace(1, 0, length)
    figure = plots.training_curves({"loss": loss, "accuracy": 1 - loss}, range(5, 5 + length))
    check_text_layout(figure)
    assert 100 * (1 - loss[-1]) < figure.axes[1].get_ylim()[1] < 105  # no cut marker, no 120 %
    for ax in figure.axes:
        assert ax.lines[0].get_xdata()[0] == 5
        assert all(tick == int(tick) for tick in ax.get_xticks())
        assert length > 30 or ax.lines[0].get_marker() == "o"  # or one epoch would not be seen


def test_values_that_are_not_finite_are_gaps_and_the_legend_says_so():
    figure = plots.training_curves(dict(HISTORY, loss=[0.2, np.nan, np.inf]))
    assert list(np.isfinite(figure.axes[0].lines[0].get_ydata())) == [True, False, False]
    assert "training (gaps: not finite)" in strings(figure)
    check_text_layout(plots.training_curves({"loss": [np.nan]}))


def counts(k):
    rng = np.random.default_rng(0)
    return rng.integers(0, 4, (k, k)) + np.diag(rng.integers(900, 1000, k))


def test_mistakes_have_a_scale_of_their_own():
    matrix = np.diag([980, 1120, 1000])
    matrix[0, 2], matrix[2, 1] = 7, 2
    figure = plots.confusion_matrix(matrix)
    ax = figure.axes[0]
    mistakes = ax.images[1]
    assert mistakes.get_clim() == (0, 7)
    assert np.ma.getmaskarray(mistakes.get_array()).sum() == 7  # the diagonal and the zeros
    assert {text.get_text() for text in ax.texts} == {"980", "1120", "1000", "7", "2"}
    (seven,) = [text for text in ax.texts if text.get_text() == "7"]
    assert seven.get_position() == (2, 0)  # x is the predicted class
    assert "3,100 of 3,109 correct (99.71 %)" in strings(figure)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert figure.axes[1].get_ylabel() == "mistakes (images)"


def test_only_a_perfect_matrix_is_called_perfect_and_has_no_colour_scale():
    perfect = plots.confusion_matrix(np.diag([3, 4]))
    assert len(perfect.axes) == 1
    assert "7 of 7 correct (100.00 %)" in strings(perfect)
    nearly = plots.confusion_matrix(np.array([[100_000, 1], [0, 100_000]]))
    assert "200,000 of 200,001 correct (99.99 %)" in strings(nearly)


@pytest.mark.parametrize("names", [*map(range, (1, 2, 10, 20, 62)), CLOTHES])
def test_matrix_text_is_legible_at_any_size(names):
    figure = plots.confusion_matrix(counts(len(names)), names)
    ax = figure.axes[0]
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == [str(name) for name in names]
    assert bool(ax.texts) == (len(names) <= 20)
    check_text_layout(figure)


def test_matrix_draws_into_given_axes():
    ax = (figure := Figure(figsize=(6, 5))).add_subplot()
    assert plots.confusion_matrix(counts(10), ax=ax) is figure
    assert len(ax.images) == 2
    check_text_layout(figure)


def test_mistakes_come_first_then_the_least_confident():
    images, probs, labels = predictions(mistakes=8)
    figure = plots.prediction_grid(images, probs, labels, columns=5, rows=4)
    confidence = probs.max(axis=1)
    wrong = sorted(range(8), key=lambda i: -confidence[i])
    right = sorted(range(8, 60), key=lambda i: confidence[i])[:12]
    expected = [f"{probs[i].argmax()} · {100 * confidence[i]:.1f} %" for i in wrong + right]
    expected[:8] = [f"{text}\ntrue {labels[i]}" for i, text in zip(wrong, expected, strict=False)]
    assert [ax.get_xlabel() for ax in figure.axes] == expected
    for ax, index in zip(figure.axes, wrong + right, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), images[index] / 255, atol=1e-6)
    colours = [(ax.spines["top"].get_edgecolor(), ax.xaxis.label.get_color()) for ax in figure.axes]
    assert len(set(colours[:8])) == 1 == len(set(colours[8:])) and colours[0] != colours[8]
    assert "8 of 60 wrong (86.67 % correct)" in strings(figure)
    check_text_layout(figure)


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (16, 32, 3), (40, 20)])
@pytest.mark.parametrize("kind", ["uint8", "float", "normalised"])
def test_grid_takes_grey_and_colour(shape, kind):
    _, probs, labels = predictions(n=7, mistakes=1)
    images = np.random.default_rng(0).integers(0, 256, (7, *shape), dtype=np.uint8)
    if kind != "uint8":
        images = images / 255 if kind == "float" else (images - 33.0) / 78.0
    figure = plots.prediction_grid(images, probs, labels, columns=4)
    for ax in figure.axes:
        assert 0 <= ax.images[0].get_array().min() <= ax.images[0].get_array().max() <= 1
    check_text_layout(figure)


@pytest.mark.parametrize(("n", "columns"), [(1, 10), (3, 10), (60, 10), (60, 4)])
@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("names", [None, CLOTHES])
def test_grid_text_stays_apart(n, columns, labelled, names):
    images, probs, labels = predictions(n, mistakes=min(n, 13))
    figure = plots.prediction_grid(images, probs, labels if labelled else None, names, columns)
    assert len(figure.axes) == min(n, columns * 5)
    assert labelled == any("true" in text for text in strings(figure))
    check_text_layout(figure)


def test_cnn_names_shapes_and_operations():
    figure = plots.architecture(sn.architectures.build("cnn"))
    found = strings(figure)
    assert "11 layers, 121,930 parameters" in found
    shapes = ["28×28×1", "26×26×32", "13×13×32", "11×11×64", "5×5×64", "1600", "64", "10"]
    assert [text for text in found if text in shapes] == shapes
    assert {"Conv2D", "3×3", "MaxPool", "2×2", "Flatten", "Dense", "Softmax"} <= set(found)
    assert found.count("ReLU") == 3
    arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == len(shapes) - 1  # elementwise layers have none of their own


@pytest.mark.parametrize("model", MODELS)
def test_architecture_text_stays_apart(model):
    check_text_layout(figure := plots.architecture(model))
    assert figure.get_figwidth() <= 8.01


def test_every_kind_of_layer_is_named():
    named = {"BatchNorm", "AveragePool", "stride 2×2", "GlobalAveragePool2D", "Dropout 0.25"}
    assert named <= set(strings(plots.architecture(deep())))


def test_architecture_draws_every_shortcut_and_what_stands_in_it():
    figure = plots.architecture(sn.architectures.build("resnet"))
    sums = [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]
    assert len(sums) == 3
    words = list(strings(figure))
    assert words.count("shortcut") == 1  # the first block's is the identity
    assert words.count("Conv2D 1×1 stride 2×2") == 2


@pytest.mark.parametrize("size", [(6, 5), (12, 2.5), (3.5, 8)])
@pytest.mark.parametrize("model", MODELS)
def test_architecture_fits_given_axes(model, size):
    ax = (figure := Figure(figsize=size)).add_subplot()
    assert plots.architecture(model, ax=ax) is figure
    assert figure.axes == [ax]
    check_text_layout(figure)


def steps(count=5):
    rng = np.random.default_rng(0)
    shapes = [(300, 400, 3), (300, 400), (200, 90), (20, 20), (28, 28)]
    caption = "number {} does something to IMG_20240131_235959_of_my_kitchen_table.jpeg"
    images = [rng.integers(0, 256, shapes[i % 5], dtype=np.uint8) for i in range(count)]
    return [Step(f"step {i}", caption.format(i), images[i]) for i in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5, 9])
@pytest.mark.parametrize("k", [None, 10, 47])
@pytest.mark.parametrize("named", [False, True])
def test_steps_stand_in_order(count, k, named):
    probs = None if k is None else np.linspace(0, 0.1, k)
    names = [f"a rather long name {i}" for i in range(k or 0)] if named else None
    figure = plots.image_steps(steps(count), probs, names)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    expected = [f"{i + 1}. step {i}" for i in range(count)]
    assert titles == expected + (["prediction"] if k else [])
    assert figure.axes[0].get_xlabel().startswith("number 0")
    check_text_layout(figure)


def test_bars_show_the_likeliest_classes():
    probs = np.full(62, 0.001)
    probs[40] = 0.939
    ax = plots.image_steps(steps(1), probs, class_names=[f"c{i}" for i in range(62)]).axes[-1]
    assert len(ax.patches) == 10
    bars = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.texts, strict=True))
    assert bars["c40"].get_text() == "93.9 %"


IMAGES, PROBS, LABELS = predictions()
STRANGE = Step("crop", "", np.zeros((4, 4, 2), np.uint8))
REFUSED = [
    (plots.training_curves, ({"lr": [1.0]},), "lr"),
    (plots.training_curves, ({"loss": []},), r"\(0,\)"),
    (plots.training_curves, ({"loss": ["a"]},), "number"),
    (plots.training_curves, ({"loss": [1.0], "val_loss": [1.0, 2.0]},), r"'val_loss': \(2,\)"),
    (plots.training_curves, ({"loss": [1.0, 2.0]}, [1]), "expected 2 integers"),
    (plots.training_curves, ({"loss": [1.0]}, [1.5]), "float64"),
    (plots.confusion_matrix, (np.zeros((2, 3), int),), r"found shape \(2, 3\)"),
    (plots.confusion_matrix, (np.zeros((2, 2), int),), "0 to 0"),
    (plots.confusion_matrix, (np.eye(2),), "float64"),
    (plots.confusion_matrix, (np.array([[1, -2], [0, 1]]),), "-2 to 1"),
    (plots.confusion_matrix, (np.eye(3, dtype=int), ["a", "b"]), "expected 3, one for each"),
    (plots.prediction_grid, (np.zeros((0, 28, 28)), PROBS), r"\(0, 28, 28\)"),
    (plots.prediction_grid, (np.zeros((60, 8, 8, 4)), PROBS), r"\(60, 8, 8, 4\)"),
    (plots.prediction_grid, (np.zeros((59, 8, 8)), PROBS), "59 images, 60 rows"),
    (plots.prediction_grid, (IMAGES, np.zeros(60)), r"\(60,\)"),
    (plots.prediction_grid, (IMAGES, np.full((60, 10), 3.0)), "3 to 3"),
    (plots.prediction_grid, (IMAGES, np.full((60, 10), np.nan)), "nan"),
    (plots.prediction_grid, (IMAGES, PROBS, np.zeros(3, int)), "expected 60 integers"),
    (plots.prediction_grid, (IMAGES, PROBS, LABELS + 10), "below 10"),
    (plots.prediction_grid, (IMAGES, PROBS, ["a"] * 60), "<U1"),
    (plots.prediction_grid, (IMAGES, PROBS, LABELS, ["a"]), "expected 10"),
    (plots.prediction_grid, (IMAGES, PROBS, LABELS, None, 0), "0 x 5"),
    (plots.architecture, (sn.Sequential([sn.Dense(3)]),), "built model"),
    (plots.image_steps, ([],), "at least one step"),
    (plots.image_steps, ([STRANGE],), r"'crop'.*4, 4, 2\)"),
    (plots.image_steps, (steps(1), np.zeros((2, 10))), "probabilities"),
]


@pytest.mark.parametrize(("function", "arguments", "message"), REFUSED)
def test_bad_input_is_one_line_that_says_what_was_found(function, arguments, message):
    with pytest.raises(sn.InputError, match=message) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [("png", b"\x89PNG"), ("SVG", b"<?xml"), ("pdf", b"%PDF")])
def test_saved_bytes_have_their_format_and_repeat(tmp_path, kind):
    suffix, magic = kind
    paths = [tmp_path / f"{name}.{suffix}" for name in ("one", "two")]
    for path in paths:
        plots.save(plots.training_curves(HISTORY), str(path), dpi=50)
    assert paths[0].read_bytes().startswith(magic)
    assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt", "no/a.png", "folder.png"])
def test_save_names_what_it_cannot_write(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(sn.InputError) as caught:
        plots.save(plots.training_curves(HISTORY), tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.png"]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    class Broken:
        def savefig(self, file, **kwargs):
            file.write(b"half a picture")
            raise RuntimeError("out of ink")

    path = tmp_path / "a.png"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="out of ink"):
        plots.save(Broken(), path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["\udcff", "\x1b[31m", "a\0b", "W" * 30_000, "two words " * 3000])
def test_a_class_may_be_called_anything(tmp_path, name):
    probs = np.full((4, 3), 1 / 3)
    names, steps = [name, "b", "c"], (Step("read", "a caption", np.zeros((28, 28), np.uint8)),)
    blank = np.zeros((28, 28), np.uint8)
    reading = Reading(((Digit(0, 0.9, (2, 2, 20, 20), blank),),), blank, 1.0)
    for figure in (
        plots.confusion_matrix(np.eye(3, dtype=int), names),
        plots.prediction_grid(np.zeros((4, 28, 28)), probs, np.array([0, 1, 2, 0]), names),
        plots.image_steps(steps, probs[0], names),
        plots.digit_boxes(reading, names),
    ):
        plots.save(figure, tmp_path / "picture.png", dpi=30)
        plots.save(figure, tmp_path / "picture.svg")


@pytest.mark.parametrize("backend", ["nonsense", "svg", "agg", ""])
def test_a_picture_needs_no_backend_of_matplotlibs(tmp_path, backend):
    code = "import os, scratchnet as sn; h = {'loss': [2.0, 1.0]}"
    code += "; sn.plots.save(sn.plots.training_curves(h), 'curves.png'); import matplotlib"
    code += "; print(os.environ['MPLBACKEND'], matplotlib.get_backend(auto_select=False) or '')"
    env = {**os.environ, "MPLBACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG"), done.stderr
    line = "scratchnet: MPLBACKEND: expected a backend of matplotlib, found 'nonsense'; "
    assert done.stderr == (f"{line}it is not used\n" if backend == "nonsense" else "")
    # the caller's own pictures get what was asked for
    assert done.stdout == f"{backend} {'' if backend == 'nonsense' else backend}\n"
