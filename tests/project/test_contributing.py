"""CONTRIBUTING.md shows the package as it is: its code, its files, its names."""

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / ".github" / "CONTRIBUTING.md"
TEXT = PAGE.read_text("utf-8")
#: (the file that a block of code names in its first line, the code)
BLOCKS = re.findall(r"```python\n *# (\S+)\n(.*?)\n *```", TEXT, re.DOTALL)


def test_every_block_of_code_names_its_file():
    assert len(BLOCKS) == TEXT.count("```python") > 3


@pytest.mark.parametrize("file, code", BLOCKS, ids=[file for file, _ in BLOCKS])
def test_code_is_the_packages_own_word_for_word(file, code):
    assert textwrap.dedent(code) in (ROOT / file).read_text("utf-8")


def test_links_lead_to_files():
    links = re.findall(r"\]\((?!http)([^)#]+)\)", TEXT)
    assert links and [link for link in links if not (PAGE.parent / link).exists()] == []


def test_files_of_tests_are_there():
    named = set(re.findall(r"(?:tests|benchmarks|scratchnet)/[\w/]+\.(?:py|md)", TEXT))
    assert named and [name for name in sorted(named) if not (ROOT / name).exists()] == []
