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

A batch may have a third part, how much each of its examples counts: (x, y, sample_weight).
So data may be larger than memory; one batch is there at a time. (Arrays that are memory-mapped do
not need it: `fit(np.load("x.npy", mmap_mode="r"), y)` reads the rows of each batch when it comes.)
"""

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, is_whole, shown
from .run import Run, Taken, order_of
from .targets import Weights, checked_weights

#: x, y, and how much each example counts, or None
Batch = tuple[NDArray, NDArray, NDArray | None]


class Steps(TypedDict, total=False):
    """The arguments that say how many batches there are.

    steps_per_epoch    how many batches are an epoch
    validation_steps   how many batches are a validation
    """

    steps_per_epoch: int | None
    validation_steps: int | None


class Further(Steps, Weights, total=False):
    """Further arguments of `Sequential.fit`; see there."""


class Row:
    """A Keras-like Sequence: batches by number. An epoch may take them in another order.

    steps    take only so many in an epoch; all of them without it
    """

    def __init__(self, batches: Any, steps: int | None = None) -> None:
        self.source, self.most = batches, steps
        self.begin()

    def begin(self) -> None:
        """Look how many batches there are now: their number may change from epoch to epoch."""
        self._first: Batch | None = None
        self.items = len(self.source)
        if not self.items:
            raise InputError("x: expected at least one batch, found none")
        if self.most is not None and self.most > self.items:
            raise InputError(
                f"steps: expected at most the {self.items} batches there are, found {self.most}"
            )
        self.steps: int | None = self.items if self.most is None else self.most

    def first(self) -> Batch:
        """Batch number 0, before the epoch begins."""
        if self._first is None:
            self._first = checked(self.source[0])
        return self._first

    def take(self, order: NDArray[np.int64] | None, number: int) -> Batch | None:
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
        self.peeked: list[Batch] = []
        self.taken = 0  # since the source began

    def begin(self) -> None: ...

    def first(self) -> Batch:
        if not self.peeked:
            found = self._next()
            if found is None:
                raise InputError("x: expected at least one batch, found none")
            self.peeked.append(found)
        return self.peeked[0]

    def take(self, order: NDArray[np.int64] | None, number: int) -> Batch | None:
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

    def _next(self) -> Batch | None:
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


def refuse_weights(sample_weight: Any) -> None:
    """Raise where weights stand beside a source of batches, not in it."""
    if sample_weight is not None:
        raise InputError(
            "sample_weight: expected it in the batches, (x, y, sample_weight), where x is a "
            "source of batches, found it beside them"
        )


def go_on(source: Any, epochs: int, batches: int = 0) -> None:
    """Leave out of a new stream the epochs, and batches, that were drawn before a crash."""
    if isinstance(source, Stream) and not source.taken:
        source.skip(epochs * (source.steps or 0) + batches)


def one_pass(x: Any, steps: int | None = None) -> Iterator[Batch]:
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


def checked(batch: Any) -> Batch:
    """A batch as arrays with as many examples, the last None without weights; or an InputError."""
    if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
        found = f"{len(batch)} parts" if isinstance(batch, (tuple, list)) else shown(batch, 40)
        raise InputError(f"x: expected batches (x, y) or (x, y, sample_weight), found {found}")
    x, y = (np.asarray(part) for part in batch[:2])
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y) or not len(x):
        raise InputError(
            f"x: expected batches of examples and as many labels, found {x.shape} and {y.shape}"
        )
    return x, y, checked_weights([*batch, None][2], len(x))


@dataclass(repr=False)
class SourceRun(Run):
    """A training on a source of batches, which is x; y is that of the first batch.

    ended          the epoch is over, where its length was not known before
    class_weight   of `fit`: how much each batch's examples count
    last           the batch that was taken last
    """

    ended: bool = False
    class_weight: Mapping[int, float] | None = None
    last: Batch | None = None

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
    def batches(self) -> int | None:
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
        weighted = ["with weights"] if self.source.first()[2] is not None else []
        classes = self.class_weight and repr(sorted(self.class_weight.items())).encode()
        return {
            "examples": 0,
            "checksum of x": 0,
            "checksum of y": 0,
            "checksum of weights": zlib.crc32(classes) if classes else None,
            "source": [name, self.source.steps, *weighted],
        }

    def seen(self) -> dict[str, NDArray]:
        x, y, _ = self.last or self.source.first()
        return {"x": x, "y": y}

    def take(self, batch: int) -> Taken | None:
        found: Batch | None = self.source.take(self.order, batch)
        self.ended = found is None
        if found is None:
            return None
        x, y, weights = self.last = found
        given = {"sample_weight": weights, "class_weight": self.class_weight}
        given = {name: value for name, value in given.items() if value is not None}
        return x[self.rows(len(x))], y, given

    def begin_epoch(self, rng: np.random.Generator | None) -> None:
        self.ended = False
        source = self.source
        source.begin()
        go_on(source, self.epoch - self.started, self.batch)
        if self.order is None:
            self.order = order_of(self.items, rng)

    def end_epoch(self, logs: dict[str, float]) -> None:
        super().end_epoch(logs)
        self.source.end()


def steps_of(
    images: int, batch_size: int, steps: int | None, name: str = "steps_per_epoch"
) -> int | None:
    """How many batches of arrays are asked for, if there are so many; None for all of them."""
    most = math.ceil(images / batch_size)
    if steps is None:
        return None
    if not is_whole(steps, 1) or steps > most:
        raise InputError(f"{name}: expected 1 to {most}, found {shown(steps)}")
    return int(steps)
