"""Optimizers step by step against their definitions, and learning rates over time."""

import copy
import json
import pickle
from types import SimpleNamespace

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st

import scratchnet as sn
from scratchnet import optimizers
from scratchnet.engine import steps
from scratchnet.optimizer_steps import least, least_square, settle
from scratchnet.schedules import SCHEDULES, Constant, Cosine, OneCycle, StepDecay

STEPS = 20
OPTIMIZERS = {
    "SGD": (lambda rate: sn.SGD(rate), oracles.sgd, {}),
    "momentum": (lambda rate: sn.SGD(rate, 0.9), oracles.sgd, {"momentum": 0.9}),
    "Nesterov": (
        lambda rate: sn.SGD(rate, 0.9, nesterov=True),
        oracles.sgd,
        {"momentum": 0.9, "nesterov": True},
    ),
    "Adam": (lambda rate: sn.Adam(rate), oracles.adam, {}),
    "Adam, own betas": (
        lambda rate: sn.Adam(rate, 0.5, 0.8, 1e-3),
        oracles.adam,
        {"beta_1": 0.5, "beta_2": 0.8, "epsilon": 1e-3},
    ),
    "AdamW": (lambda rate: sn.AdamW(rate, 0.1), oracles.adam, {"weight_decay": 0.1}),
    "RMSprop": (lambda rate: sn.RMSprop(rate), oracles.rmsprop, {}),
    "RMSprop, centered": (
        lambda rate: sn.RMSprop(rate, 0.8, centered=True, epsilon=1e-3),
        oracles.rmsprop,
        {"rho": 0.8, "centered": True, "epsilon": 1e-3},
    ),
    "RMSprop, all of it": (
        lambda rate: sn.RMSprop(rate, 0.7, 0.6, 1e-2, True, weight_decay=0.1),
        oracles.rmsprop,
        {"rho": 0.7, "momentum": 0.6, "epsilon": 1e-2, "centered": True, "decay": 0.1},
    ),
    "Adagrad": (lambda rate: sn.Adagrad(rate), oracles.adagrad, {}),
    "Adagrad, own": (
        lambda rate: sn.Adagrad(rate, 0.0, 1e-3, weight_decay=0.1),
        oracles.adagrad,
        {"start": 0.0, "epsilon": 1e-3, "decay": 0.1},
    ),
    "Nadam": (lambda rate: sn.Nadam(rate), oracles.nadam, {}),
    "Nadam, own": (
        lambda rate: sn.Nadam(rate, 0.5, 0.8, 1e-3, weight_decay=0.1),
        oracles.nadam,
        {"beta_1": 0.5, "beta_2": 0.8, "epsilon": 1e-3, "decay": 0.1},
    ),
    "Lion": (lambda rate: sn.Lion(rate), oracles.lion, {}),
    "Lion, own": (
        lambda rate: sn.Lion(rate, 0.5, 0.8, weight_decay=0.1),
        oracles.lion,
        {"beta_1": 0.5, "beta_2": 0.8, "decay": 0.1},
    ),
    "Adam with decay": (
        lambda rate: sn.Adam(rate, weight_decay=0.1),
        oracles.adam,
        {"weight_decay": 0.1},
    ),
    "clipping that never clips": (lambda rate: sn.Adam(rate, clipvalue=100), oracles.adam, {}),
}


def test_every_optimizer_has_its_definition_here_and_its_source():
    assert {type(make(0.1)) for make, _, _ in OPTIMIZERS.values()} == {
        *optimizers.OPTIMIZERS.values()
    }
    assert all("Source" in kind.__doc__ for kind in optimizers.OPTIMIZERS.values())


