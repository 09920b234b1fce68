"""`scratchnet summary`: a network's layers."""

import json
import os
from typing import Annotated

import typer

from .. import architectures
from ..errors import InputError
from ..model import load_model
from .shared import JsonOption, command


@command("summary", "summary resnet", "summary my-run")
def summary(
    model: Annotated[
        str,
        typer.Argument(
            metavar="[NAME|MODEL]",
            help=f"One of {', '.join(architectures.ARCHITECTURES)}; or a model file, or the folder "
            "of a run.",
        ),
    ] = "cnn",
    json_: JsonOption = False,
) -> None:
    """Print a network's layers: names, output shapes, parameters, multiply-adds."""
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
