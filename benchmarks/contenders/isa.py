"""All contenders held to one instruction set: the variables of each library that can be held.

`--isa avx2` on a processor with AVX-512 shows what a processor without it would: the same cores and
the same memory, and vectors of 256 bits for everybody.

    scratchnet     NUMBA_CPU_NAME, NUMBA_CPU_FEATURES; OpenBLAS under NumPy: OPENBLAS_CORETYPE
    NumPy          NPY_DISABLE_CPU_FEATURES
    PyTorch        ATEN_CPU_CAPABILITY (its own kernels, and what torch.compile writes),
                   ONEDNN_MAX_CPU_ISA, MKL_ENABLE_INSTRUCTIONS (which MKL heeds on Intel's alone)
    TensorFlow     ONEDNN_MAX_CPU_ISA; XLA_FLAGS. Its wheels' Eigen is compiled for AVX in any case
    JAX            XLA_FLAGS for what XLA compiles. What it calls (Eigen, XNNPACK) looks for itself
    ONNX Runtime   nothing: MLAS asks the processor, and no variable says otherwise
"""

import sys
from typing import Any, NamedTuple


class Isa(NamedTuple):
    """needs   a feature, as LLVM names it, that the processor must have; "" for none
    held       environment variables for every contender's process
    """

    needs: str
    held: dict[str, str]


ISAS = {
    "native": Isa("", {}),
    "avx512": Isa("avx512vl", {}),  # what everybody takes where it is there
    "avx2": Isa(
        "avx2",
        {
            "NUMBA_CPU_NAME": "haswell",
            "NUMBA_CPU_FEATURES": "+avx2,+fma",
            "OPENBLAS_CORETYPE": "Haswell",
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
            "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
        },
    ),
}
#: contenders that no variable holds, wholly or in part, and why
NOT_HELD = {
    "jax": "XLA's own code is held; the libraries it calls ask the processor",
    "keras-xla": "XLA's own code is held; the libraries it calls ask the processor",
    "onnxruntime": "MLAS asks the processor, and no variable says otherwise",
}


def features() -> list[str]:
    """Names of the processor's vector instructions, as LLVM has them; none if it cannot say."""
    import llvmlite.binding as llvm

    names = ("sse2", "avx", "avx2", "fma", "avx512f", "avx512vl", "neon", "sve")
    try:
        found: Any = llvm.get_host_cpu_features()
    except RuntimeError:
        return []
    return [name for name in names if found.get(name)]


def held(isa: str) -> dict[str, str]:
    """The variables; the program ends if this processor lacks what they stand for."""
    needs, variables = ISAS[isa]
    if needs and needs not in features():
        sys.exit(f"--isa {isa}: expected a processor with {needs}, found {', '.join(features())}")
    newer = [name for name in numpy_dispatches() if "AVX512" in name or name == "X86_V4"]
    if isa == "avx2" and newer and "avx512f" in features():
        variables = variables | {"NPY_DISABLE_CPU_FEATURES": " ".join(newer)}
    return dict(variables)


def numpy_dispatches() -> list[str]:
    """NumPy's names for what it has loops for, beyond what it must have."""
    from numpy._core import _multiarray_umath as core

    return list(core.__cpu_dispatch__)


def warn(isa: str, names: list[str]) -> dict[str, str]:
    """Say which of the contenders may use more than that instruction set; and return it."""
    found = {} if isa != "avx2" or "avx512f" not in features() else NOT_HELD
    free = {name: reason for name, reason in found.items() if name in names}
    for name, reason in free.items():
        print(f"{name} is not held to {isa}: {reason}")
    return free
