"""The microscope: one forward and one backward pass over one example, with every array kept.

    trace = sn.trace(model, x, label=8)
    print(trace.table())                                   # layer by layer: how large, how dead
    print(trace.explain("conv2d.W", (0, 1, 0, 5)))         # one gradient entry, term by term
    print(trace.explain_output("conv2d", (12, 9, 5)))      # one output value likewise
    trace.step("sgd").after.loss                           # what one optimizer step does

It works on a copy, layer by layer and in float64: nothing in the model changes, and the numbers can
be compared with a numeric derivative to ten digits. Training's own float32 has the same numbers but
for its rounding, in which a gradient near probs - 1 = -1e-7 would drown.
"""

import copy
import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import kernels, optimizers
from .arithmetic import GRADIENTS, OUTPUTS, Sum, checked_index, columns, residual_output
from .errors import InputError, is_whole
from .gradcheck import _frozen
from .layers import Layer, MaxPool2D, ReLU, Residual, Softmax, softmax
from .losses import CategoricalCrossentropy, SparseCategoricalCrossentropy
from .metrics import rms
from .model import Sequential
from .optimizers import Optimizer

Array = NDArray[np.floating]

#: smaller than gradcheck's: among a whole network's ReLUs fewer lie within the step of their kink
STEP = 1e-6


def trace(model: Sequential, x: Any, label: int, training: bool = False) -> "Trace":
    """One forward and one backward pass over the image x, of the class `label`.

    x          one example, (28, 28), (28, 28, 1) or (1, 28, 28, 1) for a model of 28 x 28 x 1
    training   as in training: with dropout, and BatchNorm by this example's own statistics
    """
    return Trace(model, x, label, training)


def copied(model: Sequential, dtype: DTypeLike = None, fuse: bool = False) -> Sequential:
    """The model again in memory of its own: layers, parameters, buffers, random streams, loss."""
    if not isinstance(model, Sequential) or not model.built:
        raise InputError(f"model: expected a built Sequential, found {model!r}")
    layers = []
    for layer in model.layers:
        bare = copy.copy(layer)
        bare.cache = None  # of the last batch, perhaps many megabytes
        layers.append(copy.deepcopy(bare))
    found = Sequential(layers, dtype=model.dtype if dtype is None else dtype, fuse=fuse)
    found.build(model.input_shape)
    for array, original in zip(found.arrays().values(), model.arrays().values(), strict=True):
        array[...] = original
    for layer, original in zip(_every(layers), _every(model.layers), strict=True):
        if hasattr(original, "rng"):
            layer.rng.bit_generator.state = original.rng.bit_generator.state
    found.loss = copy.copy(model.loss)
    return found


def one_example(model: Sequential, x: Any) -> Array:
    """x as a batch of one, as the model's first layer wants it; raises unless it is one example."""
    x = np.asarray(x)
    batch = model._input(x[None] if x.shape == model.input_shape else x)
    if len(batch) != 1:
        raise InputError(f"x: expected one example, found {len(batch)}")
    return batch


def checked_label(label: Any, model: Sequential) -> int:
    """The label as a number of a class, or an error."""
    if len(model.output_shape) != 1:
        raise InputError(
            f"model: expected a classifier with output (k,), found output {model.output_shape}"
        )
    (k,) = model.output_shape
    if not is_whole(label, 0) or label >= k:
        raise InputError(f"label: expected a whole number from 0 to {k - 1}, found {label!r}")
    return int(label)


def _every(layers: Sequence[Layer]) -> Iterator[Layer]:
    """All layers, and after each those that it is made of."""
    for layer in layers:
        yield layer
        yield from _every(list(layer.inner().values()))


