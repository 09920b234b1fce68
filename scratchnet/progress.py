"""How far a training is: a bar on a terminal, curves in a notebook, lines elsewhere."""

import math
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TextIO

from . import showing
from .errors import InputError
from .live import Live
from .run import Callback

#: columns from which there is room for a bar, the speed and the time left
ROOM = 78


class Progress(Callback):
    """A bar on a terminal, curves in a notebook, a line an epoch elsewhere; nothing with verbose 0.

    verbose   "auto" or 1 choose by the file, 2 asks for lines
    file      where it goes; standard output by default
    """

    def __init__(self, verbose: str | int = "auto", file: TextIO | None = None) -> None:
        if verbose not in ("auto", 0, 1, 2):
            raise InputError(f'verbose: expected "auto", 0, 1 or 2, found {verbose!r}')
        self.live: Live | None = None
        if verbose in ("auto", 1) and file is None and showing.in_notebook():
            self.live = Live()
        self.file = file or sys.stdout
        self.lines = verbose != 0
        self.done: tuple[int, dict[str, float]] | None = None  # batches of an open epoch, figures
        self.bar: Any = None
        if verbose in ("auto", 1) and self.file.isatty():
            self.bar = _bar(self.file)

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self.bar:
            self.bar.stop()  # and the bar is gone
        if self.done and self.done[0]:  # stopped within an epoch
            batches, logs = self.done
            self._print(f"{self.title}  {figures(logs)}  stopped in batch {batches:,}")
        if self.live and self.live.handle is not None:
            self.live.show(last=True)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        self.started = time.perf_counter()
        self.before = self.run.means.images  # where an epoch goes on after a crash
        epochs = self.run.epochs
        self.title = f"epoch {epoch + 1:>{len(str(epochs))}}/{epochs}"
        self.done = 0, {}
        if self.live:
            self.live.first, self.live.epochs = self.run.started, epochs
            self.summed = self.run.means.loss, self.before
        if self.bar:
            self.task = self.bar.add_task(self.title, total=self._whole(), figures="", speed="")

    def _whole(self) -> int | None:
        """An epoch in images, or in batches where the images are not known before, if they are."""
        return self.run.batches if self.run.images is None else self.run.images

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.done = batch + 1, logs
        if batch + 1 == self.run.batches:
            self.done = None
        seen = self.run.means.images
        done = batch + 1 if self.run.images is None else seen
        seconds = time.perf_counter() - self.started
        speed = f"{(seen - self.before) / seconds:,.0f} images/s"
        if self.live:
            self._follow(self.live, done / (self._whole() or math.inf), logs, speed)
        if self.bar:
            self.bar.update(self.task, completed=done, figures=figures(logs), speed=speed)

    def _follow(self, live: Live, part: float, logs: dict[str, float], speed: str) -> None:
        """Into the curves what the last batch was; part: how much of the epoch is done."""
        means, (loss, images) = self.run.means, self.summed
        self.summed = means.loss, means.images
        at = self.run.epoch + part
        live.batch(at, (means.loss - loss) / max(means.images - images, 1), logs)
        live.state = f"{self.title}  {figures(logs)}  {speed}"
        live.share = (at - live.first) / max(live.epochs - live.first, 1)
        live.show()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        seconds = time.perf_counter() - self.started
        if self.bar:
            self.bar.remove_task(self.task)
        line = f"{self.title}  {figures(logs)}  {seconds:.1f} s"
        if self.live:
            self.live.epoch(epoch + 1, logs, line)
        else:
            self._print(line)

    def _print(self, line: str) -> None:
        if self.live:
            self.live.lines.append(line)
        elif self.bar:
            self.bar.console.print(line, highlight=False)
        elif self.lines:
            with suppress(OSError):  # a full disk under the lines must not cost the training
                print(line, file=self.file, flush=True)


def figures(logs: dict[str, float]) -> str:
    """{"loss": 0.1, "accuracy": 0.98} -> "loss 0.1000  accuracy 98.00 %"."""
    return "  ".join(f"{key} {showing.figure(key, value)}" for key, value in logs.items())


def _bar(file: TextIO) -> Any:
    from rich.console import Console
    from rich.padding import Padding
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar
    from rich.table import Column

    console = Console(file=file, markup=False, emoji=False)
    title = TextColumn("{task.description}", markup=False)
    shown = TextColumn("{task.fields[figures]}", markup=False)
    folded = TextColumn("{task.fields[figures]}", markup=False, table_column=Column())
    left = TimeRemainingColumn(compact=True), TextColumn("left", markup=False)
    speed = TextColumn("{task.fields[speed]}", markup=False)
    wide = title, BarColumn(bar_width=None), shown, speed, *left
    narrow = title, TaskProgressColumn(), folded

    class Fitting(Bar):
        """Without what a narrow terminal has no room for; the ^C of Ctrl-C fits beside it."""

        def get_renderables(self) -> Iterator[Any]:
            self.columns = wide if console.width >= ROOM else narrow
            yield Padding(self.make_tasks_table(self.tasks), (0, 3, 0, 0))

    return Fitting(console=console, expand=True, refresh_per_second=8, transient=True)
