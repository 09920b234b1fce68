"""Vectors as Numba values: what keeps a fused kernel's sums in registers.

Numba leaves it to LLVM to find vectors in a loop, and LLVM keeps a loop's accumulator in memory: a
load and a store for every few multiply-adds, half of what the core can do. Here a kernel says what
stays in registers. A **tile** is a row of `count` vectors of 512 bits, held as one value:

    acc = zeros(V, a)                    count vectors of a's dtype; V is a tuple of that length
    acc = load(V, a, i)                  a[i : i + count * lanes]
    acc = fma(acc, s, t)                 acc + s * t, s a scalar, t a tile
    acc = fma_rows(acc, R, s, a, i, d)   the same with t read from a: R is a tuple of r entries, the
                                         tile is r rows of count / r vectors, and row u of t starts
                                         at a[i + u * d]
    add_rows(acc, R, a, i, d)            a += acc, with the same rows
    add_at(acc, a, i, places, k)         the same, vector r at a[i + places[k + r]]
    store_rows(acc, R, a, i, d)          a = acc, with the same rows
    load_rows(V, R, a, i, d)             the other way round
    store(a, i, acc)                     a[i : i + count * lanes] = acc

    fma_patch, fma_taps, dot_patch       the same with s, or s and t, read from memory
    repeat(R, tile)                      r times the same tile, a row each

add, sub, mul, mul_add, neg, scale, wide, add_wide, relu and has_nan; three for ReLU and pooling:
where_positive, store_largest, load_where, load_unless; for what is marked: bits_where, bits_set,
lowest_bit, without_lowest; prefetch; transpose_four; take, which shares out work.

All arrays are flat and contiguous. Nothing is checked: a kernel owns its arrays, and reads and
writes whole vectors, so its arrays are padded up to them. LLVM splits the 512 bits where the
processor has less, so that every machine computes the same; only the speed differs.

With NUMBA_DISABLE_JIT=1 the same names are the plain functions of simd_numpy.py, which also say
what each means.
"""

from llvmlite import ir
from numba.core import cgutils, config, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model
from numba.np.arrayobj import make_array

from .memory import VECTOR_BYTES
from .target import target


class Tile(types.Type):
    """The Numba type of `count` vectors of `dtype`."""

    def __init__(self, dtype: types.Type, count: int) -> None:
        self.dtype = dtype
        self.count = count
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(name=f"Tile({dtype}, {count})")


@register_model(Tile)
class _TileModel(models.PrimitiveModel):
    def __init__(self, manager, tile):
        scalar = ir.FloatType() if tile.dtype == types.float32 else ir.DoubleType()
        super().__init__(manager, tile, ir.ArrayType(ir.VectorType(scalar, tile.lanes), tile.count))


_ALIGN, _BIT = 4, ir.IntType(1)


def _pointer(context, builder, array_type, array, index, vector):
    """The address of array[index], as a pointer to a vector."""
    data = make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), vector.as_pointer())


def _vector_at(builder, pointer, number):
    at = builder.gep(pointer, [ir.Constant(ir.IntType(64), number)])
    return builder.load(at, align=_ALIGN)


def _fma(builder, vector):
    """What makes a * b + c of three vectors: called with them."""
    if not target().fma:
        return lambda a, b, c: builder.fadd(builder.fmul(a, b), c)
    name = f"llvm.fma.v{vector.count}f{32 if isinstance(vector.element, ir.FloatType) else 64}"
    kind = ir.FunctionType(vector, [vector] * 3)
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return lambda *values: builder.call(function, values)


def _splat(builder, scalar, vector):
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.count), [0] * vector.count)
    return builder.shuffle_vector(first, undefined, mask)


@intrinsic
def zeros(typingctx, like, a):
    tile = Tile(a.dtype, like.count)

    def generate(context, builder, signature, args):
        return ir.Constant(context.get_value_type(tile), None)

    return tile(like, a), generate


