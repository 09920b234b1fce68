"""Weights to and from PyTorch and Keras: what holds without either of them."""

import sys

import numpy as np
import pytest

import scratchnet as sn
from scratchnet.interop import keras as to_keras
from scratchnet.interop import torch as to_torch


def make(seed=0):
    rows = [sn.Conv2D(2, 3), sn.BatchNorm(), sn.ReLU(), sn.Flatten(), sn.Dense(3)]
    return sn.Sequential(rows, (5, 4, 1), seed)


@pytest.mark.parametrize("call", [to_torch.build, to_torch.state_dict, to_keras.build])
def test_a_missing_framework_is_one_line_that_names_the_extra(call, monkeypatch):
    for name in ("torch", "keras"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(sn.InputError, match=r'pip install "scratchnet\[parity\]"'):
        call(make())


def test_keras_weights_are_copies_and_fill_another_model():
    model, other = make(0), make(1)
    to_keras.load_weights(other, to_keras.weights(model))
    np.testing.assert_array_equal(other.flat_params, model.flat_params)
    other.flat_params += 1
    assert (other.flat_params != model.flat_params).all()


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda w: [w[0][:2], *w[1:]], r"conv2d.W: expected numbers \(3, 3, 1, 2\), found float32"),
        (lambda w: w[:-1], "expected 8 arrays, found 7: nothing for dense.b"),
        (lambda w: [*w, w[0]], r"expected 8 arrays, found 9: \(3, 3, 1, 2\) too many"),
        (lambda w: [*w[:-1], np.array(["a", "b", "c"])], "dense.b: expected numbers"),
        (lambda w: dict(enumerate(w)), "expected a Keras model or a list of arrays, found dict"),
    ],
)
def test_weights_that_do_not_fit_are_one_line_and_change_nothing(change, said):
    model = make()
    before = model.flat_params.copy()
    ones = [np.ones_like(array) for array in to_keras.weights(model)]
    with pytest.raises(sn.InputError, match=said):
        to_keras.load_weights(model, change(ones))
    np.testing.assert_array_equal(model.flat_params, before)


def test_a_layer_of_ones_own_and_an_unbuilt_model_are_refused():
    class Mine(sn.ReLU):
        pass

    inside = sn.Sequential([sn.Residual([Mine()])], (3,))
    for model in (sn.Sequential([Mine()], (3,)), inside):
        with pytest.raises(sn.InputError, match="expected layers of .*, found Mine"):
            to_keras.weights(model)
    with pytest.raises(sn.InputError, match="expected a built model"):
        to_keras.weights(sn.Sequential([sn.ReLU()]))
