"""What this processor has for vectors, and how large the tiles of the loops may be.

A tile that does not fit into the registers lives on the stack: a load and a store for every
multiply-add, two or three times slower. How many registers there are, and how wide, is not asked of
a table of processors: LLVM compiles one multiply-add for the processor that Numba compiles for, and
the instruction that comes out says it.

Only speed follows from this. The order in which an output's terms are summed belongs to the
algorithm; how many outputs are computed side by side does not change it, and so not their bits.
"""

import functools
import re
from typing import Any, NamedTuple

import llvmlite.binding as llvm
import numba

from .memory import VECTOR_BYTES, lanes, padded

config: Any = numba.config  # it makes its attributes as it is loaded; mypy does not see them


#: a tile of one vector, or one row
ONE = (0,)


class Target(NamedTuple):
    """The registers for vectors.

    width   of one, in bytes: 64 with AVX-512, 32 with AVX2, 16 with SSE2 and NEON
    number  how many there are
    fma     whether a product and a sum are one instruction; without, they are two, since LLVM would
            call a function for each, forty times slower
    """

    width: int
    number: int
    fma: bool

    @property
    def vectors(self) -> int:
        """How many vectors of VECTOR_BYTES all registers hold: 32, 8 (AVX2, NEON) or 4 (SSE2)."""
        return self.number * self.width // VECTOR_BYTES

    @property
    def sums(self) -> int:
        """How many vectors of sums leave room for their terms: three quarters of all."""
        return 3 * self.vectors // 4

    @property
    def across(self) -> int:
        """The widest row of a tile, in vectors: its terms are in registers beside the sums."""
        return 4 if self.vectors >= 32 else 1

    def rows(self, across: int, *allowed: int) -> int:
        """The most rows of so many vectors that leave room for a row of terms, of those allowed."""
        room = (self.vectors - 1 - across) // across
        return max((rows for rows in allowed if rows <= room), default=min(allowed))


@functools.cache
def target() -> Target:
    """Of the processor that Numba compiles for: this one, or what NUMBA_CPU_NAME says."""
    from numba.core.registry import cpu_target

    codegen = cpu_target.target_context.codegen()
    _, name, features = codegen.magic_tuple()
    return of(llvm.get_process_triple(), name, features)


_ONE_MULTIPLY_ADD = """
define <{n} x float> @f(<{n} x float> %a, <{n} x float> %b, <{n} x float> %c) {{
  %d = call <{n} x float> @llvm.fma.v{n}f32(<{n} x float> %a, <{n} x float> %b, <{n} x float> %c)
  ret <{n} x float> %d
}}
declare <{n} x float> @llvm.fma.v{n}f32(<{n} x float>, <{n} x float>, <{n} x float>)
"""


def of(triple: str, name: str, features: str) -> Target:
    """Of a processor as LLVM names it: see `llc -mcpu=help`."""
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=name, features=features)
    module = llvm.parse_assembly(_ONE_MULTIPLY_ADD.format(n=VECTOR_BYTES // 4))
    module.triple = triple
    code = machine.emit_assembly(module)
    fma = re.search(r"\bv?fn?m(add|la)", code) is not None
    if "zmm" in code:
        return Target(64, 32, fma)
    if "ymm" in code:
        return Target(32, 16, fma)
    return Target(16, 16 if "xmm" in code else 32, fma)


class Block(NamedTuple):
    """How much of a result is held in registers: tuples as long as

    whole   the vectors in all
    rows    its rows
    tile    the vectors of a row
    """

    whole: tuple[int, ...]
    rows: tuple[int, ...]
    tile: tuple[int, ...]


def tile_for(filters: int, dtype: Any) -> tuple[int, ...]:
    """The widest tile, of at most 4 vectors, that divides the padded filters; as a tuple."""
    vectors, most = padded(filters, dtype) // lanes(dtype), target().across
    return (0,) * next(width for width in range(most, 0, -1) if vectors % width == 0)


def block_of(rows: int, tile: tuple[int, ...]) -> Block:
    return Block(tile * rows, (0,) * rows, tile)
