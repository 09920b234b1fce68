"""Adds the lessons to the package: examples/lessons is installed as scratchnet/learn/lessons.

Everything else stands in pyproject.toml, which has no way to say "and this folder from elsewhere"
beside a search for packages.
"""

from pathlib import Path

from setuptools import find_namespace_packages, setup

LESSONS, FOLDER = "scratchnet.learn.lessons", "examples/lessons"
#: a copy of the project without its examples is installed without lessons
THERE = Path(FOLDER).is_dir()

setup(
    packages=[*find_namespace_packages(include=["scratchnet*"]), *([LESSONS] if THERE else [])],
    package_dir={LESSONS: FOLDER} if THERE else {},
)
