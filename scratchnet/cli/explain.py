"""`scratchnet explain`: why the network reads an image as it does."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from numpy.typing import NDArray

from ..errors import printable
from ..layers import Conv2D
from ..metrics import finite_or_none
from ..model import Sequential
from ..text import room
from .shared import (
    JsonOption,
    ModelOption,
    check_picture,
    command,
    load_reader,
    wrong_usage,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Method = Literal["gradcam", "saliency", "occlusion", "features", "filters", "trace"]
WITH_LAYER = ("gradcam", "features", "filters")


@command(
    "explain digit.png --out why.png",
    "explain digit.png --out why.png --method saliency --label 3 --model my-run",
    "explain digit.png --out maps.png --method features --layer relu   (see: summary my-run)",
)
def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture of a digit.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Draw it there: .png, .svg or .pdf.")],
    method: Annotated[Method, typer.Option(help="What to show.")] = "gradcam",
    model: ModelOption = None,
    label: Annotated[
        int | None,
        typer.Option(
            help="The class to explain, by its number from 0.", show_default="the one it reads"
        ),
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="A layer's name, as `summary` shows it; for gradcam, features and filters.",
            show_default="the last convolution; for filters the first",
        ),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Show what the network looks at: heat over the image, its maps and filters, both passes.

    gradcam, saliency and occlusion draw heat over the image; features the maps of a layer; filters
    a convolution's weights; trace every layer's output and gradient, with a table on stdout.
    """
    from .. import plots
    from ..microscope.inputs import checked_label
    from ..microscope.trace import trace
    from ..pictures import prepare

    if layer is not None and method not in WITH_LAYER:
        raise typer.BadParameter(f"--layer: expected with {', '.join(WITH_LAYER)}, found {method}")
    check_picture("--out", out)
    net = load_reader(model)
    with wrong_usage("--label"):
        checked_label(label or 0, net)
    _check_layer(net, method, layer)
    picture = prepare(image).image
    probabilities = net.predict(picture)[0]
    digit = int(probabilities.argmax())
    chosen = digit if label is None else label
    found: dict[str, Any] = {
        "path": str(image),
        "method": method,
        "digit": digit,
        "confidence": float(probabilities[digit]),
        "label": chosen,
    }
    read = printable(net.class_names[digit])
    text = f"{printable(str(image))}: {read}  {100 * probabilities[digit]:.1f} %"
    if method == "trace":
        passes = trace(net, picture, chosen)
        figure, text = passes.plot(), f"{text}\n{passes.table(room())}"
        found |= {"loss": passes.loss, "classes": passes.loss_rows(), "layers": passes.rows()}
    else:
        figure, values = _drawn(method, net, picture, chosen, layer)
        found["values"] = values.tolist()
    plots.save(figure, out)
    print(json.dumps(finite_or_none(found)) if json_ else f"{text}\n{printable(str(out))}")


def _check_layer(net: Sequential, method: str, layer: str | None) -> None:
    seen = [
        one.name
        for one in net.layers
        if (isinstance(one, Conv2D) if method == "filters" else len(one.output_shape) == 3)
    ]
    if layer is not None and layer not in seen:
        known = ", ".join(seen) or "none"
        raise typer.BadParameter(f"--layer: expected one of {known}, found {printable(layer)!r}")


def _drawn(
    method: str, net: Sequential, picture: NDArray, label: int, layer: str | None
) -> tuple["Figure", NDArray]:
    """The figure, and the numbers in it."""
    from .. import plots
    from ..microscope import heat_maps as explaining

    name = f" of {layer}" if layer else ""
    if method == "features":
        values = explaining.feature_maps(net, picture, layer)
        title = f"Feature maps{name or ' of the last convolution'}"
        return plots.feature_maps(values, title), values
    if method == "filters":
        values = explaining.filters(net, layer)
        return plots.filters(values, f"Filters{name or ' of the first convolution'}"), values
    how = {"layer": layer} if method == "gradcam" else {}
    values = getattr(explaining, method)(net, picture, label, **how)
    title = f"{TITLES[method]} for {net.class_names[label]}"
    return plots.heat(picture, values, title, UNITS[method]), values


TITLES = {"gradcam": "Grad-CAM", "saliency": "Saliency", "occlusion": "Occlusion"}
UNITS = {
    "gradcam": "weight of the evidence",
    "saliency": "size of d score / d pixel",
    "occlusion": "probability lost where covered",
}
