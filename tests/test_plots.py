"""The pictures: what stands in them, that nothing is cut off, and that a bad input says so."""

import itertools
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from scratchnet import plots
from scratchnet.errors import InputError

pytestmark = pytest.mark.filterwarnings("error")  # matplotlib warns when a layout fails

# ------------------------------------------------------------------------------------------- tools


def texts(figure):
    """All non-empty texts of a figure that are drawn: matplotlib keeps ticks outside the view."""
    import matplotlib.text

    hidden = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks() + axis.get_minor_ticks():
                if not ax.axison or not low <= tick.get_loc() <= high:
                    hidden |= {tick.label1, tick.label2}
    found = figure.findobj(matplotlib.text.Text)
    return [
        text
        for text in found
        if text.get_visible() and text.get_text().strip() and text not in hidden
    ]


def strings(figure):
    return [text.get_text() for text in texts(figure)]


def check_text_layout(figure):
    """Every text lies inside the figure and on no other text, as the renderer measures them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    width, height = canvas.get_width_height()
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer()).padded(-0.5))
             for text in texts(figure)]  # fmt: skip
    for name, box in boxes:
        inside = box.x0 >= -1 and box.y0 >= -1 and box.x1 <= width + 1 and box.y1 <= height + 1
        assert inside, f"{name!r} is cut off: {box} in {width} x {height}"
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        assert not a.overlaps(b), f"{one!r} lies on {other!r}"


def own_axes():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5))
    return figure, figure.add_subplot()


@pytest.fixture(autouse=True)
def no_traces():
    """No picture opens a pyplot window or changes the global style."""
    import matplotlib

    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    if "matplotlib.pyplot" in sys.modules:
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def layer(kind, output_shape, params=(), **attributes):
    made = type(kind, (), {})()
    made.name, made.output_shape = kind.lower(), output_shape
    made.params = {str(i): np.zeros(shape) for i, shape in enumerate(params)}
    vars(made).update(attributes)
    return made


def conv(shape, c_in, **attributes):
    return layer("Conv2D", shape, [(3, 3, c_in, shape[2]), shape[2:]], kernel_size=(3, 3),
                 **attributes)  # fmt: skip


def pool(shape, kind="MaxPool2D"):
    return layer(kind, shape, pool_size=(2, 2), strides=(2, 2))


def mnist_cnn():
    return SimpleNamespace(
        name="mnist_cnn",
        input_shape=(28, 28, 1),
        layers=[
            conv((26, 26, 32), 1),
            layer("ReLU", (26, 26, 32)),
            pool((13, 13, 32)),
            conv((11, 11, 64), 32),
            layer("ReLU", (11, 11, 64)),
            pool((5, 5, 64)),
            layer("Flatten", (1600,)),
            layer("Dense", (64,), [(1600, 64), (64,)]),
            layer("ReLU", (64,)),
            layer("Dropout", (64,), rate=0.5),
            layer("Dense", (10,), [(64, 10), (10,)]),
            layer("Softmax", (10,)),
        ],
    )


def mlp():
    dense = layer("Dense", (128,), [(784, 128), (128,)])
    last = layer("Dense", (10,), [(128, 10), (10,)])
    layers = [dense, layer("ReLU", (128,)), last]
    return SimpleNamespace(name="mlp", input_shape=(784,), layers=layers)


def deep():
    """32 layers: three rows or more."""
    layers, channels = [], 3
    for size, filters in [(224, 64), (224, 64), (112, 128), (112, 128), (56, 256), (56, 256)]:
        shape = (size, size, filters)
        layers += [conv(shape, channels), layer("BatchNorm", shape), layer("ReLU", shape)]
        layers += [pool((size // 2, size // 2, filters), "AveragePool2D")]
        channels = filters
    layers += [conv((56, 56, 512), 256, strides=2), layer("ReLU", (56, 56, 512))]
    layers += [layer("GlobalAveragePool2D", (512,)), layer("Dense", (4096,))]
    layers += [layer("Dropout", (4096,), rate=0.25), layer("Dense", (1000,))]
    layers += [layer("BatchNorm", (1000,)), layer("Softmax", (1000,))]
    return SimpleNamespace(name="deep", input_shape=(224, 224, 3), layers=layers)


HISTORY = {
    "loss": [0.2, 0.06, 0.04],
    "accuracy": [0.93, 0.98, 0.99],
    "val_loss": [0.08, 0.06, 0.05],
    "val_accuracy": [0.97, 0.98, 0.985],
    "lr": [1e-3, 1e-3, 1e-4],
}


def predictions(n=60, k=10, mistakes=8, seed=0):
    """Images, probabilities (n, k) and labels of which the first `mistakes` are missed."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    guess = np.where(np.arange(n) < mistakes, (labels + 1) % k, labels)
    confidence = rng.uniform(0.55, 0.999, n)
    probs = np.repeat((1 - confidence)[:, None] / (k - 1), k, axis=1)
    probs[np.arange(n), guess] = confidence
    return rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), probs, labels


