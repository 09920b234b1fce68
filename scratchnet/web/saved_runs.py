"""Runs as folders: what the page trained is kept beyond the server's end, and can be taken away.

A folder holds what a run of the `train` command leaves, so that the command goes on with it (see
keeping.py). The runs of the command in the same folder are offered, too.
"""

import io
import json
import logging
import math
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import run_folder
from ..backup import FILE as STATE_FILE
from ..checkpoint import write_atomically
from ..errors import InputError
from ..metrics import finite_or_none
from ..model import Sequential, load_model
from ..model_files import MODEL_FILE
from ..run_folder import HISTORY_FILE, METRICS_FILE
from .schemas import MOST_EPOCHS, RunSettings

#: of a run, beside its states and pictures
FILES = (MODEL_FILE, HISTORY_FILE, METRICS_FILE)
log = logging.getLogger("scratchnet")


@dataclass
class Record:
    """What is remembered of a run, beside its model.

    name       the folder's, and the run's in the API
    title      what it is called on the page
    settings   as the page took them; None for a run of the command
    about      the settings in a few words
    command    the settings as the `train` command has them, with which it goes on
    """

    name: str
    title: str
    settings: RunSettings | None
    about: str
    state: str = "done"
    history: dict[str, list[float | None]] = field(default_factory=dict)
    seconds: float = 0.0
    command: dict[str, Any] | None = None

    def of_page(self) -> dict[str, Any]:
        """What only the page's runs have in their record."""
        settings = None if self.settings is None else self.settings.model_dump()
        return {"title": self.title, "state": self.state, "settings": settings}

    def content(self) -> bytes:
        """history.json, in the form that the command's runs have."""
        epochs = max(map(len, self.history.values()), default=0)
        values = {
            **({} if self.command is None else {"settings": self.command}),
            "page": self.of_page(),
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


def retitle(folder: Path, title: str) -> None:
    """Call a run by another name in its record; InputError while the command goes on with it."""
    file = folder / HISTORY_FILE
    with run_folder.in_folder(folder):
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            values = {"history": {}}
        except ValueError:
            values = None
        if not isinstance(values, dict):
            raise InputError(f"{file}: expected a run's record, found something else")
        page = values.get("page")
        values["page"] = {**(page if isinstance(page, dict) else {}), "title": title}
        write_atomically(file, f"{json.dumps(values, indent=1)}\n".encode())


def zipped(record: Record, model: Sequential, saved: Path | None = None) -> bytes:
    """The same folder as a ZIP file, with the training curves as a picture.

    saved   where the run is kept, if it is: the command goes on with what lies there
    """
    from .. import plots

    with tempfile.TemporaryDirectory(prefix="scratchnet-") as place:
        folder = Path(place)
        write(folder, record, model)
        for path in () if saved is None else saved.iterdir():
            if path.name in FILES or STATE_FILE.fullmatch(path.name):
                with suppress(FileNotFoundError):  # the command may replace a state just now
                    shutil.copyfile(path, folder / path.name)
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
        by_command = values.get("settings") or {}
        settings = _as_asked(page.get("settings"), by_command)
        seconds = float(values.get("train_seconds", 0))
        words = [str(by_command[key]) for key in ("model", "recipe") if key in by_command]
        described = about(settings) if settings else " with recipe ".join(words) or "a run"
        finished = "test" in values  # by the command, if the page had stopped it
        state = "stopped" if page.get("state") == "stopped" and not finished else "done"
        title = str(page.get("title") or path.name)[:200]
    except FileNotFoundError:
        return Record(path.name, path.name, None, "a model without a history")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{HISTORY_FILE}: expected a run's record, found {reason}") from None
    return Record(path.name, title, settings, described, state, history, seconds)


def _as_asked(given: dict[str, Any] | None, by_command: dict[str, Any]) -> RunSettings | None:
    """The settings of a run of the page; the command may have gone on with it, to more epochs."""
    if given is None:
        return None
    epochs = by_command.get("epochs", given["epochs"])
    return RunSettings(**{**given, "epochs": min(epochs, MOST_EPOCHS)})


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
