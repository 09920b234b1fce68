"""The file of mistakes proves itself: each mistake is one, and what is right is right.

Nothing of the diagnosis is used here, nor of `sn.gradcheck`: a difference quotient of its own,
repeated calls, and the package's layers to compare with.
"""

import copy
import math

import numpy as np
import pytest
from mistakes import CAUSES, KINKED, MISTAKES, RIGHT, UNNAMED, model_of, prepared
from mistakes.case import labels, probabilities, surely_wrong

import scratchnet as sn

#: the file is frozen, so its proof need not be made again each time
pytestmark = pytest.mark.slow

SEEDS = 2, 3, 4
STEP = 1e-6
WRONG = [*MISTAKES, *UNNAMED]

#: what must be seen of a mistake with this cause
SHOWS = {
    "x-changed": "x is written to",
    "dy-changed": "dy is written to",
    "dx-missing": "dx is None",
    "changes-state": "buffer",
    "forward-random": "another y",
    "wrong-shape": ("dx has another shape", "y has another shape"),
    "shifted-max": "not finite",
    "clipped": ("not finite", "y is another", "x is written to"),
    "all-ties": "dx is another",
    "last-tie": "dx is another",
    "parameters-replaced": "nothing moves",
}
#: what an array is multiplied with by mistake, for a batch of n and a window of m values
FACTORS = {
    "batch-mean": lambda n, m: (n, 1 / n),
    "divided-twice": lambda n, m: (1 / n, 1 / m),
    "sign": lambda n, m: (-1,),
}
#: seen from the second call on, and never at the first
LATER = {"stale-cache", "accumulated"}


def cases(some):
    return pytest.mark.parametrize("case", some, ids=str)


# ---- what is wrong with a layer ------------------------------------------------------------------


def differs(a, b, tolerance=1e-10):
    scale = max(np.abs(b).max(initial=0), 1e-8)
    return not np.all(np.abs(a - b) <= tolerance * scale)


def results(layer, x, dy, training):
    """{"y": ..., "dx": ..., "dW": ...} of one forward and backward of a copy."""
    layer = copy.deepcopy(layer)
    y = np.array(layer.forward(x.copy(), training))
    dx = layer.backward(dy.copy())
    found = {"y": y, "dx": None if dx is None else np.array(dx)}
    found |= {f"d{key}": np.array(grad) for key, grad in layer.grads.items()}
    return found | {f"buffer {key}": a.copy() for key, a in layer.buffers.items()}


def slopes_differ(layer, x, dy, training, found, rng):
    """The arrays whose gradient isn't the slope of sum(y * dy), along random directions."""

    def f(name, nudge):
        moved, at = copy.deepcopy(layer), x.copy()
        (at if name == "dx" else moved.params[name[1:]])[...] += nudge
        return float((moved.forward(at, training) * dy).sum())

    for name in ("dx", *(f"d{key}" for key in layer.params)):
        a = x if name == "dx" else layer.params[name[1:]]
        if found[name] is None:
            yield f"{name} is None"
        elif found[name].shape != a.shape:
            yield f"{name} has another shape"
        elif found[name].dtype != np.float64:
            yield f"{name} is {found[name].dtype}"
        else:
            for _ in range(2):
                direction = rng.standard_normal(a.shape)
                up, down = f(name, STEP * direction), f(name, -STEP * direction)
                numeric, analytic = (up - down) / (2 * STEP), float((found[name] * direction).sum())
                slack = 1e-6 * np.linalg.norm(found[name]) + 1e-9 * (1 + abs(up))
                if not abs(numeric - analytic) <= slack:
                    yield f"{name} is not the slope"


def beside(layer, like, x, dy, training, found):
    """What the package's layer, with the same parameters and buffers, has otherwise."""
    for mine, its in ((layer.params, like.params), (layer.buffers, like.buffers)):
        assert mine.keys() == its.keys()
        for key, array in its.items():
            array[...] = mine[key]
    if isinstance(like, sn.Dropout) and training and like.rate:
        kept = found["y"] != 0
        if not 0.45 < kept.mean() < 0.95:  # 0.7 of 120 is meant: six standard deviations
            yield "y drops another part"
        if differs(found["y"][kept], x[kept] / (1 - like.rate)):
            yield "y is scaled in another way"
        return
    if found["y"].shape != (len(x), *like.output_shape):
        yield "y has another shape"
        return
    for name, right in results(like, x, dy, training).items():
        mine = found[name]
        if mine is None or mine.shape != right.shape or differs(mine, right):
            yield f"{name} is another"


