"""7. Softmax and cross-entropy, together.

About 40 minutes. Lesson 4. The package's own: scratchnet/losses.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#backward/loss

Shapes    logits (n, k): k scores for each of n examples, any numbers; labels (n,): the right class,
          a whole number from 0 to k - 1;  L is one number, dlogits (n, k)

Softmax   probs[n, j] = e^logits[n, j] / (sum over all j of e^logits[n, j])
          Each row is positive and adds up to 1. Adding the same number to a whole row changes
          nothing (why?), so subtract the row's largest first: then no e can overflow.

Forward   L = - 1/n  sum over n of  log probs[n, labels[n]]
          The mean over the examples. Here is the one place where something is divided by n.
          Where a probability is so small that it is rounded to 0, its log is minus infinity. So do
          not take the log of probs: with `shifted`, the logits minus their row's largest,

              log probs[n, j] = shifted[n, j] - log(sum over j of e^shifted[n, j])

Backward  dL/dlogits. Put both formulas together for one example with the label t,

              L = log(sum over j of e^logits[j]) - logits[t]

          and differentiate by logits[j], once for j = t and once for j other than t. What comes out
          is short: probs - one_hot(label), and the whole divided by n.

probs[np.arange(n), labels] picks the entry of its own label from every row.

    scratchnet learn check 7        scratchnet learn hint 7
"""

import numpy as np


def softmax(logits):
    """(n, k) -> probabilities (n, k)"""
    # TODO: subtract each row's largest, take e of it, divide by each row's sum
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)
    # END


class SoftmaxCrossEntropy:
    def forward(self, logits, labels):
        """logits (n, k), labels (n,) -> L"""
        # TODO: the loss, without a log of a probability; keep what backward will need
        self.logits, self.labels = logits, labels
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(axis=1))  # (n,)
        return (log_sum - shifted[np.arange(len(labels)), labels]).mean()
        # END

    def backward(self):
        """-> dL/dlogits (n, k)"""
        # TODO: probs, minus 1 at each row's label, divided by n
        n = len(self.labels)
        dlogits = softmax(self.logits)
        dlogits[np.arange(n), self.labels] -= 1
        return dlogits / n
        # END
