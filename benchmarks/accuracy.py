"""Accuracy: a recipe trained from several seeds; mean and deviation of the last epoch.

With --validate the last 10,000 training images are held out and evaluated, and the test images are
not read: that is for choosing. Without it all 60,000 are trained on, and the test images are
evaluated once a run, when it is over. The figure is the last epoch's, never the best one's.
"""

import argparse
import dataclasses
import json
import os
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import contenders as c
import numpy as np
from numpy.typing import NDArray

import scratchnet as sn
from scratchnet.recipes import RECIPES, Recipe

HELD_OUT = 10_000


def changed(recipe: Recipe, changes: list[str]) -> Recipe:
    """The recipe with KEY=VALUE changes, values in JSON or plain words."""
    known = [one.name for one in dataclasses.fields(Recipe)]
    values = {}
    for change in changes:
        key, found, text = change.partition("=")
        if not found or key not in known:
            raise sn.InputError(f"--set: expected KEY=VALUE, KEY of {known}, found {change!r}")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    return dataclasses.replace(recipe, **values)


def warm_up(recipe: Recipe, x: NDArray, y: NDArray) -> None:
    """Compile, outside of the clock."""
    model = recipe.build()
    recipe.compile(model, len(x))
    some = slice(2 * recipe.batch_size)
    model.fit(x[some], y[some], recipe.batch_size, verbose=0, augment=recipe.augmentation())
    model.evaluate(x[some], y[some], verbose=0)


def trained(recipe: Recipe, seed: int, data: tuple[Any, Any], validate: bool) -> dict[str, Any]:
    """One run. Accuracies of the weights that fit leaves, and with an average of the raw ones."""
    (x, y), held_out = data
    model = recipe.build(seed=seed)
    recipe.compile(model, len(x))
    start = time.perf_counter()
    history = model.fit(
        x,
        y,
        recipe.batch_size,
        recipe.epochs,
        verbose=2,
        validation_data=held_out if validate else None,
        augment=recipe.augmentation(),
        progress_file=sys.stderr,
    )
    found: dict[str, Any] = {"seed": seed, "seconds": time.perf_counter() - start}
    found["accuracy"] = accuracy(model, *held_out)
    if validate and recipe.ema_momentum is not None:
        model.optimizer.use_raw(model)
        found["raw_accuracy"] = accuracy(model, *held_out)
    return found | {"history": history.history}


def accuracy(model: sn.Sequential, x: NDArray, y: NDArray) -> float:
    return float(np.mean(model.predict(x, batch_size=500).argmax(axis=1) == y))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipe", choices=list(RECIPES), default="standard")
    how: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
    parser.add_argument("--set", metavar="KEY=VALUE", help="change the recipe", **how)
    parser.add_argument("--seeds", type=c.positive, default=5, help="how many, from 0")
    parser.add_argument("--validate", action="store_true", help="hold out training images")
    parser.add_argument("--images", type=c.positive, help="train on the first so many only")
    parser.add_argument("--threads", type=c.positive, default=os.cpu_count())
    parser.add_argument("--json", type=Path, help="a file for all results")
    options = parser.parse_args()
    try:
        recipe = changed(RECIPES[options.recipe], options.set)
        sn.kernels.set_threads(options.threads)
    except (sn.InputError, TypeError) as error:
        parser.error(str(error))
    machine = c.show_machine(options.threads)
    print(f"{options.recipe}: {recipe}")

    (x, y), test = sn.datasets.mnist.load_data()
    if options.validate:
        test = x[-HELD_OUT:], y[-HELD_OUT:]
        x, y = x[:-HELD_OUT], y[:-HELD_OUT]
    data = (x[: options.images], y[: options.images]), test
    warm_up(recipe, *data[0])
    watch, runs = c.Watch(), []
    for seed in range(options.seeds):
        runs.append(trained(recipe, seed, data, options.validate))
        raw = runs[-1].get("raw_accuracy")
        print(
            f"seed {seed}: {100 * runs[-1]['accuracy']:.2f} %   {runs[-1]['seconds']:.1f} s"
            + (f"   without the average {100 * raw:.2f} %" if raw is not None else ""),
            flush=True,
        )
    c.Watch.warn(watch.others, "a run")
    found = [100 * run["accuracy"] for run in runs]
    deviation = statistics.stdev(found) if len(found) > 1 else float("nan")
    images = "validation images" if options.validate else "test images"
    print(
        f"{options.recipe}, {len(data[0][0]):,} images, {recipe.epochs} epochs: "
        f"{statistics.mean(found):.3f} % of the {images}, deviation {deviation:.3f}, "
        f"{statistics.median(run['seconds'] for run in runs):.1f} s a run"
    )
    report = {"recipe": options.recipe, "settings": dataclasses.asdict(recipe), "machine": machine}
    c.save_json(options.json, report | {"on": images, "runs": runs, "others": watch.others})


if __name__ == "__main__":
    main()
