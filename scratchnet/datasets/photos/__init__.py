"""Photographs of handwriting, made: any number, seeded, and what is written in them is known.

writing.py     ink: MNIST's digits with a pen's sharp edge, letters and marks, rows of digits
scene.py       paper, pen, light and camera, and `photograph`, which puts them together
series.py      test series by name: what people really photograph, and how often it is read
"""

from . import scene, series, writing
from .scene import Camera, Light, Paper, Pen, photograph
from .series import SERIES, Example, Series, examples

__all__ = [
    "SERIES",
    "Camera",
    "Example",
    "Light",
    "Paper",
    "Pen",
    "Series",
    "examples",
    "photograph",
    "scene",
    "series",
    "writing",
]
