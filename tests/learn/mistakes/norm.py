"""BatchNorm, LayerNorm and Dropout."""

import numpy as np

import scratchnet as sn

from .case import Case, Plain, nearly_even, shifted


class MyBatchNorm(Plain):
    """The last axis has the channels; two lines of backward, as in the book."""

    def __init__(self, momentum=0.9, epsilon=1e-3):
        super().__init__()
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, input_shape, rng, dtype=np.float32):
        super().build(input_shape, rng, dtype)
        c = input_shape[-1:]
        self.params = {"gamma": np.ones(c, dtype), "beta": np.zeros(c, dtype)}
        self.grads = {"gamma": np.zeros(c, dtype), "beta": np.zeros(c, dtype)}
        self.buffers = {"running_mean": np.zeros(c, dtype), "running_var": np.ones(c, dtype)}
        return self.output_shape

    def statistics(self, x):
        axes = tuple(range(x.ndim - 1))
        return x.mean(axis=axes), x.var(axis=axes)

    def follow(self, mu, var):
        for key, new in (("running_mean", mu), ("running_var", var)):
            old = self.buffers[key]
            old[:] = self.momentum * old + (1 - self.momentum) * new

    def root(self, var):
        return np.sqrt(var + self.epsilon)

    def forward(self, x, training=False):
        if training:
            mu, var = self.statistics(x)
            self.follow(mu, var)
        else:
            mu, var = self.buffers["running_mean"], self.buffers["running_var"]
        s = 1 / self.root(var)
        x_hat = (x - mu) * s
        self.cache = x_hat, s, training
        return self.params["gamma"] * x_hat + self.params["beta"]

    def backward(self, dy):
        x_hat, s, training = self.cache
        axes = tuple(range(dy.ndim - 1))
        self.grads["gamma"][:] = (dy * x_hat).sum(axis=axes)
        self.grads["beta"][:] = dy.sum(axis=axes)
        d = dy * self.params["gamma"]
        return self.dx(d, x_hat, s, axes) if training else d * s

    def dx(self, d, x_hat, s, axes):
        return s * (d - d.mean(axis=axes) - x_hat * (d * x_hat).mean(axis=axes))


class MeansTermMissing(MyBatchNorm):
    def dx(self, d, x_hat, s, axes):
        return s * (d - x_hat * (d * x_hat).mean(axis=axes))


class VariancesTermMissing(MyBatchNorm):
    def dx(self, d, x_hat, s, axes):
        return s * (d - d.mean(axis=axes))


class BothTermsMissing(MyBatchNorm):
    def dx(self, d, x_hat, s, axes):
        return s * d


class VarianceOfASample(MyBatchNorm):
    def statistics(self, x):
        axes = tuple(range(x.ndim - 1))
        return x.mean(axis=axes), x.var(axis=axes, ddof=1)


class LessOneInBackward(MyBatchNorm):
    def dx(self, d, x_hat, s, axes):
        m = d.size // d.shape[-1] - 1
        sums = d.sum(axis=axes), (d * x_hat).sum(axis=axes)
        return s * (d - sums[0] / m - x_hat * sums[1] / m)


class EpsilonOutside(MyBatchNorm):
    def root(self, var):
        return np.sqrt(var) + self.epsilon


class GammaForgotten(MyBatchNorm):
    def backward(self, dy):
        x_hat, s, training = self.cache
        super().backward(dy)
        axes = tuple(range(dy.ndim - 1))
        return self.dx(dy, x_hat, s, axes) if training else dy * s


class SForgotten(MyBatchNorm):
    def dx(self, d, x_hat, s, axes):
        return d - d.mean(axis=axes) - x_hat * (d * x_hat).mean(axis=axes)


class FollowsAlways(MyBatchNorm):
    def forward(self, x, training=False):
        if not training:
            y = super().forward(x, training)
            self.follow(*self.statistics(x))
            return y
        return super().forward(x, training)


class MomentumTurnedRound(MyBatchNorm):
    def follow(self, mu, var):
        for key, new in (("running_mean", mu), ("running_var", var)):
            old = self.buffers[key]
            old[:] = (1 - self.momentum) * old + self.momentum * new


class BatchInEvaluation(MyBatchNorm):
    def forward(self, x, training=False):
        kept = [array.copy() for array in self.buffers.values()]
        y = super().forward(x, True)
        if not training:
            for array, old in zip(self.buffers.values(), kept, strict=True):
                array[:] = old
        return y


