"""The code, running: a layer's own lines, what each made, and nothing else touched."""

import ast
import inspect
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from kinds import EXAMPLES

import scratchnet as sn
from scratchnet.microscope import stepping

pytestmark = pytest.mark.filterwarnings("error")


def traced(kind, rng, training=False):
    make, shape = EXAMPLES[kind]
    layer = make()
    end = [sn.Flatten()] if len(layer.shape_after(shape)) > 1 else []
    row = [layer, *end, sn.Dense(3), sn.Tanh()]
    model = sn.Sequential(row, shape, dtype="float64")
    model.compile("sgd", "mse")
    return sn.trace(model, rng.uniform(-1, 1, shape), 1, training)


def lines_of(function):
    source, first = inspect.getsourcelines(function)
    return range(first, first + len(source))


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("kind", EXAMPLES)
def test_every_kind_is_stepped_and_ends_where_the_trace_does(kind, direction, rng):
    at = traced(kind, rng, training=True)[0]
    steps = at.steps(direction)
    wanted = at.output if direction == "forward" else at.dx
    np.testing.assert_array_equal(steps.result[0], wanted)
    own = [step for step in steps if step.depth == 0]
    np.testing.assert_array_equal(own[-1].made["return"][0], wanted)
    assert not steps.cut and steps.file.startswith("layers/")
    method = getattr(type(at.layer), direction)
    assert {step.line for step in own} <= set(lines_of(method))
    assert own[-1].source.strip().startswith("return")
    for step in steps:
        first, lines = steps.functions[step.function]
        assert "\n".join(lines[step.line - first : step.end - first + 1]) == step.source
        ast.parse(step.source.strip() + " pass" * step.source.rstrip().endswith(":"))


def test_each_line_has_what_it_made(rng):
    at = traced("Dense", rng)["dense"]
    forward = {step.source.split("#")[0].strip(): step for step in at.steps("forward")}
    x, W, b = at.input[None], at.params["W"], at.params["b"]
    np.testing.assert_array_equal(forward['y = x @ self.params["W"]'].made["y"], x @ W)
    b[:] = 1
    forward = {step.source.split("#")[0].strip(): step for step in at.steps("forward")}
    np.testing.assert_array_equal(forward['y = x @ self.params["W"]'].made["y"], x @ W)
    np.testing.assert_array_equal(forward['y += self.params["b"]'].made["y"], x @ W + b)
    backward = {step.source.split("#")[0].strip(): step for step in at.steps("backward")}
    made = backward['self.grads["W"][:] = x.T @ dy'].made['self.grads["W"]']
    np.testing.assert_array_equal(made, at.grads["W"])
    assert made is not at.grads["W"]


def test_numbers_are_shown_too(rng):
    steps = traced("Conv2D", rng)["conv2d"].steps("backward")
    made = {name: value for step in steps for name, value in step.made.items()}
    assert (made["h"], made["w"], made["c"]) == (5, 4, 2)
    assert made["cols"].shape == (12, 12)
    text, page = str(steps), steps._repr_html_()
    assert "conv2d.backward, layers/conv.py" in text and "dcols = dy @ W.T" in text
    assert "(12, 12), from" in text and "dcols" in page
    assert "Steps(conv2d.backward" in repr(steps) and "cols (12, 12)" in str(steps[0])
    assert steps.to_dict()["steps"][0]["line"] == steps[0].line


def test_a_helper_in_the_same_file_is_a_step_down(rng):
    model = sn.Sequential([sn.Dense(3), sn.Softmax()], (4,), dtype="float64")
    trace = sn.trace(model, rng.uniform(-1, 1, 4), 1)
    steps = trace["softmax"].steps("forward")
    assert {step.function for step in steps if step.depth} == {"softmax"}
    np.testing.assert_array_equal(steps.result[0], trace.probabilities)
    with pytest.raises(sn.InputError, match="one, and its gradient is the loss's"):
        trace["softmax"].steps("backward")


def test_nothing_of_the_trace_changes(rng):
    trace = traced("BatchNorm", rng, training=True)
    before = {k: a.copy() for k, a in (trace.model.arrays() | trace.gradients).items()}
    for direction in ("forward", "backward"):
        trace[0].steps(direction)
    for name, a in (trace.model.arrays() | trace.gradients).items():
        np.testing.assert_array_equal(a, before[name])


