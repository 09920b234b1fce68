"""Each kernel's share of what the machine can do, for the networks and instruction sets asked for.

    python benchmarks/kernels.py --models cnn resnet mlp cnn-bn --isa native avx2 --out pictures

The peaks are measured, not looked up, in the same process: multiply-adds in registers, a large
SGEMM, a large copy. A kernel takes at least its multiply-adds at the first peak, and at least the
bytes that it must read and write at the last; the larger of the two times, as a part of the
measured one, is its **share of peak**. Kernels are timed through the plan that the model uses, and
counted as if they did the dense arithmetic, without what pooling drops: backward passes that skip
zeros may exceed the peak, and so may what stays in caches, which give more than memory.

For `cnn` also the layers' own kernels, and the ladder: the second convolution with its ReLU and
pooling, from plain loops to the fused kernel.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contenders as c
import numba
import numpy as np

from scratchnet import kernels
from scratchnet import layers as L  # noqa: N812
from scratchnet.engine import simd

NO_PADS = (0, 0, 0, 0)
#: vectors of 512 bits at once: few enough for the registers, enough to hide the latency
CHAINS = (4, 5, 6, 8, 12)
NETWORKS = ("cnn", "resnet", "mlp", "cnn-bn")
LOUD: list[float] = []  # foreign load during each measurement


def best(run: Callable[[], object], seconds: float, least: int = 3) -> float:
    """The shortest of the calls that fit into `seconds`, after one to compile and warm up."""
    run()
    times, watch = list[float](), c.Watch()
    while len(times) < least or sum(times) < seconds:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    LOUD.append(watch.others)
    return min(times)


def dense_flops(layers: list[L.Layer], n: int) -> int:
    """Of a forward pass; of a convolution before pooling, the outputs that pooling looks at."""
    if isinstance(layers[-1], L.MaxPool2D) and "W" in layers[0].params:
        out_h, out_w, _ = layers[-1].output_shape
        return 2 * n * 4 * out_h * out_w * layers[0].params["W"].size
    return 2 * n * sum(layer.multiply_adds() for layer in layers)


# ---- peaks -------------------------------------------------------------------------------------


@numba.njit(parallel=True, nogil=True)
def burn(tile, rounds, threads, a, out):
    """As many independent chains of multiply-adds as the tile has vectors; nothing else."""
    for thread in numba.prange(threads):
        sums, scale = simd.load(tile, a, 0), a[thread]
        for _ in range(rounds):
            sums = simd.fma(sums, scale, sums)
        simd.store(out, thread * 1024, sums)


@numba.njit(parallel=True, nogil=True)
def copy(a, b):
    for i in numba.prange(64):
        lo, hi = i * a.size // 64, (i + 1) * a.size // 64
        b[lo:hi] = a[lo:hi]


def peaks(threads: int, seconds: float) -> dict[str, float]:
    """GFLOP/s in registers and of SGEMM, GB/s of a copy (read and written)."""
    a, out = np.full(1024, 1e-9, np.float32), np.zeros(1024 * threads, np.float32)
    square = np.ones((2048, 2048), np.float32)
    source = np.ones(2**26, np.float32)
    target = np.zeros_like(source)
    rates = []
    for count in CHAINS:
        rounds = 16_000_000 // count
        took = best(lambda c=count, r=rounds: burn((0,) * c, r, threads, a, out), seconds / 4)
        rates.append(2 * 16 * count * rounds * threads / took / 1e9)
    return {
        "fma": max(rates),
        "sgemm": 2 * 2048**3 / best(lambda: square @ square, seconds) / 1e9,
        "copy": 2 * source.nbytes / best(lambda: copy(source, target), seconds) / 1e9,
    }


# ---- kernels at the network's shapes -----------------------------------------------------------


def fused_times(groups: Any, x: Any, seconds: float, first: bool = True) -> Any:
    """(rows, y): forward and backward of each group of a row of them, those inside blocks too.

    first    nothing before these groups needs a gradient of their input
    """
    rows: list[dict[str, Any]] = []
    for number, group in enumerate(groups):
        y = group.forward(x, True).copy()
        name = " + ".join(layer.name for layer in group.layers)
        if hasattr(group, "main"):  # a residual block: its groups, each by itself
            for inside in (group.main, group.shortcut):
                found, _ = fused_times(inside, x, seconds, first=False)
                rows += [row | {"kernel": f"{name}: {row['kernel']}"} for row in found]
        elif not isinstance(group.layers[0], (L.Flatten, L.Softmax)):  # which training leaves out
            dy = np.random.default_rng(0).standard_normal(y.shape, np.float32)
            need = number > 0 or not first
            forward = best(lambda g=group, x=x: g.forward(x, True), seconds)
            backward = best(lambda g=group, dy=dy, dx=need: g.backward(dy, dx), seconds)
            flops, weights = dense_flops(group.layers, len(x)), parameters(group.layers)
            row = {"kernel": name, "seconds": forward, "flops": flops}
            rows.append(row | {"bytes": x.nbytes + y.nbytes + weights})
            moved = dy.nbytes + x.nbytes * (2 if need else 1) + 2 * weights
            row = {"kernel": f"{name}, backward", "seconds": backward, "bytes": moved}
            rows.append(row | {"flops": (2 if need else 1) * flops})  # dW, and dx
        x = y
    return rows, x


def parameters(layers: list[L.Layer]) -> int:
    """Bytes of the parameters of a group."""
    return sum(array.nbytes for layer in layers for array in layer.params.values())


def compiled_times(model: Any, n: int, seconds: float) -> list[dict[str, Any]]:
    """The kernels of one layer each, in bytes that must be read and written at least."""
    rng = np.random.default_rng(0)
    w, s, params = (3, 3), (1, 1), model.flat_params.copy()
    x = rng.standard_normal((n, 13, 13, 32), np.float32)  # into the second convolution
    z = rng.standard_normal((n, 11, 11, 64), np.float32)  # out of it
    cols = kernels.im2col(x, w, s, NO_PADS)
    y, winner = kernels.max_pool(z, (2, 2), (2, 2), NO_PADS)
    rows, grads = z.reshape(-1, 64), np.ones_like(params)
    m, v = np.zeros_like(params), np.zeros_like(params)
    pool = ((2, 2), (2, 2), NO_PADS)
    runs: dict[str, tuple[Callable[[], object], int]] = {
        "im2col": (lambda: kernels.im2col(x, w, s, NO_PADS), x.nbytes + cols.nbytes),
        "col2im": (lambda: kernels.col2im(cols, x.shape, w, s, NO_PADS), x.nbytes + cols.nbytes),
        "max_pool": (lambda: kernels.max_pool(z, *pool), z.nbytes + y.nbytes + winner.nbytes),
        "max_pool_backward": (
            lambda: kernels.max_pool_backward(y, winner, z.shape, *pool),
            z.nbytes + y.nbytes + winner.nbytes,
        ),
        "average_pool": (lambda: kernels.average_pool(z, *pool), z.nbytes + y.nbytes),
        "average_pool_backward": (
            lambda: kernels.average_pool_backward(y, z.shape, *pool),
            z.nbytes + y.nbytes,
        ),
        "relu": (lambda: kernels.relu(z), 2 * z.nbytes),
        "relu_backward": (lambda: kernels.relu_backward(z, z), 2 * z.nbytes),
        "sum_rows": (lambda: kernels.sum_rows(rows), z.nbytes),
        "sgd_step": (
            lambda: kernels.sgd_step(params, grads, v, 0.0, 0.9, False),
            5 * params.nbytes,
        ),
        "adam_step": (
            lambda: kernels.adam_step(params, grads, m, v, 0.0, 0.9, 0.999, 1e-7, 1, 0.0),
            7 * params.nbytes,
        ),
    }
    return [
        {"kernel": name, "seconds": best(run, seconds), "bytes": size}
        for name, (run, size) in runs.items()
    ]


# ---- the ladder --------------------------------------------------------------------------------


@numba.njit
def plain_loops(x, W, b):
    """The definition, as one would write it down; convolution, ReLU, pooling."""
    n, h, w, channels = x.shape
    kh, kw, _, filters = W.shape
    z = np.empty((n, h - kh + 1, w - kw + 1, filters), x.dtype)
    for image in range(n):
        for i in range(z.shape[1]):
            for j in range(z.shape[2]):
                for f in range(filters):
                    total = b[f]
                    for u in range(kh):
                        for v in range(kw):
                            for k in range(channels):
                                total += x[image, i + u, j + v, k] * W[u, v, k, f]
                    z[image, i, j, f] = total if total > 0 else 0
    y = np.empty((n, z.shape[1] // 2, z.shape[2] // 2, filters), x.dtype)
    for image in range(n):
        for i in range(y.shape[1]):
            for j in range(y.shape[2]):
                for f in range(filters):
                    above = max(z[image, 2 * i, 2 * j, f], z[image, 2 * i, 2 * j + 1, f])
                    row = 2 * i + 1
                    below = max(z[image, row, 2 * j, f], z[image, row, 2 * j + 1, f])
                    y[image, i, j, f] = max(above, below)
    return y


def numpy_taps(x: Any, W: Any, b: Any) -> Any:
    """A matrix product for each of the nine taps, all images at once."""
    kh, kw, _, _ = W.shape
    out_h, out_w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
    taps = ((u, v) for u in range(kh) for v in range(kw))
    z = b + sum(x[:, u : u + out_h, v : v + out_w] @ W[u, v] for u, v in taps)
    z = np.maximum(z[:, : out_h // 2 * 2, : out_w // 2 * 2], 0)
    n, h, w, f = z.shape
    return z.reshape(n, h // 2, 2, w // 2, 2, f).max(axis=(2, 4))


def ladder(model: Any, n: int, seconds: float) -> list[dict[str, Any]]:
    """All rungs compute the same, which is checked first."""
    group = next(g for g in model.groups()[1:] if isinstance(g.layers[0], L.Conv2D))
    conv, x = group.layers[0], np.random.default_rng(0).random((n, 13, 13, 32), np.float32)
    W, b = conv.params["W"], conv.params["b"]

    def by_layers() -> Any:
        y = x
        for layer in group.layers:
            y = layer.forward(y)
        return y

    rungs: dict[str, Callable[[], Any]] = {
        "plain loops, Numba": lambda: plain_loops(x, W, b),
        "NumPy, tap by tap": lambda: numpy_taps(x, W, b),
        "im2col and @ (the layers)": by_layers,
        "fused kernel": lambda: group.forward(x, True),
    }
    first, rows = by_layers(), []
    for name, run in rungs.items():
        np.testing.assert_allclose(run(), first, rtol=1e-4, atol=1e-4, err_msg=name)
        flops = dense_flops(group.layers, n)
        rows.append({"kernel": name, "seconds": best(run, seconds), "flops": flops})
    return rows


# ---- shares, and what is shown ------------------------------------------------------------------


def add_shares(rows: list[dict[str, Any]], peak: dict[str, float]) -> None:
    """Each row's bound, its rate there, and the share of peak."""
    for row in rows:
        least = {
            "arithmetic": row.get("flops", 0) / peak["fma"] / 1e9,
            "memory": row.get("bytes", 0) / peak["copy"] / 1e9,
        }
        row["bound"] = max(least, key=lambda kind: least[kind])
        row["of_peak"] = least[row["bound"]] / row["seconds"]
        kind = "flops" if row["bound"] == "arithmetic" else "bytes"
        row["rate"] = row[kind] / row["seconds"] / 1e9


