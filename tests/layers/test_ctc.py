"""CTC against the sum over all paths; reading by greedy choice, by beam and by alignment."""

import itertools

import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import GENERATORS, ctc_targets

import scratchnet as sn
from scratchnet import ctc, gradcheck
from scratchnet.losses import CTC

FRAMES, CLASSES = st.integers(1, 5), st.integers(2, 4)


@settings(max_examples=25)
@given(rng=GENERATORS, t=FRAMES, k=CLASSES, data=st.data())
def test_loss_and_occupancy_equal_the_sum_over_all_paths(backend, rng, t, k, data):
    blank = data.draw(st.integers(0, k - 1))
    probs = rng.dirichlet(np.ones(k), (3, t))
    labels, lengths, frames = ctc_targets(rng, 3, t, k, blank)
    losses, occupancy = ctc.ctc_loss(np.log(probs), labels, lengths, frames, blank)
    for i in range(3):
        p, share = oracles.ctc_probability(probs[i, : frames[i]], labels[i, : lengths[i]], blank)
        assert losses[i] == pytest.approx(-np.log(p), rel=1e-12, abs=1e-12)
        np.testing.assert_allclose(occupancy[i, : frames[i]], share, atol=1e-12)
        assert not occupancy[i, frames[i] :].any()


@settings(max_examples=8)
@given(rng=GENERATORS, t=st.integers(4, 7), blank=st.integers(-1, 3))
def test_the_gradient_is_the_numeric_one(backend, rng, t, blank):
    labels = ctc_targets(rng, 3, t, 5, blank % 5)[0]
    for from_logits in (True, False):
        y_pred = rng.standard_normal((3, t, 5))
        y_pred = y_pred if from_logits else rng.dirichlet(np.ones(5), (3, t)) + 1e-3
        check = gradcheck.check_loss(CTC(from_logits, blank), y_pred, labels, tolerance=1e-6)
        assert check.passed, check


def test_frames_that_do_not_count_change_nothing(backend, rng):
    z, labels = rng.standard_normal((2, 6, 4)), np.array([[1, 1, 2], [3, 0, 0]])
    loss, short = CTC(from_logits=True), CTC(from_logits=True)
    value = loss.forward(z, labels, frames=np.array([4, 6]))
    dy = loss.backward()
    one = short.forward(z[:1, :4], labels[:1])
    first = short.backward()
    two = short.forward(z[1:], labels[1:])
    assert value == pytest.approx((one + two) / 2, rel=1e-12)
    np.testing.assert_allclose(dy[0, :4], first[0] / 2, rtol=1e-12)
    assert not dy[0, 4:].any()
    z[0, 4:] = 100
    assert loss.forward(z, labels, frames=np.array([4, 6])) == value


def test_no_labels_are_a_row_of_blanks(backend, rng):
    probs = rng.dirichlet(np.ones(3), (2, 4))
    for labels in (np.zeros((2, 3), int), np.zeros((2, 0), int)):
        loss = CTC()
        assert loss(probs, labels) == pytest.approx(-np.log(probs[:, :, 0]).sum() / 2)
        expected = np.zeros(probs.shape)
        expected[:, :, 0] = -0.5 / probs[:, :, 0]
        np.testing.assert_allclose(loss.backward(), expected)


def test_a_hundred_frames_far_from_the_labels_are_exact_in_both_dtypes(backend):
    """e^-20000 is no number; its logarithm is."""
    z = np.zeros((1, 200, 3))
    z[0, :, 0] = 100
    labels = np.full((1, 100), 2)
    labels[0, ::2] = 1
    for dtype in (np.float32, np.float64):
        loss = CTC(from_logits=True)
        # 100 of the 200 frames are labels: there are few ways beside e^-10000
        assert loss(z.astype(dtype), labels) == pytest.approx(1e4, rel=0.02)
        assert np.isfinite(loss.backward()).all()


def test_labels_that_do_not_fit_are_an_error_with_the_row(backend, rng):
    z = rng.standard_normal((2, 3, 4))
    loss = CTC(from_logits=True)
    assert np.isfinite(loss(z, np.array([[1, 1], [1, 2]])))
    for labels in ([[1, 0, 0], [1, 1, 2]], [[1, 0, 0, 0], [1, 2, 3, 1]]):
        with pytest.raises(sn.InputError, match="3 frames can hold.*in row 1, which need 4"):
            loss(z, np.array(labels))
    with pytest.raises(sn.InputError, match="in row 0, which need 2"):
        loss.forward(z, np.array([[1, 2], [1, 0]]), frames=np.array([1, 3]))
    model = sn.Sequential([sn.Dense(4), sn.Reshape((1, 4))], (2,))
    model.compile("sgd", loss)
    with pytest.raises(sn.InputError, match="1 frames can hold"):
        model.fit(np.zeros((2, 2)), np.array([[1, 0], [1, 2]]), verbose=0)


