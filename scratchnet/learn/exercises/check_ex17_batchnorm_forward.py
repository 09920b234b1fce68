"""BatchNorm's outputs and running statistics against the package's own."""

import scratchnet as sn

TITLE = "BatchNorm, forward"
MINUTES = 30
LESSON = 9
READ = "layers/normalization.py"
HINTS = (
    "axes = tuple(range(x.ndim - 1)) are all axes but the last; x.mean(axis=axes) is (c,), and "
    "NumPy lines it up with the last axis of x by itself. x.var(axis=axes) divides by m.",
    "In training the batch's own mu and var normalize, not the running ones: those are only kept. "
    "`mean = momentum * mean + ...` makes a new array; `mean[:] = ...` writes into the buffer.",
    "self.s = 1 / np.sqrt(variance + self.epsilon); self.x_hat = (x - mu) * self.s. The epsilon is "
    "inside the root.",
)


def check(learner, trial):
    for shape, momentum, epsilon in (((6, 3), 0.9, 1e-3), ((2, 3, 2, 2), 0.5, 0.1)):
        layer = learner.BatchNorm(shape[-1], momentum, epsilon)
        for name in layer.params:
            layer.params[name][:] = trial.rng.uniform(0.5, 1.5, shape[-1])
        x = 2 * trial.rng.standard_normal(shape) + 1
        right = trial.right(sn.BatchNorm(momentum, epsilon), layer, shape[1:])
        size = " x ".join(map(str, shape))
        trial.layer(layer, x, right, backward=False, what=f"training, {size}")
        trial.layer(layer, x, right, backward=False, training=False, what=f"evaluation, {size}")
    for part in ("x_hat", "s", "training"):
        trial.that(
            hasattr(layer, part), f"BatchNorm.forward: expected it to keep self.{part}, found none"
        )