def path_of(optimizer, params, gradients):
    """The parameters after each step, as a model would see them."""
    model = SimpleNamespace(flat_params=params.copy(), flat_grads=np.empty_like(params))
    path = []
    for grads in gradients:
        model.flat_grads[:] = grads
        optimizer.step(model)
        np.testing.assert_array_equal(model.flat_grads, grads)
        path.append(model.flat_params.copy())
    return np.array(path)


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
@pytest.mark.parametrize("rate", [0.05, OneCycle(0.1, STEPS)], ids=["constant", "schedule"])
def test_20_steps_equal_the_definition(backend, kind, dtype, tolerance, rate, rng):
    make, oracle, settings = OPTIMIZERS[kind]
    params, gradients = rng.standard_normal(37), rng.standard_normal((STEPS, 37))
    params, gradients = params.astype(dtype), gradients.astype(dtype)
    rates = [rate(step) if callable(rate) else rate for step in range(STEPS)]
    optimizer = make(rate)
    found = path_of(optimizer, params, gradients)
    expected = oracle(params, gradients, rates, **settings)
    assert {found.dtype, *(a.dtype for a in optimizer.memory.values())} == {np.dtype(dtype)}
    assert optimizer.iterations == STEPS
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_first_step_of_adam_is_the_learning_rate_for_any_size_of_gradient(backend):
    gradients = np.array([[1e-3, -1e-3, 1.0, -50.0, 1e4]])
    step = path_of(sn.Adam(0.01), np.zeros(5), gradients)[0]
    np.testing.assert_allclose(step, -0.01 * np.sign(gradients[0]), rtol=2e-4)  # epsilon / 1e-3


@pytest.mark.parametrize("kind", ["Adam", "Nadam"])
def test_a_small_gradient_beside_a_smaller_epsilon_takes_no_giant_step(kind, backend):
    optimizer = {"Adam": sn.Adam, "Nadam": sn.Nadam}[kind](0.01, epsilon=1e-25)
    path = path_of(optimizer, np.zeros(1, np.float32), np.full((5, 1), 1e-15, np.float32))
    steps = -np.diff(path[:, 0])  # sqrt(v) is 1e-15, not 0: about the learning rate
    assert np.all((steps > 0.005) & (steps < 0.02))


def test_weight_decay_shrinks_without_a_gradient(backend):
    path = path_of(sn.AdamW(0.1, weight_decay=0.5), np.array([2.0, -4.0]), np.zeros((3, 2)))
    np.testing.assert_allclose(path[-1], np.array([2, -4]) * 0.95**3, rtol=1e-12)


def test_schedule_is_asked_once_a_step_from_0():
    asked = []

    class Recorded(Constant):
        def __call__(self, step):
            asked.append(step)
            return step * self.rate

    path = path_of(sn.SGD(Recorded(0.5)), np.zeros(1), np.ones((4, 1)))
    assert asked == [0, 1, 2, 3]
    np.testing.assert_allclose(np.diff(path[:, 0]), [-0.5, -1, -1.5])


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("size", [3, 4])
def test_an_optimizer_belongs_to_one_model(kind, size):
    optimizer = OPTIMIZERS[kind][0](0.1)
    path_of(optimizer, np.zeros(3), np.ones((1, 3)))
    with pytest.raises(RuntimeError, match="another model"):
        path_of(optimizer, np.zeros(size), np.ones((1, size)))
    assert optimizer.iterations == 1
    other = pickle.loads(pickle.dumps(optimizer))  # its model may come back in another process
    path_of(other, np.zeros(3), np.ones((1, 3)))
    assert other.iterations == 2


