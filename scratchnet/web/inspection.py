"""Looking inside a model: the library's arrays, sums and heat maps as answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..layers.registry import gradient_of
from ..metrics import rms
from ..microscope import heat_maps
from ..microscope.inputs import checked_label
from ..microscope.layer_trace import LayerTrace
from ..microscope.sums import Sum
from ..microscope.trace import Trace
from ..model import Sequential
from . import schemas as s
from .choices import OPTIMIZERS, usual_rate
from .fields import Array
from .problems import MissingError
from .turns import Turns


@contextmanager
def _asked_about() -> Iterator[None]:
    """Inside, the only mistakes left are names and indices of what is not there."""
    try:
        yield
    except InputError as error:
        raise MissingError(str(error)) from None


def traced(model: Sequential, query: s.ImageQuery) -> tuple[Trace, int]:
    """The trace, and the digit that is read."""
    pixels = query.pixels
    digit = int(model.predict(pixels).argmax())
    label = getattr(query, "label", None)
    with _asked_about():
        return Trace(model, pixels, digit if label is None else label), digit


def passes(turns: Turns, model: Sequential, query: s.TraceQuery) -> s.TraceAnswer:
    with turns:
        found, digit = traced(model, query)
    return s.TraceAnswer(
        label=found.label,
        digit=digit,
        loss=found.loss,
        probabilities=found.probabilities.tolist(),
        dlogits=[row["gradient"] for row in found.loss_rows()],
        layers=[_layer(layer, before) for layer, before in _as_they_run(found.layers)],
    )


def _as_they_run(
    layers: list[LayerTrace], before: str | None = None
) -> Iterator[tuple[LayerTrace, str | None]]:
    """Every layer, inner ones first, with the name of the one whose output it takes."""
    for t in layers:
        for row in t.rows().values():
            yield from _as_they_run(row, before)
        yield t, before
        before = t.name


def _layer(t: LayerTrace, before: str | None) -> s.LayerAnswer:
    params = {} if t.inside else t.params
    assert t.input is not None and t.output is not None, "both passes have run"
    return s.LayerAnswer(
        name=t.name,
        kind=t.kind,
        formula=gradient_of(t.kind),
        input=before,
        input_shape=list(t.input.shape),
        output_shape=list(t.output.shape),
        output=Array.of(t.output),
        dy=_array(t.dy),
        dx=_array(t.dx),
        rms=s.Sizes(x=t.rms["input"], y=t.rms["output"], dy=t.rms["dy"], dx=t.rms["dx"]),
        dead=t.dead,
        winners=_array(t.sources),
        parameters=[
            s.ParameterTrace(
                name=name,
                shape=list(value.shape),
                value=Array.of(value),
                gradient=Array.of(t.grads[name]),
                rms=rms(value),
                gradient_rms=rms(t.grads[name]),
            )
            for name, value in params.items()
        ],
    )


def output(turns: Turns, model: Sequential, query: s.OutputQuery) -> s.OutputAnswer:
    with turns:
        found, _ = traced(model, query)
    with _asked_about():
        one = found.explain_output(query.layer, query.index)
    spelled = one.sum
    whole = "W" in found[query.layer].params  # there is a filter to show
    return s.OutputAnswer(
        value=one.value,
        **_sum(spelled),
        text=one.text(),
        patch=Array.of(spelled.grid("x")) if whole else None,
        filter=Array.of(spelled.grid("factor")) if whole else None,
        window=None if found[query.layer].kind == "Conv2DTranspose" else _window(spelled),
    )


def _window(spelled: Sum) -> list[int] | None:
    """Rows and columns of the window whose places the terms are at, if they are: (u, v, ...).

    None where the pixels that it sees have gaps between them.
    """
    seen = [(t.position, t.source) for t in spelled.terms if len(t.position) > 1 and t.source]
    corners = {(row - u, column - v) for (u, v, *_), (row, column, *_) in seen}
    if len(corners) > 1:
        return None
    places = [term.position[:2] for term in spelled.terms if len(term.position) > 1]
    return [max(axis) + 1 for axis in zip(*places, strict=True)] or None


def parameter(turns: Turns, model: Sequential, query: s.ParameterQuery) -> s.ParameterAnswer:
    with turns, _asked_about():
        found, _ = traced(model, query)
        one = found.explain(f"{query.layer}.{query.parameter}", query.index)
        if one.sum is None:
            raise InputError(f"{query.layer}: its gradient is not spelled out")
    largest = max(abs(one.gradient), abs(one.numeric))
    return s.ParameterAnswer(
        value=one.value,
        analytic=one.gradient,
        numeric=one.numeric,
        relative_error=abs(one.gradient - one.numeric) / largest if largest else 0.0,
        step=one.step,
        **_sum(one.sum),
        text=one.text(),
        map=Array.of(one.sum.grid("product")),
    )


def _sum(spelled: Sum) -> dict[str, Any]:
    found = spelled.to_dict(s.TERMS)
    return {
        "formula": spelled.formula,
        "bias": spelled.constant,
        "factor": spelled.factor,
        "terms": [
            s.Term(
                at=list(term["position"]),
                source=None if term["source"] is None else list(term["source"]),
                x=term["x"],
                factor=term["factor"],
                product=term["product"],
            )
            for term in found["terms"]
        ],
        "others": s.Others(count=found["more"], sum=found["rest"]),
        "total": spelled.total,
    }


def optimizer_step(turns: Turns, model: Sequential, query: s.StepQuery) -> s.StepAnswer:
    rate = query.learning_rate or usual_rate(query.optimizer)
    with turns, np.errstate(all="ignore"):  # a large step may leave the finite numbers
        found, _ = traced(model, query)
        stepped = found.step(OPTIMIZERS[query.optimizer](rate))
    moments = [
        s.Moment(loss=at.loss, probabilities=at.probabilities.tolist())
        for at in (stepped.before, stepped.after)
    ]
    changes = []
    for name, change in stepped.changes.items():
        layer, _, key = name.partition(".")
        changes.append(s.Change(layer=layer, parameter=key, rms_change=rms(change)))
    return s.StepAnswer(
        optimizer=stepped.optimizer, before=moments[0], after=moments[1], changes=changes
    )


def heat_map(
    turns: Turns, model: Sequential, query: s.GradcamQuery | s.MapQuery
) -> s.ExplainAnswer:
    pixels = query.pixels
    layer = getattr(query, "layer", None)
    how = {"layer": layer} if query.method == "gradcam" else {}
    with turns, _asked_about():
        digit = int(model.predict(pixels).argmax())
        label = digit if query.label is None else checked_label(query.label, model)
        found = getattr(heat_maps, query.method)(model, pixels, label, **how)
    largest = float(np.abs(found).max())
    return s.ExplainAnswer(
        method=query.method,
        label=label,
        layer=layer,
        map=Array.of(found / largest if largest else found),
        largest=largest,
    )


def _array(found: NDArray | None) -> Array | None:
    return None if found is None else Array.of(found)
