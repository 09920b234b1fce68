"""Gradients of functions of arrays whose derivative is known."""

import numpy as np

TITLE = "The gradient of many numbers, measured"
MINUTES = 15
LESSON = 1
READ = "gradcheck.py"
HINTS = (
    "It is the slope of exercise 1, once for every entry. What has to be true of all the other "
    "entries while one is nudged?",
    "Keep the old value in a name: kept = a[index]. Then a[index] = kept + h, call f(), "
    "a[index] = kept - h, call f(), a[index] = kept.",
    "`a[index] += h` and later `a[index] -= h` does not give back the same bits: 0.1 + 1e-5 - 1e-5 "
    "is not 0.1. Assign the kept value.",
)


def check(learner, trial):
    for shape in ((3,), (2, 3), (2, 1, 2), ()):
        a, other = trial.rng.standard_normal(shape), trial.rng.standard_normal(shape)

        def f(a=a, other=other):
            return float((other * a * a).sum())

        before = a.copy()
        found = learner.numeric_gradient(f, a)
        trial.that(
            np.array_equal(a, before),
            "a has other values after the call than before: put back exactly what was there",
        )
        traps = {
            "divided by h where the width is 2h": 4 * other * a,
            "from one side alone: f at a + h and at a": other * (2 * a + 1e-5),
            "from one side alone: f at a and at a - h": other * (2 * a - 1e-5),
        }
        trial.same(
            f"gradient of an array of shape {shape}",
            found,
            2 * other * a,
            given={"a": a},
            traps=traps,
            tolerance=1e-7,
        )
    # entries that belong together: a slope is right only where the others stand still
    a = trial.rng.standard_normal(4)
    others = np.array([a[1:].prod(), a[[0, 2, 3]].prod(), a[[0, 1, 3]].prod(), a[:3].prod()])
    found = learner.numeric_gradient(lambda: float(a.prod()), a)
    trial.same(
        "gradient of a product of all entries", found, others, given={"a": a}, tolerance=1e-7
    )
