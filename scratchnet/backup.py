"""Exact resume: a killed training goes on and ends with the same bits as one never killed.

A training is a function of what it starts from. So a backup holds all that the next step depends
on: parameters and buffers, what the optimizer and the callbacks remember, the state of every random
stream, the epoch, its order and how many batches of it are done, the running means, the history.

Each backup is a file of its own, written whole or not at all. The one before is kept too, in case
that the disk damages the newest.
"""

import json
import re
import sys
import time
from contextlib import suppress
from dataclasses import is_dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import checkpoint, files, training_state
from .errors import InputError, is_whole
from .run import Callback
from .training_state import KIND, MOST_BATCHES, VERSION

#: what was not in the files of earlier versions
LATER = {"seed", "optimizer settings", "loss", "augmentation", "frozen", "source"}
LATER |= {"checksum of weights"}
FILE = re.compile(r"state-\d{10}\.safetensors")


class AnotherTrainingError(InputError):
    """A good state, but of another training: so would be the one before it."""


class BackupAndRestore(Callback):
    """Save the state of the training after every epoch, and go on from it when fit runs again.

    backup_dir   a folder for the backups, made where there is none; one for each training
    save_freq    "epoch", or a number of batches: after so many, too
    seconds      when so many have passed since the last backup, too

    The last two backups are kept. A script that was killed is started again as it was: fit finds
    the newest backup and goes on after the batch that it was written after. Of a training that
    has ended there is nothing left to do, and fit returns its history. `delete` clears the folder.
    A stop in the middle of an epoch (`stop_training`, set in another callback) is saved at once.

    Raises InputError where the backups belong to another training: other data, another batch size,
    another network, seed, optimizer, learning rate, augmentation or list of callbacks. A damaged
    file is named on stderr, and the one before it is used; if none is left, that is an InputError
    as well.
    """

    runs_last = True

    def __init__(
        self,
        backup_dir: str | PathLike,
        save_freq: str | int = "epoch",
        seconds: float | None = None,
    ) -> None:
        if save_freq != "epoch" and not is_whole(save_freq, 1):
            raise InputError(
                f'save_freq: expected "epoch" or a number of batches, found {save_freq!r}'
            )
        self.folder = Path(backup_dir)
        self.batches = None if save_freq == "epoch" else int(save_freq)
        self.seconds = seconds
        self.kept: list[Path] = []  # good ones, the newest last

    def on_train_begin(self, logs: dict[str, float]) -> None:
        self.kept = []
        self.saved_at = time.monotonic()
        found = self._found() if self.run.rank == 0 else None
        if self.run.shared is not None:  # the first of the processes reads for all
            found = self.run.shared.world.told(found)
        if found is not None:
            self._restore(*found)

    def _found(self) -> tuple[Path, dict[str, Any], dict[str, NDArray]] | None:
        """The newest good backup: its place, description and arrays."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: expected a folder: {error.strerror}") from None
        checkpoint.remove_leftovers(self.folder, "state-*")
        model, run = self.model, self.run
        #: what a backup must have in common with this training
        self.training = {
            **run.identity(),
            "batch size": run.batch_size,
            "input": [*model.input_shape, model.dtype.name],
            "network": [repr(layer) for layer in model.layers],
            "optimizer": type(model.optimizer).__name__,
            "callbacks": [type(callback).__name__ for callback in run.remembered],
            "seed": model.seed,
            "optimizer settings": _plain(model.optimizer.config()),
            "loss": [type(model.loss).__name__, _plain(model.loss.config())],
            "augmentation": _named(run.augment),
            "frozen": self._frozen(),
        }
        files = self._files()
        for number, path in reversed(list(enumerate(files))):
            try:
                description, arrays = checkpoint.load(path)
                self._check(path, description, arrays)
            except AnotherTrainingError:
                raise
            except InputError as error:
                if number == 0:
                    raise InputError(f"{error}; no backup before it is left") from None
                print(f"scratchnet: {error}; going on from the one before it", file=sys.stderr)
                continue
            self.kept = files[: number + 1]
            return path, description, arrays
        return None

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        due = self.model.stop_training
        due |= self.batches is not None and self._step() % self.batches == 0
        due |= self.seconds is not None and time.monotonic() - self.saved_at >= self.seconds
        if due:
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._save()

    def delete(self) -> None:
        """Delete all backups in the folder."""
        for path in self._files():
            files.remove(path)

    def _frozen(self) -> list[int]:
        """The numbers of the frozen layers, inner ones counted."""
        leaves = [leaf for layer in self.model.layers for leaf in layer.leaves()]
        return [number for number, leaf in enumerate(leaves) if not leaf.trainable]

    def _files(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if FILE.fullmatch(path.name))

    def _step(self) -> int:
        """Batches since the training began."""
        per_epoch = self.run.batches or MOST_BATCHES
        return self.run.epoch * per_epoch + self.run.batch

    # ---- one file ----------------------------------------------------------------------------

    def _save(self) -> None:
        run = self.run
        if run.rank > 0:  # it would save the same
            return
        arrays = {f"model/{name}": array for name, array in self.model.arrays().items()}
        if run.order is not None:
            arrays["order"] = run.order
        description = {
            "version": VERSION,
            "kind": KIND,
            "training": self.training,
            "frozen": self._frozen(),
            "epoch": run.epoch,
            "batch": run.batch,
            "means": run.means.state(),
            "history": {"epoch": run.history.epoch, "history": run.history.history},
            "random": {
                name: {"state": rng.bit_generator.state, "seed": rng.bit_generator.seed_seq.state}
                for name, rng in self.model.generators().items()
            },
            "optimizer": _numbers("optimizer", self.model.optimizer.state(), arrays),
            "callbacks": [
                _numbers(f"callback {i}", callback.state(), arrays)
                for i, callback in enumerate(run.remembered)
            ],
        }
        path = self.folder / f"state-{self._step():010}.safetensors"
        checkpoint.save(path, description, arrays)
        self.saved_at = time.monotonic()
        self.kept = [*(kept for kept in self.kept if kept != path), path][-2:]
        for old in self._files():
            if old not in self.kept:
                with suppress(OSError):  # who reads it, lets go of it before the next one
                    files.remove(old)

    def _check(self, path: Path, description: dict[str, Any], arrays: dict[str, NDArray]) -> None:
        """Raise unless the state is whole, and of this training."""
        theirs = description.get("training")
        if (
            description.get("kind") == KIND
            and isinstance(theirs, dict)
            and self.training.keys() - LATER <= theirs.keys()
        ):
            try:  # first: a state of another training may well have another form
                training_state.check_common(theirs, self.training, LATER)
            except InputError as error:
                raise AnotherTrainingError(f"{path}: {error}") from None
        try:
            training_state.check(description, arrays, self.run, self.model)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None

    def _restore(self, path: Path, description: dict[str, Any], arrays: dict[str, NDArray]) -> None:
        """Take over what `training_state.check` has found good."""
        run, model = self.run, self.model
        for i, callback in enumerate(run.remembered):  # first: one of a user's own may still refuse
            if callback.writes and run.rank > 0:
                continue
            numbers = description["callbacks"][i]
            state = training_state.part(f"callback {i}", numbers, arrays)
            try:
                callback.load_state(state)
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                raise InputError(
                    f"{path}: expected the state of {type(callback).__name__}, found one that it "
                    f"cannot load ({type(error).__name__}: {error})"
                ) from None
        state = training_state.part("optimizer", description["optimizer"], arrays)
        model.optimizer.load_state(state)
        for name, array in model.arrays().items():
            array[...] = arrays[f"model/{name}"]
        leaves = [leaf for layer in model.layers for leaf in layer.leaves()]
        for number, leaf in enumerate(leaves if "frozen" in description else ()):
            leaf.trainable = number not in description["frozen"]
        run.epoch, run.batch = description["epoch"], description["batch"]
        run.order = arrays.get("order")
        run.means.load_state(description["means"])
        run.history.epoch = description["history"]["epoch"]
        run.history.history = description["history"]["history"]
        for name, rng in model.generators().items():
            kept = description["random"][name]
            # in place, as unpickling does it: a layer may share its stream with others
            seed = np.random.SeedSequence(**kept["seed"])
            rng.bit_generator.__setstate__((kept["state"], seed))


def _numbers(owner: str, state: dict[str, Any], arrays: dict[str, NDArray]) -> dict[str, Any]:
    """The state without its arrays, which go into `arrays` under the owner's name."""
    own = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
    arrays |= {f"{owner}/{key}": value for key, value in own.items()}
    return {key: value for key, value in state.items() if key not in own}


def _plain(config: Any) -> Any:
    """The values as a file gives them back."""
    return json.loads(json.dumps(config, default=repr))


def _named(augment: Any) -> str | None:
    """An augmentation's settings, or a function's name."""
    if augment is None:
        return None
    if is_dataclass(augment):
        return repr(augment)
    return str(getattr(augment, "__qualname__", type(augment).__qualname__))
