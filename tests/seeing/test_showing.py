"""What a notebook shows: short texts, tables that both themes can read, one output while training.

A real kernel runs in `test_in_a_real_kernel`; the rest asks the objects themselves.
"""

import base64
import io
import re
import subprocess
import sys
from html.parser import HTMLParser

import nbclient
import nbformat
import numpy as np
import pytest
from PIL import Image

import scratchnet as sn
from scratchnet import live, showing
from scratchnet.layers.registry import KINDS
from scratchnet.text import Table

X = np.random.default_rng(0).random((40, 8, 8, 1)).astype(np.float32)
Y = np.arange(40) % 3


def make_model(name=None):
    row = [sn.Conv2D(4, 3), sn.ReLU(), sn.MaxPool2D(2), sn.Flatten(), sn.Dense(3), sn.Softmax()]
    row[0].name = name
    model = sn.Sequential(row, (8, 8, 1))
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


@pytest.fixture(scope="module")
def seen():
    """One of each kind of object, by what it is."""
    model = make_model()
    trace = sn.trace(model, X[0], label=1)
    ink = np.zeros((60, 40), np.uint8)
    ink[10:50, 18:23] = 255
    reading = sn.sequences.read(ink, sn.architectures.pretrained())
    prepared = sn.pictures.prepare(ink)
    report = sn.gradcheck.check_layer(
        sn.Dense(2).joined((3,), np.random.default_rng(0), np.float64),
        np.ones((2, 3)),
        np.random.default_rng(1),
    )
    return {
        "model": model,
        "model not built": sn.Sequential([sn.Dense(3)]),
        "trace": trace,
        "layer trace": trace["conv2d"],
        "layer trace of a vector": trace["dense"],
        "layer trace without dy": trace["softmax"],
        "gradient": trace.explain("conv2d.W", (1, 1, 0, 2)),
        "gradient without a sum": trace.explain("dense.b", 1),
        "output": trace.explain_output("conv2d", (2, 3, 1)),
        "sum": trace.explain_output("dense", 2).sum,
        "step": trace.step("sgd"),
        "history": model.fit(X, Y, epochs=2, verbose=0),
        "report": report,
        "report of nothing": sn.gradcheck.Report(),
        "table": Table("a title", ("a", "b"), [("1", "2")], foot=("sum", "2"), note="a note"),
        "reading": reading,
        "digit": reading.lines[0][0],
        "prepared": prepared,
        "one of its steps": prepared.steps[0],
    }