class EachPixelByItself(MyBatchNorm):
    """Statistics over the first axis alone, where images have three."""

    def forward(self, x, training=False):
        if not training:
            return super().forward(x, training)
        mu, var = x.mean(axis=0), x.var(axis=0)
        self.follow(mu.mean(axis=(0, 1)), var.mean(axis=(0, 1)))
        s = 1 / self.root(var)
        x_hat = (x - mu) * s
        self.cache = x_hat, s, True
        return self.params["gamma"] * x_hat + self.params["beta"]

    def dx(self, d, x_hat, s, axes):
        return s * (d - d.mean(axis=0) - x_hat * (d * x_hat).mean(axis=0))


class MeansForSums(MyBatchNorm):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["gamma"] /= len(dy)
        self.grads["beta"] /= len(dy)
        return dx


class DividedByMTwice(MyBatchNorm):
    def dx(self, d, x_hat, s, axes):
        m = d.size // d.shape[-1]
        return s * (d - d.mean(axis=axes) / m - x_hat * (d * x_hat).mean(axis=axes) / m)


class BetaOfAnImage(MyBatchNorm):
    def backward(self, dy):
        dx = super().backward(dy)
        self.grads["beta"][:] = dy[0].sum(axis=tuple(range(dy.ndim - 2)))
        return dx


class StatisticsInFloat32(MyBatchNorm):
    def statistics(self, x):
        axes = tuple(range(x.ndim - 1))
        return x.mean(axis=axes, dtype=np.float32), x.var(axis=axes, dtype=np.float32)


class MyLayerNorm(sn.LayerNorm):
    def ends(self, x):
        """mean, 1 / root"""
        mu = x.mean(axis=-1, keepdims=True)
        return mu, 1 / np.sqrt(x.var(axis=-1, keepdims=True) + self.epsilon)

    def forward(self, x, training=False):
        mu, s = self.ends(x)
        self.keep(x, ((x - mu) * s, s))
        return self.params["gamma"] * ((x - mu) * s) + self.params["beta"]

    def backward(self, dy):
        x_hat, s = self.kept(dy)
        rows = tuple(range(dy.ndim - 1))
        self.grads["gamma"][:] = (dy * x_hat).sum(axis=rows)
        self.grads["beta"][:] = dy.sum(axis=rows)
        return self.dx(dy, x_hat, s)

    def dx(self, dy, x_hat, s):
        d = dy * self.params["gamma"]
        mean, along = (a.mean(axis=-1, keepdims=True) for a in (d, d * x_hat))
        return s * (d - mean - x_hat * along)


class LayerNormLessOne(MyLayerNorm):
    def ends(self, x):
        mu = x.mean(axis=-1, keepdims=True)
        return mu, 1 / np.sqrt(x.var(axis=-1, keepdims=True, ddof=1) + self.epsilon)


class LayerNormEpsilonOutside(MyLayerNorm):
    def ends(self, x):
        mu = x.mean(axis=-1, keepdims=True)
        return mu, 1 / (x.std(axis=-1, keepdims=True) + self.epsilon)


class LayerNormTermMissing(MyLayerNorm):
    def dx(self, dy, x_hat, s):
        d = dy * self.params["gamma"]
        return s * (d - d.mean(axis=-1, keepdims=True))


class LayerNormGammaTakenOut(MyLayerNorm):
    """As in BatchNorm, where gamma is the same for all that is averaged; here it is not."""

    def dx(self, dy, x_hat, s):
        mean, along = (a.mean(axis=-1, keepdims=True) for a in (dy, dy * x_hat))
        return self.params["gamma"] * s * (dy - mean - x_hat * along)


class MyDropout(Plain):
    def __init__(self, rate):
        super().__init__()
        self.rate = rate

    def build(self, input_shape, rng, dtype=np.float32):
        self.rng = rng
        return super().build(input_shape, rng, dtype)

    def draw(self, shape):
        return (self.rng.random(shape) >= self.rate) / (1 - self.rate)

    def forward(self, x, training=False):
        if not training:
            self.cache = np.ones_like(x)
            return x
        self.cache = self.draw(x.shape)
        return x * self.cache

    def backward(self, dy):
        return dy * self.cache


class MaskForgotten(MyDropout):
    def backward(self, dy):
        return dy.copy()


class MaskDrawnAgain(MyDropout):
    def forward(self, x, training=False):
        y = super().forward(x, training)
        self.cache = training
        return y

    def backward(self, dy):
        return dy * self.draw(dy.shape) if self.cache else dy.copy()


class NeverScaled(MyDropout):
    def draw(self, shape):
        return (self.rng.random(shape) >= self.rate).astype(float)


