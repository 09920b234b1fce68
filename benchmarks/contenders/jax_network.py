"""A network in JAX: functions of dictionaries of arrays, channels last. Imports JAX: loaded late.

`params` and `stats` (BatchNorm's running statistics) have an entry for each layer, by its name:
"conv2d", or "residual.main.conv2d" inside of another.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

import scratchnet as sn
from scratchnet import layers as L  # noqa: N812
from scratchnet.layers.registry import kind_of

Arrays = dict[str, dict[str, Any]]


class Network:
    """params, stats    copies of the model's; `logits` takes those of any step"""

    def __init__(self, model: sn.Sequential) -> None:
        *self.layers, last = model.layers
        if not isinstance(last, L.Softmax):
            raise sn.InputError(f"jax: expected a network that ends in Softmax, found {last}")
        named = leaves({layer.name: layer for layer in model.layers})
        self.numbers = {name: number for number, name in enumerate(named)}
        params = {name: dict(leaf.params) for name, leaf in named.items() if leaf.params}
        stats = {name: dict(leaf.buffers) for name, leaf in named.items() if leaf.buffers}
        self.params, self.stats = jax.tree.map(jnp.array, (params, stats))

    def logits(self, params: Arrays, stats: Arrays, x: Any, key: Any = None) -> tuple[Any, Arrays]:
        """What goes into the last Softmax, and the new statistics.

        key    random, for a pass as in training
        """
        run = Pass(params, dict(stats), key, self.numbers)
        return row(run, self.layers, "", x), run.stats


class Pass(NamedTuple):
    """One pass through the network."""

    params: Arrays
    stats: Arrays  # this pass's: BatchNorm writes to it
    key: Any
    numbers: dict[str, int]  # of the layers, so that each draws other random numbers


def row(run: Pass, layers: Sequence[L.Layer], start: str, x: Any) -> Any:
    """The output of layers whose names begin with `start`."""
    for layer in layers:
        if equal := kind_of(layer).jax:
            x = getattr(jax.nn, equal.name)(x, **equal.settings(layer))
            continue
        if type(layer) not in RUNS:
            known = ", ".join(kind.__name__ for kind in RUNS)
            raise sn.InputError(f"jax: expected one of {known}, found {layer}")
        x = RUNS[type(layer)](run, layer, f"{start}{layer.name}", x)
    return x


def conv(run: Pass, layer: L.Conv2D, name: str, x: Any) -> Any:
    p, padding, axes = run.params[name], edges(layer)[1:3], ("NHWC", "HWIO", "NHWC")
    how = {"rhs_dilation": layer.dilation_rate, "dimension_numbers": axes}
    x = lax.conv_general_dilated(x, p["W"], layer.strides, padding, **how)
    return x + p["b"] if "b" in p else x


def depthwise(run: Pass, layer: L.DepthwiseConv2D, name: str, x: Any) -> Any:
    p, padding, axes = run.params[name], edges(layer)[1:3], ("NHWC", "HWIO", "NHWC")
    W = p["W"].reshape(*layer.kernel_size, 1, -1)  # (kh, kw, c, m) -> (kh, kw, 1, c*m)
    how = {"rhs_dilation": layer.dilation_rate, "dimension_numbers": axes}
    how["feature_group_count"] = layer.input_shape[2]
    x = lax.conv_general_dilated(x, W, layer.strides, padding, **how)
    return x + p["b"] if "b" in p else x


def connected(run: Pass, layer: L.ConnectedConv2D, name: str, x: Any) -> Any:
    p, axes = run.params[name], ("NHWC", "HWIO", "NHWC")
    full = jnp.zeros((*layer.kernel_size, x.shape[3], layer.filters), x.dtype)
    full = full.at[:, :, layer.reads, layer.makes].set(p["W"])
    x = lax.conv_general_dilated(x, full, (1, 1), "VALID", dimension_numbers=axes)
    return x + p["b"] if "b" in p else x


def subsampling(run: Pass, layer: L.Subsampling2D, name: str, x: Any) -> Any:
    p, size = run.params[name], (1, *layer.pool_size, 1)
    sums = lax.reduce_window(x, 0.0, lax.add, size, size, "VALID")
    return sums * p["W"] + p["b"]


def conv_transpose(run: Pass, layer: L.Conv2DTranspose, name: str, x: Any) -> Any:
    p, axes = run.params[name], ("NHWC", "HWIO", "NHWC")
    padding = []  # of x with zeros between its pixels
    for axis in (0, 1):
        k, s, cut = layer.kernel_size[axis], layer.strides[axis], layer.pads[2 * axis]
        low, between = k - 1 - cut, (layer.input_shape[axis] - 1) * s + 1
        padding.append((low, layer.output_shape[axis] + k - 1 - between - low))
    turned = p["W"][::-1, ::-1].swapaxes(2, 3)
    how = {"lhs_dilation": layer.strides, "dimension_numbers": axes}
    x = lax.conv_general_dilated(x, turned, (1, 1), padding, **how)
    return x + p["b"] if "b" in p else x


