"""Tables on a terminal of any width: nothing is dropped, cut off or taken for a style."""

import ast
import io
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import contenders
import numpy as np
import pytest
from command import good, run
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.cells import cell_len

import scratchnet as sn
from scratchnet.cli import evaluate
from scratchnet.progress import Progress
from scratchnet.text import Table, listed, room

WIDTHS = st.none() | st.integers(20, 200)
TEXTS = st.text(st.sampled_from("ab -[]/:\\数%"), min_size=1, max_size=40).map(
    lambda text: re.sub(" +", " ", text.strip()) or "a"
)


def letters(text):
    """All of a text but the lines around it: what must be there whatever is folded."""
    return re.sub(r"[\s│┃┏┓┗┛━┳┻╇┡┩─┼├┤└┘┴┬╋╈]", "", text)


def check(text, words, width):
    assert width is None or all(cell_len(line) <= width for line in text.splitlines())
    for word in words:
        assert letters(word) in letters(text)


@given(st.lists(TEXTS, min_size=4, max_size=4), st.lists(st.tuples(*[TEXTS] * 4)), WIDTHS)
def test_a_table_loses_nothing_at_any_width(heads, rows, width):
    text = Table("", heads, rows, foot=["total", "", "[b]7[/b]", ""]).text(width)
    check(text, [cell for row in rows for cell in row] + ["[b]7[/b]"], width)


@given(TEXTS, st.lists(TEXTS), WIDTHS)
def test_a_list_breaks_its_items_only_where_it_must(first, items, width):
    lines = listed(first, items, width)
    check("\n".join(lines), [first, *items], width)
    for item in items:
        if width is None or cell_len(item) <= width - 2:
            assert any(item in line for line in lines)


@pytest.mark.parametrize("width", [None, 200, 120, 80, 60, 40, 20])
@pytest.mark.parametrize(
    "names",
    [
        [str(k) for k in range(10)],
        ["T-shirt/top", "Trouser", "Ankle boot", "[/b]", "手書き文字" * 5, "a" * 50],
        [f"class {k}" for k in range(20)],
        [f"c{k}" for k in range(47)],
    ],
    ids=["digits", "clothes", "twenty", "many"],
)
def test_all_confusions_are_shown_at_any_width(names, width, rng, capsys):
    matrix = rng.integers(1, 2000, (len(names), len(names)))
    evaluate._print_confusion(matrix, names, width)
    text = capsys.readouterr().out
    check(text, [], width)
    every = Counter(letters("".join(names)))
    assert every <= Counter(letters(text))
    numbers = re.findall(r"\d+", text.replace(",", ""))
    assert all(numbers.count(str(count)) >= (matrix == count).sum() for count in matrix.flat)


@pytest.mark.parametrize("columns", ["80", "60", "40"])
def test_commands_keep_within_the_terminal_and_lose_nothing(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    model = sn.architectures.build("resnet")
    model.summary()
    words = [row.name.partition(".")[2] or row.name for row in model.rows()]
    words += [f"{row.multiply_adds:,}" for row in model.rows()] + [f"{model.count_params():,}"]
    check(capsys.readouterr().out, words, int(columns))

    trace = sn.trace(model, np.zeros((28, 28)), 3)
    wide, narrow = trace.table(), trace.table(room())
    check(narrow.partition("\n")[2], [layer.name for layer in trace.layers], int(columns))
    assert all(set(line) <= set(narrow) for line in wide.splitlines())

    layer = sn.Dense(3)
    layer.build((4,), np.random.default_rng(0), np.float64)
    report = sn.gradcheck.check_layer(layer, np.ones((2, 4)), np.random.default_rng(0))
    check(report.text(room()), [f"{one.numeric:+.6e}" for one in report], int(columns))
    assert str(report) == report.text()

    reason = 'skipped: not installed; pip install ".[bench]"'
    rows = [["scratchnet", 1.5, 2.5], ["[PyTorch]", reason], ["Keras", "[b]3", "4"]]
    contenders.show_table("title", ["contender", "s/epoch", "x scratchnet"], rows)
    check(capsys.readouterr().out, [reason, "[PyTorch]", "[b]3", "2.5"], int(columns))


def test_a_width_is_that_of_the_terminal_or_of_columns_or_none(monkeypatch):
    monkeypatch.setenv("COLUMNS", "44")
    assert room() == 44
    for nonsense in ("", "0", "wide", "-3"):
        monkeypatch.setenv("COLUMNS", nonsense)
        assert room() is None  # pytest's output is no terminal
    monkeypatch.setenv("COLUMNS", "3")
    assert room() == 20


def test_what_goes_to_a_file_is_as_wide_as_it_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")  # pytest's readline sets one, where os.environ has none
    text = good("summary", "resnet", cwd=tmp_path).stdout
    assert "┃ multiply-adds ┃" in text and max(map(len, text.splitlines())) > 80


ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for room in ("scratchnet", "benchmarks", "examples")
    for path in (ROOT / room).rglob("*.py")
]


