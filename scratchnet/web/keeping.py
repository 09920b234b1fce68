"""A training on its way into a folder of its own: there it leaves what the `train` command leaves.

So `scratchnet train --resume` goes on with it, also where the server was killed in the middle.
"""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

from .. import run_folder
from ..errors import InputError
from ..training import Callback
from .schemas import RunSettings

#: of the images, at most so many are held out
VALIDATION = 5000
#: the calls in which something is written
WRITING = ("on_train_begin", "on_batch_end", "on_epoch_end", "on_train_end")


def as_the_command_s(asked: RunSettings, images: int) -> run_folder.Settings:
    """A run's settings as the command has them, for so many images in all."""
    own: dict[str, Any] = {"augment": "none", "optimizer": asked.optimizer}
    if asked.recipe is not None:
        own = {"recipe": asked.recipe}
    return run_folder.Settings.chosen(
        **own,
        model=asked.architecture,
        epochs=asked.epochs,
        batch_size=asked.batch_size,
        lr=asked.learning_rate,
        seed=asked.seed,
        validation_split=min(VALIDATION, images // 10) / images,
        images=asked.images,
    )


@contextmanager
def kept_in(
    folder: Path | None,
    settings: run_folder.Settings,
    page: dict[str, Any],
    others_turn: Callable[[], AbstractContextManager[None]],
    complain: Callable[[Exception], None],
) -> Iterator[tuple[list[Callback], list[Callback]]]:
    """Inside, a training is the folder's: the callbacks that train, and those that keep it there.

    Without a folder, or where it can't be had, nothing is kept.

    page         what the page remembers of it, for its record
    others_turn  inside, others may run kernels: writing takes long
    complain     is told once what is amiss; the training goes on all the same
    """
    with ExitStack() as stack:
        first, last = settings.watched(Path(), {"train_seconds": 0.0}, run_folder.Stop())
        keep: list[Callback] = []
        if folder is not None:
            try:
                stack.enter_context(run_folder.in_folder(folder))
                record = run_folder.started_anew(folder, settings, page=page)
                first, last = settings.watched(folder, record, run_folder.Stop())
                let_go = _LetGo(others_turn, complain)
                keep = [let_go.of(callback) for callback in last]
            except (InputError, OSError) as error:
                complain(error)
        yield first, keep


@dataclasses.dataclass
class _LetGo:
    """Callbacks that leave off, all of them, when one can't write."""

    others_turn: Callable[[], AbstractContextManager[None]]
    complain: Callable[[Exception], None]
    failed: bool = False
    inside: bool = False  # of a call that is guarded already

    def of(self, callback: Callback) -> Callback:
        """The same one: a state names what it was saved among."""
        for name in WRITING:
            setattr(callback, name, self._guarded(getattr(callback, name)))
        return callback

    def _guarded(self, call: Callable[..., None]) -> Callable[..., None]:
        @wraps(call)
        def guarded(*arguments: Any) -> None:
            if self.failed:
                return
            if self.inside:
                call(*arguments)
                return
            self.inside = True
            try:
                if call.__name__ == "on_batch_end":  # of which hardly one writes
                    call(*arguments)
                else:
                    with self.others_turn():
                        call(*arguments)
            except (InputError, OSError) as error:
                self.failed = True
                self.complain(error)
            finally:
                self.inside = False

        return guarded