def calls_differ(layer, x, dy):
    """What a layer does to the arrays it is given, and to itself."""
    layer, given, gradient = copy.deepcopy(layer), x.copy(), dy.copy()
    layer.forward(given, True)
    layer.backward(gradient)
    if (given != x).any():
        yield "x is written to"
    if (gradient != dy).any():
        yield "dy is written to"
    before = {key: a.copy() for key, a in layer.buffers.items()}
    first, second = (np.array(layer.forward(x.copy(), False)) for _ in range(2))
    if (first != second).any():
        yield "another y"
    if any((a != before[key]).any() for key, a in layer.buffers.items()):
        yield "buffers change in evaluation"


def of_layer(case, seed, kind, warm):
    layer, x, _, like = prepared(case, seed, kind)
    rng = np.random.default_rng(seed + 100)
    earlier, dy = case.values(rng, x.shape), rng.standard_normal((len(x), *layer.output_shape))
    yield from calls_differ(layer, x, dy)
    if warm:
        layer.forward(earlier.copy(), True)
        layer.backward(rng.standard_normal(dy.shape))
    for training in (True, False):
        found = results(layer, x, dy, training)
        if case.values not in KINKED:
            yield from slopes_differ(layer, x, dy, training, found, rng)
        if like is not None:
            yield from beside(layer, like, x, dy, training, found)
    if not np.isfinite(copy.deepcopy(layer).forward(1000 * x, False)).all():
        yield "y is not finite"


def of_loss(case, seed, kind, warm):
    loss, x, y, like = prepared(case, seed, kind)
    rng = np.random.default_rng(seed + 100)
    if warm:
        loss.forward(case.values(rng, x.shape), case.targets(rng, x.shape))
        loss.backward()
    given = x.copy()
    value, dx = loss.forward(given, y), np.array(loss.backward())
    if (given != x).any():
        yield "x is written to"
    if dx.dtype != np.float64:
        yield f"dx is {dx.dtype}"
    for _ in range(3):
        direction = rng.standard_normal(x.shape)
        if case.values is surely_wrong:
            direction[0] = 0  # a kink, where the smallest probability is
        up, down = (loss.forward(x + s * STEP * direction, y) for s in (1, -1))
        slack = 1e-6 * np.linalg.norm(dx) + 1e-9 * (1 + abs(up))
        if not abs((up - down) / (2 * STEP) - (dx * direction).sum()) <= slack:
            yield "dx is not the slope"
    if like is not None:
        if differs(np.array(value), np.array(like.forward(x, y))):
            yield "y is another"
        if differs(dx, like.backward()):
            yield "dx is another"
    sure = [1000 * x]
    if case.values in (probabilities, surely_wrong):
        sure = [surely_wrong(rng, x.shape)]
        y = labels(rng, x.shape)
    for values in sure:
        if not np.isfinite(loss.forward(values, y)) or not np.isfinite(loss.backward()).all():
            yield "not finite"


def of_optimizer(case, seed, kind, warm):
    optimizer, _, _, like = prepared(case, seed, kind)
    mine, its = model_of(), model_of()
    rng = np.random.default_rng(seed)
    start = mine.flat_params.copy()
    for step in range(6 if warm else 1):
        size = mine.flat_params.size
        grads = rng.standard_normal(size) * 10.0 ** rng.uniform(-4, 0, size)
        mine.flat_grads[:] = its.flat_grads[:] = grads
        optimizer.step(mine)
        if (mine.flat_grads != grads).any():
            yield "gradients are written to"
        if not np.isfinite(mine.flat_params).all():
            yield "not finite"
        if step == 0 and not ((mine.flat_params - start) * grads).sum() < 0:
            yield "it does not go down"
        if like is not None:
            like.step(its)
            if differs(mine.flat_params, its.flat_params, 1e-12):
                yield "parameters are others"
    if (mine.flat_params == start).all():
        yield "nothing moves"


def seen(case, seed, kind=None, warm=True):
    """One after the other, what can be seen to be wrong with a case.

    kind    another class in its place
    warm    after an earlier call with other values; an optimizer makes more than one step
    """
    look = {"layer": of_layer, "loss": of_loss, "optimizer": of_optimizer}[case.room]
    with np.errstate(all="ignore"), sn.use_backend("reference"):
        yield from look(case, seed, kind, warm)


def symptoms(*case_seed_kind, warm=True):
    return {*seen(*case_seed_kind, warm=warm)}


# ---- the tests -----------------------------------------------------------------------------------


@cases(WRONG)
def test_every_mistake_is_one(case):
    assert next(seen(case, 1), None)


@cases(RIGHT)
def test_what_is_right_is_right(case):
    assert symptoms(case, 1) == set()


