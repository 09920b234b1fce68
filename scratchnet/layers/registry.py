"""The one place where a kind of layer is registered, with what the rest of the house asks about it.

    @register(gradient="dx = dy where x > 0, and 0 elsewhere", formula="max({x}, 0)", ...)
    class ReLU(Layer):

A registered kind can be saved and loaded by its name. What is not said of a kind falls back to what
is right for every layer: it runs by itself with BLAS held to one thread, is drawn as a block of its
own, and the translations to other tools refuse it by name. tests/project/test_completeness.py goes
through all kinds and lists what each of them lacks.
"""

import inspect
import itertools
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from ..errors import InputError, shown
from .base import Layer, is_ours

#: a file that names more layers, inner ones too, or deeper ones, is not a model of ours
MOST_LAYERS, MOST_DEPTH = 1000, 30
#: characters
LONGEST_NAME = 1000

AnyLayer = TypeVar("AnyLayer", bound=type[Layer])


@dataclass(frozen=True)
class Equal:
    """The same layer elsewhere: its name there, and its arguments by the names of our attributes.

    Equal("LeakyReLU", {"negative_slope": "slope"}) is LeakyReLU(negative_slope=layer.slope). For
    layers that are the same in every layout; where arrays change places, the code is in interop/.

    fixed   arguments that are the same for every layer: {"activation": "tanh"}
    """

    name: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def settings(self, layer: Layer) -> dict[str, Any]:
        """The arguments' values for that layer."""
        ours = {theirs: getattr(layer, ours) for theirs, ours in self.arguments.items()}
        return {**self.fixed, **ours}


@dataclass(frozen=True)
class Kind:
    """What is known of one kind of layer.

    layer        the class
    gradient     the backward pass in one line, shown beside the arrays; "" if it is not written
    formula      for a layer where y[i] depends on x[i] alone: y in terms of {x}, "max({x}, 0)"
    axes         what each axis of a parameter counts: {"W": ("input", "unit"), "b": ("unit",)}
    pointwise    y has x's shape, and y[i] belongs to x[i], whatever else it depends on: such a
                 layer is drawn with the one before it, and its features may come in any order
    uses_blas    forward or backward call NumPy's matrix product, directly or not. The safe answer
                 is yes: BLAS is then held to one thread, so that results do not depend on threads
    torch, keras, jax, onnx   the equal in torch.nn, keras.layers, jax.nn and ONNX's operators
    """

    layer: type[Layer]
    gradient: str = ""
    formula: str | None = None
    axes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pointwise: bool = False
    uses_blas: bool = True
    torch: Equal | None = None
    keras: Equal | None = None
    jax: Equal | None = None
    onnx: Equal | None = None


#: every registered kind, by its class
KINDS: dict[type[Layer], Kind] = {}
#: the layers that a saved model may name
LAYERS: dict[str, type[Layer]] = {}


#: classes that `load_model(path, custom=...)` was given, while it runs
CUSTOM: ContextVar[Mapping[str, type]] = ContextVar("custom", default=MappingProxyType({}))


def register(**known: Any) -> Callable[[AnyLayer], AnyLayer]:
    """A class decorator: register the layer with the fields of `Kind` that are known of it.

    `sn.register` is this for users: it takes losses, optimizers and schedules, too.
    """

    def decorate(layer: AnyLayer) -> AnyLayer:
        name = layer.__name__
        if not is_again(before := LAYERS.get(name, layer), layer):
            raise InputError(f"register: expected another name than {name}, which is taken")
        KINDS.pop(before, None)
        KINDS[layer] = Kind(layer, **known)
        LAYERS[name] = layer
        return layer

    return decorate


def is_again(before: type, kind: type) -> bool:
    """Whether a class is the one before, or that of a user, defined again at the same place."""
    same = (before.__module__, before.__qualname__) == (kind.__module__, kind.__qualname__)
    return before is kind or same and not is_ours(kind)


