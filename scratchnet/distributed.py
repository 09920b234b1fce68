"""Several processes share a training: each has a part of every batch, and all end with one's bits.

    with sn.distributed.join() as world:      # started as: mpiexec -n 4 python script.py
        model.fit(x, y)                       # every process calls it, with the same arguments
        if world.rank == 0:
            model.save("model.safetensors")

Each process, a rank, has the whole network and takes its images of every batch, forward and back. A
gradient is a sum over images, so the batch's is the sum of the ranks' gradients. They are added by
an all-reduce in its two halves: each rank collects everybody's numbers for a piece of the gradient
and adds them up, then all send their piece to all. A rank sends and receives twice the gradient in
all, however many ranks there are. The halves run while backward goes on through the layers before.
Then every rank takes the same optimizer step. (Data parallelism: Li et al. 2020, "PyTorch
Distributed", arXiv:2006.15704; the all-reduce: Thakur, Rabenseifner and Gropp 2005, section 4.)

**The same bits.** Sums are made over fixed parts of a batch, and added in a fixed tree, in one
process as in several: engine/sums.py. 2, 4 and 8 ranks have whole branches of it. BatchNorm's sums
are gathered from all, so that its statistics are the batch's. All ranks draw the same random
numbers and use those of their images. The last layer's outputs are gathered, too: loss and metrics
are computed by every rank, of the whole batch, and so all ranks agree on what callbacks decide.

What every rank calls, or none: `fit`. All else, `evaluate` and `predict` included, is each
process's own. Callbacks run on all ranks, but for those that write files: these run on rank 0.

The transport is MPI, by mpi4py: `pip install "scratchnet[mpi]"`. It is imported by `join`, and only
in a process that a launcher of MPI's has started.
"""

import os
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine.memory import LOTS
from .engine.threads import bind, threads
from .errors import InputError, printable
from .run import Callback, Run

Array = NDArray[np.floating]

#: numbers of ranks that have whole branches of the tree of sums
SAME_BITS = tuple(2**k for k in range(LOTS.bit_length()))
#: where launchers say how many processes they started, and which one this is
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "PMIX_RANK")
#: seconds that a rank waits for a lower one to say the same error, and at most
PATIENCE, MOST_PATIENCE = 1.0, 4.0
#: seconds between two looks at what takes long
NAP = 0.02


def launched() -> bool:
    """Whether a launcher of MPI's, such as mpiexec, has started this process beside others."""
    said = [os.environ[name] for name in SIZES if name in os.environ]
    return any(number.isdecimal() and int(number) > 1 for number in said) or (
        not said and "PMIX_RANK" in os.environ
    )


def launched_as() -> int:
    """This process's rank as the launcher says it, before anything of MPI is loaded; 0 alone."""
    for name in RANKS:
        number = os.environ.get(name, "")
        if number.isdecimal() and launched():
            return int(number)
    return 0


