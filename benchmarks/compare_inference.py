"""Inference: one image at a time, and 10,000 images, by scratchnet and by the frameworks.

    python benchmarks/compare_inference.py --out pictures --json inference.json

All get NumPy images (n, h, w, c) and give NumPy probabilities; the weights are those of a short
training. First the probabilities must agree, or nothing is timed; then rounds, the contenders
taking turns. Each has the batch size that suits it best.
"""

import statistics
import sys
import tempfile
from typing import Any

import contenders as c
import numpy as np

TOLERANCE = 1e-4
BATCH_SIZES = (50, 250, 1000, 2500)
HEADS = "contender|us an image|x|p95|s for 10,000|x|min|max|batch|MiB|compile s|probs"


def compare(options: Any, weights: str) -> dict[str, Any]:
    """Prepare, check the probabilities, take turns. All results by contender."""
    names = c.chosen(options)
    results: dict[str, Any] = {name: {"label": c.CONTENDERS[name].label} for name in names}
    sizes = [size for size in BATCH_SIZES if size <= options.images] or [options.images]
    job = {"model": options.model, "weights": weights, "images": options.images}
    with c.Field(names, options.threads, options.cold, options.isa) as field:
        probs = {}
        for name, ready in field.ask("predictor", **job, batch_sizes=sizes):
            probs[name] = np.array(ready["probs"])
            results[name] |= {
                "compile_seconds": ready["seconds"],
                "batch_size": ready["batch_size"],
            }
        field.need_scratchnet()
        for name, found in probs.items():
            far = float(np.abs(found - probs["scratchnet"]).max())
            results[name] |= {"deviation": far, "latency": [], "p95": [], "seconds": []}
        wrong = [name for name in probs if not results[name]["deviation"] <= TOLERANCE]
        if wrong:
            sys.exit(f"probabilities differ by more than {TOLERANCE:g}: {', '.join(wrong)}")
        field.ready()
        for _ in range(options.rounds):
            for name, (median, p95) in field.ask("latency", calls=options.calls):
                results[name]["latency"].append(1e6 * median)
                results[name]["p95"].append(1e6 * p95)
            for name in list(field.workers):
                size = results[name]["batch_size"]
                for _, seconds in field.ask("throughput", name, batch_size=size):
                    results[name]["seconds"].append(10_000 * seconds)
        field.finish(results)
    return results


def show(results: dict[str, Any], title: str) -> dict[str, Any]:
    """The table; returns the fastest of the others at one image and at many, where any ran."""
    ran = {name: found for name, found in results.items() if "skipped" not in found}
    for found in ran.values():
        for key in ("latency", "p95", "seconds"):
            found[f"median_{key}"] = statistics.median(found[key])
    ours, rows = ran["scratchnet"], []
    for name, found in results.items():
        if name not in ran:
            rows.append([found["label"], f"skipped: {found['skipped']}"])
            continue
        for key in ("latency", "seconds"):
            found[f"ratio_{key}"] = found[f"median_{key}"] / ours[f"median_{key}"]
        row = [found["label"], f"{found['median_latency']:.0f}", f"{found['ratio_latency']:.2f}"]
        row += [f"{found['median_p95']:.0f}", f"{found['median_seconds']:.3f}"]
        row += [f"{found['ratio_seconds']:.2f}"]
        row += [f"{s:.3f}" for s in (min(found["seconds"]), max(found["seconds"]))]
        row += [found["batch_size"]]
        row += [f"{found['peak_mib']:,.0f}", f"{found['compile_seconds']:.1f}"]
        rows.append([*row, f"{found['deviation']:.0e}"])
    c.show_table(title, HEADS.split("|"), rows)
    fastest = {}
    for key, what in (("latency", "one image"), ("seconds", "10,000 images")):
        others = [name for name in ran if name != "scratchnet"]
        if others:
            best = min(others, key=lambda name: ran[name][f"ratio_{key}"])  # noqa: B023
            fastest[key] = {"contender": best, "ratio": ran[best][f"ratio_{key}"]}
            print(f"{what}: fastest of the others is {ran[best]['label']}, ", end="")
            print(f"{fastest[key]['ratio']:.2f} times scratchnet's time")
    return fastest


def main() -> None:
    parser = c.arguments(__doc__, "infers", rounds=5, images=10_000, calls=500)
    options = parser.parse_args()
    if options.images > 10_000 and not options.model.endswith("-32"):
        parser.error(f"--images: MNIST has 10,000 to test with, found {options.images:,}")
    report = {"benchmark": "inference", "model": options.model, "images": options.images}
    report |= {"rounds": options.rounds, "machine": c.show_machine(options.threads, options.isa)}
    model = c.build(options.model)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*c.data(options.model, 1024), verbose=0)  # or all probabilities are near 0.1
    with tempfile.TemporaryDirectory() as folder:
        report["contenders"] = results = compare(options, c.save_weights(model, folder))
    title = f"{options.model}, inference"
    report["fastest_other"] = show(results, f"{title}: x is how many times scratchnet's time")
    c.save_json(options.json, report)
    if options.out:
        for key, unit in (("latency", "microseconds for one image"), ("seconds", "s for 10,000")):
            ran = {r["label"]: r[key] for r in results.values() if "skipped" not in r}
            c.save_bars(options.out / f"inference-{options.model}-{key}.png", title, unit, ran)


if __name__ == "__main__":
    main()