@dataclass
class LayerTrace:
    """What went through one layer; arrays without the batch axis, and in float64.

    name, kind       "conv2d_1", "Conv2D"; for a layer inside another "residual.main.conv2d"
    input, output    x and y
    dy, dx           dL/dy and dL/dx; dy is None for a Softmax that is folded into the loss
    params, grads    the same keys and shapes in both: {"W": ..., "b": ...}
    rms              the root of the mean square of each array: a norm divided by the root of the
                     size, so that layers compare. Keys "input", "output", "dy", "dx", and "params"
                     and "grads" over all of the layer's parameters; None where there is nothing.
    dead             for a ReLU, the share of outputs that are 0: no gradient passes there
    sources          for a MaxPool2D, (out_h, out_w, c, 2): row and column of the input that each
                     output was copied from, where its dy goes
    inside           the traces of the layers that a compound layer is made of
    """

    name: str
    kind: str
    layer: Layer = field(repr=False)
    input: Array | None = None
    output: Array | None = None
    dy: Array | None = None
    dx: Array | None = None
    params: dict[str, Array] = field(default_factory=dict)
    grads: dict[str, Array] = field(default_factory=dict)
    rms: dict[str, float | None] = field(default_factory=dict)
    dead: float | None = None
    sources: NDArray[np.int64] | None = None
    inside: list["LayerTrace"] = field(default_factory=list)

    def rows(self) -> dict[str, list["LayerTrace"]]:
        """What is inside, by row: {"main": [...], "shortcut": [...]}; empty rows are left out."""
        found: dict[str, list[LayerTrace]] = {}
        for inner in self.inside:
            found.setdefault(inner.name.removeprefix(self.name).split(".")[1], []).append(inner)
        return found

    def to_dict(self) -> dict[str, Any]:
        """The same as a dictionary; arrays stay arrays."""
        fields = {key: value for key, value in vars(self).items() if key != "layer"}
        return {
            **fields,
            "config": self.layer.config(),
            "inside": [inner.to_dict() for inner in self.inside],
        }

    def _finish(self) -> None:
        """What follows from the arrays."""
        layer = self.layer
        self.params, self.grads = dict(layer.params), dict(layer.grads)
        self.rms = {key: rms(getattr(self, key)) for key in ("input", "output", "dy", "dx")}
        self.rms["params"] = rms(*self.params.values())
        self.rms["grads"] = rms(*self.grads.values())
        if type(layer) is ReLU:
            self.dead = float(np.mean(self.output == 0))
        if type(layer) is MaxPool2D:
            u, v = np.divmod(layer.cache[0].astype(np.int64), layer.pool_size[1])
            i, j = np.indices(u.shape[:2])
            rows = i[..., None] * layer.strides[0] + u - layer.pads[0]
            places = j[..., None] * layer.strides[1] + v - layer.pads[2]
            self.sources = np.stack([rows, places], axis=-1)


@dataclass(frozen=True)
class GradientExplained:
    """One entry of a parameter's gradient: what backward computed, its sum, and the numeric one.

    value      of the parameter there
    gradient   what the backward pass left in the layer's grads
    numeric    (L(value + step) - L(value - step)) / (2 step), through the whole model
    left       the slope below value, (L(value) - L(value - step)) / step
    right      the slope above it; numeric is the mean of both
    kink       whether gradient and numeric differ because the slope jumps: a ReLU or a maximum
               switches within the step. So it is with fresh biases of 0 over an empty background:
               there ReLU's input is exactly 0, and its derivative taken as 0.
    sum        the terms; None for a kind of layer that arithmetic.py does not spell out
    """

    parameter: str
    index: tuple[int, ...]
    value: float
    gradient: float
    numeric: float
    left: float
    right: float
    kink: bool
    step: float
    sum: Sum | None

    def text(self, most: int = 10) -> str:
        at = f"{self.parameter}[{', '.join(map(str, self.index))}]"
        lines = [f"{at} = {self.value:+.6g}"]
        if self.sum is not None:
            lines.append(self.sum.text(most))
        lines.append(f"backward pass       {self.gradient:+.10g}")
        lines.append(f"numeric derivative  {self.numeric:+.10g}   (step {self.step:g})")
        if self.kink:
            lines.append(f"a kink: the slope is {self.left:+.6g} below and {self.right:+.6g} above")
        return "\n".join(lines)

    __str__ = text

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        return {**vars(self), "sum": None if self.sum is None else self.sum.to_dict(most)}