def parts_of(n: int, size: int) -> list[int]:
    """Where each rank's part of n images begins, and at the end n: (size + 1,)."""
    if size in SAME_BITS:
        from .engine.memory import cut

        return [cut(n, size, rank) for rank in range(size + 1)]
    return [rank * n // size for rank in range(size + 1)]


def add_in_tree(parts: NDArray) -> NDArray:
    """The sum of parts (ranks, ...), neighbours first; it is in the first of them."""
    step = 1
    while step < len(parts):
        for number in range(0, len(parts) - step, 2 * step):
            parts[number] += parts[number + step]
        step *= 2
    return parts[0]


class World:
    """The ranks of a training.

    comm        mpi4py's communicator, or what has its methods; None for a process alone
    same_bits   refuse what cannot have the bits of one process

    rank, size  this process's number, from 0, and how many there are
    local_rank, local_size    the same among those on this machine
    bad         a rank in which numbers were no longer finite; None where there was none
    """

    def __init__(self, comm: Any = None, same_bits: bool = True) -> None:
        self.comm, self.same_bits = comm, same_bits
        self.rank: int = comm.Get_rank() if comm else 0
        self.size: int = comm.Get_size() if comm else 1
        self.local_rank, self.local_size = 0, 1
        self.bad: int | None = None
        self._rooms: dict[Any, NDArray] = {}
        self._starts: dict[int, list[int]] = {}
        if comm is None:
            return
        if same_bits and self.size not in SAME_BITS:
            known = ", ".join(map(str, SAME_BITS[:-1]))
            raise InputError(
                f"mpiexec: expected {known} or {SAME_BITS[-1]} processes, found {self.size}, whose "
                "sums have other bits than one's; --any-ranks, or same_bits=False, takes any number"
            )
        # collective calls of one communicator come in the same order everywhere; those that run
        # beside the backward pass have communicators of their own
        self.halves = comm.Dup(), comm.Dup()
        hosts = comm.allgather(os.uname().nodename if hasattr(os, "uname") else "")
        mine = [rank for rank, host in enumerate(hosts) if host == hosts[self.rank]]
        self.local_rank, self.local_size = mine.index(self.rank), len(mine)

    def __repr__(self) -> str:
        return f"World(rank={self.rank}, size={self.size})"

    def described(self) -> str:
        """How many processes of how many threads there are, and their numbers in the system."""
        found = self.comm.allgather((os.getpid(), threads()))
        numbers, each = zip(*found, strict=True)
        of = f"{min(each)}" if min(each) == max(each) else f"{min(each)} to {max(each)}"
        return f"{self.size} processes ({', '.join(map(str, numbers))}), threads in each: {of}"

    # ---- what ranks tell each other ----------------------------------------------------------

    def rows(self, n: int) -> slice:
        """Which of a batch's n images are this rank's."""
        starts = self.starts(n)
        return slice(starts[self.rank], starts[self.rank + 1])

    def starts(self, n: int) -> list[int]:
        """Where each rank's images begin among n, and where the last one's end."""
        if n not in self._starts:
            self._starts[n] = parts_of(n, self.size)
        return self._starts[n]

    def room(self, key: Any, shape: tuple[int, ...], dtype: Any) -> NDArray:
        """An array of that shape, in the same memory whenever it is asked for again."""
        size, dtype = int(np.prod(shape)), np.dtype(dtype)
        kept = self._rooms.get((key, dtype))
        if kept is None or kept.size < size:
            kept = self._rooms[key, dtype] = np.empty(size, dtype)
        return kept[:size].reshape(shape)

    def gathered(self, rows: Array, n: int) -> Array:
        """The rows (n, ...) of all ranks, of which these are this one's."""
        whole = self.room("rows", (n, *rows.shape[1:]), rows.dtype)
        each = int(np.prod(rows.shape[1:]))
        counts = [each * count for count in np.diff(self.starts(n)).tolist()]
        self.comm.Allgatherv(np.ascontiguousarray(rows), [whole, counts])
        return whole

    def stacked(self, key: Any, array: NDArray) -> NDArray:
        """The arrays of all ranks, of one shape, one after the other along the first axis."""
        whole = self.room(key, (self.size * len(array), *array.shape[1:]), array.dtype)
        self.comm.Allgather(np.ascontiguousarray(array), whole)
        return whole

    def agreed(self, *values: int | None) -> tuple[int, ...]:
        """The largest that any rank says, of each; None is less than all."""
        mine = np.array([[-1 if value is None else int(value) for value in values]], np.int64)
        return tuple(self.stacked("agreed", mine).max(axis=0).tolist())

    def told(self, value: Any = None) -> Any:
        """What rank 0 gave to this call."""
        return self.comm.bcast(value, 0)

    def whose(self) -> str:
        """In which rank numbers are no longer finite, as part of a sentence; "" if in all."""
        (bad,) = self.agreed(self.bad)
        return f" in rank {bad} of {self.size}" if bad >= 0 else ""

    def wait(self) -> None:
        """Until all ranks are here; asleep, since others may need the processor."""
        request = self.comm.Ibarrier()
        while not request.Test():
            time.sleep(NAP)

    def check_alike(self, what: str, value: Any) -> None:
        """Raise InputError where ranks have different values."""
        for rank, other in enumerate(self.comm.allgather(value)):
            if other != value:
                raise InputError(
                    f"{what}: expected the same in all processes, found {value} in rank "
                    f"{self.rank} and {other} in rank {rank}"
                )

    # ---- the end -----------------------------------------------------------------------------

    def fail(self, error: BaseException) -> None:
        """Say in one line which rank failed and why, and end all ranks.

        What has gone wrong everywhere is said once: the lower ranks come first.
        """
        time.sleep(min(PATIENCE * self.rank, MOST_PATIENCE))
        if isinstance(error, KeyboardInterrupt):
            code, reason = 130, "stopped"
        else:
            code = int(getattr(error, "exit_code", 1))  # 2 for wrong usage of the command
            told = getattr(error, "format_message", None)
            reason = str(error) if isinstance(error, InputError) else repr(error)
            if told is not None:
                reason = str(told())
            elif not isinstance(error, (InputError, OSError, MemoryError)):
                traceback.print_exception(error)
        line = f"scratchnet: rank {self.rank} of {self.size}: {printable(' '.join(reason.split()))}"
        print(line, file=sys.stderr, flush=True)
        self.abort(code)

    def abort(self, code: int) -> None:
        """End all ranks; MPI's own lines about it are left out."""
        try:
            sys.stdout.flush()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
        finally:
            self.comm.Abort(code)


_current: ContextVar[World | None] = ContextVar("world", default=None)


def current() -> World | None:
    """The world that `fit` shares its batches with; None for a process by itself."""
    return _current.get()


@contextmanager
def within(world: World) -> Iterator[World]:
    """Inside, `fit` shares its batches with the world's other ranks."""
    token = _current.set(world if world.size > 1 else None)
    try:
        yield world
    finally:
        _current.reset(token)


@contextmanager
def join(same_bits: bool = True) -> Iterator[World]:
    """Inside, every `fit` is shared by all processes that mpiexec has started.

    same_bits   refuse a number of processes, or a network, that cannot have the bits of one; False
                takes any

    The processes of one machine share its cores, and each is held to its own, unless the launcher
    has bound them or SCRATCHNET_THREADS says how many threads each has. What goes wrong in one
    process ends all of them, with a line on stderr and an exit code that is not 0.

    A process that no launcher has started is a World of one, and nothing is imported.
    """
    if not launched():
        with within(World()) as world:
            yield world
        return
    if "OMPI_COMM_WORLD_SIZE" in os.environ:  # else mpi4py's wheel loads MPICH, which cannot join
        os.environ.setdefault("MPI4PY_MPIABI", "openmpi")
    try:
        from mpi4py import MPI
    except ImportError as error:
        raise InputError(
            f'mpiexec: expected mpi4py, which pip install "scratchnet[mpi]" brings ({error})'
        ) from None
    if MPI.COMM_WORLD.Get_size() == 1:
        with within(World()) as world:
            yield world
        return
    broken = World.__new__(World)
    broken.comm = MPI.COMM_WORLD
    broken.rank, broken.size = MPI.COMM_WORLD.Get_rank(), MPI.COMM_WORLD.Get_size()
    try:
        world = World(MPI.COMM_WORLD, same_bits)
        _share_cores(world)
        with within(world):
            yield world
    except SystemExit as error:
        if error.code:
            broken.fail(RuntimeError(f"exit {error.code}"))
        raise
    except BaseException as error:
        broken.fail(error)
        raise


def _share_cores(world: World) -> None:
    """Give each rank of this machine its own cores: those it may use, among those who may."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    hosts = world.comm.allgather((os.uname().nodename if hasattr(os, "uname") else "", allowed))
    same = [rank for rank, found in enumerate(hosts) if found == hosts[world.rank]]
    bind(same.index(world.rank), len(same))


# ---- a model's training --------------------------------------------------------------------------


class Shared:
    """A model that is trained by all ranks of a world together."""

    def __init__(self, model: Any, world: World) -> None:
        from .engine.group import Single
        from .engine.share import RankShare

        self.model, self.world = model, world
        self.share: Any = RankShare(world)
        self.sum = GradientSum(world)
        alone = [group for group in model.groups() if isinstance(group, Single)]
        if alone and world.same_bits:
            raise InputError(
                f"{alone[0].layers[0].name}: expected a layer that the engine runs, found one that "
                "runs by itself, in NumPy; its sums depend on how a batch is shared. "
                "same_bits=False takes it as it is"
            )

    def begin(self, run: Run) -> None:
        """Let all ranks begin with what rank 0 has: weights, statistics, random streams."""
        counted = {"examples": run.items, "batch size": run.batch_size, "epochs": run.epochs}
        for what, value in counted.items():
            self.world.check_alike(what, value)
        model, streams = self.model, self.model.generators()
        mine = {
            "params": model.flat_params,
            "buffers": model.flat_buffers,
            "random": {name: rng.bit_generator.state for name, rng in streams.items()},
            "optimizer": model.optimizer.state(),
        }
        first = self.world.told(mine if self.world.rank == 0 else None)
        if self.world.rank == 0:
            return
        model.flat_params[:], model.flat_buffers[:] = first["params"], first["buffers"]
        model.optimizer.load_state(first["optimizer"])
        for name, rng in streams.items():
            rng.bit_generator.state = first["random"][name]

    def rows(self, n: int, augment: Any = None) -> slice:
        """Which images of a batch this rank has to read; all of them for an augmentation of the
        user's own, which may mix them."""
        return self.world.rows(n) if augment is None or hasattr(augment, "part") else slice(n)

    def augmented(self, augment: Any, x: NDArray, n: int) -> NDArray:
        """This rank's images, changed as they would be in the whole batch; x is what `rows` says"""
        rows, rng = self.world.rows(n), self.model.augment_rng
        if augment is None:
            return x
        if hasattr(augment, "part"):
            return augment.part(x, rng, n, rows.start)
        return augment(x, rng)[rows]

    def outputs(self, x: NDArray, n: int, training: bool) -> tuple[Any, Array]:
        """The loss function, and the outputs for the whole batch, x this rank's images of it."""
        model = self.model
        loss, groups = model._loss_on(model.groups())
        with self.share.of(n, groups):
            out = model._forward(model._batch(x), groups, training)
        return loss, self.world.gathered(out, n)

    def train_on_batch(
        self, x: NDArray, y: NDArray, weights: dict[str, Any]
    ) -> tuple[float, Array]:
        """As `Sequential.train_on_batch`: x this rank's images, y the labels of all."""
        from . import ending, regularizers
        from .targets import example_weights

        model, n = self.model, len(y)
        model.optimizer.use_raw(model)
        grads = model.flat_grads  # and so the layers' are views of it
        loss, out = self.outputs(x, n, training=True)
        counts = example_weights(y, model.output_shape, **weights)
        value = ending.loss_of(loss, out, y, counts)
        self.world.bad = None if np.isfinite(value) else self._whose(out, n)
        self.sum.begin(grads)
        runner = model._runner
        ran = runner.ran
        with self.share.of(n, ran):
            runner.ran = self._told(ran)
            model._backward(loss.backward()[self.world.rows(n)], need_dx=False)
            self.sum.finish()
        runner.ran = ran
        for part in model.frozen_parts():
            grads[part] = 0
        value += regularizers.add_gradients(model.layers)
        model.optimizer.step(model)
        return value, out

    def _whose(self, out: Array, n: int) -> int | None:
        """The first rank whose outputs are not finite, where not all are so."""
        starts = self.world.starts(n)
        bad = [not np.isfinite(out[a:b]).all() for a, b in zip(starts, starts[1:], strict=False)]
        return bad.index(True) if True in bad and False in bad else None

    def _told(self, groups: Sequence[Any]) -> list[Any]:
        """The groups, which tell `self.sum` when their gradients are there."""
        sizes = [sum(g.size for g in layer.grads.values()) for layer in self.model.layers]
        ends = dict(zip(map(id, self.model.layers), np.cumsum(sizes).tolist(), strict=True))
        starts = [ends[id(group.layers[-1])] for group in groups]
        return [
            _Told(group, self.sum, start)
            for group, start in zip(groups, [0, *starts], strict=False)
        ]


class Agreement(Callback):
    """Lets all ranks stop after the same batch, if one wants to."""

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.model.stop_training = self.run.shared.world.agreed(self.model.stop_training) == (1,)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.on_batch_end(epoch, logs)


class _Told:
    """A group whose gradients are added to the other ranks' as soon as they are there."""

    def __init__(self, group: Any, total: "GradientSum", start: int) -> None:
        self.group, self.total, self.start = group, total, start
        self.layers, self.uses_blas = group.layers, group.uses_blas

    def by_themselves(self) -> Any:
        return self.group.by_themselves()

    def backward(self, dy: Array, need_dx: bool = True) -> Any:
        dx = self.group.backward(dy, need_dx) if not need_dx else self.group.backward(dy)
        if self.total.world.rank > 0:
            for one in self.group.inner():
                if one.sums_whole:  # nothing to add: x + (-0) is x, also where x is -0
                    for grad in one.layers[0].grads.values():
                        grad.fill(-0.0)
        self.total.there(self.start)
        return dx


class Job:
    """A stretch of the gradient that is on its way.

    flat        it, (size,); counts: how much of it each rank adds up
    received    (ranks, mine): everybody's numbers for this rank's piece
    request     what is waited for; adding: the first half, in which pieces are collected
    """

    def __init__(self, flat: Array, counts: list[int], received: Array, request: Any) -> None:
        self.flat, self.counts, self.received = flat, counts, received
        self.request, self.adding = request, True


class GradientSum:
    """The sum of all ranks' gradients, made while backward goes on."""

    #: so many numbers are worth a message
    LEAST = 1 << 14

    def __init__(self, world: World) -> None:
        self.world = world
        self.bad: int | None = None

    def begin(self, flat: Array) -> None:
        """flat (size,): where the gradients will be, from its end to its beginning."""
        self.flat, self.end, self.start = flat, flat.size, flat.size
        self.jobs: list[Job] = []
        self.used, self.bad = 0, None
        #: what all stretches' pieces take, each rounded up
        most = flat.size + self.world.size * (flat.size // self.LEAST + 2)
        self.arena = self.world.room("pieces", (most,), flat.dtype)

    def there(self, start: int) -> None:
        """The gradients from `start` on are there."""
        self.start = start
        if self.end - start >= self.LEAST:
            self._send()
        self._go_on(wait=False)

    def finish(self) -> None:
        """Wait until the whole gradient is in `flat`."""
        if self.end > self.start:
            self._send()
        self._go_on(wait=True)
        for job in self.jobs:
            job.request.Wait()
        if self.bad is not None:
            self.world.bad = self.bad

    def _send(self) -> None:
        """Begin with what is there and has not been sent."""
        part, size = self.flat[self.start : self.end], self.world.size
        cuts = [rank * part.size // size for rank in range(size + 1)]
        counts = [b - a for a, b in zip(cuts, cuts[1:], strict=False)]
        mine = counts[self.world.rank]
        received = self.arena[self.used : self.used + size * mine]
        self.used += received.size
        collecting = self.world.halves[0]
        request = collecting.Ialltoallv([part, counts], [received, [mine] * size])
        self.jobs.append(Job(part, counts, received.reshape(size, mine), request))
        self.end = self.start

    def _go_on(self, wait: bool) -> None:
        """Add up what has come, and send it to all: in order, as every rank does."""
        for job in self.jobs:
            if not job.adding:
                job.request.Test()  # MPI goes on while it is called
                continue
            if wait:
                job.request.Wait()
            elif not job.request.Test():
                return
            total = add_in_tree(job.received) if len(job.received) else job.received
            if not np.isfinite(total).all() and self.bad is None:
                self.bad = self._whose(job.received)
            distributing = self.world.halves[1]
            job.request = distributing.Iallgatherv(total, [job.flat, job.counts])
            job.adding = False

    def _whose(self, received: Array) -> int | None:
        """A rank whose numbers are not finite; the first row has the sum of all now."""
        bad = [rank for rank in range(1, len(received)) if not np.isfinite(received[rank]).all()]
        return bad[0] if bad else 0