class BackwardNotScaled(MyDropout):
    def backward(self, dy):
        return dy * (self.cache > 0)


class ForwardNotScaled(MyDropout):
    def forward(self, x, training=False):
        super().forward(x, training)
        return x * (self.cache > 0)


class ScaledByRate(MyDropout):
    """What is kept is divided by the rate, and not by 1 - rate."""

    def draw(self, shape):
        return (self.rng.random(shape) >= self.rate) / self.rate


class DropsAlways(MyDropout):
    def forward(self, x, training=False):
        return super().forward(x, True)


class RateIsKept(MyDropout):
    def draw(self, shape):
        return (self.rng.random(shape) < self.rate) / self.rate


class DropoutInPlace(MyDropout):
    def forward(self, x, training=False):
        if training:
            self.cache = self.draw(x.shape)
            x *= self.cache
        else:
            self.cache = np.ones_like(x)
        return x


class DropoutWritesDy(MyDropout):
    def backward(self, dy):
        dy *= self.cache
        return dy


class MaskOnce(MyDropout):
    """Backward takes the first mask it saw, as long as the shape stays."""

    def backward(self, dy):
        if getattr(self, "first", None) is None or self.first.shape != dy.shape:
            self.first = self.cache
        return dy * self.first


# ---- right, and unusual --------------------------------------------------------------------------


class ByThePaper(MyBatchNorm):
    """Backward through variance and mean, one after the other, as in the paper."""

    def dx(self, d, x_hat, s, axes):
        m, centred = d.size // d.shape[-1], x_hat / s
        dvar = (d * centred).sum(axis=axes) * -0.5 * s**3
        dmu = -(d * s).sum(axis=axes) + dvar * (-2 * centred).mean(axis=axes)
        return d * s + dvar * 2 * centred / m + dmu / m


class TwoPasses(MyBatchNorm):
    """The variance in a second pass, with what rounding left in the first taken off."""

    def statistics(self, x):
        rows = x.reshape(-1, x.shape[-1])
        mu = rows.sum(axis=0) / len(rows)
        rest = rows - mu
        var = ((rest**2).sum(axis=0) - rest.sum(axis=0) ** 2 / len(rows)) / len(rows)
        return mu, var


class MomentumOfTheNew(MyBatchNorm):
    """PyTorch's convention: momentum is the new one's weight. 0.1 there is 0.9 here."""

    def follow(self, mu, var):
        self.buffers["running_mean"] += self.momentum * (mu - self.buffers["running_mean"])
        self.buffers["running_var"] += self.momentum * (var - self.buffers["running_var"])


class AsLayerNormOfColumns(MyBatchNorm):
    """Turns the channels into rows, and works along them."""

    def dx(self, d, x_hat, s, axes):
        flat, hats = d.reshape(-1, d.shape[-1]).T, x_hat.reshape(-1, d.shape[-1]).T
        flat = flat - flat.mean(axis=1, keepdims=True)
        flat -= hats * (flat * hats).mean(axis=1, keepdims=True)
        return (flat.T * s).reshape(d.shape)


class LayerNormByRows(MyLayerNorm):
    def forward(self, x, training=False):
        y = np.empty_like(x)
        x_hat, s = np.empty_like(x), np.empty((*x.shape[:-1], 1), x.dtype)
        for at in np.ndindex(x.shape[:-1]):
            s[at] = (x[at].var() + self.epsilon) ** -0.5
            x_hat[at] = (x[at] - x[at].mean()) * s[at]
            y[at] = x_hat[at] * self.params["gamma"] + self.params["beta"]
        self.keep(x, (x_hat, s))
        return y


class DroppedOnes(MyDropout):
    """Keeps which are dropped, and draws them in another way."""

    def forward(self, x, training=False):
        self.cache = np.zeros(x.shape, bool)
        if training:
            self.cache = self.rng.binomial(1, self.rate, x.shape).astype(bool)
        return np.where(self.cache, 0, x / self.scale(training))

    def scale(self, training):
        self.divisor = 1 - self.rate if training else 1
        return self.divisor

    def backward(self, dy):
        return np.where(self.cache, 0, dy / self.divisor)


class IndicesKept(MyDropout):
    """Keeps the flat places of what survives; the rest of dx stays 0."""

    def forward(self, x, training=False):
        if not training:
            self.cache = None
            return x.copy()
        self.cache = np.flatnonzero(self.rng.random(x.size) < 1 - self.rate)
        return self.only_kept(x)

    def only_kept(self, a):
        found = np.zeros(a.size, a.dtype)
        found[self.cache] = a.reshape(-1)[self.cache] / (1 - self.rate)
        return found.reshape(a.shape)

    def backward(self, dy):
        return dy if self.cache is None else self.only_kept(dy)


