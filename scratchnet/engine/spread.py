"""A loop on all threads: every thread calls the same function, with a number of its own.

    @parallel                                           compiler.py
    def double(worker, x, y):
        for shard in own_parts(worker, SHARDS):         turns.py: those that are this worker's
            ...

    double(x, y)                                        from Python, without `worker`

Numba's own way, `prange`, makes of one loop four functions, each with all of the loop in it, and
LLVM compiles all four: it took twice the time. Here a loop is a function like others. What is made
beside it packs the arguments, and hands to Numba's threads a function that unpacks them and calls
the loop:

    entry(alone, x, y)  ->  numba_parallel_for(part, ...)  ->  part, once for a thread  ->  double

`numba_parallel_for` is what Numba's three threading layers (OpenMP, TBB, its own) have in common,
and what the code that it makes of a `prange` calls. It is given how often `part` is to run, and
tells each thread where it begins and how many times it runs:

    part(args, dims, steps, data)   args[0]: the first number, as a pointer from NULL on
                                    dims[0]: how many; data: the arguments, packed
"""

import functools
from collections.abc import Callable
from inspect import signature
from typing import Any, NamedTuple

import numba
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic


class Worker(NamedTuple):
    """One of those that run a loop at the same time."""

    number: int
    of: int


ALONE = Worker(0, 1)
_WORKER: Any = numba.typeof(ALONE)
_INT, _BYTES = ir.IntType(64), ir.IntType(8).as_pointer()
_PART = ir.FunctionType(
    ir.VoidType(), [_BYTES.as_pointer(), _INT.as_pointer(), _INT.as_pointer(), _BYTES]
)
_PARALLEL_FOR = ir.FunctionType(ir.VoidType(), [_BYTES] * 5 + [_INT] * 3)
_NUM_THREADS = ir.FunctionType(ir.IntType(32), [])


@intrinsic
def _spread(typing, loop, alone, most, given):
    """Call loop(Worker(k, n), *given) for each k below n: n is 1 if alone, else the threads' number
    and not more than `most`. Whether one of the calls raised an exception."""
    kinds = (_WORKER, *given.types)
    called = loop.get_call_type(typing, kinds, {})

    def codegen(context, builder, _, values):
        _, alone, most, packed = values
        compiled = loop.dispatcher.overloads[called.args]
        context.add_linking_libs([compiled.library])
        threads = cgutils.get_or_insert_function(builder.module, _NUM_THREADS, "get_num_threads")
        one = ir.Constant(_INT, 1)
        there = builder.select(alone, one, builder.sext(builder.call(threads, []), _INT))
        of = builder.select(builder.icmp_signed("<", there, most), there, most)
        failed = cgutils.alloca_once_value(builder, ir.Constant(ir.IntType(1), 0))
        record = cgutils.pack_struct(builder, [of, packed, failed])
        data = cgutils.alloca_once_value(builder, record)
        part = _part(context, builder.module, compiled.fndesc, called, data.type)
        # how many of it, from which number on, each one larger than the one before
        dims = cgutils.alloca_once_value(builder, of)
        steps = cgutils.alloca_once_value(builder, one)
        first = cgutils.alloca_once_value(builder, ir.Constant(_BYTES, None))
        shared = builder.bitcast(data, _BYTES)
        with builder.if_else(builder.icmp_signed("<=", of, one)) as (by_itself, together):
            with by_itself:
                builder.call(part, [first, dims, steps, shared])
            with together:
                spread = cgutils.get_or_insert_function(
                    builder.module, _PARALLEL_FOR, "numba_parallel_for"
                )
                pointers = [builder.bitcast(p, _BYTES) for p in (part, first, dims, steps)]
                # no inner dimensions, one of `args`; all threads, or it would forget the others
                numbers = ir.Constant(_INT, 0), one, there
                builder.call(spread, [*pointers, shared, *numbers])
        return builder.load(failed)

    return types.boolean(loop, alone, most, given), codegen


def _part(context, module, described, called, data_type):
    """What a thread runs: unpacks the arguments, and calls the loop for each of its numbers."""
    part = ir.Function(module, _PART, f"{described.llvm_func_name}.part")
    part.linkage = "internal"
    builder = ir.IRBuilder(part.append_basic_block())
    args, dims, _, data = part.args
    record = builder.load(builder.bitcast(data, data_type))
    of, packed, failed = cgutils.unpack_tuple(builder, record)
    given = [
        _borrowed(context, builder, kind, value)
        for kind, value in zip(called.args[1:], cgutils.unpack_tuple(builder, packed), strict=True)
    ]
    first = builder.ptrtoint(builder.load(args), _INT)
    with cgutils.for_range(builder, builder.load(dims)) as each:
        worker = context.make_tuple(builder, _WORKER, [builder.add(first, each.index), of])
        values = [worker, *given]
        status, _ = context.call_internal_no_propagate(builder, described, called, values)
        with builder.if_then(status.is_error, likely=False):
            builder.store(ir.Constant(ir.IntType(1), 1), failed)
    builder.ret_void()
    return part


def _borrowed(context, builder, kind, value):
    """The argument without owners: they wait until all threads are done, and to count who else
    holds an array, with every part that is taken of it, would make the threads wait."""
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo = cgutils.get_null_value(array.meminfo.type)
        array.parent = cgutils.get_null_value(array.parent.type)
        return array._getvalue()
    if isinstance(kind, types.BaseTuple):
        for i, inside in enumerate(kind.types):
            part = _borrowed(context, builder, inside, builder.extract_value(value, i))
            value = builder.insert_value(value, part, i)
    return value


def entry(loop: Callable[..., Any], compiled: Any, by_turns: bool) -> Callable[..., Any]:
    """The function (alone, ...) that calls a loop (worker, ...) once for each worker.

    loop, compiled   as it is written, and as Numba's dispatcher
    by_turns         whether its last argument counts what was handed out: nothing, at the start
    """
    name, names = loop.__name__, [*signature(loop).parameters][1:]
    most = "len(turns)" if by_turns else "1 << 30"
    lines = [
        f"def {name}(alone, {', '.join(names)}):",
        "    turns[:] = 0" if by_turns else "",
        f"    if _spread(_compiled, alone, {most}, ({', '.join(names)},)):",
        f"        raise RuntimeError('{name}: NUMBA_DISABLE_JIT=1 shows what failed in it')",
    ]
    made: dict[str, Any] = {"_spread": _spread, "_compiled": compiled}
    made["__name__"] = loop.__module__
    exec("\n".join(lines), made)
    return made[name]


def plain(loop: Callable[..., Any], by_turns: bool) -> Callable[..., Any]:
    """The same without a compiler."""

    def run(*arguments: Any) -> None:
        if by_turns:
            arguments[-1][:] = 0
        loop(ALONE, *arguments)

    return named_as(loop, run)


def named_as(loop: Callable[..., Any], called: Any) -> Any:
    """What is called in the place of a loop, with the loop's name and documentation, and with the
    arguments that it is called with: all but `worker`."""
    functools.update_wrapper(called, loop)
    whole = signature(loop)
    called.__signature__ = whole.replace(parameters=[*whole.parameters.values()][1:])
    return called
