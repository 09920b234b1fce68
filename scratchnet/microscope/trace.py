"""The microscope: one forward and one backward pass over one example, with every array kept.

    trace = sn.trace(model, x, label=8)
    print(trace.table())                                   # layer by layer: how large, how dead
    print(trace.explain("conv2d.W", (0, 1, 0, 5)))         # one gradient entry, term by term
    print(trace.explain_output("conv2d", (12, 9, 5)))      # one output value likewise
    print(trace.explain_input("conv2d_1", (4, 7, 3)))      # one entry of dx likewise
    trace.step("sgd").after.loss                           # what one optimizer step does

It works on a copy, layer by layer and in float64: nothing in the model changes, and the numbers can
be compared with a numeric derivative to ten digits. Training's own float32 has the same numbers but
for its rounding, in which a gradient near probs - 1 = -1e-7 would drown.
"""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ending, optimizers, showing
from ..engine import threads
from ..errors import InputError, is_whole
from ..frozen import frozen
from ..layers import Residual, Softmax, softmax
from ..losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    Loss,
    SparseCategoricalCrossentropy,
    sigmoid,
)
from ..model import Sequential, backward_through, forward_through
from ..optimizers import Optimizer
from ..text import Table, shape_text
from .arithmetic import checked_index, gradient_sum, linear_output, output_sum, residual_output
from .explained import GradientExplained, InputExplained, OutputExplained, StepTrace
from .input_sums import input_sum, loss_sum, measured_sum, residual_sum
from .inputs import checked_label, copied, one_example
from .layer_trace import LayerTrace, every_trace, layer_trace, listening
from .numeric import STEP, OfInput, OfParameter, derivative
from .sums import Index, Sum

__all__ = [
    "STEP",
    "GradientExplained",
    "InputExplained",
    "LayerTrace",
    "OutputExplained",
    "StepTrace",
    "Trace",
    "checked_label",
    "copied",
    "one_example",
    "trace",
]

Array = NDArray[np.floating]


def trace(model: Sequential, x: Any, label: Any, training: bool = False) -> "Trace":
    """One forward and one backward pass over the image x, of the class `label`.

    label      a class; of a line reader (see line_trace.py) what is in the line: "407", or numbers
    x          one example, (28, 28), (28, 28, 1) or (1, 28, 28, 1) for a model of 28 x 28 x 1
    training   as in training: with dropout, and BatchNorm by this example's own statistics
    """
    if isinstance(model, Sequential) and model.built and len(model.output_shape) == 2:
        from .line_trace import LineTrace

        return LineTrace(model, x, label, training)
    return Trace(model, x, label, training)