# ------------------------------------------------------------------------------------------ import


def test_importing_the_module_does_not_import_matplotlib():
    code = "import sys, scratchnet.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --------------------------------------------------------------------------------- training curves


def test_curves_show_both_series_in_both_panels():
    figure = plots.training_curves(HISTORY, test={"accuracy": 0.9897, "loss": 0.0361})
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("mean loss per image", "accuracy (%)")
    for ax, result in ((loss, "test 0.0361"), (accuracy, "test 98.97 %")):
        assert ax.get_xlabel() == "epoch"
        assert [text.get_text() for text in ax.get_legend().get_texts()] == [
            "training", "validation", result]  # fmt: skip
        assert all(tick == int(tick) for tick in ax.get_xticks())
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), [93, 98, 99])
    assert accuracy.get_ylim()[1] < 101
    check_text_layout(figure)


@pytest.mark.parametrize("keys", [["loss"], ["val_accuracy"], ["loss", "val_loss"]])
def test_a_missing_quantity_leaves_no_empty_panel(keys):
    figure = plots.training_curves({key: HISTORY[key] for key in keys})
    assert len(figure.axes) == 1
    assert len(figure.axes[0].lines) == len(keys)


def test_one_epoch_shows_its_markers():
    figure = plots.training_curves({key: values[:1] for key, values in HISTORY.items()})
    for ax in figure.axes:
        assert list(ax.get_xticks()) == [1]
        assert all(line.get_marker() not in ("", "None") for line in ax.lines)
    check_text_layout(figure)


def test_a_perfect_accuracy_keeps_its_marker_inside():
    ax = plots.training_curves({"accuracy": [1.0, 1.0]}).axes[0]
    assert 100 < ax.get_ylim()[1] < 101


def test_values_that_are_not_finite_are_gaps_and_named():
    history = dict(HISTORY, loss=[0.2, np.nan, np.inf])
    figure = plots.training_curves(history)
    loss = figure.axes[0]
    assert list(np.isfinite(loss.lines[0].get_ydata())) == [True, False, False]
    assert "training: no finite value at epochs 2, 3" in loss.get_xlabel()
    assert figure.axes[1].get_xlabel() == "epoch"
    check_text_layout(figure)
    assert "no finite value" in strings(plots.training_curves({"loss": [np.nan]}))


def test_long_runs_mark_only_isolated_points():
    loss = np.linspace(1, 0.5, 60)
    loss[[10, 12]] = np.nan
    line = plots.training_curves({"loss": loss}, epochs=range(5, 65)).axes[0].lines[0]
    assert line.get_markevery() == [11]
    assert line.get_xdata()[0] == 5


def test_a_diverging_loss_gets_a_logarithmic_axis():
    ax = plots.training_curves({"loss": [1.0, 1e3, 1e8]}).axes[0]
    assert ax.get_yscale() == "log"
    assert "log" in ax.get_ylabel()


@pytest.mark.parametrize(
    ("history", "epochs", "message"),
    [
        ({}, None, "expected"),
        ({"lr": [1.0]}, None, "lr"),
        ({"loss": []}, None, r"shape \(0,\)"),
        ({"loss": [[1.0]]}, None, r"shape \(1, 1\)"),
        ({"loss": ["a"]}, None, "numbers"),
        ({"loss": [1.0], "val_loss": [1.0, 2.0]}, None, "loss 1, val_loss 2"),
        ({"loss": [1.0, 2.0]}, [1], "expected 2 integers"),
        ({"loss": [1.0]}, [1.5], "float64"),
        ([1.0], None, "found list"),
    ],
)
def test_curves_refuse(history, epochs, message):
    with pytest.raises(InputError, match=message):
        plots.training_curves(history, epochs=epochs)


# -------------------------------------------------------------------------------- confusion matrix


def counts(k, seed=0):
    rng = np.random.default_rng(seed)
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
    assert ax.get_title(loc="left") == "99.71 % correct: 3,100 of 3,109 images"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert figure.axes[1].get_ylabel() == "mistakes (images)"


def test_rows_are_the_true_classes():
    ax = plots.confusion_matrix(np.array([[5, 3], [0, 5]])).axes[0]
    (three,) = [text for text in ax.texts if text.get_text() == "3"]
    assert three.get_position() == (1, 0)  # x is the predicted class


