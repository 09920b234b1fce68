"""Slopes of functions whose derivative is known, and steps that were worked out beside them."""

import math

TITLE = "A slope, and a step down"
MINUTES = 10
LESSON = 1
READ = "gradcheck.py"
HINTS = (
    "A slope is a height divided by a width. The two points are x - h and x + h: how wide is that?",
    "Mind the brackets: a / 2 * h is (a / 2) * h. The division by 2h needs (2 * h).",
    "descend: `for _ in range(steps):`, and in it one line that makes a new x from the old one, "
    "with slope(f, x). Return x after the loop, not inside it.",
)


def check(learner, trial):
    # with a coarse h the one-sided formula shows: f(x + h) - f(x) over h gives 6.1 here
    coarse = learner.slope(lambda x: x * x, 3.0, 0.1)
    traps = {
        "one side only: f(x + h) - f(x) over h": 6.1,
        "one side only: f(x) - f(x - h) over h": 5.9,
        "the difference is not divided by the whole width, 2h": 12.0,
    }
    trial.same("slope of x^2 at 3, h = 0.1", coarse, 6.0, traps=traps, tolerance=1e-7)
    uneven = {"h is not used as it is given": learner.slope(lambda x: x**3, 1.0, 0.2)}
    cubed = learner.slope(lambda x: x**3, 1.0, 0.1)
    trial.same("slope of x^3 at 1, h = 0.1", cubed, 3.01, traps={"h is not used": 3.0, **uneven})
    for name, f, x, right in (
        ("x^2 at 3", lambda x: x * x, 3.0, 6.0),
        ("sin at 0.5", math.sin, 0.5, math.cos(0.5)),
        ("exp at -1", math.exp, -1.0, math.exp(-1)),
    ):
        traps = {
            "the difference is not divided by the whole width, 2h": 2 * right,
            "it is multiplied by h where it should be divided: (2 * h) needs its brackets": right
            * 1e-10,
            "the sign: left minus right": -right,
        }
        found = learner.slope(f, x)
        trial.same(f"slope of {name}", found, right, traps=traps, tolerance=1e-7)

    def f(x):
        return (x - 3) ** 2

    for steps, right in ((1, 1.5), (2, 2.25), (4, 2.8125), (0, 0.0)):
        found = learner.descend(f, 0.0, 0.25, steps)
        traps = {
            "uphill: the slope is added": _after(steps, -0.25),
            "only one step is taken: is `return` inside the loop?": 1.5,
        }
        trial.same(
            f"descend: x after {steps} step{'s' * (steps != 1)} from 0",
            found,
            right,
            traps=traps,
            tolerance=1e-6,
        )
    trial.that(
        abs(learner.descend(f, 10.0, 0.1, 200) - 3) < 1e-6, "descend: it does not arrive at 3"
    )


def _after(steps, rate):
    x = 0.0
    for _ in range(steps):
        x -= rate * 2 * (x - 3)
    return x
