"""What Hypothesis draws: shapes, windows and settings. The values come from a drawn seed.

So a failure shrinks to the smallest shape, and stays one that somebody can look at.
"""

from typing import Any, NamedTuple

import numpy as np
import oracles
from hypothesis import strategies as st

import scratchnet as sn

BATCHES, EXAMPLES = st.integers(0, 3), st.integers(1, 3)  # an empty batch is a batch
GENERATORS = st.integers(0, 2**32 - 1).map(np.random.default_rng)


class Geometry(NamedTuple):
    shape: tuple  # (n, h, w, c)
    out_shape: tuple  # of a pooling
    padding: Any  # as a user writes it
    where: tuple  # window, strides, pads


def _pairs(least, most):
    return st.tuples(st.integers(least, most), st.integers(least, most))


@st.composite
def geometries(draw, sizes=BATCHES, pooling=False):
    """Images with a window that fits at least once; n from `sizes`. pooling: pads < window."""
    n, c = draw(sizes), draw(st.integers(1, 3))
    window, strides = draw(_pairs(1, 4)), draw(_pairs(1, 3))
    most = [min(2, k - 1) if pooling else 2 for k in window]
    ph, pw = (st.integers(0, m) for m in most)
    pairs = st.tuples(ph, pw) | st.tuples(st.tuples(ph, ph), st.tuples(pw, pw))
    padding = draw(st.sampled_from(["valid", "same"]) | st.integers(0, min(most)) | pairs)
    top, bottom, left, right = oracles.pads_of(
        "valid" if padding == "same" else padding, None, window, strides
    )
    least = (1, 1) if padding == "same" else (window[0] - top - bottom, window[1] - left - right)
    h, w = (draw(st.integers(max(1, fit), max(1, fit) + 4)) for fit in least)
    where = window, strides, oracles.pads_of(padding, (h, w), window, strides)
    return Geometry((n, h, w, c), (n, *oracles.output_size((h, w), *where), c), padding, where)


def away_from_zero(rng, shape, dtype=np.float64):
    """0.05 <= |x| <= 2: no ReLU's kink within a numeric derivative's step."""
    return (rng.uniform(0.05, 2, shape) * rng.choice([-1, 1], shape)).astype(dtype)


def distinct(rng, shape, dtype=np.float64):
    """All values apart from one another, by 0.05 or more: no ties for a maximum."""
    size = int(np.prod(shape))
    return ((rng.permutation(size) - size / 2) * 0.05).reshape(shape).astype(dtype)


@st.composite
def dilated(draw, shape, window):
    """A dilation, and the images made so much larger that the wider window fits as often."""
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 3), (2, 2), (3, 2)]))
    (n, h, w, c), (kh, kw), (dh, dw) = shape, window, dilation
    return (n, h + (kh - 1) * (dh - 1), w + (kw - 1) * (dw - 1), c), dilation


IN_PLACE = {
    "sgd_step": (0, 2),
    "adam_step": (0, 2, 3),
    "average_step": (0,),
    "rmsprop_step": (0, 2, 3, 4),
    "adagrad_step": (0, 2),
    "nadam_step": (0, 2, 3),
    "lion_step": (0, 2),
}  # the arguments that a kernel changes


def ctc_targets(rng, n, t, k, blank=0, most=4):
    """Labels (n, s), their lengths (n,) and numbers of frames (n,), of which all need no more."""
    labels = rng.integers(0, k - 1, (n, most))
    labels += labels >= blank
    lengths, frames = rng.integers(0, most + 1, n), np.full(n, t)
    for i in range(n):
        row = labels[i, : lengths[i]]
        while len(row) + (row[1:] == row[:-1]).sum() > t:
            row = row[:-1]
        lengths[i] = len(row)
        labels[i, len(row) :] = blank
        frames[i] = rng.integers(len(row) + (row[1:] == row[:-1]).sum(), t + 1)
    return labels, lengths, frames