def test_a_perfect_matrix_has_no_colour_scale():
    figure = plots.confusion_matrix(np.diag([3, 4]))
    assert len(figure.axes) == 1
    assert "100.00 % correct: 7 of 7 images" in strings(figure)


def test_nearly_perfect_is_not_called_perfect():
    matrix = np.diag([100_000, 100_000])
    matrix[0, 1] = 1
    figure = plots.confusion_matrix(matrix)
    assert any(text.startswith("99.99 %") for text in strings(figure))


@pytest.mark.parametrize("k", [1, 2, 10, 20, 62])
def test_matrix_text_is_legible_at_any_size(k):
    figure = plots.confusion_matrix(counts(k))
    ax = figure.axes[0]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [str(i) for i in range(k)]
    assert bool(ax.texts) == (k <= 20)
    check_text_layout(figure)


def test_long_class_names_are_turned_and_complete():
    names = ["T-shirt/top", "Trouser", "Pull$over$", "Ankle boot"] * 3
    figure = plots.confusion_matrix(counts(12), class_names=names)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == names
    check_text_layout(figure)


def test_matrix_draws_into_given_axes():
    figure, ax = own_axes()
    assert plots.confusion_matrix(counts(10), ax=ax) is figure
    assert figure.axes[0] is ax
    assert len(ax.images) == 2
    check_text_layout(figure)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.zeros((2, 3), int), r"found \(2, 3\)"),
        (np.zeros((0, 0), int), r"found \(0, 0\)"),
        (np.zeros((2, 2), int), "found none"),
        (np.eye(2), "float64"),
        (np.array([[1, -2], [0, 1]]), "-2"),
    ],
)
def test_matrix_refuses(matrix, message):
    with pytest.raises(InputError, match=message):
        plots.confusion_matrix(matrix)


def test_matrix_refuses_a_wrong_number_of_names():
    with pytest.raises(InputError, match="expected 3, one for each class, found 2"):
        plots.confusion_matrix(np.eye(3, dtype=int), class_names=["a", "b"])


# --------------------------------------------------------------------------------- prediction grid


def captions(figure):
    """The lines with a confidence, cell by cell."""
    return [text for text in strings(figure) if "·" in text]


def test_mistakes_come_first_then_the_least_confident():
    images, probs, labels = predictions(mistakes=8)
    figure = plots.prediction_grid(images, probs, labels, columns=5, rows=4)
    shown = captions(figure)
    confidence = probs.max(axis=1)
    wrong = sorted(range(8), key=lambda i: -confidence[i])
    right = sorted(range(8, 60), key=lambda i: confidence[i])[:12]
    expected = [f"{probs[i].argmax()} · {100 * confidence[i]:.1f} %" for i in wrong + right]
    assert shown == expected
    assert [text for text in strings(figure) if text.startswith("true")] == [
        f"true {labels[i]}" for i in wrong]  # fmt: skip
    for image, index in zip(figure.axes[0].images, wrong + right, strict=True):
        np.testing.assert_allclose(image.get_array(), images[index] / 255, atol=1e-6)
    assert "8 mistakes of 60 (86.67 % correct)" in strings(figure)
    check_text_layout(figure)


def test_mistakes_are_framed_in_their_colour():
    from matplotlib.colors import to_hex

    figure = plots.prediction_grid(*predictions(n=6, mistakes=2))
    edges = [to_hex(patch.get_edgecolor()).upper() for patch in figure.axes[0].patches]
    assert edges[:2] == [plots.MISTAKE] * 2
    assert plots.MISTAKE not in edges[2:]


@pytest.mark.parametrize("shape", [(28, 28), (28, 28, 1), (16, 32, 3), (40, 20)])
@pytest.mark.parametrize("kind", ["uint8", "float", "normalised"])
def test_grid_takes_grey_and_colour(shape, kind):
    _, probs, labels = predictions(n=7, mistakes=1)
    images = np.random.default_rng(0).integers(0, 256, (7, *shape), dtype=np.uint8)
    if kind != "uint8":
        images = images / 255 if kind == "float" else (images - 33.0) / 78.0
    figure = plots.prediction_grid(images, probs, labels, columns=4)
    for image in figure.axes[0].images:
        assert 0 <= image.get_array().min() <= image.get_array().max() <= 1


@pytest.mark.parametrize(
    ("n", "columns", "rows"), [(1, 10, 5), (3, 10, 5), (60, 10, 5), (60, 14, 2)]
)
@pytest.mark.parametrize("labelled", [True, False])
def test_grid_text_stays_apart(n, columns, rows, labelled):
    images, probs, labels = predictions(n, mistakes=min(n, 13))
    figure = plots.prediction_grid(
        images, probs, labels if labelled else None, columns=columns, rows=rows
    )
    assert len(captions(figure)) == min(n, columns * rows)
    check_text_layout(figure)


