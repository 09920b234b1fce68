"""Sigmoid against the package's own; at 1000 and -1000 no overflow."""

import numpy as np

import scratchnet as sn

TITLE = "Sigmoid, without an overflow"
MINUTES = 20
LESSON = 3
READ = "layers/smooth.py"
HINTS = (
    "With z = np.exp(-np.abs(x)), which is between 0 and 1: what is y for x >= 0, in terms of z? "
    "And for x < 0, where z is e^x?",
    "For x >= 0 it is 1 / (1 + z), for x < 0 it is z / (1 + z). The lower halves are the same, and "
    "np.where(x >= 0, 1, z) is the upper one. (np.where computes both sides everywhere: what "
    "overflows in the side that is not chosen still overflows.)",
    "Keep y in forward; backward is dy * y * (1 - y).",
)


def check(learner, trial):
    for shape in ((4, 3), (2, 3, 2, 1)):
        layer, x = learner.Sigmoid(), 3 * trial.rng.standard_normal(shape)
        trial.layer(layer, x, trial.right(sn.Sigmoid(), layer, shape[1:]))
    x = np.array([[-1000.0, -40.0, 0.0, 40.0, 1000.0]])
    layer = learner.Sigmoid()
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y = layer.forward(x)
        dx = layer.backward(np.ones_like(x))
    right = np.array([[0.0, np.exp(-40.0), 0.5, 1.0, 1.0]])
    trial.same("Sigmoid.forward far out", y, right, given={"x": x})
    small = np.array([[0.0, np.exp(-40.0), 0.25, np.exp(-40.0), 0.0]])
    trial.same("Sigmoid.backward far out", dx, small, given={"x": x})
