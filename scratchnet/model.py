"""Sequential: a row of layers, trained end to end.

Forward is the layers one after the other; backward is the same row in reverse, each layer handing
its dx to the one before as its dy: `forward_through` and `backward_through` below. The rest gives
these two loops the surface that Keras users know.
"""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol, TextIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import losses, optimizers, regularizers, summary, training
from .backend import backend
from .engine import threads
from .engine.memory import flat_zeros
from .errors import InputError, is_whole, shown
from .layers import Layer, Softmax
from .layers.base import join
from .losses import CategoricalCrossentropy, Loss, SparseCategoricalCrossentropy
from .optimizers import Optimizer
from .summary import Row
from .training import Augment, Callback, History

if TYPE_CHECKING:
    from .engine.group import Group, Single
    from .engine.runner import Runner

Array = NDArray[np.floating]
Shape = tuple[int, ...]

#: characters; as many as a folder's name may have
LONGEST_CLASS_NAME = 255


class Runs(Protocol):
    """What the two loops need: a layer has it, and so has a group of layers."""

    def forward(self, x: Array, training: bool) -> Array: ...

    def backward(self, dy: Array) -> Any: ...


def forward_through(row: Sequence[Runs], x: Array, training: bool) -> Array:
    """Each layer's output y is the next one's input x."""
    for layer in row:
        x = layer.forward(x, training)
    return x


def backward_through(row: Sequence[Runs], dy: Array) -> Array:
    """Each layer's dx is the dy of the one before it."""
    for layer in reversed(row):
        dy = layer.backward(dy)
    return dy


