"""Recipes: whole trainings by name, each with the settings that reach what its name promises.

    recipe = RECIPES["best"]
    model = recipe.build(seed=0)
    recipe.compile(model, images=len(x_train))
    model.fit(x_train, y_train, recipe.batch_size, recipe.epochs, augment=recipe.augmentation())

The network, the augmentation and the length of "best" were chosen on the last 10,000 training
images, held out; the others' numbers are common ones. benchmarks/accuracy.py trains a recipe on the
rest of the training images to choose, or on all of them to measure it on the test images.
"""

from dataclasses import dataclass, field, fields
from dataclasses import replace as changed
from typing import Any

import numpy as np

from . import architectures
from .datasets.augmentation import PRESETS
from .errors import InputError, check_number
from .losses import SparseCategoricalCrossentropy
from .model import Sequential, Shape
from .optimizers import Adam, AdamW, Optimizer
from .schedules import OneCycle
from .training import Augment, check_count

#: parameters that AdamW does not shrink: biases, and BatchNorm's
NOT_DECAYED = ("b", "gamma", "beta")


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: everything but the data and the seed.

    architecture      a name in `architectures`
    epochs, batch_size
    lr                the highest learning rate of the one-cycle schedule
    warmup            the part of the steps in which it rises to that
    weight_decay      above 0 for AdamW, of all weights but biases and BatchNorm's; 0 for Adam
    label_smoothing   see losses
    ema_momentum      of the weights' average, see Optimizer; None for no average
    global_clipnorm   the longest gradient; None for any
    augment           "none", or a preset in datasets.augmentation
    augment_changes   parameters of that preset that are not its own: {"rotation": 10}
    """

    architecture: str = "cnn"
    epochs: int = 5
    batch_size: int = 128
    lr: float = 3e-3
    warmup: float = 0.3
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    ema_momentum: float | None = None
    global_clipnorm: float | None = None
    augment: str = "none"
    augment_changes: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        architectures.check_name(self.architecture)
        check_count("epochs", self.epochs, 1)
        check_count("batch_size", self.batch_size, 1)
        check_number("lr", self.lr, above=0)
        check_number("weight_decay", self.weight_decay, least=0)
        self.augmentation()
        self.loss()
        self.optimizer(1)

    def build(
        self,
        input_shape: Shape = (28, 28, 1),
        classes: int = 10,
        seed: int | np.random.Generator | None = 0,
    ) -> Sequential:
        """The network, with fresh weights."""
        return architectures.build(self.architecture, input_shape, classes, seed)

    def compile(self, model: Sequential, images: int) -> None:
        """Give the model its loss, and an optimizer for a training set of so many images."""
        steps = self.epochs * -(-images // self.batch_size)
        model.compile(self.optimizer(steps), self.loss(), ["accuracy"])

    def optimizer(self, steps: int) -> Optimizer:
        """Adam or AdamW, for so many steps in all."""
        rate = OneCycle(self.lr, steps, self.warmup)
        shared: dict[str, Any] = {"global_clipnorm": self.global_clipnorm}
        if self.ema_momentum is not None:
            shared |= {"use_ema": True, "ema_momentum": self.ema_momentum}
        if not self.weight_decay:
            return Adam(rate, **shared)
        return AdamW(rate, self.weight_decay, exclude_from_weight_decay=NOT_DECAYED, **shared)

    def loss(self) -> SparseCategoricalCrossentropy:
        return SparseCategoricalCrossentropy(label_smoothing=self.label_smoothing)

    def augmentation(self) -> Augment | None:
        """What changes the training images; for `fit(augment=...)`."""
        if not isinstance(self.augment_changes, dict):
            raise InputError(f"augment_changes: expected a dict, found {self.augment_changes!r}")
        if self.augment == "none":
            if self.augment_changes:
                raise InputError(
                    'augment_changes: expected an augmentation to change, found augment "none"'
                )
            return None
        if self.augment not in PRESETS:
            known = ", ".join(["none", *PRESETS])
            raise InputError(f"augment: expected one of {known}, found {self.augment!r}")
        preset = PRESETS[self.augment]()
        unknown = self.augment_changes.keys() - {one.name for one in fields(preset)}
        if unknown:
            raise InputError(f"augment_changes: no augmentation has {', '.join(sorted(unknown))}")
        return changed(preset, **self.augment_changes)


RECIPES: dict[str, Recipe] = {
    # 99 % in the least time
    "fast": Recipe(epochs=3),
    "standard": Recipe(),
    # the residual network
    "resnet": Recipe(
        architecture="resnet",
        epochs=10,
        lr=4e-3,
        weight_decay=0.01,
        label_smoothing=0.05,
        ema_momentum=0.999,
        augment="affine",
    ),
    # the most accurate single network
    "best": Recipe(
        architecture="cnn-bn",
        epochs=16,
        batch_size=100,
        lr=4e-3,
        weight_decay=0.01,
        label_smoothing=0.05,
        ema_momentum=0.999,
        augment="affine",
    ),
}


def get(name: str) -> Recipe:
    """The recipe of that name."""
    if name not in RECIPES:
        raise InputError(f"recipe: expected one of {', '.join(RECIPES)}, found {name!r}")
    return RECIPES[name]