@dataclass(frozen=True)
class OutputExplained:
    """One value of a layer's output, and the sum that makes it."""

    layer: str
    index: tuple[int, ...]
    value: float
    sum: Sum

    def text(self, most: int = 10) -> str:
        return f"{self.layer}: {self.sum.text(most)}"

    __str__ = text

    def to_dict(self, most: int | None = None) -> dict[str, Any]:
        return {**vars(self), "sum": self.sum.to_dict(most)}


@dataclass(frozen=True)
class StepTrace:
    """One optimizer step on the traced example alone.

    before, after   a trace each; `.loss` and `.probabilities` are those to compare
    changes         what was added to each parameter: {"conv2d.W": array, ...}
    """

    optimizer: str
    before: "Trace"
    after: "Trace"
    changes: dict[str, Array]

    def text(self) -> str:
        before, after = self.before, self.after
        rows = [("", "before", "after"), ("loss", f"{before.loss:.6g}", f"{after.loss:.6g}")]
        for k, (p, q) in enumerate(zip(before.probabilities, after.probabilities, strict=True)):
            mark = " (label)" if k == before.label else ""
            rows.append((f"p({k}){mark}", f"{p:.6g}", f"{q:.6g}"))
        return "\n".join([self.optimizer, *columns(rows)])

    __str__ = text

    def to_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer,
            "loss": [self.before.loss, self.after.loss],
            "probabilities": [self.before.probabilities, self.after.probabilities],
            "changes": self.changes,
        }


