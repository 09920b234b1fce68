"""Optimizers: step(model) changes model.flat_params by model.flat_grads."""

import numpy as np

import scratchnet as sn

from .case import Case


class MySGD:
    """parameters <- parameters - lr * gradient"""

    def __init__(self, learning_rate=0.1):
        self.learning_rate = learning_rate

    def step(self, model):
        params, grads = model.flat_params, model.flat_grads
        params -= self.learning_rate * grads


class Climbs(MySGD):
    def step(self, model):
        params, grads = model.flat_params, model.flat_grads
        params += self.learning_rate * grads


class NewArray(MySGD):
    def step(self, model):
        params, grads = model.flat_params, model.flat_grads
        params = params - self.learning_rate * grads


class AddsUp(MySGD):
    total = 0

    def step(self, model):
        self.total = self.total + model.flat_grads
        params = model.flat_params
        params -= self.learning_rate * self.total


class RateForgotten(MySGD):
    def step(self, model):
        params = model.flat_params
        params -= model.flat_grads


class MyMomentum(sn.optimizers.Optimizer):
    """velocity <- momentum * velocity - lr * gradient; parameters <- parameters + velocity"""

    def __init__(self, learning_rate=0.1, momentum=0.9):
        super().__init__(learning_rate)
        self.momentum = momentum
        self.velocity = None

    def start(self, params):
        if self.velocity is None:
            self.velocity = np.zeros_like(params)

    def update(self, params, grads, lr):
        self.start(params)
        self.velocity *= self.momentum
        self.velocity -= lr * grads
        params += self.velocity


class StartsAnew(MyMomentum):
    def start(self, params):
        self.velocity = np.zeros_like(params)


class VelocityWithoutRate(MyMomentum):
    def update(self, params, grads, lr):
        self.start(params)
        self.velocity = self.momentum * self.velocity - grads
        params += self.velocity


class Dampened(MyMomentum):
    def update(self, params, grads, lr):
        self.start(params)
        self.velocity = self.momentum * self.velocity - (1 - self.momentum) * lr * grads
        params += self.velocity


class VelocityUphill(MyMomentum):
    def update(self, params, grads, lr):
        self.start(params)
        self.velocity = self.momentum * self.velocity + lr * grads
        params += self.velocity


class MomentumReplaced(MyMomentum):
    def update(self, params, grads, lr):
        self.start(params)
        self.velocity = self.momentum * self.velocity - lr * grads
        params = params + self.velocity


class MomentumForgotten(MyMomentum):
    """velocity keeps all of what it was."""

    def update(self, params, grads, lr):
        self.start(params)
        self.velocity -= lr * grads
        params += self.velocity


class MyDecayedMomentum(MyMomentum):
    """Shrinks the parameters first, apart from the gradient."""

    decay_rate = 0.2

    def update(self, params, grads, lr):
        params *= 1 - lr * self.decay_rate
        super().update(params, grads, lr)


class DecayInTheVelocity(MyDecayedMomentum):
    def update(self, params, grads, lr):
        MyMomentum.update(self, params, grads + self.decay_rate * params, lr)


class MyNesterov(MyMomentum):
    def update(self, params, grads, lr):
        self.start(params)
        self.velocity = self.momentum * self.velocity - lr * grads
        params += self.momentum * self.velocity - lr * grads


class LooksAheadWithoutMomentum(MyNesterov):
    def update(self, params, grads, lr):
        self.start(params)
        self.velocity = self.momentum * self.velocity - lr * grads
        params += self.velocity - lr * grads


class LooksNotAhead(MyNesterov):
    def update(self, params, grads, lr):
        MyMomentum.update(self, params, grads, lr)


