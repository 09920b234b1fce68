"""Frozen layers, at the start and between layers that learn: PyTorch takes the same steps."""

import numpy as np
import pytest

import scratchnet as sn

torch = pytest.importorskip("torch", reason='PyTorch comes with pip install "scratchnet[parity]"')
F = torch.nn.functional


def network(fuse, optimizer):
    layers = [sn.Conv2D(3, 3), sn.BatchNorm(), sn.ReLU(), sn.Conv2D(4, 3, padding="same")]
    layers += [sn.BatchNorm(), sn.ReLU(), sn.Flatten(), sn.Dense(3), sn.Softmax()]
    model = sn.Sequential(layers, (7, 7, 1), dtype="float64", fuse=fuse)
    model.compile(optimizer, "sparse_categorical_crossentropy")
    rng = np.random.default_rng(3)
    for norm in (layers[1], layers[4]):
        for array in (norm.params["gamma"], norm.buffers["running_var"]):
            array[...] = rng.uniform(0.5, 2, array.shape)
        norm.buffers["running_mean"][...] = rng.normal(size=norm.buffers["running_mean"].shape)
    for layer in (layers[0], layers[1], layers[4]):
        layer.trainable = False
    return model


def theirs(model):
    """The same network as a function of x, and the tensors that learn."""
    first, norm_1, _, second, norm_2, _, _, dense, _ = model.layers
    held = {layer: {k: torch.tensor(a) for k, a in layer.params.items()} for layer in model.layers}

    def normalized(x, norm):
        running = [
            torch.tensor(norm.buffers[key].copy()) for key in ("running_mean", "running_var")
        ]
        scales = held[norm]["gamma"], held[norm]["beta"]
        return F.batch_norm(x, *running, *scales, training=False, eps=norm.epsilon)

    def conv(x, layer, padding=0):
        W = held[layer]["W"].permute(3, 2, 0, 1)  # (kh, kw, c, f) -> (f, c, kh, kw)
        return F.conv2d(x, W, held[layer]["b"], padding=padding)

    learn = [held[layer][key] for layer in (second, dense) for key in ("W", "b")]
    for tensor in learn:
        tensor.requires_grad_()

    def logits(x):
        x = F.relu(normalized(conv(x, first), norm_1))
        x = F.relu(normalized(conv(x, second, padding=1), norm_2))
        return x.permute(0, 2, 3, 1).flatten(1) @ held[dense]["W"] + held[dense]["b"]

    return logits, learn


@pytest.mark.parametrize("fuse", [True, False], ids=["fused", "layers"])
@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_thirty_steps_beside_frozen_layers_are_pytorchs(kind, fuse):
    ours = {
        "sgd": lambda: sn.SGD(0.05, 0.9, nesterov=True),
        "adamw": lambda: sn.AdamW(0.01, weight_decay=0.1, epsilon=1e-8),
    }
    others = {
        "sgd": lambda at: torch.optim.SGD(at, 0.05, momentum=0.9, nesterov=True),
        "adamw": lambda at: torch.optim.AdamW(at, 0.01, weight_decay=0.1, eps=1e-8),
    }
    model = network(fuse, ours[kind]())
    logits, learn = theirs(model)
    optimizer = others[kind](learn)
    rng = np.random.default_rng(4)
    for _ in range(30):
        x, y = rng.random((8, 7, 7, 1)), rng.integers(0, 3, 8)
        loss, _ = model.train_on_batch(x, y)
        optimizer.zero_grad()
        their_loss = F.cross_entropy(logits(torch.tensor(x).permute(0, 3, 1, 2)), torch.tensor(y))
        their_loss.backward()
        optimizer.step()
        assert loss == pytest.approx(their_loss.item(), rel=1e-9)
    mine = [model.layers[i].params[key] for i in (3, 7) for key in ("W", "b")]
    for array, tensor in zip(mine, learn, strict=True):
        np.testing.assert_allclose(array, tensor.detach().numpy(), rtol=1e-8, atol=1e-10)
