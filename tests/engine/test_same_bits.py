"""The same bits on every processor with fused multiply-add, and for any number of threads.

tests/bits.py says what is hashed, and records it; here its hashes are computed again: on this
processor, and by kernels compiled for other ones, in which NumPy's own vectors, BLAS and the C
library are those of another processor, too. On emulated ARM: tests/emulated_arm.py.
"""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import bits
import llvmlite.binding as llvm
import numpy as np
import pytest

from scratchnet import initializers, kernels, schedules
from scratchnet.engine.threads import compiles


def features():
    """What this processor has, as LLVM names it; all 64-bit ARM have fused multiply-add."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return {"neon": True}
    return llvm.get_host_cpu_features()


HAS = features()
needs_fma = pytest.mark.skipif(
    not (HAS.get("fma") or HAS.get("neon")),
    reason="the same bits are promised for processors with fused multiply-add",
)
needs_compiler = pytest.mark.skipif(
    not compiles() or kernels.backend() != "numba", reason="the bits are the compiled kernels'"
)
pytestmark = [needs_fma, needs_compiler]

#: in NumPy, BLAS and the C library nothing newer than SSE4
OLD = {
    "NPY_DISABLE_CPU_FEATURES": " ".join(np._core._multiarray_umath.__cpu_dispatch__),
    "OPENBLAS_CORETYPE": "Nehalem",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX2_Usable,-FMA,-FMA_Usable",
}
#: name: what the processor must have, Numba's processor and features, threads, what else is set
SETTINGS = {
    "AVX-512": ("avx512vl", "skylake-avx512", "+fma", 2, {}),
    "AVX2": ("avx2", "haswell", "+fma", 3, {"OPENBLAS_CORETYPE": "Haswell"}),
    "AVX": ("fma", "x86-64", "+fma", 5, OLD),
}
#: not all networks, whose kernels take too long to compile
NETWORKS = {
    "AVX-512": ("mlp", "lenet5", "cnn", "resnet"),
    "AVX2": ("mlp", "lenet5", "cnn"),
    "AVX": ("cnn",),
}


def computed(names, threads=2, **environment):
    """bits.py's hashes, from a process of its own."""
    env = {name: value for name, value in os.environ.items() if name != "SCRATCHNET_THREADS"}
    env |= {"NUMBA_NUM_THREADS": str(threads), **environment}
    command = [sys.executable, str(Path(bits.__file__)), "--print", *names]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def same(found):
    assert not (wrong := bits.differences(found, bits.recorded())), "\n".join(wrong)


def test_there_are_hashes_of_all_networks():
    recorded = bits.recorded()
    assert tuple(recorded) == bits.NETWORKS
    wanted = {"initial", "forward", "gradients", "trained"}
    assert all(each.keys() == wanted for each in recorded.values())
    every = [value for each in recorded.values() for value in each.values()]
    assert len({*every}) == len(every) == 4 * len(bits.NETWORKS)


@pytest.mark.parametrize("name", ["mlp", "lenet5", "cnn"])
def test_here_the_bits_are_as_recorded(name):
    same({name: bits.hashes(name)})


@pytest.mark.slow
def test_for_any_number_of_threads_the_bits_are_as_recorded():
    same(computed(bits.NETWORKS, threads=7))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_compiled_for_another_processor_the_bits_are_as_recorded(name, tmp_path):
    feature, processor, features, threads, more = SETTINGS[name]
    if not HAS.get(feature):
        pytest.skip(f"this processor has no {feature}")
    held = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
    kept = {"NUMBA_CACHE_DIR": str(tmp_path)}
    same(computed(NETWORKS[name], threads, **held, **kept, **more))


def test_initial_weights_are_those_of_the_generator_s_own_method():
    for seed in range(3):
        found = initializers.glorot_uniform((40, 50), 40, 50, np.random.default_rng(seed), "f8")
        a = np.sqrt(6 / 90)
        np.testing.assert_allclose(found, np.random.default_rng(seed).uniform(-a, a, (40, 50)))


def test_the_cosine_of_a_schedule_is_the_cosine():
    parts = np.linspace(0, 1, 1001)
    found = [schedules._cos_pi(part) for part in parts]
    np.testing.assert_allclose(found, np.cos(np.pi * parts), rtol=0, atol=1e-15)
    assert found[0] == 1 and found[500] == 0 and found[-1] == -1