def test_grid_with_long_class_names_stays_apart():
    names = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt",
             "Sneaker", "Bag", "a boot that reaches over the ankle"]  # fmt: skip
    figure = plots.prediction_grid(*predictions(), class_names=names)
    assert "Sneaker" in strings(figure)
    check_text_layout(figure)


def test_grid_without_labels_claims_no_mistakes():
    images, probs, _ = predictions()
    found = strings(plots.prediction_grid(images, probs))
    assert "60 predictions" in found
    assert not any("mistake" in text or "true" in text for text in found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((0, 28, 28))}, r"found \(0, 28, 28\)"),
        ({"images": np.zeros((60, 784))}, r"found \(60, 784\)"),
        ({"images": np.zeros((60, 8, 8, 4))}, r"found \(60, 8, 8, 4\)"),
        ({"images": np.zeros((59, 8, 8))}, "59 images and 60 rows"),
        ({"probabilities": np.zeros(60)}, r"found \(60,\)"),
        ({"probabilities": np.full((60, 10), 3.0)}, "found 3 to 3"),
        ({"probabilities": np.full((60, 10), np.nan)}, "found nan"),
        ({"labels": np.zeros(3, int)}, "expected 60 integers"),
        ({"labels": np.full(60, 10)}, "classes from 0 to 9, found 10"),
        ({"labels": np.zeros(60)}, "float64"),
        ({"class_names": ["a"]}, "expected 10"),
        ({"columns": 0}, "found 0 and 5"),
    ],
)
def test_grid_refuses(change, message):
    images, probabilities, labels = predictions()
    arguments = {"images": images, "probabilities": probabilities, "labels": labels} | change
    with pytest.raises(InputError, match=message):
        plots.prediction_grid(**arguments)


# ------------------------------------------------------------------------------------ architecture


def test_cnn_names_shapes_and_operations():
    found = strings(plots.architecture(mnist_cnn()))
    assert found[0] == "mnist_cnn: 12 layers, 121,930 parameters"
    shapes = [text for text in found if text.replace("×", "").isdigit() and "3×3" != text != "2×2"]
    assert shapes == ["28×28×1", "26×26×32", "13×13×32", "11×11×64", "5×5×64", "1600", "64", "10"]
    written = " ".join(found)
    for word in ("Conv2D", "3×3", "MaxPool", "2×2", "Flatten", "Dense", "Dropout 0.5", "Softmax"):
        assert word in written
    assert found.count("ReLU") == 3


