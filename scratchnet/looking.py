"""What can be seen of a model from outside: its layers, parameters and tables."""

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from . import summary
from .engine import threads
from .errors import InputError, is_whole, shown
from .flat import Flat
from .layers import Layer, Residual
from .layers.base import put_weights
from .ranges import EXAMPLES, Range, Watch
from .summary import Row

Array = NDArray[np.floating]
Shape = tuple[int, ...]


#: what is set on a model from outside; a name close to one of these is a mistyped one
SETTINGS = ("trainable", "class_names", "stop_training", "optimizer", "metrics", "trained_on")


class Looking:
    """A part of Sequential: what it is made of. It is the row of layers, and their flat arrays.

    A model takes attributes of any name, but for one that is nearly that of a setting: it would do
    nothing, `model.trainble = False`, and is an InputError.
    """

    layers: list[Layer]
    # None before the model is built; everything that reads it comes after that
    input_shape: Shape
    _flats: dict[str, Flat]
    _watch: Watch
    # how an input becomes a batch of numbers: model.py
    _batch: Callable[[Any], NDArray]
    _numbers: Callable[[NDArray], Array]

    def __setattr__(self, name: str, value: Any) -> None:
        known = name[0] == "_" or name in SETTINGS or name in vars(self)
        if not known and not hasattr(type(self), name):
            near = difflib.get_close_matches(name, SETTINGS, 1, cutoff=0.85)
            if near:
                raise InputError(f"model: found no {name!r} to set; is {near[0]} meant?")
        object.__setattr__(self, name, value)

    @property
    def built(self) -> bool:
        return self.input_shape is not None

    @property
    def flat_params(self) -> Array:
        return self._flats["params"].current()

    @flat_params.setter
    def flat_params(self, values: Any) -> None:  # also what `model.flat_params += 1` ends in
        self._flats["params"].current()[...] = values

    @property
    def flat_grads(self) -> Array:
        return self._flats["grads"].current()

    @flat_grads.setter
    def flat_grads(self, values: Any) -> None:
        self._flats["grads"].current()[...] = values

    @property
    def flat_buffers(self) -> Array:
        return self._flats["buffers"].current()

    @flat_buffers.setter
    def flat_buffers(self, values: Any) -> None:
        self._flats["buffers"].current()[...] = values

    @property
    def trained_on(self) -> Range | None:
        """Dtype and range of the images that it was trained on; None where that is not known."""
        return self._watch.trained_on

    @trained_on.setter
    def trained_on(self, found: Range | None) -> None:
        self._watch = Watch(found)

    def look_at(self, x: Any) -> None:
        """Note what numbers the model is trained on, and warn where they cannot be meant."""
        self._watch.train(self._batch(x[:EXAMPLES]))

    def frozen_parts(self, store: str = "params") -> list[slice]:
        """The parts of flat_params, or of flat_buffers, that no step may change."""
        return self._flats[store].frozen()

    @property
    def trainable(self) -> bool:
        return any(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = value

    def parameters(self, frozen: bool = True) -> dict[str, Array]:
        """All parameters by name, such as "conv2d.W"; views of flat_params.

        frozen    False: without those of frozen layers
        """
        found = {
            f"{layer.name}.{key}": array
            for layer in self.layers
            for key, array in layer.params.items()
        }
        still = [] if frozen else [self.flat_params[part] for part in self.frozen_parts()]
        return {
            name: array
            for name, array in found.items()
            if not any(np.may_share_memory(array, part) for part in still)
        }

    def arrays(self) -> dict[str, Array]:
        """All parameters and buffers by name, such as "conv2d.W"; the model's own memory."""
        return {
            f"{layer.name}.{key}": array
            for layer in self.layers
            for key, array in (layer.params | layer.buffers).items()
        }

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name, or with that number from 0; -1 is the last.

        name    "conv2d_1"; "residual.main.conv2d" for one inside another
        """
        if (name is None) == (index is None):
            raise InputError("get_layer: expected a name or an index, found both or none")
        if index is not None:
            if not is_whole(index) or not -len(self.layers) <= index < len(self.layers):
                raise InputError(
                    f"index: expected a number below {len(self.layers)}, found {shown(index)}"
                )
            return self.layers[index]
        return self._named_layers([name])[0]

    def _named_layers(self, names: Sequence[Any]) -> list[Layer]:
        known = {name: layer for name, _, layer in summary.every(self.layers)}
        for name in names:
            if name not in known:
                raise InputError(f"layer: expected one of {', '.join(known)}, found {shown(name)}")
        return [known[name] for name in names]

    def get_weights(self) -> list[Array]:
        """Copies of all arrays that are saved, in Keras's order: layer by layer, what learns first.

        W, b of a Conv2D or Dense; gamma, beta, running mean and variance of a BatchNorm. They have
        Keras's shapes, too.
        """
        self._check_built("get_weights")
        return [array for layer in self.layers for array in layer.get_weights()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Put arrays as `get_weights` returns them in the place of the model's; all or none."""
        self._check_built("set_weights")
        put_weights([a for at in self.layers for a in at._weights()], weights, "set_weights")

    @overload
    def activations(self, x: Any, layer: str, batch_size: int = 32) -> Array: ...
    @overload
    def activations(
        self, x: Any, layer: Sequence[str] | None = None, batch_size: int = 32
    ) -> dict[str, Array]: ...
    def activations(
        self, x: Any, layer: str | Sequence[str] | None = None, batch_size: int = 32
    ) -> Array | dict[str, Array]:
        """What layers put out for x (n, ...), as in prediction: (n, *the layer's output_shape).

        layer    a name, such as "relu_1" or "residual.main.conv2d"; several names, or None for all,
                 give a dict by name

        Layer by layer, as they are written in layers/: a fused group never writes down what is
        inside it. The numbers are those of the model but for rounding. Forward is over then: before
        backward, call the model again.
        """
        self._check_built("activations")
        if not is_whole(batch_size, 1):
            raise InputError(f"batch_size: expected a whole number above 0, found {batch_size!r}")
        names = [layer] if isinstance(layer, str) else layer
        wanted = [*_reached(self.layers, "")] if names is None else [*names]
        self._named_layers(wanted)
        x, found = self._batch(x), {name: [] for name in wanted}  # type: ignore[var-annotated]
        leaves = [leaf for one in self.layers for leaf in one.leaves()]
        with threads.one_blas_thread():
            for start in range(0, max(len(x), 1), batch_size):
                part = np.array(self._numbers(x[start : start + batch_size]))
                _through(self.layers, part, "", found)
        for leaf in leaves:
            leaf.cache = None
            leaf.ran_in(None)
        outputs = {name: np.concatenate(parts) for name, parts in found.items()}
        return outputs[layer] if isinstance(layer, str) else outputs

    def rows(self) -> Iterator[Row]:
        """What `summary` prints, as data: one Row a layer.

        A layer made of others has no numbers of its own; these follow it, called after it:
        "residual.main.conv2d".
        """
        self._check_built("summary")
        yield from summary.rows(self)

    def count_params(self) -> int:
        """The number of learnt values, frozen ones too."""
        return sum(array.size for layer in self.layers for array in layer.params.values())

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print a table: layer, name, output shape, parameters, multiply-adds an image.

        On a terminal too narrow for it, a list. print_fn gets the whole table as one text.
        """
        self._check_built("summary")
        summary.show(self, print_fn)

    def _repr_html_(self) -> str:
        return summary.html_table(self)

    def _check_built(self, what: str) -> None:
        if not self.built:
            raise RuntimeError(f"{what}: the model has no input shape yet; build it first")


def _reached(row: Sequence[Layer], before: str) -> Iterator[str]:
    """The names of all layers that `_through` comes past."""
    for layer in row:
        name = f"{before}{layer.name}"
        if type(layer) is Residual:
            yield from _reached(layer.main, f"{name}.main.")
            yield from _reached(layer.shortcut, f"{name}.shortcut.")
        yield name


def _through(row: Sequence[Layer], x: Array, before: str, found: dict[str, list[Array]]) -> Array:
    """x through a row of layers; into `found` what those come to that are named there."""
    for layer in row:
        name = f"{before}{layer.name}"
        if type(layer) is Residual:
            main = _through(layer.main, x, f"{name}.main.", found)
            x = main + _through(layer.shortcut, x, f"{name}.shortcut.", found)
        else:
            if inside := [one for one in found if one.startswith(f"{name}.")]:
                raise InputError(
                    f"activations: expected layers of the row or of a Residual, found {inside[0]}"
                )
            x = layer.forward(x)
        if name in found:
            found[name].append(x.copy())
    return x