def test_the_function_is_infinite_where_no_path_is(backend):
    log_probs = np.log(np.full((3, 2, 3), 1 / 3))
    log_probs[2, 0] = [-np.inf, -np.inf, 0]
    labels, lengths = np.array([[1, 1], [1, 2], [1, 0]]), np.array([2, 2, 1])
    losses, occupancy = ctc.ctc_loss(log_probs, labels, lengths, np.array([2, 2, 2]), 0)
    assert np.isinf(losses[0]) and np.isfinite(losses[1]) and np.isinf(losses[2])
    assert not occupancy[0].any() and not occupancy[2].any()
    losses, occupancy = ctc.ctc_loss(log_probs, labels, lengths, np.array([0, 2, 0]), 0)
    assert np.isinf(losses[[0, 2]]).all()


def test_what_is_no_number_is_seen_in_its_line_alone(backend, rng):
    log_probs = np.log(rng.dirichlet(np.ones(3), (3, 6)))
    log_probs[1, 3, 0] = np.nan
    labels, lengths = np.array([[1, 2]] * 3), np.array([2, 2, 2])
    losses, occupancy = ctc.ctc_loss(log_probs, labels, lengths, np.array([6, 6, 6]), 0)
    np.testing.assert_array_equal(np.isnan(losses), [False, True, False])
    assert np.isnan(occupancy[1]).all() and np.isfinite(occupancy[[0, 2]]).all()


@pytest.mark.parametrize(
    "labels, text",
    [
        ([1, 2], r"shape \(2, labels\), .*\(2,\)"),
        ([[1, 2]], r"shape \(2, labels\), .*\(1, 2\)"),
        ([[1, 4], [0, 0]], "from 0 to 3, found 4"),
        ([[1, -1], [0, 0]], "from 0 to 3, found -1"),
        ([[1, 0], [0, 2]], "behind a row's last label alone"),
        ([[0.5, 0], [0, 0]], "fractions"),
    ],
)
def test_wrong_labels_are_refused(labels, text, rng):
    with pytest.raises(sn.InputError, match=text):
        CTC()(rng.dirichlet(np.ones(4), (2, 6)), np.array(labels))


def test_wrong_settings_are_refused(rng):
    y_pred, labels = rng.dirichlet(np.ones(4), (2, 6)), np.zeros((2, 1), int)
    for blank in (-2, 0.5, True):
        with pytest.raises(sn.InputError, match="blank"):
            CTC(blank=blank)
    with pytest.raises(sn.InputError, match="blank: expected one of 4 classes, found 4"):
        CTC(blank=4)(y_pred, labels)
    with pytest.raises(sn.InputError, match=r"\(n, frames, classes\), found \(2, 4\)"):
        CTC()(y_pred[0, :2], labels)
    for frames in ([6], [6, 7], [6, -1], [1.0, 2.0]):
        with pytest.raises(sn.InputError, match="frames: expected 2 whole numbers from 0 to 6"):
            CTC().forward(y_pred, labels, frames=np.array(frames))


def test_a_model_that_ends_in_softmax_folds_it_and_is_saved_with_its_loss(rng, tmp_path):
    x, labels = rng.standard_normal((4, 8)), np.array([[1, 2], [2, 2], [1, 0], [0, 0]])
    found = []
    for last, from_logits in (([sn.Softmax()], False), ([], True)):
        model = sn.Sequential([sn.Dense(18), sn.Reshape((6, 3)), *last], (8,), dtype=np.float64)
        model.compile("sgd", CTC(from_logits))
        found.append((model.loss_and_gradients(x, labels), model.flat_grads.copy()))
    assert found[0][0] == found[1][0]
    np.testing.assert_array_equal(found[0][1], found[1][1])
    model.save(tmp_path / "m")
    assert sn.load_model(tmp_path / "m").loss.config() == {"from_logits": True, "blank": 0}
    assert gradcheck.check_model(model, x, labels).passed
    with pytest.raises(sn.InputError, match="CTC.*leave out one of the two"):
        sn.Sequential([sn.Dense(6), sn.Softmax()], (8,)).compile("sgd", CTC(True))


