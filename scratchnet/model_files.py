"""A model as a file: the description of its architecture, its arrays, and what compile chose.

checkpoint.py writes and reads the file itself; here is what stands in it.
"""

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from numpy.typing import NDArray

from . import checkpoint, metrics, optimizers, registering
from .errors import InputError, is_whole, shown
from .layers import Layer, described, from_description
from .layers.base import MOST_VALUES, Shape, shapes_along
from .layers.registry import CUSTOM, check_described
from .model import Sequential
from .ranges import Range
from .schedules import SCHEDULES, Function

#: the version of the description inside a saved model
FORMAT_VERSION = 1
#: the model in the folder that a run of the command leaves
MODEL_FILE = "model.safetensors"
#: axes of an input, without the batch's
MOST_AXES = 8
#: what one layer's windows may read of one image; each value is copied, or compared
MOST_READS = 2**29


def save(model: Sequential, path: str | PathLike) -> None:
    """Write a built model; see `Sequential.save`."""
    checkpoint.save(path, description_of(model), model.arrays())


def load(path: str | PathLike, custom: Mapping[str, type] | None = None) -> Sequential:
    """The model that `save` wrote; see `Sequential.load`."""
    kinds = registering.checked_custom(custom or {})
    path = file_of(path)
    description, arrays = checkpoint.load(path)
    before = CUSTOM.set(kinds)
    try:
        return _model_of(description, arrays)
    except InputError as error:
        raise InputError(f"{path}: {_cut(error)}") from None
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
            f"that cannot be read ({type(error).__name__}: {_cut(error)})"
        ) from None
    finally:
        CUSTOM.reset(before)


def file_of(path: str | PathLike) -> str | PathLike:
    """The path; where it is a run's folder, that of the model in it."""
    if not os.path.isdir(path):
        return path
    inside = os.path.join(path, MODEL_FILE)
    if not os.path.exists(inside):
        raise InputError(
            f"{os.fspath(path)}: expected a model file or a run's folder, "
            f"found a folder without {MODEL_FILE}"
        )
    return inside


def _cut(error: Exception, most: int = 2000) -> str:
    """The error's text; what a file holds may be as long as the file."""
    text = str(error)
    return text if len(text) <= most else f"{text[:most]}..."


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
    if model.trained_on and (trained_on := model.trained_on.description()):
        description["trained_on"] = trained_on
    if model.loss is not None and model.optimizer is not None:
        description["compile"] = {
            "optimizer": registering.name_of("optimizer", model.optimizer),
            "optimizer_config": _optimizer_config(model.optimizer),
            "loss": registering.name_of("loss", model.loss),
            "loss_config": model.loss.config(),
            "metrics": metrics.described(model.metrics),
        }
    return description


def _optimizer_config(optimizer: optimizers.Optimizer) -> dict[str, Any]:
    """The settings; in the place of a function of the step, the learning rate that it gives now."""
    config, rate = optimizer.config(), optimizer.learning_rate
    if isinstance(rate.schedule, Function):
        config["learning_rate"] = {"schedule": "Constant", "rate": float(rate)}
        warnings.warn(
            f"save: the learning rate is a function ({rate.schedule.name}), which a file can't "
            f"hold; its value now, {float(rate):g}, is saved",
            stacklevel=5,
        )
    elif type(rate.schedule).__name__ not in SCHEDULES:
        registering.name_of("schedule", rate.schedule)  # one that can be loaded again
    return config


def _model_of(description: dict[str, Any], arrays: dict[str, NDArray]) -> Sequential:
    if description.get("version") != FORMAT_VERSION:
        raise InputError(
            f"expected format version {FORMAT_VERSION}, found {description.get('version')!r}"
        )
    entries, sizes, dtype = (description.get(key) for key in ("layers", "input_shape", "dtype"))
    if not isinstance(entries, list) or not entries:
        raise InputError(f"layers: expected a list of layers, found {shown(entries)}")
    if not isinstance(sizes, list) or not sizes or not all(is_whole(size, 1) for size in sizes):
        raise InputError(f"input_shape: expected positive whole numbers, found {shown(sizes)}")
    if len(sizes) > MOST_AXES:
        raise InputError(f"input_shape: expected at most {MOST_AXES} axes, found {len(sizes)}")
    if dtype not in ("float32", "float64"):
        raise InputError(f"dtype: expected float32 or float64, found {shown(dtype)}")
    check_described(entries)
    layers = [from_description(entry) for entry in entries]
    input_shape = tuple(sizes)
    check_size(layers, input_shape)

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
    if "trained_on" in description:
        model.trained_on = Range.from_description(description["trained_on"])
    if "compile" in description:
        chosen = description["compile"]
        optimizer = _optimizer_of(chosen["optimizer"], chosen["optimizer_config"])
        loss = registering.named("loss", chosen["loss"])(**chosen["loss_config"])
        # not compile: a model of an earlier version may have a loss that does not suit its end
        model._choose(optimizer, loss, metrics.from_description(chosen["metrics"]))
    return model


def check_size(layers: Sequence[Layer], input_shape: Shape) -> None:
    """Raise where one image through the network would take more than a network of any use does."""
    values, reads = math.prod(input_shape), 0
    for layer, shape, _ in shapes_along(layers, input_shape):
        here = layer.footprint(shape)
        values, reads = values + here.values, max(reads, here.reads)
        if values > MOST_VALUES:
            raise InputError(
                f"expected at most {MOST_VALUES:,} values for one image, padding included, found "
                f"more at {layer.name}"
            )
        if reads > MOST_READS:
            raise InputError(
                f"expected windows that read at most {MOST_READS:,} values of one image, found "
                f"more at {layer.name}"
            )


def _optimizer_of(name: Any, config: dict[str, Any]) -> optimizers.Optimizer:
    """The optimizer that a file describes, also one of a user's own, with a schedule of theirs."""
    kind = registering.named("optimizer", name)
    rate = dict(config["learning_rate"])
    schedule = registering.named("schedule", rate.pop("schedule"))
    if name in optimizers.OPTIMIZERS and schedule.__name__ in SCHEDULES:
        return optimizers.from_config(name, config)
    found: optimizers.Optimizer = kind(**{**config, "learning_rate": schedule(**rate)})
    return found