@st.composite
def kernel_arguments(draw, name, dtype=np.float64, sizes=BATCHES):
    """The arguments of one call of the kernel `name`; `sizes` draws the length of the batch."""
    rng = draw(GENERATORS)

    def normal(*shape):
        return rng.standard_normal(shape).astype(dtype)

    if name in ("im2col", "col2im") or "pool" in name:
        shape, out_shape, _, where = draw(geometries(sizes, pooling="pool" in name))
        dy = normal(*out_shape)
        if "pool" not in name:
            shape, dilation = draw(dilated(shape, where[0]))
            where = *where, dilation
        if name == "col2im":
            return [normal(np.prod(out_shape[:3]), np.prod(where[0]) * shape[3]), shape, *where]
        if name == "max_pool_backward":
            winner = oracles.max_pool(rng.integers(-2, 3, shape), dy, *where)[2]
            return [dy, winner.astype(np.uint8), shape, *where]
        if name == "average_pool_backward":
            return [dy, shape, *where]
        # small whole numbers for the maximum, so that there are ties
        x = rng.integers(-2, 3, shape).astype(dtype) if name == "max_pool" else normal(*shape)
        return [x, *where]
    n = draw(sizes)
    if name == "ctc_loss":
        t, k = draw(st.integers(1, 8)), draw(st.integers(2, 4))
        blank = draw(st.integers(0, k - 1))
        log_probs = np.log(rng.dirichlet(np.ones(k), (n, t))).astype(dtype)
        return [log_probs, *ctc_targets(rng, n, t, k, blank), blank]
    shape = (n, *draw(st.lists(st.integers(1, 30), min_size=1, max_size=3)))
    if name in ("relu", "relu_backward"):
        return [normal(*shape), np.maximum(normal(*shape), 0)][: 2 if "backward" in name else 1]
    if name == "sum_rows":
        return [normal(n * 20, shape[1])]
    params, grads, first, second = normal(4, np.prod(shape))
    lr, beta = draw(st.floats(0, 1)), draw(st.floats(0, 0.99))
    if name == "average_step":
        return [params, grads, beta]
    if name == "sgd_step":
        return [params, grads, first, lr, beta, draw(st.booleans())]
    t, decay = draw(st.integers(1, 10**6)), draw(st.floats(0, 0.1))
    if name == "rmsprop_step":
        none = params[:0].copy()
        mean, velocity = (draw(st.sampled_from([a, none])) for a in normal(2, params.size))
        rho = max(beta, 0.5)  # with a small one the variance is a difference of equal numbers
        return [params, grads, first**2 + 9, mean / 4, velocity, lr, rho, 0.9, 1e-7, decay]
    if name == "adagrad_step":
        return [params, grads, first**2, lr, 1e-7, decay]
    if name == "nadam_step":
        return [params, grads, first, second**2, lr, beta, 0.999, 1e-7, t, 0.8, 0.3, decay]
    if name == "lion_step":
        return [params, grads, first, lr, beta, 0.99, decay]
    return [params, grads, first, second**2, lr, beta, 0.999, 1e-7, t, decay]


