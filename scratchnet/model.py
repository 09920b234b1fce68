"""Sequential: a row of layers, trained end to end.

Forward is the layers one after the other; backward is the same row in reverse, each layer handing
its dx to the one before as its dy: `forward_through` and `backward_through` below. The rest gives
these two loops the surface that Keras users know.
"""

import copy
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from os import PathLike
from typing import TYPE_CHECKING, Any, Protocol, TextIO, Unpack

import numpy as np
from numpy.typing import DTypeLike, NDArray

from . import ending, losses, optimizers, regularizers, training
from .backend import backend
from .engine import threads
from .errors import InputError, is_whole, shown
from .flat import Flat, training_alone
from .layers import Layer
from .layers.base import join
from .looking import Looking
from .losses import Loss, SparseCategoricalCrossentropy
from .metrics import Chosen, checked
from .optimizers import Optimizer
from .ranges import EXAMPLES, Watch
from .sources import Further, inputs
from .summary import short_name, show_plan
from .targets import Weights, example_weights
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


class Sequential(Looking):
    """A model whose layers follow one another.

    layers        in order. One that is built already, in another model, keeps its weights, and both
                  models share them, as in Keras: `Sequential(base.layers[:-2] + [Dense(26)])`.
                  After a layer with activation="relu" comes ReLU(), as a layer of its own
    input_shape   of one example, without the batch axis, such as (28, 28, 1). Without it the model
                  is built when it first sees data.
    seed          of the initial weights, the dropout, the shuffling and the augmentation; or a
                  Generator
    dtype         float32 to train, float64 to check gradients
    fuse          let groups run several layers at once (see engine/plan.py); False: one by one

    flat_params, flat_grads   all parameters, and their gradients, as one array each; every layer's
                  `params` and `grads` are views into them. Where models share layers, the arrays
                  are views of the model's that was asked last: ask again after another trained
    flat_buffers  all running statistics likewise
    trainable     False freezes all layers, True lets all learn; the model's is True if one learns
    class_names   what the classes are called, saved with the model; 0, 1, ... unless set

    Images may come as (n, h, w, c), as rows (n, h*w*c) or one (h*w*c,), and as (n, h, w) or (h, w)
    where the model wants one channel. uint8 images are scaled from 0..255 to 0..1; other numbers
    are taken as they are. An InputWarning says, once for a model, where images look as if they were
    meant to be scaled, or lie in another range than those the model was trained on (see ranges.py).

    Several Python threads may predict and evaluate with one model at once; each has buffers of its
    own. One at a time may train, also of models that share layers. What another thread predicts
    meanwhile is right for weights of which some are from before a step and some from after it.

    Layers that models share are one: what one model learns, the other knows, gradients and running
    statistics included, and freezing a layer freezes it in both. The optimizer's memory, the plan
    and all buffers are each model's own. Where two models' rows would have two layers of one name,
    or need a layer at another size, the new row has a twin of it: another object with the same
    arrays. `copy.deepcopy(model)` and `layer.copy()` share nothing.
    """

    _checked_end: Any = None

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
        self._flats = self._flattened([])
        self.loss: Loss | None = None
        self.optimizer: Optimizer | None = None
        self.metrics: list[Chosen] = []
        self.stop_training = False
        self._watch = Watch()
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
        for i, layer in enumerate(self.layers):
            self.layers[i] = layer.joined(shape, self.init_rng, self.dtype)
            shape = self.layers[i].output_shape
        self._flats = self._flattened(self.layers)
        self.input_shape = tuple(int(d) for d in input_shape)

    def _check_not_empty(self) -> None:
        if not self.layers:
            raise InputError("Sequential: expected at least one layer, found none")

    def _flattened(self, layers: Sequence[Layer]) -> dict[str, Flat]:
        return {store: Flat(layers, store, self.dtype) for store in ("params", "grads", "buffers")}

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
        if x.shape[1:] == want:
            return x
        rows = len(want) == 3 and 0 < x.ndim < 3 and x.shape[-1] == math.prod(want)
        if rows and x.shape != want[:2]:
            x = x.reshape(-1, *want)  # (n, h*w*c) or (h*w*c,): rows as a table has them
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
        left_out = ("_runners", "_training", "_flats")
        return {key: value for key, value in vars(self).items() if key not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"_watch": Watch()} | state)
        self._runners, self._training = threading.local(), threading.RLock()
        self._flats = self._flattened(self.layers if self.built else [])

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
        if self._flats["params"].layers != self.layers:
            self._flats = self._flattened(self.layers)

    def plan(self) -> None:
        """Print which groups run which layers."""
        self._check_built("plan")
        show_plan(self.groups())

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
        for layer in self._by_themselves(groups):
            layer.ran_in(runner.token)
        return y

    @staticmethod
    def _by_themselves(groups: "list[Single | Group]") -> Iterator[Layer]:
        """The layers that keep in themselves what backward needs, and not in a group."""
        for group in groups:
            yield from group.by_themselves()

    def _backward(self, dy: Array, need_dx: bool) -> Array | None:
        """need_dx False: not further back than the first layer that learns; what is frozen then has
        gradients of zero."""
        runner = getattr(self._runners, "runner", None)
        if runner is None or runner.ran is None:
            raise RuntimeError("Sequential: backward needs a forward before it, in the same thread")
        dy, ran = np.asarray(dy, self.dtype), runner.ran
        if dy.shape != runner.out_shape:
            raise InputError(f"Sequential: expected dy {runner.out_shape}, found {dy.shape}")
        if not all(layer.has_run_in(runner.token) for layer in self._by_themselves(ran)):
            raise RuntimeError(
                "Sequential: expected its own forward to be the last of its layers, found that of "
                "another model which shares some; call forward again before backward"
            )
        learns = [any(layer.learns for layer in group.layers) for group in ran]
        first = 0 if need_dx else learns.index(True) if True in learns else len(learns)
        row, dx = ran[first:], dy if need_dx else None
        if row:
            with self._threads_for(ran, len(dy)):
                dx = row[0].backward(backward_through(row[1:], dy), need_dx)
        if not need_dx and (frozen := self.frozen_parts()):
            for part in frozen:
                self.flat_grads[part] = 0
        return dx

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

    def loss_and_gradients(
        self, x: Any, y: NDArray, training: bool = True, **weights: Unpack[Weights]
    ) -> float:
        """One forward and one backward pass; the gradients are then in the layers (and flat).

        Both with the penalties of the layers' regularizers.

        weights: sample_weight or class_weight, see `fit`."""
        return self._loss_and_gradients(x, y, training, weights)[0]

    def _loss_and_gradients(
        self, x: Any, y: NDArray, training: bool, weights: Weights
    ) -> tuple[float, Array]:
        x = self._batch(x)
        if training and not self._watch.noted:
            self._watch.train(x)
        if self._checked_end != (self.loss, self.layers[-1]):
            ending.check(self.layers, self.loss)
            self._checked_end = self.loss, self.layers[-1]
        loss, groups = self._loss_on(self.groups())
        out = self._forward(x, groups, training)
        value = ending.loss_of(loss, out, y, example_weights(y, self.output_shape, **weights))
        self._backward(loss.backward(), need_dx=False)
        return value + regularizers.add_gradients(self.layers), out

    def _loss_on(self, groups: list[Any]) -> tuple[Any, list[Any]]:
        """The loss, and the groups whose output it takes.

        Softmax, or a sigmoid, and a cross-entropy on probabilities become one: see ending.py.
        """
        fused = self._fuses and groups is self.groups()
        loss, groups = ending.fold(self._compiled_loss(), self.layers, groups)
        if fused and type(loss) is SparseCategoricalCrossentropy and loss.from_logits:
            return self._runner.cross_entropy(loss), groups
        return loss, groups

    # ---- Keras's surface ---------------------------------------------------------------------

    def compile(
        self,
        optimizer: str | Optimizer = "adam",
        loss: str | Loss | None = None,
        metrics: Sequence[Chosen] = (),
    ) -> None:
        """Choose what to learn by.

        optimizer, loss   by name, see optimizers.OPTIMIZERS and losses.LOSSES, or made by you
        metrics           names, see metrics.METRICS; a Metric; any function of (y_true, y_pred)

        A loss that cannot be meant for the model's end is an InputError, here or when a model that
        is not built yet first learns; layers and losses of your own are taken as they are.
        """
        found = None if loss is None else losses.get(loss)
        if self.built:
            ending.check(self.layers, found)
        self._choose(optimizers.get(optimizer), found, metrics)

    def _choose(self, optimizer: Optimizer, loss: Loss | None, metrics: Sequence[Chosen]) -> None:
        self.metrics = checked(metrics)
        self.optimizer, self.loss = optimizer, loss

    def _compiled_loss(self) -> Loss:
        if self.loss is None:
            raise RuntimeError("Sequential: call compile(optimizer, loss) first")
        return self.loss

    def train_on_batch(self, x: Any, y: NDArray, **weights: Unpack[Weights]) -> tuple[float, Array]:
        """Gradients and one optimizer step; returns the loss and the outputs before the step.

        Where softmax is folded into the loss, the outputs are the logits. They are the model's own
        memory, valid until it runs again. The weights are those of `fit`.
        """
        if self.optimizer is None:
            raise RuntimeError("Sequential: call compile(optimizer, loss) first")
        self.optimizer.use_raw(self)
        found = self._loss_and_gradients(x, y, True, weights)
        self.optimizer.step(self)
        return found

    def fit(
        self,
        x: Any,
        y: NDArray | None = None,
        batch_size: int = 32,
        epochs: int = 1,
        verbose: str | int = "auto",
        callbacks: Sequence[Callback] = (),
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        initial_epoch: int = 0,
        progress_file: TextIO | None = None,
        augment: Augment | None = None,
        **further: Unpack[Further],
    ) -> History:
        """Train on x (n, ...) and y (n,) or (n, k); returns the history.

        x without y        batches (x, y), or (x, y, sample_weight): an object with `len` and `[i]`,
                           as Keras's Sequence, or a generator or other iterable (see sources.py)
        steps_per_epoch    how many batches are an epoch; needed for a generator without an end

        verbose            "auto" or 1: a bar on a terminal, curves in a notebook, lines
                           elsewhere; 2: lines; 0: silent
        validation_split   this fraction, the last part, is held out and evaluated every epoch
        validation_data    (x, y), (x, y, sample_weight), or batches, evaluated every epoch instead
        validation_steps   how many batches of it; needed for a generator without an end
        initial_epoch      where to start counting, to go on with an earlier training
        progress_file      where the progress goes; standard output by default
        augment            called with each batch of images, as they are in x, and a Generator:
                           returns what to train on instead (see datasets.augmentation)
        sample_weight      (n,), how many times each example counts in the loss, which is divided by
                           the number of examples all the same, as in Keras; metrics don't use it
        class_weight       {class: weight}, the same by the examples' classes, 1 where none is given

        A loss, or weights at the end, that are not finite are a RuntimeWarning, once; the training
        goes on, as in Keras. callbacks.StopOnNaN makes it an error, with the last good weights.
        """
        self._compiled_loss()
        self._check_not_empty()
        if not self._training.acquire(blocking=False):
            raise RuntimeError("Sequential: fit is running in another thread")
        with training_alone(self.layers, self._training):
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
                **further,
            )

    def evaluate(
        self,
        x: Any,
        y: NDArray | None = None,
        batch_size: int = 32,
        verbose: str | int = "auto",
        return_dict: bool = False,
        sample_weight: Any = None,
        steps: int | None = None,
    ) -> float | list[float] | dict[str, float]:
        """The loss, or [loss, *metrics] where there are any, over all of x and y.

        The loss includes the penalties of the layers' regularizers, as in training.

        x without y     batches, see `fit`
        sample_weight   (n,), of the loss, see `fit`; batches have their own
        steps           so many batches, where that is not all there are
        """
        logs = training.evaluate(self, x, y, batch_size, sample_weight, steps)
        if verbose:
            print(training.figures(logs))
        if return_dict:
            return logs
        return list(logs.values()) if self.metrics else logs["loss"]

    def predict(self, x: Any, batch_size: int = 32, verbose: str | int = 0) -> Array:
        """The outputs for x (n, ...), batch by batch: (n, *output_shape); nothing for backward.

        x may also be batches as `fit` takes them, with labels, which are left out, or without.
        """
        if not isinstance(x, np.ndarray) or not x.ndim:
            if (parts := inputs(x)) is not None:
                return np.concatenate([self.predict(part, batch_size) for part in parts])
            x = np.atleast_1d(x)
        training.check_count("batch_size", batch_size, 1)
        found = None
        if self.built:
            rows = x.ndim < 3 and len(self.input_shape) == 3
            if rows and (x.ndim == 1 or x.shape == self.input_shape[:2]):
                x = x[None]  # one image, as a row or (h, w)
            first = self._batch(x[:EXAMPLES])
            self._watch.predict(first)
            found = self._predict_one(first) if len(x) == 1 else None
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

    def __repr__(self) -> str:
        inside = ", ".join(short_name(layer) for layer in self.layers)
        return f"Sequential([{inside}], input_shape={self.input_shape})"

    # ---- files -------------------------------------------------------------------------------

    def save(self, path: str | PathLike) -> None:
        """Architecture, weights, and what compile chose, to one safetensors file, atomically."""
        from . import model_files

        self._check_built("save")
        model_files.save(self, path)

    @classmethod
    def load(cls, path: str | PathLike, custom: Mapping[str, type] | None = None) -> "Sequential":
        """The model that `save` wrote, or the one in a run's folder.

        Nothing is executed, and sizes are checked first.

        custom    classes of your own that the file names, by these names: layers, losses,
                  optimizers, schedules. Those with `sn.register` before them need not be named.
        """
        from . import model_files

        return model_files.load(path, custom)


def _is_utf8(text: str) -> bool:
    """Not so with half a surrogate pair, as in the name of a file that is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def load_model(path: str | PathLike, custom: Mapping[str, type] | None = None) -> Sequential:
    """The model that `Sequential.save` wrote to path, or the one in a run's folder."""
    return Sequential.load(path, custom)