class MyAdam:
    """As in the paper's algorithm 1."""

    def __init__(self, learning_rate=0.01, beta_1=0.9, beta_2=0.99, epsilon=1e-4, decay=0.0):
        self.lr, self.beta_1, self.beta_2 = learning_rate, beta_1, beta_2
        self.epsilon, self.decay = epsilon, decay
        self.m = self.v = None
        self.t = 0

    def start(self, params):
        if self.m is None:
            self.m, self.v = np.zeros_like(params), np.zeros_like(params)

    def count(self, model):
        self.t += 1

    def average(self, g):
        self.m = self.beta_1 * self.m + (1 - self.beta_1) * g
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * g**2

    def corrected(self):
        return self.m / (1 - self.beta_1**self.t), self.v / (1 - self.beta_2**self.t)

    def below(self, v_hat):
        return np.sqrt(v_hat) + self.epsilon

    def shrink(self, params):
        params *= 1 - self.lr * self.decay

    def step(self, model):
        params, g = model.flat_params, model.flat_grads
        self.start(params)
        self.count(model)
        self.shrink(params)
        self.average(g)
        m_hat, v_hat = self.corrected()
        params -= self.lr * m_hat / self.below(v_hat)


class NotCorrected(MyAdam):
    def corrected(self):
        return self.m, self.v


class SquaresNotCorrected(MyAdam):
    def corrected(self):
        return self.m / (1 - self.beta_1**self.t), self.v


class MeanNotCorrected(MyAdam):
    def corrected(self):
        return self.m, self.v / (1 - self.beta_2**self.t)


class CountsFromZero(MyAdam):
    """The first step is number 0: 1 - beta^0 = 0."""

    def step(self, model):
        self.t -= 1
        super().step(model)
        self.t += 1


class NeverCounts(MyAdam):
    def count(self, model):
        self.t = 1


class CountsEveryArray(MyAdam):
    """t goes on at every parameter of the model, not at every step."""

    def count(self, model):
        self.t += len(model.parameters())


class CountsOneAhead(MyAdam):
    def __init__(self, *args):
        super().__init__(*args)
        self.t = 1


class EpsilonInside(MyAdam):
    def below(self, v_hat):
        return np.sqrt(v_hat + self.epsilon)


class AdamStartsAnew(MyAdam):
    def start(self, params):
        self.m, self.v = np.zeros_like(params), np.zeros_like(params)


class AveragesInFloat32(MyAdam):
    def start(self, params):
        if self.m is None:
            self.m = np.zeros(params.shape, np.float32)
            self.v = np.zeros(params.shape, np.float32)

    def average(self, g):
        self.m[:] = self.beta_1 * self.m + (1 - self.beta_1) * g
        self.v[:] = self.beta_2 * self.v + (1 - self.beta_2) * g**2


class AdamReplaces(MyAdam):
    def step(self, model):
        params, g = model.flat_params, model.flat_grads
        self.start(params)
        self.count(model)
        self.average(g)
        m_hat, v_hat = self.corrected()
        params = params - self.lr * m_hat / self.below(v_hat)


class AdamClimbs(MyAdam):
    def step(self, model):
        self.lr = -self.lr
        super().step(model)
        self.lr = -self.lr


class OneMinusBetaForgotten(MyAdam):
    def average(self, g):
        self.m = self.beta_1 * self.m + g
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * g**2


class SquareForgotten(MyAdam):
    def average(self, g):
        self.m = self.beta_1 * self.m + (1 - self.beta_1) * g
        self.v = self.beta_2 * self.v + (1 - self.beta_2) * np.abs(g)


class BetasExchanged(MyAdam):
    def average(self, g):
        self.beta_1, self.beta_2 = self.beta_2, self.beta_1
        super().average(g)
        self.beta_1, self.beta_2 = self.beta_2, self.beta_1

    def corrected(self):
        return self.m / (1 - self.beta_2**self.t), self.v / (1 - self.beta_1**self.t)