class Trace:
    """What `trace` returns.

    layers          a LayerTrace for each layer, in order; trace["conv2d"] or trace[0] finds one
    loss            the model's own loss; cross-entropy for a model without one. It and all
                    gradients are the example's: without the penalties of regularizers
    probabilities   (k,); what the loss compares with the label
    logits          (k,), or None where the loss takes no logits
    one_hot         (k,); what the loss compares them with: of one output, the label itself, 0 or 1
    x, label        the example: x (*input_shape), scaled as the model wants it
    model           the float64 copy that was run; its grads are the traced ones

    A last Softmax and a cross-entropy are run as one, as in training: the gradient at the logits is
    probs - one_hot (see losses.py), and the Softmax by itself has no dy.
    """

    def __init__(self, model: Sequential, x: Any, label: Any, training: bool = False) -> None:
        self.model = copied(model, np.float64)
        loss = self.model.loss
        self.is_binary = loss is not None and ending.is_yes_or_no(self.model.layers, loss)
        self.label = self._checked(label)
        batch = one_example(self.model, x)
        self.x = batch[0]
        self.training = bool(training)
        self.one_hot = self._wanted()
        if self.model.loss is None:
            ends_in_softmax = isinstance(self.model.layers[-1], Softmax)
            self.model.loss = SparseCategoricalCrossentropy(from_logits=not ends_in_softmax)
        self._loss, self._row = self.model._loss_on(self.model.layers)
        self._folded = len(self._row) < len(self.model.layers)
        settings = self._loss.config()
        self._takes_logits = bool(settings.pop("from_logits", False))
        plain = type(self._loss) in (SparseCategoricalCrossentropy, CategoricalCrossentropy)
        self.keeps_digits = plain and self._takes_logits and not any(settings.values())
        self._run(batch)

    def _checked(self, label: Any) -> Any:
        return checked_label(label, self.model, 2 if self.is_binary else None)

    def _wanted(self) -> Array:
        if self.is_binary:
            return np.full(1, float(self.label))
        return np.eye(self.model.output_shape[0])[self.label]

    # ---- the two passes ----------------------------------------------------------------------

    def _run(self, batch: Array) -> None:
        model = self.model
        with (
            frozen(*model.layers),
            threads.one_blas_thread(),
            listening(model.layers) as passed,
        ):
            out = forward_through(self._row, batch, self.training)
            self.loss = self._loss_of(out)
            self._loss.forward(out, self._target())
            first = self._loss.backward()
            backward_through(self._row, first)
        self.logits: Array | None = out[0] if self._takes_logits else None
        self.probabilities: Array = self._read(out[0])
        if self._folded:
            end = passed[id(model.layers[-1])]
            end |= {"input": out[0], "output": self.probabilities, "dx": first[0]}
        self.layers = [
            layer_trace(layer, layer.name, passed, self.training) for layer in model.layers
        ]

    def _read(self, out: Array) -> Array:
        """The probabilities in what the last layer that runs says."""
        if not self._takes_logits:
            return out
        return (sigmoid if isinstance(self._loss, BinaryCrossentropy) else softmax)(out)

    def run_again(self) -> float:
        """Both passes once more, where the model's parameters have been changed: the loss.

        The gradients are then those of the model as it is; the layers' arrays stay as they were.
        """
        with frozen(*self.model.layers), threads.one_blas_thread():
            out = forward_through(self._row, self.x[None], self.training)
            self._loss.forward(out, self._target())
            backward_through(self._row, self._loss.backward())
        return self._loss_of(out)

    def at_image(self, x: Array) -> tuple[Array, Array]:
        """Probabilities and dL/dx of another image of the same label; the trace stays as it is."""
        kept = self.model.flat_grads.copy()
        with frozen(*self.model.layers), threads.one_blas_thread():
            out = forward_through(self._row, x[None], self.training)
            self._loss.forward(out, self._target())
            dx = backward_through(self._row, self._loss.backward())
        self.model.flat_grads[:] = kept
        return self._read(out[0]), dx[0]

    def _target(self) -> NDArray:
        sparse = isinstance(self._loss, SparseCategoricalCrossentropy)
        return np.array([self.label]) if sparse else self.one_hot[None]

    def _loss_of(self, out: Array) -> float:
        """The loss; of logits in a form that keeps its digits where it is nearly 0.

        -log(e^t / sum e^j) = log(1 + sum over the others of e^(j - t)): no 1 + 1e-20 is rounded to
        1, so that its differences are still those of the loss.
        """
        if not self.keeps_digits:
            return self._loss.forward(out, self._target())
        others = np.delete(out[0], self.label) - out[0, self.label]
        return float(np.logaddexp(0.0, np.logaddexp.reduce(others)))

    @property
    def loss_in_a_line(self) -> tuple[str, str]:
        """The loss and the gradient that backward begins with; "" for a loss of one's own."""
        return self._loss.in_a_line() if isinstance(self._loss, Loss) else ("", "")

    # ---- finding things ----------------------------------------------------------------------

    def __getitem__(self, layer: str | int) -> LayerTrace:
        """A layer's trace by its name or number; "residual.main.conv2d" for an inner one."""
        known = {t.name: t for t in every_trace(self.layers)}
        if isinstance(layer, str) and layer in known:
            return known[layer]
        number = not isinstance(layer, str) and is_whole(layer)
        if number and -len(self.layers) <= int(layer) < len(self.layers):
            return self.layers[int(layer)]
        raise InputError(f"layer: expected one of {', '.join(known)}, found {layer!r}")

    @property
    def parameters(self) -> dict[str, Array]:
        """All parameters by name, such as "conv2d.W"."""
        return {f"{t.name}.{key}": a for t in self.layers for key, a in t.params.items()}

    @property
    def gradients(self) -> dict[str, Array]:
        """All gradients, by the same names."""
        return {f"{t.name}.{key}": a for t in self.layers for key, a in t.grads.items()}

    # ---- explaining one number ---------------------------------------------------------------

    def explain(self, parameter: str, index: int | Sequence[int]) -> GradientExplained:
        """One entry of a parameter's gradient: its sum, term by term, and a numeric derivative."""
        if parameter not in self.parameters:
            known = ", ".join(self.parameters) or "none"
            raise InputError(f"parameter: expected one of {known}, found {parameter!r}")
        array, gradient = self.parameters[parameter], self.gradients[parameter]
        place = checked_index(index, array.shape, parameter)
        # of a layer and one inside it that share the parameter, the inner one comes last
        owners = {f"{t.name}.{key}": (t, key) for t in every_trace(self.layers) for key in t.params}
        t, key = owners[parameter]
        beside = derivative(self, OfParameter(parameter, place))
        return GradientExplained(
            parameter=parameter,
            index=place,
            value=float(array[place]),
            gradient=float(gradient[place]),
            sum=gradient_sum(t.layer, key, place, t.input, t.dy, self.training),
            **vars(beside),
        )

    def explain_input(self, layer: str | int, index: int | Sequence[int]) -> InputExplained:
        """One entry of a layer's dx: the dy that reach it, term by term, and a numeric derivative.

        Of a layer whose slopes are not written out they are measured.
        """
        t = self[layer]
        place = checked_index(index, t.input.shape, t.name)
        return InputExplained(
            layer=t.name,
            index=place,
            value=float(t.input[place]),
            gradient=float(t.dx[place]),
            sum=self._input_sum(t, place),
            **vars(derivative(self, OfInput(t.name, place))),
        )

    def _input_sum(self, t: LayerTrace, place: Index) -> Sum:
        if t.dy is None:  # one with the loss
            binary = isinstance(self._loss, BinaryCrossentropy)
            k, smooth = len(self.one_hot), self._loss.label_smoothing
            target = (1 - smooth) * self.one_hot + smooth / (2 if binary else k)
            return loss_sum(place, self.probabilities, target, 1 / k if binary else 1.0)
        if type(t.layer) is Residual:
            return residual_sum(t, place)
        found = input_sum(t, place, self.training)
        return measured_sum(t, place, self._measured(t, place)) if found is None else found

    def _measured(self, t: LayerTrace, place: Index) -> Array:
        """dy/dx[place] of every y, by two forward passes of the layer."""
        with frozen(t.layer) as rewind, threads.one_blas_thread():
            outs = []
            for step in (-STEP, STEP):
                x = t.input[None].copy()
                x[(0, *place)] += step
                rewind()
                outs.append(t.layer.forward(x, self.training)[0])
        slopes: Array = (outs[1] - outs[0]) / (2 * STEP)
        return slopes

    def loss_from(self, number: int, x: Array) -> float:
        """The loss where x is what layer `number` is given, a batch of one."""
        return self._loss_of(forward_through(self._row[number:], x, self.training))

    def explain_output(self, layer: str | int, index: int | Sequence[int]) -> OutputExplained:
        """One value of a layer's output, and the arithmetic that makes it.

        Of a layer whose arithmetic is not written out, the value is given by its slopes: what each
        input adds to it while it changes a little.
        """
        t = self[layer]
        place = checked_index(index, t.output.shape, t.name)
        value = float(t.output[place])
        if type(t.layer) is Residual:
            ends = {row: layers[-1].output for row, layers in t.rows().items()}
            shortcut = ends.get("shortcut", t.input)
            summed = residual_output(place, ends["main"], shortcut, "shortcut" not in ends)
            return OutputExplained(t.name, place, value, summed)
        found = output_sum(t.layer, place, t.input, t.output, self.training)
        if found is None:
            found = linear_output(t.kind, place, t.input, value, self._slopes(t, place))
        return OutputExplained(t.name, place, value, found)

    def _slopes(self, t: LayerTrace, place: Index) -> Array:
        """dy[place]/dx, by the layer's backward pass.

        Zeros if its forward pass does not give the same output again, as a random layer's may not:
        the slopes would be those of another pass.
        """
        kept = {key: gradient.copy() for key, gradient in t.grads.items()}
        dy = np.zeros((1, *t.output.shape))
        dy[(0, *place)] = 1
        try:
            with frozen(t.layer), threads.one_blas_thread():
                y = t.layer.forward(t.input[None], self.training)[0]
                slopes = t.layer.backward(dy)[0]
        finally:
            for key, gradient in kept.items():
                t.grads[key][...] = gradient
        same = np.array_equal(y, t.output, equal_nan=True)
        return slopes if same else np.zeros_like(t.input)

    def step(self, optimizer: str | Optimizer = "sgd") -> StepTrace:
        """What one step on this example does, on a copy.

        optimizer   a name, or an optimizer; one that has trained steps on with its memory, and is
                    not changed
        """
        optimizer = copy.deepcopy(optimizers.get(optimizer))
        optimizer.use_ema = False  # a step from the weights that are traced, no average of them
        optimizer.memory = {
            key: a.astype(np.float64)
            for key, a in optimizer.memory.items()
            if not key.startswith(("average", "raw"))
        }
        model = copied(self.model)
        model.flat_grads[:] = self.model.flat_grads
        rate = optimizer.learning_rate(optimizer.iterations)
        optimizer.step(model)
        after = Trace(model, self.x, self.label, self.training)
        changes: dict[str, Array] = {
            key: after.parameters[key] - array for key, array in self.parameters.items()
        }
        name = f"{type(optimizer).__name__}, learning rate {rate:g}"
        return StepTrace(name, self, after, changes)

    # ---- looking at it -----------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """What `table` shows: a dictionary for each layer, inner ones after theirs."""
        return [
            {"layer": t.name, "kind": t.kind, "shape": t.output.shape, **t.rms, "dead": t.dead}
            for t in every_trace(self.layers)
        ]

    def loss_rows(self) -> list[dict[str, Any]]:
        """A dictionary for each class: its output, one_hot, and the gradient that backward begins
        with. For logits that is probability - one_hot."""
        output = self.probabilities if self.logits is None else self.logits
        end = self.layers[-1]
        gradient = end.dx if end.dy is None else end.dy
        return [
            {
                "class": k,
                "logit" if self.logits is not None else "output": float(output[k]),
                "probability": float(self.probabilities[k]),
                "one_hot": int(self.one_hot[k]),
                "gradient": float(gradient[k]),
            }
            for k in range(len(output))
        ]

    def table(self, width: int | None = None) -> str:
        """Two tables in plain text: the loss's gradient by class, and the layers.

        width   lists in their place where they are wider than that; None: never
        """
        head, body = self._cells()
        loss = self.loss_rows()
        classes = [
            tuple(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values())
            for row in loss
        ]
        first = Table("", tuple(loss[0]), classes).aligned(width)
        second = Table("", head, body, left=3).aligned(width)
        return "\n".join([self._caption(), "", *first, "", *second])

    def _caption(self) -> str:
        probabilities = self.probabilities
        if self.is_binary:  # of a no and of a yes
            probabilities = np.array([1 - probabilities[0], probabilities[0]])
        k = int(probabilities.argmax())
        return (
            f"label {self.label}: loss {self.loss:.6g}, probability "
            f"{probabilities[self.label]:.6g}; read as {k}"
        )

    def _cells(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        numbers = ("output", "dy", "dx", "params", "grads")
        head = ("layer", "kind", "shape", *(f"rms {key}" for key in numbers), "dead")
        body = [
            (
                row["layer"],
                row["kind"],
                shape_text(row["shape"]),
                *("" if row[key] is None else f"{row[key]:.3g}" for key in numbers),
                "" if row["dead"] is None else f"{100 * row['dead']:.1f} %",
            )
            for row in self.rows()
        ]
        return head, body

    def _repr_html_(self) -> str:
        """The example, each class's probability and gradient, and the table of the layers."""
        head, body = self._cells()
        found = showing.heading(self._caption()) + showing.pictures([("x", self.x)])
        loss = self.loss_rows()
        classes = [
            (
                f"{row['class']}" + (" (label)" if row["class"] == self.label else ""),
                *(f"{v:.4g}" for key, v in row.items() if key not in ("class", "one_hot")),
                showing.bar(row["probability"]),
            )
            for row in loss
        ]
        names = [key for key in loss[0] if key != "one_hot"]
        found += showing.table((*names, ""), classes)
        return found + showing.table(head, body, left=3)

    def __repr__(self) -> str:
        return f"Trace({len(self.layers)} layers, {self._caption()})"

    def plot(self) -> Any:
        """A matplotlib figure: every layer's maps forward, and beside them their gradients."""
        from .. import plots

        return plots.trace([t.to_dict() for t in self.layers], self.x, self._caption())

    def to_dict(self) -> dict[str, Any]:
        """All of it as dictionaries and arrays."""
        return {
            "label": self.label,
            "training": self.training,
            "loss": self.loss,
            "logits": self.logits,
            "probabilities": self.probabilities,
            "x": self.x,
            "classes": self.loss_rows(),
            "layers": [t.to_dict() for t in self.layers],
        }
