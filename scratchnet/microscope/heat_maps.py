"""Which parts of an image speak for a class: three answers, as arrays of the image's size.

    gradcam     where the maps of a convolution are, weighted by what they mean for the class
    saliency    which pixels would change the score most, if they changed a little
    occlusion   how much of the probability goes when a square is covered

`plots.heat` draws them over the image. All work on a copy, so the model keeps its state; those with
gradients in float64, as `trace` does. The score of a class is its value before the softmax, as in
the papers: the probability of one class would also change with the scores of all the others.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, is_whole
from ..layers import (
    ConnectedConv2D,
    Conv2D,
    Conv2DTranspose,
    DepthwiseConv2D,
    Layer,
    LogSoftmax,
    Softmax,
    ZeroPadding2D,
    kind_of,
    softmax,
)
from ..model import Sequential, backward_through, forward_through
from .inputs import checked_label, copied, one_example

__all__ = [
    "checked_label",
    "copied",
    "feature_maps",
    "filters",
    "gradcam",
    "occlusion",
    "one_example",
    "saliency",
]

Array = NDArray[np.floating]


def gradcam(
    model: Sequential,
    x: Any,
    label: int | None = None,
    layer: str | None = None,
    enlarge: bool = True,
) -> Array:
    """Grad-CAM: where a convolution sees what speaks for a class.

    label     the class; the one that the model reads when left out
    layer     the name of a layer with output (h, w, k); the last convolution when left out. A
              convolution's maps are taken after the BatchNorm and the activation, ReLU or
              another, that directly follow it.
    enlarge   True: (h, w) of the image, interpolated between the places that the maps' pixels have
              in it; False: (h, w) of the maps

    With A the maps and s the score of the class, each map k weighs as much as raising it all over
    would raise the score, and only what speaks for the class is kept:

        alpha[k] = mean over i, j of ds/dA[i, j, k]
        cam[i, j] = max(sum over k of alpha[k] A[i, j, k], 0)

    Source: Selvaraju et al. 2017, "Grad-CAM", eqs. 1 and 2.
    """
    net = copied(model, np.float64)
    image = one_example(net, x)
    end = _maps_end(net, layer)
    maps, gradient = _score_gradient(net, image, label, end)
    alpha = gradient.mean(axis=(0, 1))  # (k,)
    cam = np.maximum((maps * alpha).sum(axis=-1), 0)  # (h, w)
    return _enlarged(cam, net, end) if enlarge else cam


def saliency(model: Sequential, x: Any, label: int | None = None) -> Array:
    """The size of ds/dx at every pixel, the largest of its channels: (h, w).

    s is the score of the class `label`, or of the one that the model reads.
    Source: Simonyan, Vedaldi and Zisserman 2014, "Deep Inside Convolutional Networks", section 3.1.
    """
    net = copied(model, np.float64)
    _, gradient = _score_gradient(net, one_example(net, x), label, 0)
    size = np.abs(gradient)
    return size.max(axis=-1) if _image_shape(net)[2:] else size


def occlusion(
    model: Sequential,
    x: Any,
    label: int | None = None,
    size: int = 7,
    value: float = 0.0,
) -> Array:
    """How much less probable the class is when a square around each pixel is covered: (h, w).

    label   the class; the one that the model reads when left out
    size    edge of the square in pixels; centred on the pixel, cut off at the image's border
    value   what the square is filled with: 0 is MNIST's background

    Positive where the model needs what is there; negative where something speaks against the class.
    Source: Zeiler and Fergus 2014, "Visualizing and Understanding Convolutional Networks", 4.2.
    """
    net = copied(model, fuse=model.fuse)
    image = one_example(net, x)
    h, w = _image_shape(net)[:2]
    if not is_whole(size, 1) or size > max(h, w):
        raise InputError(f"size: expected a whole number from 1 to {max(h, w)}, found {size!r}")
    before = _probabilities(net, image)
    chosen = _class(net, before, label)
    probability = before[0, chosen]
    drop = np.empty((h, w), net.dtype)
    half = (size - 1) // 2
    for i in range(h):  # a row of the image is a batch
        covered = np.repeat(image, w, axis=0)
        for j in range(w):
            top, left = max(i - half, 0), max(j - half, 0)
            covered[j, top : i - half + size, left : j - half + size] = value
        drop[i] = probability - _probabilities(net, covered)[:, chosen]
    return drop


def feature_maps(model: Sequential, x: Any, layer: str | None = None) -> Array:
    """The maps (h, w, k) of a layer, chosen as in `gradcam`."""
    net = copied(model, np.float64)
    image = one_example(net, x)
    return forward_through(net.layers[: _maps_end(net, layer)], image, False)[0]


def filters(model: Sequential, layer: str | None = None) -> Array:
    """The weights (kh, kw, c, k) of a convolution; of the first one when left out."""
    convolutions = {one.name: one for one in model.layers if isinstance(one, Conv2D)}
    name = layer or next(iter(convolutions), None)
    if name is None or name not in convolutions:
        raise InputError(f"layer: expected one of {_list(convolutions)}, found {name!r}")
    return convolutions[name].params["W"].copy()


# ---- what they share -----------------------------------------------------------------------------


def _score_gradient(
    net: Sequential, image: Array, label: int | None, end: int
) -> tuple[Array, Array]:
    """The output A of the first `end` layers, and ds/dA; both without the batch axis."""
    ends_in_scores = not isinstance(net.layers[-1], (Softmax, LogSoftmax))
    layers = net.layers if ends_in_scores else net.layers[:-1]
    maps = forward_through(layers[:end], image, False)
    scores = forward_through(layers[end:], maps, False)
    dscores = np.zeros_like(scores)
    dscores[0, _class(net, scores, label)] = 1
    return maps[0], backward_through(layers[end:], dscores)[0]


def _class(net: Sequential, outputs: Array, label: int | None) -> int:
    checked_label(0 if label is None else label, net)
    return int(outputs[0].argmax()) if label is None else int(label)


def _probabilities(net: Sequential, x: Array) -> Array:
    outputs = net.forward(x)
    takes_logits = net.loss is not None and net.loss.config().get("from_logits")
    return softmax(outputs) if takes_logits else outputs


def _image_shape(net: Sequential) -> tuple[int, ...]:
    """(h, w) or (h, w, c); raises where the input is no image."""
    if len(net.input_shape) not in (2, 3):
        raise InputError(f"model: expected one that takes images, found input {net.input_shape}")
    return net.input_shape


def _maps_end(net: Sequential, name: str | None) -> int:
    """How many layers lead to the maps of the layer `name`, or of the last convolution."""
    with_maps = [layer.name for layer in net.layers if len(layer.output_shape) == 3]
    if name is None:
        seeing = [layer.name for layer in net.layers if _convolves(layer)]
        if not seeing:
            raise InputError("model: expected one with a convolution, found none")
        name = seeing[-1]
    if name not in with_maps:
        raise InputError(f"layer: expected one of {_list(with_maps)}, found {name!r}")
    end = [layer.name for layer in net.layers].index(name) + 1
    if _convolves(net.layers[end - 1]):
        while end < len(net.layers) and _keeps_maps(net.layers[end]):
            end += 1
    return end


def _keeps_maps(layer: Layer) -> bool:
    """Whether a layer after a convolution leaves its maps what they are, one for each filter.

    Dropout does: it changes nothing here, and an activation may follow it. Softmax and LogSoftmax
    do not: each of their outputs depends on all maps.
    """
    return kind_of(layer).pointwise and not isinstance(layer, (Softmax, LogSoftmax))


def _convolves(layer: Layer) -> bool:
    kinds = (Conv2D, Conv2DTranspose, DepthwiseConv2D, ConnectedConv2D)
    return isinstance(layer, kinds) or any(map(_convolves, layer.inner().values()))


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _enlarged(small: Array, net: Sequential, end: int) -> Array:
    """A map of the output of the first `end` layers at every pixel of the image: linear between
    the places where the map's pixels look, and falling to 0 one place beyond them."""
    vertical, horizontal = (_centres(net, end, axis) for axis in (0, 1))
    small = np.pad(small, 1)
    h, w = _image_shape(net)[:2]
    tall = np.stack([np.interp(np.arange(h), vertical, column) for column in small.T], axis=1)
    return np.stack([np.interp(np.arange(w), horizontal, row) for row in tall])


