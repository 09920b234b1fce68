"""Binary cross-entropy, differences, hinge and divergence: definition, gradient, edges, weights.

The cross-entropies of classes are in test_losses.py.
"""

import numpy as np
import oracles
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import GENERATORS, ctc_targets

import scratchnet as sn
from scratchnet import gradcheck
from scratchnet.losses import (
    CTC,
    LOSSES,
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalHinge,
    Huber,
    KLDivergence,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)

SIZES = st.integers(1, 5)


def logistic(z):
    return 1 / (1 + np.exp(-z))


def binary(rng, n, k):
    return logistic(rng.standard_normal((n, k))), rng.integers(0, 2, (n, k))


def regression(rng, n, k):
    return 2 * rng.standard_normal((2, n, k))


def scores(rng, n, k):
    return 2 * rng.standard_normal((n, k)), rng.integers(0, k, n)


def distributions(rng, n, k):
    return rng.dirichlet(np.ones(k), n) + 1e-6, rng.dirichlet(np.ones(k), n)


def classes(rng, n, k):
    return rng.dirichlet(np.ones(k), n) + 1e-6, rng.integers(0, k, n)


def frames(rng, n, k):
    return rng.dirichlet(np.ones(k), (n, 5)) + 1e-3, ctc_targets(rng, n, 5, k, most=3)[0]


