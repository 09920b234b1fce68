"""What every layer is: some parameters, a forward pass, and the backward pass that belongs to it.

A layer is a function y = f(x; parameters). During training somebody asks for its gradients: given
dy = dL/dy, the gradient of the loss L with respect to the layer's output, `backward` returns
dx = dL/dx, which is the dy of the layer before, and leaves dL/dW for every parameter W in `grads`.
That is the chain rule, and all there is to backpropagation.
"""

import copy
import difflib
import enum
import itertools
import math
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ..errors import InputError, InputWarning, check_flag, shown
from ..regularizers import L1L2

Array = NDArray[np.floating]
Shape = tuple[int, ...]

#: values in one image's output; more is a mistake, or a file that means harm
MOST_VALUES = 2**28


class Footprint(NamedTuple):
    """What a layer's forward pass of one image takes, before anything is built.

    values    that are in memory: the output, and a padded copy of the input
    reads     values that its windows see, all positions together: im2col writes them all down
    """

    values: int
    reads: int


class Ran(enum.Enum):
    """What stands in a layer's cache when something else ran in its place."""

    FUSED = "a fused group"


class _Kept(threading.local):
    """What a forward kept for the backward in the same thread: the cache, and how many examples.

    Several threads may run one layer at once, and each goes back its own way.

    ran_in    the model that ran the layer last: models may share a layer
    """

    cache: Any = None
    ran_in: Any = None
    n: int | None = None  # None where a layer of one's own did not call `keep`


