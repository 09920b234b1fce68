"""Parity: the same weights and the same batches in scratchnet, PyTorch and Keras.

    python benchmarks/parity.py --out pictures --json parity.json

The table has the largest deviation of each quantity, as a part of the quantity's largest value: the
probabilities in evaluation, all gradients in training mode, and 100 steps of Adam (the losses, and
at the end the parameters and running statistics). Dropout is off. The picture has the loss curves
on top of one another, and how far they are apart.

What is known to differ is taken out, or it would hide all else:
PyTorch   keeps the unbiased running variance: that one is not compared.
BatchNorm takes out what the bias before it puts in: that bias has no gradient but rounding, which
          Adam turns into steps. It is not compared, nor are running means, which it shifts.
Keras     Adam's epsilon stands beside the uncorrected root: scratchnet does it that way, too, see
          `EpsilonHatAdam`. And it rounds the learning rate and the betas of the bias correction to
          float32, in a float64 network as well (0.999 becomes 0.9990000129, 1 - 0.999 is wrong by
          1.3e-5): for it they are numbers that float32 holds exactly.
Left out on purpose: speed, see compare_frameworks.py.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import contenders as c
import numpy as np
from numpy.typing import NDArray

import scratchnet as sn
from scratchnet.interop import keras as to_keras
from scratchnet.interop import torch as to_torch

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

Array = NDArray[np.floating]
Arrays = dict[str, Array]
Make = Callable[[], sn.Sequential]  # a new model with the same weights at every call

STEPS, BATCH_SIZE, EPSILON = 100, 16, 1e-7
IMAGES = 60_000
MODELS = [name for name in c.MODELS if not name.endswith("-32")]


class EpsilonHatAdam(sn.Adam):
    """Adam as Keras and ONNX have it: epsilon beside sqrt(v) is a larger one beside sqrt(v_hat)."""

    def update(self, params: Array, grads: Array, lr: float) -> None:
        given = self.epsilon
        self.epsilon = given / math.sqrt(1 - self.beta_2**self.iterations)
        super().update(params, grads, lr)
        self.epsilon = given


# ---- the same surface three times; what comes back is in scratchnet's layout and by its names ----


class Scratchnet:
    """A classifier that ends in Softmax, and one Adam for its life."""

    rate, betas = 1e-3, (0.9, 0.999)
    kind: type[sn.Adam] = sn.Adam

    def __init__(self, make: Make) -> None:
        self.model = make()
        adam = self.kind(self.rate, *self.betas, EPSILON)
        ends = isinstance(self.model.layers[-1], sn.Softmax)  # or only its layers are compared
        self.model.compile(adam, "sparse_categorical_crossentropy" if ends else None)

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.model.forward(x, training)

    def gradients(self, x: Array, y: NDArray, training: bool = True) -> Arrays:
        """Of the cross-entropy, by every parameter."""
        self.model.loss_and_gradients(x, y, training)
        return self.grads()

    def grads(self) -> Arrays:
        """The gradients that the last backward pass left."""
        layers = self.model.layers
        return {f"{at.name}.{key}": a.copy() for at in layers for key, a in at.grads.items()}

    def step(self, x: Array, y: NDArray) -> float:
        """One step of Adam; the loss before it."""
        return self.model.train_on_batch(x, y)[0]

    def arrays(self) -> Arrays:
        """Parameters and running statistics."""
        return {name: array.copy() for name, array in self.model.arrays().items()}


class ScratchnetLikeKeras(Scratchnet):
    rate, betas = 2.0**-10, (1 - 2.0**-3, 1 - 2.0**-10)
    kind = EpsilonHatAdam


class Torch:
    label, measure = "PyTorch", Scratchnet

    def __init__(self, make: Make) -> None:
        self.model = make()
        self.net = to_torch.build(self.model)

    @cached_property
    def adam(self) -> Any:
        import torch

        ours = self.measure
        return torch.optim.Adam(self.net.parameters(), ours.rate, ours.betas, EPSILON)

    def tensor(self, x: Array) -> Any:
        import torch

        return torch.from_numpy(x.transpose(0, 3, 1, 2).copy() if x.ndim == 4 else x)

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.net.train(training)(self.tensor(x)).detach().numpy()

    def backward(self, x: Array, y: NDArray, training: bool) -> Any:
        from torch.nn.functional import cross_entropy

        self.net.train(training).zero_grad()
        loss = cross_entropy(self.net[:-1](self.tensor(x)), self.tensor(y))
        loss.backward()
        return loss

    def gradients(self, x: Array, y: NDArray, training: bool = True) -> Arrays:
        self.backward(x, y, training)
        return self.grads()

    def grads(self) -> Arrays:
        grads = {name: p.grad for name, p in self.net.named_parameters()}
        to_torch.load_state_dict(self.model, self.net.state_dict() | grads)
        return learnt(self.model)

    def step(self, x: Array, y: NDArray) -> float:
        loss = self.backward(x, y, training=True)
        self.adam.step()
        return loss.item()

    def arrays(self) -> Arrays:
        to_torch.load_state_dict(self.model, self.net.state_dict())
        found = self.model.arrays().items()
        return {name: array.copy() for name, array in found if not name.endswith("running_var")}


class Keras:
    label, measure = "Keras", ScratchnetLikeKeras

    def __init__(self, make: Make) -> None:
        self.model = make()
        self.net = to_keras.build(self.model)

    @cached_property
    def compiled(self) -> tuple[Callable, Callable]:
        """(x, y, training) -> loss and gradients; gradients -> a step."""
        import keras
        import tensorflow as tf

        net, ours = self.net, self.measure
        logits = keras.Model(net.inputs[0], net.layers[-1].input)
        loss_of = keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, dtype=self.model.dtype.name
        )
        adam = keras.optimizers.Adam(ours.rate, *ours.betas, EPSILON)
        adam.build(net.trainable_variables)

        @tf.function
        def backward(x: Any, y: Any, training: bool) -> tuple[Any, Any]:
            with tf.GradientTape() as tape:
                loss = loss_of(y, logits(x, training=training))
            return loss, tape.gradient(loss, net.trainable_variables)

        return backward, tf.function(lambda grads: adam.apply(grads, net.trainable_variables))

    def forward(self, x: Array, training: bool = False) -> Array:
        return self.net(x, training=training).numpy()

    def gradients(self, x: Array, y: NDArray, training: bool = True) -> Arrays:
        return self.grads(self.compiled[0](x, y, training)[1])

    def grads(self, found: Sequence[Any]) -> Arrays:
        """`found` in the order of the trainable variables."""
        paths = [variable.path for variable in self.net.trainable_variables]
        grads = dict(zip(paths, found, strict=True))
        to_keras.load_weights(self.model, [grads.get(v.path, v) for v in self.net.weights])
        return learnt(self.model)

    def step(self, x: Array, y: NDArray) -> float:
        backward, apply = self.compiled
        loss, grads = backward(x, y, True)
        apply(grads)
        return float(loss)

    def arrays(self) -> Arrays:
        to_keras.load_weights(self.model, self.net)
        return {name: array.copy() for name, array in self.model.arrays().items()}


FRAMEWORKS: dict[str, type[Torch] | type[Keras]] = {"torch": Torch, "keras": Keras}


def learnt(model: sn.Sequential) -> Arrays:
    """The values in the places of the parameters."""
    return {f"{at.name}.{key}": a.copy() for at in model.layers for key, a in at.params.items()}


# ---- comparing ---------------------------------------------------------------------------------


def maker(name: str, dtype: str) -> Make:
    """The architecture of that name, without dropout."""

    def make() -> sn.Sequential:
        model = sn.Sequential(c.MODELS[name](10), (28, 28, 1), seed=0, dtype=dtype)
        for leaf in (leaf for layer in model.layers for leaf in layer.leaves()):
            if isinstance(leaf, sn.Dropout):
                leaf.rate = 0.0
        return model

    return make


def batches(dtype: str, steps: int, size: int) -> list[tuple[Array, NDArray]]:
    x, y = c.data("cnn", steps * size)
    x = x.astype(dtype)
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def adrift(make: Make) -> set[str]:
    """Names of the arrays that only rounding moves; `make` for a float64 model.

    A parameter whose gradient is zero: below 1e-12 of the largest, in training mode.
    """
    ((x, y),) = batches("float64", 1, BATCH_SIZE)
    sizes = {name: np.abs(g).max() for name, g in Scratchnet(make).gradients(x, y).items()}
    still = {name for name, size in sizes.items() if size < 1e-12 * max(sizes.values())}
    means = {name for name in make().arrays() if name.endswith("running_mean")}
    return still | means if still else set()


def deviation(ours: Arrays, theirs: Arrays) -> float:
    """The largest difference, as a part of the largest value; over the names that both have."""
    names = [name for name in ours if name in theirs]
    far = max(float(np.abs(ours[name] - theirs[name]).max()) for name in names)
    return far and far / max(float(np.abs(ours[name]).max()) for name in names)


def compare(framework: str, name: str, dtype: str, steps: int, size: int) -> dict[str, Any]:
    """The three deviations and both loss curves."""
    kind, make, feed = FRAMEWORKS[framework], maker(name, dtype), batches(dtype, steps, size)
    us, them = kind.measure(make), kind(make)
    (x, y), *_ = feed
    found: dict[str, Any] = {"forward": deviation({"": us.forward(x)}, {"": them.forward(x)})}
    # of models of their own: a pass in training mode moves the running statistics
    found["gradients"] = deviation(*(at(make).gradients(x, y) for at in (kind.measure, kind)))
    losses = [np.array([at.step(*batch) for batch in feed]) for at in (us, them)]
    lost = adrift(maker(name, "float64"))
    ends = [{n: a for n, a in at.arrays().items() if n not in lost} for at in (us, them)]
    apart = deviation(*({"": curve} for curve in losses)), deviation(*ends)
    return found | {"Adam": max(apart), "losses": [curve.tolist() for curve in losses]}


# ---- showing -----------------------------------------------------------------------------------


def show(results: dict[str, Any], frameworks: Sequence[str], steps: int) -> None:
    rows = []
    for name, by_dtype in results.items():
        for dtype, by_framework in by_dtype.items():
            for quantity in ("forward", "gradients", "Adam"):
                label = f"{steps} Adam steps" if quantity == "Adam" else quantity
                found = [f"{by_framework[at][quantity]:.1e}" for at in frameworks]
                rows.append([name, dtype, label, *found])
    heads = ["architecture", "dtype", "quantity", *(FRAMEWORKS[at].label for at in frameworks)]
    c.show_table("largest deviation from scratchnet, relative", heads, rows)


def draw(results: dict[str, Any], frameworks: Sequence[str]) -> Any:
    """A row for each architecture: the loss curves in float32, and the relative distances."""
    from scratchnet.plots import style

    colors = dict(zip(frameworks, (style.VERMILLION, style.BLUE), strict=False))
    dashes = dict(zip(frameworks, ((0, (4, 4)), (4, (4, 4))), strict=False))  # both to be seen
    dtypes = {"float32": "-", "float64": ":"}

    @style.styled
    def figure() -> Any:
        fig = style.new_figure(style.WIDTH, 60 + 105 * len(results))
        axes = fig.subplots(len(results), 2, sharex=True, squeeze=False)
        for (left, right), (name, by_dtype) in zip(axes, results.items(), strict=True):
            for at in frameworks:
                label, color = FRAMEWORKS[at].label, colors[at]
                ours, theirs = by_dtype["float32"][at]["losses"]
                width = {"color": style.LINE, "linewidth": 5, "zorder": 1}
                left.plot(ours, label="scratchnet" if at == frameworks[0] else None, **width)
                left.plot(theirs, ls=dashes[at], color=color, linewidth=1.5, label=label)
                for dtype, line in dtypes.items():
                    ours, theirs = map(np.array, by_dtype[dtype][at]["losses"])
                    # equal losses have no place on a logarithmic axis: half of float64's epsilon
                    far = np.maximum(np.abs(theirs / ours - 1), 1.1e-16)
                    right.plot(far, line, color=color, linewidth=1.2, label=f"{label}, {dtype}")
            left.set(title=name, ylim=(0, None), ylabel="loss")
            right.set(yscale="log", ylim=(5e-17, 1e5), ylabel="distance, relative")
            ticks = ("1e-16", "1e-12", "1e-8", "1e-4", "1")
            right.set_yticks([float(tick) for tick in ticks], ticks)
            for ax in (left, right):
                style.style_ticks(ax)
        for ax in axes[-1]:
            ax.set_xlabel("step of Adam")
        how = {"fontsize": style.SMALL, "frameon": False, "borderaxespad": 0}
        axes[0, 0].legend(loc="upper right", **how)
        axes[0, 1].legend(loc="upper left", ncols=len(frameworks), **how)
        return fig

    return figure()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS, metavar="NAME")
    parser.add_argument("--frameworks", nargs="+", choices=FRAMEWORKS, default=[*FRAMEWORKS])
    parser.add_argument("--steps", type=c.positive, default=STEPS)
    parser.add_argument("--batch-size", type=c.positive, default=BATCH_SIZE)
    parser.add_argument("--out", type=Path, help="a folder for the picture")
    parser.add_argument("--json", type=Path, help="a file for all results")
    options = parser.parse_args()
    if options.steps * options.batch_size > IMAGES:
        parser.error(f"--steps: MNIST has {IMAGES:,} images, too few for these steps")
    results: dict[str, Any] = {}
    sizes = options.steps, options.batch_size
    try:
        for name in options.models:
            for dtype in ("float64", "float32"):
                for at in options.frameworks:
                    found = compare(at, name, dtype, *sizes)
                    results.setdefault(name, {}).setdefault(dtype, {})[at] = found
                    print(f"{name} {dtype} {at}", file=sys.stderr)
    except sn.InputError as error:
        sys.exit(str(error))
    show(results, options.frameworks, options.steps)
    if options.out:
        from scratchnet.plots import save

        options.out.mkdir(parents=True, exist_ok=True)
        save(draw(results, options.frameworks), options.out / "parity.png")
        print(options.out / "parity.png")
    c.save_json(options.json, {"steps": options.steps, "results": results})


if __name__ == "__main__":
    main()