#: name: the loss, what it is fed, its definition
KINDS = {
    "binary": (BinaryCrossentropy(), binary, oracles.binary_cross_entropy),
    "smooth binary": (
        BinaryCrossentropy(label_smoothing=0.2),
        binary,
        lambda p, t: oracles.binary_cross_entropy(p, 0.8 * t + 0.1),
    ),
    "binary, logits": (
        BinaryCrossentropy(from_logits=True),
        lambda *how: (binary(*how)[0] * 6 - 3, binary(*how)[1]),
        None,
    ),
    "squared": (MeanSquaredError(), regression, oracles.mean_squared_error),
    "absolute": (MeanAbsoluteError(), regression, oracles.mean_absolute_error),
    "huber": (Huber(), regression, lambda *y: oracles.huber(*y, 1.0)),
    "huber 0.3": (Huber(0.3), regression, lambda *y: oracles.huber(*y, 0.3)),
    "hinge": (CategoricalHinge(), scores, oracles.categorical_hinge),
    "divergence": (KLDivergence(), distributions, oracles.kl_divergence),
    "sparse": (SparseCategoricalCrossentropy(), classes, None),
    "sparse, logits": (SparseCategoricalCrossentropy(from_logits=True), classes, None),
    "ctc": (CTC(), frames, lambda p, t: oracles.ctc(p, t, 0)),
    "ctc, logits": (CTC(from_logits=True), frames, None),
    "one-hot": (CategoricalCrossentropy(), distributions, None),
    "one-hot, smooth": (CategoricalCrossentropy(True, 0.1), distributions, None),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def test_every_loss_is_here():
    assert {type(loss) for loss, _, _ in KINDS.values()} == {*LOSSES.values()}


@every_kind
@given(rng=GENERATORS, n=SIZES, k=st.integers(2, 5))
def test_loss_and_gradient_equal_the_definition(kind, rng, n, k):
    loss, make, oracle = KINDS[kind]
    y_pred, y_true = make(rng, n, k)
    if oracle is None:
        return
    value, gradient = oracle(y_pred, y_true)
    assert loss(y_pred, y_true) == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(loss.backward(), gradient, rtol=1e-12, atol=1e-14)


@every_kind
@given(rng=GENERATORS, n=SIZES, k=st.integers(2, 5))
def test_the_gradient_is_the_numeric_one(kind, rng, n, k):
    loss, make, _ = KINDS[kind]
    check = gradcheck.check_loss(loss, *make(rng, n, k), tolerance=1e-6)
    assert check.passed, check


@every_kind
@given(rng=GENERATORS, n=SIZES, k=st.integers(2, 5))
def test_weights_count_an_example_so_many_times(kind, rng, n, k):
    """sum w l / n: with whole weights the loss of a batch that has rows so often, by n."""
    loss, make, _ = KINDS[kind]
    y_pred, y_true = make(rng, n, k)
    weights = rng.integers(0, 4, n)
    repeated = np.repeat(np.arange(n), weights)
    found, gradient = loss.forward(y_pred, y_true, weights), loss.backward()
    again = loss(y_pred[repeated], y_true[repeated]) * len(repeated) / n
    assert found == pytest.approx(again, rel=1e-12, abs=1e-12)
    loss(y_pred, y_true)
    np.testing.assert_allclose(gradient, (loss.backward().T * weights).T, rtol=1e-12)
    assert loss.forward(y_pred, y_true, np.ones((n, 1))) == loss(y_pred, y_true)


@every_kind
@pytest.mark.parametrize("weights", [[1, 2], [1, 2, -1], [1, np.nan, 1], "abc", [[1, 1, 1]]])
def test_wrong_weights_are_refused(kind, weights, rng):
    loss, make, _ = KINDS[kind]
    with pytest.raises(sn.InputError, match="sample_weight: expected"):
        loss.forward(*make(rng, 3, 2), weights)


@every_kind
def test_float32_stays_float32_and_an_empty_batch_has_loss_0(kind, rng):
    loss, make, _ = KINDS[kind]
    y_pred, y_true = make(rng, 4, 3)
    y_pred = y_pred.astype(np.float32)
    y_pred.setflags(write=False)
    for weights in (None, [1, 2, 3, 0.5]):
        assert type(loss.forward(y_pred, y_true, weights)) is float
        assert loss.backward().dtype == np.float32
    assert loss(y_pred[:0], y_true[:0]) == 0
    assert loss.backward().shape == y_pred[:0].shape


@every_kind
def test_config_makes_the_same_loss(kind):
    loss, _, _ = KINDS[kind]
    assert type(loss)(**loss.config()).config() == loss.config()


# ---- yes or no -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_binary_logits_of_1e4_are_exact_where_probabilities_saturate(dtype):
    z, t = np.array([[1e4], [-1e4], [0.0]], dtype), np.array([0, 1, 1])
    loss = BinaryCrossentropy(from_logits=True)
    assert loss(z, t) == pytest.approx((2e4 + np.log(2)) / 3)
    np.testing.assert_allclose(loss.backward(), np.array([[1], [-1], [-0.5]]) / 3)
    loss = BinaryCrossentropy()
    assert loss(np.array([[1.0], [0.0], [0.5]], dtype), t) == pytest.approx(
        (-2 * np.log(1e-7) + np.log(2)) / 3, rel=1e-2 if dtype == np.float32 else 1e-6
    )
    assert np.isfinite(loss.backward()).all()


@pytest.mark.parametrize("end", [[], [sn.Sigmoid]])
@pytest.mark.parametrize("fuse", [True, False])
def test_labels_in_one_axis_or_two_train_one_sigmoid_output(end, fuse, rng):
    x = rng.standard_normal((60, 3))
    y = (x @ [1.0, -2, 0.5] > 0).astype(int)
    found = []
    for labels in (y, y[:, None], y.astype(np.float32), y.astype(bool)):
        layers = [sn.Dense(8), sn.ReLU(), sn.Dense(1), *(make() for make in end)]
        model = sn.Sequential(layers, (3,), fuse=fuse)
        model.compile(sn.Adam(0.05), BinaryCrossentropy(from_logits=not end), ["accuracy"])
        history = model.fit(x, labels, epochs=20, verbose=0).history
        loss, accuracy = model.evaluate(x, labels, verbose=0)
        out = model.predict(x)[:, 0]
        assert accuracy == np.mean((out > (0.5 if end else 0)) == y) > 0.95
        found.append((history, loss))
    assert all(one == found[0] for one in found)


def test_a_sigmoid_is_folded_into_its_loss(rng):
    """From logits of 1e4 the gradient is exact; from probabilities it would be that of 1e-7."""
    model = sn.Sequential([sn.Dense(1), sn.Sigmoid()], (1,), dtype="float64")
    model.compile("sgd", "binary_crossentropy")
    model.flat_params[:] = [1e4, 0]
    x, y = np.array([[1.0], [-1.0]]), np.array([0, 1])
    assert model.loss_and_gradients(x, y) == pytest.approx(1e4)
    np.testing.assert_allclose(model.flat_grads, [1, 0], atol=1e-12)
    model = sn.Sequential([sn.Dense(2), sn.Dense(1), sn.Sigmoid()], (3,), dtype="float64")
    model.compile("sgd", "binary_crossentropy")
    report = gradcheck.check_model(model, rng.standard_normal((4, 3)), np.array([0, 1, 1, 0]))
    assert report.passed, report
    assert type(model.loss) is BinaryCrossentropy and not model.loss.from_logits


@pytest.mark.parametrize(
    "y, text",
    [
        ([-1, 1], r"found -1; labels -1 and 1 go in as \(y \+ 1\) / 2"),
        ([0, 2], "from 0 to 1, found 2"),
        ([[0, 1], [1, 0]], r"expected shape \(2, 1\), found \(2, 2\)"),
        (["a", "b"], "expected numbers"),
    ],
)
def test_wrong_binary_labels_are_refused(y, text):
    with pytest.raises(sn.InputError, match=f"binary labels: .*{text}"):
        BinaryCrossentropy()(np.full((2, 1), 0.5), np.array(y))


# ---- the others ----------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [MeanSquaredError(), MeanAbsoluteError(), Huber()])
def test_targets_of_one_axis_and_outputs_of_two_mean_one_thing(loss, rng):
    a, b = rng.standard_normal((2, 5))
    expected, gradient = loss(a, b), loss.backward()
    for y_pred, y_true in ((a[:, None], b), (a, b[:, None]), (a[:, None], b[:, None])):
        assert loss(y_pred, y_true) == expected
        np.testing.assert_array_equal(loss.backward().reshape(-1), gradient)
    with pytest.raises(sn.InputError, match="expected shape"):
        loss(a[:, None], b[None])


def test_the_parts_of_huber_meet_at_delta():
    loss = Huber(2.0)
    values = [loss(np.array([[e]]), np.zeros((1, 1))) for e in (2 - 1e-9, 2.0, 2 + 1e-9)]
    np.testing.assert_allclose(values, 2.0, rtol=1e-8)
    with pytest.raises(sn.InputError, match="delta: expected a number above 0"):
        Huber(0)


def test_hinge_takes_all_ways_to_write_labels(rng):
    y_pred, labels = rng.standard_normal((6, 4)), rng.integers(0, 4, 6)
    one_hot, loss = np.eye(4)[labels], CategoricalHinge()
    expected, gradient = loss(y_pred, labels), loss.backward()
    for written in (labels[:, None], one_hot, 2 * one_hot - 1, labels.astype(float)):
        assert loss(y_pred, written) == expected
        np.testing.assert_array_equal(loss.backward(), gradient)
    for wrong in (np.ones((6, 4)), labels + 1, labels[:3]):
        with pytest.raises(sn.InputError, match="expected"):
            loss(y_pred, wrong)


def test_divergence_is_0_where_both_are_equal_and_takes_zeros(rng):
    t, loss = np.array([[0, 0.25, 0.75], [1, 0, 0]]), KLDivergence()
    assert loss(t, t) == 0
    assert loss(np.array([[0.0, 0.5, 0.5], [0.5, 0.5, 0]]), t) == pytest.approx(
        (0.25 * np.log(0.5) + 0.75 * np.log(1.5) + np.log(2)) / 2
    )
    with pytest.raises(sn.InputError, match="distributions: expected numbers from 0 to 1"):
        loss(t, -t)


def test_labels_of_the_wrong_kind_say_what_to_do():
    y_pred = np.full((3, 3), 1 / 3)
    sparse, dense = SparseCategoricalCrossentropy(), CategoricalCrossentropy()
    with pytest.raises(sn.InputError, match=r"categorical_crossentropy, or in as y\.argmax"):
        sparse(y_pred, np.eye(3))
    with pytest.raises(sn.InputError, match=r"sparse_categorical_crossentropy, or in as np\.eye"):
        dense(y_pred, np.array([0, 1, 2]))
    with pytest.raises(sn.InputError, match="from 0 to 2, found 3; labels that count from 1"):
        sparse(y_pred, np.array([1, 2, 3]))
    with pytest.raises(sn.InputError, match="from 0 to 2, found 5; the model has 3 outputs"):
        sparse(y_pred, np.array([0, 1, 5]))
    with pytest.raises(sn.InputError, match="one output is one class.*binary_crossentropy"):
        sparse(y_pred[:, :1], np.array([0, 1, 1]))
