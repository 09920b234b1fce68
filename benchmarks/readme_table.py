"""The README's table of speeds: measure its rows, and print it from what was measured.

    python benchmarks/readme_table.py results --measure --isa avx512 avx2
    python benchmarks/readme_table.py results

The first measures what the folder lacks (a file for each row and instruction set, so it can be
stopped and started again) and prints the table; the second only prints it. All contenders that are
installed run in every row. A row's figures are a median of rounds in which they took turns; every
file has all of them, the machine and the versions.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import contenders as c

HERE = Path(__file__).parent


class Row(NamedTuple):
    """label, model, batch size, images of a round; batch size 0 for inference"""

    label: str
    model: str
    batch: int
    images: int

    @property
    def file(self) -> str:
        return f"{self.model}-{self.batch}" if self.batch else f"{self.model}-inference"


ROWS = [
    Row("`cnn`, 32", "cnn", 32, 6400),
    Row("`cnn`, 128", "cnn", 128, 6400),
    Row("`cnn`, 512", "cnn", 512, 6144),
    Row("`cnn-dropout`, 128", "cnn-dropout", 128, 6400),
    Row("`cnn-small`, 128", "cnn-small", 128, 6400),
    Row("`lenet5`, 128", "lenet5", 128, 6400),
    Row("`mlp`, 128", "mlp", 128, 6400),
    Row("`resnet`, 128", "resnet", 128, 1920),
    Row("`cnn-bn`, 128", "cnn-bn", 128, 1920),
    Row("VGG-like with BatchNorm, 28x28, 128", "vgg-bn", 128, 1280),
    Row("the same, 32x32x3, 128", "vgg-bn-32", 128, 1280),
    Row("inference, `cnn`", "cnn", 0, 10_000),
]


def measure(row: Row, isa: str, path: Path, rounds: int, contenders: list[str]) -> None:
    """Run the comparison of that row, into the file; a failure is said, and the others go on."""
    script = "compare_frameworks" if row.batch else "compare_inference"
    size = ["--batch-size", row.batch] if row.batch else []
    command = [sys.executable, HERE / f"{script}.py", "--model", row.model, *size]
    command += ["--images", row.images, "--rounds", rounds, "--isa", isa, "--json", path]
    start = time.perf_counter()
    print(f"{row.label}, {isa}", file=sys.stderr, flush=True)
    done = subprocess.run([*map(str, command), "--contenders", *contenders], stdout=sys.stderr)
    seconds = time.perf_counter() - start
    result = f"{seconds:.0f} s" if done.returncode == 0 else f"failed with {done.returncode}"
    print(f"{row.label}, {isa}: {result}", file=sys.stderr, flush=True)


def load(path: Path) -> dict[str, Any] | None:
    """What was measured; None if it was not, or not to the end."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if found.get("runs") or "fastest_other" in found else None


# ---- one row, one instruction set ---------------------------------------------------------------


def least_of_torch(contenders: dict[str, Any]) -> float | None:
    """The least of the peaks of PyTorch's contenders, in MiB."""
    found = [
        one["peak_mib"] for name, one in contenders.items() if "torch" in name and "peak_mib" in one
    ]
    return min(found, default=None)


def cells(contenders: dict[str, Any], key: str, unit: str) -> list[str]:
    """Ours, the fastest other's with its name, the ratio; and the memory, ours beside PyTorch's."""
    ours = contenders["scratchnet"]
    others = {name: one for name, one in contenders.items() if name != "scratchnet" and key in one}
    memory = f"{ours['peak_mib']:,.0f}"
    if (torch := least_of_torch(contenders)) is not None:
        memory += f" / {torch:,.0f}"
    if not others:
        return [in_unit(ours[key], unit), "-", "-", memory]
    best = min(others.values(), key=lambda one: one[key])
    free = "*" if "not_held" in best else ""
    fastest = f"{in_unit(best[key], unit)}, {best['label']}{free}"
    return [in_unit(ours[key], unit), fastest, f"{best[key] / ours[key]:.2f}", memory]


def in_unit(value: float, unit: str) -> str:
    if unit == "us":
        return f"{value:.0f} us"
    return f"{value:.3g} s" if value < 10 else f"{value:.1f} s"


