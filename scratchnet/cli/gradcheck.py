"""`scratchnet gradcheck`: every gradient of an architecture against a numeric one."""

import json
import sys
from typing import Annotated

import numpy as np
import typer

from .. import architectures
from ..gradcheck import TOLERANCE, Report, check_layers, check_loss, check_model
from ..losses import SparseCategoricalCrossentropy
from ..text import room
from .shared import JsonOption, app


@app.command()
def gradcheck(
    model: Annotated[
        str, typer.Option(help=f"One of: {', '.join(architectures.ARCHITECTURES)}.")
    ] = "cnn",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, inputs and sampled entries.")] = 0,
    entries: Annotated[
        int, typer.Option(min=1, help="Entries of each array to check one by one, at random.")
    ] = 20,
    json_: JsonOption = False,
) -> None:
    """Check every gradient against a numeric one: each layer by itself, the loss, the whole.

    With the network's fresh weights and random images, four at a time, in float64. Of large arrays
    some entries are compared one by one, and all at once along two random directions.
    """
    if model not in architectures.ARCHITECTURES:
        known = ", ".join(architectures.ARCHITECTURES)
        raise typer.BadParameter(f"--model: expected one of {known}, found {model!r}")
    net = architectures.build(model, seed=seed, dtype=np.float64)
    rng = np.random.default_rng(seed)
    layers = check_layers(net, rng, entries=entries)

    loss = SparseCategoricalCrossentropy()
    classes = len(net.class_names)
    probabilities, labels = rng.dirichlet(np.full(classes, 5.0), 4), rng.integers(0, classes, 4)
    by_itself = Report([check_loss(loss, probabilities, labels)]).named("loss")

    net.compile("sgd", loss)
    x = rng.standard_normal((4, *(net.input_shape or ())))
    whole = check_model(net, x, labels, entries=max(entries // 4, 1), directions=2, rng=rng)

    report = Report([*layers, *by_itself, *whole.named("whole")])
    worst = report.worst
    if not json_:
        print(report.text(room()))
        print(f"\n{len(report)} gradients of {model}, worst {worst.name}: {worst.error:.1e}")
    else:
        result = {"model": model, "passed": report.passed, "tolerance": TOLERANCE}
        print(json.dumps({**result, "checks": report.rows()}))
    if not report.passed:
        wrong = ", ".join(dict.fromkeys(check.name for check in report if not check.passed))
        print(f"scratchnet: {model}: wrong gradient of {wrong}", file=sys.stderr)
        raise typer.Exit(1)
