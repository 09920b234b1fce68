"""One image: the calls of a row of groups, with their arguments, as one native function.

For a single image the arithmetic takes as long as Python takes to get six kernels going: to look at
the arguments' types, unwrap every array, and choose the machine code. None of that changes from one
image to the next. So the calls are recorded once, as they pass, and a function is written in LLVM's
language that makes the same calls, with the arrays' addresses as constants in it: without threads,
to which to hand parts of a loop takes longer than they save here.

`OneImage` does that for a model's groups. It is valid as long as nothing between the calls reads or
writes the arrays; what a call reads may change. The arrays stay alive with the function.
"""

import ctypes
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numpy.typing import NDArray

from .compiler import writable
from .ends import pixels
from .group import Array, Group, Single
from .launch import Parallel
from .memory import flat_zeros
from .spread import ALONE
from .threads import compiles

#: the single image at which a row of groups is prepared for it: that takes as long as some hundred
#: images, and a few seconds where its loops are not in the cache
PREPARE_AT = 100

Call = tuple[Any, tuple[Any, ...]]

_INT = ir.IntType(64)
_numbers = itertools.count()


class Segment:
    """Neighbouring groups that are `only_kernels`, as one native function; and what runs after it.

    x, y     its input and its output, always the same memory
    calls    the loops' calls that make y of x
    after    a group that does more than call loops, and runs as ever; None at the end of the model
    """

    def __init__(self, x: Array) -> None:
        self.x = self.y = x
        self.calls: list[Call] = []
        self.after: Single | Group | None = None
        self._run: Callable[[], int] | None = None

    def add(self, group: Group) -> None:
        """Let the group run once, and note its calls."""
        group.record = self.calls
        try:
            self.y = group.forward(self.y, training=False)
        finally:
            del group.record  # the class's again: none

    def run(self) -> bool:
        """Make the calls again; whether all went well."""
        if self._run is None:
            self._run = prepare(self.calls)
        return self._run() == 0


class OneImage:
    """The groups of a model for a single image in inference, in as few native functions as can be.

    A group that is not `only_kernels` would do a part of its work once only, here; it runs between
    two segments, as it is.
    """

    def __init__(
        self, groups: Sequence[Single | Group], shape: tuple[int, ...], dtype: Any
    ) -> None:
        self.groups = list(groups)
        self._of = groups
        self.bytes = np.zeros((1, *shape), np.uint8)
        first = Segment(_kept(np.zeros((1, *shape), dtype)))
        self.from_bytes = Segment(first.x)
        self.from_bytes.calls.append((pixels, (self.bytes.reshape(-1), first.x.reshape(-1))))
        self.segments = [first]
        for group in groups:
            segment = self.segments[-1]
            if isinstance(group, Group) and group.only_kernels:
                segment.add(group)
            else:
                segment.after = group
                self.segments.append(Segment(_kept(group.forward(segment.y, training=False))))
        self.following = self.segments[1:]
        # the bytes' call in front of the first segment's: one native function for both
        self.from_bytes.calls += first.calls
        self.from_bytes.y, self.from_bytes.after = first.y, first.after
        stores = [layer.params for group in groups for layer in group.layers]
        self.params = [(store, key, store[key]) for store in stores for key in store]

    def fits(self, groups: Sequence[Any]) -> bool:
        """Whether these are the groups, and their parameters the arrays, that were recorded."""
        for store, key, array in self.params:
            if store[key] is not array:
                return False
        return groups is self._of

    def predict(self, x: NDArray) -> Array | None:
        """The output for x (1, ...), bytes or numbers; None if a loop failed."""
        first = self.segments[0]
        if x.dtype == np.uint8:
            self.bytes[:] = x
            first = self.from_bytes
        else:
            first.x[:] = x
        segment = first
        for following in self.following:
            if not segment.run():
                return None
            assert segment.after is not None
            following.x[:] = segment.after.forward(segment.y, training=False)
            segment = following
        return segment.y.copy() if segment.run() else None


def _kept(like: Array) -> Array:
    """A copy with slack after it, as groups want their inputs."""
    kept: Array = flat_zeros(like.size, like.dtype)[: like.size].reshape(like.shape)
    kept[:] = like
    return kept


def can_be_prepared(groups: Sequence[Single | Group]) -> bool:
    """Whether OneImage saves anything: some loops to call, and a compiler for it."""
    return any(group.only_kernels for group in groups) and compiles()


@global_compiler_lock
def prepare(calls: Sequence[Call]) -> Callable[[], int]:
    """A function that makes the calls again, on the calling thread alone.

    It returns 0, or another number if a call failed.
    """
    context = cpu_target.target_context
    library = context.codegen().create_library("prepared")
    module = library.create_ir_module("prepared")
    status = ir.IntType(32)
    function = ir.Function(
        module, ir.FunctionType(status, []), f"scratchnet_prepared_{next(_numbers)}"
    )
    builder = ir.IRBuilder(function.append_basic_block())
    failed = ir.Constant(status, 0)
    for kernel, args in calls:
        if isinstance(kernel, Parallel):  # its parts one after the other
            if kernel.by_turns:
                _set_to_zero(builder, args[-1])
            kernel, args = kernel.inner, (ALONE, *args)
        kinds = tuple(writable(kernel.typeof_pyval(arg)) for arg in args)
        kernel.compile(kinds)
        compiled = kernel.overloads[kinds]
        kind = context.call_conv.get_function_type(types.none, kinds)
        address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
        callee = builder.inttoptr(ir.Constant(_INT, address), kind.as_pointer())
        # Numba passes two pointers first, for the result and for an exception
        slots = [builder.alloca(pointer.pointee) for pointer in kind.args[:2]]
        flat = [number for arg in args for number in _flat(arg)]
        values = [_constant(k, v) for k, v in zip(kind.args[2:], flat, strict=True)]
        failed = builder.or_(failed, builder.call(callee, [*slots, *values]))
    builder.ret(failed)
    library.add_ir_module(module)
    library.finalize()
    run = ctypes.CFUNCTYPE(ctypes.c_int32)(library.get_pointer_to_function(function.name))
    run.keeps_alive = library, calls  # type: ignore[attr-defined]
    return run


def _set_to_zero(builder: ir.IRBuilder, numbers: NDArray[np.int64]) -> None:
    """Write code that does so."""
    first = ir.Constant(_INT, numbers.ctypes.data).inttoptr(_INT.as_pointer())
    for i in range(numbers.size):
        builder.store(ir.Constant(_INT, 0), builder.gep(first, [ir.Constant(_INT, i)]))


def _flat(arg: Any) -> list[Any]:
    """The numbers as which Numba passes an argument: an array is a record of eight and more."""
    if isinstance(arg, np.ndarray):
        return [0, 0, arg.size, arg.itemsize, arg.ctypes.data, *arg.shape, *arg.strides]
    if isinstance(arg, tuple):
        return [number for inner in arg for number in _flat(inner)]
    return [arg]


def _constant(kind: ir.Type, value: Any) -> ir.Constant:
    if isinstance(kind, ir.PointerType):
        return ir.Constant(_INT, value).inttoptr(kind)
    return ir.Constant(kind, float(value) if not isinstance(kind, ir.IntType) else int(value))
