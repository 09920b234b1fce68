"""`scratchnet train`: from images to a folder with the model, its history and pictures."""

import itertools
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from .. import architectures, callbacks, datasets, distributed, metrics, recipes, training
from .. import run_folder as runs
from ..errors import InputError, printable
from ..model import Sequential
from ..model_files import MODEL_FILE
from ..run_folder import HISTORY_FILE, Settings
from .shared import DATA, JsonOption, command, compile_first, test


def _by_recipe(name: str) -> str:
    """The default of a setting: the standard recipe's, and those of the recipes with another."""
    first = getattr(recipes.RECIPES[Settings.recipe], name)
    other = {key: getattr(recipe, name) for key, recipe in recipes.RECIPES.items()}
    others = ", ".join(f"{key}: {value}" for key, value in other.items() if value != first)
    return f"{first}; --recipe {others}" if others else f"{first}"


#: the settings of a run as options, each with the help that it shows
OPTIONS: dict[str, Any] = {
    "recipe": Annotated[
        str | None,
        typer.Option(
            help=f"Settings that go together: {', '.join(recipes.RECIPES)}. Options change them.",
            show_default=Settings.recipe,
        ),
    ],
    "model": Annotated[
        str | None,
        typer.Option(
            help=f"One of: {', '.join(architectures.ARCHITECTURES)}.",
            show_default=_by_recipe("architecture"),
        ),
    ],
    "epochs": Annotated[
        int | None,
        typer.Option(
            min=1, help="How often to see every image.", show_default=_by_recipe("epochs")
        ),
    ],
    "batch_size": Annotated[
        int | None,
        typer.Option(min=1, help="Images a step.", show_default=_by_recipe("batch_size")),
    ],
    "lr": Annotated[
        float | None,
        typer.Option(
            help="Highest learning rate of the one-cycle schedule, with Adam.",
            show_default=_by_recipe("lr"),
        ),
    ],
    "seed": Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Of the initial weights, dropout, shuffling and augmentation.",
            show_default=f"{Settings.seed}",
        ),
    ],
    "data": Annotated[str | None, DATA],
    "validation_split": Annotated[
        float | None,
        typer.Option(
            help="Part of the training images held out for the curves; 0 for none.",
            show_default=f"{Settings.validation_split}",
        ),
    ],
    "augment": Annotated[
        str | None,
        typer.Option(
            metavar="none|affine|elastic|erase",
            help="Change every training image a little, each time anew.",
            show_default=_by_recipe("augment"),
        ),
    ],
    "patience": Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Stop when val_loss has not fallen for so many epochs; keep the best weights.",
            show_default="never",
        ),
    ],
    "checkpoint_every": Annotated[
        str | None,
        typer.Option(
            metavar="N|SECONDSs",
            help="Save the run's state every N batches (100) or seconds (30s), too.",
            show_default="after every epoch",
        ),
    ],
}


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """The command with OPTIONS before its own options; it is called with a dict of those given."""

    @wraps(command)
    def called(**options: Any) -> None:
        given = {name: options.pop(name) for name in OPTIONS}
        command({name: value for name, value in given.items() if value is not None}, **options)

    kind = Parameter.KEYWORD_ONLY
    settings = [Parameter(n, kind, default=None, annotation=a) for n, a in OPTIONS.items()]
    own = list(signature(command).parameters.values())[1:]
    # Typer makes its options from a function's signature
    called.__signature__ = Signature(  # type: ignore[attr-defined]
        [*settings, *(parameter.replace(kind=kind) for parameter in own)]
    )
    return called


@command(
    "train",
    "train --recipe best --seed 1 --out my-run",
    "train --data my-images --augment affine --patience 3",
    "train --resume my-run",
)
@_with_settings
def train(
    given: dict[str, Any],
    out: Annotated[
        Path | None, typer.Option(help="Folder for the results.", show_default="runs/MODEL-TIME")
    ] = None,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Go on with the run in that folder; no other settings."),
    ] = None,
    any_ranks: Annotated[
        bool,
        typer.Option(
            "--any-ranks", help="Under mpiexec: other numbers of processes than 1, 2, 4 and 8, too."
        ),
    ] = False,
    json_: JsonOption = False,
) -> None:
    """Train a network; leaves the model, its history and pictures in a folder.

    Under mpiexec, which the extra `mpi` brings, several processes share the training.
    """
    with distributed.join(same_bits=not any_ranks) as world:
        code = _lead(world, given, out, resume, json_) if world.rank == 0 else _take_part(world)
        if world.size > 1:
            world.wait()
    if code:
        raise typer.Exit(code)