@intrinsic
def load(typingctx, like, a, i):
    tile = Tile(a.dtype, like.count)

    def generate(context, builder, signature, args):
        kind = context.get_value_type(tile)
        at = _pointer(context, builder, signature.args[1], args[1], args[2], kind.element)
        out = ir.Constant(kind, ir.Undefined)
        for number in range(tile.count):
            out = builder.insert_value(out, _vector_at(builder, at, number), number)
        return out

    return tile(like, a, types.intp), generate


@intrinsic
def prefetch(typingctx, a, i):
    """Ask for the cache line of a[i], which may lie beyond the array: it will be read soon."""

    def generate(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        data = make_array(signature.args[0])(context, builder, args[0]).data
        at = builder.bitcast(builder.gep(data, [args[1]]), byte)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        # to read, keep in all caches, data
        builder.call(function, [at, *(ir.Constant(number, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(a, types.intp), generate


@intrinsic
def load_rows(typingctx, like, rows, a, i, distance):
    """A tile of as many vectors as `like` has entries: rows of them, `distance` apart in a."""
    tile = Tile(a.dtype, like.count)

    def generate(context, builder, signature, args):
        _, _, array, index, step = args
        kind = context.get_value_type(tile)
        out = ir.Constant(kind, ir.Undefined)
        for k in range(tile.count):
            v = k % (tile.count // rows.count)
            if v == 0:
                at = _pointer(context, builder, signature.args[2], array, index, kind.element)
                index = builder.add(index, step)
            out = builder.insert_value(out, _vector_at(builder, at, v), k)
        return out

    return tile(like, rows, a, types.intp, types.intp), generate


@intrinsic
def store(typingctx, a, i, tile):
    def generate(context, builder, signature, args):
        kind = context.get_value_type(tile)
        at = _pointer(context, builder, signature.args[0], args[0], args[1], kind.element)
        for number in range(tile.count):
            to = builder.gep(at, [ir.Constant(ir.IntType(64), number)])
            builder.store(builder.extract_value(args[2], number), to, align=_ALIGN)
        return context.get_dummy_value()

    return types.void(a, types.intp, tile), generate


@intrinsic
def transpose_four(typingctx, a, i, row, out, o, line):
    """Four numbers of four rows: out[o + u * line + v] = a[i + v * row + u] for u, v < 4."""

    def generate(context, builder, signature, args):
        array, index, step, to, place, distance = args
        vector = ir.VectorType(context.get_value_type(a.dtype), 4)

        def mixed(one, other, *numbers):
            mask = ir.Constant(ir.VectorType(ir.IntType(32), 4), list(numbers))
            return builder.shuffle_vector(one, other, mask)

        rows = []
        for _ in range(4):
            at = _pointer(context, builder, signature.args[0], array, index, vector)
            rows.append(builder.load(at, align=_ALIGN))
            index = builder.add(index, step)
        low, lower = (mixed(rows[k], rows[k + 1], 0, 4, 1, 5) for k in (0, 2))
        high, higher = (mixed(rows[k], rows[k + 1], 2, 6, 3, 7) for k in (0, 2))
        for one, other in ((low, lower), (high, higher)):
            for numbers in ((0, 1, 4, 5), (2, 3, 6, 7)):
                at = _pointer(context, builder, signature.args[3], to, place, vector)
                builder.store(mixed(one, other, *numbers), at, align=_ALIGN)
                place = builder.add(place, distance)
        return context.get_dummy_value()

    return types.void(a, types.intp, types.intp, out, types.intp, types.intp), generate


@intrinsic
def fma(typingctx, acc, s, t):
    def generate(context, builder, signature, args):
        out, scalar, other = args
        vector = context.get_value_type(acc).element
        splat, multiply_add = _splat(builder, scalar, vector), _fma(builder, vector)
        for k in range(acc.count):
            values = (splat, builder.extract_value(other, k), builder.extract_value(out, k))
            out = builder.insert_value(out, multiply_add(*values), k)
        return out

    return acc(acc, acc.dtype, t), generate


def _elementwise(operation):
    """An intrinsic of two tiles, vector by vector."""

    def typed(typingctx, a, b):
        def generate(context, builder, signature, args):
            out = args[0]
            for k in range(a.count):
                values = (builder.extract_value(out, k), builder.extract_value(args[1], k))
                out = builder.insert_value(out, operation(builder, *values), k)
            return out

        return a(a, b), generate

    return intrinsic(typed)


def _of_one(operation):
    """An intrinsic of one tile, vector by vector."""

    def typed(typingctx, a):
        def generate(context, builder, signature, args):
            out = args[0]
            for k in range(a.count):
                value = operation(builder, builder.extract_value(out, k))
                out = builder.insert_value(out, value, k)
            return out

        return a(a), generate

    return intrinsic(typed)


def _where_positive(builder, values, gate):
    zero = ir.Constant(gate.type, None)
    return builder.select(builder.fcmp_ordered("<=", gate, zero), zero, values)


add = _elementwise(lambda builder, a, b: builder.fadd(a, b))
sub = _elementwise(lambda builder, a, b: builder.fsub(a, b))
mul = _elementwise(lambda builder, a, b: builder.fmul(a, b))
#: the first tile where the second is not <= 0, and zero elsewhere: ReLU's backward
where_positive = _elementwise(_where_positive)
neg = _of_one(lambda builder, a: builder.fneg(a))
#: max(a, 0); NaN stays NaN
relu = _of_one(lambda builder, a: _where_positive(builder, a, a))


@intrinsic
def mul_add(typingctx, a, b, c):
    """a * b + c, all three tiles"""

    def generate(context, builder, signature, args):
        out = args[2]
        multiply_add = _fma(builder, context.get_value_type(a).element)
        for k in range(a.count):
            values = [builder.extract_value(tile, k) for tile in args]
            out = builder.insert_value(out, multiply_add(*values), k)
        return out

    return a(a, b, c), generate


@intrinsic
def wide(typingctx, a):
    """The tile in float64, in as many vectors as that takes."""
    out = Tile(types.float64, a.count * a.lanes // (VECTOR_BYTES // 8))

    def generate(context, builder, signature, args):
        if a.dtype == types.float64:
            return args[0]
        parts, n = out.count // a.count, out.lanes
        vector = context.get_value_type(out).element
        value = ir.Constant(context.get_value_type(out), ir.Undefined)
        for k in range(out.count):
            whole = builder.extract_value(args[0], k // parts)
            numbers = [k % parts * n + lane for lane in range(n)]
            mask = ir.Constant(ir.VectorType(ir.IntType(32), n), numbers)
            part = builder.shuffle_vector(whole, ir.Constant(whole.type, ir.Undefined), mask)
            value = builder.insert_value(value, builder.fpext(part, vector), k)
        return value

    return out(a), generate


@intrinsic
def add_wide(typingctx, a, i, tile):
    """a[i:] += wide(tile), a in float64."""

    def generate(context, builder, signature, args):
        n, bits = tile.lanes, ir.DoubleType()
        vector = ir.VectorType(bits, n)
        at = _pointer(context, builder, signature.args[0], args[0], args[1], vector)
        for k in range(tile.count):
            value = builder.extract_value(args[2], k)
            value = value if tile.dtype == types.float64 else builder.fpext(value, vector)
            total = builder.fadd(_vector_at(builder, at, k), value)
            to = builder.gep(at, [ir.Constant(ir.IntType(64), k)])
            builder.store(total, to, align=_ALIGN)
        return context.get_dummy_value()

    return types.void(a, types.intp, tile), generate


@intrinsic
def scale(typingctx, s, a):
    """s * a, s a scalar"""

    def generate(context, builder, signature, args):
        out = args[1]
        for k in range(a.count):
            vector = builder.extract_value(out, k)
            product = builder.fmul(_splat(builder, args[0], vector.type), vector)
            out = builder.insert_value(out, product, k)
        return out

    return a(a.dtype, a), generate


@intrinsic
def has_nan(typingctx, tile):
    """Whether any of its values is NaN."""

    def generate(context, builder, signature, args):
        found = ir.Constant(_BIT, 0)
        for number in range(tile.count):
            vector = builder.extract_value(args[0], number)
            odd = builder.fcmp_unordered("uno", vector, vector)
            bits = builder.bitcast(odd, ir.IntType(tile.lanes))
            some = builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))
            found = builder.or_(found, some)
        return found

    return types.boolean(tile), generate


@intrinsic
def fma_rows(typingctx, acc, rows, s, a, i, distance):
    def generate(context, builder, signature, args):
        out, _, scalar, array, index, step = args
        vector = context.get_value_type(acc).element
        splat, multiply_add = _splat(builder, scalar, vector), _fma(builder, vector)
        for k in range(acc.count):
            v = k % (acc.count // rows.count)
            if v == 0:
                at = _pointer(context, builder, signature.args[3], array, index, vector)
                index = builder.add(index, step)
            values = (splat, _vector_at(builder, at, v), builder.extract_value(out, k))
            out = builder.insert_value(out, multiply_add(*values), k)
        return out

    return acc(acc, rows, acc.dtype, a, types.intp, types.intp), generate


def _over_patch(outer):
    """An intrinsic: acc + products of a patch's numbers with vectors of a tile t.

    The patch: R rows of r numbers of a, `distance` apart, from a[i] on. outer: each number times
    all of t, into vectors of its own; else times its own part of t, all into the same ones.
    """

    def typed(typingctx, acc, rows, run, a, i, distance, t):
        def generate(context, builder, signature, args):
            out, _, _, array, index, step, other = args
            vector = context.get_value_type(acc).element
            multiply_add = _fma(builder, vector)
            data = make_array(signature.args[3])(context, builder, array).data
            at, count = 0, t.count if outer else acc.count
            for _ in range(rows.count):
                row = builder.gep(data, [index])
                for k in range(run.count):
                    splat = _splat_at(builder, row, k, vector)
                    for v in range(count):
                        term, to = (v, at) if outer else (at, v)
                        values = (splat, builder.extract_value(other, term))
                        total = multiply_add(*values, builder.extract_value(out, to))
                        out = builder.insert_value(out, total, to)
                        at += 1
                index = builder.add(index, step)
            return out

        return acc(acc, rows, run, a, types.intp, types.intp, t), generate

    return intrinsic(typed)


fma_patch = _over_patch(outer=True)  # acc has R * r * t.count vectors
dot_patch = _over_patch(outer=False)  # t has R * r * acc.count, row by row


@intrinsic
def fma_taps(typingctx, acc, taps, a, i, w, j, distance):
    """acc + the sum of a[i + k] times the tile w[j + k * distance:], for each entry k of taps."""

    def generate(context, builder, signature, args):
        out, _, array, index, weights, tap, step = args
        vector = context.get_value_type(acc).element
        multiply_add = _fma(builder, vector)
        row = builder.gep(make_array(signature.args[2])(context, builder, array).data, [index])
        for k in range(taps.count):
            splat = _splat_at(builder, row, k, vector)
            at = _pointer(context, builder, signature.args[4], weights, tap, vector)
            for v in range(acc.count):
                values = (splat, _vector_at(builder, at, v), builder.extract_value(out, v))
                out = builder.insert_value(out, multiply_add(*values), v)
            tap = builder.add(tap, step)
        return out

    return acc(acc, taps, a, types.intp, w, types.intp, types.intp), generate


def _splat_at(builder, row, k, vector):
    number = builder.load(builder.gep(row, [ir.Constant(ir.IntType(64), k)]))
    return _splat(builder, number, vector)


def _into_rows(onto):
    """An intrinsic that puts a tile of R rows into a, `distance` apart: added, or in its place."""

    def typed(typingctx, acc, rows, a, i, distance):
        def generate(context, builder, signature, args):
            tile, _, array, index, step = args
            vector = context.get_value_type(acc).element
            for k in range(acc.count):
                v = k % (acc.count // rows.count)
                if v == 0:
                    at = _pointer(context, builder, signature.args[2], array, index, vector)
                    index = builder.add(index, step)
                value = builder.extract_value(tile, k)
                if onto:
                    value = builder.fadd(_vector_at(builder, at, v), value)
                to = builder.gep(at, [ir.Constant(ir.IntType(64), v)])
                builder.store(value, to, align=_ALIGN)
            return context.get_dummy_value()

        return types.void(acc, rows, a, types.intp, types.intp), generate

    return intrinsic(typed)


add_rows = _into_rows(onto=True)
store_rows = _into_rows(onto=False)


@intrinsic
def add_at(typingctx, acc, a, i, places, k):
    """a[i + places[k + r]:] += vector r of the tile."""

    def generate(context, builder, signature, args):
        tile, array, index, where, first = args
        vector = context.get_value_type(acc).element
        data = make_array(signature.args[3])(context, builder, where).data
        for r in range(acc.count):
            at = builder.gep(data, [builder.add(first, ir.Constant(first.type, r))])
            at = builder.add(index, builder.load(at))
            at = _pointer(context, builder, signature.args[1], array, at, vector)
            value = builder.extract_value(tile, r)
            builder.store(builder.fadd(_vector_at(builder, at, 0), value), at, align=_ALIGN)
        return context.get_dummy_value()

    return types.void(acc, a, types.intp, places, types.intp), generate


@intrinsic
def repeat(typingctx, rows, tile):
    """The tile's vectors again for each entry of `rows`, a tuple."""
    out = Tile(tile.dtype, rows.count * tile.count)

    def generate(context, builder, signature, args):
        value = ir.Constant(context.get_value_type(out), ir.Undefined)
        for k in range(out.count):
            vector = builder.extract_value(args[1], k % tile.count)
            value = builder.insert_value(value, vector, k)
        return value

    return out(rows, tile), generate


def _load_if(comparison):
    """An intrinsic: load(like, a, i), zero where the comparison of code[i:] with a number fails."""

    def typed(typingctx, like, a, code, i, number):
        tile = Tile(a.dtype, like.count)

        def generate(context, builder, signature, args):
            kind = context.get_value_type(tile)
            bytes_ = ir.VectorType(ir.IntType(8), tile.lanes)
            at = _pointer(context, builder, signature.args[1], args[1], args[3], kind.element)
            which = _pointer(context, builder, signature.args[2], args[2], args[3], bytes_)
            wanted = _splat(builder, builder.trunc(args[4], ir.IntType(8)), bytes_)
            zero, out = ir.Constant(kind.element, None), ir.Constant(kind, ir.Undefined)
            for k in range(tile.count):
                place = builder.gep(which, [ir.Constant(ir.IntType(64), k)])
                here = builder.icmp_signed(comparison, builder.load(place, align=1), wanted)
                value = builder.select(here, _vector_at(builder, at, k), zero)
                out = builder.insert_value(out, value, k)
            return out

        return tile(like, a, code, types.intp, types.intp), generate

    return intrinsic(typed)


load_where = _load_if("==")
load_unless = _load_if("!=")


@intrinsic
def bits_where(typingctx, like, a, code, i, number):
    """Which of one vector's code[i:] are that number, as bits; a says how many a vector has."""
    n = VECTOR_BYTES * 8 // a.dtype.bitwidth

    def generate(context, builder, signature, args):
        bytes_ = ir.VectorType(ir.IntType(8), n)
        at = _pointer(context, builder, signature.args[2], args[2], args[3], bytes_)
        wanted = _splat(builder, builder.trunc(args[4], ir.IntType(8)), bytes_)
        here = builder.icmp_signed("==", builder.load(at, align=1), wanted)
        return builder.zext(builder.bitcast(here, ir.IntType(n)), ir.IntType(64))

    return types.int64(like, a, code, types.intp, types.intp), generate


@intrinsic
def bits_set(typingctx, a, i):
    """Which of the integers a[i : i + 64] are not zero, as bits."""

    def generate(context, builder, signature, args):
        vector = ir.VectorType(context.get_value_type(a.dtype), 64)
        at = _pointer(context, builder, signature.args[0], args[0], args[1], vector)
        values = builder.load(at, align=_ALIGN)
        some = builder.icmp_signed("!=", values, ir.Constant(vector, None))
        return builder.bitcast(some, ir.IntType(64))

    return types.int64(a, types.intp), generate


@intrinsic
def take(typingctx, counters, i):
    """The flat counters[i] as it was; it becomes one more, so that no two callers get the same."""

    def generate(context, builder, signature, args):
        at = _pointer(context, builder, signature.args[0], args[0], args[1], ir.IntType(64))
        return builder.atomic_rmw("add", at, ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(counters, types.intp), generate


def _of_bits(operation):
    """An intrinsic of 64 bits."""

    def typed(typingctx, bits):
        def generate(context, builder, signature, args):
            return operation(builder, args[0])

        return types.int64(types.int64), generate

    return intrinsic(typed)


#: the number of the lowest bit that is set; one must be
lowest_bit = _of_bits(lambda builder, bits: builder.cttz(bits, ir.Constant(_BIT, 1)))
#: the bits without it
without_lowest = _of_bits(
    lambda builder, bits: builder.and_(bits, builder.sub(bits, ir.Constant(bits.type, 1)))
)


@intrinsic
def store_largest(typingctx, a0, a1, a2, a3, y, code, i):
    """y[i:] = relu(max of the four), code[i:] = which of them it was, or 4 where it is not > 0."""
    tile = a0

    def generate(context, builder, signature, args):
        kind = context.get_value_type(tile)
        n = tile.lanes
        bytes_ = ir.VectorType(ir.IntType(8), n)

        def constant(number):
            return ir.Constant(bytes_, [number] * n)

        out = _pointer(context, builder, signature.args[4], args[4], args[6], kind.element)
        which = _pointer(context, builder, signature.args[5], args[5], args[6], bytes_)
        zero = ir.Constant(kind.element, None)
        nan = ir.Constant(kind.element, [float("nan")] * n)
        for k in range(tile.count):
            four = [builder.extract_value(args[number], k) for number in range(4)]
            best, best_code = four[0], constant(0)  # a NaN here stays, nothing is larger
            for number in (1, 2, 3):
                larger = builder.fcmp_ordered(">", four[number], best)
                best = builder.select(larger, four[number], best)
                best_code = builder.select(larger, constant(number), best_code)
            lost = builder.or_(
                builder.fcmp_unordered("uno", four[1], four[2]),
                builder.fcmp_unordered("uno", four[3], four[3]),
            )
            best = builder.select(lost, nan, best)
            place = ir.Constant(ir.IntType(64), k)
            dead = builder.fcmp_ordered("<=", best, zero)
            alive = builder.fcmp_ordered(">", best, zero)
            to = builder.gep(out, [place])
            builder.store(builder.select(dead, zero, best), to, align=_ALIGN)
            to = builder.gep(which, [place])
            builder.store(builder.select(alive, best_code, constant(4)), to, align=1)
        return context.get_dummy_value()

    return types.void(tile, tile, tile, tile, y, code, types.intp), generate


if config.DISABLE_JIT:
    from .simd_numpy import *  # noqa: F403
