"""The page's JavaScript: its own tests under Node, and a linter over all of it."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import scratchnet

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
