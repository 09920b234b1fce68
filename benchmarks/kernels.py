"""Each kernel at the shapes of the network `cnn`, against what the machine can do.

    python benchmarks/kernels.py --batch-size 128 --out pictures --json kernels.json

The peaks are measured, not looked up: multiply-adds in registers alone, a large SGEMM, a large
copy. Fused kernels are timed through the plan that the model uses, and counted as if they did the
dense arithmetic, without what pooling drops: their backward pass skips most of it, so its figure
may exceed the peak. Then the ladder: the second convolution with its ReLU and pooling, from plain
loops to the fused kernel.
"""

import argparse
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
    if isinstance(layers[-1], L.MaxPool2D):
        out_h, out_w, _ = layers[-1].output_shape
        return 2 * n * 4 * out_h * out_w * layers[0].params["W"].size
    return 2 * n * sum(layer.multiply_adds() for layer in layers)


# ---- peaks -------------------------------------------------------------------------------------


@numba.njit(parallel=True, nogil=True)
def burn(tile, rounds, threads, a, out):
    """16 independent chains of multiply-adds a thread; nothing is loaded or stored between."""
    for thread in numba.prange(threads):
        t = simd.load(tile, a, 0)
        a0 = simd.load(tile, a, 0)
        a1, a2, a3 = a0, a0, a0
        for _ in range(rounds):
            a0 = simd.fma(a0, a[thread], t)
            a1 = simd.fma(a1, a[thread], t)
            a2 = simd.fma(a2, a[thread], t)
            a3 = simd.fma(a3, a[thread], t)
        for number, tile_of_sums in enumerate((a0, a1, a2, a3)):
            simd.store(out, (thread * 4 + number) * 64, tile_of_sums)


@numba.njit(parallel=True, nogil=True)
def copy(a, b):
    for i in numba.prange(64):
        lo, hi = i * a.size // 64, (i + 1) * a.size // 64
        b[lo:hi] = a[lo:hi]


def peaks(threads: int, seconds: float) -> dict[str, float]:
    """GFLOP/s in registers and of SGEMM, GB/s of a copy (read and written)."""
    a, out = np.full(64, 1e-9, np.float32), np.zeros(256 * threads, np.float32)
    chains = 4 * 64 * 2 * threads  # flops of a round
    square = np.ones((2048, 2048), np.float32)
    source = np.ones(2**26, np.float32)
    target = np.zeros_like(source)
    return {
        "fma": chains
        * 4e6
        / best(lambda: burn((0,) * 4, 4_000_000, threads, a, out), seconds)
        / 1e9,
        "sgemm": 2 * 2048**3 / best(lambda: square @ square, seconds) / 1e9,
        "copy": 2 * source.nbytes / best(lambda: copy(source, target), seconds) / 1e9,
    }


# ---- kernels at the network's shapes -----------------------------------------------------------


def fused_times(model: Any, x: Any, seconds: float) -> list[dict[str, Any]]:
    """Forward and backward of each group of the plan, in dense multiply-adds."""
    rows = []
    for number, group in enumerate(model.groups()):
        flops = dense_flops(group.layers, len(x))
        y = group.forward(x, True).copy()
        name = " + ".join(layer.name for layer in group.layers)
        if flops:
            dy = np.random.default_rng(0).standard_normal(y.shape, np.float32)
            forward = best(lambda g=group, x=x: g.forward(x, True), seconds)
            backward = best(lambda g=group, dy=dy, dx=number > 0: g.backward(dy, dx), seconds)
            both = 2 if number else 1  # dW, and dx where a layer before it needs it
            rows.append({"kernel": name, "seconds": forward, "flops": flops})
            rows.append({"kernel": f"{name}, backward", "seconds": backward, "flops": both * flops})
        x = y
    return rows


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


def show(title: str, rows: list[dict[str, Any]], peak: dict[str, float]) -> None:
    lines = []
    for row in rows:
        kind, unit, top = ("flops", "GFLOP/s", peak["fma"])
        if "bytes" in row:
            kind, unit, top = ("bytes", "GB/s", peak["copy"])
        row["rate"] = row[kind] / row["seconds"] / 1e9
        row["of_peak"] = row["rate"] / top
        rate = f"{row['rate']:.1f} {unit}"
        lines.append([row["kernel"], f"{1e3 * row['seconds']:.3f}", rate, f"{row['of_peak']:.0%}"])
    c.show_table(title, ("kernel", "ms", "rate", "of peak"), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch-size", type=c.positive, default=128)
    parser.add_argument(
        "--threads", type=c.positive, default=min(2, numba.config.NUMBA_NUM_THREADS)
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="for each kernel")
    parser.add_argument("--out", type=Path, help="a folder for the picture")
    parser.add_argument("--json", type=Path, help="a file for all results")
    options = parser.parse_args()
    kernels.set_threads(options.threads)
    found = c.show_machine(options.threads)
    peak = peaks(options.threads, options.seconds)
    print(
        f"peaks: {peak['fma']:.0f} GFLOP/s in registers, {peak['sgemm']:.0f} of SGEMM, "
        f"{peak['copy']:.1f} GB/s copied (caches can give more)"
    )
    model, n = c.build("cnn"), options.batch_size
    with kernels.one_blas_thread():
        report = {
            "fused": fused_times(model, c.data("cnn", n)[0], options.seconds),
            "compiled": compiled_times(model, n, options.seconds),
        }
    report["ladder"] = ladder(model, n, options.seconds)  # its @ may use all threads
    c.Watch.warn(max(LOUD), "a kernel")
    report["others"] = max(LOUD)
    show(f"fused, batch {n}: as if dense", report["fused"], peak)
    show(f"compiled, batch {n}", report["compiled"], peak)
    title = f"second convolution, ReLU and pooling, batch {n}"
    show(title, report["ladder"], peak)
    c.save_json(options.json, report | {"machine": found, "peaks": peak, "batch_size": n})
    if options.out:
        ran = {row["kernel"]: [row["rate"]] for row in report["ladder"]}
        ran["peak of the machine"] = [peak["fma"]]
        c.save_bars(options.out / "ladder.png", title, "GFLOP/s", ran)


if __name__ == "__main__":
    main()
