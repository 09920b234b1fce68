"""What a training state must look like: checked in one place, before anything of it is used.

backup.py writes and restores the states. A file may be whole and yet hold something else than what
was saved: then nothing of it is used, and the model, optimizer and callbacks stay as they are.
"""

import copy
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, is_whole, shown

#: of the files; one of another version is refused
VERSION = 1
KIND = "training state"
#: what every version of the file says of the training
SHARED = {"examples", "batch size", "network", "optimizer", "callbacks"}
#: a counter beyond that was never counted; file names have so many digits
MOST = 10**10
#: batches of an epoch whose length is not known
MOST_BATCHES = 10**5
#: entries in a random stream's seed and in its place among the spawned ones
MOST_SEEDS = 1000


def check(description: dict[str, Any], arrays: dict[str, NDArray], run: Any, model: Any) -> None:
    """Raise InputError unless that is a state which a training of this run and model can have."""
    found = {key: description.get(key) for key in ("kind", "version")}
    if found != {"kind": KIND, "version": VERSION}:
        raise InputError(
            f"expected a {KIND} of version {VERSION}, found "
            f"{shown(found['kind']) if found['kind'] else 'something else'} "
            f"of version {shown(found['version'])}"
        )
    for key in ("training", "means", "history", "random", "optimizer"):
        _dict(key, description.get(key))
    if missing := sorted(SHARED - description["training"].keys()):
        raise _wrong("training", ", ".join(missing), sorted(description["training"]))
    _check_place(description, arrays, run)
    _check_history(description["history"], description["epoch"])
    _check_random(description["random"], model.generators())
    if not isinstance(frozen := description.get("frozen", []), list):
        raise _wrong("frozen", "a list of layers' numbers", frozen)
    for number in frozen:
        check_whole("frozen", number)
    numbers = description.get("callbacks")
    if not isinstance(numbers, list) or len(numbers) != len(run.remembered):
        raise _wrong("callbacks", f"a list of {len(run.remembered)}", numbers)
    check_arrays("model", part("model", {}, arrays), model.arrays())
    model.optimizer.check_state(part("optimizer", description["optimizer"], arrays), model)
    for i, callback in enumerate(run.remembered):
        callback.check_state(part(f"callback {i}", _dict("callbacks", numbers[i]), arrays))
    owners = {"order", "model", "optimizer", *(f"callback {i}" for i in range(len(numbers)))}
    for name in arrays:
        if name.split("/")[0] not in owners:
            raise _wrong("arrays", "those of a training", name)


def part(owner: str, numbers: dict[str, Any], arrays: dict[str, NDArray]) -> dict[str, Any]:
    """One owner's state: its numbers, and its arrays, which lie among all under its name."""
    start = f"{owner}/"
    own = {name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)}
    return {**numbers, **own}


def check_arrays(what: str, found: dict[str, Any], like: dict[str, NDArray]) -> None:
    """Raise unless there are the same names as in `like`, with arrays of the same form."""
    for name in sorted(found.keys() | like.keys()):
        want, is_there = (
            f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else "nothing"
            for array in (like.get(name), found.get(name))
        )
        if want != is_there:
            raise InputError(f"{what} {name}: expected {want}, found {is_there}")


def check_whole(name: str, value: Any, most: int = MOST, least: int = 0) -> int:
    """value if it is an integer within the bounds, or raise."""
    if not is_whole(value, least) or value > most:
        raise _wrong(name, f"an integer from {least} to {most:,}", value)
    return int(value)


def check_real(name: str, value: Any) -> None:
    """Raise unless value is a number; NaN and infinity, which a training may reach, are."""
    if not isinstance(value, (int, float)) or isinstance(value, int) and abs(value) > 2**63:
        raise _wrong(name, "a number", value)


def _wrong(name: str, expected: str, found: Any) -> InputError:
    return InputError(f"{name}: expected {expected}, found {shown(found)}")


