"""`scratchnet gradcheck`: every gradient of a network against a numeric one."""

import json
import os
import sys
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from .. import architectures
from ..errors import printable
from ..gradcheck import TOLERANCE, Check, Report, check_layers, check_loss, check_model
from ..layers import Softmax
from ..losses import Loss, MeanSquaredError, SparseCategoricalCrossentropy
from ..microscope.inputs import copied
from ..model import Sequential, load_model
from ..text import listed, room
from .shared import JsonOption, command

IMAGES = 4


@command("gradcheck --model resnet", "gradcheck --model my-run --entries 100")
def gradcheck(
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE|DIR",
            help=f"One of {', '.join(architectures.ARCHITECTURES)}; or a model file, or the folder "
            "of a run.",
        ),
    ] = "cnn",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, inputs and sampled entries.")] = 0,
    entries: Annotated[
        int, typer.Option(min=1, help="Entries of each array to check one by one, at random.")
    ] = 20,
    json_: JsonOption = False,
) -> None:
    """Check every gradient against a numeric one: each layer by itself, the loss, the whole.

    With the network's weights (fresh ones for a name) and random images, four at a time, in
    float64. Of large arrays some entries are compared one by one, and all at once along two random
    directions.
    """
    net, rng = _network(model, seed), np.random.default_rng(seed)
    layers = check_layers(net, rng, entries=entries)

    loss, predictions, targets = _loss(net, rng)
    by_itself = Report([check_loss(loss, predictions, targets)]).named("loss")

    net.compile("sgd", loss)
    x = rng.standard_normal((IMAGES, *(net.input_shape or ())))
    whole = check_model(net, x, targets, entries=max(entries // 4, 1), directions=2, rng=rng)

    report = Report([*layers, *by_itself, *whole.named("whole")])
    if not json_:
        print(report.text(room()))
        print()
        for line in _verdict(printable(model), report):
            print(*listed(line, [], room()), sep="\n")
    else:
        result = {"model": model, "passed": report.passed, "tolerance": TOLERANCE}
        print(json.dumps({**result, "checks": report.rows()}))
    if not report.passed:
        print(
            f"scratchnet: {printable(model)}: wrong gradient of {_wrong(report)}", file=sys.stderr
        )
        raise typer.Exit(1)


def _network(model: str, seed: int) -> Sequential:
    """The architecture of that name, or the model in that file, in float64."""
    if model in architectures.ARCHITECTURES:
        return architectures.build(model, seed=seed, dtype=np.float64)
    if not os.path.exists(model):
        known = ", ".join(architectures.ARCHITECTURES)
        raise typer.BadParameter(
            f"--model: expected a model file, a run's folder or one of {known}, found {model!r}"
        )
    return copied(load_model(model), np.float64, fuse=True)


def _loss(net: Sequential, rng: np.random.Generator) -> tuple[Loss, NDArray, NDArray]:
    """The network's loss, with predictions and targets that it takes, drawn at random.

    A network without one, and one that was trained with softened labels, is checked with the plain
    cross-entropy where it ends in classes.
    """
    shape: tuple[int, ...] = net.output_shape or ()
    loss: Any = net.loss
    if len(shape) == 1 and (loss is None or isinstance(loss, SparseCategoricalCrossentropy)):
        scores = not isinstance(net.layers[-1], Softmax)
        predictions = rng.dirichlet(np.full(shape[0], 5.0), IMAGES)
        labels = rng.integers(0, shape[0], IMAGES)
        return SparseCategoricalCrossentropy(from_logits=scores), predictions, labels
    if len(shape) == 1 and shape[0] > 1:  # rows that are probabilities suit every loss
        predictions, targets = rng.dirichlet(np.full(shape[0], 5.0), (2, IMAGES))
    else:
        predictions, targets = rng.uniform(0.1, 0.9, (2, IMAGES, *shape))
    return loss or MeanSquaredError(), predictions, targets


def _wrong(report: Report) -> str:
    return ", ".join(dict.fromkeys(check.name for check in report if not check.passed))


def _verdict(model: str, report: Report) -> list[str]:
    """What it all means, a paragraph a line."""
    worst: Check = report.worst
    passed = sum(check.passed for check in report)
    kinks = sum(check.kinks for check in report)
    bound = f"the tolerance of {TOLERANCE:g}"
    if report.passed:
        verdict = (
            f"PASSED: all {len(report)} gradients of {model} agree with the numeric ones within "
            f"{bound}; the worst is {worst.name}: {worst.error:.1e}"
        )
    else:
        verdict = (
            f"FAILED: {len(report) - passed} of {len(report)} gradients of {model} differ from the "
            f"numeric ones by more than {bound}: {_wrong(report)}"
        )
    return [
        verdict,
        "directions: all entries of an array move at once, along random signs, so that one wrong "
        "entry anywhere shows.",
        f"kinks, {kinks} here: where the function bends (ReLU at 0, two equal maxima) it has no "
        "derivative; such places are counted apart, and are no mistakes.",
    ]
