"""`scratchnet export`: a model for other tools."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import printable
from ..model_files import file_of
from .shared import JsonOption, ModelArgument, command, load


class Format(StrEnum):
    """What other tools read, and the end of the file's name where none is given."""

    onnx = "onnx"
    safetensors = "safetensors"
    npz = "npz"


ENDINGS = {
    Format.onnx: ".onnx",
    # not the name of the model itself
    Format.safetensors: "-weights.safetensors",
    Format.npz: "-weights.npz",
}


@command("export my-run --format onnx", "export --format npz --out weights.npz")
def export(
    format_: Annotated[
        Format,
        typer.Option("--format", help="onnx: the whole network; the others: arrays by name."),
    ],
    model: ModelArgument = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to.", show_default="beside MODEL"),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Write a model for other tools: ONNX, or its weights as safetensors or npz."""
    from ..interop import onnx, weights

    net = load(model)
    source = Path(file_of(model)) if model else Path("mnist-cnn")
    out = out or source.with_name(source.stem + ENDINGS[format_])
    if model and out.exists() and out.samefile(source):
        raise typer.BadParameter(f"--out: {out}: expected another file than the model itself")
    writers = {
        Format.onnx: onnx.save,
        Format.safetensors: weights.save_safetensors,
        Format.npz: weights.save_npz,
    }
    writers[format_](net, out)
    if json_:
        print(json.dumps({"format": format_.value, "file": str(out)}))
    else:
        print(printable(str(out)))
