"""How scratchnet's cost grows: with the batch, the image's side, the channels, the threads.

    python benchmarks/scaling.py --out pictures --json scaling.json

The network is `cnn` with one thing changed at a time; its second convolution is padded, so that it
fits into 8 x 8, too (3.5 instead of 2.5 million multiply-adds at 28 x 28). A cell is the median
time of a training step, and of a prediction, divided by the number of images.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import contenders as c
import numba
import numpy as np

import scratchnet as sn
from scratchnet import kernels

USUAL = {"batch": 128, "side": 28, "channels": 32, "threads": 2}
SWEEPS = {
    "batch": (1, 4, 16, 64, 256, 1024),
    "side": (8, 16, 28, 40, 64),
    "channels": (4, 8, 16, 32, 64),
    "threads": (1, 2),
}


def network(side: int, channels: int) -> sn.Sequential:
    """`cnn` with that many channels in its first convolution and twice as many in its second."""
    rows = c.MODELS["cnn"](10)
    rows[0] = sn.Conv2D(channels, 3)
    rows[3] = sn.Conv2D(2 * channels, 3, padding="same")  # fits into an image of 8 x 8, too
    return sn.Sequential(rows, (side, side, 1), seed=0)


def measure(seconds: float, batch: int, side: int, channels: int, threads: int) -> dict[str, Any]:
    """Microseconds an image: training step, prediction; and the multiply-adds of one image."""
    kernels.set_threads(threads)
    model, rng = network(side, channels), np.random.default_rng(0)
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = rng.random((batch, side, side, 1), np.float32), rng.integers(0, 10, batch)
    watch = c.Watch()
    found: dict[str, Any] = {"multiply_adds": sum(layer.multiply_adds() for layer in model.layers)}
    with kernels.one_blas_thread():
        for name, run in (
            ("train_us", lambda: model.train_on_batch(x, y)),
            ("predict_us", lambda: model.predict(x, batch_size=batch)),
        ):
            times: list[float] = []
            for _ in range(3):
                run()
            while len(times) < 5 or sum(times) < seconds:
                start = time.perf_counter()
                run()
                times.append(time.perf_counter() - start)
            found[name] = 1e6 * float(np.median(times)) / batch
    return found | {"others": watch.others}


def draw(path: Path, results: dict[str, list[dict[str, Any]]]) -> None:
    from matplotlib.ticker import LogLocator

    from scratchnet.plots import save, style

    @style.styled
    def figure() -> Any:
        figure = style.new_figure(style.WIDTH, 380)
        for ax, (what, rows) in zip(figure.subplots(2, 2).flat, results.items(), strict=True):
            values = [row[what] for row in rows]
            for key, color, marker in (
                ("train_us", style.BLUE, "o"),
                ("predict_us", style.VERMILLION, "s"),
            ):
                times = [row[key] for row in rows]
                label = {"train_us": "training step", "predict_us": "prediction"}[key]
                ax.plot(values, times, marker=marker, color=color, label=label)
            ax.set_xscale("log", base=2)
            ax.set_yscale("log")
            ax.set_xticks(values, [str(value) for value in values])
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            ax.yaxis.set_major_formatter("{x:g}")
            ax.minorticks_off()
            ax.set(title=what.capitalize(), ylabel="us an image")
            ax.grid(axis="y", color=style.FAINT)
            style.style_ticks(ax)
        figure.axes[0].legend(edgecolor=style.FAINT)
        return figure

    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure(), path)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS))
    parser.add_argument("--seconds", type=float, default=0.5, help="for each cell")
    parser.add_argument("--out", type=Path, help="a folder for the picture")
    parser.add_argument("--json", type=Path, help="a file for all results")
    options = parser.parse_args()
    most = numba.config.NUMBA_NUM_THREADS
    usual = USUAL | {"threads": min(USUAL["threads"], most)}
    machine = c.show_machine(usual["threads"])
    results: dict[str, list[dict[str, Any]]] = {}
    for what in options.sweeps:
        rows = []
        for value in SWEEPS[what]:
            if what != "threads" or value <= most:
                case = usual | {what: value}
                rows.append(case | measure(options.seconds, **case))
        results[what] = rows
        c.Watch.warn(max(row["others"] for row in rows), what)
        lines = []
        for row in rows:
            rate = 6 * row["multiply_adds"] / row["train_us"] / 1e3  # forward 2, backward 4 flops
            times = [f"{row[key]:.1f}" for key in ("train_us", "predict_us")]
            lines.append([row[what], *times, f"{row['multiply_adds']:,}", f"{rate:.0f}"])
        fixed = ", ".join(f"{key} {value}" for key, value in usual.items() if key != what)
        heads = (what, "train us", "predict us", "multiply-adds", "dense GFLOP/s, training")
        c.show_table(f"{what}; us an image; {fixed}", heads, lines)
        c.save_json(options.json, {"machine": machine, "results": results})
    if options.out and len(results) == len(SWEEPS):
        draw(options.out / "scaling.png", results)


if __name__ == "__main__":
    main()
