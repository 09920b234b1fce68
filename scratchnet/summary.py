"""The table of a model: each layer with its output's shape, parameters and multiply-adds."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import showing
from .layers import Layer
from .text import Table, room, shape_text

if TYPE_CHECKING:
    from .looking import Looking


HEADS = ("layer", "name", "output shape", "parameters", "multiply-adds")


@dataclass(frozen=True)
class Row:
    """One line of `summary()`."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def rows(model: "Looking") -> Iterator[Row]:
    """One Row a layer; those inside a layer follow it, and the numbers are theirs."""
    for name, _, layer in every(model.layers):
        own = 0, 0
        if not layer.inner():
            own = sum(p.size for p in layer.params.values()), layer.multiply_adds()
        yield Row(name, type(layer).__name__, layer.output_shape, *own)


def table(model: "Looking") -> Table:
    """The table that `summary` prints."""
    adds = sum(row.multiply_adds for row in rows(model))
    total = ("total", "", "", f"{model.count_params():,}", f"{adds:,}")
    title = f"input {shape_text(model.input_shape)}"
    return Table(title, HEADS, list(_lines(model)), left=3, foot=total, note=_learnt(model))


def show(model: "Looking", print_fn: Callable[[str], Any] | None = None) -> None:
    """Print the table as wide as the terminal allows; or hand it, whole, to print_fn.

    A notebook shows it as a table of its own.
    """
    if print_fn is None and showing.in_notebook():
        showing.display(table(model))
    elif print_fn is None:
        table(model).show(width=room())
    else:
        print_fn(table(model).text())


def html_table(model: "Looking") -> str:
    """The table that a notebook shows; of a model that is not built yet, its layers."""
    if not model.built:
        return f"<code>{showing.escaped(repr(model))}</code>"
    caption = f"input {shape_text(model.input_shape)}, {model.count_params():,} parameters: "
    return showing.table(HEADS, list(_lines(model)), caption + _learnt(model), left=3)


def show_plan(groups: Iterable[object]) -> None:
    """Print a line for each group of layers; in a notebook, a table."""
    if showing.in_notebook():
        rows = [str(group).split(": ", 1) for group in groups]
        showing.display(Table("", ("layers", "run"), rows, left=2))
        return
    for group in groups:
        print(group)


def _learnt(model: "Looking") -> str:
    """How many values training changes, and how many not: counted as Keras counts them."""
    frozen = sum(part.stop - part.start for part in model.frozen_parts())
    running = model.flat_buffers.size
    text = f"trainable {model.count_params() - frozen:,}, non-trainable {frozen + running:,}"
    return text + (f" (running statistics {running:,})" if running else "")


def short_name(layer: Layer) -> str:
    """The layer with the arguments that say most: Conv2D 32 3x3, MaxPool2D 2x2, Dense 10."""
    parts = [type(layer).__name__]
    for key in ("filters", "units", "rate"):
        if hasattr(layer, key):
            parts.append(str(getattr(layer, key)))
    for key in ("kernel_size", "pool_size"):
        if hasattr(layer, key):
            parts.append("x".join(map(str, getattr(layer, key))))
    dilation = getattr(layer, "dilation_rate", (1, 1))
    if dilation != (1, 1):
        parts.append("dilation " + "x".join(map(str, dilation)))
    return " ".join(parts)


def _lines(model: "Looking") -> Iterator[tuple[str, str, str, str, str]]:
    """The cells of every line: inner layers are indented, and named within the layer they are in.

    A layer's name is what `trace`, `explain --layer` and the names of its arrays take.
    """
    for (name, label, layer), row in zip(every(model.layers), rows(model), strict=True):
        inner = name.partition(".")[1] + name.partition(".")[2]
        numbers = f"{row.parameters:,}", f"{row.multiply_adds:,}"
        frozen = " (frozen)" if row.parameters and not layer.trainable else ""
        yield label + frozen, inner or name, shape_text(row.output_shape), *numbers


def every(layers: Iterable[Layer]) -> Iterator[tuple[str, str, Layer]]:
    """Every layer with its name and what its line is called; inner ones after theirs."""

    def walk(named: dict[str, Layer], indent: str) -> Iterator[tuple[str, str, Layer]]:
        for name, layer in named.items():
            beside = "shortcut: " if name.split(".")[-2:-1] == ["shortcut"] else ""
            yield name, f"{indent}{beside}{short_name(layer)}", layer
            inner = {f"{name}.{key}": one for key, one in layer.inner().items()}
            yield from walk(inner, f"{indent}- ")

    return walk({layer.name: layer for layer in layers}, "")