def test_an_optimizer_goes_with_the_model_that_it_trained():
    x, y = np.ones((4, 3), np.float32), np.array([0, 1, 0, 1])
    model = sn.Sequential([sn.Dense(4), sn.Dropout(0.1), sn.Dense(2), sn.Softmax()], (3,))
    model.compile("adam", "sparse_categorical_crossentropy")
    twin = sn.Sequential([sn.Dense(4), sn.Dense(2), sn.Softmax()], (3,))
    twin.compile(model.optimizer, model.loss)
    model.train_on_batch(x, y)
    with pytest.raises(RuntimeError, match="Adam: its state belongs to another model; use a new"):
        twin.train_on_batch(x, y)
    copy.copy(model).train_on_batch(x, y)  # with the same parameters
    del model.layers[1]
    model.train_on_batch(x, y)
    assert model.optimizer.iterations == 3
    copied = copy.deepcopy(model)
    copied.train_on_batch(x, y)
    assert copied.optimizer.iterations == 4 and model.optimizer.iterations == 3


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_config_survives_json_and_makes_the_same_optimizer(kind, rng):
    optimizer = OPTIMIZERS[kind][0](Cosine(0.1, 5))
    name = next(n for n, known in optimizers.OPTIMIZERS.items() if type(optimizer) is known)
    again = optimizers.from_config(name, json.loads(json.dumps(optimizer.config())))
    params, gradients = rng.standard_normal(3), rng.standard_normal((6, 3))
    np.testing.assert_array_equal(
        path_of(again, params, gradients), path_of(optimizer, params, gradients)
    )


# ---- clipping ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", [0.0, 0.5, 2.0, 1e25])
def test_a_gradient_longer_than_global_clipnorm_is_scaled_down_to_it(dtype, length, rng):
    grads = rng.standard_normal(12)
    grads = (grads / np.linalg.norm(grads) * length).astype(dtype)
    step = path_of(sn.SGD(1.0, global_clipnorm=2.0), np.zeros(12, dtype), grads[None])[0]
    assert step.dtype == dtype
    np.testing.assert_allclose(step, -grads * (2 / max(length, 2)), rtol=1e-5)


@pytest.mark.parametrize("clip", ["global_clipnorm", "clipvalue"])
def test_clipping_is_for_every_optimizer_and_lets_nan_through(clip):
    for make in optimizers.OPTIMIZERS.values():
        path = path_of(make(0.1, **{clip: 1.0}), np.zeros(2), np.array([[1.0, 2], [np.nan, 1]]))
        assert np.isfinite(path[0]).all() and np.isnan(path[1]).any()


def test_clipvalue_clips_every_entry():
    grads = np.array([[-3.0, -0.5, 0, 0.2, 7]])
    step = path_of(sn.SGD(1.0, clipvalue=0.5), np.zeros(5), grads)[0]
    np.testing.assert_array_equal(step, [0.5, 0.5, 0, -0.2, -0.5])


def test_only_one_way_of_clipping_is_taken():
    with pytest.raises(sn.InputError, match="global_clipnorm or clipvalue, found both"):
        sn.Adam(clipvalue=1, global_clipnorm=1)


# ---- averages of the weights ---------------------------------------------------------------------


