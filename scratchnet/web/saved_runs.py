"""Runs as folders: what the page trained is kept beyond the server's end, and can be taken away.

A folder holds what a run of the `train` command leaves: the model and history.json. The runs of the
command in the same folder are offered, too.
"""

import io
import json
import logging
import math
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..checkpoint import write_atomically
from ..errors import InputError
from ..metrics import finite_or_none
from ..model import Sequential, load_model
from ..model_files import MODEL_FILE
from .schemas import RunSettings

HISTORY_FILE = "history.json"
log = logging.getLogger("scratchnet")


@dataclass
class Record:
    """What is remembered of a run, beside its model.

    name       the folder's, and the run's in the API
    title      what it is called on the page
    settings   as the page took them; None for a run of the command
    about      the settings in a few words
    """

    name: str
    title: str
    settings: RunSettings | None
    about: str
    state: str = "done"
    history: dict[str, list[float | None]] = field(default_factory=dict)
    seconds: float = 0.0

    def content(self) -> bytes:
        """history.json, in the form that the command's runs have."""
        epochs = max(map(len, self.history.values()), default=0)
        settings = None if self.settings is None else self.settings.model_dump()
        values = {
            "page": {"title": self.title, "state": self.state, "settings": settings},
            "train_seconds": round(self.seconds, 3),
            "epoch": list(range(epochs)),
            "history": finite_or_none(self.history),
        }
        return f"{json.dumps(values, indent=1)}\n".encode()


def about(settings: RunSettings) -> str:
    """A run's settings in a few words."""
    how = f"recipe {settings.recipe}" if settings.recipe else settings.optimizer
    return f"{settings.architecture} with {how}"


def write(folder: Path, record: Record, model: Sequential) -> None:
    """The run's folder; WriteError or OSError where it can't be written."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save(folder / MODEL_FILE)
    write_atomically(folder / HISTORY_FILE, record.content())


def zipped(record: Record, model: Sequential) -> bytes:
    """The same folder as a ZIP file, with the training curves as a picture."""
    from .. import plots

    with tempfile.TemporaryDirectory(prefix="scratchnet-") as place:
        folder = Path(place)
        write(folder, record, model)
        if numbers := _curves(record.history):
            epochs = list(range(1, len(next(iter(numbers.values()))) + 1))
            plots.save(plots.training_curves(numbers, epochs), folder / "training.png")
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, f"{record.name}/{path.name}")
    return file.getvalue()


def model_file(model: Sequential) -> bytes:
    """The model's file, as bytes."""
    with tempfile.TemporaryDirectory(prefix="scratchnet-") as place:
        path = Path(place) / MODEL_FILE
        model.save(path)
        return path.read_bytes()


def _curves(history: dict[str, list[float | None]]) -> dict[str, list[float]]:
    return {
        key: [math.nan if value is None else value for value in values]
        for key, values in history.items()
        if values
    }


def found_in(folder: Path, most: int) -> list[tuple[Path, Record, Sequential]]:
    """The newest runs in a folder, at most so many, oldest first; others are named in the log."""
    places = sorted(_with_models(folder), key=lambda path: (path / MODEL_FILE).stat().st_mtime)
    found: list[tuple[Path, Record, Sequential]] = []
    for path in reversed(places):
        if len(found) == most:
            log.warning("%s: only the newest %d runs are offered", folder, most)
            break
        try:
            found.append((path, _record(path), _classifier(path)))
        except (InputError, OSError) as error:
            log.warning("%s: left out: %s", path, error)
    return found[::-1]


def _with_models(folder: Path) -> Iterator[Path]:
    """The folders in a folder that hold a model, as far as they may be looked into."""
    for path in folder.iterdir():
        with suppress(OSError):
            if (path / MODEL_FILE).is_file():
                yield path


def _classifier(path: Path) -> Sequential:
    model = load_model(path)
    if model.input_shape != (28, 28, 1) or len(model.output_shape or ()) != 1:
        raise InputError(
            f"expected a classifier of 28 x 28 x 1 images, found input {model.input_shape} and "
            f"output {model.output_shape}"
        )
    return model


def _record(path: Path) -> Record:
    file = path / HISTORY_FILE
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        history = _numbers(values["history"])
        page: dict[str, Any] = values.get("page") or {}
        given = page.get("settings")
        settings = None if given is None else RunSettings(**given)
        seconds = float(values.get("train_seconds", 0))
        by_command = values.get("settings") or {}
        words = [str(by_command[key]) for key in ("model", "recipe") if key in by_command]
        described = about(settings) if settings else " with recipe ".join(words) or "a run"
        state = "stopped" if page.get("state") == "stopped" else "done"
        title = str(page.get("title") or path.name)[:200]
    except FileNotFoundError:
        return Record(path.name, path.name, None, "a model without a history")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{HISTORY_FILE}: expected a run's record, found {reason}") from None
    return Record(path.name, title, settings, described, state, history, seconds)


def _numbers(history: Any) -> dict[str, list[float | None]]:
    return {
        str(key): [None if value is None else float(value) for value in values]
        for key, values in history.items()
    }


def checked(folder: Path) -> Path:
    """The folder of runs, made where there is none; InputError if nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"--runs {folder}: expected a folder to write to: {reason}") from None
    return folder
