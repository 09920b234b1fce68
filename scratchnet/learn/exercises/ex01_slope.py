"""1. A slope, and a step down.

About 10 minutes. Lesson 1. The package's own: scratchnet/gradcheck.py
On the page, with `scratchnet serve` running: http://127.0.0.1:8000/#guide/step

Everything that a network learns, it learns from slopes. f is a function of one number. Its slope at
x says how fast f grows there, and can be measured with two calls of f, a little to the right of x
and a little to the left:

    slope  =  (f(x + h) - f(x - h)) / (2 h)

Both sides are used because the error is then of the size h^2, and not h.

To make f smaller, go against the slope, by a small step, again and again:

    x  <-  x - learning_rate * slope

Before you write `descend`: f(x) = (x - 3)^2, x = 0, learning_rate = 0.25. Where is x after one
step, and after two? Work it out on paper, then look whether your code agrees.

    scratchnet learn check 1        scratchnet learn hint 1
"""


def slope(f, x, h=1e-5):
    """The slope of f at x, a number."""
    # TODO: the formula above
    return (f(x + h) - f(x - h)) / (2 * h)
    # END


def descend(f, x, learning_rate, steps):
    """Where x is after so many steps against the slope."""
    # TODO: a loop that takes the steps, and returns the last x
    for _ in range(steps):
        x = x - learning_rate * slope(f, x)
    return x
    # END
