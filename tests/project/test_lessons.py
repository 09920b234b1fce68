"""The lessons: what is committed is what a run gives, can be read anywhere, and is small.

The slow test runs each from a copy, with its solution; the others look at the committed files.
"""

import functools
import re
import shutil
from pathlib import Path
from urllib.parse import unquote

import nbformat
import notebooks
import pytest

LESSONS = notebooks.lessons()
README = notebooks.LESSONS / "README.md"
#: kilobytes of all together, and of one
ALL, ONE = 6000, 900
HOUSE = r"/home/|/root/|/tmp/|/Users/|/mnt/|/opt/|[A-Z]:\\|site-packages|0x[0-9a-f]{8}"


def words(notebook):
    """Everything in a notebook that is text."""
    for cell in notebook.cells:
        yield cell.source
        yield from cell.get("outputs", []) and texts(cell)


def texts(cell):
    for output in cell.get("outputs", []):
        yield output.get("text", "")
        for kind, data in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield data


def links(text):
    """Where a text's links lead, those to the web left out."""
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:|#", target):
            yield unquote(target.split("#")[0])


@functools.cache
def read(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return read(request.param)


def test_they_are_in_order_and_in_the_index():
    numbers = [int(path.name[:2]) for path in LESSONS]
    assert numbers == list(range(1, len(LESSONS) + 1)) and numbers
    index = README.read_text("utf-8")
    assert re.findall(r"^\| \[\d+ · [^]]+\]\(([^)]+)\)", index, re.M) == [p.name for p in LESSONS]


def test_together_they_are_small():
    sizes = [path.stat().st_size / 1000 for path in LESSONS]
    assert sum(sizes) <= ALL and max(sizes) <= ONE


def test_a_lesson_was_run_once_from_its_first_cell_to_its_last(lesson):
    code = [cell for cell in lesson.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    nbformat.validate(lesson)
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]


def test_a_lesson_says_nothing_of_the_machine_it_ran_on(lesson):
    assert not re.findall(HOUSE, "\n".join(words(lesson)))
    assert set(lesson.metadata) == {"kernelspec", "language_info"}
    assert all(set(cell.metadata) <= {"tags", "jupyter"} for cell in lesson.cells)


def test_every_picture_has_a_caption_and_the_same_as_alternative_text(lesson):
    shown = list(notebooks.pictures(lesson))
    assert shown
    for output, caption in shown:
        assert len(caption) > 40
        assert len(output.metadata["image/png"]["alt"]) > 30
    for picture in re.findall(r"!\[(.*?)\]\(", "\n".join(words(lesson))):
        assert len(picture) > 10


def test_no_output_floods_its_cell(lesson):
    assert max(len(text) for cell in lesson.cells for text in ["", *texts(cell)]) < 12_000


def test_links_lead_somewhere(lesson):
    found = [target for text in words(lesson) for target in links(text)]
    found += links(README.read_text("utf-8"))
    assert found
    assert not [target for target in found if not (notebooks.LESSONS / target).exists()]


def test_a_lesson_is_built_like_the_others(lesson):
    text = "\n\n".join(cell.source for cell in lesson.cells if cell.cell_type == "markdown")
    title = lesson.cells[0].source.splitlines()[0]
    assert re.fullmatch(r"# \d+ · .+", title)
    assert "**The idea.**" in text and "**Time**" in text and "**You need**" in text
    assert text.count("> **Predict.**") >= 2
    assert "## What to take along" in text and "Further reading:" in text
    last = lesson.cells[-1].source
    assert re.search(r"\*\*Next:\*\* \[\d+ · ", last) or lesson == read(LESSONS[-1])
    tags = [tag for cell in lesson.cells for tag in cell.metadata.get("tags", [])]
    assert tags and [*tags] == ["exercise", "check", "solution"] * (len(tags) // 3)
    assert any("inspect.getsource" in cell.source for cell in lesson.cells)
    assert any("assert " in cell.source for cell in lesson.cells)


def test_what_is_hidden_can_be_read_everywhere(lesson):
    """Visual Studio Code draws no formulas inside <details>, and Markdown needs empty lines."""
    for cell in lesson.cells:
        assert cell.source.count("<details>") == cell.source.count("</details>")
        for summary, hidden in re.findall(
            r"<details><summary>(.*?)</summary>(.*?)</details>", cell.source, re.DOTALL
        ):
            assert summary and hidden.startswith("\n\n") and hidden.endswith("\n\n")
            assert "$" not in re.sub(r"```.*?```", "", hidden, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_from_a_copy_and_its_solution_is_right(path, tmp_path: Path):
    copy = shutil.copy(path, tmp_path)
    notebook = nbformat.read(copy, as_version=4)
    notebooks.execute(notebook, tmp_path, with_solutions=True)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [o.text for o in outputs if o.get("name") == "stderr"]
    said = {"check": "Not written yet", "solved": "Right"}
    for tag, beginning in said.items():
        cells = [c for c in notebook.cells if tag in c.metadata.get("tags", [])]
        assert cells
        assert all("".join(texts(cell)).startswith(beginning) for cell in cells)