@pytest.mark.slow
@cases(WRONG)
def test_without_its_mistake_the_class_is_right(case):
    (right,) = case.kind.__bases__
    for seed in (1, *SEEDS):
        assert symptoms(case, seed, right) == set()
        assert next(seen(case, seed), None)


@pytest.mark.slow
@cases(RIGHT)
def test_what_is_right_is_right_with_other_numbers_and_at_the_first_call(case):
    for seed in SEEDS:
        assert symptoms(case, seed) == set()
        assert symptoms(case, seed, warm=False) == set()


@cases([case for case in MISTAKES if case.causes[0] in SHOWS])
def test_a_mistake_shows_what_its_cause_says(case):
    words = SHOWS[case.causes[0]]
    words = (words,) if isinstance(words, str) else words
    found = symptoms(case, 1)
    assert any(word in symptom for symptom in found for word in words), found


@cases([case for case in MISTAKES if case.causes[0] in LATER])
def test_what_is_of_an_earlier_call_is_right_at_the_first(case):
    assert symptoms(case, 1, warm=False) == set()


@cases([case for case in MISTAKES if case.causes[0] in FACTORS and case.room != "optimizer"])
def test_a_factor_is_the_one_that_its_cause_says(case):
    """Beside the class without the mistake some array is n times too large or too small, or -1."""
    if case.name == "batchnorm-divided-twice":  # a factor of two terms, not of the whole
        (d, x_hat), s, axes = np.random.default_rng(0).standard_normal((2, 8, 3)), 0.5, (0,)
        wrong, right = (k().dx(d, x_hat, s, axes) for k in (case.kind, *case.kind.__bases__))
        np.testing.assert_allclose(s * d - wrong, (s * d - right) / len(d))
        return
    (right,) = case.kind.__bases__
    (thing, x, y, _), (other, *_) = prepared(case, 1), prepared(case, 1, right)
    if case.room == "loss":
        pairs = [[np.array(f.forward(x, y)), f.backward()] for f in (thing, other)]
    else:
        dy = np.random.default_rng(0).standard_normal((len(x), *thing.output_shape))
        with sn.use_backend("reference"):
            found = [results(f, x, dy, True) for f in (thing, other)]
        pairs = [[f[key] for key in found[0]] for f in found]
    ratios = [(a[b != 0] / b[b != 0]).ravel() for a, b in zip(*pairs, strict=True)]
    window = math.prod(case.args[0]) if "pool" in case.name else len(x)
    wanted = FACTORS[case.causes[0]](len(x), window)
    assert any(np.allclose(ratio, factor) for ratio in ratios for factor in wanted)


def test_names_are_unique_and_causes_known():
    every = [*WRONG, *RIGHT]
    assert len({case.name for case in every}) == len(every)
    for case in MISTAKES:
        assert case.causes and set(case.causes) <= CAUSES.keys()
        assert len(case.causes) == 1 or case.note, case.name
    assert {case.causes[0] for case in MISTAKES} == CAUSES.keys()
    assert not any(case.causes for case in (*UNNAMED, *RIGHT))


def test_no_class_is_right_and_wrong():
    assert not {case.kind for case in WRONG} & {case.kind for case in RIGHT}


def test_there_are_enough_of_every_kind():
    assert len(MISTAKES) >= 70 and len(RIGHT) >= 34
    for room, some in (("layer", 100), ("loss", 15), ("optimizer", 20)):
        assert sum(case.room == room for case in MISTAKES) >= some


def test_batches_are_more_than_one_and_images_not_square():
    for case in WRONG:
        if case.shape:
            assert case.shape[0] > 1
            assert len(case.shape) < 4 or case.shape[1] != case.shape[2]


@pytest.mark.parametrize("fuse", [True, False])
def test_a_model_learns_the_same_with_gradients_in_new_arrays(fuse):
    """So that "dense-new-gradient-arrays" is right, and not right by itself only."""
    from mistakes.dense import NewGradientArrays

    class New(sn.Dense):
        backward = NewGradientArrays.backward

        def forward(self, x, training=False):
            self.keep(x, x)
            return x @ self.params["W"] + self.params["b"]

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 6)), rng.integers(0, 3, 20)
    losses = []
    for kind in (New, sn.Dense):
        layers = [kind(5), sn.Tanh(), kind(3), sn.Softmax()]
        model = sn.Sequential(layers, input_shape=(6,), seed=0, dtype=np.float64, fuse=fuse)
        model.compile("sgd", "sparse_categorical_crossentropy")
        losses.append(model.fit(x, y, epochs=4, batch_size=7, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-10)
