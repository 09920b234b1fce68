"""A block of the learner's own layers, against its formula and numeric gradients."""

import numpy as np

TITLE = "Residual"
MINUTES = 15
LESSON = 9
READ = "layers/residual.py"
HINTS = (
    "Two loops as in your Network, but with names of their own: x and dy are needed again after "
    "the loop.",
    "return y + x and return dx + dy. With `y += x` you would write into an array that a layer may "
    "have kept.",
)


def check(learner, trial):
    rng = trial.rng
    Dense, ReLU = trial.file("ex04_dense_backward").Dense, trial.file("ex05_relu").ReLU
    BatchNorm = trial.file("ex18_batchnorm_backward").BatchNorm
    x = rng.standard_normal((4, 3))
    inner = [Dense(3, 5, rng), ReLU(), Dense(5, 3, rng)]
    through = np.maximum(x @ inner[0].params["W"], 0) @ inner[2].params["W"]
    block = learner.Residual(inner)
    traps = {
        "x is not added": through,
        "F(x) is missing: only x comes out": x,
        "x is added twice": through + 2 * x,
    }
    with trial.untouched(x=x):
        y = block.forward(x)
    trial.same("Residual.forward", y, through + x, given={"x": x}, traps=traps)
    trial.layer(block, x)
    trial.layer(learner.Residual([Dense(3, 3, rng), BatchNorm(3)]), x, what="with BatchNorm")
    trial.layer(
        learner.Residual([Dense(3, 3, rng), BatchNorm(3)]),
        x,
        training=False,
        what="with BatchNorm, evaluation",
    )
    trial.layer(learner.Residual([learner.Residual([Dense(3, 3, rng)])]), x, what="two, nested")
    dy, nothing = rng.standard_normal((4, 3)), learner.Residual([])
    trial.same("Residual([]).forward", nothing.forward(x), 2 * x)
    trial.same("Residual([]).backward", nothing.backward(dy), 2 * dy)
