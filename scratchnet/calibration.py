"""Confidence that means what it says: measured, and mended by a temperature.

A network trained until it makes no mistake on its training images is too sure of the others.
Divided by a temperature T before Softmax, its scores rank the classes as before, but of the answers
given with 90 % confidence 90 % can be right. T is fitted to images that it was not trained on.

Source    Guo, Pleiss, Sun and Weinberger 2017, "On calibration of modern neural networks",
          sections 2 (expected calibration error) and 4.2 (temperature scaling)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, check_number
from .layers import Dense, Softmax
from .model import Sequential
from .targets import check_labels


def expected_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = 15
) -> float:
    """By how much confidence and accuracy differ, from 0 to 1: (n, k) beside labels (n,).

    Answers are sorted by their confidence, the largest probability, into `bins` of equal width:
    the sum over them of (answers in it / n) |their accuracy - their mean confidence|.
    """
    labels = check_labels(labels, probabilities)
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    surplus = np.bincount(which, right - confidence, minlength=bins)
    return float(np.abs(surplus).sum() / max(len(labels), 1))


def fitted_temperature(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The T that makes softmax(log(probabilities) / T) the most likely: (n, k), labels (n,).

    With b = 1 / T and z = log(probabilities) the mean loss is log sum_j exp(b z_j) - b z_label, and
    its derivative by b is E[z_j] - z_label, the mean over the classes by their new probabilities.
    That never falls as b grows, for the loss is convex, so its zero is found by halving.
    Answers of which all are right would take T to 0: it stays between 1/8 and 8.
    """
    labels = check_labels(labels, probabilities)
    z = np.log(np.maximum(probabilities.astype(np.float64), np.finfo(np.float32).tiny))
    true = z[np.arange(len(z)), labels].mean()
    low, high = np.log(1 / 8), np.log(8)
    for _ in range(50):
        middle = (low + high) / 2
        scores = np.exp(middle) * (z - z.max(axis=1, keepdims=True))
        p = np.exp(scores)
        expected = ((p * z).sum(axis=1) / p.sum(axis=1)).mean()
        low, high = (low, middle) if expected > true else (middle, high)
    return float(np.exp(-(low + high) / 2))


def set_temperature(model: Sequential, temperature: float) -> None:
    """Divide the model's scores by the temperature: the parameters of its last Dense, for good.

    InputError unless the model ends with Dense and Softmax.
    """
    check_number("temperature", temperature, above=0)
    if len(model.layers) < 2 or not isinstance(model.layers[-1], Softmax):
        raise InputError("model: expected Dense and Softmax at its end, found no Softmax")
    last = model.layers[-2]
    if not isinstance(last, Dense):
        found = type(last).__name__
        raise InputError(f"model: expected Dense before its Softmax, found {found}")
    for parameter in last.params.values():
        parameter /= np.asarray(temperature, parameter.dtype)
