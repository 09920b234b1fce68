"""How much of the package the suite runs: at least 95 % of its lines.

Measured without the compiler, or the kernels' lines would be seen by nobody. What the test does, by
hand and in the project's folder:

    export NUMBA_DISABLE_JIT=1
    coverage run -m pytest --hypothesis-profile=few -k "$SMALL" KERNEL_TESTS...
    export SCRATCHNET_BACKEND=reference
    coverage run -m pytest --hypothesis-profile=few -k "$PLAIN" THE_OTHERS...
    coverage combine && coverage report

with the files and the filters below. Whatever trains on MNIST runs on the reference kernels: the
compiled ones' loops as plain Python would take hours. Settings are in pyproject.toml,
[tool.coverage]; what emits machine code (simd.py's intrinsics) is left out.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
LEAST = 95
#: tests of kernels, on small arrays: with the compiled kernels' loops
KERNEL_TESTS = ["kernels", "plan", "robust", "optimizers", "losses", "layers"]
#: leaves out what needs the compiler's threads, MNIST, or processes that set the switch themselves
SMALL = "not threads and not without and not uint8"
#: and for the others: there nothing is fused
PLAIN = "not threads and not numba and not plan_show"
#: tests that say nothing about lines, that start all tests again, that are about the compiler
LEFT_OUT = ["coverage", "mutations", "benchmarks", "examples", "imports", "predict_path"]
LEFT_OUT += ["kernel_cache", "mistakes", "same_bits", "first_start", "sizes", "portable"]
#: those beside the frameworks, and those that go through whole programs where others see the lines
LEFT_OUT += ["parity_torch", "parity_keras", "learning_torch", "learning_keras", "onnx_exporters"]
LEFT_OUT += ["interop_frameworks", "web_page", "web_limits", "resume_cli", "streams"]
#: whose work is done by a browser, and a server in another process
LEFT_OUT += ["web_js", "web_network"]


def others() -> list[str]:
    names = {path.stem.removeprefix("test_") for path in TESTS.glob("*/test_*.py")}
    return sorted(names - {*KERNEL_TESTS, *LEFT_OUT})


def covered(folder: Path, names: list[str], *options: str, **environment: str) -> None:
    """Run those test files under coverage; its data stays in folder."""
    files = [str(path) for name in names for path in TESTS.glob(f"*/test_{name}.py")]
    done = measure(
        folder, "run", "-m", "pytest", "-q", "--hypothesis-profile=few", *options, *files,
        NUMBA_DISABLE_JIT="1", **environment,
    )  # fmt: skip
    assert " passed" in done


def measure(folder: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "coverage", *arguments],
        cwd=TESTS.parent,
        env={**os.environ, "COVERAGE_FILE": str(folder / "coverage"), **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_nearly_every_line_is_run_by_a_test(tmp_path):
    covered(tmp_path, KERNEL_TESTS, "-k", SMALL)
    covered(tmp_path, others(), "-k", PLAIN, SCRATCHNET_BACKEND="reference")
    measure(tmp_path, "combine")
    report = measure(tmp_path, "report")
    print(report)
    assert float(measure(tmp_path, "report", "--format=total")) >= LEAST, report
