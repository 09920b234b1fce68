"""What is installed: every folder of code, and the lessons."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
LESSONS = "scratchnet.learn.lessons"


def test_every_folder_of_code_is_a_package_that_is_installed():
    chosen = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent for path in (ROOT / "scratchnet").rglob("*.py")}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert set(chosen["packages"]) == found | {LESSONS}
    assert list((ROOT / chosen["package-dir"][LESSONS]).glob("*.ipynb"))
