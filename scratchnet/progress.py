"""How far a training is: a bar on a terminal, lines elsewhere."""

import sys
import time
from types import TracebackType
from typing import Any, Self, TextIO

from .errors import InputError
from .run import Callback


class Progress(Callback):
    """A bar on a terminal, a line an epoch elsewhere; nothing with verbose 0.

    verbose   "auto" or 1 choose by the file, 2 asks for lines
    file      where it goes; standard output by default
    """

    def __init__(self, verbose: str | int = "auto", file: TextIO | None = None) -> None:
        if verbose not in ("auto", 0, 1, 2):
            raise InputError(f'verbose: expected "auto", 0, 1 or 2, found {verbose!r}')
        self.file = file or sys.stdout
        self.lines = verbose != 0
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
            self.bar.stop()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float]) -> None:
        self.started = time.perf_counter()
        self.before = self.run.means.images  # where an epoch goes on after a crash
        epochs = self.run.epochs
        self.title = f"epoch {epoch + 1:>{len(str(epochs))}}/{epochs}"
        if self.bar:
            self.task = self.bar.add_task(self.title, total=self._whole(), figures="", speed="")

    def _whole(self) -> int | None:
        """An epoch in images, or in batches where the images are not known before, if they are."""
        return self.run.batches if self.run.images is None else self.run.images

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if self.bar:
            seen = self.run.means.images
            done = batch + 1 if self.run.images is None else seen
            seconds = time.perf_counter() - self.started
            speed = f"{(seen - self.before) / seconds:,.0f} images/s"
            self.bar.update(self.task, completed=done, figures=figures(logs), speed=speed)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        seconds = time.perf_counter() - self.started
        line = f"{self.title}  {figures(logs)}  {seconds:.1f} s"
        if self.bar:
            self.bar.remove_task(self.task)
            self.bar.console.print(line, highlight=False)
        elif self.lines:
            print(line, file=self.file, flush=True)


def figures(logs: dict[str, float]) -> str:
    """{"loss": 0.1, "accuracy": 0.98} -> "loss 0.1000  accuracy 98.00 %"."""
    return "  ".join(
        f"{key} {100 * value:.2f} %" if key.endswith(("accuracy", "acc")) else f"{key} {value:.4f}"
        for key, value in logs.items()
    )


def _bar(file: TextIO) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[figures]}"),
        TextColumn("{task.fields[speed]}"),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=Console(file=file),
        expand=True,
        refresh_per_second=8,
    )
