"""Grad-CAM of the shipped network, for several digits and labels, against the package's own."""

import numpy as np

import scratchnet as sn
from scratchnet.microscope.heat_maps import gradcam
from scratchnet.microscope.inputs import copied

TITLE = "Grad-CAM"
MINUTES = 30
LESSON = 11
READ = "microscope/heat_maps.py"
SECONDS = 40
HINTS = (
    "Two loops forward, layers[:at] and layers[at:], with the maps kept between them. One loop "
    "backward, over reversed(layers[at:]).",
    "dy = np.zeros_like(scores); dy[0, label] = 1. What comes out of the backward loop has the "
    "shape of the maps.",
    "alpha = dA[0].mean(axis=(0, 1)) is (k,). np.maximum((A[0] * alpha).sum(axis=-1), 0).",
)


def check(learner, trial):
    model = copied(sn.architectures.pretrained(), np.float64)
    _, (images, _) = sn.datasets.mnist.load_data()
    layers = list(model.layers[:-1])  # without the softmax
    names = [type(layer).__name__ for layer in layers]
    ends = [k + 2 for k, name in enumerate(names) if name == "Conv2D"]  # after the ReLU behind it
    for image, label in ((0, 7), (0, 3), (1, 2), (4, 4)):
        x = images[image].reshape(1, 28, 28, 1) / 255
        for at in ends:
            name = model.layers[at - 2].name
            right = gradcam(model, images[image], label, layer=name, enlarge=False)
            with trial.untouched(x=x):
                found = learner.grad_cam(layers, x, label, at)
            traps = _traps(layers, x, label, at)
            what = f"grad_cam of test digit {image}, label {label}, at {at}"
            trial.same(what, found, right, traps=traps)


def _traps(layers, x, label, at):
    maps = x
    for layer in layers[:at]:
        maps = layer.forward(maps)
    scores = maps
    for layer in layers[at:]:
        scores = layer.forward(scores)
    one = np.zeros_like(scores)
    one[0, label] = 1
    probs = sn.layers.softmax(scores)
    found = {}
    for mistake, dy in (
        ("all scores are differentiated together: dy is 1 at the label alone", np.ones_like(one)),
        ("the probability is differentiated: the score before the softmax is asked about",
         probs[0, label] * (one - probs)),
        ("the loss is differentiated: dy is 1 at the label, not probs - 1", probs - one),
    ):  # fmt: skip
        for layer in reversed(layers[at:]):
            dy = layer.backward(dy)
        found[mistake] = np.maximum((maps[0] * dy[0].mean(axis=(0, 1))).sum(axis=-1), 0)
    dy = one
    for layer in reversed(layers[at:]):
        dy = layer.backward(dy)
    alpha = dy[0].mean(axis=(0, 1))
    found["what is negative stays in: it should become 0"] = (maps[0] * alpha).sum(axis=-1)
    found["the gradient is added up over the places; its mean is asked for"] = np.maximum(
        (maps[0] * dy[0].sum(axis=(0, 1))).sum(axis=-1), 0
    )
    found["each place has its own gradient as weight: alpha is one number for a whole map"] = (
        np.maximum((maps[0] * dy[0]).sum(axis=-1), 0)
    )
    return found