class Layer:
    """The protocol: `build` once, then `forward` and `backward` in turn.

    params, grads   parameter name -> array; the same keys, shapes and dtypes in both
    buffers         arrays that are saved with the model but not learnt (running statistics)
    cache           what the last forward kept for backward; None before the first, and in a copy
    input_shape, output_shape   without the batch axis; None before build
    trainable       False: frozen. No step changes its parameters, whatever the optimizer does to
                    the others, and backward goes no further back than the first layer that learns.
                    May be set at any time; the next step heeds it.
    activation      the name of one that is to follow as a layer of its own; the row that the layer
                    joins appends it and sets this to None (see named.py)
    kernel_regularizer   the price of large weights W (see regularizers.py), or None

    A layer that is built keeps its weights when a new model is made of it, and both models share
    them: what one learns, the other knows. `copy()` is a layer with weights of its own.

    A layer of this package takes no attribute that it does not know, so that a mistyped one
    (`layer.trainble = False`) is an error and not without effect. Your own subclasses, and names
    that begin with an underscore, are free.

    A forward begins with `check_input(x)` and ends with `keep(x, what)`; a backward begins with
    `kept(dy)`, which checks dy and returns what was kept.
    """

    # None until the layer joins a row, and until it is built; what reads them comes later
    name: str
    input_shape: Shape
    output_shape: Shape
    activation: str | None = None
    # the layer that stands for it, once a row has appended one
    _appended: "Layer | None" = None
    kernel_regularizer: L1L2 | None = None

    def __init__(self) -> None:
        self.name = None  # type: ignore[assignment]
        self.params: dict[str, Array] = {}
        self.grads: dict[str, Array] = {}
        self.buffers: dict[str, Array] = {}
        self._kept = _Kept()
        self._flags: dict[str, bool] = {"trainable": True}
        self.input_shape = self.output_shape = None  # type: ignore[assignment]

    def __setattr__(self, name: str, value: Any) -> None:
        known = name[0] == "_" or name in vars(self) or hasattr(type(self), name)
        free = known or not is_ours(type(self))
        # a layer's own methods may note what they like
        if not free and sys._getframe(1).f_locals.get("self") is not self:
            raise InputError(f"{self}: expected an attribute it has, found {_nearest(name)}")
        object.__setattr__(self, name, value)

    @property
    def trainable(self) -> bool:
        return self._flags["trainable"]

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._flags["trainable"] = check_flag("trainable", value)

    @property
    def learns(self) -> bool:
        """Whether a step changes something in it: it has parameters and is not frozen."""
        return bool(self.params) and self._flags["trainable"]

    @property
    def cache(self) -> Any:
        return self._kept.cache

    @cache.setter
    def cache(self, what: Any) -> None:
        self._kept.cache, self._kept.n = what, None

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without what the last forward kept."""
        return {key: value for key, value in vars(self).items() if key != "_kept"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"_flags": {"trainable": True}} | state)
        self._kept = _Kept()

    def copy(self) -> Self:
        """Another layer like this one, with the same weights in memory of its own."""
        return copy.deepcopy(self)

    def twin(self, input_shape: Shape | None = None) -> Self:
        """The same layer once more, for another place in another model: they share their arrays.

        input_shape     that of the other place, if it is another one; InputError unless the arrays
                        fit there as they are

        Only the name and the shapes are its own.
        """
        new = copy.copy(self)
        shape = self.input_shape if input_shape is None else tuple(input_shape)
        if shape == self.input_shape:
            return new
        new.input_shape, new.output_shape = shape, self.shape_after(shape)
        for arrays, wanted in (
            (self.params, self.parameter_shapes(shape)),
            (self.buffers, self.buffer_shapes(shape)),
        ):
            if {key: array.shape for key, array in arrays.items()} != wanted or self.inner():
                raise InputError(
                    f"{self.name or self}: expected inputs of shape {self.input_shape}, for which "
                    f"its weights are, found {shape}; put a new {type(self).__name__} there"
                )
        new.place_window(shape)
        return new

    # ---- what a new kind of layer writes -----------------------------------------------------

    def shape_after(self, input_shape: Shape) -> Shape:
        """The output's shape for an input's, both without the batch axis. Raises if impossible."""
        return input_shape

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """The shapes of `params`, before any memory is taken for them."""
        return {}

    def buffer_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """The shapes of `buffers`."""
        return {}

    def place_window(self, input_shape: Shape) -> None:
        """Note what depends on the input's shape alone, such as the padding in numbers."""

    def footprint(self, input_shape: Shape) -> Footprint:
        """How much one image's forward pass takes; with windows and inner layers more."""
        return Footprint(math.prod(self.shape_after(input_shape)), 0)

    def initialize(self, rng: np.random.Generator) -> None:
        """Fill params and buffers, which are zero when this is called."""

    def forward(self, x: Array, training: bool = False) -> Array:
        """x (n, *input_shape) -> y (n, *output_shape); keeps in `cache` what backward needs."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, dy: Array) -> Array:
        """dy (n, *output_shape) -> dx (n, *input_shape); overwrites grads, leaves dy as it is.

        dy's memory is used again in the same backward pass: whoever wants to keep it copies it.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, in values that JSON knows: enough to make the layer anew."""
        return {}

    def multiply_adds(self) -> int:
        """Multiply-add operations of one image's forward pass; products with weights alone."""
        return 0

    def inner(self) -> dict[str, "Layer"]:
        """The layers that this one is made of, by name; their arrays are this one's, too."""
        return {}

    # ---- what all layers share ---------------------------------------------------------------

    def build(
        self, input_shape: Shape, rng: np.random.Generator, dtype: DTypeLike = np.float32
    ) -> Shape:
        """Take memory for the parameters and fill it; returns the output's shape."""
        if self.activation is not None:  # forward would leave it out without a word
            raise InputError(
                f"{self}: expected a place in a Sequential or Residual, which append the "
                "activation; to use the layer alone, leave it out and call its layer yourself"
            )
        self.input_shape = tuple(input_shape)
        self.output_shape = self.shape_after(self.input_shape)
        self.place_window(self.input_shape)
        for store, shapes in (
            (self.params, self.parameter_shapes(self.input_shape)),
            (self.grads, self.parameter_shapes(self.input_shape)),
            (self.buffers, self.buffer_shapes(self.input_shape)),
        ):
            store.clear()
            store.update({key: np.zeros(shape, dtype) for key, shape in shapes.items()})
        self.cache = None
        self.initialize(rng)
        return self.output_shape

    def joined(self, input_shape: Shape, rng: np.random.Generator, dtype: DTypeLike) -> "Layer":
        """The layer, built, for a place in a row: itself, or a twin of what is built for another.

        What is built already keeps its weights.
        """
        if self.input_shape is None:
            self.build(input_shape, rng, dtype)
            return self
        arrays = [a for store in (self.params, self.buffers) for a in store.values()]
        if found := sorted({a.dtype.name for a in arrays} - {np.dtype(dtype).name}):
            raise InputError(
                f"{self.name or self}: expected a layer of {np.dtype(dtype)}, found one built in "
                f"{found[0]}; give the model dtype={found[0]!r}, or put a new layer there"
            )
        return self if self.input_shape == tuple(input_shape) else self.twin(input_shape)

    def count_params(self) -> int:
        """The number of values that it can learn, frozen or not."""
        if self.input_shape is None:
            raise RuntimeError(f"{self}: call build(input_shape, rng) before count_params")
        return sum(array.size for array in self.params.values())

    def get_weights(self) -> list[Array]:
        """Copies of all arrays that are saved, in Keras's order: what learns, then the buffers."""
        return [array.copy() for array in self._weights()]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Put arrays as `get_weights` returns them in the place of the layer's; all or none."""
        put_weights(self._weights(), weights, f"{self.name or self}")

    def _weights(self) -> list[Array]:
        if self.input_shape is None:
            raise RuntimeError(f"{self}: call build(input_shape, rng) first; it has no weights yet")
        leaves = list(self.leaves())
        every = [a for at in leaves for store in (at.params, at.buffers) for a in store.values()]
        known = {id(array) for array in every}
        own = [*self.params.values(), *self.buffers.values()]  # beside those of inner layers
        return every + [array for array in own if id(array) not in known]

    def leaves(self) -> Iterator["Layer"]:
        """The layer itself, or those it is made of down to the last."""
        inner = self.inner().values()
        yield from (leaf for layer in inner for leaf in layer.leaves()) if inner else (self,)

    def __call__(self, x: Array, training: bool = False) -> Array:
        return self.forward(x, training)

    def check_input(self, x: Array) -> None:
        """Raise unless x is a batch of what the layer was built for."""
        if self.input_shape is None:
            raise RuntimeError(f"{self}: call build(input_shape, rng) before forward")
        if x.shape[1:] != self.input_shape:
            raise InputError(
                f"{self}: expected input (n, {_csv(self.input_shape)}), found {x.shape}"
            )

    def keep(self, x: Array, what: Any) -> None:
        """Put into the cache what backward will need of this forward, whose input is x."""
        self._kept.cache, self._kept.n = what, len(x)

    def ran_inside(self, what: Any) -> None:
        """Note that something else ran in the layer's place; as `cache = what`, but at once."""
        kept = self._kept
        kept.cache, kept.n = what, None

    def ran_in(self, what: Any) -> None:
        """Note which model's forward is behind what is kept."""
        self._kept.ran_in = what

    def has_run_in(self, what: Any) -> bool:
        """Whether the last forward in a model was in that one."""
        return self._kept.ran_in is what

    def kept(self, dy: Array) -> Any:
        """What forward put in the cache; raises if there was none, or dy has another shape."""
        cache, n = self._kept.cache, self._kept.n
        if cache is None:
            raise RuntimeError(f"{self}: backward needs a forward before it")
        if cache is Ran.FUSED:
            raise RuntimeError(
                f"{self}: its last forward ran inside a fused group of the model, which keeps what "
                "backward needs; call the model's backward, or make the model with fuse=False"
            )
        n = len(dy) if n is None and dy.ndim else n
        expected = (n, *self.output_shape)
        if dy.shape != expected:
            raise InputError(f"{self}: expected dy {expected}, found {dy.shape}")
        return cache

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.config().items())
        return f"{type(self).__name__}({arguments})"