class Sequential:
    """A model whose layers follow one another.

    layers        in order; each instance belongs to one model. After a layer with activation="relu"
                  comes ReLU(), as a layer of its own
    input_shape   of one example, without the batch axis, such as (28, 28, 1). Without it the model
                  is built when it first sees data.
    seed          of the initial weights, the dropout, the shuffling and the augmentation; or a
                  Generator
    dtype         float32 to train, float64 to check gradients
    fuse          let groups run several layers at once (see engine/plan.py); False: one by one

    flat_params, flat_grads   all parameters, and their gradients, as one array each; every layer's
                  `params` and `grads` are views into them
    flat_buffers  all running statistics likewise
    class_names   what the classes are called, saved with the model; 0, 1, ... unless set

    Images may come as (n, h, w, c), and as (n, h, w) or (h, w) where the model wants one channel.
    uint8 images are scaled from 0..255 to 0..1; other numbers are taken as they are.

    Several Python threads may predict and evaluate with one model at once; each has buffers of its
    own. One at a time may train. What another thread predicts meanwhile is right for weights of
    which some are from before a step and some from after it.
    """

    # None before the model is built; everything that reads it comes after that
    input_shape: Shape

    def __init__(
        self,
        layers: Sequence[Layer] = (),
        input_shape: Shape | None = None,
        seed: int | np.random.Generator | None = 0,
        dtype: DTypeLike = np.float32,
        fuse: bool = True,
    ) -> None:
        self.layers: list[Layer] = []
        self.fuse = fuse
        self.dtype = np.dtype(dtype)
        if self.dtype not in (np.float32, np.float64):
            raise InputError(f"dtype: expected float32 or float64, found {self.dtype}")
        # streams apart, so that the order of the batches does not depend on the architecture
        streams = np.random.default_rng(seed).spawn(3)
        self.seed = int(seed) if isinstance(seed, (int, np.integer)) else None
        self.init_rng, self.shuffle_rng, self.augment_rng = streams
        self.input_shape = None  # type: ignore[assignment]
        self.flat_params = np.zeros(0, self.dtype)
        self.flat_grads = np.zeros(0, self.dtype)
        self.flat_buffers = np.zeros(0, self.dtype)
        self.loss: Loss | None = None
        self.optimizer: Optimizer | None = None
        self.metrics: list[str] = []
        self.stop_training = False
        self._class_names: tuple[str, ...] | None = None
        self._runners = threading.local()
        self._training = threading.RLock()
        for layer in layers:
            self.add(layer)
        if input_shape is not None:
            self.build(input_shape)

    # ---- building ----------------------------------------------------------------------------

    def add(self, layer: Layer) -> None:
        """Append a layer; not after the model has been built."""
        if self.built:
            raise RuntimeError("Sequential: add layers before the model is built")
        join(self.layers, layer, "Sequential")

    @property
    def built(self) -> bool:
        return self.input_shape is not None

    @property
    def output_shape(self) -> Shape:
        return self.layers[-1].output_shape

    @property
    def class_names(self) -> tuple[str, ...]:
        self._check_built("class_names")
        return self._class_names or tuple(map(str, range(self.output_shape[-1])))

    @class_names.setter
    def class_names(self, names: Sequence[str]) -> None:
        self._check_built("class_names")
        classes = self.output_shape[-1]
        if isinstance(names, str) or not isinstance(names, Sequence) or len(names) != classes:
            raise InputError(f"class_names: expected {classes} texts, found {shown(names)}")
        for name in names:
            if not isinstance(name, str) or len(name) > LONGEST_CLASS_NAME or not _is_utf8(name):
                raise InputError(
                    f"class_names: expected {classes} texts of at most {LONGEST_CLASS_NAME} "
                    f"characters that UTF-8 has, found {shown(name)}"
                )
        self._class_names = tuple(names)

    def build(self, input_shape: Shape) -> None:
        """Take memory for the parameters and initialize them."""
        if self.built:
            raise RuntimeError(f"Sequential: already built for input {self.input_shape}")
        self._check_not_empty()
        if not input_shape or not all(is_whole(d, 1) for d in input_shape):
            raise InputError(f"input_shape: expected positive whole numbers, found {input_shape!r}")
        shape = tuple(int(d) for d in input_shape)
        for layer in self.layers:
            shape = layer.build(shape, self.init_rng, self.dtype)
        self._flatten_all()
        self.input_shape = tuple(int(d) for d in input_shape)

    def _check_not_empty(self) -> None:
        if not self.layers:
            raise InputError("Sequential: expected at least one layer, found none")

    def _flatten_all(self) -> None:
        self.flat_params, self.flat_grads = self._flatten("params"), self._flatten("grads")
        self.flat_buffers = self._flatten("buffers")

    def _flatten(self, store: str) -> Array:
        """Move all arrays of every layer's store of that name into one; they become views of it."""
        places = [
            (arrays, key) for arrays in (getattr(at, store) for at in self.layers) for key in arrays
        ]
        size = sum(arrays[key].size for arrays, key in places)
        flat = flat_zeros(size, self.dtype)[:size]
        start = 0
        for arrays, key in places:
            old = arrays[key]
            arrays[key] = flat[start : start + old.size].reshape(old.shape)
            arrays[key][:] = old
            start += old.size
        return flat

    def _input(self, x: Any) -> Array:
        """x as the first layer wants it: batch axis, channel axis, dtype, 0..1; a copy."""
        return np.array(self._numbers(self._batch(x)))

    def _batch(self, x: Any) -> NDArray:
        """x with its batch and channel axes, its numbers as they are."""
        x = np.asarray(x)
        if x.dtype.kind not in "uifb":
            raise InputError(f"x: expected an array of numbers, found dtype {x.dtype}")
        if not self.built:
            self.build(x.shape[1:] if x.ndim != 3 else (*x.shape[1:], 1))
        want = self.input_shape
        if len(want) == 3 and want[2] == 1 and x.shape[-2:] == want[:2] and x.ndim in (2, 3):
            x = x.reshape(-1, *want)  # (n, h, w) or (h, w) -> (n, h, w, 1)
        if x.shape[1:] != want:
            sizes = ", ".join(map(str, want))
            raise InputError(f"x: expected shape (n, {sizes}), found {x.shape}")
        return x

    def generators(self) -> dict[str, np.random.Generator]:
        """Every stream of random numbers that training draws from, by name."""
        leaves = [leaf for layer in self.layers for leaf in layer.leaves()]
        own = {"init": self.init_rng, "shuffle": self.shuffle_rng, "augment": self.augment_rng}
        inner = {f"layer {i}": leaf.rng for i, leaf in enumerate(leaves) if hasattr(leaf, "rng")}
        return own | inner

    def __getstate__(self) -> dict[str, Any]:
        """For pickles: without what belongs to this process, and the flat arrays, which the layers'
        arrays are views of."""
        left_out = ("_runners", "_training", "flat_params", "flat_grads", "flat_buffers")
        return {key: value for key, value in vars(self).items() if key not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._runners, self._training = threading.local(), threading.RLock()
        self._flatten_all()

    def __copy__(self) -> "Sequential":
        """Another model of the same layers, with the same memory: what one learns, both know."""
        new = object.__new__(type(self))
        vars(new).update(vars(self))
        new.layers = list(self.layers)
        new._runners, new._training = threading.local(), threading.RLock()
        return new

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sequential":
        """A model of its own; plain copying would tear the layers from the flat arrays."""
        new = object.__new__(type(self))
        memo[id(self)] = new
        new.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return new

    # ---- the two loops -----------------------------------------------------------------------

    @property
    def _fuses(self) -> bool:
        return self.fuse and backend() == "numba"

    def groups(self) -> "list[Single | Group]":
        """The layers, grouped by what runs them now: groups of the engine, or each by itself."""
        return self._runner.groups(self._fuses)

    @property
    def _runner(self) -> "Runner":
        """This thread's groups and buffers, for the layers as they are now."""
        runner: Runner | None = getattr(self._runners, "runner", None)
        if runner is None or runner.layers != self.layers:
            from .engine import runner as engine

            self._take_over_layers()
            runner = engine.Runner(self.layers, self.input_shape, self.dtype)
            self._runners.runner = runner
        return runner

    def _take_over_layers(self) -> None:
        """Let what was done to the list of layers since build be seen, or refuse it."""
        self._check_not_empty()
        shape = self.input_shape
        for layer in self.layers:
            if layer.input_shape != shape:
                found = "one that is not built" if layer.input_shape is None else layer.input_shape
                raise InputError(
                    f"Sequential: expected {layer.name or layer} to be built for input {shape}, "
                    f"found {found}; make a new Sequential of changed layers"
                )
            shape = layer.output_shape
        if sum(layer.params[key].size for layer in self.layers for key in layer.params) != (
            self.flat_params.size
        ):
            self._flatten_all()

    def plan(self) -> None:
        """Print which groups run which layers."""
        self._check_built("plan")
        for group in self.groups():
            print(group)

    def forward(self, x: Any, training: bool = False) -> Array:
        """x (n, *input_shape) -> the last layer's output."""
        return self._forward(self._batch(x), self.groups(), training).copy()

    def backward(self, dy: Array) -> Array:
        """dL/d(output) -> dL/dx; leaves every parameter's gradient in `flat_grads`."""
        dx = self._backward(dy, need_dx=True)
        assert dx is not None
        return dx.copy()

    def _forward(self, x: NDArray, groups: "list[Single | Group]", training: bool) -> Array:
        x = self._numbers(x)
        with self._threads_for(groups, len(x)):
            y = forward_through(groups, x, training)
        runner = self._runner
        runner.ran, runner.out_shape = groups, y.shape
        return y

    def _backward(self, dy: Array, need_dx: bool) -> Array | None:
        """need_dx False: not further back than the first layer that learns."""
        runner = getattr(self._runners, "runner", None)
        if runner is None or runner.ran is None:
            raise RuntimeError("Sequential: backward needs a forward before it, in the same thread")
        dy, ran = np.asarray(dy, self.dtype), runner.ran
        if dy.shape != runner.out_shape:
            raise InputError(f"Sequential: expected dy {runner.out_shape}, found {dy.shape}")
        learns = [any(layer.params for layer in group.layers) for group in ran]
        first = 0 if need_dx else learns.index(True) if True in learns else len(learns)
        row = ran[first:]
        if not row:
            return dy
        with self._threads_for(ran, len(dy)):
            return row[0].backward(backward_through(row[1:], dy), need_dx)

    def _numbers(self, x: NDArray) -> Array:
        """x, which `_batch` returned, in the model's dtype; bytes as 0..1."""
        if x.dtype != np.uint8:
            return x.astype(self.dtype, copy=False)
        if not self._fuses:
            return np.divide(x, 255, dtype=self.dtype)
        return self._runner.pixels(x)

    @staticmethod
    def _threads_for(groups: list[Any], n: int) -> AbstractContextManager[None]:
        """One thread for BLAS, where a group uses it; one for all where there is one image."""
        if any(group.uses_blas for group in groups):
            return threads.one_blas_thread()
        return threads.one_thread() if n == 1 else nullcontext()

    def __call__(self, x: Any, training: bool = False) -> Array:
        return self.forward(x, training)

    def loss_and_gradients(self, x: Any, y: NDArray, training: bool = True) -> float:
        """One forward and one backward pass; the gradients are then in the layers (and flat).

        Both with the penalties of the layers' regularizers.
        """
        return self._loss_and_gradients(x, y, training)[0]

    def _loss_and_gradients(self, x: Any, y: NDArray, training: bool) -> tuple[float, Array]:
        x = self._batch(x)
        loss, groups = self._loss_on(self.groups())
        out = self._forward(x, groups, training)
        value = loss.forward(out, y)
        self._backward(loss.backward(), need_dx=False)
        return value + regularizers.add_gradients(self.layers), out

    def _loss_on(self, groups: list[Any]) -> tuple[Any, list[Any]]:
        """The loss, and the groups whose output it takes.

        Softmax and a cross-entropy on probabilities become one: see losses.py for the derivation.
        """
        loss, fused = self._compiled_loss(), self._fuses and groups is self.groups()
        if isinstance(loss, CategoricalCrossentropy) and self._softmax_is_folded():
            loss, groups = copy.copy(loss), groups[:-1]
            loss.from_logits = True
        if fused and type(loss) is SparseCategoricalCrossentropy and loss.from_logits:
            return self._runner.cross_entropy(loss), groups
        return loss, groups

    def _softmax_is_folded(self) -> bool:
        """Whether the last layer and the loss are Softmax and a cross-entropy on probabilities.

        Not subclasses, which run as they are written.
        """
        loss = self.loss
        known = type(loss) in (CategoricalCrossentropy, SparseCategoricalCrossentropy)
        on_probabilities = known and not getattr(loss, "from_logits", True)
        return on_probabilities and type(self.layers[-1]) is Softmax

    # ---- Keras's surface ---------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | Optimizer = "adam",
        loss: str | Loss | None = None,
        metrics: Sequence[str] = (),
    ) -> None:
        """Choose what to learn by. metrics: "accuracy", or nothing."""
        self.optimizer = optimizers.get(optimizer)
        self.loss = None if loss is None else losses.get(loss)
        unknown = [name for name in metrics or () if name != "accuracy"]
        if unknown:
            raise InputError(f'metrics: expected "accuracy", found {unknown[0]!r}')
        self.metrics = list(metrics or ())

    def _compiled_loss(self) -> Loss:
        if self.loss is None:
            raise RuntimeError("Sequential: call compile(optimizer, loss) first")
        return self.loss

    def train_on_batch(self, x: Any, y: NDArray) -> tuple[float, Array]:
        """Gradients and one optimizer step; returns the loss and the outputs before the step.

        Where softmax is folded into the loss, the outputs are the logits. They are the model's own
        memory, valid until it runs again.
        """
        if self.optimizer is None:
            raise RuntimeError("Sequential: call compile(optimizer, loss) first")
        self.optimizer.use_raw(self)
        found = self._loss_and_gradients(x, y, training=True)
        self.optimizer.step(self)
        return found

    def fit(
        self,
        x: NDArray,
        y: NDArray,
        batch_size: int = 32,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Sequence[Callback] = (),
        validation_split: float = 0.0,
        validation_data: tuple[NDArray, NDArray] | None = None,
        shuffle: bool = True,
        initial_epoch: int = 0,
        progress_file: TextIO | None = None,
        augment: Augment | None = None,
    ) -> History:
        """Train on x (n, ...) and y (n,) or (n, k); returns the history.

        verbose            "auto" or 1: a bar on a terminal, lines elsewhere; 2: lines; 0: silent
        validation_split   this fraction, the last part, is held out and evaluated every epoch
        validation_data    (x, y) to evaluate every epoch instead
        initial_epoch      where to start counting, to go on with an earlier training
        progress_file      where the progress goes; standard output by default
        augment            called with each batch of images, as they are in x, and a Generator:
                           returns what to train on instead (see datasets.augmentation)
        """
        self._compiled_loss()
        self._check_not_empty()
        if not self._training.acquire(blocking=False):
            raise RuntimeError("Sequential: fit is running in another thread")
        try:
            return training.fit(
                self,
                x,
                y,
                batch_size=batch_size,
                epochs=epochs,
                callbacks=callbacks or (),
                validation_split=validation_split,
                validation_data=validation_data,
                shuffle=shuffle,
                initial_epoch=initial_epoch,
                augment=augment,
                progress=training.Progress(verbose, progress_file),
            )
        finally:
            self._training.release()

    def evaluate(
        self,
        x: NDArray,
        y: NDArray,
        batch_size: int = 32,
        verbose: str | int = "auto",
        return_dict: bool = False,
    ) -> float | list[float] | dict[str, float]:
        """The loss, or [loss, accuracy] where accuracy is a metric, over all of x and y.

        The loss includes the penalties of the layers' regularizers, as in training.
        """
        x, y = training.paired(x, y)
        training.check_count("batch_size", batch_size, 1)
        means, price = training.Means(self.metrics), regularizers.penalty(self.layers)
        for x_batch, y_batch in training.batches(x, y, batch_size):
            x_batch = self._batch(x_batch)
            loss, groups = self._loss_on(self.groups())
            out = self._forward(x_batch, groups, training=False)
            means.add(loss.forward(out, y_batch) + price, out, y_batch)
        logs = means.logs()
        if verbose:
            print(training.figures(logs))
        if return_dict:
            return logs
        return list(logs.values()) if self.metrics else logs["loss"]

    def predict(self, x: NDArray, batch_size: int = 32, verbose: str | int = 0) -> Array:
        """The outputs for x (n, ...), batch by batch: (n, *output_shape); nothing for backward."""
        x = np.atleast_1d(x)
        training.check_count("batch_size", batch_size, 1)
        if self.built and len(self.input_shape) == 3 and x.shape == self.input_shape[:2]:
            x = x[None]  # one image, (h, w)
        found = self._predict_one(self._batch(x)) if len(x) == 1 and self.built else None
        if found is None:
            starts = range(0, max(len(x), 1), batch_size)
            found = np.concatenate([self.forward(x[i : i + batch_size]) for i in starts])
            self._runner.ran = None  # nothing is kept for backward
        return found

    def _predict_one(self, x: NDArray, prepare: bool = False) -> Array | None:
        """The output for one image, by native code made for it; None where there is none."""
        if not self._fuses:
            return None
        runner = self._runner
        one, runner.ran = runner.prepared(), None
        if one is None:
            if not (prepare or runner.is_time_to_prepare()):
                return None
            with self._threads_for(runner.groups(fuse=True), 1):
                one = runner.prepare()
        if one is None:
            return None
        if not one.following:  # nothing in it uses more than this thread
            return one.predict(x)
        with self._threads_for(one.groups, 1):
            return one.predict(x)

    def prepare(self) -> None:
        """Do now what `predict` does by itself at the hundredth single image, to be fast for more.

        Its loops are compiled, where they are not yet, and called from one native function. For
        the Python thread that calls it.
        """
        self._check_built("prepare")
        self._predict_one(np.zeros((1, *self.input_shape), np.uint8), prepare=True)

    # ---- looking at it -----------------------------------------------------------------------

    def rows(self) -> Iterator[Row]:
        """What `summary` prints, as data: one Row a layer.

        A layer made of others has no numbers of its own; these follow it, called after it:
        "residual.main.conv2d".
        """
        self._check_built("summary")
        yield from summary.rows(self)

    def count_params(self) -> int:
        """The number of learnt values."""
        return self.flat_params.size

    def summary(self, print_fn: Callable[[str], Any] | None = None) -> None:
        """Print a table: layer, output shape, parameters, multiply-adds an image."""
        from rich.console import Console

        self._check_built("summary")
        console = Console(width=None if print_fn is None else 100)
        if print_fn is None:
            console.print(summary.table(self))
        else:
            with console.capture() as captured:
                console.print(summary.table(self))
            print_fn(captured.get())

    def _repr_html_(self) -> str:
        return summary.html_table(self)

    def __repr__(self) -> str:
        inside = ", ".join(summary.short_name(layer) for layer in self.layers)
        return f"Sequential([{inside}], input_shape={self.input_shape})"

    def _check_built(self, what: str) -> None:
        if not self.built:
            raise RuntimeError(f"{what}: the model has no input shape yet; build it first")

    # ---- files -------------------------------------------------------------------------------

    def save(self, path: str | PathLike) -> None:
        """Architecture, weights, and what compile chose, to one safetensors file, atomically."""
        from . import model_files

        self._check_built("save")
        model_files.save(self, path)

    def parameters(self) -> dict[str, Array]:
        """All parameters by name, such as "conv2d.W"; views of flat_params."""
        return {
            f"{layer.name}.{key}": array
            for layer in self.layers
            for key, array in layer.params.items()
        }

    def arrays(self) -> dict[str, Array]:
        """All parameters and buffers by name, such as "conv2d.W"; the model's own memory."""
        return {
            f"{layer.name}.{key}": array
            for layer in self.layers
            for key, array in (layer.params | layer.buffers).items()
        }

    @classmethod
    def load(cls, path: str | PathLike) -> "Sequential":
        """The model that `save` wrote. Nothing is executed, and sizes are checked first."""
        from . import model_files

        return model_files.load(path)


def _is_utf8(text: str) -> bool:
    """Not so with half a surrogate pair, as in the name of a file that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def load_model(path: str | PathLike) -> Sequential:
    """The model that `Sequential.save` wrote to path."""
    return Sequential.load(path)
