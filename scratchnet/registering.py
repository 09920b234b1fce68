"""`register`: layers, losses, optimizers and schedules of one's own, so that files may name them.

A file holds the name of a class and the arguments it was made with, never code. Whoever loads it
has the class: registered under that name, or handed to `load_model(path, custom={"Mine": Mine})`.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from .errors import InputError, shown
from .layers import Layer
from .layers import register as register_layer
from .layers.registry import CUSTOM, LAYERS, check_config, is_again, remedies
from .losses import LOSSES, Loss
from .optimizers import OPTIMIZERS, Optimizer
from .schedules import SCHEDULES, Schedule

Any_ = TypeVar("Any_", bound=type)

#: what may be registered besides layers: the base class, what files call it, our own kinds
BASES: dict[str, tuple[type, Mapping[str, type]]] = {
    "loss": (Loss, LOSSES),
    "optimizer": (Optimizer, OPTIMIZERS),
    "schedule": (Schedule, SCHEDULES),
}
#: users' own, by what they are and by name
OWN: dict[str, dict[str, type]] = {what: {} for what in BASES}


@overload
def register(kind: Any_, /) -> Any_: ...
@overload
def register(kind: None = None, /, **known: Any) -> Callable[[Any_], Any_]: ...
def register(kind: Any = None, /, **known: Any) -> Any:
    """A class decorator: models with such a layer, loss, optimizer or schedule save and load.

        @sn.register
        class Scale(sn.Layer):
            def __init__(self, factor=2.0):
                super().__init__()
                self.factor = factor
            ...
            def config(self):
                return {"factor": self.factor}

    `config` returns the constructor's arguments, in values that JSON knows: loading makes the
    object from them. Saving checks that it does.

    known    of a layer: what the rest of the package asks about its kind, see layers/registry.py:
             @sn.register(formula="{x} * factor", pointwise=True)

    A class that is defined again, as a notebook does when its cell runs again, takes the place of
    the one before. Raises InputError for a name that is taken, and for what is none of the four.
    """
    if kind is None:
        return lambda kind: register(kind, **known) if not known else _registered(kind, known)
    return _registered(kind, known)


def _registered(kind: Any, known: dict[str, Any]) -> Any:
    if not isinstance(kind, type):
        raise InputError(f"register: expected a class, found {shown(kind)}")
    if issubclass(kind, Layer):
        return register_layer(**known)(kind)
    for what, (base, ours) in BASES.items():
        if issubclass(kind, base):
            if known:
                raise InputError(f"register: expected nothing but the {what}, found {shown(known)}")
            name, own = kind.__name__, OWN[what]
            if name in ours or not is_again(own.get(name, kind), kind):
                raise InputError(f"register: expected another name than {name}, which is taken")
            own[name] = kind
            return kind
    raise InputError(
        f"register: expected a Layer, Loss, Optimizer or Schedule, found {kind.__name__}"
    )


def name_of(what: str, thing: Any) -> str:
    """What a file calls the class of a loss, optimizer or schedule, if it could be loaded again."""
    _, ours = BASES[what]
    for name, kind in {**ours, **OWN[what]}.items():
        if type(thing) is kind:
            if name in OWN[what]:
                check_config(thing)
            return name
    name = type(thing).__name__
    raise InputError(
        f"save: expected one of {', '.join(ours)}, found the {what} {name}; put @sn.register "
        "before its class"
    )


def named(what: str, name: Any) -> Any:
    """The class of a loss, optimizer or schedule that a file calls so."""
    base, ours = BASES[what]
    custom = CUSTOM.get().get(name) if isinstance(name, str) else None
    if custom is not None and issubclass(custom, base):
        return custom
    known = {**ours, **OWN[what]}
    if not isinstance(name, str) or name not in known:
        raise InputError(
            f"expected one of {', '.join(known)}, found the {what} {shown(name)}{remedies(name)}"
        )
    return known[name]


def checked_custom(custom: Any) -> dict[str, type]:
    """`custom` of load_model, if it is classes by name."""
    kinds = (Layer, *(base for base, _ in BASES.values()))
    if not isinstance(custom, Mapping) or not all(
        isinstance(name, str) and isinstance(kind, type) and issubclass(kind, kinds)
        for name, kind in custom.items()
    ):
        raise InputError(
            'custom: expected classes by name, such as {"Mine": Mine}, of layers, losses, '
            f"optimizers or schedules, found {shown(custom)}"
        )
    for name in custom:
        if name in LAYERS or any(name in ours for _, ours in BASES.values()):
            ours = LAYERS.get(name)
            if ours is None or ours.__module__.startswith(f"{__package__}."):
                raise InputError(f"custom: expected another name than {name}, which is taken")
    return dict(custom)