def lines_of(row: Row, found: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """(label, cells): one line, or for inference two."""
    if row.batch:
        return [(row.label, cells(found["runs"][0]["contenders"], "median", "s"))]
    ran = found["contenders"]
    return [
        (f"one image through `{row.model}`", cells(ran, "median_latency", "us")),
        (f"10,000 images through `{row.model}`", cells(ran, "median_seconds", "s")),
    ]


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """Markdown; results are {instruction set: {row's file: what was measured}}."""
    isas = [isa for isa, rows in results.items() if rows]
    heads = ["network, batch size"]
    for isa in isas:
        heads += [f"scratchnet, {isa}", "fastest of the others", "ratio", "MiB, ours / PyTorch"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in ROWS:
        by_label: dict[str, dict[str, list[str]]] = {}
        for isa in isas:
            if row.file in results[isa]:
                for label, found in lines_of(row, results[isa][row.file]):
                    by_label.setdefault(label, {})[isa] = found
        for label, found in by_label.items():
            whole = [cell for isa in isas for cell in found.get(isa, ["-"] * 4)]
            lines.append(f"| {' | '.join([label, *whole])} |")
    return lines


def notes(results: dict[str, dict[str, Any]]) -> list[str]:
    """What stands below the table: the machines, who is not held, who was left out, noise."""
    every = [(isa, name, f) for isa, rows in results.items() for name, f in rows.items()]
    machines = {describe(found["machine"]) for _, _, found in every}
    lines = sorted(machines)
    if len(machines) > 1:
        lines.append("NOT ONE SITTING: the rows are from several machines or versions")
    free, missing, loud = set(), set(), set()
    for isa, name, found in every:
        ran = found["runs"][0]["contenders"] if "runs" in found else found["contenders"]
        for one in ran.values():
            if "not_held" in one:
                free.add(f"* not held to {isa}: {one['label']}: {one['not_held']}")
            if "skipped" in one:
                missing.add(f"left out, {name}, {isa}: {one['label']}: {one['skipped']}")
            if one.get("others", 0) > 0.1:
                loud.add(
                    f"NOT QUIET: {name}, {isa}: {one['label']}, {one['others']:.1f} processors"
                )
    return lines + sorted(free) + sorted(missing) + sorted(loud)


def describe(machine: dict[str, Any]) -> str:
    """The machine in one line."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    caches = ", ".join(f"{name} {size}" for name, size in machine.get("caches", {}).items())
    return (
        f"{machine['cpu']}, {machine['threads']} of {machine['cores']} cores ({caches}), "
        f"{machine.get('memory_gib')} GiB, Python {machine['python']}; {versions}; float32"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the results, a file for each row")
    parser.add_argument("--measure", action="store_true", help="measure the rows that it lacks")
    parser.add_argument("--isa", nargs="+", choices=list(c.ISAS), default=["avx512", "avx2"])
    parser.add_argument("--rounds", type=c.positive, default=5)
    files = [row.file for row in ROWS]
    parser.add_argument("--rows", nargs="+", choices=files, default=files, metavar="ROW")
    parser.add_argument("--contenders", nargs="+", default=["all"], metavar="NAME")
    parser.add_argument("--images", type=c.positive, help="of a round; default: by network")
    options = parser.parse_args()
    if options.measure:
        options.folder.mkdir(parents=True, exist_ok=True)
        for isa in options.isa:
            c.held(isa)  # ends here if the processor hasn't these instructions
        for row in ROWS:
            row = row._replace(images=options.images or row.images)
            for isa in options.isa if row.file in options.rows else []:
                path = options.folder / f"{isa}-{row.file}.json"
                if load(path) is None:
                    wanted = of_kind(options.contenders, row)
                    measure(row, isa, path, options.rounds, wanted)
    results: dict[str, dict[str, Any]] = {}
    for isa in options.isa:
        found = {name: load(options.folder / f"{isa}-{name}.json") for name in options.rows}
        results[isa] = {name: one for name, one in found.items() if one is not None}
    if not any(results.values()):
        sys.exit(f"{options.folder}: expected results, found none; --measure makes them")
    print("\n".join(table(results)), *notes(results), sep="\n")


def of_kind(names: list[str], row: Row) -> list[str]:
    """Those of the contenders that train, or predict: what that row asks for."""
    kind = "trains" if row.batch else "infers"
    fit = [name for name in names if name == "all" or getattr(c.CONTENDERS.get(name), kind, True)]
    return fit or ["scratchnet"]


if __name__ == "__main__":
    main()
