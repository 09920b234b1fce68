"""Losses, weights, metrics and optimizers beside Keras: values, gradients, 100 steps, figures."""

import os
import warnings

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import losses
from scratchnet.interop import keras as to_keras

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = 'Keras and TensorFlow come with pip install "scratchnet[parity]"'
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what they say when they are loaded is theirs
    tf = pytest.importorskip("tensorflow", reason=WHY)
    keras = pytest.importorskip("keras", reason=WHY)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

N, K = 6, 4
#: Keras keeps it as a float32, and this one is the same in both
RATE = 2.0**-7


def data(seed=0):
    """Scores, probabilities, targets, labels, distributions and weights."""
    rng = np.random.default_rng(seed)
    scores, targets = 2 * rng.standard_normal((2, N, K))
    labels, weights = rng.integers(0, K, N), rng.uniform(0, 3, N)
    return scores, rng.dirichlet(np.ones(K), N), targets, labels, weights


def one_hot(d):
    return np.eye(K)[d[3]]


#: name: our loss, Keras's arguments, what is predicted and what is true of `data`
LOSSES = {
    "binary_crossentropy": ({}, lambda d: (1 / (1 + np.exp(-d[0])), (d[2] > 0) * 1.0)),
    "binary_crossentropy logits": (
        {"from_logits": True, "label_smoothing": 0.25},
        lambda d: (10 * d[0], (d[2] > 0) * 1.0),
    ),
    "mse": ({}, lambda d: (d[0], d[2])),
    "mae": ({}, lambda d: (d[0], d[2])),
    "huber": ({"delta": 0.75}, lambda d: (d[0], d[2])),
    "categorical_hinge": ({}, lambda d: (d[0], one_hot(d))),
    "kl_divergence": ({}, lambda d: (d[1], np.roll(d[1], 1, 0))),
    "sparse_categorical_crossentropy": ({"from_logits": True}, lambda d: (d[0], d[3])),
    "categorical_crossentropy": (
        {"from_logits": True, "label_smoothing": 0.25},
        lambda d: (d[0], one_hot(d)),
    ),
}


def pair_of(name):
    """Our loss and Keras's, with the same settings, and in float64."""
    settings, kind = LOSSES[name][0], losses.LOSSES[name.split()[0]]
    other = {"mse": "MeanSquaredError", "mae": "MeanAbsoluteError"}.get(name, kind.__name__)
    return kind(**settings), getattr(keras.losses, other)(**settings, dtype="float64")


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_agree(name, weighted):
    ours, theirs = pair_of(name)
    for seed in range(3):
        given = data(seed)
        y_pred, y_true = LOSSES[name][1](given)
        weights = given[-1] if weighted else None
        y = tf.constant(y_pred)
        with tf.GradientTape() as tape:
            tape.watch(y)
            value = theirs(tf.constant(y_true), y, sample_weight=weights)
        # Keras clips with an epsilon of float32
        assert ours.forward(y_pred, y_true, weights) == pytest.approx(float(value), rel=1e-9)
        np.testing.assert_allclose(
            ours.backward(), tape.gradient(value, y).numpy(), rtol=1e-8, atol=1e-12
        )


BETA, BETA_2 = 1 - 2.0**-3, 1 - 2.0**-10
OPTIMIZERS = {
    "RMSprop": {"rho": BETA, "epsilon": 2.0**-20},
    "RMSprop, all of it": {
        "rho": BETA,
        "momentum": 0.5,
        "centered": True,
        "epsilon": 2.0**-20,
        "weight_decay": 0.125,
    },
    "Adagrad": {"initial_accumulator_value": 0.125, "epsilon": 2.0**-20, "weight_decay": 0.125},
    "Nadam": {"beta_1": BETA, "beta_2": BETA_2, "epsilon": 2.0**-20, "weight_decay": 0.125},
    "Lion": {"beta_1": BETA, "beta_2": 1 - 2.0**-6, "weight_decay": 0.125},
    "SGD": {"momentum": 0.5, "nesterov": True, "weight_decay": 0.125},
    "AdamW": {"beta_1": BETA, "beta_2": BETA_2, "epsilon": 1e-30, "weight_decay": 0.125},
}


def network(units=K, dtype="float64"):
    return sn.Sequential([sn.Dense(8), sn.LeakyReLU(0.125), sn.Dense(units)], (5,), 0, dtype)


