"""Training: scratchnet against PyTorch, Keras on TensorFlow, and JAX, on the same processor.

    python benchmarks/compare_frameworks.py --batch-size 32 128 512 --out pictures --json all.json

Same initial weights, same batches in the same order, float32, the same Adam; the data are in memory
as each framework likes it, and compilation is outside the clock. First the losses of the first
steps must agree (in float64, where float32's rounding parts them), or nothing is timed; then
rounds, the contenders taking turns. What still differs: where Keras's Adam puts epsilon and what it
rounds, and the random numbers of dropout.
"""

import statistics
import sys
import tempfile
from typing import Any

import contenders as c
import numpy as np

# the first steps; later ones show how float32's rounding grows, which Adam's division amplifies
CHECKED, MUST_AGREE, TOLERANCE = 50, 10, 1e-3
EPOCH = 60_000
HEADS = "contender|s/epoch|min|max|images/s|x scratchnet|peak MiB|compile s|loss deviation"


def check(field: c.Field, results: dict[str, Any], batch_size: int) -> None:
    """The losses of the first steps against scratchnet's; the program ends if they differ.

    Keras's Adam has epsilon in another place, which alone makes percents in the first steps: it is
    compared with a scratchnet whose Adam has it there, too. Training multiplies a rounding error by
    ten in a few steps, most of all through BatchNorm. So who is too far away in float32 does the
    same in float64, and there it must agree a thousand times better: then it computes the same, and
    only rounds otherwise.
    """
    print(f"\nbatch size {batch_size}: losses of the first steps against scratchnet's")
    losses, far = losses_and_distances(field, list(field.workers), steps=CHECKED)
    for name, each in far.items():
        found = {"losses": losses[name], "deviation": float(each[:MUST_AGREE].max())}
        results[name] |= found | {"deviation_later": float(each.max())}
        print(
            f"  {name:20} {found['deviation']:.1e} over {MUST_AGREE} steps, "
            f"{each.max():.1e} over {CHECKED}"
            + (", Adam as in Keras" if c.CONTENDERS[name].adam_of_keras else "")
        )
    wrong = [name for name in losses if not results[name]["deviation"] <= TOLERANCE]
    if wrong:
        _, far = losses_and_distances(field, wrong, steps=MUST_AGREE, dtype="float64")
        for name, each in far.items():
            results[name]["deviation_float64"] = exact = float(each.max())
            print(f"  {name:20} {exact:.1e} over {MUST_AGREE} steps in float64")
            if exact <= TOLERANCE / 1000:
                wrong.remove(name)
    if wrong:
        sys.exit(f"losses differ by more than {TOLERANCE:g}: {', '.join(wrong)}; nothing is timed")


def losses_and_distances(
    field: c.Field, names: list[str], **task: Any
) -> tuple[dict[str, list[float]], dict[str, np.ndarray]]:
    """Losses of the first steps, and how far from scratchnet's they are, relative; by contender."""
    asked = {name: c.CONTENDERS[name].adam_of_keras for name in names}
    losses = {name: loss for only in names for name, loss in field.ask("check", only, **task)}
    ours = {
        kind: np.array(loss)
        for kind in {asked[name] for name in losses}
        for _, loss in field.ask("check", "scratchnet", as_keras=kind, **task)
    }
    field.need_scratchnet()
    return losses, {name: np.abs(loss / ours[asked[name]] - 1) for name, loss in losses.items()}


def compare(options: Any, batch_size: int, weights: str) -> dict[str, Any]:
    """One batch size: prepare, check, take turns. All results by contender."""
    names = c.chosen(options)
    results: dict[str, Any] = {name: {"label": c.CONTENDERS[name].label} for name in names}
    job = {"model": options.model, "weights": weights, "images": options.images}
    with c.Field(names, options.threads, options.cold, options.isa) as field:
        for name, seconds in field.ask("train", **job, batch_size=batch_size):
            results[name]["compile_seconds"] = seconds
        field.need_scratchnet()
        check(field, results, batch_size)
        field.ready()
        for number in range(options.rounds):
            for name, seconds in field.ask("epoch"):
                results[name].setdefault("seconds", []).append(seconds)
                print(f"  round {number + 1}: {name} {seconds:.2f} s", file=sys.stderr)
        field.finish(results)
    summarize(results, options.images)
    return results


def summarize(results: dict[str, Any], images: int) -> None:
    """Median, spread and ratio of each that ran; seconds are scaled to 60,000 images."""
    ran = [found for found in results.values() if "skipped" not in found]
    for found in ran:
        scaled = [seconds * EPOCH / images for seconds in found["seconds"]]
        found["epoch_seconds"] = scaled
        found |= {"median": statistics.median(scaled), "min": min(scaled), "max": max(scaled)}
        found["images_per_second"] = EPOCH / found["median"]
    for found in ran:
        found["ratio"] = found["median"] / results["scratchnet"]["median"]


def show(results: dict[str, Any], title: str) -> dict[str, Any] | None:
    """The table; returns the fastest of the others, if any ran."""
    rows = []
    for found in results.values():
        if "skipped" in found:
            rows.append([found["label"], f"skipped: {found['skipped']}"])
            continue
        times = [f"{found[key]:.2f}" for key in ("median", "min", "max")]
        rest = [f"{found['images_per_second']:,.0f}", f"{found['ratio']:.2f}"]
        rest += [f"{found['peak_mib']:,.0f}", f"{found['compile_seconds']:.1f}"]
        rows.append([found["label"], *times, *rest, f"{found['deviation']:.0e}"])
    c.show_table(title, HEADS.split("|"), rows)
    others = [n for n, found in results.items() if n != "scratchnet" and "ratio" in found]
    if not others:
        return None
    best = min(others, key=lambda name: results[name]["ratio"])
    print(f"fastest of the others: {results[best]['label']}, {results[best]['ratio']:.2f} times")
    return {"contender": best, "ratio": results[best]["ratio"]}


def main() -> None:
    parser = c.arguments(__doc__, "trains", rounds=5, images=60_000)
    parser.add_argument("--batch-size", type=c.positive, nargs="+", default=[32, 128, 512])
    options = parser.parse_args()
    if options.images > EPOCH and not options.model.endswith("-32"):
        parser.error(f"--images: MNIST has {EPOCH:,}, found {options.images:,}")
    report = {"benchmark": "training", "model": options.model, "images": options.images}
    report |= {
        "rounds": options.rounds,
        "machine": c.show_machine(options.threads, options.isa),
        "runs": [],
    }
    print(f"model {options.model}; the check runs without dropout, the clock with it")
    with tempfile.TemporaryDirectory() as folder:
        weights = c.save_weights(c.build(options.model), folder)
        for batch_size in options.batch_size:
            results = compare(options, batch_size, weights)
            title = f"{options.model}, batch size {batch_size}, one epoch of 60,000 images"
            best = show(results, title)
            run = {"batch_size": batch_size, "fastest_other": best, "contenders": results}
            report["runs"].append(run)
            if options.out:
                path = options.out / f"training-{options.model}-{batch_size}.png"
                ran = {r["label"]: r["epoch_seconds"] for r in results.values() if "ratio" in r}
                c.save_bars(path, title, "seconds", ran)
            c.save_json(options.json, report)


if __name__ == "__main__":
    main()