def batchnorm():
    return sn.BatchNorm(momentum=0.9)


def layernorm():
    return sn.LayerNorm()


def dropout():
    return sn.Dropout(0.3)


B, V, L = (3, 4, 5, 2), (8, 3), (3, 4, 6)
DROPPED = (6, 20)

# fmt: off
MISTAKES = [
    Case(
        "batchnorm-means-term", "dx through x and through the variance.",
        MeansTermMissing, (), B, batchnorm, ("batchnorm-term",), values=shifted,
    ),
    Case(
        "batchnorm-variances-term", "dx through x and through the mean.",
        VariancesTermMissing, (), B, batchnorm, ("batchnorm-term",), values=shifted,
    ),
    Case(
        "batchnorm-both-terms", "dx = dy gamma / sqrt(var + eps)",
        BothTermsMissing, (), V, batchnorm, ("batchnorm-term",), values=shifted,
    ),
    Case(
        "batchnorm-variance-of-a-sample", "var(ddof=1), as in statistics.",
        VarianceOfASample, (), V, batchnorm, ("variance-ddof",), values=shifted,
    ),
    Case(
        "batchnorm-less-one-in-backward", "The sums are divided by m - 1.",
        LessOneInBackward, (), V, batchnorm, ("variance-ddof",), values=shifted,
    ),
    Case(
        "batchnorm-epsilon-outside", "(x - mu) / (std + eps)",
        EpsilonOutside, (), B, batchnorm, ("epsilon-side",), values=shifted,
    ),
    Case(
        "batchnorm-epsilon-outside-even", "(x - mu) / (std + eps), on even images.",
        EpsilonOutside, (), B, batchnorm, ("epsilon-side",), values=nearly_even,
    ),
    Case(
        "batchnorm-gamma-forgotten", "I took dy for dx_hat.",
        GammaForgotten, (), B, batchnorm, ("missing-factor",), values=shifted,
    ),
    Case(
        "batchnorm-s-forgotten", "dx = dx_hat - its mean - x_hat * ...",
        SForgotten, (), B, batchnorm, ("missing-factor",), values=shifted,
    ),
    Case(
        "batchnorm-follows-always", "The running statistics follow in every forward.",
        FollowsAlways, (), B, batchnorm, ("changes-state",), values=shifted,
    ),
    Case(
        "batchnorm-momentum-turned-round", "running = (1 - momentum) running + momentum new",
        MomentumTurnedRound, (), B, batchnorm, ("changes-state",), values=shifted,
    ),
    Case(
        "batchnorm-batch-in-evaluation", "It always takes the batch's statistics.",
        BatchInEvaluation, (), B, batchnorm, ("forward-wrong",), values=shifted,
    ),
    Case(
        "batchnorm-each-pixel", "mean(axis=0), the batch axis.",
        EachPixelByItself, (), B, batchnorm, ("forward-wrong",), values=shifted,
    ),
    Case(
        "batchnorm-means-for-sums", "dgamma and dbeta divided by the batch size.",
        MeansForSums, (), V, batchnorm, ("batch-mean",), values=shifted,
    ),
    Case(
        "batchnorm-divided-twice", "1/m in front of np.mean.",
        DividedByMTwice, (), V, batchnorm, ("divided-twice", "batchnorm-term"),
        "both terms are m times too small, so that little of them is left", values=shifted,
    ),
    Case(
        "batchnorm-beta-of-an-image", "dbeta = dy[0].sum(axis=(0, 1))",
        BetaOfAnImage, (), B, batchnorm, ("bias-axes",), values=shifted,
    ),
    Case(
        "batchnorm-statistics-in-float32", "mean(dtype=np.float32)",
        StatisticsInFloat32, (), B, batchnorm, ("float32-inside",), values=shifted,
    ),
    Case(
        "layernorm-less-one", "std as PyTorch's x.std().",
        LayerNormLessOne, (), L, layernorm, ("variance-ddof",), values=shifted,
    ),
    Case(
        "layernorm-epsilon-outside", "std + eps",
        LayerNormEpsilonOutside, (), L, layernorm, ("epsilon-side",), values=shifted,
    ),
    Case(
        "layernorm-term-missing", "dx through x and through the mean.",
        LayerNormTermMissing, (), L, layernorm, ("batchnorm-term",), values=shifted,
    ),
    Case(
        "dropout-mask-forgotten", "Backward passes dy on.",
        MaskForgotten, (0.3,), DROPPED, dropout, ("mask-unused",),
    ),
    Case(
        "dropout-mask-drawn-again", "Backward draws a mask.",
        MaskDrawnAgain, (0.3,), DROPPED, dropout, ("mask-unused",),
    ),
    Case(
        "dropout-never-scaled", "The mask is 0 or 1.",
        NeverScaled, (0.3,), DROPPED, dropout, ("mask-unscaled",),
    ),
    Case(
        "dropout-backward-not-scaled", "dy where kept.",
        BackwardNotScaled, (0.3,), DROPPED, dropout, ("mask-unscaled",),
    ),
    Case(
        "dropout-backward-not-scaled-alone", "dy where kept.",
        BackwardNotScaled, (0.3,), DROPPED, None, ("mask-unscaled", "missing-factor"),
        "without a Dropout to compare with it is a layer whose dx lacks the constant 1 / 0.7",
    ),
    Case(
        "dropout-forward-not-scaled", "Scaled in backward, when the gradient comes.",
        ForwardNotScaled, (0.3,), DROPPED, dropout, ("mask-unscaled",),
    ),
    Case(
        "dropout-scaled-by-rate", "Divided by the rate.",
        ScaledByRate, (0.3,), DROPPED, dropout, ("mask-unscaled", "forward-wrong"),
        "scaled, but by another number than 1 / (1 - rate)",
    ),
    Case(
        "dropout-drops-always", "I forgot that there is evaluation.",
        DropsAlways, (0.3,), DROPPED, dropout, ("forward-random",),
    ),
    Case(
        "dropout-rate-is-kept", "rate is how many stay.",
        RateIsKept, (0.3,), DROPPED, dropout, ("forward-wrong",),
    ),
    Case(
        "dropout-in-place", "x *= mask",
        DropoutInPlace, (0.3,), DROPPED, dropout, ("x-changed",),
    ),
    Case(
        "dropout-writes-dy", "dy *= mask",
        DropoutWritesDy, (0.3,), DROPPED, dropout, ("dy-changed",),
    ),
    Case(
        "dropout-first-mask-kept", "The mask for backward is noted once.",
        MaskOnce, (0.3,), DROPPED, dropout, ("stale-cache", "mask-unused"),
        "a mask of an earlier call: the one of this forward is not used",
    ),
]