def test_a_network_learns_where_digits_are_without_being_told(rng):
    """Bars of three heights in a row, any distance apart: the lowest are 1, the highest 3."""
    heights = rng.integers(1, 4, (160, 3))
    x, places = np.zeros((160, 4, 16, 1), np.float32), rng.integers(0, 3, (160, 3))
    for row, (hs, ps) in enumerate(zip(heights, places, strict=True)):
        for j in range(3):
            x[row, : hs[j], 5 * j + ps[j]] = 1
    layers = [sn.Conv2D(12, (4, 3), padding=((0, 0), (1, 1))), sn.ReLU(), sn.Conv2D(4, 1)]
    model = sn.Sequential([*layers, sn.Reshape((-1, 4)), sn.Softmax()], (4, 16, 1))
    model.compile(sn.Adam(0.03), "ctc")
    model.fit(x, heights, batch_size=16, epochs=30, verbose=0)
    read = [ctc.greedy(np.log(p)) for p in model.predict(x)]
    assert (
        np.mean([found == true for found, true in zip(read, heights.tolist(), strict=True)]) > 0.9
    )


# ---- reading -------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(rng=GENERATORS, t=FRAMES, k=CLASSES, blank=st.integers(-1, 1))
def test_a_beam_that_holds_all_prefixes_finds_the_most_probable_labels(rng, t, k, blank):
    probs = rng.dirichlet(np.full(k, 0.7), t)
    by_labels = {}
    for path in itertools.product(range(k), repeat=t):
        labels = oracles.collapsed(path, blank % k)
        p = np.prod(probs[np.arange(t), path])
        by_labels[labels] = by_labels.get(labels, 0.0) + p
    found = ctc.beam(np.log(probs), 10_000, blank)
    assert {one.labels for one in found} == by_labels.keys()
    for one in found:
        assert np.exp(one.log_p) == pytest.approx(by_labels[one.labels], rel=1e-10, abs=1e-14)
    assert np.exp(found[0].log_p) == pytest.approx(max(by_labels.values()))
    assert [one.log_p for one in found] == sorted((one.log_p for one in found), reverse=True)


def test_the_beam_finds_what_the_best_path_misses():
    """Graves 2012, figure 7.5: nothing is the best path, but "1" is on three of the others."""
    log_probs = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert ctc.greedy(log_probs) == []
    best, other = ctc.beam(log_probs, 2)
    assert best.labels == (1,) and np.exp(best.log_p) == pytest.approx(0.64)
    assert other.labels == () and np.exp(other.log_p) == pytest.approx(0.36)
    assert len(ctc.beam(log_probs, 1)) == 1


def test_greedy_writes_repetitions_once_and_leaves_blanks_out():
    path = [0, 3, 3, 0, 3, 1, 1, 2, 0, 0]
    log_probs = np.log(np.eye(4)[path] * 0.9 + 0.025)
    assert ctc.greedy(log_probs) == [3, 3, 1, 2]
    assert ctc.greedy(log_probs, blank=-1) == [0, 0, 1, 2, 0]
    assert ctc.greedy(log_probs[:0]) == []
    assert ctc.beam(log_probs[:0]) == [ctc.Found((), 0.0)]


@given(rng=GENERATORS, t=st.integers(1, 5), k=CLASSES)
def test_the_alignment_is_the_most_probable_path_of_the_labels(rng, t, k):
    probs = rng.dirichlet(np.ones(k), t)
    (labels,), (length,), _ = ctc_targets(rng, 1, t, k)
    labels = labels[:length].tolist()
    paths = [
        p for p in itertools.product(range(k), repeat=t) if oracles.collapsed(p, 0) == (*labels,)
    ]
    best = max(paths, key=lambda path: np.prod(probs[np.arange(t), path]))
    written = np.zeros(t, int)
    for label, (start, stop) in zip(labels, ctc.align(np.log(probs), labels), strict=True):
        assert not written[start:stop].any()
        written[start:stop] = label
    assert written.tolist() == list(best)


def test_what_cannot_be_read_is_refused():
    log_probs = np.log(np.full((2, 3), 1 / 3))
    with pytest.raises(sn.InputError, match="2 frames can hold, found labels that need 3"):
        ctc.align(log_probs, [1, 1])
    for wrong in (log_probs[0], log_probs[None], np.zeros((2, 3), int), np.zeros((2, 0))):
        with pytest.raises(sn.InputError, match=r"frames and classes \(t, k\)"):
            ctc.greedy(wrong)
    with pytest.raises(sn.InputError, match="blank"):
        ctc.greedy(log_probs, blank=3)
    with pytest.raises(sn.InputError, match="width"):
        ctc.beam(log_probs, 0)
    assert ctc.align(log_probs[:0], []) == []
