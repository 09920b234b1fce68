"""A row of kernel calls with fixed arguments, as one native function.

For a single image the arithmetic takes as long as Python takes to get six kernels going: to look at
the arguments' types, unwrap every array, and choose the machine code. None of that changes from one
image to the next. So the calls are recorded once, as they pass, and a function is written in LLVM's
language that makes the same calls, with the arrays' addresses as constants in it. To hand parts of
a kernel to threads takes longer than they save here: its loops are compiled once more, without.

    record = Record()
    fused = record.listen(fused)      # calls through this run as ever, and are kept
    ...
    run = record.prepare()            # run() makes them all again

Valid as long as nothing between the calls reads or writes the arrays; what a call reads may change.
The arrays stay alive with the function.
"""

import ctypes
import functools
import itertools
from collections.abc import Callable
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from .compiled import _jit

_INT = ir.IntType(64)
_numbers = itertools.count()


@functools.cache
def _alone(kernel: Any) -> Any:
    """The kernel without threads: the same loops, and so the same bits."""
    if not kernel.targetoptions.get("parallel"):
        return kernel
    loop = kernel.py_func
    # a name of its own: Numba's cache knows a function by its name and the types of its arguments
    other = FunctionType(loop.__code__, loop.__globals__, f"{loop.__name__}_alone")
    other.__qualname__, other.__module__ = other.__name__, loop.__module__
    return _jit(other, parallel=False, inner=False)


class Record:
    """Kernel calls, kept in the order in which they are made."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, tuple]] = []

    def listen(self, module: ModuleType) -> SimpleNamespace:
        """The module's names; a kernel called through them is recorded."""
        return SimpleNamespace(
            **{
                name: self._kept(value) if hasattr(value, "overloads") else value
                for name, value in vars(module).items()
            }
        )

    def _kept(self, kernel: Any) -> Callable[..., None]:
        def call(*args: Any) -> None:
            self.calls.append((kernel, args))
            kernel(*args)

        return call

    @global_compiler_lock
    def prepare(self, first: int = 0) -> Callable[[], int]:
        """A function that makes the calls again, from that one on, on the calling thread alone.

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
        for kernel, args in self.calls[first:]:
            kinds = tuple(map(kernel.typeof_pyval, args))
            alone = _alone(kernel)
            alone.compile(kinds)
            compiled = alone.overloads[kinds]
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
        run.keeps_alive = library, self.calls
        return run


def _flat(arg: Any) -> list[Any]:
    """The numbers as which Numba passes an argument: an array is a record of eight and more."""
    if isinstance(arg, np.ndarray):
        return [0, 0, arg.size, arg.itemsize, arg.ctypes.data, *arg.shape, *arg.strides]
    return list(arg) if isinstance(arg, tuple) else [arg]


def _constant(kind: ir.Type, value: Any) -> ir.Constant:
    if isinstance(kind, ir.PointerType):
        return ir.Constant(_INT, value).inttoptr(kind)
    return ir.Constant(kind, float(value) if not isinstance(kind, ir.IntType) else int(value))