class BothTheSameArray(MyAdam):
    """self.m = self.v = np.zeros_like(params), changed in place."""

    def start(self, params):
        if self.m is None:
            self.m = self.v = np.zeros_like(params)

    def average(self, g):
        self.m *= self.beta_1
        self.m += (1 - self.beta_1) * g
        self.v *= self.beta_2
        self.v += (1 - self.beta_2) * g**2


class DecayInTheGradient(MyAdam):
    def step(self, model):
        params, g = model.flat_params, model.flat_grads
        g = g + self.decay * params
        self.start(params)
        self.count(model)
        self.average(g)
        m_hat, v_hat = self.corrected()
        params -= self.lr * m_hat / self.below(v_hat)


class DecayWithoutRate(MyAdam):
    def shrink(self, params):
        params *= 1 - self.decay


class DecayGrows(MyAdam):
    def shrink(self, params):
        params *= 1 + self.lr * self.decay


class DecayForgotten(MyAdam):
    """Takes the argument, and does nothing with it."""

    def shrink(self, params):
        pass


# ---- right, and unusual --------------------------------------------------------------------------


class OutIsParams(MySGD):
    def step(self, model):
        np.subtract(model.flat_params, self.learning_rate * model.flat_grads, out=model.flat_params)


class InParts(MySGD):
    """From the end to the beginning, in parts."""

    def step(self, model):
        params, grads = model.flat_params, model.flat_grads
        for start in reversed(range(0, params.size, 5)):
            params[start : start + 5] -= grads[start : start + 5] * self.learning_rate


class AsPyTorch(MyMomentum):
    """velocity without the rate, which comes in at the end: the same while the rate stays."""

    def update(self, params, grads, lr):
        self.start(params)
        self.velocity = self.momentum * self.velocity + grads
        params -= lr * self.velocity


class DownwardVelocity(MyMomentum):
    def update(self, params, grads, lr):
        self.start(params)
        self.velocity = self.momentum * self.velocity + lr * grads
        params -= self.velocity


class NesterovFromBefore(MyNesterov):
    """With the velocity of before and of now: -mu v_before + (1 + mu) v."""

    def update(self, params, grads, lr):
        self.start(params)
        before = self.velocity
        self.velocity = self.momentum * before - lr * grads
        params += -self.momentum * before + (1 + self.momentum) * self.velocity


class CorrectedRate(MyAdam):
    """Both corrections in the rate, and epsilon scaled to match: one pass less."""

    def step(self, model):
        params, g = model.flat_params, model.flat_grads
        self.start(params)
        self.count(model)
        self.average(g)
        root = np.sqrt(1 - self.beta_2**self.t)
        rate = self.lr * root / (1 - self.beta_1**self.t)
        params -= rate * self.m / (np.sqrt(self.v) + self.epsilon * root)


class PowersKept(MyAdam):
    """Products of the betas instead of powers; averages written as differences."""

    def __init__(self, *args):
        super().__init__(*args)
        self.power_1 = self.power_2 = 1.0

    def average(self, g):
        self.m += (1 - self.beta_1) * (g - self.m)
        self.v += (1 - self.beta_2) * (g * g - self.v)
        self.power_1 *= self.beta_1
        self.power_2 *= self.beta_2

    def corrected(self):
        return self.m / (1 - self.power_1), self.v / (1 - self.power_2)


class DecayInTheStep(MyAdam):
    """The decay's part is taken off at the end, with the rest."""

    def step(self, model):
        params, g = model.flat_params, model.flat_grads
        self.start(params)
        self.count(model)
        self.average(g)
        m_hat, v_hat = self.corrected()
        params -= self.lr * (m_hat / self.below(v_hat) + self.decay * params)


class EpsilonHat(MyAdam):
    """Keras's form: epsilon beside the root that is not corrected."""

    def step(self, model):
        params, g = model.flat_params, model.flat_grads
        self.start(params)
        self.count(model)
        self.average(g)
        rate = self.lr * np.sqrt(1 - self.beta_2**self.t) / (1 - self.beta_1**self.t)
        params -= rate * self.m / (np.sqrt(self.v) + self.epsilon)