def _lead(
    world: distributed.World,
    given: dict[str, Any],
    out: Path | None,
    resume: Path | None,
    json_: bool,
) -> int:
    """Train, alone or as the first of several processes; the exit code."""
    data = given.get("data", Settings.data)
    if data not in datasets.NAMES and os.path.exists(data):
        given["data"] = os.path.abspath(data)  # the run may go on from another folder
    if resume is not None:
        if out is not None:
            raise typer.BadParameter(f"--out {out}: expected nothing with --resume")
        if not os.path.isfile(resume / HISTORY_FILE):
            raise InputError(f"{resume}: expected the folder of a run, found no {HISTORY_FILE}")
        with runs.in_folder(resume):
            settings, record = runs.found_again(resume)
            settings = _with_epochs(settings, given, record, resume)
            _check_same(settings, given, resume)
            return _train(world, resume, settings, record, _prepared(settings), json_)
    try:
        settings = Settings.chosen(**given)
    except InputError as error:
        raise typer.BadParameter(str(error)) from None
    prepared = _prepared(settings)
    folder = out or _new_folder(settings.model)
    with runs.in_folder(folder):
        record = runs.started_anew(folder, settings)
        return _train(world, folder, settings, record, prepared, json_)


def _take_part(world: distributed.World) -> int:
    """Train as one of several processes, which writes nothing; the exit code."""
    told = world.told()
    if told is None:
        return 0
    folder, settings = told
    net, dataset = _prepared(settings)
    x_train, y_train, _, _ = dataset.arrays()
    return _fit(world, folder, settings, {"train_seconds": 0.0}, net, x_train, y_train)


def _new_folder(model: str) -> Path:
    """runs/MODEL-TIME, made now: two starts in one second get two folders."""
    first = Path("runs") / f"{model}-{time.strftime('%Y%m%d-%H%M%S')}"
    for number in itertools.count(2):
        try:
            first.parent.mkdir(exist_ok=True)
            folder = first if number == 2 else first.with_name(f"{first.name}-{number - 1}")
            folder.mkdir()
        except FileExistsError:
            if first.parent.is_dir():
                continue
            raise InputError("runs: expected a folder, found a file") from None
        except OSError as error:
            raise InputError(f"{first}: expected a folder to write to: {error.strerror}") from None
        return folder
    raise AssertionError


def _with_epochs(
    settings: Settings, given: dict[str, Any], record: dict[str, Any], folder: Path
) -> Settings:
    """The settings with another number of epochs, where the run goes on as if begun with them.

    So it is where the learning rate stays the same, as in the page's runs without a recipe: a
    schedule is made for the number that it begins with.
    """
    epochs = given.get("epochs", settings.epochs)
    if epochs == settings.epochs or settings.optimizer is None:
        return settings
    done = len(record["epoch"])
    if "test" in record or epochs < done:
        ended = " and is finished" if "test" in record else ""
        raise typer.BadParameter(
            f"--epochs {epochs}: the run in {folder} has {done} epochs{ended}; expected "
            + ("nothing" if ended else "as many or more")
        )
    record["settings"]["epochs"] = epochs
    return replace(settings, epochs=epochs)


def _check_same(settings: Settings, given: dict[str, Any], folder: Path) -> None:
    for name, value in given.items():
        stored = getattr(settings, name)
        if value != stored:
            raise typer.BadParameter(
                f"--{name.replace('_', '-')} {value}: expected {stored}, as the run in {folder} "
                "was started, or nothing"
            )


def _prepared(settings: Settings) -> tuple[Sequential, datasets.Dataset]:
    """The network, compiled, and its images."""
    dataset = datasets.load(settings.data)
    shape = (*dataset.x_train.shape[1:], 1)
    net = architectures.build(settings.model, shape, len(dataset.class_names), settings.seed)
    net.class_names = dataset.class_names
    settings.compile(net, _images_to_train_on(settings, len(dataset.x_train)))
    return net, dataset


def _images_to_train_on(settings: Settings, images: int) -> int:
    """How many are left when those for validation are held out."""
    split = settings.validation_split
    left, _ = settings.kept(images)
    if left == 0:
        raise typer.BadParameter(
            f"--validation-split {split:g}: expected it to leave images to train on, "
            f"found {images} images in all"
        )
    return left


