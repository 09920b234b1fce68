"""Thousands of damaged files for a reader: it returns or raises InputError, soon and small.

    def read(content, folder):              # in a test file, at the top
        (folder / "a.idx").write_bytes(content)
        idx.read(folder / "a.idx", axes=3)

    @pytest.mark.slow
    def test_idx(tmp_path):
        fuzz(read, seeds=[...], folder=tmp_path)

The inputs are mutations of the seeds, which `read` must take: changed bits, extreme numbers, parts
cut out, doubled, put in, of two files joined. Where a reader checks sums, most mutations end there;
a second `read` that mends the sums, or packs the content, lets them through. Input number n is the
same in every run. All runs in another process, so that a crash or a hang is a failure like others.

SCRATCHNET_FUZZ_INPUTS=10000 pytest -m slow -k fuzz -n0 -s      so many for each, however long
"""

import faulthandler
import json
import os
import pickle
import random
import re
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

try:
    import resource
except ImportError:  # Windows: there only time and exceptions are looked at
    resource = None

Reader = Callable[[bytes, Path], object]

INPUTS = int(os.environ.get("SCRATCHNET_FUZZ_INPUTS", "0"))
USUAL_INPUTS, USUAL_SECONDS = 10_000, 15.0  # without the variable, what comes first
MOST_FAILURES = 5
NET = 8192  # megabytes; past them allocations fail, before they fill the machine
HANGS = 120.0  # seconds by the clock, on a machine that may be busy

EXTREMES = [0, 1, -1, 127, 128, 255, 256, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63]
EXTREMES += [-(2**31), 2**62, 2**64 - 1, 1000, 65_536]
#: in place of a number in text, JSON or a header
NUMBERS = [b"0", b"-1", b"2147483648", b"4294967295", b"18446744073709551616", b"1e400", b"NaN"]
NUMBERS += [b"0.5", b"null", b"[]", b'""', b"9" * 400, b"true", b"-Infinity", b"1000000000"]


# ---- mutations -----------------------------------------------------------------------------------


