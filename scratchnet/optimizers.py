"""Optimizers: from a gradient to a step.

All parameters of a model are one flat array and so are its gradients; an optimizer is one pass over
the two, `optimizer.step(model)`. What it remembers between steps (momentum, Adam's averages) is its
own and flat, too.
"""

import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from . import schedules
from .errors import InputError, check_number, is_whole, shown
from .optimizer_steps import adam_step, average_step, sgd_step
from .schedules import SCHEDULES, Constant, Rate, Schedule  # noqa: F401

Array = NDArray[np.floating]
LearningRate = float | Schedule | Callable[[int], float]

#: steps; more were never done
MOST_ITERATIONS = 10**15
#: what of a state is no array
NO_ARRAYS = {"iterations", "learning_rate"}


def _weak(thing: Any) -> Callable[[], Any]:
    """A function that gives the thing while it lives; one that can't be watched lives on."""
    try:
        return weakref.ref(thing)
    except TypeError:
        return lambda: thing


class HasParameters(Protocol):
    """What a step needs of a model: its parameters and their gradients, flat and of one size.

    flat_buffers        running statistics; for `use_ema` alone
    parameters()        views of flat_params by name; for AdamW's exceptions alone
    frozen_parts(store) may be there: slices of flat_params ("params") and of flat_buffers
                        ("buffers") that no step changes
    """

    @property
    def flat_params(self) -> Array: ...

    @property
    def flat_grads(self) -> Array: ...

    @property
    def flat_buffers(self) -> Array: ...

    def parameters(self, frozen: bool = True) -> dict[str, Array]: ...