def with_norm(optimizer, seed=0):
    layers = [sn.Dense(6), sn.BatchNorm(0.9), sn.ReLU(), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential(layers, (4,), seed)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


@pytest.fixture
def examples(rng):
    return rng.standard_normal((40, 4)), rng.integers(0, 3, 40)


def weights_of(model):
    return [array.copy() for array in model.arrays().values()]


def assert_equal(found, expected):
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


KINDS = {**optimizers.OPTIMIZERS, "sgd": lambda **how: sn.SGD(0.1, 0.9, **how)}


@pytest.mark.parametrize("kind", KINDS)
def test_averages_follow_weights_and_statistics_by_their_definition(backend, kind, examples):
    model = with_norm(KINDS[kind](use_ema=True, ema_momentum=0.8))
    model.train_on_batch(*examples)
    expected = weights_of(model)
    for _ in range(6):
        model.train_on_batch(*examples)
        raw = weights_of(model)
        expected = [0.8 * a + 0.2 * b for a, b in zip(expected, raw, strict=True)]
    model.optimizer.use_average(model)
    for found, wanted in zip(weights_of(model), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    model.optimizer.use_raw(model)
    assert_equal(weights_of(model), raw)


def test_fit_evaluates_and_leaves_the_averages_and_trains_the_raw_weights(examples):
    x, y = examples
    plain = with_norm(sn.Adam(0.01))
    plain.fit(x, y, 8, 4, validation_split=0.25, verbose=0)
    model = with_norm(sn.Adam(0.01, use_ema=True, ema_momentum=0.9))
    seen = []

    class Look(sn.Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append((logs["val_loss"], self.model.evaluate(x[30:], y[30:], 8, verbose=0)))

    for epoch in (2, 4):  # in two parts: the second goes on from the raw weights
        arguments = {"validation_split": 0.25, "verbose": 0, "initial_epoch": epoch - 2}
        model.fit(x, y, 8, epoch, callbacks=[Look()], **arguments)
    assert len(seen) == 4 and all(told == found for told, found in seen)
    averages = weights_of(model)
    assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(averages, weights_of(plain), strict=True))
    model.optimizer.use_average(model)  # has them already
    assert_equal(weights_of(model), averages)
    model.optimizer.use_raw(model)
    assert_equal(weights_of(model), weights_of(plain))


@pytest.mark.parametrize("stop_in", ["the epoch", "fit"])
def test_a_state_put_into_a_new_optimizer_goes_on_to_the_same_bits(stop_in, examples, tmp_path):
    x, y = examples

    def make():
        return with_norm(sn.Adam(0.01, use_ema=True, ema_momentum=0.9))

    model, again = make(), make()
    if stop_in == "fit":
        model.fit(x, y, 8, 2, shuffle=False, verbose=0)
    else:
        for _ in range(3):
            model.train_on_batch(x, y)
    model.save(tmp_path / "m")
    state = {key: np.copy(value) for key, value in model.optimizer.state().items()}
    saved = sn.load_model(tmp_path / "m").arrays()
    for name, array in again.arrays().items():
        array[:] = saved[name]
    again.optimizer.load_state(state)
    for one in (model, again):
        one.fit(x, y, 8, 1, shuffle=False, verbose=0)
    assert_equal(weights_of(again), weights_of(model))
    assert_equal(again.optimizer.state().values(), model.optimizer.state().values())
    kept = again.optimizer.memory
    assert not any(np.shares_memory(kept[key], state[key]) for key in kept.keys() & state.keys())


@pytest.mark.parametrize("stop", [8, 10], ids=["inside an epoch", "at its end"])
def test_a_training_with_averages_resumes_from_its_backup_to_the_same_bits(
    stop, examples, tmp_path
):
    class Stop(sn.Callback):
        at = None

        def on_batch_end(self, batch, logs):
            self.model.stop_training |= self.model.optimizer.iterations == self.at

    found = []
    for stopped in (False, True):
        backup = sn.callbacks.BackupAndRestore(tmp_path / f"{stopped}")
        for at in (stop, None) if stopped else (None,):
            stopping = Stop()
            stopping.at = at
            model = with_norm(sn.AdamW(0.01, use_ema=True, ema_momentum=0.9))
            model.fit(*examples, 8, 4, callbacks=[stopping, backup], verbose=0)  # 5 batches each
            assert model.optimizer.iterations == (at or 20)
            weights, state = weights_of(model), model.optimizer.state()
        found.append([*weights, *(state[key] for key in sorted(state))])
    assert_equal(*found)
    assert {"average", "raw", "average_buffers", "raw_buffers"} <= state.keys()


def test_weights_that_are_set_by_hand_after_fit_are_not_overwritten(examples):
    model = with_norm(sn.SGD(0.01, use_ema=True))
    model.fit(*examples, verbose=0)
    model.flat_params[:] = 0.5
    model.train_on_batch(*examples)
    assert np.abs(model.flat_params - 0.5).max() < 0.1
    model.optimizer.use_average(model)  # begins anew
    assert np.abs(model.flat_params - 0.5).max() < 0.1


def test_without_averages_nothing_is_exchanged(examples):
    model = with_norm(sn.Adam())
    model.fit(*examples, verbose=0)
    before = weights_of(model)
    model.optimizer.use_average(model)
    model.optimizer.use_raw(model)
    assert_equal(weights_of(model), before)
    assert model.optimizer.state().keys() == {"iterations", "m", "v"}


# ---- weight decay --------------------------------------------------------------------------------


def test_biases_and_batch_norm_can_be_left_out_of_weight_decay():
    layers = [sn.Dense(3), sn.BatchNorm(), sn.Residual([sn.Dense(3)])]
    model = sn.Sequential(layers, (4,))
    model.flat_params[:] = 2
    optimizer = sn.AdamW(0.1, 0.5, exclude_from_weight_decay=("b", "gamma", "beta"))
    optimizer.step(model)  # gradients are zero
    for name, param in model.parameters().items():
        np.testing.assert_allclose(param, 1.9 if name.endswith("W") else 2, rtol=1e-6)
    assert [*model.parameters()][-2:] == ["residual.main.dense.W", "residual.main.dense.b"]


@pytest.mark.parametrize("kind", optimizers.OPTIMIZERS)
def test_every_optimizer_shrinks_its_weights_and_leaves_out_what_it_shall(kind, backend):
    make = optimizers.OPTIMIZERS[kind]
    for excluded in ((), ("b",)):
        model = sn.Sequential([sn.Dense(3)], (4,))
        model.flat_params[:] = 2
        optimizer = make(0.1, weight_decay=0.5, exclude_from_weight_decay=excluded)
        optimizer.step(model)  # gradients are zero
        for name, param in model.parameters().items():
            left = 2 if name.endswith("b") and excluded else 1.9
            np.testing.assert_allclose(param, left, rtol=1e-6)
        again = optimizers.from_config(kind, json.loads(json.dumps(optimizer.config())))
        assert again.config() == optimizer.config()
        assert again.exclude_from_weight_decay == excluded


def test_an_optimizer_of_ones_own_has_its_weight_decay():
    class Plain(optimizers.Optimizer):
        def update(self, params, grads, lr):
            params -= lr * grads

    path = path_of(Plain(0.1, weight_decay=0.5), np.array([2.0]), np.ones((1, 1)))
    np.testing.assert_allclose(path, [[2 * 0.95 - 0.1]])
    assert "weight_decay" not in Plain(0.1).config()


@pytest.mark.parametrize("kind", ["rmsprop", "adagrad", "nadam", "lion"])
def test_nan_in_a_gradient_stays_in_its_place(kind, backend):
    gradients = np.ones((3, 4))
    gradients[1, 2] = np.nan
    path = path_of(optimizers.OPTIMIZERS[kind](0.1), np.zeros(4), gradients)
    np.testing.assert_array_equal(np.isnan(path[-1]), [False, False, True, False])


def test_a_variance_that_rounding_makes_negative_is_none(backend):
    path = path_of(
        sn.RMSprop(0.1, centered=True), np.zeros(50, np.float32), np.full((90, 50), 1e3, np.float32)
    )
    assert np.isfinite(path).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("kind", [kind for kind in OPTIMIZERS if kind != "SGD"])
def test_a_moment_that_has_all_but_vanished_becomes_0(kind, dtype, backend):
    # 0.9 of the last numbers beside 0 rounds to themselves: they would stay, and take long
    optimizer = OPTIMIZERS[kind][0](0.1)
    model = SimpleNamespace(flat_params=np.ones(3, dtype), flat_grads=np.zeros(3, dtype))
    optimizer.step(model)
    decays = {name: kept for name, kept in optimizer.memory.items() if name != "total"}
    for name, kept in decays.items():
        limit = (least_square if name == "v" else least)(dtype)
        kept[:] = 0.9 * limit, np.finfo(dtype).smallest_subnormal, 4 * limit
    optimizer.step(model)
    for kept in decays.values():
        np.testing.assert_array_equal(kept != 0, [False, False, True])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam_divides_by_its_corrections_to_the_last_bit(dtype):
    rng = np.random.default_rng(3)
    factor, size = 2.0 ** rng.integers(-149, 20, 1_000), 1_000  # some have fewer digits
    g, m, p = (rng.standard_normal((3, size)) * factor).astype(dtype)
    v = np.abs(rng.standard_normal(size) * factor).astype(dtype)
    b1, c1, b2, c2 = (dtype(number) for number in (0.9, 1 - 0.9, 0.999, 1 - 0.999))
    for t in (1, 2, 7, 100, 5_000):
        first, second = b1 * m + c1 * g, b2 * v + c2 * g * g
        settle(first, least(dtype))
        settle(second, least_square(dtype))
        mean = first / dtype(1 - steps.power(0.9, t))
        square = second / dtype(1 - steps.power(0.999, t))
        expected = p - dtype(0.01) * mean / (np.sqrt(square) + dtype(1e-30))
        found, moments = p.copy(), (m.copy(), v.copy())
        steps.adam_step(found, g, *moments, 0.01, 0.9, 0.999, 1e-30, t, 0.0)
        np.testing.assert_array_equal(moments, (first, second))
        np.testing.assert_array_equal(found, expected)


def test_nadams_momentum_is_a_product_of_all_its_steps():
    nadam, product = sn.Nadam(beta_1=0.999), 1.0
    for t in range(1, 3000):
        product *= 0.999 * (1 - 0.5 * 0.96**t)
        if t in (1, 2, 999, 1000, 1001, 2999):
            assert nadam._momentum(t)[1] == pytest.approx(product, rel=1e-10)
    assert nadam._momentum(10**15) == (0.999, 0.0)


@pytest.mark.parametrize("names", ["gamma", [1], (None,)])
def test_names_that_are_no_list_of_names_are_refused(names):
    with pytest.raises(sn.InputError, match="list of names"):
        sn.AdamW(exclude_from_weight_decay=names)


def test_optimizers_are_found_by_keras_names_and_an_unknown_one_is_refused():
    assert type(optimizers.get("adamw")) is sn.AdamW
    assert type(optimizers.get("lion")) is sn.Lion and optimizers.Nadam is sn.Nadam
    with pytest.raises(sn.InputError, match="sgd, adam, adamw.*lion, found 'adamax'"):
        optimizers.get("adamax")


BAD = {
    sn.SGD: {
        "learning_rate": (-1, np.nan, np.inf, "fast", None),
        "momentum": (-0.1, 1, np.nan, "much"),
        "nesterov": (True,),  # without momentum
        "global_clipnorm": (0, -1, np.nan, "much"),
        "clipvalue": (0, -1, np.nan),
        "ema_momentum": (-0.1, 1.1, np.nan),
    },
    sn.Adam: {
        "learning_rate": (-1, np.nan),
        "beta_1": (-0.1, 1, np.nan),
        "beta_2": (-0.1, 1, np.nan),
        "epsilon": (0, -1, np.nan, np.inf),
    },
    sn.AdamW: {"weight_decay": (-1, np.nan, np.inf, None)},
    sn.RMSprop: {
        "rho": (-0.1, 1, np.nan),
        "momentum": (-0.1, 1),
        "epsilon": (0, -1),
        "centered": (1, "yes"),
        "weight_decay": (-1, np.nan),
    },
    sn.Adagrad: {"initial_accumulator_value": (-1, np.nan), "epsilon": (0,)},
    sn.Nadam: {"beta_1": (1,), "epsilon": (0,)},
    sn.Lion: {"beta_1": (-0.1, 1), "beta_2": (-0.1, 1, np.nan)},
    Constant: {"rate": (-1, np.nan, np.inf)},
    StepDecay: {"rate": (-1, np.nan), "every": (0, -1, np.nan), "factor": (-1, np.nan)},
    Cosine: {"rate": (-1, np.nan), "steps": (0, -1, np.nan), "floor": (-1, np.nan)},
    OneCycle: {
        "peak": (-1, np.nan),
        "steps": (0, -1, np.nan),
        "warmup": (-0.1, 1.1, np.nan),
        "start_divisor": (0, np.nan),
        "final_divisor": (0, np.nan),
    },
}
GOOD = {"rate": 0.1, "peak": 0.1, "steps": 10, "every": 10}  # what has no default


@pytest.mark.parametrize(
    "kind, name, value",
    [
        pytest.param(kind, name, value, id=f"{kind.__name__}-{name}-{value}")
        for kind, arguments in BAD.items()
        for name, values in arguments.items()
        for value in values
    ],
)
def test_a_bad_number_is_refused(kind, name, value):
    needed = {key: good for key, good in GOOD.items() if key in kind.__init__.__annotations__}
    with pytest.raises(sn.InputError, match="expected"):
        kind(**needed | {name: value})


# ---- learning rates ------------------------------------------------------------------------------


def rates(schedule, steps):
    return np.array([schedule(step) for step in range(steps)])


def test_no_schedule_is_left_out():
    assert {*SCHEDULES.values()} == {Constant, StepDecay, Cosine, OneCycle}


def test_constant_and_step_decay():
    np.testing.assert_array_equal(rates(Constant(0.3), 3), 0.3)
    found = rates(StepDecay(0.8, every=3, factor=0.5), 8)
    np.testing.assert_allclose(found, [0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2], rtol=1e-12)


@given(rate=st.floats(0.01, 10), steps=st.integers(1, 60), floor=st.floats(0, 0.9))
def test_cosine_falls_from_rate_to_floor_symmetrically_and_stays(rate, steps, floor):
    found = rates(Cosine(rate, steps, floor), steps + 5)
    assert found[0] == pytest.approx(rate)
    np.testing.assert_allclose(found[steps:], rate * floor, atol=1e-12)
    assert np.all(np.diff(found[: steps + 1]) < 0)
    there, back = found[: steps + 1], found[steps::-1]
    np.testing.assert_allclose(there + back, rate * (1 + floor), rtol=1e-12)


@pytest.mark.parametrize("steps, warmup", [(100, 0.3), (40, 0.5), (10, 0.2)])
def test_one_cycle_rises_to_its_peak_falls_to_almost_nothing_and_stays(steps, warmup):
    found, top = rates(OneCycle(0.5, steps, warmup), steps + 5), round(steps * warmup) - 1
    assert found[0] == pytest.approx(0.5 / 25)
    assert found[top] == found.max() == pytest.approx(0.5)
    np.testing.assert_allclose(found[steps - 1 :], 0.5 / 25 / 1e4, rtol=1e-9)
    assert np.all(np.diff(found[: top + 1]) > 0) and np.all(np.diff(found[top:steps]) < 0)
    half = found[top] + 0.5 / 25  # the warmup is half a cosine: symmetric about its middle
    np.testing.assert_allclose(found[: top + 1] + found[top::-1], half, rtol=1e-12)


# ---- learning rates that are assigned ------------------------------------------------------------


def small_model(optimizer, **how):
    model = sn.Sequential([sn.Dense(3), sn.Softmax()], (4,), **how)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    return model


def test_a_learning_rate_reads_and_changes_like_a_number():
    optimizer = sn.SGD(0.1)
    optimizer.learning_rate *= 1.1
    assert optimizer.learning_rate == float(optimizer.learning_rate) == 0.1 * 1.1
    optimizer.learning_rate = 0.25
    assert str(optimizer.learning_rate) == f"{optimizer.learning_rate:g}" == "0.25"
    optimizer.learning_rate /= 2
    optimizer.learning_rate += 1
    optimizer.learning_rate -= 0.5
    assert optimizer.learning_rate == optimizer.learning_rate(7) == 0.625
    assert json.dumps(optimizer.learning_rate) == "0.625"
    np.testing.assert_array_equal(path_of(optimizer, np.zeros(1), np.ones((1, 1))), [[-0.625]])
    optimizer = copy.copy(optimizer)  # which may learn from another model
    optimizer.learning_rate = np.float32(0.5)
    np.testing.assert_array_equal(path_of(optimizer, np.zeros(1), np.ones((1, 1))), [[-0.5]])


def test_a_plain_function_of_the_step_is_a_schedule():
    optimizer = sn.SGD(lambda step: 1 / (1 + step))
    path = path_of(optimizer, np.zeros(1), np.ones((3, 1)))
    np.testing.assert_allclose(path[:, 0], [-1, -1.5, -1.5 - 1 / 3])
    assert optimizer.learning_rate == 1 / 4 and optimizer.learning_rate(9) == 1 / 10
    optimizer.learning_rate = Cosine(0.1, 8)
    assert optimizer.learning_rate == Cosine(0.1, 8)(3) and optimizer.learning_rate.steps == 8
    optimizer.learning_rate = optimizer.learning_rate  # as it is, not as a number
    assert optimizer.schedule == Cosine(0.1, 8)


def test_a_schedule_is_not_ended_without_a_word():
    optimizer = sn.SGD(Cosine(0.1, 8))
    with pytest.raises(sn.InputError, match="Cosine.*changes by itself"):
        optimizer.learning_rate *= 0.5
    optimizer.learning_rate = 0.5 * optimizer.learning_rate
    assert optimizer.schedule == Constant(0.05)


@pytest.mark.parametrize(
    "value",
    [-1, np.nan, "fast", None, [0.1], lambda: 1, lambda step: -1.0, lambda step: "a", Cosine],
)
def test_a_bad_learning_rate_is_refused_and_the_old_one_stays(value):
    optimizer = sn.Adam(0.1)
    with pytest.raises(sn.InputError, match="^learning_rate: expected|^learning_rate: .*expected"):
        optimizer.learning_rate = value
    assert optimizer.learning_rate == 0.1


def test_a_function_that_fails_later_says_at_which_step():
    optimizer = sn.SGD(lambda step: 1.0 - step)
    with pytest.raises(sn.InputError, match=r"lambda>\(2\): expected .* at least 0, found -1"):
        path_of(optimizer, np.zeros(1), np.ones((3, 1)))


def test_an_assigned_rate_is_part_of_the_state_and_a_first_one_is_not():
    optimizer, again = sn.SGD(0.1), sn.SGD(0.1)
    assert optimizer.state() == {"iterations": 0}
    optimizer.learning_rate *= 0.5
    state = json.loads(json.dumps(optimizer.state()))
    model = small_model(again)
    again.check_state(state, model)
    again.load_state(state)
    assert again.learning_rate == 0.05 and again.state() == optimizer.state()
    for bad in ("fast", {"schedule": "Constant", "rate": -1}, {"schedule": "Constant"}, {}, None):
        with pytest.raises(sn.InputError, match="rate"):
            again.check_state({"iterations": 0, "learning_rate": bad}, model)


def test_a_function_in_a_state_is_found_by_its_name():
    def falling(step):
        return 1 / (1 + step)

    optimizer, again = sn.SGD(0.1), sn.SGD(0.1)
    optimizer.learning_rate = falling
    state = json.loads(json.dumps(optimizer.state()))
    with pytest.raises(sn.InputError, match="assigned before the training goes on"):
        again.load_state(state)
    again.learning_rate = falling
    again.load_state(state)
    assert again.learning_rate == 1


def test_a_saved_model_keeps_the_rate_of_the_moment_for_a_function(tmp_path, examples):
    model = small_model(sn.SGD(lambda step: 0.5 / (1 + step)))
    model.fit(*examples, batch_size=10, verbose=0)  # 4 steps
    with pytest.warns(UserWarning, match=r"function \(.*lambda.*0\.1, is saved"):
        model.save(tmp_path / "m")
    assert sn.load_model(tmp_path / "m").optimizer.learning_rate == 0.1


def test_copies_and_pickles_have_the_learning_rate():
    for optimizer in (sn.SGD(0.1), sn.Adam(Cosine(0.1, 5))):
        for again in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
            assert again.schedule == optimizer.schedule
    rate = sn.SGD(0.1).learning_rate
    assert copy.deepcopy(rate) == pickle.loads(pickle.dumps(rate)) == 0.1
