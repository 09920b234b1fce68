"""A model as a file: the description of its architecture, its arrays, and what compile chose.

checkpoint.py writes and reads the file itself; here is what stands in it.
"""

from collections.abc import Mapping
from os import PathLike
from typing import Any

from numpy.typing import NDArray

from . import checkpoint, losses, optimizers
from .errors import InputError
from .layers import described, from_description
from .layers.base import Shape, shapes_along
from .model import Sequential

#: the version of the description inside a saved model
FORMAT_VERSION = 1
#: a file that names more is not a model of ours
MOST_LAYERS = 1000


def save(model: Sequential, path: str | PathLike) -> None:
    """Write a built model; see `Sequential.save`."""
    checkpoint.save(path, description_of(model), model.arrays())


def load(path: str | PathLike) -> Sequential:
    """The model that `save` wrote; see `Sequential.load`."""
    description, arrays = checkpoint.load(path)
    try:
        return _model_of(description, arrays)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
        RecursionError,
    ) as error:
        raise InputError(
            f"{path}: expected a model description of version {FORMAT_VERSION}, found one "
            f"that cannot be read ({type(error).__name__}: {error})"
        ) from None


def description_of(model: Sequential) -> dict[str, Any]:
    """All of the model but its arrays, in values that JSON knows."""
    description: dict[str, Any] = {
        "version": FORMAT_VERSION,
        "input_shape": model.input_shape,
        "dtype": model.dtype.name,
        "layers": [described(layer) for layer in model.layers],
    }
    if model._class_names:
        description["class_names"] = model._class_names
    if model.loss is not None and model.optimizer is not None:
        description["compile"] = {
            "optimizer": _name_in(optimizers.OPTIMIZERS, model.optimizer),
            "optimizer_config": model.optimizer.config(),
            "loss": _name_in(losses.LOSSES, model.loss),
            "loss_config": model.loss.config(),
            "metrics": model.metrics,
        }
    return description


def _model_of(description: dict[str, Any], arrays: dict[str, NDArray]) -> Sequential:
    if description.get("version") != FORMAT_VERSION:
        raise InputError(
            f"expected format version {FORMAT_VERSION}, found {description.get('version')!r}"
        )
    if len(description["layers"]) > MOST_LAYERS:
        raise InputError(f"expected at most {MOST_LAYERS:,} layers, found more")
    layers = [from_description(entry) for entry in description["layers"]]
    input_shape, dtype = tuple(description["input_shape"]), description["dtype"]

    # what the architecture needs against what the file holds, before memory is taken for it
    expected: dict[str, Shape] = {}
    for layer, shape, _ in shapes_along(layers, input_shape):
        inner = layer.parameter_shapes(shape) | layer.buffer_shapes(shape)
        expected |= {f"{layer.name}.{key}": size for key, size in inner.items()}
    for name in sorted(expected.keys() | arrays.keys()):
        want = f"{dtype} {expected[name]}" if name in expected else "nothing"
        found = f"{arrays[name].dtype} {arrays[name].shape}" if name in arrays else "nothing"
        if found != want:
            raise InputError(f"{name}: expected {want}, found {found}")

    model = Sequential(layers, input_shape, dtype=dtype)
    for name, array in model.arrays().items():
        array[:] = arrays[name]
    if "class_names" in description:
        model.class_names = description["class_names"]
    if "compile" in description:
        chosen = description["compile"]
        optimizer = optimizers.from_config(chosen["optimizer"], chosen["optimizer_config"])
        loss = losses.LOSSES[chosen["loss"]](**chosen["loss_config"])
        model.compile(optimizer, loss, chosen["metrics"])
    return model


def _name_in(known: Mapping[str, type], thing: object) -> str:
    for name, kind in known.items():
        if type(thing) is kind:
            return name
    raise InputError(f"save: expected one of {', '.join(known)}, found {type(thing).__name__}")