class Optimizer:
    """What all optimizers share: a learning rate, clipped gradients, averaged weights.

    learning_rate     a number, a Schedule, or a function of the step (from 0). It may be changed
                      at any time, `optimizer.learning_rate = 0.01` or `*= 0.5`, and reads as the
                      rate of the next step. `iterations` counts the steps done. A file can't hold a
                      function: see schedules.Function.
    global_clipnorm   a gradient longer than this, all parameters together, is scaled down to it:
                      g <- g * clip / max(|g|, clip). A rare huge step cannot throw the weights far.
                      Source: Pascanu, Mikolov and Bengio 2013, algorithm 1.
    clipvalue         every entry of the gradient is brought into [-clip, clip]; one of the two
    weight_decay      before each step every parameter shrinks by lr * weight_decay, apart from the
                      gradient (decoupled, as in Keras); AdamW has it by default. It keeps weights
                      small that the loss does not need.
                      Source: Loshchilov and Hutter 2019, algorithm 2.
    exclude_from_weight_decay   last parts of the names of parameters that don't. Decay is meant for
                      weights that multiply activations; ("b", "gamma", "beta") leaves biases and
                      BatchNorm alone, whose size is no sign of overfitting (He et al. 2019, "Bag of
                      Tricks", 3.1).
    use_ema           follow the weights with an exponential moving average,
                      average <- ema_momentum * average + (1 - ema_momentum) * weights,
                      which begins with the weights after the first step. The steps of SGD and Adam
                      jump about a minimum, and the average lies nearer to it.
                      Source: Polyak and Juditsky 1992; Keras for the names and the beginning.

    With use_ema, `fit` evaluates with the averages, and the model holds them afterwards. The raw
    weights wait in the optimizer, and training goes on from them exactly. BatchNorm's running
    statistics are averaged with the same momentum: those of the last steps belong to weights that
    are newer than the average. (PyTorch's AveragedModel does the same with use_buffers=True; the
    other way, Izmailov et al. 2018, section 3.2, is one more pass over the training set.)

    Frozen layers (`layer.trainable = False`) are left out of all of it: their weights, what is
    remembered of them and their averages stay, weight decay passes over them, and the length of a
    gradient is that of the others. Where they let others learn on both sides, `update` is called
    once for each stretch of parameters that learn; `self._memory(key, params)` is of that stretch.
    """

    #: the arrays that it has after a step, besides averages
    remembers: tuple[str, ...] = ()
    #: the model whose steps it remembers, and its parameters
    _learnt_from: tuple[Callable[[], Any], ...] = ()
    #: `update` takes `decay_of_all` off the parameters in its own pass over them
    decays_in_update = False
    #: since the constructor; then the rate is part of the state
    rate_was_assigned = False

    def __init__(
        self,
        learning_rate: LearningRate,
        *,
        global_clipnorm: float | None = None,
        clipvalue: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        weight_decay: float | None = None,
        exclude_from_weight_decay: Sequence[str] = (),
    ) -> None:
        if global_clipnorm is not None and clipvalue is not None:
            raise InputError("clipping: expected global_clipnorm or clipvalue, found both")
        for name, clip in (("global_clipnorm", global_clipnorm), ("clipvalue", clipvalue)):
            if clip is not None:
                check_number(name, clip, above=0)
        # under the property's name, where copies and pickles of earlier versions have it as well
        vars(self)["learning_rate"] = schedules.of(learning_rate)
        self.global_clipnorm, self.clipvalue = global_clipnorm, clipvalue
        self.use_ema = bool(use_ema)
        self.ema_momentum = check_number("ema_momentum", ema_momentum, least=0, most=1)
        self.weight_decay = 0.0
        if weight_decay is not None:
            self.weight_decay = check_number("weight_decay", weight_decay, least=0)
        excluded = exclude_from_weight_decay
        if isinstance(excluded, str) or not all(isinstance(name, str) for name in excluded):
            raise InputError(
                f"exclude_from_weight_decay: expected a list of names, found {excluded!r}"
            )
        self.exclude_from_weight_decay = tuple(excluded)
        # 0 where `decay` goes through the parameters by name
        self.decay_of_all = 0.0 if self.exclude_from_weight_decay else self.weight_decay
        self.iterations = 0
        self.memory: dict[str, Array] = {}
        self._part, self._size = slice(None), 0
        self.rooms: dict[str, Array] = {}

    @property
    def schedule(self) -> Schedule:
        """How the learning rate depends on the step; a constant for a plain number."""
        return vars(self)["learning_rate"]

    @property
    def learning_rate(self) -> Rate:
        return Rate(self.schedule, self.iterations)

    @learning_rate.setter
    def learning_rate(self, learning_rate: LearningRate) -> None:
        vars(self)["learning_rate"] = schedules.of(learning_rate)
        self.rate_was_assigned = True

    def step(self, model: HasParameters) -> None:
        """Change the model's parameters in place, by the gradients that are in it now."""
        params, grads = model.flat_params, model.flat_grads
        self._belong_to(model)
        self.use_raw(model)
        lr = self.schedule(self.iterations)
        self.iterations += 1
        self.decay(model, lr)
        frozen, self._size = _frozen(model), params.size
        grads = self._clipped(grads, frozen)
        for self._part in _others(frozen, params.size):
            self._decay_and_update(params[self._part], grads[self._part], lr)
        if self.use_ema:
            self._follow("average", params, frozen)
            self._follow("average_buffers", model.flat_buffers, _frozen(model, "buffers"))

    def _belong_to(self, model: HasParameters) -> None:
        """Raise if what it remembers was learnt from another model.

        Not from one that was changed since, nor from a copy that shares its parameters.
        """
        params = model.flat_params
        other = bool(self._learnt_from) and not any(
            kept() is mine for kept, mine in zip(self._learnt_from, (model, params), strict=True)
        )
        arrays = [a for key, a in self.memory.items() if not key.endswith("_buffers")]
        if any(other or a.size != params.size for a in arrays):
            raise RuntimeError(
                f"{type(self).__name__}: its state belongs to another model; "
                "use a new optimizer for each model"
            )
        if other or not self._learnt_from:
            self._learnt_from = tuple(_weak(thing) for thing in (model, params))

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, whose model is another object."""
        return {**vars(self), "_learnt_from": ()}

    def _decay_and_update(self, params: Array, grads: Array, lr: float) -> None:
        if self.decay_of_all and not self.decays_in_update:
            params *= params.dtype.type(1 - lr * self.decay_of_all)
        self.update(params, grads, lr)

    def update(self, params: Array, grads: Array, lr: float) -> None:
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def decay(self, model: HasParameters, lr: float) -> None:
        """Shrink some of the parameters before the update, where it does not shrink all of them."""
        if not (self.weight_decay and self.exclude_from_weight_decay):
            return
        every = model.parameters(frozen=False) if _frozen(model) else model.parameters()
        for name, param in every.items():
            if name.split(".")[-1] not in self.exclude_from_weight_decay:
                param *= param.dtype.type(1 - lr * self.weight_decay)

    def _clipped(self, grads: Array, frozen: Sequence[slice] = ()) -> Array:
        number = grads.dtype.type
        if self.clipvalue is not None:
            low, high = number(-self.clipvalue), number(self.clipvalue)
            return np.clip(grads, low, high, out=self._room("clipped", grads))
        if self.global_clipnorm is not None:
            # not by BLAS, whose sum depends on its threads; in float64, where no square overflows
            squares = self._room("squares", grads, np.float64)
            squares[:] = grads
            for part in frozen:
                squares[part] = 0
            norm = float(np.sqrt(np.square(squares, out=squares).sum()))
            scale = number(self.global_clipnorm / max(norm, self.global_clipnorm))
            return np.multiply(grads, scale, out=self._room("clipped", grads))
        return grads

    def _room(self, key: str, like: Array, dtype: Any = None) -> Array:
        """An array like that one, the same in every step, with nothing in it to remember."""
        room, dtype = self.rooms.get(key), np.dtype(dtype or like.dtype)
        if room is None or room.size != like.size or room.dtype != dtype:
            room = self.rooms[key] = np.empty_like(like, dtype)
        return room

    def _follow(self, key: str, values: Array, frozen: Sequence[slice]) -> None:
        if key in self.memory:
            for part in _others(frozen, values.size):
                average_step(self.memory[key][part], values[part], self.ema_momentum)
        else:
            self.memory[key] = values.copy()

    def use_average(self, model: HasParameters) -> None:
        """Put the averaged weights into the model, and keep the raw ones; without use_ema nothing.

        The next step, or `use_raw`, puts the raw ones back. Frozen layers keep their weights.
        """
        if "average" not in self.memory or "raw" in self.memory:
            return
        for kept, key, values, frozen in self._places(model):
            self.memory[kept] = values.copy()
            for part in frozen:  # what does not change is its own average
                self.memory[key][part] = values[part]
            values[:] = self.memory[key]

    def use_raw(self, model: HasParameters) -> None:
        """Undo `use_average`. Weights changed since then stay, and a new average begins."""
        if "raw" not in self.memory:
            return
        changed = not np.array_equal(model.flat_params, self.memory["average"], equal_nan=True)
        for kept, key, values, frozen in self._places(model):
            raw = self.memory.pop(kept)
            if changed:
                del self.memory[key]
                continue
            for part in _others(frozen, values.size):
                values[part] = raw[part]

    @staticmethod
    def _places(model: HasParameters) -> tuple[tuple[str, str, Array, Sequence[slice]], ...]:
        return (
            ("raw", "average", model.flat_params, _frozen(model)),
            ("raw_buffers", "average_buffers", model.flat_buffers, _frozen(model, "buffers")),
        )

    def _memory(self, key: str, like: Array, start: float = 0.0) -> Array:
        """What is remembered under that name of the parameters that `update` was called with."""
        if key not in self.memory:
            self.memory[key] = np.full(self._size or like.size, start, like.dtype)
        return self.memory[key][self._part]

    def state(self) -> dict[str, Any]:
        """All that it remembers between steps, by name; the arrays are its own, not copies.

        That is `iterations`, the arrays, and a `learning_rate` that was assigned, described.
        """
        rate = {"learning_rate": self._described_rate()} if self.rate_was_assigned else {}
        return {"iterations": self.iterations, **rate, **self.memory}

    def check_state(self, state: dict[str, Any], model: HasParameters) -> None:
        """Raise InputError unless it is the state of such an optimizer of that model."""
        _check_iterations(state.get("iterations"))
        if "learning_rate" in state:
            self._rate_from(state["learning_rate"])
        found = state.keys() - NO_ARRAYS
        own = type(self) in OPTIMIZERS.values()  # a subclass may remember more
        known = self.remembers if own else found
        if own and state["iterations"] == 0:
            known = ()
        pairs = {"average", "average_buffers"} if self.use_ema and state["iterations"] else set()
        if "raw" in found and pairs:
            pairs |= {"raw", "raw_buffers"}
        wanted = {*known, *pairs}
        if found != wanted:
            raise InputError(
                f"optimizer: expected {', '.join(sorted(wanted)) or 'no arrays'}, "
                f"found {', '.join(sorted(found)) or 'none'}"
            )
        for key in sorted(found):
            array = state[key]
            like = model.flat_buffers if key.endswith("_buffers") else model.flat_params
            if not own and key not in (*self.remembers, "average", "raw"):
                continue
            if (
                not isinstance(array, np.ndarray)
                or array.shape != like.shape
                or array.dtype != like.dtype
            ):
                raise InputError(
                    f"optimizer {key}: expected {like.dtype} {like.shape}, found {_form(array)}"
                )

    def load_state(self, state: dict[str, Any]) -> None:
        """Remember, instead, what `state` of an optimizer of this kind returned; it is copied."""
        _check_iterations(state.get("iterations"))
        if "learning_rate" in state:
            self.learning_rate = self._rate_from(state["learning_rate"])
        self.iterations = int(state["iterations"])
        self.memory = {key: np.array(state[key]) for key in state if key not in NO_ARRAYS}
        self._learnt_from = ()

    def _described_rate(self) -> dict[str, Any]:
        return {"schedule": type(self.schedule).__name__, **self.schedule.config()}

    def _rate_from(self, described: Any) -> Schedule:
        """The schedule of a state; a function is the one that this optimizer has."""
        if described == self._described_rate():
            return self.schedule
        if isinstance(described, dict) and described.get("schedule") in SCHEDULES:
            return schedule_from(described)
        raise InputError(
            f"optimizer learning_rate: expected {', '.join(SCHEDULES)} or, assigned before the "
            f"training goes on, the same schedule of one's own, found {shown(described)}"
        )

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, in values that JSON knows."""
        return {
            "learning_rate": self._described_rate(),
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
            **(self._decay_config() if self.weight_decay else {}),
        }

    def __repr__(self) -> str:
        constant = type(self.schedule) is Constant
        rate = float(self.learning_rate) if constant else self.schedule
        arguments = {**self.config(), "learning_rate": rate}
        arguments["ema_momentum"] = self.ema_momentum if self.use_ema else None
        given = ", ".join(f"{k}={v!r}" for k, v in arguments.items() if v not in (None, False))
        return f"{type(self).__name__}({given})"

    def _decay_config(self) -> dict[str, Any]:
        names = list(self.exclude_from_weight_decay)
        return {"weight_decay": self.weight_decay, "exclude_from_weight_decay": names}


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and Nesterov's look-ahead.

    velocity <- momentum * velocity - lr * gradient;  parameters <- parameters + velocity
    Source: Polyak 1964; Nesterov 1983; in this form Sutskever et al. 2013.

    shared: what every Optimizer takes, see there
    """

    remembers = ("velocity",)

    def __init__(
        self,
        learning_rate: LearningRate = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        if nesterov and momentum == 0:
            raise InputError("nesterov: expected a momentum above 0 with it, found 0")
        self.momentum = check_number("momentum", momentum, least=0, below=1)
        self.nesterov = nesterov

    def update(self, params: Array, grads: Array, lr: float) -> None:
        velocity = self._memory("velocity", params)
        sgd_step(params, grads, velocity, lr, self.momentum, self.nesterov)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "momentum": self.momentum, "nesterov": self.nesterov}


class Adam(Optimizer):
    """Adam: each parameter has a step size of its own, from the history of its gradient.

        m <- beta_1 m + (1 - beta_1) g          average of the gradient: where to
        v <- beta_2 v + (1 - beta_2) g^2        average of its square: how large it usually is
        m_hat = m / (1 - beta_1^t),  v_hat = v / (1 - beta_2^t)
        parameters <- parameters - lr m_hat / (sqrt(v_hat) + epsilon)

    m and v start at zero and are too small at first; dividing by 1 - beta^t, t the step's number
    from 1, makes up for that exactly.
    Edges     epsilon stands where the paper's algorithm 1 and PyTorch have it, beside the corrected
              root. Keras and ONNX add it to the uncorrected one, the paper's "epsilon hat": the
              same after many steps.
    Source    Kingma and Ba 2015, algorithm 1.

    shared: what every Optimizer takes, see there
    """

    remembers, decays_in_update = ("m", "v"), True

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **shared: Any,
    ) -> None:
        super().__init__(learning_rate, **shared)
        self.beta_1 = check_number("beta_1", beta_1, least=0, below=1)
        self.beta_2 = check_number("beta_2", beta_2, least=0, below=1)
        self.epsilon = check_number("epsilon", epsilon, above=0)

    def update(self, params: Array, grads: Array, lr: float) -> None:
        m, v = self._memory("m", params), self._memory("v", params)
        adam_step(
            params,
            grads,
            m,
            v,
            lr,
            self.beta_1,
            self.beta_2,
            self.epsilon,
            self.iterations,
            self.decay_of_all,
        )

    def config(self) -> dict[str, Any]:
        betas = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().config(), **betas}


class AdamW(Adam):
    """Adam with decoupled weight decay: before each step every parameter shrinks by lr * decay.

    weight_decay, exclude_from_weight_decay   see Optimizer

    Source: Loshchilov and Hutter 2019, algorithm 2.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        exclude_from_weight_decay: Sequence[str] = (),
        **shared: Any,
    ) -> None:
        shared |= {"weight_decay": check_number("weight_decay", weight_decay, least=0)}
        shared |= {"exclude_from_weight_decay": exclude_from_weight_decay}
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **shared)

    def config(self) -> dict[str, Any]:
        decay = self._decay_config()
        return {**{k: v for k, v in super().config().items() if k not in decay}, **decay}


