"""`scratchnet benchmark`: how fast this machine trains and predicts, beside a recorded one."""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import plots
from ..text import Table, listed, room
from . import speed
from .shared import JsonOption, check_picture, command

HEADS = ("", "scratchnet", "PyTorch", "ratio", "recorded", "PyTorch there", "ratio")


@command("benchmark", "benchmark --out speed.png", "benchmark --no-torch --json")
def benchmark(
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A picture of the bars: .png, .svg, .pdf.")
    ] = None,
    no_torch: Annotated[
        bool, typer.Option("--no-torch", help="Leave PyTorch out where it is installed.")
    ] = False,
    images: Annotated[
        int, typer.Option(min=256, max=10_000, help="Of a round; times are scaled up.")
    ] = 6400,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Their median counts.")] = 3,
    name: Annotated[
        str | None,
        typer.Option(help="What to call this machine.", show_default="its processor's name"),
    ] = None,
    json_: JsonOption = False,
) -> None:
    """Measure how fast this machine trains and predicts, in less than a minute.

    Three networks, batches of 128, float32; beside PyTorch if it is installed (same weights, same
    batches, equal losses first, the two taking turns), and beside figures recorded on another
    machine. Close other programs first. The whole comparison, with more frameworks, is benchmarks/
    in the repository.
    """
    check_picture("--out", out)
    started = time.perf_counter()
    child = speed.Torch() if speed.torch_is_there() and not no_torch else None
    try:
        try:
            found, notes = speed.measure(images, rounds, child, _say)
        except speed.Failed as error:  # on the way: what is there is not of the same rounds
            found, notes = speed.measure(images, rounds, None, _say)
            notes.append(f"PyTorch is left out: {error}")
    finally:
        if child:
            child.__exit__()
    if child is None and not no_torch:
        notes.append("PyTorch is not installed: scratchnet alone")
    if speed.busy(found):
        notes.append("NOT QUIET: rounds differ by much; close other programs and run it again")
    report: dict[str, Any] = {"machine": speed.machine(name), "batch_size": speed.BATCH}
    report |= {"seconds": found, "notes": notes, "took": time.perf_counter() - started}
    other = speed.recorded()
    _show(report, other)
    if out:
        _draw(out, report, other)
        print(f"picture: {out}")
    if json_:
        print(json.dumps(report))


def _say(line: str) -> None:
    print(f"scratchnet: {line}", file=sys.stderr, flush=True)


def _medians(report: dict[str, Any]) -> dict[str, dict[str, float]]:
    """{quantity: {"scratchnet": seconds, "torch": seconds}}."""
    rows: dict[str, dict[str, list[float]]] = report["seconds"]
    return {key: {by: speed.median(t) for by, t in row.items()} for key, row in rows.items()}


def _show(report: dict[str, Any], other: dict[str, Any]) -> None:
    here, there, lines = _medians(report), _medians(other), []
    for key, (what, unit) in speed.QUANTITIES.items():
        cells = [*_cells(here.get(key, {}), unit), *_cells(there.get(key, {}), unit)]
        lines.append([what, *cells])
    machine, width = report["machine"], room()
    title = f"{machine['name']}, {machine['isa']}, {machine['threads']} threads"
    Table(title, HEADS, lines).show(width=width)
    recorded = other["machine"]
    print(*listed(f"recorded: {recorded['name']}, {recorded['isa']}", [], width), sep="\n")
    for note in report["notes"]:
        print(*listed(note, [], width), sep="\n")


def _cells(row: dict[str, float], unit: str) -> list[str]:
    """Ours, PyTorch's, and how many times ours that is."""
    from ..plots.speed import time_text

    said = [time_text(row[by], unit) if by in row else "-" for by in ("scratchnet", "torch")]
    both = "scratchnet" in row and "torch" in row
    return [*said, f"{row['torch'] / row['scratchnet']:.2f}" if both else "-"]


def _draw(path: Path, report: dict[str, Any], other: dict[str, Any]) -> None:
    names = (report["machine"]["name"], other["machine"]["name"])
    figure = plots.speeds(speed.QUANTITIES, _medians(report), _medians(other), names)
    plots.save(figure, path)