@st.composite
def built_layers(draw, kind, dtype=np.float64):
    """(layer, x): built for x, every parameter and buffer random, x away from kinks and ties."""
    rng, n, make = draw(GENERATORS), draw(EXAMPLES), getattr(sn, kind)
    vector = (draw(st.integers(1, 6)),)
    image = (*draw(_pairs(1, 5)), draw(st.integers(1, 3)))
    shape = vector if draw(st.booleans()) else image
    if kind in ("Conv2D", "DepthwiseConv2D", "MaxPool2D", "AveragePool2D"):
        pooling = "Pool" in kind
        (n, *shape), _, padding, (window, strides, _) = draw(geometries(EXAMPLES, pooling))
        if kind == "DepthwiseConv2D":
            (_, *shape), dilation = draw(dilated((n, *shape), window))
            many, how = draw(st.integers(1, 3)), {"use_bias": draw(st.booleans())}
            layer = make(window, strides, padding, many, **how, dilation_rate=dilation)
        elif kind == "Conv2D":
            (_, *shape), dilation = draw(dilated((n, *shape), window))
            filters, how = draw(st.integers(1, 3)), {"use_bias": draw(st.booleans())}
            layer = make(filters, window, strides, padding, **how, dilation_rate=dilation)
        else:
            layer = make(window, strides, padding)
    elif kind == "Subsampling2D":
        window = draw(_pairs(1, 3))
        h, w = (draw(st.integers(k, k + 3)) for k in window)
        layer, shape = make(window), (h, w, draw(st.integers(1, 3)))
    elif kind == "ConnectedConv2D":
        c, window = draw(st.integers(1, 4)), draw(_pairs(1, 3))
        some = st.lists(st.integers(0, c - 1), min_size=1, max_size=c, unique=True)
        table = draw(st.lists(some, min_size=1, max_size=3))
        h, w = (draw(st.integers(k, k + 2)) for k in window)
        layer, shape = make(table, window, draw(st.booleans())), (h, w, c)
    elif kind == "Conv2DTranspose":
        window, strides, c = draw(_pairs(1, 4)), draw(_pairs(1, 3)), draw(st.integers(1, 3))
        h, w = draw(_pairs(1, 4))
        cuts = st.integers(0, min(window) // 2)
        pads = draw(st.sampled_from(["valid", "same"]) | cuts | st.tuples(cuts, cuts))
        if min(h, w) > 1:
            pads = draw(st.just(pads) | st.tuples(st.tuples(cuts, cuts), st.tuples(cuts, cuts)))
        if pads not in ("valid", "same"):  # something must be left
            h, w = h + 2, w + 2
        how = {"padding": pads, "use_bias": draw(st.booleans())}
        layer, shape = make(draw(st.integers(1, 3)), window, strides, **how), (h, w, c)
    elif kind == "ZeroPadding2D":
        sides = st.integers(0, 3)
        pads = draw(sides | _pairs(0, 3) | st.tuples(_pairs(0, 3), _pairs(0, 3)))
        layer, shape = make(pads), image
    elif kind == "UpSampling2D":
        size, how = draw(_pairs(1, 4)), draw(st.sampled_from(["nearest", "bilinear"]))
        layer, shape = make(size, how), image
    elif kind == "Reshape":
        values = np.prod(shape)
        first = draw(st.sampled_from([d for d in range(1, values + 1) if values % d == 0]))
        layer = make(
            draw(st.sampled_from([(int(first), -1), (-1,), (1, int(values // first), -1)]))
        )
    elif kind == "Dense":
        layer, shape = make(draw(st.integers(1, 5)), draw(st.booleans())), vector
    elif kind == "BatchNorm":
        # a batch of few values has a variance near 0, and there the numeric derivative is useless
        n, layer = n + 3, make(draw(st.floats(0, 1)), draw(st.floats(1e-3, 0.1)))
    elif kind == "LayerNorm":
        # a row of few values has a variance near 0, and there the numeric derivative is useless
        axis = draw(st.sampled_from([-1, tuple(range(-len(shape), 0))]))
        layer = make(axis, draw(st.floats(0.1, 1)))
    elif kind == "ELU":
        layer = make(draw(st.floats(0, 2)))
    elif kind == "GELU":
        layer = make(draw(st.booleans()))
    elif kind == "Dropout":
        layer = make(draw(st.floats(0, 0.9)))
    elif kind == "GaussianNoise":
        layer = make(draw(st.floats(0, 2)))
    elif kind == "Residual":
        n, shape, strides = n + 3, image, draw(_pairs(1, 2))
        same = strides == (1, 1) and draw(st.booleans())
        filters = image[2] if same else draw(st.integers(1, 3))
        main = [sn.Conv2D(filters, 3, strides, padding=1), sn.Dropout(draw(st.floats(0, 0.5)))]
        norm = sn.BatchNorm(epsilon=0.1)
        layer = make([norm, *main], [] if same else [sn.Conv2D(filters, 1, strides)])
    else:
        layer, shape = make(), image if kind.startswith("Global") or kind == "Flatten" else shape
    layer.build(tuple(shape), rng, dtype)
    for key, array in (layer.params | layer.buffers).items():
        array[:] = rng.uniform(0.3, 2, array.shape)
        array *= 1 if key.endswith("running_var") else rng.choice([-1, 1], array.shape)
    return layer, (away_from_zero if kind in ("ELU", "LeakyReLU", "ReLU") else distinct)(
        rng, (n, *shape), dtype
    )