class Trace:
    """What `trace` returns.

    layers          a LayerTrace for each layer, in order; trace["conv2d"] or trace[0] finds one
    loss            the model's own loss; cross-entropy for a model without one
    probabilities   (k,); what the loss compares with the label
    logits          (k,), or None where the loss takes no logits
    x, label        the example: x (*input_shape), scaled as the model wants it
    model           the float64 copy that was run; its grads are the traced ones

    A last Softmax and a cross-entropy are run as one, as in training: the gradient at the logits is
    probs - one_hot (see losses.py), and the Softmax by itself has no dy.
    """

    def __init__(self, model: Sequential, x: Any, label: int, training: bool = False) -> None:
        self.model = copied(model, np.float64)
        self.label = checked_label(label, self.model)
        batch = one_example(self.model, x)
        self.x = batch[0]
        self.training = bool(training)
        self.one_hot = np.eye(*self.model.output_shape)[self.label]
        if self.model.loss is None:
            ends_in_softmax = isinstance(self.model.layers[-1], Softmax)
            self.model.loss = SparseCategoricalCrossentropy(from_logits=not ends_in_softmax)
        self._loss, self._row = self.model._loss_on(self.model.layers)
        self._folded = len(self._row) < len(self.model.layers)
        settings = self._loss.config()
        self._takes_logits = bool(settings.pop("from_logits", False))
        plain = type(self._loss) in (SparseCategoricalCrossentropy, CategoricalCrossentropy)
        self._keeps_digits = plain and self._takes_logits and not any(settings.values())
        self.layers = [_blank(layer, layer.name) for layer in self.model.layers]
        self._run(batch)

    # ---- the two passes ----------------------------------------------------------------------

    def _run(self, batch: Array) -> None:
        every = list(_traces(self.layers))
        with _frozen(*self.model.layers), kernels.one_blas_thread():
            for t in every:
                _listen(t)
            try:
                out = self._forward(batch)
                self.loss = self._loss_of(out)
                self._loss.forward(out, self._target())
                first = dy = self._loss.backward()
                for layer in reversed(self._row):
                    dy = layer.backward(dy)
            finally:
                for t in every:
                    del t.layer.forward, t.layer.backward
        self.logits, self.probabilities = None, out[0]
        if self._takes_logits:
            self.logits, self.probabilities = out[0], softmax(out[0])
        if self._folded:
            end = self.layers[-1]
            end.input, end.output, end.dx = self.logits, self.probabilities, first[0]
        for t in every:
            t._finish()

    def _forward(self, batch: Array) -> Array:
        for layer in self._row:
            batch = layer.forward(batch, self.training)
        return batch

    def _target(self) -> NDArray:
        sparse = isinstance(self._loss, SparseCategoricalCrossentropy)
        return np.array([self.label]) if sparse else self.one_hot[None]

    def _loss_of(self, out: Array) -> float:
        """The loss; of logits in a form that keeps its digits where it is nearly 0.

        -log(e^t / sum e^j) = log(1 + sum over the others of e^(j - t)): no 1 + 1e-20 is rounded to
        1, so that its differences are still those of the loss.
        """
        if not self._keeps_digits:
            return self._loss.forward(out, self._target())
        others = np.delete(out[0], self.label) - out[0, self.label]
        return float(np.logaddexp(0.0, np.logaddexp.reduce(others)))

    # ---- finding things ----------------------------------------------------------------------

    def __getitem__(self, layer: str | int) -> LayerTrace:
        """A layer's trace by its name or number; "residual.main.conv2d" for an inner one."""
        known = {t.name: t for t in _traces(self.layers)}
        if is_whole(layer) and -len(self.layers) <= layer < len(self.layers):
            return self.layers[layer]
        if layer not in known:
            raise InputError(f"layer: expected one of {', '.join(known)}, found {layer!r}")
        return known[layer]

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
        array = self.parameters[parameter]
        at = checked_index(index, array.shape, parameter)
        # of a layer and one inside it that share the parameter, the inner one comes last
        owners = {f"{t.name}.{key}": (t, key) for t in _traces(self.layers) for key in t.params}
        owner, key = owners[parameter]
        terms = None
        if type(owner.layer) in GRADIENTS:
            spell = GRADIENTS[type(owner.layer)]
            terms = spell(owner.layer, key, at, owner.input, owner.dy, self.training)
        gradient = self.gradients[parameter]
        below, here, above = self._losses_around(array, at)
        left, right = (here - below) / STEP, (above - here) / STEP
        numeric = (above - below) / (2 * STEP)
        off = abs(float(gradient[at]) - numeric)
        rounding = 1e-9 * (here if self._keeps_digits else 1 + here)
        matters = off > 1e-6 * float(np.abs(gradient).max()) + rounding
        return GradientExplained(
            parameter=parameter,
            index=at,
            value=float(array[at]),
            gradient=float(gradient[at]),
            numeric=numeric,
            left=left,
            right=right,
            kink=matters and abs(right - left) >= off,
            step=STEP,
            sum=terms,
        )

    def _losses_around(self, array: Array, at: tuple[int, ...]) -> list[float]:
        """The loss with one parameter STEP lower, as it is, and STEP higher."""
        kept, found = array[at], []
        with _frozen(*self.model.layers) as rewind, kernels.one_blas_thread():
            try:
                for step in (-STEP, 0.0, STEP):
                    array[at] = kept + step
                    rewind()
                    found.append(self._loss_of(self._forward(self.x[None])))
            finally:
                array[at] = kept
        return found

    def explain_output(self, layer: str | int, index: int | Sequence[int]) -> OutputExplained:
        """One value of a layer's output, and the arithmetic that makes it."""
        t = self[layer]
        at = checked_index(index, t.output.shape, t.name)
        if type(t.layer) is Residual:
            ends = {row: layers[-1].output for row, layers in t.rows().items()}
            shortcut = ends.get("shortcut", t.input)
            summed = residual_output(at, ends["main"], shortcut, "shortcut" not in ends)
            return OutputExplained(t.name, at, float(t.output[at]), summed)
        if type(t.layer) not in OUTPUTS:
            known = ", ".join(kind.__name__ for kind in (*OUTPUTS, Residual))
            raise InputError(f"{t.name}: expected a layer among {known}, found {t.kind}")
        terms = OUTPUTS[type(t.layer)](t.layer, at, t.input, t.output, self.training)
        return OutputExplained(t.name, at, float(t.output[at]), terms)

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
        changes = {key: after.parameters[key] - a for key, a in self.parameters.items()}
        return StepTrace(
            f"{type(optimizer).__name__}, learning rate {rate:g}", self, after, changes
        )

    # ---- looking at it -----------------------------------------------------------------------

    def rows(self) -> list[dict[str, Any]]:
        """What `table` shows: a dictionary for each layer, inner ones after theirs."""
        return [
            {"layer": t.name, "kind": t.kind, "shape": t.output.shape, **t.rms, "dead": t.dead}
            for t in _traces(self.layers)
        ]

    def loss_rows(self) -> list[dict[str, Any]]:
        """A dictionary for each class: its output, one_hot, and the gradient that backward begins
        with. For logits that is probability - one_hot."""
        output = self.probabilities if self.logits is None else self.logits
        gradient = self.layers[-1].dx if self._folded else self.layers[-1].dy
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

    def table(self) -> str:
        """Two tables in plain text: the loss's gradient by class, and the layers."""
        head, body = self._cells()
        loss = self.loss_rows()
        classes = [tuple(loss[0])] + [
            tuple(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values())
            for row in loss
        ]
        return "\n".join([self._caption(), "", *columns(classes), "", *columns([head, *body], 3)])

    def _caption(self) -> str:
        k = int(self.probabilities.argmax())
        return (
            f"label {self.label}: loss {self.loss:.6g}, probability "
            f"{self.probabilities[self.label]:.6g}; read as {k}"
        )

    def _cells(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        numbers = ("output", "dy", "dx", "params", "grads")
        head = ("layer", "kind", "shape", *(f"rms {key}" for key in numbers), "dead")
        body = [
            (
                row["layer"],
                row["kind"],
                " x ".join(map(str, row["shape"])),
                *("" if row[key] is None else f"{row[key]:.3g}" for key in numbers),
                "" if row["dead"] is None else f"{100 * row['dead']:.1f} %",
            )
            for row in self.rows()
        ]
        return head, body

    def _repr_html_(self) -> str:
        head, body = self._cells()
        titles = "".join(f"<th>{html.escape(cell)}" for cell in head)
        lines = "".join(
            "<tr>" + "".join(f"<td>{html.escape(cell)}" for cell in row) + "</tr>" for row in body
        )
        caption = html.escape(self._caption())
        return f"<table><caption>{caption}</caption><tr>{titles}</tr>{lines}</table>"

    def __repr__(self) -> str:
        return f"Trace({len(self.layers)} layers, {self._caption()})"

    def plot(self) -> Any:
        """A matplotlib figure: every layer's maps forward, and beside them their gradients."""
        from . import plots

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


def _blank(layer: Layer, name: str) -> LayerTrace:
    inside = [_blank(inner, f"{name}.{key}") for key, inner in layer.inner().items()]
    return LayerTrace(name, type(layer).__name__, layer, inside=inside)


def _traces(layers: list[LayerTrace]) -> Iterator[LayerTrace]:
    """All traces, and after each those inside it."""
    for t in layers:
        yield t
        yield from _traces(t.inside)


def _listen(t: LayerTrace) -> None:
    """Let the layer's forward and backward note what they are given and return."""
    forward, backward = t.layer.forward, t.layer.backward

    def heard_forward(x: Array, training: bool = False) -> Array:
        y = forward(x, training)
        t.input, t.output = x[0], y[0]
        return y

    def heard_backward(dy: Array) -> Array:
        dx = backward(dy)
        t.dy, t.dx = dy[0], dx[0]
        return dx

    t.layer.forward, t.layer.backward = heard_forward, heard_backward
