"""What the comparisons share: the networks, who runs them, and a process of its own for each.

Every contender runs the same network: it walks scratchnet's list of layers and translates one after
the other, weights included. It lives in its own process, so that no two thread pools fight, and
obeys the parent line by line: the parent can interleave the contenders round by round. A framework
is imported in its own process only. Left out on purpose: GPUs, and dtypes other than float32.
"""

import argparse
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import scratchnet as sn
from scratchnet import layers as L  # noqa: N812
from scratchnet.architectures import ARCHITECTURES

Array = NDArray[np.float32]
LR, BETAS, EPSILON = 1e-3, (0.9, 0.999), 1e-7
TIMED = ("epoch", "latency", "throughput")
LEAST = 0.3  # seconds: foreign load shows in ticks of 10 ms
EXTRA = 'pip install ".[bench]"'


# ---- networks and data -------------------------------------------------------------------------


def vgg_bn(classes: int) -> list[L.Layer]:
    """Four 3x3 convolutions, each with BatchNorm and ReLU: nothing that pooling could fuse with."""
    rows: list[L.Layer] = []
    for filters in (32, 32, 64, 64):
        if len(rows) == 6:
            rows.append(L.MaxPool2D(2))
        rows += [L.Conv2D(filters, 3, padding="same"), L.BatchNorm(), L.ReLU()]
    return [*rows, L.GlobalAveragePool2D(), L.Dense(classes), L.Softmax()]


MODELS = {"vgg-bn": vgg_bn, "vgg-bn-32": vgg_bn} | ARCHITECTURES


def build(name: str, dropout: bool = True, weights: str | None = None) -> sn.Sequential:
    """The network by name: 28x28x1 images, or 32x32x3 where the name ends in -32."""
    rows = MODELS[name](10)
    for leaf in (leaf for layer in rows for leaf in layer.leaves()):
        if isinstance(leaf, L.Dropout) and not dropout:
            leaf.rate = 0.0
    model = sn.Sequential(rows, (32, 32, 3) if name.endswith("-32") else (28, 28, 1), seed=0)
    if weights is not None:
        with np.load(weights) as stored:
            for key, array in model.arrays().items():
                array[:] = stored[key]
    return model


def data(name: str, images: int, seed: int = 0, test: bool = False) -> tuple[Array, NDArray]:
    """x (n, h, w, c) float32 in 0..1, y (n,) int64, in the order in which all see them.

    MNIST; for the 32x32x3 networks, ten random pictures under noise.
    """
    rng = np.random.default_rng((seed, test))
    if name.endswith("-32"):
        y = rng.integers(0, 10, images)
        x = rng.random((images, 32, 32, 3), np.float32)
        x += np.random.default_rng(seed).random((10, 32, 32, 3), np.float32)[y]
        return np.multiply(x, np.float32(0.5), out=x), y
    x, y = sn.datasets.mnist.load_data()[test]
    order = rng.permutation(min(images, len(x)))
    return np.divide(x[order, :, :, None], 255, dtype=np.float32), y[order].astype(np.int64)


def body(model: sn.Sequential) -> list[L.Layer]:
    """The layers without the last Softmax, which goes into the loss."""
    return model.layers[: -1 if isinstance(model.layers[-1], L.Softmax) else None]


def leaves(layers: dict[str, L.Layer]) -> dict[str, L.Layer]:
    """The layers, those inside of others in the place of these: "residual.main.conv2d"."""
    found = {}
    for name, layer in layers.items():
        inner = {f"{name}.{key}": one for key, one in layer.inner().items()}
        found |= leaves(inner) if inner else {name: layer}
    return found


def channels_first(shape: Sequence[int]) -> NDArray[np.int64]:
    """For each place of a flattened (c, h, w) where its value is in the flattened (h, w, c)."""
    places = np.arange(math.prod(shape)).reshape(shape)
    return places.transpose(2, 0, 1).ravel() if len(shape) == 3 else places


def no_translation(layer: L.Layer, framework: str) -> Exception:
    return NotImplementedError(f"no translation of {layer} to {framework}")


# ---- contenders --------------------------------------------------------------------------------


