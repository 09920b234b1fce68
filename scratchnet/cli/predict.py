"""`scratchnet predict`: the digit in any image."""

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..errors import InputError
from .shared import JsonOption, app, load_reader


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
    from ..imaging import prepare

    if show_steps and len(images) > 1:
        raise typer.BadParameter(f"--show-steps: expected one image with it, found {len(images)}")
    net = load_reader(model)
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
            from .. import plots

            plots.save(plots.image_steps(prepared.steps, probabilities), show_steps)
    if json_:
        print(json.dumps(results))
    if failed:
        raise typer.Exit(1)
