"""`scratchnet explain`: why the network reads an image as it does."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .shared import JsonOption, app, load_reader

Method = Literal["gradcam", "saliency", "occlusion", "features", "filters", "trace"]
WITH_LAYER = ("gradcam", "features", "filters")


@app.command()
def explain(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture of a digit.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Draw it there: .png, .svg or .pdf.")],
    method: Annotated[Method, typer.Option(help="What to show.")] = "gradcam",
    model: Annotated[
        Path | None, typer.Option(help="A model file.", show_default="the shipped weights")
    ] = None,
    label: Annotated[
        int | None, typer.Option(help="The class to explain.", show_default="the one it reads")
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="A layer's name, for gradcam, features and filters.",
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
    from ..microscope import heat_maps
    from ..microscope.inputs import checked_label
    from ..microscope.trace import trace
    from ..pictures import prepare

    if layer is not None and method not in WITH_LAYER:
        raise typer.BadParameter(f"--layer: expected with {', '.join(WITH_LAYER)}, found {method}")
    net = load_reader(model)
    picture = prepare(image).image
    probabilities = net.predict(picture)[0]
    digit = int(probabilities.argmax())
    chosen = digit if label is None else checked_label(label, net)
    found: dict[str, Any] = {
        "path": str(image),
        "method": method,
        "digit": digit,
        "confidence": float(probabilities[digit]),
        "label": chosen,
    }
    name = f" of {layer}" if layer else ""
    text = f"{image}: {digit}  {100 * probabilities[digit]:.1f} %"
    if method in UNITS:
        how = {"layer": layer} if method == "gradcam" else {}
        values = getattr(heat_maps, method)(net, picture, chosen, **how)
        figure = plots.heat(picture, values, f"{TITLES[method]} for {chosen}", UNITS[method])
        found["values"] = values.tolist()
    elif method == "features":
        maps = heat_maps.feature_maps(net, picture, layer)
        figure = plots.feature_maps(maps, f"Feature maps{name or ' of the last convolution'}")
        found["values"] = maps.tolist()
    elif method == "filters":
        weights = heat_maps.filters(net, layer)
        figure = plots.filters(weights, f"Filters{name or ' of the first convolution'}")
        found["values"] = weights.tolist()
    else:
        passes = trace(net, picture, chosen)
        figure, text = passes.plot(), f"{text}\n{passes.table()}"
        found |= {"loss": passes.loss, "classes": passes.loss_rows(), "layers": passes.rows()}
    plots.save(figure, out)
    print(json.dumps(_finite(found)) if json_ else f"{text}\n{out}")


TITLES = {"gradcam": "Grad-CAM", "saliency": "Saliency", "occlusion": "Occlusion"}
UNITS = {
    "gradcam": "weight of the evidence",
    "saliency": "size of d score / d pixel",
    "occlusion": "probability lost where covered",
}


def _finite(value: Any) -> Any:
    """NaN and infinity, which JSON does not know, as null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and value - value != 0 else value