def _frozen(model: HasParameters, store: str = "params") -> Sequence[slice]:
    """The parts of flat_params, or of flat_buffers, that stay as they are."""
    find = getattr(model, "frozen_parts", None)
    return () if find is None else find(store)


def _others(parts: Sequence[slice], size: int) -> list[slice]:
    """What lies between parts in order, of a whole of that size; an empty slice for nothing."""
    if not parts:
        return [slice(None)]
    ends = [0, *(part.stop for part in parts)]
    starts = [*(part.start for part in parts), size]
    found = [slice(a, b) for a, b in zip(ends, starts, strict=True) if a < b]
    return found or [slice(0, 0)]


def _check_iterations(value: Any) -> None:
    if not is_whole(value, 0) or value > MOST_ITERATIONS:
        raise InputError(
            f"iterations: expected an integer from 0 to {MOST_ITERATIONS:,}, found {shown(value)}"
        )


def _form(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else shown(value)


# at the end: these stand on what is above
from .adaptive import Adagrad as Adagrad  # noqa: E402
from .adaptive import Lion as Lion  # noqa: E402
from .adaptive import Nadam as Nadam  # noqa: E402
from .adaptive import RMSprop as RMSprop  # noqa: E402

OPTIMIZERS: dict[str, type[Any]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "nadam": Nadam,
    "lion": Lion,
}


def get(optimizer: str | Optimizer) -> Optimizer:
    """An optimizer by its Keras name with Keras's settings, or the optimizer itself."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if optimizer not in OPTIMIZERS:
        raise InputError(f"optimizer: expected one of {', '.join(OPTIMIZERS)}, found {optimizer!r}")
    return OPTIMIZERS[optimizer]()


def from_config(name: str, config: dict[str, Any]) -> Optimizer:
    """The optimizer that `config` described; its memory starts anew."""
    return OPTIMIZERS[name](**{**config, "learning_rate": schedule_from(config["learning_rate"])})


def schedule_from(described: dict[str, Any]) -> Schedule:
    """The schedule that a config or a state describes."""
    values = dict(described)
    kind = SCHEDULES[values.pop("schedule")]
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"learning_rate: {error}") from None
