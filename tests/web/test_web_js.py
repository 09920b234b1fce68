"""The page's JavaScript: its own tests under Node, and a linter over all of it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scratchnet
from scratchnet.architectures import pretrained

STATIC = Path(scratchnet.__file__).parent / "web" / "static"
TESTS = Path(__file__).parent / "js"
NODE = shutil.which("node")
DENO = shutil.which("deno")
#: the one rule that is for Deno's own programs: a page has a `window`
NOT_FOR_PAGES = {"no-window", "no-window-prefix"}


@pytest.mark.skipif(NODE is None, reason="node is not installed: apt install nodejs")
def test_the_page_s_modules_pass_their_tests(tmp_path):
    shutil.copytree(STATIC, tmp_path / "static")
    shutil.copytree(TESTS, tmp_path / "js")
    (tmp_path / "package.json").write_text('{"type": "module"}')  # as the page loads them
    files = sorted(str(path) for path in (tmp_path / "js").glob("*.test.mjs"))
    ran = subprocess.run(
        [NODE, "--test", *files], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    passed = re.search(r"pass (\d+)", ran.stdout)
    assert passed and int(passed[1]) >= len(files), ran.stdout


@pytest.mark.skipif(
    DENO is None, reason='deno, the linter, is not installed: pip install ".[test]"'
)
def test_the_linter_has_nothing_to_say():
    files = sorted(str(path) for path in [*STATIC.glob("*.js"), *TESTS.glob("*.mjs")])
    ran = subprocess.run(
        [DENO, "lint", "--json", *files], capture_output=True, text=True, timeout=120
    )
    said = json.loads(ran.stdout)
    assert not said["errors"]
    assert [
        f"{Path(one['filename']).name}:{one['range']['start']['line']}: {one['message']}"
        for one in said["diagnostics"]
        if one["code"] not in NOT_FOR_PAGES
    ] == []


def test_every_file_of_the_page_is_used():
    texts = {path: path.read_text("utf-8") for path in STATIC.iterdir() if path.suffix != ".png"}
    for path in STATIC.glob("*.js"):
        users = [text for other, text in texts.items() if other != path and path.name in text]
        assert users, path.name


def test_no_html_is_made_of_text():
    """Whatever a model file names its layers, it stays text."""
    for path in STATIC.glob("*.js"):
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(", path.read_text()), (
            path
        )


def test_the_hard_samples_are_read_wrongly_and_the_4_as_the_tours_say():
    """They go stale with other weights."""
    labels = json.loads(re.search(r"HARD = (.*);", (STATIC / "samples.js").read_text("utf-8"))[1])
    row = np.asarray(Image.open(STATIC / "samples.png"), np.float32) / 255
    digits = np.stack(np.split(row, row.shape[1] // 28, axis=1))[..., None]
    read = pretrained().predict(digits).argmax(axis=1)
    assert list(read[:10]) == list(range(10))
    assert len(read) == 10 + len(labels) and np.all(read[10:] != labels)
    assert "takes it for a 9" in (STATIC / "tours.js").read_text("utf-8")
    assert read[10 + labels.index(4)] == 9
