"""Looking inside a model: the library's arrays, sums and heat maps as answers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..layers.registry import gradient_of, kind_of
from ..metrics import rms
from ..microscope import heat_maps
from ..microscope.explained import Compared
from ..microscope.inputs import checked_label
from ..microscope.layer_trace import LayerTrace
from ..microscope.sums import Sum
from ..microscope.trace import Trace
from ..model import Sequential
from ..run_folder import OPTIMIZERS
from . import schemas as s
from .choices import usual_rate
from .fields import Array
from .problems import MissingError
from .turns import Turns


@contextmanager
def asked_about() -> Iterator[None]:
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
    with asked_about():
        return Trace(model, pixels, digit if label is None else label), digit


def passes(turns: Turns, model: Sequential, query: s.TraceQuery) -> s.TraceAnswer:
    with turns:
        found, digit = traced(model, query)
    formula, gradient = found.loss_in_a_line
    return s.TraceAnswer(
        label=found.label,
        digit=digit,
        loss=found.loss,
        loss_formula=formula,
        loss_gradient=gradient,
        one_hot=found.one_hot.tolist(),
        x=Array.of(found.x),
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
        dy=optional(t.dy),
        dx=optional(t.dx),
        rms=s.Sizes(x=t.rms["input"], y=t.rms["output"], dy=t.rms["dy"], dx=t.rms["dx"]),
        dead=t.dead,
        slope=optional(t.slope),
        winners=optional(t.sources),
        parameters=[
            s.ParameterTrace(
                name=name,
                axes=list(kind_of(t.layer).axes.get(name) or _numbered(value)),
                shape=list(value.shape),
                value=Array.of(value),
                gradient=Array.of(t.grads[name]),
                rms=rms(value),
                gradient_rms=rms(t.grads[name]),
            )
            for name, value in params.items()
        ],
    )


def _numbered(value: NDArray) -> list[str]:
    """The axes of a parameter of which no more is known."""
    return ["number"] if value.ndim == 1 else [f"axis {axis}" for axis in range(value.ndim)]


def output(turns: Turns, model: Sequential, query: s.OutputQuery) -> s.OutputAnswer:
    with turns:
        found, _ = traced(model, query)
    with asked_about():
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
    if len(_corners(spelled)) > 1:
        return None
    places = [term.position[:2] for term in spelled.terms if len(term.position) > 1]
    return [max(axis) + 1 for axis in zip(*places, strict=True)] or None


def _corners(spelled: Sum) -> set[tuple[int, int]]:
    """Where the window begins, by each of its terms; one place unless there are gaps."""
    seen = [(t.position, t.source) for t in spelled.terms if len(t.position) > 1 and t.source]
    return {(row - u, column - v) for (u, v, *_), (row, column, *_) in seen}


def parameter(turns: Turns, model: Sequential, query: s.ParameterQuery) -> s.ParameterAnswer:
    with turns, asked_about():
        found, _ = traced(model, query)
        one = found.explain(f"{query.layer}.{query.parameter}", query.index)
        if one.sum is None:
            raise InputError(f"{query.layer}: its gradient is not spelled out")
    return s.ParameterAnswer(
        **_compared(one, one.sum),
        map=optional(one.sum.grid("product")),
        x=optional(one.sum.grid("x")),
        dy=optional(one.sum.grid("factor")),
    )


def entry_of_dx(turns: Turns, model: Sequential, query: s.InputQuery) -> s.InputAnswer:
    with turns, asked_about():
        found, _ = traced(model, query)
        one = found.explain_input(query.layer, query.index)
    spelled = one.sum
    rank = len(spelled.terms[0].position)
    is_window = rank > 1 and spelled.first == "dy" and len(found[query.layer].output.shape) == 3
    return s.InputAnswer(
        **_compared(one, spelled),
        window=Array.of(spelled.grid("x")) if is_window else None,
        filter=Array.of(spelled.grid("factor")) if is_window else None,
        area=_area(spelled) if is_window else None,
    )


def _compared(one: Compared, spelled: Sum) -> dict[str, Any]:
    return {
        **_sum(spelled),
        "value": one.value,
        "analytic": one.gradient,
        "numeric": one.numeric,
        "relative_error": one.relative_error,
        "agrees": one.agrees,
        "verdict": one.verdict,
        "kink": one.kink,
        "step": one.step,
        "text": one.text(),
    }


def _area(spelled: Sum) -> list[int] | None:
    """Where the window that the terms' positions are of begins, and how large it is."""
    size, corners = _window(spelled), _corners(spelled)
    return [*corners.pop(), *size] if size and len(corners) == 1 else None


def _sum(spelled: Sum) -> dict[str, Any]:
    found = spelled.to_dict(s.TERMS)
    return {
        "formula": spelled.formula,
        "bias": spelled.constant,
        "factor": spelled.factor,
        "first": spelled.first,
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
    with turns, asked_about():
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


def optional(found: NDArray | None) -> Array | None:
    return None if found is None else Array.of(found)