class KerasAdam(sn.optimizers.Adam):
    """The package's Adam with Keras's epsilon, for comparison with EpsilonHat."""

    def update(self, params, grads, lr):
        corrected = self.epsilon
        self.epsilon = corrected / np.sqrt(1 - self.beta_2**self.iterations)
        super().update(params, grads, lr)
        self.epsilon = corrected


def sgd():
    return sn.optimizers.SGD(0.1)


def momentum():
    return sn.optimizers.SGD(0.1, momentum=0.9)


def decayed_momentum():
    return sn.optimizers.SGD(0.1, momentum=0.9, weight_decay=0.2)


def nesterov():
    return sn.optimizers.SGD(0.1, momentum=0.9, nesterov=True)


def adam():
    return sn.optimizers.Adam(0.01, 0.9, 0.99, 1e-4)


def adamw():
    return sn.optimizers.AdamW(0.01, 0.2, 0.9, 0.99, 1e-4)


W = (0.01, 0.9, 0.99, 1e-4, 0.2)

# fmt: off
MISTAKES = [
    Case("sgd-climbs", "params += lr * grads", Climbs, (), (), sgd, ("sign",)),
    Case(
        "sgd-new-array", "params = params - lr * grads",
        NewArray, (), (), sgd, ("parameters-replaced",),
    ),
    Case(
        "sgd-new-array-alone", "params = params - lr * grads",
        NewArray, (), (), None, ("parameters-replaced",),
    ),
    Case(
        "sgd-adds-up", "self.total += grads, and the step goes along the total.",
        AddsUp, (), (), sgd, ("accumulated",),
    ),
    Case("sgd-rate-forgotten", "params -= grads", RateForgotten, (), (), sgd, ("missing-factor",)),
    Case(
        "momentum-starts-anew", "velocity = zeros, at the beginning of the step.",
        StartsAnew, (), (), momentum, ("memory-lost", "missing-factor"),
        "nothing is left for the factor momentum to multiply",
    ),
    Case(
        "momentum-velocity-without-rate", "velocity = momentum * velocity - grads",
        VelocityWithoutRate, (), (), momentum, ("missing-factor",),
    ),
    Case(
        "momentum-dampened", "An average: momentum of the old, 1 - momentum of the new.",
        Dampened, (), (), momentum, ("missing-factor",), "a constant factor 1 - momentum too many",
    ),
    Case(
        "momentum-uphill", "velocity = momentum * velocity + lr * grads; params += velocity",
        VelocityUphill, (), (), momentum, ("sign",),
    ),
    Case(
        "momentum-replaced", "params = params + velocity",
        MomentumReplaced, (), (), momentum, ("parameters-replaced",),
    ),
    Case(
        "momentum-forgotten", "velocity -= lr * grads",
        MomentumForgotten, (), (), momentum, ("missing-factor", "accumulated"),
        "momentum is the dropped factor; what is left adds up all gradients",
    ),
    Case(
        "momentum-decay-in-the-velocity", "The decay is part of the gradient: g + decay * params.",
        DecayInTheVelocity, (), (), decayed_momentum, ("decay-coupled",),
    ),
    Case(
        "nesterov-without-momentum", "params += velocity - lr * grads",
        LooksAheadWithoutMomentum, (), (), nesterov, ("missing-factor",),
    ),
    Case("adam-not-corrected", "m / (sqrt(v) + eps)", NotCorrected, (), (), adam,
         ("no-bias-correction",)),
    Case(
        "adam-squares-not-corrected", "Only m is corrected.",
        SquaresNotCorrected, (), (), adam, ("no-bias-correction",),
    ),
    Case(
        "adam-mean-not-corrected", "Only v is corrected.",
        MeanNotCorrected, (), (), adam, ("no-bias-correction",),
    ),
    Case("adam-counts-from-zero", "t += 1 at the end.", CountsFromZero, (), (), adam, ("wrong-t",)),
    Case("adam-never-counts", "t = 1", NeverCounts, (), (), adam, ("wrong-t",)),
    Case(
        "adam-counts-every-array", "t += 1 for every parameter.",
        CountsEveryArray, (), (), adam, ("wrong-t",),
    ),
    Case("adam-counts-one-ahead", "t starts at 1, then t += 1.", CountsOneAhead, (), (), adam,
         ("wrong-t",)),
    Case("adam-epsilon-inside", "sqrt(v_hat + eps)", EpsilonInside, (), (), adam,
         ("epsilon-side",)),
    Case(
        "adam-starts-anew", "m and v are zeros at the beginning of the step.",
        AdamStartsAnew, (), (), adam, ("memory-lost",),
    ),
    Case(
        "adam-averages-in-float32", "np.zeros(size, np.float32)",
        AveragesInFloat32, (), (), adam, ("float32-inside",),
    ),
    Case("adam-replaces", "params = params - ...", AdamReplaces, (), (), adam,
         ("parameters-replaced",)),
    Case("adam-climbs", "params += ...", AdamClimbs, (), (), adam, ("sign",)),
    Case(
        "adam-1-minus-beta-forgotten", "m = beta_1 * m + g",
        OneMinusBetaForgotten, (), (), adam, ("missing-factor",), "the constant 1 - beta_1",
    ),
    Case(
        "adamw-decay-in-the-gradient", "g + decay * params, as L2 is.",
        DecayInTheGradient, W, (), adamw, ("decay-coupled",),
    ),
    Case(
        "adamw-decay-without-rate", "params *= 1 - decay",
        DecayWithoutRate, W, (), adamw, ("missing-factor",), "the learning rate",
    ),
    Case("adamw-decay-grows", "params *= 1 + lr * decay", DecayGrows, W, (), adamw, ("sign",)),
]

