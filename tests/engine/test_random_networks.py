"""Random networks, four ways: groups, layers compiled, layers in NumPy, and PyTorch where it is.

SCRATCHNET_NETWORKS=5000 pytest -n0 -m slow -s tests/engine/test_random_networks.py     more of them
"""

import os

import numpy as np
import pytest

import scratchnet as sn

NETWORKS = int(os.environ.get("SCRATCHNET_NETWORKS", 60))
SEED = int(os.environ.get("SCRATCHNET_SEED", 1))


BENDS = [
    *(lambda: sn.LeakyReLU(0.2), sn.ELU, sn.GELU, sn.SiLU, sn.Sigmoid, sn.Softplus, sn.Tanh),
]


def network(rng):
    """A row of layers that fit one another, and the shape of its images."""
    shape = (int(rng.integers(4, 13)), int(rng.integers(4, 13)), int(rng.choice([1, 2, 3, 16, 32])))
    layers, at = [], shape
    for _ in range(rng.integers(1, 5)):
        kernel = tuple(int(rng.integers(1, 4)) for _ in range(2))
        kernel = (3, 3) if rng.random() < 0.4 else kernel
        strides = (
            (1, 1) if rng.random() < 0.7 else (int(rng.integers(1, 3)), int(rng.integers(1, 3)))
        )
        padding = [0, 1, "same", "valid"][rng.integers(4)]
        filters = int(rng.choice([1, 3, 8, 16, 32]))
        gaps = int(rng.choice([1, 1, 1, 2]))
        row = [sn.ZeroPadding2D(1)] * int(rng.random() < 0.2)
        row += [
            sn.Conv2D(filters, kernel, strides, padding, bool(rng.integers(2)), dilation_rate=gaps)
        ]
        others = [sn.DepthwiseConv2D(2, 1, "same", 2), sn.UpSampling2D(2, "bilinear")]
        others += [sn.Conv2DTranspose(3, 3, 2, "same"), sn.UpSampling2D((1, 2))]
        row += [others[rng.integers(4)]] * int(rng.random() < 0.3)
        row += [sn.BatchNorm(float(rng.uniform(0, 1)), 0.1)] * int(rng.integers(2))
        row += [[], [sn.ReLU()], [sn.ReLU()], [BENDS[rng.integers(len(BENDS))]()]][rng.integers(4)]
        row += [sn.LayerNorm(epsilon=0.1)] * int(rng.random() < 0.2)
        pools = [[], [sn.MaxPool2D(2)], [sn.MaxPool2D(2, 1)], [sn.AveragePool2D(2)]]
        row += pools[rng.integers(4)]
        if rng.random() < 0.2:
            inner = [sn.DepthwiseConv2D(3, padding=1), sn.ReLU()]
            row += [sn.Residual(inner), sn.ReLU()]
        try:
            after = at
            for layer in row:
                after = layer.shape_after(after)
        except sn.InputError:  # a window that no longer fits
            break
        layers, at = layers + row, after
    ends = [sn.GlobalAveragePool2D(), sn.GlobalMaxPool2D(), sn.Flatten(), sn.Flatten()]
    layers += [ends[rng.integers(4)]]
    if rng.random() < 0.5:
        layers += [sn.Dense(int(rng.choice([5, 16, 300]))), sn.ReLU()]
    return [*layers, sn.Dense(int(rng.integers(2, 11))), sn.Softmax()], shape


def passes(model, x, dy, training):
    """Output, dx, every gradient and running statistic of one forward and backward pass."""
    before = model.flat_buffers.copy()
    y = model.forward(x, training)
    dx = model.backward(dy)
    found = [y, dx, model.flat_grads.copy(), model.flat_buffers.copy()]
    model.flat_buffers[:] = before
    return found


def assert_close(found, expected, what, logits=1.0):
    """logits: the largest of them; a Softmax passes on their rounding, which grows with them."""
    for a, b in zip(found, expected, strict=True):
        scale = max(1.0, float(np.abs(b).max(initial=0))) * max(1.0, logits / 1000)
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * scale, err_msg=what)


def largest_logit(model, x, training):
    before = model.flat_buffers.copy()
    for layer in model.layers[:-1]:
        x = layer.forward(x, training)
    model.flat_buffers[:] = before
    return float(np.abs(x).max())


def compare(seed):
    rng = np.random.default_rng([SEED, seed])
    layers, shape = network(rng)
    model = sn.Sequential(layers, shape, seed=seed, dtype="float64")
    for array in (model.flat_params, model.flat_buffers):
        array += rng.uniform(0.05, 0.3, array.shape)
    n, training = int(rng.integers(1, 9)), bool(rng.integers(2))
    x = rng.standard_normal((n, *shape))
    x[rng.random(x.shape) < 0.3] = 0  # zeros are passed over in places
    dy = rng.standard_normal((n, *model.output_shape))
    what = f"network {seed}: {model}, batch {n}, training {training}"
    grouped = passes(model, x, dy, training)
    again = passes(model, x, dy, training)
    assert_close(again, grouped, f"{what}: a second time", logits=0)
    model.fuse, logits = False, largest_logit(model, x, training)
    assert_close(grouped, passes(model, x, dy, training), f"{what}: groups and layers", logits)
    with sn.use_backend("reference"):
        assert_close(grouped, passes(model, x, dy, training), f"{what}: groups and NumPy", logits)
    return model, x, training, grouped, what, logits


@pytest.mark.slow
def test_random_networks_compute_the_same_in_every_way():
    for seed in range(NETWORKS):
        compare(seed)
    print(f"{NETWORKS} networks")


@pytest.mark.slow
def test_random_networks_compute_what_pytorch_computes():
    torch = pytest.importorskip("torch", reason='needs PyTorch: pip install ".[parity]"')
    from scratchnet.interop import torch as to_torch

    for seed in range(NETWORKS):
        model, x, training, (y, *_), what, logits = compare(seed)
        net = to_torch.build(model).train(training)
        images = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
        if training and any(isinstance(leaf, sn.BatchNorm) for leaf in model.layers) and len(x) < 2:
            continue  # PyTorch refuses one value a channel
        theirs = net(images).detach().numpy()
        assert_close([y], [theirs], f"{what}: PyTorch", logits)