def _csv(shape: Shape | None) -> str:
    return ", ".join(map(str, shape or ()))


def image_shape(layer: Layer, input_shape: Shape) -> tuple[int, int, int]:
    """The input's shape as (h, w, c), or a clear error where it is not an image."""
    if len(input_shape) != 3:
        raise InputError(
            f"{layer}: expected images (h, w, c), found shape {input_shape}; channels come last"
        )
    return input_shape[0], input_shape[1], input_shape[2]


def join(row: list[Layer], layer: Layer, owner: str, beside: Sequence[Layer] = ()) -> None:
    """Append a layer to a row of `owner`'s, named after its kind if it has no name yet.

    If the layer came with the name of an activation, that one's layer is appended after it.

    beside    further layers of the owner; a layer may stand in one place only

    A built layer may stand in another model under a name that is taken here: then a twin with
    another name joins, and the other model's names stay.
    """
    from .named import ACTIVATIONS  # late: it is made of the layers that are made of this file

    if not isinstance(layer, Layer):
        raise InputError(f"{owner}: expected a layer, found {layer!r}")
    leaves = [leaf for other in (*row, *beside) for leaf in other.leaves()]
    if any(mine is leaf for mine in layer.leaves() for leaf in leaves):
        raise InputError(f"{owner}: expected different layers, found {layer} twice")
    taken = {other.name for other in row}
    if layer.name in taken and layer.input_shape is not None:
        layer = layer.twin()
        layer.name = None  # type: ignore[assignment]
    if layer.name is None:
        kind = type(layer).__name__.lower()
        number = sum(type(other) is type(layer) for other in row)
        names = (f"{kind}_{i}" if i else kind for i in itertools.count(number))
        layer.name = next(name for name in names if name not in taken)
    if layer.name in taken:
        raise InputError(f"{owner}: expected different names, found {layer.name!r} twice")
    if row:
        _warn_of_a_gap(row[-1], layer, owner)
    row.append(layer)
    if layer.activation is not None:
        following, layer.activation = ACTIVATIONS[layer.activation](), None
        layer._appended = following
        join(row, following, owner, beside)


