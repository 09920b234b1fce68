"""`scratchnet predict`: the digit in any image."""

import json
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from ..errors import InputError, printable
from ..metrics import finite_or_none
from ..model import Sequential
from .shared import ModelOption, check_picture, command, load_reader

#: the classes of a model of digits: of other signs, parts side by side may be one
DIGITS = tuple("0123456789")


@command(
    "predict photo.jpg",
    "predict *.png --model my-run --json",
    "predict photo.jpg --show-steps steps.png",
    "predict page.jpg --sequence --show boxes.png",
)
def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures of a digit.")],
    model: ModelOption = None,
    show_steps: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw how one image was brought to MNIST's form."),
    ] = None,
    sequence: Annotated[
        bool, typer.Option("--sequence", help="Read all digits of each image, line by line.")
    ] = False,
    show: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="With --sequence: draw a box around every digit."),
    ] = None,
    json_: Annotated[
        bool,
        typer.Option("--json", help="Print a JSON list last on stdout, an object for each image."),
    ] = False,
) -> None:
    """Read the digit in any image: photo or drawing, dark on light or light on dark."""
    for option, path in (("--show-steps", show_steps), ("--show", show)):
        if path and len(images) > 1:
            raise typer.BadParameter(f"{option}: expected one image with it, found {len(images)}")
    if sequence and show_steps:
        raise typer.BadParameter("--show-steps: expected it without --sequence, found both")
    if show and not sequence:
        raise typer.BadParameter("--show: expected it with --sequence, found it alone")
    check_picture("--show-steps", show_steps)
    check_picture("--show", show)
    net = load_reader(model)
    results, failed = [], False
    for path in images:
        try:
            if sequence:
                results.append(_read_sequence(path, net, show, json_))
            else:
                results.append(_read_digit(path, net, show_steps, json_))
        except InputError as error:  # the other images are still worth an answer
            print(f"scratchnet: {error}", file=sys.stderr)
            failed = True
    if json_:
        print(json.dumps(finite_or_none(results)))
    if failed:
        raise typer.Exit(1)


def _read_digit(path: Path, net: Sequential, show_steps: Path | None, quiet: bool) -> dict:
    from ..pictures import look

    names = net.class_names
    answer = look(path, net, of_digits=names == DIGITS)
    probabilities = answer.probabilities
    best = np.argsort(-probabilities)
    if answer.reason and not quiet:
        print(f"{printable(str(path))}: no digit named: {answer.reason}")
    elif not quiet:
        others = ", ".join(
            f"{printable(names[d])} {100 * probabilities[d]:.1f} %" for d in best[1:3]
        )
        read = printable(names[best[0]])
        sure = f"{100 * probabilities[best[0]]:.1f} %"
        print(f"{printable(str(path))}: {read}  {sure}   (then {others})")
    if show_steps:
        from .. import plots

        plots.save(plots.image_steps(answer.prepared.steps, probabilities, names), show_steps)
    named = answer.digit is not None
    return {
        "path": str(path),
        "digit": answer.digit,
        "class": names[best[0]] if named else None,
        "confidence": float(probabilities[best[0]]) if named else None,
        "probabilities": [float(p) for p in probabilities],
        "several": answer.several,
        "reason": answer.reason,
    }


def _read_sequence(path: Path, net: Sequential, show: Path | None, quiet: bool) -> dict:
    from ..line_reader import for_classes
    from ..pictures import sequences
    from ..pictures.answers import shipped_judge

    names = net.class_names
    judge = shipped_judge() if names == DIGITS else None
    reading = sequences.read(path, net, judge, for_classes(names))
    lines = ["".join(names[digit.label] for digit in line) for line in reading.lines]
    texts = reading.texts(names)
    if not quiet:
        for text, line in zip(texts, reading.lines, strict=True):
            least = min(digit.confidence for digit in line)
            print(
                f"{printable(str(path))}: {printable(text)}   (each at least {100 * least:.1f} %)"
            )
    if show:
        from .. import plots

        plots.save(plots.digit_boxes(reading, names), show)
    digits = [
        {
            "class": names[digit.label],
            "digit": digit.label,
            "confidence": digit.confidence,
            "box": digit.box,
            "line": number,
        }
        for number, line in enumerate(reading.lines)
        for digit in line
    ]
    return {
        "path": str(path),
        "number": " ".join(lines),
        "lines": lines,
        "text": "\n".join(texts),
        "digits": digits,
    }
