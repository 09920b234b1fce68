"""The project on other systems: names of files, line ends, the source archive, what is missing."""

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from scratchnet import files

ROOT = Path(__file__).parents[2]
PARTS = (".ci", ".github", "benchmarks", "examples", "scratchnet", "tests")
NO_SOURCE = {"__pycache__", ".hypothesis", "node_modules"}
SOURCES = [
    path
    for part in PARTS
    for path in sorted((ROOT / part).rglob("*"))
    if path.is_file() and not NO_SOURCE & set(path.parts)
]
#: of a path inside the project; Windows allows 260 characters with the folder it lies in
LONGEST = 120


def test_every_file_has_a_name_that_every_system_takes(monkeypatch):
    monkeypatch.setattr(files, "WINDOWS", True)
    names = [path.relative_to(ROOT) for path in SOURCES]
    for name in names:
        assert len(str(name)) <= LONGEST, name
        for part in name.parts:
            assert not re.search(r'[<>:"|?*\\\x00-\x1f]|[. ]$', part) and part.isascii(), name
            assert not files.is_device(part), name
    # a Mac's disk and Windows' do not tell A from a
    assert len({str(name).lower() for name in names}) == len(names)


def test_lines_end_alike_in_every_checkout():
    rules = (ROOT / ".gitattributes").read_text().splitlines()
    assert "* text=auto eol=lf" in rules
    binary = {rule.split()[0][1:] for rule in rules if rule.endswith(" binary")}
    for path in SOURCES:
        content = path.read_bytes()
        if path.suffix in binary:
            assert b"\0" in content, path
        else:
            assert b"\0" not in content and b"\r\n" not in content, path


def test_without_the_modules_of_unix_the_package_loads():
    code = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name in ("fcntl", "grp", "pwd", "resource", "termios"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules.pop(name, None)
import pkgutil, importlib, scratchnet
for found in pkgutil.walk_packages(scratchnet.__path__, "scratchnet."):
    if not any(other in found.name for other in ("__main__", "torch", "keras", "distributed")):
        importlib.import_module(found.name)
print(len(sys.modules) > 100)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "True", done.stderr


@pytest.mark.slow
def test_the_source_archive_has_what_its_tests_need(tmp_path):
    pytest.importorskip("setuptools", reason="needs setuptools, which newer environments lack")
    copy = tmp_path / "copy"
    for path in [*SOURCES, *(path for path in ROOT.iterdir() if path.is_file())]:
        target = copy / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    code = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (archive,) = (copy / "dist").iterdir()
    with tarfile.open(archive) as opened:
        there = {name.partition("/")[2] for name in opened.getnames()}
    missing = {path.relative_to(ROOT).as_posix() for path in SOURCES} - there
    assert missing == set()
    assert {"LICENSE", "README.md", "pyproject.toml", ".gitattributes"} <= there
    assert not [name for name in there if "__pycache__" in name]
