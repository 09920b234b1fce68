"""scratchnet beside PyTorch: the same weights, the same batches, the same numbers."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import EXAMPLES, GENERATORS, geometries

import scratchnet as sn
from scratchnet.interop import torch as to_torch

torch = pytest.importorskip("torch", reason='PyTorch comes with pip install "scratchnet[parity]"')

import parity  # noqa: E402
import parity_checks  # noqa: E402


def channels_last(y):
    return y.transpose(0, 2, 3, 1) if y.ndim == 4 else y


class TestTorch(parity_checks.Parity):
    kind = parity.Torch

    def vjp(self, them, x, dy, training):
        x = them.tensor(x).requires_grad_()
        y = them.net.train(training)(x)
        y.backward(them.tensor(dy))
        grads = them.grads() if them.model.count_params() else {}
        return channels_last(y.detach().numpy()), channels_last(x.grad.numpy()), grads


@given(EXAMPLES.flatmap(lambda n: geometries(st.just(n), pooling=True)), GENERATORS)
def test_of_equal_pixels_the_same_one_gets_the_gradient(geometry, rng):
    shape, _, padding, (window, strides, _) = geometry
    x = rng.integers(-1, 2, shape).astype(np.float64)

    def make():
        return sn.Sequential([sn.MaxPool2D(window, strides, padding)], shape[1:], 0, "float64")

    TestTorch().one_pass(make, x, rng)


def test_running_statistics_follow_but_for_the_unbiased_variance(rng):
    """m values a channel: PyTorch's share of a batch's variance is m / (m - 1) times as large."""
    rows = [sn.Flatten(), sn.BatchNorm(0.9), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential(rows, (2, 3, 4), 0, "float64")
    net, m, steps = to_torch.build(model), 5, 7
    for x in rng.standard_normal((steps, m, 2, 3, 4)):
        model.forward(x, training=True)
        net(torch.from_numpy(x.transpose(0, 3, 1, 2).copy()))
    ours = model.layers[1].buffers["running_var"].copy()
    mean = model.layers[1].buffers["running_mean"].copy()
    to_torch.load_state_dict(model, net.state_dict())
    start = 0.9**steps  # what is left of the first value, 1
    theirs = start + (model.layers[1].buffers["running_var"] - start) * (m - 1) / m
    np.testing.assert_allclose(theirs, ours, rtol=1e-12)
    np.testing.assert_allclose(model.layers[1].buffers["running_mean"], mean, atol=1e-12)


def small():
    rows = [sn.Conv2D(2, 3), sn.BatchNorm(), sn.ReLU(), sn.Flatten(), sn.Dense(3)]
    return sn.Sequential(rows, (5, 4, 1))


def test_names_are_those_of_the_same_row_and_weights_survive_the_round_trip():
    model = small()
    state = to_torch.state_dict(model)
    norms = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    assert [*state] == [
        *("0.weight", "0.bias"), *(f"1.{name}" for name in norms), *("4.weight", "4.bias")
    ]  # fmt: skip
    row = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.ReLU(),
        torch.nn.Flatten(), torch.nn.Linear(12, 3),
    )  # fmt: skip
    row.load_state_dict(state)
    other = sn.Sequential([type(at)(**at.config()) for at in model.layers], (5, 4, 1), seed=9)
    to_torch.load_state_dict(other, row.state_dict())
    for name, array in model.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array, err_msg=name)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda s: s | {"0.weight": s["0.weight"][:1]}, r"conv2d.W: .*\(2, 1, 3, 3\), found 0.w"),
        (lambda s: {n: t for n, t in s.items() if n != "4.bias"}, "found 7: nothing for dense.b"),
        (lambda s: {n: t for n, t in s.items() if n != "0.bias"}, "conv2d.b: expected bias"),
        (lambda s: s | {"9.weight": s["4.bias"]}, "expected 8 tensors, found 9: 9.weight too many"),
        (lambda s: s | {"0.bias": [1.0, 2.0]}, "0.bias: expected a tensor of floats, found list"),
        (lambda s: s | {"0.bias": torch.ones(2, dtype=int)}, "tensor of floats, found torch.int64"),
        (lambda s: [*s.values()], "state_dict: expected tensors by name, found list"),
    ],
)
def test_a_state_that_does_not_fit_is_one_line_and_changes_nothing(change, said):
    model = small()
    before = model.flat_params.copy()
    state = {name: torch.ones_like(t) for name, t in to_torch.state_dict(model).items()}
    with pytest.raises(sn.InputError, match=said):
        to_torch.load_state_dict(model, change(state))
    np.testing.assert_array_equal(model.flat_params, before)


def test_batchnorm_on_rows_has_no_equal():
    model = sn.Sequential([sn.BatchNorm()], (5, 3))
    with pytest.raises(sn.InputError, match="no equal of BatchNorm"):
        to_torch.build(model)


def test_the_report_prints_a_table_and_draws_the_curves(tmp_path, monkeypatch, capsys):
    given = ["--models", "mlp", "--frameworks", "torch", "--steps", "3", "--batch-size", "4"]
    files = ["--out", str(tmp_path), "--json", str(tmp_path / "all.json")]
    monkeypatch.setattr("sys.argv", ["parity.py", *given, *files])
    parity.main()
    printed = capsys.readouterr().out
    assert "PyTorch" in printed and "3 Adam steps" in printed and "Keras" not in printed
    found = json.loads((tmp_path / "all.json").read_text())["results"]["mlp"]["float64"]["torch"]
    assert len(found["losses"][0]) == 3
    assert max(found[quantity] for quantity in ("forward", "gradients", "Adam")) <= 1e-10
    assert (tmp_path / "parity.png").stat().st_size > 5_000