UNNAMED = [
    Case(
        "layernorm-gamma-taken-out", "gamma before the brackets",
        LayerNormGammaTakenOut, (), L, layernorm, values=shifted,
    ),
]

RIGHT = [
    Case("batchnorm-two-lines", "two lines", MyBatchNorm, (), V, batchnorm, values=shifted),
    Case("batchnorm-by-the-paper", "path by path", ByThePaper, (), B, batchnorm, values=shifted),
    Case("batchnorm-two-passes", "two passes", TwoPasses, (), B, batchnorm, values=shifted),
    Case("batchnorm-momentum-of-the-new", "PyTorch's momentum", MomentumOfTheNew,
         (0.1,), B, batchnorm, values=shifted),
    Case("batchnorm-columns", "channels as rows", AsLayerNormOfColumns, (), B, batchnorm,
         values=shifted),
    Case("batchnorm-one-image", "a batch of one", MyBatchNorm, (), (1, 4, 5, 2), batchnorm),
    Case("batchnorm-nearly-even", "hardly any variance", MyBatchNorm, (), B, batchnorm,
         values=nearly_even),
    Case("batchnorm-alone", "nothing to compare with", MyBatchNorm, (), V, None),
    Case("layernorm-by-rows", "row by row", LayerNormByRows, (), L, layernorm, values=shifted),
    Case("layernorm-one-row", "a batch of one", MyLayerNorm, (), (1, 6), layernorm),
    Case("dropout-mask", "a mask", MyDropout, (0.3,), DROPPED, dropout),
    Case("dropout-dropped-ones", "the mask of the dropped", DroppedOnes, (0.3,), DROPPED, dropout),
    Case("dropout-indices", "places, not a mask", IndicesKept, (0.3,), DROPPED, dropout),
    Case("dropout-rate-0", "all are kept", MyDropout, (0.0,), DROPPED, lambda: sn.Dropout(0.0)),
    Case("dropout-alone", "nothing to compare with", IndicesKept, (0.3,), DROPPED, None),
]
# fmt: on