def _centres(net: Sequential, end: int, axis: int) -> Array:
    """The pixel of the image, as a fraction, at the middle of what each pixel of a map sees, and
    one more before the first and after the last of them.

    Output i of a window of k with stride s and padding p has its middle at i s + (k - 1) / 2 - p
    of its input; from layer to layer that adds up. A layer without a window spreads its output
    evenly over its input.
    Source: Araujo, Norris and Sim 2019, "Computing receptive fields", eqs. 1 to 3.
    """
    jump, start = 1.0, 0.0
    for layer in net.layers[:end]:
        window = getattr(layer, "kernel_size", getattr(layer, "pool_size", None))
        window = getattr(layer, "span", window)  # with the gaps of a dilation
        strides, pads = getattr(layer, "strides", None), getattr(layer, "pads", None)
        before, after = layer.input_shape[axis], layer.output_shape[axis]
        if isinstance(layer, ZeroPadding2D):
            start -= jump * layer.pads[2 * axis]
        elif isinstance(layer, Conv2DTranspose):  # the other way round
            jump /= layer.strides[axis]
            start += jump * (layer.pads[2 * axis] - (layer.kernel_size[axis] - 1) / 2)
        elif window is not None and strides is not None and pads is not None:
            start += jump * ((window[axis] - 1) / 2 - pads[2 * axis])
            jump *= strides[axis]
        elif before != after:
            start += jump * (before / after - 1) / 2
            jump *= before / after
    return start + jump * np.arange(-1, net.layers[end - 1].output_shape[axis] + 1)