class Contender:
    """train(...), then step(x, y) for each of `batches`; or predictor(...)."""

    label = ""
    modules: tuple[str, ...] = ()
    trains = infers = True
    epsilon_hat = False  # Adam's epsilon beside the uncorrected root
    batches: list[tuple[Any, Any]]
    step: Callable[[Any, Any], Any]

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def train(self, model: sn.Sequential, x: Array, y: NDArray, batch_size: int) -> None:
        """Set `step`, which returns the loss in the framework's own form, and `batches`."""
        raise NotImplementedError

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        """A function from images (n, h, w, c) to probabilities (n, 10), both in NumPy."""
        raise NotImplementedError

    def epoch(self) -> None:
        for x, y in self.batches:
            loss = self.step(x, y)
        float(loss)  # waits where steps are only queued

    def cut(self, x: Any, y: Any, batch_size: int) -> None:
        starts = range(0, len(x), batch_size)
        self.batches = [(x[i : i + batch_size], y[i : i + batch_size]) for i in starts]


class Scratchnet(Contender):
    label, modules = "scratchnet", ("numba",)

    def train(self, model: sn.Sequential, x: Array, y: NDArray, batch_size: int) -> None:
        model.compile(sn.Adam(LR, *BETAS, EPSILON), "sparse_categorical_crossentropy")
        self.model, self.data, self.batch_size = model, (x, y), batch_size
        self.step = lambda x, y: model.train_on_batch(x, y)[0]
        self.cut(x, y, batch_size)

    def as_epsilon_hat(self) -> None:
        """Steps as Keras's Adam makes them: epsilon beside sqrt(v) is a larger one beside v_hat."""
        model, adam = self.model, self.model.optimizer

        def step(x: Array, y: NDArray) -> float:
            adam.epsilon = EPSILON / math.sqrt(1 - BETAS[1] ** (adam.iterations + 1))
            return model.train_on_batch(x, y)[0]

        self.step = step

    def epoch(self) -> None:
        self.model.fit(*self.data, batch_size=self.batch_size, shuffle=False, verbose=0)

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        return lambda x: model.predict(x, batch_size=len(x))


class Torch(Contender):
    """Channels first; a Dense behind a Flatten gets its rows in that order."""

    label, modules = "PyTorch eager", ("torch",)
    channels_last = compiled = frozen = False

    def network(self, model: sn.Sequential) -> Any:
        import torch

        torch.set_num_threads(self.threads)
        self.format = torch.channels_last if self.channels_last else torch.contiguous_format
        return self.row(body(model)).to(memory_format=self.format)

    def row(self, layers: Sequence[L.Layer]) -> Any:
        import torch
        from torch import nn

        class Apply(nn.Module):
            def __init__(self, function: Callable) -> None:
                super().__init__()
                self.forward = function

        class Sum(nn.Module):
            def __init__(self, *rows: nn.Module) -> None:
                super().__init__()
                self.main, self.shortcut = rows

            def forward(self, x: Any) -> Any:
                return self.main(x) + self.shortcut(x)

        def filled(module: nn.Module, **values: Array) -> nn.Module:
            for key, value in values.items():
                with torch.no_grad():
                    getattr(module, key).copy_(torch.tensor(np.ascontiguousarray(value)))
            return module

        rows: list[nn.Module] = []
        order = None  # of the features of a flattened image
        for layer in layers:
            p = layer.params | layer.buffers
            bias = {"bias": p["b"]} if "b" in p else {}
            pads = getattr(layer, "pads", (0, 0, 0, 0))
            even = (pads[0], pads[2]) if (pads[0], pads[2]) == (pads[1], pads[3]) else None
            match layer:
                case L.Conv2D():
                    if even is None:
                        rows.append(nn.ZeroPad2d((pads[2], pads[3], pads[0], pads[1])))
                    sizes = layer.input_shape[2], layer.filters, layer.kernel_size, layer.strides
                    conv = nn.Conv2d(*sizes, even or 0, bias=bool(bias))
                    rows.append(filled(conv, weight=p["W"].transpose(3, 2, 0, 1), **bias))
                case L.Dense():
                    W = p["W"] if order is None else p["W"][order]
                    rows.append(filled(nn.Linear(*W.shape, bias=bool(bias)), weight=W.T, **bias))
                    order = None
                case L.BatchNorm():
                    of_image = len(layer.input_shape) == 3
                    kind = nn.BatchNorm2d if of_image else nn.BatchNorm1d
                    norm = kind(layer.input_shape[-1], layer.epsilon, 1 - layer.momentum)
                    names = ("weight", "bias", "running_mean", "running_var")
                    values = [v if order is None else v[order] for v in p.values()]
                    rows.append(filled(norm, **dict(zip(names, values, strict=True))))
                case L.Flatten() if self.channels_last:  # a view, where channels are last already
                    rows.append(Apply(lambda x: x.permute(0, 2, 3, 1).flatten(1)))
                case L.Flatten():
                    rows.append(nn.Flatten())
                    order = channels_first(layer.input_shape)
                case L.MaxPool2D() if even is not None:
                    rows.append(nn.MaxPool2d(layer.pool_size, layer.strides, even))
                case L.AveragePool2D() if even is not None:
                    how = {"count_include_pad": False}
                    rows.append(nn.AvgPool2d(layer.pool_size, layer.strides, even, **how))
                case L.GlobalAveragePool2D():
                    rows.append(Apply(lambda x: x.mean((2, 3))))
                case L.ReLU():
                    rows.append(nn.ReLU())
                case L.Dropout():
                    rows.append(nn.Dropout(layer.rate))
                case L.Residual():
                    rows.append(Sum(self.row(layer.main), self.row(layer.shortcut)))
                case _:
                    raise no_translation(layer, "PyTorch")
        return nn.Sequential(*rows)

    def train(self, model: sn.Sequential, x: Array, y: NDArray, batch_size: int) -> None:
        import torch

        net = self.network(model).train()
        adam = torch.optim.Adam(net.parameters(), LR, BETAS, EPSILON, fused=True)

        def loss_of(x: Any, y: Any) -> Any:
            return torch.nn.functional.cross_entropy(net(x), y)

        if self.compiled:
            loss_of = torch.compile(loss_of, dynamic=False)

        def step(x: Any, y: Any) -> Any:
            adam.zero_grad(set_to_none=True)
            loss = loss_of(x, y)
            loss.backward()
            adam.step()
            return loss.detach()

        self.step = step
        images = torch.from_numpy(x).permute(0, 3, 1, 2).clone(memory_format=self.format)
        self.cut(images, torch.from_numpy(y), batch_size)

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        import torch

        net = torch.nn.Sequential(self.network(model), torch.nn.Softmax(1)).eval()

        def images(x: Array) -> Any:
            return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=self.format)

        if self.frozen:
            with torch.inference_mode():
                example = images(np.zeros((1, *model.input_shape), np.float32))
                net = torch.jit.optimize_for_inference(
                    torch.jit.freeze(torch.jit.trace(net, example))
                )
        run = torch.compile(net, dynamic=False) if self.compiled else net

        def predict(x: Array) -> Array:
            with torch.inference_mode():
                return run(images(x)).numpy()

        return predict


