"""Dropout: how much is kept, how it is scaled, the same mask backward, none in evaluation."""

import numpy as np

TITLE = "Dropout"
MINUTES = 20
LESSON = 10
READ = "layers/dropout.py"
HINTS = (
    "self.rng.random(x.shape) < keep is True with the probability keep, and True counts as 1.",
    "mask = (self.rng.random(x.shape) < keep) / keep. Keep it in self.mask: a new one in backward "
    "would be another.",
    "In evaluation nothing is dropped: self.mask = 1.0 serves for both passes.",
)


def check(learner, trial):
    for rate in (0.2, 0.5, 0.75):
        layer, x = learner.Dropout(rate, np.random.default_rng(1)), np.ones((100, 100))
        with trial.untouched(x=x):
            y = trial.array("Dropout.forward", layer.forward(x, True), x.shape)
        _values(trial, y, rate)
        dy = trial.rng.uniform(1, 2, x.shape)
        with trial.untouched(dy=dy):
            dx = trial.array("Dropout.backward", layer.backward(dy), x.shape)
        trial.that(
            np.array_equal(dx == 0, y == 0) or abs((dx == 0).mean() - rate) > 0.02,
            "Dropout.backward: it drops other values than forward did; keep the mask of forward",
        )
        traps = {
            "the mask is not used": dy,
            "the mask is used, but not its scale": dy * (y > 0),
            "only scaled, nothing dropped": dy / (1 - rate),
        }
        trial.same("Dropout.backward", dx, dy * y, traps=traps)
        other = layer.forward(x, True)
        trial.that(not np.array_equal(other, y), "Dropout: two forward passes have the same mask")
        trial.done("Dropout: a new mask each time")
        traps = {
            "in evaluation units are dropped, too": other,
            "in evaluation it is scaled: that has been done in training": x * (1 - rate),
        }
        trial.same("Dropout.forward, evaluation", layer.forward(x), x, traps=traps)
        traps = {"the mask of an earlier, training pass is used": dy * y}
        trial.same("Dropout.backward, evaluation", layer.backward(dy), dy, traps=traps)
        small = learner.Dropout(rate, np.random.default_rng(2))
        trial.layer(small, trial.rng.standard_normal((4, 3)), repeats=False, what=f"rate {rate}")


def _values(trial, y, rate):
    keep = 1 - rate
    kept = (y != 0).mean()
    turned = abs(kept - rate) < 0.02 and rate != 0.5
    trial.that(
        abs(kept - keep) < 0.02,
        f"Dropout.forward, rate {rate}: expected about {keep:.0%} of the values kept, found "
        f"{kept:.0%}" + ("; rate is what is dropped, not what is kept" if turned else ""),
    )
    scale = y[y != 0]
    trial.that(
        np.allclose(scale, 1 / keep),
        f"Dropout.forward, rate {rate}: what is kept should be x / keep, that is x * {1 / keep:g}",
        [f"found x * {scale.min():g} to x * {scale.max():g}"],
    )
    trial.done("Dropout.forward")
