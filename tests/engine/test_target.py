"""What a processor has for vectors, and that no loop's sums leave its registers."""

import re

import numba
import numpy as np
import pytest
from numba import typeof
from numba.core.types import range_state64_type as range64

llvm = pytest.importorskip("llvmlite.binding")

from scratchnet.engine import conv, conv_pool, conv_pool_backward, dense, simd, winograd  # noqa: E402
from scratchnet.engine.target import ONE, Target, block_of, of  # noqa: E402
from scratchnet.engine.threads import compiles  # noqa: E402

X86, ARM = "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"
PROCESSORS = {
    "AVX-512": (X86, "skylake-avx512", Target(64, 32, True)),
    "AVX2": (X86, "haswell", Target(32, 16, True)),
    "NEON": (ARM, "apple-m1", Target(16, 32, True)),
    "a Raspberry Pi 5": (ARM, "cortex-a76", Target(16, 32, True)),
    "SSE2": (X86, "x86-64", Target(16, 16, False)),
}
#: what LLVM's text says of memory on ARM: Numba's is written for this processor
LAYOUT = "e-m:e-i8:8:32-i16:16:32-i64:64-i128:128-n32:64-S128"


@pytest.fixture(scope="module", autouse=True)
def all_processors():
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()


@pytest.mark.parametrize("name", PROCESSORS)
def test_a_target_says_what_the_processor_has(name):
    triple, cpu, expected = PROCESSORS[name]
    assert of(triple, cpu, "") == expected


def test_tiles_leave_room_for_their_terms():
    for _, _, target in PROCESSORS.values():
        for across in range(1, target.across + 1):
            rows = target.rows(across, 2, 4, 8)
            assert rows * across + across + 1 <= target.vectors or rows == 2
        assert target.sums < target.vectors


def loops(target):
    """Each inner loop that sums, and arguments of the types it is compiled for there."""
    a, i = np.zeros(100, np.float32), 1
    places, code = np.zeros(9, np.int64), np.zeros(99, np.uint8)
    g, t = conv.Geometry(*range(11)), winograd.Tiling(*range(11))
    tile = (0,) * max(w for w in (1, 2, 4) if w <= target.across)
    block = block_of(target.rows(len(tile), 2, 4, 8), tile)
    four = block_of(target.rows(len(tile), 2, 4), tile)
    column = block_of(target.rows(1, 1, 2, 4, 6, 12), ONE)
    matrix, across = winograd.Matrix(a, i, i, i), (0,) * min(6, target.sums)
    part = conv_pool_backward.Part(across, ONE, across)
    sizes, piece = dense.Sizes(*range(7)), dense.Part(*range(5))
    yield winograd._multiply, (block, matrix, matrix, matrix, i, i, i, True)
    yield winograd._input, (a, i, i, i, a, i, i)
    yield conv._conv_positions, (g, four, a, i, a, a, a, i, True)
    yield conv._conv_weights_image, (g, four, a, i, a, i, places, a)
    yield conv._spread_all, (g, column, a, i, i, a, places, a)
    pairs = block_of(4, (0,) * 3) if target.across > 1 else block_of(2, (0,) * 2)
    for held in (four, block_of(2, (0,) * (7 if target.across > 1 else 2))):
        yield dense._product_rows, (held, sizes, a, a, a, a, True, np.zeros((2, 1), int), piece)
    yield dense._tile_by_lots, (pairs, sizes, a, a, a, places, places, i, i, a)
    yield conv_pool._conv_relu_pool_lines, (g, (0,) * 3, tile[:2], a, a, a, range(i), a, code)
    if target.across > 1:
        yield conv_pool._conv_relu_pool_pairs, (g, (0,) * 3, ONE, a, a, a, range(i), a, code)
        held = conv_pool_backward.Held((0,) * 3, (0,) * 3, (0,) * 18)
        yield conv_pool._conv_relu_pool_held, (g, held, (0, 0), a, a, a, range(i), a, code)
        yield conv_pool_backward._add_masked, (g, held, (0, 0), a, code, a, i, i, a)
    yield conv_pool_backward._add_patches, (g, part, a, i, places, a, i, a)
    yield conv_pool_backward._spread, (g, across, a, i, np.zeros((9, 1), np.int64), a, a)
    yield winograd._add_inputs, (t, a, i, i, a)


def machine_code(loop, arguments, triple, cpu, monkeypatch):
    """What LLVM makes of the loop for that processor, as text: all of it, nothing for this one."""
    monkeypatch.setattr(numba.config, "OPT", type(numba.config.OPT)(0))
    kinds = [range64 if isinstance(given, range) else typeof(given) for given in arguments]
    options = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
    compiled = numba.njit(nogil=True, error_model="numpy", **options)(loop.py_func)
    compiled.compile(tuple(kinds))
    text = compiled.inspect_llvm(compiled.signatures[0])
    if triple == ARM:
        text = re.sub(r'target datalayout = ".*"', f'target datalayout = "{LAYOUT}"', text)
        text = text.replace(" immarg", "")
    text = re.sub(r'target triple = ".*"', f'target triple = "{triple}"', text)
    text = re.sub(r'"target-(cpu|features)"="[^"]*"', "", text)
    machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=2)
    module = llvm.parse_assembly(text)
    builder = llvm.create_pass_builder(machine, llvm.PipelineTuningOptions(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    return machine.emit_assembly(module)


def innermost(code):
    """The blocks of instructions that jump back to their own start."""
    blocks, name = {}, None
    for line in code.splitlines():
        if label := re.match(r"(\.?L\w+):", line):
            name = label[1]
            blocks[name] = []
        elif name and line.startswith("\t") and not line.startswith("\t."):
            blocks[name].append(line.strip())
    jump = r"(j\w+|b\.?\w*|cbn?z|tbn?z)\b.*{}$"
    for name, lines in blocks.items():
        if any(re.match(jump.format(re.escape(name)), line) for line in lines):
            yield lines


@pytest.mark.slow
@pytest.mark.skipif(not compiles(), reason="nothing is compiled")
# not SSE2: sixteen registers of four numbers do not hold the four outputs of a pooling window
@pytest.mark.parametrize("name", [name for name in PROCESSORS if name != "SSE2"])
def test_no_inner_loop_keeps_its_vectors_on_the_stack(name, monkeypatch):
    triple, cpu, target = PROCESSORS[name]
    monkeypatch.setattr(simd, "target", lambda: target)
    # sums are in the widest; a constant in half of one may come from there
    widest = {64: "zmm", 32: "ymm"}.get(target.width, "xmm")
    stack = rf"{widest}.*\(%rsp|\(%rsp.*{widest}|\b[qv]\d+.*\[sp"
    sums = r"v?fn?m(add|la|ul)|v?add[ps]s|fadd"
    found, counted = {}, 0
    for loop, arguments in loops(target):
        for lines in innermost(machine_code(loop, arguments, triple, cpu, monkeypatch)):
            if any(re.search(sums, line) for line in lines):
                counted += 1
                spilled = sum(bool(re.search(stack, line)) for line in lines)
                if spilled:
                    found[loop.py_func.__name__] = spilled
    assert counted >= 8
    assert found == {}
