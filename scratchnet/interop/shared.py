"""What the translations to frameworks share: the layers one by one, and a word on unknown ones."""

from collections.abc import Iterator, Sequence

from ..errors import InputError
from ..layers import LAYERS, Layer, Residual
from ..model import Sequential


def rows_of(layers: Sequence[Layer], prefix: str = "") -> Iterator[tuple[str, Sequence[Layer]]]:
    """Every row of layers with the prefix of its names, inner rows in the place of their layer.

    A row ends at a Residual and goes on after it: what comes out, joined, is every layer but the
    Residuals, in the order in which frameworks list their weights.
    """
    start = 0
    for number, layer in enumerate(layers):
        if isinstance(layer, Residual):
            yield prefix, layers[start:number]
            for part, row in (("main", layer.main), ("shortcut", layer.shortcut)):
                yield from rows_of(row, f"{prefix}{layer.name}.{part}.")
            start = number + 1
    yield prefix, layers[start:]


def check_known(model: Sequential, where: str) -> None:
    """Raise unless the model is built, and of layers whose meaning is known (no subclasses)."""
    if not model.built:
        raise InputError(f"{where}: expected a built model, found one without an input shape")
    inner = [layer for _, row in rows_of(model.layers) for layer in row]
    for layer in [*model.layers, *inner]:
        if type(layer) not in LAYERS.values():
            kinds = ", ".join(LAYERS)
            raise InputError(f"{where}: expected layers of {kinds}, found {type(layer).__name__}")
