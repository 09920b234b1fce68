"""What a benchmark shows and leaves: the machine, tables, pictures, JSON."""

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .isa import features, held


def machine(threads: int | None = None, isa: str = "native") -> dict[str, Any]:
    """What the numbers depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    found = {}
    packages = "scratchnet numpy numba torch tensorflow-cpu tensorflow keras jax onnx onnxruntime"
    for name in packages.split():
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    place = {"cpu": cpu, "cores": os.cpu_count(), "threads": threads, "caches": caches()}
    place |= {"memory_gib": memory_gib(), "system": platform.platform(), "features": features()}
    place |= {"isa": isa, "held": held(isa)}
    return place | {"python": platform.python_version(), "versions": found}


def caches() -> dict[str, str]:
    """Size of each of the first core's caches as Linux says it: {"L1 Data": "32K", ...}."""
    found = {}
    for place in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = (
                (place / name).read_text().strip() for name in ("level", "type", "size")
            )
        except OSError:
            continue
        found[f"L{level} {kind}" if kind != "Unified" else f"L{level}"] = size
    return found


def memory_gib() -> float | None:
    """The machine's memory, where the system says it."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None


def show_machine(threads: int | None, isa: str = "native") -> dict[str, Any]:
    found = machine(threads, isa)
    if isa != "native":
        print(f"all contenders held to {isa}, as far as they can be")
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    print(f"{found['cpu']}, {found['cores']} cores, {threads} threads; Python {found['python']}")
    print(f"{versions}; float32")
    return found


def show_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """The first column is a name; a row that ends early, with a reason, stands below the table.

    All text is printed as it is, the "[bench]" of a reason too; on a narrow terminal as a list.
    """
    from scratchnet.text import Table, listed, room

    whole = [[str(cell) for cell in row] for row in rows if len(row) == len(heads)]
    width = room()
    Table(title, heads, whole).show(width=width)
    for name, *reasons in (row for row in rows if len(row) < len(heads)):
        print(*listed(f"{name}:", map(str, reasons), width), sep="\n")


def save_bars(path: Path, title: str, unit: str, values: dict[str, Sequence[float]]) -> None:
    """A bar for each name at the median of its values, a thin line from the least to the most."""
    from scratchnet.plots import save, style

    @style.styled
    def draw() -> Any:
        figure = style.new_figure(style.WIDTH, 60 + 24 * len(values))
        ax = figure.add_subplot()
        names = sorted(values, key=lambda name: np.median(values[name]), reverse=True)
        middle = [float(np.median(values[name])) for name in names]
        colors = [
            style.BLUE if name.startswith(("scratchnet", "fused")) else style.LINE for name in names
        ]
        ax.barh(names, middle, color=colors, height=0.7)
        for row, name in enumerate(names):
            least, most = min(values[name]), max(values[name])
            ax.hlines(row, least, most, color=style.INK, linewidth=1)
            text = f"{middle[row]:.3g}"
            ax.annotate(text, (most, row), (5, 0), textcoords="offset points", va="center")
        ax.set(title=title, xlabel=unit, xlim=(0, 1.15 * max(map(max, values.values()))))
        style.style_ticks(ax)
        return figure

    path.parent.mkdir(parents=True, exist_ok=True)
    save(draw(), path)
    print(path)


def save_json(path: Path | None, results: dict[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