def check_config(thing: Any) -> None:
    """Raise unless a user's object says by `config` all that makes it anew."""
    kind = type(thing)
    config, name = thing.config(), kind.__name__
    try:
        json.dumps(config, default=lambda numbers: numbers.tolist())
    except (TypeError, ValueError, AttributeError):
        raise InputError(
            f"save: expected {name}.config() to return values that JSON knows, "
            f"found {shown(config)}"
        ) from None
    makes_itself = "from_config" in vars(kind)
    taken = inspect.signature(kind).parameters.values()
    rest = any(one.kind is one.VAR_KEYWORD for one in taken)
    wanted = {one.name for one in taken if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}
    if not makes_itself and (wanted - config.keys() or config.keys() - wanted and not rest):
        raise InputError(
            f"save: expected {name}.config() to return the constructor's arguments, "
            f"{', '.join(sorted(wanted)) or 'none'}, found {', '.join(sorted(config)) or 'none'}"
        )


def remedies(name: Any) -> str:
    """What to do about a class that a file names and nobody knows."""
    if not isinstance(name, str) or not name.isidentifier():
        return ""
    return (
        f"; if it is a class of your own, put @sn.register before it, or use "
        f'load_model(path, custom={{"{name}": {name}}})'
    )


def kind_of(layer: Layer) -> Kind:
    """What is known of the layer's kind; the defaults for one that is not registered.

    A subclass is a kind of its own: it may compute something else than its parent.
    """
    return KINDS.get(type(layer)) or Kind(type(layer))


def gradient_of(name: str) -> str | None:
    """The backward pass in one line, of the kind with that name; None if it is not written."""
    return KINDS[LAYERS[name]].gradient or None if name in LAYERS else None


def described(layer: Layer) -> dict[str, Any]:
    """Kind, name, constructor's arguments, and that it is frozen, in values that JSON knows."""
    name = type(layer).__name__
    if LAYERS.get(name) is not type(layer):
        raise InputError(
            f"save: expected one of {', '.join(LAYERS)}, found {name}; put @sn.register before "
            "the class"
        )
    if not is_ours(type(layer)):
        check_config(layer)
    frozen = {} if layer.trainable else {"trainable": False}
    return {"kind": name, "name": layer.name, "config": layer.config(), **frozen}


def from_description(entry: dict[str, Any]) -> Layer:
    """The layer, not built yet, that `described` wrote down."""
    if not isinstance(entry, dict):
        raise InputError(f"expected the description of a layer, found {shown(entry)}")
    kind, name, config = (entry.get(key) for key in ("kind", "name", "config"))
    known = {**LAYERS, **{k: c for k, c in CUSTOM.get().items() if issubclass(c, Layer)}}
    if not isinstance(kind, str) or kind not in known:
        raise InputError(
            f"expected one of {', '.join(known)}, found layer {shown(kind)}{remedies(kind)}"
        )
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise InputError(
            f"{kind}: expected a name of at most {LONGEST_NAME} characters, found {shown(name)}"
        )
    if not isinstance(config, dict):
        raise InputError(f"{kind} {name}: expected its arguments by name, found {shown(config)}")
    try:
        layer = known[kind].from_config(config)
    except (TypeError, LookupError) as error:  # an argument that it does not have, or lacks
        raise InputError(f"{kind} {name}: expected its arguments, found {error}") from None
    layer.name = name
    if "trainable" in entry:
        layer.trainable = entry["trainable"]
    return layer


def check_described(entries: Any) -> None:
    """Raise if descriptions name too many layers, or layers too deep in others.

    Only of what is there: whether it makes sense is for `from_description` to say.
    """
    count, level = 0, entries if isinstance(entries, list) else []
    for depth in itertools.count():
        count += len(level)
        if count > MOST_LAYERS:
            raise InputError(f"expected at most {MOST_LAYERS:,} layers, found more")
        if not level:
            return
        if depth >= MOST_DEPTH:
            raise InputError(f"expected layers at most {MOST_DEPTH} deep in others, found deeper")
        configs = [entry.get("config") for entry in level if isinstance(entry, dict)]
        rows = [row for config in configs if isinstance(config, dict) for row in config.values()]
        level = [
            inner
            for row in rows
            if isinstance(row, list)
            for inner in row
            if isinstance(inner, dict)
        ]