def dense(run: Pass, layer: L.Dense, name: str, x: Any) -> Any:
    p = run.params[name]
    x = x @ p["W"]
    return x + p["b"] if "b" in p else x


def batch_norm(run: Pass, layer: L.BatchNorm, name: str, x: Any) -> Any:
    p, s = run.params[name], run.stats[name]
    mean, var = s["running_mean"], s["running_var"]
    if run.key is not None:
        axes = tuple(range(x.ndim - 1))
        old, keep = (mean, var), layer.momentum
        mean, var = x.mean(axes), x.var(axes)
        new = (keep * o + (1 - keep) * n for o, n in zip(old, (mean, var), strict=True))
        run.stats[name] = dict(zip(s, new, strict=True))
    return (x - mean) * (p["gamma"] * lax.rsqrt(var + layer.epsilon)) + p["beta"]


def max_pool(run: Pass, layer: L.MaxPool2D, name: str, x: Any) -> Any:
    kh, kw = layer.pool_size
    if layer.strides != (kh, kw) or any(layer.pads):
        return pooled(layer, x, -jnp.inf, lax.max)
    # the gradient of reduce_window is slow here: comparing slices takes half the time
    out_h, out_w, _ = layer.output_shape
    best, *others = (
        x[:, u : out_h * kh : kh, v : out_w * kw : kw] for u in range(kh) for v in range(kw)
    )
    for other in others:
        best = jnp.where(best >= other, best, other)  # the first of equals
    return best


def average_pool(run: Pass, layer: L.AveragePool2D, name: str, x: Any) -> Any:
    counts = pooled(layer, jnp.ones_like(x[:1]), 0.0, lax.add)
    return pooled(layer, x, 0.0, lax.add) / counts


def pooled(layer: L.MaxPool2D | L.AveragePool2D, x: Any, start: float, operation: Callable) -> Any:
    size, strides = (1, *layer.pool_size, 1), (1, *layer.strides, 1)
    return lax.reduce_window(x, start, operation, size, strides, edges(layer))


def up_sampling(run: Pass, layer: L.UpSampling2D, name: str, x: Any) -> Any:
    return jax.image.resize(x, (len(x), *layer.output_shape), layer.interpolation)


def edges(
    layer: L.Conv2D | L.DepthwiseConv2D | L.MaxPool2D | L.AveragePool2D | L.ZeroPadding2D,
) -> tuple[tuple[int, int], ...]:
    """The padding before and after, along each of (n, h, w, c)."""
    top, bottom, left, right = layer.pads
    return (0, 0), (top, bottom), (left, right), (0, 0)


def dropout(run: Pass, layer: L.Dropout, name: str, x: Any) -> Any:
    if run.key is None or not layer.rate:
        return x
    drawn = jax.random.fold_in(run.key, run.numbers[name])
    kept = jax.random.bernoulli(drawn, 1 - layer.rate, x.shape)
    return jnp.where(kept, x / (1 - layer.rate), 0)


def residual(run: Pass, layer: L.Residual, name: str, x: Any) -> Any:
    main = row(run, layer.main, f"{name}.main.", x)
    return main + row(run, layer.shortcut, f"{name}.shortcut.", x)


RUNS: dict[type[L.Layer], Callable[[Pass, Any, str, Any], Any]] = {
    L.Conv2D: conv,
    L.Conv2DTranspose: conv_transpose,
    L.ConnectedConv2D: connected,
    L.Subsampling2D: subsampling,
    L.ScaledTanh: lambda run, layer, name, x: 1.7159 * jnp.tanh(x * 2 / 3),
    L.DepthwiseConv2D: depthwise,
    L.Dense: dense,
    L.BatchNorm: batch_norm,
    L.MaxPool2D: max_pool,
    L.AveragePool2D: average_pool,
    L.GlobalAveragePool2D: lambda run, layer, name, x: x.mean((1, 2)),
    L.GlobalMaxPool2D: lambda run, layer, name, x: x.max((1, 2)),
    L.ZeroPadding2D: lambda run, layer, name, x: jnp.pad(x, edges(layer)),
    L.UpSampling2D: up_sampling,
    L.Flatten: lambda run, layer, name, x: x.reshape(len(x), -1),
    L.Reshape: lambda run, layer, name, x: x.reshape(len(x), *layer.output_shape),
    L.Softmax: lambda run, layer, name, x: jax.nn.softmax(x),
    L.Dropout: dropout,
    L.Residual: residual,
}


def leaves(layers: dict[str, L.Layer]) -> dict[str, L.Layer]:
    """The layers, those inside of others in the place of these: "residual.main.conv2d"."""
    found = {}
    for name, layer in layers.items():
        inner = {f"{name}.{key}": one for key, one in layer.inner().items()}
        found |= leaves(inner) if inner else {name: layer}
    return found
