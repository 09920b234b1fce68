"""Conv2D's gradients against numeric ones, with strides, padding, images that are not square."""

import scratchnet as sn

TITLE = "Conv2D, backward"
MINUTES = 30
LESSON = 6
READ = "layers/conv.py"
HINTS = (
    "dy = dy.reshape(-1, f) makes the table; it is a new view and changes nothing of the caller's.",
    'self.grads["W"][:] = (self.cols.T @ dy).reshape(W.shape). b was added at every position of '
    "every image, so db is dy.sum(axis=0) of the table, (f,).",
    "dcols = dy @ W.reshape(-1, f).T, and then your col2im with self.x_shape and the same window, "
    "stride and pad as in forward.",
)

#: n, h, w, c, filters, (kh, kw), stride, pad
CASES = ((2, 4, 5, 2, 3, (3, 2), 1, 0), (1, 5, 4, 2, 2, (3, 3), 2, 1))
CASES += ((3, 3, 3, 1, 2, (2, 2), 1, 1), (1, 6, 6, 1, 2, (2, 3), 3, 0))


def check(learner, trial):
    for n, h, w, c, f, window, stride, pad in CASES:
        layer = learner.Conv2D(c, f, *window, stride, pad, trial.rng)
        layer.params["b"][:] = trial.rng.standard_normal(f)
        x = trial.rng.standard_normal((n, h, w, c))
        right = trial.right(sn.Conv2D(f, window, strides=stride, padding=pad), layer, (h, w, c))
        what = f"window {window[0]} x {window[1]}, stride {stride}, pad {pad}"
        trial.layer(layer, x, right, what=what)
