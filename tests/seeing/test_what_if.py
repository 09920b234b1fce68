"""What if: changes on a copy, what follows, and the way back; images that are read as another."""

import numpy as np
import pytest
from kinds import EXAMPLES
from test_trace import all_kinds, image

import scratchnet as sn

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(scope="module")
def digits():
    _, (x, y) = sn.datasets.mnist.load_data()
    return sn.architectures.pretrained(), x, y


def test_each_change_is_what_it_says_and_is_undone(rng):
    model = all_kinds(rng)
    kept = {name: a.copy() for name, a in model.arrays().items()}
    x, other = image(rng, model), image(rng, model)
    w = sn.what_if(model, x, 1)
    losses = [w.now.loss]

    w.off("conv2d", 2)
    assert not w.now["conv2d"].output[..., 2].any() and w.now["conv2d"].output[..., 1].any()
    assert w.before["conv2d"].output[..., 2].any()
    losses.append(w.now.loss)
    w.set("dense.W", (3, 4), 0.25)
    assert w.now.parameters["dense.W"][3, 4] == 0.25
    losses.append(w.now.loss)
    w.paint(other)
    np.testing.assert_array_equal(w.now.x, other)
    losses.append(w.now.loss)
    w.learn(2, sn.SGD(0.01))
    by_hand = w._states[-2].model
    for _ in range(2):
        by_hand = sn.trace(by_hand, other, 1).step(sn.SGD(0.01)).after.model
    np.testing.assert_allclose(w.now.model.flat_params, by_hand.flat_params, rtol=1e-12)
    assert len(w.losses) == 3 and w.losses[0] == losses[-1] and w.losses[-1] == w.now.loss

    assert [line.split(":")[0] for line in w.changes] == [
        "conv2d", "dense.W[3, 4]", "image", "2 steps of SGD, learning rate 0.01",
    ]  # fmt: skip
    for loss in reversed(losses):
        w.undo()
        assert w.now.loss == loss
    assert w.undo().now is w.before and w.changes == []
    for name, a in model.arrays().items():
        np.testing.assert_array_equal(a, kept[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_unit_of_every_kind_with_weights_is_switched_off(name, rng):
    make, shape = EXAMPLES[name]
    layer = make()
    end = [sn.Flatten()] if len(layer.shape_after(shape)) > 1 else []
    model = sn.Sequential([layer, *end, sn.Dense(3), sn.Softmax()], shape, dtype="float64")
    for a in layer.params.values():
        a[:] = rng.uniform(0.5, 1, a.shape)
    w = sn.what_if(model, rng.uniform(0.1, 1, shape), 1)
    own, unit = w.now[0].layer, w.now[0].output.shape[-1] - 1
    if not own.params or own.inner():
        with pytest.raises(sn.InputError, match="weights of its own"):
            w.off(0, unit)
        return
    w.off(0, unit)
    assert not w.now[0].output[..., unit].any()
    np.testing.assert_array_equal(w.now[0].output[..., :unit], w.before[0].output[..., :unit])


def test_inside_a_residual_and_how_far_it_reaches(rng):
    block = sn.Residual([sn.Conv2D(2, 3, padding=1), sn.ReLU()])
    model = sn.Sequential([block, sn.Flatten(), sn.Dense(3)], (4, 5, 2), dtype=np.float64)
    w = sn.what_if(model, image(rng, model), 0).off("residual.main.conv2d", 0)
    assert not w.now["residual.main.conv2d"].output[..., 0].any()
    np.testing.assert_array_equal(w.now["residual"].output[..., 0], w.now.x[..., 0])
    moved = {row["layer"]: row["output_moved"] for row in w.rows()}
    assert moved["residual"] > 0 and moved["dense"] > 0
    assert [row["layer"] for row in w.rows()][1] == "residual.main.conv2d"


def test_what_is_shown(rng):
    model = all_kinds(rng)
    w = sn.what_if(model, image(rng, model), 2)
    assert "nothing changed yet" in str(w)
    w.off("dense", 1)
    assert "1. dense: unit 1 off" in str(w) and "p(2) (label)" in str(w)
    assert "dense: unit 1 off" in w._repr_html_() and repr(w).startswith("WhatIf(1 change:")


def test_an_image_is_changed_until_it_is_read_as_the_target(digits):
    model, x, y = digits
    found = sn.fool(model, x[0], 3)
    assert found.succeeded and found.probabilities[-1].argmax() == 3 != y[0]
    assert found.probabilities[-2].argmax() != 3  # no further than it has to
    assert 0 < found.size < 4 and found.steps == len(found.probabilities) - 1
    levels = found.x[..., 0] * 255
    assert levels.min() >= 0 and levels.max() <= 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-9)
    again = np.rint(levels).astype(np.uint8)
    assert model.predict(again).argmax() == 3  # as an image in a file, too
    np.testing.assert_allclose(model.predict(again)[0], found.probabilities[-1], atol=1e-4)
    np.testing.assert_array_equal(found.x, found.before + found.perturbation)
    assert "read as 3" in str(found) and "added" in found._repr_html_()


def test_what_is_read_so_already_is_left_as_it_is_and_a_few_steps_may_not_do(digits):
    model, x, y = digits
    found = sn.fool(model, x[0], int(y[0]))
    assert found.succeeded and found.steps == 0 and not found.perturbation.any()
    found = sn.fool(model, x[0], 3, steps=1)
    assert not found.succeeded and found.steps == 1 and "not read as 3" in str(found)
    first = sn.trace(model, x[0], 3)
    slope = first[0].dx
    step = np.clip(first.x - 0.15 * slope / np.linalg.norm(slope), 0, 1)
    assert np.abs(found.x - step).max() <= 0.5 / 255 + 1e-9


def test_a_network_without_a_slope_is_left():
    model = sn.Sequential([sn.Flatten(), sn.Dense(3)], (2, 2, 1))
    model.layers[1].params["W"][:] = 0
    model.layers[1].params["b"][0] = 1
    found = sn.fool(model, np.ones((2, 2)), 2)
    assert not found.succeeded and found.steps == 0


REFUSED = [
    (lambda w: w.off("conv9", 0), "layer: expected one of"),
    (lambda w: w.off("relu", 0), "relu: expected a layer with weights of its own"),
    (lambda w: w.off("conv2d", 3), "conv2d unit: expected a whole number from 0 to 2, found 3"),
    (lambda w: w.set("dense", 0, 1), "parameter: expected one of conv2d.W"),
    (lambda w: w.set("dense.W", (0, 9), 1), "dense.W: expected an index within"),
    (lambda w: w.set("dense.W", (0, 0), np.nan), "value"),
    (lambda w: w.paint(np.zeros((3, 3))), "expected shape"),
    (lambda w: w.learn(0), "steps: expected a whole number from 1 to 1,000, found 0"),
    (lambda w: w.learn(1, "newton"), "optimizer: expected one of"),
    (lambda w: sn.fool(w.before.model, w.before.x, 9), "label: expected"),
    (lambda w: sn.fool(w.before.model, w.before.x, 1, steps=0), "steps"),
    (lambda w: sn.fool(w.before.model, w.before.x, 1, length=0), "length"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED)
def test_bad_input_is_one_line_and_changes_nothing(call, message, rng):
    model = all_kinds(rng)
    w = sn.what_if(model, image(rng, model), 0)
    with pytest.raises(sn.InputError, match=message) as caught:
        call(w)
    assert "\n" not in str(caught.value) and w.changes == [] and w.now is w.before
