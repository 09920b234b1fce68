"""Where a training's batches come from, besides arrays: rows of batches, and streams of them.

    class Pages:                                  # what Keras calls a Sequence
        def __len__(self):
            return 100                            # batches in an epoch
        def __getitem__(self, i):
            return x, y                           # batch number i, from 0
    model.fit(Pages(), epochs=5)

    def pages():                                  # a generator
        while True:
            yield x, y
    model.fit(pages(), steps_per_epoch=100, epochs=5)

So data may be larger than memory; one batch is there at a time. (Arrays that are memory-mapped do
not need it: `fit(np.load("x.npy", mmap_mode="r"), y)` reads the rows of each batch when it comes.)
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, is_whole, shown
from .run import Run, order_of

Data = tuple[NDArray, NDArray]


class Steps(TypedDict, total=False):
    """Further arguments of fit.

    steps_per_epoch    how many batches are an epoch
    validation_steps   how many batches are a validation
    """

    steps_per_epoch: int | None
    validation_steps: int | None


def check_names(given: Steps) -> None:
    """Raise TypeError, as Python would, for an argument that is none of these."""
    for name in given.keys() - Steps.__annotations__.keys():
        raise TypeError(f"fit() got an unexpected keyword argument {name!r}")


class Row:
    """A Keras-like Sequence: batches by number. An epoch may take them in another order.

    steps    take only so many in an epoch; all of them without it
    """

    def __init__(self, batches: Any, steps: int | None = None) -> None:
        self.source, self.most = batches, steps
        self.begin()

    def begin(self) -> None:
        """Look how many batches there are now: their number may change from epoch to epoch."""
        self._first: Data | None = None
        self.items = len(self.source)
        if not self.items:
            raise InputError("x: expected at least one batch, found none")
        if self.most is not None and self.most > self.items:
            raise InputError(
                f"steps: expected at most the {self.items} batches there are, found {self.most}"
            )
        self.steps: int | None = self.items if self.most is None else self.most

    def first(self) -> Data:
        """Batch number 0, before the epoch begins."""
        if self._first is None:
            self._first = checked(self.source[0])
        return self._first

    def take(self, order: NDArray[np.int64] | None, number: int) -> Data | None:
        """The batch that is number `number` of the epoch."""
        return checked(self.source[number if order is None else int(order[number])])

    def end(self) -> None:
        if callable(done := getattr(self.source, "on_epoch_end", None)):  # as Keras calls it
            done()


class Stream:
    """An iterable, or a generator, of batches, in the order in which they come.

    steps    so many are an epoch, and the next one goes on behind them; without it an epoch is all
             of what there is, which needs an iterable that can begin anew for a second one
    """

    items = 0

    def __init__(self, batches: Iterable[Any], steps: int | None = None) -> None:
        self.source, self.most = batches, steps
        self.steps = steps
        self.running: Iterator[Any] | None = None
        self.peeked: list[Data] = []
        self.taken = 0  # since the source began

    def begin(self) -> None: ...

    def first(self) -> Data:
        if not self.peeked:
            found = self._next()
            if found is None:
                raise InputError("x: expected at least one batch, found none")
            self.peeked.append(found)
        return self.peeked[0]

    def take(self, order: NDArray[np.int64] | None, number: int) -> Data | None:
        """The next batch; None at the end of an epoch whose length was not said."""
        found = self.peeked.pop() if self.peeked else self._next()
        if found is not None:
            self.taken += 1
            return found
        again, had = not isinstance(self.source, Iterator), self.taken
        self.running, self.taken = None, 0
        if self.most is None and number:
            return None
        if again and had:
            return self.take(order, number)
        wanted = f"{self.most} batches an epoch" if self.most else "batches for another epoch"
        raise InputError(
            f"x: expected {wanted}, found a generator that ended after {number} of them; give "
            "steps_per_epoch, or an iterable that can begin anew"
        )

    def skip(self, batches: int) -> None:
        """Draw so many batches and leave them out: they were trained on before a crash."""
        for number in range(batches):
            self.take(None, number)

    def end(self) -> None: ...

    def _next(self) -> Data | None:
        if self.running is None:
            self.running = iter(self.source)
        for batch in self.running:
            return checked(batch)
        return None


Source = Row | Stream


def of(x: Any, steps: int | None = None) -> Source:
    """x as a source of batches; InputError where it is none."""
    if steps is not None and not is_whole(steps, 1):
        raise InputError(f"steps: expected a whole number above 0, found {shown(steps)}")
    if isinstance(x, (Row, Stream)):
        return x
    if not isinstance(x, (np.ndarray, str, bytes, dict)):
        if hasattr(x, "__getitem__") and hasattr(x, "__len__"):
            return Row(x, steps)
        if isinstance(x, Iterable):
            return Stream(x, steps)
    raise InputError(
        "y: expected labels for x, or for x a row or generator of batches (x, y), found neither"
    )


def one_pass(x: Any, steps: int | None = None) -> Iterator[Data]:
    """The batches of one evaluation."""
    source = of(x, steps)
    source.begin()
    number = 0
    while source.steps is None or number < source.steps:
        batch = source.take(None, number)
        if batch is None:
            return
        yield batch
        number += 1
    source.end()


def inputs(x: Any) -> Iterator[NDArray] | None:
    """The inputs of batches that come one by one, with or without labels; None for an array."""
    if isinstance(x, (np.ndarray, list, tuple, str, bytes, dict)) or hasattr(x, "__array__"):
        return None
    row = hasattr(x, "__getitem__") and hasattr(x, "__len__")
    if not (row or isinstance(x, Iterable)):
        return None
    batches = (x[i] for i in range(len(x))) if row else iter(x)
    return (np.asarray(b[0] if isinstance(b, (tuple, list)) else b) for b in batches)


def checked(batch: Any) -> Data:
    """A batch as two arrays with as many examples, or an InputError."""
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        found = f"{len(batch)} parts" if isinstance(batch, (tuple, list)) else shown(batch, 40)
        raise InputError(f"x: expected batches (x, y), found {found}")
    x, y = (np.asarray(part) for part in batch)
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or not len(x):
        raise InputError(
            f"x: expected batches of examples and as many labels, found {x.shape} and {y.shape}"
        )
    return x, y


@dataclass
class SourceRun(Run):
    """A training on a source of batches, which is x; y is that of the first batch.

    ended     the epoch is over, where its length was not known before
    """

    ended: bool = False

    @property
    def source(self) -> Any:
        return self.x

    @property
    def images(self) -> int | None:
        return None

    @property
    def items(self) -> int:
        return int(self.source.items)

    @property
    def batches(self) -> int | None:  # type: ignore[override]
        if self.source.steps is not None:
            return int(self.source.steps)
        return self.batch if self.ended else None

    def some(self) -> NDArray:
        found: NDArray = self.source.first()[0]
        return found

    def identity(self) -> dict[str, Any]:
        """What a backup can know of the data."""
        kind = self.source.source
        name = getattr(kind, "__qualname__", type(kind).__qualname__)
        nothing = {"examples": 0, "checksum of x": 0, "checksum of y": 0}
        return {**nothing, "source": [name, self.source.steps]}

    def take(self, batch: int) -> Data | None:  # type: ignore[override]
        found: Data | None = self.source.take(self.order, batch)
        self.ended = found is None
        return found

    def begin_epoch(self, rng: np.random.Generator | None) -> None:
        self.ended = False
        source = self.source
        source.begin()
        done = (self.epoch - self.started) * (source.steps or 0) + self.batch
        if isinstance(source, Stream) and not source.taken and done:
            source.skip(done)  # a new stream, in the middle of a training
        if self.order is None:
            self.order = order_of(self.items, rng)

    def end_epoch(self, logs: dict[str, float]) -> None:
        super().end_epoch(logs)
        self.source.end()


def steps_of(images: int, batch_size: int, steps: int | None) -> int:
    """How many batches an epoch of arrays has: all, or as many of them as asked for."""
    most = math.ceil(images / batch_size)
    if steps is None:
        return most
    if not is_whole(steps, 1) or steps > most:
        raise InputError(f"steps_per_epoch: expected 1 to {most}, found {shown(steps)}")
    return int(steps)