class Page(HTMLParser):
    """What can be read, and whether every tag is closed."""

    def __init__(self, page):
        super().__init__()
        self.text, self.open, self.attributes = "", [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        if tag not in ("img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_texts_are_short_and_pages_are_whole(seen):
    for what, one in seen.items():
        assert len(repr(one)) <= 400, what
        assert "array(" not in repr(one) and " at 0x" not in repr(one), what
        page = Page(one._repr_html_())
        assert not page.open, what
        assert 0 < len(page.text.split()) < 400 or what == "digit", what


def test_no_theme_hides_the_text(seen):
    for what, one in seen.items():
        for name, value in Page(one._repr_html_()).attributes:
            assert name not in ("bgcolor", "color", "class"), what
            colours = re.findall(r"(?:^|;)\s*(color|background)\s*:\s*([^;]+)", value or "")
            assert all(kind == "background" for kind, _ in colours), what
            assert all(c in (showing.BLUE, showing.LINE) for _, c in colours), what


def test_what_is_shown_says_what_matters(seen):
    trace = seen["trace"]
    text = Page(trace._repr_html_()).text
    assert "label 1: loss" in text and "maxpool2d" in text and "1 (label)" in text
    assert f"{seen['gradient'].gradient:+.10g}" in Page(seen["gradient"]._repr_html_()).text
    assert f"{seen['output'].value:+.6g}" in repr(seen["output"])
    assert f"{seen['step'].after.loss:.6g}" in Page(seen["step"]._repr_html_()).text
    assert "rms of its change" in seen["step"]._repr_html_()
    assert "2 x 3" in seen["report"]._repr_html_() and "all right" in repr(seen["report"])
    assert "a note" in seen["table"]._repr_html_() and "sum" in seen["table"]._repr_html_()
    assert repr(seen["table"]) == "Table('a title', 2 columns, 1 rows)"
    assert seen["history"]._repr_html_().count("<tr>") == 3
    wrong = seen["report"].worst.__class__("W", (2,), (0,), 1.0, 2.0, 0.5, 2, 1)
    assert "WRONG: W" in repr(sn.gradcheck.Report([wrong]))
    assert repr(sn.gradcheck.Report()) == "Report(no checks)"


def test_names_are_text_and_no_tags():
    named = "<script>alert(1)</script>"
    model = make_model(named)
    trace = sn.trace(model, X[0], 0)
    shown = [model, trace, trace[0], trace.step("sgd"), Table(named, (named,), [(named,)])]
    for one in shown:
        assert "<script" not in one._repr_html_() and "&lt;script" in one._repr_html_()
    long = sn.pictures.Step(named, "x" * 9000, np.zeros((4, 4), np.uint8))
    assert len(repr(long)) < 500 and "<script" not in long._repr_html_()


def test_long_tables_and_histories_say_how_much_is_left_out():
    page = showing.table(("a",), [(f"{k}",) for k in range(1000)])
    assert page.count("<tr>") == 1 + showing.MOST_ROWS and "960 more rows" in page
    history = sn.History()
    for epoch in range(500):
        history.append(epoch, {"loss": 1.0, "learning_rate": 1e-5})
    text = Page(history._repr_html_()).text
    assert "..." in text and "500" in text and "1e-05" in text and len(text) < 1000
    assert "6 more" in showing.pictures([("a", np.zeros((2, 2)))] * (showing.MOST_PICTURES + 6))


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((3, 3)),
        np.full((2, 2), np.nan),
        np.linspace(-1, 1, 900),
        np.random.default_rng(0).standard_normal((9, 5, 70)),
        np.zeros((700, 900), np.uint8),
        np.zeros((6, 7, 3), np.uint8),
        np.array([[np.inf, -1.0]]),
    ],
    ids=["zeros", "nan", "vector", "maps", "large", "colours", "infinite"],
)
def test_any_array_becomes_a_small_picture(array):
    page = showing.picture(array)
    assert len(page) < 60_000
    assert "nan" not in page and Page(page).attributes[0][1].startswith("data:image/png;base64,")


def test_every_layer_loss_optimizer_and_metric_has_a_repr_that_reads():
    some = [*sn.losses.LOSSES.values(), *sn.optimizers.OPTIMIZERS.values()]
    for kind in some:
        assert repr(kind()).startswith(f"{kind.__name__}(")
    assert (
        repr(sn.Adam(0.01)) == "Adam(learning_rate=0.01, beta_1=0.9, beta_2=0.999, epsilon=1e-07)"
    )
    assert "Cosine(" in repr(sn.SGD(sn.schedules.Cosine(0.1, 10)))
    assert repr(sn.metrics.TopK(3)) == "TopK(k=3, name='top_3_accuracy')"
    assert all(len(repr(kind)) < 200 for kind in KINDS)
    assert repr(sn.callbacks.StopOnNaN()) == "StopOnNaN()"
    assert "patience=3" in repr(sn.callbacks.EarlyStopping(patience=3))
    assert repr(make_model().groups()[-1]).startswith("softmax: ")


def test_a_training_says_where_it_stands():
    seen = []
    watch = sn.callbacks.LambdaCallback()
    watch.on_epoch_end = lambda epoch, logs: seen.append(repr(watch.run))
    model = make_model()
    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[watch])
    model.fit([(X, Y)] * 3, steps_per_epoch=3, verbose=0, callbacks=[watch])
    assert seen[0] == "Run((40, 8, 8, 1), epoch 0 of 1, batch 5 of 5)"
    assert "SourceRun(" in seen[1] and "batch 3 of 3" in seen[1] and len(seen[1]) < 200


