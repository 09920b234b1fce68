"""The command `scratchnet`: train, evaluate, predict, summary.

Exit codes: 0 done, 1 failed (one line on stderr says why), 2 wrong usage, 130 and 143 stopped by
Ctrl-C or SIGTERM after saving what there is. Results go to stdout and progress to stderr; with
--json the last thing on stdout is one JSON object.

Libraries that only one command needs are imported inside it: `predict` must answer at once.
"""

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

from . import architectures, datasets, kernels, metrics, optimizers, schedules, training
from .checkpoint import write_atomically
from .errors import InputError, check_number
from .model import Sequential, load_model

app = typer.Typer(
    help="A convolutional network written out by hand: train it, test it, show it your own digit.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DataOption = Annotated[
    str, typer.Option(metavar="mnist|DIR", help="MNIST, or a folder with four IDX files.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object last on stdout.")]

MODEL_FILE = "model.safetensors"


def main() -> None:
    """Run the command and turn every expected failure into one line and an exit code."""
    kernels.announce = lambda: print(
        "scratchnet: compiling kernels for this machine, once (about ten seconds)", file=sys.stderr
    )
    try:
        code = app(standalone_mode=False)
    except typer.TyperException as error:  # wrong usage
        code = error.exit_code
        message = " ".join(error.format_message().split())
        if message:
            print(f"scratchnet: {message}", file=sys.stderr)
    except InputError as error:
        code = 1
        print(f"scratchnet: {error}", file=sys.stderr)
    except (KeyboardInterrupt, typer.Abort):
        code = 128 + signal.SIGINT
        print("scratchnet: stopped", file=sys.stderr)
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        from . import __version__

        print(f"scratchnet {__version__}")
        raise typer.Exit


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
    (x_train, y_train), (x_test, y_test) = _load_data(data)
    classes = int(max(y_train.max(), y_test.max())) + 1
    net = architectures.build(model, (*x_train.shape[1:], 1), classes, seed)
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

    probabilities, found = _test(net, x_test, y_test)
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


@app.command()
def evaluate(
    model: Annotated[
        Path | None, typer.Argument(help="A model file.", show_default="the shipped weights")
    ] = None,
    data: DataOption = "mnist",
    json_: JsonOption = False,
) -> None:
    """Test a model: accuracy, loss, and which digits it takes for which."""
    net = _load(model)
    _, (x_test, y_test) = _load_data(data)
    probabilities, found = _test(net, x_test, y_test)
    matrix = metrics.confusion_matrix(probabilities, y_test)
    if not json_:
        print(f"{len(x_test):,} images  {training.figures(found)}\n")
        _print_confusion(matrix)
        return
    print(json.dumps({**found, "images": len(x_test), "confusion_matrix": matrix.tolist()}))


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures of a digit.")],
    model: Annotated[
        Path | None, typer.Option(help="A model file.", show_default="the shipped weights")
    ] = None,
    show_steps: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw how one image was brought to MNIST's form."),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Read the digit in any image: photo or drawing, dark on light or light on dark."""
    from .imaging import prepare

    if show_steps and len(images) > 1:
        raise typer.BadParameter(f"--show-steps: expected one image with it, found {len(images)}")
    net = _load(model)
    if net.input_shape != (28, 28, 1) or len(net.output_shape) != 1:
        raise InputError(
            f"{model}: expected a classifier of 28 x 28 x 1 images, "
            f"found input {net.input_shape} and output {net.output_shape}"
        )
    results, failed = [], False
    for path in images:
        try:
            prepared = prepare(path)
        except InputError as error:  # the other images are still worth an answer
            print(f"scratchnet: {error}", file=sys.stderr)
            failed = True
            continue
        probabilities = net.predict(prepared.image)[0]
        best = np.argsort(-probabilities)
        results.append(
            {
                "path": str(path),
                "digit": int(best[0]),
                "confidence": float(probabilities[best[0]]),
                "probabilities": [float(p) for p in probabilities],
            }
        )
        if not json_:
            others = ", ".join(f"{d} {100 * probabilities[d]:.1f} %" for d in best[1:3])
            print(f"{path}: {best[0]}  {100 * probabilities[best[0]]:.1f} %   (then {others})")
        if show_steps:
            from . import plots

            plots.save(plots.image_steps(prepared.steps, probabilities), show_steps)
    if json_:
        print(json.dumps(results))
    if failed:
        raise typer.Exit(1)


@app.command()
def summary(
    model: Annotated[
        str, typer.Argument(metavar="[NAME|FILE]", help="An architecture's name or a model file.")
    ] = "cnn",
    json_: JsonOption = False,
) -> None:
    """Print a network's layers: output shapes, parameters, multiply-adds."""
    if model in architectures.ARCHITECTURES:
        net = architectures.build(model)
    elif os.path.exists(model):
        net = load_model(model)
    else:
        known = ", ".join(architectures.ARCHITECTURES)
        raise InputError(f"{model}: expected a model file or one of {known}, found neither")
    if not json_:
        net.summary()
        return
    rows = [vars(row) for row in net.rows()]
    print(json.dumps({"input_shape": net.input_shape, "layers": rows}))


@app.command()
def warmup() -> None:
    """Compile all kernels of all architectures now, so that nothing else has to wait for them."""
    started = time.perf_counter()
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (64, 28, 28), dtype=np.uint8), rng.integers(0, 10, 64)
    for name in architectures.ARCHITECTURES:
        net = architectures.build(name)
        net.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
        net.fit(x, y, verbose=0)
        net.predict(x[:1])
        print(f"{name}: ready")
    print(f"{time.perf_counter() - started:.1f} s")


# ---- what the commands share -----------------------------------------------------------------


def _load(path: Path | None) -> Sequential:
    """The model in that file, or the one that ships with the package."""
    return load_model(path) if path else architectures.pretrained()


def _load_data(data: str) -> tuple[datasets.idx.Split, datasets.idx.Split]:
    return datasets.mnist.load_data() if data == "mnist" else datasets.idx.load_folder(data)


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


def _test(net: Sequential, x: NDArray, y: NDArray) -> tuple[NDArray, dict[str, float]]:
    """Probabilities for x, and accuracy and cross-entropy against y."""
    from .losses import SparseCategoricalCrossentropy

    probabilities = net.predict(x, batch_size=256)
    return probabilities, {
        "accuracy": metrics.correct(probabilities, y) / len(y),
        "loss": SparseCategoricalCrossentropy().forward(probabilities, y),
    }


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
    from . import plots

    matrix = metrics.confusion_matrix(probabilities, y_test)
    epochs = [epoch + 1 for epoch in run["epoch"]]
    for name, figure in (
        ("training", plots.training_curves(run["history"], epochs, run["test"])),
        ("confusion", plots.confusion_matrix(matrix)),
        ("predictions", plots.prediction_grid(x_test, probabilities, y_test)),
        ("architecture", plots.architecture(net)),
    ):
        plots.save(figure, folder / f"{name}.png")


def _print_confusion(matrix: NDArray[np.int64]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="rows: true class, columns: read as")
    table.add_column("")
    for k in range(len(matrix)):
        table.add_column(str(k), justify="right")
    for k, row in enumerate(matrix):
        cells = [str(count) if count else "." for count in row]
        cells[k] = f"[bold]{cells[k]}[/bold]"
        table.add_row(f"[bold]{k}[/bold]", *cells)
    Console().print(table)