def test_what_listened_before_listens_again_and_no_other_thread_is_heard(rng):
    at = traced("Dense", rng)["dense"]
    heard, go, done = [], threading.Event(), threading.Event()

    kind = type(at.layer)

    class Slow(kind):
        def forward(self, x, training=False):
            go.set()
            done.wait(30)
            return super().forward(x, training)

    def other():
        go.wait(30)
        heard.append(sys.gettrace())
        kind.forward(at.layer, at.input[None])
        done.set()

    at.layer.__class__ = Slow
    thread = threading.Thread(target=other)
    thread.start()
    before = sys.gettrace()
    steps = at.steps("forward")
    thread.join()
    assert sys.gettrace() is before
    assert not isinstance(getattr(heard[0], "__self__", None), stepping._Hearing)
    assert len(steps) == 3 and steps.file == Path(__file__).name  # of its own file alone


def test_a_layer_that_raises_leaves_nothing_on(rng):
    class Broken(sn.Dense):
        broken = False

        def forward(self, x, training=False):
            if self.broken:
                raise ValueError("no")
            return super().forward(x, training)

    model = sn.Sequential([Broken(3)], (4,), dtype="float64")
    at = sn.trace(model, rng.uniform(-1, 1, 4), 1)[0]
    at.layer.broken, before = True, sys.gettrace()
    with pytest.raises(ValueError, match="no"):
        at.steps("forward")
    assert sys.gettrace() is before


class Own(sn.Layer):
    """As a learner writes it: a loop over everything."""

    def forward(self, x, training=False):
        self.check_input(x)
        y = np.zeros_like(x)
        for i in range(x.shape[1]):
            y[0, i] = doubled(
                x[0, i],
            )
        self.keep(x, ())
        return y

    def backward(self, dy):
        self.kept(dy)
        return 2 * dy


def doubled(value):
    return 2 * value


@pytest.mark.parametrize("size", [2, 200])
def test_a_learners_own_layer(size, rng):
    model = sn.Sequential([Own(), sn.Dense(3)], (size,), dtype="float64")
    at = sn.trace(model, rng.uniform(1, 2, size), 1)[0]
    steps = at.steps("forward")
    np.testing.assert_array_equal(steps.result[0], 2 * at.input)
    assert steps.file == Path(__file__).name
    assert steps.cut == (size == 200) and len(steps) <= stepping.MOST_STEPS
    first = next(step for step in steps if step.source.strip().startswith("y[0, i]"))
    assert first.end == first.line + 2 and first.made["y"][0, 0] == 2 * at.input[0]
    assert first.made["y"][0, 1] == 0
    assert any(step.depth == 1 and step.function == "doubled" for step in steps)
    if not steps.cut:
        assert [s.made["i"] for s in steps if "i" in s.made] == [0, 1]
        assert len([s for s in steps if s.source.strip().startswith("y[0, i]")]) == 2


def test_an_exercise_is_stepped_by_itself(monkeypatch, rng):
    monkeypatch.syspath_prepend(Path(sn.__file__).parent / "learn" / "exercises")
    from ex04_dense_backward import Dense

    layer, x, dy = Dense(4, 2, rng), rng.uniform(-1, 1, (3, 4)), rng.uniform(-1, 1, (3, 2))
    forward, backward = sn.steps(layer, x), sn.steps(layer, x, dy)
    assert forward.file == backward.file and forward.layer == "Dense"
    assert forward.file.endswith("ex04_dense_backward.py")
    np.testing.assert_array_equal(forward.result, x @ layer.params["W"] + layer.params["b"])
    made = {name: a for step in backward for name, a in step.made.items()}
    np.testing.assert_array_equal(made['self.grads["W"]'], x.T @ dy)
    np.testing.assert_array_equal(made["return"], dy @ layer.params["W"].T)


def test_a_method_without_a_source_is_refused_in_one_line(rng):
    space = {"sn": sn}
    exec(  # noqa: S102 - as in a console
        "class Typed(sn.ReLU):\n    def backward(self, dy):\n        return dy", space
    )
    model = sn.Sequential([space["Typed"](), sn.Dense(3)], (4,), dtype="float64")
    at = sn.trace(model, rng.uniform(-1, 1, 4), 1)[0]
    with pytest.raises(sn.InputError, match="source can be read, found none in <string>"):
        at.steps("backward")
    with pytest.raises(sn.InputError, match="expected one of forward, backward, found 'down'"):
        at.steps("down")