def _dict(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(name, "values by name", value)
    return value


def _check_place(description: dict[str, Any], arrays: dict[str, NDArray], run: Any) -> None:
    """Epoch, batch, the epoch's order, and the means over its batches so far."""
    images, batches = run.items, run.batches or MOST_BATCHES
    epoch = check_whole("epoch", description.get("epoch"))
    batch = check_whole("batch", description.get("batch"), batches)
    check_whole("batches", epoch * batches + batch, MOST - 1)
    order = arrays.get("order")
    if order is None and batch:
        raise _wrong("order", "the order of an epoch that has begun", order)
    if order is not None and (
        order.dtype != np.int64
        or order.shape != (images,)
        or not np.array_equal(np.sort(order), np.arange(images))
    ):
        raise InputError(
            f"order: expected each of {images} examples once, found another array "
            f"({order.dtype} {order.shape})"
        )
    means = description["means"]
    if means.keys() - {"metrics"} != {"images", "loss", "correct"}:
        raise _wrong("means", "images, loss and correct", sorted(means))
    seen = 0 if run.images is None else min(batch * run.batch_size, images)
    check_whole("images", means["images"], MOST if run.images is None else seen, seen)
    check_whole("correct", means["correct"], means["images"])
    check_real("loss", means["loss"])
    run.means.again().load_state(means)


def _check_history(kept: dict[str, Any], epoch: int) -> None:
    numbers, series = kept.get("epoch"), _dict("history", kept.get("history"))
    if not isinstance(numbers, list) or len(numbers) > epoch:
        raise _wrong("history", f"a list of at most {epoch} epochs", numbers)
    for before, number in zip([-1, *numbers], numbers, strict=False):
        check_whole("history", number, epoch - 1, before + 1)
    for name, values in series.items():
        if not isinstance(values, list) or len(values) != len(numbers):
            raise _wrong(f"history {name}", f"a list of {len(numbers)} numbers", values)
        for value in values:
            check_real(f"history {name}", value)


def _check_random(kept: dict[str, Any], streams: dict[str, np.random.Generator]) -> None:
    if kept.keys() != streams.keys():
        raise _wrong("random", f"the streams {', '.join(streams)}", sorted(kept))
    for name, rng in streams.items():
        one = _dict(f"random {name}", kept[name])
        if one.keys() != {"state", "seed"}:
            raise _wrong(f"random {name}", "state and seed", sorted(one))
        _check_seed(f"random {name} seed", one["seed"], rng)
        try:
            if not _alike(one["state"], rng.bit_generator.state):
                raise ValueError("another form")
            # on a generator of its own: only what it accepts, and holds then, is a state
            probe = copy.deepcopy(rng.bit_generator)
            probe.state = one["state"]
            if not _same(one["state"], probe.state):
                raise ValueError("another state")
        except (ValueError, TypeError, LookupError, OverflowError, AttributeError):
            raise _wrong(
                f"random {name}", f"a state of {type(rng.bit_generator).__name__}", one["state"]
            ) from None


def _check_seed(name: str, seed: Any, rng: np.random.Generator) -> None:
    mine = rng.bit_generator.seed_seq.state  # type: ignore[attr-defined]
    seed = _dict(name, seed)
    if seed.keys() != mine.keys() or seed.get("pool_size") != mine.get("pool_size"):
        raise _wrong(name, f"{', '.join(mine)}", seed)
    check_whole(name, seed["n_children_spawned"], 2**31)
    entropy, key = seed["entropy"], seed["spawn_key"]
    for numbers in (entropy if isinstance(entropy, list) else [entropy], key):
        good = isinstance(numbers, (list, tuple)) and len(numbers) <= MOST_SEEDS
        if not good or not all(is_whole(number, 0) for number in numbers):
            raise _wrong(name, "integers, none below 0", numbers)


def _alike(found: Any, like: Any) -> bool:
    """Whether both have the same keys and lengths, with integers in the same places."""
    if isinstance(like, dict):
        return (
            isinstance(found, dict)
            and found.keys() == like.keys()
            and all(_alike(found[key], like[key]) for key in like)
        )
    if isinstance(like, np.ndarray):
        return (
            isinstance(found, list)
            and len(found) == like.size
            and all(is_whole(number, 0) for number in found)
        )
    return found == like if isinstance(like, str) else is_whole(found, 0)


def _same(found: Any, like: Any) -> bool:
    """Whether two states that are `_alike` have the same numbers."""
    if isinstance(like, dict):
        return all(_same(found[key], like[key]) for key in like)
    return (
        bool(np.all(np.asarray(like) == found)) if isinstance(like, np.ndarray) else found == like
    )


def check_common(theirs: dict[str, Any], mine: dict[str, Any], later: AbstractSet[str]) -> None:
    """Raise unless the state is one of this training. Files may lack the keys of `later`."""
    for key, value in mine.items():
        if key in later and key not in theirs:
            continue
        if theirs.get(key) != value:
            raise InputError(
                f"expected a backup of this training, with {key} {value}, "
                f"found {_short(theirs.get(key))}"
            )


def _short(value: Any) -> str:
    return value[:1000] if isinstance(value, str) else shown(value, 1000)