UNNAMED = [
    Case("nesterov-not-ahead", "plain momentum", LooksNotAhead, (), (), nesterov),
    Case("adam-square-forgotten", "|g| for g^2", SquareForgotten, (), (), adam),
    Case("adam-betas-exchanged", "beta_1 for v", BetasExchanged, (), (), adam),
    Case("adam-both-the-same-array", "m = v = zeros", BothTheSameArray, (), (), adam),
    Case("adamw-decay-forgotten", "decay not used", DecayForgotten, W, (), adamw),
]

RIGHT = [
    Case("sgd-out", "np.subtract(out=params)", OutIsParams, (), (), sgd),
    Case("sgd-in-parts", "part by part", InParts, (), (), sgd),
    Case("sgd-alone", "nothing to compare with", MySGD, (), (), None),
    Case("momentum-as-pytorch", "the rate at the end", AsPyTorch, (), (), momentum),
    Case("momentum-downward", "params -= velocity", DownwardVelocity, (), (), momentum),
    Case("momentum-decayed", "decay apart", MyDecayedMomentum, (), (), decayed_momentum),
    Case("nesterov-from-before", "two velocities", NesterovFromBefore, (), (), nesterov),
    Case("nesterov-plain", "as in the book", MyNesterov, (), (), nesterov),
    Case("adam-corrected-rate", "corrections in the rate", CorrectedRate, (), (), adam),
    Case("adam-powers-kept", "products, not powers", PowersKept, (), (), adam),
    Case("adam-epsilon-hat", "Keras's form, beside the same", EpsilonHat, (), (),
         lambda: KerasAdam(0.01, 0.9, 0.99, 1e-4)),
    Case("adamw-decay-in-the-step", "decay at the end", DecayInTheStep, W, (), adamw),
    Case("adam-alone", "nothing to compare with", MyAdam, (), (), None),
]
# fmt: on
