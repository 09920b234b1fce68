"""The code, running: a layer's own forward or backward, line by line, with what each line made.

    for step in trace["conv2d"].steps("backward"):
        print(step)

Nothing is executed but the layer's own method, on the traced example: `sys.settrace` hears of every
line in the thread that calls, and of no other thread. Heard are the method itself and what it calls
in the same file; the rest, NumPy or layers/functions.py, runs as one line. What stood there before,
a debugger's or coverage's, is put back.

It works for a layer of one's own as well, whose source is read where Python finds it.
"""

import ast
import inspect
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import showing
from ..errors import InputError
from ..text import columns, shape_text

Array = NDArray[Any]

#: lines that are heard; a loop over every pixel has more, and the rest of it runs unheard
MOST_STEPS = 300
#: values; whether a larger array was written to is not looked for
MOST_COMPARED = 2**22
DIRECTIONS = ("forward", "backward")


@dataclass(repr=False)
class Step:
    """One statement that has run.

    function   the name of the function it stands in
    line, end  its first and last line in the file
    depth      0 in the method itself, 1 in what that calls, and so on
    source     its text
    made       what it made or changed, by name: arrays as copies, numbers, tuples of numbers;
               "return" is what the function gave back
    """

    function: str
    line: int
    end: int
    depth: int
    source: str
    made: dict[str, Any] = field(default_factory=dict)

    @property
    def arrays(self) -> dict[str, Array]:
        """Only the arrays of `made`."""
        return {name: a for name, a in self.made.items() if isinstance(a, np.ndarray)}

    def __str__(self) -> str:
        first = self.source.strip().splitlines()[0]
        said = ", ".join(f"{name} {described(value)}" for name, value in self.made.items())
        return f"{self.line:4}  {'    ' * self.depth}{first}" + (f"   -> {said}" if said else "")

    __repr__ = __str__


