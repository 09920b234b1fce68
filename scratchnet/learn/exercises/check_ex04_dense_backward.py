"""Dense's gradients against numeric ones."""

import scratchnet as sn

TITLE = "Dense, backward"
MINUTES = 30
LESSON = 2
READ = "layers/dense.py"
HINTS = (
    "y[n, j] changes with W[i, j] by x[n, i]. So dW[i, j] is the sum over n of x[n, i] dy[n, j]. "
    "Which product of two arrays sums over n?",
    "dW must be (d, units), and what there is are x (n, d) and dy (n, units): turn one of them. "
    "b[j] is added in every row, so db sums dy over the rows.",
    'self.grads["W"][:] = self.x.T @ dy;  self.grads["b"][:] = dy.sum(axis=0);  and dx is dy times '
    "the transpose of W.",
)


def check(learner, trial):
    for n, d, units in ((3, 4, 2), (1, 2, 5), (5, 3, 3)):
        layer = learner.Dense(d, units, trial.rng)
        layer.params["b"][:] = trial.rng.standard_normal(units)
        x = trial.rng.standard_normal((n, d))
        trial.layer(layer, x, trial.right(sn.Dense(units), layer, (d,)))