def test_a_set_shows_its_classes():
    x, y = np.zeros((30, 4, 4), np.uint8), np.arange(30, dtype=np.uint8) % 2
    data = sn.datasets.Dataset(x, y, x[:5], y[:5], ("<no>", "yes"))
    assert repr(data) == "Dataset(30 images to train on, 5 to test with, of 4 x 4, 2 classes)"
    page = data._repr_html_()
    assert page.count("<img") == 24 and "<no>" not in page and "&lt;no&gt;" in page


def test_a_figure_is_a_picture_without_pyplot():
    code = (
        "import sys, scratchnet as sn\n"
        "data, size = sn.plots.training_curves({'loss': [2.0, 1.0]})._repr_png_()\n"
        "assert data[:4] == b'\\x89PNG' and size['width'] > 200, size\n"
        "print('matplotlib.pyplot' in sys.modules, 'IPython' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False False", done.stderr


def test_every_figure_shows_itself(seen):
    rates = sn.find_learning_rate(make_model(), X, Y, steps=12, batch_size=20)
    figures = [
        seen["trace"].plot(),
        seen["history"].plot(),
        rates,
        sn.plots.digit_boxes(seen["reading"]),
        sn.plots.architecture(seen["model"]),
        sn.plots.confusion_matrix(np.eye(3, dtype=int)),
    ]
    for figure in figures:
        data, size = figure._repr_png_()
        width, height = Image.open(io.BytesIO(data)).size
        assert width / height == pytest.approx(size["width"] / size["height"], rel=0.02)


def test_a_figure_is_shown_in_its_own_way(monkeypatch, seen):
    shown = []
    monkeypatch.setattr(showing, "display", lambda data, **how: shown.append((data, how)))
    seen["history"].plot()._ipython_display_()
    ((data, how),) = shown
    assert base64.b64decode(data["image/png"])[:4] == b"\x89PNG" and how["raw"]
    assert how["metadata"]["image/png"]["width"] == 768 and "Picture" in data["text/plain"]


# ---- fit, as a notebook sees it ------------------------------------------------------------------


class Output:
    """What IPython's display does, kept."""

    def __init__(self):
        self.shown, self.updates = [], 0

    def display(self, shown, display_id=False):
        self.shown.append(shown)
        return self

    def update(self, shown):
        assert shown is self.shown[0]
        Page(shown._repr_html_())
        self.updates += 1


@pytest.fixture
def output(monkeypatch):
    found = Output()
    monkeypatch.setattr(showing, "in_notebook", lambda: True)
    monkeypatch.setattr(showing, "display", found.display)
    return found


def test_fit_has_one_output_that_is_renewed(output, capsys, monkeypatch):
    monkeypatch.setattr(live, "PAUSE", 0.0)
    make_model().fit(X, Y, epochs=16, batch_size=4, validation_split=0.25)
    assert capsys.readouterr().out == ""
    (shown,) = output.shown
    assert output.updates >= 16 * 8
    assert len(repr(shown).splitlines()) == live.MOST_LINES + 1
    assert "epoch  1/16" in repr(shown) and "epoch 16/16" in repr(shown) and "4 more" in repr(shown)
    page = shown._repr_html_()
    assert page.count("<svg") == 2 and "height:5px" not in page and "epoch 16/16" in page
    assert len(page) < 40_000 and Page(page).text.count("validation") == 2
    curve = shown.curves["loss of each batch"]
    assert len(curve.points) <= live.MOST_POINTS and curve.points[-1][0] > 14


def test_the_curve_of_batches_is_that_of_their_losses(output):
    losses = []
    watch = sn.callbacks.LambdaCallback(
        on_batch_end=lambda batch, logs: losses.append(logs["loss"])
    )
    make_model().fit(X, Y, epochs=1, batch_size=16, callbacks=[watch])
    sums = np.array(losses) * [16, 32, 40]
    points = output.shown[0].curves["loss of each batch"].points
    assert [x for x, _ in points] == pytest.approx([0.4, 0.8, 1.0])
    assert [y for _, y in points] == pytest.approx(np.diff(sums, prepend=0) / [16, 16, 8])


def test_updates_are_few_where_batches_are_fast(output, monkeypatch):
    monkeypatch.setattr(live, "PAUSE", 3600.0)
    make_model().fit(X, Y, epochs=3, batch_size=8)
    assert len(output.shown) == 1 and output.updates == 1  # the first batch, and the end


def test_silent_lines_and_files_stay_what_they_are(output, capsys):
    model, into = make_model(), io.StringIO()
    model.fit(X, Y, verbose=0)
    model.fit(X, Y, verbose=2)
    model.fit(X, Y, progress_file=into)
    model.fit(X, Y, epochs=0)
    assert not output.shown
    assert capsys.readouterr().out.count("epoch 1/1") == 1 and "epoch 1/1" in into.getvalue()


def test_a_training_that_is_stopped_says_where(output):
    def stop(batch, logs):
        if batch == 1:
            raise KeyboardInterrupt

    model = make_model()
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, batch_size=8, callbacks=[sn.callbacks.LambdaCallback(on_batch_end=stop)])
    assert "stopped in batch 2" in repr(output.shown[0])
    assert "stopped in batch 2" in output.shown[0]._repr_html_()


