"""Adam's steps against the package's own, with an epsilon large enough to show where it stands."""

import scratchnet as sn

TITLE = "Adam"
MINUTES = 30
LESSON = 5
READ = "optimizers.py"
HINTS = (
    "t is 1 in the first step: count before you correct. With t = 0 the division is by 1 - 1 = 0.",
    "m_hat and v_hat are names of their own. `self.m = self.m / (1 - ...)` would correct what has "
    "been corrected already in the step after.",
    "The epsilon is added to the root, outside of it: np.sqrt(v_hat) + epsilon.",
)


def check(learner, trial):
    for rate, beta_1, beta_2, epsilon in (
        (0.1, 0.9, 0.999, 1e-7),
        (0.1, 0.8, 0.9, 0.1),
        (0.01, 0.5, 0.99, 1e-3),
    ):
        given = (rate, beta_1, beta_2, epsilon)
        trial.optimizer(
            lambda given=given: learner.Adam(*given),
            lambda given=given: sn.Adam(*given),
            steps=6,
            what=f"beta_1 {beta_1}, beta_2 {beta_2}, epsilon {epsilon:g}",
        )