def _train(
    world: distributed.World,
    folder: Path,
    settings: Settings,
    record: dict[str, Any],
    prepared: tuple[Sequential, datasets.Dataset],
    json_: bool,
) -> int:
    """Train to the end, or go on to it, and leave the results in the folder; the exit code."""
    net, dataset = prepared
    x_train, y_train, x_test, y_test = dataset.arrays()
    backup = settings.backup(folder)
    if world.size > 1:
        world.told(None if "test" in record else (folder.absolute(), settings))
    if "test" not in record:
        with runs.rescued(folder, net, record):
            if code := _fit(world, folder, settings, record, net, x_train, y_train):
                return code
            probabilities, record["test"] = test(net, x_test, y_test)
            _save_pictures(folder, net, record, x_test, y_test, probabilities)
            runs.save_record(folder, record)  # now the run has ended
    backup.delete()
    found, seconds = record["test"], record["train_seconds"]
    where = printable(str(folder))
    print(f"test {training.figures(found)}   {seconds:.1f} s   results in {where}")
    print(f"next: {_next(net, settings, folder)}")
    if json_:
        result = {
            "test_accuracy": found["accuracy"],
            "test_loss": found["loss"],
            "epochs": len(record["epoch"]),
            "train_seconds": seconds,
            "model": str(folder / MODEL_FILE),
        }
        print(json.dumps(result))
    return 0


def _next(net: Sequential, settings: Settings, folder: Path) -> str:
    """The command to try first on what the run left."""
    place = shlex.quote(printable(str(folder)))
    if net.input_shape == (28, 28, 1):
        return f"scratchnet predict IMAGE --model {place}"
    data = shlex.quote(printable(settings.data))
    return f"scratchnet evaluate {place} --data {data}"


def _begin(
    world: distributed.World, settings: Settings, net: Sequential, x: NDArray, y: NDArray
) -> None:
    """Say what is trained, and compile for it: on each machine one process for all."""
    images = _images_to_train_on(settings, len(x))
    line = f"training {settings.model}: {net.count_params():,} parameters, {images:,} images"
    if world.size > 1:
        line += f"; {world.described()}"
    with suppress(OSError):  # as in the progress that follows
        if world.rank == 0:
            print(line, file=sys.stderr)
    if world.local_rank == 0:
        compile_first(net, settings.batch_size, y.dtype)
    if world.size > 1:
        world.wait()


def _fit(
    world: distributed.World,
    folder: Path,
    settings: Settings,
    record: dict[str, Any],
    net: Sequential,
    x: NDArray,
    y: NDArray,
) -> int:
    """Train, and save the model; raises if the training diverged. The exit code: 0, or what stands
    for the signal that stopped it."""
    _begin(world, settings, net, x, y)
    (x, y), held_out = settings.parts(x, y)
    # one line says that a training diverges; NumPy need not warn as well
    with runs.stopped_by_signals() as stop, np.errstate(all="ignore"):
        first, last = settings.watched(folder, record, stop)
        try:
            net.fit(
                x,
                y,
                settings.batch_size,
                settings.epochs,
                callbacks=[*first, *last],
                validation_data=held_out,
                progress_file=sys.stderr,
                augment=settings.augmentation(),
            )
        except callbacks.DivergedError as error:
            if world.rank == 0:
                net.save(folder / MODEL_FILE)
            raise InputError(f"--lr {settings.lr:g}: {error}; try a smaller rate") from None
        if world.rank == 0:
            net.save(folder / MODEL_FILE)
    number = stop.number or 0
    if world.size > 1:  # it may have come to some of them only
        (number,) = world.agreed(number)
    if number and world.rank == 0:
        place = printable(str(folder))
        print(
            f"scratchnet: stopped after {len(record['epoch'])} of {settings.epochs} epochs; model, "
            f"history and the exact state are kept in {place}, and "
            f"scratchnet train --resume {shlex.quote(place)} goes on",
            file=sys.stderr,
        )
    return 128 + number if number else 0


def _save_pictures(
    folder: Path,
    net: Sequential,
    record: dict[str, Any],
    x_test: NDArray,
    y_test: NDArray,
    probabilities: NDArray,
) -> None:
    from .. import plots

    matrix = metrics.confusion_matrix(probabilities, y_test)
    epochs = [epoch + 1 for epoch in record["epoch"]]
    for name, figure in (
        ("training", plots.training_curves(record["history"], epochs, record["test"])),
        ("confusion", plots.confusion_matrix(matrix, net.class_names)),
        ("predictions", plots.prediction_grid(x_test, probabilities, y_test, net.class_names)),
        ("architecture", plots.architecture(net)),
    ):
        plots.save(figure, folder / f"{name}.png")
