"""How long an epoch takes on many machines: measured on this one, predicted for 1 to 1,024 ranks.

    python benchmarks/cluster.py --out pictures --json cluster.json
    python benchmarks/cluster.py --latency 5e-6 --bandwidth 3e9        # a network of one's own, too

Measured here: a training step of one rank with one thread, for several numbers of images; and what
a message costs between two ranks of this machine, by the all-reduce of distributed.py. From these

    step = max(compute, adding up) + gathering outputs
    compute = a + b * (images of a rank)
    adding up = 2 (R - 1) latency + 2 (R - 1) / R * bytes / bandwidth         (both halves)

where adding up hides behind the part of compute that comes after the first gradients, --hidden of
it. Then 2 and 4 ranks train here, and what they take stands beside what was predicted; where there
are fewer cores than ranks, compute takes as many times as long.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import contenders as c
import numpy as np

import scratchnet as sn

RANKS = [2**k for k in range(11)]
IMAGES = 60_000
#: seconds, and bytes a second; typical figures of makers and operators
NETWORKS = {
    "10 Gbit/s Ethernet": (25e-6, 1.1e9),
    "InfiniBand HDR": (1.5e-6, 22e9),
}


class Costs(NamedTuple):
    """What the prediction is made of: seconds a step and an image; bytes; classes."""

    step: float
    image: float
    gradient: int
    outputs: int


def network(name: str) -> sn.Sequential:
    model = sn.architectures.build(name, seed=0)
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def data(images: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.random((images, 28, 28, 1), np.float32), rng.integers(0, 10, images)


def fastest(name: str, batch: int, rounds: int) -> float:
    """Seconds a step of `fit`: the least, which other programs and a restless clock disturb least.

    As many rounds on every rank, for they add up together.
    """
    model, (x, y) = network(name), data(16 * batch)
    model.fit(x[: 2 * batch], y[: 2 * batch], batch, verbose=0)
    times: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        model.fit(x, y, batch, verbose=0)
        times.append((time.perf_counter() - start) / 16)
    return min(times)


def fitted(name: str, steps: dict[int, float]) -> Costs:
    """a + b * images, for the least relative errors of the steps measured: {images: seconds}."""
    counts, found = np.array(list(steps)), np.array(list(steps.values()))
    rows = np.stack([np.ones(len(counts)), counts], axis=1) / found[:, None]
    (step, image), *_ = np.linalg.lstsq(rows, np.ones(len(counts)))
    model = network(name)
    return Costs(max(step, 0.0), image, model.flat_grads.nbytes, 4 * model.output_shape[-1])


# ---- in ranks ------------------------------------------------------------------------------------


def as_rank(what: str, name: str, batch: int, rounds: int) -> None:
    """What a rank does that `in_ranks` has started; the first one prints what it found."""
    with sn.distributed.join() as world:
        found = messages(world) if what == "messages" else {"step": fastest(name, batch, rounds)}
        if world.rank == 0:
            print(json.dumps(found))


def messages(world: sn.distributed.World) -> dict[str, float]:
    """Latency and bandwidth, from the all-reduce of a small and of a large array."""
    total, times = sn.distributed.GradientSum(world), []
    for size in (16, 1 << 20):
        flat = np.ones(size, np.float32)

        def once(flat: np.ndarray = flat) -> None:
            flat[:] = 1
            total.begin(flat)
            total.there(0)
            total.finish()

        found = []
        for _ in range(50):
            start = time.perf_counter()
            once()
            found.append(time.perf_counter() - start)
        times.append(min(found))
    share = 2 * (world.size - 1) / world.size
    latency = times[0] / (2 * (world.size - 1))
    return {"latency": latency, "bandwidth": share * (4 << 20) / max(times[1] - times[0], 1e-9)}


def in_ranks(ranks: int, what: str, name: str, batch: int, rounds: int, threads: int = 1) -> Any:
    command = [shutil.which("mpiexec") or "mpiexec", "-n", str(ranks), sys.executable, __file__]
    command += ["--as-rank", what, "--model", name, "--batch", str(batch)]
    command += ["--rounds", str(rounds)]
    env = {**os.environ, "SCRATCHNET_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    done = subprocess.run(
        command, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        sys.exit(f"mpiexec: {done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


# ---- the prediction ------------------------------------------------------------------------------


class Step(NamedTuple):
    """Seconds: what is computed, what is sent, and how long a step takes."""

    compute: float
    sent: float
    whole: float


def predicted(
    costs: Costs, ranks: int, batch: int, wire: tuple[float, float], hidden: float, cores: int = 0
) -> Step:
    """A step of a batch on so many ranks; cores: of one machine that has all ranks, 0 for enough"""
    latency, bandwidth = wire
    crowd = max(ranks / cores, 1) if cores else 1
    computing = crowd * (costs.step + costs.image * -(-batch // ranks))
    part = (ranks - 1) / ranks
    adding = 2 * (ranks - 1) * latency + 2 * part * costs.gradient / bandwidth
    gathering = (ranks - 1) * latency + part * batch * costs.outputs / bandwidth
    whole = computing + max(adding - hidden * computing, 0) + (gathering if ranks > 1 else 0)
    return Step(computing, adding + gathering if ranks > 1 else 0.0, whole)


def series(
    costs: Costs, batch: int, wire: tuple[float, float], hidden: float, weak: bool
) -> list[dict[str, float]]:
    rows = []
    for ranks in RANKS:
        images = batch * ranks if weak else batch
        if images < ranks:
            break
        step = predicted(costs, ranks, images, wire, hidden)
        rows.append({"ranks": ranks, "epoch": step.whole * IMAGES / images, **step._asdict()})
    return rows


def overtaken(rows: list[dict[str, float]]) -> dict[str, float] | None:
    """The first number of ranks from which on more time is sent than computed."""
    return next((row for row in rows if row["sent"] > row["compute"]), None)


def draw(path: Path, results: dict[str, Any], title: str) -> None:
    from scratchnet.plots import save, style

    colors = (style.BLUE, style.VERMILLION, style.GREEN, style.INK)

    @style.styled
    def figure() -> Any:
        figure = style.new_figure(style.WIDTH, 400)
        axes = figure.subplots(1, 2, sharey=True)
        for ax, (kind, networks) in zip(axes, results["predicted"].items(), strict=True):
            for color, (name, rows) in zip(colors, networks.items(), strict=False):
                ranks, epochs = ([row[key] for row in rows] for key in ("ranks", "epoch"))
                ax.plot(ranks, epochs, marker="o", markersize=3, color=color, label=name)
                if (row := overtaken(rows)) is not None:
                    ax.plot(row["ranks"], row["epoch"], "X", markersize=11, color=color)
            first = next(iter(networks.values()))[0]["epoch"]
            ideal = [first / ranks for ranks in RANKS]
            ax.plot(RANKS, ideal, "--", color="0.6", label="ideal", zorder=0)
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.set_xticks(RANKS[::2], [f"{ranks:,}" for ranks in RANKS[::2]])
            ax.yaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()
            ax.set(title=kind, xlabel="ranks, of one thread each")
            ax.grid(axis="y", color=style.FAINT)
            style.style_ticks(ax)
        axes[0].set_ylabel(f"seconds for an epoch of {IMAGES:,} images")
        handles, labels = axes[0].get_legend_handles_labels()
        cross = axes[0].plot([], [], "X", color=style.INK, markersize=8, linestyle="none")
        labels = [*labels, "from here on more is sent than computed"]
        figure.legend([*handles, *cross], labels, loc="outside lower center", ncols=3)
        figure.suptitle(title)
        return figure

    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure(), path)
    print(path)


def measured(options: argparse.Namespace) -> tuple[dict[int, float], dict[str, float]]:
    """The least seconds a step, all in turns: of one rank by images, and of the batch by ranks."""
    name, rounds = options.model, options.rounds
    alone: dict[int, float] = {}
    here: dict[str, float] = {}
    for _ in range(3):
        for images in (4, 16, 64, 256, options.batch):
            step = in_ranks(1, "epoch", name, images, rounds)["step"]
            alone[images] = min(step, alone.get(images, step))
        here["1"] = alone[options.batch]
        for label, ranks, threads in (("2", 2, 1), ("4", 4, 1), ("1 of 2 threads", 1, 2)):
            step = in_ranks(ranks, "epoch", name, options.batch, rounds, threads)["step"]
            here[label] = min(step, here.get(label, step))
    return alone, here


def checked(
    costs: Costs, here: dict[str, float], options: argparse.Namespace, wire: tuple[float, float]
) -> list[Any]:
    """What ranks take here beside what was predicted; and one process of two threads."""
    cores, rows = len(os.sched_getaffinity(0)), []
    for label, step in here.items():
        row = [label, f"{1e3 * step:.2f}", "", ""]
        if label.isdigit():
            whole = predicted(costs, int(label), options.batch, wire, options.hidden, cores).whole
            row[2:] = f"{1e3 * whole:.2f}", f"{step / whole:.2f}"
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cnn", choices=list(sn.architectures.ARCHITECTURES))
    parser.add_argument("--batch", type=int, default=512, help="images of all; weak: of each rank")
    parser.add_argument("--rounds", type=int, default=6, help="of 16 steps for each measurement")
    parser.add_argument("--latency", type=float, help="seconds, of a network of one's own")
    parser.add_argument("--bandwidth", type=float, help="bytes a second, of the same")
    parser.add_argument(
        "--hidden", type=float, default=0.4, help="of compute, behind which is sent"
    )
    parser.add_argument("--out", type=Path, help="a folder for the picture")
    parser.add_argument("--json", type=Path, help="a file for all results")
    parser.add_argument("--as-rank", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_rank:
        as_rank(options.as_rank, options.model, options.batch, options.rounds)
        return
    machine = c.show_machine(1)
    alone, steps = measured(options)
    costs = fitted(options.model, alone)
    here = in_ranks(2, "messages", options.model, options.batch, options.rounds)
    wires = {"this machine": (here["latency"], here["bandwidth"]), **NETWORKS}
    if options.latency and options.bandwidth:
        wires["yours"] = options.latency, options.bandwidth
    print(
        f"{options.model}: a step {1e6 * costs.step:.0f} us + {1e6 * costs.image:.1f} us an image; "
        f"gradient {costs.gradient:,} bytes; between two ranks here {1e6 * here['latency']:.1f} us "
        f"and {here['bandwidth'] / 1e9:.2f} GB/s"
    )
    rows = checked(costs, steps, options, wires["this machine"])
    heads = ("ranks", "ms a step", "predicted", "measured / predicted")
    c.show_table(f"{options.model}, {options.batch} images a step, here", heads, rows)
    kinds = {
        f"strong: {options.batch} images a step": False,
        f"weak: {options.batch} images a rank": True,
    }
    found = {
        kind: {
            name: series(costs, options.batch, wire, options.hidden, weak)
            for name, wire in wires.items()
        }
        for kind, weak in kinds.items()
    }
    for kind, networks in found.items():
        lines = []
        for ranks in RANKS:
            cells = [[row for row in rows if row["ranks"] == ranks] for rows in networks.values()]
            lines.append([ranks, *(f"{cell[0]['epoch']:.3f}" if cell else "" for cell in cells)])
        c.show_table(f"{kind}; seconds an epoch", ("ranks", *networks), lines)
    results = {"machine": machine, "costs": costs._asdict(), "wires": wires, "checked": rows}
    results |= {"predicted": found}
    c.save_json(options.json, results)
    if options.out:
        draw(options.out / "cluster.png", results, f"{options.model} on many ranks, predicted")


if __name__ == "__main__":
    main()
