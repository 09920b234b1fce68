"""SGD's steps against the package's own."""

import scratchnet as sn

TITLE = "SGD"
MINUTES = 10
LESSON = 5
READ = "optimizers.py"
HINTS = (
    "`params = params - ...` makes a new array and gives it the name params; the model's stays as "
    "it was. What writes into an array that is there?",
    "params -= self.learning_rate * grads",
)


def check(learner, trial):
    for rate in (0.1, 0.5):
        what = f"learning_rate {rate}"
        trial.optimizer(
            lambda rate=rate: learner.SGD(rate), lambda rate=rate: sn.SGD(rate), what=what
        )
