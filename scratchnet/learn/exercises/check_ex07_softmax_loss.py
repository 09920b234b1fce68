"""Softmax, and the loss with its gradient, also where e overflows and where log is infinite."""

import numpy as np

import scratchnet as sn

TITLE = "Softmax and cross-entropy"
MINUTES = 40
LESSON = 4
READ = "losses.py"
HINTS = (
    "logits.max(axis=1, keepdims=True) has the shape (n, 1), so that it can be subtracted from "
    "every row. Without keepdims it is (n,) and meets the wrong axis. The same for the sum.",
    "The loss of one example is log_sum - shifted[label], with log_sum = "
    "np.log(np.exp(shifted).sum(axis=1)). Then the mean over the examples.",
    "backward: dlogits = softmax(logits); dlogits[np.arange(n), labels] -= 1; and all of it / n. "
    "Keep logits and labels in forward.",
)


def check(learner, trial):
    right = sn.losses.SparseCategoricalCrossentropy(from_logits=True)
    for n, k in ((3, 4), (1, 2), (5, 3), (4, 4)):
        logits = 2 * trial.rng.standard_normal((n, k))
        labels = trial.rng.integers(0, k, n)
        e = np.exp(logits - logits.max(axis=1, keepdims=True))
        traps = {
            "divided by the sum of all rows together: the sum needs axis=1": e / e.sum(),
            "divided by the sums of the columns: axis=1, not axis=0": e / e.sum(axis=0),
        }
        with trial.untouched(logits=logits):
            probs = learner.softmax(logits)
        whole = e / e.sum(axis=1, keepdims=True)
        trial.same("softmax", probs, whole, given={"logits": logits}, traps=traps)
        trial.loss(learner.SoftmaxCrossEntropy(), logits, labels, right)
    far = np.array([[1000.0, 0.0, -1000.0], [0.0, 1000.0, 999.0]])
    labels = np.array([2, 1])
    loss = learner.SoftmaxCrossEntropy()
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        trial.same("softmax of large numbers", learner.softmax(far), sn.layers.softmax(far))
        found, gradient = loss.forward(far, labels), loss.backward()
    given = {"logits": far, "labels": labels}
    trial.same("the loss of large numbers", found, right.forward(far, labels), given=given)
    trial.same("the gradient of large numbers", gradient, right.backward(), given=given)