def calls(name):
    """Every call of a function or class of that name in the sources, as (file, keywords)."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == name:
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords if k.arg}
                yield path.relative_to(ROOT).as_posix(), keywords


@pytest.mark.slow
def test_no_text_is_taken_for_markup_by_any_console():
    consoles = list(calls("Console"))
    assert len(consoles) >= 4
    for file, keywords in consoles:
        assert (keywords.get("markup"), keywords.get("emoji")) == ("False", "False"), file
    for column in ("TextColumn",):
        assert all(keywords.get("markup") == "False" for _, keywords in calls(column))
    assert not list(calls("from_markup")) + list(calls("render_markup"))
    for path in SOURCES:  # rich's own print takes everything for markup
        assert "from rich import" not in path.read_text("utf-8"), path


@pytest.mark.slow
def test_names_with_brackets_are_printed_as_they_are(tmp_path):
    name = "[b]7[/b][bench].png"
    stroke = np.zeros((28, 28), np.uint8)
    stroke[5:23, 13:16] = 255
    Image.fromarray(stroke).save(tmp_path / "x.png")
    for line, code in (
        (("summary", "[/b][bench]"), 1),
        (("predict", "[/b][bench]"), 1),
        (("evaluate", "[/b][bench]"), 1),
        (("evaluate", "--data", "[/b][bench]"), 1),
        (("train", "--data", "[/b][bench]"), 1),
        (("train", "--model", "[/b][bench]"), 2),
        (("train", "--[/b][bench]"), 2),
        (("gradcheck", "--model", "[/b][bench]"), 2),
        (("explain", "x.png", "--out", "a.png", "--layer", "[/b][bench]"), 2),
        (("explain", "x.png", "--out", "a.[/b][bench]"), 2),
        (("[/b][bench]",), 2),
    ):
        done = run(*line, cwd=tmp_path)
        assert done.returncode == code and "[/b][bench]" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    (tmp_path / "[b]7[").mkdir()
    (tmp_path / "x.png").rename(tmp_path / "[b]7[" / "b][bench].png")
    assert name in good("predict", name, cwd=tmp_path).stdout
    done = good("export", "--format", "npz", "--out", "[b]w[bench].npz", cwd=tmp_path)
    assert done.stdout == "[b]w[bench].npz\n"


def test_a_bar_prints_the_names_of_figures_as_they_are(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    shown = Terminal()
    progress = Progress(file=shown)
    run = {"batch": 0, "batch_size": 4, "batches": 3, "epochs": 1, "images": 12}
    progress.run = SimpleNamespace(**run, means=SimpleNamespace(images=0))
    with progress:
        progress.on_epoch_begin(0, {})
        progress.on_batch_end(0, {"[b]loss[/b]": 1.0, ":cat:": 2.0})
    assert "[b]loss[/b] 1.0000  :cat: 2.0000  stopped in batch 1" in shown.getvalue()