def flip_bits(content: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    for _ in range(chance.choice([1, 1, 1, 2, 8])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def set_bytes(content: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    start, length = chance.randrange(len(content)), chance.choice([1, 1, 2, 4, 16])
    content[start : start + length] = chance.choice([bytes(length), b"\xff" * length,
                                                     chance.randbytes(length)])  # fmt: skip


def set_number(content: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    size = chance.choice([1, 2, 4, 8])
    value = chance.choice(EXTREMES) % (1 << 8 * size)
    start = chance.randrange(len(content))
    content[start : start + size] = value.to_bytes(size, chance.choice(["little", "big"]))


def set_number_in_text(content: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    found = list(re.finditer(rb"-?[0-9]+(\.[0-9]+)?", content))
    if found:
        number = chance.choice(found)
        content[number.start() : number.end()] = chance.choice(NUMBERS)


def cut_off(content: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    del content[chance.randrange(len(content)) :]


def cut_out(content: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    start = chance.randrange(len(content))
    del content[start : start + chance.choice([1, 2, 8, 100])]


def put_in(content: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    start = chance.randrange(len(content) + 1)
    content[start:start] = chance.randbytes(chance.choice([1, 2, 8, 100]))


def double(content: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    start = chance.randrange(len(content))
    part = content[start : start + chance.choice([1, 8, 40, 400])]
    place = chance.choice([start, chance.randrange(len(content) + 1)])
    content[place:place] = part * chance.choice([1, 1, 3, 50])


def splice(content: bytearray, chance: random.Random, seeds: list[bytes]) -> None:
    other = chance.choice(seeds)
    content[chance.randrange(len(content)) :] = other[chance.randrange(len(other)) :]


MUTATIONS = (
    *[flip_bits, set_bytes, set_number, set_number, set_number_in_text],
    *[cut_off, cut_out, put_in, double, splice],
)


def mutated(seeds: list[bytes], number: int) -> bytes:
    """Input `number` of those that come of these files; the same every time."""
    chance = random.Random(number)
    content = bytearray(chance.choice(seeds))
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        if content:
            chance.choice(MUTATIONS)(content, chance, seeds)
    return bytes(content)


# ---- the test ------------------------------------------------------------------------------------


def fuzz(
    read: Reader, seeds: list[bytes], folder: Path, seconds: float = 5.0, megabytes: float = 200.0
) -> dict:
    """Have `read`, a function at the top of its module, meet mutations of the seeds.

    seconds     of a core's time that one input may take
    megabytes   that all may take at once, beside what the valid files take
    """
    work = folder / "fuzz"
    work.mkdir()
    job = {
        "module": read.__module__,
        "function": read.__qualname__,
        "path": [path for path in sys.path if path],
        "seeds": seeds,
        "seconds": seconds,
        "megabytes": megabytes,
    }
    (work / "job").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-W", "ignore", __file__, str(work)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (
        f"ended with {done.returncode}: {_last(work)}\n{done.stderr[-4000:]}"
    )
    found = json.loads(done.stdout.splitlines()[-1])
    failures = found.pop("failures")
    print(f"\n{read.__module__}.{read.__qualname__}: {json.dumps(found)}")
    assert not failures, "\n\n".join(failures)
    assert found["inputs"] >= (INPUTS or 100), found
    return found


def _last(work: Path) -> str:
    number = work / "number"
    return f"input number {number.read_text()}" if number.exists() else "before the first input"


class Child:
    """What the process does that `fuzz` starts."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.job = pickle.loads((work / "job").read_bytes())
        sys.path[:] = self.job["path"]
        from scratchnet import InputError

        self.refusal = InputError
        self.read = getattr(import_module(self.job["module"]), self.job["function"])
        self.files = work / "files"
        self.files.mkdir()
        self.failures: list[str] = []
        self.counts = {"inputs": 0, "accepted": 0, "refused": 0}
        self.slowest = 0.0

    def run(self) -> dict:
        for seed in self.job["seeds"]:
            self.read(seed, self.files)  # valid, or there is nothing to learn; and it warms up
        before = _peak()
        if sys.platform == "linux":
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + (NET << 20)
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        self.most = before + self.job["megabytes"]
        started = time.monotonic()
        for number in range(INPUTS or USUAL_INPUTS):
            if not INPUTS and time.monotonic() - started > USUAL_SECONDS:
                break
            self.meet(number)
            if len(self.failures) == MOST_FAILURES:
                break
        return {
            **self.counts,
            "seconds": round(time.monotonic() - started, 1),
            "slowest": round(self.slowest, 2),
            "megabytes": round(_peak() - before),
            "failures": self.failures,
        }

    def meet(self, number: int) -> None:
        (self.work / "number").write_text(str(number))
        content = mutated(self.job["seeds"], number)
        faulthandler.dump_traceback_later(HANGS, exit=True)
        started = time.process_time()
        try:
            self.read(content, self.files)
            self.counts["accepted"] += 1
        except self.refusal as error:
            self.counts["refused"] += 1
            if not str(error) or len(str(error)) > 2000:
                self.failures.append(f"input number {number}: a message of {len(str(error))}")
        except Exception:
            self.failures.append(f"input number {number}: {traceback.format_exc()}")
        taken = time.process_time() - started
        faulthandler.cancel_dump_traceback_later()
        self.counts["inputs"] += 1
        self.slowest = max(self.slowest, taken)
        if taken > self.job["seconds"]:
            self.failures.append(f"input number {number}: {taken:.1f} s")
        if _peak() > self.most:
            self.failures.append(f"input number {number}: {_peak() - self.most:.0f} MB too many")
            self.most = _peak() + self.job["megabytes"]


def _peak() -> float:
    """The most memory that this process has ever held, in MB."""
    if resource is None:
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    print(json.dumps(Child(Path(sys.argv[1])).run()))