def trajectories(loss, theirs, optimizer, their_optimizer, choose):
    model, found = network(), []
    net = to_keras.build(model)
    model.compile(optimizer, loss)
    their_optimizer.build(net.trainable_variables)

    @tf.function
    def step(x, y, weights):
        with tf.GradientTape() as tape:
            value = theirs(y, net(x, training=True), sample_weight=weights)
        gradients = tape.gradient(value, net.trainable_variables)
        their_optimizer.apply(gradients, net.trainable_variables)
        return value

    for seed in range(100):
        given = data(seed)
        x, y, weights = (
            np.random.default_rng(seed).standard_normal((N, 5)),
            choose(given),
            given[-1],
        )
        value = float(step(tf.constant(x), tf.constant(y), tf.constant(weights)))
        found.append((model.train_on_batch(x, y, sample_weight=weights)[0], value))
    params = model.flat_params.copy()
    to_keras.load_weights(model, net)
    return np.array(found), params, model.flat_params


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_100_steps_of_every_optimizer_agree(name):
    kind, settings = name.split(",")[0], OPTIMIZERS[name]
    found, ours, theirs = trajectories(
        *pair_of("sparse_categorical_crossentropy"),
        getattr(sn, kind)(RATE, **settings),
        getattr(keras.optimizers, kind)(RATE, **settings),
        lambda given: given[3],
    )
    # Keras's 0.96 in Nadam is a float32
    rtol = 1e-6 if kind == "Nadam" else 1e-9
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=rtol)
    np.testing.assert_allclose(ours, theirs, rtol=10 * rtol, atol=rtol / 100)


@pytest.mark.parametrize(
    "name", ["binary_crossentropy logits", "mse", "mae", "huber", "categorical_hinge"]
)
def test_100_steps_of_every_loss_agree(name):
    found, ours, theirs = trajectories(
        *pair_of(name),
        sn.SGD(RATE),
        keras.optimizers.SGD(RATE),
        lambda given: LOSSES[name][1](given)[1],
    )
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-9)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-11)


# ---- Keras's own fit and evaluate ----------------------------------------------------------------


@pytest.mark.parametrize("given", ["sample_weight", "class_weight", "validation_data"])
def test_fit_and_evaluate_use_weights_in_the_same_sense(given):
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((50, 5)).astype(np.float32), rng.integers(0, K, 50)
    weights = rng.uniform(0, 3, 50)
    how = {
        "sample_weight": {"sample_weight": weights, "validation_split": 0.2},
        "class_weight": {"class_weight": {0: 4.0, 2: 0.5}, "validation_split": 0.2},
        "validation_data": {"validation_data": (x[:9], y[:9], weights[:9])},
    }[given]
    model = network(dtype="float32")
    net = to_keras.build(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.SGD(0.125), loss, metrics=["accuracy"])
    ours = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(sn.SGD(0.125), ours, ["accuracy"])
    settings = {"batch_size": 16, "epochs": 3, "shuffle": False, "verbose": 0}
    theirs, found = net.fit(x, y, **settings, **how), model.fit(x, y, **settings, **how)
    assert found.history.keys() == theirs.history.keys()
    for key, values in theirs.history.items():
        np.testing.assert_allclose(found.history[key], values, rtol=1e-4, err_msg=key)
    one = net.evaluate(x, y, 16, 0, sample_weight=weights)
    np.testing.assert_allclose(model.evaluate(x, y, 16, 0, sample_weight=weights), one, rtol=1e-4)


def test_figures_of_yes_and_no_and_of_the_best_few_are_keras_s():
    rng = np.random.default_rng(5)
    p, t = rng.random((40, 1), np.float32), rng.integers(0, 2, 40)
    scores, labels = rng.standard_normal((40, 7), np.float32), rng.integers(0, 7, 40)
    pairs = [
        (sn.metrics.Precision(), keras.metrics.Precision(), t[:, None], p),
        (sn.metrics.Recall(threshold=0.3), keras.metrics.Recall(0.3), t[:, None], p),
        (sn.metrics.BinaryAccuracy(), keras.metrics.BinaryAccuracy(), t[:, None], p),
        (sn.metrics.TopK(3), keras.metrics.SparseTopKCategoricalAccuracy(3), labels, scores),
        (sn.metrics.MeanAbsoluteError(), keras.metrics.MeanAbsoluteError(), t[:, None], p),
        (sn.metrics.MeanSquaredError(), keras.metrics.MeanSquaredError(), t[:, None], p),
    ]
    for ours, theirs, y_true, y_pred in pairs:
        for part in (slice(0, 16), slice(16, 32), slice(32, 40)):
            ours.update_state(y_true[part], y_pred[part])
            theirs.update_state(y_true[part], y_pred[part])
        assert ours.result() == pytest.approx(float(theirs.result()), rel=1e-5), ours.name
    f1 = keras.metrics.F1Score(average="macro")
    f1.update_state(np.eye(7)[labels], np.eye(7)[scores.argmax(axis=1)])
    ours = sn.metrics.F1()
    ours.update_state(labels, scores)
    assert ours.result() == pytest.approx(float(f1.result()), rel=1e-5)
