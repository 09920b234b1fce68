"""The optimizers and recipes that the page offers, and the learning rate that suits each."""

from typing import Any

from .. import recipes
from ..run_folder import OPTIMIZERS

#: where the library's default, which is Keras's, learns these small networks too slowly, or jumps
LEARNING_RATES = {"sgd": 0.1, "momentum": 0.02, "adagrad": 0.05, "lion": 0.0003}


def usual_rate(name: str) -> float:
    """The learning rate of an optimizer where none is asked for."""
    return LEARNING_RATES.get(name) or OPTIMIZERS[name]().learning_rate(0)


def recipe_settings(name: str) -> dict[str, Any] | None:
    """What a recipe sets of a run's settings; None where there is no such recipe."""
    recipe = recipes.RECIPES.get(name)
    if recipe is None:
        return None
    return {
        "architecture": recipe.architecture,
        "learning_rate": recipe.lr,
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
    }


def about_recipe(name: str) -> str:
    """What a recipe brings beside these settings, in words."""
    recipe = recipes.RECIPES[name]
    found = ["AdamW" if recipe.weight_decay else "Adam", "one-cycle learning rate"]
    if recipe.augment != "none":
        found.append(f"{recipe.augment} augmentation")
    if recipe.label_smoothing:
        found.append(f"labels smoothed by {recipe.label_smoothing:g}")
    if recipe.ema_momentum is not None:
        found.append("averaged weights")
    return ", ".join(found)