def show(title: str, rows: list[dict[str, Any]]) -> None:
    lines = []
    for row in rows:
        unit = "GFLOP/s" if row["bound"] == "arithmetic" else "GB/s"
        rate = f"{row['rate']:.1f} {unit}"
        lines.append([row["kernel"], f"{1e3 * row['seconds']:.3f}", rate, f"{row['of_peak']:.0%}"])
    c.show_table(title, ("kernel", "ms", "rate", "of peak"), lines)


def draw(path: Path, title: str, by_isa: dict[str, list[dict[str, Any]]]) -> None:
    """Bars of the shares, a row for each kernel, an instruction set beside the other."""
    from scratchnet.plots import save, style

    @style.styled
    def figure() -> Any:
        names = [row["kernel"] for row in next(iter(by_isa.values()))][::-1]
        height = 0.8 / len(by_isa)
        fig = style.new_figure(style.WIDTH, 90 + 17 * len(names) * max(1, 0.7 * len(by_isa)))
        ax = fig.add_subplot()
        colors = (style.BLUE, style.VERMILLION, style.LINE)
        for number, (isa, rows) in enumerate(by_isa.items()):
            share = {row["kernel"]: 100 * row["of_peak"] for row in rows}
            at = np.arange(len(names)) + (len(by_isa) - 1 - 2 * number) * height / 2
            values = [share.get(name, 0.0) for name in names]
            ax.barh(at, values, height, color=colors[number % 3], label=isa)
            for y, value in zip(at, values, strict=True):
                how = {"va": "center", "fontsize": style.SMALL}
                ax.annotate(f"{value:.0f}", (value, y), (3, 0), textcoords="offset points", **how)
        ax.axvline(80, color=style.INK, linewidth=0.8, linestyle=":")
        ax.set_yticks(np.arange(len(names)), names, fontsize=style.SMALL)
        most = max(100 * row["of_peak"] for rows in by_isa.values() for row in rows)
        ax.set(title=title, xlim=(0, 1.12 * max(most, 100)), ylim=(-0.6, len(names) - 0.4))
        ax.set_xlabel("% of the peak that bounds it; dotted: 80 %")
        style.style_ticks(ax)
        if len(by_isa) > 1:
            ax.legend(loc="lower right", edgecolor=style.FAINT)
        return fig

    path.parent.mkdir(parents=True, exist_ok=True)
    save(figure(), path)
    print(path)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All of one instruction set: this process is held to it."""
    kernels.set_threads(options.threads)
    peak, n = peaks(options.threads, options.seconds), options.batch_size
    report: dict[str, Any] = {"peaks": peak, "networks": {}}
    with kernels.one_blas_thread():
        for name in options.models:
            model, x = c.build(name), c.data(name, n)[0]
            rows, _ = fused_times(model.groups(), x, options.seconds)
            add_shares(rows, peak)
            report["networks"][name] = rows
        if "cnn" in options.models:
            model = c.build("cnn")
            report["compiled"] = compiled_times(model, n, options.seconds)
    if "cnn" in options.models:
        report["ladder"] = ladder(model, n, options.seconds)  # its @ may use all threads
        for key in ("compiled", "ladder"):
            add_shares(report[key], peak)
    return report | {"others": max(LOUD)}


def measured(isa: str) -> dict[str, Any]:
    """The same, in a process of its own that is held to the instruction set."""
    env, path = os.environ | c.held(isa), os.environ.get("PYTHONPATH", "")
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(Path(__file__).parent), path]))
    command = [sys.executable, __file__, "--child", *sys.argv[1:]]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"kernels.py --isa {isa}: expected exit code 0, found {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def show_all(report: dict[str, Any], isa: str, n: int) -> None:
    peak = report["peaks"]
    print(
        f"{isa}: {peak['fma']:.0f} GFLOP/s in registers, {peak['sgemm']:.0f} of SGEMM, "
        f"{peak['copy']:.1f} GB/s copied (caches can give more)"
    )
    for name, rows in report["networks"].items():
        show(f"{name}, {isa}, batch {n}: as if dense", rows)
    if "ladder" in report:
        show(f"layers' kernels, {isa}, batch {n}", report["compiled"])
        show(f"second convolution, ReLU and pooling, {isa}, batch {n}", report["ladder"])
    c.Watch.warn(report["others"], "a kernel")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=list(c.MODELS), default=[*NETWORKS])
    parser.add_argument("--isa", nargs="+", choices=list(c.ISAS), default=["native"])
    parser.add_argument("--batch-size", type=c.positive, default=128)
    parser.add_argument(
        "--threads", type=c.positive, default=min(2, numba.config.NUMBA_NUM_THREADS)
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="for each kernel")
    parser.add_argument("--out", type=Path, help="a folder for the pictures")
    parser.add_argument("--json", type=Path, help="a file for all results")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measure(options)))
        return
    n, reports = options.batch_size, dict[str, Any]()
    machine = c.show_machine(options.threads)
    for isa in options.isa:
        reports[isa] = measured(isa) | {"held": c.held(isa)}
        show_all(reports[isa], isa, n)
        c.save_json(options.json, {"machine": machine, "batch_size": n, "isas": reports})
    if options.out:
        for name in options.models:
            by_isa = {isa: report["networks"][name] for isa, report in reports.items()}
            draw(options.out / f"kernels-{name}.png", f"{name}, batch {n}", by_isa)
        for isa, report in reports.items():
            if "ladder" in report:
                ran = {row["kernel"]: [row["rate"]] for row in report["ladder"]}
                ran["peak of the machine"] = [report["peaks"]["fma"]]
                title = f"second convolution, ReLU and pooling, {isa}, batch {n}"
                c.save_bars(options.out / f"ladder-{isa}.png", title, "GFLOP/s", ran)


if __name__ == "__main__":
    main()
