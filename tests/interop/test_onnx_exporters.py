"""Networks as PyTorch's two exporters write them today open here, and compute the same."""

import contextlib
import io
import warnings

import numpy as np
import pytest

from scratchnet.interop import onnx

NEEDED = 'needs PyTorch and onnxscript, for its default exporter: pip install ".[parity]"'
torch = pytest.importorskip("torch", reason=NEEDED)
pytest.importorskip("onnxscript", reason=NEEDED)
nn = torch.nn

#: of the older exporter; the default one chooses its own
OPSET = 17


class View(nn.Module):
    def forward(self, x):
        return x.view(x.size(0), -1)


class Reshape(nn.Module):
    def forward(self, x):
        return x.reshape(x.shape[0], -1)


BENDS = [
    *(nn.ReLU, lambda: nn.LeakyReLU(0.1), lambda: nn.Dropout(0.3), nn.SiLU, nn.GELU, nn.Softplus),
    *(lambda: nn.GELU("tanh"), nn.ELU, nn.Sigmoid, nn.Tanh),
]


def network(seed):
    """A random row of layers in evaluation mode, and the shape of its images (c, h, w)."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    channels, shape = (
        int(rng.integers(1, 4)),
        (int(rng.integers(12, 20)), int(rng.integers(12, 20))),
    )
    layers, before = [], channels
    for _ in range(rng.integers(1, 3)):
        filters, kernel, stride, pad = (int(rng.integers(*ends)) for ends in ENDS)
        layers.append(nn.Conv2d(before, filters, kernel, stride, pad, bias=bool(rng.integers(2))))
        before = filters
        if rng.integers(2):
            norm = nn.BatchNorm2d(filters)
            norm.running_mean.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
            layers.append(norm)
        layers.append(BENDS[rng.integers(len(BENDS))]())
        if rng.integers(2):
            layers.append([nn.MaxPool2d(2, 1), nn.AvgPool2d(2, 1)][rng.integers(2)])
    with torch.no_grad():
        maps = nn.Sequential(*layers).eval()(torch.zeros(1, channels, *shape)).shape
    end = rng.integers(4)
    if end == 3:
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(maps[1], 6)]
    else:
        flat = [nn.Flatten(), View(), Reshape()][end]
        layers += [flat, nn.Linear(int(np.prod(maps[1:])), 6)]
    if rng.integers(2):
        layers.append(nn.Softmax(1))
    return nn.Sequential(*layers).eval(), (channels, *shape)


#: least and most, excluded, of filters, kernel, stride and padding
ENDS = ((1, 9), (1, 4), (1, 3), (0, 2))


every_exporter = pytest.mark.parametrize("exporter", ["default", "older"])


@every_exporter
@pytest.mark.parametrize("seed", range(12))
def test_a_network_of_pytorchs_opens_and_computes_the_same(seed, exporter, tmp_path):
    check(*network(seed), exporter, tmp_path)


@every_exporter
def test_every_activation_opens_also_where_it_is_spelled_out_in_several_nodes(exporter, tmp_path):
    ends = [nn.Flatten(), nn.LayerNorm(30), nn.Linear(30, 4), nn.LogSoftmax(1)]
    bends = [part for make in BENDS for part in (make(), nn.Conv2d(2, 2, 1))]
    model = check(nn.Sequential(*bends[:-1], *ends).eval(), (2, 5, 3), exporter, tmp_path)
    kinds = [repr(layer) for layer in model.layers]
    for layer in ("SiLU()", "GELU(approximate='none')", "GELU(approximate='tanh')", "Softplus()"):
        assert layer in kinds


def check(net, shape, exporter, tmp_path):
    """Export, open, compare; returns the opened model."""
    x, path = torch.randn(1, *shape), tmp_path / "net.onnx"
    how = {} if exporter == "default" else {"dynamo": False, "opset_version": OPSET}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporters' own
        torch.onnx.export(net, (x,), str(path), **how)
    model = onnx.load(path, data_format="channels_first")
    found = model.predict(x.numpy().transpose(0, 2, 3, 1))
    np.testing.assert_allclose(found, net(x).detach().numpy(), rtol=1e-4, atol=1e-5)
    return model
