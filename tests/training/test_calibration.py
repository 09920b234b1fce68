"""Calibration: the error as it is defined, and the temperature that a distortion is undone by."""

import numpy as np
import pytest

import scratchnet as sn
from scratchnet import InputError, calibration


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def test_the_error_is_what_its_definition_says():
    probabilities = np.array([[0.95, 0.05], [0.91, 0.09], [0.4, 0.6], [0.35, 0.65]])
    labels = np.array([0, 1, 1, 1])
    # in ten bins: 0.95 and 0.91 of which one is right; 0.6 and 0.65, both right
    want = 0.5 * abs(0.5 - 0.93) + 0.5 * abs(1 - 0.625)
    found = calibration.expected_calibration_error(probabilities, labels, bins=10)
    assert found == pytest.approx(want)
    sure = np.array([[1.0, 0.0]])
    assert calibration.expected_calibration_error(sure, np.array([0])) == 0


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_of_scores_is_found(temperature, rng):
    z = 3 * rng.standard_normal((4000, 5))
    p = softmax(z)
    labels = np.array([rng.choice(5, p=row) for row in p])
    distorted = softmax(z / temperature)
    found = calibration.fitted_temperature(distorted.astype(np.float32), labels)
    assert found == pytest.approx(1 / temperature, rel=0.08)


def test_answers_that_are_all_right_leave_a_finite_temperature():
    found = calibration.fitted_temperature(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    assert found == pytest.approx(1 / 8, rel=1e-6)


def test_a_model_cooled_ranks_as_before_and_is_less_sure(rng):
    layers = [sn.Flatten(), sn.Dense(6), sn.ReLU(), sn.Dense(4), sn.Softmax()]
    model = sn.Sequential(layers, (3, 3, 1), seed=0)
    x = rng.standard_normal((7, 3, 3, 1)).astype(np.float32)
    before = model.predict(x)
    calibration.set_temperature(model, 2.0)
    want = softmax(np.log(before) / 2)
    np.testing.assert_allclose(model.predict(x), want, rtol=1e-5)


def test_what_cannot_be_cooled_is_refused():
    flat = sn.Sequential([sn.Flatten(), sn.Dense(3)], (2, 2, 1))
    with pytest.raises(InputError, match="Softmax at its end, found no Softmax"):
        calibration.set_temperature(flat, 2.0)
    other = sn.Sequential([sn.Flatten(), sn.Dense(3), sn.ReLU(), sn.Softmax()], (2, 2, 1))
    with pytest.raises(InputError, match="Dense before its Softmax, found ReLU"):
        calibration.set_temperature(other, 2.0)
    with pytest.raises(InputError, match="temperature"):
        calibration.set_temperature(flat, 0)
