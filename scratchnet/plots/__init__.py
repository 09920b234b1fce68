"""Pictures of a training run, its mistakes, a model and its inside, and an image's way into it.

Every function returns a `matplotlib.figure.Figure` and shows nothing: the caller saves it (`save`)
or a notebook displays it. Neither pyplot nor the global rcParams are touched.
"""

import os
import sys
from importlib import import_module
from typing import Any

_FILES = {
    "architecture": "network",
    "augmented_samples": "images",
    "confusion_matrix": "charts",
    "digit_boxes": "images",
    "feature_maps": "inside",
    "filters": "inside",
    "heat": "inside",
    "histograms": "inside",
    "image_steps": "images",
    "learning_rates": "charts",
    "prediction_grid": "images",
    "save": "style",
    "speeds": "speed",
    "trace": "inside",
    "training_curves": "charts",
}
__all__ = list(_FILES)


def __getattr__(name: str) -> Any:
    """Load a function's file, and with it matplotlib, when it is first asked for."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    _load_matplotlib()
    return getattr(import_module(f".{_FILES[name]}", __name__), name)


def _load_matplotlib() -> None:
    """Import matplotlib, whatever MPLBACKEND says: no picture here needs the backend.

    matplotlib cannot be imported with a value that it does not know; that must not cost a training
    its results.
    """
    chosen = os.environ.get("MPLBACKEND")
    if not chosen or "matplotlib" in sys.modules:
        return
    del os.environ["MPLBACKEND"]
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = chosen
    try:
        matplotlib.rcParams["backend"] = chosen  # as it does itself, for the caller's own pictures
    except ValueError:
        line = "expected a backend of matplotlib, found"
        print(f"scratchnet: MPLBACKEND: {line} {chosen!r}; it is not used", file=sys.stderr)
