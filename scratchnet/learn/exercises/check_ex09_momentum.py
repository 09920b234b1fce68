"""Momentum's steps against the package's own."""

import scratchnet as sn

TITLE = "Momentum"
MINUTES = 15
LESSON = 5
READ = "optimizers.py"
HINTS = (
    "At the first step the velocity is zero, np.zeros_like(params), and the step is the same as "
    "SGD's. From the second on, what was kept in self.velocity counts.",
    "A question of order: first the new velocity, then params += the new velocity. The learning "
    "rate stands beside the gradient, and not beside the velocity.",
)


def check(learner, trial):
    for rate, momentum in ((0.1, 0.9), (0.05, 0.5), (0.1, 0.0)):
        trial.optimizer(
            lambda rate=rate, momentum=momentum: learner.Momentum(rate, momentum),
            lambda rate=rate, momentum=momentum: sn.SGD(rate, momentum),
            what=f"momentum {momentum}",
        )
