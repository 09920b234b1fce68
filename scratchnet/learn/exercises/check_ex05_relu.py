"""ReLU against the package's own and numeric gradients; zero belongs to the flat side."""

import numpy as np

import scratchnet as sn

TITLE = "ReLU"
MINUTES = 10
LESSON = 3
READ = "layers/activations.py"
HINTS = (
    "np.maximum(x, 0) takes the larger of two, entry by entry; np.max is the largest of all.",
    "y is positive exactly where x is, so y is enough. np.where(condition, a, b) chooses.",
    "backward: np.where(self.y > 0, dy, 0). With `>=` it would pass where x is 0 or less.",
)


def check(learner, trial):
    for shape in ((4, 3), (2, 3, 3, 2), (1, 1)):
        x = trial.rng.standard_normal(shape)
        x += 0.1 * np.sign(x)  # away from the kink
        layer = learner.ReLU()
        trial.layer(layer, x, trial.right(sn.ReLU(), layer, shape[1:]))
    layer, x = learner.ReLU(), np.array([[-1.0, 0.0, 2.0]])
    layer.forward(x)
    dx = layer.backward(np.array([[5.0, 6.0, 7.0]]))
    traps = {
        "at x = 0 the gradient passes: `>` and not `>=`": [[0.0, 6.0, 7.0]],
        "the gradient passes everywhere": [[5.0, 6.0, 7.0]],
    }
    given = {"x": x, "dy": [[5.0, 6.0, 7.0]]}
    trial.same("ReLU.backward at 0", dx, np.array([[0.0, 0.0, 7.0]]), given=given, traps=traps)
