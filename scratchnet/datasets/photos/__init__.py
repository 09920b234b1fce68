"""Photographs of handwriting, made: any number, seeded, and what is written in them is known.

writing.py     ink: MNIST's digits with a pen's sharp edge, letters and marks, rows of digits
scene.py       paper, pen, light and camera, and `photograph`, which puts them together
letters.py     letters, symbols and digits of free fonts that are installed
judging.py     images in MNIST's form that are digits, and such that are none, to learn from
series.py      test series by name: what people really photograph, and how often it is read
"""

from . import judging, scene, series, writing
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
    "judging",
    "photograph",
    "scene",
    "series",
    "writing",
]
