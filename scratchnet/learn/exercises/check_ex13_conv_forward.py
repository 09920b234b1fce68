"""Conv2D's outputs against the package's own layer."""

import scratchnet as sn

TITLE = "Conv2D, forward"
MINUTES = 20
LESSON = 6
READ = "layers/conv.py"
HINTS = (
    "W.reshape(-1, f) makes a table of it with f columns; -1 means as many rows as there are. Its "
    "rows are in the order (u, v, ch), as the columns of cols are.",
    "self.cols = im2col(x, self.kh, self.kw, self.stride, self.pad). Then cols @ table + b, and "
    ".reshape(n, out_h, out_w, f).",
)

#: n, h, w, c, filters, kh, kw, stride, pad
CASES = ((2, 5, 4, 2, 3, 3, 2, 1, 0), (1, 5, 5, 1, 2, 3, 3, 2, 0))
CASES += ((2, 4, 5, 3, 2, 3, 3, 1, 1), (1, 6, 5, 2, 1, 2, 3, 2, 1))


def check(learner, trial):
    for n, h, w, c, f, kh, kw, stride, pad in CASES:
        layer, x, right = made(learner, trial, (n, h, w, c), f, (kh, kw), stride, pad)
        y = right.forward(x)
        W, b = layer.params["W"], layer.params["b"]
        other = trial.right(sn.Conv2D(f, (kh, kw), strides=stride, padding=pad), layer, (h, w, c))
        traps = {"b is not added": y - b}
        for said, mixed in (
            ("the patterns are turned round, W[::-1, ::-1]: use them as they are", W[::-1, ::-1]),
            ("W's last axis is its filters: W.reshape(-1, f)", W.reshape(f, -1).T),
        ):
            other.params["W"][:] = mixed.reshape(W.shape)
            traps[said] = other.forward(x)
        what = f"Conv2D.forward, window {kh} x {kw}, stride {stride}, pad {pad}"
        trial.same(what, layer.forward(x), y, given={"x": x}, traps=traps)
        trial.layer(layer, x, right, backward=False, what=f"stride {stride}, pad {pad}")
        trial.that(hasattr(layer, "cols"), "Conv2D.forward: expected the patches in self.cols")


def made(learner, trial, shape, filters, window, stride, pad):
    """A layer of the learner's, an input for it, and the right layer with its arrays."""
    layer = learner.Conv2D(shape[-1], filters, *window, stride, pad, trial.rng)
    layer.params["b"][:] = trial.rng.standard_normal(filters)
    x = trial.rng.standard_normal(shape)
    like = sn.Conv2D(filters, window, strides=stride, padding=pad)
    return layer, x, trial.right(like, layer, shape[1:])