def test_losses_that_are_no_numbers_leave_gaps(output):
    shown = live.Live()
    for at, loss in enumerate([1.0, np.nan, np.inf, 0.5, 0.5]):
        shown.batch(at / 5, loss, {"loss": loss})
    shown.epoch(1, {"loss": np.nan}, "a line")
    assert "nan" not in shown._repr_html_() and "inf" not in shown._repr_html_()
    assert Page(live.Live()._repr_html_()).open == []
    assert live._range([0.5, 0.5], falls=False)[0] < 0.5 < live._range([0.5], falls=False)[1]


def test_without_a_kernel_there_is_no_notebook():
    assert not showing.in_notebook()


def test_plan_and_summary_are_tables_in_a_notebook(output, capsys):
    model = make_model()
    model.summary()
    model.plan()
    assert capsys.readouterr().out == "" and len(output.shown) == 2
    assert "multiply-adds" in output.shown[0]._repr_html_()
    assert "conv2d" in output.shown[1]._repr_html_()


CELLS = [
    """
import sys
import numpy as np
import scratchnet as sn
x, y = np.random.default_rng(0).random((256, 8, 8, 1), np.float32), np.arange(256) % 3
row = [sn.Conv2D(4, 3), sn.ReLU(), sn.MaxPool2D(2), sn.Flatten(), sn.Dense(3), sn.Softmax()]
model = sn.Sequential(row, (8, 8, 1))
model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
model
""",
    "history = model.fit(x, y, epochs=40, batch_size=64, validation_split=0.25)",
    "history.plot()",
    "trace = sn.trace(model, x[0], 1)\ntrace",
    "trace.plot()",
    "model.plan()",
    "model.summary()",
    "%%capture caught\nmodel.fit(x, y)",
    "assert 'epoch 1/1' in caught.stdout, caught.stdout",
    "assert 'matplotlib.pyplot' not in sys.modules",
    "import matplotlib.pyplot\nhistory.plot()",
]


@pytest.mark.slow
def test_in_a_real_kernel(monkeypatch):
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    cells = [nbformat.v4.new_code_cell(source.strip()) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [[(o.output_type, o.get("data", {})) for o in cell.outputs] for cell in cells]
    assert all(len(one) == 1 for one in outputs[:7]), [len(one) for one in outputs]
    model, fit, curves, trace, plot, plan, summary = (one[0] for one in outputs[:7])
    assert fit[0] == "display_data" and "<svg" in fit[1]["text/html"]
    assert "epoch 40/40" in fit[1]["text/plain"] and "height:5px" not in fit[1]["text/html"]
    assert "image/png" in curves[1] and "image/png" in plot[1]
    for _, data in (model, trace, plan, summary):
        assert "<table>" in data["text/html"] and len(data["text/plain"]) < 1000
    assert outputs[7:10] == [[], [], []]
    assert outputs[10][0][1]["image/png"] == curves[1]["image/png"]  # pyplot changes nothing
