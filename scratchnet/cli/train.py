"""`scratchnet train`: from images to a folder with the model, its history and pictures."""

import json
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from .. import architectures, datasets, metrics, optimizers, schedules, training
from ..checkpoint import write_atomically
from ..errors import InputError, check_number
from ..model import Sequential
from .shared import DataOption, JsonOption, app, test

MODEL_FILE = "model.safetensors"


@app.command()
def train(
    model: Annotated[
        str, typer.Option(help=f"One of: {', '.join(architectures.ARCHITECTURES)}.")
    ] = "cnn",
    epochs: Annotated[int, typer.Option(min=1, help="How often to see every image.")] = 5,
    batch_size: Annotated[int, typer.Option(min=1, help="Images a step.")] = 128,
    lr: Annotated[
        float, typer.Option(help="Highest learning rate of the one-cycle schedule, with Adam.")
    ] = 3e-3,
    seed: Annotated[
        int, typer.Option(min=0, help="Of the initial weights, dropout and shuffling.")
    ] = 0,
    data: DataOption = "mnist",
    validation_split: Annotated[
        float, typer.Option(help="Part of the training images held out for the curves; 0 for none.")
    ] = 0.1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="runs/MODEL-TIME")
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Train a network; leaves the model, its history and pictures in a folder."""
    try:
        check_number("--lr", lr, above=0)
        check_number("--validation-split", validation_split, least=0, below=1)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    if model not in architectures.ARCHITECTURES:
        known = ", ".join(architectures.ARCHITECTURES)
        raise typer.BadParameter(f"--model: expected one of {known}, found {model!r}")
    dataset = datasets.load(data)
    x_train, y_train, x_test, y_test = dataset.arrays()
    net = architectures.build(model, (*x_train.shape[1:], 1), len(dataset.class_names), seed)
    net.class_names = dataset.class_names
    images = math.floor(len(x_train) * (1 - validation_split))
    if images == 0:
        raise InputError(
            f"--validation-split {validation_split:g}: expected it to leave images to train on, "
            f"found {len(x_train)} images in all"
        )
    folder = _run_folder(out, model)
    steps = epochs * -(-images // batch_size)
    net.compile(
        optimizers.Adam(schedules.OneCycle(lr, steps)),
        "sparse_categorical_crossentropy",
        ["accuracy"],
    )

    print(
        f"training {model}: {net.count_params():,} parameters, {images:,} images", file=sys.stderr
    )
    settings = {
        "model": model,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "seed": seed,
        "data": data,
        "validation_split": validation_split,
    }
    run: dict[str, Any] = {"settings": settings}
    started = time.perf_counter()
    # a training that diverges is told below, in one line; NumPy need not warn as well
    with _stopped_by_signals(net) as stopped, np.errstate(all="ignore"):
        history = net.fit(
            x_train,
            y_train,
            batch_size,
            epochs,
            validation_split=validation_split,
            progress_file=sys.stderr,
        )
    run["train_seconds"] = round(time.perf_counter() - started, 3)
    run |= {"epoch": history.epoch, "history": history.history}

    if not np.isfinite(net.flat_params).all():
        _save_history(folder, run)
        raise InputError(
            f"--lr {lr:g}: training diverged, the weights are no longer numbers; try a smaller rate"
        )
    net.save(folder / MODEL_FILE)
    if stopped:
        _save_history(folder, run)
        print(
            f"scratchnet: stopped after {len(history.epoch)} of {epochs} epochs; "
            f"model and history are in {folder}",
            file=sys.stderr,
        )
        raise typer.Exit(128 + stopped[0])

    probabilities, found = test(net, x_test, y_test)
    run["test"] = found
    _save_history(folder, run)
    _save_pictures(folder, net, run, x_test, y_test, probabilities)
    print(f"test {training.figures(found)}   {run['train_seconds']:.1f} s   results in {folder}")
    if json_:
        result = {
            "test_accuracy": found["accuracy"],
            "test_loss": found["loss"],
            "epochs": epochs,
            "train_seconds": run["train_seconds"],
            "model": str(folder / MODEL_FILE),
        }
        print(json.dumps(result))


def _run_folder(out: Path | None, model: str) -> Path:
    """An existing, writable folder without a run in it. Found out before training, not after."""
    folder = out or Path("runs") / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}"
    if os.path.exists(folder / MODEL_FILE):
        raise InputError(f"{folder}: expected a folder for a new run, found {MODEL_FILE} in it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: expected a folder to write to: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: expected a folder to write to, found one without permission")
    return folder


@contextmanager
def _stopped_by_signals(net: Sequential) -> Iterator[list[int]]:
    """Inside, Ctrl-C and SIGTERM end the training after the batch; the list holds which came."""
    came: list[int] = []

    def stop(number: int, frame: object) -> None:
        came.append(number)
        net.stop_training = True
        signal.signal(number, previous[number])  # the second one stops at once

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield came
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _save_history(folder: Path, run: dict[str, Any]) -> None:
    # JSON has no NaN
    values = {
        key: [value if math.isfinite(value) else None for value in series]
        for key, series in run["history"].items()
    }
    text = json.dumps({**run, "history": values}, indent=1)
    write_atomically(folder / "history.json", f"{text}\n".encode())


def _save_pictures(
    folder: Path,
    net: Sequential,
    run: dict[str, Any],
    x_test: NDArray,
    y_test: NDArray,
    probabilities: NDArray,
) -> None:
    from .. import plots

    matrix = metrics.confusion_matrix(probabilities, y_test)
    epochs = [epoch + 1 for epoch in run["epoch"]]
    for name, figure in (
        ("training", plots.training_curves(run["history"], epochs, run["test"])),
        ("confusion", plots.confusion_matrix(matrix, net.class_names)),
        ("predictions", plots.prediction_grid(x_test, probabilities, y_test, net.class_names)),
        ("architecture", plots.architecture(net)),
    ):
        plots.save(figure, folder / f"{name}.png")