class TorchChannelsLast(Torch):
    label, channels_last = "PyTorch channels_last", True


class TorchCompile(TorchChannelsLast):
    label, compiled = "PyTorch torch.compile", True


class TorchJit(TorchChannelsLast):
    label, frozen, trains = "PyTorch torch.jit.freeze", True, False


class Keras(Contender):
    """Keras's layers and optimizer on TensorFlow, in a tf.function of ours: faster than fit."""

    label, modules, xla = "Keras on TensorFlow", ("tensorflow", "keras"), False
    epsilon_hat = True

    def network(self, model: sn.Sequential) -> Any:
        import keras
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(self.threads)
        tf.config.threading.set_inter_op_parallelism_threads(self.threads)
        start = keras.Input(model.input_shape)
        return keras.Model(start, self.row(body(model), start))

    def row(self, layers: Sequence[L.Layer], x: Any) -> Any:
        """The symbolic output of the layers for x."""
        import keras

        for layer in layers:
            if isinstance(layer, L.Residual):
                x = keras.layers.Add()([self.row(layer.main, x), self.row(layer.shortcut, x)])
                continue
            how = layer.config()  # the names of the arguments are Keras's
            if any(getattr(layer, "pads", ())):
                top, bottom, left, right = layer.pads
                kept = layer.strides == (1, 1) and layer.output_shape[:2] == layer.input_shape[:2]
                how["padding"] = "same" if kept or layer.padding == "same" else "valid"
                if how["padding"] == "valid" and isinstance(layer, L.Conv2D):
                    x = keras.layers.ZeroPadding2D(((top, bottom), (left, right)))(x)
                elif how["padding"] == "valid":
                    raise no_translation(layer, "Keras")
            kind = type(layer).__name__.replace("Pool2D", "Pooling2D")
            kind = "BatchNormalization" if kind == "BatchNorm" else kind
            if not hasattr(keras.layers, kind):
                raise no_translation(layer, "Keras")
            translated = getattr(keras.layers, kind)(**how)
            x = translated(x)
            if layer.params:
                translated.set_weights(list((layer.params | layer.buffers).values()))
        return x

    def train(self, model: sn.Sequential, x: Array, y: NDArray, batch_size: int) -> None:
        import keras
        import tensorflow as tf

        net = self.network(model)
        loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        adam = keras.optimizers.Adam(LR, *BETAS, EPSILON)
        adam.build(net.trainable_variables)

        @tf.function(jit_compile=self.xla)
        def step(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = loss_of(y, net(x, training=True))
            adam.apply(tape.gradient(loss, net.trainable_variables), net.trainable_variables)
            return loss

        self.step = step
        self.cut(x, y, batch_size)
        self.batches = [(tf.constant(x), tf.constant(y)) for x, y in self.batches]

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        import tensorflow as tf

        net = self.network(model)
        run = tf.function(lambda x: tf.nn.softmax(net(x, training=False)), jit_compile=self.xla)
        return lambda x: run(tf.constant(x)).numpy()


class KerasXla(Keras):
    label, xla = "Keras, jit_compile=True", True


class Jax(Contender):
    """Functions of dictionaries: params, and the running statistics of BatchNorm."""

    label, modules = "JAX jit", ("jax",)

    def network(self, model: sn.Sequential) -> tuple[Callable, Any, Any]:
        import jax
        import jax.numpy as jnp
        from jax import lax

        def pooled(layer: Any, x: Any, start: float, operation: Callable) -> Any:
            size, strides = (1, *layer.pool_size, 1), (1, *layer.strides, 1)
            top, bottom, left, right = layer.pads
            edges = ((0, 0), (top, bottom), (left, right), (0, 0))
            return lax.reduce_window(x, start, operation, size, strides, edges)

        def max_pooled(layer: Any, x: Any) -> Any:
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

        def row(
            layers: Sequence[L.Layer], start: str, params: Any, stats: Any, x: Any, key: Any
        ) -> tuple[Any, Any]:
            """Output and new statistics of layers whose names begin with `start`."""
            stats = dict(stats)
            for layer in layers:
                name = start + layer.name
                p = params.get(name, {})
                match layer:
                    case L.Conv2D():
                        top, bottom, left, right = layer.pads
                        edges, axes = ((top, bottom), (left, right)), ("NHWC", "HWIO", "NHWC")
                        how = {"dimension_numbers": axes}
                        x = lax.conv_general_dilated(x, p["W"], layer.strides, edges, **how)
                        x = x + p["b"] if "b" in p else x
                    case L.Dense():
                        x = x @ p["W"]
                        x = x + p["b"] if "b" in p else x
                    case L.BatchNorm():
                        s = stats[name]
                        mean, var = s["running_mean"], s["running_var"]
                        if key is not None:
                            axes = tuple(range(x.ndim - 1))
                            old, keep = (mean, var), layer.momentum
                            mean, var = x.mean(axes), x.var(axes)
                            new = (keep * o + (1 - keep) * n for o, n in zip(old, (mean, var)))  # noqa: B905
                            stats[name] = dict(zip(s, new, strict=True))
                        x = (x - mean) * (p["gamma"] * lax.rsqrt(var + layer.epsilon)) + p["beta"]
                    case L.MaxPool2D():
                        x = max_pooled(layer, x)
                    case L.AveragePool2D():
                        counts = pooled(layer, jnp.ones_like(x[:1]), 0.0, lax.add)
                        x = pooled(layer, x, 0.0, lax.add) / counts
                    case L.GlobalAveragePool2D():
                        x = x.mean((1, 2))
                    case L.Flatten():
                        x = x.reshape(len(x), -1)
                    case L.ReLU():
                        x = jax.nn.relu(x)
                    case L.Dropout():
                        if key is not None and layer.rate:
                            drawn = jax.random.fold_in(key, names.index(name))
                            kept = jax.random.bernoulli(drawn, 1 - layer.rate, x.shape)
                            x = jnp.where(kept, x / (1 - layer.rate), 0)
                    case L.Residual():
                        rows = (
                            (layer.main, f"{name}.main."),
                            (layer.shortcut, f"{name}.shortcut."),
                        )
                        terms = []
                        for inner, begin in rows:
                            y, stats = row(inner, begin, params, stats, x, key)
                            terms.append(y)
                        x = terms[0] + terms[1]
                    case _:
                        raise no_translation(layer, "JAX")
            return x, stats

        def forward(params: Any, stats: Any, x: Any, key: Any = None) -> tuple[Any, Any]:
            """Logits and the new statistics; with a random key as in training."""
            return row(body(model), "", params, stats, x, key)

        named = leaves({layer.name: layer for layer in model.layers})
        names = list(named)
        params = {name: dict(leaf.params) for name, leaf in named.items() if leaf.params}
        stats = {name: dict(leaf.buffers) for name, leaf in named.items() if leaf.buffers}
        return forward, *jax.tree.map(jnp.array, (params, stats))

    def train(self, model: sn.Sequential, x: Array, y: NDArray, batch_size: int) -> None:
        import jax
        import jax.numpy as jnp

        forward, params, stats = self.network(model)
        (b1, b2), tree = BETAS, jax.tree.map

        def loss_of(params: Any, stats: Any, x: Any, y: Any, key: Any) -> tuple[Any, Any]:
            logits, stats = forward(params, stats, x, key)
            picked = jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1)
            return -picked.mean(), stats

        def update(state: Any, x: Any, y: Any) -> tuple[Any, Any]:
            params, stats, m, v, t, key = state
            drawn = jax.random.fold_in(key, t)
            (loss, stats), grads = jax.value_and_grad(loss_of, has_aux=True)(
                params, stats, x, y, drawn
            )
            t = t + 1
            m = tree(lambda m, g: b1 * m + (1 - b1) * g, m, grads)
            v = tree(lambda v, g: b2 * v + (1 - b2) * g * g, v, grads)
            rate, root = LR / (1 - b1**t), jnp.sqrt(1 - b2**t)
            params = tree(
                lambda p, m, v: p - rate * m / (jnp.sqrt(v) / root + EPSILON), params, m, v
            )
            return (params, stats, m, v, t, key), loss

        update = jax.jit(update, donate_argnums=0)
        zeros = tree(jnp.zeros_like, params), tree(jnp.zeros_like, params)
        self.state = (params, stats, *zeros, jnp.zeros((), jnp.int32), jax.random.key(0))

        def step(x: Any, y: Any) -> Any:
            self.state, loss = update(self.state, x, y)
            return loss

        self.step = step
        self.cut(x, y, batch_size)
        self.batches = [(jnp.array(x), jnp.array(y)) for x, y in self.batches]

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        import jax

        forward, params, stats = self.network(model)
        run = jax.jit(lambda params, stats, x: jax.nn.softmax(forward(params, stats, x)[0]))
        return lambda x: np.asarray(run(params, stats, x))