@dataclass(repr=False)
class Steps:
    """What `steps` returns: a sequence of Step, in the order in which the statements began.

    layer, direction   "conv2d", "backward"
    file               "layers/conv.py", or the name of a learner's own file
    functions          name -> (number of its first line in the file, its lines)
    result             what the method returned
    cut                whether there were more than MOST_STEPS lines
    """

    layer: str
    direction: str
    file: str
    functions: dict[str, tuple[int, list[str]]]
    steps: list[Step]
    result: Array
    cut: bool = False

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, number: int) -> Step:
        return self.steps[number]

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def indented(self, step: Step) -> str:
        """The step's source, as far to the right as it stands in its function, or deeper."""
        head = self.functions[step.function][1][0]
        outside = len(head) - len(head.lstrip()) + 4
        room = "    " * step.depth
        return "\n".join(room + line[outside:] for line in step.source.splitlines())

    def text(self) -> str:
        """Every statement that ran, and what it made."""
        rows: list[tuple[str, ...]] = [("line", "statement", "made")]
        for step in self.steps:
            first = self.indented(step).splitlines()[0]
            made = [f"{name} {described(value)}" for name, value in step.made.items()] or [""]
            rows.append((str(step.line), first, made[0]))
            rows += [("", "", more) for more in made[1:]]
        head = f"{self.layer}.{self.direction}, {self.file}"
        rest = ["... and so on: the rest ran unheard"] if self.cut else []
        return "\n".join([head, *columns(rows, left=3), *rest])

    __str__ = text

    def __repr__(self) -> str:
        return f"Steps({self.layer}.{self.direction}: {len(self)} lines of {self.file})"

    def _repr_html_(self) -> str:
        found = showing.heading(f"{self.layer}.{self.direction}, {self.file}")
        for step in self.steps:
            made = [(name, described(value)) for name, value in step.made.items()]
            line = f"{step.line}  {self.indented(step)}"
            found += showing.table((line, ""), made, left=2)
            found += showing.pictures(
                (name, a) for name, a in _drawn(step.arrays) if a.ndim in (1, 2, 3)
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """The same as dictionaries; arrays stay arrays."""
        return {**vars(self), "steps": [vars(step) for step in self.steps]}


def _drawn(arrays: dict[str, Array]) -> Iterator[tuple[str, Array]]:
    """Those worth a picture, without the batch of one."""
    for name, a in arrays.items():
        if a.size > 1 and a.dtype.kind in "fiub":
            yield name, a[0] if a.ndim > 1 and len(a) == 1 else a


def described(value: Any) -> str:
    """(1, 26, 26, 32), from -0.5 to 1.2; a number or a tuple as it is written."""
    if not isinstance(value, np.ndarray):
        return f"= {value!r}"
    if not value.size or value.dtype.kind not in "fiub":
        return f"{shape_text(value.shape)} {value.dtype}"
    if value.size == 1:
        return f"{value.shape} = {value.item():.6g}"
    return f"{value.shape}, from {value.min():.4g} to {value.max():.4g}"


def steps(
    layer: Any, x: Any, dy: Any = None, training: bool = False, name: str | None = None
) -> "Steps":
    """Step a layer by itself, also one that is no `Layer`: what an exercise asks for will do.

    x    a batch, as the layer's forward takes it
    dy   steps through backward(dy) instead, after a forward of x

    Its gradients and buffers are left as after the call; `trace["dense"].steps()` leaves nothing.
    """
    name = name or getattr(layer, "name", None) or type(layer).__name__
    x = np.asarray(x)
    if dy is None:
        return watched(layer, name, "forward", x, training)
    layer.forward(x, training)
    return watched(layer, name, "backward", np.asarray(dy), training)


def watched(layer: Any, name: str, direction: str, given: Array, training: bool) -> Steps:
    """Run layer.forward(given, training) or layer.backward(given) and hear every line of it."""
    method = inspect.unwrap(getattr(type(layer), direction))
    code = getattr(method, "__code__", None)
    if code is None:
        raise InputError(f"{name}.{direction}: expected a function in Python, found {method!r}")
    source = _Source(code, f"{name}.{direction}")
    hearing = _Hearing(source, layer)
    before = sys.gettrace()
    sys.settrace(hearing.on_call)
    arguments = (given, training) if direction == "forward" else (given,)
    try:
        result = getattr(layer, direction)(*arguments)
    finally:
        sys.settrace(before)
    functions = {step.function: source.function(step.function) for step in hearing.steps}
    return Steps(name, direction, source.shown, functions, hearing.steps, result, hearing.cut)


class _Source:
    """The file that a method stands in: its lines, its functions, its statements."""

    def __init__(self, code: CodeType, what: str) -> None:
        self.file = code.co_filename
        try:
            lines, _ = inspect.findsource(code)
            tree = ast.parse("".join(lines))
        except (OSError, SyntaxError):
            raise InputError(
                f"{what}: expected a method whose source can be read, found none in {self.file}"
            ) from None
        self.lines = [line.rstrip("\n") for line in lines]
        path = Path(self.file)
        ours = Path(__file__).parents[1]
        inside = path.is_relative_to(ours)
        self.shown = path.relative_to(ours).as_posix() if inside else path.name
        #: first line of the code, a decorator's where there is one -> the function's name and lines
        self._functions: dict[int, tuple[str, int, int]] = {}
        self._statements: dict[int, tuple[int, int]] = {}
        self._read(tree, "")

    def _read(self, node: ast.AST, owner: str) -> None:
        for inner in ast.iter_child_nodes(node):
            name = owner
            if isinstance(inner, (ast.FunctionDef, ast.ClassDef)):
                name = f"{owner}.{inner.name}" if owner else inner.name
                if isinstance(inner, ast.FunctionDef):
                    first = min([inner.lineno, *(one.lineno for one in inner.decorator_list)])
                    self._functions[first] = name, inner.lineno, inner.end_lineno or inner.lineno
            elif isinstance(inner, ast.stmt):
                # of a loop or a condition the head alone; what is in it are statements of their own
                body = getattr(inner, "body", None)
                last = body[0].lineno - 1 if body else inner.end_lineno or inner.lineno
                last = max(last, inner.lineno)
                self._statements |= dict.fromkeys(
                    range(inner.lineno, last + 1), (inner.lineno, last)
                )
            self._read(inner, name)

    def name_of(self, code: CodeType) -> str | None:
        """The function's name with its class's; None for a comprehension, or code of elsewhere."""
        if code.co_filename != self.file or code.co_name.startswith("<"):
            return None
        found = self._functions.get(code.co_firstlineno)
        return None if found is None else found[0]

    def function(self, name: str) -> tuple[int, list[str]]:
        """The number of its first line, and its lines."""
        begin, end = next(lines for known, *lines in self._functions.values() if known == name)
        return begin, self.lines[begin - 1 : end]

    def statement(self, line: int) -> tuple[int, int]:
        """First and last line of the statement that a line belongs to."""
        return self._statements.get(line, (line, line))

    def text(self, begin: int, end: int) -> str:
        return "\n".join(self.lines[begin - 1 : end])


class _Hearing:
    """The trace function: notes each statement as it begins, and what it made when it is over."""

    def __init__(self, source: _Source, layer: Any) -> None:
        self.source, self.layer = source, layer
        self.steps: list[Step] = []
        self.cut = False
        self._depth = 0

    def on_call(self, frame: FrameType, event: str, argument: Any) -> Any:
        name = self.source.name_of(frame.f_code)
        if name is None or self.cut:
            return None
        inside = _Inside(self, frame, name, self._depth)
        self._depth += 1
        return inside.on_event

    def begin(self, step: Step) -> None:
        if len(self.steps) == MOST_STEPS:
            self.cut = True
            sys.settrace(None)  # what was there before comes back when the method is over
        else:
            self.steps.append(step)

    def end(self) -> None:
        self._depth -= 1


class _Inside:
    """One function while it runs."""

    def __init__(self, hearing: _Hearing, frame: FrameType, name: str, depth: int) -> None:
        self.hearing, self.name, self.depth = hearing, name, depth
        #: what there was when the statement began: name -> the object, and what it held
        self.known: dict[str, tuple[Any, Any]] = {}
        self.now: Step | None = None
        self._note(frame)

    def on_event(self, frame: FrameType, event: str, argument: Any) -> Any:
        if self.hearing.cut:
            return None
        if event == "line":
            self._note(frame)
            begin, end = self.hearing.source.statement(frame.f_lineno)
            # a statement of several lines comes back to its first line; a loop's head, too
            again = self.now is not None and self.now.line == begin
            if not again or frame.f_lineno == begin == end:
                text = self.hearing.source.text(begin, end)
                self.now = Step(self.name, begin, end, self.depth, text)
                self.hearing.begin(self.now)
        elif event == "return":
            self._note(frame)
            if self.now is not None and isinstance(argument, np.ndarray):
                self.now.made["return"] = argument.copy()
            self.hearing.end()
        return self.on_event

    def _note(self, frame: FrameType) -> None:
        """Give the statement that is over what is new since it began, or other than it was."""
        for name, value in self._there(frame).items():
            before = self.known.get(name)
            if before is not None and before[0] is value and _same(before[1], value):
                continue
            kept = value.copy() if isinstance(value, np.ndarray) else value
            self.known[name] = value, kept
            if self.now is not None:
                self.now.made[name] = kept

    def _there(self, frame: FrameType) -> dict[str, Any]:
        """All that a line may make: the function's own names, and the layer's arrays."""
        found = {name: value for name, value in frame.f_locals.items() if _is_shown(value)}
        if frame.f_locals.get("self") is not self.hearing.layer:
            return found
        for store in ("params", "grads", "buffers"):
            arrays = getattr(self.hearing.layer, store, None)
            if isinstance(arrays, dict):
                found |= {f'self.{store}["{k}"]': a for k, a in arrays.items() if _is_shown(a)}
        return found


def _is_shown(value: Any) -> bool:
    """Arrays, numbers, and short tuples of numbers."""
    if isinstance(value, tuple):
        return (
            len(value) <= 8
            and all(map(_is_shown, value))
            and not any(isinstance(one, np.ndarray) for one in value)
        )
    return isinstance(value, (np.ndarray, np.generic, bool, int, float))


def _same(before: Any, now: Any) -> bool:
    """Whether what is in it is still the same."""
    if not isinstance(now, np.ndarray) or now.dtype.kind not in "fiub" or now.size > MOST_COMPARED:
        return True
    return np.array_equal(before, now, equal_nan=now.dtype.kind == "f")
