"""BatchNorm's gradients against numeric ones, in training and in evaluation."""

import scratchnet as sn

TITLE = "BatchNorm, backward"
MINUTES = 60
LESSON = 9
READ = "layers/normalization.py"
HINTS = (
    "First dgamma and dbeta alone: run the check, and see that they are right. In evaluation dx is "
    "one line; do that next.",
    "axes = tuple(range(dy.ndim - 1)), and every sum and mean is over them. A mean over all axes "
    "would mix the channels.",
    "dx = self.s * (dx_hat - dx_hat.mean(axis=axes) - self.x_hat * (dx_hat * "
    "self.x_hat).mean(axis=axes))",
)


def check(learner, trial):
    for shape, momentum, epsilon in (((6, 3), 0.9, 1e-3), ((2, 3, 2, 2), 0.5, 0.1)):
        layer = learner.BatchNorm(shape[-1], momentum, epsilon)
        for name in layer.params:
            layer.params[name][:] = trial.rng.uniform(0.5, 1.5, shape[-1])
        layer.buffers["running_mean"][:] = trial.rng.standard_normal(shape[-1])
        layer.buffers["running_var"][:] = trial.rng.uniform(0.5, 2, shape[-1])
        x = 2 * trial.rng.standard_normal(shape) + 1
        right = trial.right(sn.BatchNorm(momentum, epsilon), layer, shape[1:])
        size = " x ".join(map(str, shape))
        trial.layer(layer, x, right, training=False, what=f"evaluation, {size}")
        trial.layer(layer, x, right, what=f"training, {size}")
