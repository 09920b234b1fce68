"""The lessons: where they are, a copy of them, and Jupyter on the copy.

They stand in examples/lessons, and a wheel has them in learn/lessons (see pyproject.toml). A lesson
links to files of the package; with the copies comes a folder of what they link to, since Jupyter
opens nothing outside the folder that it was started on.
"""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

from ..errors import InputError

HERE = Path(__file__).parent
#: in an installed package; in a checkout
PLACES = (HERE / "lessons", HERE.parents[1] / "examples" / "lessons")
#: the folder of the copies when none is named
USUAL = Path("scratchnet-lessons")
#: in a lesson, the start of a link to a file or folder of the package; and in a copy, which may not
#: be called like the package: Python would import it
LINK, COPIED = re.compile(r"\]\(\.\./\.\./scratchnet/([\w/.]+)"), "source"


def lessons() -> list[Path]:
    """The notebooks, in order."""
    for place in PLACES:
        if found := sorted(place.glob("*.ipynb")):
            return found
    raise InputError(
        f"lessons: expected notebooks in {PLACES[0]} or {PLACES[1]}, found none; "
        'install from a whole copy of the project: pip install ".[learn]"'
    )


def copy_lessons(folder: Path) -> tuple[list[Path], list[Path]]:
    """Copy the notebooks that are not there yet: which were copied, and which were kept."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: expected a folder, found a file")
    notebooks = lessons()
    folder.mkdir(parents=True, exist_ok=True)
    copied, kept = [], []
    for notebook in notebooks:
        copy = folder / notebook.name
        if copy.exists():
            kept.append(copy)
        else:
            text = notebook.read_text("utf-8")
            copy.write_text(LINK.sub(rf"]({COPIED}/\1", text), "utf-8")
            copied.append(copy)
            for path in LINK.findall(text):
                _copy_source(path, folder / COPIED / path)
    return copied, kept


def _copy_source(path: str, to: Path) -> None:
    """Copy a file of the package, or a folder's modules, to be read."""
    found = HERE.parent / path
    for file in sorted(found.glob("*.py")) if found.is_dir() else [found]:
        copy = to / file.name if found.is_dir() else to
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def check_jupyter() -> None:
    """Raise InputError unless JupyterLab is installed."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise InputError(
            'lessons: expected JupyterLab, found none: pip install ".[learn]" installs it; '
            "--copy-only copies the notebooks without it"
        )


def open_jupyter(folder: Path, browser: bool = True, allow_root: bool = False) -> int:
    """Run JupyterLab on the folder until it is stopped; returns its exit code."""
    options = [] if browser else ["--no-browser"]
    options += ["--allow-root"] if allow_root else []
    return subprocess.call([sys.executable, "-m", "jupyterlab", *options, str(folder)])
