"""Losses, weights of examples and optimizers beside PyTorch: values, gradients, 100 steps."""

import functools

import numpy as np
import pytest
from strategies import ctc_targets

import scratchnet as sn
from scratchnet import ctc, losses
from scratchnet.interop import torch as to_torch

torch = pytest.importorskip("torch", reason='PyTorch comes with pip install "scratchnet[parity]"')
from torch.nn import functional as nnf  # noqa: E402

N, K = 6, 4
#: so small that it says nothing where it stands: PyTorch's is beside the root, ours may be under it
TINY = 1e-30


def data(seed=0):
    """Scores, probabilities, targets, labels, distributions and weights."""
    rng = np.random.default_rng(seed)
    scores, targets = 2 * rng.standard_normal((2, N, K))
    labels, weights = rng.integers(0, K, N), rng.uniform(0, 3, N)
    return scores, rng.dirichlet(np.ones(K), N), targets, labels, weights


def hinge(y, labels):
    """Keras's definition, by PyTorch's derivative."""
    one_hot = nnf.one_hot(labels, K)
    return (1 + ((1 - one_hot) * y).amax(dim=1) - (one_hot * y).sum(dim=1)).clamp(min=0)


#: name: our loss, theirs for each example, what is predicted and what is true of `data`
LOSSES = {
    "binary": (
        losses.BinaryCrossentropy(),
        lambda p, t: nnf.binary_cross_entropy(p, t, reduction="none").mean(1),
        lambda d: (1 / (1 + np.exp(-d[0])), (d[2] > 0) * 1.0),
    ),
    "binary logits": (
        losses.BinaryCrossentropy(from_logits=True),
        lambda z, t: nnf.binary_cross_entropy_with_logits(z, t, reduction="none").mean(1),
        lambda d: (20 * d[0], d[1]),
    ),
    "mse": (
        losses.MeanSquaredError(),
        lambda y, t: nnf.mse_loss(y, t, reduction="none").mean(1),
        lambda d: (d[0], d[2]),
    ),
    "mae": (
        losses.MeanAbsoluteError(),
        lambda y, t: nnf.l1_loss(y, t, reduction="none").mean(1),
        lambda d: (d[0], d[2]),
    ),
    "huber": (
        losses.Huber(0.7),
        lambda y, t: nnf.huber_loss(y, t, reduction="none", delta=0.7).mean(1),
        lambda d: (d[0], d[2]),
    ),
    "hinge": (losses.CategoricalHinge(), hinge, lambda d: (d[0], d[3])),
    "divergence": (
        losses.KLDivergence(),
        lambda p, t: nnf.kl_div(p.log(), t, reduction="none").sum(1),
        lambda d: (d[1], np.roll(d[1], 1, 0)),
    ),
    "logits": (
        losses.SparseCategoricalCrossentropy(from_logits=True),
        lambda z, t: nnf.cross_entropy(z, t, reduction="none"),
        lambda d: (d[0], d[3]),
    ),
    "smooth": (
        losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.2),
        lambda z, t: nnf.cross_entropy(z, t, reduction="none", label_smoothing=0.2),
        lambda d: (d[0], np.eye(K)[d[3]]),
    ),
}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_gradients_agree(name, weighted):
    ours, theirs, choose = LOSSES[name]
    for seed in range(5):
        given = data(seed)
        y_pred, y_true = choose(given)
        weights = given[-1] if weighted else None
        tensor = torch.tensor(y_pred, requires_grad=True)
        each = theirs(tensor, torch.tensor(y_true))
        (each * torch.tensor(given[-1]) if weighted else each).mean().backward()
        expected = (each.detach().numpy() * (given[-1] if weighted else 1)).mean()
        assert ours.forward(y_pred, y_true, weights) == pytest.approx(expected, rel=1e-12)
        np.testing.assert_allclose(ours.backward(), tensor.grad.numpy(), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_agrees_for_all_lengths_and_repetitions(backend, blank):
    rng, ours = np.random.default_rng(blank), losses.CTC(from_logits=True, blank=blank)
    for n, t, k in ((5, 12, 6), (4, 40, 3), (1, 3, 4)):
        labels, lengths, frames = ctc_targets(rng, n, t, k, blank, most=min(t, 9))
        z = torch.tensor(3 * rng.standard_normal((n, t, k)), requires_grad=True)
        log_probs = z.log_softmax(2).transpose(0, 1)
        where = (torch.tensor(a) for a in (labels, frames, lengths))
        theirs = nnf.ctc_loss(log_probs, *where, blank=blank, reduction="sum") / n
        theirs.backward()
        found = ours.forward(z.detach().numpy(), labels, frames=frames)
        assert found == pytest.approx(theirs.item(), rel=1e-10)
        np.testing.assert_allclose(ours.backward(), z.grad.numpy(), rtol=1e-10, atol=1e-12)


def test_ctc_is_infinite_where_pytorch_says_so(backend):
    """Both functions; as a loss to be trained with, ours is an error instead."""
    log_probs = np.log(np.full((1, 2, 3), 1 / 3))
    found, _ = ctc.ctc_loss(log_probs, np.array([[1, 1]]), np.array([2]), np.array([2]), 0)
    tensors = torch.tensor(log_probs).transpose(0, 1), torch.tensor([[1, 1]])
    theirs = nnf.ctc_loss(*tensors, torch.tensor([2]), torch.tensor([2]), reduction="none")
    assert found[0] == theirs.item() == np.inf


RATE = 0.01
OPTIMIZERS = {
    "SGD": (
        lambda: sn.SGD(RATE, 0.9, nesterov=True),
        functools.partial(torch.optim.SGD, momentum=0.9, nesterov=True),
    ),
    "AdamW": (
        lambda: sn.AdamW(RATE, 0.1, epsilon=1e-8),
        functools.partial(torch.optim.AdamW, weight_decay=0.1),
    ),
    "RMSprop": (
        lambda: sn.RMSprop(RATE, 0.99, epsilon=TINY),
        functools.partial(torch.optim.RMSprop, eps=TINY),
    ),
    "RMSprop, centered": (
        lambda: sn.RMSprop(RATE, 0.95, 0.8, TINY, centered=True),
        functools.partial(torch.optim.RMSprop, alpha=0.95, momentum=0.8, eps=TINY, centered=True),
    ),
    "Adagrad": (
        lambda: sn.Adagrad(RATE, 0.2, TINY),
        functools.partial(torch.optim.Adagrad, initial_accumulator_value=0.2, eps=TINY),
    ),
    "Nadam": (
        lambda: sn.Nadam(RATE, epsilon=1e-8),
        functools.partial(torch.optim.NAdam, momentum_decay=1.0),
    ),
    "Nadam with decay": (
        lambda: sn.Nadam(RATE, epsilon=1e-8, weight_decay=0.1),
        functools.partial(
            torch.optim.NAdam, momentum_decay=1.0, weight_decay=0.1, decoupled_weight_decay=True
        ),
    ),
}


def trajectories(loss, loss_of, optimizer, their_optimizer, choose, units=K, steps=100):
    """The losses of 100 steps and the parameters after them, ours and theirs."""
    model = sn.Sequential([sn.Dense(8), sn.LeakyReLU(0.1), sn.Dense(units)], (5,), 0, "float64")
    net = to_torch.build(model)
    model.compile(optimizer, loss)
    theirs, found = their_optimizer(net.parameters(), lr=RATE), []
    for seed in range(steps):
        rng, given = np.random.default_rng(seed), data(seed)
        x, y, weights = rng.standard_normal((N, 5)), choose(given), given[-1]
        theirs.zero_grad()
        value = (loss_of(net(torch.tensor(x)), torch.tensor(y)) * torch.tensor(weights)).mean()
        value.backward()
        theirs.step()
        ours = model.train_on_batch(x, y, sample_weight=weights)[0]
        found.append((ours, value.item()))
    params = model.flat_params.copy()
    to_torch.load_state_dict(model, net.state_dict())
    return np.array(found), params, model.flat_params


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_100_steps_of_every_optimizer_agree(name):
    found, ours, theirs = trajectories(
        losses.SparseCategoricalCrossentropy(from_logits=True),
        LOSSES["logits"][1],
        OPTIMIZERS[name][0](),
        OPTIMIZERS[name][1],
        lambda given: given[3],
    )
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-9)
    # PyTorch keeps the product of Nadam's momenta as a float32
    atol = 1e-9 if name.startswith("Nadam") else 1e-11
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=atol)


@pytest.mark.parametrize("name", ["binary logits", "mse", "mae", "huber", "hinge", "smooth"])
def test_100_steps_of_every_loss_agree(name):
    loss, loss_of, choose = LOSSES[name]
    found, ours, theirs = trajectories(
        loss, loss_of, sn.SGD(RATE), torch.optim.SGD, lambda given: choose(given)[1]
    )
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-9)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-11)
