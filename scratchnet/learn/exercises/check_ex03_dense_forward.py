"""Dense's outputs against the package's own layer, for several sizes."""

import scratchnet as sn

TITLE = "Dense, forward"
MINUTES = 10
LESSON = 2
READ = "layers/dense.py"
HINTS = (
    "Write the shapes down: (n, d) and (d, units). In a matrix product the two inner sizes have to "
    "be the same, and vanish.",
    "`@` is the matrix product; `*` multiplies entry by entry and is not meant here.",
    "return x @ W + b",
)


def check(learner, trial):
    for n, d, units in ((3, 4, 2), (1, 2, 5), (5, 3, 3)):
        layer = learner.Dense(d, units, trial.rng)
        layer.params["b"][:] = trial.rng.standard_normal(units)
        x = trial.rng.standard_normal((n, d))
        W, b = layer.params["W"], layer.params["b"]
        traps = {"b is not added": x @ W, "b is subtracted": x @ W - b}
        if d == units:
            traps["W is transposed: W[i, j] leads from input i to output j"] = x @ W.T + b
        right = trial.right(sn.Dense(units), layer, (d,))
        given = {"x": x, "W": W, "b": b}
        with trial.untouched(x=x, W=W, b=b):
            y = layer.forward(x)
        trial.same("Dense.forward", y, right.forward(x), given=given, traps=traps)
        trial.layer(layer, x, right, backward=False)
