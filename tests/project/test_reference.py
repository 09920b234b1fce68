"""The API reference is made by its command, and shows the docstrings as they are written."""

import html
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import scratchnet as sn

DOCS = Path(__file__).parents[2] / ".github" / "docs"
#: from layers/conv.py, line by line
FORMULA = """
Forward   y[n,i,j,f] = b[f] + sum_{u,v,c} x[n, i sh + u dh - top, j sw + v dw - left, c]
              dL/dW[k,f]    = sum_p dL/dy[p,f] dy[p,f]/dW[k,f] = sum_p cols[p,k] dy[p,f]
              dL/db[f]      = sum_p dy[p,f]
              dL/dcols[p,k] = sum_f dy[p,f] W[k,f]
""".strip("\n").splitlines()


@pytest.fixture
def as_written(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    from as_written import as_written

    return as_written


def lines(page):
    """The lines of text in a page, without its tags, and without empty ones."""
    text = html.unescape(re.sub(r"<[^>]*>", "", page))
    return [line for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("kind", [*sn.layers.LAYERS.values(), sn.layers, sn.losses, sn.trace])
def test_every_line_of_a_docstring_stays_a_line(as_written, kind):
    said = inspect.getdoc(kind).replace("**", "")
    found = as_written(said).replace("`", "")  # in prose a typeface shows what is code
    assert lines(found) == [line for line in said.replace("`", "").splitlines() if line]


def test_prose_may_be_broken_anew_and_lines_of_a_formula_may_not(as_written):
    page = as_written("Some words that fill a line\nand go on.\n\n    y = a * x\n    z = y / 2", 30)
    assert page.startswith("<p>Some words that fill a line\nand go on.</p>")
    assert len(re.findall(r'<div class="line"', page)) == 2
    assert "<br>" in as_written("Short.\nSource: a book", 30)


def test_what_looks_like_html_is_text(as_written):
    assert "&lt;script&gt; x &lt; y &amp; z" in as_written("<script> x < y & z")


@pytest.mark.slow
def test_the_command_makes_pages_that_are_whole(tmp_path):
    done = subprocess.run(
        [sys.executable, str(DOCS / "reference.py"), str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    pages = {path.resolve(): path.read_text("utf-8") for path in tmp_path.rglob("*.html")}
    assert f"{len(pages) - 1} pages" in done.stdout  # and the index

    conv = lines(pages[tmp_path.resolve() / "scratchnet/layers/conv.html"])
    at = conv.index(FORMULA[1])
    assert FORMULA[0] in conv and conv[at : at + 3] == FORMULA[1:]
    assert FORMULA[2].strip() in (tmp_path / "search.js").read_text("utf-8")

    places = {path: set(re.findall(r'\bid="([^"]+)"', page)) for path, page in pages.items()}
    missing = []
    for path, page in pages.items():
        assert not re.search(r'(src|<link[^>]* href)="http', page)  # nothing is fetched
        for link in re.findall(r'href="([^"$]+)"', page):
            file, _, place = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if ":" not in link and (target not in pages or place and place not in places[target]):
                missing.append((path.name, link))
    assert missing == []
    index = pages.pop(tmp_path.resolve() / "index.html")
    assert all(path.relative_to(tmp_path.resolve()).as_posix() in index for path in pages)