def _warn_of_a_gap(before: Layer, layer: Layer, owner: str) -> None:
    """Say so where the activation that a layer came with went into another row and not into this.

    A list of layers with activation="relu" that makes a second model would lose them in silence.
    """
    from .named import CLASSES

    appended = before._appended
    if appended is None or isinstance(layer, CLASSES):
        return
    warnings.warn(
        f"{owner}: {type(appended).__name__} was appended after {before.name} in another model and "
        f"is not in this row, where {type(layer).__name__} follows; put it there if it is wanted",
        InputWarning,
        stacklevel=4,
    )


def put_weights(into: Sequence[Array], weights: Sequence[Any], owner: str) -> None:
    """Write the weights into arrays of the same shapes; InputError, and nothing, if one differs."""
    found = [np.asarray(array) for array in weights]
    if len(found) != len(into):
        raise InputError(f"{owner}: expected {len(into)} arrays of weights, found {len(found)}")
    for number, (array, new) in enumerate(zip(into, found, strict=True)):
        if new.shape != array.shape or new.dtype.kind not in "fiub":
            raise InputError(
                f"{owner}: expected numbers {array.shape} as weights number {number}, "
                f"found {new.dtype} {new.shape}"
            )
    for array, new in zip(into, found, strict=True):
        array[...] = new


def is_ours(kind: type) -> bool:
    """Whether a class belongs to this package."""
    return kind.__module__.partition(".")[0] == __name__.partition(".")[0]


def _nearest(name: str) -> str:
    """An unknown attribute, and the known one that may be meant."""
    known = [key for key in dir(Layer) if not key.startswith("_")]
    near = difflib.get_close_matches(name, [*known, "params", "grads", "buffers", "name"], n=1)
    return shown(name) + (f"; is {near[0]} meant?" if near else "")


def shapes_along(row: Sequence[Layer], shape: Shape) -> Iterator[tuple[Layer, Shape, Shape]]:
    """Each layer of a row with its input's and its output's shape, before anything is built."""
    for layer in row:
        after = layer.shape_after(shape)
        if math.prod(after) > MOST_VALUES:
            raise InputError(f"expected outputs of a sane size, found {after} after {layer}")
        yield layer, shape, after
        shape = after