class OnnxRuntime(Contender):
    """A graph written node by node; channels first behind one Transpose at its start."""

    label, modules, trains = "ONNX Runtime", ("onnx", "onnxruntime"), False

    def predictor(self, model: sn.Sequential) -> Callable[[Array], Array]:
        import onnx
        import onnxruntime
        from onnx import helper, numpy_helper

        nodes, constants, at = [], [], "x"

        def add(kind: str, *values: Array, **attributes: Any) -> None:
            nonlocal at
            names = [f"constant{len(constants) + i}" for i in range(len(values))]
            arrays = map(np.ascontiguousarray, values)
            constants.extend(map(numpy_helper.from_array, arrays, names))
            out = f"y{len(nodes)}"
            nodes.append(helper.make_node(kind, [at, *names], [out], **attributes))
            at = out

        order = None

        def run(layers: Sequence[L.Layer]) -> None:
            nonlocal at, order
            for layer in layers:
                p = layer.params | layer.buffers
                bias = (p["b"],) if "b" in p else ()
                window = {}
                if hasattr(layer, "pads"):
                    top, bottom, left, right = layer.pads
                    size = getattr(layer, "kernel_size", None) or layer.pool_size
                    window = {"kernel_shape": size, "strides": layer.strides}
                    window["pads"] = [top, left, bottom, right]
                match layer:
                    case L.Conv2D():
                        add("Conv", p["W"].transpose(3, 2, 0, 1), *bias, **window)
                    case L.Dense():
                        add("Gemm", p["W"] if order is None else p["W"][order], *bias)
                        order = None
                    case L.BatchNorm():
                        values = (v if order is None else v[order] for v in p.values())
                        add("BatchNormalization", *values, epsilon=layer.epsilon)
                    case L.MaxPool2D():
                        add("MaxPool", **window)
                    case L.AveragePool2D():
                        add("AveragePool", **window)
                    case L.GlobalAveragePool2D():
                        add("GlobalAveragePool")
                        add("Flatten")
                    case L.Flatten():
                        add("Flatten")
                        order = channels_first(layer.input_shape)
                    case L.ReLU():
                        add("Relu")
                    case L.Dropout():
                        pass
                    case L.Residual():
                        start = at
                        run(layer.main)
                        main, at = at, start
                        run(layer.shortcut)
                        nodes.append(helper.make_node("Add", [main, at], [f"y{len(nodes)}"]))
                        at = nodes[-1].output[0]
                    case _:
                        raise no_translation(layer, "ONNX")

        if len(model.input_shape) == 3:
            add("Transpose", perm=[0, 3, 1, 2])
        run(body(model))
        add("Softmax", axis=1)
        ends = [
            helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ("n", *shape))
            for name, shape in (("x", model.input_shape), (at, model.output_shape))
        ]
        graph = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
        whole = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.checker.check_model(whole)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        session = onnxruntime.InferenceSession(
            whole.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return lambda x: session.run(None, {"x": x})[0]


CONTENDERS: dict[str, type[Contender]] = {
    "scratchnet": Scratchnet,
    "torch": Torch,
    "torch-channels-last": TorchChannelsLast,
    "torch-compile": TorchCompile,
    "torch-jit": TorchJit,
    "keras": Keras,
    "keras-xla": KerasXla,
    "jax": Jax,
    "onnxruntime": OnnxRuntime,
}


# ---- the process of one contender --------------------------------------------------------------


class Watch:
    """`others`: how many processors other programs kept busy since the start, on Linux.

    One busy program beside a benchmark makes its numbers several times too large, and not evenly.
    """

    def __init__(self) -> None:
        self.start = self.now()

    def now(self) -> tuple[float, float, float]:
        """Seconds on the clock, of all processors, of this process."""
        try:
            fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
        except OSError:
            return time.perf_counter(), 0.0, 0.0
        user, nice, system, _, _, *rest = map(int, fields)  # two of them idle
        busy = (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")
        return time.perf_counter(), busy, sum(os.times()[:2])

    @property
    def others(self) -> float:
        seconds, busy, own = (b - a for a, b in zip(self.start, self.now(), strict=True))
        return max(busy - own, 0) / seconds if seconds > 0.2 else 0.0

    @staticmethod
    def warn(others: float, what: str) -> None:
        if others > 0.1:
            print(f"NOT QUIET: other programs used up to {others:.1f} processors while {what} ran")


class Desk:
    """What a contender's process does when it is told to: one method a command."""

    def __init__(self, name: str, threads: int) -> None:
        self.kind, self.threads = CONTENDERS[name], threads

    def train(self, model: str, weights: str, images: int, batch_size: int) -> float:
        """Prepare for training; the seconds of the first steps of each shape of batch."""
        self.job = model, weights, batch_size
        self.data = data(model, images)
        self.contender = self.kind(self.threads)
        self.contender.train(build(model, weights=weights), *self.data, batch_size)
        start = time.perf_counter()
        for x, y in (*self.contender.batches[:3], *self.contender.batches[-1:] * 2):
            float(self.contender.step(x, y))
        return time.perf_counter() - start

    def check(self, steps: int, epsilon_hat: bool = False) -> list[float]:
        """The losses of the first steps from the initial weights, without dropout.

        epsilon_hat   for scratchnet alone: as if its Adam had epsilon where Keras has it
        """
        model, weights, batch_size = self.job
        fresh = self.kind(self.threads)
        x, y = (part[: steps * batch_size] for part in self.data)
        fresh.train(build(model, dropout=False, weights=weights), x, y, batch_size)
        if epsilon_hat:
            fresh.as_epsilon_hat()
        count = len(fresh.batches)
        return [float(fresh.step(*fresh.batches[i % count])) for i in range(steps)]

    def epoch(self) -> float:
        start = time.perf_counter()
        self.contender.epoch()
        return time.perf_counter() - start

    def predictor(self, model: str, weights: str, images: int, batch_sizes: list[int]) -> Any:
        """Prepare for inference: compile seconds, the fastest batch size, some probabilities."""
        self.x = data(model, images, test=True)[0]
        self.predict = self.kind(self.threads).predictor(build(model, weights=weights))
        start = time.perf_counter()
        for size in (1, *batch_sizes):
            for _ in range(3):
                self.predict(self.x[:size])
        seconds = time.perf_counter() - start
        best = min(batch_sizes, key=lambda size: self.throughput(size))
        return {
            "seconds": seconds,
            "batch_size": best,
            "probs": self.predict(self.x[:500]).tolist(),
        }

    def latency(self, calls: int) -> tuple[float, float]:
        """Median and 95th percentile of the seconds for one image; at least `calls` calls."""
        times, watched = list[float](), 0.0
        while len(times) < calls + 20 or watched < LEAST:
            image = self.x[len(times) % len(self.x)][None]
            start = time.perf_counter()
            self.predict(image)
            times.append(time.perf_counter() - start)
            watched += times[-1]
        return float(np.median(times[20:])), float(np.quantile(times[20:], 0.95))

    def throughput(self, batch_size: int) -> float:
        """Seconds an image, over all images in whole batches, and again until LEAST is over."""
        whole, passes, start = len(self.x) // batch_size * batch_size, 0, time.perf_counter()
        while passes == 0 or time.perf_counter() - start < LEAST:
            for i in range(0, whole, batch_size):
                self.predict(self.x[i : i + batch_size])
            passes += 1
        return (time.perf_counter() - start) / (passes * whole)

    def peak_mib(self) -> float:
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
            return next(int(s.split()[1]) for s in lines if s.startswith("VmHWM")) / 1024
        except OSError:
            import resource

            unit = 2**20 if sys.platform == "darwin" else 2**10
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def serve(name: str, threads: int) -> None:
    """Obey the lines on standard input until it closes; answers go where output went."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a framework prints goes to the log
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    desk = Desk(name, threads)
    for line in sys.stdin:
        task = json.loads(line)
        watch = Watch()
        try:
            reply = {"answer": getattr(desk, task.pop("do"))(**task)}
            reply["others"] = watch.others
        except Exception as error:
            text = (str(error).strip() or "no message").splitlines()[0]
            reply = {"error": f"{type(error).__name__}: {text}"}
        print(json.dumps(reply), file=answers, flush=True)


class Failed(RuntimeError):  # noqa: N818 - an outcome to be shown in the table
    """A contender's process reported an error, or ended."""


class Worker:
    """The parent's end of a contender's process."""

    def __init__(self, name: str, threads: int, caches: str | None = None) -> None:
        pools = ("OMP", "MKL", "OPENBLAS", "NUMBA")
        env = {f"{pool}_NUM_THREADS": str(threads) for pool in pools}
        env |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "2", "NPROC": str(threads)}
        env |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        if caches is not None:
            env |= {"NUMBA_CACHE_DIR": caches, "TORCHINDUCTOR_CACHE_DIR": caches}
        self.others = 0.0  # processors that other programs kept busy while this one was timed
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in `close`
        self.process = subprocess.Popen(
            [sys.executable, __file__, name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env=os.environ | env,
        )

    def ask(self, do: str, **task: Any) -> Any:
        try:
            print(json.dumps({"do": do} | task), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.log.seek(0)
            last = (self.log.read().strip() or "nothing in its log").splitlines()[-1]
            raise Failed(f"its process ended with {self.process.wait()}: {last}")
        reply = json.loads(line)
        if "error" in reply:
            raise Failed(reply["error"])
        self.others = max(self.others, reply["others"]) if do in TIMED else self.others
        return reply["answer"]

    def close(self) -> None:
        try:
            self.process.communicate(timeout=5)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            self.process.wait()
        self.log.close()


class Field:
    """The contenders that take part. One that fails drops out, and the reason is kept."""

    def __init__(self, names: Sequence[str], threads: int, cold: bool = False) -> None:
        self.workers: dict[str, Worker] = {}
        self.reasons: dict[str, str] = {}
        self.stack = ExitStack()
        caches = self.stack.enter_context(tempfile.TemporaryDirectory()) if cold else None
        for name in names:
            missing = [m for m in CONTENDERS[name].modules if not importlib.util.find_spec(m)]
            if missing:
                self.reasons[name] = f"{missing[0]} is not installed: {EXTRA}"
                print(f"{name} is left out: {self.reasons[name]}", file=sys.stderr)
            else:
                self.workers[name] = Worker(name, threads, caches)
                self.stack.callback(self.workers[name].close)

    def __enter__(self) -> "Field":
        return self

    def __exit__(self, *exc: object) -> None:
        self.stack.close()

    def need_scratchnet(self) -> None:
        """All are compared with it: without it the program ends."""
        if "scratchnet" not in self.workers:
            sys.exit(f"scratchnet failed: {self.reasons['scratchnet']}")

    def finish(self, results: dict[str, Any]) -> None:
        """Peak memory, foreign load and the reasons of those that dropped out, into the results."""
        for name, peak in self.ask("peak_mib"):
            results[name] |= {"peak_mib": peak, "others": self.workers[name].others}
            Watch.warn(self.workers[name].others, name)
        for name, reason in self.reasons.items():
            results[name]["skipped"] = reason

    def ask(self, do: str, only: str | None = None, **task: Any) -> Iterator[tuple[str, Any]]:
        """Every contender's answer, one after the other."""
        for name in [only] if only else list(self.workers):
            try:
                yield name, self.workers[name].ask(do, **task)
            except Failed as error:
                self.reasons[name] = str(error)
                self.workers.pop(name)
                print(f"{name} drops out: {error}", file=sys.stderr)


# ---- command line, table, picture, JSON --------------------------------------------------------


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text}")
    return number


def arguments(about: str, kind: str, **defaults: int) -> argparse.ArgumentParser:
    """The options that both comparisons have; kind is "trains" or "infers"."""
    names = [name for name, contender in CONTENDERS.items() if getattr(contender, kind)]
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--model", choices=list(MODELS), default="cnn")
    parser.add_argument(
        "--contenders",
        nargs="+",
        choices=["all", *names],
        default=["all"],
        metavar="NAME",
        help=f"all, or some of {', '.join(names)}; scratchnet always runs",
    )
    for name, default in defaults.items():
        parser.add_argument(f"--{name}", type=positive, default=default)
    parser.add_argument("--threads", type=positive, default=min(2, os.cpu_count() or 1))
    parser.add_argument(
        "--cold", action="store_true", help="compile anew: leave Numba's and inductor's caches out"
    )
    parser.add_argument("--out", type=Path, help="a folder for the pictures")
    parser.add_argument("--json", type=Path, help="a file for all results")
    parser.set_defaults(names=names)
    return parser


def chosen(options: argparse.Namespace) -> list[str]:
    wanted = {"scratchnet", *options.contenders}
    return [name for name in options.names if name in wanted or "all" in wanted]


def machine(threads: int | None = None) -> dict[str, Any]:
    """What the numbers depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    found = {}
    packages = "scratchnet numpy numba torch tensorflow-cpu tensorflow keras jax onnx onnxruntime"
    for name in packages.split():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    place = {"cpu": cpu, "cores": os.cpu_count(), "threads": threads}
    return place | {"python": platform.python_version(), "versions": found}


def show_machine(threads: int | None) -> dict[str, Any]:
    found = machine(threads)
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    print(f"{found['cpu']}, {found['cores']} cores, {threads} threads; Python {found['python']}")
    print(f"{versions}; float32")
    return found


def show_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """The first column is a name; a row may end early, with a reason in its last cell."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, head in enumerate(heads):
        table.add_column(head, justify="right" if number else "left", no_wrap=number == 0)
    for row in rows:
        table.add_row(*map(str, row))
    Console(width=None if sys.stdout.isatty() else 118).print(table)


def save_bars(path: Path, title: str, unit: str, values: dict[str, Sequence[float]]) -> None:
    """A bar for each name at the median of its values, a thin line from the least to the most."""
    from scratchnet.plots import save, style

    @style.styled
    def draw() -> Any:
        figure = style.new_figure(style.WIDTH, 60 + 24 * len(values))
        ax = figure.add_subplot()
        names = sorted(values, key=lambda name: np.median(values[name]), reverse=True)
        middle = [float(np.median(values[name])) for name in names]
        colors = [
            style.BLUE if name.startswith(("scratchnet", "fused")) else style.LINE for name in names
        ]
        ax.barh(names, middle, color=colors, height=0.7)
        for row, name in enumerate(names):
            least, most = min(values[name]), max(values[name])
            ax.hlines(row, least, most, color=style.INK, linewidth=1)
            text = f"{middle[row]:.3g}"
            ax.annotate(text, (most, row), (5, 0), textcoords="offset points", va="center")
        ax.set(title=title, xlabel=unit, xlim=(0, 1.15 * max(map(max, values.values()))))
        style.style_ticks(ax)
        return figure

    path.parent.mkdir(parents=True, exist_ok=True)
    save(draw(), path)
    print(path)


def save_json(path: Path | None, results: dict[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")


def save_weights(model: sn.Sequential, folder: str) -> str:
    path = str(Path(folder) / "weights.npz")
    np.savez(path, **model.arrays())
    return path


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]))
