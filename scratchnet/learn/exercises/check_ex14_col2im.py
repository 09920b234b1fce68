"""col2im against the definition, value by value, and as the transpose of im2col."""

import numpy as np

TITLE = "col2im"
MINUTES = 30
LESSON = 6
READ = "layers/functions.py"
HINTS = (
    "The slices are the same as in im2col: only which side of the `=` they stand on changes.",
    "padded = np.zeros((n, h + 2 * pad, w + 2 * pad, c)) and in the loops "
    "padded[:, rows, columns] += dcols[:, :, :, u, v]; before, dcols.reshape(n, out_h, out_w, kh, "
    "kw, c).",
    "Cut with pad : pad + h. The slice pad : -pad is empty when pad is 0.",
)

CASES = ((2, 4, 5, 2, 2, 3, 1, 0), (1, 5, 5, 1, 3, 3, 2, 0), (2, 4, 3, 3, 3, 2, 1, 1))
CASES += ((1, 6, 5, 2, 2, 2, 2, 1), (1, 3, 3, 1, 3, 3, 1, 2), (1, 6, 6, 1, 2, 2, 3, 0))


def check(learner, trial):
    for n, h, w, c, kh, kw, stride, pad in CASES:
        out_h, out_w = (h + 2 * pad - kh) // stride + 1, (w + 2 * pad - kw) // stride + 1
        six = trial.rng.standard_normal((n, out_h, out_w, kh, kw, c))
        dcols = six.reshape(n * out_h * out_w, kh * kw * c)
        with trial.untouched(dcols=dcols):
            found = learner.col2im(dcols, (n, h, w, c), kh, kw, stride, pad)
        what = f"col2im to {n} x {h} x {w} x {c}, window {kh} x {kw}, stride {stride}, pad {pad}"
        where = (n, h, w, c), stride, pad
        padded = (n, h + 2 * pad, w + 2 * pad, c)
        uncut = added(six, padded, stride, 0)
        if pad and np.shape(found) == padded:
            trial.that(False, f"{what}: the padding is still on it; cut it off on all four sides")
        right = added(six, *where)
        traps = {
            "`=` where `+=` belongs: a pixel in several windows keeps the last one's share": added(
                six, *where, last=True
            ),
            "the window is turned round: u = 0 is its upper row": added(
                six[:, :, :, ::-1, ::-1], *where
            ),
            "the stride is left out: position i begins at row i * stride": added(
                six, (n, h, w, c), 1, pad
            ),
            "the padding is cut off below and on the right alone": uncut[:, :h, :w],
        }
        trial.same(what, found, right, traps=traps)


def added(six, shape, stride, pad, last=False):
    """By the definition; last: only the last share of each pixel."""
    n, h, w, c = shape
    _, out_h, out_w, kh, kw, _ = six.shape
    dx = np.zeros(shape)
    # the window's places outside, as most would write it: the last share is the last place's
    for u, v, i, j in np.ndindex(kh, kw, out_h, out_w):
        row, column = i * stride + u - pad, j * stride + v - pad
        if 0 <= row < h and 0 <= column < w:
            dx[:, row, column] = six[:, i, j, u, v] + (0 if last else dx[:, row, column])
    return dx
