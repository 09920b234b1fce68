"""im2col against the definition, value by value; images and windows that are not square."""

import numpy as np

TITLE = "im2col"
MINUTES = 40
LESSON = 6
READ = "layers/functions.py"
HINTS = (
    "The last position i has i * stride + kh <= h + 2 pad. So the largest i is "
    "(h + 2 pad - kh) // stride, and as they begin with 0 there is one more than that.",
    "For one place (u, v) of the window: which pixels of the padded image stand there, for all "
    "positions at once? Rows u, u + stride, u + 2 stride, ...: out_h of them, "
    "padded[:, u : u + stride * out_h : stride].",
    "np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0))) pads rows and columns only. Then "
    "cols[:, :, :, u, v] = padded[:, rows, columns], and at the end one reshape.",
)

CASES = ((2, 4, 5, 2, 2, 3, 1, 0), (1, 5, 5, 1, 3, 3, 2, 0), (2, 4, 3, 3, 3, 2, 1, 1))
CASES += ((1, 6, 5, 2, 2, 2, 2, 1), (1, 3, 3, 1, 3, 3, 1, 2), (3, 4, 4, 1, 1, 1, 3, 0))


def check(learner, trial):
    for h, k, stride, pad, right in (
        (5, 3, 1, 0, 3),
        (5, 3, 2, 0, 2),
        (6, 3, 2, 0, 2),
        (5, 3, 1, 1, 5),
        (4, 2, 2, 1, 3),
        (3, 3, 1, 0, 1),
    ):
        traps = {
            # before the next, whose number may be the same; without padding it is the right one
            "the padding counts on both sides, 2 * pad": (h + pad - k) // stride + 1,
            "the padding is left out": (h - k) // stride + 1,
            "the 1 is missing: positions begin with 0": right - 1,
            "one position too many": right + 1,
            "a division that leaves a fraction: // gives whole numbers": (h + 2 * pad - k) / stride
            + 1,
        }
        what = f"output_size({h}, {k}, stride {stride}, pad {pad})"
        trial.same(what, learner.output_size(h, k, stride, pad), right, traps=traps)
    trial.passed = ["output_size"]
    for n, h, w, c, kh, kw, stride, pad in CASES:
        x = trial.rng.standard_normal((n, h, w, c))
        with trial.untouched(x=x):
            found = learner.im2col(x, kh, kw, stride, pad)
        what = f"im2col of {n} x {h} x {w} x {c}, window {kh} x {kw}, stride {stride}, pad {pad}"
        right = six(x, kh, kw, stride, pad)
        rows, columns = right.shape[0] * right.shape[1] * right.shape[2], kh * kw * c

        def flat(a, rows=rows, columns=columns):
            return a.reshape(rows, columns)

        traps = {
            "the channels come first in a row, and should come last": flat(
                right.transpose(0, 1, 2, 5, 3, 4)
            ),
            "the patch is read column by column; its upper row comes first": flat(
                right.transpose(0, 1, 2, 4, 3, 5)
            ),
            "the positions run from left to right first, and then down: swap them": flat(
                right.transpose(0, 2, 1, 3, 4, 5)
            ),
            "the window is turned round: u = 0 is its upper row": flat(right[:, :, :, ::-1, ::-1]),
            "the stride is left out: position i begins at row i * stride": flat(
                six(x, kh, kw, 1, pad)[:, : right.shape[1], : right.shape[2]]
            ),
        }
        trial.same(what, found, flat(right), traps=traps)


def six(x, kh, kw, stride, pad):
    """By the definition: (n, out_h, out_w, kh, kw, c)."""
    n, h, w, c = x.shape
    out_h, out_w = (h + 2 * pad - kh) // stride + 1, (w + 2 * pad - kw) // stride + 1
    cols = np.zeros((n, out_h, out_w, kh, kw, c))
    for i, j, u, v in np.ndindex(out_h, out_w, kh, kw):
        row, column = i * stride + u - pad, j * stride + v - pad
        if 0 <= row < h and 0 <= column < w:
            cols[:, i, j, u, v] = x[:, row, column]
    return cols