def test_elementwise_layers_make_no_block():
    figure = plots.architecture(mlp())
    from matplotlib.patches import FancyArrowPatch

    arrows = [patch for patch in figure.axes[0].patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 2
    assert "Dense" in strings(figure)
    assert "mlp: 3 layers, 101,770 parameters" in strings(figure)


@pytest.mark.parametrize("model", [mnist_cnn(), mlp(), deep()], ids=lambda model: model.name)
def test_architecture_text_stays_apart(model):
    figure = plots.architecture(model)
    check_text_layout(figure)
    assert figure.get_figwidth() <= 8.01


def test_deep_models_wrap_and_name_what_is_unusual():
    figure = plots.architecture(deep())
    assert figure.get_figheight() > 4
    assert {"stride 2", "GlobalAvgPool", "AveragePool 2×2"} <= set(strings(figure))


@pytest.mark.parametrize("size", [(6, 5), (12, 2.5), (3.5, 8)])
@pytest.mark.parametrize("model", [mnist_cnn(), mlp(), deep()], ids=lambda model: model.name)
def test_architecture_fits_given_axes(model, size):
    figure, ax = own_axes()
    figure.set_size_inches(size)
    assert plots.architecture(model, ax=ax) is figure
    assert figure.axes == [ax]
    check_text_layout(figure)


def test_only_elementwise_layers_and_odd_ones_are_drawn():
    relu = SimpleNamespace(name="m", input_shape=(8, 8), layers=[layer("ReLU", (8, 8))])
    assert {"ReLU", "8×8"} <= set(strings(plots.architecture(relu)))
    odd = SimpleNamespace(
        name="m", input_shape=(4,), layers=[layer("BatchNorm", (4,)), layer("Attention", (2,))]
    )
    assert {"BatchNorm", "Attention"} <= set(strings(plots.architecture(odd)))


def test_architecture_refuses():
    with pytest.raises(InputError, match="found none"):
        plots.architecture(SimpleNamespace(input_shape=(4,), layers=[]))
    with pytest.raises(InputError, match="is the model built"):
        plots.architecture(SimpleNamespace(input_shape=None, layers=mlp().layers))
    with pytest.raises(InputError, match="layer dense"):
        plots.architecture(SimpleNamespace(input_shape=(4,), layers=[layer("Dense", None)]))


# ------------------------------------------------------------------------------------- image steps


def steps(count=5):
    rng = np.random.default_rng(0)
    shapes = [(300, 400, 3), (300, 400), (200, 90), (20, 20), (28, 28)]
    return [
        SimpleNamespace(
            name=f"step {i}",
            caption=f"number {i} does something to the image that takes a line or two to say",
            image=rng.integers(0, 256, shapes[i % 5], dtype=np.uint8),
        )
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [1, 2, 5, 8])
@pytest.mark.parametrize("k", [None, 10, 47])
def test_steps_stand_in_order(count, k):
    probs = None if k is None else np.linspace(0, 0.1, k)
    figure = plots.image_steps(steps(count), probabilities=probs)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[:count] == [f"{i + 1}. step {i}" for i in range(count)]
    assert len(titles) == count + (k is not None)
    assert "number 0 does" in figure.axes[0].get_xlabel()
    check_text_layout(figure)


def test_long_words_and_many_lines_stay_in_their_column():
    some = steps(5)
    for step in some:
        step.caption = "IMG_20240131_235959_the_digit_on_my_kitchen_table.jpeg " * 2
        step.name = "WWWWWWWWWWWW WWWWWWWW"
    check_text_layout(plots.image_steps(some, np.full(10, 0.1)))


@pytest.mark.parametrize("count", [2, 4, 9])
def test_bars_with_long_names_have_room(count):
    names = [f"a rather long name for class {i}" for i in range(10)]
    check_text_layout(plots.image_steps(steps(count), np.eye(10)[3], class_names=names))


def test_small_images_stay_crisp():
    figure = plots.image_steps(steps(5))
    kinds = [ax.images[0].get_interpolation() for ax in figure.axes]
    assert [kind == "nearest" for kind in kinds] == [False, False, False, True, True]


def test_bars_show_the_likeliest_classes():
    probs = np.full(62, 0.001)
    probs[40] = 0.939
    ax = plots.image_steps(steps(1), probs, class_names=[f"c{i}" for i in range(62)]).axes[-1]
    assert len(ax.patches) == 10
    assert ax.get_yticklabels()[0].get_text() == "c40"
    assert ax.texts[0].get_text() == "93.9 %"


def test_steps_refuse():
    with pytest.raises(InputError, match="at least one step"):
        plots.image_steps([])
    bad = SimpleNamespace(name="crop", caption="", image=np.zeros((4, 4, 2), np.uint8))
    with pytest.raises(InputError, match=r"'crop'.*\(4, 4, 2\)"):
        plots.image_steps([bad])
    with pytest.raises(InputError, match="probabilities"):
        plots.image_steps(steps(1), probabilities=np.zeros((2, 10)))


# -------------------------------------------------------------------------------------------- save

MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", MAGIC)
def test_saved_bytes_have_their_format_and_repeat(tmp_path, suffix):
    for name in ("one", "two"):
        plots.save(plots.architecture(mlp()), tmp_path / f"{name}.{suffix}")
    one, two = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("one", "two"))
    assert one.startswith(MAGIC[suffix])
    assert one == two
    assert len(list(tmp_path.iterdir())) == 2


def test_save_takes_a_string_and_replaces(tmp_path):
    path = tmp_path / "a.PNG"
    path.write_text("old")
    plots.save(plots.architecture(mlp()), str(path), dpi=50)
    assert path.read_bytes().startswith(MAGIC["png"])


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt"])
def test_save_refuses_other_formats(tmp_path, name):
    with pytest.raises(InputError, match=r"\.png, \.svg or \.pdf"):
        plots.save(plots.architecture(mlp()), tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_save_names_a_folder_that_cannot_be_written(tmp_path):
    figure = plots.architecture(mlp())
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.png").mkdir()
    for path in (tmp_path / "no" / "a.png", tmp_path / "file" / "a.png", tmp_path / "folder.png"):
        with pytest.raises(InputError) as caught:
            plots.save(figure, path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path):
    class Broken:
        def savefig(self, file, **kwargs):
            file.write(b"half a picture")
            raise RuntimeError("out of ink")

    path = tmp_path / "a.png"
    path.write_text("old")
    with pytest.raises(RuntimeError, match="out of ink"):
        plots.save(Broken(), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
